//! Hosts that are silent for longer than `expire_after` leave DNS, and come back with their next
//! update.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::scene::{HOSTS, Scene, signed, time};
use crate::transport::Transport;

/// The hosts file with these hosts, each at an address of its own.
fn lines(numbers: &[u8]) -> String {
    let lines = numbers.iter().map(|n| format!("127.0.0.{n} host{n}.h.lohray.com\n"));
    lines.collect::<Vec<_>>().concat()
}

/// Host 3 has just sent an update, the others have been silent since 2012. The files are indexed.
fn scene_with_silent_hosts() -> Scene {
    let scene = Scene::new();
    let record = |n: u8, update: &str| json!({"ip": format!("127.0.0.{n}"), "update": update});
    let state = json!({
        "host1.h.lohray.com": record(1, "2012-04-20 20:45:59"),
        "host2.h.lohray.com": record(2, "2012-05-09 07:30:06"),
        "host3.h.lohray.com": record(3, "2012-04-19 04:54:21"),
    });
    let text = serde_json::to_string_pretty(&state).unwrap().replace("  ", "    ");
    scene.reset(&text, &lines(&[1, 2, 3]));
    let answer = update(|address, query| scene.answer(address, query), 3, -9);
    assert_eq!(answer, "nochg 127.0.0.3");
    assert!(scene.path("www/ramcache/.ip.txt.index").exists(), "not indexed");
    scene
}

/// Updates a host from its own address, and returns the answer.
fn update(ask: impl Fn(&str, &str) -> String, n: u8, seconds: i64) -> String {
    let (user, key) = if n == 3 { ("user2", "secretkey2") } else { ("user1", "secretkey1") };
    let query = signed(user, key, &format!("host{n}.h.lohray.com"), &time(seconds));
    ask(&format!("127.0.0.{n}"), &query)
}

fn silent_hosts_leave_and_come_back(scene: &Scene, ask: impl Fn(&str, &str) -> String) {
    let update = |n, seconds| {
        let answer = update(&ask, n, seconds);
        scene.settle();
        answer
    };
    // A century: nobody has been silent for as long.
    scene.configure(&json!({"expire_after": 3_155_760_000_u64}));
    assert_eq!(update(3, -8), "nochg 127.0.0.3");
    assert_eq!(scene.hosts(), lines(&[1, 2, 3]));
    assert_eq!(scene.restarts().len(), 0);

    scene.configure(&json!({"expire_after": 3600}));
    assert_eq!(update(3, -7), "nochg 127.0.0.3");
    assert_eq!(scene.hosts(), lines(&[3]));
    assert_eq!(scene.restarts().len(), 1, "dnsmasq has to forget them");
    assert!(scene.state().contains("127.0.0.1") && scene.state().contains("2012-05-09 07:30:06"));

    // An update that changes no served name writes only a stamp.
    let inode = |scene: &Scene| {
        let file = std::fs::metadata(scene.path("www/ramcache/hosts.dns")).unwrap();
        std::os::unix::fs::MetadataExt::ino(&file)
    };
    let before = inode(scene);
    assert_eq!(update(3, -6), "nochg 127.0.0.3");
    assert_eq!((inode(scene), scene.restarts().len()), (before, 1));

    // The address is the same, but DNS has to learn it again.
    assert_eq!(update(1, -6), "nochg 127.0.0.1");
    assert_eq!(scene.hosts(), lines(&[1, 3]));
    assert_eq!(scene.restarts().len(), 2);
    assert!(!scene.mark().exists());

    // Hosts that were in time leave when their own time has passed.
    scene.configure(&json!({"expire_after": 9}));
    sleep(Duration::from_secs(5));
    assert_eq!(update(3, 0), "nochg 127.0.0.3");
    assert_eq!(scene.hosts(), lines(&[3]));

    scene.configure(&json!({}));
    scene.does(&["apply"]);
    assert_eq!(scene.hosts(), lines(&[1, 2, 3]), "as if none had ever left");
}

#[test]
fn a_silent_host_leaves_with_the_next_update_and_comes_back_with_its_own() {
    for (scene, transport) in Transport::some("expiry", scene_with_silent_hosts) {
        silent_hosts_leave_and_come_back(&scene, |address, query| {
            transport.answer(&scene, address, query)
        });
    }
}

#[test]
fn the_restarter_counts_in_the_local_time_of_apache() {
    // A zone hours behind UTC. In another, new hosts would pass for old ones, or old for new.
    for hours in [8, -9] {
        let local = |seconds: i64| time(seconds - hours * 3600);
        let scene = Scene::new();
        scene.configure(&json!({"time_zone": "local", "expire_after": 3600}));
        let record = |n: u8, update: &str| json!({"ip": format!("127.0.0.{n}"), "update": update});
        let state = json!({
            "host1.h.lohray.com": record(9, &local(-600)),
            "host2.h.lohray.com": record(2, &local(-600)),
            "host3.h.lohray.com": record(3, &local(-4200)),
        });
        scene.reset(&state.to_string(), &lines(&[2, 3]));
        let query = signed("user1", "secretkey1", "host1.h.lohray.com", &local(0));
        let reply = scene.cgi("127.0.0.1", &query).env("TZ", &format!("ZONE{hours}")).run();
        assert_eq!(reply.line, "good 127.0.0.1");
        scene.settle();
        assert_eq!(scene.hosts(), lines(&[1, 2]), "{hours} hours");
        assert_eq!(scene.restarts().len(), 1);
    }
}

#[test]
fn apply_takes_silent_hosts_out_and_list_and_check_tell_of_them() {
    let scene = scene_with_silent_hosts();
    let expired = || {
        let list: Value = serde_json::from_str(&scene.does(&["list", "--json"])).unwrap();
        let list = list.as_array().unwrap();
        list.iter().map(|host| host["expired"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    let is_out_of_order = || {
        let output = scene.ddnsctl(&["check", "--server", "127.0.0.1:1"]);
        String::from_utf8(output.stdout).unwrap().contains("is not what the state says")
    };
    assert_eq!(expired(), [false, false, false]);
    scene.configure(&json!({"expire_after": 3600}));
    assert_eq!(expired(), [true, true, false]);
    assert!(!is_out_of_order(), "they leave with the next update");
    scene.does(&["apply"]);
    assert_eq!(scene.hosts(), lines(&[3]));
    assert_eq!(scene.restarts().len(), 1);
    assert!(!is_out_of_order());
    let table = scene.does(&["list"]);
    let row = |host| table.lines().find(|row| row.starts_with(host)).unwrap();
    assert!(row("host1").contains(", expired") && !row("host3").contains("expired"), "{table}");

    scene.write("www/ramcache/hosts.dns", &lines(&[2]));
    assert!(is_out_of_order(), "host 3 is missing");
    scene.does(&["host", "remove", "user2", "host3.h.lohray.com"]);
    assert_eq!(scene.hosts(), "");
}

#[test]
fn hosts_of_a_lost_state_do_not_expire_before_they_were_heard_of() {
    let scene = Scene::new();
    scene.configure(&json!({"expire_after": 1}));
    std::fs::remove_file(scene.path("www/ramcache/ip.txt")).unwrap();
    let ask = |address: &str, query: &str| scene.answer(address, query);
    assert_eq!(update(ask, 1, -9), "good 127.0.0.1");
    scene.settle();
    // The updated host's stamp is nine seconds old.
    assert_eq!(scene.hosts(), HOSTS.split_once('\n').unwrap().1);
    assert_eq!(update(ask, 1, 0), "nochg 127.0.0.1");
    scene.settle();
    assert_eq!(scene.hosts(), HOSTS.replace("129.118.243.10", "127.0.0.1"));
}

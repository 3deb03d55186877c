//! Zones: a change reaches a real primary server by dynamic update, whatever fails on the way.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::faults::files_of;
use crate::primary::{KNOT, NSUPDATE, Primary};
use crate::scene::{HOSTS, STATE, Scene, can_run, eventually, signed, signed_2, tell, time};

/// Keeps each script in the file `scripts`, then sends it.
const NOTE_AND_SEND: &str = "tee -a SCRIPTS | UPDATE";

fn can(test: &str) -> bool {
    can_run(test, &[KNOT, NSUPDATE])
}

/// A scene with a primary, which takes the place of dnsmasq.
fn scene_with_primary() -> (Scene, Primary) {
    let scene = Scene::new();
    let primary = Primary::start(&scene);
    configure(&scene, &primary, NOTE_AND_SEND);
    (scene, primary)
}

fn configure(scene: &Scene, primary: &Primary, command: &str) {
    let command = command.replace("SCRIPTS", &scene.path("run/scripts").display().to_string());
    let publish = primary.publish(scene, &command);
    scene.configure(&json!({"restart": [], "publish": publish, "status_page": true}));
}

fn mark(scene: &Scene) -> PathBuf {
    scene.path("www/ramcache/.hosts.dns.publish.pending")
}

/// Moves a host of the first user, and waits for the restarter.
fn move_host(scene: &Scene, host: &str, address: &str, seconds: i64) {
    let query = signed("user1", "secretkey1", host, &time(seconds));
    assert_eq!(scene.answer(address, &query), format!("good {address}"));
    scene.settle();
}

/// What the zones say of the article's hosts, as a hosts file.
pub fn served(primary: &Primary) -> String {
    let hosts = ["host1.h.lohray.com", "host2.h.lohray.com", "host3.h.lohray.com"];
    let lines = hosts.iter().flat_map(|host| {
        primary.addresses(host).into_iter().map(move |address| format!("{address} {host}\n"))
    });
    lines.collect()
}

fn scripts(scene: &Scene) -> String {
    fs::read_to_string(scene.path("run/scripts")).unwrap_or_default()
}

/// Whether a command of the operator succeeds, and what it says.
fn ddnsctl(scene: &Scene, arguments: &[&str]) -> (bool, String) {
    let output = scene.ddnsctl(arguments);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_first_accepted_request_publishes_everything_and_a_change_only_itself() {
    if !can("dynamic updates") {
        return;
    }
    let (scene, primary) = scene_with_primary();
    let query = signed("user2", "secretkey2", "host3.h.lohray.com", &time(-9));
    assert_eq!(scene.answer("50.19.108.105", &query), "nochg 50.19.108.105");
    scene.settle();
    assert_eq!(served(&primary), HOSTS);
    assert!(!mark(&scene).exists() && !scene.mark().exists());

    fs::remove_file(scene.path("run/scripts")).unwrap();
    move_host(&scene, "host1.h.lohray.com", "127.0.0.11", -8);
    assert_eq!(served(&primary), scene.hosts());
    let server = scripts(&scene).lines().next().unwrap().to_owned();
    assert_eq!(
        scripts(&scene),
        format!(
            "{server}\nzone h.lohray.com.\n\
             update delete host1.h.lohray.com. A\nupdate delete host1.h.lohray.com. AAAA\n\
             update add host1.h.lohray.com. 7 A 127.0.0.11\nsend\n"
        )
    );
    assert_eq!(scene.restarts().len(), 0);
}

#[test]
fn a_removed_family_and_a_removed_host_leave_the_zone_and_all_else_stays() {
    if !can("what leaves a zone") {
        return;
    }
    let (scene, primary) = scene_with_primary();
    let both = ["192.0.2.11", "2001:db8::11"];
    let update = |seconds, addresses| {
        let query =
            signed_2("user1", "secretkey1", "host1.h.lohray.com", &time(seconds), addresses);
        let answer = scene.answer("127.0.0.9", &query);
        assert!(answer.starts_with("good "), "{answer}");
        scene.settle();
    };
    update(-9, both);
    let addresses = || primary.addresses("host1.h.lohray.com");
    assert_eq!(addresses(), both.map(|address| address.parse::<IpAddr>().unwrap()));
    update(-8, ["", "none"]);
    assert_eq!(addresses(), ["192.0.2.11".parse::<IpAddr>().unwrap()]);
    let (is_done, text) = ddnsctl(&scene, &["host", "remove", "user1", "host1.h.lohray.com"]);
    assert!(is_done, "{text}");
    assert_eq!(addresses(), [] as [IpAddr; 0]);
    assert_eq!(primary.addresses("ns.h.lohray.com"), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(served(&primary), scene.hosts());
}

#[test]
fn an_expired_host_leaves_the_zone_and_comes_back() {
    if !can("expiry and zones") {
        return;
    }
    let (scene, primary) = scene_with_primary();
    let publish = primary.publish(&scene, "UPDATE");
    scene.configure(&json!({"restart": [], "publish": publish, "expire_after": 3600}));
    assert!(ddnsctl(&scene, &["apply"]).0);
    assert_eq!(served(&primary), "");
    let query = signed("user1", "secretkey1", "host1.h.lohray.com", &time(0));
    assert_eq!(scene.answer("129.118.243.10", &query), "nochg 129.118.243.10");
    scene.settle();
    assert_eq!(served(&primary), "129.118.243.10 host1.h.lohray.com\n");
}

#[test]
fn what_a_server_lost_is_sent_anew_by_apply_all() {
    if !can("apply --all") {
        return;
    }
    let (scene, primary) = scene_with_primary();
    assert!(ddnsctl(&scene, &["apply"]).0);
    assert_eq!(served(&primary), HOSTS);
    // The primary has lost all that it was told, as if it had been restored from an old copy.
    for host in ["host1", "host2", "host3"] {
        let delete = format!("update delete {host}.h.lohray.com. A\n");
        primary.send(&scene, "h.lohray.com", &delete);
    }
    let note = "the primary server has acknowledged 3 hosts\n".to_owned();
    assert_eq!(ddnsctl(&scene, &["apply"]), (true, note.clone()));
    assert_eq!(served(&primary), "", "nothing has changed since the last success");
    assert_eq!(ddnsctl(&scene, &["apply", "--all"]), (true, note));
    assert_eq!(served(&primary), HOSTS);
    let published = "www/ramcache/.hosts.dns.published";
    assert!(scene.read(published).starts_with(&primary.head()));

    // What the old copy has of an expired host goes, too.
    scene.write(published, &primary.head());
    let publish = primary.publish(&scene, "UPDATE");
    scene.configure(&json!({"restart": [], "publish": publish, "expire_after": 3600}));
    assert!(ddnsctl(&scene, &["apply"]).0);
    assert_eq!(served(&primary), HOSTS, "nobody has told the primary");
    assert!(ddnsctl(&scene, &["apply", "--all"]).0);
    assert_eq!(served(&primary), "");
}

#[test]
fn apply_all_without_zones_says_so_and_does_nothing() {
    let scene = Scene::new();
    let (is_done, text) = ddnsctl(&scene, &["apply", "--all"]);
    assert!(!is_done && text.contains("no key \"publish\""), "{text}");
    assert_eq!(scene.restarts().len(), 0);
    assert!(!scene.mark().exists());
}

#[test]
fn a_primary_that_is_down_gets_all_changes_later_and_its_reason_is_shown_meanwhile() {
    if !can("a primary that is down") {
        return;
    }
    let (scene, primary) = scene_with_primary();
    assert!(ddnsctl(&scene, &["apply"]).0);
    drop(primary);
    for n in 1..=10 {
        move_host(&scene, "host1.h.lohray.com", &format!("127.0.1.{n}"), n - 14);
        move_host(&scene, "host2.h.lohray.com", &format!("127.0.2.{n}"), n - 14);
    }
    let reason = "connection refused";
    let text = fs::read_to_string(mark(&scene)).unwrap();
    assert!(text.starts_with("failed ") && text.contains(reason), "{text}");
    let (is_done, text) = ddnsctl(&scene, &["check"]);
    assert!(!is_done && text.contains("the last dynamic update failed") && text.contains(reason));
    let page = scene.cgi("127.0.0.1", "").env("PATH_INFO", "/status").page();
    assert!(page.body.contains("zones were not updated") && page.body.contains(reason), "{page:?}");

    let primary = Primary::start(&scene);
    configure(&scene, &primary, NOTE_AND_SEND);
    let query = signed("user2", "secretkey2", "host3.h.lohray.com", &time(0));
    let reply = scene.cgi("50.19.108.105", &query).run();
    assert_eq!(reply.line, "nochg 50.19.108.105");
    assert!(reply.log.contains("the last dynamic update failed, trying again"), "{reply:?}");
    scene.settle();
    assert_eq!(served(&primary), scene.hosts());
    assert!(scene.hosts().contains("127.0.1.10") && scene.hosts().contains("127.0.2.10"));
    assert!(!mark(&scene).exists());
}

#[test]
fn a_target_that_fails_or_hangs_does_not_hold_up_the_other() {
    if !can("two targets") {
        return;
    }
    let scene = Scene::new();
    let primary = Primary::start(&scene);
    let both = |restart: &str, publish: &str| {
        scene.configure(&json!({
            "restart": ["sh", "-c", scene.noting(restart)],
            "publish": primary.publish(&scene, publish),
        }));
    };
    let change = |n: i64| {
        let address = format!("127.0.3.{n}");
        let query = signed("user1", "secretkey1", "host1.h.lohray.com", &time(n - 14));
        assert_eq!(scene.answer(&address, &query), format!("good {address}"));
        address.parse::<IpAddr>().unwrap()
    };
    both("", "echo REFUSED; exit 2");
    change(1);
    scene.settle();
    assert_eq!(scene.restarts().len(), 1);
    assert!(mark(&scene).exists() && !scene.mark().exists());
    // What is redundant tries the zones again, and has no business with dnsmasq.
    let query = signed("user2", "secretkey2", "host3.h.lohray.com", &time(-9));
    assert_eq!(scene.answer("50.19.108.105", &query), "nochg 50.19.108.105");
    scene.settle();
    assert_eq!(scene.restarts().len(), 1);

    both("exit 1", "UPDATE");
    let address = change(2);
    scene.settle();
    assert_eq!(primary.addresses("host1.h.lohray.com"), [address]);
    assert!(!mark(&scene).exists() && scene.mark().exists());

    both("", "sleep 5; UPDATE");
    let before = scene.restarts().len();
    let started = Instant::now();
    for n in 3..6 {
        change(n);
        let restarts = before + usize::try_from(n - 2).unwrap();
        eventually("dnsmasq is restarted", || scene.restarts().len() == restarts);
    }
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    scene.settle();
    assert_eq!(primary.addresses("host1.h.lohray.com"), ["127.0.3.5".parse::<IpAddr>().unwrap()]);
}

#[test]
fn a_host_that_returns_to_its_old_address_after_a_failure_is_sent_again() {
    if !can("a host that returns") {
        return;
    }
    let (scene, primary) = scene_with_primary();
    assert!(ddnsctl(&scene, &["apply"]).0);
    // The primary does it, and we do not learn of it.
    configure(&scene, &primary, "UPDATE; exit 2");
    move_host(&scene, "host1.h.lohray.com", "127.0.5.1", -9);
    assert_eq!(served(&primary), scene.hosts());
    assert!(mark(&scene).exists());
    configure(&scene, &primary, "UPDATE");
    move_host(&scene, "host1.h.lohray.com", "129.118.243.10", -8);
    assert_eq!(served(&primary), HOSTS);
    assert!(!mark(&scene).exists());
}

#[test]
fn what_one_target_finds_expired_is_not_hidden_from_the_other() {
    if !can("expiry and two targets") {
        return;
    }
    let scene = Scene::new();
    let primary = Primary::start(&scene);
    let config = json!({"publish": primary.publish(&scene, "UPDATE"), "expire_after": 3600});
    scene.configure(&config);
    // Both hosts of the first user have been silent since 2012, but the zones got them.
    let text = scene.hosts();
    scene.write("www/ramcache/.hosts.dns.published", &(primary.head() + &text));
    // The restarter of dnsmasq finds that they have expired, without any request.
    scene.write("www/ramcache/.hosts.dns.pending", "changed something\n");
    let mut restarter = scene.cgi("127.0.0.1", "").env("DDNS_RESTARTER", "restart");
    assert!(restarter.0.status().unwrap().success());
    assert_eq!(scene.hosts(), "");
    assert!(mark(&scene).exists(), "the restarter of the zones has to know");
}

#[test]
fn apply_all_waits_for_a_restarter_that_is_at_work() {
    if !can("apply --all beside a restarter") {
        return;
    }
    let (scene, primary) = scene_with_primary();
    assert!(ddnsctl(&scene, &["apply"]).0);
    drop(primary);
    fs::remove_dir_all(scene.path("run/knot")).unwrap();
    let primary = Primary::start(&scene);
    configure(&scene, &primary, "UPDATE");
    assert!(ddnsctl(&scene, &["apply"]).0);
    assert_eq!(served(&primary), HOSTS, "another port is another server");
    // Somebody deletes a host behind our back, and an update is under way.
    primary.send(&scene, "h.lohray.com", "update delete host2.h.lohray.com. A\n");
    configure(&scene, &primary, "sleep 2; UPDATE");
    let query = signed("user1", "secretkey1", "host1.h.lohray.com", &time(-9));
    assert_eq!(scene.answer("127.0.6.1", &query), "good 127.0.6.1");
    let (is_done, text) = ddnsctl(&scene, &["apply", "--all"]);
    assert!(is_done, "{text}");
    assert_eq!(served(&primary), scene.hosts());
    assert!(scene.hosts().contains("127.0.6.1 host1") && scene.hosts().contains(" host2"));
}

#[test]
fn an_update_that_outlives_its_restarter_does_not_undo_a_later_one() {
    if !can("an update that outlives its restarter") {
        return;
    }
    let (scene, primary) = scene_with_primary();
    assert!(ddnsctl(&scene, &["apply"]).0);
    configure(&scene, &primary, "sleep 3; UPDATE");
    let query = signed("user1", "secretkey1", "host1.h.lohray.com", &time(-9));
    assert_eq!(scene.answer("127.0.4.1", &query), "good 127.0.4.1");
    let mut restarter = None;
    eventually("a restarter sends the update", || {
        restarter = scene.restarter().filter(|process| {
            let children = format!("/proc/{process}/task/{process}/children");
            fs::read_to_string(children).is_ok_and(|children| !children.is_empty())
        });
        restarter.is_some()
    });
    let killed = Command::new("kill").args(["-KILL", &restarter.unwrap().to_string()]).status();
    assert!(killed.unwrap().success());
    configure(&scene, &primary, "UPDATE");
    move_host(&scene, "host1.h.lohray.com", "127.0.4.2", -8);
    let address = || primary.addresses("host1.h.lohray.com");
    eventually("the first update arrives", || {
        address() != ["129.118.243.10".parse::<IpAddr>().unwrap()]
    });
    let query = |seconds| signed("user2", "secretkey2", "host3.h.lohray.com", &time(seconds));
    let mut seconds = -8;
    eventually("the next accepted request publishes", || {
        seconds += 1;
        assert_eq!(scene.answer("50.19.108.105", &query(seconds)), "nochg 50.19.108.105");
        scene.settle();
        !mark(&scene).exists()
    });
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(address(), ["127.0.4.2".parse::<IpAddr>().unwrap()]);
}

#[test]
fn ten_thousand_hosts_take_little_time_at_first_and_then_only_what_changes() {
    if !can("ten thousand hosts") {
        return;
    }
    let (scene, primary) = scene_with_primary();
    let names: Vec<String> = (0..10_000).map(|n| format!("host{n}.example")).collect();
    let (state, hosts) = files_of(&names);
    scene.reset(&state, &hosts);
    scene.write("etc/credentials.json", &json!({"user1": {"id": names, "key": "k"}}).to_string());
    let started = Instant::now();
    let (is_done, text) = ddnsctl(&scene, &["apply"]);
    let elapsed = started.elapsed();
    assert!(is_done, "{text}");
    tell(&format!("measured: 10,000 hosts for the first time: {:.2} s", elapsed.as_secs_f64()));
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
    for name in [&names[0], &names[5000], &names[9999]] {
        assert_eq!(primary.addresses(name), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }
    let script = scripts(&scene);
    assert_eq!(script.matches("update add ").count(), 10_000);
    assert!(script.matches("send\n").count() > 10);

    fs::remove_file(scene.path("run/scripts")).unwrap();
    let query = signed("user1", "k", "host5000.example", &time(0));
    assert_eq!(scene.answer("127.0.0.11", &query), "good 127.0.0.11");
    scene.settle();
    assert_eq!(primary.addresses("host5000.example"), ["127.0.0.11".parse::<IpAddr>().unwrap()]);
    let script = scripts(&scene);
    assert_eq!(script.matches("update add ").count(), 1, "{script}");
    assert_eq!(script.matches("update ").count(), 3, "{script}");
}

#[test]
fn nothing_in_a_state_adds_a_command_to_the_script() {
    if !can("a hostile state") {
        return;
    }
    let (scene, primary) = scene_with_primary();
    let hostile = STATE.replacen(
        '{',
        r#"{
    "evil.example.\nupdate add evil2.example. 7 A 192.0.2.66\nsend\n": {"ip": "192.0.2.1", "update": "x"},
    "evil.example": {"ip": "192.0.2.1\nupdate add evil2.example. 7 A 192.0.2.66", "update": "x"},
    "evil.example. 7 TXT": {"ip": "192.0.2.1", "update": "x"},
    "evil.example;": {"ip": "192.0.2.1", "update": "x"},
    "$INCLUDE.example": {"ip": "192.0.2.1", "update": "x"},
    "evil\\046.example": {"ip": "192.0.2.1", "update": "x"},"#,
        1,
    );
    scene.reset(&hostile, HOSTS);
    let (is_done, text) = ddnsctl(&scene, &["apply"]);
    assert!(is_done, "{text}");
    assert_eq!(served(&primary), HOSTS);
    let script = scripts(&scene);
    assert!(!script.contains("evil"), "{script}");
    assert_eq!(script.matches("send").count(), 1, "{script}");
}

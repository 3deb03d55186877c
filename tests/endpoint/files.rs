//! Every condition that the files can be in.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::scene::{HOSTS, STATE, Scene, can_run, host1, is_root, signed, time};

const ADDRESS: &str = "129.118.243.10";

fn remove(scene: &Scene, names: &[&str]) {
    for name in names {
        fs::remove_file(scene.path("www/ramcache").join(name)).unwrap();
    }
}

/// The answer is 911, one line names `file`, and both files are unchanged.
fn faulty(scene: &Scene, address: &str, file: &str) {
    let files = scene.files();
    let reply = scene.cgi(address, &host1()).run();
    assert_eq!((reply.status, reply.line.as_str()), (503, "911"), "{reply:?}");
    assert_eq!(reply.log.lines().count(), 1, "{reply:?}");
    assert!(reply.log.starts_with("ddns-cgi: 911 ") && reply.log.contains(file), "{reply:?}");
    scene.settle();
    assert_eq!(scene.files(), files);
    assert!(scene.restarts().is_empty() && !scene.mark().exists());
}

#[test]
fn without_any_file_the_first_update_makes_both() {
    let scene = Scene::new();
    remove(&scene, &["ip.txt", "hosts.dns"]);
    assert_eq!(scene.answer(ADDRESS, &host1()), "good 129.118.243.10");
    scene.settle();
    assert_eq!(scene.hosts(), "129.118.243.10 host1.h.lohray.com\n");
    assert!(
        scene
            .state()
            .starts_with("{\n    \"host1.h.lohray.com\": {\n        \"ip\": \"129.118.243.10\",")
    );
    for file in ["www/ramcache/ip.txt", "www/ramcache/hosts.dns"] {
        assert_eq!(fs::metadata(scene.path(file)).unwrap().mode() & 0o777, 0o644, "{file}");
    }
    assert_eq!(scene.restarts().len(), 1);
}

#[test]
fn a_state_that_is_missing_or_empty_is_rebuilt_from_the_hosts_file() {
    for state in [None, Some(""), Some("\n"), Some("[]"), Some("{}"), Some("{ }\n")] {
        let scene = Scene::new();
        match state {
            Some(text) => scene.write("www/ramcache/ip.txt", text),
            None => remove(&scene, &["ip.txt"]),
        }
        let reply = scene.cgi(ADDRESS, &host1()).run();
        assert_eq!(reply.line, "nochg 129.118.243.10", "{state:?}");
        assert!(reply.log.contains("3 hosts taken from"), "{reply:?}");
        assert_eq!(scene.hosts(), HOSTS, "{state:?}: no host is lost");
        let map: serde_json::Value = serde_json::from_str(&scene.state()).unwrap();
        assert_eq!(
            map["host3.h.lohray.com"],
            json!({"ip": "50.19.108.105", "update": "1970-01-01 00:00:00"})
        );
        assert_eq!(map.as_object().unwrap().len(), 3);
    }
}

#[test]
fn a_wiped_ram_disk_with_an_old_copy_restored_lets_no_replay_through_that_the_copy_knows() {
    let scene = Scene::new();
    let captured = signed("user1", "secretkey1", "host1.h.lohray.com", &time(-5));
    assert_eq!(scene.answer(ADDRESS, &captured), "nochg 129.118.243.10");
    let copy = scene.state();
    assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
    scene.settle();
    remove(&scene, &["ip.txt", "hosts.dns", ".ip.txt.lock", ".hosts.dns.restart.lock"]);
    scene.reset(&copy, HOSTS);
    assert_eq!(scene.answer("127.0.0.66", &captured), "replay");
    assert_eq!(scene.files().map(Option::unwrap), [copy.into_bytes(), HOSTS.into()]);
    assert_eq!(
        scene.answer("127.0.0.11", &signed("user1", "secretkey1", "host1.h.lohray.com", &time(1))),
        "good 127.0.0.11"
    );
    scene.settle();
}

#[test]
fn a_redundant_update_makes_a_missing_hosts_file() {
    let scene = Scene::new();
    remove(&scene, &["hosts.dns"]);
    assert_eq!(scene.answer(ADDRESS, &host1()), "nochg 129.118.243.10");
    scene.settle();
    assert_eq!(scene.hosts(), HOSTS);
    assert_eq!(scene.restarts().len(), 1);
}

#[test]
fn a_state_too_large_is_refused_quickly() {
    let scene = Scene::new();
    let file = fs::OpenOptions::new().write(true).open(scene.path("www/ramcache/ip.txt")).unwrap();
    file.set_len(10 << 30).unwrap();
    let started = Instant::now();
    let reply = scene.cgi(ADDRESS, &host1()).run();
    assert_eq!(reply.line, "911");
    assert!(reply.log.contains("ip.txt"), "{reply:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_stamp_is_written_in_place_unless_it_lies_across_two_sectors() {
    let scene = Scene::new();
    let file = scene.path("www/ramcache/ip.txt");
    let inode = || fs::metadata(&file).unwrap().ino();
    for start in 480..520 {
        // White space moves host1's stamp to this place.
        let (head, tail) = STATE.split_once("{\n").unwrap();
        let padding = " ".repeat(start - STATE.find("2012-04-20").unwrap());
        let state = format!("{head}{{{padding}\n{tail}");
        assert_eq!(state.find("2012-04-20"), Some(start));
        scene.write("www/ramcache/ip.txt", &state);
        let before = inode();
        let stamp = time(0);
        let query = signed("user1", "secretkey1", "host1.h.lohray.com", &stamp);
        assert_eq!(scene.answer(ADDRESS, &query), "nochg 129.118.243.10");
        let is_across = (512 - 18..512).contains(&start);
        assert_eq!(inode() != before, is_across, "{start}");
        let expected = if is_across { STATE } else { &state };
        assert_eq!(scene.state(), expected.replace("2012-04-20 20:45:59", &stamp), "{start}");
    }
}

#[test]
fn links_are_followed_and_stay() {
    let scene = Scene::new();
    fs::create_dir(scene.path("run/disk")).unwrap();
    for name in ["ip.txt", "hosts.dns"] {
        let (link, target) =
            (scene.path("www/ramcache").join(name), scene.path("run/disk").join(name));
        fs::rename(&link, &target).unwrap();
        symlink(Path::new("../../run/disk").join(name), &link).unwrap();
    }
    assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
    scene.settle();
    for name in ["ip.txt", "hosts.dns"] {
        assert!(fs::symlink_metadata(scene.path("www/ramcache").join(name)).unwrap().is_symlink());
        assert!(scene.read(&format!("run/disk/{name}")).contains("127.0.0.11"), "{name}");
    }
}

#[test]
fn mode_owner_and_group_are_kept_and_the_hosts_file_stays_readable() {
    for (before, state_after, hosts_after) in [(0o664, 0o664, 0o664), (0o600, 0o600, 0o644)] {
        let scene = Scene::new();
        let files = ["ip.txt", "hosts.dns"].map(|name| scene.path("www/ramcache").join(name));
        for file in &files {
            fs::set_permissions(file, Permissions::from_mode(before)).unwrap();
            if is_root() {
                chown(file, Some(1), Some(3)).unwrap();
            }
        }
        let owner = |file: &Path| fs::metadata(file).map(|m| (m.uid(), m.gid())).unwrap();
        let owners = files.each_ref().map(|file| owner(file));
        assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
        scene.settle();
        let modes = files.each_ref().map(|file| fs::metadata(file).unwrap().mode() & 0o7777);
        assert_eq!(modes, [state_after, hosts_after]);
        assert_eq!(files.each_ref().map(|file| owner(file)), owners);
    }
}

#[test]
fn a_lock_held_for_long_is_a_fault_after_the_time_out_and_not_for_ever() {
    let scene = Scene::new();
    scene.configure(&json!({"lock_timeout": 1}));
    let holder = fs::File::create(scene.path("www/ramcache/.ip.txt.lock")).unwrap();
    fs2::FileExt::lock_exclusive(&holder).unwrap();
    let started = Instant::now();
    faulty(&scene, "127.0.0.11", ".ip.txt.lock");
    assert!((1..4).contains(&started.elapsed().as_secs()));
    drop(holder);
    assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
}

#[test]
fn one_broken_user_does_not_keep_out_the_others_and_is_logged() {
    let scene = Scene::new();
    scene.write(
        "etc/credentials.json",
        &scene.read("etc/credentials.json").replace("\"key\": \"secretkey2\"", "\"kay\": 5"),
    );
    let broken = signed("user2", "secretkey2", "host3.h.lohray.com", &time(0));
    let reply = scene.cgi("127.0.0.11", &broken).run();
    assert_eq!(reply.line, "badauth");
    assert!(reply.log.contains("\\\"key\\\" must be a text"), "{reply:?}");
    assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
}

#[test]
fn credentials_that_all_may_read_work() {
    let scene = Scene::new();
    fs::set_permissions(scene.path("etc/credentials.json"), Permissions::from_mode(0o666)).unwrap();
    assert_eq!(scene.answer(ADDRESS, &host1()), "nochg 129.118.243.10");
}

#[test]
fn names_that_would_break_a_hosts_line_never_reach_the_hosts_file() {
    let scene = Scene::new();
    let bad = ["evil name", "evil\nname", "evil#", "evil\tname", "10.0.0.1", "-evil", "caf\u{e9}"];
    let mut credentials = json!({"user1": {"id": ["host1.h.lohray.com"], "key": "secretkey1"}});
    credentials["user1"]["id"].as_array_mut().unwrap().extend(bad.map(Into::into));
    scene.write("etc/credentials.json", &credentials.to_string());
    let mut state: serde_json::Value = serde_json::from_str(STATE).unwrap();
    for name in bad {
        state[name] = json!({"ip": "192.0.2.66", "update": "2012-04-20 20:45:59"});
    }
    state["host2.h.lohray.com"]["ip"] = "192.0.2.66 evil".into();
    scene.write("www/ramcache/ip.txt", &state.to_string());
    for name in bad {
        let query = signed("user1", "secretkey1", name, &time(0))
            .replace('\n', "%0a")
            .replace('#', "%23")
            .replace('\t', "%09");
        assert_eq!(scene.answer("127.0.0.11", &query), "badrequest malformed id", "{name:?}");
    }
    assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
    scene.settle();
    assert_eq!(scene.hosts(), "127.0.0.11 host1.h.lohray.com\n50.19.108.105 host3.h.lohray.com\n");
    let kept: serde_json::Value = serde_json::from_str(&scene.state()).unwrap();
    assert_eq!(kept.as_object().unwrap().len(), 3 + bad.len(), "the state keeps what it had");
}

#[test]
fn credentials_that_are_missing_or_broken_are_a_fault() {
    let scene = Scene::new();
    for text in ["null", "[1]", "{\"user1\": ", "\u{0}"] {
        scene.write("etc/credentials.json", text);
        faulty(&scene, "127.0.0.11", "credentials.json");
    }
    fs::remove_file(scene.path("etc/credentials.json")).unwrap();
    faulty(&scene, "127.0.0.11", "credentials.json");
}

#[test]
fn a_broken_configuration_is_a_fault_that_names_the_key() {
    let scene = Scene::new();
    for (key, value) in [
        ("statte", json!("/x")),
        ("state", json!("ip.txt")),
        ("window", json!(0)),
        ("restart", json!("service dnsmasq restart")),
    ] {
        scene.configure(&json!({key: value}));
        faulty(&scene, "127.0.0.11", &format!("key \\\"{key}\\\""));
    }
    scene.write("etc/config.json", "{");
    faulty(&scene, "127.0.0.11", "config.json");
    fs::remove_file(scene.path("etc/config.json")).unwrap();
    faulty(&scene, "127.0.0.11", "config.json");
}

#[test]
fn without_an_address_nothing_is_stored() {
    let scene = Scene::new();
    for address in ["", "localhost", "192.0.2.1, 192.0.2.2"] {
        faulty(&scene, address, "REMOTE_ADDR");
    }
    let mut cgi = scene.cgi("", &host1());
    cgi.0.env_remove("REMOTE_ADDR").env("HTTP_X_FORWARDED_FOR", "192.0.2.1");
    assert_eq!(cgi.run().line, "911");
}

#[test]
fn a_folder_that_may_not_be_written_is_a_fault_that_names_the_file() {
    if !can_run("folder without write access, as www-data", &["root"]) {
        return;
    }
    let scene = Scene::new();
    let folder = scene.path("www/ramcache");
    let answer = |query: &str| {
        let mut cgi = scene.cgi("127.0.0.11", query);
        let mut command = Command::new("/usr/bin/setpriv");
        command.args(["--reuid=33", "--regid=33", "--clear-groups"]).arg(cgi.0.get_program());
        command.env_clear().envs(cgi.0.get_envs().filter_map(|(name, value)| Some((name, value?))));
        cgi.0 = command;
        cgi.run()
    };
    let files = scene.files();
    chown(&folder, Some(0), Some(0)).unwrap();
    let reply = answer(&host1());
    assert_eq!(reply.line, "911");
    assert!(
        reply.log.contains(".ip.txt.lock") && reply.log.contains("give the web server's user"),
        "{reply:?}"
    );
    assert_eq!(scene.files(), files);
    chown(&folder, Some(33), Some(33)).unwrap();
    assert_eq!(answer(&host1()).line, "good 127.0.0.11");
}

#[test]
fn what_root_leaves_behind_can_be_used_by_the_web_server() {
    if !can_run("requests by root and by www-data in turn", &["root"]) {
        return;
    }
    let scene = Scene::new();
    remove(&scene, &["ip.txt", "hosts.dns"]);
    let at = |seconds| signed("user1", "secretkey1", "host1.h.lohray.com", &time(seconds));
    assert_eq!(scene.answer("127.0.0.11", &at(-3)), "good 127.0.0.11");
    scene.settle();
    for entry in fs::read_dir(scene.path("www/ramcache")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().uid(), crate::scene::web_user(), "{entry:?}");
    }
    assert_eq!(scene.cgi("127.0.0.12", &at(-2)).by_web_user().run().line, "good 127.0.0.12");
    scene.settle();
    assert_eq!(scene.restarts().len(), 2);
    assert!(!scene.mark().exists());
}

#[test]
fn helper_files_that_are_links_are_not_followed() {
    for name in [".ip.txt.lock", ".hosts.dns.pending"] {
        let scene = Scene::new();
        scene.write("run/victim", "");
        symlink(scene.path("run/victim"), scene.path("www/ramcache").join(name)).unwrap();
        let reply = scene.cgi("127.0.0.11", &host1()).run();
        assert_eq!(reply.line, "911", "{name}");
        assert!(reply.log.contains(name), "{reply:?}");
        assert_eq!(scene.read("run/victim"), "");
        assert_eq!(scene.state(), STATE);
    }
    // A new file takes their place.
    for name in [".ip.txt.tmp", ".hosts.dns.tmp"] {
        let scene = Scene::new();
        scene.write("run/victim", "");
        symlink(scene.path("run/victim"), scene.path("www/ramcache").join(name)).unwrap();
        assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11", "{name}");
        scene.settle();
        assert_eq!(scene.read("run/victim"), "", "{name}");
        assert_eq!(scene.hosts(), HOSTS.replace(ADDRESS, "127.0.0.11"), "{name}");
    }
}

#[test]
fn names_that_differ_in_case_alone_become_one() {
    let scene = Scene::new();
    let twins = "{\"H1.example\": {\"ip\": \"192.0.2.1\", \"update\": \"2012-04-20 20:45:59\"}, \
                 \"h1.example\": {\"ip\": \"192.0.2.2\", \"update\": \"2013-04-20 20:45:59\"}, \
                 \"H1.example\": {\"ip\": \"192.0.2.3\", \"update\": \"2014-04-20 20:45:59\", \"note\": 1}}";
    scene.reset(twins, "192.0.2.3 H1.example\n192.0.2.2 h1.example\n");
    scene.write("etc/credentials.json", r#"{"u": {"id": ["h1.example"], "key": "k"}}"#);
    assert_eq!(
        scene.answer("127.0.0.11", &signed("u", "k", "h1.example", &time(0))),
        "good 127.0.0.11"
    );
    scene.settle();
    assert_eq!(scene.hosts(), "127.0.0.11 H1.example\n");
    assert!(
        scene.state().contains("\"note\": 1"),
        "the last of the equal keys counts: {}",
        scene.state()
    );
}

#[test]
fn in_local_time_the_repeated_hour_of_autumn_lets_no_replay_through() {
    let scene = Scene::new();
    scene.configure(&json!({"time_zone": "local", "window": 10_000_000_000_u64}));
    let send = |address: &str, time: &str| {
        let query = signed("user1", "secretkey1", "host1.h.lohray.com", time);
        let reply = scene.cgi(address, &query).env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3").run();
        scene.settle();
        reply.line
    };
    let stored = |stamp: &str| {
        assert!(scene.state().contains(&format!("\"update\": \"{stamp}\"")), "{}", scene.state());
    };
    assert_eq!(send("127.0.0.11", "2026-10-25 02:30:00"), "good 127.0.0.11");
    stored("2026-10-25 02:30:00");
    // An hour later, the clock shows the same text again.
    assert_eq!(send("127.0.0.66", "2026-10-25 02:30:00"), "replay");
    assert_eq!(send("127.0.0.66", "2026-10-25T02:30:00+02:00"), "replay");
    // An offset tells the second pass apart, and it is remembered as such.
    assert_eq!(send("127.0.0.12", "2026-10-25T02:10:00+01:00"), "good 127.0.0.12");
    stored("2026-10-25T02:10:00+01:00");
    assert_eq!(send("127.0.0.66", "2026-10-25T02:10:00+01:00"), "replay");
    assert_eq!(send("127.0.0.66", "2026-10-25 02:45:00"), "replay");
    assert_eq!(send("127.0.0.12", "2026-10-25T02:20:00+01:00"), "nochg 127.0.0.12");
    stored("2026-10-25T02:20:00+01:00");
    assert_eq!(send("127.0.0.12", "2026-10-25 03:00:00"), "nochg 127.0.0.12");
    stored("2026-10-25 03:00:00");
    // The hour that spring skips does not exist.
    assert_eq!(send("127.0.0.12", "2027-03-28 02:30:00"), "badrequest malformed timeST");
    assert_eq!(send("127.0.0.12", "2027-03-28 03:30:00"), "nochg 127.0.0.12");
}

#[test]
fn in_the_repeated_hour_a_stamp_without_offset_means_the_first_pass() {
    let scene = Scene::new();
    scene.configure(&json!({"time_zone": "local"}));
    let seconds = |time: &str| -> i64 {
        let query = signed("user1", "secretkey1", "host1.h.lohray.com", time);
        let line =
            scene.cgi("127.0.0.11", &query).env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3").run().line;
        line.strip_prefix("stale ").unwrap().parse().unwrap()
    };
    let difference = seconds("2012-10-28 02:30:00") - seconds("2012-10-28T02:30:00+02:00");
    assert!(difference.abs() <= 2, "{difference}");
}

//! Neither a key nor an expected hash ever leaves the program.

use serde_json::json;

use crate::apache::{APACHE, Apache, Kind};
use crate::scene::{Scene, can_run, eventually, hash, host1, signed, time};

#[test]
fn no_key_and_no_expected_hash_in_any_reply_or_log_line() {
    let scene = Scene::new();
    let now = time(0);
    let sum = hash("host1.h.lohray.com", &now, "secretkey1");
    let query = signed("user1", "secretkey1", "host1.h.lohray.com", &now);
    let wrong = query.replace(&sum, &"0".repeat(40));
    let mut seen = String::new();
    let mut note = |query: &str| {
        let output = scene.cgi("127.0.0.10", query).0.output().unwrap();
        seen += &String::from_utf8(output.stdout).unwrap();
        seen += &String::from_utf8(output.stderr).unwrap();
    };
    note(&wrong);
    note(&wrong.replace("user1", "user9"));
    note(&query.replace("host1", "host3"));
    note(&signed("user1", "secretkey1", "host3.h.lohray.com", &now));
    note(&signed("user1", "secretkey1", "host1.h.lohray.com", &time(-99)));
    note(&query);
    note(&query);
    note(&query.replace("hash=", "hash=x"));
    for credentials in [
        "{\"user1\": {\"key\": \"secretkey1\"}}",
        "{\"user1\": {\"id\": \"host1.h.lohray.com\", \"key\": \"secretkey1\"}}",
        "{\"user1\": {\"id\": [], \"key\": \"secretkey1\"",
        "{\"user1\": {\"id\": [], \"key\": \"secretkey1\\x\"}}",
        "[\"secretkey1\"]",
        "\"secretkey1\"",
    ] {
        scene.write("etc/credentials.json", credentials);
        note(&query);
    }
    scene.configure(&json!({"credentials": 5, "key": "secretkey1"}));
    note(&query);
    scene.settle();

    for word in ["badauth", "nohost", "stale", "good", "nochg", "badrequest", "911", "reason="] {
        assert!(seen.contains(word), "{word} was tried: {seen}");
    }
    let seen = seen.to_lowercase();
    for secret in ["secretkey", sum.as_str()] {
        assert!(!seen.contains(secret), "{seen}");
    }
}

#[test]
fn the_log_names_who_and_why_for_fail2ban() {
    let scene = Scene::new();
    let (head, _) =
        host1().rsplit_once('=').map(|(head, hash)| (head.to_owned(), hash.to_owned())).unwrap();
    let reply = scene.cgi("192.0.2.7", &format!("{head}={}", "0".repeat(40))).run();
    assert_eq!(
        reply.log,
        "ddns-cgi: badauth address=192.0.2.7 user=\"user1\" host=\"host1.h.lohray.com\" reason=\"wrong hash\"\n"
    );
    let reply = scene.cgi("192.0.2.7", "x").run();
    assert_eq!(reply.log, "ddns-cgi: badrequest address=192.0.2.7 reason=\"missing user\"\n");
}

#[test]
fn the_log_says_what_apache_lacks_if_no_password_reaches_us() {
    const HINT: &str = "reason=\"no user and password; if the client sends them, Apache lacks \
                        CGIPassAuth On\"";
    if !can_run("a password that Apache keeps", &[APACHE]) {
        return;
    }
    let scene = Scene::new();
    scene.configure(&json!({"dyndns2": "any"}));
    let path = "/nic/update?hostname=host1.h.lohray.com";
    for (setting, options, expected) in [
        ("CGIPassAuth Off", &["--user", "user1:secretkey1"][..], HINT),
        ("CGIPassAuth On", &["--user", "user1:wrong"], "reason=\"wrong password\""),
        ("CGIPassAuth On", &["--header", "Authorization: x"], "reason=\"no user and password\""),
    ] {
        let changes = [("CGIPassAuth On", setting)];
        let apache = Apache::start_with(&scene, Kind::EventCgid, "", &changes);
        assert_eq!(apache.curl("127.0.0.10", path, options).line, "badauth");
        eventually("the reason is in the log", || scene.read("run/error.log").contains(expected));
    }
}

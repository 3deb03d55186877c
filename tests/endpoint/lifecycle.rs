//! Users and hosts come, change and go: what `ddnsctl` says, what it refuses, and what stays when it is
//! killed, runs twice at once, or meets clients that keep sending.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::chown;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::faults::{self, FILE_CALLS, STRACE, calls_in};
use crate::scene::{
    CREDENTIALS, HOSTS, STATE, Scene, can_run, eventually, is_root, signed, tell, time,
};

const HOST1: &str = "host1.h.lohray.com";
const HOST2: &str = "host2.h.lohray.com";
const HOST3: &str = "host3.h.lohray.com";
const NEW: &str = "new.h.lohray.com";

fn settings_of(user: &str) -> String {
    format!("ddnsctl user config {user} --for ip-update")
}

impl Scene {
    fn users(&self) -> Value {
        serde_json::from_str(&self.read("etc/credentials.json")).unwrap()
    }

    fn write_users(&self, users: &Value) {
        self.write("etc/credentials.json", &users.to_string());
    }

    /// What a command says that it did. Its advice names no configuration.
    fn said(&self, words: &[&str]) -> String {
        self.notes(words).replace(&self.advised(""), "ddnsctl ")
    }

    /// The same for why it fails.
    fn refused(&self, words: &[&str]) -> String {
        self.refuses(words).replace(&self.advised(""), "ddnsctl ")
    }

    fn hosts_of_state(&self) -> Vec<String> {
        let state: Value = serde_json::from_str(&self.state()).unwrap();
        state.as_object().unwrap().keys().cloned().collect()
    }
}

#[test]
fn each_command_says_in_a_line_what_it_did_and_nothing_if_it_is_to_be_quiet() {
    let scene = Scene::new();
    let next = |user| {
        let words = "next, for ip-update (or ddclient, inadyn, fritzbox, curl):";
        format!("{words} {}\n", settings_of(user))
    };
    for (words, note) in [
        (
            "user add carol --host a.example --host b.example",
            format!("added carol with 2 hosts; {}", next("carol")),
        ),
        (
            "user add dave --host c",
            format!(
                "added dave with 1 host; c has no domain, so no public zone can serve it; {}",
                next("dave")
            ),
        ),
        ("user add erin", "added erin with 0 hosts; next: ddnsctl host add erin HOST\n".into()),
        ("user rekey erin", "erin has a new key; next: ddnsctl host add erin HOST\n".into()),
        ("user rekey carol", format!("carol has a new key; {}", next("carol"))),
        ("user signature carol hmac-sha256", "carol may sign only with protocol 2\n".into()),
        ("user signature carol any", "carol may sign with any protocol\n".into()),
        ("host add carol d.example", format!("carol may update d.example; {}", next("carol"))),
        (
            "host add carol d",
            format!(
                "carol may update d; d has no domain, so no public zone can serve it; {}",
                next("carol")
            ),
        ),
        ("host move d.example dave --quiet", String::new()),
        ("host expect d.example 90min", "expecting an update of d.example every 90 min\n".into()),
        ("host expect d.example none", "d.example has no interval of its own any more\n".into()),
        (
            "host rename host3.h.lohray.com e.example",
            format!(
                "e.example has the place of {HOST3} in the state and in DNS\n\
                 user2 may update e.example, no longer {HOST3}; next: {}\n",
                settings_of("user2")
            ),
        ),
        (
            "host remove user2 e.example",
            "removed e.example from the state and from DNS\n\
             user2 may no longer update e.example\n"
                .into(),
        ),
        (
            "host remove d.example",
            format!(
                "d.example was not in DNS\ndave may no longer update d.example; next: {}\n",
                settings_of("dave")
            ),
        ),
        ("host remove nas.test", "nas.test was not in DNS\nno user has nas.test\n".into()),
        (
            "host remove host9.h.lohray.com",
            format!(
                "host9.h.lohray.com was not in DNS\n\
                 no user has host9.h.lohray.com; did you mean {HOST1}?\n"
            ),
        ),
        ("user remove dave", "removed dave\n".into()),
        (
            "forget host1.h.lohray.com x.example",
            format!(
                "removed {HOST1} from the state and from DNS; x.example was not in DNS; \
                 a user still has {HOST1} (user1): the next update brings it back\n"
            ),
        ),
        (
            "user remove user1",
            format!("removed user1; 1 host stays in DNS; to remove: ddnsctl forget {HOST2}\n"),
        ),
        ("user remove user2 --hosts", "removed user2\n".into()),
        (
            "user remove user2 --hosts",
            "there is no user user2; 1 host has no owner; to see which: ddnsctl list; \
             to remove: ddnsctl forget HOST\n"
                .into(),
        ),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(scene.said(&words), note, "{words:?}");
    }
    assert_eq!(
        (scene.hosts_of_state(), scene.hosts()),
        (vec![HOST2.to_owned()], "75.110.204.100 host2.h.lohray.com\n".to_owned())
    );
    let quiet = |words: &[&str]| scene.notes(&[&["--quiet"], words].concat());
    assert_eq!(quiet(&["host", "add", "carol", "f.example", "--ip6", "::7:8"]), "");
    assert_eq!(quiet(&["user", "remove", "carol", "--hosts"]), "");
    assert_eq!(quiet(&["forget", "x.example"]), "");
    assert_eq!(scene.hosts_of_state(), [HOST2]);
}

#[test]
fn a_moved_host_is_followed_by_the_settings_of_those_who_still_have_hosts() {
    let scene = Scene::new();
    let [one, two] = ["user1", "user2"].map(settings_of);
    for (host, from, to, next) in [
        (HOST1, "user1", "user2", format!("the clients need new settings; next: {two}; {one}")),
        (HOST2, "user1", "user2", format!("the client needs new settings; next: {two}")),
    ] {
        let note = scene.said(&["host", "move", host, to]);
        assert_eq!(note, format!("moved {host} from {from} to {to}; {next}\n"));
    }
    let note = scene.notes(&["host", "move", HOST2, "user2"]);
    assert_eq!(note, format!("{HOST2} is user2's already\n"));
}

#[test]
fn a_name_that_cannot_work_is_refused_with_the_reason() {
    let scene = Scene::new();
    let before = [scene.read("etc/credentials.json"), scene.state()];
    for (words, reason) in [
        (&["user", "add", "a:b"][..], "HTTP Basic ends a name at its first colon"),
        (&["user", "add", "a b"], "settings can hold ' '"),
        (&["user", "add", "x", "--host", "a_b.-c"], "-c begins or ends with a hyphen"),
        (&["user", "add", "x", "--host", "a.example", "--host", "A.Example."], "given twice"),
        (&["user", "add", "user1"], "user1 already; to add a host: ddnsctl host add user1 HOST; "),
        (
            &["user", "add", "user1", "--host", HOST1, "--host", NEW],
            "to add a host: ddnsctl host add user1 new.h.lohray.com; for a new key, so that the old \
             one stops working: ddnsctl user rekey user1\n",
        ),
        (
            &["user", "add", "carol", "--host", HOST1],
            "user1's already; to move it, add carol without it, then run \
             ddnsctl host move host1.h.lohray.com carol\n",
        ),
        (&["user", "rekey", "User1"], "there is no user User1; did you mean user1?"),
        (&["user", "signature", "usr1", "any"], "no user usr1; did you mean user1?"),
        (&["user", "remove", "al"], "there is no user al\n"),
        (&["host", "add", "al", NEW], "there is no user al\n"),
        (
            &["host", "add", "user2", "HOST1.h.lohray.com."],
            "user1's already; to move it: ddnsctl host move HOST1.h.lohray.com user2\n",
        ),
        (&["host", "add", "user1", HOST1], "host1.h.lohray.com is user1's already\n"),
        (&["host", "add", "al", HOST1], "host1.h.lohray.com is user1's already\n"),
        (&["host", "move", HOST1, "al"], "there is no user al\n"),
        (&["host", "move", NEW, "user1"], "next: ddnsctl host add user1 new.h.lohray.com\n"),
        (&["host", "move", "host9.h.lohray.com", "user1"], "did you mean host1.h.lohray.com?\n"),
        (&["host", "rename", HOST1, HOST3], "user2's already"),
        (&["host", "rename", HOST1, HOST2], "user1's already"),
        (&["host", "rename", HOST1, "HOST1.h.lohray.com."], "case does not matter"),
        (
            &["host", "rename", "x.example", NEW],
            "no user has x.example; to see the hosts: ddnsctl user list\n",
        ),
        (&["host", "expect", "host.h.lohray.com", "1h"], "did you mean host1.h.lohray.com?\n"),
        (
            &["host", "remove", "user2", HOST1],
            "user2 has no host host1.h.lohray.com: it is user1's",
        ),
        (&["host", "remove", "al", HOST1], "there is no user al: host1.h.lohray.com is user1's"),
        (&["host", "remove", "al", NEW], "next: ddnsctl host remove new.h.lohray.com\n"),
        (&["forget", "a..b"], "is not a valid host name: a part between its dots is empty"),
    ] {
        let refusal = scene.refused(words);
        assert!(refusal.contains(reason), "{words:?}: {refusal}");
    }
    for (words, reason) in [
        (&["host", "expect", HOST1, "59s"][..], "from a minute to a year"),
        (&["host", "expect", HOST1, "often"], "'<INTERVAL>': write it as 15min, 6h or 1day"),
        (&["forget"], "<HOST>"),
        (
            &["user", "config", "user1"],
            "tip: the clients are ip-update, ddclient, inadyn, fritzbox, curl",
        ),
    ] {
        let output = scene.ddnsctl(words);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && text.contains(reason), "{words:?}: {text}");
    }
    assert_eq!([scene.read("etc/credentials.json"), scene.state()], before);
}

#[test]
fn a_host_may_be_given_with_a_final_dot_and_in_any_case() {
    let scene = Scene::new();
    scene.does(&["user", "add", "carol", "--host", "A.example."]);
    scene.does(&["host", "add", "carol", "b.example."]);
    scene.does(&["host", "expect", "HOST1.h.lohray.com.", "1h"]);
    scene.does(&["host", "move", "a.EXAMPLE.", "user2"]);
    scene.does(&["host", "rename", "HOST1.h.lohray.com.", "New.example."]);
    scene.does(&["sign", "new.EXAMPLE."]);
    let users = scene.users();
    assert_eq!(users["carol"]["id"], json!(["b.example"]));
    assert_eq!(users["user1"]["id"], json!(["New.example", HOST2]));
    assert_eq!(users["user1"]["every"], json!({"New.example": 3600}));
    assert_eq!(users["user2"]["id"], json!([HOST3, "a.EXAMPLE"]));
    assert_eq!(scene.hosts_of_state(), ["New.example", HOST2, HOST3]);
    scene.does(&["forget", "HOST2.h.lohray.com."]);
    scene.does(&["host", "remove", "user1", "NEW.example."]);
    assert_eq!(scene.hosts_of_state(), [HOST3]);
    assert_eq!(scene.users()["user1"], json!({"id": [HOST2], "key": "secretkey1"}));
}

#[test]
fn a_moved_host_keeps_its_record_and_its_interval_and_answers_to_its_new_user() {
    let scene = Scene::new();
    scene.does(&["host", "expect", HOST1, "15min"]);
    scene.does(&["host", "move", HOST1, "user2"]);
    assert_eq!((scene.state(), scene.hosts()), (STATE.to_owned(), HOSTS.to_owned()));
    assert!(scene.restarts().is_empty());
    let users = scene.users();
    assert_eq!(users["user1"], json!({"id": [HOST2], "key": "secretkey1"}));
    let expected = json!({"id": [HOST3, HOST1], "key": "secretkey2", "every": {HOST1: 900}});
    assert_eq!(users["user2"], expected);
    let by = |user, key, seconds| {
        scene.answer("129.118.243.10", &signed(user, key, HOST1, &time(seconds)))
    };
    assert_eq!(by("user1", "secretkey1", -9), "nohost");
    assert_eq!(by("user2", "secretkey2", -8), "nochg 129.118.243.10");
}

#[test]
fn a_renamed_host_keeps_its_place_its_fields_and_its_stamp() {
    let scene = Scene::new();
    let state = STATE.replacen("\"ip\": \"75", "\"note\": \"roof\",\n        \"ip\": \"75", 1);
    scene.write("www/ramcache/ip.txt", &state);
    scene.does(&["host", "rename", HOST2, NEW]);
    assert_eq!(scene.state(), state.replace(HOST2, NEW));
    assert_eq!(scene.hosts(), HOSTS.replace(HOST2, NEW));
    assert_eq!(scene.restarts().len(), 1);
    assert!(!scene.mark().exists());
    let by = |host, stamp: &str| {
        scene.answer("75.110.204.100", &signed("user1", "secretkey1", host, stamp))
    };
    assert_eq!(by(HOST2, &time(-9)), "nohost");
    assert_eq!(by(NEW, &time(-9)), "nochg 75.110.204.100");
    assert_eq!(scene.users()["user1"]["id"], json!([HOST1, NEW]));
}

#[test]
fn a_new_name_takes_over_no_record_and_loses_none() {
    let scene = Scene::new();
    // Somebody had the new name before.
    let state = STATE.replace(HOST3, NEW);
    scene.write("www/ramcache/ip.txt", &state);
    let refusal = scene.refused(&["host", "rename", HOST1, NEW]);
    let reason = "an address already, though no user has it; to remove that: ddnsctl forget new.h";
    assert!(refusal.contains(reason), "{refusal}");
    assert_eq!(scene.read("etc/credentials.json"), CREDENTIALS);
    // A client was faster than a command that had stopped halfway.
    scene.write("etc/credentials.json", &CREDENTIALS.replace(HOST1, NEW));
    let notes = scene.notes(&["host", "rename", HOST1, NEW]);
    let expected = format!("{NEW} has a record of its own, so that of {HOST1} is removed\n");
    assert!(notes.starts_with(&expected), "{notes}");
    assert_eq!(scene.hosts_of_state(), [HOST2, NEW]);
    assert_eq!(
        scene.hosts(),
        "75.110.204.100 host2.h.lohray.com\n50.19.108.105 new.h.lohray.com\n"
    );
    // Once more, there is nothing to do.
    assert!(scene.notes(&["host", "rename", HOST1, NEW]).contains("host1.h.lohray.com was not"));
}

#[test]
fn the_list_of_users_has_signatures_intervals_and_problems() {
    let scene = Scene::new();
    scene.does(&["host", "expect", HOST2, "15min"]);
    scene.does(&["user", "signature", "user2", "hmac-sha256"]);
    let mut users = scene.users();
    users["keyless"] = json!({"id": ["x.example"]});
    users["text"] = json!("text");
    users["odd"] = json!({"key": "k", "id": [], "every": {"a": "often", "b": -1, "c": 60}});
    users["odder"] = json!({"key": "k", "id": [], "every": [900]});
    scene.write_users(&users);
    let list: Value = serde_json::from_str(&scene.does(&["user", "list", "--json"])).unwrap();
    let entry = |hosts: Value, signature: Value, every: Value, problem: Value| json!({"hosts": hosts, "signature": signature, "every": every, "problem": problem});
    let (any, none) = (json!("any"), Value::Null);
    for (user, expected) in [
        ("user1", entry(json!([HOST1, HOST2]), any.clone(), json!({HOST2: 900}), none.clone())),
        ("user2", entry(json!([HOST3]), json!("hmac-sha256"), json!({}), none.clone())),
        ("keyless", entry(json!(["x.example"]), none.clone(), json!({}), json!("it has no key"))),
        ("text", entry(json!([]), none.clone(), json!({}), json!("it must be an object"))),
        ("odd", entry(json!([]), any.clone(), json!({"c": 60}), none.clone())),
        ("odder", entry(json!([]), any, json!({}), none)),
    ] {
        assert_eq!(list[user], expected, "{user}");
    }
    assert_eq!(scene.does(&["host", "list"]), scene.does(&["list"]));
    let table = scene.does(&["user", "list"]);
    assert!(table.contains(&format!("any          {HOST1} {HOST2} (every 15 min)\n")), "{table}");
    assert!(table.contains("keyless  unusable     x.example\n"), "{table}");
    assert!(!table.contains("secretkey"));
}

#[test]
fn odd_entries_can_be_listed_mended_and_removed() {
    let scene = Scene::new();
    let odd = json!({
        "a:b c": {"id": ["a.example"], "key": "k"},
        "text": "text",
        "noid": {"key": "k"},
        "textid": {"key": "k", "id": "b.example"},
        "twice": {"key": "k", "id": ["T.example", "t.example", HOST1], "every": {"t.EXAMPLE": 60}},
        "bad": {"key": "k", "id": ["d.example"], "every": "often"},
        "user1": {"key": "secretkey1", "id": [HOST1, HOST2]},
    });
    scene.write_users(&odd);
    // An old name keeps working.
    assert_eq!(scene.does(&["user", "rekey", "a:b c"]).len(), 65);
    assert!(scene.notes(&["user", "remove", "a:b c", "--hosts"]).contains("removed a:b c"));
    assert!(scene.refuses(&["user", "rekey", "text"]).contains("correct it by hand, or remove"));
    assert!(scene.refuses(&["host", "add", "textid", NEW]).contains("\"id\" of textid is not a"));
    assert!(scene.refuses(&["host", "move", HOST2, "textid"]).contains("is not a list"));
    assert!(scene.refuses(&["host", "expect", "d.example", "1h"]).contains("\"every\" is not an"));
    assert_eq!(scene.users()["user1"], odd["user1"]);
    scene.does(&["host", "add", "noid", "n.example"]);
    assert_eq!(scene.users()["noid"], json!({"key": "k", "id": ["n.example"]}));
    scene.does(&["host", "rename", "t.example", "u.example"]);
    let expected = json!(["u.example", "u.example", HOST1]);
    assert_eq!(scene.users()["twice"]["id"], expected);
    assert_eq!(scene.users()["twice"]["every"], json!({"u.example": 60}));
    // The host of two users stays with the other.
    let notes = scene.notes(&["host", "remove", "user1", HOST1]);
    let expected =
        format!("user1 may no longer update {HOST1}; it stays in DNS: twice has it, too; next: ");
    assert!(notes.starts_with(&expected), "{notes}");
    assert_eq!(scene.state(), STATE);
    scene.does(&["host", "add", "noid", "m.example"]);
    let mut users = scene.users();
    users["noid"]["id"] = json!([HOST1, "m.example"]);
    scene.write_users(&users);
    scene.does(&["user", "remove", "twice", "--hosts"]);
    assert_eq!(scene.state(), STATE);
    for user in ["text", "textid", "bad"] {
        scene.does(&["user", "remove", user, "--hosts"]);
    }
    scene.does(&["host", "remove", HOST1]);
    scene.does(&["user", "remove", "noid"]);
    assert_eq!(scene.users(), json!({"user1": {"key": "secretkey1", "id": [HOST2]}}));
    assert_eq!(scene.hosts_of_state(), [HOST2, HOST3]);
}

#[test]
fn a_user_without_key_and_with_hosts_that_stay_in_dns_is_explained() {
    let scene = Scene::new();
    scene.configure(&json!({"name_server": "none"}));
    let mut users = scene.users();
    users["user1"].as_object_mut().unwrap().remove("key");
    scene.write_users(&users);
    let found = String::from_utf8(scene.ddnsctl(&["check"]).stdout).unwrap();
    assert!(found.contains("error: user user1: it has no key"), "{found}");
    scene.does(&["user", "rekey", "user1"]);
    let found = String::from_utf8(scene.ddnsctl(&["check"]).stdout).unwrap();
    assert!(!found.contains("user1: it"), "{found}");
}

/// A user with so many hosts that no command line could hold them.
#[test]
fn a_user_with_many_hosts_is_removed_with_all_of_them() {
    let scene = Scene::new();
    let label = "x".repeat(60);
    let name = |n| format!("host{n}.{label}.{label}.{label}.example");
    let names: Vec<String> = (0..10_000).map(name).collect();
    let (state, hosts) = faults::files_of(&names);
    scene.reset(
        &state.replacen('{', "{\n    \"other.example\": {\"ip\": \"192.0.2.7\"},", 1),
        &hosts,
    );
    let mut users = scene.users();
    users["big"] = json!({"id": names, "key": "k"});
    scene.write_users(&users);
    let notes = scene.notes(&["user", "remove", "big", "--hosts"]);
    assert!(notes.contains(" and 9995 more from the state and from DNS\nremoved big\n"), "{notes}");
    assert_eq!(scene.users(), serde_json::from_str::<Value>(CREDENTIALS).unwrap());
    assert_eq!(scene.hosts_of_state(), ["other.example"]);
    assert_eq!(scene.hosts(), "192.0.2.7 other.example\n");
    scene.reset(&state, &hosts);
    scene.write_users(&users);
    let note = scene.said(&["user", "remove", "big"]);
    let expected =
        "removed big; 10000 hosts stay in DNS, without an owner; to see them: ddnsctl list\n";
    assert_eq!(note, expected);
    assert!(scene.does(&["list"]).lines().nth(1).unwrap().ends_with(" -"));
    // The very last hosts leave, too: an empty state is rebuilt from the hosts file.
    let mut forget = scene.ddnsctl_command(&["forget", "-"]);
    scene.write("run/names", &names.join("\n"));
    let names = fs::File::open(scene.path("run/names")).unwrap();
    assert!(forget.stdin(names).output().unwrap().status.success());
    assert_eq!((scene.state().trim(), scene.hosts().as_str()), ("{}", ""));
}

#[test]
fn a_restart_that_fails_keeps_no_user_and_no_host() {
    let scene = Scene::new();
    scene.configure(&json!({"restart": ["sh", "-c", "echo broken; exit 1"]}));
    let output = scene.ddnsctl(&["user", "remove", "user1", "--hosts"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("broken") && text.contains("All the same, the state has the change"),
        "{text}"
    );
    assert!(text.ends_with("removed user1; DNS follows if you run this again\n"), "{text}");
    assert!(scene.users()["user1"].is_null());
    assert_eq!(scene.hosts_of_state(), [HOST3]);
    assert!(scene.mark().exists(), "the next request tries again");
    // So does the same command, although the user is gone.
    let output = scene.ddnsctl(&["user", "remove", "user1", "--hosts"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("broken") && text.ends_with("DNS follows if you run this again\n"));
    let broken = scene.read("etc/config.json");
    scene.configure(&json!({}));
    scene.does(&["user", "remove", "user1", "--hosts"]);
    assert!(!scene.mark().exists());
    scene.write("etc/config.json", &broken);
    // If the state cannot be changed, the user stays, and can do nothing.
    scene.write("www/ramcache/ip.txt", "{");
    let output = scene.ddnsctl(&["user", "remove", "user2", "--hosts"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(scene.users(), json!({"user2": {"id": [HOST3]}}));
    scene.write("www/ramcache/ip.txt", STATE);
    scene.configure(&json!({}));
    scene.does(&["user", "remove", "user2", "--hosts"]);
    assert_eq!((scene.users(), scene.hosts_of_state().len()), (json!({}), 2));
}

/// A command that is killed, or fails, at each of its system calls in turn.
struct Interrupted {
    scene: Scene,
    words: &'static [&'static str],
    /// Credentials, state and hosts file before the command.
    before: [String; 3],
    /// The same after it.
    after: [String; 3],
    /// Credentials that it may leave in between.
    between: Vec<String>,
}

const FILES: [&str; 3] = ["etc/credentials.json", "www/ramcache/ip.txt", "www/ramcache/hosts.dns"];

impl Interrupted {
    /// `ddnsctl` works as root on the state, without another process, if root owns its folder.
    fn new(words: &'static [&'static str], is_by_root: bool) -> Self {
        let scene = faults::scene();
        let mut config: Value = serde_json::from_str(&scene.read("etc/config.json")).unwrap();
        config["name_server"] = "none".into();
        scene.configure(&config);
        if is_by_root && is_root() {
            chown(scene.path("www/ramcache"), Some(0), Some(0)).unwrap();
        }
        let every = "\"secretkey1\",\n        \"every\": {\n            \"host1.h.lohray.com\": 900\n        }";
        let credentials = CREDENTIALS.replace("\"secretkey1\"", every);
        let before = [&credentials, STATE, HOSTS].map(str::to_owned);
        let mut keyless: Value = serde_json::from_str(&credentials).unwrap();
        keyless["user1"].as_object_mut().unwrap().shift_remove("key");
        let mut this =
            Self { scene, words, before: before.clone(), after: before, between: Vec::new() };
        this.prepare();
        this.scene.does(words);
        this.after = this.files();
        if words.contains(&"--hosts") {
            this.scene.write_users(&keyless);
            this.scene.does(&["host", "expect", HOST1, "15min"]);
            this.between.push(this.scene.read(FILES[0]));
        }
        this
    }

    fn files(&self) -> [String; 3] {
        FILES.map(|name| self.scene.read(name))
    }

    fn prepare(&self) {
        let _ = fs::remove_file(self.scene.mark());
        for (name, text) in FILES.iter().zip(&self.before) {
            self.scene.write(name, text);
        }
        self.scene.write("run/restarts", "");
        self.scene.write("run/served", &self.before[2]);
    }

    /// Runs the command under strace, with these options. Only its first process is traced. The end
    /// of its output is the end of all of them.
    fn run(&self, options: &[&str]) -> Output {
        self.prepare();
        let command = self.scene.ddnsctl_command(self.words);
        let mut strace = Command::new(STRACE);
        strace.arg("-o").arg(self.scene.path("run/trace")).args(options).arg("--");
        strace.arg(command.get_program()).args(command.get_args()).output().unwrap()
    }

    /// Each file is whole. Whoever may bring a host back lost that right before the host left, and
    /// what name servers do not know yet is marked.
    fn check(&self, point: &str, explained: &mut BTreeSet<String>) {
        let [credentials, state, hosts] = self.files();
        let is_new = |number: usize, text: &str| {
            let (old, new) = (&self.before[number], &self.after[number]);
            assert!(text == old || text == new, "{point}: neither old nor new: {text}");
            text == new && old != new
        };
        let is_between = self.between.contains(&credentials);
        if is_between && explained.insert(credentials.clone()) {
            let found = String::from_utf8(self.scene.ddnsctl(&["check"]).stdout).unwrap();
            assert!(found.contains("user user1: it has no key"), "{point}: {found}");
        }
        let needs_right = self.before[0] != self.after[0];
        let has_begun = is_between || is_new(0, &credentials) || !needs_right;
        let is_stored = is_new(1, &state);
        let is_published = is_new(2, &hosts);
        assert!(has_begun || !is_stored, "{point}: the right to update comes first");
        let is_served = self.scene.read("run/served") == self.after[2];
        let is_marked = self.scene.mark().exists();
        assert!(!is_stored || (is_published && is_served) || is_marked, "{point}: no mark");
        assert!(!is_published || is_served || is_marked, "{point}: no mark");
        let is_rebuilt = state.trim() == "{}" && !hosts.is_empty();
        assert!(!is_rebuilt, "{point}: the next update takes the hosts from the hosts file");
    }

    /// The same command again completes it, unless there was nothing left to do.
    fn check_completion(&self, point: &str) {
        let output = self.scene.ddnsctl(self.words);
        let text = String::from_utf8(output.stderr).unwrap();
        let is_gone = text.contains("there is no user user1") && self.words[0] == "user";
        assert!(output.status.success() || is_gone, "{point}: {text}");
        assert_eq!(self.files(), self.after, "{point}");
        assert!(!self.scene.mark().exists(), "{point}: the mark stays");
        assert_eq!(self.scene.read("run/served"), self.after[2], "{point}: dnsmasq serves another");
    }

    /// Runs the command once for each fault at each of its system calls that `is_hit`.
    fn everywhere(&self, faults: &[&str], is_hit: impl Fn(&str) -> bool) {
        assert!(self.run(&[]).status.success());
        let calls = calls_in(&self.scene.read("run/trace"));
        let (mut points, mut explained) = (0, BTreeSet::new());
        for (call, count) in calls.iter().filter(|(call, _)| is_hit(call)) {
            for (fault, when) in faults.iter().flat_map(|f| (1..=*count).map(move |when| (f, when)))
            {
                let point = format!("{}: {fault} at {call} {when}", self.words.join(" "));
                let injection = format!("inject={call}:{fault}:when={when}");
                let output = self.run(&["-e", &injection]);
                self.check(&point, &mut explained);
                if output.status.success() {
                    assert_eq!(self.files(), self.after, "{point}: {output:?}");
                }
                self.check_completion(&point);
                points += 1;
            }
        }
        assert_eq!(explained.len(), self.between.len(), "what may be in between was seen");
        let what = self.words.join(" ");
        tell(&format!("measured: {what}: completed after each of {points}: {}", faults.join(", ")));
    }
}

const KILL: [&str; 1] = ["signal=SIGKILL"];
const ERRORS: [&str; 2] = ["error=ENOSPC", "error=EIO"];

fn killed_everywhere(words: &'static [&'static str], is_by_root: bool) {
    if can_run(&format!("ddnsctl {}, killed", words.join(" ")), &[STRACE]) {
        Interrupted::new(words, is_by_root).everywhere(&KILL, |_| true);
    }
}

#[test]
fn a_removal_of_a_user_can_be_killed_at_every_system_call() {
    killed_everywhere(&["user", "remove", "user1", "--hosts"], false);
    killed_everywhere(&["user", "remove", "user1"], false);
}

#[test]
fn a_removal_of_a_user_can_fail_at_every_system_call() {
    if can_run("ddnsctl user remove, with errors", &[STRACE]) {
        let command = Interrupted::new(&["user", "remove", "user1", "--hosts"], false);
        command.everywhere(&ERRORS, |call| FILE_CALLS.contains(&call));
    }
}

#[test]
fn a_removal_of_a_host_can_be_killed_at_every_system_call() {
    killed_everywhere(&["host", "remove", "user1", HOST1], false);
    killed_everywhere(&["host", "remove", HOST1], false);
}

#[test]
fn a_move_of_a_host_can_be_killed_at_every_system_call() {
    killed_everywhere(&["host", "move", HOST1, "user2"], false);
    killed_everywhere(&["host", "expect", HOST1, "1day"], false);
}

#[test]
fn a_new_name_of_a_host_can_be_killed_at_every_system_call() {
    killed_everywhere(&["host", "rename", HOST1, NEW], false);
}

/// What the owner of the state does for these commands.
#[test]
fn a_change_of_the_state_can_be_killed_or_fail_at_every_system_call() {
    for words in
        [&["forget", HOST1, HOST2][..], &["forget", HOST1, HOST2, HOST3], &["rename", HOST1, NEW]]
    {
        if can_run(&format!("ddnsctl {}, killed", words.join(" ")), &[STRACE]) {
            let words: &'static [&'static str] = words;
            let command = Interrupted::new(words, true);
            command.everywhere(&KILL, |_| true);
            command.everywhere(&ERRORS, |call| FILE_CALLS.contains(&call));
        }
    }
}

/// Clients that keep sending while the operator works.
struct Clients<'s> {
    scene: &'s Scene,
    is_over: AtomicBool,
}

impl Clients<'_> {
    /// Sends updates of a host until it is over, each with a later stamp and another address.
    fn send(&self, user: &str, key: &str, host: &str) -> Vec<String> {
        let mut answers = Vec::new();
        for n in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            let query = signed(user, key, host, &time(n - 3000));
            let cgi = self.scene.cgi(&format!("127.9.{}.{}", n / 250, n % 250 + 1), &query);
            let cgi = if is_root() { cgi.by_web_user() } else { cgi };
            answers.push(cgi.run().line);
        }
        answers
    }
}

/// Ends the clients, also if the work fails: otherwise they would send for ever.
struct End<'c>(&'c AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does `work` while clients of all three hosts, and of a fourth that is to come, keep sending. Returns
/// their answers.
fn while_clients_send(scene: &Scene, work: impl FnOnce()) -> [Vec<String>; 4] {
    scene.configure(&json!({"window": 9999}));
    let clients = Clients { scene, is_over: AtomicBool::new(false) };
    let answers = std::thread::scope(|scope| {
        let clients = &clients;
        let end = End(&clients.is_over);
        let senders = [
            ("user1", "secretkey1", HOST1),
            ("user1", "secretkey1", HOST2),
            ("user2", "secretkey2", HOST3),
            ("user1", "secretkey1", NEW),
        ]
        .map(|(user, key, host)| scope.spawn(move || clients.send(user, key, host)));
        let some_time = std::time::Duration::from_millis(300);
        std::thread::sleep(some_time);
        work();
        std::thread::sleep(some_time);
        drop(end);
        senders.map(|sender| sender.join().unwrap())
    });
    scene.settle();
    answers
}

/// An update that was believed while its user still had the host, and that comes to the state only after
/// a command has changed it: while that command restarts dnsmasq.
fn with_a_late_update(command: &[&str]) -> Scene {
    let scene = Scene::new();
    let script = format!("kill -CONT $(cat {}); sleep 1", scene.path("run/late").display());
    scene.configure(&json!({"restart": ["sh", "-c", scene.noting(&script)]}));
    let lock = fs::File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(scene.path("www/ramcache/.ip.txt.lock"))
        .unwrap();
    scene.hand_over("www/ramcache/.ip.txt.lock");
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let mut cgi = scene.cgi("127.0.0.7", &signed("user1", "secretkey1", HOST1, &time(0)));
    if is_root() {
        cgi = cgi.by_web_user();
    }
    let mut late = cgi.0.stdout(Stdio::null()).spawn().unwrap();
    eventually("the update waits for the state", || {
        let files = fs::read_dir(format!("/proc/{}/fd", late.id())).unwrap();
        let mut files = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        files.any(|file| file.ends_with(".ip.txt.lock"))
    });
    let process = Pid::from_child(&late);
    kill_process(process, Signal::STOP).unwrap();
    drop(lock);
    scene.write("run/late", &late.id().to_string());
    scene.does(command);
    assert!(late.wait().unwrap().success());
    scene.settle();
    scene
}

#[test]
fn an_update_that_was_on_its_way_does_not_bring_a_host_back() {
    for command in [
        &["user", "remove", "user1", "--hosts"][..],
        &["host", "remove", HOST1],
        &["host", "rename", HOST1, NEW],
    ] {
        let scene = with_a_late_update(command);
        assert!(!scene.hosts_of_state().contains(&HOST1.to_owned()), "{command:?}");
        assert!(!scene.hosts().contains(HOST1), "{command:?}");
        assert!(!scene.mark().exists(), "{command:?}");
    }
}

/// The addresses of the hosts file are those of the state, and each is the last that was accepted.
fn assert_nothing_is_lost(scene: &Scene, expected: &[(&str, &[String])]) {
    let state: Value = serde_json::from_str(&scene.state()).unwrap();
    let mut lines = String::new();
    for (host, record) in state.as_object().unwrap() {
        lines += &format!("{} {host}\n", record["ip"].as_str().unwrap());
    }
    assert_eq!(scene.hosts(), lines);
    for (host, answers) in expected {
        let last = answers.iter().rfind(|answer| answer.starts_with("good ")).unwrap();
        assert_eq!(last, &format!("good {}", state[host]["ip"].as_str().unwrap()), "{host}");
        assert!(!answers.iter().any(|answer| answer == "911"), "{answers:?}");
    }
}

#[test]
fn no_client_brings_back_a_host_of_a_removed_user() {
    for _ in 0..3 {
        let scene = Scene::new();
        let [host1, host2, host3, _] = while_clients_send(&scene, || {
            scene.does(&["user", "remove", "user1", "--hosts"]);
        });
        for answers in [host1, host2] {
            assert!(answers[0].starts_with("good "), "{answers:?}");
            assert_eq!(answers.last().unwrap(), "badauth");
        }
        assert_eq!(scene.hosts_of_state(), [HOST3]);
        assert_eq!(scene.users().as_object().unwrap().len(), 1);
        assert_nothing_is_lost(&scene, &[(HOST3, &host3)]);
    }
}

#[test]
fn no_client_brings_back_an_old_name_and_the_new_one_has_the_newest_address() {
    for _ in 0..3 {
        let scene = Scene::new();
        let [host1, host2, host3, new] = while_clients_send(&scene, || {
            scene.does(&["host", "rename", HOST1, NEW]);
        });
        assert!(host1[0].starts_with("good "), "{host1:?}");
        assert_eq!((host1.last().unwrap().as_str(), new[0].as_str()), ("nohost", "nohost"));
        let names: BTreeSet<String> = scene.hosts_of_state().into_iter().collect();
        assert_eq!(names, [HOST2, HOST3, NEW].map(str::to_owned).into());
        assert_nothing_is_lost(&scene, &[(HOST2, &host2), (HOST3, &host3), (NEW, &new)]);
    }
}

#[test]
fn a_move_while_clients_send_loses_nothing() {
    let scene = Scene::new();
    let [host1, host2, host3, _] = while_clients_send(&scene, || {
        for user in ["user2", "user1", "user2"] {
            scene.does(&["host", "move", HOST1, user]);
        }
    });
    assert_eq!(host1.last().unwrap(), "nohost");
    assert_eq!(scene.users()["user2"]["id"], json!([HOST3, HOST1]));
    assert_nothing_is_lost(&scene, &[(HOST1, &host1), (HOST2, &host2), (HOST3, &host3)]);
}

#[test]
fn commands_at_once_do_not_undo_each_other() {
    let scene = Scene::new();
    let outputs = std::thread::scope(|scope| {
        let run = |words: &'static [&'static str]| {
            let scene = &scene;
            scope.spawn(move || (words, scene.ddnsctl(words)))
        };
        let remove = &["user", "remove", "user1", "--hosts"][..];
        let running = [
            run(remove),
            run(&["host", "rename", HOST3, "one.example"]),
            run(remove),
            run(&["host", "rename", HOST3, "two.example"]),
            run(&["user", "add", "carol", "--host", "c.example"]),
            run(remove),
        ];
        running.map(|thread| thread.join().unwrap())
    });
    for (words, output) in &outputs {
        let text = String::from_utf8_lossy(&output.stderr);
        let is_late = text.contains("there is no user user1")
            || text.contains("no user has host3.h.lohray.com");
        assert!(output.status.success() || is_late, "{words:?}: {text}");
    }
    let users = scene.users();
    assert!(users["user1"].is_null() && users["carol"]["id"] == json!(["c.example"]), "{users}");
    let winner = users["user2"]["id"][0].as_str().unwrap();
    assert!(["one.example", "two.example"].contains(&winner), "{users}");
    assert_eq!(scene.hosts_of_state(), [winner]);
    assert_eq!(scene.hosts(), format!("50.19.108.105 {winner}\n"));
    assert!(!scene.mark().exists());
}

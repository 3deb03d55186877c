//! The client `scripts/ip-update`, against a real Apache, in the shells that systems have.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;

use crate::apache::{APACHE, Apache, Kind};
use crate::scene::{STATE, Scene, can_run};

const SHELLS: [&[&str]; 3] = [&["/usr/bin/dash"], &["/usr/bin/bash"], &["/usr/bin/busybox", "sh"]];

/// A machine with the client on it.
struct Client<'s> {
    scene: &'s Scene,
    shell: &'static [&'static str],
}

impl Client<'_> {
    /// Writes the settings; a key that is given replaces the one of the article.
    fn settings(&self, url: &str, changes: &[(&str, &str)]) {
        let mut lines = vec![
            ("url", url),
            ("user", "user1"),
            ("key", "secretkey1"),
            ("host", "host1.h.lohray.com"),
            ("tries", "1"),
            ("timeout", "2"),
        ];
        for (name, value) in changes {
            lines.retain(|(known, _)| known != name);
            lines.push((name, value));
        }
        let lines: Vec<String> =
            lines.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let text = lines.join("\n") + "\n";
        self.scene.write("run/ip-update.conf", &text);
        self.mode(0o600);
    }

    fn mode(&self, mode: u32) {
        let file = self.scene.path("run/ip-update.conf");
        fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
    }

    /// Runs the client. Returns its status and what it printed on standard error; standard output
    /// must be empty unless -v is given.
    fn run(&self, options: &[&str]) -> (i32, String) {
        let output = Command::new(self.shell[0])
            .args(&self.shell[1..])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/ip-update"))
            .arg("-c")
            .arg(self.scene.path("run/ip-update.conf"))
            .args(options)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.stdout.is_empty() != options.contains(&"-v"), "{:?} {text}", output.stdout);
        assert!(!text.contains("secretkey"), "{text}");
        (output.status.code().unwrap(), text)
    }

    /// The client fails with one line that has `part` in it.
    fn fails(&self, status: i32, part: &str) {
        let (actual, text) = self.run(&[]);
        assert_eq!(actual, status, "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("ip-update: ") && text.contains(part), "{text}");
    }
}

#[test]
fn each_outcome_has_its_message_and_status_in_every_shell() {
    if !can_run("ip-update", &[APACHE, SHELLS[0][0], SHELLS[1][0], SHELLS[2][0]]) {
        return;
    }
    for shell in SHELLS {
        let scene = Scene::new();
        let apache = Apache::start(&scene, Kind::EventCgid);
        let client = Client { scene: &scene, shell };
        let url = apache.url("/ip.php");

        client.settings(&url, &[]);
        assert_eq!(client.run(&[]), (0, String::new()), "a success is silent");
        assert!(scene.hosts().starts_with("127.0.0.1 host1"));
        scene.settle();
        let state = scene.state();
        scene.write("www/ramcache/ip.txt", &STATE.replace("2012-04-20", "2999-04-20"));
        client.fails(6, "a request of this second or a later one");
        scene.write("www/ramcache/ip.txt", &state);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        assert_eq!(client.run(&["-v", "-4", "-r", "1"]), (0, String::new()));

        client.settings(&url, &[("key", "secretkey9")]);
        client.fails(3, "unknown user or wrong key");
        client.settings(&url, &[("host", "host3.h.lohray.com")]);
        client.fails(4, "does not allow user1");
        client.settings(&apache.url("/no-such-path"), &[]);
        client.fails(9, "is url= right?");

        // A dead server, and one that takes the connection and is silent.
        client.settings("http://127.0.0.1:1/ip.php", &[]);
        client.fails(7, "no answer after 1 tries");
        let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let slow = format!("http://{}/ip.php", silent.local_addr().unwrap());
        client.settings(&slow, &[]);
        client.fails(7, "no answer after 1 tries");

        scene.configure(&json!({"window": 0}));
        client.settings(&url, &[]);
        client.fails(8, "the server has a problem");
    }
}

#[test]
fn a_clock_that_is_off_is_told_by_how_much() {
    if !can_run("a wrong clock", &[APACHE, "/usr/bin/faketime"]) {
        return;
    }
    let scene = Scene::new();
    let apache = Apache::start(&scene, Kind::EventCgid);
    let behind: &[_] = &["/usr/bin/faketime", "-f", "-60s", "/usr/bin/dash"];
    let ahead: &[_] = &["/usr/bin/faketime", "-f", "+60s", "/usr/bin/dash"];
    for (shell, part) in [(behind, "s behind; set it"), (ahead, "s ahead; set it")] {
        let client = Client { scene: &scene, shell };
        client.settings(&apache.url("/ip.php"), &[]);
        client.fails(5, part);
        let (_, text) = client.run(&[]);
        assert!(["59 s", "60 s", "61 s"].iter().any(|seconds| text.contains(seconds)), "{text}");
    }
}

#[test]
fn the_network_is_tried_again_and_a_refusal_is_not() {
    if !can_run("ip-update's tries", &[APACHE]) {
        return;
    }
    let scene = Scene::new();
    let apache = Apache::start(&scene, Kind::EventCgid);
    let client = Client { scene: &scene, shell: &["/bin/sh"] };
    let started = std::time::Instant::now();
    client.settings("http://127.0.0.1:1/ip.php", &[("tries", "2")]);
    client.fails(7, "no answer after 2 tries");
    assert!(started.elapsed().as_secs() >= 2, "it waits between tries");
    client.settings(&apache.url("/ip.php"), &[("tries", "9"), ("key", "wrong")]);
    client.fails(3, "unknown user or wrong key");
    let log = scene.read("run/error.log");
    assert_eq!(log.matches("ddns-cgi: badauth").count(), 1, "{log}");
}

#[test]
fn settings_without_sense_and_a_key_that_others_can_read_are_refused() {
    let scene = Scene::new();
    let client = Client { scene: &scene, shell: &["/bin/sh"] };
    client.settings("http://127.0.0.1:1/ip.php", &[]);
    client.mode(0o640);
    client.fails(2, "others can read the key");
    for (name, value, part) in [
        ("user", "", "user= is missing"),
        ("tries", "0", "tries= must be"),
        ("timeout", "x", "timeout= must be"),
        ("hots", "h", "is no setting"),
        ("user", "a\"b", "no quotation mark"),
    ] {
        client.settings("http://127.0.0.1:1/ip.php", &[(name, value)]);
        client.fails(2, part);
    }
    fs::remove_file(scene.path("run/ip-update.conf")).unwrap();
    client.fails(2, "cannot read");
}

#[test]
fn the_key_is_on_no_command_line() {
    // Everything that the shell does not do itself is a process of its own.
    let scene = Scene::new();
    if !can_run("the key on command lines", &["/usr/bin/strace"]) {
        return;
    }
    let client = Client { scene: &scene, shell: &["/bin/sh"] };
    client.settings("http://127.0.0.1:1/ip.php", &[]);
    let trace = scene.path("run/trace");
    let status = Command::new("strace")
        .args(["-f", "-v", "-s", "4096", "-e", "trace=execve", "-o"])
        .arg(&trace)
        .args(["/bin/sh", concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/ip-update"), "-c"])
        .arg(scene.path("run/ip-update.conf"))
        .output()
        .unwrap();
    assert_eq!(status.status.code(), Some(7));
    let trace = fs::read_to_string(trace).unwrap();
    assert!(trace.contains("sha1sum") && trace.contains("curl"), "{trace}");
    assert!(!trace.contains("secretkey1"), "{trace}");
}

//! `scripts/ip-update` on machines without curl: with GNU wget, and with the wget of busybox.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::{fs, net::TcpListener};

use serde_json::json;

use crate::apache::{APACHE, Apache, Kind};
use crate::client::{Client, SCRIPT, is_one_line, outputs, wait_for_the_next_second};
use crate::scene::{HOSTS, STATE, Scene, can_run};

const GNU: &str = "/usr/bin/wget";
const BUSYBOX: &str = "/usr/bin/busybox";

/// What the script needs beside the program that fetches.
const TOOLS: [&str; 21] = [
    "awk",
    "cat",
    "cut",
    "date",
    "grep",
    "head",
    "hexdump",
    "id",
    "ls",
    "mkdir",
    "mv",
    "od",
    "rm",
    "sed",
    "sh",
    "sha1sum",
    "sha256sum",
    "sleep",
    "sort",
    "timeout",
    "tr",
];

/// A machine with these tools alone; the shell is dash.
struct Machine<'s> {
    client: Client<'s>,
    fetcher: &'static str,
}

impl<'s> Machine<'s> {
    fn new(scene: &'s Scene, fetcher: &'static str) -> Self {
        fs::create_dir(scene.path("run/tools")).unwrap();
        for tool in TOOLS {
            let real = ["/usr/bin", "/bin"].map(|folder| format!("{folder}/{tool}"));
            let real = real.iter().find(|real| fs::exists(real).unwrap()).unwrap();
            symlink(real, scene.path("run/tools").join(tool)).unwrap();
        }
        symlink(fetcher, scene.path("run/tools/wget")).unwrap();
        Self { client: Client { scene, shell: &["/usr/bin/dash"] }, fetcher }
    }

    fn without(&self, tools: &[&str]) {
        for tool in tools {
            fs::remove_file(self.client.scene.path("run/tools").join(tool)).unwrap();
        }
    }

    /// The client, started by these words.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command.env_clear().env("PATH", self.client.scene.path("run/tools"));
        command.args(&words[1..]).args(["/usr/bin/dash", SCRIPT, "-c"]);
        command.arg(self.client.scene.path("run/ip-update.conf"));
        command
    }

    fn run(&self, options: &[&str]) -> (i32, String) {
        let (status, printed, text) = outputs(self.command(&["/usr/bin/env"]).args(options));
        assert_eq!(printed, "");
        (status, text)
    }

    fn fails(&self, status: i32, part: &str) {
        is_one_line(self.run(&[]), status, part);
    }

    /// What it says of a refusal: GNU wget shows why.
    fn is_refused(&self, status: i32, why: &str, number: &str) {
        if self.fetcher == GNU {
            self.fails(status, why);
            return;
        }
        let (status, words) = match number {
            "400" => {
                (9, format!("the request is invalid, busybox wget does not show why ({number})"))
            }
            _ => (3, format!("busybox wget does not show why ({number}): curl or GNU wget would")),
        };
        self.fails(status, &words);
        assert_eq!(self.run(&[]), (status, String::new()), "what it may be has to wait");
    }
}

#[test]
fn each_outcome_has_its_message_and_status_without_curl() {
    if !can_run("ip-update without curl", &[APACHE, GNU, BUSYBOX, "/usr/bin/faketime"]) {
        return;
    }
    for (fetcher, protocol) in [(GNU, "1"), (GNU, "2"), (BUSYBOX, "1"), (BUSYBOX, "2")] {
        let scene = Scene::new();
        let apache = Apache::start(&scene, Kind::EventCgid);
        let machine = Machine::new(&scene, fetcher);
        let settings = |url: &str, change: (&str, &str)| {
            machine.client.settings(url, &[("protocol", protocol), change]);
        };
        let url = apache.url("/ip.php");
        settings(&url, ("tries", "1"));
        assert_eq!(machine.run(&[]), (0, String::new()), "{fetcher}");
        assert!(scene.hosts().starts_with("127.0.0.1 host1"));
        settings(&url, ("key", "secretkey9"));
        machine.is_refused(3, "unknown user or wrong key", "403");
        settings(&url, ("host", "host3.h.lohray.com"));
        machine.is_refused(4, "does not allow user1", "403");
        settings(&url, ("host", "host/4"));
        machine.is_refused(9, "the request is invalid: malformed id", "400");
        settings(&apache.url("/no-such-path"), ("tries", "1"));
        let shown = if fetcher == GNU { "a web page (HTTP 404)" } else { "HTTP 404" };
        machine.fails(9, &format!("/no-such-path: the reply makes no sense: {shown}; is url= ri"));
        settings("http://127.0.0.1:1/ip.php", ("tries", "1"));
        machine.fails(7, "no answer: ");
        settings("http://name.invalid/ip.php", ("tries", "1"));
        machine.fails(7, "no answer: ");
        let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let slow = format!("http://{}/ip.php", silent.local_addr().unwrap());
        settings(&slow, ("timeout", "1"));
        machine.fails(7, "no answer: ");
        scene.configure(&json!({"window": 0}));
        settings(&url, ("tries", "1"));
        machine.fails(8, "the server has a problem");
    }
}

#[test]
fn a_list_of_hosts_is_one_request_only_if_each_refusal_can_be_seen() {
    if !can_run("ip-update's lists without curl", &[APACHE, GNU, BUSYBOX]) {
        return;
    }
    for (fetcher, requests) in [(GNU, 1), (BUSYBOX, 2)] {
        let scene = Scene::new();
        let log = scene.path("run/access.log");
        let directive = format!("CustomLog {} \"%m %U%q\"\n", log.display());
        let apache = Apache::start_with(&scene, Kind::PreforkCgi, &directive, &[]);
        let machine = Machine::new(&scene, fetcher);
        let hosts = ["host1.h.lohray.com", "host3.h.lohray.com", "host2.h.lohray.com"];
        let mut changes = hosts.map(|host| ("host", host)).to_vec();
        changes.extend([("protocol", "2"), ("ip6", "2001:db8::7")]);
        machine.client.settings(&apache.url("/ip.php"), &changes);
        let (status, text) = machine.run(&[]);
        assert_eq!(status, if fetcher == GNU { 4 } else { 3 });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("ip-update: host3.h.lohray.com: refused: "), "{text}");
        // The refusals that follow one without a reason could be many. The last host has its turn later.
        wait_for_the_next_second();
        assert_eq!(machine.run(&[]), (status, String::new()));
        for host in [hosts[0], hosts[2]] {
            assert!(scene.hosts().contains(&format!("2001:db8::7 {host}\n")), "{}", scene.hosts());
        }
        let log = fs::read_to_string(log).unwrap();
        assert_eq!(log.lines().count(), 2 * requests, "{log}");
        let method = if fetcher == GNU { "GET /ip.php?user=user1&id=" } else { "POST /ip.php\n" };
        assert_eq!(log.matches(method).count(), 2 * requests, "{log}");
    }
}

#[test]
fn who_cannot_choose_the_family_says_so_and_who_can_does() {
    if !can_run("ip-update's families without curl", &[APACHE, GNU, BUSYBOX]) {
        return;
    }
    let scene = Scene::new();
    let apache = Apache::start(&scene, Kind::EventCgid);
    let url = apache.url("/ip.php");
    let machine = Machine::new(&scene, BUSYBOX);
    machine.client.settings(&url, &[]);
    let words = "busybox wget cannot choose IPv4 or IPv6, as -4, -6, ip=ask and ip6=ask do";
    is_one_line(machine.run(&["-4"]), 2, words);
    for name in ["ip", "ip6"] {
        machine.client.settings(&url, &[("protocol", "2"), (name, "ask")]);
        machine.fails(2, words);
    }
    assert_eq!(scene.hosts(), HOSTS);
    machine.without(&["wget"]);
    machine.fails(2, "curl is missing: install it");
    symlink(GNU, scene.path("run/tools/wget")).unwrap();
    scene.write("www/address", "192.0.2.9\n");
    let ask = apache.url("/address");
    machine.client.settings(&url, &[("protocol", "2"), ("ip", "ask"), ("ask", &ask)]);
    assert_eq!(machine.run(&["-4"]), (0, String::new()));
    assert!(scene.hosts().starts_with("192.0.2.9 host1"), "{}", scene.hosts());
    machine.client.settings(&url, &[]);
    is_one_line(machine.run(&["-6"]), 7, "no answer: ");
    let nowhere = apache.url("/nowhere");
    machine.client.settings(&url, &[("protocol", "2"), ("ip", "ask"), ("ask", &nowhere)]);
    machine.fails(7, "ip=ask: no address: a web page (HTTP 404)\n");
}

#[test]
fn what_is_missing_is_named_and_what_can_replace_it_does() {
    if !can_run("ip-update's tools", &[APACHE, GNU, BUSYBOX]) {
        return;
    }
    let scene = Scene::new();
    let apache = Apache::start(&scene, Kind::EventCgid);
    let url = apache.url("/ip.php");
    let machine = Machine::new(&scene, GNU);
    machine.client.settings(&url, &[("protocol", "2"), ("ip6", "interface:eth0")]);
    machine.fails(2, "ip is missing: install iproute2");
    machine.client.settings(&url, &[("protocol", "2"), ("ip6", "run echo 2001:db8::1 # prefix")]);
    machine.without(&["od"]);
    assert_eq!(machine.run(&[]), (0, String::new()), "hexdump does it");
    scene.write("www/ramcache/ip.txt", STATE);
    machine.without(&["hexdump"]);
    machine.fails(2, "od and hexdump are missing: install one");
    machine.without(&["sha256sum"]);
    machine.fails(2, "sha256sum and openssl are missing: install one");
    // Without the program that ends it after the timeout, busybox wget still works.
    let scene = Scene::new();
    let apache = Apache::start(&scene, Kind::EventCgid);
    let machine = Machine::new(&scene, BUSYBOX);
    machine.without(&["timeout"]);
    machine.client.settings(&apache.url("/ip.php"), &[]);
    assert_eq!(machine.run(&[]), (0, String::new()));
}

#[test]
fn neither_key_nor_request_is_on_a_command_line_without_curl() {
    const STRACE: &str = "/usr/bin/strace";
    if !can_run("ip-update's command lines without curl", &[GNU, BUSYBOX, STRACE]) {
        return;
    }
    for (fetcher, protocol) in [(GNU, "1"), (GNU, "2"), (BUSYBOX, "1"), (BUSYBOX, "2")] {
        let scene = Scene::new();
        let machine = Machine::new(&scene, fetcher);
        let changes = [("protocol", protocol)];
        machine.client.settings("http://127.0.0.1:1/ip.php", &changes);
        let trace = scene.path("run/trace");
        let options = ["-f", "-v", "-s", "4096", "-e", "trace=execve", "-o"];
        let words = [&[STRACE], &options[..], &[trace.to_str().unwrap()]].concat();
        let (status, text) = {
            let (status, _, text) = outputs(&mut machine.command(&words));
            (status, text)
        };
        is_one_line((status, text), 7, "no answer: ");
        let trace = fs::read_to_string(trace).unwrap();
        assert!(trace.contains("wget") && trace.contains("cut"), "{trace}");
        assert!(!["secret", "user1", "hash=", "hmac="].iter().any(|part| trace.contains(part)));
    }
}

//! The client `scripts/ip-update` against a real Apache, in common shells.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::apache::{APACHE, Apache, Kind};
use crate::chain::run_on_overlay;
use crate::scene::{HOSTS, STATE, Scene, can_run};
use crate::server::has_ipv6;

pub const SHELLS: [&[&str]; 3] =
    [&["/usr/bin/dash"], &["/usr/bin/bash", "--posix"], &["/usr/bin/busybox", "sh"]];

/// What a test of all shells needs.
pub const ALL_SHELLS: [&str; 4] = [APACHE, SHELLS[0][0], SHELLS[1][0], SHELLS[2][0]];

pub const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/ip-update");

/// A machine with the client on it.
pub struct Client<'s> {
    pub scene: &'s Scene,
    pub shell: &'static [&'static str],
}

impl Client<'_> {
    /// Writes the article's settings, with these changes, and forgets earlier runs.
    pub fn settings(&self, url: &str, changes: &[(&str, &str)]) {
        let _ = fs::remove_dir_all(self.scene.path("run/memory"));
        self.edit(url, changes);
    }

    /// The same, but the memory stays.
    pub fn edit(&self, url: &str, changes: &[(&str, &str)]) {
        let memory = self.scene.path("run/memory").display().to_string();
        let mut lines = vec![
            ("url", url),
            ("user", "user1"),
            ("key", "secretkey1"),
            ("host", "host1.h.lohray.com"),
            ("tries", "1"),
            ("timeout", "2"),
            ("memory", &memory),
        ];
        lines.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        lines.extend(changes);
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

    /// The client, without settings.
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.shell[0]);
        command.args(&self.shell[1..]).arg(SCRIPT);
        command
    }

    /// Runs the client with its settings. Returns its status, and what it printed on standard output and
    /// on standard error.
    pub fn outputs(&self, options: &[&str]) -> (i32, String, String) {
        let mut command = self.command();
        command.arg("-c").arg(self.scene.path("run/ip-update.conf")).args(options);
        outputs(&mut command)
    }

    /// Returns the status, and what it printed on standard error; standard output must be empty unless -v
    /// is given.
    pub fn run(&self, options: &[&str]) -> (i32, String) {
        let (status, printed, text) = self.outputs(options);
        assert!(printed.is_empty() != options.contains(&"-v"), "{printed:?} {text}");
        (status, text)
    }

    /// The client fails with one line that contains `part`.
    pub fn fails(&self, status: i32, part: &str) {
        is_one_line(self.run(&[]), status, part);
    }
}

/// Runs it. Returns its status, and what it printed on standard output and on standard error.
pub fn outputs(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let [printed, text] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(!format!("{printed}{text}").contains("secretkey"), "{printed}{text}");
    (output.status.code().unwrap(), printed, text)
}

/// It failed so, with one line that contains `part`.
pub fn is_one_line((actual, text): (i32, String), status: i32, part: &str) {
    assert_eq!(actual, status, "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("ip-update: ") && text.contains(part), "{part}: {text}");
}

#[test]
fn each_outcome_has_its_message_and_status_in_every_shell() {
    if !can_run("ip-update", &ALL_SHELLS) {
        return;
    }
    for shell in SHELLS {
        for protocol in ["1", "2"] {
            each_outcome_has_its_message_and_status(shell, protocol);
        }
    }
}

fn each_outcome_has_its_message_and_status(shell: &'static [&'static str], protocol: &str) {
    let scene = Scene::new();
    let apache = Apache::start(&scene, Kind::EventCgid);
    let client = Client { scene: &scene, shell };
    let settings = |url: &str, change: Option<(&str, &str)>| {
        let changes: Vec<_> = [("protocol", protocol)].into_iter().chain(change).collect();
        client.settings(url, &changes);
    };
    let url = apache.url("/ip.php");

    settings(&url, None);
    assert_eq!(client.run(&[]), (0, String::new()), "a success is silent");
    assert!(scene.hosts().starts_with("127.0.0.1 host1"));
    scene.settle();
    let state = scene.state();
    scene.write("www/ramcache/ip.txt", &STATE.replace("2012-04-20", "2999-04-20"));
    client.fails(6, "a request of this second or a later one");
    scene.write("www/ramcache/ip.txt", &state);
    wait_for_the_next_second();
    assert_eq!(client.run(&["-v", "-4", "-r", "1"]), (0, String::new()));

    settings(&url, Some(("key", "secretkey9")));
    client.fails(3, "unknown user or wrong key");
    settings(&url, Some(("host", "host3.h.lohray.com")));
    client.fails(4, "does not allow user1");
    settings(&url, Some(("host", "host/4")));
    client.fails(9, "the request is invalid: malformed id");
    settings(&apache.url("/no-such-path"), None);
    client.fails(9, "is url= right?");

    // A dead server, and one that accepts the connection but stays silent.
    settings("http://127.0.0.1:1/ip.php", None);
    client.fails(7, "no answer: ");
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let slow = format!("http://{}/ip.php", silent.local_addr().unwrap());
    settings(&slow, None);
    client.fails(7, "no answer: ");

    scene.configure(&json!({"window": 0}));
    settings(&url, None);
    client.fails(8, "the server has a problem");
}

/// Stamps are in whole seconds, and each must be newer than the last.
pub fn wait_for_the_next_second() {
    sleep(Duration::from_millis(1100));
}

#[test]
fn protocol_2_sends_the_addresses_of_all_hosts_in_one_request() {
    if !can_run("ip-update's addresses", &ALL_SHELLS) {
        return;
    }
    for shell in SHELLS {
        let scene = Scene::new();
        let log = scene.path("run/access.log");
        let directive = format!("CustomLog {} %U\n", log.display());
        let apache = Apache::start_with(&scene, Kind::PreforkCgi, &directive, &[]);
        let client = Client { scene: &scene, shell };
        let hosts_after = |addresses: &[(&str, &str)]| {
            let mut changes = addresses.to_vec();
            let hosts = ["host1.h.lohray.com", "host2.h.lohray.com"];
            changes.extend(hosts.map(|host| ("host", host)));
            changes.push(("protocol", "2"));
            client.settings(&apache.url("/ip.php"), &changes);
            assert_eq!(client.run(&[]), (0, String::new()), "{addresses:?}");
            wait_for_the_next_second();
            scene.hosts()
        };
        let lines = |addresses: &[&str]| {
            let of = |host| addresses.iter().map(move |a| format!("{a} {host}.h.lohray.com\n"));
            ["host1", "host2"].into_iter().flat_map(of).collect::<String>()
                + "50.19.108.105 host3.h.lohray.com\n"
        };
        let both = hosts_after(&[("ip", "192.0.2.7"), ("ip6", "2001:DB8::7")]);
        assert_eq!(both, lines(&["192.0.2.7", "2001:db8::7"]));
        assert_eq!(hosts_after(&[("ip", "none")]), lines(&["2001:db8::7"]));
        let command = ("ip6", "run echo 2001:db8::8 | sed s/:8/:9/");
        assert_eq!(hosts_after(&[command]), lines(&["2001:db8::9"]));
        assert_eq!(hosts_after(&[]), lines(&["127.0.0.1", "2001:db8::9"]));
        let one = hosts_after(&[("ip", "192.0.2.8"), ("ip6", "none")]);
        assert_eq!(one, lines(&["192.0.2.8"]));
        scene.write("www/address", "192.0.2.9\n");
        let asked = hosts_after(&[("ip", "ask"), ("ask", &apache.url("/address"))]);
        assert_eq!(asked, lines(&["192.0.2.9"]));
        scene.settle();
        let log = fs::read_to_string(log).unwrap();
        let requests = log.lines().filter(|path| *path == "/ip.php").count();
        assert_eq!(requests, 6, "one request for both hosts: {log}");
    }
}

#[test]
fn both_families_are_used_in_turn_each_with_a_stamp_of_its_own() {
    if !can_run("ip-update -4 -6", &ALL_SHELLS) || !has_ipv6() {
        return;
    }
    for (shell, protocol) in SHELLS.iter().flat_map(|shell| [(shell, "1"), (shell, "2")]) {
        let scene = Scene::new();
        let apache = Apache::start(&scene, Kind::PreforkCgi);
        let client = Client { scene: &scene, shell };
        let url = apache.url("/ip.php").replace("127.0.0.1", "localhost");
        client.settings(&url, &[("protocol", protocol)]);
        assert_eq!(client.run(&["-4", "-6"]), (0, String::new()));
        let hosts = "127.0.0.1 host1.h.lohray.com\n::1 host1.h.lohray.com\n";
        assert!(scene.hosts().starts_with(hosts), "{}", scene.hosts());
    }
}

#[test]
fn one_host_that_is_refused_has_its_line_and_the_others_are_updated() {
    if !can_run("ip-update's lines", &[APACHE]) {
        return;
    }
    let scene = Scene::new();
    let apache = Apache::start(&scene, Kind::PreforkCgi);
    let client = Client { scene: &scene, shell: &["/bin/sh"] };
    let url = apache.url("/ip.php");
    let hosts = ["host1.h.lohray.com", "host3.h.lohray.com", "host2.h.lohray.com"];
    let mut changes: Vec<_> = hosts.map(|host| ("host", host)).into();
    changes.push(("protocol", "2"));
    client.settings(&url, &changes);
    let (status, text) = client.run(&[]);
    assert_eq!((status, text.lines().count()), (4, 1), "{text}");
    assert!(text.starts_with("ip-update: host3.h.lohray.com: refused"), "{text}");
    assert_eq!(scene.hosts().matches("127.0.0.1 ").count(), 2, "{}", scene.hosts());
    // A refusal of the whole request is reported for each host.
    changes.push(("key", "secretkey9"));
    client.settings(&url, &changes);
    let (status, text) = client.run(&[]);
    assert_eq!((status, text.matches("unknown user or wrong key").count()), (3, 3), "{text}");
}

#[test]
fn an_address_that_cannot_be_learnt_is_left_out_and_no_other_takes_its_place() {
    if !can_run("ip-update's questions", &[APACHE]) {
        return;
    }
    let scene = Scene::new();
    let apache = Apache::start(&scene, Kind::PreforkCgi);
    let client = Client { scene: &scene, shell: &["/bin/sh"] };
    let url = apache.url("/ip.php");
    let hosts = HOSTS.replace("129.118.243.10", "192.0.2.7");
    let common = [("protocol", "2"), ("ask", "http://127.0.0.1:1/ip")];
    for (ip6, part) in [
        ("ask", "ip6=ask: no address: curl: "),
        ("run echo 2001:db8::1 and more", "no address: 2001:db8::1 and more"),
        ("run exit 1", "no address: "),
    ] {
        client.settings(&url, &[&common[..], &[("ip", "192.0.2.7"), ("ip6", ip6)]].concat());
        client.fails(7, part);
        assert_eq!(scene.hosts(), hosts, "{ip6}");
        wait_for_the_next_second();
        client.settings(&url, &[&common[..], &[("ip6", ip6)]].concat());
        client.fails(7, part);
        assert_eq!(scene.hosts(), hosts, "{ip6}");
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
    let url = "http://127.0.0.1:1/ip.php";
    client.settings(url, &[]);
    client.mode(0o640);
    client.fails(2, "others can read the key");
    for (name, value, part) in [
        ("url", "", "url= is missing"),
        ("user", "", "user= is missing"),
        ("key", "", "key= is missing"),
        ("host", "", "host= is missing"),
        ("tries", "0", "tries= must be a number, at least 1"),
        ("timeout", "x", "timeout= must be a number of seconds"),
        ("hots", "h", "line 8 is not a setting"),
        ("protocol", "3", "protocol= must be 1 or 2"),
        ("ip", "192.0.2.7", "ip=, ip6= and ask= need protocol=2"),
        ("url", "http://a\"b", "must not contain quotation marks, backslashes or spaces"),
        ("report", "sometimes", "report= must be always or changes"),
        ("report", "changes", "report=changes needs ip= or ip6=, such as ip=ask"),
        ("memory", "here", "memory= must be a folder, from / on"),
    ] {
        client.settings(url, &[(name, value)]);
        client.fails(2, part);
    }
    // Advice that would be wrong or impossible is worse than none.
    let file = scene.path("run/ip-update.conf");
    fs::remove_file(&file).unwrap();
    client.fails(2, "cannot find");
    fs::create_dir(&file).unwrap();
    client.fails(2, "is not a regular file");
    let mut null = client.command();
    let (status, printed, text) = outputs(null.args(["-v", "-c", "/dev/null"]));
    assert_eq!(printed, "");
    is_one_line((status, text), 2, "/dev/null is not a regular file");
}

#[test]
fn settings_written_on_windows_and_a_user_with_special_characters_work() {
    if !can_run("ip-update's settings", &[APACHE]) {
        return;
    }
    let scene = Scene::new();
    let credentials = json!({"a \"b\\&=ü": {"id": ["host1.h.lohray.com"], "key": "secretkey1"}});
    scene.write("etc/credentials.json", &credentials.to_string());
    let apache = Apache::start(&scene, Kind::PreforkCgi);
    let client = Client { scene: &scene, shell: &["/bin/sh"] };
    client.settings(&apache.url("/ip.php"), &[("user", "a \"b\\&=ü")]);
    let text = scene.read("run/ip-update.conf").replace('\n', "\r\n");
    scene.write("run/ip-update.conf", &text);
    assert_eq!(client.run(&[]), (0, String::new()));
}

#[test]
fn the_version_is_that_of_the_package_and_a_wrong_option_gets_one_line() {
    let scene = Scene::new();
    for shell in SHELLS {
        let client = Client { scene: &scene, shell };
        let version = format!("ip-update {}\n", env!("CARGO_PKG_VERSION"));
        let asked = outputs(client.command().arg("--version"));
        assert_eq!(asked, (0, version, String::new()));
        let (status, help, text) = outputs(client.command().arg("--help"));
        assert_eq!((status, &*text), (0, ""));
        assert!(help.starts_with("ip-update: tells") && help.contains("--uninstall"), "{help}");
        assert!(!help.contains('#') && !help.contains("shellcheck"), "{help}");
        let wrong: [&[&str]; 6] =
            [&["-x"], &["--verson"], &["-c"], &["-v", "more"], &["--help", "-v"], &["-"]];
        for options in wrong {
            let (status, _, text) = outputs(client.command().args(options));
            is_one_line((status, text), 2, "usage: ip-update [-c FILE]");
        }
        for seconds in ["x", "-1", "08"] {
            let (status, _, text) = outputs(client.command().args(["-r", seconds]));
            is_one_line((status, text), 2, "-r needs a number of seconds");
        }
    }
}

#[test]
fn a_dry_run_says_what_it_would_send_and_sends_nothing() {
    if !can_run("ip-update -n", &ALL_SHELLS) {
        return;
    }
    for shell in SHELLS {
        let scene = Scene::new();
        let apache = Apache::start(&scene, Kind::PreforkCgi);
        let client = Client { scene: &scene, shell };
        let url = apache.url("/ip.php");
        let two = [("protocol", "2"), ("host", "host1.h.lohray.com"), ("host", "nas")];
        client.settings(&url, &[&two[..], &[("ip", "ask"), ("ip6", "none")]].concat());
        let (status, printed, text) = outputs_of_dry(&client);
        assert_eq!((status, &*text), (0, ""));
        let expected = format!(
            "would send to {url} over IPv4: user=user1 id=host1.h.lohray.com,nas ip=127.0.0.1 \
             ip6=none, signed with the key\n"
        );
        assert_eq!(printed, expected);
        assert_eq!(scene.hosts(), HOSTS);
        client.settings(&url, &[]);
        let (_, printed, _) = outputs_of_dry(&client);
        assert!(printed.contains(" user=user1 id=host1.h.lohray.com, signed"), "{printed}");
        assert_eq!(scene.hosts(), HOSTS);
    }
}

fn outputs_of_dry(client: &Client) -> (i32, String, String) {
    client.outputs(&["-n", "-4", "-r", "900"])
}

#[test]
fn the_key_is_on_no_command_line() {
    // Whatever the shell does not do itself is a separate process.
    let needs = ["/usr/bin/strace", SHELLS[0][0], SHELLS[1][0], SHELLS[2][0]];
    if !can_run("the key on command lines", &needs) {
        return;
    }
    let scene = Scene::new();
    // HMAC hashes a key of more than 64 bytes first.
    let long = "secretkey1".repeat(7);
    let keys = [("1", "secretkey1"), ("2", "secretkey1"), ("2", &long)];
    for (shell, (protocol, key)) in SHELLS.iter().flat_map(|shell| keys.map(|key| (shell, key))) {
        let client = Client { scene: &scene, shell };
        client.settings("http://127.0.0.1:1/ip.php", &[("protocol", protocol), ("key", key)]);
        let trace = scene.path("run/trace");
        let output = Command::new("strace")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .args(["-f", "-v", "-s", "4096", "-e", "trace=execve", "-o"])
            .arg(&trace)
            .args(*shell)
            .args([SCRIPT, "-c"])
            .arg(scene.path("run/ip-update.conf"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        let trace = fs::read_to_string(trace).unwrap();
        assert!(trace.contains("curl") && trace.contains("cut"), "{trace}");
        // Neither as text nor as numbers.
        let words = trace.replace(['"', ','], "");
        for part in ["secret", "115 101 99", "73 65 63", "0x73 0x65 0x63", "hash=", "hmac="] {
            assert!(!words.contains(part), "{part}: {trace}");
        }
    }
}

#[test]
fn the_hmac_is_right_with_keys_of_every_kind_in_every_shell() {
    if !can_run("keys of every kind", &ALL_SHELLS) {
        return;
    }
    let keys = [
        "secretkey1".into(),
        "k".repeat(63),
        "k".repeat(64),
        "k".repeat(65),
        // The bytes of the pads, which become NUL.
        "66\\\\".into(),
        "schl\u{fc}ssel \u{20ac}".into(),
        " *'\"$HOME`date`%s\\n #=".into(),
        "-n".into(),
    ];
    let user = |number: usize| format!("user{number}");
    let host = |number: usize| format!("host{number}.example");
    let entry = |(number, key)| (user(number), json!({"id": [host(number)], "key": key}));
    let credentials: Map<String, Value> = keys.iter().enumerate().map(entry).collect();
    for shell in SHELLS {
        let scene = Scene::new();
        scene.write("etc/credentials.json", &json!(credentials).to_string());
        let apache = Apache::start(&scene, Kind::EventCgid);
        let client = Client { scene: &scene, shell };
        for (number, key) in keys.iter().enumerate() {
            let (user, host) = (user(number), host(number));
            let changes = [("protocol", "2"), ("user", &user), ("host", &host), ("key", key)];
            client.settings(&apache.url("/ip.php"), &changes);
            assert_eq!(client.run(&[]), (0, String::new()), "{shell:?} {key}");
        }
    }
}

#[test]
fn a_prefix_is_that_of_the_interface_and_reaches_the_hosts_behind_it() {
    run_on_overlay("prefix.sh", &[], &["/usr/bin/busybox"], "the client reports prefixes");
}

#[test]
fn one_command_installs_it_and_one_removes_it() {
    let needs = ["/usr/bin/systemd-analyze"];
    let expected = "the client is installed and removed";
    run_on_overlay("client_install.sh", &[], &needs, expected);
}

/// The texts of the script that complain about something, without what it fills in.
fn complaints(script: &str) -> Vec<String> {
    let starts = ["complain \"", "die \"", "problem=\"", "printf '; it "];
    let refusals = |line: &str| {
        let (_, after) = line.split_once("refuse \"$1\" ")?;
        Some(after.split_once(" \"")?.1.to_owned())
    };
    let text = |line: &str| {
        let plain = |start: &&str| Some(line.split_once(start)?.1.to_owned());
        let text = starts.iter().find_map(plain).or_else(|| refusals(line))?;
        Some(text.split(['"', '\'']).next().unwrap().to_owned())
    };
    script.lines().filter_map(text).collect()
}

#[test]
fn each_line_that_it_can_print_is_in_a_test() {
    let tests: String = [
        include_str!("client.rs"),
        include_str!("client_fetch.rs"),
        include_str!("client_memory.rs"),
        include_str!("client_install.sh"),
        include_str!("prefix.sh"),
        include_str!("booted_package.sh"),
    ]
    .concat();
    let complaints = complaints(&fs::read_to_string(SCRIPT).unwrap());
    assert!(complaints.len() >= 50, "{}", complaints.len());
    // Three words in a row, or as many as stand between what it fills in.
    let is_tested = |complaint: &&String| {
        let words: Vec<&str> = complaint.split(' ').collect();
        let runs: Vec<&[&str]> = words.split(|word| word.contains('$')).collect();
        let mut parts = runs.iter().flat_map(|run| run.windows(run.len().clamp(1, 3)));
        runs.concat().is_empty() || parts.any(|part| tests.contains(&part.join(" ")))
    };
    let untested: Vec<_> = complaints.iter().filter(|text| !is_tested(text)).collect();
    assert!(untested.is_empty(), "{untested:#?}");
}

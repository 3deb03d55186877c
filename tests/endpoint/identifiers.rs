//! Interface identifiers: the operator sets them, and name servers see none before its prefix comes.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::{Command, Output};

use serde_json::{Value, json};
use simple_dns::TYPE;

use crate::dnsmasq::{DNSMASQ, Dnsmasq};
use crate::faults::{self, FILE_CALLS, STRACE, calls_in};
use crate::primary::{KNOT, NSUPDATE, Primary};
use crate::scene::{
    CREDENTIALS, HOSTS, STATE, Scene, can_run, is_root, signed, signed_2, tell, time, web_user,
};
use crate::zones::served;

const HOST1: &str = "host1.h.lohray.com";
const NAS: &str = "nas.h.lohray.com";
const IDENTIFIER: &str = "::211:32ff:fe12:3456";
const OTHER: &str = "::53";
const PREFIX: &str = "2001:db8:1::/64";
const ADDRESS: &str = "2001:db8:1:0:211:32ff:fe12:3456";

/// What `ddnsctl host add` is given for these.
fn add(host: &str) -> [&str; 6] {
    ["host", "add", "user1", host, "--ip6", IDENTIFIER]
}

/// The same with another identifier.
fn add_other(host: &str) -> [&str; 6] {
    ["host", "add", "user1", host, "--ip6", OTHER]
}

/// What a host's client gets for a prefix. The web server's user works on its request, since only
/// the user who started dnsmasq can restart it.
fn send_prefix(scene: &Scene, host: &str, seconds: i64) -> String {
    send(scene, &signed_2("user1", "secretkey1", host, &time(seconds), ["", PREFIX]))
}

fn send(scene: &Scene, query: &str) -> String {
    let cgi = scene.cgi("127.0.0.11", query);
    let answer = if is_root() { cgi.by_web_user() } else { cgi }.run().line;
    scene.settle();
    answer
}

fn record(scene: &Scene, host: &str) -> Value {
    let state: Value = serde_json::from_str(&scene.state()).unwrap();
    state[host].clone()
}

/// What `ddnsctl check` says of the hosts, if this server answers.
fn check(scene: &Scene, server: &str) -> String {
    let output = scene.ddnsctl(&["check", "--server", server]);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| line.contains("h.lohray.com")).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_identifier_is_stored_quietly_and_no_name_server_is_disturbed() {
    let scene = Scene::new();
    let waits = format!("{NAS} has the interface identifier {IDENTIFIER}, and waits for a prefix");
    let notes = scene.notes(&add(NAS));
    assert!(notes.starts_with(&format!("{waits}\nuser1 may update {NAS}; next")), "{notes}");
    assert_eq!(record(&scene, NAS), json!({"ip6": IDENTIFIER, "update": "1970-01-01 00:00:00"}));
    assert_eq!(scene.does(&add("HOST1.h.lohray.com")), "");
    let expected = json!({
        "ip": "129.118.243.10", "ip6": IDENTIFIER, "update": "2012-04-20 20:45:59",
    });
    assert_eq!(record(&scene, HOST1), expected, "the rest of the record stays");
    assert_eq!(scene.hosts(), HOSTS);
    assert!(scene.restarts().is_empty() && !scene.mark().exists());
    let users: Value = serde_json::from_str(&scene.does(&["user", "list", "--json"])).unwrap();
    let hosts = json!([HOST1, "host2.h.lohray.com", NAS]);
    assert_eq!(users["user1"]["hosts"], hosts, "each host once");
    if is_root() {
        for entry in fs::read_dir(scene.path("www/ramcache")).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().uid(), web_user(), "{entry:?}");
        }
    }
    assert_eq!(send_prefix(&scene, NAS, -9), format!("good {ADDRESS}"));
    assert_eq!(scene.hosts(), format!("{HOSTS}{ADDRESS} {NAS}\n"));
}

#[test]
fn a_lost_state_is_rebuilt_first_and_a_new_one_gets_its_hosts_file() {
    let scene = Scene::new();
    fs::remove_file(scene.path("www/ramcache/ip.txt")).unwrap();
    scene.does(&add(HOST1));
    let state: Value = serde_json::from_str(&scene.state()).unwrap();
    let names: Vec<&String> = state.as_object().unwrap().keys().collect();
    assert_eq!(names, [HOST1, "host2.h.lohray.com", "host3.h.lohray.com"]);
    assert_eq!((state[HOST1]["ip6"].as_str(), scene.hosts().as_str()), (Some(IDENTIFIER), HOSTS));

    for name in ["ip.txt", "hosts.dns"] {
        fs::remove_file(scene.path("www/ramcache").join(name)).unwrap();
    }
    scene.does(&add(NAS));
    assert_eq!(record(&scene, NAS)["ip6"], IDENTIFIER);
    assert_eq!(scene.hosts(), "");
    assert!(!scene.mark().exists());
}

#[test]
fn what_is_no_identifier_or_no_host_of_the_user_is_refused_with_advice() {
    let scene = Scene::new();
    let refusal = |arguments: &[&str]| {
        let output = scene.ddnsctl(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for (identifier, advice) in [
        ("2001:db8:9::211:32ff:fe12:3456", "identifier, which is ::211:32ff:fe12:3456 if"),
        ("fe80::7", "which is ::7 if"),
        ("::1", "let the host report its whole address once"),
        ("::", "let the host report its whole address once"),
        ("2001:db8::1", "let the host report its whole address once"),
        ("::7/64", "without the slash"),
        ("::ffff:192.0.2.1", "is an IPv4 address"),
        ("192.0.2.1", "is an IPv4 address"),
        ("none", "invalid IP address"),
    ] {
        let text = refusal(&["host", "add", "user1", NAS, "--ip6", identifier]);
        assert!(text.contains(advice), "{identifier}: {text}");
    }
    for (arguments, reason) in [
        (&["host", "add", "user1", HOST1][..], "user1's already"),
        (&["host", "add", "user2", HOST1, "--ip6", "::7"], "user1's already"),
        (&["host", "add", "nobody", NAS, "--ip6", "::7"], "no user nobody"),
        (&["host", "add", "user1", "a b", "--ip6", "::7"], "not a valid host name"),
    ] {
        let text = refusal(arguments);
        assert!(text.contains(reason), "{arguments:?}: {text}");
    }
    assert_eq!(scene.state(), STATE);
    assert_eq!(scene.read("etc/credentials.json"), CREDENTIALS);
    // A record that only a hand can mend.
    let broken = STATE.replace("{\n        \"ip\": \"129", "[{\n        \"ip\": \"129");
    let broken = broken.replace("20:45:59\"\n    }", "20:45:59\"\n    }]");
    scene.write("www/ramcache/ip.txt", &broken);
    assert!(refusal(&add(HOST1)).contains("is not an object: correct it by hand"));
    assert_eq!(scene.state(), broken);
}

#[test]
fn dnsmasq_learns_of_the_host_with_its_first_prefix_and_forgets_an_address_that_is_replaced() {
    if !can_run("identifiers and dnsmasq", &[DNSMASQ]) {
        return;
    }
    let scene = Scene::new();
    scene.configure(&json!({"restart": ["sh", "-c", scene.noting(&Dnsmasq::restart(&scene))]}));
    let dnsmasq = Dnsmasq::start(&scene);
    let server = dnsmasq.address();
    let asked = |host: &str| dnsmasq.resolver().addresses(host, TYPE::AAAA).unwrap();
    scene.does(&add(NAS));
    assert_eq!(asked(NAS), [] as [IpAddr; 0]);
    let found = check(&scene, &server);
    assert_eq!(
        found,
        format!(
            "warning: {NAS}: has no IPv6 address: its identifier {IDENTIFIER} waits for a prefix"
        )
    );
    let first = signed_2("user1", "secretkey1", NAS, &time(-9), ["", PREFIX]);
    assert_eq!(send(&scene, &first), format!("good {ADDRESS}"));
    assert_eq!(asked(NAS), [ADDRESS.parse::<IpAddr>().unwrap()]);
    assert_eq!(check(&scene, &server), "");
    assert_eq!(scene.restarts().len(), 1);

    let may = format!("user1 may update {NAS}; next, for ip-update (or ");
    let text = scene.notes(&add(NAS));
    let has = format!("{NAS} has {ADDRESS}, which has this identifier already\n");
    assert!(text.starts_with(&(has + &may)), "{text}");
    assert_eq!((asked(NAS).len(), scene.restarts().len()), (1, 1));

    let text = scene.notes(&add_other(NAS));
    let expected = format!(
        "{NAS} has lost {ADDRESS}: it has no IPv6 address until an update sends a prefix, so let \
         its router send one now\n{may}"
    );
    assert!(text.starts_with(&expected), "{text}");
    assert_eq!((asked(NAS), scene.restarts().len()), (vec![], 2));
    assert!(!scene.mark().exists());
    assert_eq!(check(&scene, &server), found.replace(IDENTIFIER, OTHER));
    assert!(!scene.notes(&add_other(NAS)).contains("lost"), "it has lost nothing more");
    assert_eq!(scene.restarts().len(), 2);
    // A stamp that is already used does not bring the address back.
    scene.does(&add(NAS));
    assert_eq!(send(&scene, &first), "replay");
    assert_eq!(send_prefix(&scene, NAS, -8), format!("good {ADDRESS}"));
    assert_eq!(asked(NAS), [ADDRESS.parse::<IpAddr>().unwrap()]);
}

#[test]
fn a_zone_gets_no_identifier() {
    if !can_run("identifiers and zones", &[KNOT, NSUPDATE]) {
        return;
    }
    let scene = Scene::new();
    let primary = Primary::start(&scene);
    scene.configure(&json!({"restart": [], "publish": primary.publish(&scene, "UPDATE")}));
    scene.does(&["apply"]);
    scene.does(&add(HOST1));
    scene.does(&["apply", "--all"]);
    assert_eq!(served(&primary), HOSTS);
    assert_eq!(send_prefix(&scene, HOST1, -9), format!("good {ADDRESS}"));
    assert!(served(&primary).contains(ADDRESS));
    assert!(scene.notes(&add_other(HOST1)).contains("has lost"));
    assert_eq!(served(&primary), HOSTS);
}

#[test]
fn the_list_tells_an_identifier_from_an_address() {
    let scene = Scene::new();
    scene.does(&add(HOST1));
    let table = scene.does(&["list"]);
    assert!(
        table.contains(&format!("129.118.243.10 {IDENTIFIER} (no prefix yet)  2012")),
        "{table}"
    );
    let list = || serde_json::from_str::<Value>(&scene.does(&["list", "--json"])).unwrap();
    let host = &list()[0];
    assert_eq!(host["addresses"], json!(["129.118.243.10"]));
    assert_eq!(host["interface_identifier"], IDENTIFIER);
    send_prefix(&scene, HOST1, -9);
    let host = &list()[0];
    assert_eq!(host["addresses"], json!(["129.118.243.10", ADDRESS]));
    assert_eq!(host["interface_identifier"], Value::Null);
    assert!(!scene.does(&["list"]).contains("no prefix"));
}

#[test]
fn a_host_that_has_expired_comes_back_with_its_first_prefix() {
    let scene = Scene::new();
    scene.configure(&json!({"expire_after": 3600}));
    scene.does(&["apply"]);
    assert_eq!((scene.hosts().as_str(), scene.restarts().len()), ("", 1));
    scene.does(&add(HOST1));
    scene.does(&add(NAS));
    assert_eq!(record(&scene, HOST1)["update"], "2012-04-20 20:45:59");
    let list: Value = serde_json::from_str(&scene.does(&["list", "--json"])).unwrap();
    assert_eq!([&list[0]["expired"], &list[3]["expired"]], [true, false]);
    assert_eq!((scene.hosts().as_str(), scene.restarts().len()), ("", 1));
    assert_eq!(send_prefix(&scene, HOST1, -9), format!("good {ADDRESS}"));
    assert_eq!(scene.hosts(), format!("129.118.243.10 {HOST1}\n{ADDRESS} {HOST1}\n"));
}

#[test]
fn import_and_rebuild_keep_identifiers() {
    let scene = Scene::new();
    scene.does(&add(HOST1));
    let state = scene.state();
    for name in ["ip.txt", "hosts.dns"] {
        fs::rename(scene.path("www/ramcache").join(name), scene.path("run").join(name)).unwrap();
    }
    let files = ["run/ip.txt", "run/hosts.dns", "etc/credentials.json"]
        .map(|name| scene.path(name).display().to_string());
    let text = scene.does(&[
        "import",
        "--state",
        &files[0],
        "--hosts",
        &files[1],
        "--credentials",
        &files[2],
    ]);
    let warnings: Vec<&str> = text.lines().filter(|line| line.starts_with("warning")).collect();
    let expected = format!(
        "warning: {HOST1} has an interface identifier, which gets no line in the hosts file until \
         an update sends a prefix"
    );
    assert_eq!(warnings, [expected]);
    assert_eq!((&scene.state(), scene.hosts()), (&state, HOSTS.to_owned()));

    scene.write("www/ramcache/ip.txt", &state[..state.find("host3").unwrap()]);
    assert!(scene.notes(&["rebuild"]).contains("with 2 hosts from the broken one and 1 more from"));
    assert_eq!(scene.state(), state.replace("2012-04-19 04:54:21", "1970-01-01 00:00:00"));
    assert_eq!(scene.hosts(), HOSTS);
}

#[test]
fn a_signed_prefix_is_a_valid_request() {
    let scene = Scene::new();
    scene.does(&add(HOST1));
    let url = scene.does(&["sign", HOST1, "--ip6", "2001:DB8:1::/64"]);
    assert_eq!(
        scene.answer("127.0.0.9", url.trim().split_once('?').unwrap().1),
        format!("good {ADDRESS}")
    );
    for prefix in ["2001:db8:1::7/64", "2001:db8:1::/128", "192.0.2.0/24"] {
        let output = scene.ddnsctl(&["sign", HOST1, "--ip6", prefix]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("invalid value") && text.contains(": is "), "{prefix}: {text}");
    }
}

/// What the files are before and after an identifier takes the place of an address. Before it, the
/// host is nobody's.
struct Replacement {
    scene: Scene,
    states: [String; 2],
    hosts: [String; 2],
    credentials: [String; 2],
}

impl Replacement {
    /// `ddnsctl` works as root on the state, without another process, if root owns its folder.
    fn new(is_by_root: bool) -> Self {
        let scene = faults::scene();
        if is_by_root && is_root() {
            chown(scene.path("www/ramcache"), Some(0), Some(0)).unwrap();
        }
        let last = "\"2012-04-19 04:54:21\"\n    }";
        let with = |ip6| {
            let record = format!(
                "{last},\n    \"{NAS}\": {{\n        \"ip6\": \"{ip6}\",\n        \
                 \"update\": \"2012-04-19 04:54:21\"\n    }}"
            );
            STATE.replace(last, &record)
        };
        let host2 = "\"host2.h.lohray.com\"";
        let given = CREDENTIALS.replace(host2, &format!("{host2},\n            \"{NAS}\""));
        Self {
            scene,
            states: [with("2001:db8:9::7"), with(IDENTIFIER)],
            hosts: [format!("{HOSTS}2001:db8:9::7 {NAS}\n"), HOSTS.to_owned()],
            credentials: [CREDENTIALS.to_owned(), given],
        }
    }

    fn prepare(&self) {
        let scene = &self.scene;
        let _ = fs::remove_file(scene.mark());
        scene.reset(&self.states[0], &self.hosts[0]);
        scene.write("etc/credentials.json", CREDENTIALS);
        scene.write("run/served", "");
    }

    /// Runs a command under strace, with these options. Only its first process is traced. The end
    /// of its output is the end of all of them.
    fn run(&self, arguments: &[&str], options: &[&str]) -> Output {
        self.prepare();
        let command = self.scene.ddnsctl_command(arguments);
        let mut strace = Command::new(STRACE);
        strace.arg("-o").arg(self.scene.path("run/trace")).args(options).arg("--");
        strace.arg(command.get_program()).args(command.get_args()).output().unwrap()
    }

    /// Each file is old or new. The right to update comes first, and the mark before DNS changes.
    fn check(&self, point: &str) {
        let is_new = |[old, new]: &[String; 2], text: String| {
            assert!(text == *old || text == *new, "{point}: neither old nor new: {text}");
            text == *new
        };
        let scene = &self.scene;
        let has_right = is_new(&self.credentials, scene.read("etc/credentials.json"));
        let is_stored = is_new(&self.states, scene.state());
        let is_published = is_new(&self.hosts, scene.hosts());
        assert!(has_right || !is_stored || !point.contains("host add"), "{point}: credentials");
        assert!(is_stored || !is_published, "{point}: the hosts file is ahead of the state");
        assert!(!is_stored || is_published || scene.mark().exists(), "{point}: no mark");
    }

    /// The same command again completes it.
    fn check_completion(&self, point: &str) {
        let scene = &self.scene;
        scene.does(&add(NAS));
        let files = [scene.read("etc/credentials.json"), scene.state(), scene.hosts()];
        let expected = [&self.credentials, &self.states, &self.hosts].map(|file| file[1].clone());
        assert_eq!(files, expected, "{point}");
        assert!(!scene.mark().exists(), "{point}: the mark stays");
        assert_eq!(scene.read("run/served"), self.hosts[1], "{point}: dnsmasq serves another");
    }

    /// Runs a command once for each fault at each of its system calls that `is_hit`.
    fn everywhere(&self, arguments: &[&str], faults: &[&str], is_hit: impl Fn(&str) -> bool) {
        assert!(self.run(arguments, &[]).status.success());
        let calls = calls_in(&self.scene.read("run/trace"));
        let mut points = 0;
        for (call, count) in calls.iter().filter(|(call, _)| is_hit(call)) {
            for (fault, when) in faults.iter().flat_map(|f| (1..=*count).map(move |when| (f, when)))
            {
                let point = format!("{}: {fault} at {call} {when}", arguments.join(" "));
                let injection = format!("inject={call}:{fault}:when={when}");
                let output = self.run(arguments, &["-e", &injection]);
                self.check(&point);
                if output.status.success() {
                    assert_eq!(self.scene.hosts(), self.hosts[1], "{point}: {output:?}");
                    assert!(!self.scene.mark().exists(), "{point}: {output:?}");
                }
                self.check_completion(&point);
                points += 1;
            }
        }
        let what = &arguments[..2].join(" ");
        tell(&format!("measured: {what}: completed after each of {points}: {}", faults.join(", ")));
    }
}

#[test]
fn a_killed_command_is_completed_by_the_same_command() {
    if !can_run("ddnsctl host add, killed", &[STRACE]) {
        return;
    }
    let kill = ["signal=SIGKILL"];
    Replacement::new(false).everywhere(&add(NAS), &kill, |_| true);
    Replacement::new(true).everywhere(&["identify", NAS, IDENTIFIER], &kill, |_| true);
}

#[test]
fn a_command_that_fails_halfway_is_completed_by_the_same_command() {
    if !can_run("ddnsctl host add, with errors", &[STRACE]) {
        return;
    }
    let is_hit = |call: &str| FILE_CALLS.contains(&call);
    let errors = ["error=ENOSPC", "error=EIO"];
    Replacement::new(true).everywhere(&["identify", NAS, IDENTIFIER], &errors, is_hit);
}

#[test]
fn a_failed_restart_is_told_and_the_identifier_is_stored_all_the_same() {
    let scene = Scene::new();
    let query = signed("user1", "secretkey1", HOST1, &time(-9));
    assert_eq!(scene.answer("2001:db8:9::7", &query), "good 2001:db8:9::7");
    scene.settle();
    scene.configure(&json!({"restart": ["sh", "-c", "echo broken; exit 1"]}));
    let output = scene.ddnsctl(&add(HOST1));
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("broken") && text.contains("All the same, host1.h.lohray.com has"),
        "{text}"
    );
    assert_eq!(record(&scene, HOST1)["ip6"], IDENTIFIER);
    assert_eq!(scene.hosts(), HOSTS);
    assert!(scene.mark().exists(), "the next request tries again");
}

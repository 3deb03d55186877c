//! `ddnsctl`, on the files of a scene.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::{Value, json};

use crate::scene::{HOSTS, STATE, Scene, can_run, eventually, host1, signed, time};

impl Scene {
    pub fn ddnsctl(&self, arguments: &[&str]) -> Output {
        self.ddnsctl_command(arguments).output().unwrap()
    }

    pub fn ddnsctl_command(&self, arguments: &[&str]) -> Command {
        let program = std::env::var_os("DDNS_CGI").map_or_else(
            || PathBuf::from(env!("CARGO_BIN_EXE_ddnsctl")),
            |cgi| Path::new(&cgi).with_file_name("ddnsctl"),
        );
        let mut command = Command::new(program);
        command.arg("--config").arg(self.path("etc/config.json")).args(arguments);
        command
    }

    /// What a command prints; it must succeed.
    pub fn does(&self, arguments: &[&str]) -> String {
        let output = self.ddnsctl(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command says that it did; it must succeed.
    pub fn notes(&self, arguments: &[&str]) -> String {
        let output = self.ddnsctl(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// A command as `ddnsctl` advises it for this scene.
    pub fn advised(&self, arguments: &str) -> String {
        format!("ddnsctl --config {} {arguments}", self.path("etc/config.json").display())
    }

    /// The one line that says why a command fails.
    pub fn refuses(&self, arguments: &[&str]) -> String {
        let output = self.ddnsctl(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(text.starts_with("ddnsctl: ") && text.lines().count() == 1, "{text}");
        text
    }
}

#[test]
fn users_and_hosts_are_added_changed_and_removed() {
    let scene = Scene::new();
    let key = scene.does(&["user", "add", "carol", "--host", "host4.example"]);
    assert_eq!(key.trim().len(), 64);
    let request = |key: &str, seconds| signed("carol", key.trim(), "host4.example", &time(seconds));
    assert_eq!(scene.answer("127.0.0.4", &request(&key, -9)), "good 127.0.0.4");
    assert!(scene.refuses(&["user", "add", "carol"]).contains("already"));
    assert!(
        scene.refuses(&["host", "add", "carol", "HOST1.h.lohray.com"]).contains("user1's already")
    );
    assert!(scene.refuses(&["host", "add", "carol", "a b"]).contains("not a valid host name"));
    assert!(scene.refuses(&["host", "add", "nobody", "x.example"]).contains("no user nobody"));
    assert_eq!(scene.does(&["host", "add", "carol", "host5.example"]), "");

    let other = scene.does(&["user", "rekey", "carol"]);
    assert_ne!(other, key);
    assert_eq!(scene.answer("127.0.0.4", &request(&key, -8)), "badauth");
    assert_eq!(scene.answer("127.0.0.4", &request(&other, -7)), "nochg 127.0.0.4");

    let users: Value = serde_json::from_str(&scene.does(&["user", "list", "--json"])).unwrap();
    assert_eq!(users["carol"]["hosts"], json!(["host4.example", "host5.example"]));
    let table = scene.does(&["user", "list"]);
    assert!(table.contains("carol  any        host4.example host5.example"), "{table}");
    assert!(!table.contains("secretkey"));

    scene.settle();
    scene.does(&["host", "remove", "carol", "HOST4.example"]);
    assert_eq!(scene.hosts(), HOSTS, "out of DNS");
    assert_eq!(scene.state(), STATE, "and out of the state");
    assert_eq!(scene.answer("127.0.0.4", &request(&other, -6)), "nohost");
    scene.does(&["user", "remove", "carol"]);
    assert_eq!(scene.answer("127.0.0.4", &request(&other, -5)), "badauth");
    assert!(!scene.mark().exists());
}

#[test]
fn the_credentials_are_replaced_whole_with_their_owner_and_mode() {
    if !can_run("ddnsctl and the credentials' owner", &["root"]) {
        return;
    }
    let scene = Scene::new();
    let file = scene.path("etc/credentials.json");
    std::os::unix::fs::chown(&file, Some(0), Some(33)).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    scene.does(&["user", "add", "carol"]);
    let after = fs::metadata(&file).unwrap();
    assert_eq!((after.uid(), after.gid(), after.mode() & 0o777), (0, 33, 0o640));
    fs::remove_file(&file).unwrap();
    scene.does(&["user", "add", "carol"]);
    let after = fs::metadata(&file).unwrap();
    assert_eq!((after.uid(), after.gid(), after.mode() & 0o777), (0, 33, 0o640), "also when new");
}

#[test]
fn eight_operators_at_once_lose_no_user() {
    let scene = Scene::new();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let scene = &scene;
            scope.spawn(move || scene.does(&["user", "add", &format!("new{n}")]));
        }
    });
    let users: Value = serde_json::from_str(&scene.does(&["user", "list", "--json"])).unwrap();
    assert_eq!(users.as_object().unwrap().len(), 2 + 8);
}

#[test]
fn the_list_tells_addresses_ages_and_owners() {
    let scene = Scene::new();
    assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
    scene.settle();
    let table = scene.does(&["list"]);
    let lines: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0].join(" "), "HOST ADDRESSES LAST UPDATE AGE OWNER");
    assert_eq!(lines[1][..2], ["host1.h.lohray.com", "127.0.0.11"]);
    assert_eq!(lines[3][0], "host3.h.lohray.com");
    assert_eq!(lines[3].last(), Some(&"user2"));
    let stale = scene.does(&["list", "--stale", "2h"]);
    assert!(
        !stale.contains("host1") && stale.contains("host2") && stale.contains(" days "),
        "{stale}"
    );
    let json: Value = serde_json::from_str(&scene.does(&["list", "--json"])).unwrap();
    assert_eq!(json[1]["addresses"], json!(["75.110.204.100"]));
    assert_eq!(json[1]["owner"], "user1");
    assert!(json[1]["age_seconds"].as_i64().unwrap() > 400_000_000);
    scene.write("run/copy", STATE);
    let copy = scene.path("run/copy");
    assert!(scene.does(&["list", "--state", copy.to_str().unwrap()]).contains("129.118.243.10"));
    scene.write("run/copy", "{");
    assert!(scene.refuses(&["list", "--state", copy.to_str().unwrap()]).contains("ends too early"));
}

#[test]
fn a_signed_url_is_a_valid_request() {
    let scene = Scene::new();
    let url = scene.does(&["sign", "host1.h.lohray.com", "--url", "http://ns.example/ip.php"]);
    let query = url.trim().strip_prefix("http://ns.example/ip.php?").unwrap();
    assert_eq!(scene.answer("129.118.243.10", query), "nochg 129.118.243.10");
    assert!(!url.contains("secretkey"));
    let curl = scene.does(&["sign", "host1.h.lohray.com", "--curl"]);
    assert!(curl.starts_with("curl ") && curl.ends_with("'\n"), "{curl}");
    let refusal = scene.refuses(&["sign", "other.example"]);
    assert!(refusal.contains(&scene.advised("host add USER other.example")), "{refusal}");
}

#[test]
fn a_url_is_the_one_on_the_command_line_or_in_the_configuration_or_this_machine() {
    let scene = Scene::new();
    let begins = |options: &[&str], url: &str| {
        let text = scene.does(&[&["sign", "host1.h.lohray.com"], options].concat());
        assert!(text.starts_with(&format!("{url}?user=user1&")), "{text}");
    };
    begins(&[], "http://127.0.0.1/ip.php");
    scene.configure(&json!({"url": "https://ns.example.net/ip.php"}));
    begins(&[], "https://ns.example.net/ip.php");
    begins(&["--url", "http://[::1]:8080/x"], "http://[::1]:8080/x");
    for url in ["foo", "ftp://a/", "http://", "/ip.php", "http://a/?x", "http://a/ b", "http://a/#"]
    {
        let output = scene.ddnsctl(&["sign", "host1.h.lohray.com", "--url", url]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2) && text.contains("URL of this server without a query"),
            "{text}"
        );
    }
}

#[test]
fn protocol_2_is_signed_with_its_addresses_and_a_user_can_be_bound_to_it() {
    let scene = Scene::new();
    // Each is a second later than the one before; otherwise it would be a replay.
    let sign = |options: &[&str]| {
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let url = scene.does(&[&["sign", "host1.h.lohray.com"], options].concat());
        scene.answer("127.0.0.66", url.trim().split_once('?').unwrap().1)
    };
    let both = ["--ip", "192.0.2.1", "--ip6", "2001:DB8::1"];
    assert_eq!(sign(&both), "good 192.0.2.1,2001:db8::1");
    assert_eq!(sign(&["--ip6", "none"]), "good none");
    assert_eq!(sign(&["--protocol", "2"]), "good 127.0.0.66");
    let refused =
        |options: &[&str]| scene.refuses(&[&["sign", "host1.h.lohray.com"], options].concat());
    assert!(refused(&["--protocol", "1", "--ip", "192.0.2.1"]).contains("leave out --protocol 1"));
    for options in [["--protocol", "3"], ["--ip", "2001:db8::1"], ["--ip6", "192.0.2.1"]] {
        let output = scene.ddnsctl(&[&["sign", "host1.h.lohray.com"], &options[..]].concat());
        assert!(String::from_utf8_lossy(&output.stderr).contains("invalid value"), "{output:?}");
    }

    scene.does(&["user", "signature", "user1", "hmac-sha256"]);
    assert!(scene.does(&["user", "list"]).contains("user1  hmac-sha256  host1.h.lohray.com"));
    assert_eq!(sign(&[]), "nochg 127.0.0.66", "it is the default now");
    let bound = "user1 may sign only with protocol 2: leave out --protocol 1, or allow it";
    let refusal = refused(&["--protocol", "1"]);
    let way_out = scene.advised("user signature user1 any");
    assert!(refusal.contains(bound) && refusal.contains(&way_out), "{refusal}");
    scene.does(&["user", "signature", "user1", "any"]);
    assert_eq!(sign(&["--protocol", "1"]), "nochg 127.0.0.66");
    let key =
        scene.does(&["user", "add", "dave", "--host", "d.example", "--signature", "hmac-sha256"]);
    let by_1 = signed("dave", key.trim(), "d.example", &time(0));
    assert_eq!(scene.answer("127.0.0.4", &by_1), "badauth");

    let text = scene.read("etc/credentials.json").replace("\"hmac-sha256\"", "\"sha1\"");
    scene.write("etc/credentials.json", &text);
    assert!(scene.does(&["user", "list"]).contains("dave   unusable   d.example"));
    assert!(scene.refuses(&["sign", "d.example"]).contains("unusable"));
}

#[test]
fn apply_brings_the_hosts_file_to_the_state_and_restarts_or_tells_why_not() {
    let scene = Scene::new();
    scene.write("www/ramcache/hosts.dns", "192.0.2.1 old.example\n");
    // The scene's restart is a script of its own.
    assert_eq!(
        scene.notes(&["apply"]),
        "the restart command has succeeded; the hosts file has 3 hosts\n"
    );
    assert_eq!(scene.hosts(), HOSTS);
    assert_eq!(scene.restarts().len(), 1);
    assert!(!scene.mark().exists());
    // An edit that no index notices.
    assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
    scene.settle();
    let path = scene.path("www/ramcache/ip.txt");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    scene.write("www/ramcache/ip.txt", &scene.state().replace("50.19.108.105", "50.19.108.106"));
    let state = fs::File::options().write(true).open(&path).unwrap();
    state.set_modified(modified).unwrap();
    scene.does(&["apply"]);
    assert!(scene.hosts().contains("50.19.108.106 host3"), "{}", scene.hosts());
    scene.configure(&json!({"restart": ["sh", "-c", "echo broken; exit 1"]}));
    assert!(scene.refuses(&["apply"]).contains("exit status: 1: broken"));
    assert!(scene.mark().exists(), "the next request tries again");
    scene.write("www/ramcache/ip.txt", "{");
    let refusal = scene.refuses(&["apply"]);
    assert!(refusal.contains("ip.txt") && refusal.contains("run ddnsctl rebuild"), "{refusal}");
}

#[test]
fn what_root_applies_belongs_to_the_web_server_and_follows_none_of_its_links() {
    if !can_run("ddnsctl apply as root", &["root"]) {
        return;
    }
    let scene = Scene::new();
    scene.write("etc/victim", "precious");
    let hosts = scene.path("www/ramcache/hosts.dns");
    fs::remove_file(&hosts).unwrap();
    std::os::unix::fs::symlink(scene.path("etc/victim"), &hosts).unwrap();
    let refusal = scene.refuses(&["apply"]);
    assert!(refusal.contains("Permission denied"), "{refusal}");
    assert_eq!(scene.read("etc/victim"), "precious");
    fs::remove_file(&hosts).unwrap();
    scene.does(&["apply"]);
    for entry in fs::read_dir(scene.path("www/ramcache")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().uid(), crate::scene::web_user(), "{entry:?}");
    }
}

#[test]
fn a_broken_state_is_rebuilt_from_what_is_readable_and_from_the_hosts_file() {
    let scene = Scene::new();
    assert!(scene.notes(&["rebuild"]).contains("whole"));
    assert_eq!(scene.state(), STATE);
    let broken = &STATE[..STATE.find("host3").unwrap() + 20];
    scene.write("www/ramcache/ip.txt", broken);
    assert_eq!(scene.answer("129.118.243.10", &host1()), "911");
    for command in [&["list"][..], &["apply"], &["forget", "host1.h.lohray.com"]] {
        let refusal = scene.refuses(command);
        assert!(refusal.contains("the state is broken") && refusal.contains("ddnsctl rebuild"));
    }
    let note = scene.notes(&["rebuild"]);
    assert!(note.contains("with 2 hosts from the broken one and 1 more from"), "{note}");
    assert!(note.contains("hosts.dns, which lost the date of its last update; the"), "{note}");
    let (note, next) = note.trim().split_once("; next: ").unwrap();
    assert_eq!(next, scene.advised("check"));
    assert_eq!(scene.state(), STATE.replace("2012-04-19 04:54:21", "1970-01-01 00:00:00"));
    assert_eq!(scene.hosts(), HOSTS);
    let aside = note.rsplit(' ').next().unwrap();
    assert_eq!(fs::read_to_string(aside).unwrap(), broken);
    scene.write("www/ramcache/ip.txt", &format!("{STATE}}}"));
    let note = scene.notes(&["rebuild"]);
    assert!(note.contains("with 3 hosts from the broken one; the broken one is"), "{note}");
    assert_eq!(scene.answer("129.118.243.10", &host1()), "nochg 129.118.243.10");
}

#[test]
fn a_broken_state_that_is_kept_on_a_ram_disk_is_said_to_be_there() {
    if !can_run("a broken state on a RAM disk", &["/dev/shm"]) {
        return;
    }
    let scene = Scene::on_ram_disk();
    scene.write("www/ramcache/ip.txt", "{");
    let note = scene.notes(&["rebuild"]);
    assert!(note.contains("is kept on the RAM disk, until the next boot, as /dev/shm/"), "{note}");
}

/// The files of an `ip.php` installation, and a scene without any.
fn old_installation() -> Scene {
    let scene = Scene::new();
    for name in ["ip.txt", "hosts.dns"] {
        fs::rename(scene.path("www/ramcache").join(name), scene.path("run").join(name)).unwrap();
    }
    fs::rename(scene.path("etc/credentials.json"), scene.path("run/keys.json")).unwrap();
    // As after scripts/install.
    scene.write("etc/credentials.json", "{}\n");
    scene
}

fn import<'a>(scene: &Scene, files: &'a mut Vec<String>) -> Vec<&'a str> {
    *files = ["ip.txt", "hosts.dns", "keys.json"]
        .map(|name| scene.path("run").join(name).display().to_string())
        .to_vec();
    vec!["import", "--state", &files[0], "--hosts", &files[1], "--credentials", &files[2]]
}

#[test]
fn an_ip_php_is_taken_over_to_the_byte() {
    let scene = old_installation();
    let mut files = Vec::new();
    let arguments = import(&scene, &mut files);
    let files = arguments[2..].iter().copied().step_by(2).collect::<Vec<_>>();
    let dry: Vec<&str> = arguments.iter().copied().chain(["--dry-run"]).collect();
    assert!(scene.does(&dry).contains("would copy"));
    assert!(!scene.path("www/ramcache/ip.txt").exists());
    assert_eq!(scene.notes(&dry), "the files have 3 hosts and 2 users; nothing is changed\n");
    let output = scene.ddnsctl(&arguments);
    let [text, note] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success() && !text.contains("warning"), "{text}");
    assert!(text.ends_with(&format!("remove it:\n    rm {}\n", files[2])), "{text}");
    assert_eq!(note, format!("took over 3 hosts and 2 users; next: {}\n", scene.advised("apply")));
    assert_eq!((scene.state(), scene.hosts()), (STATE.to_owned(), HOSTS.to_owned()));
    assert_eq!(scene.answer("129.118.243.10", &host1()), "nochg 129.118.243.10");
    // A second run changes nothing, unless the file was written to since.
    assert!(scene.refuses(&arguments).contains("differs from"));
}

#[test]
fn an_import_warns_of_what_may_surprise_and_converts_nothing() {
    let scene = old_installation();
    let odd = json!({
        "host1.h.lohray.com": {"ip": "192.0.2.1", "update": "2999-01-01 00:00:00"},
        "HOST1.h.lohray.com": {"ip": "192.0.2.1", "update": "2012-01-01 00:00:00"},
        "bad name": {"ip": "192.0.2.2", "update": "2012-01-01 00:00:00"},
        "host2.h.lohray.com": {"ip": "", "update": "yesterday"},
        "stray.example": {"ip": "192.0.2.4", "update": "2012-01-01 00:00:00"},
    });
    scene.write("run/ip.txt", &odd.to_string());
    scene.write(
        "run/keys.json",
        r#"{"u": {"id": ["host1.h.lohray.com", "host2.h.lohray.com", "x y"]}}"#,
    );
    let mut files = Vec::new();
    let text = scene.does(&import(&scene, &mut files));
    for warning in [
        "\"time_zone\" to \"local\"",
        "bad name is not a valid host name",
        "host1.h.lohray.com, HOST1.h.lohray.com are there more than once, in different case",
        "host2.h.lohray.com has no address",
        "host2.h.lohray.com has an \"update\" that is no time stamp",
        "bad name, stray.example are no user's hosts",
        "user u cannot sign in: it has no key",
        "x y in the credentials is not a valid host name",
        "differs from what the state says",
    ] {
        assert!(text.contains(warning), "{warning}: {text}");
    }
    assert_eq!(scene.state(), odd.to_string());
    scene.write("run/ip.txt", "<?php");
    assert!(scene.refuses(&import(&scene, &mut files)).contains("ip.txt"));
}

#[test]
fn a_state_that_php_wrote_is_taken_over() {
    if !can_run("an import from PHP", &["/usr/bin/php"]) {
        return;
    }
    let scene = old_installation();
    // As an ip.php like the article's writes its two files.
    let code = r#"$map = json_decode(file_get_contents("ip.txt"), true);
        $map["host1.h.lohray.com"] = array("ip" => "192.0.2.77", "update" => date("Y-m-d H:i:s"));
        file_put_contents("ip.txt", json_encode($map, JSON_PRETTY_PRINT));
        $out = ""; foreach ($map as $name => $rec) $out .= $rec["ip"] . " $name\n";
        file_put_contents("hosts.dns", $out);"#;
    let status = Command::new("php")
        .args(["-d", "date.timezone=UTC", "-r", code])
        .current_dir(scene.path("run"))
        .status();
    assert!(status.unwrap().success());
    let (state, hosts) = (scene.read("run/ip.txt"), scene.read("run/hosts.dns"));
    let mut files = Vec::new();
    let text = scene.does(&import(&scene, &mut files));
    assert!(!text.contains("warning"), "{text}");
    scene.does(&["apply"]);
    assert_eq!((scene.state(), scene.hosts()), (state, hosts));
    let later = signed("user1", "secretkey1", "host1.h.lohray.com", &time(1));
    assert_eq!(scene.answer("192.0.2.77", &later), "nochg 192.0.2.77", "the keys work");
}

#[test]
fn what_ddnsctl_cannot_print_is_a_failure_but_for_a_reader_that_has_seen_enough() {
    let scene = Scene::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = scene.ddnsctl_command(&["user", "rekey", "user1"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.starts_with("ddnsctl: standard output: No space left on device"), "{log}");
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let writer = OwnedFd::from(writer);
    let output = scene.ddnsctl_command(&["user", "list"]).stdout(writer).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn check_waits_for_an_answer_through_a_stop() {
    let scene = Scene::new();
    let state = json!({"host1.h.lohray.com": {"ip": "203.0.113.7"}});
    scene.write("www/ramcache/ip.txt", &state.to_string());
    let server = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    server.set_nonblocking(true).unwrap();
    let check = scene
        .ddnsctl_command(&["check", "--server", &server.local_addr().unwrap().to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();

    let mut message = [0; 512];
    let mut question = None;
    eventually("check asks", || {
        question = server.recv_from(&mut message).ok();
        question.is_some()
    });
    let (length, client) = question.unwrap();
    let process = Pid::from_child(&check);
    let status = format!("/proc/{}/stat", check.id());
    eventually("it waits", || fs::read_to_string(&status).unwrap().contains(") S "));
    kill_process(process, Signal::STOP).unwrap();
    waitpid(Some(process), WaitOptions::UNTRACED).unwrap();
    kill_process(process, Signal::CONT).unwrap();
    // The question comes back as a reply (RFC 1035, section 4.1.1) without an address.
    message[2] |= 0x80;
    server.send_to(&message[..length], client).unwrap();

    let output = check.wait_with_output().unwrap();
    let findings = String::from_utf8(output.stdout).unwrap();
    assert!(findings.contains("dnsmasq does not answer with 203.0.113.7"), "{findings}");
    let line = format!("addn-hosts={}", scene.path("www/ramcache/hosts.dns").display());
    assert!(findings.contains(&format!("\n    echo {line} >> /etc/dnsmasq.")), "{findings}");
}

#[test]
fn on_a_terminal_check_shows_what_it_is_at_and_in_a_pipe_it_does_not() {
    const SCRIPT: &str = "/usr/bin/script";
    if !can_run("the progress of check", &[SCRIPT]) {
        return;
    }
    let scene = Scene::new();
    // It never answers, so asking it takes two seconds.
    let server = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let server = server.local_addr().unwrap().to_string();
    let check = scene.ddnsctl_command(&["check", "--server", &server]);
    let words = [check.get_program()].into_iter().chain(check.get_args());
    let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
    let output =
        Command::new(SCRIPT).args(["-qec", &words.join(" "), "/dev/null"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\r\u{1b}[Kchecking the name server (1 s, 0 answers)"), "{text:?}");
    let (_, report) = text.rsplit_once("\r\u{1b}[K").unwrap();
    assert!(report.contains("dnsmasq: no answer from") && !report.contains("checking"), "{text:?}");
    let output = scene.ddnsctl(&["check", "--server", &server]);
    assert!(output.stderr.is_empty(), "{output:?}");
}

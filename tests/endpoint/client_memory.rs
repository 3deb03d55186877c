//! What `scripts/ip-update` remembers from run to run: refusals, and with report=changes what it sent.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use serde_json::json;

use crate::apache::{APACHE, Apache, Kind};
use crate::client::{ALL_SHELLS, Client, SHELLS, is_one_line, outputs, wait_for_the_next_second};
use crate::scene::{HOSTS, STATE, Scene, can_run, web_user};

const HOST: &str = "host1.h.lohray.com";

/// The file of the memory, if there is one.
fn memory(scene: &Scene) -> Option<String> {
    let folder = fs::read_dir(scene.path("run/memory")).ok()?;
    let files: Vec<_> = folder.map(|file| file.unwrap().file_name()).collect();
    assert!(files.len() <= 1, "{files:?}");
    let name = files.first()?.to_str().unwrap();
    assert!(name.ends_with("%run%ip-update.conf"), "{name}");
    Some(format!("run/memory/{name}"))
}

/// Lets time pass: what the memory knows is older then.
fn later(scene: &Scene, seconds: u64) {
    let file = memory(scene).unwrap();
    let older = |line: &str| match &line.split(' ').collect::<Vec<_>>()[..] {
        [host, word, time, rest @ ..] => {
            let time = time.parse::<u64>().unwrap() - seconds;
            format!("{host} {word} {time} {}\n", rest.join(" "))
        }
        _ => format!("{line}\n"),
    };
    let text: String = scene.read(&file).lines().map(older).collect();
    scene.write(&file, &text);
}

/// The requests that the server refused so far.
fn refusals(scene: &Scene) -> usize {
    scene.read("run/error.log").matches("ddns-cgi: ").count()
}

#[test]
fn a_refusal_is_tried_again_after_a_wait_that_doubles_up_to_a_day() {
    if !can_run("ip-update's patience", &ALL_SHELLS) {
        return;
    }
    for shell in SHELLS {
        let scene = Scene::new();
        let apache = Apache::start(&scene, Kind::EventCgid);
        let client = Client { scene: &scene, shell };
        client.settings(&apache.url("/ip.php"), &[("key", "secretkey9")]);
        let delays = [
            ("15 min", 900),
            ("30 min", 1800),
            ("1 h", 3600),
            ("2 h", 7200),
            ("4 h", 14_400),
            ("8 h", 28_800),
            ("16 h", 57_600),
            ("1 day", 86_400),
            ("1 day", 86_400),
        ];
        for (number, (delay, seconds)) in (1..).zip(delays) {
            client.fails(3, &format!("; tries again in {delay}, or after an edit of /"));
            // Whoever calls it too often hears nothing, but the status stays.
            later(&scene, seconds - 70);
            assert_eq!(client.run(&[]), (3, String::new()));
            let (status, printed, text) = client.outputs(&["-v"]);
            assert_eq!((status, &*text), (3, ""));
            let start = format!("{HOST}: not sent: refused ");
            let why = " ago: unknown user or wrong key; ";
            let end = "tries again in 1 min, or now with -f\n";
            assert!(printed.starts_with(&start) && printed.contains(why), "{printed}");
            assert!(printed.ends_with(end), "{printed}");
            assert_eq!(refusals(&scene), number);
            // cron may be early by some seconds.
            later(&scene, 20);
        }
        later(&scene, 60);
        // On a terminal, silence would look like success.
        client.fails(3, "tries again in 1 day");
        let words = shell.join(" ") + " " + crate::client::SCRIPT + " -c ";
        let words = words + scene.path("run/ip-update.conf").to_str().unwrap();
        let mut terminal = std::process::Command::new("script");
        let (status, printed, _) = outputs(terminal.args(["-qec", &words, "/dev/null"]));
        let start = format!("ip-update: {HOST}: not sent: refused ");
        assert!(status == 3 && printed.starts_with(&start), "{printed}");
        assert!(printed.ends_with(", or now with -f\r\n"), "{printed:?}");
        later(&scene, 86_400);
        // An edit counts at once, and so does -f. Not all shells see fractions of seconds.
        client.fails(3, "tries again in 1 day");
        assert_eq!(client.run(&[]), (3, String::new()));
        wait_for_the_next_second();
        client.edit(&apache.url("/ip.php"), &[("key", "secretkey8")]);
        client.fails(3, "tries again in 15 min");
        is_one_line(client.run(&["-f"]), 3, "tries again in 15 min");
        assert_eq!(client.run(&[]), (3, String::new()));
        wait_for_the_next_second();
        client.edit(&apache.url("/ip.php"), &[]);
        assert_eq!(client.run(&[]), (0, String::new()));
        assert_eq!(memory(&scene), None, "a success clears it");
    }
}

#[test]
fn what_a_jail_counts_has_to_wait_and_what_passes_by_itself_does_not() {
    if !can_run("ip-update's refusals", &[APACHE, "/usr/bin/faketime"]) {
        return;
    }
    let scene = Scene::new();
    let apache = Apache::start(&scene, Kind::EventCgid);
    let client = Client { scene: &scene, shell: &["/bin/sh"] };
    let url = apache.url("/ip.php");
    scene.write("www/method", "badmethod\n");
    scene.write("www/colours", "\u{1b}[31mgood news\n");
    let invalid = "the request is invalid: malformed id";
    for (url, change, status, reason) in [
        (&url, ("key", "secretkey9"), 3, "unknown user or wrong key"),
        (&url, ("host", "host3.h.lohray.com"), 4, "the server does not allow user1 to update this"),
        (&url, ("host", "*"), 9, invalid),
        (&url, ("host", "host/4"), 9, invalid),
        (&apache.url("/method"), ("tries", "1"), 9, "the server wants another method: is url= ri"),
    ] {
        client.settings(url, &[change]);
        client.fails(status, &format!(": refused: {reason}"));
        assert_eq!(client.run(&[]), (status, String::new()), "{reason}");
        let (_, printed, _) = client.outputs(&["-v"]);
        assert!(printed.contains(&format!(" ago: {reason}")), "a later run says why: {printed}");
    }
    // Not the client's fault, or over in a second.
    scene.write("www/ramcache/ip.txt", &STATE.replace("2012-04-20", "2999-04-20"));
    client.settings(&url, &[]);
    let twice = |client: &Client, status, part| {
        client.fails(status, part);
        client.fails(status, part);
        assert_eq!(memory(&scene), None, "{part}");
    };
    twice(&client, 6, "is another machine updating this host?");
    scene.write("www/ramcache/ip.txt", STATE);
    client.settings(&url, &[("protocol", "2"), ("ip6", "2001:db8::/56")]);
    twice(&client, 10, "no IPv6 address of this host whose prefix could change");
    twice(
        &client,
        10,
        "on the server: ddnsctl host add user1 host1.h.lohray.com --ip6 ::IDENTIFIER\n",
    );
    let slow: &[_] = &["/usr/bin/faketime", "-f", "-60s", "/usr/bin/dash"];
    client.settings(&url, &[]);
    twice(&Client { scene: &scene, shell: slow }, 5, "set it, for instance with an NTP client");
    scene.configure(&json!({"window": 0}));
    twice(&client, 8, "the next run tries again. On the server, run: ddnsctl check\n");
    client.settings(&apache.url("/colours"), &[]);
    twice(&client, 9, "the reply makes no sense:  [31mgood news; is url= right?");
    let (_, printed, _) = client.outputs(&["-v"]);
    assert!(printed.ends_with(&format!("{HOST}:  [31mgood news\n")), "{printed:?}");
    client.settings(&apache.url("/nowhere"), &[]);
    twice(&client, 9, "/nowhere: the reply makes no sense: a web page (HTTP 404); is url= right?");
}

#[test]
fn what_is_refused_ends_with_the_command_that_helps_on_the_server() {
    if !can_run("ip-update's advice", &[APACHE]) {
        return;
    }
    let scene = Scene::new();
    scene.configure(&json!({"url": "https://ns.example.net/ip.php"}));
    let apache = Apache::start(&scene, Kind::EventCgid);
    let client = Client { scene: &scene, shell: &["/bin/sh"] };
    for (change, status) in [(("key", "secretkey9"), 3), (("host", "nas.example.net"), 4)] {
        client.settings(&apache.url("/ip.php"), &[change]);
        let (actual, text) = client.run(&[]);
        assert_eq!(actual, status, "{text}");
        let (_, command) = text.trim_end().rsplit_once("on the server: ddnsctl ").unwrap();
        let words: Vec<&str> = command.split(' ').collect();
        let output = scene.ddnsctl_command(&words).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }
    // The second command has helped.
    let (status, text) = client.run(&["-f"]);
    assert_eq!((status, &*text), (0, ""));
}

#[test]
fn a_page_in_the_place_of_a_reply_is_one_line_for_all_hosts() {
    if !can_run("ip-update's wrong URL", &ALL_SHELLS) {
        return;
    }
    let page = "\n \n<!DOCTYPE html>\n".to_owned() + &"<p>A page.</p>\n".repeat(300);
    let long = format!("\n<html>{}</html>", "<p>A page.</p>".repeat(300));
    for shell in SHELLS {
        let scene = Scene::new();
        scene.write("www/page", &page);
        scene.write("www/long", &long);
        scene.write("www/text", "Good morning\nAll is <well>\n");
        let moved = "Redirect /moved /page\nRedirect 502 /down\n";
        let apache = Apache::start_with(&scene, Kind::EventCgid, moved, &[]);
        let client = Client { scene: &scene, shell };
        for (path, protocol, status, shown) in [
            ("/page", "1", 9, "a web page"),
            ("/page", "2", 9, "a web page"),
            ("/long", "2", 9, "a web page"),
            ("/text", "2", 9, "a web page"),
            ("/moved", "1", 9, "a web page (HTTP 302)"),
            ("/none", "2", 9, "a web page (HTTP 404)"),
            ("/down", "2", 8, "a web page (HTTP 502)"),
        ] {
            let hosts = [("host", HOST), ("host", "nas.example.net"), ("protocol", protocol)];
            let url = apache.url(path);
            client.settings(&url, &hosts);
            let (actual, printed, text) = client.outputs(&["-v"]);
            assert_eq!((actual, text.lines().count()), (status, 1), "{text}");
            let why = match status {
                8 => "the server has a problem".to_owned(),
                _ => format!("the reply makes no sense: {shown}; is url= right?\n"),
            };
            assert!(text.starts_with(&format!("ip-update: {url}: {why}")), "{text}");
            let lines: Vec<&str> = printed.lines().collect();
            assert!(lines[0].starts_with("sends to "), "{printed}");
            assert_eq!(lines[1..], [format!("{url}: {shown}")]);
        }
    }
}

#[test]
fn a_host_that_is_refused_does_not_stop_the_others() {
    if !can_run("ip-update's hosts", &ALL_SHELLS) {
        return;
    }
    for (shell, protocol) in SHELLS.iter().flat_map(|shell| [(shell, "1"), (shell, "2")]) {
        let scene = Scene::new();
        let apache = Apache::start(&scene, Kind::PreforkCgi);
        let client = Client { scene: &scene, shell };
        let url = apache.url("/ip.php");
        let hosts = [("host", "host3.h.lohray.com"), ("host", HOST)];
        client.settings(&url, &[&hosts[..], &[("protocol", protocol)]].concat());
        client.fails(4, "host3.h.lohray.com: refused: the server does not allow user1");
        assert!(scene.hosts().contains(&format!("127.0.0.1 {HOST}")));
        wait_for_the_next_second();
        let (status, printed, text) = client.outputs(&["-v"]);
        assert_eq!((status, &*text), (4, ""), "its status stays");
        let sent = format!("sends to {url}: user=user1 id={HOST}, signed with the key\n");
        assert!(printed.starts_with("host3.h.lohray.com: not sent: refused "), "{printed}");
        assert!(printed.ends_with(&format!("{sent}{HOST}: nochg 127.0.0.1\n")), "{printed}");
    }
}

#[test]
fn many_hosts_with_a_wrong_key_are_one_request() {
    if !can_run("ip-update's many hosts", &[APACHE]) {
        return;
    }
    let scene = Scene::new();
    let apache = Apache::start(&scene, Kind::EventCgid);
    let client = Client { scene: &scene, shell: &["/bin/sh"] };
    let names: Vec<String> = (1..=12).map(|number| format!("host{number}.h.lohray.com")).collect();
    for protocol in ["1", "2"] {
        let mut changes = vec![("key", "secretkey9"), ("protocol", protocol)];
        changes.extend(names.iter().map(|name| ("host", &**name)));
        client.settings(&apache.url("/ip.php"), &changes);
        let before = refusals(&scene);
        let (status, text) = client.run(&["-4", "-6", "-v"]);
        assert_eq!((status, text.lines().count()), (3, 12), "{text}");
        assert_eq!(refusals(&scene), before + 1);
        assert_eq!(client.run(&[]), (3, String::new()));
        assert_eq!(refusals(&scene), before + 1);
    }
}

#[test]
fn silence_after_a_refusal_may_be_a_ban() {
    if !can_run("ip-update's bans", &ALL_SHELLS) {
        return;
    }
    for shell in SHELLS {
        let scene = Scene::new();
        let apache = Apache::start(&scene, Kind::EventCgid);
        let client = Client { scene: &scene, shell };
        let url = apache.url("/ip.php");
        client.settings(&url, &[("key", "secretkey9")]);
        client.fails(3, "unknown user or wrong key");
        drop(apache);
        later(&scene, 1200);
        client.fails(7, "it refused this network 20 min ago, and may have banned it, usually for");
        client.fails(7, "run: fail2ban-client set ddns-cgi unbanip ADDRESS (with Caddy: set ddns");
        // After an edit, too.
        wait_for_the_next_second();
        client.edit(&url, &[]);
        client.fails(7, "may have banned it");
        // Not if it is long ago, or if there is another reason.
        later(&scene, 6100);
        let (_, text) = client.run(&[]);
        assert!(text.contains("no answer: curl: ") && !text.contains("ban"), "{text}");
        later(&scene, 0);
        let file = memory(&scene).unwrap();
        let elsewhere = "http://name.invalid/ip.php";
        let now = format!("{HOST} refused {} 3 900", chrono::Utc::now().timestamp() - 1200);
        client.edit(elsewhere, &[]);
        scene.write(&file, &format!("{elsewhere}\n{now}\n"));
        let (status, text) = client.run(&[]);
        assert_eq!(status, 7, "{text}");
        assert!(!text.contains("ban"), "{text}");
    }
}

#[test]
fn only_changes_are_reported_and_all_is_once_a_day() {
    if !can_run("ip-update's changes", &ALL_SHELLS) {
        return;
    }
    for shell in SHELLS {
        let scene = Scene::new();
        let apache = Apache::start(&scene, Kind::PreforkCgi);
        let client = Client { scene: &scene, shell };
        let url = apache.url("/ip.php");
        scene.write("www/address", "192.0.2.7\n");
        let ask = apache.url("/address");
        let settings: &[_] =
            &[("protocol", "2"), ("report", "changes"), ("ip", "ask"), ("ask", &ask)];
        client.settings(&url, settings);
        let is_sent = |why: &str| {
            wait_for_the_next_second();
            let (status, printed, text) = client.outputs(&["-v"]);
            assert_eq!((status, &*text), (0, ""), "{why}: {printed}");
            assert_eq!(printed.contains(": not sent: "), !printed.contains("sends to "));
            printed.contains("sends to ")
        };
        assert!(is_sent("the first"));
        let file = memory(&scene).unwrap();
        assert_eq!(fs::metadata(scene.path(&file)).unwrap().mode() & 0o7777, 0o600);
        let (_, printed, _) = client.outputs(&["-v"]);
        let words = format!("{HOST}: not sent: the server got these addresses ");
        assert!(printed.starts_with(&words), "{printed}");
        assert_eq!(client.run(&[]), (0, String::new()));
        assert!(!is_sent("the same"));
        scene.write("www/address", "192.0.2.8\n");
        assert!(is_sent("another address"));
        assert!(scene.hosts().contains(&format!("192.0.2.8 {HOST}")));
        // With a run every 15 minutes, the report is that before the day is over.
        later(&scene, 85_100);
        assert!(!is_sent("not yet a day"));
        later(&scene, 200);
        assert!(is_sent("almost a day"));
        assert!(!is_sent("again the same"));
        let good = scene.read(&file);
        let future = chrono::Utc::now().timestamp() + 9000;
        for damaged in [
            String::new(),
            "x\0\n\0".to_owned(),
            good.replace("accepted", "excepted"),
            good.replace("accepted ", "accepted 0"),
            good.replace(&url, "http://ns.example.net/ip.php"),
            format!("{url}\n{HOST} accepted {future} 192.0.2.8 -\n"),
            format!("{url}\n{HOST} refused {} x y\n", future - 9000),
            format!("{url}\n{HOST} refused {} 300 900\n", future - 9000),
            format!("{url}\n{HOST} refused {} 3 86401\n", future - 9000),
        ] {
            scene.write(&file, &damaged);
            assert!(is_sent(&damaged), "{damaged:?}");
        }
        assert!(!is_sent("mended"));
        client.edit(&url, settings);
        assert!(is_sent("after an edit"));
        let before = scene.read(&file);
        assert!(!client.outputs(&["-n"]).1.contains("would send"));
        assert!(client.outputs(&["-n", "-f"]).1.contains("would send"));
        assert_eq!(scene.read(&file), before, "a dry run remembers nothing");
        fs::remove_file(scene.path(&file)).unwrap();
        assert!(is_sent("forgotten"));
    }
}

#[test]
fn a_memory_that_cannot_be_written_is_told() {
    if !can_run("ip-update's memory", &[APACHE]) {
        return;
    }
    let scene = Scene::new();
    let apache = Apache::start(&scene, Kind::PreforkCgi);
    let client = Client { scene: &scene, shell: &["/bin/sh"] };
    let url = apache.url("/ip.php");
    let memory = ("memory", "/proc/memory");
    let changes = [memory, ("protocol", "2"), ("report", "changes"), ("ip", "192.0.2.7")];
    client.settings(&url, &changes);
    let words = "cannot write to /proc/memory: name another folder with memory= in /";
    client.fails(2, words);
    assert_ne!(scene.hosts(), HOSTS, "the report is made all the same");
    // Without anything to remember, nobody has to know.
    wait_for_the_next_second();
    client.settings(&url, &[memory]);
    assert_eq!(client.run(&[]), (0, String::new()));
    client.settings(&url, &[memory, ("key", "secretkey9")]);
    let (_, text) = client.run(&[]);
    assert!(text.lines().count() == 2 && text.contains(words), "{text}");
}

#[test]
fn a_user_has_his_memory_in_his_home() {
    if !can_run("a user's ip-update", &["root", APACHE]) {
        return;
    }
    let scene = Scene::new();
    let apache = Apache::start(&scene, Kind::PreforkCgi);
    let client = Client { scene: &scene, shell: &["/bin/sh"] };
    client.settings(&apache.url("/ip.php"), &[("key", "secretkey9")]);
    let file = scene.path("run/ip-update.conf");
    let text: String = scene
        .read("run/ip-update.conf")
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("memory"))
        .collect();
    scene.write("run/ip-update.conf", &text);
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let run = |variables: &[(&str, String)]| {
        let mut command = std::process::Command::new("setpriv");
        let [user, group] = ["reuid", "regid"].map(|name| format!("--{name}={}", web_user()));
        command.args([&user, &group, "--clear-groups", "sh", crate::client::SCRIPT, "-c"]);
        command.arg(&file).env_remove("XDG_STATE_HOME").envs(variables.iter().cloned());
        let (status, _, text) = outputs(&mut command);
        (status, text)
    };
    let home = [("HOME", scene.path("run").display().to_string())];
    is_one_line(run(&home), 2, "run ip-update as its owner");
    chown(&file, Some(web_user()), None).unwrap();
    is_one_line(run(&home), 3, "unknown user or wrong key");
    assert_eq!(run(&home), (3, String::new()));
    assert_eq!(fs::read_dir(scene.path("run/.local/state/ip-update")).unwrap().count(), 1);
    let state = [("XDG_STATE_HOME", scene.path("run/elsewhere").display().to_string())];
    is_one_line(run(&[home, state].concat()), 3, "unknown user or wrong key");
    assert_eq!(fs::read_dir(scene.path("run/elsewhere/ip-update")).unwrap().count(), 1);
}

#[test]
fn each_server_has_its_settings_and_a_failure_of_one_does_not_stop_the_others() {
    if !can_run("ip-update's servers", &ALL_SHELLS) {
        return;
    }
    for shell in SHELLS {
        let scene = Scene::new();
        let apache = Apache::start(&scene, Kind::PreforkCgi);
        let client = Client { scene: &scene, shell };
        let url = apache.url("/ip.php");
        let server = url.trim_start_matches("http://").trim_end_matches("/ip.php").to_owned();
        let another = |name: &str, url: &str, changes: &[(&str, &str)]| {
            client.edit(url, changes);
            let file = scene.path(&format!("run/a {name}.conf"));
            fs::rename(scene.path("run/ip-update.conf"), &file).unwrap();
            file.display().to_string()
        };
        let broken = another("broken", &url, &[("user", "")]);
        let dead = another("dead", "http://[::1]:1/ip.php", &[]);
        let refused = another("refused", &url, &[("key", "secretkey9")]);
        let good = another("good", &url, &[("host", "host2.h.lohray.com")]);
        let run = |files: &[&String]| {
            let mut command = client.command();
            for file in files {
                command.arg("-c").arg(file);
            }
            outputs(command.arg("-v"))
        };
        let (status, printed, text) = run(&[&broken, &dead, &refused, &good]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((status, lines.len()), (3, 3), "{text}");
        assert_eq!(lines[0], format!("ip-update: {broken}: user= is missing"));
        assert!(lines[1].starts_with(&format!("ip-update: [::1]:1: {HOST}: no answer")), "{text}");
        assert!(lines[2].starts_with(&format!("ip-update: {server}: {HOST}: refused")), "{text}");
        let line = format!("{server}: host2.h.lohray.com: good 127.0.0.1\n");
        assert!(printed.ends_with(&line), "{printed}");
        wait_for_the_next_second();
        let (status, _, _) = run(&[&good, &broken]);
        assert_eq!(status, 2);
        let files = fs::read_dir(scene.path("run/memory")).unwrap().count();
        assert_eq!(files, 1, "one for each file of settings that has something to remember");
    }
}

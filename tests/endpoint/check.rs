//! `ddnsctl check` on the files of a scene: what it says, and that its advice can be copied.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use chrono::{TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::apache::{APACHE, Apache, Kind};
use crate::scene::{HOSTS, Scene, can_run};
use crate::server::make_certificate;

/// What a check prints about the scene, with its status.
fn check(scene: &Scene, options: &[&str]) -> (i32, String) {
    let server = ["--server", "127.0.0.77"];
    let output = scene.ddnsctl(&[&["check"], &server[..], options].concat());
    assert!(output.stderr.is_empty(), "{output:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// The lines of advice below the finding that begins like this.
fn advice(text: &str, finding: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| !line.starts_with(finding)).skip(1);
    let lines = lines.skip_while(|line| !line.starts_with("    "));
    lines.map_while(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
}

/// Runs advised commands just as they stand.
fn follow(scene: &Scene, commands: &[String]) {
    let bin = scene.path("bin");
    fs::create_dir_all(&bin).unwrap();
    let program = scene.ddnsctl_command(&[]).get_program().to_owned();
    let _ = std::os::unix::fs::symlink(program, bin.join("ddnsctl"));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for command in commands {
        let output = Command::new("sh").args(["-c", command]).env("PATH", &path).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }
}

#[test]
fn commands_can_be_copied_as_they_stand_and_mend_what_they_are_about() {
    if !can_run("advice that is followed", &["root"]) {
        return;
    }
    let scene = Scene::new();
    fs::rename(scene.path("www/ramcache"), scene.path("www/it's a disk")).unwrap();
    let folder = scene.path("www/it's a disk");
    let file = |name: &str| folder.join(name);
    scene.configure(&json!({"state": file("ip.txt"), "hosts": file("hosts.dns")}));
    let credentials = scene.path("etc/credentials.json");
    fs::set_permissions(&credentials, PermissionsExt::from_mode(0o666)).unwrap();
    fs::set_permissions(&folder, PermissionsExt::from_mode(0o757)).unwrap();
    fs::write(file("hosts.dns"), HOSTS).unwrap();
    fs::set_permissions(file("hosts.dns"), PermissionsExt::from_mode(0o600)).unwrap();
    fs::write(file("ip.txt"), r#"{"stray.example": {"ip": "192.0.2.1"}}"#).unwrap();
    let text = || check(&scene, &[]).1;
    let subjects = [
        format!("error: {}: others can use the keys (mode 666)", credentials.display()),
        format!("error: {}: everybody can change the files in it", folder.display()),
        format!("error: {}: dnsmasq's user may not read it", file("hosts.dns").display()),
        format!("error: {}: is not what the state says", file("hosts.dns").display()),
        "warning: stray.example: is no user's host".to_owned(),
    ];
    let before = text();
    for subject in &subjects {
        assert!(before.contains(subject), "{subject}: {before}");
    }
    let path = credentials.display();
    assert_eq!(
        advice(&before, &subjects[0]),
        [
            format!(
                "Keep others out. If they may have read the keys, then give each user a new one: \
                 {}",
                scene.advised("user rekey USER")
            ),
            format!("chown root:www-data {path}"),
            format!("chmod 640 {path}"),
        ],
        "no number for the group, no full stop, nothing behind it"
    );
    let strays = advice(&before, &subjects[4]);
    assert_eq!(
        strays,
        [
            "Give it to a user, or let DNS forget it:",
            &scene.advised("host add USER stray.example"),
            &scene.advised("forget stray.example"),
        ]
    );
    for subject in &subjects[..4] {
        let mut commands = advice(&before, subject);
        commands.retain(|line| !line.starts_with("Keep others out."));
        assert!(!commands.is_empty() && !commands.iter().any(|line| line.ends_with('.')));
        follow(&scene, &commands);
    }
    follow(&scene, &[strays[1].replace("USER", "user1")]);
    let after = text();
    for subject in &subjects {
        assert!(!after.contains(subject), "{subject}: {after}");
    }
    follow(&scene, &strays[2..]);
    assert_eq!(fs::read_to_string(file("ip.txt")).unwrap(), "{}");
}

#[test]
fn what_is_wrong_with_many_hosts_is_one_finding_and_the_last_line_counts() {
    let scene = Scene::new();
    let state: Map<String, Value> = (0..1000)
        .map(|n| (format!("h{n}.example"), json!({"ip": "192.0.2.1", "update": "yesterday"})))
        .collect();
    scene.write("www/ramcache/ip.txt", &Value::from(state).to_string());
    let (status, text) = check(&scene, &[]);
    assert_eq!(status, 2);
    assert!(text.lines().count() < 50, "{text}");
    let few = "h0.example, h1.example, h2.example, h3.example, h4.example and 995 more";
    assert!(text.contains(&format!("warning: {few}: are no user's hosts")), "{text}");
    assert!(text.contains(&format!("error: {few}: \"update\" is no time stamp")), "{text}");
    let begins = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
    let [errors, warnings] = [begins("error: "), begins("warning: ")];
    let last = text.lines().last().unwrap();
    assert!(last.starts_with(&format!("{errors} error")), "{last}");
    assert!(last.contains(&format!(", {warnings} warning")), "{last}");
    let json: Value = serde_json::from_str(&check(&scene, &["--json"]).1).unwrap();
    let strays = json.as_array().unwrap().iter().find(|finding| finding["hosts"].is_array());
    assert_eq!(strays.unwrap()["hosts"].as_array().unwrap().len(), 1000);
}

#[test]
fn if_all_is_well_one_line_says_so_and_with_quiet_none() {
    if !can_run("a check of an installation that is well", &["root"]) {
        return;
    }
    let scene = Scene::new();
    let credentials = scene.path("etc/credentials.json");
    fs::set_permissions(&credentials, PermissionsExt::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(&credentials, None, Some(crate::scene::web_user())).unwrap();
    scene.configure(&json!({"name_server": "none"}));
    // The clock and the name servers of the machine that runs this are not what it is about.
    fs::create_dir(scene.path("path")).unwrap();
    std::os::unix::fs::symlink("/usr/bin/id", scene.path("path/id")).unwrap();
    let run = |options: &[&str]| {
        let ddnsctl = scene.ddnsctl_command(&[&["check"], options].concat());
        let mut command = Command::new("/usr/bin/unshare");
        command.arg("--net").arg(ddnsctl.get_program()).args(ddnsctl.get_args());
        let output = command.env("PATH", scene.path("path")).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&[]), "all is well: 3 hosts, 2 users\n");
    assert_eq!(run(&["--quiet"]), "");
    assert_eq!(run(&["--quiet", "--json"]), "[]\n");
    // A change that is under way is nothing to look into.
    fs::write(scene.mark(), "changed host1.h.lohray.com 192.0.2.1\n").unwrap();
    scene.hand_over("www/ramcache/.hosts.dns.pending");
    assert_eq!(run(&["--quiet"]), "");
    fs::remove_file(scene.mark()).unwrap();
    let mut state: Value = serde_json::from_str(&scene.state()).unwrap();
    state.as_object_mut().unwrap().remove("host3.h.lohray.com");
    scene.write("www/ramcache/ip.txt", &state.to_string());
    assert_eq!(scene.notes(&["apply", "--quiet"]), "");
    assert_eq!(run(&[]), "all is well: 3 hosts (1 never updated), 2 users\n");
    let output = scene.ddnsctl(&["check", "--web-user", "nosuch"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("error: web server: there is no user nosuch\n"), "{text}");
}

#[test]
fn a_name_server_has_port_53_unless_another_is_named() {
    let scene = Scene::new();
    for (server, asked) in [
        ("127.0.0.77", "127.0.0.77:53"),
        ("127.0.0.77:5", "127.0.0.77:5"),
        ("::1", "[::1]:53"),
        ("[::1]", "[::1]:53"),
        ("[::1]:5", "[::1]:5"),
    ] {
        let output = scene.ddnsctl(&["check", "--server", server]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("no answer from {asked}: ")), "{server}: {text}");
    }
    let output = scene.ddnsctl(&["check", "--server", "localhost"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("give an IP address, such as 127.0.0.1 or [::1]:5353"), "{text}");
}

fn run(scene: &Scene, options: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        scene.ddnsctl(&[&["check", "--only", "silent"], options].concat());
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    (status.code().unwrap(), stdout, stderr)
}

#[test]
fn silent_hosts_are_named_in_lines_for_a_mail_and_otherwise_there_is_none() {
    let scene = Scene::new();
    let ago = |hours| {
        let stamp = Utc::now() - TimeDelta::hours(hours);
        stamp.format("%Y-%m-%d %H:%M:%S").to_string()
    };
    let (recently, long_ago) = (ago(1), ago(75));
    let state = |host2: Value| {
        json!({
            "host1.h.lohray.com": {"ip": "192.0.2.1", "update": recently}, "host2.h.lohray.com": host2,
            "host3.h.lohray.com": {"ip": "192.0.2.1", "update": recently},
        })
    };
    let both = json!({"ip": "192.0.2.2", "ip6": "2001:db8::2", "update": long_ago});
    let mut silent = state(both);
    silent["stray.example"] = json!({"ip": "192.0.2.3"});
    scene.write("www/ramcache/ip.txt", &silent.to_string());
    let expected = format!(
        "host2.h.lohray.com (user1): silent for 3 days; its last update was {long_ago} UTC, with \
         192.0.2.2 and 2001:db8::2\nstray.example (no user): silent; its last update is not known\n"
    );
    for options in [&[][..], &["--quiet"]] {
        assert_eq!(run(&scene, options), (1, expected.clone(), String::new()));
    }
    let (status, json, _) = run(&scene, &["--json"]);
    let list: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &list[0]["owner"], &list[1]["owner"]), (1, &json!("user1"), &Value::Null));
    assert_eq!(list[0]["host"], "host2.h.lohray.com");
    assert_eq!(list[0]["update"], format!("{}Z", long_ago.replace(' ', "T")));

    scene.write("www/ramcache/ip.txt", &state(json!({"update": recently})).to_string());
    let nothing = (0, String::new(), String::new());
    assert_eq!(run(&scene, &["--quiet"]), nothing);
    assert_eq!(run(&scene, &[]), (0, "all is well: no host is silent\n".into(), String::new()));
    // The operator says what silent means.
    scene.configure(&json!({"silent_after": 60}));
    assert_eq!(run(&scene, &["--quiet"]).0, 1);

    // Whoever may not read the credentials still learns the rest.
    scene.write("etc/credentials.json", "{");
    let (status, text, note) = run(&scene, &[]);
    assert!(status == 1 && text.starts_with("host1.h.lohray.com: silent for 1 h; "), "{text}");
    assert!(note.starts_with("owners and intervals are not known: "), "{note}");

    scene.write("www/ramcache/ip.txt", "{");
    let (status, text, _) = run(&scene, &["--quiet"]);
    assert!(status == 2 && text.contains("run ddnsctl rebuild"), "{text}");
}

#[test]
fn a_configuration_may_have_a_relative_path_and_one_that_is_unusable_is_named() {
    let scene = Scene::new();
    let program = scene.ddnsctl_command(&[]).get_program().to_owned();
    let run = |file: &str, command: &str| {
        let mut run = Command::new(&program);
        let output = run.current_dir(scene.path("etc")).args(["--config", file, command]).output();
        let Output { status, stdout, stderr } = output.unwrap();
        (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
    };
    assert!(run("config.json", "list").1.contains("host1.h.lohray.com"));
    assert!(run("../etc/config.json", "apply").1.contains("3 hosts"));
    for (file, reason) in [("absent.json", "No such file"), (".", "Is a directory")] {
        let path = scene.path("etc").join(file);
        let path = path.display().to_string();
        let path = path.trim_end_matches("/.");
        let (status, text) = run(file, "list");
        assert!(status == 1 && text.starts_with(&format!("ddnsctl: {path}")), "{text}");
        assert!(text.contains(reason) && text.lines().count() == 1, "{text}");
        let (status, text) = run(file, "check");
        assert!(status == 2 && text.starts_with(&format!("error: {path}")), "{text}");
    }
}

#[test]
fn whoever_is_not_root_is_told_to_be_and_sees_what_everybody_may() {
    if !can_run("ddnsctl without rights", &["root"]) {
        return;
    }
    let scene = Scene::new();
    fs::set_permissions(scene.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    let credentials = scene.path("etc/credentials.json");
    fs::set_permissions(&credentials, PermissionsExt::from_mode(0o600)).unwrap();
    let program = scene.path("run/ddnsctl");
    fs::copy(scene.ddnsctl_command(&[]).get_program(), &program).unwrap();
    fs::set_permissions(scene.path("run"), PermissionsExt::from_mode(0o755)).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]).arg(&program);
        command.arg("--config").arg(scene.path("etc/config.json"));
        let Output { stdout, stderr, .. } = command.args(arguments).output().unwrap();
        [stdout, stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let no_access = format!("{}: you have no access to it", credentials.display());
    let [text, note] = run(&["list"]);
    assert!(text.contains("host1.h.lohray.com"), "{text} {note}");
    assert_eq!(note, format!("no owners are shown: {no_access}: run ddnsctl as root\n"));
    let [_, refusal] = run(&["sign", "host1.h.lohray.com"]);
    assert_eq!(refusal, format!("ddnsctl: {no_access}: run ddnsctl as root\n"));
    let [text, _] = run(&["check", "--server", "127.0.0.77"]);
    assert!(text.contains(&format!("error: {no_access}\n    Run ddnsctl as root.\n")), "{text}");
    assert!(!text.contains("give the web server's user access"), "{text}");
}

/// What a terminal gets of a command. With a variable, such as `NO_COLOR=1`.
fn on_a_terminal(scene: &Scene, arguments: &[&str], variable: &str) -> String {
    let command = scene.ddnsctl_command(arguments);
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
    let line = format!("env TERM=xterm {variable} {}", words.join(" "));
    let mut script = Command::new("/usr/bin/script");
    script.args(["-qec", &line, "/dev/null"]);
    // With the last one, even a dumb terminal gets colours.
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
        script.env_remove(name);
    }
    String::from_utf8(script.output().unwrap().stdout).unwrap()
}

#[test]
fn colours_are_for_a_terminal_that_may_have_them() {
    if !can_run("colours", &["/usr/bin/script"]) {
        return;
    }
    let scene = Scene::new();
    let stamp = (Utc::now() + TimeDelta::seconds(1)).format("%Y-%m-%d %H:%M:%S").to_string();
    let hosts = ["host1", "host2", "host3"].map(|host| format!("{host}.h.lohray.com"));
    let hosts = hosts.map(|host| (host, json!({"ip": "192.0.2.1", "update": stamp})));
    let fresh = Value::Object(hosts.into_iter().collect()).to_string();
    let red = "\u{1b}[1m\u{1b}[31m";
    let (yellow, green) = (red.replace("31", "33"), red.replace("31", "32"));
    scene.write("www/ramcache/ip.txt", r#"{"stray.example": {}}"#);
    let check = ["check", "--server", "127.0.0.77"];
    for (arguments, start) in [
        (&check[..], format!("{red}error:")),
        (&check, format!("{yellow}warning:")),
        (&["list"], "\u{1b}[1mHOST".to_owned()),
        (&["user", "list"], "\u{1b}[1mUSER".to_owned()),
        (&["sign", "x.example"], format!("{red}ddnsctl:")),
        (&["check", "--only", "silent"], format!("{green}all is well")),
    ] {
        if start.starts_with(&green) {
            scene.write("www/ramcache/ip.txt", &fresh);
        }
        let text = on_a_terminal(&scene, arguments, "");
        assert!(text.contains(&start), "{arguments:?}: {text:?}");
        for variable in ["NO_COLOR=1", "TERM=dumb", "CLICOLOR=0"] {
            let text = on_a_terminal(&scene, arguments, variable);
            assert!(!text.contains("\u{1b}[3") && !text.contains("\u{1b}[1m"), "{text:?}");
        }
        let Output { stdout, stderr, .. } = scene.ddnsctl(arguments);
        assert!(![stdout, stderr].concat().contains(&0x1b), "{arguments:?}");
    }
    let json = on_a_terminal(&scene, &["check", "--server", "127.0.0.77", "--json"], "");
    let json = json.rsplit("\u{1b}[K").next().unwrap();
    assert!(json.starts_with("[\r\n") && !json.contains('\u{1b}'), "{json:?}");
}

#[test]
fn a_terminal_shows_what_apply_waits_for() {
    if !can_run("the progress of apply", &["/usr/bin/script"]) {
        return;
    }
    let scene = Scene::new();
    scene.configure(&json!({"restart": ["sleep", "1.5"]}));
    let text = on_a_terminal(&scene, &["apply"], "");
    assert!(text.contains("\r\u{1b}[Kwaiting for the restart (1 s)"), "{text:?}");
    assert!(
        text.ends_with(
            "\r\u{1b}[Kthe restart command has succeeded; the hosts file has 3 hosts\r\n"
        ),
        "{text:?}"
    );
}

#[test]
fn an_empty_list_says_so_beside_what_was_asked_for() {
    let scene = Scene::new();
    assert_eq!(
        scene.notes(&["list", "--stale", "900years"]),
        "no host has been silent for so long\n"
    );
    scene.write("www/ramcache/ip.txt", "{}");
    scene.write("www/ramcache/hosts.dns", "");
    scene.write("etc/credentials.json", r#"{"user1": {"id": [], "key": "secretkey1"}}"#);
    assert_eq!(scene.notes(&["list"]), "there are no hosts yet\n");
    assert_eq!(scene.does(&["list"]), "");
    assert_eq!(scene.notes(&["list", "--quiet"]), "");
    assert_eq!(scene.does(&["list", "--json"]), "[]\n");
    let refusal = scene.ddnsctl(&["list", "--stale", "long"]);
    let text = String::from_utf8(refusal.stderr).unwrap();
    assert!(text.contains("give a number with a unit, such as 2h or 3days"), "{text}");
}

#[test]
fn apply_is_quiet_if_asked_and_says_what_reads_the_hosts() {
    let scene = Scene::new();
    assert_eq!(scene.notes(&["apply", "--quiet"]), "");
    scene.configure(&json!({"restart": []}));
    assert_eq!(scene.notes(&["apply"]), "the hosts file has 3 hosts\n");
    scene.configure(&json!({"restart": ["true", "dnsmasq", "restart"]}));
    assert_eq!(scene.notes(&["apply"]), "dnsmasq has restarted; the hosts file has 3 hosts\n");
}

#[test]
fn a_host_that_never_reported_is_listed_and_called_silent() {
    let scene = Scene::new();
    let now = (Utc::now()).format("%Y-%m-%d %H:%M:%S").to_string();
    let state = json!({
        "host1.h.lohray.com": {"ip": "192.0.2.1", "update": now},
        "HOST2.h.lohray.com": {"ip": "192.0.2.2", "update": now},
    });
    scene.write("www/ramcache/ip.txt", &state.to_string());
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let never = ["host3.h.lohray.com", "-", "-", "never", "user2"].map(str::to_owned);
    let table = scene.does(&["list"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    assert_eq!(words(table.lines().last().unwrap()), never, "{table}");
    let overdue = scene.does(&["list", "--stale", "1h"]);
    assert_eq!(overdue.lines().skip(1).map(words).collect::<Vec<_>>(), [never.to_vec()]);
    let json: Value = serde_json::from_str(&scene.does(&["list", "--json"])).unwrap();
    assert_eq!(json[2]["host"], "host3.h.lohray.com");
    assert_eq!([&json[2]["age_seconds"], &json[2]["update"]], [&Value::Null, &json!("")]);
    // It says nothing about a copy of the state that it is not there.
    let copy = scene.path("www/ramcache/ip.txt");
    let copy = scene.does(&["list", "--state", copy.to_str().unwrap()]);
    assert!(copy.lines().count() == 3 && !copy.contains("host3"), "{copy}");

    let line = "host3.h.lohray.com (user2): never updated";
    assert_eq!(run(&scene, &[]), (1, format!("{line}\n"), String::new()));
    scene.does(&["host", "expect", "host3.h.lohray.com", "15min"]);
    let expected = format!("{line}; expected every 15 min\n");
    assert_eq!(run(&scene, &["--quiet"]), (1, expected, String::new()));
    let (_, json, _) = run(&scene, &["--json"]);
    let list: Value = serde_json::from_str(&json).unwrap();
    let host = json!({
        "host": "host3.h.lohray.com", "owner": "user2", "addresses": [], "update": null,
        "age_seconds": null, "expected_seconds": 900,
    });
    assert_eq!(list, json!([host]));
}

#[test]
fn a_silent_host_that_is_expected_is_a_warning_of_the_whole_check() {
    let scene = Scene::new();
    let silent = |text: &str| text.lines().any(|line| line.contains("silent"));
    assert!(!silent(&check(&scene, &[]).1), "silent since 2012, but nobody expects them");
    scene.does(&["host", "expect", "host3.h.lohray.com", "15min"]);
    let text = check(&scene, &[]).1;
    let finding = text.lines().find(|line| line.contains("silent")).unwrap();
    assert!(finding.starts_with("warning: host3.h.lohray.com: silent for "), "{finding}");
    assert!(finding.ends_with("with 50.19.108.105; expected every 15 min"), "{finding}");
    let commands = advice(&text, finding);
    let expected = [
        "Look after its client. If it is not to report any more:",
        &scene.advised("host expect host3.h.lohray.com none"),
    ];
    assert_eq!(commands, expected);
    scene.does(&["host", "expect", "host1.h.lohray.com", "1day"]);
    let text = check(&scene, &[]).1;
    let finding =
        "warning: host1.h.lohray.com, host3.h.lohray.com: are silent, though they are expected";
    assert!(text.lines().any(|line| line == finding), "{text}");
    let words = "Look after their clients. What was heard of each:";
    assert_eq!(advice(&text, finding), [words, &scene.advised("check --only silent")]);
    follow(&scene, &[format!("{} | grep silent", advice(&text, finding)[1])]);
}

/// Makes `ddns-ramcache` look after the folder of the scene. Returns that folder, and the folder of
/// the copies.
fn set_up_copies(scene: &Scene) -> [String; 2] {
    let [folder, copies] =
        ["www/ramcache", "copies"].map(|name| scene.path(name).display().to_string());
    scene.write("etc/ramcache.conf", &format!("folder={folder}\ncopies={copies}\n"));
    let program = scene.ddnsctl_command(&[]).get_program().to_owned();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/ramcache");
    for (program, name) in [(program, "ddnsctl"), (script.into(), "ddns-ramcache")] {
        std::os::unix::fs::symlink(program, scene.path("bin").join(name)).unwrap();
    }
    [folder, copies]
}

/// What a shell prints that finds these programs. What it mounts ends with it.
fn with_copies(scene: &Scene, script: &str) -> String {
    let path = format!("{}:/usr/bin:/bin", scene.path("bin").display());
    let mut shell = Command::new("/usr/bin/unshare");
    shell.args(["--mount", "/bin/sh", "-c", script]).env("PATH", path);
    let output = shell.env("RAMCACHE_CONFIG", scene.path("etc/ramcache.conf")).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn a_lost_state_is_told_from_that_of_a_new_system_and_comes_back_by_the_advice() {
    if !can_run("a lost state that check finds", &["root", "/usr/bin/unshare"]) {
        return;
    }
    let scene = Scene::new();
    let [folder, copies] = set_up_copies(&scene);
    let sh = |script: &str| with_copies(&scene, script);
    let check = scene.advised("check --server 127.0.0.77");
    let empty = format!("rm -f {folder}/ip.txt {folder}/hosts.dns");
    let finding = format!("error: {folder}/ip.txt: is not there");
    assert!(!sh(&format!("{empty}; {check}")).contains(&finding), "a new system");
    scene.reset(crate::scene::STATE, HOSTS);
    let text = sh(&format!("ddns-ramcache save; {empty}; {check}"));
    let line = text.lines().find(|line| line.starts_with(&finding)).unwrap();
    assert!(line.starts_with(&format!("{finding}, but the copy of 20")), "{line}");
    assert!(line.ends_with(&format!(" has 3 hosts: {copies}/copy-0000000001")), "{line}");
    let lines = advice(&text, &finding);
    assert_eq!(lines[0], "Restore it, and publish it:");
    assert!(!sh(&format!("{}; {check}", lines[1..].join("; "))).contains(&finding));
    assert_eq!((scene.state().as_str(), scene.hosts().as_str()), (crate::scene::STATE, HOSTS));

    // What systemd says of units that are all active.
    let units = format!(
        "#!/bin/sh\n[ $1 = show ] && printf 'Id=%s\\nActiveState=active\\n\\n' \
         ddns-cgi-ramcache.service ddns-cgi-save.timer\necho Id=ddns-cgi-save.path\n\
         echo 'ActiveState=active\nPaths={folder}/hosts.dns (PathChanged)'\n"
    );
    scene.write("bin/systemctl", &units);
    fs::set_permissions(scene.path("bin/systemctl"), PermissionsExt::from_mode(0o755)).unwrap();
    let mount = "ddns-ramcache -q mount && ddns-ramcache -q restore";
    assert!(!sh(&format!("{mount}; {check}")).contains("RAM disk"));
    // Below it, there is a file of another program.
    let unmount = format!("umount {folder} && {empty} && touch {folder}/ip.php");
    let text = sh(&format!("{mount}; {unmount}; {check}"));
    let gone = format!("error: {folder}: its RAM disk is gone, with all that was not yet copied");
    assert!(text.contains(&gone) && !text.contains(&finding), "{text}");
    let lines = advice(&text, &gone);
    let first = "First move what a RAM disk would hide out of ";
    assert_eq!(lines[0], format!("{first}{folder} (ip.php), and then run:"));
    let commands = lines[1..].join(" && ");
    let text = sh(&format!("{commands}; {check}"));
    assert!(text.contains(&gone), "the RAM disk would hide it: {text}");
    let moved = format!("mv {folder}/ip.php {copies}/");
    let text = sh(&format!("{moved} && {commands}; {check}; cat {folder}/ip.txt"));
    assert!(!text.contains(&gone) && text.ends_with(crate::scene::STATE), "{text}");
}

#[test]
fn a_broken_state_is_restored_from_the_newest_good_copy_if_there_is_one() {
    if !can_run("a restore that check advises", &["root"]) {
        return;
    }
    let scene = Scene::new();
    let [folder, copies] = set_up_copies(&scene);
    let sh = |command: &str| with_copies(&scene, command);
    let check = || sh(&scene.advised("check --server 127.0.0.77"));
    let finding = format!("error: {folder}/ip.txt: the state is broken");
    let rebuild = scene.advised("rebuild");
    scene.write("www/ramcache/ip.txt", "{\n\"a");
    let without = "Rebuild it from what is readable, or restore a copy of your own:";
    let text = check();
    assert!(text.contains(": it ends too early at line 2 column 2\n"), "{text}");
    assert_eq!(advice(&text, &finding), [without, &rebuild]);

    scene.write("www/ramcache/ip.txt", crate::scene::STATE);
    sh("ddns-ramcache save");
    scene.write("www/ramcache/ip.txt", "{");
    let text = check();
    let lines = advice(&text, &finding);
    let words = format!("Run {rebuild}, which keeps what is readable, or restore the copy of 20");
    assert!(lines[0].starts_with(&words) && lines[0].ends_with(", and publish it:"), "{text}");
    assert_eq!(lines[1..], ["ddns-ramcache restore --force", &scene.advised("apply")]);
    for command in &lines[1..] {
        sh(command);
    }
    assert_eq!(scene.state(), crate::scene::STATE, "with all dates");
    assert_eq!(scene.restarts().len(), 1);

    // A copy that is broken, too, or that of another folder, does not help.
    scene.write("www/ramcache/ip.txt", "{");
    scene.write("etc/ramcache.conf", &format!("folder=/nowhere\ncopies={copies}\n"));
    assert_eq!(advice(&check(), &finding), [without, &rebuild]);
    scene.write("etc/ramcache.conf", &format!("folder={folder}\ncopies={copies}\n"));
    scene.write("copies/copy-0000000001/ip.txt", "{");
    assert_eq!(advice(&check(), &finding), [without, &rebuild]);
}

#[test]
fn a_change_that_has_waited_for_more_than_a_minute_is_a_warning() {
    let scene = Scene::new();
    let warning = format!("warning: {}: a change has waited for a restart", scene.mark().display());
    scene.write("www/ramcache/.hosts.dns.pending", "changed host1.h.lohray.com 192.0.2.1\n");
    let text = check(&scene, &[]).1;
    assert!(!text.contains("waited"), "{text}");
    scene.write_long_ago("www/ramcache/.hosts.dns.pending", "changed x.example 192.0.2.1\n");
    let text = check(&scene, &[]).1;
    assert!(text.contains(&format!("{warning} for 1 min\n")), "{text}");
    assert_eq!(advice(&text, &warning), [scene.advised("apply")]);
}

#[test]
fn the_url_that_clients_are_told_is_tried() {
    let tools = ["root", APACHE, "/usr/bin/curl", "/usr/bin/openssl"];
    if !can_run("the configured URL", &tools) {
        return;
    }
    let scene = Scene::new();
    make_certificate(&scene);
    let server = Apache::start(&scene, Kind::EventCgid);
    let https = server.https_url("/ip.php");
    let url = |url: &str| {
        scene.configure(&json!({"url": url}));
        let text = check(&scene, &[]).1;
        let start = format!("warning: {url}: ");
        let problem = text.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned);
        (problem.unwrap_or_default(), advice(&text, &start))
    };
    assert_eq!(url(&server.url("/ip.php")), (String::new(), Vec::new()));
    let (problem, words) = url(&server.url("/ip"));
    assert_eq!(problem, "is answered with HTTP 404");
    assert!(words[0].starts_with("Clients are told this URL: correct \"url\""), "{words:?}");
    let (problem, words) = url(&https);
    assert!(problem.starts_with("its certificate is not trusted: SSL certificate "), "{problem}");
    assert!(problem.contains("self-signed"), "{problem}");
    assert!(words[0].starts_with("Clients refuse it, too"), "{words:?}");
    let closed = format!("http://127.0.0.1:{}/ip.php", crate::scene::free_port());
    let elsewhere = "This machine may not reach itself there. Try it on another:".to_owned();
    let advised = vec![elsewhere, format!("curl {closed}/ip")];
    assert_eq!(url(&closed), ("no connection".to_owned(), advised));
    let (problem, words) = url(&closed.replace("http:", "https:"));
    assert_eq!(problem, "no connection: nothing listens at its port on this machine");
    assert_eq!(words, ["HTTPS is not set up yet: see docs/web-servers.md#https."]);
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (problem, _) = url(&format!("http://{}/ip.php", mute.local_addr().unwrap()));
    assert_eq!(problem, "no answer within 5 s");
    let (problem, _) = url("http://nobody.invalid/ip.php");
    assert_eq!(problem, "its name has no address here");
}

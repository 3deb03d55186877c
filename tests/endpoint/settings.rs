//! `ddnsctl user config`: the settings of clients, ready to paste. `recipes.rs` runs them over HTTPS.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::json;

use crate::apache::{APACHE, Apache, Kind};
use crate::scene::{Scene, can_run};

const CLIENTS: [&str; 5] = ["ip-update", "ddclient", "inadyn", "fritzbox", "curl"];
/// Those that speak dyndns2.
const DYNDNS2: [&str; 4] = ["ddclient", "inadyn", "fritzbox", "curl"];
const PAGE: &str = include_str!("../../docs/clients.md");
const URL: &str = "https://ns.example.net/ip.php";

/// A scene with the users and names of the pages.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.configure(&json!({"url": URL}));
    scene.write(
        "etc/credentials.json",
        r#"{"alice": {"id": ["home.example.net"], "key": "THE-KEY"},
            "bob": {"id": ["box.example.net", "NAS.example.net", "cam.example.net"], "key": "K"}}"#,
    );
    scene
}

impl Scene {
    fn user_config(&self, user: &str, client: &str, options: &[&str]) -> Output {
        self.ddnsctl(&[&["user", "config", user, "--for", client], options].concat())
    }

    /// The settings; they must be printed.
    fn settings(&self, user: &str, client: &str, options: &[&str]) -> String {
        let output = self.user_config(user, client, options);
        assert!(output.status.success() && output.stderr.is_empty(), "{client}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The one line that says why there are none.
    fn no_settings(&self, user: &str, client: &str, options: &[&str]) -> String {
        let output = self.user_config(user, client, options);
        let text = String::from_utf8(output.stderr).unwrap();
        let text = text.replace(&self.advised(""), "ddnsctl ");
        assert!(output.stdout.is_empty(), "{client}: {:?}", output.stdout);
        assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{text}");
        text
    }
}

/// The lines that are no comments.
fn lines(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect()
}

/// The first block of the page after a line with this beginning, below a heading.
fn block(heading: &str, start: &str) -> String {
    let after = PAGE.split_inclusive('\n').skip_while(|line| line.trim_end() != heading);
    let after = after.skip_while(|line| !line.starts_with(start));
    let block = after.skip_while(|line| !line.starts_with("```")).skip(1);
    block.take_while(|line| !line.starts_with("```")).collect()
}

/// The first items of a list under a heading of the page.
fn list(heading: &str, items: usize) -> String {
    let after = PAGE.lines().skip_while(|line| *line != heading);
    let items = after.filter_map(|line| line.strip_prefix("- ")).take(items);
    items.map(|item| item.replace('`', "") + "\n").collect()
}

#[test]
fn the_pages_say_the_same() {
    let scene = scene();
    for (client, page) in [
        ("ip-update", block("## OpenWrt", "The settings, which")),
        ("ddclient", block("## ddclient", "")),
        ("inadyn", block("## inadyn", "")),
        ("curl", block("## curl", "")),
        ("fritzbox", list("## FRITZ!Box", 4)),
    ] {
        let text = scene.settings("alice", client, &[]);
        assert!(text.starts_with("# ") && page.contains("THE-KEY"), "{client}: {text}");
        let page = match client {
            // OpenWrt's, which has another host and a line more.
            "ip-update" => page.replace("nas.", "home.").replace("ip6=prefix:br-lan\n", ""),
            _ => page,
        };
        assert_eq!(lines(&text), page, "{client}");
        // The comments say where it goes, and for a file with the key its mode.
        let place = match client {
            "fritzbox" => "# FRITZ!Box: Internet, Permit Access, DynDNS, provider User-defined\n",
            "curl" => "# In a shell on the client, or in a script of mode 0700",
            _ => &format!("# /etc/{client}.conf on the client, mode 0600"),
        };
        assert!(text.starts_with(place), "{client}: {text}");
    }
    let ddclient = scene.settings("alice", "ddclient", &[]);
    for command in ["apt-get install libio-socket-ssl-perl", "systemctl restart ddclient"] {
        let has_it = |line: &str| line.starts_with("# ") && line.ends_with(&format!(": {command}"));
        assert!(ddclient.lines().any(has_it), "{ddclient}");
        assert!(PAGE.contains(&format!("`{command}`")), "{command}");
    }
    for line in block("## ddclient", "From 3.11 on").lines() {
        assert!(line.starts_with("usev") && ddclient.contains(&format!("\n#{line}\n")), "{line}");
    }
    let home = list("## FRITZ!Box", 5).lines().last().unwrap().replace("nas.", "NAS.");
    let text = scene.settings("bob", "fritzbox", &[]);
    assert!(text.contains(&home) && home.contains("ip6lanprefix"), "{text}");
    assert!(text.contains("\nDomain name: box.example.net\n"), "{text}");
}

#[test]
fn each_option_has_its_effect() {
    let scene = scene();
    let hosts = "host=box.example.net\nhost=NAS.example.net\nhost=cam.example.net\n";
    assert!(scene.settings("bob", "ip-update", &[]).contains(hosts));
    let chosen = ["--host", "cam.example.net", "--host", "box.example.net"];
    let text = scene.settings("bob", "ip-update", &chosen);
    assert!(text.contains("\nhost=cam.example.net\nhost=box.example.net\nprotocol"), "{text}");
    let twice = ["--host", "nas.example.net", "--host", "NAS.example.net"];
    assert_eq!(scene.settings("bob", "curl", &twice).matches("example.net").count(), 2);
    let text = scene.settings("bob", "inadyn", &chosen);
    assert!(text.contains("{ \"cam.example.net\", \"box.example.net\" }"), "{text}");

    // The URL: an own port, no path, a slash at the end, a network without HTTPS.
    for (url, update, ask) in [
        (
            "https://a.example:8443/d",
            "https://a.example:8443/nic/update?",
            "https://a.example:8443/d/ip\n",
        ),
        ("https://a.example", "https://a.example/nic/update?", "https://a.example/ip\n"),
        ("https://a.example/d/", "https://a.example/nic/update?", "https://a.example/d/ip\n"),
    ] {
        assert!(scene.settings("alice", "curl", &["--url", url]).contains(update), "{url}");
        assert!(scene.settings("alice", "ddclient", &["--url", url]).contains(ask), "{url}");
    }
    scene.configure(&json!({"dyndns2": "any"}));
    let plain = ["--url", "http://a.example/ip.php"];
    let text = scene.settings("alice", "ddclient", &plain);
    assert!(text.contains("\nssl=no\n") && !text.contains("libio-socket-ssl-perl"), "{text}");
    assert!(scene.settings("alice", "inadyn", &plain).contains("    ssl            = false\n"));
    assert!(scene.settings("alice", "curl", &plain).contains("'http://a.example/nic/update?"));
    let output = scene.user_config("alice", "curl", &["--url", "ns.example.net"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("must be the URL of this server"), "{text}");
}

#[test]
fn what_could_not_work_is_refused_with_a_way_out() {
    let scene = scene();
    let many: Vec<String> = (0..200).map(|n| format!("h{n}.example.net")).collect();
    let users = json!({
        "alice": {"id": ["home.example.net"], "key": "THE-KEY"},
        "strict": {"id": ["s.example.net"], "key": "k", "signature": "hmac-sha256"},
        "none": {"id": [], "key": "k"},
        "broken": {"id": ["b.example.net"]},
        "odd": {"id": ["a b"], "key": "k"},
        "many": {"id": many, "key": "k"},
        "a:b": {"id": ["c.example.net"], "key": "k"},
        "a\"b": {"id": ["q.example.net"], "key": "k"},
        "a-b_c+d@example.net": {"id": ["p.example.net"], "key": "k"},
        "quote": {"id": ["k.example.net"], "key": "it's #1"},
        "line": {"id": ["l.example.net"], "key": "a\nb"},
    });
    scene.write("etc/credentials.json", &users.to_string());
    for client in CLIENTS {
        for (user, options, parts) in [
            ("nobody", &[][..], ["credentials.json: there is no user nobody", ""]),
            ("none", &[], ["none: has no host", "next: ddnsctl host add none HOST"]),
            ("broken", &[], ["broken: has an unusable entry", "it has no key; correct it there"]),
            ("odd", &[], ["odd: has a host whose name is not valid, a b", "--host"]),
            ("alice", &["--host", "x.example.net"], ["alice: has no host x.example.net", ""]),
            ("line", &[], ["characters in the key", "ddnsctl user rekey line"]),
        ] {
            let text = scene.no_settings(user, client, options);
            assert!(parts.iter().all(|part| text.contains(part)), "{client} {user}: {text}");
        }
    }
    for client in CLIENTS {
        // Any name that `ddnsctl user add` takes.
        scene.settings("a-b_c+d@example.net", client, &[]);
    }
    for client in DYNDNS2 {
        for (user, options, parts) in [
            ("strict", &[][..], ["only with hmac-sha256", "ddnsctl user signature strict any"]),
            ("a:b", &[], ["characters in the name", "ddnsctl user add"]),
            ("quote", &[], ["characters in the key", "ddnsctl user rekey quote"]),
            ("alice", &["--url", "http://ns.example.net"], ["unencrypted", "--for ip-update"]),
        ] {
            let text = scene.no_settings(user, client, options);
            assert!(parts.iter().all(|part| text.contains(part)), "{client} {user}: {text}");
        }
    }
    assert!(scene.no_settings("a\"b", "ip-update", &[]).contains("characters in the name"));
    assert!(scene.settings("strict", "ip-update", &[]).contains("protocol=2"));
    assert!(scene.settings("quote", "ip-update", &[]).contains("key=it's #1\n"));
    assert!(scene.settings("a:b", "ip-update", &[]).contains("user=a:b\n"));
    assert!(
        scene.no_settings("many", "curl", &[]).contains("200 hosts, and a request can name 32")
    );
    assert!(scene.settings("many", "inadyn", &[]).contains("h32.example.net"));
    assert!(scene.no_settings("many", "inadyn", &["--qr"]).contains("too long for a QR code"));

    scene.configure(&json!({"url": URL, "dyndns2": "off"}));
    let text = scene.no_settings("alice", "curl", &[]);
    assert!(
        text.contains("config.json: \"dyndns2\" is \"off\"") && text.contains("--for ip-update")
    );
    scene.settings("alice", "ip-update", &[]);
    scene.configure(&json!({}));
    let text = scene.no_settings("alice", "ip-update", &[]);
    assert!(text.contains("config.json: does not say where clients reach this server"), "{text}");
    assert!(text.contains("--url https://") && text.contains("\"url\": \"https://"), "{text}");
    let text = scene.no_settings("nobody", "curl", &[]);
    assert!(text.contains("there is no user nobody") && !text.contains("url"), "{text}");
}

#[test]
fn a_phone_reads_the_same_text_from_the_qr_code() {
    let scene = scene();
    for client in CLIENTS {
        for user in ["alice", "bob"] {
            // As on a terminal, whose colours do not matter then.
            let words = ["user", "config", user, "--for", client, "--qr"];
            let output = scene.ddnsctl_command(&words).env("CLICOLOR_FORCE", "1").output();
            let all = String::from_utf8(output.unwrap().stdout).unwrap();
            let (text, code) = all.split_once("# The same as a QR code:\n").unwrap();
            assert_eq!(text, scene.settings(user, client, &[]));
            assert_eq!(read_code(code), text, "{client} {user}");
        }
    }
}

/// What the QR code says that a terminal shows: white blocks on black, two modules above each other in
/// one character.
fn read_code(drawing: &str) -> String {
    let rows: Vec<Vec<char>> = drawing
        .lines()
        .map(|line| line.strip_prefix("\x1b[97;40m").unwrap().strip_suffix("\x1b[0m").unwrap())
        .map(|line| line.chars().collect())
        .collect();
    let is_light = |x: usize, y: usize| match rows[y / 2][x] {
        '█' => true,
        '▀' => y % 2 == 0,
        '▄' => y % 2 == 1,
        _ => false,
    };
    let (width, height) = (rows[0].len(), rows.len() * 2);
    // A camera sees each module as several points.
    let size = 4;
    let mut image =
        rqrr::PreparedImage::prepare_from_greyscale(width * size, height * size, |x, y| {
            if is_light(x / size, y / size) { 255 } else { 0 }
        });
    let codes = image.detect_grids();
    assert_eq!(codes.len(), 1, "{drawing}");
    codes[0].decode().unwrap().1
}

#[test]
fn the_settings_as_printed_move_the_hosts() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/ip-update");
    if !can_run("ddnsctl user config", &[APACHE, "/usr/bin/curl"]) {
        return;
    }
    let scene = scene();
    let apache = Apache::start(&scene, Kind::EventCgid);
    scene.configure(&json!({"url": apache.url("/ip.php"), "dyndns2": "any"}));
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{program}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };

    let file = scene.path("run/ip-update.conf");
    fs::write(&file, scene.settings("bob", "ip-update", &[])).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(run(script, &["-c", file.to_str().unwrap()]), "");
    scene.settle();
    for host in ["box", "nas", "cam"] {
        let line = format!("127.0.0.1 {host}.example.net\n");
        assert!(scene.hosts().to_lowercase().contains(&line), "{}", scene.hosts());
    }
    let command = scene.settings("alice", "curl", &[]);
    assert_eq!(run("/bin/sh", &["-c", &command]).trim(), "good 127.0.0.1");
    let command = scene.settings("bob", "curl", &[]);
    assert_eq!(run("/bin/sh", &["-c", &command]).matches("127.0.0.1").count(), 3);
}

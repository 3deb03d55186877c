//! `scripts/install` below a folder, as packagers run it. `boot.rs` and `chain.rs` run it for real.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use ddns_cgi::config::Config;

use crate::primary::NSUPDATE;
use crate::scene::can_run;

const FAIL2BAN: &str = "/usr/bin/fail2ban-client";

fn install(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install"))
        .args(arguments)
        .env("DESTDIR", folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Each file with its mode and time.
fn files(folder: &Path) -> BTreeMap<String, (u32, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let (path, metadata) = entry.map(|e| (e.path(), e.metadata().unwrap())).unwrap();
            if metadata.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert(
                    name,
                    (metadata.mode() & 0o777, metadata.mtime(), metadata.mtime_nsec()),
                );
            }
        }
    }
    found
}

#[test]
fn packagers_get_all_files_in_the_places_of_each_distribution() {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ddnsctl");
    if !can_run("scripts/install with DESTDIR (scripts/build)", &[dist]) {
        return;
    }
    for (system, apache) in [
        ("debian", "etc/apache2/conf-available/ddns-cgi.conf"),
        ("redhat", "etc/httpd/conf.d/ddns-cgi.conf"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let system = ["--system", system];
        let dry = install(folder.path(), &[&system[..], &["--dry-run"]].concat());
        assert!(dry.lines().all(|line| line.starts_with("would: ")), "{dry}");
        assert!(files(folder.path()).is_empty());
        install(folder.path(), &system);
        let first = files(folder.path());
        for (file, mode) in [
            ("usr/lib/ddns-cgi/ddns-cgi", 0o755),
            ("usr/sbin/ddnsctl", 0o755),
            ("usr/sbin/ddns-ramcache", 0o755),
            ("usr/share/man/man1/ddnsctl.1", 0o644),
            ("usr/share/bash-completion/completions/ddnsctl", 0o644),
            ("usr/lib/systemd/system/ddns-cgi-ramcache.service", 0o644),
            ("etc/ddns-cgi/credentials.json", 0o640),
            ("etc/sudoers.d/ddns-cgi", 0o440),
            ("etc/dnsmasq.d/ddns-cgi.conf", 0o644),
            ("etc/fail2ban/filter.d/ddns-cgi.conf", 0o644),
            (apache, 0o644),
        ] {
            assert_eq!(first.get(file).map(|(mode, ..)| *mode), Some(mode), "{file}");
        }
        assert_eq!(install(folder.path(), &system), "everything is in place already\n");
        assert_eq!(files(folder.path()), first, "the second time changes nothing");

        fs::write(folder.path().join(apache), "# mine").unwrap();
        fs::write(folder.path().join("usr/sbin/ddnsctl"), "old").unwrap();
        let text = install(folder.path(), &system);
        assert!(text.contains(&format!("/{apache} was changed by you, and stays")), "{text}");
        assert!(text.contains("install /usr/sbin/ddnsctl"), "a program is ours: {text}");
        assert_eq!(fs::read_to_string(folder.path().join(apache)).unwrap(), "# mine");

        install(folder.path(), &[&system[..], &["--uninstall"]].concat());
        let left: Vec<String> = files(folder.path()).into_keys().collect();
        // The last run knows what stays.
        let mut expected = [apache, "etc/ddns-cgi/credentials.json", "var/lib/ddns-cgi/installed"];
        expected.sort_unstable();
        assert_eq!(left, expected);
        install(folder.path(), &[&system[..], &["--uninstall", "--purge"]].concat());
        assert!(files(folder.path()).is_empty(), "also what was changed");
    }
}

#[test]
fn with_publish_it_installs_a_key_and_settings_for_dynamic_updates_and_no_dnsmasq() {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ddnsctl");
    if !can_run("scripts/install --publish", &[dist, NSUPDATE]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dry = install(folder.path(), &["--publish", "h.example.net.", "--dry-run"]);
    assert!(dry.contains("would: make /etc/ddns-cgi/tsig.key"), "{dry}");
    assert!(files(folder.path()).is_empty());
    install(folder.path(), &["--publish", "h.example.net."]);
    let first = files(folder.path());
    assert_eq!(first["etc/ddns-cgi/tsig.key"].0, 0o640);
    assert!(!first.keys().any(|name| name.contains("dnsmasq") || name.contains("sudoers")));
    let config = fs::read(folder.path().join("etc/ddns-cgi/config.json")).unwrap();
    let config = Config::parse(&config).unwrap();
    assert!(config.publish.restart.is_empty() && config.publish.name_server.is_none());
    assert_eq!(config.publish.zones.unwrap().names[0].as_str(), "h.example.net");
    // nsupdate takes the key, and finds nobody to send to.
    let script = format!(
        "echo 'server 127.0.0.1 1\nzone x.\nupdate delete x. A\nsend' | {NSUPDATE} -k {}",
        folder.path().join("etc/ddns-cgi/tsig.key").display()
    );
    let output = Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("connection refused") && !text.contains("key"), "{text}");

    // It is not for names that are none, or in the place of a dnsmasq that is set up.
    for (prepared, zone, problem) in [
        (false, "a..b", "not the name of a zone"),
        (false, "-x.example", "not the name of a zone"),
        (false, "192.0.2.1", "not the name of a zone"),
        (true, "h.example.net", "dnsmasq is set up here"),
    ] {
        let other = tempfile::tempdir().unwrap();
        if prepared {
            install(other.path(), &[]);
        }
        let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install"))
            .args(["--publish", zone])
            .env("DESTDIR", other.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(problem), "{zone}: {text}");
    }

    // Later runs need not say it again, and change nothing.
    let again = install(folder.path(), &[]);
    assert_eq!(again, "everything is in place already\n");
    assert!(files(folder.path()) == first);
}

#[test]
fn each_web_server_gets_its_file_and_the_socket() {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ddnsctl");
    if !can_run("scripts/install --server (scripts/build)", &[dist]) {
        return;
    }
    let socket = "usr/lib/systemd/system/ddns-cgi.socket";
    let service = "usr/lib/systemd/system/ddns-cgi.service";
    let apache = "etc/apache2/conf-available/ddns-cgi.conf";
    for (server, own, group) in [
        ("apache", &[apache][..], None),
        (
            "nginx",
            &["etc/nginx/snippets/ddns-cgi.conf", "etc/nginx/conf.d/ddns-cgi.conf"],
            Some("www-data"),
        ),
        ("lighttpd", &["etc/lighttpd/conf-available/15-ddns-cgi.conf"], Some("www-data")),
        ("caddy", &["etc/caddy/ddns-cgi.caddy"], Some("caddy")),
        ("apache-fastcgi", &["etc/apache2/conf-available/ddns-cgi-fastcgi.conf"], Some("www-data")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        install(folder.path(), &["--server", server]);
        let first = files(folder.path());
        for file in own {
            assert!(first.contains_key(*file), "{server}: {file}");
        }
        assert_eq!(first.contains_key(apache), server == "apache", "no other's: {server}");
        assert_eq!(first.contains_key(service), group.is_some(), "{server}");
        let unit = fs::read_to_string(folder.path().join(socket)).unwrap_or_default();
        let line = unit.lines().find_map(|line| line.strip_prefix("SocketGroup="));
        assert_eq!(line, group, "{server}");
        // Later runs know the server.
        assert_eq!(install(folder.path(), &[]), "everything is in place already\n", "{server}");
        install(folder.path(), &["--uninstall", "--purge"]);
        assert!(files(folder.path()).is_empty(), "{server}");
    }

    // A second server is added, and both share the socket.
    let folder = tempfile::tempdir().unwrap();
    install(folder.path(), &["--server", "caddy"]);
    install(folder.path(), &["--server", "nginx"]);
    let both = files(folder.path());
    assert!(both.contains_key("etc/caddy/ddns-cgi.caddy"));
    assert!(both.contains_key("etc/nginx/snippets/ddns-cgi.conf"));
    let unit = fs::read_to_string(folder.path().join(socket)).unwrap();
    assert!(unit.contains("SocketGroup=www-data\n"));

    for (arguments, problem) in [
        (&["--server", "iis"][..], "not iis"),
        (&["--server"], "needs a name"),
        (&["--server", "nginx", "--system", "redhat"], "docs/web-servers.md"),
    ] {
        let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install"))
            .args(arguments)
            .env("DESTDIR", folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(problem), "{arguments:?}: {text}");
    }
    assert!(files(folder.path()) == both);
    install(folder.path(), &["--server", "apache"]);

    // Of the two ways through Apache, the one that is named replaces the other, unless it was edited.
    let fastcgi = "etc/apache2/conf-available/ddns-cgi-fastcgi.conf";
    for (server, new, old) in [("apache-fastcgi", fastcgi, apache), ("apache", apache, fastcgi)] {
        install(folder.path(), &["--server", server]);
        let now = files(folder.path());
        assert!(now.contains_key(new) && !now.contains_key(old), "{server}");
        assert_eq!(install(folder.path(), &[]), "everything is in place already\n", "{server}");
    }
    fs::write(folder.path().join(apache), "# mine").unwrap();
    let text = install(folder.path(), &["--server", "apache-fastcgi"]);
    assert!(text.contains(&format!("/{apache} was changed by you, and stays, disabled")), "{text}");
    assert_eq!(install(folder.path(), &[]), "everything is in place already\n");
}

#[test]
fn fail2ban_gets_a_jail_for_the_logs_that_there_are() {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ddnsctl");
    if !can_run(
        "the jail from scripts/install (scripts/build)",
        &[dist, FAIL2BAN, "/var/log/nginx/error.log"],
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (server, files, journal) in
        [("caddy", false, true), ("nginx", true, true), ("apache", true, true)]
    {
        install(folder.path(), &["--server", server]);
        // With a configuration of its own, which has no other jail.
        let config = folder.path().join("etc/fail2ban");
        for part in
            ["fail2ban.conf", "jail.conf", "paths-debian.conf", "paths-common.conf", "action.d"]
        {
            let link = config.join(part);
            if !link.exists() {
                symlink(Path::new("/etc/fail2ban").join(part), link).unwrap();
            }
        }
        let output = Command::new(FAIL2BAN).arg("-c").arg(&config).arg("-d").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let has =
            |jail: &str, backend: &str| text.contains(&format!("['add', '{jail}', '{backend}']"));
        assert!(output.status.success(), "{server}: {output:?}");
        assert_eq!(has("ddns-cgi", "auto"), files, "{server}: {text}");
        assert_eq!(has("ddns-cgi-journal", "systemd"), journal, "{server}: {text}");
    }
}

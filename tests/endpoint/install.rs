//! `scripts/install` below a folder, as packagers run it. `boot.rs` and `chain.rs` run it for real.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use ddns_cgi::config::Config;

use crate::chain::run_on_overlay;
use crate::primary::NSUPDATE;
use crate::scene::can_run;

const URL: &str = "https://ns.example.net/ip.php";
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
            ("usr/share/man/man8/ddnsctl.8", 0o644),
            ("usr/share/man/man5/ddns-cgi.json.5", 0o644),
            ("usr/share/bash-completion/completions/ddnsctl", 0o644),
            ("usr/lib/systemd/system/ddns-cgi-ramcache.service", 0o644),
            ("etc/ddns-cgi/credentials.json", 0o640),
            ("etc/sudoers.d/ddns-cgi", 0o440),
            ("etc/dnsmasq.d/ddns-cgi.conf", 0o644),
            ("usr/lib/systemd/system/dnsmasq.service.d/ddns-cgi.conf", 0o644),
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
    assert_eq!(files(folder.path()), first);
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
    assert_eq!(files(folder.path()), both);
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

/// The paths of all folders and files.
fn tree(folder: &Path) -> Vec<String> {
    let output = Command::new("find").arg(folder).args(["-mindepth", "1"]).output().unwrap();
    let mut paths: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    paths.sort_unstable();
    paths
}

#[test]
fn what_a_dry_run_says_is_what_happens() {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ddnsctl");
    if !can_run("scripts/install --dry-run (scripts/build)", &[dist]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    // A folder that is not there yet.
    let folder = scratch.path().join("destination");
    let same = |options: &[&str]| {
        let before = tree(scratch.path());
        let dry = install(&folder, &[options, &["--dry-run"]].concat());
        assert_eq!(tree(scratch.path()), before, "{options:?}");
        let said = install(&folder, options);
        let mut lines: Vec<&str> = said.lines().collect();
        let dry: Vec<&str> =
            dry.lines().map(|line| line.strip_prefix("would: ").unwrap_or(line)).collect();
        assert_eq!(dry, lines, "{options:?}");
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(dry.len(), lines.len(), "nothing is said twice: {options:?}: {said}");
        said
    };
    let said = same(&["--url", "https://ns.example.net/ip.php"]);
    let made: Vec<String> = tree(scratch.path());
    let folders = said.lines().filter_map(|line| line.strip_prefix("make the folder "));
    for path in folders {
        let path = folder.join(&path[1..]);
        assert!(made.contains(&path.display().to_string()), "{}", path.display());
    }
    assert_eq!(same(&[]), "everything is in place already\n");
    same(&["--server", "nginx", "--no-ramcache"]);
    same(&["--server", "caddy"]);
    same(&["--server", "apache-fastcgi"]);
    fs::write(folder.join("etc/nginx/snippets/ddns-cgi.conf"), "# mine").unwrap();
    let said = same(&["--uninstall"]);
    assert!(said.contains("\nremove the folder /usr/lib/ddns-cgi\n"), "{said}");
    assert!(!said.contains("remove /var/lib/ddns-cgi/installed"), "the next run needs it: {said}");
    assert!(said.contains("\nkept data, credentials and configuration: /etc/ddns-cgi\n"), "{said}");
    let said = same(&["--uninstall", "--purge"]);
    assert!(said.contains("\nremove /var/lib/ddns-cgi/installed\n"), "{said}");
    assert_eq!(tree(&folder), [""; 0], "not even folders stay");

    // What changes nothing else is silent, but for what has to be known.
    let quiet = |options: &[&str]| install(&folder, &[options, &["--quiet"]].concat());
    assert_eq!(quiet(&["--server", "nginx"]), "");
    assert_eq!(quiet(&[]), "");
    fs::write(folder.join("etc/nginx/snippets/ddns-cgi.conf"), "# mine").unwrap();
    assert!(quiet(&[]).starts_with("/etc/nginx/snippets/ddns-cgi.conf was changed by you"));
    quiet(&["--uninstall", "--purge"]);
    assert_eq!(tree(&folder), [""; 0]);

    // A relative DESTDIR is below the folder of whoever runs it.
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install"))
        .current_dir(scratch.path())
        .env("DESTDIR", "relative")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(scratch.path().join("relative/usr/sbin/ddnsctl").exists());
}

#[test]
fn a_wrong_command_line_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for (options, problem) in [
        (&["--dry"][..], "there is no option --dry"),
        (&["nginx"], "there is no option nginx"),
        (&["--server"], "--server needs a name"),
        (&["--server", "iis"], "not iis"),
        (&["--publish"], "--publish needs the name of a zone"),
        (&["--system"], "--system needs a name"),
        (&["--system", "arch"], "--system can be debian or redhat, not arch"),
        (&["--url"], "--url needs a URL"),
        (&["--url", "ns.example.net"], "not the URL of a server"),
        (&["--url", "https://ns.example.net/ip.php?x"], "not the URL of a server"),
        (&["--url", "https://a\"b"], "not the URL of a server"),
        (&["--purge"], "--purge needs --uninstall"),
        (&["--uninstall", "--server", "nginx"], "--server has no meaning with --uninstall"),
        (&["--no-ramcache", "--uninstall"], "--no-ramcache has no meaning with --uninstall"),
    ] {
        let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install"))
            .args(options)
            .env("DESTDIR", folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), text.lines().count()),
            (Some(2), 1),
            "{options:?}: {text}"
        );
        assert!(text.starts_with("scripts/install: ") && text.contains(problem), "{text}");
        assert!(text.ends_with("; see scripts/install --help\n"), "{text}");
    }
    assert!(files(folder.path()).is_empty());
}

#[test]
fn the_url_is_written_into_the_configuration_and_nothing_else_of_it_changes() {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ddnsctl");
    if !can_run("scripts/install --url (scripts/build)", &[dist]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("etc/ddns-cgi/config.json");
    let run = || install(folder.path(), &["--url", URL]);
    run();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{{\n    \"url\": \"{URL}\"\n}}\n"));
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o644);
    assert_eq!(run(), "everything is in place already\n");
    for (before, after) in [
        ("{}", r#"{"url": "U"}"#),
        ("{ }\n", r#"{ "url": "U" }"#),
        ("{\"window\": 9}", r#"{"url": "U","window": 9}"#),
        ("{ \"window\": 9 }\n\n", "{ \"url\": \"U\", \"window\": 9 }\n\n"),
        ("\n {\n\t\"window\": 9,\r\n\t\"late_after\" : 1e0\n}", ""),
        ("{\n  \"window\": 9\n}\n", "{\n  \"url\": \"U\",\n  \"window\": 9\n}\n"),
    ] {
        fs::write(&file, before).unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let said = run();
        let text = fs::read_to_string(&file).unwrap();
        if after.is_empty() {
            // A file with a mistake stays as it is.
            assert_eq!(text, before);
            let advice = format!("by hand: add to /etc/ddns-cgi/config.json: \"url\": \"{URL}\"\n");
            assert!(said.contains(&advice), "{said}");
            continue;
        }
        assert_eq!(said, format!("write \"url\": \"{URL}\" into /etc/ddns-cgi/config.json\n"));
        let rest = text.replacen(&format!("\"url\": \"{URL}\""), "\"url\": \"U\"", 1);
        assert_eq!(rest.trim_end(), after.trim_end());
        assert_eq!(text.len() - text.trim_end().len(), before.len() - before.trim_end().len());
        assert_eq!(Config::parse(text.as_bytes()).unwrap().url.as_deref(), Some(URL));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600, "its mode stays");
    }
    // Another URL is the operator's.
    fs::write(&file, r#"{"url": "https://other.example/ip.php"}"#).unwrap();
    let advice = format!("by hand: change \"url\" in /etc/ddns-cgi/config.json to \"{URL}\"\n");
    assert_eq!(run(), format!("everything else is in place already\n{advice}"));
    // All web servers' files serve /ip.php: a URL without a path gets it. Another path stays.
    for (said, written) in [
        ("https://ns.example.net", URL),
        ("https://ns.example.net/", URL),
        ("https://ns.example.net//", URL),
        ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443/ip.php"),
        ("https://ns.example.net/ddns/", "https://ns.example.net/ddns/"),
        ("https://ns.example.net/update", "https://ns.example.net/update"),
    ] {
        fs::remove_file(&file).unwrap();
        install(folder.path(), &["--url", said]);
        let config = Config::parse(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(config.url.as_deref(), Some(written), "{said}");
        assert_eq!(install(folder.path(), &["--url", said]), "everything is in place already\n");
    }
    // Without HTTPS, it says who cannot use it. With --publish, the file has both.
    let folder = tempfile::tempdir().unwrap();
    let options = ["--url", "http://ns.example.net", "--publish", "h.example.net"];
    let said = install(folder.path(), &options);
    assert!(said.contains("over http, only ip-update works"), "{said}");
    let config = fs::read(folder.path().join("etc/ddns-cgi/config.json")).unwrap();
    let config = Config::parse(&config).unwrap();
    assert_eq!(config.url.as_deref(), Some("http://ns.example.net/ip.php"));
    assert!(config.publish.zones.is_some());
}

#[test]
fn man_pages_come_and_go_in_one_line_and_a_changed_one_stays() {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ddnsctl");
    if !can_run("the man pages from scripts/install (scripts/build)", &[dist]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pages = |of: &str| {
        let names = files(folder.path()).into_keys().filter(|name| name.contains("/share/man/"));
        let names: Vec<String> = names.collect();
        let manifest = folder.path().join("var/lib/ddns-cgi/installed");
        let manifest = fs::read_to_string(manifest).unwrap_or_default();
        for name in &names {
            assert!(
                manifest.lines().any(|line| line.ends_with(&format!(" /{name}"))),
                "{of} {name}"
            );
        }
        names
    };
    let lines = |said: &str| -> Vec<String> {
        said.lines().filter(|line| line.contains("man")).map(str::to_owned).collect()
    };
    let said = install(folder.path(), &[]);
    let all = pages("all");
    assert!(all.len() > 9, "{all:?}");
    let expected = [
        "make the folder /usr/share/man/man5".to_owned(),
        "make the folder /usr/share/man/man8".to_owned(),
        format!("install {} man pages", all.len()),
    ];
    assert_eq!(lines(&said), expected);
    // A page is a program's: it is put back, and noted if it is in place but not known.
    fs::write(folder.path().join(&all[1]), "old").unwrap();
    assert_eq!(install(folder.path(), &[]), "install 1 man page\n");
    let manifest = folder.path().join("var/lib/ddns-cgi/installed");
    let without = |text: &str| {
        let is_page = |line: &&str| line.contains("/share/man/") && !line.starts_with("folder ");
        text.split_inclusive('\n').filter(|line| !is_page(line)).collect::<String>()
    };
    fs::write(&manifest, without(&fs::read_to_string(&manifest).unwrap())).unwrap();
    assert_eq!(install(folder.path(), &[]), "everything is in place already\n");
    assert_eq!(pages("again"), all);
    fs::write(folder.path().join(&all[0]), "mine").unwrap();
    let said = install(folder.path(), &["--uninstall"]);
    let expected = [
        format!("/{} was changed by you, and stays", all[0]),
        format!("remove {} man pages", all.len() - 1),
        "remove the folder /usr/share/man/man8".to_owned(),
    ];
    assert_eq!(lines(&said), expected);
    assert_eq!(pages("the rest"), all[..1]);
    let said = install(folder.path(), &["--uninstall", "--purge"]);
    assert!(lines(&said).contains(&"remove 1 man page".to_owned()), "{said}");
    assert_eq!(tree(folder.path()), [""; 0]);
}

#[test]
fn uninstalling_says_how_to_remove_what_it_keeps() {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ddnsctl");
    if !can_run("scripts/install --uninstall (scripts/build)", &[dist]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let advice = "to remove what is kept, too:\n    scripts/install --uninstall --purge\n";
    // Also if the folder was there before.
    fs::create_dir_all(folder.path().join("etc/ddns-cgi")).unwrap();
    install(folder.path(), &[]);
    let said = install(folder.path(), &["--uninstall"]);
    assert!(said.contains("\nkept data, credentials and configuration: /etc/ddns-cgi\n"), "{said}");
    assert!(said.ends_with(advice), "{said}");
    let said = install(folder.path(), &["--uninstall", "--purge"]);
    assert!(!said.contains("what is kept"), "{said}");
    assert!(files(folder.path()).is_empty());
}

#[test]
fn on_a_terminal_it_asks_once_where_clients_reach_the_server() {
    run_on_overlay("install.sh", &[], &["/usr/bin/script"], "the installation is right");
}

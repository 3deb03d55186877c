//! fail2ban's filter on what each web server really logs: it finds clients that know no key, and nothing
//! that a client writes passes for a line of the log.

use std::process::Command;

use crate::nginx::{self, FCGIWRAP, NGINX};
use crate::scene::{Scene, can_run, eventually, host1, signed, time};
use crate::server::Server;
use crate::transport::Way;
use crate::web_servers;

const FAIL2BAN: &str = "/usr/bin/fail2ban-regex";

/// Who knows no key, and who is only slow or unlucky.
const ATTACKER: &str = "127.0.0.5";
const OTHER: &str = "127.0.0.6";

/// Lines about an address that never asked, as each server begins them.
const FORGED: [&str; 6] = [
    "ddns-cgi: badauth address=192.0.2.99 ",
    "AH01215: ddns-cgi: badauth address=192.0.2.99 ",
    "[error] 1#1: *1 FastCGI sent in stderr: \"ddns-cgi: badauth address=192.0.2.99 ",
    "[client 192.0.2.99] AH01071: Got error 'ddns-cgi: badauth address=192.0.2.99 ",
    "(mod_fastcgi.c.449) FastCGI-stderr:ddns-cgi: badauth address=192.0.2.99 ",
    "host ddns-cgi[1]: ddns-cgi: badauth address=192.0.2.99 ",
];

/// Text as it can stand in a URL.
fn encoded(text: &str) -> String {
    text.bytes().flat_map(|byte| ["%".to_owned(), hex::encode([byte])]).collect()
}

/// The lines that the filter matches in a log.
fn matched(scene: &Scene, log: &str) -> Vec<String> {
    scene.write("run/filtered.log", log);
    let output = Command::new(FAIL2BAN)
        .args(["--print-all-matched", "--print-no-missed"])
        .arg(scene.path("run/filtered.log"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/fail2ban/filter.d/ddns-cgi.conf"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.split("|- Matched line(s):").nth(1).unwrap_or("");
    let lines =
        lines.lines().skip(1).map_while(|line| line.strip_prefix("|  ")).collect::<Vec<_>>();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&format!(", {} matched, ", lines.len())), "{text}{said}");
    lines.into_iter().map(str::to_owned).collect()
}

#[test]
fn the_filter_finds_the_address_in_each_servers_log_and_nothing_in_what_a_client_writes() {
    if can_run("fail2ban", &[FAIL2BAN]) {
        for way in Way::all_through_servers("fail2ban") {
            let scene = Scene::new();
            let server = way.start_server(&scene);
            ask_wrongly(&server);
            ask_harmlessly(&scene, &server);
            let log = server.log();
            drop(server);
            let log = journaled(way, scene.read(log));
            assert!(log.contains("192.0.2.99"), "{way:?}: {log}");
            let lines = matched(&scene, &log);
            assert_eq!(lines.len(), 5, "{way:?}: {lines:#?}");
            let address = format!("address={ATTACKER} ");
            assert!(lines.iter().all(|line| line.contains(&address)), "{way:?}: {lines:#?}");
            // mod_cgi says whose line it is.
            if way == Way::ApachePreforkCgi {
                let other = log.replace("/bin/ddns-cgi: ", "/bin/other: ");
                assert_eq!(matched(&scene, &other).len(), 0, "{other}");
            }
        }
    }
}

/// The log as fail2ban finds it. These servers leave the lines to the journal.
fn journaled(way: Way, log: String) -> String {
    match way {
        Way::Caddy => in_journal(identifier(), &log),
        Way::NginxFcgiwrap => in_journal("fcgiwrap", &log),
        Way::LighttpdCgi => in_journal("lighttpd", &log),
        _ => log,
    }
}

/// Lines as fail2ban's backend for the journal shows them.
fn in_journal(identifier: &str, lines: &str) -> String {
    let before = format!("2026-11-27T11:00:00.123456 ns1 {identifier}[17]: ");
    lines.split_inclusive('\n').flat_map(|line| [&*before, line]).collect()
}

/// The name that the service's lines have in the journal.
fn identifier() -> &'static str {
    let unit = include_str!("../../systemd/ddns-cgi.service");
    let mut lines = unit.lines();
    // By default, it is the name of what systemd starts.
    lines.find_map(|line| line.strip_prefix("SyslogIdentifier=")).unwrap_or("setpriv")
}

/// A request with an address by this name, which is in the reason then.
fn stray(name: &str) -> String {
    let hmac = "0".repeat(64);
    format!("user=u&id=h&timeST=2012-01-01+00:00:00&hmac={hmac}&{}=::7", encoded(name))
}

/// One request for each word that counts, and for each text of a client that a line can have.
fn ask_wrongly(server: &Server) {
    let query = host1();
    let (head, _) = query.rsplit_once('=').unwrap();
    for (path, options) in [
        (format!("{head}={}", "0".repeat(40)), &[][..]),
        (signed("user2", "secretkey2", "host1.h.lohray.com", &time(0)), &[]),
        (format!("user={}", encoded(FORGED[2])), &[]),
        (stray(FORGED[2]), &[]),
        (String::new(), &["--request", "PUT", "--data", "x=1"]),
    ] {
        server.curl(ATTACKER, &format!("/ip.php?{path}"), options);
    }
}

/// Requests that are right, or wrong by accident, or that pretend to be lines of the log.
fn ask_harmlessly(scene: &Scene, server: &Server) {
    let stale = signed("user1", "secretkey1", "host1.h.lohray.com", &time(-99));
    for query in [host1(), stale] {
        server.page(OTHER, &format!("/ip.php?{query}"), &[]);
    }
    scene.settle();
    scene.write("etc/credentials.json", "{");
    for forged in FORGED {
        // A fault names the user. A web server may log the path of what it does not find, and headers.
        let user = format!("user={}", encoded(forged.trim_end()));
        let query = signed("u", "k", "h", &time(0)).replace("user=u", &user);
        let host = format!("Host: {}", forged.replace(' ', ""));
        let headers = ["Referer", "User-Agent", "Cookie", "X-Forwarded-For", "Proxy"];
        let headers = headers.map(|name| format!("{name}: {forged}"));
        let options: Vec<&str> =
            headers.iter().flat_map(|header| ["--header", header.as_str()]).collect();
        server.page(OTHER, &format!("/ip.php?{query}"), &options);
        server.page(OTHER, &format!("/ip.php?{query}"), &["--header", &host]);
        server.page(OTHER, &format!("/{}", encoded(forged)), &options);
        server.page(OTHER, &format!("/ramcache/{}", encoded(forged)), &options);
        server.page(OTHER, &format!("/?{}", encoded(forged)), &options);
    }
    eventually("all is in the log", || {
        let log = scene.read(server.log());
        log.matches("ddns-cgi: 911").count() >= FORGED.len()
    });
}

#[test]
fn pieces_of_lines_pass_for_no_line() {
    if !can_run("fail2ban and fcgiwrap -f", &[FAIL2BAN, NGINX, FCGIWRAP]) {
        return;
    }
    let scene = Scene::new();
    let server = nginx::start_with_fcgiwrap(&scene, &["-f"], &web_servers::fcgiwrap());
    let forged = "ddns-cgi: badauth address=192.0.2.99 ";
    let hash = "0".repeat(40);
    // Longer and longer names, until a piece begins where the client wants it.
    for end in ["", "user=", "host=", "reason=", "reason=\"x\"", "user=\"x\" reason="] {
        for length in 65..80 {
            for plain in 0..6 {
                let before = "\u{e9}".repeat(length) + &"x".repeat(plain);
                let user = encoded(&format!("{before}{forged}{end}"));
                let query = format!("user={user}&id=h&timeST=2012-01-01+00:00:00&hash={hash}");
                server.page(ATTACKER, &format!("/ip.php?{query}"), &[]);
                let name = format!("{before}{}{end}", forged.replace("99", "98"));
                server.page(ATTACKER, &format!("/ip.php?{}", stray(&name)), &[]);
            }
        }
    }
    server.page(ATTACKER, "/ip.php", &[]);
    drop(server);
    let log = scene.read("run/error.log");
    for forged in [forged.to_owned(), forged.replace("99", "98")] {
        let pieces = log.matches(&format!("stderr: \"{forged}")).count();
        assert!(pieces >= 6, "{pieces} pieces begin with it");
    }
    let lines = matched(&scene, &log);
    let address = format!("address={ATTACKER} ");
    assert!(lines.iter().all(|line| line.contains(&address)), "{lines:#?}");
    assert!(!lines.is_empty(), "short lines are whole");
}

#[test]
fn the_filter_finds_the_address_in_the_journal() {
    if !can_run("fail2ban and the journal", &[FAIL2BAN]) {
        return;
    }
    let scene = Scene::new();
    let reply = scene.cgi(ATTACKER, "x").run();
    for identifier in [identifier(), "fcgiwrap", "lighttpd"] {
        let log = in_journal(identifier, &reply.log);
        assert_eq!(matched(&scene, &log).len(), 1, "{log}");
    }
    let other = in_journal("other", &reply.log);
    assert_eq!(matched(&scene, &other).len(), 0, "{other}");
}

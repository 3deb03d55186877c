//! What depends on the web server: other modules, bodies, overlong requests, files not served.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Stdio;

use serde_json::json;

use crate::apache::{APACHE, Apache, Kind, MODULES, load};
use crate::scene::{CREDENTIALS, Reply, Scene, can_run, eventually, host1, signed, tell, time};
use crate::server::Server;
use crate::transport::Way;
use crate::{caddy, lighttpd, nginx};

#[test]
fn the_path_stays_ours_with_mod_php_loaded() {
    let module = format!("{MODULES}/mod_mpm_prefork.so");
    if can_run("mod_php", &[APACHE, "/usr/bin/php", &module]) {
        let scene = Scene::new();
        // As Debian's libapache2-mod-php sets it up.
        let php = "TypesConfig /etc/mime.types\nInclude /etc/apache2/mods-available/php*\n";
        let lines = load(&["mime"]) + php;
        let apache = Apache::start_with(&scene, Kind::PreforkCgi, &lines, &[]);
        scene.write(
            "www/real.php",
            "<?php header('Content-Type: text/plain; charset=utf-8'); echo 6 * 7, \"\\n\";",
        );
        assert_eq!(apache.curl("127.0.0.1", "/real.php", &[]).line, "42", "PHP is at work");
        scene.write("www/ip.php", "<?php echo 'the old one';");
        assert_eq!(apache.answer("127.0.0.11", &host1()), "good 127.0.0.11");
        scene.settle();
    }
}

#[test]
fn the_path_stays_ours_beside_rules_for_php() {
    type Start = fn(&Scene) -> Server;
    let starts: [(Way, Start); 3] = [
        (Way::Nginx, |scene| nginx::start_with(scene, "location ~ \\.php$ { return 404; }\n")),
        (Way::Lighttpd, |scene| {
            let php = "(( \"socket\" => \"/nonexistent\", \"check-local\" => \"disable\" ))";
            lighttpd::start_with(scene, &format!("fastcgi.server += ( \".php\" => {php} )\n"))
        }),
        (Way::Caddy, |scene| caddy::start_with(scene, "php_fastcgi unix//nonexistent\n", "")),
    ];
    for (way, start) in starts.into_iter().filter(|(way, _)| way.can_run("rules for PHP")) {
        let scene = Scene::new();
        let server = start(&scene);
        scene.write("www/ip.php", "<?php echo 'the old one';");
        scene.write("www/other.php", "<?php echo 'another one';");
        let other = server.page("127.0.0.1", "/other.php", &[]).status;
        assert!([404, 502, 503].contains(&other), "{way:?}: the rule is at work: {other}");
        assert_eq!(server.answer("127.0.0.11", &host1()), "good 127.0.0.11", "{way:?}");
        assert_eq!(server.curl("127.0.0.11", "/ip.php/ip", &[]).line, "127.0.0.11", "{way:?}");
        scene.settle();
    }
}

#[test]
fn no_server_serves_the_files() {
    for way in Way::all_through_servers("files not served") {
        let scene = Scene::new();
        let server = way.start_server(&scene);
        scene.write("www/index.txt", "public");
        let status = |path: &str| server.page("127.0.0.1", path, &[]).status;
        assert_eq!(status("/index.txt"), 200, "{way:?}: the document root is served");
        for file in ["/ip.txt", "/hosts.dns", "/.ip.txt.lock", "/"] {
            assert_eq!(status(&format!("/ramcache{file}")), 403, "{way:?}: {file}");
        }
    }
    // Even if an operator aliased the configuration's folder into the site of Apache.
    if can_run("files not served", &[APACHE]) {
        for start in [|scene: &_| Apache::start(scene, Kind::EventCgid), Apache::start_with_fastcgi]
        {
            let scene = Scene::new();
            let apache = start(&scene);
            let page = apache.page("127.0.0.1", "/settings/credentials.json", &[]);
            assert_eq!(page.status, 403);
        }
    }
}

#[test]
fn overlong_requests_are_refused_quickly() {
    let scene = Scene::new();
    let files = scene.files();
    let long = format!("x={}", "x".repeat(100_000));
    assert_eq!(scene.answer("127.0.0.10", &long), "badrequest overlong query");
    scene.write("run/body", &"x".repeat(1 << 20));
    let mut post = scene
        .cgi("127.0.0.10", "")
        .env("REQUEST_METHOD", "POST")
        .env("CONTENT_LENGTH", "1048576")
        .env("CONTENT_TYPE", "application/x-www-form-urlencoded");
    post.0.stdin(std::fs::File::open(scene.path("run/body")).unwrap());
    assert_eq!(post.run().line, "badrequest overlong body");
    assert_eq!(scene.files(), files);
    for way in Way::all_through_servers("overlong requests") {
        let scene = Scene::new();
        let server = way.start_server(&scene);
        let get = server.page("127.0.0.10", &format!("/ip.php?{long}"), &[]);
        // Caddy passes it on twice, which is more than the variables of a request may be.
        let expected = match way {
            Way::Caddy => 502,
            _ if way.is_lighttpd() => 431,
            _ => 414,
        };
        assert_eq!(get.status, expected, "{way:?}: {get:?}");
        for length in [8193, 65536] {
            scene.write("run/body", &"x".repeat(length));
            let body = format!("@{}", scene.path("run/body").display());
            for path in ["/ip.php", "/nic/update", "/v3/update", "/ip.php/ip"] {
                // A client that sends on while the connection is closed could miss the reply.
                let options = ["--header", "Expect: 100-continue", "--data-binary", &body];
                let post = server.page("127.0.0.10", path, &options);
                assert_eq!(post.status, 413, "{way:?}: {length} bytes to {path}: {post:?}");
            }
        }
        let limit = format!("user={}", "x".repeat(8192 - "user=".len()));
        let line = server.curl("127.0.0.10", "/ip.php", &["--data", &limit]).line;
        assert_eq!(line, "badrequest overlong user", "{way:?}");
        assert_eq!(scene.files(), files, "{way:?}");
    }
}

#[test]
fn no_client_that_breaks_off_its_request_ends_the_server() {
    for way in Way::all_through_servers("requests that are broken off") {
        let scene = Scene::new();
        let server = way.start_server(&scene);
        let address = server.url("").trim_start_matches("http://").to_owned();
        for _ in 0..60 {
            let mut client = TcpStream::connect(&address).unwrap();
            let head = "POST /ip.php HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nuser=";
            client.write_all(head.as_bytes()).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let _ = client.read(&mut [0; 64]);
        }
        let reply = server.curl("127.0.0.10", "/ip.php/ip", &[]);
        assert_eq!(reply.line, "127.0.0.10", "{way:?}");
    }
}

#[test]
fn the_reply_arrives_whole_whatever_becomes_of_the_body() {
    for way in Way::all_through_servers("bodies") {
        let scene = Scene::new();
        let server = way.start_server(&scene);
        let json = ["--header", "Content-Type: application/json", "--data", "{}"];
        let chunked = ["--header", "Transfer-Encoding: chunked", "--data", "user=x"];
        // Some servers take the chunks together, and tell the length. Apache's file for FastCGI
        // refuses them.
        let expected_of_chunks = match way {
            Way::ApachePreforkCgi | Way::ApacheEventCgid => "badrequest missing user",
            Way::ApacheFastCgi | Way::ApacheFcgid => "",
            Way::Caddy => "badrequest malformed body",
            _ => "badrequest missing id",
        };
        let large = format!("user={}", "x".repeat(8000));
        let line = |options: &[&str]| server.curl("127.0.0.10", "/ip.php", options).line;
        for _ in 0..20 {
            // curl itself fails if a reply is cut short.
            assert_eq!(line(&json), "badrequest malformed body", "{way:?}");
            assert_eq!(line(&chunked), expected_of_chunks, "{way:?}");
            assert_eq!(line(&["--request", "PUT", "--data", "x=1"]), "badmethod", "{way:?}");
            let get = line(&["--request", "GET", "--data", "x=1"]);
            // lighttpd refuses a GET with a body.
            let is_lighttpd = way.is_lighttpd();
            let expected = if is_lighttpd { "" } else { "badrequest missing user" };
            assert_eq!(get, expected, "{way:?}");
            assert_eq!(line(&["--data", &large]), "badrequest overlong user", "{way:?}");
        }
        scene.write("etc/config.json", "{");
        for _ in 0..20 {
            assert_eq!(line(&["--data", &large]), "911", "{way:?}");
        }
    }
}

#[test]
fn a_request_is_one_line_of_the_log_however_many_hosts_it_names() {
    for way in Way::all_through_servers("long lines in the log") {
        let scene = Scene::new();
        let server = way.start_server(&scene);
        let label = "a".repeat(63);
        let host = |n: u8| format!("{label}.{label}.{label}.{}{n:02}", "b".repeat(59));
        let body = format!("id={}", (0..32).map(host).collect::<Vec<_>>().join(","));
        let query = format!(
            "/ip.php?user={}&timeST={}&hmac={}",
            "%c3%a9".repeat(127),
            time(0).replace(' ', "+"),
            "0".repeat(64)
        );
        assert_eq!(server.curl("127.0.0.10", &query, &["--data", &body]).line, "badauth");
        eventually("it is in the log", || scene.read(server.log()).contains("ddns-cgi: "));
        let log = scene.read(server.log());
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("bbb")).collect();
        let [line] = *lines else { panic!("{way:?}: {log}") };
        assert!(line.contains("ddns-cgi: badauth address=127.0.0.10 "), "{way:?}: {line}");
        // nginx cuts its lines at 2048 bytes.
        let is_cut = way == Way::Nginx && line.len() == 2047;
        assert!(line.contains("reason=\"unknown user\"") || is_cut, "{way:?}: {line}");
    }
}

#[test]
fn no_header_of_a_client_passes_for_a_variable_of_the_server() {
    const HEADERS: [&str; 12] = [
        "Remote-Addr: 192.0.2.9",
        "Remote_Addr: 192.0.2.9",
        "X-Forwarded-For: 192.0.2.9",
        "X-Real-IP: 192.0.2.9",
        "Forwarded: for=192.0.2.9",
        "Proxy: http://192.0.2.9/",
        "Path-Info: /nic/update",
        "Script-Name: /nic/update",
        "Request-Method: PUT",
        "Query-String: x=y",
        "Https: on",
        "Ddns-Config: /nonexistent",
    ];
    for way in Way::all_through_servers("headers of a client") {
        let scene = Scene::new();
        let server = way.start_server(&scene);
        for header in HEADERS {
            let address = server.curl("127.0.0.10", "/ip.php/ip", &["--header", header]).line;
            assert_eq!(address, "127.0.0.10", "{way:?}: {header}");
            let query = format!("/ip.php?{}", signed("user1", "secretkey1", "x", &time(0)));
            let answer = server.curl("127.0.0.10", &query, &["--header", header]).line;
            assert_eq!(answer, "nohost", "{way:?}: {header}");
        }
    }
}

#[test]
fn a_body_without_end_is_not_waited_for() {
    let scene = Scene::new();
    let mut post = scene
        .cgi("127.0.0.10", &host1())
        .env("REQUEST_METHOD", "POST")
        .env("CONTENT_LENGTH", "0")
        .by(&["timeout", "20"]);
    // The writing end stays open while the child value lives.
    post.0.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = post.0.spawn().unwrap();
    let stdin = child.stdin.take();
    let reply = Reply::from_cgi(&child.wait_with_output().unwrap());
    drop(stdin);
    assert_eq!(reply.line, "good 127.0.0.10");
    scene.settle();
}

#[test]
fn an_unknown_user_and_a_wrong_hash_get_the_same_bytes_in_a_similar_time() {
    let scene = Scene::new();
    scene.configure(&json!({"restart": []}));
    compare_refusals(&scene, "2 users");
    // So many that the next update makes an index.
    let users: Vec<String> = (1000..5000)
        .map(|n| format!(",\n    \"user{n}\": {{\"id\": [], \"key\": \"k\"}}"))
        .collect();
    scene.write_long_ago(
        "etc/credentials.json",
        &CREDENTIALS.replace("\n}", &format!("{}\n}}", users.concat())),
    );
    assert_eq!(scene.answer("127.0.0.10", &host1()), "good 127.0.0.10");
    assert!(scene.path("www/ramcache/.ip.txt.users").exists(), "there is no index");
    compare_refusals(&scene, "4,002 users");
}

fn compare_refusals(scene: &Scene, users: &str) {
    let time = time(0);
    let wrong = "0".repeat(40);
    let query = |user| {
        format!("user={user}&id=host1.h.lohray.com&timeST={}&hash={wrong}", time.replace(' ', "+"))
    };
    let others = signed("user1", "secretkey1", "host3.h.lohray.com", &time);
    let queries = [query("user9"), query("user1"), others];
    let mut durations = [const { Vec::new() }; 3];
    let mut replies = [const { Vec::new() }; 3];
    for _ in 0..500 {
        for ((query, durations), replies) in queries.iter().zip(&mut durations).zip(&mut replies) {
            let mut cgi = scene.cgi("127.0.0.10", query);
            let started = std::time::Instant::now();
            let output = cgi.0.output().unwrap();
            durations.push(started.elapsed());
            replies.push(output.stdout);
        }
    }
    let [unknown, wrong, others] = replies;
    assert!(unknown == wrong && unknown.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(others.iter().all(|reply| reply.ends_with(b"\r\n\r\nnohost\n")));
    // Medians of alternating runs; a factor leaves room for a busy machine.
    let [unknown, wrong, others] = durations.map(|mut all| {
        all.sort();
        all[all.len() / 2].as_secs_f64()
    });
    tell(&format!(
        "measured: time of a refusal, {users}, against that of an unknown user: wrong hash {:.3}, \
         right hash and somebody else's host {:.3}",
        wrong / unknown,
        others / unknown
    ));
    for duration in [wrong, others] {
        assert!((0.5..2.0).contains(&(duration / unknown)), "{duration} s and {unknown} s");
    }
}

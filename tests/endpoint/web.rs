//! What depends on the web server: other modules, bodies, overlong requests, files not served.

use std::process::Stdio;

use serde_json::json;

use crate::apache::{APACHE, Apache, Kind, MODULES, load};
use crate::scene::{CREDENTIALS, Reply, Scene, can_run, host1, signed, tell, time};

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
fn apache_never_serves_the_files() {
    if !can_run("files not served", &[APACHE]) {
        return;
    }
    let scene = Scene::new();
    let apache = Apache::start(&scene, Kind::EventCgid);
    scene.write("www/index.txt", "public");
    assert_eq!(
        apache.curl("127.0.0.1", "/index.txt", &[]).status,
        200,
        "the document root is served"
    );
    for file in ["ip.txt", "hosts.dns", ".ip.txt.lock", ""] {
        assert_eq!(
            apache.curl("127.0.0.1", &format!("/ramcache/{file}"), &[]).status,
            403,
            "{file}"
        );
    }
    // Even if an operator aliased the configuration's folder into the site.
    assert_eq!(apache.curl("127.0.0.1", "/settings/credentials.json", &[]).status, 403);
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
    if can_run("overlong requests through Apache", &[APACHE]) {
        let apache = Apache::start(&scene, Kind::EventCgid);
        assert_eq!(apache.curl("127.0.0.10", &format!("/ip.php?{long}"), &[]).status, 414);
        let body = format!("@{}", scene.path("run/body").display());
        assert_eq!(apache.curl("127.0.0.10", "/ip.php", &["--data-binary", &body]).status, 413);
    }
    assert_eq!(scene.files(), files);
}

#[test]
fn the_reply_arrives_whole_whatever_becomes_of_the_body() {
    for kind in Kind::all("bodies", &[]) {
        let scene = Scene::new();
        let apache = Apache::start(&scene, kind);
        let json = ["--header", "Content-Type: application/json", "--data", "{}"];
        let chunked = ["--header", "Transfer-Encoding: chunked", "--data", "user=x"];
        let large = format!("user={}", "x".repeat(8000));
        for _ in 0..20 {
            // curl itself fails if a reply is cut short.
            let line = |options: &[&str]| apache.curl("127.0.0.10", "/ip.php", options).line;
            assert_eq!(line(&json), "badrequest malformed body");
            assert_eq!(line(&chunked), "badrequest missing user");
            assert_eq!(line(&["--request", "PUT", "--data", "x=1"]), "badmethod");
            assert_eq!(line(&["--request", "GET", "--data", "x=1"]), "badrequest missing user");
            assert_eq!(line(&["--data", &large]), "badrequest overlong user");
        }
        scene.write("etc/config.json", "{");
        for _ in 0..20 {
            assert_eq!(apache.curl("127.0.0.10", "/ip.php", &["--data", &large]).line, "911");
        }
    }
}

#[test]
fn a_request_is_one_line_of_apaches_log_however_many_hosts_it_names() {
    for kind in Kind::all("long lines in the log", &[]) {
        let scene = Scene::new();
        let apache = Apache::start(&scene, kind);
        let label = "a".repeat(63);
        let host = |n: u8| format!("{label}.{label}.{label}.{}{n:02}", "b".repeat(59));
        let body = format!("id={}", (0..32).map(host).collect::<Vec<_>>().join(","));
        let query = format!(
            "/ip.php?user={}&timeST={}&hmac={}",
            "%c3%a9".repeat(127),
            time(0).replace(' ', "+"),
            "0".repeat(64)
        );
        assert_eq!(apache.curl("127.0.0.10", &query, &["--data", &body]).line, "badauth");
        let log = scene.read("run/error.log");
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("bbb")).collect();
        let is_whole = |line: &str| {
            line.contains("badauth address=127.0.0.10") && line.ends_with("\"unknown user\"")
        };
        assert!(matches!(*lines, [line] if is_whole(line)), "{kind:?}: {lines:?}");
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

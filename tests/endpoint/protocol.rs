//! `PROTOCOL.md`: every command, request and program on the page, as it is printed there.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};

use crate::apache::{APACHE, Apache, Kind};
use crate::scene::{STATE, Scene, can_run};

const PAGE: &str = include_str!("../../PROTOCOL.md");

/// The blocks of the page in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    let parts = PAGE.split(opening.as_str()).skip(1);
    parts.map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn openssl_makes_the_signatures_of_the_page() {
    if !can_run("the commands of PROTOCOL.md", &["/usr/bin/openssl"]) {
        return;
    }
    let blocks = blocks("console");
    assert_eq!(blocks.len(), 7);
    for block in blocks {
        let (command, expected) = block.strip_prefix("$ ").unwrap().split_once('\n').unwrap();
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{command}");
        let (signature, _) = expected.split_once(' ').unwrap();
        assert!(PAGE.contains(&format!("={signature}\n")), "no request with it: {command}");
    }
}

/// The requests of the page with their answers.
fn requests() -> Vec<(&'static str, &'static str)> {
    let requests = blocks("text").into_iter().filter(|block| block.starts_with("user="));
    requests.map(|block| block.split_once('\n').unwrap()).collect()
}

/// The article's files with the IPv6 addresses of the page, and a window that reaches back to its day.
fn scene_of_2012() -> Scene {
    let scene = Scene::new();
    scene.configure(&json!({"window": 10_000_000_000_u64}));
    let mut state: Value = serde_json::from_str(STATE).unwrap();
    for (host, address) in [
        ("host1.h.lohray.com", "2001:db8:1:2201::7"),
        ("host2.h.lohray.com", "2001:db8:1:22ff:211:32ff:fe12:3456"),
    ] {
        assert!(PAGE.contains(&format!(" {address}")));
        state[host]["ip6"] = json!(address);
    }
    scene.write("www/ramcache/ip.txt", &state.to_string());
    scene
}

fn answer(scene: &Scene, address: &str, query: &str) -> String {
    scene.cgi(address, query).page().body
}

#[test]
fn the_requests_of_the_page_get_its_answers() {
    let requests = requests();
    assert_eq!(requests.len(), 7);
    for (query, expected) in requests {
        assert_eq!(answer(&scene_of_2012(), "198.51.100.7", query), expected, "{query}");
    }
}

#[test]
fn of_two_requests_with_one_stamp_the_second_is_a_replay_unless_it_says_what_is_stored() {
    let [_, _, (one, _), (both, _), ..] = *requests() else { panic!("{:?}", requests()) };
    assert!(one.contains("&ip=") && !one.contains("&ip6=") && both.contains("&ip6="));
    for (queries, expected) in [
        ([one, both], ["good 192.0.2.7\n", "replay\n"]),
        ([both, one], ["good 192.0.2.7,2001:db8::7\n", "nochg 192.0.2.7\n"]),
        ([one, one], ["good 192.0.2.7\n", "nochg 192.0.2.7\n"]),
    ] {
        let scene = scene_of_2012();
        assert_eq!(answer(&scene, "198.51.100.7", queries[0]), expected[0]);
        let files = scene.files();
        // From wherever it comes.
        assert_eq!(answer(&scene, "203.0.113.9", queries[1]), expected[1]);
        assert_eq!(scene.files(), files);
    }
}

#[test]
fn the_dyndns2_request_of_the_page_gets_its_answer() {
    if !can_run("dyndns2 of PROTOCOL.md", &[APACHE]) {
        return;
    }
    let blocks = blocks("text");
    let (head, expected) =
        blocks.iter().zip(&blocks[1..]).find(|(block, _)| block.starts_with("GET ")).unwrap();
    let scene = Scene::new();
    scene.configure(&json!({"dyndns2": "any"}));
    let apache = Apache::start(&scene, Kind::PreforkCgi);
    let mut connection =
        TcpStream::connect(apache.url("").strip_prefix("http://").unwrap()).unwrap();
    let head = format!("{head}Connection: close\n\n").replace('\n', "\r\n");
    connection.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with(&format!("\r\n\r\n{expected}")), "{answer}");
}

#[test]
fn the_clients_of_the_page_work() {
    let needs = [APACHE, "/usr/bin/python3", "/usr/bin/openssl", "/usr/bin/curl"];
    if !can_run("the clients of PROTOCOL.md", &needs) {
        return;
    }
    let [python] = *blocks("python") else { panic!("one program in Python") };
    let [curl_2, curl_1] = *blocks("sh") else { panic!("two programs for the shell") };
    for (interpreter, program, address) in [
        ("/usr/bin/python3", python, "192.0.2.7"),
        ("sh", curl_2, "192.0.2.7"),
        ("sh", curl_1, "127.0.0.1"),
    ] {
        let scene = Scene::new();
        let apache = Apache::start(&scene, Kind::EventCgid);
        let program = program.replace("https://ns.example.net/ip.php", &apache.url("/ip.php"));
        let run = |program: &str| Command::new(interpreter).args(["-c", program]).output().unwrap();
        let output = run(&program);
        let answer = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && answer.starts_with(&format!("good {address}")),
            "{answer}"
        );
        let line = format!("{address} host1.h.lohray.com\n");
        assert!(scene.hosts().starts_with(&line), "{}", scene.hosts());
        let files = scene.files();
        let output = run(&program.replace("secretkey1", "secretkey9"));
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!output.status.success() && text.contains("badauth"), "{text}");
        assert_eq!(scene.files(), files);
    }
}

//! `PROTOCOL.md`: every command, request and program on the page, as it is printed there.

use std::process::Command;

use serde_json::json;

use crate::apache::{APACHE, Apache, Kind};
use crate::scene::{Scene, can_run};

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
    assert_eq!(blocks.len(), 6);
    for block in blocks {
        let (command, expected) = block.strip_prefix("$ ").unwrap().split_once('\n').unwrap();
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{command}");
        let (signature, _) = expected.split_once(' ').unwrap();
        assert!(PAGE.contains(&format!("={signature}\n")), "no request with it: {command}");
    }
}

#[test]
fn the_requests_of_the_page_get_its_answers() {
    let requests: Vec<_> =
        blocks("text").into_iter().filter(|block| block.starts_with("user=")).collect();
    assert_eq!(requests.len(), 6);
    for request in requests {
        let (query, expected) = request.split_once('\n').unwrap();
        let scene = Scene::new();
        scene.configure(&json!({"window": 10_000_000_000_u64}));
        let output = scene.cgi("198.51.100.7", query).0.output().unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        let (_, lines) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(lines, expected, "{query}");
    }
}

#[test]
fn the_clients_of_the_page_work() {
    let needs = [APACHE, "/usr/bin/python3", "/usr/bin/openssl", "/usr/bin/curl"];
    if !can_run("the clients of PROTOCOL.md", &needs) {
        return;
    }
    for (interpreter, blocks) in [("/usr/bin/python3", blocks("python")), ("sh", blocks("sh"))] {
        let [program] = *blocks else { panic!("{interpreter}: {blocks:?}") };
        let scene = Scene::new();
        let apache = Apache::start(&scene, Kind::EventCgid);
        let program = program.replace("https://ns.example.net/ip.php", &apache.url("/ip.php"));
        let run = |program: &str| Command::new(interpreter).args(["-c", program]).output().unwrap();
        let output = run(&program);
        let answer = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && answer.starts_with("good 192.0.2.7"), "{answer}");
        assert!(scene.hosts().starts_with("192.0.2.7 host1.h.lohray.com\n"), "{}", scene.hosts());
        let files = scene.files();
        let output = run(&program.replace("secretkey1", "secretkey9"));
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!output.status.success() && text.contains("badauth"), "{text}");
        assert_eq!(scene.files(), files);
    }
}

//! States that PHP wrote, and states that PHP reads.

use std::process::Command;

use crate::scene::{Scene, can_run, host1};

const PHP: &str = "/usr/bin/php";

fn php(code: &str, file: &std::path::Path) -> String {
    let output = Command::new(PHP).args(["-r", code, "--"]).arg(file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A map with everything that JSON has, as PHP writes it.
const WRITE: &str = r#"file_put_contents($argv[1], json_encode(array(
    "host1.h.lohray.com" => array("ip" => "192.0.2.1", "update" => "2012-04-20 20:45:59",
        "note" => "caf\u{e9} \u{1f600} </a> \"\\ \t\x7f", "list" => array(), "deep" => array(1, array("z" => null)),
        "numbers" => array(1.0, 0.1, 1e25, -7, 12345678901234567), "yes" => true),
    "host2.h.lohray.com" => array("update" => "2012-04-20 20:45:59", "ip" => "192.0.2.2"),
    "caf\u{e9}.example" => array("ip" => "192.0.2.3")), JSON_PRETTY_PRINT));"#;

#[test]
fn a_state_of_php_round_trips_to_the_byte() {
    if !can_run("a state of PHP", &[PHP]) {
        return;
    }
    let scene = Scene::new();
    let state = scene.path("www/ramcache/ip.txt");
    php(WRITE, &state);
    let before = scene.state();

    assert_eq!(scene.answer("192.0.2.1", &host1()), "nochg 192.0.2.1");
    let stamp = scene.state()[before.find("2012-04-20").unwrap()..][..19].to_owned();
    assert_eq!(scene.state(), before.replacen("2012-04-20 20:45:59", &stamp, 1), "stamp in place");

    php(WRITE, &state);
    let query = host1();
    assert_eq!(scene.answer("192.0.2.9", &query), "good 192.0.2.9");
    scene.settle();
    let after = scene.state();
    let stamp = after[before.find("2012-04-20").unwrap()..][..19].to_owned();
    let expected =
        before.replacen("2012-04-20 20:45:59", &stamp, 1).replacen("192.0.2.1", "192.0.2.9", 1);
    assert_eq!(after, expected, "whole file rewritten");
    assert_eq!(scene.hosts(), "192.0.2.9 host1.h.lohray.com\n192.0.2.2 host2.h.lohray.com\n");
}

#[test]
fn php_would_write_our_state_as_we_do() {
    if !can_run("PHP reads our state", &[PHP]) {
        return;
    }
    let scene = Scene::new();
    for address in ["192.0.2.1", "2001:db8::1"] {
        let line = scene.answer(
            address,
            &crate::scene::signed(
                "user1",
                "secretkey1",
                "host2.h.lohray.com",
                &crate::scene::time(i64::from(address.contains(':'))),
            ),
        );
        assert_eq!(line, format!("good {address}"));
        scene.settle();
    }
    let again = php(
        "echo json_encode(json_decode(file_get_contents($argv[1]), true), JSON_PRETTY_PRINT);",
        &scene.path("www/ramcache/ip.txt"),
    );
    assert_eq!(scene.state(), again);
}

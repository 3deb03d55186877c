//! The files in `version-0.1`, which the programs of version 0.1 have written: configuration, users,
//! state and hosts file. They serve as they are. `boot.rs` has the whole way from 0.1.

use std::fs;

use serde_json::{Value, json};

use crate::scene::{Scene, signed, signed_2, time};

const CONFIG: &str = include_str!("version-0.1/config.json");
const CREDENTIALS: &str = include_str!("version-0.1/credentials.json");
const STATE: &str = include_str!("version-0.1/ip.txt");
const HOSTS: &str = include_str!("version-0.1/hosts.dns");

fn scene() -> Scene {
    let scene = Scene::new();
    let keys = CONFIG.replace("FOLDER/", &scene.path("").display().to_string());
    let mut config: Value = serde_json::from_str(&keys).unwrap();
    config["restart"] = json!(["sh", "-c", scene.noting("")]);
    for (name, text) in [
        ("config.json", config.to_string().as_str()),
        ("credentials.json", CREDENTIALS),
        ("ip.txt", STATE),
        ("hosts.dns", HOSTS),
    ] {
        scene.write(name, text);
        scene.hand_over(name);
    }
    fs::copy(scene.path("config.json"), scene.path("etc/config.json")).unwrap();
    scene.hand_over("run");
    scene
}

fn key(user: &str) -> String {
    let credentials: Value = serde_json::from_str(CREDENTIALS).unwrap();
    credentials[user]["key"].as_str().unwrap().to_owned()
}

/// The state without a host's record.
fn without<'t>(state: &'t str, host: &str) -> Vec<&'t str> {
    let start = format!("    \"{host}\": {{");
    let mut is_inside = false;
    let outside = |line: &&str| {
        is_inside |= *line == start;
        let is_outside = !is_inside;
        is_inside &= !line.starts_with("    }");
        is_outside
    };
    state.lines().filter(outside).collect()
}

#[test]
fn files_of_version_0_1_serve_as_they_are() {
    let scene = scene();
    let output = scene.ddnsctl(&["user", "list", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let users: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&String> = users.as_object().unwrap().keys().collect();
    assert_eq!(names, ["alice", "bob", "carol"]);
    let output = scene.ddnsctl(&["list", "--json"]);
    let hosts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(hosts.as_array().map(Vec::len), Some(4), "{output:?}");

    // A redundant update, a change, and a user whose signature must be of protocol 2.
    let query = signed("alice", &key("alice"), "home.example.net", &time(0));
    assert_eq!(scene.answer("192.0.2.7", &query), "nochg 192.0.2.7");
    let query = signed("alice", &key("alice"), "home.example.net", &time(2));
    assert_eq!(scene.answer("192.0.2.8", &query), "good 192.0.2.8");
    let state = fs::read_to_string(scene.path("ip.txt")).unwrap();
    assert_eq!(without(&state, "home.example.net"), without(STATE, "home.example.net"));
    let query = signed("bob", &key("bob"), "box.example.net", &time(0));
    assert_eq!(scene.answer("198.51.100.10", &query), "badauth");
    let query = signed_2("bob", &key("bob"), "box.example.net", &time(0), ["198.51.100.10", ""]);
    assert_eq!(scene.answer("198.51.100.10", &query), "good 198.51.100.10");
    scene.settle();
    let hosts = HOSTS.replace("192.0.2.7", "192.0.2.8").replace("198.51.100.9", "198.51.100.10");
    assert_eq!(fs::read_to_string(scene.path("hosts.dns")).unwrap(), hosts);
    assert_eq!(fs::read_to_string(scene.path("credentials.json")).unwrap(), CREDENTIALS);
}

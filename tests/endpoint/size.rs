//! With ten times as many hosts, everything costs about ten times as much. A step that looks at all
//! hosts for each of them would cost a hundred times as much.
//!
//! Instructions are counted, not times, so a busy machine changes nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::cost::{ADDRESSES, VALGRIND, host, instructions_in};
use crate::faults::files_of;
use crate::scene::{Scene, can_run, is_root, signed, tell, time};

/// How many hosts there are.
const SIZES: [usize; 2] = [500, 5000];

/// The most that a command may cost with the greater number, as a multiple. Sorting takes a little
/// more than ten times as much.
const MOST: u64 = 13;

/// Who has the hosts.
#[derive(Clone, Copy, Debug)]
enum Layout {
    OneUser,
    OneUserEach,
    /// One user, and each name in two spellings.
    Twins,
}

/// The files of so many hosts, and the first user's name.
fn scene_of(layout: Layout, hosts: usize) -> Scene {
    let scene = Scene::on_ram_disk();
    let mut names: Vec<String> = (0..hosts).map(host).collect();
    if let Layout::Twins = layout {
        names.truncate(hosts / 2);
        names.extend(names.clone().iter().map(|name| name.to_uppercase()));
    }
    let users: BTreeMap<String, Value> = match layout {
        Layout::OneUser | Layout::Twins => {
            [("user0".to_owned(), json!({"id": names, "key": "secretkey"}))].into()
        }
        Layout::OneUserEach => (0..)
            .zip(&names)
            .map(|(n, name)| (format!("user{n}"), json!({"id": [name], "key": "secretkey"})))
            .collect(),
    };
    let (state, hosts_file) = files_of(&names);
    scene.write_long_ago("etc/credentials.json", &json!(users).to_string());
    scene.configure(&json!({"restart": []}));
    scene.reset(&state, &hosts_file);
    scene
}

/// The program with its arguments, under valgrind, and as the owner of the state if need be. A command
/// that has to start itself again as that owner would start valgrind.
fn counted(scene: &Scene, command: &Command, is_owner: bool) -> u64 {
    let counts = scene.path("run/callgrind");
    let _ = fs::remove_file(&counts);
    let owner = ["/usr/bin/setpriv", "--reuid=33", "--regid=33", "--clear-groups"];
    let out = format!("--callgrind-out-file={}", counts.display());
    let valgrind = [VALGRIND, "--tool=callgrind", "--quiet", &out];
    let owner = if is_owner && is_root() { &owner[..] } else { &[] };
    let words: Vec<&str> = owner.iter().chain(&valgrind).copied().collect();
    let output = Command::new(words[0])
        .args(&words[1..])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || command.get_args().any(|word| word == "check"), "{log}");
    instructions_in(&counts)
}

/// What each command costs.
fn commands(layout: Layout, hosts: usize) -> Vec<(String, u64)> {
    let scene = scene_of(layout, hosts);
    let mut costs = Vec::new();
    let mut run = |is_owner, words: &[&str]| {
        let count = counted(&scene, &scene.ddnsctl_command(words), is_owner);
        costs.push((words[..words.len().min(2)].join(" "), count));
    };
    run(true, &["apply"]);
    run(false, &["list"]);
    run(false, &["host", "add", "user0", "new.example"]);
    if let Layout::OneUserEach = layout {
        run(false, &["list", "--json"]);
        run(false, &["user", "add", "ann", "--host", "ann.example"]);
        run(false, &["user", "list"]);
        run(false, &["check"]);
        run(true, &["forget", &host(5)]);
        File::options()
            .append(true)
            .open(scene.path("www/ramcache/ip.txt"))
            .and_then(|mut file| file.write_all(b"]"))
            .unwrap();
        run(true, &["rebuild"]);
    }
    let [state, hosts, credentials] =
        ["www/ramcache/ip.txt", "www/ramcache/hosts.dns", "etc/credentials.json"]
            .map(|name| scene.path(name).display().to_string());
    let paths = ["--state", &state, "--hosts", &hosts, "--credentials", &credentials];
    let new = ["state", "hosts", "credentials"].map(|name| scene.path("run").join(name));
    scene.configure(&json!({"state": new[0], "hosts": new[1], "credentials": new[2]}));
    run(false, &[&["import"][..], &paths].concat());
    costs
}

/// What requests cost that read all of a file.
fn requests(layout: Layout, hosts: usize) -> Vec<(String, u64)> {
    let scene = scene_of(layout, hosts);
    let (mut costs, mut second) = (Vec::new(), -14);
    let mut request = |what: &str, address: &str| {
        second += 1;
        let query = signed("user0", "secretkey", &host(0), &time(second));
        let command = scene.cgi(address, &query);
        let counts = scene.path("run/callgrind");
        let out = format!("--callgrind-out-file={}", counts.display());
        let reply = command.by(&[VALGRIND, "--tool=callgrind", "--quiet", &out]).run();
        assert!(reply.line.ends_with(address), "{reply:?}");
        scene.settle();
        costs.push((what.to_owned(), instructions_in(&counts)));
    };
    let touch = |name: &str, time: SystemTime| {
        let file = File::options().append(true).open(scene.path(name)).unwrap();
        file.set_modified(time).unwrap();
    };
    let state = "www/ramcache/ip.txt";
    request("first request", ADDRESSES[0]);
    touch(state, SystemTime::now());
    request("changed, after an edit of the state", ADDRESSES[1]);
    touch("etc/credentials.json", SystemTime::UNIX_EPOCH);
    request("redundant, after an edit of the credentials", ADDRESSES[1]);
    scene.configure(&json!({"restart": [], "expire_after": 999_999_999}));
    request("redundant, with expire_after", ADDRESSES[1]);
    costs
}

#[test]
fn ten_times_as_many_hosts_cost_about_ten_times_as_much() {
    if !can_run("the cost of many hosts", &[VALGRIND]) {
        return;
    }
    let mut over = Vec::new();
    for layout in [Layout::OneUserEach, Layout::OneUser, Layout::Twins] {
        for measure in [commands, requests] {
            let [few, many] = SIZES.map(|hosts| measure(layout, hosts));
            for ((what, few), (_, many)) in few.into_iter().zip(many) {
                let line = format!("{layout:?}: {what}: {few}, then {many} instructions");
                tell(&format!("measured: size: {line}"));
                over.extend((many > MOST * few).then_some(line));
            }
        }
    }
    assert!(over.is_empty(), "more than {MOST} times as much: {over:#?}");
}

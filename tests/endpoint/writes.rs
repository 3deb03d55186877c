//! The order of writes, as strace sees it: what the promises about power failures rest on.

use std::fs;
use std::os::unix::fs::symlink;

use crate::faults::{Deed, STRACE, run, scene};
use crate::scene::{Scene, can_run};

/// The steps that replace the file `name` in the folder of the state.
fn replaced(name: &str) -> Vec<String> {
    let temporary = format!(".{name}.tmp");
    vec![
        format!("creates {temporary}"),
        format!("fchmod {temporary}"),
        format!("write {temporary}"),
        format!("fsync {temporary}"),
        format!("rename {temporary} {name}"),
        "fsync .".to_owned(),
    ]
}

/// What a deed does, step by step: locks, writes, and the start of another process. Files in the
/// folder of the state stand by their names, the folder as a dot, others with their paths.
fn steps(scene: &Scene, deed: Deed) -> Vec<String> {
    let outcome = run(scene, deed, &["-y"]);
    let word = outcome.line.split(' ').next().unwrap();
    assert!(["good", "nochg", ""].contains(&word), "{}", outcome.line);
    scene.settle();
    let folder = scene.path("www/ramcache").display().to_string();
    // Before it has the lock, it only reads.
    let steps = outcome.trace.lines().filter_map(|line| step(line, &folder));
    steps.skip_while(|step| !step.starts_with("locks")).collect()
}

/// One line of strace's as a step, if it is one.
fn step(line: &str, folder: &str) -> Option<String> {
    let (call, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with('-') {
        return None;
    }
    let files: Vec<String> = arguments
        .split(['<', '>', '"'])
        .filter(|word| word.starts_with('/'))
        .map(|path| match path.strip_prefix(folder) {
            Some("") => ".".to_owned(),
            Some(name) => name.trim_start_matches('/').to_owned(),
            None => path.to_owned(),
        })
        .collect();
    let is_lock = arguments.ends_with(".lock>)");
    let step = match call {
        "flock" => format!("locks {}", files.join(" ")),
        "close" if is_lock => format!("unlocks {}", files.join(" ")),
        "openat" if arguments.contains("O_EXCL") => format!("creates {}", files.last()?),
        "pwrite64" => format!("pwrite {} {result}", files.join(" ")),
        "write" | "fsync" | "fchmod" | "rename" | "unlink" if !files.is_empty() => {
            format!("{call} {}", files.join(" "))
        }
        "clone" | "clone3" | "vfork" => "starts a process".to_owned(),
        _ => return None,
    };
    Some(step)
}

fn list(steps: &[&str]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

#[test]
fn a_changed_update_writes_the_mark_then_the_state_then_the_hosts_file_each_durably() {
    if !can_run("the order of writes of a change", &[STRACE]) {
        return;
    }
    let expected = [
        list(&["locks .ip.txt.lock", "write .hosts.dns.pending", "fsync ."]),
        replaced("ip.txt"),
        replaced("hosts.dns"),
        list(&["pwrite .ip.txt.lock 96", "unlocks .ip.txt.lock", "starts a process"]),
    ];
    assert_eq!(steps(&scene(), Deed::Changed), expected.concat());
}

#[test]
fn a_redundant_update_is_one_write_of_19_bytes() {
    if can_run("the writes of a redundant update", &[STRACE]) {
        let expected = ["locks .ip.txt.lock", "pwrite ip.txt 19", "unlocks .ip.txt.lock"];
        assert_eq!(steps(&scene(), Deed::RedundantSealed), expected);
    }
}

#[test]
fn the_restarter_writes_the_hosts_file_restarts_and_settles_the_mark_under_both_locks() {
    if !can_run("the order of writes of the restarter", &[STRACE]) {
        return;
    }
    let expected = [
        list(&["locks .hosts.dns.restart.lock", "locks .ip.txt.lock"]),
        replaced("hosts.dns"),
        list(&[
            "unlocks .ip.txt.lock",
            "write .hosts.dns.restart.lock",
            "starts a process",
            "locks .ip.txt.lock",
            "unlink .hosts.dns.pending",
            "unlocks .hosts.dns.restart.lock",
            "unlocks .ip.txt.lock",
        ]),
    ];
    assert_eq!(steps(&scene(), Deed::Restart), expected.concat());
}

#[test]
fn the_temporary_file_is_beside_the_target_of_a_link_which_may_be_on_another_disk() {
    if !can_run("the writes through a link", &[STRACE]) {
        return;
    }
    let scene = scene();
    let (link, disk) = (scene.path("www/ramcache/ip.txt"), scene.path("run/disk"));
    fs::create_dir(&disk).unwrap();
    fs::rename(&link, disk.join("ip.txt")).unwrap();
    symlink(disk.join("ip.txt"), &link).unwrap();
    let steps = steps(&scene, Deed::Changed);
    let disk = disk.display();
    for step in [
        format!("creates {disk}/.ip.txt.tmp"),
        format!("rename {disk}/.ip.txt.tmp {disk}/ip.txt"),
        format!("fsync {disk}"),
    ] {
        assert!(steps.contains(&step), "{step}: {steps:?}");
    }
}

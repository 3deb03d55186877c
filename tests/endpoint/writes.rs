//! The order of writes, as strace sees it, on which the promises about power failures rest; and the
//! amount, because flash memory wears out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use crate::faults::{Deed, STRACE, prepare, run, scene};
use crate::scene::{Scene, can_run, signed, signed_2, tell, time};

/// The length of the index of three hosts, in bytes: a header, and slots.
const INDEX: usize = 56 + (2 * 3 + 1 + 127) * 12;

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
    // Until it has the lock, it only reads.
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
        "open" | "openat" if arguments.contains("O_EXCL") => format!("creates {}", files.last()?),
        "pwrite64" => format!("pwrite {} {result}", files.join(" ")),
        "write" | "fsync" | "fchmod" | "rename" | "unlink" if !files.is_empty() => {
            format!("{call} {}", files.join(" "))
        }
        "clone" | "clone3" | "fork" | "vfork" => "starts a process".to_owned(),
        _ => return None,
    };
    Some(step)
}

fn list(steps: &[&str]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

fn steps_of_a_change() -> Vec<String> {
    let steps = [
        list(&["locks .ip.txt.lock", "write .hosts.dns.pending", "fsync ."]),
        replaced("ip.txt"),
        replaced("hosts.dns"),
        list(&[
            &format!("pwrite .ip.txt.index {INDEX}"),
            "unlocks .ip.txt.lock",
            "starts a process",
        ]),
    ];
    steps.concat()
}

#[test]
fn a_changed_update_writes_the_mark_then_the_state_then_the_hosts_file_each_durably() {
    if !can_run("the order of writes of a change", &[STRACE]) {
        return;
    }
    assert_eq!(steps(&scene(), Deed::Changed), steps_of_a_change());
}

#[test]
fn a_changed_update_of_indexed_files_writes_in_the_same_order() {
    if !can_run("the order of writes of indexed files", &[STRACE]) {
        return;
    }
    let is_data = |step: &String| !step.starts_with("pwrite .ip.txt.index");
    let (indexed, others) = (steps(&scene(), Deed::ChangedIndexed), steps_of_a_change());
    assert!(indexed.iter().rev().skip(2).take(2).all(|step| !is_data(step)), "{indexed:?}");
    let [indexed, others] =
        [indexed, others].map(|steps| steps.into_iter().filter(is_data).collect::<Vec<_>>());
    assert_eq!(indexed, others);
}

#[test]
fn a_list_of_hosts_is_one_write_of_each_file_under_one_lock_and_one_restart() {
    if !can_run("the order of writes of a list", &[STRACE]) {
        return;
    }
    assert_eq!(steps(&scene(), Deed::ChangedList), steps_of_a_change());
}

#[test]
fn a_redundant_update_is_one_write_of_19_bytes() {
    if can_run("the writes of a redundant update", &[STRACE]) {
        let expected = ["locks .ip.txt.lock", "pwrite ip.txt 19", "unlocks .ip.txt.lock"];
        assert_eq!(steps(&scene(), Deed::RedundantIndexed), expected);
    }
}

#[test]
fn a_redundant_list_is_written_over_the_stamps_of_its_hosts() {
    let scene = Scene::new();
    let list = |time: &str| {
        let hosts = "host1.h.lohray.com,host2.h.lohray.com";
        let query = signed_2("user1", "secretkey1", hosts, time, ["192.0.2.11", ""]);
        let line = scene.answer("127.0.0.12", &query);
        scene.settle();
        line
    };
    let inode = || fs::metadata(scene.path("www/ramcache/ip.txt")).unwrap().ino();
    let (first, second) = (time(-9), time(-5));
    assert_eq!(list(&first), "good 192.0.2.11\ngood 192.0.2.11");
    let (before, state) = (inode(), scene.state());
    assert_eq!(list(&second), "nochg 192.0.2.11\nnochg 192.0.2.11");
    assert_eq!(inode(), before, "the state was replaced");
    assert_eq!(state.matches(&first).count(), 2);
    assert_eq!(scene.state(), state.replace(&first, &second));
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

/// The bytes that a deed writes into each file in the state's folder, by any call.
fn bytes_written(scene: &Scene, deed: Deed) -> BTreeMap<String, u64> {
    let outcome = run(scene, deed, &["-y"]);
    let folder = scene.path("www/ramcache/").display().to_string();
    let mut bytes = BTreeMap::new();
    for line in outcome.trace.lines() {
        let Some((call, rest)) = line.split_once('(') else { continue };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { continue };
        // The file written to is the first argument, or the second of two.
        let mut files = arguments.split(['<', '>']).filter(|word| word.starts_with('/'));
        let file = match call {
            "write" | "writev" | "pwrite64" | "pwritev" | "ftruncate" | "fallocate"
            | "sendfile" => files.next(),
            "copy_file_range" | "splice" => files.nth(1),
            _ => None,
        };
        if let Some(name) = file.and_then(|file| file.strip_prefix(&folder)) {
            *bytes.entry(name.to_owned()).or_insert(0) += result.parse::<u64>().unwrap_or(0);
        }
    }
    scene.settle();
    bytes
}

#[test]
fn an_update_writes_no_byte_more_than_it_must() {
    if !can_run("the bytes that an update writes", &[STRACE]) {
        return;
    }
    for scene in [Scene::new(), Scene::on_ram_disk()] {
        let bytes = bytes_written(&scene, Deed::RedundantIndexed);
        assert_eq!(bytes, BTreeMap::from([("ip.txt".to_owned(), 19)]));
        let bytes = bytes_written(&scene, Deed::ChangedIndexed);
        let expected = [
            (".hosts.dns.pending", "changed host1.h.lohray.com 192.0.2.11\n".len()),
            (".hosts.dns.tmp", scene.hosts().len()),
            (".ip.txt.index", INDEX),
            (".ip.txt.tmp", scene.state().len()),
        ];
        let expected = expected.map(|(name, length)| (name.to_owned(), length as u64));
        assert_eq!(bytes, BTreeMap::from(expected));
    }
}

/// The bytes of the blocks that an update makes the kernel write to a disk, as it accounts for them.
fn disk_bytes(scene: &Scene, address: &str, stamp: &str) -> u64 {
    // A block that must be written anyway is not counted again.
    for file in fs::read_dir(scene.path("www/ramcache")).unwrap() {
        File::open(file.unwrap().path()).unwrap().sync_all().unwrap();
    }
    // A process that has ended counts for the one that waited for it.
    let script =
        "grep ^write_bytes: /proc/$$/io; \"$0\" > /dev/null; grep ^write_bytes: /proc/$$/io";
    let query = signed("user1", "secretkey1", "host1.h.lohray.com", stamp);
    let output = scene.cgi(address, &query).by(&["/bin/sh", "-c", script]).0.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let counts: Vec<u64> =
        text.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    let [before, after] = counts[..] else { panic!("{text}") };
    scene.settle();
    after - before
}

#[test]
fn on_a_disk_a_redundant_update_dirties_one_block() {
    const PAGE: u64 = 4096;
    if !can_run("the blocks of an update", &["/proc/self/io"]) {
        return;
    }
    // Built programs are usually on a disk, even if /tmp is not.
    let scene = Scene::within(&PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
    prepare(&scene, Deed::RedundantIndexed);
    let redundant = disk_bytes(&scene, "129.118.243.10", &time(-3));
    let changed = disk_bytes(&scene, "192.0.2.11", &time(0));
    assert!(scene.state().contains("192.0.2.11"), "{}", scene.state());
    if changed == 0 {
        tell("SKIPPED the blocks of an update: the target folder is on no disk");
        return;
    }
    tell(&format!("measured: to the disk: redundant {redundant} bytes, changed {changed} bytes"));
    assert!(redundant <= PAGE, "19 bytes lie in one block, not in {redundant} bytes");
    // The mark, the state, the hosts file and the index are small files of a block each. Now and then
    // the file system accounts for some of its own.
    assert!(changed <= 10 * PAGE, "four small files are not {changed} bytes");
}

//! Indexed files: when an index must not be believed.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::scene::{CREDENTIALS, HOSTS, STATE, Scene, host1, signed, time};

const ADDRESS: &str = "129.118.243.10";

/// The lengths of an index's header and of each of its slots, in bytes.
const HEADER: usize = 56;
const SLOT: usize = 12;

/// The text of a JSON object with one more entry, which makes it large enough to need an index.
fn enlarged(text: &str) -> String {
    let end = text.rfind('}').unwrap();
    format!("{},\n    \"large\": \"{}\"\n}}", text[..end].trim_end(), "x".repeat(20_000))
}

/// An update of host3, which changes nothing and indexes the files.
fn index(scene: &Scene) {
    scene.write_long_ago("etc/credentials.json", &enlarged(CREDENTIALS));
    let query = signed("user2", "secretkey2", "host3.h.lohray.com", &time(-9));
    assert_eq!(scene.answer("50.19.108.105", &query), "nochg 50.19.108.105");
    let [state, index] = ["ip.txt", ".ip.txt.index"]
        .map(|name| fs::metadata(scene.path("www/ramcache").join(name)).unwrap());
    assert!(scene.path("www/ramcache/.ip.txt.users").exists(), "the credentials have no index");
    assert_eq!((state.mtime(), state.mtime_nsec()), (index.mtime(), index.mtime_nsec()));
}

/// How an editor leaves a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    /// The same file of the same size, later.
    Time,
    /// The same file with the same time, longer.
    Size,
    /// Another file of the same size with the same time.
    Inode,
}

impl Edit {
    /// Replaces `old` in a file, with `longer` if the size should differ.
    fn apply(self, scene: &Scene, name: &str, old: &str, new: &str, longer: &str) {
        let path = scene.path(name);
        let before = fs::metadata(&path).unwrap();
        let text = scene.read(name).replace(old, if self == Self::Size { longer } else { new });
        if self == Self::Inode {
            // Its number must not be given to the new file.
            fs::rename(&path, scene.path("run/old")).unwrap();
        }
        // The clock of a file system may tick every 10 ms.
        std::thread::sleep(Duration::from_millis(20));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(false).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        if self != Self::Time {
            file.set_modified(before.modified().unwrap()).unwrap();
        }
        let after = file.metadata().unwrap();
        assert_eq!(after.ino() != before.ino(), self == Self::Inode);
        assert_eq!(after.len() != before.len(), self == Self::Size);
        assert_eq!(after.modified().unwrap() != before.modified().unwrap(), self == Self::Time);
    }
}

#[test]
fn a_file_that_is_edited_after_it_was_indexed_is_read_as_it_is() {
    for edit in [Edit::Time, Edit::Size, Edit::Inode] {
        // Nothing is read from broken JSON, however far the fault is from the entry.
        for name in ["www/ramcache/ip.txt", "etc/credentials.json"] {
            let scene = Scene::new();
            index(&scene);
            edit.apply(&scene, name, "\n}", "\n]", "\n}]");
            let files = scene.files();
            let reply = scene.cgi(ADDRESS, &host1()).run();
            assert_eq!(reply.line, "911", "{edit:?} of {name}: {reply:?}");
            assert!(reply.log.contains(name), "{edit:?}: {reply:?}");
            assert_eq!(scene.files(), files, "{edit:?} of {name}");
        }
        // The hosts file becomes what the state says.
        let scene = Scene::new();
        index(&scene);
        let stray = "50.19.108.105 host3.h.lohray.com\n127.0.0.66 stray.example\n";
        let (old, new) =
            ("50.19.108.105 host3.h.lohray.com\n", "50.19.108.166 host3.h.lohray.com\n");
        edit.apply(&scene, "www/ramcache/hosts.dns", old, new, stray);
        assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
        assert_eq!(scene.hosts(), HOSTS.replace(ADDRESS, "127.0.0.11"), "{edit:?}");
    }
}

#[test]
fn credentials_mean_the_same_in_any_layout_indexed_or_not() {
    let host = "host1.h.lohray.com";
    let known = json!({"user1": {"id": [host], "key": "secretkey1"}}).to_string();
    // The nested object looks like a user.
    let nested = format!(
        "{{\n    \"other\": {{\n    \"user1\": {{\"id\": [\"{host}\"], \"key\": \"secretkey2\"}}, \
         \"id\": [], \"key\": \"k\"}},\n    \"user1\": {{\"id\": [\"{host}\"], \"key\": \"secretkey1\"}}\n}}"
    );
    let twice = format!(
        "{{\n    \"user1\": {{\"id\": [\"{host}\"], \"key\": \"secretkey2\"}},\
         \n    \"user1\": {{\"id\": [\"{host}\"], \"key\": \"secretkey1\"}}\n}}"
    );
    for text in [known, nested, twice, CREDENTIALS.replace("    ", "  ")] {
        let scene = Scene::new();
        scene.write_long_ago("etc/credentials.json", &enlarged(&text));
        for (seconds, key, expected) in [
            (-9, "secretkey1", "nochg 129.118.243.10"),
            (-8, "secretkey2", "badauth"),
            (-7, "secretkey1", "nochg 129.118.243.10"),
        ] {
            let query = signed("user1", key, host, &time(seconds));
            assert_eq!(scene.answer(ADDRESS, &query), expected, "{seconds} {text}");
        }
    }
}

#[test]
fn names_that_differ_in_case_alone_become_one_also_after_other_updates() {
    // In the layout that would otherwise be indexed.
    let state = STATE.replace("host2", "HOST1");
    let hosts = HOSTS.replace("host2", "HOST1");
    for (address, word) in [("50.19.108.105", "nochg"), ("50.19.108.106", "good")] {
        let scene = Scene::new();
        scene.reset(&state, &hosts.replace("HOST1", "host1"));
        let query = signed("user2", "secretkey2", "host3.h.lohray.com", &time(-9));
        assert_eq!(scene.answer(address, &query), format!("{word} {address}"));
        scene.settle();
        assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
        scene.settle();
        let expected = format!("127.0.0.11 host1.h.lohray.com\n{address} host3.h.lohray.com\n");
        assert_eq!(scene.hosts(), expected, "{word}");
        assert!(!scene.state().contains("HOST1"), "{}", scene.state());
    }
}

#[test]
fn a_user_of_large_credentials_is_found_as_soon_as_the_operator_adds_it_and_no_longer_than_it_is_there()
 {
    let scene = Scene::new();
    index(&scene);
    let query = |seconds| signed("ann", "annskey", "host1.h.lohray.com", &time(seconds));
    assert_eq!(scene.answer(ADDRESS, &query(-8)), "badauth");
    let with = CREDENTIALS.replacen(
        '{',
        "{\n    \"ann\": {\"id\": [\"host1.h.lohray.com\"], \"key\": \"annskey\"},",
        1,
    );
    scene.write("etc/credentials.json", &enlarged(&with));
    // Too new to be indexed: an editor may write again within the same tick of the clock.
    let index = scene.path("www/ramcache/.ip.txt.users");
    let before = fs::read(&index).unwrap();
    assert_eq!(scene.answer(ADDRESS, &query(-7)), format!("nochg {ADDRESS}"));
    assert_eq!(fs::read(&index).unwrap(), before, "young credentials are indexed");
    scene.write_long_ago("etc/credentials.json", &enlarged(&with));
    for seconds in [-6, -5] {
        assert_eq!(scene.answer(ADDRESS, &query(seconds)), format!("nochg {ADDRESS}"));
        assert_ne!(fs::read(&index).unwrap(), before, "there is no new index");
    }
    scene.write_long_ago("etc/credentials.json", &enlarged(CREDENTIALS));
    for seconds in [-4, -3] {
        assert_eq!(scene.answer(ADDRESS, &query(seconds)), "badauth");
    }
}

#[test]
fn an_index_of_the_state_that_is_out_of_date_or_garbage_misleads_nobody() {
    let scene = Scene::new();
    let large = format!("{{\n    \"large\": {{\"note\": \"{}\"}},", "x".repeat(20_000));
    scene.reset(&STATE.replacen('{', &large, 1), HOSTS);
    let update = |stamp: &str| {
        let query = signed("user2", "secretkey2", "host3.h.lohray.com", stamp);
        let reply = scene.answer("127.0.0.1", &query);
        scene.settle();
        reply
    };
    // PHP's layout comes with the first change, and the index with it.
    assert_eq!(update(&time(-12)), "good 127.0.0.1");
    let path = scene.path("www/ramcache/.ip.txt.index");
    assert_eq!(update(&time(-11)), "nochg 127.0.0.1");
    let slots = || fs::read(&path).unwrap().split_off(HEADER);
    let index = slots();
    assert!(index.iter().any(|byte| *byte != 0), "there is no index");
    // Every host is where the first entry of the file is.
    let mut moved = index.clone();
    for slot in moved.chunks_mut(SLOT).filter(|slot| slot.iter().any(|byte| *byte != 0)) {
        slot[4..8].copy_from_slice(&6_u32.to_le_bytes());
    }
    let garbage = [0x00, 0x01, 0xff].map(|byte| vec![byte; index.len()]);
    for (seconds, wrong) in (-10..).zip(garbage.iter().chain([&moved])) {
        let file = File::options().write(true).open(&path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.write_all_at(wrong, HEADER as u64).unwrap();
        file.set_modified(modified).unwrap();
        let stamp = time(seconds);
        assert_eq!(update(&stamp), "nochg 127.0.0.1", "{seconds}");
        assert_eq!(slots(), index, "{seconds}: the index is not written anew");
        assert!(scene.state().contains(&stamp), "{seconds}: {}", scene.state());
    }
}

#[test]
fn an_update_succeeds_whatever_is_in_the_place_of_an_index() {
    for name in [".ip.txt.index", ".ip.txt.users"] {
        // How to make what is there, of the file and a path elsewhere.
        for what in ["mkfifo \"$0\"", "mkdir \"$0\"", "ln -s \"$1\" \"$0\""] {
            let scene = Scene::new();
            scene.write("other", "not ours");
            scene.write_long_ago("etc/credentials.json", &enlarged(CREDENTIALS));
            let [place, other] = [&format!("www/ramcache/{name}"), "other"].map(|p| scene.path(p));
            let made = Command::new("sh").args(["-c", what]).args([place, other]).status();
            assert!(made.unwrap().success());
            for (seconds, address) in [(-9, ADDRESS), (-8, "127.0.0.11"), (-7, "127.0.0.11")] {
                let query = signed("user1", "secretkey1", "host1.h.lohray.com", &time(seconds));
                // A request that waits for somebody ends after ten seconds, without an answer.
                let reply = scene.cgi(address, &query).by(&["/usr/bin/timeout", "10"]).0.output();
                let reply = String::from_utf8(reply.unwrap().stdout).unwrap();
                assert!(reply.ends_with(&format!(" {address}\n")), "{what} for {name}: {reply:?}");
            }
            assert_eq!(scene.hosts(), HOSTS.replace(ADDRESS, "127.0.0.11"), "{what} for {name}");
            assert_eq!(scene.read("other"), "not ours", "{what} for {name}");
        }
    }
}

#[test]
fn a_place_where_no_line_is_misleads_nobody() {
    let scene = Scene::new();
    scene.reset(&STATE.replace("\n        \"ip\": \"75.110.204.100\",", ""), HOSTS);
    let query = |user, key, host, seconds| signed(user, key, host, &time(seconds));
    let update = query("user2", "secretkey2", "host3.h.lohray.com", -9);
    assert_eq!(scene.answer("50.19.108.106", &update), "good 50.19.108.106");
    scene.settle();
    // The lines of host2, which has none, are in the middle of those of host1.
    let path = scene.path("www/ramcache/.ip.txt.index");
    let entry = u32::try_from(scene.state().find("\"host2").unwrap()).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    let slots = fs::read(&path).unwrap().split_off(HEADER);
    let slot = slots.chunks(SLOT).position(|slot| slot[4..8] == entry.to_le_bytes()).unwrap();
    let place = HEADER + slot * SLOT + 8;
    file.write_all_at(&5_u32.to_le_bytes(), place as u64).unwrap();
    file.set_modified(modified).unwrap();
    let update = query("user1", "secretkey1", "host2.h.lohray.com", -8);
    assert_eq!(scene.answer("127.0.0.12", &update), "good 127.0.0.12");
    let expected = HOSTS.replace("75.110.204.100", "127.0.0.12").replace("108.105", "108.106");
    assert_eq!(scene.hosts(), expected);
}

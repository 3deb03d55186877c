//! Sealed files: what the fast path must not be taken for.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use serde_json::json;

use crate::scene::{CREDENTIALS, HOSTS, STATE, Scene, host1, signed, time};

const ADDRESS: &str = "129.118.243.10";

/// An update of host3, which changes nothing and seals the files.
fn seal(scene: &Scene) {
    let query = signed("user2", "secretkey2", "host3.h.lohray.com", &time(-9));
    assert_eq!(scene.answer("50.19.108.105", &query), "nochg 50.19.108.105");
    let [state, lock] = ["ip.txt", ".ip.txt.lock"]
        .map(|name| fs::metadata(scene.path("www/ramcache").join(name)).unwrap());
    assert_eq!(lock.len(), 96);
    assert_eq!((state.mtime(), state.mtime_nsec()), (lock.mtime(), lock.mtime_nsec()));
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
    /// Replaces `old` in a file; with `longer` where the size is to be another.
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
fn a_file_that_is_edited_after_it_was_sealed_is_read_as_it_is() {
    for edit in [Edit::Time, Edit::Size, Edit::Inode] {
        // Where the JSON is broken, however far from the entry, nothing is read from it.
        for name in ["www/ramcache/ip.txt", "etc/credentials.json"] {
            let scene = Scene::new();
            seal(&scene);
            edit.apply(&scene, name, "\n    }\n}", "\n    }\n]", "\n    }\n}]");
            let files = scene.files();
            let reply = scene.cgi(ADDRESS, &host1()).run();
            assert_eq!(reply.line, "911", "{edit:?} of {name}: {reply:?}");
            assert!(reply.log.contains(name), "{edit:?}: {reply:?}");
            assert_eq!(scene.files(), files, "{edit:?} of {name}");
        }
        // The hosts file becomes what the state says.
        let scene = Scene::new();
        seal(&scene);
        let stray = "50.19.108.105 host3.h.lohray.com\n127.0.0.66 stray.example\n";
        let (old, new) =
            ("50.19.108.105 host3.h.lohray.com\n", "50.19.108.166 host3.h.lohray.com\n");
        edit.apply(&scene, "www/ramcache/hosts.dns", old, new, stray);
        assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
        assert_eq!(scene.hosts(), HOSTS.replace(ADDRESS, "127.0.0.11"), "{edit:?}");
    }
}

#[test]
fn credentials_mean_the_same_in_any_layout_also_once_the_files_are_sealed() {
    let host = "host1.h.lohray.com";
    let known = json!({"user1": {"id": [host], "key": "secretkey1"}}).to_string();
    // What is nested looks like a user of its own.
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
        scene.write("etc/credentials.json", &text);
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
    // In the layout that is sealed otherwise.
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

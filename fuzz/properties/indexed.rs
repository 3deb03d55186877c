//! The index: what is found with it in a file, and what a change of one record leaves there.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use ddns_cgi::store::index::{self, Indexed, Place, Search};
use ddns_cgi::store::json;
use ddns_cgi::store::keys::Keys;
use ddns_cgi::store::validity::Validity;
use rustix::fs::{MemfdFlags, memfd_create};

/// A file in memory.
fn in_memory(text: &str) -> File {
    let file = File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).unwrap());
    file.write_all_at(text.as_bytes(), 0).unwrap();
    file
}

/// A JSON file with its index, whose name is gone again at once.
fn indexed(file: File, validity: Validity, index: &[u8]) -> Indexed {
    let parent = if fs::metadata("/dev/shm").is_ok() { "/dev/shm" } else { "/tmp" };
    let name = format!("ddns-fuzz.{}.{:?}", std::process::id(), std::thread::current().id());
    let path = PathBuf::from(parent).join(name);
    fs::write(&path, index).unwrap();
    let index = File::options().write(true).open(&path).unwrap();
    index.set_modified(validity.modified).unwrap();
    let indexed = Indexed::open(file, validity, &path);
    fs::remove_file(&path).unwrap();
    indexed.unwrap()
}

/// For every one of the names, what is found with the index is what the strict way finds.
pub fn finds_the_same<'n>(text: &str, names: impl Iterator<Item = &'n str>, of: Keys) {
    let entries = json::entries(text).unwrap();
    let map = json::parse(text).unwrap();
    let file = in_memory(text);
    let validity = Validity::of_file(&file).unwrap();
    let mut keys: Vec<u64> = entries.iter().map(|entry| of.hash(&entry.key)).collect();
    let places = keys
        .iter()
        .zip(&entries)
        .zip(0..)
        .map(|((hash, entry), lines)| (*hash, Place { entry: entry.start, lines }));
    let index = index::build(places.collect::<Vec<_>>().into_iter(), validity, None).unwrap();
    keys.sort_unstable();
    // Twins are never indexed.
    if keys.windows(2).any(|two| two[0] == two[1]) {
        return;
    }
    let indexed = indexed(file, validity, &index);
    for name in names {
        let is_key = |key: &str| of.are_same(key, name);
        let strict = entries.iter().position(|entry| is_key(&entry.key));
        match (indexed.find(of, name).unwrap(), strict) {
            (Search::Found { entry, json, lines }, Some(at)) => {
                assert_eq!((&entry, lines), (&entries[at], at as u64), "{name:?}");
                assert_eq!(json, json::text_at(text, &entry.value), "{name:?}");
            }
            (Search::Absent, None) => {}
            (Search::Unsure, Some(at)) => {
                assert!(!map[&entries[at].key].is_object(), "{name:?}: an object is found");
            }
            (found, strict) => panic!("{name:?}: {found:?} and {strict:?}"),
        }
    }
}

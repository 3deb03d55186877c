//! The fast path: what a search in a sealed file finds, and what is spliced into one.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

use ddns_cgi::index::{self, Index, Place};
use ddns_cgi::seal::Seal;
use ddns_cgi::sealed::{self as product, Entry, Needle, SealedFile, Search, Splice};
use ddns_cgi::{lookup, php_json};
use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::{Map, Value};

/// A file in memory that is used again and again.
struct Scratch(File);

impl Scratch {
    fn new() -> Self {
        Self(memfd_create("fuzz", MemfdFlags::CLOEXEC).unwrap().into())
    }

    fn with(&self, text: &[u8]) -> &File {
        self.0.set_len(text.len() as u64).unwrap();
        self.0.write_all_at(text, 0).unwrap();
        &self.0
    }

    fn text(&self) -> Vec<u8> {
        let mut text = vec![0; usize::try_from(self.0.metadata().unwrap().len()).unwrap()];
        self.0.read_exact_at(&mut text, 0).unwrap();
        text
    }
}

thread_local! {
    static SCRATCH: [Scratch; 2] = [Scratch::new(), Scratch::new()];
    static SPLICED: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// The state as this program writes it, if it may be sealed: no two names differ only in case.
pub fn sealed_state(map: &Map<String, Value>) -> Option<String> {
    let mut names: Vec<_> = map.keys().map(|name| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    let is_distinct = names.windows(2).all(|two| two[0] != two[1]);
    is_distinct.then(|| String::from_utf8(php_json::to_bytes(map).unwrap()).unwrap())
}

fn sealed(file: &File) -> SealedFile {
    let seal = Seal::of(&file.metadata().unwrap()).unwrap();
    SealedFile::new(file.try_clone().unwrap(), seal, Some(seal)).unwrap()
}

/// For every one of the names, the search finds what the strict way finds, and the index knows it.
pub fn finds_the_same<'n>(text: &str, names: impl Iterator<Item = &'n str>) {
    let index = index::build(&product::keys(text)).unwrap();
    SCRATCH.with(|[file, other]| {
        let (file, index_file) = (sealed(file.with(text.as_bytes())), other.with(&index));
        let index = Index::open(index_file, 0).unwrap().unwrap();
        for name in names {
            let strict = lookup::find(text, |key| key == name).unwrap();
            let strict = strict.map(|json| (json.get().as_ptr().addr(), json.get()));
            let is_strict = |found: &Entry| {
                let place = text.as_ptr().addr() + usize::try_from(found.offset).unwrap();
                assert_eq!(Some((place, found.json.as_str())), strict, "{name:?}");
            };
            match file.find(name).unwrap() {
                Search::Found(entry) => {
                    is_strict(&entry);
                    assert_eq!(index.find(name).unwrap(), Place::At(entry.offset), "{name:?}");
                    match file.find_near(entry.offset + 1000, name).unwrap() {
                        Some(Search::Found(near)) => is_strict(&near),
                        other => panic!("{name:?}: {other:?}"),
                    }
                }
                Search::Absent => {
                    assert_eq!(None, strict, "{name:?}");
                    assert_eq!(index.find(name).unwrap(), Place::Absent, "{name:?}");
                }
                Search::Unsure => {
                    assert!(!is_plain(name), "{name:?}");
                    assert!(file.find_near(6, name).unwrap().is_none(), "{name:?}");
                }
            }
        }
    });
}

/// The same for a text of this program whose entries lie across the border between two searched parts.
/// `share` says how much of them lies before it.
pub fn finds_the_same_at_a_border(text: &str, names: &[&str], share: usize) {
    const BORDER: usize = 16 << 10;
    let Some(entries) = text.strip_prefix('{').filter(|_| !names.contains(&"~")) else { return };
    let length = BORDER.saturating_sub(text.len() * (share % 16) / 16);
    let text = format!("{{\n    \"~\": \"{}\",{entries}", "x".repeat(length));
    finds_the_same(&text, names.iter().copied());
}

/// Whether JSON contains a name unchanged, whoever writes it.
pub fn is_plain(name: &str) -> bool {
    name.chars().all(|c| matches!(c, ' '..='~') && !['"', '\\', '/'].contains(&c))
}

/// The text with one part replaced, by the product.
pub fn spliced(text: &str, part: std::ops::Range<u64>, new: String) -> Vec<u8> {
    SCRATCH.with(|[_, old]| {
        SPLICED.with_borrow_mut(|spliced| {
            spliced.with(b"");
            std::io::Seek::rewind(&mut spliced.0).unwrap();
            let file = sealed(old.with(text.as_bytes()));
            Splice { file, part, text: new }.write_to(&mut spliced.0).unwrap();
            spliced.text()
        })
    })
}

/// Where a text is in a file, by the search of the product.
pub fn position(text: &str, needle: &Needle) -> Option<u64> {
    SCRATCH.with(|[file, _]| sealed(file.with(text.as_bytes())).position(needle).unwrap())
}

/// The entry with this name in a text that is sealed.
pub fn find(text: &str, name: &str) -> Option<Entry> {
    SCRATCH.with(|[file, _]| match sealed(file.with(text.as_bytes())).find(name).unwrap() {
        Search::Found(entry) => Some(entry),
        Search::Absent | Search::Unsure => None,
    })
}

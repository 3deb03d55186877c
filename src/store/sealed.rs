//! The fast path: finds an entry of a large file by searching for its text, without parsing the rest.
//!
//! That is right only in a file of which two things are known:
//!
//! - *It is unchanged* since it was written here, or read strictly: its [`Seal`] is whole.
//! - *Its layout*, which is checked before it is sealed. In the JSON files, each entry begins with a
//!   line feed, four spaces and its key, and nothing else does: what is nested stands further to the
//!   right, and a JSON string has no line feed. So `\n    "KEY": ` is there once, where the entry
//!   with this key begins. The hosts file is that of the state, so it has the lines of each host.
//!
//! What was found is parsed as strictly as ever. Where there is no seal, or nothing is found, the whole
//! file is read. In a large file, an index tells where to look first ([`crate::store::index`]).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use memchr::memmem;
use serde_json::value::RawValue;

use crate::store::lookup;
use crate::store::seal::Seal;

/// How much is searched at a time, in bytes. Small, since fresh memory costs more than the search,
/// and what was just copied is searched while it is in the nearest cache.
const WINDOW: usize = 16 << 10;

/// Files up to this size in bytes have no index: to search them takes no longer.
pub const SMALL: u64 = WINDOW as u64;

/// How far an entry may be from where the index has it, in bytes. A changed address is longer or
/// shorter than the old one, which moves all entries after it.
const NEAR: usize = 2 << 10;

/// How much of an entry is read at first, in bytes.
const ENTRY: usize = 1 << 10;

/// What a search in a sealed file comes to.
#[derive(Debug)]
pub enum Search {
    /// The entry.
    Found(Entry),
    /// There is no entry with this key, spelt like this.
    Absent,
    /// Only the strict way can tell.
    Unsure,
}

/// An entry of a JSON file, as it stands there.
#[derive(Debug)]
pub struct Entry {
    /// Where its value begins in the file.
    pub offset: u64,
    /// Its value.
    pub json: String,
}

/// A file whose seal is whole.
#[derive(Debug)]
pub struct SealedFile {
    file: File,
    seal: Seal,
}

impl SealedFile {
    /// Takes a file with its seal as it is; gives it back where that is not the one `known`.
    pub fn new(file: File, seal: Seal, known: Option<Seal>) -> Result<Self, File> {
        if known == Some(seal) { Ok(Self { file, seal }) } else { Err(file) }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file alone.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }

    /// Its seal.
    #[must_use]
    pub fn seal(&self) -> Seal {
        self.seal
    }

    /// The same file once more.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, seal: self.seal })
    }

    /// Searches a JSON file for the entry with this key.
    pub fn find(&self, key: &str) -> io::Result<Search> {
        if !is_plain(key) {
            return Ok(Search::Unsure);
        }
        let needle = needle(key);
        match self.position(&needle)? {
            Some(start) => self.entry(start + needle.text.len() as u64),
            None => Ok(Search::Absent),
        }
    }

    /// As [`SealedFile::find`], but looks only near `place`. `None` where the entry is not there.
    pub fn find_near(&self, place: u64, key: &str) -> io::Result<Option<Search>> {
        let needle = needle(key);
        let start = place.saturating_sub(NEAR as u64);
        let text = self.read(start, 2 * NEAR)?;
        let found = needle.search(&text).filter(|_| is_plain(key));
        let value = found.map(|at| start + (at + needle.text.len()) as u64);
        value.map(|value| self.entry(value)).transpose()
    }

    /// The entry whose value begins at `offset`.
    fn entry(&self, offset: u64) -> io::Result<Search> {
        let next = Needle::new(AROUND_KEY.0.to_owned(), AROUND_KEY.0.len());
        let mut window = ENTRY;
        let text = loop {
            let text = self.read(offset, window)?;
            // Up to the next entry, or to the end of the file: so the window cuts nothing off.
            if text.len() < window || next.search(&text).is_some() {
                break text;
            }
            window *= 2;
        };
        let mut values = serde_json::Deserializer::from_slice(&text).into_iter::<&RawValue>();
        Ok(match values.next() {
            Some(Ok(value)) => Search::Found(Entry { offset, json: value.get().to_owned() }),
            Some(Err(_)) | None => Search::Unsure,
        })
    }

    /// Where a text is.
    pub fn position(&self, needle: &Needle) -> io::Result<Option<u64>> {
        let mut window = vec![0; self.length(0, WINDOW)];
        let (mut offset, mut kept) = (0, 0);
        loop {
            self.file
                .read_exact_at(window.get_mut(kept..).unwrap_or_default(), offset + kept as u64)?;
            if let Some(at) = needle.search(&window) {
                return Ok(Some(offset + at as u64));
            }
            let end = offset + window.len() as u64;
            if end >= self.seal.size() {
                return Ok(None);
            }
            // The needle may lie across two windows.
            kept = needle.text.len().saturating_sub(1).min(window.len());
            let rest = window.len() - kept;
            window.copy_within(rest.., 0);
            offset = end - kept as u64;
            window.truncate(self.length(offset, WINDOW));
        }
    }

    /// What is there from `offset` on, of at most this length.
    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length(offset, length)];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// How much there is from `offset` on, up to `most`.
    fn length(&self, offset: u64, most: usize) -> usize {
        usize::try_from(self.seal.size().saturating_sub(offset)).unwrap_or(most).min(most)
    }
}

/// What an entry begins with, before its key and after it.
const AROUND_KEY: (&str, &str) = ("\n    \"", "\": ");

fn needle(key: &str) -> Needle {
    let (before, after) = AROUND_KEY;
    Needle::new(format!("{before}{key}{after}"), before.len())
}

/// Whether a key stands in a sealed file as it is, if it is there at all.
#[must_use]
pub fn is_plain(key: &str) -> bool {
    key.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'/'))
}

/// What is searched for.
#[derive(Debug)]
pub struct Needle {
    text: String,
    /// The place of a byte that tells it from others like it.
    telling: usize,
}

impl Needle {
    /// A text with a name that begins at `name`. Names of one domain differ before their first dot.
    #[must_use]
    pub fn new(text: String, name: usize) -> Self {
        let rest = text.get(name..).unwrap_or_default();
        let label = rest.find(['.', '"', '\n']).unwrap_or(rest.len());
        Self { telling: (name + label).saturating_sub(1), text }
    }

    /// Its first place in `text`.
    ///
    /// Not with the crate's own choice of instructions and bytes. That begins with CPUID, which takes
    /// longer in a virtual machine than the search. And bytes that are rare elsewhere, like the `x`
    /// of a domain, are in every entry here.
    fn search(&self, text: &[u8]) -> Option<usize> {
        let needle = self.text.as_bytes();
        #[cfg(target_arch = "x86_64")]
        {
            use memchr::arch::{all::packedpair::Pair, x86_64::sse2::packedpair::Finder};
            let finder = u8::try_from(self.telling)
                .ok()
                .and_then(|last| Pair::with_indices(needle, last, last.checked_sub(1)?))
                .and_then(|pair| Finder::with_pair(needle, pair))
                .filter(|finder| finder.min_haystack_len() <= text.len());
            if let Some(finder) = finder {
                return finder.find(text, needle);
            }
        }
        memmem::find(text, needle)
    }
}

/// Whether a valid JSON text has the layout of a sealed file. Where a key is there twice, it has not.
#[must_use]
pub fn is_laid_out(text: &str) -> bool {
    // A key with an escape is no `&str`.
    let Ok(entries) = serde_json::from_str::<BTreeMap<&str, &RawValue>>(text) else { return false };
    let begins_its_line = |(key, value): (&&str, &&RawValue)| {
        let before = text.get(..lookup::offset(text, value));
        before.is_some_and(|before| before.ends_with(&needle(key).text))
    };
    entries.iter().all(begins_its_line)
        && memmem::find_iter(text.as_bytes(), AROUND_KEY.0).count() == entries.len()
}

/// The keys of a text in the layout of a sealed file, and where their values begin: those that
/// [`SealedFile::find`] may be sure of.
#[must_use]
pub fn keys(text: &str) -> Vec<(&str, u64)> {
    let (before, after) = AROUND_KEY;
    memmem::find_iter(text.as_bytes(), before)
        .filter_map(|at| {
            let start = at + before.len();
            let (key, _) = text.get(start..)?.split_once(after)?;
            is_plain(key).then_some((key, (start + key.len() + after.len()) as u64))
        })
        .collect()
}

/// A file with one part replaced.
#[derive(Debug)]
pub struct Splice {
    /// The file as it is.
    pub file: SealedFile,
    /// The part that is replaced.
    pub part: Range<u64>,
    /// What comes in its place.
    pub text: String,
}

impl Splice {
    /// Writes the new contents. The kernel copies the rest, without memory of ours.
    ///
    /// An error where somebody edited the file meanwhile: the part may be elsewhere now.
    pub fn write_to(&self, new: &mut File) -> io::Result<()> {
        use io::{Read, Seek, SeekFrom, Write};
        let mut old = self.file.file();
        old.rewind()?;
        io::copy(&mut old.take(self.part.start), new)?;
        new.write_all(self.text.as_bytes())?;
        old.seek(SeekFrom::Start(self.part.end))?;
        io::copy(&mut old, new)?;
        self.file.seal.check(&self.file.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn sealed(text: &str) -> SealedFile {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let seal = Seal::of_file(&file).unwrap();
        SealedFile { file, seal }
    }

    #[test]
    fn a_layout_is_good_where_each_entry_and_nothing_else_begins_its_line() {
        for text in [
            "{}",
            "{\n    \"a\": 1\n}",
            "{\n    \"a\": {\"b\": [1,\n2]},\n    \"b\": {\n        \"a\": 1\n    }\n}\n",
        ] {
            assert!(is_laid_out(text), "{text}");
        }
        for text in [
            r#"{"a": 1}"#,
            "{\n  \"a\": 1\n}",
            "{\n    \"a\":1\n}",
            "{\n    \"a\" : 1\n}",
            "{\n    \"\\u0061\": 1\n}",
            "{\n    \"a\": 1,\n    \"a\": 2\n}",
            "{\n    \"a\": {\n    \"b\": 1\n}}",
            "{\"b\": {\n    \"b\": 1\n}}",
            "{\n    \"a\": [\n    \"b\"]\n}",
            "[]",
        ] {
            assert!(!is_laid_out(text), "{text}");
        }
    }

    #[test]
    fn a_long_entry_is_read_whole_and_a_key_with_escapes_is_left_to_the_strict_way() {
        let long = format!("[\"{}\"]", "x".repeat(5 * ENTRY));
        let text = format!("{{\n    \"a\": {long},\n    \"\\u00e9\": 1\n}}");
        let found = sealed(&text).find("a").unwrap();
        assert!(matches!(found, Search::Found(entry) if entry.json == long && entry.offset == 11));
        for key in ["é", "\\u00e9", "a\"", "a/b", "\n"] {
            assert!(matches!(sealed(&text).find(key).unwrap(), Search::Unsure), "{key}");
        }
        assert!(matches!(sealed(&text).find("b").unwrap(), Search::Absent));
        assert!(matches!(sealed(&text).find("").unwrap(), Search::Absent));
    }

    #[test]
    fn a_text_is_found_at_every_place_across_the_border_of_two_windows() {
        let needle = needle("host1.example");
        for before in WINDOW - needle.text.len() - 1..=WINDOW + 1 {
            let with = sealed(&format!("{}{}", "x".repeat(before), needle.text));
            assert_eq!(with.position(&needle).unwrap(), Some(before as u64));
        }
    }

    #[test]
    fn what_is_read_at_first_may_end_anywhere_in_an_entry() {
        for part in ["1.5e-7, ", "true, ", "\"é\\u00e9\", ", "12, "] {
            for shift in 0..=part.len() {
                let value =
                    format!("[\"{}\", {}0]", "x".repeat(shift), part.repeat(ENTRY / part.len()));
                let found = sealed(&format!("{{\n    \"a\": {value}\n}}")).find("a").unwrap();
                assert!(matches!(found, Search::Found(entry) if entry.json == value), "{value}");
            }
        }
        for length in ENTRY - 2..ENTRY + 2 {
            let value = "1".repeat(length);
            let found = sealed(&format!("{{\n    \"a\": {value}}}")).find("a").unwrap();
            assert!(matches!(found, Search::Found(entry) if entry.json == value), "{length}");
        }
    }

    proptest! {
        #[test]
        fn a_text_is_found_wherever_it_lies(before in 0..3 * WINDOW, after in 0..WINDOW, name in "[a-z.]{0,300}") {
            let text = format!("\n    \"{name}\": ");
            let needle = Needle::new(text.clone(), 6);
            let with = sealed(&format!("{}{text}{}", "a.".repeat(before / 2), "\n    \"".repeat(after / 6)));
            prop_assert_eq!(with.position(&needle).unwrap(), Some(before as u64 / 2 * 2));
        }

        #[test]
        fn in_a_good_layout_it_finds_what_the_strict_way_finds(
            map in prop::collection::btree_map("[a-c\"\\\\/é.]{0,3}", "[ \n\"a-c:{}]{0,9}", 0..8), key in "[a-c.]{0,3}",
        ) {
            let mut text = serde_json::to_string_pretty(&map).unwrap().replace("\n  ", "\n    ");
            text = text.replace("\\/", "/");
            if is_laid_out(&text) {
                for key in map.keys().chain([&key]) {
                    let strict = lookup::find(&text, |name| name == key).unwrap().map(RawValue::get);
                    match sealed(&text).find(key).unwrap() {
                        Search::Found(entry) => prop_assert_eq!(Some(entry.json.as_str()), strict),
                        Search::Absent => prop_assert_eq!(None, strict),
                        Search::Unsure => prop_assert!(!is_plain(key)),
                    }
                }
            }
        }
    }
}

//! An index: where in a JSON file each entry is.
//!
//! A helper file beside the state. It has a header, then a table of slots. The header tells of
//! which file the index is, and of which hosts file. Of the JSON file, the header has inode and
//! size; its time is the *index's own*, since a stamp that is written in place changes that time,
//! and to give the index the same one writes no block.
//!
//! A key has its slot at the place that its hash names, or in the next free slot. A slot holds a
//! part of the hash, the place of the key in the JSON file, and the place of the host's lines in
//! the hosts file. Nobody believes a slot: what stands at the place has to be the key.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::store::json::{self, Entry};
use crate::store::keys::Keys;
use crate::store::replace::no_follow;
use crate::store::validity::Validity;

/// What an index begins with: its format.
const FORMAT: u64 = u64::from_le_bytes(*b"ddnsidx2");

/// The length of the header in bytes: seven numbers of eight.
const HEADER: usize = 7 * 8;

/// The length of a slot in bytes: three numbers of four.
const SLOT: usize = 3 * 4;

/// How many slots a search looks at.
const REACH: usize = 128;

/// How much of the index is moved at a time after a change, in slots.
const CHUNK: usize = 680;

/// Where an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// In the JSON file: the first quote of its key. No entry is at byte 0.
    pub entry: u64,
    /// In the hosts file: its lines, or where they would be.
    pub lines: u64,
}

/// What an indexed file says of a key.
#[derive(Debug)]
pub enum Search {
    /// It has this entry, and the hosts file has its lines there.
    Found {
        /// Where it stands.
        entry: Entry,
        /// Its value.
        json: String,
        /// The place of its lines.
        lines: u64,
    },
    /// It has none.
    Absent,
    /// Only all of the file can tell.
    Unsure,
}

/// A JSON file, and an index of it as it is.
#[derive(Debug)]
pub struct Indexed {
    /// The JSON file.
    pub file: File,
    /// What it was when it was opened.
    pub validity: Validity,
    /// The hosts file that goes with it.
    pub hosts: Option<Validity>,
    index: File,
    slots: u64,
}

impl Indexed {
    /// Takes a file with its index; gives it back if that is of another file, or of the same as it
    /// was before.
    pub fn open(file: File, validity: Validity, index: &Path) -> Result<Self, File> {
        match open_index(index, validity) {
            Ok((index, slots, hosts)) => Ok(Self { file, validity, hosts, index, slots }),
            Err(_) => Err(file),
        }
    }

    /// Looks up a key. An unknown one takes as long as a known one: another entry is read in its
    /// place.
    pub fn find(&self, keys: Keys, key: &str) -> io::Result<Search> {
        let (home, tag) = split(keys.hash(key), self.slots);
        let mut reach = [0; REACH * SLOT];
        self.index.read_exact_at(&mut reach, (HEADER as u64) + home * SLOT as u64)?;
        let slots = || reach.chunks_exact(SLOT).map(read_slot);
        let own = slots().take_while(|slot| slot.1.entry != 0).find(|slot| slot.0 == tag);
        let other = || slots().find(|slot| slot.1.entry != 0);
        let Some((_, place)) = own.or_else(other) else { return Ok(Search::Absent) };
        let entry = json::entry_at(&self.file, self.validity.size, place.entry)?;
        Ok(match (own, entry) {
            (Some(_), Some((entry, json))) if keys.are_same(&entry.key, key) => {
                Search::Found { entry, json, lines: place.lines }
            }
            (Some(_), _) => Search::Unsure,
            (None, _) => Search::Absent,
        })
    }

    /// Keeps the index after a write in place that moved nothing.
    pub(super) fn keep(&self) -> io::Result<()> {
        self.index.set_modified(self.file.metadata()?.modified()?)
    }

    /// Keeps the index after one entry and its lines have been replaced by longer or shorter ones,
    /// in the new files of these validities: what lies behind them has moved by so many bytes.
    pub(super) fn shift(
        &self,
        place: Place,
        moved: [i32; 2],
        state: Validity,
        hosts: Option<Validity>,
    ) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK * SLOT];
        let end = HEADER as u64 + (self.slots + REACH as u64 - 1) * SLOT as u64;
        let mut at = if moved == [0, 0] { end } else { HEADER as u64 };
        while at < end {
            chunk.truncate(usize::try_from(end - at).unwrap_or(usize::MAX));
            self.index.read_exact_at(&mut chunk, at)?;
            for [_, entry, lines] in chunk.chunks_exact_mut(SLOT).filter_map(numbers) {
                if u64::from(u32::from_le_bytes(*entry)) > place.entry {
                    // A place that no slot can hold is wrong, and is noticed there.
                    for (number, by) in [entry, lines].into_iter().zip(moved) {
                        *number = u32::from_le_bytes(*number).wrapping_add_signed(by).to_le_bytes();
                    }
                }
            }
            self.index.write_all_at(&chunk, at)?;
            at += chunk.len() as u64;
        }
        self.index.write_all_at(&header(state, hosts.or(self.hosts)), 0)?;
        self.index.set_modified(state.modified)
    }
}

/// Opens the index of the file with this validity, with the number of its slots and the hosts file
/// that goes with it.
fn open_index(path: &Path, of: Validity) -> io::Result<(File, u64, Option<Validity>)> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(no_follow()).open(path)?;
    let metadata = file.metadata()?;
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0)?;
    let number = |n: usize| read_u64(&header, n * 8);
    let is_of = (FORMAT, of.inode, of.size) == (number(0), number(1), number(2));
    let slots =
        (metadata.len().saturating_sub(HEADER as u64) / SLOT as u64).checked_sub(REACH as u64 - 1);
    let Some(slots @ 1..) =
        slots.filter(|_| is_of && metadata.modified().ok() == Some(of.modified))
    else {
        return Err(ErrorKind::InvalidData.into());
    };
    // Not `Duration::new`, which panics if the seconds overflow.
    let time = Duration::from_secs(number(5)).checked_add(Duration::from_nanos(number(6)));
    let modified = time.and_then(|time| SystemTime::UNIX_EPOCH.checked_add(time));
    let hosts = modified.map(|modified| Validity { inode: number(3), size: number(4), modified });
    Ok((file, slots, hosts.filter(|hosts| hosts.inode != 0)))
}

/// The bytes of an index of keys with these hashes, which are distinct; `None` if too many lie
/// together, or a place is too far. The writer gives the file the time of the JSON file.
pub fn build(
    keys: impl ExactSizeIterator<Item = (u64, Place)>,
    of: Validity,
    hosts: Option<Validity>,
) -> Option<Vec<u8>> {
    // At most half full, so that the ways to free slots are short.
    let slots = 2 * keys.len() + 1;
    let mut bytes = vec![0; HEADER + (slots + REACH - 1) * SLOT];
    bytes.get_mut(..HEADER)?.copy_from_slice(&header(of, hosts));
    for (hash, place) in keys {
        let (home, tag) = split(hash, slots as u64);
        let home = HEADER + usize::try_from(home).ok()? * SLOT;
        let mut reach = bytes.get_mut(home..)?.chunks_exact_mut(SLOT).take(REACH - 1);
        // The last slot of the reach is free, and ends every search.
        let slot = reach.find(|slot| read_slot(slot).1.entry == 0)?;
        write_slot(slot, tag, place).filter(|()| place.entry > 0)?;
    }
    Some(bytes)
}

fn header(of: Validity, hosts: Option<Validity>) -> Vec<u8> {
    let hosts = hosts.map_or([0; 4], |hosts| {
        let time = hosts.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        [hosts.inode, hosts.size, time.as_secs(), time.subsec_nanos().into()]
    });
    let numbers = [[FORMAT, of.inode, of.size].as_slice(), &hosts].concat();
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The slot at which the search for a hash begins, and the part of it that the slot holds.
fn split(hash: u64, slots: u64) -> (u64, u32) {
    let [first, second] = [hash & u64::from(u32::MAX), hash >> 32];
    ((first * slots) >> 32, u32::try_from(second).unwrap_or_default())
}

fn read_slot(slot: &[u8]) -> (u32, Place) {
    let [entry, lines] = [4, 8].map(|at| read_u32(slot, at).into());
    (read_u32(slot, 0), Place { entry, lines })
}

/// `None` if a place does not fit into a slot.
fn write_slot(slot: &mut [u8], tag: u32, place: Place) -> Option<()> {
    let [own_tag, entry, lines] = numbers(slot)?;
    *own_tag = tag.to_le_bytes();
    *entry = u32::try_from(place.entry).ok()?.to_le_bytes();
    *lines = u32::try_from(place.lines).ok()?.to_le_bytes();
    Some(())
}

/// The three numbers of a slot.
fn numbers(slot: &mut [u8]) -> Option<[&mut [u8; 4]; 3]> {
    let (tag, rest) = slot.split_first_chunk_mut()?;
    let (entry, rest) = rest.split_first_chunk_mut()?;
    Some([tag, entry, rest.first_chunk_mut()?])
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    let number = bytes.get(at..).and_then(|rest| rest.first_chunk());
    number.copied().map_or(0, u32::from_le_bytes)
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let number = bytes.get(at..).and_then(|rest| rest.first_chunk());
    number.copied().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::PathBuf;
    use tempfile::TempDir;

    const KEYS: Keys = Keys::OfUsers;

    /// A JSON file of these keys, and its index as it is on disk.
    struct Files {
        folder: TempDir,
        places: Vec<(String, Place)>,
    }

    impl Files {
        fn new(keys: impl Iterator<Item = String>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (mut text, mut places) = (String::from("{"), Vec::new());
            for (n, key) in keys.enumerate() {
                let place = Place { entry: text.len() as u64, lines: 10 * n as u64 };
                text += &format!("\"{key}\":{{\"n\":{n}}},");
                places.push((key, place));
            }
            std::fs::write(folder.path().join("json"), text).unwrap();
            Self { folder, places }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn json(&self) -> (File, Validity) {
            let file = File::open(self.path("json")).unwrap();
            let validity = Validity::of_file(&file).unwrap();
            (file, validity)
        }

        fn write(&self, hosts: Option<Validity>) {
            let (_, validity) = self.json();
            let places = self.places.iter().map(|(key, place)| (KEYS.hash(key), *place));
            let bytes = build(places, validity, hosts).unwrap();
            std::fs::write(self.path("index"), bytes).unwrap();
            let index = OpenOptions::new().write(true).open(self.path("index")).unwrap();
            index.set_modified(validity.modified).unwrap();
        }

        fn open(&self) -> Option<Indexed> {
            let (file, validity) = self.json();
            Indexed::open(file, validity, &self.path("index")).ok()
        }
    }

    fn names(numbers: std::ops::Range<usize>) -> impl Iterator<Item = String> {
        numbers.map(|n| format!("host{n}.example"))
    }

    #[test]
    fn all_of_many_keys_are_found_and_no_other() {
        let files = Files::new(names(0..10_000));
        files.write(None);
        let indexed = files.open().unwrap();
        for (n, (key, place)) in files.places.iter().enumerate() {
            match indexed.find(KEYS, key).unwrap() {
                Search::Found { entry, json, lines } => {
                    assert_eq!((entry.start, lines), (place.entry, place.lines), "{key}");
                    assert_eq!(json, format!("{{\"n\":{n}}}"), "{key}");
                }
                other => panic!("{key}: {other:?}"),
            }
        }
        for key in names(10_000..20_000) {
            assert!(matches!(indexed.find(KEYS, &key).unwrap(), Search::Absent), "{key}");
        }
    }

    #[test]
    fn a_file_without_entries_has_an_index_too() {
        let files = Files::new(names(0..0));
        files.write(None);
        assert!(matches!(files.open().unwrap().find(KEYS, "a").unwrap(), Search::Absent));
    }

    #[test]
    fn as_many_keys_as_a_search_reaches_may_have_one_hash_and_no_more() {
        let of = Files::new(names(0..1)).json().1;
        for (count, has_index) in [(REACH - 1, true), (REACH, false)] {
            let slots = 2 * count as u64 + 1;
            let hashes = names(0..100_000).map(|key| KEYS.hash(&key));
            let hashes = hashes.filter(|hash| split(*hash, slots).0 == 0).take(count);
            let places: Vec<_> = hashes.map(|hash| (hash, Place { entry: 1, lines: 0 })).collect();
            assert_eq!(build(places.into_iter(), of, None).is_some(), has_index, "{count}");
        }
    }

    #[test]
    fn an_index_is_of_one_file_as_it_is_and_has_its_time() {
        let files = Files::new(names(0..3));
        assert!(files.open().is_none(), "there is no index");
        let hosts = files.json().1;
        files.write(Some(hosts));
        assert_eq!(files.open().unwrap().hosts, Some(hosts));
        files.write(None);
        assert_eq!(files.open().unwrap().hosts, None);
        let (file, before) = files.json();
        // A write in place that keeps the index, and one that does not.
        let later = before.modified + Duration::from_secs(1);
        let touch = |time| {
            let file = OpenOptions::new().write(true).open(files.path("json")).unwrap();
            file.set_modified(time).unwrap();
        };
        let indexed = files.open().unwrap();
        touch(later);
        assert!(files.open().is_none());
        indexed.keep().unwrap();
        assert!(files.open().is_some());
        touch(before.modified);
        assert!(files.open().is_none());
        for other in [
            Validity { inode: before.inode + 1, ..before },
            Validity { size: before.size + 1, ..before },
        ] {
            files.write(None);
            let file = file.try_clone().unwrap();
            assert!(Indexed::open(file, other, &files.path("index")).is_err());
        }
    }

    #[test]
    fn what_lies_behind_an_entry_moves_with_it() {
        let files = Files::new(names(0..1000));
        let (_, validity) = files.json();
        files.write(None);
        let place = files.places[300].1;
        files.open().unwrap().shift(place, [-3, 7], validity, Some(validity)).unwrap();
        let indexed = files.open().unwrap();
        assert_eq!(indexed.hosts, Some(validity));
        for (key, Place { entry, lines }) in &files.places {
            let mut expected = Place { entry: *entry, lines: *lines };
            if *entry > place.entry {
                expected = Place { entry: entry - 3, lines: lines + 7 };
            }
            let (home, tag) = split(KEYS.hash(key), indexed.slots);
            let mut reach = [0; REACH * SLOT];
            let start = HEADER as u64 + home * SLOT as u64;
            indexed.index.read_exact_at(&mut reach, start).unwrap();
            let found = reach.chunks(SLOT).map(read_slot).find(|slot| slot.0 == tag);
            assert_eq!(found, Some((tag, expected)), "{key}");
        }
    }

    #[test]
    fn a_place_that_a_slot_cannot_hold_makes_no_index() {
        let of = Files::new(names(0..1)).json().1;
        let built = |places: &[(&str, u64, u64)]| {
            let place = |(key, entry, lines): &(&str, u64, u64)| {
                (KEYS.hash(key), Place { entry: *entry, lines: *lines })
            };
            build(places.iter().map(place), of, None).is_some()
        };
        let most = u64::from(u32::MAX);
        assert!(built(&[]));
        assert!(built(&[("a", most, most)]));
        assert!(!built(&[("a", most + 1, 0)]));
        assert!(!built(&[("a", 1, most + 1)]));
        assert!(!built(&[("a", 0, 0)]));
    }

    proptest! {
        #[test]
        fn anything_may_stand_in_its_place(
            bytes in prop::collection::vec(any::<u8>(), 0..3000), is_headed: bool, key: String,
        ) {
            let files = Files::new(names(0..3));
            let (_, validity) = files.json();
            let head = if is_headed { header(validity, None) } else { Vec::new() };
            std::fs::write(files.path("index"), [head, bytes].concat()).unwrap();
            let index = OpenOptions::new().write(true).open(files.path("index")).unwrap();
            index.set_modified(validity.modified).unwrap();
            if let Some(indexed) = files.open() {
                prop_assert!(is_headed);
                let _ = indexed.find(KEYS, &key).unwrap();
                indexed.shift(Place::default(), [i32::MIN, i32::MAX], validity, None).unwrap();
            }
        }
    }
}

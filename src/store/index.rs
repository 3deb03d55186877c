//! An index: where in a sealed file ([`crate::store::sealed`]) the entry of a key begins.
//!
//! A table in a file, of which one small piece is read, however many keys it has. A key has its slot at
//! the place that its hash names, or else in the first free slot after that. A slot holds a part of the hash
//! and the place of the value, so keys stay out of it. There is no entry at byte 0: a free slot is zero.
//!
//! What the index says of a place is only where to look first: the text there has to be the key's.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha1::{Digest, Sha1};

/// The length of a slot in bytes: 4 of the hash, 4 of the place.
const SLOT: usize = 8;

/// How many slots a search looks at, at most.
const REACH: usize = 64;

/// What the index says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its value begins there.
    At(u64),
    /// The index has every key of its file, but not this one.
    Absent,
}

/// An index in a file, from a place on to the end.
#[derive(Debug)]
pub struct Index<'f> {
    file: &'f File,
    start: u64,
    slots: u64,
}

impl<'f> Index<'f> {
    /// The index that begins at `start`; `None` where there is none.
    pub fn open(file: &'f File, start: u64) -> io::Result<Option<Self>> {
        let slots = file.metadata()?.len().saturating_sub(start) / SLOT as u64;
        let slots = slots.checked_sub(REACH as u64 - 1).filter(|slots| *slots > 0);
        Ok(slots.map(|slots| Self { file, start, slots }))
    }

    /// Looks a key up.
    pub fn find(&self, key: &str) -> io::Result<Place> {
        let (home, tag) = hash(key, self.slots);
        let mut reach = [0; REACH * SLOT];
        self.file.read_exact_at(&mut reach, self.start + home * SLOT as u64)?;
        let slots = reach.chunks_exact(SLOT).map(read_slot).take_while(|(_, place)| *place != 0);
        let found = slots.into_iter().find(|(other, _)| *other == tag);
        Ok(found.map_or(Place::Absent, |(_, place)| Place::At(place.into())))
    }
}

/// The bytes of an index of these keys and places; `None` where it would not be right for all of them.
#[must_use]
pub fn build(keys: &[(&str, u64)]) -> Option<Vec<u8>> {
    // At most half full, so that the ways to free slots are short.
    let slots = 2 * keys.len() + 1;
    let mut table = vec![0; (slots + REACH - 1) * SLOT];
    for (key, place) in keys {
        let (home, tag) = hash(key, slots as u64);
        let place = u32::try_from(*place).ok().filter(|place| *place > 0)?;
        let home = usize::try_from(home).ok()? * SLOT;
        let mut reach = table.get_mut(home..)?.chunks_exact_mut(SLOT).take(REACH - 1);
        // The last slot of the reach is free, and ends every search.
        let slot = reach.find(|slot| read_slot(slot).1 == 0)?;
        slot.copy_from_slice(&[tag.to_le_bytes(), place.to_le_bytes()].concat());
    }
    Some(table)
}

/// The slot at which a key's search begins, and the part of its hash that the slot holds.
///
/// SHA-1, because it is here and the same everywhere, not for any safety.
fn hash(key: &str, slots: u64) -> (u64, u32) {
    let digest = Sha1::digest(key);
    let word = |at: usize| {
        let bytes = digest.get(at..).and_then(|rest| rest.first_chunk());
        u32::from_le_bytes(bytes.copied().unwrap_or_default())
    };
    ((u64::from(word(0)) * slots) >> 32, word(4))
}

fn read_slot(slot: &[u8]) -> (u32, u32) {
    let half = |at: usize| slot.get(at..).and_then(|rest| rest.first_chunk().copied());
    let number = |at| half(at).map_or(0, u32::from_le_bytes);
    (number(0), number(4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn all_of_many_keys_are_found_and_no_other() {
        let names: Vec<String> = (0..20_000).map(|n| format!("host{n}.example")).collect();
        let keys: Vec<_> = names.iter().map(String::as_str).zip(1..).collect();
        let (there, others) = keys.split_at(10_000);
        let file = file(&build(there).unwrap());
        let index = Index::open(&file, 0).unwrap().unwrap();
        for (key, place) in there {
            assert_eq!(index.find(key).unwrap(), Place::At(*place), "{key}");
        }
        for (key, _) in others {
            assert_eq!(index.find(key).unwrap(), Place::Absent, "{key}");
        }
    }

    #[test]
    fn a_place_that_a_slot_cannot_hold_makes_no_index() {
        assert!(build(&[("a", u64::from(u32::MAX))]).is_some());
        assert!(build(&[("a", u64::from(u32::MAX) + 1)]).is_none());
        assert!(build(&[("a", 0)]).is_none());
        // More keys of one hash than a search would look at.
        assert!(build(&[("a", 1); REACH - 1]).is_some());
        assert!(build(&[("a", 1); REACH]).is_none());
    }

    proptest! {
        #[test]
        fn anything_may_stand_in_its_place(bytes in prop::collection::vec(any::<u8>(), 0..700), key: String) {
            let file = file(&bytes);
            match Index::open(&file, 32).unwrap() {
                Some(index) => drop(index.find(&key).unwrap()),
                None => prop_assert!(bytes.len() < 32 + REACH * SLOT),
            }
        }
    }
}

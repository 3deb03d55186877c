//! The seal of a file: what tells whether it is still as it was when it was written here, or read
//! strictly.
//!
//! Whoever edits a file breaks its seal. The seals of the state and the hosts file are in the lock file of the
//! state. Because stamps are written in place all the time, the state's time is not in the lock file
//! but on it: the lock file is given the same time, which writes no further block. That of the
//! credentials is with their index ([`crate::store::credentials`]).

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

/// What tells whether a file is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    inode: u64,
    size: u64,
    modified: SystemTime,
}

impl Seal {
    /// The seal of a file as it is now.
    pub fn of(metadata: &Metadata) -> io::Result<Self> {
        Ok(Self { inode: metadata.ino(), size: metadata.len(), modified: metadata.modified()? })
    }

    /// The seal of an open file as it is now.
    pub fn of_file(file: &File) -> io::Result<Self> {
        Self::of(&file.metadata()?)
    }

    /// Whether this is the seal of the file still. The error is for the operator, who may have edited it.
    pub fn check(self, file: &File) -> io::Result<()> {
        if Self::of_file(file)? == self {
            return Ok(());
        }
        Err(io::Error::other(
            "it was edited meanwhile, without the lock: the next request tries again",
        ))
    }

    /// Whether the file was written so long ago that a further write would have another time: the
    /// clock of a file system ticks every 10 ms or so, that of some every 2 s.
    #[must_use]
    pub fn is_settled(self, now: DateTime<Utc>) -> bool {
        SystemTime::from(now).duration_since(self.modified).is_ok_and(|age| age.as_secs() >= 2)
    }

    /// The size of the file in bytes.
    #[must_use]
    pub fn size(self) -> u64 {
        self.size
    }

    /// The length of a seal as bytes: four numbers of eight.
    pub const LENGTH: usize = 4 * 8;

    /// Inode, size, seconds and nanoseconds; zeros for no seal.
    #[must_use]
    pub fn to_bytes(seal: Option<Self>) -> Vec<u8> {
        let numbers = seal.map_or([0; 4], |seal| {
            let time = seal.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            [seal.inode, seal.size, time.as_secs(), time.subsec_nanos().into()]
        });
        numbers.map(u64::to_le_bytes).concat()
    }

    /// What [`Seal::to_bytes`] was made from.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(*bytes.get(8 * at..)?.first_chunk()?));
        // Not `Duration::new`, which panics where the seconds overflow.
        let time = Duration::from_secs(number(2)?).checked_add(Duration::from_nanos(number(3)?))?;
        let modified = SystemTime::UNIX_EPOCH.checked_add(time)?;
        Some(Self { inode: number(0)?, size: number(1)?, modified }).filter(|seal| seal.size > 0)
    }
}

/// The seals in the lock file of the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seals {
    /// Of the state: it is what this program would write, and no two hosts have the same name.
    pub state: Option<Seal>,
    /// Of the hosts file: it is that of the sealed state.
    pub hosts: Option<Seal>,
}

impl Seals {
    /// The length of the seals in the lock file. The index of the state follows.
    pub const LENGTH: usize = 2 * Seal::LENGTH;

    /// The seals in a lock file.
    pub fn read(lock: &File) -> io::Result<Self> {
        let mut bytes = [0; Self::LENGTH];
        let length = lock.read_at(&mut bytes, 0)?;
        let mut seals = bytes.get(..length).unwrap_or_default().chunks(Seal::LENGTH);
        let mut next = || seals.next().and_then(Seal::from_bytes);
        let (state, hosts) = (next(), next());
        let modified = lock.metadata()?.modified()?;
        Ok(Self { state: state.map(|seal| Seal { modified, ..seal }), hosts })
    }

    /// Puts the seals into the lock file, in one write: a reader sees these or the `old` ones.
    pub fn write(&self, lock: &File, old: &Self) -> io::Result<()> {
        let bytes = self.to_bytes();
        if bytes != old.to_bytes() {
            lock.write_all_at(&bytes, 0)?;
        }
        self.state.map_or(Ok(()), |seal| lock.set_modified(seal.modified))
    }

    fn to_bytes(&self) -> Vec<u8> {
        // The time of the state is on the lock file, not in it.
        let state = self.state.map(|seal| Seal { modified: SystemTime::UNIX_EPOCH, ..seal });
        [state, self.hosts].map(Seal::to_bytes).concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn seals_are_read_back_and_the_states_time_is_on_the_lock_file() {
        let (lock, other) = (file(""), file("{}"));
        let seal = Seal::of(&other.metadata().unwrap()).ok();
        assert_eq!(Seals::read(&lock).unwrap(), Seals::default());
        let mut seals = Seals { state: seal, hosts: None };
        seals.write(&lock, &Seals::default()).unwrap();
        assert_eq!(Seals::read(&lock).unwrap(), seals);
        assert_eq!(lock.metadata().unwrap().modified().unwrap(), seal.unwrap().modified);
        seals.hosts = seal;
        seals.write(&lock, &Seals::default()).unwrap();
        assert_eq!(Seals::read(&lock).unwrap(), seals);
        lock.set_len(40).unwrap();
        lock.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let torn = Seals::read(&lock).unwrap();
        assert!(torn.state != seal && torn.hosts.is_none(), "{torn:?}");
    }

    #[test]
    fn anything_may_stand_in_a_lock_file() {
        let other =
            |byte| [0x00, 0x01, 0x7f, 0xff].map(|first| [[first; 8], [byte; 8]].concat().repeat(6));
        let huge = u64::from(u32::MAX).to_le_bytes();
        let late = [[1; 8], [1; 8], [0xff; 8], huge].concat().repeat(3);
        for bytes in [0x00, 0x01, 0x7f, 0xff].into_iter().flat_map(other).chain([late]) {
            let lock = file("");
            lock.write_all_at(&bytes, 0).unwrap();
            let seals = Seals::read(&lock).unwrap();
            assert!(seals.hosts.is_none_or(|seal| seal.size > 0), "{bytes:?}");
        }
    }

    #[test]
    fn any_write_breaks_the_seal() {
        let mut file = file("{}");
        let seal = || Seal::of(&file.metadata().unwrap()).unwrap();
        let before = seal();
        assert_eq!(seal(), before);
        // The clock of a file system may tick every 10 ms.
        std::thread::sleep(Duration::from_millis(20));
        file.write_all_at(b"[", 0).unwrap();
        assert_ne!(Seal::of(&file.metadata().unwrap()).unwrap(), before);
        file.write_all(b" ").unwrap();
        assert_ne!(Seal::of(&file.metadata().unwrap()).unwrap().size, before.size);
    }
}

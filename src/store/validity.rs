//! What tells whether a file is still the one that was read: its inode, its size, and when it was
//! last written. git keeps the same of each file in its index, as `stat_validity`.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use chrono::{DateTime, Utc};

/// What tells whether a file is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The number of the file in its file system.
    pub inode: u64,
    /// The size in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

impl Validity {
    /// That of a file as it is now.
    pub fn of(metadata: &Metadata) -> io::Result<Self> {
        Ok(Self { inode: metadata.ino(), size: metadata.len(), modified: metadata.modified()? })
    }

    /// That of an open file as it is now.
    pub fn of_file(file: &File) -> io::Result<Self> {
        Self::of(&file.metadata()?)
    }

    /// That of the file at a path; `None` if there is none.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        Self::of(&fs::metadata(path).ok()?).ok()
    }

    /// The text of the file, of which this is known. With the size at hand, that is one call.
    pub fn read(self, file: &File) -> io::Result<String> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or_default());
        file.take(self.size).read_to_end(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| io::Error::new(ErrorKind::InvalidData, "is not UTF-8"))
    }

    /// Whether the file was written at least two seconds ago, so that another write would have
    /// another time: the clocks of file systems tick every 10 ms, or every 2 s. git calls younger
    /// files "racily clean".
    #[must_use]
    pub fn is_settled(self, now: DateTime<Utc>) -> bool {
        SystemTime::from(now).duration_since(self.modified).is_ok_and(|age| age.as_secs() >= 2)
    }
}

/// Whether what is at the path is still what it was, or still nothing. Somebody may have edited the
/// file, or put another one in its place, as most editors do.
pub fn check(path: &Path, was: Option<Validity>) -> io::Result<()> {
    if Validity::at(path) == was {
        return Ok(());
    }
    Err(io::Error::other("it was edited meanwhile, without the lock: the next request tries again"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::FileExt;
    use std::time::Duration;

    #[test]
    fn any_write_makes_another_file_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"{}").unwrap();
        let validity = || Validity::of_file(&file).unwrap();
        let before = validity();
        assert_eq!(validity(), before);
        assert!(check(&path, Some(before)).is_ok());
        // The clock of a file system may tick every 10 ms.
        std::thread::sleep(Duration::from_millis(20));
        file.write_all_at(b"[", 0).unwrap();
        assert_ne!(validity(), before);
        assert!(check(&path, Some(before)).is_err());
        file.write_all(b" ").unwrap();
        assert_ne!(Validity::of_file(&file).unwrap().size, before.size);
        let open = Validity::of_file(&file).unwrap();
        assert!(check(&path, Some(open)).is_ok());
        assert!(check(&path, None).is_err());
        fs::remove_file(&path).unwrap();
        assert!(check(&path, Some(open)).is_err());
        assert!(check(&path, None).is_ok());
        fs::write(&path, "[} ").unwrap();
        assert!(check(&path, Some(open)).is_err());
    }

    #[test]
    fn a_file_is_settled_after_two_seconds() {
        let file = tempfile::tempfile().unwrap();
        let modified = DateTime::parse_from_rfc3339("2026-11-23T12:00:00Z").unwrap().to_utc();
        file.set_modified(modified.into()).unwrap();
        let validity = Validity::of_file(&file).unwrap();
        for (seconds, expected) in [(-1, false), (0, false), (1, false), (2, true), (3, true)] {
            let now = modified + chrono::TimeDelta::seconds(seconds);
            assert_eq!(validity.is_settled(now), expected, "{seconds}");
        }
    }
}

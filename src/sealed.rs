//! The fast path: finds an entry of a large file by searching for its text, without parsing the rest.
//!
//! That is right only in a file of which two things are known:
//!
//! - *It is unchanged* since it was written here, or read strictly. The lock file of the state keeps a
//!   [`Seal`] for each file: its inode, size and time of modification. Whoever edits a file breaks
//!   its seal. Because stamps are written in place all the time, the state's time is not in the lock
//!   file but on it: the lock file is given the same time, which writes no further block.
//! - *Its layout*, which is checked before it is sealed. In the JSON files, each entry begins with a
//!   line feed, four spaces and its key, and nothing else does: what is nested stands further to the
//!   right, and a JSON string has no line feed. So `\n    "KEY": ` is there once, where the entry
//!   with this key begins. The hosts file is that of the state, so it has the lines of each host.
//!
//! What was found is parsed as strictly as ever. Where there is no seal, or nothing is found, the whole
//! file is read.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, SystemTime};

use memchr::memmem::{self, Finder};
use serde_json::value::RawValue;

/// How much is searched at a time, in bytes. Small, since fresh memory costs more than the search.
const WINDOW: usize = 32 << 10;

/// The length of a seal's line in bytes.
const LINE: usize = 73;

/// How much of an entry is read at first, in bytes.
const ENTRY: usize = 4 << 10;

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

    /// The size of the file in bytes.
    #[must_use]
    pub fn size(self) -> u64 {
        self.size
    }
}

/// The seals in the lock file of the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seals {
    /// Of the state: it is what this program would write, and no two hosts have the same name.
    pub state: Option<Seal>,
    /// Of the hosts file: it is that of the sealed state.
    pub hosts: Option<Seal>,
    /// Of the credentials: valid JSON in the layout above, and no two users have the same name.
    pub credentials: Option<Seal>,
}

impl Seals {
    /// The seals in a lock file. Without the lock, the one of the credentials alone can be relied on.
    pub fn read(lock: &File) -> io::Result<Self> {
        let mut text = [0; 3 * LINE];
        let length = lock.read_at(&mut text, 0)?;
        let text = text.get(..length).and_then(|text| std::str::from_utf8(text).ok());
        let mut lines = text.unwrap_or_default().lines().map(parse);
        let mut next = || lines.next().flatten();
        let state = next();
        let modified = lock.metadata()?.modified()?;
        Ok(Self {
            state: state.map(|seal| Seal { modified, ..seal }),
            hosts: next(),
            credentials: next(),
        })
    }

    /// Puts the seals into the lock file, in one write: a reader sees these or the `old` ones.
    pub fn write(&self, lock: &File, old: &Self) -> io::Result<()> {
        let text = self.to_text();
        if text != old.to_text() {
            lock.write_all_at(text.as_bytes(), 0)?;
        }
        self.state.map_or(Ok(()), |seal| lock.set_modified(seal.modified))
    }

    fn to_text(&self) -> String {
        // The time of the state is on the lock file, not in it.
        let state = self.state.map(|seal| Seal { modified: SystemTime::UNIX_EPOCH, ..seal });
        [state, self.hosts, self.credentials].map(line).concat()
    }
}

/// A seal as a line: inode, size, seconds and nanoseconds; zeros for none. Always as long, so that the
/// lines replace the last ones whole.
fn line(seal: Option<Seal>) -> String {
    let epoch = SystemTime::UNIX_EPOCH;
    let Seal { inode, size, modified } =
        seal.unwrap_or(Seal { inode: 0, size: 0, modified: epoch });
    let time = modified.duration_since(epoch).unwrap_or_default();
    format!("{inode:020} {size:020} {:020}.{:09}\n", time.as_secs(), time.subsec_nanos())
}

fn parse(line: &str) -> Option<Seal> {
    let mut words = line.split([' ', '.']).map(|word| word.parse::<u64>().ok());
    let mut next = || words.next().flatten();
    let (inode, size) = (next()?, next()?);
    let time = Duration::new(next()?, u32::try_from(next()?).ok()?);
    let modified = SystemTime::UNIX_EPOCH.checked_add(time)?;
    (size > 0).then_some(Seal { inode, size, modified })
}

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

/// An entry of a sealed file.
#[derive(Debug)]
pub struct Entry {
    /// Where its value begins in the file.
    pub offset: u64,
    /// Its value.
    pub json: String,
}

/// Searches a sealed JSON file for the entry with this key.
pub fn find(file: &File, key: &str) -> io::Result<Search> {
    if !is_plain(key) {
        return Ok(Search::Unsure);
    }
    let needle = format!("\n    \"{key}\": ");
    let Some(start) = position(file, needle.as_bytes())? else { return Ok(Search::Absent) };
    let offset = start + needle.len() as u64;
    let mut window = vec![0; ENTRY];
    loop {
        let length = read_up_to(file, &mut window, offset)?;
        let text = window.get(..length).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
        match values.next() {
            Some(Ok(value)) => {
                return Ok(Search::Found(Entry { offset, json: value.get().to_owned() }));
            }
            Some(Err(error)) if error.is_eof() && length == window.len() => {
                window.resize(2 * length, 0);
            }
            Some(Err(_)) | None => return Ok(Search::Unsure),
        }
    }
}

/// Whether a key stands in a sealed file as it is, if it is there at all.
fn is_plain(key: &str) -> bool {
    key.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'/'))
}

/// Where in a file `needle` is. All of the file is searched wherever it is, so that the time does not
/// tell.
pub fn position(file: &File, needle: &[u8]) -> io::Result<Option<u64>> {
    let finder = Finder::new(needle);
    let mut window = vec![0; WINDOW];
    let (mut offset, mut kept, mut found) = (0, 0, None);
    loop {
        let fresh = window.get_mut(kept..).unwrap_or_default();
        let length = kept + read_up_to(file, fresh, offset + kept as u64)?;
        let text = window.get(..length).unwrap_or_default();
        found = found.or(finder.find(text).map(|at| offset + at as u64));
        if length < WINDOW {
            return Ok(found);
        }
        // The needle may lie across two windows.
        kept = needle.len().saturating_sub(1).min(length);
        window.copy_within(length - kept.., 0);
        offset += (length - kept) as u64;
    }
}

/// Fills the buffer as far as the file reaches.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Whether a valid JSON text has the layout of a sealed file. Where a key is there twice, it has not.
#[must_use]
pub fn is_laid_out(text: &str) -> bool {
    // A key with an escape is no `&str`.
    let Ok(entries) = serde_json::from_str::<BTreeMap<&str, &RawValue>>(text) else { return false };
    let begins_its_line = |(key, value): (&&str, &&RawValue)| {
        let offset = value.get().as_ptr().addr() - text.as_ptr().addr();
        text.get(..offset).is_some_and(|before| before.ends_with(&format!("\n    \"{key}\": ")))
    };
    entries.iter().all(begins_its_line)
        && memmem::find_iter(text.as_bytes(), "\n    \"").count() == entries.len()
}

/// A file with one part replaced.
#[derive(Debug)]
pub struct Splice {
    /// The file as it is.
    pub file: File,
    /// The part that is replaced.
    pub part: Range<u64>,
    /// What comes in its place.
    pub text: String,
}

impl Splice {
    /// Writes the new contents. The kernel copies the rest, without memory of ours.
    pub fn write_to(&self, new: &mut File) -> io::Result<()> {
        use io::{Read, Seek, SeekFrom, Write};
        let mut old = &self.file;
        old.rewind()?;
        io::copy(&mut old.take(self.part.start), new)?;
        new.write_all(self.text.as_bytes())?;
        old.seek(SeekFrom::Start(self.part.end))?;
        io::copy(&mut old, new)?;
        Ok(())
    }
}

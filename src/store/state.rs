//! The state: which host has which address, and which stamp it was given with.
//!
//! An open [`State`] holds the lock, so what it reads stays true until it is dropped. A stamp alone
//! is written over the old one in place; anything else replaces the file. Where the files are
//! sealed ([`crate::store::sealed`]), only the host's entry is read.

mod change;

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

pub use self::change::{Change, Step};
use crate::config::Store;
use crate::fault::{Fault, json_position};
use crate::protocol::host::HostName;
use crate::protocol::stamp::Zone;
use crate::store::hosts;
use crate::store::index::{self, Index, Place};
use crate::store::lock::Lock;
use crate::store::lookup;
use crate::store::php_json;
use crate::store::record::{self, Record};
use crate::store::replace::companion;
use crate::store::seal::{Seal, Seals};
use crate::store::sealed::{self, Entry, SealedFile, Search};

/// The largest state that is read, in bytes: over half a million hosts. A larger file is a mistake,
/// which must not cost the machine its memory.
pub const MAX: u64 = 64 << 20;

/// The state under its lock.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    hosts: PathBuf,
    zone: Zone,
    source: Source,
    /// All of the text, once it has been read.
    text: OnceCell<String>,
    /// The seals as they are in the lock file.
    seals: Seals,
    lock: Lock,
}

/// Where the text of a state comes from.
#[derive(Debug)]
enum Source {
    /// From the state file, all of which is read.
    File(File, Seal),
    /// From the state file, whose seal is whole.
    Sealed(SealedFile),
    /// There was nothing in the state file, or no file, so it is what the hosts file tells.
    Hosts,
}

/// How long to wait for the lock.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// As long as a client waits: key `lock_timeout`.
    Client,
    /// As long as it takes.
    Endless,
}

/// A host's entry in the state.
#[derive(Debug)]
pub struct HostEntry {
    /// What it says.
    pub record: Record,
    /// Whether the state has the host in one spelling. PHP told names apart by case.
    pub is_only_one: bool,
    fields: Map<String, Value>,
    /// The same as it stands in the file.
    text: Entry,
}

impl State {
    /// Takes the lock and reads the state, unless it is sealed. One that is missing or empty is
    /// rebuilt from the hosts file; one that is broken is a fault, and stays as it is.
    pub fn open(store: &Store, patience: Patience) -> Result<Self, Fault> {
        let path = store.state.clone();
        let lock_file = companion(&path, "lock");
        let lock = match patience {
            Patience::Client => {
                Lock::acquire(&lock_file, Duration::from_secs(store.lock_timeout.into()))?
            }
            Patience::Endless => Lock::wait(&lock_file)?,
        };
        let seals = Seals::read(lock.file()).unwrap_or_default();
        let (source, text) = match open(&path, OpenOptions::new().read(true).write(true))? {
            Some((file, seal)) => match SealedFile::new(file, seal, seals.state) {
                Ok(file) => (Source::Sealed(file), OnceCell::new()),
                Err(file) => match read(&file, seal, &path)? {
                    text if lookup::is_empty_map(&text) => (Source::Hosts, rebuild(store)?.into()),
                    text => (Source::File(file, seal), text.into()),
                },
            },
            None => (Source::Hosts, rebuild(store)?.into()),
        };
        Ok(Self {
            path,
            hosts: store.hosts.clone(),
            zone: store.time_zone,
            source,
            text,
            seals,
            lock,
        })
    }

    /// The same state, all of which is read, whatever is sealed.
    pub fn read_whole(self) -> Result<Self, Fault> {
        self.text()?;
        let source = match self.source {
            Source::Sealed(file) => {
                let seal = file.seal();
                Source::File(file.into_file(), seal)
            }
            source @ (Source::File(..) | Source::Hosts) => source,
        };
        Ok(Self { source, ..self })
    }

    /// The entry of a host.
    pub fn entry(&self, host: &HostName) -> Result<Option<HostEntry>, Fault> {
        let Some((text, is_only_one)) = self.find(host)? else { return Ok(None) };
        let fields: Map<String, Value> = serde_json::from_str(&text.json).map_err(|error| {
            self.broken(format_args!("the record of {host} {}", json_position(&error)))
        })?;
        let stamp = record::stamp(&fields, self.zone)
            .map_err(|why| self.broken(format_args!("the record of {host}: {why}")))?;
        let record = Record { addresses: record::addresses(&fields).collect(), stamp };
        Ok(Some(HostEntry { record, is_only_one, fields, text }))
    }

    /// The entry of a host, the last of several, and whether there is no other.
    fn find(&self, host: &HostName) -> Result<Option<(Entry, bool)>, Fault> {
        if let Source::Sealed(file) = &self.source {
            let found = self
                .search(file, host.as_str())
                .map_err(|error| Fault::io("read the state", &self.path, &error))?;
            if let Search::Found(entry) = found {
                return Ok(Some((entry, true)));
            }
        }
        let text = self.text()?;
        if lookup::is_empty_map(text) {
            return Ok(None);
        }
        let count = Cell::new(0);
        let is_host = |name: &str| {
            let is_it = host.is(name);
            count.set(count.get() + u32::from(is_it));
            is_it
        };
        let found =
            lookup::find(text, is_host).map_err(|error| self.broken(json_position(&error)))?;
        let entry = |json: &RawValue| Entry {
            offset: lookup::offset(text, json) as u64,
            json: json.get().to_owned(),
        };
        Ok(found.map(|json| (entry(json), count.get() == 1)))
    }

    /// Searches the sealed state, at first where the index has the entry.
    fn search(&self, file: &SealedFile, name: &str) -> io::Result<Search> {
        if file.seal().size() <= sealed::SMALL {
            return file.find(name);
        }
        let index = Index::open(self.lock.file(), Seals::LENGTH as u64)?;
        if let Some(Place::At(place)) = index.map(|index| index.find(name)).transpose()? {
            if let Some(found) = file.find_near(place, name)? {
                return Ok(found);
            }
        }
        let found = file.find(name)?;
        if let Search::Found(_) = found {
            self.write_index();
        }
        Ok(found)
    }

    /// Writes the index of a sealed state that has none, or one of long ago. Where that fails, the next
    /// request searches all of the state as well.
    fn write_index(&self) {
        let Ok(text) = self.text() else { return };
        if let Some(index) = index::build(&sealed::keys(text)) {
            let lock = self.lock.file();
            let start = Seals::LENGTH as u64;
            let _ = lock
                .set_len(start + index.len() as u64)
                .and_then(|()| lock.write_all_at(&index, start))
                .and_then(|()| self.seals.write(lock, &self.seals));
        }
    }

    /// The state file, and its seal from before it was read.
    fn file(&self) -> Option<(&File, Seal)> {
        match &self.source {
            Source::File(file, seal) => Some((file, *seal)),
            Source::Sealed(sealed) => Some((sealed.file(), sealed.seal())),
            Source::Hosts => None,
        }
    }

    /// The hosts file, if it is known to be that of the state.
    fn sealed_hosts(&self) -> Option<SealedFile> {
        let Source::Sealed(_) = &self.source else { return None };
        let file = File::open(&self.hosts).ok()?;
        let seal = Seal::of_file(&file).ok()?;
        SealedFile::new(file, seal, self.seals.hosts).ok()
    }

    /// Whether the hosts file is known to be that of the state, without reading either.
    #[must_use]
    pub fn knows_hosts(&self) -> bool {
        self.sealed_hosts().is_some()
    }

    /// The whole state.
    pub fn parse(&self) -> Result<Map<String, Value>, Fault> {
        lookup::parse_map(self.text()?).map_err(|error| self.broken(json_position(&error)))
    }

    /// The whole text.
    fn text(&self) -> Result<&str, Fault> {
        if let (Source::Sealed(file), None) = (&self.source, self.text.get()) {
            let _ = self.text.set(read(file.file(), file.seal(), &self.path)?);
        }
        Ok(self.text.get().map_or("", String::as_str))
    }

    /// How many hosts were taken from the hosts file because there was no state.
    pub fn rebuilt_hosts(&self) -> Result<usize, Fault> {
        match self.source {
            Source::File(..) | Source::Sealed(..) => Ok(0),
            Source::Hosts => Ok(self.parse()?.len()),
        }
    }

    fn broken(&self, why: impl fmt::Display) -> Fault {
        broken(&self.path, why)
    }
}

/// The whole state at this moment, without the lock, for those who only look. The file is replaced
/// whole, and a stamp is one small write, so what is read is what was there, or what comes.
pub fn snapshot(store: &Store) -> Result<Map<String, Value>, Fault> {
    let path = &store.state;
    let text = match open(path, OpenOptions::new().read(true))? {
        Some((file, seal)) => read(&file, seal, path)?,
        None => String::new(),
    };
    // As the next update will see it.
    let text = if lookup::is_empty_map(&text) { rebuild(store)? } else { text };
    lookup::parse_map(&text).map_err(|error| broken(path, json_position(&error)))
}

fn broken(path: &Path, why: impl fmt::Display) -> Fault {
    Fault::new(
        path.display(),
        format_args!(
            "the state is left as it is, since it is broken: {why}; correct it or restore a copy"
        ),
    )
}

/// The state file and its seal; `None` where there is none.
fn open(path: &Path, options: &OpenOptions) -> Result<Option<(File, Seal)>, Fault> {
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Fault::io("open the state", path, &error)),
    };
    let seal =
        Seal::of_file(&file).map_err(|error| Fault::io("examine the state", path, &error))?;
    Ok(Some((file, seal)))
}

/// The text of the state file.
fn read(mut file: &File, seal: Seal, path: &Path) -> Result<String, Fault> {
    let size = seal.size();
    if size > MAX {
        return Err(Fault::new(
            path.display(),
            format_args!("the state has {size} bytes, over {MAX}"),
        ));
    }
    let mut text = String::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    file.read_to_string(&mut text).map_err(|error| Fault::io("read the state", path, &error))?;
    Ok(text)
}

/// The text of the state that the hosts file tells of.
fn rebuild(store: &Store) -> Result<String, Fault> {
    let Some(hosts) = hosts::read(&store.hosts)? else { return Ok(String::new()) };
    let state = hosts::to_state(&hosts, store.time_zone);
    let bytes =
        php_json::to_bytes(&state).map_err(|error| Fault::new(store.hosts.display(), error))?;
    String::from_utf8(bytes).map_err(|error| Fault::new(store.hosts.display(), error))
}

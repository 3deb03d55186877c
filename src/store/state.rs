//! The state: which host has which address, and which stamp it was given with.
//!
//! An open [`State`] holds the lock, so what it reads stays true until it is dropped. It is either
//! indexed or whole, and nothing is searched:
//!
//! - *Indexed*: the index knows the file as it is. Of a host, its one entry is read.
//! - *Whole*: all of the file is read, as strictly as it can be, and kept as its text.
//!
//! An entry that is not where the index says makes an indexed state a whole one.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::config;
use crate::fault::{Fault, json_position};
use crate::protocol::host::HostName;
use crate::store::expiry::Expiry;
use crate::store::index::{Indexed, Search};
use crate::store::json::{self, Entry};
use crate::store::keys::Keys;
use crate::store::lock::Lock;
use crate::store::object::Object;
use crate::store::record::{self, Record};
use crate::store::replace::{Readers, companion, replace_if};
use crate::store::validity::{Validity, check};
use crate::store::{hosts, hosts_file};

/// The largest state that is read, in bytes: over half a million hosts. A larger file is a mistake,
/// which must not cost the machine its memory.
const MAX: u64 = 64 << 20;

/// How long to wait for the lock.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// As long as a client waits: key `lock_timeout`.
    Client,
    /// As long as it takes.
    Endless,
}

/// The state under its lock.
#[derive(Debug)]
pub struct State {
    pub(super) settings: config::Store,
    pub(super) contents: Contents,
    pub(super) lock: Lock,
}

/// What is known of a state.
#[derive(Debug)]
pub(super) enum Contents {
    Indexed(Indexed),
    Whole(Whole),
}

/// A state that has been read.
#[derive(Debug)]
pub(super) struct Whole {
    /// The state file; `None` if all this comes from the hosts file, because there was no state, or
    /// nothing in it.
    pub(super) file: Option<File>,
    /// What was at its path before it was read.
    pub(super) was: Option<Validity>,
    pub(super) hosts: Object,
}

/// A host's entry in the state.
#[derive(Debug)]
pub(crate) struct HostEntry {
    /// What it says.
    pub record: Record,
    /// Whether the state has the host in one spelling. PHP told names apart by case.
    pub is_only_one: bool,
    /// Where it stands.
    pub(super) at: Entry,
    /// Its value as it stands there.
    pub(super) json: String,
    /// The same, read.
    pub(super) fields: Map<String, Value>,
    /// Where its lines are in the hosts file, if the index knows.
    pub(super) lines: Option<u64>,
}

impl State {
    /// Takes the lock and opens the state. A missing or empty state is rebuilt from the hosts file.
    /// A broken state is a fault, and stays as it is.
    ///
    /// If hosts expire, the state is read whole: only all of it tells who has.
    pub fn open(settings: &config::Store, patience: Patience) -> Result<Self, Fault> {
        let lock_file = companion(&settings.state, "lock");
        let lock = match patience {
            Patience::Client => Lock::acquire_in_turn(
                &lock_file,
                Duration::from_secs(settings.lock_timeout.into()),
            )?,
            Patience::Endless => Lock::wait(&lock_file)?,
        };
        let contents = match open(&settings.state, OpenOptions::new().read(true).write(true))? {
            None => Contents::Whole(rebuild(settings, None)?),
            Some((file, validity)) if settings.expire_after > 0 => {
                Contents::Whole(read(file, validity, settings)?)
            }
            Some((file, validity)) => match Indexed::open(file, validity, &index_path(settings)) {
                Ok(indexed) => Contents::Indexed(indexed),
                Err(file) => Contents::Whole(read(file, validity, settings)?),
            },
        };
        Ok(Self { settings: settings.clone(), contents, lock })
    }

    /// The entry of a host: the last one, if there are several.
    pub(crate) fn entry(&mut self, host: &HostName) -> Result<Option<HostEntry>, Fault> {
        if let Contents::Indexed(indexed) = &self.contents {
            let found = indexed
                .find(Keys::OfHosts, host.as_str())
                .map_err(|error| Fault::io("read the state", &self.settings.state, &error))?;
            if let Search::Found { entry, json, lines } = found {
                return self.host_entry(host, entry, json, true, Some(lines)).map(Some);
            }
        }
        let found = self.read_whole()?.hosts.find(host.as_str());
        let Some((entry, json, is_only_one)) = found else { return Ok(None) };
        let json = json.to_owned();
        self.host_entry(host, entry, json, is_only_one, None).map(Some)
    }

    fn host_entry(
        &self,
        host: &HostName,
        at: Entry,
        json: String,
        is_only_one: bool,
        lines: Option<u64>,
    ) -> Result<HostEntry, Fault> {
        let fields: Map<String, Value> = serde_json::from_str(&json).map_err(|error| {
            let why = json_position(&error);
            self.broken(format_args!("the record of {host} {why}"))
        })?;
        let stamp = record::stamp(&fields, self.settings.time_zone)
            .map_err(|why| self.broken(format_args!("the record of {host}: {why}")))?;
        let record = Record { addresses: record::addresses(&fields).collect(), stamp };
        Ok(HostEntry { record, is_only_one, at, json, fields, lines })
    }

    /// Makes sure that all of the state is read.
    pub fn read(&mut self) -> Result<(), Fault> {
        self.read_whole().map(drop)
    }

    /// All of the state, which takes ten times the memory of its text.
    pub fn map(&mut self) -> Result<Map<String, Value>, Fault> {
        let map = json::parse(self.read_whole()?.hosts.text());
        map.map_err(|error| unreadable(&self.settings.state, &error))
    }

    /// Whether the hosts file is what the state says.
    pub(crate) fn has_its_hosts(&mut self, expiry: &Expiry) -> Result<bool, Fault> {
        let path = self.settings.hosts.clone();
        Ok(hosts_file::compare(&path, &self.read_whole()?.hosts, expiry)?.is_some())
    }

    /// Writes the hosts file.
    pub(crate) fn write_hosts(&mut self, expiry: &Expiry) -> Result<(), Fault> {
        let path = self.settings.hosts.clone();
        hosts_file::write(&path, &self.read_whole()?.hosts, expiry).map(drop)
    }

    /// Reads all of the state, if it is only indexed.
    fn read_whole(&mut self) -> Result<&Whole, Fault> {
        if let Contents::Indexed(Indexed { file, validity, .. }) = &self.contents {
            let path = &self.settings.state;
            let file =
                file.try_clone().map_err(|error| Fault::io("read the state", path, &error))?;
            self.contents = Contents::Whole(read(file, *validity, &self.settings)?);
        }
        match &self.contents {
            Contents::Whole(whole) => Ok(whole),
            Contents::Indexed(_) => Err(self.broken("it was not read")),
        }
    }

    /// Whether the hosts file is known to be that of the state, without reading either. It never is
    /// if hosts expire, since then there is no index.
    #[must_use]
    pub(crate) fn knows_hosts(&self) -> bool {
        match &self.contents {
            Contents::Indexed(indexed) => {
                indexed.hosts.is_some() && indexed.hosts == Validity::at(&self.settings.hosts)
            }
            Contents::Whole(_) => false,
        }
    }

    /// How many hosts were taken from the hosts file, because there was no state.
    #[must_use]
    pub fn rebuilt_hosts(&self) -> usize {
        match &self.contents {
            Contents::Whole(Whole { file: None, hosts, .. }) => hosts.len(),
            Contents::Whole(Whole { file: Some(_), .. }) | Contents::Indexed(_) => 0,
        }
    }

    /// What the operator should know, if there was no state.
    #[must_use]
    pub(crate) fn notice(&self) -> Option<Fault> {
        let (count, hosts) = (self.rebuilt_hosts(), self.settings.hosts.display());
        let reason = format!("the state was missing or empty: {count} hosts taken from {hosts}");
        (count > 0).then(|| Fault::new(self.settings.state.display(), reason))
    }

    /// Puts `new` in the place of the state file.
    pub fn replace(&self, new: &Map<String, Value>) -> Result<(), Fault> {
        let path = &self.settings.state;
        let text = json::to_string(new).map_err(|error| Fault::new(path.display(), error))?;
        let write = |file: &mut File| file.write_all(text.as_bytes());
        let unchanged = || check(path, self.contents.was());
        replace_if(path, write, unchanged, Readers::Everybody).map(drop)
    }

    /// Removes the index. An edit within one tick of the file system's clock, or one that kept size
    /// and time, can leave an index that still takes the state for what it was.
    pub fn forget_index(&self) {
        let _ = fs::remove_file(index_path(&self.settings));
    }

    pub(super) fn broken(&self, why: impl fmt::Display) -> Fault {
        broken(&self.settings.state, why)
    }
}

impl Contents {
    /// The state file, if that is where the state comes from.
    pub(super) fn file(&self) -> Option<&File> {
        match self {
            Self::Indexed(indexed) => Some(&indexed.file),
            Self::Whole(whole) => whole.file.as_ref(),
        }
    }

    /// What was at the path of the state when it was opened.
    pub(super) fn was(&self) -> Option<Validity> {
        match self {
            Self::Indexed(indexed) => Some(indexed.validity),
            Self::Whole(whole) => whole.was,
        }
    }

    /// All of it, read if it is only indexed.
    pub(super) fn into_whole(self, settings: &config::Store) -> Result<Whole, Fault> {
        match self {
            Self::Indexed(indexed) => read(indexed.file, indexed.validity, settings),
            Self::Whole(whole) => Ok(whole),
        }
    }
}

/// The whole state at this moment, without the lock, for those who only look. The file is replaced
/// whole, and a stamp is one small write, so what is read is what was there, or what comes.
pub fn snapshot(settings: &config::Store) -> Result<Map<String, Value>, Fault> {
    let whole = match open(&settings.state, OpenOptions::new().read(true))? {
        Some((file, validity)) => read(file, validity, settings)?,
        None => rebuild(settings, None)?,
    };
    json::parse(whole.hosts.text()).map_err(|error| unreadable(&settings.state, &error))
}

/// The index of the state.
pub(super) fn index_path(settings: &config::Store) -> PathBuf {
    companion(&settings.state, "index")
}

fn broken(path: &Path, why: impl fmt::Display) -> Fault {
    Fault::new(
        path.display(),
        format_args!(
            "the state is broken, and stays as it is: {why}; correct it or restore a copy"
        ),
    )
}

/// A fault of a state that is broken as a whole, rather than in a record.
fn unreadable(path: &Path, error: &serde_json::Error) -> Fault {
    let why = json_position(error);
    let fate = "the state is broken, and stays as it is";
    let advice = "run ddnsctl rebuild, or restore a copy";
    Fault::new(path.display(), format_args!("{fate}: it {why}; {advice}"))
}

/// The state file, and what it is before it is read; `None` if there is none.
fn open(path: &Path, options: &OpenOptions) -> Result<Option<(File, Validity)>, Fault> {
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Fault::io("open the state", path, &error)),
    };
    let validity =
        Validity::of_file(&file).map_err(|error| Fault::io("examine the state", path, &error))?;
    Ok(Some((file, validity)))
}

/// Reads the state file. If there is nothing in it, the hosts file tells.
fn read(file: File, validity: Validity, settings: &config::Store) -> Result<Whole, Fault> {
    let (path, size) = (&settings.state, validity.size);
    if size > MAX {
        let reason = format!("the state has {size} bytes, over {MAX}");
        return Err(Fault::new(path.display(), reason));
    }
    let text = validity.read(&file).map_err(|error| Fault::io("read the state", path, &error))?;
    if json::is_empty_map(&text) {
        return rebuild(settings, Some(validity));
    }
    parse(text, Some(file), Some(validity)).map_err(|error| unreadable(path, &error))
}

/// The state that the hosts file tells of.
fn rebuild(settings: &config::Store, was: Option<Validity>) -> Result<Whole, Fault> {
    let hosts = hosts::read(&settings.hosts)?.unwrap_or_default();
    json::to_string(&hosts::to_state(&hosts, settings.time_zone))
        .and_then(|text| parse(text, None, was))
        .map_err(|error| Fault::new(settings.hosts.display(), error))
}

fn parse(text: String, file: Option<File>, was: Option<Validity>) -> serde_json::Result<Whole> {
    Ok(Whole { file, was, hosts: Object::read(text, Keys::OfHosts)? })
}

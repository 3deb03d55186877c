//! The state: which host has which address, and which stamp it was given with.
//!
//! An open [`State`] holds the lock, so what it reads stays true until it is dropped. A stamp alone
//! is written over the old one in place; anything else replaces the file.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::auth::Authentic;
use crate::config::Config;
use crate::error::{Fault, json_position};
use crate::host::HostName;
use crate::hosts;
use crate::lock::Lock;
use crate::lookup;
use crate::php_json;
use crate::record::{self, Record};
use crate::replace::{Readers, companion, replace};
use crate::stamp::{Stamp, Zone};

/// The largest state that is read, in bytes: over half a million hosts. A larger file is a mistake,
/// which must not cost the machine its memory.
pub const MAX: u64 = 64 << 20;

/// What a disk writes whole, in bytes. Of a stamp that lies across two of these, a power failure could
/// leave one half old and one half new: another stamp, perhaps one in the future.
const SECTOR: u64 = 512;

/// The state under its lock.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    zone: Zone,
    text: String,
    source: Source,
    _lock: Lock,
}

/// Where the text of a state comes from.
#[derive(Debug)]
enum Source {
    /// From the state file.
    File(File),
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

impl State {
    /// Takes the lock and reads the state. One that is missing or empty is rebuilt from the hosts
    /// file; one that is broken is a fault, and stays as it is.
    pub fn open(config: &Config, patience: Patience) -> Result<Self, Fault> {
        let path = config.state.clone();
        let lock_file = companion(&path, "lock");
        let lock = match patience {
            Patience::Client => {
                Lock::acquire(&lock_file, Duration::from_secs(config.lock_timeout.into()))?
            }
            Patience::Endless => Lock::wait(&lock_file)?,
        };
        let (text, source) = match read(&path)? {
            Some((text, file)) if !lookup::is_empty_map(&text) => (text, Source::File(file)),
            Some(_) | None => (rebuild(config)?, Source::Hosts),
        };
        Ok(Self { path, zone: config.time_zone, text, source, _lock: lock })
    }

    /// The record of a host.
    pub fn record(&self, host: &HostName) -> Result<Option<Record>, Fault> {
        let Some(entry) = self.entry(host)? else { return Ok(None) };
        let fields = self.fields(host, entry)?;
        let stamp = record::stamp(&fields, self.zone)
            .map_err(|why| self.broken(format_args!("the record of {host}: {why}")))?;
        Ok(Some(Record { addresses: record::addresses(&fields).collect(), stamp }))
    }

    /// Stores the stamp of a redundant update.
    ///
    /// Both stamps have the same length as a rule, and lie in one sector. Then the new one goes over
    /// the old one in place: one small write, without fsync, because what a power failure can cost is
    /// this stamp alone.
    pub fn store_stamp(&self, update: &Authentic) -> Result<(), Fault> {
        let stamp = update.stamp().format(self.zone);
        if let (Source::File(file), Some(offset)) =
            (&self.source, self.stamp_offset(update, &stamp)?)
        {
            return file
                .write_all_at(stamp.as_bytes(), offset)
                .map_err(|error| Fault::io("write the stamp", &self.path, &error));
        }
        self.replace(&self.with(update)?)
    }

    /// The whole state with address and stamp of an update; nothing is written.
    pub fn with(&self, update: &Authentic) -> Result<Map<String, Value>, Fault> {
        let host = update.host();
        let mut fields = match self.entry(host)? {
            Some(entry) => self.fields(host, entry)?,
            None => Map::new(),
        };
        record::set(&mut fields, update.address(), update.stamp(), self.zone);
        let mut state = self.parse()?;
        // PHP told names apart by case; of such twins one stays.
        let twins: Vec<String> = state.keys().filter(|name| host.is(name)).cloned().collect();
        let name = twins.first().cloned().unwrap_or_else(|| host.to_string());
        for twin in twins.iter().skip(1) {
            state.shift_remove(twin);
        }
        state.insert(name, fields.into());
        Ok(state)
    }

    /// Puts `new` in the place of the state file.
    pub fn replace(&self, new: &Map<String, Value>) -> Result<(), Fault> {
        let bytes = php_json::to_bytes(new).map_err(|error| self.broken(json_position(&error)))?;
        replace(&self.path, &bytes, Readers::Everybody)
    }

    /// The whole state.
    pub fn parse(&self) -> Result<Map<String, Value>, Fault> {
        lookup::parse_map(&self.text).map_err(|error| self.broken(json_position(&error)))
    }

    /// How many hosts were taken from the hosts file because there was no state.
    pub fn rebuilt_hosts(&self) -> Result<usize, Fault> {
        match self.source {
            Source::File(_) => Ok(0),
            Source::Hosts => Ok(self.parse()?.len()),
        }
    }

    /// A host's entry as it stands in the text.
    fn entry(&self, host: &HostName) -> Result<Option<&RawValue>, Fault> {
        if lookup::is_empty_map(&self.text) {
            return Ok(None);
        }
        lookup::find(&self.text, |name| host.is(name))
            .map_err(|error| self.broken(json_position(&error)))
    }

    /// The fields of a host's entry.
    fn fields(&self, host: &HostName, entry: &RawValue) -> Result<Map<String, Value>, Fault> {
        serde_json::from_str(entry.get()).map_err(|error| {
            self.broken(format_args!("the record of {host} {}", json_position(&error)))
        })
    }

    /// Where in the file the stored stamp begins, if `stamp` can be written over it.
    fn stamp_offset(&self, update: &Authentic, stamp: &str) -> Result<Option<u64>, Fault> {
        let Some(entry) = self.entry(update.host())? else { return Ok(None) };
        let old = lookup::find(entry.get(), |name| name == record::UPDATE)
            .map_err(|error| self.broken(json_position(&error)))?;
        Ok(old.map(RawValue::get).and_then(|old| {
            // Without an escape, since a stamp with one would be longer.
            let is_stamp = old.len() == stamp.len() + 2
                && Stamp::parse(old.trim_matches('"'), self.zone).is_some();
            let offset = (old.as_ptr().addr() - self.text.as_ptr().addr() + 1) as u64;
            let last = offset + stamp.len() as u64 - 1;
            (is_stamp && offset / SECTOR == last / SECTOR).then_some(offset)
        }))
    }

    fn broken(&self, why: impl std::fmt::Display) -> Fault {
        Fault::new(
            self.path.display(),
            format_args!(
                "the state is left as it is, since it is broken: {why}; correct it or restore a copy"
            ),
        )
    }
}

/// The text of the state file, and the file, open for writing; `None` where there is none.
fn read(path: &std::path::Path) -> Result<Option<(String, File)>, Fault> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Fault::io("open the state", path, &error)),
    };
    let size = file.metadata().map_err(|error| Fault::io("examine the state", path, &error))?.len();
    if size > MAX {
        return Err(Fault::new(
            path.display(),
            format_args!("the state has {size} bytes, over {MAX}"),
        ));
    }
    let mut text = String::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    file.read_to_string(&mut text).map_err(|error| Fault::io("read the state", path, &error))?;
    Ok(Some((text, file)))
}

/// The text of the state that the hosts file tells of.
fn rebuild(config: &Config) -> Result<String, Fault> {
    let Some(hosts) = hosts::read(&config.hosts)? else { return Ok(String::new()) };
    let state = hosts::to_state(&hosts, config.time_zone);
    let bytes =
        php_json::to_bytes(&state).map_err(|error| Fault::new(config.hosts.display(), error))?;
    String::from_utf8(bytes).map_err(|error| Fault::new(config.hosts.display(), error))
}

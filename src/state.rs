//! The state: which host has which address, and which stamp it was given with.
//!
//! An open [`State`] holds the lock, so what it reads stays true until it is dropped. A stamp alone
//! is written over the old one in place; anything else replaces the file. Where the files are
//! sealed ([`crate::sealed`]), only the host's entry is read.

use std::cell::{Cell, OnceCell};
use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::auth::Authentic;
use crate::config::Config;
use crate::error::{Fault, json_position};
use crate::expiry::Expiry;
use crate::host::HostName;
use crate::hosts;
use crate::index::{self, Index, Place};
use crate::lock::Lock;
use crate::lookup;
use crate::php_json;
use crate::record::{self, Record};
use crate::replace::{Readers, companion, replace_with};
use crate::sealed::{self, Entry, Needle, Seal, SealedFile, Seals, Search, Splice};
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
    entry: Entry,
}

/// An update that is to be stored.
#[derive(Debug)]
pub struct Step {
    /// The update.
    pub update: Authentic,
    /// The host's entry before it.
    pub entry: Option<HostEntry>,
}

impl Step {
    /// The stamp to store, which is never older than the stored one.
    fn stamp(&self) -> Stamp {
        let last = self.entry.as_ref().map_or(Stamp::NEVER, |entry| entry.record.stamp);
        self.update.stamp().max(last)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.update.host(), self.update.addresses())
    }
}

/// What updates leave in the two files.
#[derive(Debug)]
pub enum Change {
    /// A new state; the hosts file is rendered from it.
    Whole(Map<String, Value>),
    /// A new record in the state, and its lines in the hosts file.
    Record {
        /// The state.
        state: Splice,
        /// The hosts file.
        hosts: Splice,
    },
}

impl State {
    /// Takes the lock and reads the state, unless it is sealed. One that is missing or empty is
    /// rebuilt from the hosts file; one that is broken is a fault, and stays as it is.
    pub fn open(config: &Config, patience: Patience) -> Result<Self, Fault> {
        let path = config.state.clone();
        let lock_file = companion(&path, "lock");
        let lock = match patience {
            Patience::Client => {
                Lock::acquire(&lock_file, Duration::from_secs(config.lock_timeout.into()))?
            }
            Patience::Endless => Lock::wait(&lock_file)?,
        };
        let seals = Seals::read(lock.file()).unwrap_or_default();
        let (source, text) = match open(&path, OpenOptions::new().read(true).write(true))? {
            Some((file, seal)) => match SealedFile::new(file, seal, seals.state) {
                Ok(file) => (Source::Sealed(file), OnceCell::new()),
                Err(file) => match read(&file, seal, &path)? {
                    text if lookup::is_empty_map(&text) => (Source::Hosts, rebuild(config)?.into()),
                    text => (Source::File(file, seal), text.into()),
                },
            },
            None => (Source::Hosts, rebuild(config)?.into()),
        };
        Ok(Self {
            path,
            hosts: config.hosts.clone(),
            zone: config.time_zone,
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
        let Some((entry, is_only_one)) = self.find(host)? else { return Ok(None) };
        let fields: Map<String, Value> = serde_json::from_str(&entry.json).map_err(|error| {
            self.broken(format_args!("the record of {host} {}", json_position(&error)))
        })?;
        let stamp = record::stamp(&fields, self.zone)
            .map_err(|why| self.broken(format_args!("the record of {host}: {why}")))?;
        let record = Record { addresses: record::addresses(&fields).collect(), stamp };
        Ok(Some(HostEntry { record, is_only_one, fields, entry }))
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
        let entry =
            |json: &RawValue| Entry { offset: place(text, json), json: json.get().to_owned() };
        Ok(found.map(|json| (entry(json), count.get() == 1)))
    }

    /// Searches the sealed state, at first where the index has the entry.
    fn search(&self, file: &SealedFile, name: &str) -> io::Result<Search> {
        if file.seal().size() <= sealed::SMALL {
            return file.find(name);
        }
        let index = Index::open(self.lock.file(), Seals::LENGTH as u64)?;
        if let Some(Place::At(place)) = index.map(|index| index.find(name)).transpose()?
            && let Some(found) = file.find_near(place, name)?
        {
            return Ok(found);
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

    /// Stores the stamps of redundant updates.
    ///
    /// Of a single one, both stamps have the same length as a rule, and lie in one sector. Then the new
    /// one goes over the old one in place: one small write, without fsync, because what a power failure
    /// can cost is this stamp alone.
    pub fn store_stamps(&self, steps: &[Step]) -> Result<(), Fault> {
        let place = match steps {
            [step @ Step { entry: Some(entry), .. }] => {
                let stamp = step.stamp().format(self.zone);
                self.stamp_offset(entry, &stamp)?.map(|offset| (offset, stamp))
            }
            _ => None,
        };
        let state = match (self.file(), place) {
            (Some((file, seal)), Some((offset, stamp))) => {
                seal.check(file)
                    .and_then(|()| file.write_all_at(stamp.as_bytes(), offset))
                    .map_err(|error| Fault::io("write the stamp", &self.path, &error))?;
                file.metadata().ok()
            }
            (Some(_), None) | (None, _) => Some(self.put(&self.change(steps)?)?),
        };
        match &self.source {
            Source::Sealed(_) => self.seal(state.as_ref(), self.seals.hosts),
            Source::File(..) => {
                // From before the file is read.
                let hosts = seal_of(&self.hosts);
                if self.is_ours() {
                    self.seal(state.as_ref(), hosts);
                }
            }
            Source::Hosts => {}
        }
        Ok(())
    }

    /// The state file, and its seal from before it was read.
    fn file(&self) -> Option<(&File, Seal)> {
        match &self.source {
            Source::File(file, seal) => Some((file, *seal)),
            Source::Sealed(sealed) => Some((sealed.file(), sealed.seal())),
            Source::Hosts => None,
        }
    }

    /// What updates leave in the two files; nothing is written.
    pub fn change(&self, steps: &[Step]) -> Result<Change, Fault> {
        if let (Source::Sealed(state), [step @ Step { entry: Some(entry), .. }]) =
            (&self.source, steps)
        {
            let splices = self.splices(state, step, entry);
            let splices = splices.map_err(|error| Fault::io("read", &self.hosts, &error))?;
            if let Some((state, hosts)) = splices {
                return Ok(Change::Record { state, hosts });
            }
        }
        let mut state = self.parse()?;
        for step in steps {
            self.put_into(&mut state, step);
        }
        Ok(Change::Whole(state))
    }

    fn put_into(&self, state: &mut Map<String, Value>, step: &Step) {
        let Step { update, entry } = step;
        let host = update.host();
        let mut fields = entry.as_ref().map(|entry| entry.fields.clone()).unwrap_or_default();
        record::set(&mut fields, update.addresses(), step.stamp(), self.zone);
        // PHP told names apart by case; of such twins one stays.
        let twins: Vec<String> = state.keys().filter(|name| host.is(name)).cloned().collect();
        let name = twins.first().cloned().unwrap_or_else(|| host.to_string());
        for twin in twins.iter().skip(1) {
            state.shift_remove(twin);
        }
        state.insert(name, fields.into());
    }

    /// The change of one record in sealed files; `None` where the hosts file is not sealed, or the
    /// state has the host under another spelling.
    fn splices(
        &self,
        state: &SealedFile,
        step: &Step,
        entry: &HostEntry,
    ) -> io::Result<Option<(Splice, Splice)>> {
        let Some(hosts) = self.sealed_hosts() else { return Ok(None) };
        let update = &step.update;
        let lines = |fields: Map<String, Value>| {
            hosts::render(&Map::from_iter([(update.host().to_string(), fields.into())]))
        };
        let mut fields = entry.fields.clone();
        let old = lines(fields.clone());
        record::set(&mut fields, update.addresses(), step.stamp(), self.zone);
        let Some(name) = old.find(' ').map(|space| space + 1) else { return Ok(None) };
        let length = old.len() as u64;
        let Some(at) = hosts.position(&Needle::new(old, name))? else { return Ok(None) };
        let Entry { offset, json } = &entry.entry;
        let state = Splice {
            file: state.try_clone()?,
            part: *offset..offset + json.len() as u64,
            text: php_json::value_to_string(fields.clone().into())?,
        };
        let hosts = Splice { file: hosts, part: at..at + length, text: lines(fields) };
        Ok(Some((state, hosts)))
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

    /// Puts a change into the state and the hosts file.
    pub fn store(&self, change: &Change, expiry: &Expiry) -> Result<(), Fault> {
        let state = self.put(change)?;
        let hosts = match change {
            Change::Whole(state) => hosts::store(&self.hosts, &expiry.served(state))?,
            Change::Record { hosts, .. } => {
                replace_with(&self.hosts, |new| hosts.write_to(new), hosts::READERS)?
            }
        };
        match change {
            // Sealed is what stays true.
            Change::Whole(state) if expiry.is_on() || !has_distinct_names(state) => {}
            Change::Whole(_) | Change::Record { .. } => {
                self.seal(Some(&state), Seal::of(&hosts).ok());
            }
        }
        Ok(())
    }

    fn put(&self, change: &Change) -> Result<Metadata, Fault> {
        match change {
            Change::Whole(state) => {
                self.file()
                    .map_or(Ok(()), |(file, seal)| seal.check(file))
                    .map_err(|error| Fault::io("replace", &self.path, &error))?;
                self.replace(state)
            }
            Change::Record { state, .. } => {
                replace_with(&self.path, |new| state.write_to(new), Readers::Everybody)
            }
        }
    }

    /// Puts `new` in the place of the state file. Returns what [`replace_with`] does.
    pub fn replace(&self, new: &Map<String, Value>) -> Result<Metadata, Fault> {
        let bytes = php_json::to_bytes(new).map_err(|error| self.broken(json_position(&error)))?;
        replace_with(&self.path, |file| file.write_all(&bytes), Readers::Everybody)
    }

    /// Seals the files as they were written, for the next request. What has been stored is stored also where
    /// that fails: the next request reads all of it.
    fn seal(&self, state: Option<&Metadata>, hosts: Option<Seal>) {
        let state = state.and_then(|state| Seal::of(state).ok());
        let seals = Seals { state, hosts };
        let _ = seals.write(self.lock.file(), &self.seals);
    }

    /// Whether both files are known to be what this program would write.
    fn is_ours(&self) -> bool {
        let (Ok(text), Ok(state)) = (self.text(), self.parse()) else { return false };
        php_json::to_bytes(&state).is_ok_and(|ours| ours == text.as_bytes())
            && has_distinct_names(&state)
            && hosts::read(&self.hosts).is_ok_and(|text| text == Some(hosts::render(&state)))
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

    /// Where in the file the stored stamp begins, if `stamp` can be written over it.
    fn stamp_offset(&self, entry: &HostEntry, stamp: &str) -> Result<Option<u64>, Fault> {
        let Entry { offset, json } = &entry.entry;
        let old = lookup::find(json, |name| name == record::UPDATE)
            .map_err(|error| self.broken(json_position(&error)))?;
        Ok(old.and_then(|old| {
            // Without an escape, since a stamp with one would be longer.
            let is_stamp = old.get().len() == stamp.len() + 2
                && Stamp::parse(old.get().trim_matches('"'), self.zone).is_some();
            let first = offset + place(json, old) + 1;
            let last = first + stamp.len() as u64 - 1;
            (is_stamp && first / SECTOR == last / SECTOR).then_some(first)
        }))
    }

    fn broken(&self, why: impl fmt::Display) -> Fault {
        broken(&self.path, why)
    }
}

/// Where a value begins in the text that it is a part of.
fn place(text: &str, value: &RawValue) -> u64 {
    (value.get().as_ptr().addr() - text.as_ptr().addr()) as u64
}

/// Whether no two hosts have the same name, in whatever case.
fn has_distinct_names(state: &Map<String, Value>) -> bool {
    let names: HashSet<String> = state.keys().map(|name| name.to_ascii_lowercase()).collect();
    names.len() == state.len()
}

fn seal_of(path: &Path) -> Option<Seal> {
    Seal::of(&fs::metadata(path).ok()?).ok()
}

/// The whole state at this moment, without the lock, for those who only look. The file is replaced
/// whole, and a stamp is one small write, so what is read is what was there, or what comes.
pub fn snapshot(config: &Config) -> Result<Map<String, Value>, Fault> {
    let path = &config.state;
    let text = match open(path, OpenOptions::new().read(true))? {
        Some((file, seal)) => read(&file, seal, path)?,
        None => String::new(),
    };
    // As the next update will see it.
    let text = if lookup::is_empty_map(&text) { rebuild(config)? } else { text };
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
fn rebuild(config: &Config) -> Result<String, Fault> {
    let Some(hosts) = hosts::read(&config.hosts)? else { return Ok(String::new()) };
    let state = hosts::to_state(&hosts, config.time_zone);
    let bytes =
        php_json::to_bytes(&state).map_err(|error| Fault::new(config.hosts.display(), error))?;
    String::from_utf8(bytes).map_err(|error| Fault::new(config.hosts.display(), error))
}

//! What updates change: the state, the hosts file with it, and the seals of both.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::{Map, Value};

use crate::fault::{Fault, json_position};
use crate::protocol::auth::Authentic;
use crate::protocol::stamp::Stamp;
use crate::store::expiry::Expiry;
use crate::store::hosts;
use crate::store::lookup;
use crate::store::php_json;
use crate::store::record;
use crate::store::replace::{Readers, replace_with};
use crate::store::seal::{Seal, Seals};
use crate::store::sealed::{Entry, Needle, SealedFile, Splice};
use crate::store::state::{HostEntry, Source, State};

/// What a disk writes whole, in bytes. Of a stamp that lies across two of these, a power failure could
/// leave one half old and one half new: another stamp, perhaps one in the future.
const SECTOR: u64 = 512;

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
        let Entry { offset, json } = &entry.text;
        let state = Splice {
            file: state.try_clone()?,
            part: *offset..offset + json.len() as u64,
            text: php_json::value_to_string(fields.clone().into())?,
        };
        let hosts = Splice { file: hosts, part: at..at + length, text: lines(fields) };
        Ok(Some((state, hosts)))
    }

    /// Stores the stamps of redundant updates.
    ///
    /// The old and the new stamp have the same length as a rule, and lie in one sector. Then the new one
    /// goes over the old one in place: one small write, without fsync, because what a power failure can
    /// cost is this stamp alone.
    pub fn store_stamps(&self, steps: &[Step]) -> Result<(), Fault> {
        let places = steps.iter().map(|step| self.stamp_place(step));
        let places: Option<Vec<(u64, String)>> = places.collect::<Result<_, Fault>>()?;
        let state = match (self.file(), places) {
            (Some((file, seal)), Some(places)) => {
                let write =
                    |(offset, stamp): &(u64, String)| file.write_all_at(stamp.as_bytes(), *offset);
                seal.check(file)
                    .and_then(|()| places.iter().try_for_each(write))
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

    /// Where in the file the stored stamp begins, if `stamp` can be written over it.
    fn stamp_place(&self, step: &Step) -> Result<Option<(u64, String)>, Fault> {
        let Some(HostEntry { text: Entry { offset, json }, .. }) = &step.entry else {
            return Ok(None);
        };
        let stamp = step.stamp().format(self.zone);
        let old = lookup::find(json, |name| name == record::UPDATE)
            .map_err(|error| self.broken(json_position(&error)))?;
        Ok(old.and_then(|old| {
            // Without an escape, since a stamp with one would be longer.
            let is_stamp = old.get().len() == stamp.len() + 2
                && Stamp::parse(old.get().trim_matches('"'), self.zone).is_some();
            let first = offset + lookup::offset(json, old) as u64 + 1;
            let last = first + stamp.len() as u64 - 1;
            (is_stamp && first / SECTOR == last / SECTOR).then_some((first, stamp))
        }))
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
}

/// Whether no two hosts have the same name, in whatever case.
fn has_distinct_names(state: &Map<String, Value>) -> bool {
    let names: HashSet<String> = state.keys().map(|name| name.to_ascii_lowercase()).collect();
    names.len() == state.len()
}

fn seal_of(path: &Path) -> Option<Seal> {
    Seal::of(&fs::metadata(path).ok()?).ok()
}

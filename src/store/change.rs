//! What updates change: worked out whole before anything is written, then written in order.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use serde_json::{Map, Value};

use crate::fault::{Fault, json_position};
use crate::protocol::stamp::Stamp;
use crate::store::decide::Step;
use crate::store::expiry::Expiry;
use crate::store::hosts;
use crate::store::index::{self, Indexed, Place};
use crate::store::json::{self, Entry};
use crate::store::record;
use crate::store::replace::{Readers, open_helper, replace_with};
use crate::store::state::{Contents, HostEntry, State, Whole, index_path, validity_of};
use crate::store::validity::Validity;

/// What a disk writes whole, in bytes. Of a stamp that lies across two of these, a power failure could
/// leave one half old and one half new: another stamp, perhaps one in the future.
const SECTOR: u64 = 512;

/// What updates leave in the two files.
#[derive(Debug)]
pub struct Change(Kind);

#[derive(Debug)]
enum Kind {
    /// Stamps over the old ones, each at its place.
    Stamps(Vec<(u64, String)>),
    /// One record in an indexed state, and its lines in the hosts file if they change.
    Record { place: Place, state: Splice, hosts: Option<Splice> },
    /// A new state, and a new hosts file if it changes.
    Whole { state: Map<String, Value>, hosts: Option<String> },
}

/// A file with one part replaced.
#[derive(Debug)]
struct Splice {
    file: File,
    validity: Validity,
    part: Range<u64>,
    text: String,
}

impl Change {
    /// Whether the hosts file changes.
    #[must_use]
    pub fn moves_lines(&self) -> bool {
        match &self.0 {
            Kind::Stamps(_) => false,
            Kind::Record { hosts, .. } => hosts.is_some(),
            Kind::Whole { hosts, .. } => hosts.is_some(),
        }
    }
}

impl State {
    /// Works out what the steps change. Nothing is written.
    ///
    /// If hosts expire, each update looks who has gone or come back.
    pub fn plan(&mut self, steps: &[Step], expiry: &Expiry) -> Result<Change, Fault> {
        let moves_lines = steps.iter().any(Step::moves_lines) || !self.settings.hosts.exists();
        if expiry.is_on() {
            return self.plan_whole(steps, moves_lines, expiry);
        }
        if !moves_lines {
            if let Some(stamps) = self.plan_stamps(steps)? {
                return Ok(Change(Kind::Stamps(stamps)));
            }
        }
        if let ([step], Contents::Indexed(indexed)) = (steps, &self.contents) {
            let record = self.plan_record(indexed, step, moves_lines);
            let record = record.map_err(|error| Fault::io("read", &self.settings.hosts, &error))?;
            if let Some(record) = record {
                return Ok(Change(record));
            }
        }
        let state = self.map_after(steps)?;
        let hosts = moves_lines.then(|| hosts::render(&state));
        Ok(Change(Kind::Whole { state, hosts }))
    }

    /// The same if hosts expire.
    fn plan_whole(
        &mut self,
        steps: &[Step],
        moves_lines: bool,
        expiry: &Expiry,
    ) -> Result<Change, Fault> {
        let state = self.map_after(steps)?;
        let hosts = expiry.hosts_file(&state);
        let moves_lines =
            moves_lines || hosts::read(&self.settings.hosts)?.as_ref() != Some(&hosts);
        if !moves_lines {
            if let Some(stamps) = self.plan_stamps(steps)? {
                return Ok(Change(Kind::Stamps(stamps)));
            }
        }
        Ok(Change(Kind::Whole { state, hosts: moves_lines.then_some(hosts) }))
    }

    /// The stamps and their places, if each can be written over the old one.
    fn plan_stamps(&self, steps: &[Step]) -> Result<Option<Vec<(u64, String)>>, Fault> {
        let has_file = !matches!(&self.contents, Contents::Whole(Whole { file: None, .. }));
        let places = steps.iter().map(|step| match step.entry() {
            Some(entry) if has_file => self.stamp_place(entry, step.stamp()),
            Some(_) | None => Ok(None),
        });
        places.collect()
    }

    /// Where in the file the stored stamp begins, if `stamp` can be written over it: both have one
    /// length, and the place is within one sector.
    fn stamp_place(&self, entry: &HostEntry, stamp: Stamp) -> Result<Option<(u64, String)>, Fault> {
        let zone = self.settings.time_zone;
        let stamp = stamp.format(zone);
        let fields =
            json::entries(&entry.json).map_err(|error| self.broken(json_position(&error)))?;
        let field = fields.into_iter().rfind(|field| field.key == record::UPDATE);
        Ok(field.and_then(|Entry { value, .. }| {
            let old = json::text_at(&entry.json, &value);
            // Without an escape, since a stamp with one would be longer.
            let is_stamp =
                old.len() == stamp.len() + 2 && Stamp::parse(old.trim_matches('"'), zone).is_some();
            let first = entry.at.value.start + value.start + 1;
            let last = first + stamp.len() as u64 - 1;
            (is_stamp && first / SECTOR == last / SECTOR).then_some((first, stamp))
        }))
    }

    /// The change of one record of an indexed state, and of its lines; `None` if the hosts file is
    /// not the one that goes with it, or the state does not have the host.
    fn plan_record(
        &self,
        indexed: &Indexed,
        step: &Step,
        moves_lines: bool,
    ) -> io::Result<Option<Kind>> {
        let Some(HostEntry { at, fields, lines: Some(lines), .. }) = step.entry() else {
            return Ok(None);
        };
        let place = Place { entry: at.start, lines: *lines };
        let new = Value::Object(self.fields_after(fields.clone(), step));
        let hosts = if moves_lines {
            let old = hosts::lines(&at.key, &fields.clone().into());
            match self.plan_lines(indexed, *lines, &old, hosts::lines(&at.key, &new))? {
                None => return Ok(None),
                splice => splice,
            }
        } else {
            None
        };
        let state = Splice {
            file: indexed.file.try_clone()?,
            validity: indexed.validity,
            part: at.value.clone(),
            text: json::value_to_string(new)?,
        };
        Ok(Some(Kind::Record { place, state, hosts }))
    }

    /// The change of a host's lines; `None` if they are not in their place in the hosts file that
    /// goes with an indexed state.
    fn plan_lines(
        &self,
        indexed: &Indexed,
        start: u64,
        old: &str,
        new: String,
    ) -> io::Result<Option<Splice>> {
        let Ok(file) = File::open(&self.settings.hosts) else { return Ok(None) };
        let validity = Validity::of_file(&file)?;
        if indexed.hosts != Some(validity) {
            return Ok(None);
        }
        let mut present = vec![0; old.len()];
        let is_there = file.read_exact_at(&mut present, start).is_ok() && present == old.as_bytes();
        let part = start..start + old.len() as u64;
        Ok(is_there.then_some(Splice { file, validity, part, text: new }))
    }

    /// All of the state after the steps.
    fn map_after(&mut self, steps: &[Step]) -> Result<Map<String, Value>, Fault> {
        let mut state = self.map()?.clone();
        for step in steps {
            let host = step.update().host();
            let fields = step.entry().map(|entry| entry.fields.clone()).unwrap_or_default();
            let fields = self.fields_after(fields, step);
            // PHP told names apart by case. Of such twins one stays.
            let twins: Vec<String> = state.keys().filter(|name| host.is(name)).cloned().collect();
            let name = twins.first().cloned().unwrap_or_else(|| host.to_string());
            for twin in twins.iter().skip(1) {
                state.shift_remove(twin);
            }
            state.insert(name, fields.into());
        }
        Ok(state)
    }

    /// The fields of a host after a step.
    fn fields_after(&self, mut fields: Map<String, Value>, step: &Step) -> Map<String, Value> {
        let addresses = step.update().addresses();
        record::set(&mut fields, addresses, step.stamp(), self.settings.time_zone);
        fields
    }

    /// Writes a change, the state before the hosts file, each durably, and then the index, which is
    /// only a cache. Stamps alone go over the old ones, without fsync: what a power failure can cost
    /// is one of these stamps.
    pub fn commit(&self, change: Change) -> Result<(), Fault> {
        match change.0 {
            Kind::Stamps(stamps) => self.write_stamps(&stamps),
            Kind::Record { place, state, hosts } => {
                self.write_record(place, &state, hosts.as_ref())
            }
            Kind::Whole { state, hosts } => self.write_whole(&state, hosts.as_deref()),
        }
    }

    fn write_stamps(&self, stamps: &[(u64, String)]) -> Result<(), Fault> {
        let (file, validity) = match &self.contents {
            Contents::Indexed(indexed) => (&indexed.file, indexed.validity),
            Contents::Whole(Whole { file: Some((file, validity)), .. }) => (file, *validity),
            Contents::Whole(Whole { file: None, .. }) => return Err(self.broken("it is not there")),
        };
        validity
            .check(file)
            .and_then(|()| {
                let mut stamps = stamps.iter();
                stamps.try_for_each(|(place, stamp)| file.write_all_at(stamp.as_bytes(), *place))
            })
            .map_err(|error| Fault::io("write the stamp", &self.settings.state, &error))?;
        match &self.contents {
            Contents::Indexed(indexed) => {
                let _ = indexed.keep();
            }
            Contents::Whole(whole) => {
                let _ = self.index_read(whole, file);
            }
        }
        Ok(())
    }

    fn write_record(
        &self,
        place: Place,
        state: &Splice,
        hosts: Option<&Splice>,
    ) -> Result<(), Fault> {
        let write = |splice: &Splice, path, readers| {
            replace_with(path, |new| splice.write_to(new), readers)
        };
        let new_state = write(state, &self.settings.state, Readers::Everybody)?;
        let new_hosts =
            hosts.map(|lines| write(lines, &self.settings.hosts, hosts::READERS)).transpose()?;
        if let (Contents::Indexed(indexed), Ok(validity)) =
            (&self.contents, Validity::of(&new_state))
        {
            let moved = [state.growth(), hosts.map_or(0, Splice::growth)];
            let hosts = new_hosts.and_then(|new| Validity::of(&new).ok());
            let _ = indexed.shift(place, moved, validity, hosts);
        }
        Ok(())
    }

    fn write_whole(&self, state: &Map<String, Value>, hosts: Option<&str>) -> Result<(), Fault> {
        let mut is_rebuilt = true;
        if let Contents::Whole(Whole { file: Some((file, validity)), .. }) = &self.contents {
            let edited = |error| Fault::io("replace", &self.settings.state, &error);
            validity.check(file).map_err(edited)?;
            is_rebuilt = false;
        }
        let text = json::to_string(state).map_err(|error| self.broken(json_position(&error)))?;
        let new_state = self.replace_text(&text)?;
        let hosts = match hosts {
            Some(hosts) => Validity::of(&hosts::store(&self.settings.hosts, hosts)?).ok(),
            None if is_rebuilt => None,
            None => self.hosts_of(state),
        };
        if let (Some(hosts), Ok(of), Ok(entries)) =
            (hosts, Validity::of(&new_state), json::entries(&text))
        {
            let _ = self.write_index(state, &entries, of, hosts);
        }
        Ok(())
    }

    /// Puts `new` in the place of the state file.
    pub fn replace(&self, new: &Map<String, Value>) -> Result<(), Fault> {
        let text = json::to_string(new).map_err(|error| self.broken(json_position(&error)))?;
        self.replace_text(&text).map(drop)
    }

    fn replace_text(&self, text: &str) -> Result<Metadata, Fault> {
        let write = |new: &mut File| new.write_all(text.as_bytes());
        replace_with(&self.settings.state, write, Readers::Everybody)
    }

    /// Writes the index of a state that has been read and only got new stamps, if both files are what
    /// this program would write.
    fn index_read(&self, whole: &Whole, file: &File) -> Option<()> {
        let is_ours = json::to_string(&whole.map).is_ok_and(|ours| ours == whole.text);
        let hosts = self.hosts_of(&whole.map).filter(|_| is_ours)?;
        let of = Validity::of_file(file).ok()?;
        self.write_index(&whole.map, &whole.entries, of, hosts)
    }

    /// Writes an index. If that fails, the next request reads all of the state. If hosts expire, each
    /// request does, and the hosts file is not that of the state.
    fn write_index(
        &self,
        state: &Map<String, Value>,
        entries: &[Entry],
        of: Validity,
        hosts: Validity,
    ) -> Option<()> {
        if self.settings.expire_after > 0 {
            return None;
        }
        let mut lines = 0;
        let place = |(entry, (name, record)): (&Entry, (&String, &Value))| {
            let place = Place { entry: entry.start, lines };
            lines += hosts::lines(name, record).len() as u64;
            (name.to_ascii_lowercase(), place)
        };
        let places: Vec<_> = entries.iter().zip(state).map(place).collect();
        let index = index::build(&places, of, Some(hosts))?;
        let mut options = OpenOptions::new();
        let file =
            open_helper(&index_path(&self.settings), options.write(true).mode(0o640)).ok()?;
        file.set_len(index.len() as u64).ok()?;
        file.write_all_at(&index, 0).ok()?;
        file.set_modified(of.modified).ok()
    }

    /// What the hosts file is, if it is that of a state.
    fn hosts_of(&self, state: &Map<String, Value>) -> Option<Validity> {
        // From before it is read.
        let validity = validity_of(&self.settings.hosts)?;
        let text = hosts::read(&self.settings.hosts).ok()?;
        (text == Some(hosts::render(state))).then_some(validity)
    }
}

impl Splice {
    /// By how many bytes the file grows.
    fn growth(&self) -> i64 {
        let old = self.part.end - self.part.start;
        i64::try_from(self.text.len()).unwrap_or(i64::MAX) - i64::try_from(old).unwrap_or(i64::MAX)
    }

    /// Writes the new contents. The kernel copies the rest, without memory of ours.
    ///
    /// It is an error if somebody edited the file meanwhile: the part may be elsewhere now.
    fn write_to(&self, new: &mut File) -> io::Result<()> {
        let mut old = &self.file;
        old.rewind()?;
        io::copy(&mut old.take(self.part.start), new)?;
        new.write_all(self.text.as_bytes())?;
        old.seek(SeekFrom::Start(self.part.end))?;
        io::copy(&mut old, new)?;
        self.validity.check(&self.file)
    }
}

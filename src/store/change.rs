//! What updates change: worked out whole before anything is written, then written in order.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use serde_json::{Map, Value};

use crate::config;
use crate::fault::{Fault, json_position};
use crate::protocol::stamp::{Stamp, TimeZone};
use crate::store::decide::Step;
use crate::store::expiry::Expiry;
use crate::store::hosts;
use crate::store::index::{self, Indexed, Place};
use crate::store::json::{self, Entry};
use crate::store::lock::Lock;
use crate::store::record;
use crate::store::replace::{Readers, open_helper, replace_if};
use crate::store::state::{Contents, HostEntry, State, Whole, index_path};
use crate::store::validity::{Validity, check};

/// What a disk writes whole, in bytes. Of a stamp that lies across two of these, a power failure
/// could leave one half old and one half new: another stamp, perhaps one in the future.
const SECTOR: u64 = 512;

/// What updates leave in the two files, worked out. The lock on the state is still held.
#[derive(Debug)]
pub(crate) struct Change {
    settings: config::Store,
    kind: Kind,
    _lock: Lock,
}

#[derive(Debug)]
enum Kind {
    /// Stamps over the old ones, each at its place.
    Stamps(Vec<(u64, String)>, Contents),
    /// One record of an indexed state, and its lines in the hosts file if they change.
    Record(Splices, Contents),
    /// A new state, and a new hosts file if it changes.
    Whole(Whole, Option<String>),
}

/// What is spliced into the two files.
#[derive(Debug)]
struct Splices {
    place: Place,
    state: Splice,
    hosts: Option<Splice>,
}

/// A file with one part replaced.
#[derive(Debug)]
struct Splice {
    file: File,
    validity: Validity,
    part: Range<u64>,
    text: String,
}

impl State {
    /// Works out what the steps change. Nothing is written.
    pub(crate) fn plan(self, steps: &[Step], expiry: &Expiry) -> Result<Change, Fault> {
        let moves_lines = steps.iter().any(Step::moves_lines) || !self.settings.hosts.exists();
        let stamps = if moves_lines { None } else { self.stamps(steps)? };
        let splices = match (&self.contents, steps) {
            (Contents::Indexed(indexed), [step]) if stamps.is_none() => {
                Splices::plan(indexed, &self.settings, step, moves_lines)
            }
            _ => None,
        };
        let Self { settings, contents, lock } = self;
        let kind = match (stamps, splices) {
            (Some(stamps), _) if !expiry.is_on() => Kind::Stamps(stamps, contents),
            (_, Some(splices)) => Kind::Record(splices, contents),
            (stamps, None) => {
                let mut state = contents.into_whole(&settings)?;
                apply(&mut state.map, steps, settings.time_zone);
                let hosts = new_hosts(&state.map, &settings, expiry, moves_lines)?;
                match stamps {
                    Some(stamps) if hosts.is_none() => Kind::Stamps(stamps, Contents::Whole(state)),
                    _ => Kind::Whole(state, hosts),
                }
            }
        };
        Ok(Change { settings, kind, _lock: lock })
    }

    /// The stamps and their places, if each can be written over the old one.
    fn stamps(&self, steps: &[Step]) -> Result<Option<Vec<(u64, String)>>, Fault> {
        let has_file = self.contents.file().is_some();
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
}

/// The new hosts file of a state; `None` if it does not change. If hosts expire, each update looks
/// who has gone or come back.
fn new_hosts(
    state: &Map<String, Value>,
    settings: &config::Store,
    expiry: &Expiry,
    moves_lines: bool,
) -> Result<Option<String>, Fault> {
    if !moves_lines && !expiry.is_on() {
        return Ok(None);
    }
    let hosts = expiry.hosts_file(state);
    let is_new = moves_lines || hosts::read(&settings.hosts)?.as_ref() != Some(&hosts);
    Ok(is_new.then_some(hosts))
}

/// Puts the steps into a state.
fn apply(state: &mut Map<String, Value>, steps: &[Step], zone: TimeZone) {
    for step in steps {
        let host = step.update().host();
        // PHP told names apart by case. Of such twins one stays.
        let twins: Vec<String> = state.keys().filter(|name| host.is(name)).cloned().collect();
        let name = twins.first().cloned().unwrap_or_else(|| host.to_string());
        for twin in twins.iter().skip(1) {
            state.shift_remove(twin);
        }
        state.insert(name, step.fields_after(zone).into());
    }
}

impl Splices {
    /// What is spliced into an indexed state and, if the lines move, into the hosts file that goes
    /// with it. `None` if the state does not have the host, or its lines are not in their place.
    fn plan(
        indexed: &Indexed,
        settings: &config::Store,
        step: &Step,
        moves_lines: bool,
    ) -> Option<Self> {
        let HostEntry { at, fields, lines, .. } = step.entry()?;
        let (place, name) = (Place { entry: at.start, lines: (*lines)? }, &at.key);
        let new = Value::Object(step.fields_after(settings.time_zone));
        let hosts = if moves_lines {
            let old = hosts::lines(name, &fields.clone().into());
            let file = File::open(&settings.hosts).ok()?;
            let validity = Validity::of_file(&file).ok()?;
            let mut present = vec![0; old.len()];
            file.read_exact_at(&mut present, place.lines).ok()?;
            // Without lines, nothing shows that the place is right.
            if old.is_empty() || indexed.hosts != Some(validity) || present != old.as_bytes() {
                return None;
            }
            let part = place.lines..place.lines + old.len() as u64;
            Some(Splice { file, validity, part, text: hosts::lines(name, &new) })
        } else {
            None
        };
        let (file, validity) = (indexed.file.try_clone().ok()?, indexed.validity);
        let text = json::value_to_string(new).ok()?;
        let state = Splice { file, validity, part: at.value.clone(), text };
        Some(Self { place, state, hosts })
    }
}

impl Change {
    /// Whether the hosts file changes.
    #[must_use]
    fn moves_lines(&self) -> bool {
        match &self.kind {
            Kind::Stamps(..) => false,
            Kind::Record(splices, _) => splices.hosts.is_some(),
            Kind::Whole(_, hosts) => hosts.is_some(),
        }
    }

    /// Writes the change: the state, then the hosts file, each durably, and then the index, which
    /// is only a cache. If the hosts file changes, `mark` comes before all of them, and has to make
    /// a mark that is durable. Stamps alone go over the old ones, without fsync: what a power
    /// failure can cost is one of these stamps.
    pub(crate) fn commit(self, mark: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        if self.moves_lines() {
            mark()?;
        }
        match &self.kind {
            Kind::Stamps(stamps, contents) => self.write_stamps(stamps, contents),
            Kind::Record(splices, contents) => self.write_record(splices, contents),
            Kind::Whole(state, hosts) => self.write_whole(state, hosts.as_deref()),
        }
    }

    fn write_stamps(&self, stamps: &[(u64, String)], contents: &Contents) -> Result<(), Fault> {
        let path = &self.settings.state;
        let file = contents.file().ok_or_else(|| Fault::new(path.display(), "is gone"))?;
        check(path, contents.was())
            .and_then(|()| {
                let mut stamps = stamps.iter();
                stamps.try_for_each(|(place, stamp)| file.write_all_at(stamp.as_bytes(), *place))
            })
            .map_err(|error| Fault::io("write the stamp", path, &error))?;
        // The update is stored. Without an index, the next request reads all of the state.
        let _ = match contents {
            Contents::Indexed(indexed) => indexed.keep().ok(),
            Contents::Whole(state) => self.index_read(state, file),
        };
        Ok(())
    }

    fn write_record(&self, splices: &Splices, contents: &Contents) -> Result<(), Fault> {
        let Splices { place, state, hosts } = splices;
        let new_state = state.replace(&self.settings.state, Readers::Everybody)?;
        let new_hosts =
            hosts.as_ref().map(|lines| lines.replace(&self.settings.hosts, hosts::READERS));
        let new_hosts = new_hosts.transpose()?.and_then(|new| Validity::of(&new).ok());
        let moved = [state.growth(), hosts.as_ref().map_or(0, Splice::growth)];
        if let (Contents::Indexed(indexed), Ok(of)) = (contents, Validity::of(&new_state)) {
            let _ = indexed.shift(*place, moved, of, new_hosts);
        }
        Ok(())
    }

    fn write_whole(&self, state: &Whole, hosts: Option<&str>) -> Result<(), Fault> {
        let path = &self.settings.state;
        let text =
            json::to_string(&state.map).map_err(|error| Fault::new(path.display(), error))?;
        let write = |new: &mut File| new.write_all(text.as_bytes());
        let new_state = replace_if(path, write, || check(path, state.was), Readers::Everybody)?;
        let hosts = match hosts {
            Some(hosts) => Validity::of(&hosts::store(&self.settings.hosts, hosts)?).ok(),
            None => state.file.as_ref().and_then(|_| self.hosts_of(&state.map)),
        };
        let _ = self.index_written(&state.map, &text, &new_state, hosts);
        Ok(())
    }

    /// Writes the index of a state that has been read and only got new stamps, if both files are
    /// what this program would write.
    fn index_read(&self, state: &Whole, file: &File) -> Option<()> {
        let is_ours = json::to_string(&state.map).is_ok_and(|ours| ours == state.text);
        let hosts = self.hosts_of(&state.map).filter(|_| is_ours)?;
        self.write_index(&state.map, &state.entries, Validity::of_file(file).ok()?, hosts)
    }

    /// Writes the index of a state that has just been written, if it is known what goes with it.
    fn index_written(
        &self,
        state: &Map<String, Value>,
        text: &str,
        new_state: &Metadata,
        hosts: Option<Validity>,
    ) -> Option<()> {
        self.write_index(state, &json::entries(text).ok()?, Validity::of(new_state).ok()?, hosts?)
    }

    /// Writes an index. If hosts expire there is none: the hosts file does not have all of them.
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
        // It does not read. But to open a pipe only for writing waits for a reader.
        let file =
            open_helper(&index_path(&self.settings), options.read(true).write(true).mode(0o640))
                .ok()?;
        file.set_len(index.len() as u64).ok()?;
        file.write_all_at(&index, 0).ok()?;
        file.set_modified(of.modified).ok()
    }

    /// What the hosts file is, if it is that of a state.
    fn hosts_of(&self, state: &Map<String, Value>) -> Option<Validity> {
        // From before it is read.
        let validity = Validity::at(&self.settings.hosts)?;
        let text = hosts::read(&self.settings.hosts).ok()?;
        (text == Some(hosts::render(state))).then_some(validity)
    }
}

impl Splice {
    /// By how many bytes the file grows.
    fn growth(&self) -> i32 {
        let length = |bytes| i32::try_from(bytes).unwrap_or(i32::MAX);
        length(self.text.len() as u64) - length(self.part.end - self.part.start)
    }

    /// Puts the new contents in the place of the file. If somebody edited it meanwhile, the part
    /// may be elsewhere now.
    fn replace(&self, path: &Path, readers: Readers) -> Result<Metadata, Fault> {
        let unchanged = || check(path, Some(self.validity));
        replace_if(path, |new| self.write_to(new), unchanged, readers)
    }

    /// Writes the new contents. The kernel copies the rest, without memory of ours.
    fn write_to(&self, new: &mut File) -> io::Result<()> {
        let mut old = &self.file;
        old.rewind()?;
        io::copy(&mut old.take(self.part.start), new)?;
        new.write_all(self.text.as_bytes())?;
        old.seek(SeekFrom::Start(self.part.end))?;
        io::copy(&mut old, new)?;
        Ok(())
    }
}

//! What updates change: worked out whole before anything is written, then written in order.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::slice::from_ref;

use serde_json::{Map, Value};

use crate::config;
use crate::fault::{Fault, json_position};
use crate::protocol::stamp::{Stamp, Zone};
use crate::store::decide::Step;
use crate::store::expiry::Expiry;
use crate::store::hosts;
use crate::store::index::{self, Indexed, Place};
use crate::store::json::{self, Entry};
use crate::store::lock::Lock;
use crate::store::record;
use crate::store::replace::{Readers, open_helper, replace_if};
use crate::store::state::{Contents, HostEntry, State, Whole, index_path};
use crate::store::validity::{Validity, edited};

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
    Record { indexed: Indexed, place: Place, state: Splice, hosts: Option<Splice> },
    /// A new state, and a new hosts file if it changes.
    Whole { state: Whole, hosts: Option<String> },
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
        let Self { settings, contents, lock } = self;
        let kind = match (contents, stamps, steps) {
            (contents, stamps, _) if expiry.is_on() => {
                let mut state = contents.into_whole(&settings)?;
                apply(&mut state.map, steps, settings.time_zone);
                // Each update looks who has gone or come back.
                let hosts = expiry.hosts_file(&state.map);
                let moves_lines =
                    moves_lines || hosts::read(&settings.hosts)?.as_ref() != Some(&hosts);
                match stamps {
                    Some(stamps) if !moves_lines => Kind::Stamps(stamps, Contents::Whole(state)),
                    _ => Kind::Whole { state, hosts: moves_lines.then_some(hosts) },
                }
            }
            (contents, Some(stamps), _) => Kind::Stamps(stamps, contents),
            (Contents::Indexed(indexed), None, [step]) => {
                plan_record(indexed, &settings, step, moves_lines)?
            }
            (contents, None, _) => plan_whole(contents, &settings, steps, moves_lines)?,
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

/// Puts the steps into a state.
fn apply(state: &mut Map<String, Value>, steps: &[Step], zone: Zone) {
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

fn plan_whole(
    contents: Contents,
    settings: &config::Store,
    steps: &[Step],
    moves_lines: bool,
) -> Result<Kind, Fault> {
    let mut state = contents.into_whole(settings)?;
    apply(&mut state.map, steps, settings.time_zone);
    let hosts = moves_lines.then(|| hosts::render(&state.map));
    Ok(Kind::Whole { state, hosts })
}

/// The change of one record of an indexed state, and of its lines. If they are not where the index
/// says, it is a change of the whole.
fn plan_record(
    indexed: Indexed,
    settings: &config::Store,
    step: &Step,
    moves_lines: bool,
) -> Result<Kind, Fault> {
    let splices = splices(&indexed, settings, step, moves_lines)
        .map_err(|error| Fault::io("read", &settings.hosts, &error))?;
    match splices {
        Some((place, state, hosts)) => Ok(Kind::Record { indexed, place, state, hosts }),
        None => plan_whole(Contents::Indexed(indexed), settings, from_ref(step), moves_lines),
    }
}

/// What is spliced into the state and, if the lines move, into the hosts file. `None` if the state
/// does not have the host, or its lines are not found.
fn splices(
    indexed: &Indexed,
    settings: &config::Store,
    step: &Step,
    moves_lines: bool,
) -> io::Result<Option<(Place, Splice, Option<Splice>)>> {
    let Some(HostEntry { at, fields, lines: Some(lines), .. }) = step.entry() else {
        return Ok(None);
    };
    let place = Place { entry: at.start, lines: *lines };
    let new = Value::Object(step.fields_after(settings.time_zone));
    let hosts = if moves_lines {
        let old = hosts::lines(&at.key, &fields.clone().into());
        let Some(splice) = splice_lines(indexed, settings, *lines, &old)? else { return Ok(None) };
        Some(Splice { text: hosts::lines(&at.key, &new), ..splice })
    } else {
        None
    };
    let (file, validity) = (indexed.file.try_clone()?, indexed.validity);
    let text = json::value_to_string(new)?;
    Ok(Some((place, Splice { file, validity, part: at.value.clone(), text }, hosts)))
}

/// The place of a host's lines in the hosts file that goes with an indexed state, if they are
/// there. Where there are none, nothing shows that the place is right.
fn splice_lines(
    indexed: &Indexed,
    settings: &config::Store,
    start: u64,
    old: &str,
) -> io::Result<Option<Splice>> {
    let Ok(file) = File::open(&settings.hosts) else { return Ok(None) };
    let validity = Validity::of_file(&file)?;
    let mut present = vec![0; old.len()];
    let is_there = !old.is_empty()
        && indexed.hosts == Some(validity)
        && file.read_exact_at(&mut present, start).is_ok()
        && present == old.as_bytes();
    let part = start..start + old.len() as u64;
    Ok(is_there.then_some(Splice { file, validity, part, text: String::new() }))
}

/// Whether there is no state, or nothing in it.
fn is_nothing(path: &Path) -> io::Result<bool> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(json::is_empty_map(&text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

impl Change {
    /// Whether the hosts file changes.
    #[must_use]
    pub(crate) fn moves_lines(&self) -> bool {
        match &self.kind {
            Kind::Stamps(..) => false,
            Kind::Record { hosts, .. } => hosts.is_some(),
            Kind::Whole { hosts, .. } => hosts.is_some(),
        }
    }

    /// Writes the change: the state before the hosts file, each durably, and then the index, which
    /// is only a cache. Stamps alone go over the old ones, without fsync: what a power failure can
    /// cost is one of these stamps.
    pub(crate) fn commit(self) -> Result<(), Fault> {
        match &self.kind {
            Kind::Stamps(stamps, contents) => self.write_stamps(stamps, contents),
            Kind::Record { indexed, place, state, hosts } => {
                self.write_record(indexed, *place, state, hosts.as_ref())
            }
            Kind::Whole { state, hosts } => self.write_whole(state, hosts.as_deref()),
        }
    }

    fn write_stamps(&self, stamps: &[(u64, String)], contents: &Contents) -> Result<(), Fault> {
        let path = &self.settings.state;
        let (file, validity) =
            contents.file().ok_or_else(|| Fault::new(path.display(), "is gone"))?;
        validity
            .check(path)
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

    fn write_record(
        &self,
        indexed: &Indexed,
        place: Place,
        state: &Splice,
        hosts: Option<&Splice>,
    ) -> Result<(), Fault> {
        let write = |splice: &Splice, path, readers| {
            let check = || splice.validity.check(path);
            replace_if(path, |new| splice.write_to(new), check, readers)
        };
        let new_state = write(state, &self.settings.state, Readers::Everybody)?;
        let new_hosts =
            hosts.map(|lines| write(lines, &self.settings.hosts, hosts::READERS)).transpose()?;
        let moved = [state.growth(), hosts.map_or(0, Splice::growth)];
        if let Ok(validity) = Validity::of(&new_state) {
            let hosts = new_hosts.and_then(|new| Validity::of(&new).ok());
            let _ = indexed.shift(place, moved, validity, hosts);
        }
        Ok(())
    }

    fn write_whole(&self, state: &Whole, hosts: Option<&str>) -> Result<(), Fault> {
        let path = &self.settings.state;
        let text =
            json::to_string(&state.map).map_err(|error| Fault::new(path.display(), error))?;
        let write = |new: &mut File| new.write_all(text.as_bytes());
        let check = || match &state.file {
            Some((_, validity)) => validity.check(path),
            // Perhaps somebody has just restored a copy.
            None if is_nothing(path)? => Ok(()),
            None => Err(edited()),
        };
        let new_state = replace_if(path, write, check, Readers::Everybody)?;
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
    fn growth(&self) -> i64 {
        let old = self.part.end - self.part.start;
        i64::try_from(self.text.len()).unwrap_or(i64::MAX) - i64::try_from(old).unwrap_or(i64::MAX)
    }

    /// Writes the new contents. The kernel copies the rest, without memory of ours. If somebody
    /// edited the file meanwhile, the part may be elsewhere now: see [`Validity::check`].
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

//! What updates change: worked out whole before anything is written, then written in order.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::config;
use crate::fault::{Fault, json_position};
use crate::protocol::stamp::{Stamp, TimeZone};
use crate::store::decide::Step;
use crate::store::expiry::Expiry;
use crate::store::index::{self, Indexed, Place};
use crate::store::json::{self, Entry};
use crate::store::keys::Keys;
use crate::store::lock::Lock;
use crate::store::object::Object;
use crate::store::record;
use crate::store::replace::{Readers, open_helper, replace_if};
use crate::store::state::{Contents, HostEntry, State, Whole, index_path};
use crate::store::validity::{Validity, check};
use crate::store::{hosts, hosts_file};

/// What a disk writes whole, in bytes. Of a stamp that lies across two of these, a power failure
/// could leave one half old and one half new: another stamp, perhaps one in the future.
const SECTOR: u64 = 512;

/// What updates leave in the two files, worked out. The lock on the state is still held.
#[derive(Debug)]
pub(crate) struct Change {
    files: Files,
    kind: Kind,
    _lock: Lock,
}

/// Where to write it.
#[derive(Debug)]
struct Files {
    settings: config::Store,
    expiry: Expiry,
}

#[derive(Debug)]
enum Kind {
    /// Stamps over the old ones, each at its place.
    Stamps(Vec<(u64, String)>, Contents),
    /// One record of an indexed state, and its lines in the hosts file if they change.
    Record(Splices, Contents),
    /// A new state, and a new hosts file if its lines move.
    Whole(Whole, bool),
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
                apply(&mut state.hosts, steps, settings.time_zone)
                    .map_err(|error| Fault::new(settings.state.display(), error))?;
                // If hosts expire, each update looks who has gone or come back.
                let moves_lines = moves_lines
                    || (expiry.is_on()
                        && hosts_file::compare(&settings.hosts, &state.hosts, expiry)?.is_none());
                match stamps {
                    Some(stamps) if !moves_lines => Kind::Stamps(stamps, Contents::Whole(state)),
                    _ => Kind::Whole(state, moves_lines),
                }
            }
        };
        let files = Files { settings, expiry: *expiry };
        Ok(Change { files, kind, _lock: lock })
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
        let fields = Object::read(entry.json.clone(), Keys::OfFields)
            .map_err(|error| self.broken(json_position(&error)))?;
        Ok(fields.find(record::UPDATE).and_then(|(Entry { value, .. }, old, _)| {
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
fn apply(hosts: &mut Object, steps: &[Step], zone: TimeZone) -> serde_json::Result<()> {
    let mut each = steps.iter();
    each.try_for_each(|step| hosts.set(step.update().host().as_str(), step.fields_after(zone)))
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
        let new = step.fields_after(settings.time_zone);
        let hosts = if moves_lines {
            let old = hosts::lines(name, fields);
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
        let text = json::value_to_string(new.into()).ok()?;
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
            Kind::Whole(_, moves_lines) => *moves_lines,
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
        let Self { files, kind, _lock } = self;
        match kind {
            Kind::Stamps(stamps, contents) => files.write_stamps(&stamps, contents),
            Kind::Record(splices, contents) => files.write_record(&splices, &contents),
            Kind::Whole(state, moves_lines) => files.write_whole(state, moves_lines),
        }
    }
}

impl Files {
    fn write_stamps(&self, stamps: &[(u64, String)], contents: Contents) -> Result<(), Fault> {
        let path = &self.settings.state;
        let file = contents.file().ok_or_else(|| Fault::new(path.display(), "is gone"))?;
        check(path, contents.was())
            .and_then(|()| {
                let mut stamps = stamps.iter();
                stamps.try_for_each(|(place, stamp)| file.write_all_at(stamp.as_bytes(), *place))
            })
            .map_err(|error| Fault::io("write the stamp", path, &error))?;
        // The update is stored. Without an index, the next request reads all of the state.
        match contents {
            Contents::Indexed(indexed) => indexed.keep().ok(),
            Contents::Whole(state) => self.index_read(state),
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

    fn write_whole(&self, state: Whole, moves_lines: bool) -> Result<(), Fault> {
        let path = &self.settings.state;
        let mut entries = Vec::new();
        let write = |new: &mut File| {
            let mut new = BufWriter::new(new);
            entries = state.hosts.write(&mut new)?;
            new.flush()
        };
        let new_state = replace_if(path, write, || check(path, state.was), Readers::Everybody)?;
        let lines = if moves_lines {
            let (new, lines) = hosts_file::write(&self.settings.hosts, &state.hosts, &self.expiry)?;
            Validity::of(&new).ok().map(|new| (new, lines))
        } else {
            state.file.as_ref().and_then(|_| self.lines_of(&state.hosts))
        };
        let of = Validity::of(&new_state).ok();
        let _ = self.write_index(state.hosts, &entries, of, lines);
        Ok(())
    }

    /// Writes the index of a state that has been read and only got new stamps, if both files are
    /// what this program would write.
    fn index_read(&self, state: Whole) -> Option<()> {
        let Whole { file, hosts, .. } = state;
        let lines = Some(&hosts).filter(|hosts| hosts.is_as_written());
        let lines = lines.and_then(|hosts| self.lines_of(hosts));
        let entries = hosts.starts();
        self.write_index(hosts, &entries, Validity::of_file(&file?).ok(), lines)
    }

    /// The hosts file, and where each host's lines begin, if it is that of a state.
    fn lines_of(&self, hosts: &Object) -> Option<(Validity, Vec<u32>)> {
        // From before it is read.
        let validity = Validity::at(&self.settings.hosts)?;
        let lines = hosts_file::compare(&self.settings.hosts, hosts, &self.expiry).ok()??;
        Some((validity, lines))
    }

    /// Writes the index of a state whose entries and lines begin there, if it is known what goes
    /// with it. If hosts expire there is none: the hosts file does not have all of them. Nor if
    /// there are two spellings of a name.
    fn write_index(
        &self,
        state: Object,
        entries: &[u32],
        of: Option<Validity>,
        hosts: Option<(Validity, Vec<u32>)>,
    ) -> Option<()> {
        let (of, (hosts, lines)) = (of?, hosts?);
        if self.expiry.is_on() || !state.are_distinct() {
            return None;
        }
        // The text is not in memory together with the index.
        let hashes = state.into_hashes().into_iter();
        let places = entries.iter().zip(&lines);
        let place =
            |(entry, lines): (&u32, &u32)| Place { entry: (*entry).into(), lines: (*lines).into() };
        let index = index::build(hashes.zip(places.map(place)), of, Some(hosts))?;
        let mut options = OpenOptions::new();
        // It does not read. But to open a pipe only for writing waits for a reader.
        let file =
            open_helper(&index_path(&self.settings), options.read(true).write(true).mode(0o640))
                .ok()?;
        file.set_len(index.len() as u64).ok()?;
        file.write_all_at(&index, 0).ok()?;
        file.set_modified(of.modified).ok()
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

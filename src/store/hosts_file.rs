//! The hosts file of a whole state: written, or compared with the one that is there. One host
//! after the other is looked at, so it takes no memory.

use std::borrow::Cow;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write};
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::fault::Fault;
use crate::store::comparison::{self, Comparison};
use crate::store::expiry::Expiry;
use crate::store::hosts;
use crate::store::json::Text;
use crate::store::object::Object;
use crate::store::record::{self, Fields};
use crate::store::replace::replace_with;

/// Replaces the hosts file. Returns what [`replace_with`] does, and where each host's lines begin.
pub(super) fn write(
    path: &Path,
    state: &Object,
    expiry: &Expiry,
) -> Result<(Metadata, Vec<u32>), Fault> {
    let mut places = Vec::new();
    let write = |new: &mut File| {
        let mut new = BufWriter::new(new);
        places = write_lines(&mut new, state, expiry)?;
        new.flush()
    };
    let new = replace_with(path, write, hosts::READERS)?;
    Ok((new, places))
}

/// Where each host's lines begin, if the hosts file is that of the state.
pub(super) fn compare(
    path: &Path,
    state: &Object,
    expiry: &Expiry,
) -> Result<Option<Vec<u32>>, Fault> {
    let fault = |error| Fault::io("read the hosts file", path, &error);
    match File::open(path) {
        Ok(file) => {
            let write = |sink: &mut Comparison<_>| write_lines(sink, state, expiry);
            comparison::compare(BufReader::new(file), write).map_err(fault)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(error)),
    }
}

/// Writes the lines of the hosts that DNS serves. Returns where those of each host begin.
fn write_lines(to: &mut dyn Write, state: &Object, expiry: &Expiry) -> io::Result<Vec<u32>> {
    let (mut at, mut places) = (0, Vec::with_capacity(state.len()));
    for (name, record) in state.entries() {
        places.push(u32::try_from(at).unwrap_or(u32::MAX));
        // What is no record has no lines.
        let Ok(fields) = serde_json::from_str::<Skimmed>(record) else { continue };
        if expiry.is_over(&fields) {
            continue;
        }
        let lines = hosts::lines(&name, &fields);
        to.write_all(lines.as_bytes())?;
        at += lines.len();
    }
    Ok(places)
}

/// What a record says, as far as it is about the hosts file.
#[derive(Default)]
struct Skimmed<'t> {
    ipv4: Option<Cow<'t, str>>,
    ipv6: Option<Cow<'t, str>>,
    update: Option<Cow<'t, str>>,
}

impl Fields for Skimmed<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        let field = match name {
            record::IPV4 => &self.ipv4,
            record::IPV6 => &self.ipv6,
            record::UPDATE => &self.update,
            _ => &None,
        };
        field.as_deref()
    }
}

impl<'t> Deserialize<'t> for Skimmed<'t> {
    fn deserialize<D: Deserializer<'t>>(value: D) -> Result<Self, D::Error> {
        struct Record;

        impl<'t> Visitor<'t> for Record {
            type Value = Skimmed<'t>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a record")
            }

            fn visit_map<M: MapAccess<'t>>(self, mut map: M) -> Result<Skimmed<'t>, M::Error> {
                let mut fields = Skimmed::default();
                while let Some((Text(name), Text(value))) = map.next_entry()? {
                    match name.as_deref() {
                        Some(record::IPV4) => fields.ipv4 = value,
                        Some(record::IPV6) => fields.ipv6 = value,
                        Some(record::UPDATE) => fields.update = value,
                        _ => {}
                    }
                }
                Ok(fields)
            }
        }

        value.deserialize_map(Record)
    }
}

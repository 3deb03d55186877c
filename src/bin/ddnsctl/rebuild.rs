//! `ddnsctl rebuild`.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::Utc;
use ddns_cgi::config::{Config, Store};
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::publish::pending;
use ddns_cgi::store::expiry::Expiry;
use ddns_cgi::store::replace::{Readers, companion, replace};
use ddns_cgi::store::{hosts, json};
use rustix::fs::statfs;
use serde_json::{Map, Value};

use crate::records::settle;
use crate::words::{command, count};
use crate::{Report, progress, state};

pub fn run(config: &Config) -> Result<Report, Fault> {
    let store = &config.store;
    let path = &store.state;
    let lock = state::lock(store)?;
    if !path.exists() {
        return Ok(Report::done("there is no state: the next update takes it from the hosts file"));
    }
    let broken = fs::read(path).map_err(|error| Fault::io("read the state", path, &error))?;
    let text = String::from_utf8_lossy(&broken);
    if json::is_empty_map(&text) || serde_json::from_slice::<Map<String, Value>>(&broken).is_ok() {
        return Ok(Report::done("the state is whole: there is nothing to rebuild"));
    }
    progress::step("rebuilding the state");
    let note = rebuild(config, &broken, readable_records(&text))?;
    drop(lock);
    settle(config, &note)?;
    Ok(Report::done(format!("{note}; next: {}", command("ddnsctl check"))))
}

/// Completes the records of the broken state, writes them, and says what it did.
fn rebuild(config: &Config, broken: &[u8], mut state: Map<String, Value>) -> Result<String, Fault> {
    let store = &config.store;
    let from_state = state.len();
    add_hosts_file(&mut state, store)?;
    let aside = replace_files(config, broken, &state)?;
    let more = match state.len() - from_state {
        0 => String::new(),
        more => {
            let hosts = store.hosts.display();
            let dates =
                if more == 1 { "date of its last update" } else { "dates of their last updates" };
            format!(" and {more} more from {hosts}, which lost the {dates}")
        }
    };
    let place = if is_on_ram_disk(&aside) { " on the RAM disk, until the next boot," } else { "" };
    let (from_state, aside) = (count(from_state, "host"), aside.display());
    Ok(format!(
        "rebuilt the state with {from_state} from the broken one{more}; \
         the broken one is kept{place} as {aside}"
    ))
}

/// Whether a file is in a tmpfs, whose number is in statfs(2).
fn is_on_ram_disk(file: &Path) -> bool {
    const TMPFS_MAGIC: u32 = 0x0102_1994;
    statfs(file).is_ok_and(|system| u32::try_from(system.f_type) == Ok(TMPFS_MAGIC))
}

/// Writes the new state and its hosts file, and returns where the broken state is kept.
fn replace_files(
    config: &Config,
    broken: &[u8],
    state: &Map<String, Value>,
) -> Result<PathBuf, Fault> {
    let store = &config.store;
    let path = &store.state;
    let aside = companion(path, &format!("broken-{}", Utc::now().format("%Y%m%dT%H%M%SZ")));
    replace(&aside, broken, Readers::Everybody)?;
    pending::add(config, "state rebuilt by ddnsctl")?;
    let new = json::to_string(state).map_err(|error| Fault::new(path.display(), error))?;
    replace(path, new.as_bytes(), Readers::Everybody)?;
    hosts::store(&store.hosts, &Expiry::at(Utc::now(), store).hosts_file(state))?;
    Ok(aside)
}

/// Adds the names from the hosts file that the state does not have.
fn add_hosts_file(state: &mut Map<String, Value>, store: &Store) -> Result<(), Fault> {
    let text = hosts::read(&store.hosts)?.unwrap_or_default();
    let mut known: HashSet<String> = state.keys().map(|name| name.to_ascii_lowercase()).collect();
    for (name, fields) in hosts::to_state(&text, store.time_zone) {
        if known.insert(name.to_ascii_lowercase()) {
            state.insert(name, fields);
        }
    }
    Ok(())
}

/// Every record that is whole, anywhere in the text: a host name, a colon, an object.
fn readable_records(text: &str) -> Map<String, Value> {
    let mut records = Map::new();
    let mut rest = text;
    while let Some(start) = rest.find('"') {
        rest = rest.get(start..).unwrap_or_default();
        match record_at(rest) {
            Some((name, fields, after)) => {
                records.insert(name, fields.into());
                rest = after;
            }
            None => rest = rest.get(1..).unwrap_or_default(),
        }
    }
    records
}

/// The record at the start of `text`, and what comes after it.
fn record_at(text: &str) -> Option<(String, Map<String, Value>, &str)> {
    // No name has a quote. To look no further is to look at each part of the text but once.
    let end = text.get(1..)?.find('"')? + 2;
    let (name, after) = text.split_at_checked(end)?;
    let (name, _) = value_at::<String>(name)?;
    HostName::parse(&name)?;
    let (fields, after) = value_at::<Map<String, Value>>(after.trim_start().strip_prefix(':')?)?;
    Some((name, fields, after))
}

fn value_at<T: serde::de::DeserializeOwned>(text: &str) -> Option<(T, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<T>();
    let value = values.next()?.ok()?;
    Some((value, text.get(values.byte_offset()..)?))
}

#[cfg(test)]
mod tests {
    use super::readable_records;

    #[test]
    fn whole_records_are_found_in_a_broken_text() {
        let text = r#"{"a.example": {"ip": "192.0.2.1", "update": "x"}, "b.example": {"ip": "192.0
            "c.example" : {"ip": "192.0.2.3"}, garbage "d.example": 5, "e f": {}, "#;
        let names: Vec<_> = readable_records(text).keys().cloned().collect();
        assert_eq!(names, ["a.example", "c.example"]);
        assert!(readable_records("\"\"\"\"\u{fffd}{{").is_empty());
    }
}

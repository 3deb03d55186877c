//! `ddnsctl list`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ddns_cgi::config::{Config, Store};
use ddns_cgi::fault::{Fault, json_position};
use ddns_cgi::protocol::stamp::{Stamp, TimeZone};
use ddns_cgi::store::expiry::Expiry;
use ddns_cgi::store::{json as store_json, record};
use serde_json::{Map, Value, json};

use crate::cli::ListOptions;
use crate::state::Host;
use crate::{Report, credentials, state, table};

/// One host of the state.
struct Entry {
    host: String,
    addresses: Vec<String>,
    /// Its interface identifier, if that waits for a prefix.
    identifier: Option<String>,
    update: String,
    /// Seconds since the last update, or `None` if that is not known.
    age: Option<i64>,
    /// Whether it has been silent for so long that it has left DNS.
    has_expired: bool,
    owner: Option<String>,
}

pub fn run(config: &Config, options: &ListOptions) -> Result<Report, Fault> {
    let state = match &options.state {
        Some(file) => read_copy(file)?,
        None => ddns_cgi::store::state::snapshot(&config.store)?,
    };
    let entries = entries(&config.store, &state);
    drop(state);
    let is_wanted = |entry: &&Entry| {
        options.stale.is_none_or(|limit| entry.age.is_none_or(|age| is_at_least(age, limit)))
    };
    let wanted: Vec<&Entry> = entries.iter().filter(is_wanted).collect();
    Ok(Report::good(if options.json { as_json(&wanted) } else { as_table(&wanted) }))
}

fn is_at_least(age: i64, limit: Duration) -> bool {
    u64::try_from(age).is_ok_and(|age| age >= limit.as_secs())
}

/// Reads a state that nobody writes to.
fn read_copy(file: &Path) -> Result<Map<String, Value>, Fault> {
    let text =
        fs::read_to_string(file).map_err(|error| Fault::io("read the state", file, &error))?;
    store_json::parse(&text).map_err(|error| Fault::new(file.display(), json_position(&error)))
}

/// The hosts of a state, in its order.
fn entries(store: &Store, map: &Map<String, Value>) -> Vec<Entry> {
    // The list is useful even to somebody who may not read the credentials.
    let users = credentials::read(&store.credentials).unwrap_or_default();
    let now = Utc::now();
    let expiry = Expiry::at(now, store);
    let entry = |host| Entry::of(&host, store.time_zone, &expiry, now);
    state::hosts(map, &users).map(entry).collect()
}

impl Entry {
    fn of(host: &Host, zone: TimeZone, expiry: &Expiry, now: DateTime<Utc>) -> Self {
        let no_fields = Map::new();
        let fields = host.fields().unwrap_or(&no_fields);
        let stamp = record::stamp(fields, zone).ok();
        let age = stamp.filter(|stamp| *stamp != Stamp::NEVER);
        let update = fields.get(record::UPDATE).and_then(Value::as_str);
        Self {
            host: host.name.to_owned(),
            addresses: record::published(fields).map(|address| address.to_string()).collect(),
            identifier: record::identifier(fields).map(|identifier| identifier.to_string()),
            update: update.unwrap_or_default().to_owned(),
            age: age.map(|stamp| -stamp.seconds_ahead_of(now)),
            has_expired: expiry.is_over(host.record),
            owner: host.owner.map(str::to_owned),
        }
    }

    /// The cells of its row.
    fn row(&self) -> [String; 5] {
        let is_known = self.age.is_some();
        let update = if is_known { self.update.escape_default().to_string() } else { "-".into() };
        let age = self.age.map_or("unknown".to_owned(), age_text);
        let waiting =
            self.identifier.iter().map(|identifier| format!("{identifier} (no prefix yet)"));
        let addresses: Vec<String> = self.addresses.iter().cloned().chain(waiting).collect();
        [
            self.host.escape_default().to_string(),
            addresses.join(" "),
            update,
            age + if self.has_expired { ", expired" } else { "" },
            self.owner.clone().unwrap_or("-".to_owned()),
        ]
    }
}

/// A JSON list, put together entry by entry, since a value of all of them takes a lot of memory.
fn as_json(entries: &[&Entry]) -> String {
    let mut text = String::from("[");
    for (number, entry) in entries.iter().enumerate() {
        let value = json!({
            "host": entry.host,
            "addresses": entry.addresses,
            "interface_identifier": entry.identifier,
            "update": entry.update,
            "age_seconds": entry.age,
            "expired": entry.has_expired,
            "owner": entry.owner,
        });
        text += if number == 0 { "\n  " } else { ",\n  " };
        text += &format!("{value:#}").replace('\n', "\n  ");
    }
    text += if entries.is_empty() { "]\n" } else { "\n]\n" };
    text
}

fn as_table(entries: &[&Entry]) -> String {
    let rows: Vec<[String; 5]> = entries.iter().map(|entry| entry.row()).collect();
    table::render(["HOST", "ADDRESSES", "LAST UPDATE", "AGE", "OWNER"], &rows)
}

/// The two largest units of an age.
fn age_text(seconds: i64) -> String {
    match u64::try_from(seconds) {
        Err(_) => "in the future".to_owned(),
        Ok(seconds) => {
            let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
            text.split(' ').take(2).collect::<Vec<_>>().join(" ")
        }
    }
}

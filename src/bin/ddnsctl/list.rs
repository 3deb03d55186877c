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
use ddns_cgi::text::duration;
use serde_json::{Map, Value, json};

use crate::cli::ListOptions;
use crate::credentials::Users;
use crate::state::Host;
use crate::{Report, credentials, progress, shown, state, table};

/// One host.
struct Entry {
    host: String,
    addresses: Vec<String>,
    /// Its interface identifier, if that waits for a prefix.
    identifier: Option<String>,
    update: String,
    /// Seconds since the last update, or `None` if that is not known.
    age: Option<i64>,
    /// Whether the state has it. A host that a user has, but the state has not, was never updated.
    is_in_state: bool,
    /// Whether it has been silent for so long that it has left DNS.
    has_expired: bool,
    owner: Option<String>,
}

pub fn run(config: &Config, options: &ListOptions) -> Result<Report, Fault> {
    progress::step("reading the state");
    let state = match &options.state {
        Some(file) => read_copy(file)?,
        None => ddns_cgi::store::state::snapshot(&config.store)?,
    };
    // The list is useful even to somebody who may not read the credentials.
    let users = credentials::read(&config.store.credentials);
    let no_users = Map::new();
    let known = users.as_ref().unwrap_or(&no_users);
    let mut entries = entries(&config.store, &state, known);
    // What was never updated is in no copy of the state either, and says nothing about the copy.
    if options.state.is_none() {
        entries.extend(credentials::never_updated(known, &state).map(Entry::never));
    }
    drop(state);
    let is_wanted = |entry: &&Entry| {
        options.stale.is_none_or(|limit| entry.age.is_none_or(|age| is_at_least(age, limit)))
    };
    let wanted: Vec<&Entry> = entries.iter().filter(is_wanted).collect();
    if options.json {
        return Ok(Report::good(as_json(&wanted)));
    }
    Ok(match (wanted.is_empty(), entries.is_empty()) {
        (false, _) => {
            let note = users.err().map(|fault| format!("no owners are shown: {}", shown(fault)));
            Report::good(as_table(&wanted)).noting(note.unwrap_or_default())
        }
        (true, false) => Report::done("no host has been silent for so long"),
        (true, true) => Report::done("there are no hosts yet"),
    })
}

fn is_at_least(age: i64, limit: Duration) -> bool {
    u64::try_from(age).is_ok_and(|age| age >= limit.as_secs())
}

/// Reads a state that nobody writes to.
fn read_copy(file: &Path) -> Result<Map<String, Value>, Fault> {
    let text = fs::read_to_string(file)
        .map_err(|error| Fault::new(file.display(), format_args!("cannot read it: {error}")))?;
    store_json::parse(&text).map_err(|error| Fault::new(file.display(), json_position(&error)))
}

/// The hosts of a state, in its order.
fn entries(store: &Store, map: &Map<String, Value>, users: &Users) -> Vec<Entry> {
    let now = Utc::now();
    let expiry = Expiry::at(now, store);
    let entry = |host| Entry::of(&host, store.time_zone, &expiry, now);
    state::hosts(map, users).map(entry).collect()
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
            is_in_state: true,
            has_expired: expiry.is_over(host.record),
            owner: host.owner.map(str::to_owned),
        }
    }

    /// A host that was never updated, with its user.
    fn never((host, user): (&str, &str)) -> Self {
        Self {
            host: host.to_owned(),
            addresses: Vec::new(),
            identifier: None,
            update: String::new(),
            age: None,
            is_in_state: false,
            has_expired: false,
            owner: Some(user.to_owned()),
        }
    }

    /// The cells of its row.
    fn row(&self) -> [String; 5] {
        let is_known = self.age.is_some();
        let update = if is_known { self.update.escape_default().to_string() } else { "-".into() };
        let unknown = if self.is_in_state { "unknown" } else { "never" };
        let age = self.age.map_or(unknown.to_owned(), age_text);
        let waiting =
            self.identifier.iter().map(|identifier| format!("{identifier} (no prefix yet)"));
        let addresses: Vec<String> = self.addresses.iter().cloned().chain(waiting).collect();
        [
            self.host.escape_default().to_string(),
            if addresses.is_empty() { "-".to_owned() } else { addresses.join(" ") },
            update,
            age + if self.has_expired { ", expired" } else { "" },
            self.owner
                .as_deref()
                .map_or("-".to_owned(), |owner| owner.escape_default().to_string()),
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

fn age_text(seconds: i64) -> String {
    u64::try_from(seconds).map_or("in the future".to_owned(), duration)
}

//! `ddnsctl list`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use ddns_cgi::config::Config;
use ddns_cgi::fault::{Fault, json_position};
use ddns_cgi::protocol::stamp::Stamp;
use ddns_cgi::store::expiry::Expiry;
use ddns_cgi::store::{lookup, record, state};
use serde_json::{Map, Value, json};

use crate::cli::ListOptions;
use crate::{Report, table, users};

/// One host of the state.
struct Entry {
    host: String,
    addresses: Vec<String>,
    update: String,
    /// Seconds since the last update; `None` where that is not known.
    age: Option<i64>,
    /// Whether it was silent for so long that it is not served.
    has_expired: bool,
    owner: Option<String>,
}

pub fn run(config: &Config, options: &ListOptions) -> Result<Report, Fault> {
    let state = match &options.state {
        Some(file) => read_copy(file)?,
        None => state::snapshot(&config.store)?,
    };
    let entries = entries(config, state);
    let is_wanted = |entry: &&Entry| {
        options.stale.is_none_or(|limit| entry.age.is_none_or(|age| is_at_least(age, limit)))
    };
    let wanted: Vec<&Entry> = entries.iter().filter(is_wanted).collect();
    Ok(Report::good(if options.json { as_json(&wanted) } else { as_table(&wanted) }))
}

fn is_at_least(age: i64, limit: Duration) -> bool {
    u64::try_from(age).is_ok_and(|age| age >= limit.as_secs())
}

/// A state that nobody writes to.
fn read_copy(file: &Path) -> Result<Map<String, Value>, Fault> {
    let text =
        fs::read_to_string(file).map_err(|error| Fault::io("read the state", file, &error))?;
    lookup::parse_map(&text).map_err(|error| Fault::new(file.display(), json_position(&error)))
}

fn entries(config: &Config, state: Map<String, Value>) -> Vec<Entry> {
    let now = Utc::now();
    // Without the right to read the credentials, the list is still of use.
    let users = users::read(&config.store.credentials).unwrap_or_default();
    let owners: HashMap<String, String> = users
        .iter()
        .flat_map(|(user, entry)| {
            users::hosts(entry).map(|host| (host.to_ascii_lowercase(), user.clone()))
        })
        .collect();
    let expiry = Expiry::at(now, &config.store);
    let no_fields = Map::new();
    let entry = |(host, value): (String, Value)| {
        let fields = value.as_object().unwrap_or(&no_fields);
        let stamp = record::stamp(fields, config.store.time_zone).ok();
        let age = stamp.filter(|stamp| *stamp != Stamp::NEVER);
        Entry {
            addresses: record::addresses(fields).map(|address| address.to_string()).collect(),
            update: fields
                .get(record::UPDATE)
                .and_then(|u| u.as_str())
                .unwrap_or_default()
                .to_owned(),
            age: age.map(|stamp| -stamp.seconds_ahead_of(now)),
            has_expired: expiry.is_over(&value),
            owner: owners.get(&host.to_ascii_lowercase()).cloned(),
            host,
        }
    };
    state.into_iter().map(entry).collect()
}

fn as_json(entries: &[&Entry]) -> String {
    let list: Vec<_> = entries
        .iter()
        .map(|entry| {
            json!({
                "host": entry.host,
                "addresses": entry.addresses,
                "update": entry.update,
                "age_seconds": entry.age,
                "expired": entry.has_expired,
                "owner": entry.owner,
            })
        })
        .collect();
    format!("{:#}\n", json!(list))
}

fn as_table(entries: &[&Entry]) -> String {
    let rows: Vec<[String; 5]> = entries
        .iter()
        .map(|entry| {
            [
                entry.host.escape_default().to_string(),
                entry.addresses.join(" "),
                if entry.age.is_some() {
                    entry.update.escape_default().to_string()
                } else {
                    "-".into()
                },
                entry.age.map_or("unknown".to_owned(), age_text)
                    + if entry.has_expired { ", expired" } else { "" },
                entry.owner.clone().unwrap_or("-".to_owned()),
            ]
        })
        .collect();
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

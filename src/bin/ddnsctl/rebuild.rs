//! `ddnsctl rebuild`.

use std::fs;
use std::time::Duration;

use chrono::Utc;
use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::publish::pending::Pending;
use ddns_cgi::store::expiry::Expiry;
use ddns_cgi::store::hosts;
use ddns_cgi::store::lock::Lock;
use ddns_cgi::store::replace::{Readers, companion, replace};
use ddns_cgi::store::{lookup, php_json};
use serde_json::{Map, Value};

use crate::{Report, apply};

pub fn run(config: &Config) -> Result<Report, Fault> {
    let path = &config.store.state;
    let lock = Lock::acquire(
        &companion(path, "lock"),
        Duration::from_secs(config.store.lock_timeout.into()),
    )?;
    if !path.exists() {
        return Ok(Report::good(
            "there is no state: the next update takes it from the hosts file\n",
        ));
    }
    let bytes = fs::read(path).map_err(|error| Fault::io("read the state", path, &error))?;
    let text = String::from_utf8_lossy(&bytes);
    if lookup::is_empty_map(&text) || serde_json::from_str::<Map<String, Value>>(&text).is_ok() {
        return Ok(Report::good("the state is whole: nothing to rebuild\n"));
    }

    let mut state = readable_records(&text);
    let from_state = state.len();
    add_hosts_file(&mut state, config)?;
    let aside = companion(path, &format!("broken-{}", Utc::now().format("%Y%m%dT%H%M%SZ")));
    replace(&aside, &bytes, Readers::Everybody)?;
    Pending::add(&config.store.hosts, "state rebuilt by ddnsctl")?;
    let new = php_json::to_bytes(&state).map_err(|error| Fault::new(path.display(), error))?;
    replace(path, &new, Readers::Everybody)?;
    hosts::store(&config.store.hosts, &Expiry::at(Utc::now(), &config.store).served(&state))?;
    drop(lock);
    let text = format!(
        "{from_state} hosts from the broken state, {} more from {}; the broken state is kept as {}\n",
        state.len() - from_state,
        config.store.hosts.display(),
        aside.display()
    );
    apply::settle(config).map_err(|fault| {
        Fault::new(
            fault.subject,
            format_args!("{}. Rebuilt all the same: {}", fault.reason, text.trim_end()),
        )
    })?;
    Ok(Report::good(text))
}

/// Adds the names of the hosts file that the state does not have.
fn add_hosts_file(state: &mut Map<String, Value>, config: &Config) -> Result<(), Fault> {
    let text = hosts::read(&config.store.hosts)?.unwrap_or_default();
    for (name, fields) in hosts::to_state(&text, config.store.time_zone) {
        if !state.keys().any(|known| known.eq_ignore_ascii_case(&name)) {
            state.insert(name, fields);
        }
    }
    Ok(())
}

/// Every record that stands whole somewhere in the text: a host name, a colon, an object.
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

/// The record that `text` begins with, and what comes after it.
fn record_at(text: &str) -> Option<(String, Map<String, Value>, &str)> {
    let (name, after) = value_at::<String>(text)?;
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

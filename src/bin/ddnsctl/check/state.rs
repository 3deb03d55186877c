//! What `ddnsctl check` says of the state.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;

use chrono::Utc;
use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::store::{json, record};
use serde_json::{Map, Value};

use super::findings::Findings;
use crate::users;

/// Reads the state; `None` where there is none, or none that can be read.
pub fn check(
    findings: &mut Findings,
    config: &Config,
    users: Option<&Map<String, Value>>,
) -> Option<Map<String, Value>> {
    let path = &config.store.state;
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            findings.fault(&Fault::io("read the state", path, &error));
            return None;
        }
    };
    if json::is_empty_map(&text) {
        return None;
    }
    let Ok(state) = serde_json::from_str::<Map<String, Value>>(&text) else {
        findings.error(
            path.display(),
            "the state is broken, so all updates are answered with 911",
            "ddnsctl rebuild, or restore a copy",
        );
        return None;
    };
    check_names(findings, &state, users);
    for (host, value) in &state {
        check_record(findings, config, host, value);
    }
    Some(state)
}

/// Each name is there once, and somebody's.
fn check_names(
    findings: &mut Findings,
    state: &Map<String, Value>,
    users: Option<&Map<String, Value>>,
) {
    let owned: Option<HashSet<String>> = users
        .map(|users| users.values().flat_map(users::hosts).map(str::to_ascii_lowercase).collect());
    let mut seen = HashMap::new();
    for host in state.keys() {
        let name = host.to_ascii_lowercase();
        if owned.as_ref().is_some_and(|owned| !owned.contains(&name)) {
            findings.warning(
                host.escape_default(),
                "is no user's host, so nobody can update it",
                "ddnsctl host add USER HOST",
            );
        }
        if let Some(twin) = seen.insert(name, host) {
            findings.warning(
                host.escape_default(),
                format_args!("is there as {twin}, too"),
                "Its next change of address makes them one",
            );
        }
    }
}

fn check_record(findings: &mut Findings, config: &Config, host: &str, value: &Value) {
    let shown = host.escape_default();
    let advice = format!("Correct it in {}", config.store.state.display());
    let Some(fields) = value.as_object() else {
        findings.error(
            shown,
            "its record is no object, so its updates are answered with 911",
            advice,
        );
        return;
    };
    if HostName::parse(host).is_none() {
        findings.warning(&shown, "is not a valid host name, so dnsmasq does not get it", &advice);
    }
    if record::addresses(fields).next().is_none() {
        findings.warning(&shown, "has no address", "Wait for its next update");
    }
    match record::stamp(fields, config.store.time_zone) {
        Err(why) => findings.error(&shown, why, &advice),
        Ok(stamp) => {
            let ahead = stamp.seconds_ahead_of(Utc::now());
            if u64::try_from(ahead).is_ok_and(|ahead| ahead > config.protocol.window) {
                findings.error(
                    &shown,
                    format_args!("its last update is {ahead} s in the future, so its updates are refused as replays until then"),
                    "Correct the clock, \"time_zone\" in the configuration, or \"update\" in the state",
                );
            }
        }
    }
}

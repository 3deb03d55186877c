//! What `ddnsctl check` says about the state.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use chrono::{DateTime, Utc};
use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::store::{json, record};
use serde_json::{Map, Value};

use super::findings::Findings;
use crate::state::{self, Host};

/// Reads the state. Returns `None` if there is none, or if it is unreadable. Without users, nothing
/// is said about the owners of hosts.
pub fn check(
    findings: &mut Findings,
    config: &Config,
    users: Option<&Map<String, Value>>,
) -> Option<Map<String, Value>> {
    let state = read(findings, &config.store.state)?;
    let no_users = Map::new();
    let hosts: Vec<Host> = state::hosts(&state, users.unwrap_or(&no_users)).collect();
    for host in &hosts {
        check_name(findings, host, users.is_some());
    }
    let now = Utc::now();
    for host in &hosts {
        check_record(findings, config, host, now);
    }
    Some(state)
}

fn read(findings: &mut Findings, path: &Path) -> Option<Map<String, Value>> {
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
    let state = serde_json::from_str(&text).ok();
    if state.is_none() {
        findings.error(
            path.display(),
            "the state is broken, so all updates are answered with 911",
            "ddnsctl rebuild, or restore a copy",
        );
    }
    state
}

/// Each name belongs to a user, and is in the state once.
fn check_name(findings: &mut Findings, host: &Host, are_users_known: bool) {
    let shown = host.name.escape_default();
    if are_users_known && host.owner.is_none() {
        let problem = "is no user's host, so nobody can update it";
        findings.warning(&shown, problem, "ddnsctl host add USER HOST");
    }
    if let Some(twin) = host.earlier_twin {
        let problem = format!("is also listed as {twin}");
        findings.warning(&shown, problem, "Its next change of address merges them");
    }
}

fn check_record(findings: &mut Findings, config: &Config, host: &Host, now: DateTime<Utc>) {
    let shown = host.name.escape_default();
    let advice = format!("Correct it in {}", config.store.state.display());
    let Some(fields) = host.fields() else {
        let problem = "its record is not an object, so its updates are answered with 911";
        return findings.error(shown, problem, advice);
    };
    if HostName::parse(host.name).is_none() {
        findings.warning(&shown, "is not a valid host name, so dnsmasq does not get it", &advice);
    }
    if let Some(identifier) = record::identifier(fields) {
        let problem =
            format!("has no IPv6 address: its identifier {identifier} waits for a prefix");
        findings.warning(&shown, problem, "Let its router send the prefix of its network");
    } else if record::published(fields).next().is_none() {
        findings.warning(&shown, "has no address", "Wait for its next update");
    }
    let ahead = match record::stamp(fields, config.store.time_zone) {
        Ok(stamp) => stamp.seconds_ahead_of(now),
        Err(why) => return findings.error(&shown, why, &advice),
    };
    if u64::try_from(ahead).is_ok_and(|ahead| ahead > config.protocol.window) {
        findings.error(
            &shown,
            format_args!(
                "its last update is {ahead} s in the future, \
                 so its updates are refused as replays until then"
            ),
            "Correct the clock, \"time_zone\" in the configuration, or \"update\" in the state",
        );
    }
}

//! What `ddnsctl check` says about the state.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use chrono::Utc;
use ddns_cgi::config::Config;
use ddns_cgi::fault::{Fault, json_position};
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::store::replace::companion;
use ddns_cgi::store::{json, record};
use ddns_cgi::text::duration;
use serde_json::{Map, Value};

use super::copies;
use super::findings::{Advice, Findings, Level};
use crate::credentials::Users;
use crate::state::{self, Host};
use crate::words::{command, quoted};

/// Reads the state. Returns `None` if there is none, or if it is unreadable. Without users, nothing
/// is said about the owners of hosts.
pub fn check(
    findings: &mut Findings,
    config: &Config,
    users: Option<&Users>,
) -> Option<Map<String, Value>> {
    let state = read(findings, &config.store.state)?;
    let no_users = Map::new();
    let hosts: Vec<Host> = state::hosts(&state, users.unwrap_or(&no_users)).collect();
    if users.is_some() {
        check_owners(findings, &hosts);
    }
    check_twins(findings, &hosts);
    check_names(findings, config, &hosts);
    check_addresses(findings, &hosts);
    check_stamps(findings, config, &hosts);
    Some(state)
}

fn read(findings: &mut Findings, path: &Path) -> Option<Map<String, Value>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            let fault = Fault::io("read the state", path, &error);
            findings.fault(fault, "Until it can be read, all updates are answered with 911.");
            return None;
        }
    };
    if json::is_empty_map(&String::from_utf8_lossy(&bytes)) {
        return None;
    }
    match serde_json::from_slice(&bytes) {
        Ok(state) => Some(state),
        Err(error) => {
            let problem = format!(
                "the state is broken, so all updates are answered with 911: it {}",
                json_position(&error)
            );
            findings.error(path.display(), problem, repair(path));
            None
        }
    }
}

/// How to repair a broken state. A copy has the dates of the last updates, which the hosts file has
/// not. To rebuild the state is another way, so the command for it is none of those to copy.
fn repair(state: &Path) -> Advice {
    match copies::newest(state) {
        Some(copies::Good { date, .. }) => Advice::say(format!(
            "Run {}, which keeps what is readable, or restore the copy of {date}, and publish it:",
            command("ddnsctl rebuild")
        ))
        .then("ddns-ramcache restore --force")
        .then("ddnsctl apply"),
        None => Advice::say("Rebuild it from what is readable, or restore a copy of your own:")
            .then("ddnsctl rebuild"),
    }
}

/// Reports a problem of hosts, in the words for one host or for several.
fn report(
    findings: &mut Findings,
    level: Level,
    hosts: &[&Host],
    [one, several]: [&str; 2],
    advice: impl Into<Advice>,
) {
    let names = hosts.iter().map(|host| shown(host)).collect();
    findings.hosts(level, names, if hosts.len() == 1 { one } else { several }, advice);
}

fn shown(host: &Host) -> String {
    host.name.escape_default().to_string()
}

/// How to correct a record without losing an update that comes meanwhile.
fn edit(config: &Config) -> Advice {
    let state = &config.store.state;
    let [lock, state] = [&companion(state, "lock"), state].map(|path| quoted(path.display()));
    Advice::say("Correct it, under the lock of the state, and publish it:")
        .then(format!("flock {lock} editor {state}"))
        .then("ddnsctl apply")
}

/// Each host belongs to a user. A name that cannot be a host has a finding of its own.
fn check_owners(findings: &mut Findings, hosts: &[Host]) {
    let is_stray = |host: &&Host| host.owner.is_none() && HostName::parse(host.name).is_some();
    let strays: Vec<&Host> = hosts.iter().filter(is_stray).collect();
    let Some(first) = strays.first() else { return };
    let words = if strays.len() == 1 {
        "Give it to a user, or let DNS forget it:"
    } else {
        "Give each to a user, or let DNS forget it. For the first:"
    };
    let problem = [
        "is no user's host, so nobody can update it",
        "are no user's hosts, so nobody can update them",
    ];
    let name = quoted(first.name);
    let advice = Advice::say(words)
        .then(format!("ddnsctl host add USER {name}"))
        .then(format!("ddnsctl forget {name}"));
    report(findings, Level::Warning, &strays, problem, advice);
}

/// Each name is in the state once, whatever its case.
fn check_twins(findings: &mut Findings, hosts: &[Host]) {
    let twins: Vec<&Host> = hosts.iter().filter(|host| host.earlier_twin.is_some()).collect();
    let first = twins.first().and_then(|host| host.earlier_twin).unwrap_or_default();
    let one = format!("is also listed as {}", first.escape_default());
    let problem = [one.as_str(), "are also listed in another case"];
    report(findings, Level::Warning, &twins, problem, "The next change of address merges them.");
}

/// Each has a valid name, and a record.
fn check_names(findings: &mut Findings, config: &Config, hosts: &[Host]) {
    let broken: Vec<&Host> = hosts.iter().filter(|host| host.fields().is_none()).collect();
    let problem = [
        "its record is not an object, so its updates are answered with 911",
        "their records are no objects, so their updates are answered with 911",
    ];
    report(findings, Level::Error, &broken, problem, edit(config));
    let invalid = |host: &&Host| HostName::parse(host.name).is_none() && host.fields().is_some();
    let invalid: Vec<&Host> = hosts.iter().filter(invalid).collect();
    let problem = [
        "is not a valid host name, so name servers do not get it",
        "are not valid host names, so name servers do not get them",
    ];
    report(findings, Level::Warning, &invalid, problem, edit(config));
}

/// Each has an address.
fn check_addresses(findings: &mut Findings, hosts: &[Host]) {
    let identifier = |host: &Host| host.fields().and_then(record::identifier);
    let waiting: Vec<&Host> = hosts.iter().filter(|host| identifier(host).is_some()).collect();
    if let Some(first) = waiting.first().and_then(|host| identifier(host)) {
        let one = format!("has no IPv6 address: its identifier {first} waits for a prefix");
        let problem = [one.as_str(), "have no IPv6 address: their identifiers wait for a prefix"];
        let advice = "Let the router send the prefix of its network.";
        report(findings, Level::Warning, &waiting, problem, advice);
    }
    let has_none = |host: &&Host| {
        let fields = host.fields();
        fields.is_some_and(|fields| record::published(fields).next().is_none())
            && identifier(host).is_none()
    };
    let without: Vec<&Host> = hosts.iter().filter(has_none).collect();
    let problem = ["has no address", "have no address"];
    report(findings, Level::Warning, &without, problem, "The next update brings it.");
}

/// Each has a time stamp that is not in the future.
fn check_stamps(findings: &mut Findings, config: &Config, hosts: &[Host]) {
    let now = Utc::now();
    let (mut unreadable, mut ahead) = (Vec::new(), Vec::new());
    for host in hosts {
        let Some(fields) = host.fields() else { continue };
        match record::stamp(fields, config.store.time_zone) {
            Err(why) => unreadable.push((host, why)),
            Ok(stamp) => {
                let seconds = u64::try_from(stamp.seconds_ahead_of(now)).unwrap_or(0);
                if seconds > config.protocol.window {
                    ahead.push((host, seconds));
                }
            }
        }
    }
    if let Some((_, why)) = unreadable.first() {
        let hosts: Vec<&Host> = unreadable.iter().map(|(host, _)| *host).collect();
        report(findings, Level::Error, &hosts, [why, why], edit(config));
    }
    if let Some(furthest) = ahead.iter().map(|(_, seconds)| *seconds).max() {
        let hosts: Vec<&Host> = ahead.iter().map(|(host, _)| *host).collect();
        let furthest = duration(furthest);
        let problem = [
            format!(
                "its last update is {furthest} in the future, so its updates are refused as \
                 replays until then"
            ),
            format!(
                "their last updates are up to {furthest} in the future, so their updates are \
                 refused as replays until then"
            ),
        ];
        let advice =
            "Correct the clock, \"time_zone\" in the configuration, or \"update\" in the state.";
        let problem = problem.each_ref().map(String::as_str);
        report(findings, Level::Error, &hosts, problem, advice);
    }
}

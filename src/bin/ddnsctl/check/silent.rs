//! The hosts from which nothing is heard: `ddnsctl check --only silent` names all of them, in lines
//! for a mail. `ddnsctl check` names those from which the operator expects updates at an interval.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use chrono::Utc;
use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::stamp::{Stamp, TimeZone};
use ddns_cgi::status::{Condition, Host, Status};
use ddns_cgi::store::owners::Owners;
use ddns_cgi::store::state;
use ddns_cgi::text::{duration, exact_duration};
use serde_json::{Value, json};

use super::findings::{Advice, Findings, Level};
use crate::credentials::Users;
use crate::words::quoted;
use crate::{QUIET, Report, credentials, style};

/// A host from which nothing is heard.
struct Silent {
    name: String,
    owner: Option<String>,
    addresses: Vec<IpAddr>,
    /// Its last update, or `None` if that is not known.
    update: Option<Stamp>,
    age: Option<i64>,
    /// How many seconds the operator expects between two updates.
    every: Option<u64>,
    /// Whether the state has it. If not, it was never updated.
    is_in_state: bool,
}

/// Names each host that the status page calls silent, and each that was never updated. The exit
/// status is 1 if there is one.
pub fn check(config: &Config, as_json: bool) -> Report {
    match report(config, as_json) {
        Ok(report) => report,
        Err(fault) => {
            let mut findings = Findings::default();
            findings.fault(fault, "");
            findings.into_report(as_json, "")
        }
    }
}

fn report(config: &Config, as_json: bool) -> Result<Report, Fault> {
    // The mail is useful even to somebody who may not read the credentials.
    let (owners, note) = match Owners::read(&config.store) {
        Ok(owners) => (Some(owners), String::new()),
        Err(fault) => (None, format!("owners and intervals are not known: {fault}")),
    };
    let users = credentials::read(&config.store.credentials).unwrap_or_default();
    let hosts = silent(config, &users, owners.as_ref())?;
    let text = if as_json {
        let list: Vec<Value> = hosts.iter().map(Silent::to_json).collect();
        format!("{:#}\n", json!(list))
    } else if hosts.is_empty() && !QUIET.load(Ordering::Relaxed) {
        format!("{}: no host is silent\n", style::good("all is well"))
    } else {
        hosts.iter().map(|host| host.line(owners.is_some())).collect()
    };
    Ok(Report { text, note, status: u8::from(!hosts.is_empty()) })
}

/// Warns of the silent hosts that the operator expects at an interval. What hinders us from finding
/// them has a finding of its own.
pub fn check_expected(findings: &mut Findings, config: &Config, users: &Users) {
    if users.values().flat_map(credentials::intervals).next().is_none() {
        return;
    }
    let owners = Owners::in_users(users);
    let mut hosts = silent(config, users, Some(&owners)).unwrap_or_default();
    hosts.retain(|host| host.every.is_some());
    let names = hosts.iter().map(|host| host.name.escape_default().to_string()).collect();
    if let [host] = hosts.as_slice() {
        let advice = Advice::say("Look after its client. If it is not to report any more:");
        let command = format!("ddnsctl host expect {} none", quoted(&host.name));
        findings.hosts(Level::Warning, names, host.said(), advice.then(command));
    } else {
        let advice = Advice::say("Look after their clients. What was heard of each:");
        let advice = advice.then("ddnsctl check --only silent");
        findings.hosts(Level::Warning, names, "are silent, though they are expected", advice);
    }
}

/// The silent hosts of the state, then those that were never updated.
fn silent(config: &Config, users: &Users, owners: Option<&Owners>) -> Result<Vec<Silent>, Fault> {
    let state = state::snapshot(&config.store)?;
    let status = Status::of(&state, &[], config, Utc::now(), owners);
    let mut hosts: Vec<Silent> = status
        .hosts
        .into_iter()
        .filter(|host| host.condition == Condition::Silent)
        .map(Silent::of)
        .collect();
    hosts.extend(credentials::never_updated(users, &state).map(|(host, user)| {
        let every = owners.and_then(|owners| owners.of(host)?.every);
        Silent::never(host, user, every)
    }));
    Ok(hosts)
}

impl Silent {
    fn of(host: Host) -> Self {
        let Host { name, owner, addresses, update, age, every, .. } = host;
        Self { name, owner, addresses, update, age, every, is_in_state: true }
    }

    fn never(host: &str, user: &str, every: Option<u64>) -> Self {
        Self {
            name: host.to_owned(),
            owner: Some(user.to_owned()),
            addresses: Vec::new(),
            update: None,
            age: None,
            every,
            is_in_state: false,
        }
    }

    /// Who is silent, for how long, and what was heard last.
    fn line(&self, are_owners_known: bool) -> String {
        let mut text = self.name.escape_default().to_string();
        if are_owners_known {
            let owner = self.owner.as_ref().map(|owner| owner.escape_default().to_string());
            text += &format!(" ({})", owner.as_deref().unwrap_or("no user"));
        }
        format!("{text}: {}\n", self.said())
    }

    /// For how long it is silent, and what was heard last.
    fn said(&self) -> String {
        let age = self.age.and_then(|age| u64::try_from(age).ok());
        let mut text = match (self.update, age) {
            (Some(stamp), Some(age)) => {
                format!("silent for {}; its last update was {}", duration(age), update(stamp))
            }
            _ if self.is_in_state => "silent; its last update is not known".to_owned(),
            _ => "never updated".to_owned(),
        };
        if self.update.is_some() && !self.addresses.is_empty() {
            let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
            text += &format!(", with {}", addresses.join(" and "));
        }
        if let Some(seconds) = self.every {
            text += &format!("; expected every {}", exact_duration(seconds));
        }
        text
    }

    /// The fields have the names and forms that they have in the JSON of the status page.
    fn to_json(&self) -> Value {
        json!({
            "host": self.name,
            "owner": self.owner,
            "addresses": self.addresses,
            "update": self.update.map(Stamp::to_rfc3339),
            "age_seconds": self.age,
            "expected_seconds": self.every,
        })
    }
}

fn update(stamp: Stamp) -> String {
    format!("{} UTC", stamp.format(TimeZone::Utc))
}

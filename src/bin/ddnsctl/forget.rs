//! `ddnsctl forget`, which `ddnsctl host remove` and `ddnsctl user remove --hosts` run as the owner
//! of the state.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;

use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::store::state::{Patience, State};

use crate::names::host_name;
use crate::records::{Edit, STORED, settle, store};
use crate::words::few;
use crate::{Report, credentials};

/// Stands for hosts on standard input: a command line cannot hold all those of a large user.
pub const FROM_INPUT: &str = "-";

/// Removes hosts from the state, and makes the name servers forget them. Says which were there, and
/// which may come back.
pub fn run(config: &Config, words: &[String]) -> Result<Report, Fault> {
    let hosts = hosts(words)?;
    let removed = remove(config, &hosts)?;
    settle(config, STORED)?;
    Ok(Report::done(note(config, &hosts, &removed)))
}

/// The hosts that are named on the command line or, if that says so, on standard input.
fn hosts(words: &[String]) -> Result<BTreeSet<HostName>, Fault> {
    if !matches!(words, [word] if word == FROM_INPUT) {
        return words.iter().map(|word| host_name(word)).collect();
    }
    let mut text = String::new();
    io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Fault::io("read the hosts", Path::new("standard input"), &error))?;
    text.split_whitespace().map(host_name).collect()
}

/// Removes hosts from the state and from the hosts file. Returns those that were there.
fn remove(config: &Config, hosts: &BTreeSet<HostName>) -> Result<BTreeSet<HostName>, Fault> {
    let mut state = State::open(&config.store, Patience::Client)?;
    let mut map = state.map()?;
    let mut removed = BTreeSet::new();
    map.retain(|name, _| match HostName::parse(name).filter(|name| hosts.contains(name)) {
        Some(name) => {
            removed.insert(name);
            false
        }
        None => true,
    });
    let change = format!("{} removed", few(removed.iter()));
    let edit = Edit { map: &map, is_changed: !removed.is_empty(), change };
    store(config, &state, &edit)?;
    Ok(removed)
}

/// What was done, and what the operator may not expect.
fn note(config: &Config, hosts: &BTreeSet<HostName>, removed: &BTreeSet<HostName>) -> String {
    let mut parts = Vec::new();
    if !removed.is_empty() {
        let names = few(removed.iter());
        parts.push(format!("removed {names} from the state and from DNS"));
    }
    let absent: Vec<&HostName> = hosts.difference(removed).collect();
    if !absent.is_empty() {
        let was_or_were = if absent.len() == 1 { "was" } else { "were" };
        parts.push(format!("{} {was_or_were} not in DNS", few(absent.iter())));
    }
    // Whoever may not read the credentials still knows what was removed.
    let users = credentials::read(&config.store.credentials).unwrap_or_default();
    let users = users.iter().filter(|(_, entry)| credentials::policy(entry).is_ok());
    let owned: Vec<String> = users
        .flat_map(|(user, entry)| credentials::hosts(entry).map(move |host| (user, host)))
        .filter_map(|(user, host)| Some((user, hosts.get(&HostName::parse(host)?)?)))
        .map(|(user, host)| format!("{host} ({})", user.escape_default()))
        .collect();
    if !owned.is_empty() {
        let (names, it) = (few(owned.iter()), if owned.len() == 1 { "it" } else { "each" });
        parts.push(format!("a user still has {names}: the next update brings {it} back"));
    }
    parts.join("; ")
}

//! `ddnsctl host`.

use std::collections::HashMap;
use std::slice;

use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::protocol::user;
use ddns_cgi::store::state::snapshot;
use serde_json::Value;

use crate::cli::HostCommand;
use crate::credentials::{
    Users, edit, expect, has, has_hosts, list_of_hosts, owner_of, owners, owners_of, read, take,
};
use crate::forget::FROM_INPUT;
use crate::interval::Interval;
use crate::names::{host_name, no_host, oddity};
use crate::rename::renamed;
use crate::user::{AGAIN, next, next_with_clients};
use crate::words::{command, few, quoted};
use crate::{Report, list, owner};

pub fn run(config: &Config, command: HostCommand) -> Result<Report, Fault> {
    match command {
        HostCommand::Add { user, host, ip6 } => {
            let identifier = ip6.map(|identifier| identifier.to_string());
            add(config, &user, &host_name(&host)?, identifier.as_deref())
        }
        HostCommand::Move { host, user } => {
            let host = host_name(&host)?;
            edit(&config.store.credentials, |users| hand_over(users, &host, &user))
        }
        HostCommand::Rename { host, new } => rename(config, &[host_name(&host)?, host_name(&new)?]),
        HostCommand::Expect { host, interval } => {
            let host = host_name(&host)?;
            edit(&config.store.credentials, |users| set_interval(users, &host, interval))
        }
        HostCommand::Remove { user, host } => remove(config, user.as_deref(), &host_name(&host)?),
        HostCommand::List(options) => list::run(config, &options),
    }
}

fn add(
    config: &Config,
    user: &str,
    host: &HostName,
    identifier: Option<&str>,
) -> Result<Report, Fault> {
    let path = &config.store.credentials;
    // The state comes second. If that fails, the same command again completes it.
    if identifier.is_none() || owner_of(&read(path)?, host) != Some(user) {
        edit(path, |users| give(users, user, host))?;
    }
    let note = [
        Some(format!("{} may update {host}", user.escape_default())),
        oddity(slice::from_ref(host)),
        Some(next_with_clients(user)),
    ];
    let note = note.into_iter().flatten().collect::<Vec<_>>().join("; ");
    Ok(match identifier {
        Some(identifier) => owner::run(config, &["identify", host.as_str(), identifier], "")?,
        None => Report::default(),
    }
    .noting(note))
}

/// Gives a host to a user.
fn give(users: &mut Users, user: &str, host: &HostName) -> Result<(), String> {
    check_new_host(&owners(users), host).map_err(|reason| match owner_of(users, host) {
        Some(owner) if owner != user && users.contains_key(user) => {
            let next = command(format!("ddnsctl host move {host} {}", quoted(user)));
            format!("{reason}; to move it: {next}")
        }
        _ => reason,
    })?;
    list_of_hosts(users, user)?.push(host.as_str().into());
    Ok(())
}

/// A host has one user.
pub fn check_new_host(owners: &HashMap<String, &str>, host: &HostName) -> Result<(), String> {
    match owners.get(&host.as_str().to_ascii_lowercase()) {
        Some(owner) => Err(format!("{host} is {}'s already", owner.escape_default())),
        None => Ok(()),
    }
}

/// Takes a host from all other users, and gives it to this one.
fn hand_over(users: &mut Users, host: &HostName, user: &str) -> Result<Report, String> {
    // Before the others lose it.
    list_of_hosts(users, user)?;
    let mut from = Vec::new();
    let mut interval = None;
    for (name, entry) in users.iter_mut().filter(|(name, _)| *name != user) {
        if let (true, expected) = take(entry, host) {
            from.push(name.clone());
            interval = interval.or(expected);
        }
    }
    let is_owned = users.get(user).is_some_and(|entry| has(entry, host));
    let user_shown = user.escape_default();
    if from.is_empty() && is_owned {
        return Ok(Report::done(format!("{host} is {user_shown}'s already")));
    }
    if from.is_empty() {
        let next = command(format!("ddnsctl host add {} {host}", quoted(user)));
        return Err(no_host(users, host, &format!("; next: {next}")));
    }
    if !is_owned {
        list_of_hosts(users, user)?.push(host.as_str().into());
    }
    if let (Some(entry), Some(seconds)) = (users.get_mut(user), interval) {
        expect(entry, host, Some(seconds))?;
    }
    let mut clients = vec![user];
    clients.extend(from.iter().map(String::as_str).filter(|name| has_hosts(users, name)));
    let (from, next) = (shown(&from), next(&clients));
    let clients = if clients.len() == 1 { "the client needs" } else { "the clients need" };
    let note = format!("moved {host} from {from} to {user_shown}; {clients} new settings; {next}");
    Ok(Report::done(note))
}

/// Names of users in a sentence.
fn shown(users: &[String]) -> String {
    let names: Vec<String> = users.iter().map(|name| name.escape_default().to_string()).collect();
    names.join(" and ")
}

/// Gives a host another name. First clients may update it by the new name alone, so none brings the
/// old name back. If the state does not follow, the same command again completes it.
fn rename(config: &Config, names: &[HostName; 2]) -> Result<Report, Fault> {
    let [host, new] = names;
    if host == new {
        return Err(Fault::new(new, "is the same name: case does not matter"));
    }
    let store = &config.store;
    let has_record = snapshot(store)?.keys().any(|name| new.is(name));
    let user = edit(&store.credentials, |users| rename_right(users, names, has_record))?;
    let (shown, next) = (user.escape_default(), next(&[&user]));
    let report = owner::run(config, &["rename", host.as_str(), new.as_str()], "")?;
    let note = format!("{shown} may update {new}, no longer {host}");
    if report.status != 0 {
        return Ok(report.noting(note + AGAIN));
    }
    let parts = [Some(note), oddity(slice::from_ref(new)), Some(next)];
    Ok(report.noting(parts.into_iter().flatten().collect::<Vec<_>>().join("; ")))
}

/// Renames a host in the entry of its user, and returns that user.
fn rename_right(
    users: &mut Users,
    [host, new]: &[HostName; 2],
    has_record: bool,
) -> Result<String, String> {
    let owned = owner_of(users, host).map(str::to_owned);
    let owner_of_new = owner_of(users, new).map(str::to_owned);
    let Some(user) = owned else {
        // An earlier command may have stopped halfway. This one completes it.
        return owner_of_new.ok_or_else(|| no_owner(users, host));
    };
    if let Some(owner) = owner_of_new {
        return Err(format!("{new} is {}'s already", owner.escape_default()));
    }
    if has_record {
        let next = command(format!("ddnsctl forget {new}"));
        return Err(format!(
            "{new} has an address already, though no user has it; to remove that: {next}"
        ));
    }
    for entry in users.values_mut() {
        let names = entry.get_mut(user::HOSTS).and_then(Value::as_array_mut);
        for name in names.into_iter().flatten() {
            if name.as_str().is_some_and(|name| host.is(name)) {
                *name = new.as_str().into();
            }
        }
        if let Some(intervals) = entry.get_mut(user::EVERY).and_then(Value::as_object_mut) {
            *intervals = renamed(std::mem::take(intervals), host, new);
        }
    }
    Ok(user)
}

/// Says that no user has a host that is to be changed.
fn no_owner(users: &Users, host: &HostName) -> String {
    let list = command("ddnsctl user list");
    no_host(users, host, &format!("; to see the hosts: {list}"))
}

/// Sets how often a host is expected to be updated, or that this is not known.
fn set_interval(users: &mut Users, host: &HostName, interval: Interval) -> Result<Report, String> {
    if owner_of(users, host).is_none() {
        return Err(no_owner(users, host));
    }
    for entry in users.values_mut().filter(|entry| has(entry, host)) {
        expect(entry, host, interval.0)?;
    }
    Ok(Report::done(match interval.0 {
        Some(_) => format!("expecting an update of {host} every {interval}"),
        None => format!("{host} has no interval of its own any more"),
    }))
}

/// Takes a host from this user, or from whoever has it, and from DNS.
fn remove(config: &Config, user: Option<&str>, host: &HostName) -> Result<Report, Fault> {
    // The right to update the host goes first. Otherwise an update could bring it back.
    let Taken { note, left, next } =
        edit(&config.store.credentials, |users| take_away(users, user, host))?;
    if !left.is_empty() {
        let left = few(left.iter());
        return Ok(Report::done(format!("{note}; it stays in DNS: {left} has it, too{next}")));
    }
    let report = owner::run(config, &["forget", FROM_INPUT], host.as_str())?;
    Ok(if report.status == 0 {
        report.noting(format!("{note}{next}"))
    } else {
        report.noting(format!("{note}; it leaves DNS if you run this again"))
    })
}

/// What became of the right to update a host.
struct Taken {
    /// Who had it.
    note: String,
    /// Who still has it.
    left: Vec<String>,
    /// What the clients of those who had it have to know, if they have other hosts.
    next: String,
}

/// Takes a host from this user, or from whoever has it.
fn take_away(users: &mut Users, user: Option<&str>, host: &HostName) -> Result<Taken, String> {
    if let Some(user) = user {
        check_owner(users, user, host)?;
    }
    let mut from = Vec::new();
    for (name, entry) in users.iter_mut().filter(|(name, _)| user.is_none_or(|user| *name == user))
    {
        if let (true, _) = take(entry, host) {
            from.push(name.clone());
        }
    }
    let note = match from.as_slice() {
        [] => no_host(users, host, ""),
        from => format!("{} may no longer update {host}", shown(from)),
    };
    let clients: Vec<&str> =
        from.iter().map(String::as_str).filter(|name| has_hosts(users, name)).collect();
    let next = if clients.is_empty() { String::new() } else { format!("; {}", next(&clients)) };
    let left = owners_of(users, host).map(|user| user.escape_default().to_string()).collect();
    Ok(Taken { note, left, next })
}

/// Whether this user has the host. If no user has, an earlier command may have stopped halfway, and
/// this one completes it.
fn check_owner(users: &Users, user: &str, host: &HostName) -> Result<(), String> {
    let owner = owner_of(users, host);
    match (users.get(user), owner) {
        (Some(entry), Some(owner)) if !has(entry, host) => {
            let [user, owner] = [user, owner].map(str::escape_default);
            Err(format!("{user} has no host {host}: it is {owner}'s"))
        }
        (Some(_), _) => Ok(()),
        (None, Some(owner)) => {
            let [user, owner] = [user, owner].map(str::escape_default);
            Err(format!("there is no user {user}: {host} is {owner}'s"))
        }
        (None, None) => {
            let user = user.escape_default();
            let next = command(format!("ddnsctl host remove {host}"));
            Err(format!("there is no user {user}, and no user has {host}; next: {next}"))
        }
    }
}

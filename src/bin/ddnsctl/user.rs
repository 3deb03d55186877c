//! `ddnsctl user`.

use std::collections::{BTreeSet, HashMap};

use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::protocol::user::{EVERY, HMAC_SHA256, HOSTS, KEY, SIGNATURE, SignaturePolicy};
use ddns_cgi::store::state::snapshot;
use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::{Map, Value, json};

use crate::cli::{Client, UserCommand};
use crate::credentials::{
    Users, edit, fields, has, has_hosts, hosts, intervals, owners, policy, read,
};
use crate::forget::FROM_INPUT;
use crate::host::check_new_host;
use crate::interval::Interval;
use crate::names::{check_new_user, host_name, no_user, oddity};
use crate::words::{FEW, command, count, quoted};
use crate::{Report, client_settings, owner, table};

/// The end of a note about a change that name servers do not know yet.
pub const AGAIN: &str = "; DNS follows if you run this again";

pub fn run(config: &Config, command: UserCommand) -> Result<Report, Fault> {
    let path = &config.store.credentials;
    match command {
        UserCommand::List { json } => {
            let users = read(path)?;
            Ok(Report::good(if json { as_json(&users) } else { as_table(&users) }))
        }
        UserCommand::Add { name, hosts, signature } => {
            check_new_user(&name)?;
            let hosts: Vec<HostName> =
                hosts.iter().map(|host| host_name(host)).collect::<Result<_, _>>()?;
            edit(path, |users| add(users, &name, &hosts, signature.into()))
        }
        UserCommand::Remove { name, hosts: false } => remove(config, &name),
        UserCommand::Remove { name, hosts: true } => remove_with_hosts(config, &name),
        UserCommand::Rekey { name } => edit(path, |users| {
            let key = random_key()?;
            fields(users, &name)?.insert(KEY.to_owned(), key.clone().into());
            let next = next_of(users, &name);
            let note = format!("{} has a new key; {next}", name.escape_default());
            Ok(Report::good(format!("{key}\n")).noting(note))
        }),
        UserCommand::Config(options) => client_settings::run(config, &options),
        UserCommand::Signature { name, signature } => edit(path, |users| {
            let policy = signature.into();
            demand(fields(users, &name)?, policy);
            let name = name.escape_default();
            Ok(Report::done(match policy {
                SignaturePolicy::Any => format!("{name} may sign with any protocol"),
                SignaturePolicy::HmacSha256 => format!("{name} may sign only with protocol 2"),
            }))
        }),
    }
}

/// The end of a note about what the clients of these users have to know from now on.
pub fn next(names: &[&str]) -> String {
    format!("next: {}", settings(names))
}

/// The same for one user, whose client may be any.
pub fn next_with_clients(name: &str) -> String {
    let others: Vec<String> = Client::names().into_iter().skip(1).collect();
    format!("next, for ip-update (or {}): {}", others.join(", "), settings(&[name]))
}

/// The same for a user who may have no hosts: then a client has no settings.
fn next_of(users: &Users, name: &str) -> String {
    if has_hosts(users, name) {
        return next_with_clients(name);
    }
    format!("next: {}", command(format!("ddnsctl host add {} HOST", quoted(name))))
}

/// What prints the settings of these users' clients. A shell takes several commands in one line.
fn settings(names: &[&str]) -> String {
    let settings =
        |name: &&str| command(format!("ddnsctl user config {} --for ip-update", quoted(name)));
    names.iter().map(settings).collect::<Vec<_>>().join("; ")
}

/// Adds a user, and returns the line with the user's key.
fn add(
    users: &mut Users,
    name: &str,
    hosts: &[HostName],
    signature: SignaturePolicy,
) -> Result<Report, String> {
    if let Some(entry) = users.get(name) {
        let new = hosts.iter().find(|host| !has(entry, host));
        let new = new.map_or("HOST", HostName::as_str);
        let add = command(format!("ddnsctl host add {} {new}", quoted(name)));
        let rekey = command(format!("ddnsctl user rekey {}", quoted(name)));
        return Err(format!(
            "there is a user {name} already; to add a host: {add}; \
             for a new key, so that the old one stops working: {rekey}"
        ));
    }
    let owners = owners(users);
    for (number, host) in hosts.iter().enumerate() {
        check_new_host(&owners, host).map_err(|reason| {
            let add = command(format!("ddnsctl host move {host} {}", quoted(name)));
            format!("{reason}; to move it, add {name} without it, then run {add}")
        })?;
        if hosts.iter().take(number).any(|earlier| earlier == host) {
            return Err(format!("{host} is given twice"));
        }
    }
    let key = random_key()?;
    let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
    users.insert(name.to_owned(), json!({HOSTS: names, KEY: key}));
    demand(fields(users, name)?, signature);
    let mut parts = vec![format!("added {name} with {}", count(hosts.len(), "host"))];
    parts.extend(oddity(hosts));
    parts.push(next_of(users, name));
    Ok(Report::good(format!("{key}\n")).noting(parts.join("; ")))
}

/// Removes a user, and says which hosts stay in DNS.
fn remove(config: &Config, name: &str) -> Result<Report, Fault> {
    let hosts = edit(&config.store.credentials, |users| {
        let hosts = own_hosts(users, name)?;
        users.shift_remove(name);
        Ok(hosts)
    })?;
    // If the state cannot be read, they may all be in it.
    let hosts = in_state(config, &hosts).unwrap_or(hosts);
    let note = format!("removed {}", name.escape_default());
    let number = count(hosts.len(), "host");
    let stay = if hosts.len() == 1 { "stays" } else { "stay" };
    Ok(Report::done(match hosts.len() {
        0 => note,
        1..=FEW => {
            let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
            let forget = command(format!("ddnsctl forget {}", names.join(" ")));
            format!("{note}; {number} {stay} in DNS; to remove: {forget}")
        }
        _ => {
            let list = command("ddnsctl list");
            format!("{note}; {number} {stay} in DNS, without an owner; to see them: {list}")
        }
    }))
}

/// Removes a user and the user's hosts. First the user loses the key, so that no update brings a
/// host back. The entry goes last: until then, the same command again knows the hosts.
fn remove_with_hosts(config: &Config, name: &str) -> Result<Report, Fault> {
    let path = &config.store.credentials;
    let users = read(path)?;
    if !users.contains_key(name) {
        // An earlier command may have failed at the name servers. This one completes it.
        let report = owner::run(config, &["forget", FROM_INPUT], "")?;
        let rest = if report.status == 0 { ownerless(config, &users)? } else { AGAIN.to_owned() };
        return Ok(report.noting(no_user(&users, name) + &rest));
    }
    let (entry, hosts) = edit(path, |users| {
        let hosts = own_hosts(users, name)?;
        if let Some(fields) = users.get_mut(name).and_then(Value::as_object_mut) {
            fields.shift_remove(KEY);
        }
        Ok((users.get(name).cloned(), hosts))
    })?;
    let shown = name.escape_default();
    let mut report = Report::default();
    if !hosts.is_empty() {
        let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
        report = owner::run(config, &["forget", FROM_INPUT], &names.join("\n"))?;
        if !in_state(config, &hosts)?.is_empty() {
            let note = format!("{shown} has lost the key; run this again to remove what is left");
            return Ok(Report { status: 1, ..report }.noting(note));
        }
    }
    edit(path, |users| {
        // Two such commands may run at once.
        if users.contains_key(name) && users.get(name) != entry.as_ref() {
            return Err(format!("{shown} was changed meanwhile: run this again"));
        }
        users.shift_remove(name);
        Ok(())
    })?;
    let again = if report.status == 0 { "" } else { AGAIN };
    Ok(report.noting(format!("removed {shown}{again}")))
}

/// The end of a note about hosts that no user has. A removal without `--hosts` may have left them.
fn ownerless(config: &Config, users: &Users) -> Result<String, Fault> {
    let owners = owners(users);
    let state = snapshot(&config.store)?;
    let is_owned = |host: &&String| owners.contains_key(&host.to_ascii_lowercase());
    let number = state.keys().filter(|host| !is_owned(host)).count();
    if number == 0 {
        return Ok(String::new());
    }
    let (hosts, have) = (count(number, "host"), if number == 1 { "has" } else { "have" });
    let [list, forget] = ["ddnsctl list", "ddnsctl forget HOST"].map(command);
    Ok(format!("; {hosts} {have} no owner; to see which: {list}; to remove: {forget}"))
}

/// The hosts that this user has and no other.
fn own_hosts(users: &Users, name: &str) -> Result<BTreeSet<HostName>, String> {
    let entry = users.get(name).ok_or_else(|| no_user(users, name))?;
    let names = |entry| hosts(entry).filter_map(HostName::parse);
    let others = users.iter().filter(|(other, _)| *other != name);
    let theirs: BTreeSet<HostName> = others.flat_map(|(_, entry)| names(entry)).collect();
    Ok(names(entry).filter(|host| !theirs.contains(host)).collect())
}

/// Those of the hosts that the state has.
fn in_state(config: &Config, hosts: &BTreeSet<HostName>) -> Result<BTreeSet<HostName>, Fault> {
    let state = snapshot(&config.store)?;
    let names = state.keys().filter_map(|name| HostName::parse(name));
    Ok(names.filter(|host| hosts.contains(host)).collect())
}

fn as_json(users: &Users) -> String {
    let entry = |(name, entry): (&String, &Value)| {
        let policy = policy(entry);
        let every: Map<String, Value> =
            intervals(entry).map(|(host, seconds)| (host.to_owned(), seconds.into())).collect();
        let value = json!({
            "hosts": hosts(entry).collect::<Vec<_>>(),
            "signature": policy.ok().map(word),
            EVERY: every,
            "problem": policy.err(),
        });
        (name.clone(), value)
    };
    let list: Map<String, Value> = users.iter().map(entry).collect();
    format!("{:#}\n", Value::from(list))
}

/// How a user signs, in a word.
fn word(signature: SignaturePolicy) -> &'static str {
    match signature {
        SignaturePolicy::Any => "any",
        SignaturePolicy::HmacSha256 => HMAC_SHA256,
    }
}

fn as_table(users: &Users) -> String {
    let row = |(name, entry): (&String, &Value)| {
        let signature = policy(entry).map_or("unusable", word);
        [name.escape_default().to_string(), signature.to_owned(), hosts_cell(entry)]
    };
    let rows: Vec<[String; 3]> = users.iter().map(row).collect();
    table::render(["USER", "SIGNATURE", "HOSTS"], &rows)
}

/// A user's hosts, each with how often it is expected.
fn hosts_cell(entry: &Value) -> String {
    let every: HashMap<String, u64> =
        intervals(entry).map(|(host, seconds)| (host.to_ascii_lowercase(), seconds)).collect();
    let host = |host: &str| {
        let shown = host.escape_default();
        match every.get(&host.to_ascii_lowercase()) {
            Some(seconds) => format!("{shown} (every {})", Interval(Some(*seconds))),
            None => shown.to_string(),
        }
    };
    hosts(entry).map(host).collect::<Vec<_>>().join(" ")
}

/// Writes into a user's entry how the user may sign.
fn demand(fields: &mut Map<String, Value>, signature: SignaturePolicy) {
    match signature {
        SignaturePolicy::Any => fields.shift_remove(SIGNATURE),
        SignaturePolicy::HmacSha256 => fields.insert(SIGNATURE.to_owned(), HMAC_SHA256.into()),
    };
}

/// 256 random bits from the kernel, in hexadecimal digits.
fn random_key() -> Result<String, String> {
    let mut bytes = [0_u8; 32];
    // The kernel never gives less than it was asked for, up to 256 bytes: getrandom(2).
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(32) => Ok(hex::encode(bytes)),
        Ok(_) => Err("the kernel gave too few random bytes".to_owned()),
        Err(error) => Err(format!("no random bytes: {error}")),
    }
}

//! `ddnsctl user` and `ddnsctl host`.

use std::collections::HashMap;

use ddns_cgi::config::{Config, Store};
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::claim::MAX_USER;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::protocol::user;
use ddns_cgi::protocol::user::{HMAC_SHA256, SIGNATURE, SignaturePolicy};
use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::{Map, Value, json};

use crate::cli::{HostCommand, UserCommand};
use crate::credentials::{edit, fields, hosts, list_of_hosts, owner_of, owners, read};
use crate::forget::host_name;
use crate::{Report, owner, table};

pub fn user(store: &Store, command: UserCommand) -> Result<Report, Fault> {
    let path = &store.credentials;
    match command {
        UserCommand::List { json } => {
            let users = read(path)?;
            Ok(Report::good(if json { as_json(&users) } else { as_table(&users) }))
        }
        UserCommand::Add { name, hosts, signature } => {
            edit(path, |users| add(users, &name, &hosts, signature.into()))
        }
        UserCommand::Remove { name } => edit(path, |users| {
            users.shift_remove(&name).ok_or(format!("there is no user {name}"))?;
            Ok(String::new())
        }),
        UserCommand::Rekey { name } => edit(path, |users| {
            let key = random_key()?;
            fields(users, &name)?.insert("key".to_owned(), key.clone().into());
            Ok(format!("{key}\n"))
        }),
        UserCommand::Signature { name, signature } => edit(path, |users| {
            demand(fields(users, &name)?, signature.into());
            Ok(String::new())
        }),
    }
}

pub fn host(config: &Config, command: HostCommand) -> Result<Report, Fault> {
    let path = &config.store.credentials;
    match command {
        HostCommand::Add { user, host, ip6: None } => edit(path, |users| give(users, &user, &host)),
        HostCommand::Add { user, host, ip6: Some(identifier) } => {
            // The state comes second. If that fails, the same command again completes it.
            if !owns(&read(path)?, &user, &host) {
                edit(path, |users| give(users, &user, &host))?;
            }
            owner::run(config, &["identify", &host, &identifier.to_string()])
        }
        HostCommand::Remove { user, host } => {
            let name = host_name(&host)?;
            // The right to update the host goes first. Otherwise an update could bring it back.
            edit(path, |users| take_away(users, &user, &name))?;
            owner::run(config, &["forget", &host])
        }
    }
}

/// Adds a user, and returns the line with the user's key.
fn add(
    users: &mut Map<String, Value>,
    name: &str,
    hosts: &[String],
    signature: SignaturePolicy,
) -> Result<String, String> {
    if name.is_empty() || name.len() > MAX_USER || name.contains(char::is_control) {
        return Err(format!("a user's name has 1 to {MAX_USER} printable characters"));
    }
    if users.contains_key(name) {
        return Err(format!("there is a user {name} already; see ddnsctl user rekey"));
    }
    let owners = owners(users);
    for host in hosts {
        check_new_host(&owners, host)?;
    }
    let key = random_key()?;
    users.insert(name.to_owned(), json!({"id": hosts, "key": key}));
    demand(fields(users, name)?, signature);
    Ok(format!("{key}\n"))
}

/// Gives a host to a user.
fn give(users: &mut Map<String, Value>, user: &str, host: &str) -> Result<String, String> {
    check_new_host(&owners(users), host)?;
    list_of_hosts(users, user)?.push(host.into());
    Ok(String::new())
}

/// Whether a user may update a host.
fn owns(users: &Map<String, Value>, user: &str, host: &str) -> bool {
    owners(users).get(&host.to_ascii_lowercase()).is_some_and(|owner| *owner == user)
}

/// Takes a host from a user.
fn take_away(
    users: &mut Map<String, Value>,
    user: &str,
    host: &HostName,
) -> Result<String, String> {
    let list = list_of_hosts(users, user)?;
    let before = list.len();
    list.retain(|entry| !entry.as_str().is_some_and(|entry| host.is(entry)));
    let had_it = list.len() < before;
    // If the host is nobody's, an earlier command stopped halfway. This one completes it.
    if !had_it && owner_of(users, host).is_some() {
        return Err(format!("{user} has no host {host}"));
    }
    Ok(String::new())
}

fn as_json(users: &Map<String, Value>) -> String {
    let users: Map<String, Value> = users
        .iter()
        .map(|(name, entry)| (name.clone(), hosts(entry).collect::<Vec<_>>().into()))
        .collect();
    format!("{:#}\n", Value::from(users))
}

fn as_table(users: &Map<String, Value>) -> String {
    let row = |(name, entry): (&String, &Value)| {
        let signature = match user::parse(entry.clone()).map(|user| user.signature) {
            Ok(SignaturePolicy::Any) => "any",
            Ok(SignaturePolicy::HmacSha256) => HMAC_SHA256,
            Err(_) => "unusable",
        };
        let hosts = hosts(entry).collect::<Vec<_>>().join(" ");
        [name.escape_default().to_string(), signature.to_owned(), hosts]
    };
    let rows: Vec<[String; 3]> = users.iter().map(row).collect();
    table::render(["USER", "SIGNATURE", "HOSTS"], &rows)
}

/// Writes into a user's entry how the user may sign.
fn demand(fields: &mut Map<String, Value>, signature: SignaturePolicy) {
    match signature {
        SignaturePolicy::Any => fields.shift_remove(SIGNATURE),
        SignaturePolicy::HmacSha256 => fields.insert(SIGNATURE.to_owned(), HMAC_SHA256.into()),
    };
}

/// A host has one user, and a name that is safe in a hosts file.
fn check_new_host(owners: &HashMap<String, &str>, host: &str) -> Result<(), String> {
    if HostName::parse(host).is_none() {
        return Err(format!("{host} is not a valid host name"));
    }
    match owners.get(&host.to_ascii_lowercase()) {
        Some(owner) => Err(format!("{host} is {owner}'s already")),
        None => Ok(()),
    }
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

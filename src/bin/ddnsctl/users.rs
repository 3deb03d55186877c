//! `ddnsctl user` and `ddnsctl host`: the credentials.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use ddns_cgi::config::Config;
use ddns_cgi::fault::{Fault, json_position};
use ddns_cgi::protocol::claim::MAX_USER;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::protocol::user;
use ddns_cgi::protocol::user::{HMAC_SHA256, SIGNATURE, Signature};
use ddns_cgi::publish::pending::Pending;
use ddns_cgi::store::expiry::Expiry;
use ddns_cgi::store::lock::Lock;
use ddns_cgi::store::replace::{Readers, companion, replace};
use ddns_cgi::store::state::{Patience, State};
use ddns_cgi::store::{hosts as hosts_file, lookup, php_json};
use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::{Map, Value, json};

use crate::cli::{HostCommand, UserCommand};
use crate::{Report, apply, owner, table, web_user};

/// All users, as they stand in the file.
pub fn read(path: &Path) -> Result<Map<String, Value>, Fault> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Fault::io("read the credentials", path, &error)),
    };
    parse(&text).map_err(|reason| Fault::new(path.display(), reason))
}

/// All users in the text of a credentials file.
pub fn parse(text: &str) -> Result<Map<String, Value>, String> {
    lookup::parse_map(text).map_err(|error| json_position(&error))
}

/// The users whose entries cannot be used, and why.
pub fn broken(users: &Map<String, Value>) -> Vec<(String, &'static str)> {
    let broken = |(name, entry): (&String, &Value)| {
        let why = user::parse(entry.clone()).err()?;
        Some((name.escape_default().to_string(), why))
    };
    users.iter().filter_map(broken).collect()
}

/// The host names of a user's entry.
pub fn hosts(entry: &Value) -> impl Iterator<Item = &str> {
    entry.get("id").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

pub fn user(config: &Config, command: UserCommand) -> Result<Report, Fault> {
    let path = &config.store.credentials;
    match command {
        UserCommand::List { json } => Ok(list(&read(path)?, json)),
        UserCommand::Add { name, hosts, signature } => edit(path, |users| {
            if name.is_empty() || name.len() > MAX_USER || name.contains(char::is_control) {
                return Err(format!("a user's name has 1 to {MAX_USER} printable characters"));
            }
            if users.contains_key(&name) {
                return Err(format!("there is a user {name} already; see ddnsctl user rekey"));
            }
            for host in &hosts {
                may_be_given(users, host)?;
            }
            let key = random_key()?;
            users.insert(name.clone(), json!({"id": hosts, "key": key}));
            demand(fields(users, &name)?, signature.into());
            Ok(format!("{key}\n"))
        }),
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
        HostCommand::Add { user, host } => edit(path, |users| {
            may_be_given(users, &host)?;
            list_of_hosts(users, &user)?.push(host.into());
            Ok(String::new())
        }),
        HostCommand::Remove { user, host } => {
            let name = host_name(&host)?;
            // First the right to update it, so that it cannot come back in between.
            edit(path, |users| {
                let list = list_of_hosts(users, &user)?;
                let before = list.len();
                list.retain(|entry| !entry.as_str().is_some_and(|entry| name.is(entry)));
                let had_none = list.len() == before;
                let is_nobodys = !users.values().flat_map(hosts).any(|owned| name.is(owned));
                // Nobody's: an earlier removal got no further, and is completed now.
                if had_none && !is_nobodys {
                    return Err(format!("{user} has no host {host}"));
                }
                Ok(String::new())
            })?;
            owner::run(config, &["forget".as_ref(), host.as_ref()])
        }
    }
}

fn host_name(text: &str) -> Result<HostName, Fault> {
    HostName::parse(text).ok_or_else(|| Fault::new(text, "is not a valid host name"))
}

/// Takes a host out of the state, and has dnsmasq forget it.
pub fn forget(config: &Config, host: &str) -> Result<Report, Fault> {
    let host = host_name(host)?;
    let state = State::open(&config.store, Patience::Client)?;
    let mut map = state.parse()?;
    let before = map.len();
    map.retain(|name, _| !host.is(name));
    if map.len() == before {
        return Ok(Report::good(""));
    }
    Pending::add(&config.store.hosts, format_args!("{host} removed"))?;
    // The hosts file first: an empty state would be rebuilt from it.
    hosts_file::store(&config.store.hosts, &Expiry::at(Utc::now(), &config.store).served(&map))?;
    state.replace(&map)?;
    drop(state);
    apply::settle(config)
}

fn list(users: &Map<String, Value>, as_json: bool) -> Report {
    if as_json {
        let users: Map<String, Value> = users
            .iter()
            .map(|(name, entry)| (name.clone(), hosts(entry).collect::<Vec<_>>().into()))
            .collect();
        return Report::good(format!("{:#}\n", Value::from(users)));
    }
    let rows: Vec<[String; 3]> = users
        .iter()
        .map(|(name, entry)| {
            let signature = match user::parse(entry.clone()).map(|user| user.signature) {
                Ok(Signature::Any) => "any",
                Ok(Signature::HmacSha256) => HMAC_SHA256,
                Err(_) => "unusable",
            };
            let hosts = hosts(entry).collect::<Vec<_>>().join(" ");
            [name.escape_default().to_string(), signature.to_owned(), hosts]
        })
        .collect();
    Report::good(table::render(["USER", "SIGNATURE", "HOSTS"], &rows))
}

/// Writes into a user's entry how the user may sign.
fn demand(fields: &mut Map<String, Value>, signature: Signature) {
    match signature {
        Signature::Any => fields.shift_remove(SIGNATURE),
        Signature::HmacSha256 => fields.insert(SIGNATURE.to_owned(), HMAC_SHA256.into()),
    };
}

/// Changes the credentials under their lock, atomically. The first error changes nothing.
fn edit(
    path: &Path,
    change: impl FnOnce(&mut Map<String, Value>) -> Result<String, String>,
) -> Result<Report, Fault> {
    let _lock = Lock::acquire(&companion(path, "lock"), Duration::from_secs(5))?;
    let mut users = read(path)?;
    let is_new = !path.exists();
    let text = change(&mut users).map_err(|reason| Fault::new(path.display(), reason))?;
    let bytes = php_json::to_bytes(&users).map_err(|error| Fault::new(path.display(), error))?;
    replace(path, &bytes, Readers::OwnerAndGroup)?;
    if is_new {
        web_user::give_credentials_to_group(path)?;
    }
    Ok(Report::good(text))
}

/// A host is one user's, and has a name that fits into a hosts file.
fn may_be_given(users: &Map<String, Value>, host: &str) -> Result<(), String> {
    let name = HostName::parse(host).ok_or(format!("{host} is not a valid host name"))?;
    match users.iter().find(|(_, entry)| hosts(entry).any(|host| name.is(host))) {
        Some((owner, _)) => Err(format!("{host} is {owner}'s already")),
        None => Ok(()),
    }
}

fn fields<'u>(
    users: &'u mut Map<String, Value>,
    name: &str,
) -> Result<&'u mut Map<String, Value>, String> {
    users
        .get_mut(name)
        .ok_or(format!("there is no user {name}"))?
        .as_object_mut()
        .ok_or(format!("the entry of {name} is no object"))
}

fn list_of_hosts<'u>(
    users: &'u mut Map<String, Value>,
    name: &str,
) -> Result<&'u mut Vec<Value>, String> {
    fields(users, name)?
        .get_mut("id")
        .and_then(Value::as_array_mut)
        .ok_or(format!("\"id\" of {name} is no list"))
}

/// 256 bits from the kernel, in hexadecimal digits.
fn random_key() -> Result<String, String> {
    let mut bytes = [0_u8; 32];
    // The kernel gives up to 256 bytes whole, getrandom(2).
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(32) => Ok(hex::encode(bytes)),
        Ok(_) => Err("the kernel gave too few random bytes".to_owned()),
        Err(error) => Err(format!("no random bytes: {error}")),
    }
}

//! The credentials as a whole, as the operator's commands read and change them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use ddns_cgi::fault::{Fault, json_position};
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::protocol::user::{self, SignaturePolicy};
use ddns_cgi::store::json;
use ddns_cgi::store::lock::Lock;
use ddns_cgi::store::replace::{Readers, companion, replace};
use serde_json::{Map, Value};

use crate::names::no_user;
use crate::web_user;

/// How long to wait for another command that changes the credentials.
const LIMIT: Duration = Duration::from_secs(5);

/// All users by name, as they are in the file.
pub type Users = Map<String, Value>;

/// Reads all users.
pub fn read(path: &Path) -> Result<Users, Fault> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Fault::io("read the credentials", path, &error)),
    };
    json::parse(&text).map_err(|error| Fault::new(path.display(), json_position(&error)))
}

/// Changes the credentials under their lock, as a whole. An error changes nothing.
pub fn edit<T>(
    path: &Path,
    change: impl FnOnce(&mut Users) -> Result<T, String>,
) -> Result<T, Fault> {
    let _lock = Lock::acquire(&companion(path, "lock"), LIMIT)?;
    let mut users = read(path)?;
    let is_new = !path.exists();
    let outcome = change(&mut users).map_err(|reason| Fault::new(path.display(), reason))?;
    let bytes = json::to_string(&users).map_err(|error| Fault::new(path.display(), error))?;
    replace(path, bytes.as_bytes(), Readers::OwnerAndGroup)?;
    if is_new {
        web_user::give_credentials_to_group(path)?;
    }
    Ok(outcome)
}

/// Why an entry without a key is unusable. A command that stopped halfway may have left it.
pub const NO_KEY: &str = "it has no key";

/// The users with unusable entries, and why they are unusable.
pub fn broken(users: &Users) -> impl Iterator<Item = (&str, &'static str)> {
    users.iter().filter_map(|(name, entry)| Some((name.as_str(), policy(entry).err()?)))
}

/// How a user may sign. The error says why the user's entry is unusable.
pub fn policy(entry: &Value) -> Result<SignaturePolicy, &'static str> {
    if entry.as_object().is_some_and(|fields| !fields.contains_key(user::KEY)) {
        return Err(NO_KEY);
    }
    user::parse(entry.clone()).map(|user| user.signature)
}

/// The host names in a user's entry.
pub fn hosts(entry: &Value) -> impl Iterator<Item = &str> {
    entry.get(user::HOSTS).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The host names of all users that are no valid host names.
pub fn invalid_hosts(users: &Users) -> impl Iterator<Item = &str> {
    users.values().flat_map(hosts).filter(|host| HostName::parse(host).is_none())
}

/// The user who may update each host. The hosts are in lower case.
pub fn owners(users: &Users) -> HashMap<String, &str> {
    let mut owners = HashMap::new();
    for (user, entry) in users {
        for host in hosts(entry) {
            owners.entry(host.to_ascii_lowercase()).or_insert(user.as_str());
        }
    }
    owners
}

/// The hosts that users have, but a state has not: nobody ever updated them. With each, its user.
pub fn never_updated<'u>(
    users: &'u Users,
    state: &Map<String, Value>,
) -> impl Iterator<Item = (&'u str, &'u str)> {
    let mut known: HashSet<String> = state.keys().map(|name| name.to_ascii_lowercase()).collect();
    let all = users.iter().flat_map(|(user, entry)| hosts(entry).map(move |host| (host, user)));
    all.filter(move |(host, _)| {
        HostName::parse(host).is_some() && known.insert(host.to_ascii_lowercase())
    })
    .map(|(host, user)| (host, user.as_str()))
}

/// The user who may update this host.
pub fn owner_of<'u>(users: &'u Users, host: &HostName) -> Option<&'u str> {
    owners_of(users, host).next()
}

/// The users who may update this host. Only a hand gives it to several.
pub fn owners_of<'u>(users: &'u Users, host: &HostName) -> impl Iterator<Item = &'u str> {
    users.iter().filter(|(_, entry)| has(entry, host)).map(|(user, _)| user.as_str())
}

/// Whether a user's entry lists a host.
pub fn has(entry: &Value, host: &HostName) -> bool {
    hosts(entry).any(|owned| host.is(owned))
}

/// Whether a user has hosts. A client without any has no settings.
pub fn has_hosts(users: &Users, name: &str) -> bool {
    users.get(name).is_some_and(|entry| hosts(entry).next().is_some())
}

/// The fields of a user's entry.
pub fn fields<'u>(users: &'u mut Users, name: &str) -> Result<&'u mut Map<String, Value>, String> {
    if !users.contains_key(name) {
        return Err(no_user(users, name));
    }
    users.get_mut(name).and_then(Value::as_object_mut).ok_or_else(|| {
        let name = name.escape_default();
        format!("the entry of {name} is not an object: correct it by hand, or remove the user")
    })
}

/// The list of hosts in a user's entry.
pub fn list_of_hosts<'u>(users: &'u mut Users, name: &str) -> Result<&'u mut Vec<Value>, String> {
    let list = fields(users, name)?.entry(user::HOSTS).or_insert_with(|| Value::Array(Vec::new()));
    let reason = || {
        format!("{:?} of {} is not a list: correct it by hand", user::HOSTS, name.escape_default())
    };
    list.as_array_mut().ok_or_else(reason)
}

/// How often which hosts of a user's entry are expected: seconds by host.
pub fn intervals(entry: &Value) -> impl Iterator<Item = (&str, u64)> {
    let intervals = entry.get(user::EVERY).and_then(Value::as_object).into_iter().flatten();
    intervals.filter_map(|(host, seconds)| Some((host.as_str(), seconds.as_u64()?)))
}

/// Sets how often a host of a user's entry is expected, or that it is not.
pub fn expect(entry: &mut Value, host: &HostName, seconds: Option<u64>) -> Result<(), String> {
    let spelling = hosts(entry).find(|owned| host.is(owned)).unwrap_or(host.as_str()).to_owned();
    let Some(fields) = entry.as_object_mut() else { return Ok(()) };
    if seconds.is_none() && !fields.contains_key(user::EVERY) {
        return Ok(());
    }
    let intervals = fields.entry(user::EVERY).or_insert_with(|| Map::new().into());
    let reason = || format!("{:?} is not an object: correct it by hand", user::EVERY);
    let intervals = intervals.as_object_mut().ok_or_else(reason)?;
    match (intervals.iter_mut().find(|(name, _)| host.is(name)), seconds) {
        (Some((_, old)), Some(seconds)) => *old = seconds.into(),
        (None, Some(seconds)) => drop(intervals.insert(spelling, seconds.into())),
        (_, None) => intervals.retain(|name, _| !host.is(name)),
    }
    if intervals.is_empty() {
        fields.shift_remove(user::EVERY);
    }
    Ok(())
}

/// Takes a host from a user's entry, in each spelling, and what is expected of it. Returns whether
/// the user had it, and how often it was expected.
pub fn take(entry: &mut Value, host: &HostName) -> (bool, Option<u64>) {
    let had_it = has(entry, host);
    let interval = intervals(entry).find(|(name, _)| host.is(name)).map(|(_, seconds)| seconds);
    if let Some(list) = entry.get_mut(user::HOSTS).and_then(Value::as_array_mut) {
        list.retain(|entry| !entry.as_str().is_some_and(|entry| host.is(entry)));
    }
    // What is no object expects nothing.
    let _ = expect(entry, host, None);
    (had_it, interval)
}

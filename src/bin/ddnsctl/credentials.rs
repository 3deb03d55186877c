//! The credentials as a whole, as the operator's commands read and change them.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use ddns_cgi::fault::{Fault, json_position};
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::protocol::user;
use ddns_cgi::store::json;
use ddns_cgi::store::lock::Lock;
use ddns_cgi::store::replace::{Readers, companion, replace};
use serde_json::{Map, Value};

use crate::{Report, web_user};

/// How long to wait for another command that changes the credentials.
const LIMIT: Duration = Duration::from_secs(5);

/// All users, as they are in the file.
pub fn read(path: &Path) -> Result<Map<String, Value>, Fault> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Fault::io("read the credentials", path, &error)),
    };
    json::parse(&text).map_err(|error| Fault::new(path.display(), json_position(&error)))
}

/// Changes the credentials under their lock, as a whole. An error changes nothing.
pub fn edit(
    path: &Path,
    change: impl FnOnce(&mut Map<String, Value>) -> Result<String, String>,
) -> Result<Report, Fault> {
    let _lock = Lock::acquire(&companion(path, "lock"), LIMIT)?;
    let mut users = read(path)?;
    let is_new = !path.exists();
    let text = change(&mut users).map_err(|reason| Fault::new(path.display(), reason))?;
    let bytes = json::to_string(&users).map_err(|error| Fault::new(path.display(), error))?;
    replace(path, bytes.as_bytes(), Readers::OwnerAndGroup)?;
    if is_new {
        web_user::give_credentials_to_group(path)?;
    }
    Ok(Report::good(text))
}

/// The users with unusable entries, and why they are unusable.
pub fn broken(users: &Map<String, Value>) -> impl Iterator<Item = (String, &'static str)> {
    users.iter().filter_map(|(name, entry)| {
        let why = user::parse(entry.clone()).err()?;
        Some((name.escape_default().to_string(), why))
    })
}

/// The host names in a user's entry.
pub fn hosts(entry: &Value) -> impl Iterator<Item = &str> {
    entry.get(user::HOSTS).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The host names of all users that are no valid host names.
pub fn invalid_hosts(users: &Map<String, Value>) -> impl Iterator<Item = &str> {
    users.values().flat_map(hosts).filter(|host| HostName::parse(host).is_none())
}

/// The user who may update each host. The hosts are in lower case.
pub fn owners(users: &Map<String, Value>) -> HashMap<String, &str> {
    let mut owners = HashMap::new();
    for (user, entry) in users {
        for host in hosts(entry) {
            owners.entry(host.to_ascii_lowercase()).or_insert(user.as_str());
        }
    }
    owners
}

/// The user who may update this host.
pub fn owner_of<'u>(users: &'u Map<String, Value>, host: &HostName) -> Option<&'u str> {
    let owns = |entry: &Value| hosts(entry).any(|owned| host.is(owned));
    users.iter().find(|(_, entry)| owns(entry)).map(|(user, _)| user.as_str())
}

/// The fields of a user's entry.
pub fn fields<'u>(
    users: &'u mut Map<String, Value>,
    name: &str,
) -> Result<&'u mut Map<String, Value>, String> {
    users
        .get_mut(name)
        .ok_or(format!("there is no user {name}"))?
        .as_object_mut()
        .ok_or(format!("the entry of {name} is not an object"))
}

/// The list of hosts in a user's entry.
pub fn list_of_hosts<'u>(
    users: &'u mut Map<String, Value>,
    name: &str,
) -> Result<&'u mut Vec<Value>, String> {
    fields(users, name)?
        .get_mut(user::HOSTS)
        .and_then(Value::as_array_mut)
        .ok_or(format!("\"id\" of {name} is not a list"))
}

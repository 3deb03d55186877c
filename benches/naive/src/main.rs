//! The benchmark's naive version of the update endpoint: what one would write in an afternoon.
//!
//! It reads each file whole into a `serde_json::Value`, and writes it whole. Same files, same requests.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::path::Path;

use chrono::{NaiveDateTime, Utc};
use fs2::FileExt;
use serde_json::ser::PrettyFormatter;
use serde_json::{Serializer, Value, json};
use sha1::{Digest, Sha1};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let line = update().unwrap_or_else(|error| error.to_string());
    print!("Content-Type: text/plain\r\n\r\n{line}\n");
    Ok(())
}

fn update() -> Result<String> {
    let folder = env::var("DDNS_FOLDER")?;
    let path = |name| Path::new(&folder).join(name);
    let query = env::var("QUERY_STRING")?;
    let form: HashMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let parameter = |name| form.get(name).ok_or("badrequest");
    let (host, time) = (parameter("id")?, parameter("timeST")?);

    let users = read(&path("credentials.json"))?;
    let user = users.get(parameter("user")?.as_ref()).ok_or("badauth")?;
    let key = user["key"].as_str().ok_or("badauth")?;
    let hash = hex::encode(Sha1::digest(format!("{host}\n{time}\n{key}\n")));
    if hash != *parameter("hash")? {
        return Err("badauth".into());
    }
    let is_theirs = |hosts: &Vec<Value>| hosts.iter().any(|id| id == host.as_ref());
    if !user["id"].as_array().is_some_and(is_theirs) {
        return Err("nohost".into());
    }
    let stamp = NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S")?.and_utc();
    let window: i64 = env::var("DDNS_WINDOW").map_or(Ok(15), |window| window.parse())?;
    if (Utc::now() - stamp).num_seconds().abs() > window {
        return Err("stale".into());
    }

    let lock =
        File::options().write(true).create(true).truncate(false).open(path(".ip.txt.lock"))?;
    lock.lock_exclusive()?;
    let mut state = read(&path("ip.txt"))?;
    let address = env::var("REMOTE_ADDR")?;
    let is_changed = state[host.as_ref()]["ip"] != address;
    state[host.as_ref()] = json!({ "ip": address, "update": time });
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"    ");
    let mut serializer = Serializer::with_formatter(&mut text, formatter);
    serde::Serialize::serialize(&state, &mut serializer)?;
    replace(&path("ip.txt"), &text)?;
    if is_changed {
        let records = state.as_object().ok_or("911")?.iter();
        let line = |(name, record): (&String, &Value)| {
            format!("{} {name}\n", record["ip"].as_str().unwrap_or_default())
        };
        replace(&path("hosts.dns"), records.map(line).collect::<String>().as_bytes())?;
    }
    Ok(format!("{} {address}", if is_changed { "good" } else { "nochg" }))
}

fn read(path: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

fn replace(path: &Path, contents: &[u8]) -> Result<()> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, contents)?;
    Ok(fs::rename(temporary, path)?)
}

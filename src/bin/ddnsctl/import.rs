//! `ddnsctl import`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use ddns_cgi::config::Config;
use ddns_cgi::fault::{Fault, json_position};
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::store::lock::Lock;
use ddns_cgi::store::replace::{Readers, companion, replace};
use ddns_cgi::store::{hosts, json, record};
use serde_json::{Map, Value};

use crate::cli::ImportOptions;
use crate::{Report, users, web_user};

/// What is to be copied, checked.
struct Old {
    state: Vec<u8>,
    hosts: Vec<u8>,
    credentials: Vec<u8>,
    warnings: Vec<String>,
    summary: String,
}

pub fn run(config: &Config, options: &ImportOptions) -> Result<Report, Fault> {
    let old = examine(config, options)?;
    let copies = [
        (&options.state, &config.store.state, &old.state, Readers::Everybody),
        (&options.hosts, &config.store.hosts, &old.hosts, Readers::EverybodyAlways),
        (&options.credentials, &config.store.credentials, &old.credentials, Readers::OwnerAndGroup),
    ];
    // No update in between.
    let limit = Duration::from_secs(config.store.lock_timeout.into());
    let _lock = if options.dry_run {
        None
    } else {
        Some(Lock::acquire(&companion(&config.store.state, "lock"), limit)?)
    };
    for (from, to, bytes, _) in &copies {
        refuse_to_overwrite(from, to, bytes)?;
    }
    let mut text = old.summary;
    for warning in old.warnings {
        text += &format!("warning: {warning}\n");
    }
    for (from, to, bytes, readers) in copies {
        let is_there = fs::read(to).is_ok_and(|present| present == *bytes);
        text += &match (is_there, options.dry_run) {
            (true, _) => format!("{} is in place\n", to.display()),
            (false, true) => format!("would copy {} to {}\n", from.display(), to.display()),
            (false, false) => {
                replace(to, bytes, readers)?;
                format!("copied {} to {}\n", from.display(), to.display())
            }
        };
    }
    if !options.dry_run {
        if options.credentials != config.store.credentials {
            text += &format!("{} still has the keys: remove it\n", options.credentials.display());
        }
        web_user::give_credentials_to_group(&config.store.credentials)?;
    }
    Ok(Report::good(text))
}

/// Reads the three files. What the endpoint could not work with is an error; what it would treat
/// in a way that may surprise is a warning.
fn examine(config: &Config, options: &ImportOptions) -> Result<Old, Fault> {
    let read = |path: &Path| fs::read(path).map_err(|error| Fault::io("read", path, &error));
    let (state, hosts, credentials) =
        (read(&options.state)?, read(&options.hosts)?, read(&options.credentials)?);
    let map = parse(&options.state, &state)?;
    let users = parse(&options.credentials, &credentials)?;
    let mut warnings = Vec::new();
    examine_state(config, &map, &mut warnings);
    examine_users(&users, &map, &mut warnings);
    let rendered = hosts::render(&map).into_bytes();
    if rendered != hosts {
        warnings.push(format!(
            "{} is not what the state says: the new one will be",
            options.hosts.display()
        ));
    }
    let summary = format!("{} hosts in the state, {} users\n", map.len(), users.len());
    Ok(Old { state, hosts: rendered, credentials, warnings, summary })
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Map<String, Value>, Fault> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Fault::new(path.display(), format_args!("is not UTF-8: {error}")))?;
    json::parse(text).map_err(|error| Fault::new(path.display(), json_position(&error)))
}

fn examine_state(config: &Config, state: &Map<String, Value>, warnings: &mut Vec<String>) {
    let now = Utc::now();
    for (name, value) in state {
        let shown = name.escape_default();
        if HostName::parse(name).is_none() {
            warnings.push(format!(
                "{shown} is not a valid host name: it gets no line in the hosts file"
            ));
        }
        if state.keys().any(|other| other != name && other.eq_ignore_ascii_case(name)) {
            warnings.push(format!("{shown} is there more than once, in different case"));
        }
        let Some(fields) = value.as_object() else {
            warnings.push(format!("{shown} has no record: its updates will be answered with 911"));
            continue;
        };
        if record::addresses(fields).next().is_none() {
            warnings.push(format!("{shown} has no address"));
        }
        match record::stamp(fields, config.store.time_zone) {
            Err(why) => warnings.push(format!("{shown}: {why}; until then, 911")),
            Ok(stamp) if stamp.seconds_ahead_of(now) > 0 => warnings.push(format!(
                "{shown} was updated in the future, so its updates are refused as replays until then: \
                 if ip.php ran in local time, set \"time_zone\" to \"local\""
            )),
            Ok(_) => {}
        }
    }
}

fn examine_users(
    users: &Map<String, Value>,
    state: &Map<String, Value>,
    warnings: &mut Vec<String>,
) {
    for (user, why) in users::broken(users) {
        warnings.push(format!("user {user} cannot sign in: {why}"));
    }
    for host in state.keys() {
        if !users.values().flat_map(users::hosts).any(|owned| owned.eq_ignore_ascii_case(host)) {
            warnings
                .push(format!("{} is no user's host: nobody can update it", host.escape_default()));
        }
    }
    for host in users.values().flat_map(users::hosts) {
        if HostName::parse(host).is_none() {
            warnings.push(format!(
                "{} in the credentials is not a valid host name: nobody can update it",
                host.escape_default()
            ));
        }
    }
}

/// An empty file may be replaced, and one with the same contents need not be.
fn refuse_to_overwrite(from: &Path, to: &Path, bytes: &[u8]) -> Result<(), Fault> {
    if fs::symlink_metadata(to).is_ok_and(|there| there.is_symlink())
        && fs::read(to).ok().as_deref() != Some(bytes)
    {
        return Err(Fault::new(
            to.display(),
            "is a link, which root does not follow: remove it first",
        ));
    }
    let is_empty = |present: &[u8]| json::is_empty_map(&String::from_utf8_lossy(present));
    match fs::read(to) {
        Ok(present) if present != bytes && !is_empty(&present) => Err(Fault::new(
            to.display(),
            format_args!(
                "is there already, and differs from {}: move it away first",
                from.display()
            ),
        )),
        _ => Ok(()),
    }
}

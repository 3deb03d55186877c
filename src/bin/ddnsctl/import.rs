//! `ddnsctl import`.

use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use ddns_cgi::config::Store;
use ddns_cgi::fault::{Fault, json_position};
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::protocol::stamp::TimeZone;
use ddns_cgi::store::replace::{Readers, replace};
use ddns_cgi::store::{hosts, json, record};
use serde_json::{Map, Value};

use crate::cli::ImportOptions;
use crate::state::Host;
use crate::{Report, credentials, state, web_user};

/// The contents of the three files, after a check.
struct Old {
    state: Vec<u8>,
    hosts: Vec<u8>,
    credentials: Vec<u8>,
    warnings: Vec<String>,
    summary: String,
}

/// A file to copy.
struct Transfer<'a> {
    from: &'a Path,
    to: &'a Path,
    bytes: &'a [u8],
    readers: Readers,
}

pub fn run(store: &Store, options: &ImportOptions) -> Result<Report, Fault> {
    let old = examine(store, options)?;
    let transfers = old.transfers(store, options);
    // No update may come between the copies.
    let _lock = if options.dry_run { None } else { Some(state::lock(store)?) };
    for transfer in &transfers {
        transfer.refuse_to_overwrite()?;
    }
    let mut text = old.summary.clone();
    for warning in &old.warnings {
        text += &format!("warning: {warning}\n");
    }
    for transfer in transfers {
        text += &transfer.make(options.dry_run)?;
    }
    if !options.dry_run {
        if options.credentials != store.credentials {
            text += &format!("{} still has the keys: remove it\n", options.credentials.display());
        }
        web_user::give_credentials_to_group(&store.credentials)?;
    }
    Ok(Report::good(text))
}

impl Old {
    fn transfers<'a>(&'a self, store: &'a Store, options: &'a ImportOptions) -> [Transfer<'a>; 3] {
        let keys = &self.credentials;
        [
            (&options.state, &store.state, &self.state, Readers::Everybody),
            (&options.hosts, &store.hosts, &self.hosts, Readers::EverybodyAlways),
            (&options.credentials, &store.credentials, keys, Readers::OwnerAndGroup),
        ]
        .map(|(from, to, bytes, readers)| Transfer { from, to, bytes, readers })
    }
}

impl Transfer<'_> {
    /// An import may replace an empty file. A file that has the same contents stays.
    fn refuse_to_overwrite(&self) -> Result<(), Fault> {
        let present = fs::read(self.to).ok();
        let is_same = present.as_deref() == Some(self.bytes);
        let is_link = fs::symlink_metadata(self.to).is_ok_and(|there| there.is_symlink());
        if is_link && !is_same {
            let reason = "is a link, which root does not follow: remove it first";
            return Err(Fault::new(self.to.display(), reason));
        }
        let is_empty = |present: &[u8]| json::is_empty_map(&String::from_utf8_lossy(present));
        if is_same || present.is_none_or(|present| is_empty(&present)) {
            return Ok(());
        }
        let from = self.from.display();
        let reason = format!("is there already, and differs from {from}: move it away first");
        Err(Fault::new(self.to.display(), reason))
    }

    /// Copies the file, and says so.
    fn make(&self, dry_run: bool) -> Result<String, Fault> {
        let (from, to) = (self.from.display(), self.to.display());
        if fs::read(self.to).is_ok_and(|present| present == self.bytes) {
            return Ok(format!("{to} is in place\n"));
        }
        if dry_run {
            return Ok(format!("would copy {from} to {to}\n"));
        }
        replace(self.to, self.bytes, self.readers)?;
        Ok(format!("copied {from} to {to}\n"))
    }
}

/// Reads the three files. It is an error if the endpoint could not work with them, and a warning if
/// what it does with them may surprise the operator.
fn examine(store: &Store, options: &ImportOptions) -> Result<Old, Fault> {
    let read = |path: &Path| fs::read(path).map_err(|error| Fault::io("read", path, &error));
    let (state, hosts, credentials) =
        (read(&options.state)?, read(&options.hosts)?, read(&options.credentials)?);
    let map = parse(&options.state, &state)?;
    let users = parse(&options.credentials, &credentials)?;
    let mut warnings = warnings(store, &map, &users);
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

/// What may surprise the operator, first in the state, then in the credentials.
fn warnings(store: &Store, map: &Map<String, Value>, users: &Map<String, Value>) -> Vec<String> {
    let (mut warnings, mut without_owner) = (Vec::new(), Vec::new());
    let now = Utc::now();
    for host in state::hosts(map, users) {
        add_warnings(&mut warnings, &host, store.time_zone, now);
        without_owner.extend(host.owner.is_none().then_some(host.name));
    }
    let broken = credentials::broken(users);
    warnings.extend(broken.map(|(user, why)| format!("user {user} cannot sign in: {why}")));
    for name in without_owner.into_iter().map(str::escape_default) {
        warnings.push(format!("{name} is no user's host: nobody can update it"));
    }
    for name in credentials::invalid_hosts(users).map(str::escape_default) {
        warnings.push(format!(
            "{name} in the credentials is not a valid host name: nobody can update it"
        ));
    }
    warnings
}

fn add_warnings(warnings: &mut Vec<String>, host: &Host, zone: TimeZone, now: DateTime<Utc>) {
    let shown = host.name.escape_default();
    if HostName::parse(host.name).is_none() {
        warnings
            .push(format!("{shown} is not a valid host name: it gets no line in the hosts file"));
    }
    if host.has_twin {
        warnings.push(format!("{shown} is there more than once, in different case"));
    }
    let Some(fields) = host.fields() else {
        warnings.push(format!("{shown} has no record: its updates will be answered with 911"));
        return;
    };
    if let Some(identifier) = record::identifier(fields) {
        warnings.push(format!(
            "{shown} has the interface identifier {identifier}, which gets no line in the hosts \
             file until an update sends a prefix"
        ));
    } else if record::published(fields).next().is_none() {
        warnings.push(format!("{shown} has no address"));
    }
    match record::stamp(fields, zone) {
        Err(why) => warnings.push(format!("{shown}: {why}; until then, 911")),
        Ok(stamp) if stamp.seconds_ahead_of(now) > 0 => warnings.push(format!(
            "{shown} was updated in the future, so its updates are refused as replays until then: \
             if ip.php ran in local time, set \"time_zone\" to \"local\""
        )),
        Ok(_) => {}
    }
}

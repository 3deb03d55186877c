//! `ddnsctl import`.

use std::fs;
use std::path::Path;

use chrono::Utc;
use ddns_cgi::config::Store;
use ddns_cgi::fault::{Fault, json_position};
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::protocol::stamp::TimeZone;
use ddns_cgi::store::replace::{Readers, replace};
use ddns_cgi::store::{hosts, json, record};
use serde_json::{Map, Value};

use crate::cli::ImportOptions;
use crate::credentials::Users;
use crate::state::Host;
use crate::words::{command, count, few, quoted};
use crate::{Report, credentials, progress, state, style, web_user};

/// The contents of the three files, after a check.
struct Old {
    state: Vec<u8>,
    hosts: Vec<u8>,
    credentials: Vec<u8>,
    warnings: Vec<String>,
    hosts_in_state: usize,
    users: usize,
}

/// A file to copy.
struct Transfer<'a> {
    from: &'a Path,
    to: &'a Path,
    bytes: &'a [u8],
    readers: Readers,
}

pub fn run(store: &Store, options: &ImportOptions) -> Result<Report, Fault> {
    progress::step("examining the files");
    let old = examine(store, options)?;
    let transfers = old.transfers(store, options);
    // No update may come between the copies.
    let _lock = if options.dry_run { None } else { Some(state::lock(store)?) };
    for transfer in &transfers {
        transfer.refuse_to_overwrite()?;
    }
    progress::step("copying the files");
    let has = format!("{} and {}", count(old.hosts_in_state, "host"), count(old.users, "user"));
    let mut text = String::new();
    for warning in &old.warnings {
        text += &format!("{} {warning}\n", style::doubtful("warning:"));
    }
    for transfer in transfers {
        text += &transfer.make(options.dry_run)?;
    }
    if options.dry_run {
        return Ok(Report::good(text).noting(format!("the files have {has}; nothing is changed")));
    }
    web_user::give_credentials_to_group(&store.credentials)?;
    if !is_same_file(&options.credentials, &store.credentials) {
        let old = options.credentials.display();
        text += &format!(
            "{old} still has the keys. Once all is well, remove it:\n    rm {}\n",
            quoted(&old)
        );
    }
    Ok(Report::good(text).noting(format!("took over {has}; next: {}", command("ddnsctl apply"))))
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
        let reason = if self.is_in_place() {
            "differs from the state: move it away, and name its new place with --hosts".to_owned()
        } else {
            let from = self.from.display();
            format!("is there already, and differs from {from}: move it away first")
        };
        Err(Fault::new(self.to.display(), reason))
    }

    /// Copies the file, and says so.
    fn make(&self, dry_run: bool) -> Result<String, Fault> {
        let (from, to) = (self.from.display(), self.to.display());
        if fs::read(self.to).is_ok_and(|present| present == self.bytes) {
            return Ok(format!("{to} is in place already\n"));
        }
        let is_in_place = self.is_in_place();
        if !dry_run {
            replace(self.to, self.bytes, self.readers)?;
        }
        Ok(match (is_in_place, dry_run) {
            (false, false) => format!("copied {from} to {to}\n"),
            (false, true) => format!("would copy {from} to {to}\n"),
            (true, false) => format!("wrote the hosts of the state to {to}\n"),
            (true, true) => format!("would write the hosts of the state to {to}\n"),
        })
    }

    /// Whether the old file is where the new one is to be. What differs there is the hosts file,
    /// because that is made from the state.
    fn is_in_place(&self) -> bool {
        is_same_file(self.from, self.to)
    }
}

/// Whether two paths lead to one file, however they are written.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let [one, other] = [one, other].map(fs::canonicalize);
    one.is_ok_and(|one| other.is_ok_and(|other| one == other))
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
            "{} differs from what the state says: the new hosts file is made from the state",
            options.hosts.display()
        ));
    }
    let (hosts_in_state, users) = (map.len(), users.len());
    Ok(Old { state, hosts: rendered, credentials, warnings, hosts_in_state, users })
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Map<String, Value>, Fault> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Fault::new(path.display(), format_args!("is not UTF-8: {error}")))?;
    json::parse(text).map_err(|error| Fault::new(path.display(), json_position(&error)))
}

/// What may surprise the operator, first in the state, then in the credentials.
fn warnings(store: &Store, map: &Map<String, Value>, users: &Users) -> Vec<String> {
    let hosts: Vec<Host> = state::hosts(map, users).collect();
    let mut warnings: Vec<String> =
        surprises(store.time_zone).iter().filter_map(|surprise| surprise.found(&hosts)).collect();
    let broken = credentials::broken(users);
    warnings.extend(
        broken.map(|(user, why)| format!("user {} cannot sign in: {why}", user.escape_default())),
    );
    let invalid = credentials::invalid_hosts(users).map(|name| name.escape_default().to_string());
    warnings.extend(sentence(
        &invalid.collect::<Vec<_>>(),
        [
            "in the credentials is not a valid host name: nobody can update it",
            "in the credentials are not valid host names: nobody can update them",
        ],
    ));
    warnings
}

/// What may surprise about hosts: in words about one of them, and about several.
struct Surprise {
    words: [&'static str; 2],
    is_about: Box<dyn Fn(&Host) -> bool>,
}

impl Surprise {
    /// A surprise about hosts with a record.
    fn of(
        words: [&'static str; 2],
        is_about: impl Fn(&Map<String, Value>) -> bool + 'static,
    ) -> Self {
        Self { words, is_about: Box::new(move |host| host.fields().is_some_and(&is_about)) }
    }

    /// The sentence about those hosts that it is about.
    fn found(&self, hosts: &[Host]) -> Option<String> {
        let names = hosts.iter().filter(|host| (self.is_about)(host));
        let names: Vec<String> = names.map(|host| host.name.escape_default().to_string()).collect();
        sentence(&names, self.words)
    }
}

fn sentence(names: &[String], [one, several]: [&str; 2]) -> Option<String> {
    match names {
        [] => None,
        [name] => Some(format!("{name} {one}")),
        _ => Some(format!("{} {several}", few(names.iter()))),
    }
}

/// All that may surprise about the hosts of a state, whose stamps are in this time zone.
fn surprises(zone: TimeZone) -> Vec<Surprise> {
    let now = Utc::now();
    let has_identifier = |fields: &_| record::identifier(fields).is_some();
    let has_address = |fields: &_| record::published(fields).next().is_some();
    vec![
        Surprise {
            words: [
                "is not a valid host name: it gets no line in the hosts file",
                "are not valid host names: they get no lines in the hosts file",
            ],
            is_about: Box::new(|host| HostName::parse(host.name).is_none()),
        },
        Surprise {
            // Never of one host alone.
            words: ["are there more than once, in different case"; 2],
            is_about: Box::new(|host| host.has_twin),
        },
        Surprise {
            words: [
                "has no record: its updates will be answered with 911",
                "have no records: their updates will be answered with 911",
            ],
            is_about: Box::new(|host| host.fields().is_none()),
        },
        Surprise::of(
            [
                "has an interface identifier, which gets no line in the hosts file until an \
                 update sends a prefix",
                "have interface identifiers, which get no lines in the hosts file until an update \
                 sends a prefix",
            ],
            has_identifier,
        ),
        Surprise::of(["has no address", "have no address"], move |fields| {
            !has_identifier(fields) && !has_address(fields)
        }),
        Surprise::of(
            [
                "has an \"update\" that is no time stamp: until it is YYYY-MM-DD HH:MM:SS, or the \
                 record is gone, the host's updates are answered with 911",
                "have an \"update\" that is no time stamp: until it is YYYY-MM-DD HH:MM:SS, or the \
                 record is gone, such a host's updates are answered with 911",
            ],
            move |fields| record::stamp(fields, zone).is_err(),
        ),
        Surprise::of(
            [
                "was updated in the future, so its updates are refused as replays until then: if \
                 ip.php ran in local time, set \"time_zone\" to \"local\"",
                "were updated in the future, so their updates are refused as replays until then: \
                 if ip.php ran in local time, set \"time_zone\" to \"local\"",
            ],
            move |fields| {
                record::stamp(fields, zone).is_ok_and(|stamp| stamp.seconds_ahead_of(now) > 0)
            },
        ),
        Surprise {
            words: [
                "is no user's host: nobody can update it",
                "are no user's hosts: nobody can update them",
            ],
            is_about: Box::new(|host| host.owner.is_none()),
        },
    ]
}

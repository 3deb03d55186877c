//! `ddnsctl check`.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use chrono::Utc;
use ddns_cgi::config::{COMMAND_PATH, Config};
use ddns_cgi::error::Fault;
use ddns_cgi::expiry::Expiry;
use ddns_cgi::host::HostName;
use ddns_cgi::mark::Mark;
use ddns_cgi::replace::{companion, follow};
use ddns_cgi::{hosts, lookup, record};
use serde_json::{Map, Value};

use crate::cli::CheckOptions;
use crate::findings::Findings;
use crate::web_user::WebUser;
use crate::{Report, apache, dns, users};

pub fn run(file: Option<OsString>, options: &CheckOptions) -> Report {
    let mut findings = Findings::default();
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(fault) => {
            findings.error(
                fault.subject,
                fault.reason,
                "All updates are answered with 911 until then",
            );
            return findings.into_report(options.json, "");
        }
    };
    let user = WebUser::find(options.web_user.as_deref());
    if user.is_none() {
        findings.error("web server", "its user is not known here", "Name it with --web-user");
    }
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        findings.warning(
            "ddnsctl",
            "not run as root, so not everything was checked",
            "Run it as root",
        );
    }
    let user = user.filter(|_| is_root);
    let users = check_credentials(&mut findings, &config, user.as_ref());
    check_folders(&mut findings, &config, user.as_ref());
    let state = check_state(&mut findings, &config, users.as_ref());
    check_restart(&mut findings, &config, user.as_ref());
    apache::check_status_page(&mut findings, &config);
    // Without a state, the next update takes it from the hosts file; a pending change says so itself.
    let is_settled = matches!(Mark::read(&config.hosts), Ok(None));
    if let Some(state) = state.as_ref().filter(|_| is_settled) {
        let expiry = Expiry::at(Utc::now(), &config);
        check_hosts(&mut findings, &config, state, &expiry);
        check_dnsmasq(&mut findings, &config, options.server, &expiry.served(state));
    }
    check_clock(&mut findings);
    let summary = format!(
        "{} hosts, {} users",
        state.map_or(0, |state| state.len()),
        users.map_or(0, |users| users.len())
    );
    findings.into_report(options.json, &summary)
}

fn check_credentials(
    findings: &mut Findings,
    config: &Config,
    user: Option<&WebUser>,
) -> Option<Map<String, Value>> {
    let path = &config.credentials;
    let Ok(metadata) = fs::metadata(path) else {
        findings.error(path.display(), "is not there", "Add users with: ddnsctl user add");
        return None;
    };
    check_access_to_keys(findings, path, &metadata, user);
    let users = match users::read(path) {
        Ok(users) => users,
        Err(fault) => {
            findings.fault(&fault);
            return None;
        }
    };
    check_users(findings, path, &users);
    Some(users)
}

fn check_access_to_keys(
    findings: &mut Findings,
    path: &Path,
    metadata: &Metadata,
    user: Option<&WebUser>,
) {
    let mode = metadata.mode();
    let advice = |user: Option<&WebUser>| {
        let group = user.map_or("WEBGROUP".to_owned(), |user| user.gid.to_string());
        format!("chown root:{group} {0} && chmod 640 {0}", path.display())
    };
    if mode & 0o007 != 0 {
        findings.error(
            path.display(),
            format_args!("others can use the keys (mode {:o})", mode & 0o777),
            advice(user),
        );
    }
    if mode & 0o020 != 0 {
        findings.error(
            path.display(),
            format_args!("its group can change the keys (mode {:o})", mode & 0o777),
            advice(user),
        );
    }
    if let Some(user) = user {
        if !user.may("-r", path) {
            findings.error(
                path.display(),
                format_args!("{} cannot read it", user.name),
                advice(Some(user)),
            );
        }
        if metadata.uid() != 0 {
            findings.warning(path.display(), "it is not root's", advice(Some(user)));
        }
    }
}

fn check_users(findings: &mut Findings, path: &Path, users: &Map<String, Value>) {
    for (user, why) in users::broken(users) {
        findings.error(
            format_args!("user {user}"),
            why,
            format_args!("Correct the entry in {}", path.display()),
        );
    }
    for host in users.values().flat_map(users::hosts).filter(|host| HostName::parse(host).is_none())
    {
        findings.warning(
            host.escape_default(),
            "is not a valid host name, so nobody can update it",
            "Correct it in the credentials",
        );
    }
}

/// State and hosts file are replaced, so it is their folders that must be writable.
fn check_folders(findings: &mut Findings, config: &Config, user: Option<&WebUser>) {
    let mut folders: Vec<_> = [&config.state, &config.hosts]
        .iter()
        .flat_map(|path| [(*path).clone(), follow(path)])
        .filter_map(|path| path.parent().map(Path::to_owned))
        .collect();
    folders.sort();
    folders.dedup();
    for folder in folders {
        let Ok(metadata) = fs::metadata(&folder) else {
            findings.error(
                folder.display(),
                "is not there",
                "Create it, or correct \"state\" and \"hosts\" in the configuration",
            );
            continue;
        };
        let owner = user.map_or("WEBUSER", |user| user.name.as_str());
        if metadata.mode() & 0o002 != 0 {
            findings.error(
                folder.display(),
                "everybody can change the files in it",
                format_args!("chmod o-w {}", folder.display()),
            );
        }
        if user.is_some_and(|user| !user.may("-w", &folder)) {
            findings.error(
                folder.display(),
                format_args!("{owner} cannot write there"),
                format_args!("chown {owner} {0} && chmod u+rwx {0}", folder.display()),
            );
        }
    }
    check_way_of_dnsmasq(findings, &follow(&config.hosts));
    check_helpers(findings, config, user);
}

/// dnsmasq reads the hosts file as its own user.
fn check_way_of_dnsmasq(findings: &mut Findings, hosts: &Path) {
    let folder = hosts.parent().unwrap_or(Path::new("/"));
    for ancestor in folder.ancestors() {
        if fs::metadata(ancestor).is_ok_and(|m| m.mode() & 0o001 == 0) {
            findings.error(
                ancestor.display(),
                "dnsmasq's user may not pass through it",
                format_args!("chmod o+x {}", ancestor.display()),
            );
        }
    }
}

/// Files that an earlier run as root may have left, for instance.
fn check_helpers(findings: &mut Findings, config: &Config, user: Option<&WebUser>) {
    let helpers = [
        companion(&config.state, "lock"),
        companion(&config.hosts, "restart.lock"),
        Mark::path(&config.hosts),
    ];
    for helper in helpers {
        let (Some(user), Ok(metadata)) = (user, fs::metadata(&helper)) else { continue };
        if !user.may("-w", &helper) {
            let advice = format!("chown {}:{} {}", user.uid, user.gid, helper.display());
            findings.error(helper.display(), format_args!("{} cannot write it", user.name), advice);
        }
        if metadata.mode() & 0o002 != 0 {
            let advice = format!("chmod o= {}", helper.display());
            findings.warning(helper.display(), "everybody can write it", advice);
        }
    }
}

fn check_state(
    findings: &mut Findings,
    config: &Config,
    users: Option<&Map<String, Value>>,
) -> Option<Map<String, Value>> {
    let path = &config.state;
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            findings.fault(&Fault::io("read the state", path, &error));
            return None;
        }
    };
    if lookup::is_empty_map(&text) {
        return None;
    }
    let Ok(state) = serde_json::from_str::<Map<String, Value>>(&text) else {
        findings.error(
            path.display(),
            "the state is broken, so all updates are answered with 911",
            "ddnsctl rebuild, or restore a copy",
        );
        return None;
    };
    check_names(findings, &state, users);
    for (host, value) in &state {
        check_record(findings, config, host, value);
    }
    Some(state)
}

/// Each name is there once, and somebody's.
fn check_names(
    findings: &mut Findings,
    state: &Map<String, Value>,
    users: Option<&Map<String, Value>>,
) {
    let owned: Option<HashSet<String>> = users
        .map(|users| users.values().flat_map(users::hosts).map(str::to_ascii_lowercase).collect());
    let mut seen = HashMap::new();
    for host in state.keys() {
        let name = host.to_ascii_lowercase();
        if owned.as_ref().is_some_and(|owned| !owned.contains(&name)) {
            findings.warning(
                host.escape_default(),
                "is no user's host, so nobody can update it",
                "ddnsctl host add USER HOST",
            );
        }
        if let Some(twin) = seen.insert(name, host) {
            findings.warning(
                host.escape_default(),
                format_args!("is there as {twin}, too"),
                "Its next change of address makes them one",
            );
        }
    }
}

fn check_record(findings: &mut Findings, config: &Config, host: &str, value: &Value) {
    let shown = host.escape_default();
    let advice = format!("Correct it in {}", config.state.display());
    let Some(fields) = value.as_object() else {
        findings.error(
            shown,
            "its record is no object, so its updates are answered with 911",
            advice,
        );
        return;
    };
    if HostName::parse(host).is_none() {
        findings.warning(&shown, "is not a valid host name, so dnsmasq does not get it", &advice);
    }
    if record::addresses(fields).next().is_none() {
        findings.warning(&shown, "has no address", "Wait for its next update");
    }
    match record::stamp(fields, config.time_zone) {
        Err(why) => findings.error(&shown, why, &advice),
        Ok(stamp) => {
            let ahead = stamp.seconds_ahead_of(Utc::now());
            if u64::try_from(ahead).is_ok_and(|ahead| ahead > config.window) {
                findings.error(
                    &shown,
                    format_args!("its last update is {ahead} s in the future, so its updates are refused as replays until then"),
                    "Correct the clock, \"time_zone\" in the configuration, or \"update\" in the state",
                );
            }
        }
    }
}

fn check_hosts(
    findings: &mut Findings,
    config: &Config,
    state: &Map<String, Value>,
    expiry: &Expiry,
) {
    let path = &config.hosts;
    if state.is_empty() && !path.exists() {
        return;
    }
    match hosts::read(path) {
        Err(fault) => findings.fault(&fault),
        Ok(None) => findings.error(path.display(), "is not there", "ddnsctl apply"),
        Ok(Some(text)) => {
            // A host that has expired leaves with the next update.
            let listed = hosts::to_state(&text, config.time_zone);
            let mut wanted = state.clone();
            wanted.retain(|host, record| !expiry.is_over(record) || listed.contains_key(host));
            if text != hosts::render(&wanted) {
                findings.error(path.display(), "is not what the state says", "ddnsctl apply");
            }
        }
    }
    let mode = fs::metadata(path).map_or(0o644, |metadata| metadata.mode());
    if mode & 0o004 == 0 {
        findings.error(
            path.display(),
            format_args!("dnsmasq's user may not read it (mode {:o})", mode & 0o777),
            format_args!("chmod 644 {} && ddnsctl apply", path.display()),
        );
    }
}

fn check_restart(findings: &mut Findings, config: &Config, user: Option<&WebUser>) {
    let path = Mark::path(&config.hosts);
    match Mark::read(&config.hosts) {
        Err(fault) => findings.fault(&fault),
        Ok(None) => {}
        Ok(Some(mark)) => match mark.failure() {
            Some(reason) => findings.error(
                path.display(),
                format_args!("the last restart failed: {reason}"),
                "Mend the cause, then: ddnsctl apply",
            ),
            None => findings.warning(
                path.display(),
                "a change waits for a restart",
                "If it stays: ddnsctl apply",
            ),
        },
    }
    let Some((program, arguments)) = config.restart.split_first() else { return };
    let is_there = |folder: &&str| Path::new(folder).join(program).is_file();
    if !program.starts_with('/') && !COMMAND_PATH.iter().any(is_there) {
        findings.error(
            "restart",
            format_args!("{program} is not installed"),
            "Install it, or correct \"restart\" in the configuration",
        );
    } else if let (Some(user), true) = (user, program.ends_with("sudo")) {
        let wanted: Vec<&str> =
            arguments.iter().map(String::as_str).skip_while(|word| word.starts_with('-')).collect();
        let listing: Vec<&str> =
            ["sudo", "-n", "-l"].into_iter().chain(wanted.iter().copied()).collect();
        if user.can(&listing) != Some(true) {
            findings.error("sudo", format_args!("{} may not run without a password: {}", user.name, wanted.join(" ")), "Install sudoers.d/ddns-cgi as /etc/sudoers.d/ddns-cgi, mode 0440, and run: visudo -c");
        }
    }
}

/// Asks for every stored address, until the server proves to be silent.
fn check_dnsmasq(
    findings: &mut Findings,
    config: &Config,
    server: SocketAddr,
    state: &Map<String, Value>,
) {
    for (name, fields) in state {
        let (Some(name), Some(fields)) = (HostName::parse(name), fields.as_object()) else {
            continue;
        };
        for address in record::addresses(fields) {
            match dns::ask(server, name.as_str(), address) {
                Err(why) => {
                    findings.error(
                        "dnsmasq",
                        format_args!("no answer from {server}: {why}"),
                        "service dnsmasq status",
                    );
                    return;
                }
                Ok(true) => {}
                Ok(false) => findings.error(
                    &name,
                    format_args!("dnsmasq does not answer with {address}"),
                    format_args!(
                        "See that its configuration has addn-hosts={}, then: ddnsctl apply",
                        config.hosts.display()
                    ),
                ),
            }
        }
    }
}

/// A clock that is off makes every client stale. That of a container is its host's.
fn check_clock(findings: &mut Findings) {
    let container = Command::new("systemd-detect-virt").args(["--quiet", "--container"]).status();
    if container.is_ok_and(|status| status.success()) {
        return;
    }
    let output = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stderr(Stdio::null())
        .output();
    if output.is_ok_and(|output| output.stdout.trim_ascii() == b"no") {
        findings.warning(
            "clock",
            "is not synchronized, and clients further off than the window are refused",
            "apt-get install systemd-timesyncd, or chrony",
        );
    }
}

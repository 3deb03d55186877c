//! `ddnsctl check`.

mod apache;
mod credentials;
mod dns;
mod findings;
mod state;

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use chrono::Utc;
use ddns_cgi::config::{COMMAND_PATH, Config};
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::publish::pending::Pending;
use ddns_cgi::store::expiry::Expiry;
use ddns_cgi::store::replace::{companion, follow};
use ddns_cgi::store::{hosts, record};
use serde_json::{Map, Value};

use self::findings::Findings;
use crate::Report;
use crate::cli::CheckOptions;
use crate::web_user::WebUser;

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
    let user = web_user(&mut findings, options);
    let users = credentials::check(&mut findings, &config, user.as_ref());
    check_folders(&mut findings, &config, user.as_ref());
    let state = state::check(&mut findings, &config, users.as_ref());
    check_restart(&mut findings, &config, user.as_ref());
    apache::check_status_page(&mut findings, &config);
    // Without a state, the next update takes it from the hosts file; a pending change says so itself.
    let is_settled = matches!(Pending::read(&config.store.hosts), Ok(None));
    if let Some(state) = state.as_ref().filter(|_| is_settled) {
        let expiry = Expiry::at(Utc::now(), &config.store);
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

/// The web server's user, where this process can try what that user may do.
fn web_user(findings: &mut Findings, options: &CheckOptions) -> Option<WebUser> {
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
    user.filter(|_| is_root)
}

/// State and hosts file are replaced, so it is their folders that must be writable.
fn check_folders(findings: &mut Findings, config: &Config, user: Option<&WebUser>) {
    let mut folders: Vec<_> = [&config.store.state, &config.store.hosts]
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
    check_way_of_dnsmasq(findings, &follow(&config.store.hosts));
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
        companion(&config.store.state, "lock"),
        companion(&config.store.hosts, "restart.lock"),
        Pending::path(&config.store.hosts),
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

fn check_hosts(
    findings: &mut Findings,
    config: &Config,
    state: &Map<String, Value>,
    expiry: &Expiry,
) {
    let path = &config.store.hosts;
    if state.is_empty() && !path.exists() {
        return;
    }
    match hosts::read(path) {
        Err(fault) => findings.fault(&fault),
        Ok(None) => findings.error(path.display(), "is not there", "ddnsctl apply"),
        Ok(Some(text)) => {
            // A host that has expired leaves with the next update.
            let listed = hosts::to_state(&text, config.store.time_zone);
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
    let path = Pending::path(&config.store.hosts);
    match Pending::read(&config.store.hosts) {
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
    let Some((program, arguments)) = config.publish.restart.split_first() else { return };
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
                        config.store.hosts.display()
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

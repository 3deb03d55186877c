//! `ddnsctl apply`.

use std::collections::HashSet;
use std::time::Duration;

use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::publish::pending;
use ddns_cgi::publish::target::Target;
use ddns_cgi::publish::{restarter, zones};
use ddns_cgi::store::hosts;
use ddns_cgi::store::state::{Patience, State};

use crate::words::count;
use crate::{Report, progress};

/// Enough for two restarts, or two updates of 15,000 names.
const LIMIT: Duration = Duration::from_secs(90);

/// Publishes what the state says. With `all`, zones get it anew, whatever they acknowledged.
pub fn run(config: &Config, all: bool) -> Result<Report, Fault> {
    if all && config.publish.zones.is_none() {
        let reason = "is about zones, and the configuration has none: it has no key \"publish\"";
        return Err(Fault::new("--all", reason));
    }
    progress::step("reading the state");
    if all {
        forget_published(config)?;
    }
    let mut state = State::open(&config.store, Patience::Client)?;
    state.read()?;
    pending::add(config, "applied by ddnsctl")?;
    if state.rebuilt_hosts() > 0 {
        let map = state.map()?;
        state.replace(&map)?;
    }
    state.forget_index();
    drop(state);
    settle(config)?;
    Ok(Report::done(told(config)?))
}

/// What is known: what was done to the name servers, and how many hosts they are to serve.
fn told(config: &Config) -> Result<String, Fault> {
    let text = hosts::read(&config.store.hosts)?.unwrap_or_default();
    let names = text.lines().filter_map(|line| line.split_whitespace().nth(1));
    let names: HashSet<String> = names.map(str::to_ascii_lowercase).collect();
    let hosts = count(names.len(), "host");
    let parts: Vec<String> = Target::of(&config.publish)
        .map(|target| match (target, &config.publish.zones) {
            (Target::Zones, Some(zones)) => {
                let names = names.iter().filter_map(|name| HostName::parse(name));
                let number = names.filter(|name| zones.zone_of(name).is_some()).count();
                // It may have lost them since. Only `check` asks.
                format!("the primary server has acknowledged {}", count(number, "host"))
            }
            _ => match config.publish.restart.last().map(String::as_str) {
                None => format!("the hosts file has {hosts}"),
                // Whether dnsmasq reads that file, only `check` finds out.
                Some("restart") => format!("dnsmasq has restarted; the hosts file has {hosts}"),
                Some(_) => format!("the restart command has succeeded; the hosts file has {hosts}"),
            },
        })
        .collect();
    Ok(parts.join(", and "))
}

/// Makes the next dynamic update send everything, as soon as no restarter sends one. The mark comes
/// afterwards: a restarter that is at work would settle it without having sent all.
fn forget_published(config: &Config) -> Result<(), Fault> {
    // The lock on the state must not be held here, because that restarter needs it to finish.
    let map = State::open(&config.store, Patience::Client)?.map()?;
    progress::step("waiting for the dynamic update under way");
    zones::forget(&config.store.hosts, map.keys(), limit(config))
}

/// Makes each target serve what the state says. A target that fails does not keep the others from
/// being tried.
pub fn settle(config: &Config) -> Result<(), Fault> {
    let failures: Vec<Fault> = Target::of(&config.publish)
        .filter_map(|target| settle_target(config, target).err())
        .collect();
    match failures.as_slice() {
        [] => Ok(()),
        [failure, ..] => {
            let reasons: Vec<&str> = failures.iter().map(|fault| fault.reason.as_str()).collect();
            Err(Fault::new(&failure.subject, reasons.join("; ")))
        }
    }
}

fn settle_target(config: &Config, target: Target) -> Result<(), Fault> {
    progress::step(match target {
        Target::HostsFile => "waiting for the restart",
        Target::Zones => "waiting for the dynamic update",
    });
    restarter::publish_now(config, target, limit(config))?.map_err(|reason| {
        let command = command(config, target);
        let reason = format!("{command} failed: {reason}; the next request tries again");
        Fault::new(config.store.hosts.display(), reason)
    })
}

/// The command of a target, as the operator wrote it.
fn command(config: &Config, target: Target) -> String {
    let zones = config.publish.zones.as_ref().filter(|_| target == Target::Zones);
    zones.map_or(&config.publish.restart, |zones| &zones.command).join(" ")
}

/// How long a restarter that is at work may keep this command waiting.
fn limit(config: &Config) -> Duration {
    LIMIT + 2 * Duration::from_secs(config.publish.restart_interval.into())
}

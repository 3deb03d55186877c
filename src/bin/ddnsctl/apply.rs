//! `ddnsctl apply`.

use std::thread::sleep;
use std::time::{Duration, Instant};

use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::publish::pending::{self, Mark};
use ddns_cgi::publish::target::Target;
use ddns_cgi::publish::{restarter, zones};
use ddns_cgi::store::state::{Patience, State};

use crate::Report;

/// Enough for two restarts, or two updates of 15,000 names.
const LIMIT: Duration = Duration::from_secs(90);

/// How long to wait between two looks at another restarter.
const PAUSE: Duration = Duration::from_millis(100);

/// Publishes what the state says. With `all`, zones get it anew, whatever they acknowledged.
pub fn run(config: &Config, all: bool) -> Result<Report, Fault> {
    if all && config.publish.zones.is_none() {
        let reason = "is about zones, and the configuration has no key \"publish\"";
        return Err(Fault::new("--all", reason));
    }
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
    settle(config)
}

/// Makes the next dynamic update send everything, as soon as no restarter sends one. The mark comes
/// afterwards: a restarter that is at work would settle it without having sent all.
fn forget_published(config: &Config) -> Result<(), Fault> {
    // The lock on the state must not be held here, because that restarter needs it to finish.
    let map = State::open(&config.store, Patience::Client)?.map()?;
    let deadline = deadline(config);
    while zones::forget(&config.store.hosts, map.keys())?.is_none() {
        still_at_work(config, Target::Zones, deadline)?;
    }
    Ok(())
}

/// Works on each target for which a change is pending, or waits for the restarter that does. A
/// target that fails does not keep the others from being tried.
pub fn settle(config: &Config) -> Result<Report, Fault> {
    let failures: Vec<Fault> = Target::of(&config.publish)
        .filter_map(|target| settle_target(config, target).err())
        .collect();
    match failures.as_slice() {
        [] => Ok(Report::good("")),
        [failure, ..] => {
            let reasons: Vec<&str> = failures.iter().map(|fault| fault.reason.as_str()).collect();
            Err(Fault::new(&failure.subject, reasons.join("; ")))
        }
    }
}

fn settle_target(config: &Config, target: Target) -> Result<(), Fault> {
    let hosts = &config.store.hosts;
    let deadline = deadline(config);
    loop {
        restarter::apply(config, target)?;
        let Some(pending) = Mark::of(target, hosts).read()? else { return Ok(()) };
        if let Some(reason) = pending.failure() {
            let command = command(config, target);
            let reason = format!("{command} failed: {reason}; the next request tries again");
            return Err(Fault::new(hosts.display(), reason));
        }
        still_at_work(config, target, deadline)?;
    }
}

/// The command of a target, as the operator wrote it.
fn command(config: &Config, target: Target) -> String {
    let zones = config.publish.zones.as_ref().filter(|_| target == Target::Zones);
    zones.map_or(&config.publish.restart, |zones| &zones.command).join(" ")
}

fn deadline(config: &Config) -> Instant {
    Instant::now() + LIMIT + 2 * Duration::from_secs(config.publish.restart_interval.into())
}

/// Waits a little for another restarter, but not beyond the deadline.
fn still_at_work(config: &Config, target: Target, deadline: Instant) -> Result<(), Fault> {
    if Instant::now() > deadline {
        let reason = "another restarter is at work and does not finish";
        return Err(Fault::new(target.mark(&config.store.hosts).display(), reason));
    }
    sleep(PAUSE);
    Ok(())
}

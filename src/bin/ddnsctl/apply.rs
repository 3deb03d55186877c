//! `ddnsctl apply`.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::publish::pending::Pending;
use ddns_cgi::publish::restarter;
use ddns_cgi::store::replace::companion;
use ddns_cgi::store::state::{Patience, State};

use crate::Report;

/// Enough for the restart of another restarter and one after it.
const LIMIT: Duration = Duration::from_secs(90);

pub fn run(config: &Config) -> Result<Report, Fault> {
    let mut state = State::open(&config.store, Patience::Client)?;
    let map = state.map()?.clone();
    Pending::add(&config.store.hosts, "applied by ddnsctl")?;
    if state.rebuilt_hosts() > 0 {
        state.replace(&map)?;
    }
    // An edit within one tick of the file system's clock, or one that kept size and time, can leave
    // an index that still takes the state for what it was.
    let _ = fs::remove_file(companion(&config.store.state, "index"));
    drop(state);
    settle(config)
}

/// Restarts dnsmasq if a change is pending, or waits for the restarter that does.
pub fn settle(config: &Config) -> Result<Report, Fault> {
    let hosts = &config.store.hosts;
    let interval = Duration::from_secs(config.publish.restart_interval.into());
    let deadline = Instant::now() + LIMIT + 2 * interval;
    loop {
        restarter::apply(&config.store, &config.publish)?;
        let Some(pending) = Pending::read(hosts)? else { return Ok(Report::good("")) };
        if let Some(reason) = pending.failure() {
            let command = config.publish.restart.join(" ");
            let reason = format!("{command} failed: {reason}; the next request tries again");
            return Err(Fault::new(hosts.display(), reason));
        }
        if Instant::now() > deadline {
            let reason = "another restarter is at work and does not finish";
            return Err(Fault::new(Pending::path(hosts).display(), reason));
        }
        sleep(Duration::from_millis(100));
    }
}

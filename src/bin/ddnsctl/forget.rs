//! `ddnsctl forget`, which `ddnsctl host remove` runs as the owner of the state.

use chrono::Utc;
use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::publish::pending;
use ddns_cgi::store::expiry::Expiry;
use ddns_cgi::store::hosts;
use ddns_cgi::store::state::{Patience, State};

use crate::{Report, apply};

/// Removes a host from the state, and makes the name servers forget it.
pub fn run(config: &Config, host: &str) -> Result<Report, Fault> {
    let store = &config.store;
    let host = host_name(host)?;
    let mut state = State::open(store, Patience::Client)?;
    let mut map = state.map()?;
    let before = map.len();
    map.retain(|name, _| !host.is(name));
    if map.len() == before {
        return Ok(Report::good(""));
    }
    pending::add(config, format_args!("{host} removed"))?;
    // First the hosts file, because an empty state would be rebuilt from it.
    hosts::store(&store.hosts, &Expiry::at(Utc::now(), store).hosts_file(&map))?;
    state.replace(&map)?;
    drop(state);
    apply::settle(config)
}

/// Reads a host name from the command line.
pub fn host_name(text: &str) -> Result<HostName, Fault> {
    HostName::parse(text).ok_or_else(|| Fault::new(text, "is not a valid host name"))
}

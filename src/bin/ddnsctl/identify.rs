//! `ddnsctl identify`, which `ddnsctl host add --ip6` runs as the owner of the state.

use std::net::{IpAddr, Ipv6Addr};

use chrono::Utc;
use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::publish::pending;
use ddns_cgi::store::expiry::Expiry;
use ddns_cgi::store::state::{Patience, State};
use ddns_cgi::store::{hosts, record};
use serde_json::{Map, Value};

use crate::forget::host_name;
use crate::{Report, apply};

/// Puts the interface identifier of a host into the state, in the place of its IPv6 address. Says
/// so if the host had one.
pub fn run(config: &Config, host: &str, identifier: Ipv6Addr) -> Result<Report, Fault> {
    let host = host_name(host)?;
    let mut state = State::open(&config.store, Patience::Client)?;
    let mut map = state.map()?.clone();
    let lost = set(config, &mut map, &host, identifier)?;
    store(config, &mut state, &map, &host)?;
    drop(state);
    let text = lost.map_or_else(String::new, |address| {
        format!(
            "{host} has lost {address}: it has no IPv6 address until an update sends a prefix\n"
        )
    });
    apply::settle(config).map_err(|fault| {
        let reason = format!("{}. {host} has its identifier all the same", fault.reason);
        Fault { reason, ..fault }
    })?;
    Ok(Report::good(text))
}

/// Sets the identifier in each spelling of the host's name, and returns the IPv6 address that the
/// host had. A host that the state does not have gets a record.
fn set(
    config: &Config,
    map: &mut Map<String, Value>,
    host: &HostName,
    identifier: Ipv6Addr,
) -> Result<Option<IpAddr>, Fault> {
    let store = &config.store;
    if !map.keys().any(|name| host.is(name)) {
        map.insert(host.to_string(), Map::new().into());
    }
    let mut lost = None;
    for (name, value) in map.iter_mut().filter(|(name, _)| host.is(name)) {
        let fields = value.as_object_mut().ok_or_else(|| {
            let reason = format!("the record of {name} is not an object: correct it by hand");
            Fault::new(store.state.display(), reason)
        })?;
        lost = record::published(fields).find(IpAddr::is_ipv6).or(lost);
        record::set_identifier(fields, identifier, store.time_zone);
    }
    Ok(lost)
}

/// Writes the state and, if DNS is to change, first the marks, then the hosts file.
fn store(
    config: &Config,
    state: &mut State,
    map: &Map<String, Value>,
    host: &HostName,
) -> Result<(), Fault> {
    let path = &config.store.hosts;
    let wanted = Expiry::at(Utc::now(), &config.store).hosts_file(map);
    let is_published = hosts::read(path)?.as_ref() == Some(&wanted);
    if !is_published {
        pending::add(config, format_args!("{host} waits for a prefix"))?;
    }
    if map != state.map()? {
        state.replace(map)?;
    }
    if !is_published {
        hosts::store(path, &wanted)?;
    }
    Ok(())
}

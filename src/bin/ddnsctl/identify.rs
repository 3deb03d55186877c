//! `ddnsctl identify`, which `ddnsctl host add --ip6` runs as the owner of the state.

use std::net::{IpAddr, Ipv6Addr};

use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::store::record;
use ddns_cgi::store::state::{Patience, State};
use serde_json::{Map, Value};

use crate::Report;
use crate::names::host_name;
use crate::records::{Edit, settle, store};

/// Puts the interface identifier of a host into the state, in the place of its IPv6 address. An
/// address that has this identifier stays. Says what becomes of an address.
pub fn run(config: &Config, host: &str, identifier: Ipv6Addr) -> Result<Report, Fault> {
    let host = host_name(host)?;
    let mut state = State::open(&config.store, Patience::Client)?;
    let mut map = state.map()?;
    let note = set(config, &mut map, &host, identifier)?;
    let is_changed = map != state.map()?;
    let change = format!("{host} waits for a prefix");
    store(config, &state, &Edit { map: &map, is_changed, change })?;
    drop(state);
    settle(config, &note)?;
    Ok(Report::done(note))
}

/// Sets the identifier in each spelling of the host's name, and says what becomes of its IPv6
/// address. A host that the state does not have gets a record.
fn set(
    config: &Config,
    map: &mut Map<String, Value>,
    host: &HostName,
    identifier: Ipv6Addr,
) -> Result<String, Fault> {
    let store = &config.store;
    if !map.keys().any(|name| host.is(name)) {
        map.insert(host.to_string(), Map::new().into());
    }
    let mut note = format!("{host} has the interface identifier {identifier}");
    for (name, value) in map.iter_mut().filter(|(name, _)| host.is(name)) {
        let fields = value.as_object_mut().ok_or_else(|| {
            let reason = format!("the record of {name} is not an object: correct it by hand");
            Fault::new(store.state.display(), reason)
        })?;
        match record::published(fields).find(IpAddr::is_ipv6) {
            Some(IpAddr::V6(address)) if has_identifier(address, identifier) => {
                note = format!("{host} has {address}, which has this identifier already");
                continue;
            }
            Some(lost) => {
                note = format!(
                    "{host} has lost {lost}: it has no IPv6 address until an update sends a \
                     prefix, so let its router send one now"
                );
            }
            None => note += ", and waits for a prefix",
        }
        record::set_identifier(fields, identifier, store.time_zone);
    }
    Ok(note)
}

/// Whether a prefix makes this address of the identifier: at least its last 64 bits are the same.
fn has_identifier(address: Ipv6Addr, identifier: Ipv6Addr) -> bool {
    let rest = u128::MAX >> identifier.to_bits().leading_zeros().min(64);
    (address.to_bits() ^ identifier.to_bits()) & rest == 0
}

#[cfg(test)]
mod tests {
    use super::has_identifier;

    #[test]
    fn an_address_has_an_identifier_in_its_last_bits() {
        for (address, identifier, expected) in [
            ("2001:db8:1::7", "::7", true),
            ("2001:db8:1:5::7", "::7", true),
            ("2001:db8:1:5::7", "::5:0:0:0:7", true),
            ("2001:db8:1:6::7", "::5:0:0:0:7", false),
            ("2001:db8:1:0:1::7", "::7", false),
            ("2001:db8::8", "::7", false),
        ] {
            let [address, identifier] = [address, identifier].map(|text| text.parse().unwrap());
            assert_eq!(has_identifier(address, identifier), expected, "{address} {identifier}");
        }
    }
}

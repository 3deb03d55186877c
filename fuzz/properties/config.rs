//! The configuration.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ddns_cgi::config::Config;
use ddns_cgi::config::audience::Audience;
use ddns_cgi::protocol::dyndns2::Dyndns2;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::protocol::special::PrivateAddresses;
use ddns_cgi::protocol::stamp::TimeZone;
use serde_json::{Map, Value, json};

/// The text of a configuration file.
pub fn config(input: &[u8]) {
    let keys = serde_json::from_slice::<Map<String, Value>>(input).ok();
    let config = match Config::parse(input) {
        Ok(config) => config,
        Err(why) => {
            let are_valid = keys
                .as_ref()
                .is_some_and(|keys| keys.iter().all(|(key, value)| is_valid(key, value)));
            let names_it = |keys: &Map<String, Value>| {
                keys.keys().any(|key| why.contains(&format!("\"{key}\"")))
            };
            assert!(!are_valid || why.contains("three files"), "{why}");
            assert!(keys.is_none_or(|keys| names_it(&keys)), "no key is named: {why}");
            return;
        }
    };
    let keys = keys.unwrap();
    for (key, value) in &keys {
        assert!(is_valid(key, value), "{key}: {value}");
    }
    let files: BTreeSet<&PathBuf> =
        [&config.store.state, &config.store.hosts, &config.store.credentials].into();
    assert_eq!(files.len(), 3, "three files");
    assert_eq!(config.file, None);
    let Value::Object(mut expected) = described(&Config::default()) else { panic!() };
    expected.extend(keys);
    let described_all = described(&config);
    // These have more than one spelling.
    for key in ["publish", "name_server", "status_for"] {
        if let Some(value) = expected.get_mut(key) {
            *value = described_all[key].clone();
        }
    }
    assert_eq!(described_all, Value::Object(expected));
    assert_eq!(Config::parse(described(&config).to_string().as_bytes()), Ok(config));
}

/// The documented table of keys.
fn is_valid(key: &str, value: &Value) -> bool {
    let is_number =
        |range: RangeInclusive<u64>| value.as_u64().is_some_and(|number| range.contains(&number));
    match key {
        "state" | "hosts" | "credentials" => value.as_str().is_some_and(|path| {
            let last = path.split('/').rfind(|part| !part.is_empty() && *part != ".");
            path.starts_with('/') && last.is_some_and(|name| name != "..") && !path.contains('\0')
        }),
        "restart" => is_command(value),
        "name_server" => {
            value.as_str().is_some_and(|text| text == "none" || text.parse::<SocketAddr>().is_ok())
        }
        "publish" => value.as_object().is_some_and(|keys| {
            let has_some =
                |key| keys.get(key).and_then(Value::as_array).is_some_and(|v| !v.is_empty());
            let are_valid = keys.iter().all(|(key, value)| is_valid_of_zones(key, value));
            are_valid && has_some("command") && has_some("zones")
        }),
        "restart_interval" | "lock_timeout" => is_number(0..=3600),
        "window" | "late_after" | "silent_after" => is_number(1..=u64::MAX),
        "status_page" | "login_in_query" | "private_addresses" => value.is_boolean(),
        "status_for" => value.as_array().is_some_and(|entries| {
            entries.iter().all(|entry| entry == "users" || entry.as_str().is_some_and(is_network))
        }),
        "expire_after" => is_number(0..=u64::MAX),
        "time_zone" => value == "UTC" || value == "local",
        "dyndns2" => ["off", "https", "any"].iter().any(|word| value == word),
        _ => false,
    }
}

/// An address, or one whose bits behind the length are 0.
fn is_network(text: &str) -> bool {
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let bits: String = match address {
        IpAddr::V4(address) => format!("{:032b}", address.to_bits()),
        IpAddr::V6(address) => format!("{:0128b}", address.to_bits()),
    };
    let length = match length {
        "" if !text.contains('/') => bits.len(),
        _ => match (0..=bits.len()).find(|number| number.to_string() == length) {
            Some(length) => length,
            None => return false,
        },
    };
    address.to_canonical() == address && !bits[length..].contains('1')
}

/// The documented table of the keys of `publish`.
fn is_valid_of_zones(key: &str, value: &Value) -> bool {
    let is_number =
        |range: RangeInclusive<u64>| value.as_u64().is_some_and(|number| range.contains(&number));
    match key {
        "command" => is_command(value),
        "server" => value.as_str().is_some_and(|text| text.parse::<IpAddr>().is_ok()),
        "port" => is_number(1..=65_535),
        "ttl" => is_number(0..=(1 << 31) - 1),
        "zones" => value.as_array().is_some_and(|names| {
            names.iter().all(|name| {
                name.as_str().is_some_and(|name| {
                    HostName::parse(name.strip_suffix('.').unwrap_or(name)).is_some()
                })
            })
        }),
        _ => false,
    }
}

fn is_command(value: &Value) -> bool {
    let words: Option<Vec<&str>> =
        value.as_array().and_then(|words| words.iter().map(Value::as_str).collect());
    words.is_some_and(|words| {
        !words.iter().any(|word| word.contains('\0'))
            && words.first().is_none_or(|program| {
                program.starts_with('/') || !program.is_empty() && !program.contains('/')
            })
    })
}

/// A configuration as JSON.
fn described(config: &Config) -> Value {
    let mut keys = json!({
        "state": config.store.state,
        "hosts": config.store.hosts,
        "credentials": config.store.credentials,
        "restart": config.publish.restart,
        "restart_interval": config.publish.restart_interval,
        "window": config.protocol.window,
        "time_zone": match config.store.time_zone { TimeZone::Utc => "UTC", TimeZone::Local => "local" },
        "lock_timeout": config.store.lock_timeout,
        "expire_after": config.store.expire_after,
        "dyndns2": match config.protocol.dyndns2.served {
            Dyndns2::Off => "off",
            Dyndns2::Https => "https",
            Dyndns2::Any => "any",
        },
        "login_in_query": config.protocol.dyndns2.login_in_query,
        "private_addresses": config.protocol.private == PrivateAddresses::Allowed,
        "status_page": config.status.page,
        "status_for": described_audience(&config.status.audience),
        "late_after": config.status.late_after,
        "silent_after": config.status.silent_after,
        "name_server": config.publish.name_server.map_or("none".to_owned(), |s| s.to_string()),
    });
    if let Some(zones) = &config.publish.zones {
        keys["publish"] = json!({
            "command": zones.command,
            "server": zones.server.ip(),
            "port": zones.server.port(),
            "zones": zones.names.iter().map(HostName::as_str).collect::<Vec<_>>(),
            "ttl": zones.ttl,
        });
    }
    keys
}

/// The networks in their usual spelling, then the users.
fn described_audience(audience: &Audience) -> Vec<String> {
    let users = audience.users.then(|| "users".to_owned());
    audience.networks.iter().map(ToString::to_string).chain(users).collect()
}

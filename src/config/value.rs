//! The kinds of values. Each error says what the value must be.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde_json::Value;

use crate::protocol::dyndns2::Dyndns2;
use crate::protocol::host::HostName;
use crate::protocol::special::PrivateAddresses;
use crate::protocol::stamp::TimeZone;

/// What a value must be.
type Need = &'static str;

pub(super) fn file(value: &Value) -> Result<PathBuf, Need> {
    value
        .as_str()
        .map(PathBuf::from)
        .filter(|path| path.is_absolute() && path.file_name().is_some())
        .filter(|path| !path.as_os_str().as_encoded_bytes().contains(&0))
        .ok_or("must be the absolute path of a file")
}

pub(super) fn time_zone(value: &Value) -> Result<TimeZone, Need> {
    match value.as_str() {
        Some("UTC") => Ok(TimeZone::Utc),
        Some("local") => Ok(TimeZone::Local),
        _ => Err("must be \"UTC\" or \"local\""),
    }
}

pub(super) fn dyndns2(value: &Value) -> Result<Dyndns2, Need> {
    match value.as_str() {
        Some("off") => Ok(Dyndns2::Off),
        Some("https") => Ok(Dyndns2::Https),
        Some("any") => Ok(Dyndns2::Any),
        _ => Err("must be \"off\", \"https\" or \"any\""),
    }
}

/// `true` allows private addresses.
pub(super) fn private(value: &Value) -> Result<PrivateAddresses, Need> {
    flag(value)
        .map(|allowed| if allowed { PrivateAddresses::Allowed } else { PrivateAddresses::Refused })
}

/// Reads the URL of this server, to which clients add their query. Its characters mean nothing to a
/// shell or to the configuration of a client.
pub fn url(text: &str) -> Result<String, Need> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]%".contains(c);
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(is_plain) => {
            Ok(text.to_owned())
        }
        _ => Err(
            "must be the URL of this server without a query, such as https://ns.example.net/ip.php",
        ),
    }
}

pub(super) fn server_url(value: &Value) -> Result<String, Need> {
    url(value.as_str().unwrap_or_default())
}

pub(super) fn any_seconds(value: &Value) -> Result<u64, Need> {
    value.as_u64().ok_or("must be a whole number of seconds")
}

pub(super) fn positive(value: &Value) -> Result<u64, Need> {
    value
        .as_u64()
        .filter(|seconds| *seconds > 0)
        .ok_or("must be a positive whole number of seconds")
}

/// At most an hour. More must be a mistake, and would keep changes or clients waiting.
pub(super) fn seconds(value: &Value) -> Result<u32, Need> {
    value
        .as_u64()
        .and_then(|seconds| u32::try_from(seconds).ok())
        .filter(|seconds| *seconds <= 3600)
        .ok_or("must be a whole number of seconds from 0 to 3600")
}

pub(super) fn command(value: &Value) -> Result<Vec<String>, Need> {
    const NEED: Need =
        "must be a list of strings: a bare name or an absolute path, then its arguments";
    let words = value.as_array().ok_or(NEED)?;
    let words: Vec<String> = words
        .iter()
        .map(|word| word.as_str().filter(|word| !word.contains('\0')).map(str::to_owned))
        .collect::<Option<_>>()
        .ok_or(NEED)?;
    match words.first() {
        Some(program) if program.is_empty() => Err(NEED),
        Some(program) if program.contains('/') && !program.starts_with('/') => Err(NEED),
        _ => Ok(words),
    }
}

pub(super) fn flag(value: &Value) -> Result<bool, Need> {
    value.as_bool().ok_or("must be true or false")
}

/// `None` for no name server.
pub(super) fn name_server(value: &Value) -> Result<Option<SocketAddr>, Need> {
    const NEED: Need = "must be an address with a port, such as \"127.0.0.1:53\", or \"none\"";
    match value.as_str().ok_or(NEED)? {
        "none" => Ok(None),
        text => text.parse().map(Some).map_err(|_| NEED),
    }
}

pub(super) fn address(value: &Value) -> Result<IpAddr, Need> {
    value.as_str().and_then(|text| text.parse().ok()).ok_or("must be an IP address")
}

pub(super) fn port(value: &Value) -> Result<u16, Need> {
    let port = value.as_u64().and_then(|port| u16::try_from(port).ok());
    port.filter(|port| *port > 0).ok_or("must be a whole number from 1 to 65535")
}

/// RFC 2181, 8: at most 31 bits.
pub(super) fn time_to_live(value: &Value) -> Result<u32, Need> {
    let ttl = value.as_u64().and_then(|ttl| u32::try_from(ttl).ok());
    ttl.filter(|ttl| *ttl < 1 << 31).ok_or("must be a whole number of seconds below 2147483648")
}

/// A name with or without the dot that ends it.
fn host_name(text: &str) -> Option<HostName> {
    HostName::parse(text.strip_suffix('.').unwrap_or(text))
}

pub(super) fn names(value: &Value) -> Result<Vec<HostName>, Need> {
    let names = value
        .as_array()
        .and_then(|names| names.iter().map(|name| host_name(name.as_str()?)).collect());
    names.ok_or("must be a list of names, such as [\"h.example.net\"]")
}

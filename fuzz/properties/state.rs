//! The state, and the hosts file made of it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ddns_cgi::protocol::host::HostName;
use ddns_cgi::protocol::stamp::{Stamp, TimeZone};
use ddns_cgi::store::keys::Keys;
use ddns_cgi::store::{hosts, json, record};
use serde_json::{Map, Value};

use super::json::{Entries, first_line, has_private_names};
use super::{indexed, is_printable, status};

/// A host name, a line feed, and the text of a state, or of a hosts file.
pub fn state(input: &[u8]) {
    let Some((name, text)) = first_line(input) else { return };
    hosts_file(text);
    if has_private_names(text) {
        return;
    }
    let whole = serde_json::from_str::<Entries>(text).ok().map(|entries| entries.0);
    let map = json::parse(text).ok();
    if json::is_empty_map(text) {
        assert_eq!(map, Some(Map::new()));
    } else {
        assert_eq!(map.is_some(), whole.is_some(), "both say whether it is broken");
    }
    // The entries are those of the whole, each where it is said to be.
    let entries = json::entries(text).unwrap_or_default();
    for (entry, (key, value)) in entries.iter().zip(whole.iter().flatten()) {
        assert_eq!(&entry.key, key);
        assert!(text[usize::try_from(entry.start).unwrap()..].starts_with('"'));
        let json = json::text_at(text, &entry.value);
        assert_eq!(&serde_json::from_str::<Value>(json).unwrap(), value);
    }
    if let Some(whole) = whole {
        assert_eq!(entries.len(), whole.len());
        assert_eq!(map, Some(whole.into_iter().collect()), "of equal keys the last one counts");
    }
    let host = HostName::parse(name);
    let last = entries.iter().rfind(|entry| host.as_ref().is_some_and(|host| host.is(&entry.key)));
    let fields = last.and_then(|entry| map.as_ref()?.get(&entry.key)).cloned();

    if let Some(map) = map {
        written_state(&map);
        rendered_state(&map);
        indexed_state(text, &map, name);
        status::shown(&map);
    }
    if let Some(Value::Object(fields)) = fields {
        updated_record(&fields);
    }
}

/// ASCII that PHP can read, and the same after reading and writing it again.
fn written_state(map: &Map<String, Value>) {
    let text = json::to_string(map).unwrap();
    assert!(text.is_ascii() && text.starts_with('{') && text.ends_with('}'));
    let again = json::parse(&text).unwrap();
    assert_eq!(&again, map);
    assert_eq!(json::to_string(&again).unwrap(), text);
}

/// A line for each address of each host name, and nothing else: no interface identifier.
fn rendered_state(map: &Map<String, Value>) {
    let mut expected = Vec::new();
    for (name, fields) in map.iter().filter(|(name, _)| HostName::parse(name).is_some()) {
        for field in ["ip", "ip6"] {
            let text = fields.as_object().and_then(|fields| fields.get(field)?.as_str());
            let address = text.and_then(|text| text.parse::<IpAddr>().ok());
            let shown = address.map(|address| address.to_canonical()).filter(is_published);
            expected.extend(shown.map(|address| format!("{address} {name}\n")));
        }
    }
    let text = hosts::render(map);
    assert_eq!(text, expected.concat());
    assert!(text.lines().all(|line| is_printable(line) && line.split(' ').count() == 2));
    assert!(!text.contains(['#', '\r', '\t']));
    let told = hosts::to_state(&text, TimeZone::Utc);
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(told.keys().map(String::as_str).collect::<BTreeSet<_>>(), names, "no host is lost");
}

/// All addresses are, but those of prefix `::`.
fn is_published(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => {
            address.octets()[..2] != [0, 0] || address.is_unspecified() || address.is_loopback()
        }
    }
}

/// With an index, the same is found as in the strict way, in any layout. A new record in its place
/// makes what the strict way makes of a state as it is written here, and so do a host's new lines.
fn indexed_state(text: &str, map: &Map<String, Value>, name: &str) {
    let anew = json::to_string(map).unwrap();
    for text in [text, &anew] {
        let names = map.keys().map(String::as_str).chain([name]);
        indexed::finds_the_same(text, names, Keys::OfHosts);
    }
    let entries = json::entries(&anew).unwrap();
    let mut before = String::new();
    for (entry, (name, value)) in entries.iter().zip(map) {
        let old = hosts::lines(name, value);
        let Value::Object(fields) = value else { continue };
        let mut new = fields.clone();
        let stamp = Stamp::parse("2012-06-14 15:58:27", TimeZone::Utc).unwrap();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        record::set(&mut new, &address.into(), stamp, TimeZone::Utc);
        let mut strict = map.clone();
        strict.insert(name.clone(), new.clone().into());
        let new = Value::Object(new);
        let [start, end] =
            [entry.value.start, entry.value.end].map(|place| usize::try_from(place).unwrap());
        let record = json::value_to_string(new.clone()).unwrap();
        let spliced = [&anew[..start], &record, &anew[end..]].concat();
        assert_eq!(spliced, json::to_string(&strict).unwrap());
        let all = hosts::render(map);
        let rest = all.strip_prefix(&before).unwrap().strip_prefix(&old).unwrap();
        let spliced = [&before, &hosts::lines(name, &new), rest].concat();
        assert_eq!(spliced, hosts::render(&strict));
        before += &old;
    }
}

/// Address and stamp are stored, other fields stay, and storing them again changes nothing.
fn updated_record(fields: &Map<String, Value>) {
    for (address, stamp) in
        [("192.0.2.1", "2012-06-14 15:58:27"), ("2001:db8::1", "9999-12-31 23:59:59")]
    {
        let address: IpAddr = address.parse().unwrap();
        let stamp = Stamp::parse(stamp, TimeZone::Utc).unwrap();
        let mut new = fields.clone();
        record::set(&mut new, &address.into(), stamp, TimeZone::Utc);
        assert!(record::addresses(&new).any(|stored| stored == address));
        assert_eq!(record::stamp(&new, TimeZone::Utc), Ok(stamp));
        let is_ours = |key: &str| [record::IPV4, record::IPV6, record::UPDATE].contains(&key);
        let others = |map: &Map<String, Value>| {
            map.clone().into_iter().filter(|(key, _)| !is_ours(key)).collect::<Vec<_>>()
        };
        assert_eq!(others(&new), others(fields));
        let once = new.clone();
        record::set(&mut new, &address.into(), stamp, TimeZone::Utc);
        assert_eq!(new, once);
    }
}

/// Any text can be read as a hosts file. The file made from the result says the same, without interface
/// identifiers, which only a hand can write there.
fn hosts_file(text: &str) {
    let told = hosts::to_state(text, TimeZone::Utc);
    assert!(told.keys().all(|name| HostName::parse(name).is_some()));
    let addresses = |fields: &Value, name| {
        let text = fields.get(name).and_then(Value::as_str);
        text.map(|text| text.parse::<IpAddr>().unwrap()).filter(is_published)
    };
    let mut expected = Map::new();
    for (name, fields) in &told {
        let shown = ["ip", "ip6"].map(|family| addresses(fields, family));
        let mut new = Map::new();
        for address in shown.into_iter().flatten() {
            record::set(&mut new, &address.into(), Stamp::NEVER, TimeZone::Utc);
        }
        if !new.is_empty() {
            expected.insert(name.clone(), new.into());
        }
    }
    assert_eq!(hosts::to_state(&hosts::render(&told), TimeZone::Utc), expected);
}

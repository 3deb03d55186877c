//! The state, and the hosts file made of it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ddns_cgi::host::HostName;
use ddns_cgi::sealed::Needle;
use ddns_cgi::stamp::{Stamp, Zone};
use ddns_cgi::{hosts, lookup, php_json, record};
use serde_json::{Map, Value};

use super::json::{Entries, first_line, has_private_names};
use super::{is_printable, sealed, status};

/// A host name, a line feed, and the text of a state, or of a hosts file.
pub fn state(input: &[u8]) {
    let Some((name, text)) = first_line(input) else { return };
    hosts_file(text);
    if has_private_names(text) {
        return;
    }
    let whole = serde_json::from_str::<Entries>(text).ok().map(|entries| entries.0);
    let entry = |is_wanted: &dyn Fn(&str) -> bool| {
        let found = lookup::find(text, is_wanted);
        assert_eq!(found.is_ok(), whole.is_some(), "both say whether it is broken: {found:?}");
        let found = found.ok()?.map(|raw| serde_json::from_str::<Value>(raw.get()).unwrap());
        let last = whole.as_ref()?.iter().rev().find(|(key, _)| is_wanted(key));
        assert_eq!(found.as_ref(), last.map(|(_, value)| value));
        found
    };
    entry(&|key| key == name);
    let host = HostName::parse(name);
    let fields = host.as_ref().and_then(|host| entry(&|key| host.is(key)));
    for (key, _) in whole.iter().flatten() {
        entry(&|wanted| wanted == key);
    }

    let map = lookup::parse_map(text).ok();
    if lookup::is_empty_map(text) {
        assert_eq!(map, Some(Map::new()));
    } else {
        assert_eq!(map, whole.map(|entries| entries.into_iter().collect()));
    }
    if let Some(map) = map {
        written_state(&map);
        rendered_state(&map);
        sealed_state(&map, name);
        status::shown(&map);
    }
    if let Some(Value::Object(fields)) = fields {
        updated_record(&fields);
    }
}

/// ASCII that PHP can read, and the same after reading and writing it again.
fn written_state(map: &Map<String, Value>) {
    let bytes = php_json::to_bytes(map).unwrap();
    assert!(bytes.is_ascii() && bytes.first() == Some(&b'{') && bytes.last() == Some(&b'}'));
    let text = String::from_utf8(bytes).unwrap();
    let again = lookup::parse_map(&text).unwrap();
    assert_eq!(&again, map);
    assert_eq!(php_json::to_bytes(&again).unwrap(), text.as_bytes());
}

/// A line for each address of each host name, and nothing else.
fn rendered_state(map: &Map<String, Value>) {
    let mut expected = Vec::new();
    for (name, fields) in map.iter().filter(|(name, _)| HostName::parse(name).is_some()) {
        for field in ["ip", "ip6"] {
            let text = fields.as_object().and_then(|fields| fields.get(field)?.as_str());
            let address = text.and_then(|text| text.parse::<IpAddr>().ok());
            expected.extend(address.map(|address| format!("{} {name}\n", address.to_canonical())));
        }
    }
    let text = hosts::render(map);
    assert_eq!(text, expected.concat());
    assert!(text.lines().all(|line| is_printable(line) && line.split(' ').count() == 2));
    assert!(!text.contains(['#', '\r', '\t']));
    let told = hosts::to_state(&text, Zone::Utc);
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(told.keys().map(String::as_str).collect::<BTreeSet<_>>(), names, "no host is lost");
}

/// In a state as written here, the fast path finds what the strict way finds, and changes both files as
/// it does.
fn sealed_state(map: &Map<String, Value>, name: &str) {
    let Some(text) = sealed::sealed_state(map) else { return };
    let names = || map.keys().map(String::as_str).chain([name]);
    sealed::finds_the_same(&text, names());
    if !map.is_empty() && text.len() % 4 == 0 {
        sealed::finds_the_same_at_a_border(&text, &names().collect::<Vec<_>>(), text.len() / 4);
    }
    let hosts = hosts::render(map);
    for name in names().filter(|name| HostName::parse(name).is_some()) {
        let Some(entry) = sealed::find(&text, name) else { continue };
        let Some(Value::Object(fields)) = map.get(name) else { continue };
        let of_host = |fields: &Map<String, Value>| {
            Map::from_iter([(name.to_owned(), fields.clone().into())])
        };
        let old = hosts::render(&of_host(fields));
        let mut new = fields.clone();
        let stamp = Stamp::parse("2012-06-14 15:58:27", Zone::Utc).unwrap();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        record::set(&mut new, &address.into(), stamp, Zone::Utc);
        let mut strict = map.clone();
        strict.insert(name.to_owned(), new.clone().into());

        let part = entry.offset..entry.offset + entry.json.len() as u64;
        let value = php_json::value_to_string(new.clone().into()).unwrap();
        assert_eq!(sealed::spliced(&text, part, value), php_json::to_bytes(&strict).unwrap());
        let Some(space) = old.find(' ') else { continue };
        let at = sealed::position(&hosts, &Needle::new(old.clone(), space + 1));
        let Some(at) = at else { panic!("the lines of {name} are not found") };
        let lines =
            sealed::spliced(&hosts, at..at + old.len() as u64, hosts::render(&of_host(&new)));
        assert_eq!(lines, hosts::render(&strict).as_bytes());
    }
}

/// Address and stamp are stored, other fields stay, and storing them again changes nothing.
fn updated_record(fields: &Map<String, Value>) {
    for (address, stamp) in
        [("192.0.2.1", "2012-06-14 15:58:27"), ("2001:db8::1", "9999-12-31 23:59:59")]
    {
        let address: IpAddr = address.parse().unwrap();
        let stamp = Stamp::parse(stamp, Zone::Utc).unwrap();
        let mut new = fields.clone();
        record::set(&mut new, &address.into(), stamp, Zone::Utc);
        assert!(record::addresses(&new).any(|stored| stored == address));
        assert_eq!(record::stamp(&new, Zone::Utc), Ok(stamp));
        let is_ours = |key: &str| [record::IPV4, record::IPV6, record::UPDATE].contains(&key);
        let others = |map: &Map<String, Value>| {
            map.clone().into_iter().filter(|(key, _)| !is_ours(key)).collect::<Vec<_>>()
        };
        assert_eq!(others(&new), others(fields));
        let once = new.clone();
        record::set(&mut new, &address.into(), stamp, Zone::Utc);
        assert_eq!(new, once);
    }
}

/// Any text can be read as a hosts file. The file made from the result says the same.
fn hosts_file(text: &str) {
    let told = hosts::to_state(text, Zone::Utc);
    assert!(told.keys().all(|name| HostName::parse(name).is_some()));
    assert_eq!(hosts::to_state(&hosts::render(&told), Zone::Utc), told);
}

//! The credentials: one user found among all.

use ddns_cgi::protocol::host::HostName;
use ddns_cgi::protocol::user::{Found, SignaturePolicy};
use ddns_cgi::store::credentials;
use ddns_cgi::store::json;
use ddns_cgi::store::keys::Keys;
use serde_json::{Map, Value, json as value};

use super::json::{Entries, first_line, has_private_names};
use super::{indexed, is_printable};

/// A user's name, a line feed, and the text of the credentials.
pub fn credentials(input: &[u8]) {
    let Some((name, text)) = first_line(input) else { return };
    if has_private_names(text) || has_private_names(name) {
        return;
    }
    let is_empty = json::is_empty_map(text);
    let whole = serde_json::from_str::<Entries>(text).ok().map(|entries| entries.0);
    let names = whole.iter().flatten().map(|(key, _)| key.as_str());
    for name in names.chain([name, "user1", "id", "key"]) {
        let last = whole.iter().flatten().rev().find(|(key, _)| key == name);
        let last = last.map(|(_, value)| value);
        let hosts = hosts_of(last);
        let found = credentials::parse(text, name, &hosts);
        assert_eq!(found.is_ok(), is_empty || whole.is_some(), "both say whether it is broken");
        let Ok(found) = found else { continue };
        check_user(found, last);
    }

    let Some(entries) = whole else { return };
    indexed_credentials(text, name, &entries);
    // Escapes are a name too. A name is found nowhere but among the keys of the whole.
    let units: Vec<String> = name.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    let escaped = units.concat();
    if let Ok(found) = credentials::parse(&format!("{{\"{escaped}x\": {text}}}"), name, &[]) {
        assert!(matches!(found, Found::Unknown), "a name within a value is found");
    }
    // Of equal names the last one counts.
    if !entries.is_empty() {
        let before = text.trim_end().strip_suffix('}').unwrap();
        let text = format!("{before}, \"{escaped}\": {{\"key\": \"k\", \"id\": [\"h\"]}}}}");
        let last = value!({"key": "k", "id": ["h"]});
        let found = credentials::parse(&text, name, &hosts_of(Some(&last))).unwrap();
        check_user(found, Some(&last));
    }
}

/// As it is or written anew, with an index the same is found as in the strict way.
fn indexed_credentials(text: &str, name: &str, entries: &[(String, Value)]) {
    let map: Map<_, _> = entries.iter().cloned().collect();
    let anew = json::to_string(&map).unwrap();
    for text in [text, &anew] {
        let names = map.keys().map(String::as_str).chain([name, "user1", "id", "key"]);
        indexed::finds_the_same(text, names, Keys::OfUsers);
    }
}

/// The host names that an entry lists.
fn hosts_of(entry: Option<&Value>) -> Vec<HostName> {
    let list = entry.and_then(|entry| entry.get("id")?.as_array());
    list.into_iter().flatten().filter_map(|host| HostName::parse(host.as_str()?)).collect()
}

/// What was found is what the entry says of host names, read without the product.
fn check_user(found: Found, entry: Option<&Value>) {
    let Some(entry) = entry else {
        assert!(matches!(found, Found::Unknown), "a user that is not there");
        return;
    };
    let key = entry.get("key").and_then(Value::as_str).filter(|key| !key.is_empty());
    let hosts = entry.get("id").and_then(Value::as_array);
    let hosts: Option<Vec<&str>> = hosts.and_then(|all| all.iter().map(Value::as_str).collect());
    let signature = match entry.get("signature") {
        None => Some(SignaturePolicy::Any),
        Some(value) => (value == "hmac-sha256").then_some(SignaturePolicy::HmacSha256),
    };
    match (found, key, hosts.filter(|_| signature.is_some())) {
        (Found::Known(user), Some(key), Some(hosts)) => {
            assert_eq!(user.key.as_bytes(), key.as_bytes());
            let is_name = |host: &&str| HostName::parse(host).is_some();
            assert_eq!(user.hosts, hosts.into_iter().filter(is_name).collect::<Vec<_>>());
            assert_eq!(Some(user.signature), signature);
        }
        (Found::Broken(why), key, hosts) => {
            assert!(key.is_none() || hosts.is_none(), "{why}");
            assert!(is_printable(why));
        }
        (Found::Known(_), ..) => panic!("a user whose entry is broken is known"),
        (Found::Unknown, ..) => panic!("a user is not found"),
    }
}

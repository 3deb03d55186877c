//! dnsmasq's `addn-hosts` file: one line `ADDRESS NAME` for each address of each host.

use std::fmt::Write;
use std::fs::{self, Metadata};
use std::io::{ErrorKind, Write as _};
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::protocol::host::HostName;
use crate::protocol::stamp::{Stamp, TimeZone};
use crate::store::record::{self, Fields};
use crate::store::replace::{Readers, replace_with};

/// dnsmasq reads the file as its own user. If it cannot, all names vanish.
pub(crate) const READERS: Readers = Readers::EverybodyAlways;

/// The hosts file of a state, in the state's order.
#[must_use]
pub fn render(state: &Map<String, Value>) -> String {
    state.iter().map(|(name, record)| lines(name, record)).collect()
}

/// The lines of one host. What is not a host name or not an address never gets into them, and
/// neither does an interface identifier that waits for a prefix.
#[must_use]
pub fn lines(name: &str, record: &impl Fields) -> String {
    let Some(name) = HostName::parse(name) else { return String::new() };
    record::published(record).fold(String::new(), |mut text, address| {
        let _ = writeln!(text, "{address} {name}");
        text
    })
}

/// The state that a hosts file tells of, with stamps that are older than any.
#[must_use]
pub fn to_state(text: &str, zone: TimeZone) -> Map<String, Value> {
    let mut state = Map::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
            continue;
        };
        for name in words.filter_map(HostName::parse) {
            let fields = state.entry(name.as_str()).or_insert_with(|| Map::new().into());
            if let Some(fields) = fields.as_object_mut() {
                record::set(fields, &address.to_canonical().into(), Stamp::NEVER, zone);
            }
        }
    }
    state
}

/// The text of the hosts file; `None` if there is no file.
pub fn read(path: &Path) -> Result<Option<String>, Fault> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::io("read the hosts file", path, &error)),
    }
}

/// Replaces the hosts file. Returns what [`replace_with`] does.
pub fn store(path: &Path, text: &str) -> Result<Metadata, Fault> {
    replace_with(path, |new| new.write_all(text.as_bytes()), READERS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn lines_are_in_the_states_order_ipv6_after_ipv4() {
        let state = state(
            r#"{"b.example": {"ip6": "2001:DB8::1", "ip": "192.0.2.1", "update": "x"},
                "a.example": {"ip": "192.0.2.2"}, "c.example": {"ip": "2001:db8::3"}}"#,
        );
        assert_eq!(
            render(&state),
            "192.0.2.1 b.example\n2001:db8::1 b.example\n192.0.2.2 a.example\n\
             2001:db8::3 c.example\n"
        );
    }

    #[test]
    fn what_is_no_name_or_no_address_has_no_line() {
        let state = state(
            r#"{"a b": {"ip": "192.0.2.1"}, "a\nb": {"ip": "192.0.2.1"}, "a#": {"ip": "192.0.2.1"},
                "": {"ip": "192.0.2.1"}, "x.example": {"ip": "192.0.2.1 y\n"},
                "z.example": {"ip": 5},
                "l.example": [], "t.example": "192.0.2.1", "n.example": null,
                "ok.example": {"ip": "192.0.2.9"}}"#,
        );
        assert_eq!(render(&state), "192.0.2.9 ok.example\n");
    }

    #[test]
    fn an_interface_identifier_has_no_line_and_other_addresses_have() {
        let state = state(
            r#"{"a.example": {"ip": "192.0.2.1", "ip6": "::211:32ff:fe12:3456"},
                "b.example": {"ip": "::7", "ip6": "0:5::7"}, "c.example": {"ip6": "::1"},
                "d.example": {"ip6": "::ffff:192.0.2.4"}, "e.example": {"ip6": "1::"}}"#,
        );
        assert_eq!(
            render(&state),
            "192.0.2.1 a.example\n::1 c.example\n192.0.2.4 d.example\n1:: e.example\n"
        );
    }

    #[test]
    fn a_hosts_file_tells_names_and_addresses_of_a_state() {
        let text = "# comment\n192.0.2.1 a.example alias.example # b.example\n\nnonsense x\n\
                    2001:db8::1 a.example\n192.0.2.2\n192.0.2.3 bad/name\n";
        let state = to_state(text, TimeZone::Utc);
        assert_eq!(
            serde_json::to_string(&state).unwrap(),
            concat!(
                r#"{"a.example":{"ip":"192.0.2.1","ip6":"2001:db8::1","#,
                r#""update":"1970-01-01 00:00:00"},"alias.example":{"#,
                r#""ip":"192.0.2.1","update":"1970-01-01 00:00:00"}}"#
            )
        );
    }

    #[test]
    fn a_hosts_file_may_be_missing_but_not_unreadable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.dns");
        assert_eq!(read(&path).unwrap(), None);
        store(&path, "192.0.2.1 a.example\n").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("192.0.2.1 a.example\n"));
        assert!(read(folder.path()).is_err());
    }

    proptest! {
        #[test]
        fn a_rendered_state_can_be_rebuilt_from_its_hosts_file(
            hosts in prop::collection::btree_map(
                "[a-z]{1,9}\\.example",
                (any::<u32>(), any::<Option<u128>>()),
                0..9,
            ),
        ) {
            let mut state = Map::new();
            for (name, (ip, ip6)) in &hosts {
                let mut fields = Map::new();
                let ip6 = ip6.map(|ip6| IpAddr::V6((ip6 | 1 << 127).into()));
                for address in [Some(IpAddr::V4((*ip).into())), ip6].into_iter().flatten() {
                    record::set(&mut fields, &address.into(), Stamp::NEVER, TimeZone::Utc);
                }
                state.insert(name.clone(), fields.into());
            }
            prop_assert_eq!(to_state(&render(&state), TimeZone::Utc), state);
        }

        #[test]
        fn any_text_can_be_read_as_a_hosts_file(text in "\\PC{0,60}|[0-9a-f.: #\n]{0,60}") {
            let mut state = to_state(&text, TimeZone::Utc);
            let again = to_state(&render(&state), TimeZone::Utc);
            // Only a hand can write an interface identifier there.
            for fields in state.values_mut().filter_map(Value::as_object_mut) {
                if record::identifier(fields).is_some() {
                    fields.shift_remove(record::IPV6);
                }
            }
            state.retain(|_, fields| fields.as_object().is_some_and(|fields| fields.len() > 1));
            prop_assert_eq!(again, state);
        }
    }
}

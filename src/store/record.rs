//! One host's record of the state.

use std::net::{IpAddr, Ipv6Addr};

use serde_json::{Map, Value};

use crate::protocol::addresses::{Action, Addresses};
use crate::protocol::special::is_identifier;
use crate::protocol::stamp::{Stamp, TimeZone};

/// The field of the IPv4 address. A PHP `ip.php` put an IPv6 address there, too.
pub const IPV4: &str = "ip";
/// The field of the IPv6 address.
pub const IPV6: &str = "ip6";
/// The field of the last accepted stamp.
pub const UPDATE: &str = "update";
/// The field of the stamp that gave the host its present addresses. Updates store it for the status
/// page, if that is on.
pub const CHANGED: &str = "changed";

/// The fields of a record that are texts.
pub trait Fields {
    /// The text in a field; `None` if there is no such field, or no text in it.
    fn text(&self, name: &str) -> Option<&str>;
}

impl Fields for Map<String, Value> {
    fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }
}

/// A record need not be an object. Then it has no fields.
impl Fields for Value {
    fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The host's addresses.
    pub addresses: Vec<IpAddr>,
    /// The last accepted stamp; [`Stamp::NEVER`] if there is none.
    pub stamp: Stamp,
}

impl Record {
    /// Whether the host has all that it is to have, and nothing that it is to lose.
    #[must_use]
    pub(crate) fn holds(&self, addresses: &Addresses) -> bool {
        addresses.new_ones().all(|new| self.addresses.contains(&new))
            && !self.addresses.iter().any(|old| addresses.removes(*old))
    }

    /// The IPv6 address whose prefix an update can replace: the last one, as in the hosts file. A
    /// loopback address is in no network that has a prefix.
    #[must_use]
    pub(crate) fn ipv6(&self) -> Option<Ipv6Addr> {
        let ipv6 = |address: &IpAddr| match address {
            IpAddr::V6(address) => Some(*address).filter(|address| !address.is_loopback()),
            IpAddr::V4(_) => None,
        };
        self.addresses.iter().rev().find_map(ipv6)
    }

    /// The addresses that DNS has of the host, as an update would name them.
    #[must_use]
    pub(crate) fn published(&self) -> Addresses {
        let published = self.addresses.iter().filter(|address| as_identifier(**address).is_none());
        published.fold(Addresses::KEPT, |addresses, address| match *address {
            IpAddr::V4(address) => Addresses { ipv4: Action::Set(address), ..addresses },
            IpAddr::V6(address) => Addresses { ipv6: Action::Set(address), ..addresses },
        })
    }

    /// Whether a redundant update leaves the addresses as they are. Only a hand writes two
    /// addresses of one family: of these the update leaves its own. IPv4 comes first.
    #[must_use]
    pub(crate) fn is_in_order(&self) -> bool {
        matches!(*self.addresses, [] | [_] | [IpAddr::V4(_), IpAddr::V6(_)])
    }
}

/// The addresses in the fields of a record that DNS gets, IPv4 first. An interface identifier waits
/// for a prefix.
pub fn published(fields: &impl Fields) -> impl Iterator<Item = IpAddr> {
    addresses(fields).filter(|address| as_identifier(*address).is_none())
}

/// The interface identifier in the fields of a record, if it waits for a prefix.
#[must_use]
pub fn identifier(fields: &impl Fields) -> Option<Ipv6Addr> {
    addresses(fields).find_map(as_identifier)
}

fn as_identifier(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address).filter(|address| is_identifier(*address)),
        IpAddr::V4(_) => None,
    }
}

/// The addresses in the fields of a record, IPv4 first.
pub fn addresses(fields: &impl Fields) -> impl Iterator<Item = IpAddr> {
    [IPV4, IPV6].into_iter().filter_map(|name| address(fields.text(name)?))
}

/// The stamp in the fields of a record. The error says what is wrong with it.
pub fn stamp(fields: &Map<String, Value>, zone: TimeZone) -> Result<Stamp, &'static str> {
    match fields.get(UPDATE) {
        None => Ok(Stamp::NEVER),
        Some(Value::String(text)) if text.is_empty() => Ok(Stamp::NEVER),
        Some(Value::String(text)) => Stamp::parse(text, zone).ok_or(NO_STAMP),
        Some(_) => Err(NO_STAMP),
    }
}

const NO_STAMP: &str =
    "\"update\" is no time stamp: write it as YYYY-MM-DD HH:MM:SS, or remove the record";

/// The stamp that gave a host its addresses, in the fields of its record, whose last accepted stamp
/// is `update`; `None` if it is not known. An update stores no later one, so that is none of ours.
#[must_use]
pub fn changed(fields: &Map<String, Value>, update: Stamp, zone: TimeZone) -> Option<Stamp> {
    let changed = Stamp::parse(fields.text(CHANGED)?, zone)?;
    (Stamp::NEVER < changed && changed <= update).then_some(changed)
}

/// Puts the stamp that gives a host other addresses into the fields of its record. If nobody wants
/// to know (`None`), the stamp of an earlier change goes, since it is not true any more; what is no
/// stamp is not ours, and stays.
pub(crate) fn set_changed(fields: &mut Map<String, Value>, stamp: Option<Stamp>, zone: TimeZone) {
    if let Some(stamp) = stamp {
        fields.insert(CHANGED.to_owned(), stamp.format(zone).into());
    } else if fields.text(CHANGED).is_some_and(|text| Stamp::parse(text, zone).is_some()) {
        fields.shift_remove(CHANGED);
    }
}

/// Puts new addresses and a stamp into the fields of a record. Other fields stay as they are, and
/// so does the address of a family that the update keeps.
pub fn set(fields: &mut Map<String, Value>, new: &Addresses, stamp: Stamp, zone: TimeZone) {
    let kept = addresses(fields).filter(|old| !new.removes(*old));
    let known: Vec<IpAddr> = new.new_ones().chain(kept).collect();
    put(fields, IPV4, known.iter().find(|address| address.is_ipv4()));
    put(fields, IPV6, known.iter().find(|address| address.is_ipv6()));
    fields.insert(UPDATE.to_owned(), stamp.format(zone).into());
}

/// Puts an interface identifier in the place of the IPv6 address: the host waits for a prefix then.
/// Other fields stay as they are, and so does the stamp. Without one, the host gets the stamp that
/// is older than any.
pub fn set_identifier(fields: &mut Map<String, Value>, identifier: Ipv6Addr, zone: TimeZone) {
    if published(fields).any(|address| address.is_ipv6()) {
        // No update gives it the addresses that are left.
        set_changed(fields, None, zone);
    }
    let ipv4 = addresses(fields).find(IpAddr::is_ipv4);
    put(fields, IPV4, ipv4.as_ref());
    put(fields, IPV6, Some(&identifier.into()));
    fields.entry(UPDATE).or_insert_with(|| Stamp::NEVER.format(zone).into());
}

/// Sets the field of an address family. A new one comes to the front, `ip6` after `ip`. Where there
/// is no address of the family, one of the other family goes.
fn put(fields: &mut Map<String, Value>, name: &str, new: Option<&IpAddr>) {
    let Some(new) = new else {
        if fields.text(name).is_some_and(|field| address(field).is_some()) {
            fields.shift_remove(name);
        }
        return;
    };
    let text = Value::from(new.to_string());
    if let Some(field) = fields.get_mut(name) {
        *field = text;
    } else {
        let after = name == IPV6 && fields.keys().next().is_some_and(|first| first == IPV4);
        fields.shift_insert(usize::from(after), name.to_owned(), text);
    }
}

fn address(field: &str) -> Option<IpAddr> {
    Some(field.parse::<IpAddr>().ok()?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    fn after(text: &str, address: &str) -> String {
        let mut fields = fields(text);
        let stamp = Stamp::parse("2012-06-14 15:58:27", TimeZone::Utc).unwrap();
        let address: IpAddr = address.parse().unwrap();
        set(&mut fields, &address.into(), stamp, TimeZone::Utc);
        serde_json::to_string(&fields).unwrap()
    }

    #[test]
    fn each_family_has_its_field_and_the_others_stay() {
        let update = r#""update":"2012-06-14 15:58:27""#;
        for (before, address, expected) in [
            ("{}", "192.0.2.1", format!(r#"{{"ip":"192.0.2.1",{update}}}"#)),
            ("{}", "2001:db8::1", format!(r#"{{"ip6":"2001:db8::1",{update}}}"#)),
            (
                r#"{"ip":"192.0.2.9","update":"x","note":1.0}"#,
                "192.0.2.1",
                format!(r#"{{"ip":"192.0.2.1",{update},"note":1.0}}"#),
            ),
            (
                r#"{"ip":"192.0.2.9","update":"x"}"#,
                "2001:db8::1",
                format!(r#"{{"ip":"192.0.2.9","ip6":"2001:db8::1",{update}}}"#),
            ),
            (
                r#"{"ip6":"2001:db8::9","update":"x"}"#,
                "192.0.2.1",
                format!(r#"{{"ip":"192.0.2.1","ip6":"2001:db8::9",{update}}}"#),
            ),
            (
                r#"{"ip":"2001:db8::9","update":"x"}"#,
                "2001:db8::1",
                format!(r#"{{"ip6":"2001:db8::1",{update}}}"#),
            ),
            (
                r#"{"ip":"2001:db8::9","update":"x"}"#,
                "192.0.2.1",
                format!(r#"{{"ip":"192.0.2.1","ip6":"2001:db8::9",{update}}}"#),
            ),
        ] {
            assert_eq!(after(before, address), expected);
        }
    }

    #[test]
    fn a_family_that_is_removed_goes_from_whichever_field_it_is_in() {
        use Action::{Keep, Remove, Set};
        let both = r#"{"ip":"192.0.2.9","ip6":"2001:db8::9","update":"x","note":1}"#;
        let update = r#""update":"2012-06-14 15:58:27""#;
        for (before, ipv4, ipv6, expected) in [
            (both, Remove, Keep, format!(r#"{{"ip6":"2001:db8::9",{update},"note":1}}"#)),
            (both, Keep, Remove, format!(r#"{{"ip":"192.0.2.9",{update},"note":1}}"#)),
            (both, Remove, Remove, format!(r#"{{{update},"note":1}}"#)),
            (
                both,
                Set("192.0.2.1".parse().unwrap()),
                Remove,
                format!(r#"{{"ip":"192.0.2.1",{update},"note":1}}"#),
            ),
            (r#"{"ip":"2001:db8::9"}"#, Keep, Remove, format!("{{{update}}}")),
            (r#"{"ip":"no address"}"#, Remove, Keep, format!(r#"{{"ip":"no address",{update}}}"#)),
            ("{}", Remove, Remove, format!("{{{update}}}")),
        ] {
            let mut fields = fields(before);
            let stamp = Stamp::parse("2012-06-14 15:58:27", TimeZone::Utc).unwrap();
            let new = Addresses { ipv4, ipv6 };
            set(&mut fields, &new, stamp, TimeZone::Utc);
            assert_eq!(serde_json::to_string(&fields).unwrap(), expected, "{before} {new:?}");
            let record = Record { addresses: addresses(&fields).collect(), stamp };
            assert!(record.holds(&new), "{before} {new:?}");
        }
    }

    #[test]
    fn an_identifier_takes_the_place_of_the_ipv6_address_alone() {
        for (before, expected) in [
            ("{}", r#"{"ip6":"::7","update":"1970-01-01 00:00:00"}"#),
            (
                r#"{"ip":"192.0.2.9","ip6":"2001:db8::9","update":"2012-06-14 15:58:27","note":1}"#,
                r#"{"ip":"192.0.2.9","ip6":"::7","update":"2012-06-14 15:58:27","note":1}"#,
            ),
            (
                r#"{"ip":"192.0.2.9","update":"no stamp"}"#,
                r#"{"ip":"192.0.2.9","ip6":"::7","update":"no stamp"}"#,
            ),
            (r#"{"ip":"2001:db8::9","update":""}"#, r#"{"ip6":"::7","update":""}"#),
            (r#"{"ip6":"::7","update":"x"}"#, r#"{"ip6":"::7","update":"x"}"#),
            (
                r#"{"ip6":"2001:db8::9","update":"x","changed":"y"}"#,
                r#"{"ip6":"::7","update":"x","changed":"y"}"#,
            ),
            (
                r#"{"ip6":"2001:db8::9","update":"x","changed":"2012-06-14 15:58:27"}"#,
                r#"{"ip6":"::7","update":"x"}"#,
            ),
            (
                r#"{"ip":"192.0.2.9","update":"x","changed":"2012-06-14 15:58:27"}"#,
                r#"{"ip":"192.0.2.9","ip6":"::7","update":"x","changed":"2012-06-14 15:58:27"}"#,
            ),
        ] {
            let mut fields = fields(before);
            set_identifier(&mut fields, "::7".parse().unwrap(), TimeZone::Utc);
            assert_eq!(serde_json::to_string(&fields).unwrap(), expected, "{before}");
            assert_eq!(identifier(&fields), Some("::7".parse().unwrap()));
            assert!(published(&fields).all(|address| address.is_ipv4()), "{expected}");
        }
    }

    #[test]
    fn a_record_without_stamp_was_never_updated_but_a_broken_stamp_is_an_error() {
        for text in ["{}", r#"{"update":""}"#] {
            assert_eq!(stamp(&fields(text), TimeZone::Utc), Ok(Stamp::NEVER));
        }
        for text in [r#"{"update":"yesterday"}"#, r#"{"update":5}"#, r#"{"update":null}"#] {
            assert!(stamp(&fields(text), TimeZone::Utc).is_err(), "{text}");
        }
    }

    #[test]
    fn a_change_is_dated_if_somebody_wants_to_know_and_no_old_date_stays() {
        let stamp = Stamp::parse("2012-06-14 15:58:27", TimeZone::Utc);
        let new = r#""changed":"2012-06-14 15:58:27""#;
        for (before, dated, undated) in [
            (r#"{"ip":"192.0.2.1"}"#, format!(r#"{{"ip":"192.0.2.1",{new}}}"#), None),
            (
                r#"{"changed":"2011-01-01 00:00:00","n":1}"#,
                format!(r#"{{{new},"n":1}}"#),
                Some(r#"{"n":1}"#),
            ),
            (r#"{"changed":"by Bob"}"#, format!("{{{new}}}"), None),
            (r#"{"changed":5}"#, format!("{{{new}}}"), None),
        ] {
            for (stamp, expected) in [(stamp, dated.as_str()), (None, undated.unwrap_or(before))] {
                let mut fields = fields(before);
                set_changed(&mut fields, stamp, TimeZone::Utc);
                assert_eq!(serde_json::to_string(&fields).unwrap(), expected, "{before}");
            }
        }
    }

    #[test]
    fn the_stamp_of_a_change_counts_unless_it_is_none_of_ours() {
        let update = "2012-06-14 15:58:27";
        for (text, is_known) in [
            (update, true),
            ("2011-01-01 00:00:00", true),
            ("2012-06-14T15:58:27Z", true),
            ("2012-06-14 15:58:28", false),
            ("1970-01-01 00:00:00", false),
            ("yesterday", false),
            ("", false),
        ] {
            let fields = fields(&format!(r#"{{"changed":"{text}"}}"#));
            let expected = Stamp::parse(text, TimeZone::Utc).filter(|_| is_known);
            let update = Stamp::parse(update, TimeZone::Utc).unwrap();
            assert_eq!(changed(&fields, update, TimeZone::Utc), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        let fields = fields(r#"{"ip":"10.0.0.1 evil","ip6":"2001:db8::1"}"#);
        assert_eq!(addresses(&fields).count(), 1);
    }
}

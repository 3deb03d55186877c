//! What an authentic update means, given what is stored of its host. No clock, no files.

use std::fmt;

use serde_json::{Map, Value};

use crate::protocol::addresses::Addresses;
use crate::protocol::auth::Authentic;
use crate::protocol::stamp::{Clock, Stamp, TimeZone};
use crate::store::record::{self, Record};
use crate::store::state::HostEntry;

/// What is to be done about an authentic update.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The host is new or has other addresses: store both files.
    Changed,
    /// The host has these addresses already: store the stamp.
    Redundant,
    /// The last accepted request again, or another that says the same: store nothing.
    Repeated,
    /// It has only a prefix for the host, which has no IPv6 address: refuse.
    NoIpv6,
    /// Not newer than the last accepted request: refuse.
    Replay {
        /// The last accepted stamp.
        last: Stamp,
    },
}

/// Decides about `update`, given the host's stored record. `addresses` is what the update means for
/// that record.
fn decide(update: &Authentic, addresses: &Addresses, record: Option<&Record>) -> Decision {
    let is_late = update.clock() == Clock::Client
        && record.is_some_and(|record| update.stamp() < record.stamp);
    let is_nothing = *addresses == Addresses::KEPT;
    if is_nothing && !is_late && (record.is_none() || update.wanted().has_prefix()) {
        return Decision::NoIpv6;
    }
    let Some(record) = record else { return Decision::Changed };
    let holds = record.holds(addresses);
    if update.stamp() > record.stamp {
        return if holds { Decision::Redundant } else { Decision::Changed };
    }
    match update.clock() {
        Clock::Client if update.stamp() == record.stamp && holds => Decision::Repeated,
        Clock::Client => Decision::Replay { last: record.stamp },
        // It came after the record, whatever the stamps say: within one second, or after a request
        // of a client whose clock is ahead. The newer stamp stays, so no replay of that one gets
        // through.
        Clock::Server if holds => Decision::Repeated,
        Clock::Server => Decision::Changed,
    }
}

/// What is decided about an update.
#[derive(Debug)]
pub(crate) struct Decided {
    /// The decision.
    pub decision: Decision,
    /// The addresses that the host gets; or has, if the update leaves it alone.
    pub addresses: Addresses,
    /// What is to be stored.
    pub step: Option<Step>,
}

/// An update that is to be stored. Only [`Step::decide`] makes one, so nothing is stored that was
/// not decided about.
#[derive(Debug)]
pub(crate) struct Step {
    update: Authentic,
    addresses: Addresses,
    entry: Option<HostEntry>,
    moves_lines: bool,
    date: Date,
}

/// What becomes of the date in the record since when the host has its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Date {
    Kept,
    Dropped,
    Set,
}

impl Step {
    /// Decides about an update, given the host's entry. `dates_changes` tells whether records say
    /// since when hosts have their addresses.
    pub(crate) fn decide(
        update: Authentic,
        entry: Option<HostEntry>,
        dates_changes: bool,
    ) -> Decided {
        let record = entry.as_ref().map(|entry| &entry.record);
        let addresses = update.wanted().for_host_with(record.and_then(Record::ipv6));
        let decision = decide(&update, &addresses, record);
        let told = match record {
            Some(record) if addresses == Addresses::KEPT => record.published(),
            Some(_) | None => addresses,
        };
        // A redundant update makes one of two spellings of a name, and puts addresses in order that
        // a hand wrote: then the hosts file changes, too.
        let is_in_order =
            entry.as_ref().is_some_and(|entry| entry.is_only_one && entry.record.is_in_order());
        let step = |moves_lines, date| Some(Self { update, addresses, entry, moves_lines, date });
        let step = match decision {
            Decision::Changed if dates_changes => step(true, Date::Set),
            Decision::Changed => step(true, Date::Dropped),
            Decision::Redundant => step(!is_in_order, Date::Kept),
            Decision::Repeated | Decision::NoIpv6 | Decision::Replay { .. } => None,
        };
        Decided { decision, addresses: told, step }
    }

    /// The update.
    #[must_use]
    pub(crate) fn update(&self) -> &Authentic {
        &self.update
    }

    /// The host's entry before it.
    #[must_use]
    pub(crate) fn entry(&self) -> Option<&HostEntry> {
        self.entry.as_ref()
    }

    /// Whether the lines of the hosts file change.
    #[must_use]
    pub(crate) fn moves_lines(&self) -> bool {
        self.moves_lines
    }

    /// The fields of the host's record after it.
    #[must_use]
    pub(crate) fn fields_after(&self, zone: TimeZone) -> Map<String, Value> {
        let entry = self.entry.as_ref();
        let mut fields = entry.map(|entry| entry.fields.clone()).unwrap_or_default();
        record::set(&mut fields, &self.addresses, self.stamp(), zone);
        match self.date {
            Date::Kept => {}
            Date::Dropped => record::set_changed(&mut fields, None, zone),
            Date::Set => record::set_changed(&mut fields, Some(self.stamp()), zone),
        }
        fields
    }

    /// The stamp to store, which is never older than the stored one.
    #[must_use]
    pub(crate) fn stamp(&self) -> Stamp {
        let last = self.entry.as_ref().map_or(Stamp::NEVER, |entry| entry.record.stamp);
        self.update.stamp().max(last)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.update.host(), self.addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::addresses::{Action, Addresses};
    use crate::protocol::stamp::TimeZone;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv6Addr};

    fn decided(update: &Authentic, record: Option<&Record>) -> Decision {
        let addresses = update.wanted().for_host_with(record.and_then(Record::ipv6));
        decide(update, &addresses, record)
    }

    #[test]
    fn the_stored_stamp_and_addresses_decide() {
        let stamp = |second: u8| {
            Stamp::parse(&format!("2012-06-14 15:58:{second:02}"), TimeZone::Utc).unwrap()
        };
        let record = Record {
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            stamp: stamp(30),
        };
        let replay = Decision::Replay { last: stamp(30) };
        for (second, address, expected) in [
            (31, "192.0.2.1", Decision::Redundant),
            (31, "2001:db8::1", Decision::Redundant),
            (31, "192.0.2.2", Decision::Changed),
            (31, "2001:db8::2", Decision::Changed),
            (30, "192.0.2.1", Decision::Repeated),
            (30, "192.0.2.2", replay),
            (29, "192.0.2.1", replay),
            (29, "192.0.2.2", replay),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let update = Authentic::for_test("host1", address, stamp(second));
            assert_eq!(decided(&update, Some(&record)), expected, "{second} {address}");
        }
        let update = Authentic::for_test("host1", Addresses::REMOVED, stamp(0));
        assert_eq!(decided(&update, None), Decision::Changed);
    }

    #[test]
    fn each_family_counts_by_itself() {
        let stamp = |text| Stamp::parse(text, TimeZone::Utc).unwrap();
        let [old, new] = ["2012-06-14 15:58:30", "2012-06-14 15:58:31"].map(stamp);
        let (ipv4, ipv6) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let keep = Addresses::KEPT;
        let (set4, set6) = (Action::Set(ipv4), Action::Set(ipv6));
        let both = vec![IpAddr::V4(ipv4), IpAddr::V6(ipv6)];
        let only4 = vec![IpAddr::V4(ipv4)];
        let replay = Decision::Replay { last: old };
        for (stored, update, first, again) in [
            // The second request of the same second, about the other family: nothing tells it from
            // an older one that somebody kept back. If the state says the same, it does no harm.
            (&only4, Addresses { ipv6: set6, ..keep }, Decision::Changed, replay),
            (&both, Addresses { ipv6: set6, ..keep }, Decision::Redundant, Decision::Repeated),
            (&both, Addresses { ipv4: set4, ipv6: set6 }, Decision::Redundant, Decision::Repeated),
            (&only4, Addresses { ipv4: set4, ipv6: set6 }, Decision::Changed, replay),
            (&both, Addresses { ipv6: Action::Remove, ..keep }, Decision::Changed, replay),
            (
                &only4,
                Addresses { ipv6: Action::Remove, ..keep },
                Decision::Redundant,
                Decision::Repeated,
            ),
            (&both, Addresses { ipv4: set4, ipv6: Action::Remove }, Decision::Changed, replay),
            (&both, Addresses::REMOVED, Decision::Changed, replay),
        ] {
            let record = Record { addresses: stored.clone(), stamp: old };
            for (stamp, expected) in [(new, first), (old, again)] {
                let decision = decided(&Authentic::for_test("host1", update, stamp), Some(&record));
                assert_eq!(decision, expected, "{stored:?} {update:?}");
            }
        }
    }

    #[test]
    fn a_prefix_moves_the_stored_address_and_gives_nobody_a_first_one() {
        use crate::protocol::addresses::{NewIpv6, Wanted};
        use crate::protocol::prefix::Prefix;
        let stamp = |text| Stamp::parse(text, TimeZone::Utc).unwrap();
        let [old, new] = ["2012-06-14 15:58:30", "2012-06-14 15:58:31"].map(stamp);
        let prefix = NewIpv6::Prefix(Prefix::parse("2001:db8:1::/64").unwrap());
        let alone = Wanted { ipv4: Action::Keep, ipv6: Action::Set(prefix) };
        let with4 = Wanted { ipv4: Action::Set("192.0.2.1".parse().unwrap()), ..alone };
        let replay = Decision::Replay { last: old };
        let nothing = Decision::NoIpv6;
        for (stored, wanted, first, again) in [
            (&["2001:db8:9::7"][..], alone, Decision::Changed, replay),
            (&["2001:db8:1::7"], alone, Decision::Redundant, Decision::Repeated),
            (&["192.0.2.1", "::7"], alone, Decision::Changed, replay),
            (&["192.0.2.1", "::7"], with4, Decision::Changed, replay),
            (&["192.0.2.1"], alone, nothing, nothing),
            (&["192.0.2.1", "::1"], alone, nothing, nothing),
            (&["192.0.2.1"], with4, Decision::Redundant, Decision::Repeated),
            (&["192.0.2.9"], with4, Decision::Changed, replay),
        ] {
            let addresses = stored.iter().map(|text| text.parse().unwrap()).collect();
            let record = Record { addresses, stamp: old };
            for (stamp, expected) in [(new, first), (old, again)] {
                let update = Authentic::for_test("host1", wanted, stamp);
                assert_eq!(decided(&update, Some(&record)), expected, "{stored:?} {wanted:?}");
            }
            let late = Authentic::for_test("host1", wanted, stamp("2012-06-14 15:58:29"));
            assert_eq!(decided(&late, Some(&record)), replay, "{stored:?} {wanted:?}");
        }
        let update = |wanted| Authentic::for_test("host1", wanted, new);
        assert_eq!(decided(&update(alone), None), nothing);
        // An update may leave a host alone, such as that of a router.
        let nothing_named = Authentic::for_test("host1", Addresses::KEPT, new);
        let record = Record { addresses: Vec::new(), stamp: old };
        assert_eq!(decided(&nothing_named, Some(&record)), Decision::Redundant);
        assert_eq!(decided(&nothing_named, None), nothing);
        let ancient = Authentic::for_test("host1", alone, stamp("1969-07-20 20:17:40"));
        assert_eq!(decided(&ancient, None), nothing, "whatever the stamp");
        assert_eq!(decided(&update(with4), None), Decision::Changed);
        // By the server's clock, nothing is a replay, and nobody gets an address from nothing.
        let record = Record { addresses: Vec::new(), stamp: new };
        let update = Authentic::for_test("host1", alone, old).by_server_clock();
        assert_eq!(decided(&update, Some(&record)), nothing);
    }

    #[test]
    fn by_the_servers_clock_nothing_is_a_replay() {
        let stamp = |text| Stamp::parse(text, TimeZone::Utc).unwrap();
        let stored = stamp("2012-06-14 15:58:30");
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let record = Record { addresses: vec![address], stamp: stored };
        for (time, same, other) in [
            ("2012-06-14 15:58:31", Decision::Redundant, Decision::Changed),
            ("2012-06-14 15:58:30", Decision::Repeated, Decision::Changed),
            ("2012-06-14 15:58:20", Decision::Repeated, Decision::Changed),
        ] {
            for (address, expected) in [("192.0.2.1", same), ("192.0.2.2", other)] {
                let address: IpAddr = address.parse().unwrap();
                let update = Authentic::for_test("host1", address, stamp(time)).by_server_clock();
                assert_eq!(decided(&update, Some(&record)), expected, "{time} {address}");
            }
        }
    }

    proptest! {
        #[test]
        fn an_update_stores_the_bits_of_the_prefix_and_the_rest_of_the_stored_address(
            bits in any::<u128>(), length in 1..=127_u8, stored in any::<u128>(), own in 0..3,
        ) {
            use crate::protocol::addresses::{NewIpv6, Wanted};
            use crate::protocol::prefix::Prefix;
            // The prefix of a network, a network that has the address already, or an identifier.
            let [prefix, stored] = match own {
                0 => [bits, stored],
                1 => [stored, stored],
                _ => [bits, stored >> 64],
            };
            let zeros = u32::from(128 - length);
            let first = Ipv6Addr::from(prefix >> zeros << zeros);
            let stored = Ipv6Addr::from(stored);
            let Ok(prefix) = Prefix::parse(&format!("{first}/{length}")) else { return Ok(()) };
            prop_assume!(stored.to_ipv4_mapped().is_none() && !stored.is_loopback());
            let wanted = Wanted {
                ipv4: Action::Keep,
                ipv6: Action::Set(NewIpv6::Prefix(prefix)),
            };
            let stamp = |text| Stamp::parse(text, TimeZone::Utc).unwrap();
            let mut fields = Map::new();
            let old = stamp("2012-06-14 15:58:30");
            record::set(&mut fields, &IpAddr::V6(stored).into(), old, TimeZone::Utc);
            let record = Record { addresses: record::addresses(&fields).collect(), stamp: old };
            let update = Authentic::for_test("host1", wanted, stamp("2012-06-14 15:58:31"));
            let decision = decided(&update, Some(&record));
            let addresses = wanted.for_host_with(record.ipv6());
            // As text, bit for bit.
            let digits = |address: Ipv6Addr| format!("{:0128b}", address.to_bits());
            let at = usize::from(length);
            let expected = digits(first)[..at].to_owned() + &digits(stored)[at..];
            let expected = Ipv6Addr::from(u128::from_str_radix(&expected, 2).unwrap());
            prop_assert_eq!(addresses, IpAddr::V6(expected).into());
            let is_same = stored == expected;
            prop_assert_eq!(
                decision,
                if is_same { Decision::Redundant } else { Decision::Changed }
            );
            record::set(&mut fields, &addresses, update.stamp(), TimeZone::Utc);
            prop_assert_eq!(&fields["ip6"], &Value::from(expected.to_string()));
        }
    }
}

//! What an authentic update means, given the stored record. No clock, no files.

use crate::auth::Authentic;
use crate::record::Record;
use crate::stamp::Stamp;

/// What is to be done about an authentic update.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The host is new or has another address: store both files.
    Changed,
    /// The host has this address already: store the stamp.
    Redundant,
    /// The very request that was accepted last, delivered again: store nothing.
    Repeated,
    /// Not newer than the last accepted request: refuse.
    Replay {
        /// The last accepted stamp.
        last: Stamp,
    },
}

/// Decides about `update`, given the host's stored record.
pub fn decide(update: &Authentic, record: Option<&Record>) -> Decision {
    let Some(record) = record else { return Decision::Changed };
    let holds = record.holds(update.address());
    if update.stamp() == record.stamp && holds {
        Decision::Repeated
    } else if update.stamp() <= record.stamp {
        Decision::Replay { last: record.stamp }
    } else if holds {
        Decision::Redundant
    } else {
        Decision::Changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Zone;

    #[test]
    fn the_stored_stamp_and_addresses_decide() {
        let stamp =
            |second: u8| Stamp::parse(&format!("2012-06-14 15:58:{second:02}"), Zone::Utc).unwrap();
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
            let update = Authentic::for_test("host1", address, stamp(second));
            assert_eq!(decide(&update, Some(&record)), expected, "{second} {address}");
        }
        let update = Authentic::for_test("host1", "192.0.2.1", stamp(0));
        assert_eq!(decide(&update, None), Decision::Changed);
    }
}

//! Expiry: hosts that are silent for too long leave DNS, and stay in the state.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::config::Store;
use crate::protocol::stamp::{Stamp, TimeZone};
use crate::store::hosts;
use crate::store::record::{self, Fields};

/// Which hosts have expired at one moment: key `expire_after`.
#[derive(Clone, Copy, Debug)]
pub struct Expiry {
    /// The seconds for which a host may be silent.
    limit: Option<u64>,
    zone: TimeZone,
    now: DateTime<Utc>,
}

impl Expiry {
    /// What the settings say of this moment.
    #[must_use]
    pub fn at(now: DateTime<Utc>, settings: &Store) -> Self {
        let limit = Some(settings.expire_after).filter(|seconds| *seconds > 0);
        Self { limit, zone: settings.time_zone, now }
    }

    /// Whether hosts expire at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.limit.is_some()
    }

    /// Whether the host with this record has expired.
    ///
    /// A host whose last update is unknown has not. Otherwise all hosts of a state that was rebuilt
    /// from the hosts file would be gone at once.
    #[must_use]
    pub fn is_over(&self, record: &impl Fields) -> bool {
        let (Some(limit), Some(update)) = (self.limit, record.text(record::UPDATE)) else {
            return false;
        };
        let Some(stamp) = Stamp::parse(update, self.zone) else { return false };
        let ahead = stamp.seconds_ahead_of(self.now);
        stamp != Stamp::NEVER && ahead < 0 && ahead.unsigned_abs() > limit
    }

    /// The hosts file of a state, with the hosts that DNS serves.
    #[must_use]
    pub fn hosts_file(&self, state: &Map<String, Value>) -> String {
        self.current(state).map(|(name, record)| hosts::lines(name, record)).collect()
    }

    /// The part of a state that DNS serves.
    #[must_use]
    pub fn served<'s>(&self, state: &'s Map<String, Value>) -> Cow<'s, Map<String, Value>> {
        if !self.is_on() {
            return Cow::Borrowed(state);
        }
        let served = self.current(state);
        Cow::Owned(served.map(|(host, record)| (host.clone(), record.clone())).collect())
    }

    /// The hosts that have not expired.
    fn current<'s>(
        &self,
        state: &'s Map<String, Value>,
    ) -> impl Iterator<Item = (&'s String, &'s Value)> {
        state.iter().filter(|(_, record)| !self.is_over(*record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use serde_json::json;

    const HOUR: u64 = 3600;

    fn state() -> Map<String, Value> {
        let state = json!({
            "old.example": {"ip": "192.0.2.1", "update": "2026-11-23 11:00:00"},
            "never.example": {"ip": "192.0.2.2", "update": "1970-01-01 00:00:00"},
            "none.example": {"ip": "192.0.2.3"},
            "broken.example": {"ip": "192.0.2.4", "update": "yesterday"},
            "no-record.example": [],
            "new.example": {"ip": "192.0.2.5", "update": "2026-11-23 12:00:00"},
            "ahead.example": {"ip": "192.0.2.6", "update": "2999-01-01 00:00:00"},
        });
        serde_json::from_value(state).unwrap()
    }

    /// Who is not served after so many seconds from 11 o'clock.
    fn expired(after: i64, expire_after: u64) -> Vec<String> {
        let settings = Store { expire_after, ..Store::default() };
        let start = DateTime::parse_from_rfc3339("2026-11-23T11:00:00Z").unwrap().to_utc();
        let expiry = Expiry::at(start + TimeDelta::seconds(after), &settings);
        let state = state();
        let served = expiry.served(&state);
        assert!(served.keys().eq(state.keys().filter(|host| served.contains_key(*host))));
        state.keys().filter(|host| !served.contains_key(*host)).cloned().collect()
    }

    #[test]
    fn a_host_expires_when_it_was_silent_for_longer_than_the_limit() {
        assert!(expired(3600, HOUR).is_empty());
        assert_eq!(expired(3601, HOUR), ["old.example"]);
        assert_eq!(expired(7201, HOUR), ["old.example", "new.example"]);
        assert!(expired(7201, u64::MAX).is_empty());
    }

    #[test]
    fn the_hosts_file_has_the_hosts_that_are_served() {
        let settings = Store { expire_after: HOUR, ..Store::default() };
        let now = DateTime::parse_from_rfc3339("2026-11-23T12:30:00Z").unwrap().to_utc();
        let (state, expiry) = (state(), Expiry::at(now, &settings));
        let served = hosts::render(&expiry.served(&state));
        assert!(served.contains("new.example") && !served.contains("old.example"), "{served}");
        assert_eq!(expiry.hosts_file(&state), served);
    }

    #[test]
    fn without_a_limit_no_host_expires() {
        assert!(expired(1_000_000_000, 0).is_empty());
        let (state, settings) = (state(), Store::default());
        assert!(matches!(Expiry::at(Utc::now(), &settings).served(&state), Cow::Borrowed(_)));
    }
}

//! The status page: what the state and the mark say at one moment, for people, programs and Prometheus.
//!
//! A [`Status`] is made without files and clocks, and so is what is shown of it. It says nothing that is
//! for the operator's shell alone: no key, no path of a file.

mod format;
mod html;
mod json;
mod metrics;

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

pub use self::format::Format;
use crate::config::Config;
use crate::fault::Fault;
use crate::protocol::host::HostName;
use crate::protocol::stamp::Stamp;
use crate::publish::mark::Mark;
use crate::store::expiry::Expiry;
use crate::store::record;
use crate::store::state;

/// All that the page shows.
#[derive(Debug)]
pub struct Status {
    /// The moment of which it tells.
    pub now: DateTime<Utc>,
    /// The hosts: what needs a look comes first, then by name.
    pub hosts: Vec<Host>,
    /// Whether dnsmasq serves what the state says.
    pub restart: Restart,
    /// What the conditions mean.
    pub limits: Limits,
}

/// One host of the state.
#[derive(Debug)]
pub struct Host {
    /// Its key in the state, which anybody may have written: not always a host name.
    pub name: String,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Its last accepted stamp; `None` where it is not known.
    pub update: Option<Stamp>,
    /// Seconds since then; negative where it is ahead of the clock.
    pub age: Option<i64>,
    /// What to think of that.
    pub condition: Condition,
    /// Whether it has left DNS, since it was silent for longer than `expire_after`.
    pub has_expired: bool,
}

/// What to think of a host, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Its updates are refused, or dnsmasq does not get it, until somebody mends its record.
    Broken,
    /// No update for [`Limits::silent_after`], or ever.
    Silent,
    /// No update for [`Limits::late_after`].
    Late,
    /// All is well.
    Fresh,
}

/// What the conditions mean, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The age from which a host is late.
    pub late_after: u64,
    /// The age from which it is silent.
    pub silent_after: u64,
    /// How far ahead of the clock a stamp may be.
    pub window: u64,
}

/// Whether dnsmasq serves what the state says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It does.
    Done,
    /// A change waits for a restart.
    Pending,
    /// The last restart failed, and the next update tries again.
    Failed {
        /// Why, without the folders of files.
        reason: String,
    },
}

impl Status {
    /// Reads state and mark, without a lock.
    pub fn look(config: &Config, now: DateTime<Utc>) -> Result<Self, Fault> {
        let state = state::snapshot(&config.store)?;
        let mark = Mark::read(&config.store.hosts)?;
        Ok(Self::of(&state, mark.as_ref(), config, now))
    }

    /// What a state and a mark mean at this moment.
    #[must_use]
    pub fn of(
        state: &Map<String, Value>,
        mark: Option<&Mark>,
        config: &Config,
        now: DateTime<Utc>,
    ) -> Self {
        let limits = Limits {
            late_after: config.status.late_after,
            silent_after: config.status.silent_after,
            window: config.protocol.window,
        };
        let expiry = Expiry::at(now, &config.store);
        let host = |(name, record): (&String, &Value)| {
            let fields = record.as_object();
            let stamp =
                fields.and_then(|fields| record::stamp(fields, config.store.time_zone).ok());
            let update = stamp.filter(|stamp| *stamp != Stamp::NEVER);
            let age = update.map(|stamp| -stamp.seconds_ahead_of(now));
            let is_whole = stamp.is_some() && HostName::parse(name).is_some();
            Host {
                name: name.clone(),
                addresses: fields.map(addresses).unwrap_or_default(),
                update,
                age,
                condition: if is_whole { Condition::of(age, limits) } else { Condition::Broken },
                has_expired: expiry.is_over(record),
            }
        };
        let mut hosts: Vec<Host> = state.iter().map(host).collect();
        hosts.sort_by_cached_key(|host| (host.condition, host.name.to_ascii_lowercase()));
        Self { now, hosts, restart: Restart::of(mark), limits }
    }

    /// How many hosts are in this condition.
    #[must_use]
    pub fn count(&self, condition: Condition) -> usize {
        self.hosts.iter().filter(|host| host.condition == condition).count()
    }
}

/// Each address once, also where a hand wrote it into both fields.
fn addresses(fields: &Map<String, Value>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = record::addresses(fields).collect();
    addresses.dedup();
    addresses
}

impl Condition {
    /// All of them, the best first.
    pub const ALL: [Self; 4] = [Self::Fresh, Self::Late, Self::Silent, Self::Broken];

    /// The condition of a host whose last update is so many seconds old.
    fn of(age: Option<i64>, limits: Limits) -> Self {
        let Some(age) = age else { return Self::Silent };
        match u64::try_from(age) {
            Ok(age) if age >= limits.silent_after => Self::Silent,
            Ok(age) if age >= limits.late_after => Self::Late,
            Ok(_) => Self::Fresh,
            // A stamp within the window may be ahead. Another makes replays of all updates until then.
            Err(_) if age.unsigned_abs() <= limits.window => Self::Fresh,
            Err(_) => Self::Broken,
        }
    }

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Silent => "silent",
            Self::Late => "late",
            Self::Fresh => "fresh",
        }
    }
}

impl Restart {
    fn of(mark: Option<&Mark>) -> Self {
        let Some(mark) = mark else { return Self::Done };
        match mark.failure() {
            Some(reason) => Self::Failed { reason: without_folders(reason) },
            None => Self::Pending,
        }
    }

    /// Why the last restart failed.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match self {
            Self::Failed { reason } => Some(reason),
            Self::Pending | Self::Done => None,
        }
    }
}

/// A text with the bare names of the files in it. Where things are on this machine is for nobody who
/// only looks at it from outside.
fn without_folders(text: &str) -> String {
    let words: Vec<&str> =
        text.split(' ').map(|word| word.rsplit('/').next().unwrap_or_default()).collect();
    words.join(" ")
}

/// A text that anybody may have written, in printable ASCII, so that it looks like what it is: nothing
/// in it turns the direction of writing, hides, or looks like other letters.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' '..='~' => shown.push(c),
            _ => shown.extend(c.escape_default()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use serde_json::json;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_410_000, 0).unwrap()
    }

    fn ago(seconds: i64) -> String {
        (now() - TimeDelta::seconds(seconds)).format("%Y-%m-%d %H:%M:%S").to_string()
    }

    pub(super) fn status(state: &Value) -> Status {
        Status::of(state.as_object().unwrap(), None, &Config::default(), now())
    }

    #[test]
    fn who_has_left_dns_is_said_to_have() {
        let state = json!({
            "here": {"ip": "192.0.2.1", "update": "2026-11-23 05:00:00"},
            "gone": {"ip": "192.0.2.2", "update": "2026-11-13 05:00:00"},
        });
        for (expire_after, expired) in [(0, [false, false]), (7 * 86_400, [true, false])] {
            let config = Config {
                store: config::Store { expire_after, ..Default::default() },
                ..Default::default()
            };
            let status = Status::of(state.as_object().unwrap(), None, &config, now());
            let found: Vec<bool> = status.hosts.iter().map(|host| host.has_expired).collect();
            assert_eq!(found, expired);
            let count = expired.iter().filter(|expired| **expired).count();
            for (page, text) in [
                (html::page(&status), ">left DNS<"),
                (json::page(&status), "\"expired\": true"),
                (metrics::page(&status), "ddns_host_expired{host=\"gone\"} 1"),
            ] {
                assert_eq!(page.matches(text).count(), count, "{page}");
            }
        }
    }

    #[test]
    fn the_age_of_the_last_update_decides() {
        use Condition::{Broken, Fresh, Late, Silent};
        for (seconds, age, condition) in [
            (0, 0, Fresh),
            (3599, 3599, Fresh),
            (3600, 3600, Late),
            (86_399, 86_399, Late),
            (86_400, 86_400, Silent),
            (-15, -15, Fresh),
            (-16, -16, Broken),
        ] {
            let status = status(&json!({"a.example": {"ip": "192.0.2.1", "update": ago(seconds)}}));
            let host = &status.hosts[0];
            assert_eq!((host.age, host.condition), (Some(age), condition), "{seconds}");
        }
    }

    #[test]
    fn what_is_not_known_is_silent_and_what_has_to_be_mended_is_broken() {
        use Condition::{Broken, Fresh, Silent};
        for (name, record, condition, addresses) in [
            ("a.example", json!({"ip": "192.0.2.1"}), Silent, 1),
            ("a.example", json!({"ip": "192.0.2.1", "update": "1970-01-01 00:00:00"}), Silent, 1),
            ("a.example", json!({"ip": "192.0.2.1", "update": "yesterday"}), Broken, 1),
            ("a.example", json!({"update": 5}), Broken, 0),
            ("a.example", json!("192.0.2.1"), Broken, 0),
            ("a.example", json!({"ip": "x", "update": ago(0)}), Fresh, 0),
            ("a b", json!({"ip": "192.0.2.1", "update": ago(0)}), Broken, 1),
            ("", json!({"ip": "192.0.2.1", "ip6": "192.0.2.1", "update": ago(0)}), Broken, 1),
        ] {
            let status = status(&json!({name: record}));
            let host = &status.hosts[0];
            assert_eq!(host.condition, condition, "{name} {record}");
            assert_eq!(host.addresses.len(), addresses, "{name} {record}");
        }
    }

    #[test]
    fn what_needs_a_look_comes_first() {
        let status = status(&json!({
            "b.example": {"update": ago(1)}, "A.example": {"update": ago(2)},
            "c.example": {"update": ago(4000)}, "d.example": {}, "e.example": 5,
        }));
        let names: Vec<&str> = status.hosts.iter().map(|host| host.name.as_str()).collect();
        assert_eq!(names, ["e.example", "d.example", "c.example", "A.example", "b.example"]);
        assert_eq!(Condition::ALL.map(|condition| status.count(condition)), [2, 1, 1, 1]);
    }

    #[test]
    fn the_limits_are_the_operators() {
        let config = Config {
            status: config::Status { late_after: 10, silent_after: 20, ..Default::default() },
            ..Default::default()
        };
        let state =
            json!({"a": {"update": ago(9)}, "b": {"update": ago(10)}, "c": {"update": ago(20)}});
        let status = Status::of(state.as_object().unwrap(), None, &config, now());
        assert_eq!(Condition::ALL.map(|condition| status.count(condition)), [1, 1, 1, 0]);
    }

    #[test]
    fn the_reason_of_a_failed_restart_names_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("hosts.dns");
        let read = || Restart::of(Mark::read(&hosts).unwrap().as_ref());
        assert_eq!(read(), Restart::Done);
        Mark::add(&hosts, "a.example 192.0.2.1").unwrap();
        assert_eq!(read(), Restart::Pending);
        Mark::fail(&hosts, "/media/data/ip.txt: cannot open (see '/etc/x/'): a b").unwrap();
        let reason = "ip.txt: cannot open (see '): a b".to_owned();
        assert_eq!(read(), Restart::Failed { reason });
    }

    proptest! {
        #[test]
        fn any_state_can_be_shown(
            map in prop::collection::btree_map("\\PC{0,9}|[\0-\u{7f}]{0,9}", "\\PC{0,9}", 0..9),
            seconds in any::<u32>(),
        ) {
            let record = |(name, text): (&String, &String)| {
                (name.clone(), json!({"ip": text, "update": ago(seconds.into()), "x": text}))
            };
            let status = status(&Value::Object(map.iter().map(record).collect()));
            prop_assert_eq!(status.hosts.len(), map.len());
            for format in Format::ALL {
                let _ = format.page(&status);
            }
        }

        #[test]
        fn what_is_shown_is_printable_and_tells_texts_apart(one in "\\PC{0,5}", other in "\\PC{0,5}") {
            prop_assert!(visible(&one).bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            if !one.contains('\\') && !other.contains('\\') {
                prop_assert_eq!(visible(&one) == visible(&other), one == other);
            }
        }
    }
}

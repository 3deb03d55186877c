//! The status page: shows at a glance how all hosts are doing, to people, programs and Prometheus.
//!
//! What comes in is a look at the state, at the marks of pending changes and at who owns which
//! host, as they are at one moment, without a lock. What goes out is a page. In between there is
//! one value, a [`Status`], which knows no files and no clock. The page only looks: it writes
//! nothing and starts nothing. It shows nothing that only the operator may see, such as a key or a
//! folder.
//!
//! - `viewer`: who may see it,
//! - [`view`]: what somebody asks to see of it,
//! - `format`: the three forms of the page, and which of them a client wants,
//! - `html`, `json` and `metrics`: one form each.

pub mod format;
mod html;
mod json;
mod metrics;
pub mod view;
pub(crate) mod viewer;

use std::net::{IpAddr, Ipv6Addr};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::config::{self, Config};
use crate::fault::Fault;
use crate::protocol::host::HostName;
use crate::protocol::stamp::{Stamp, TimeZone};
use crate::publish::pending::{Mark, Pending};
use crate::publish::target::Target;
use crate::status::viewer::Viewer;
use crate::store::expiry::Expiry;
use crate::store::owners::{Owner, Owners};
use crate::store::record;
use crate::store::state;

/// Everything that the page shows.
#[derive(Debug)]
pub struct Status {
    /// When somebody looked.
    pub(crate) now: DateTime<Utc>,
    /// The hosts. Those that need attention come first; otherwise they are sorted by name.
    pub hosts: Vec<Host>,
    /// Whether the name servers of each target serve what the state says.
    pub(crate) targets: Vec<(Target, Progress)>,
    /// What the conditions mean.
    pub(crate) limits: Limits,
    /// Whether the owners of hosts are known.
    pub(crate) has_owners: bool,
}

/// One host of the state.
#[derive(Debug)]
pub struct Host {
    /// Its key in the state. Anybody may have written it, so it need not be a host name.
    pub name: String,
    /// The user who may update it, if that is known.
    pub owner: Option<String>,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Its interface identifier, if that waits for a prefix.
    pub(crate) identifier: Option<Ipv6Addr>,
    /// Its last accepted stamp, or `None` if that is not known.
    pub update: Option<Stamp>,
    /// Seconds since that stamp; negative if the stamp is ahead of the clock.
    pub age: Option<i64>,
    /// The stamp that gave it its addresses, or `None` if that is not known.
    pub changed: Option<Stamp>,
    /// How many seconds the operator expects between two updates, if the owner's entry says so.
    pub every: Option<u64>,
    /// How the host is doing.
    pub condition: Condition,
    /// Whether it has left DNS because it was silent for longer than `expire_after`.
    pub(crate) has_expired: bool,
}

/// How a host is doing, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Its updates are refused, or dnsmasq does not learn of it, until somebody repairs its record.
    Broken,
    /// It has sent no update for `silent_after`, or for four intervals, or never.
    Silent,
    /// It has sent no update for `late_after`, or for two intervals.
    Late,
    /// All is well.
    Fresh,
}

/// What the conditions mean, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// A host of this age is late.
    pub(crate) late_after: u64,
    /// A host of this age is silent.
    pub(crate) silent_after: u64,
    /// A stamp may be this far ahead of the clock.
    window: u64,
}

/// Whether the name servers of a target serve what the state says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// They do.
    Done,
    /// A change waits.
    Pending,
    /// The last try failed, and the next accepted request tries again.
    Failed {
        /// Why, without the folders of files.
        reason: String,
    },
}

impl Status {
    /// Reads the state and the marks, without a lock, for somebody who may see them.
    pub(crate) fn look(_: &Viewer, config: &Config, now: DateTime<Utc>) -> Result<Self, Fault> {
        let state = state::snapshot(&config.store)?;
        let read = |target| Ok((target, Mark::of(target, &config.store.hosts).read()?));
        let marks: Vec<_> = Target::of(&config.publish).map(read).collect::<Result<_, Fault>>()?;
        // The page is useful even to somebody who may not know the owners.
        let owners = Owners::read(&config.store).ok();
        Ok(Self::of(&state, &marks, config, now, owners.as_ref()))
    }

    /// What a state, the marks of the targets and, if they are known, the owners mean at this
    /// moment.
    #[must_use]
    pub fn of(
        state: &Map<String, Value>,
        marks: &[(Target, Option<Pending>)],
        config: &Config,
        now: DateTime<Utc>,
        owners: Option<&Owners>,
    ) -> Self {
        let moment = Moment {
            now,
            zone: config.store.time_zone,
            expiry: Expiry::at(now, &config.store),
            limits: Limits::new(&config.status, &config.protocol),
        };
        let host = |(name, record): (&String, _)| {
            Host::of(name, record, owners.and_then(|owners| owners.of(name)), &moment)
        };
        let mut hosts: Vec<Host> = state.iter().map(host).collect();
        hosts.sort_by_cached_key(|host| (host.condition, host.name.to_ascii_lowercase()));
        let progress =
            |(target, pending): &(_, Option<_>)| (*target, Progress::of(pending.as_ref()));
        let targets = marks.iter().map(progress).collect();
        Self { now, hosts, targets, limits: moment.limits, has_owners: owners.is_some() }
    }

    /// How many hosts are in this condition.
    pub(crate) fn count(&self, condition: Condition) -> usize {
        self.hosts.iter().filter(|host| host.condition == condition).count()
    }
}

/// What is needed to judge a record at one moment.
struct Moment {
    now: DateTime<Utc>,
    zone: TimeZone,
    expiry: Expiry,
    limits: Limits,
}

impl Host {
    fn of(name: &str, record: &Value, owner: Option<&Owner>, moment: &Moment) -> Self {
        let fields = record.as_object();
        let stamp = fields.and_then(|fields| record::stamp(fields, moment.zone).ok());
        let update = stamp.filter(|stamp| *stamp != Stamp::NEVER);
        let age = update.map(|stamp| -stamp.seconds_ahead_of(moment.now));
        let every = owner.and_then(|owner| owner.every);
        let is_whole = stamp.is_some() && HostName::parse(name).is_some();
        let limits = moment.limits.expecting(every);
        let condition = if is_whole { Condition::of(age, limits) } else { Condition::Broken };
        Self {
            name: name.to_owned(),
            owner: owner.map(|owner| owner.user.clone()),
            addresses: fields.map(addresses).unwrap_or_default(),
            identifier: fields.and_then(record::identifier),
            update,
            age,
            changed: fields.and_then(|fields| record::changed(fields, update?, moment.zone)),
            every,
            condition,
            has_expired: moment.expiry.is_over(record),
        }
    }
}

/// The addresses of a record that DNS gets. If somebody wrote the same one into both fields, it
/// counts once.
fn addresses(fields: &Map<String, Value>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = record::published(fields).collect();
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
            // A stamp may be ahead by as much as the window. If it is further ahead, every update
            // until then is refused as a replay.
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

impl Limits {
    fn new(status: &config::Status, protocol: &config::Protocol) -> Self {
        Self {
            late_after: status.late_after,
            silent_after: status.silent_after,
            window: protocol.window,
        }
    }

    /// Those of a host from which an update is expected each `every` seconds. One may get lost.
    fn expecting(self, every: Option<u64>) -> Self {
        every.map_or(self, |every| Self {
            late_after: every.saturating_mul(2),
            silent_after: every.saturating_mul(4),
            ..self
        })
    }
}

impl Progress {
    fn of(pending: Option<&Pending>) -> Self {
        let Some(pending) = pending else { return Self::Done };
        match pending.failure() {
            Some(reason) => Self::Failed { reason: without_folders(&reason) },
            None => Self::Pending,
        }
    }

    /// Why the last try failed.
    pub(crate) fn failure(&self) -> Option<&str> {
        match self {
            Self::Failed { reason } => Some(reason),
            Self::Pending | Self::Done => None,
        }
    }
}

/// Shortens the paths in a text to the names of the files. Nobody outside needs to know where they
/// are on this machine.
fn without_folders(text: &str) -> String {
    let words: Vec<&str> =
        text.split(' ').map(|word| word.rsplit('/').next().unwrap_or_default()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::{pending, target};
    use crate::status::format::Format;
    use crate::status::view::View;
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use serde_json::json;
    use std::path::Path;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_410_000, 0).unwrap()
    }

    fn ago(seconds: i64) -> String {
        (now() - TimeDelta::seconds(seconds)).format("%Y-%m-%d %H:%M:%S").to_string()
    }

    fn all() -> View {
        View::default()
    }

    /// The owners that these credentials name.
    fn owners(users: &Value) -> Owners {
        let folder = tempfile::tempdir().unwrap();
        let credentials = folder.path().join("credentials.json");
        std::fs::write(&credentials, users.to_string()).unwrap();
        Owners::read(&config::Store { credentials, ..Default::default() }).unwrap()
    }

    pub(super) fn status(state: &Value) -> Status {
        Status::of(state.as_object().unwrap(), &[], &Config::default(), now(), None)
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
            let status = Status::of(state.as_object().unwrap(), &[], &config, now(), None);
            let found: Vec<bool> = status.hosts.iter().map(|host| host.has_expired).collect();
            assert_eq!(found, expired);
            let count = expired.iter().filter(|expired| **expired).count();
            for (page, text) in [
                (html::page(&status, &all()), ">left DNS<"),
                (json::page(&status, &all()), "\"expired\": true"),
                (metrics::page(&status), "ddns_host_expired{host=\"gone\"} 1"),
            ] {
                assert_eq!(page.matches(text).count(), count, "{page}");
            }
        }
    }

    #[test]
    fn an_identifier_is_shown_as_what_it_is_and_counts_as_no_address() {
        let update = ago(60);
        let state = json!({
            "alone.example": {"ip6": "::7", "update": update},
            "both.example": {"ip": "192.0.2.1", "ip6": "::7", "update": update},
            "moved.example": {"ip6": "2001:db8::7", "update": update},
        });
        let status = status(&state);
        let page = html::page(&status, &all());
        assert_eq!(page.matches(">::7 (no prefix yet)<").count(), 2, "{page}");
        assert!(page.contains("<span>192.0.2.1</span>") && !page.contains("none</td>"), "{page}");
        let page: Value = serde_json::from_str(&json::page(&status, &all())).unwrap();
        let shown =
            |n: usize| [&page["hosts"][n]["addresses"], &page["hosts"][n]["interface_identifier"]];
        assert_eq!(shown(0), [&json!([]), &json!("::7")]);
        assert_eq!(shown(1), [&json!(["192.0.2.1"]), &json!("::7")]);
        assert_eq!(shown(2), [&json!(["2001:db8::7"]), &Value::Null]);
        assert!(!metrics::page(&status).contains("\"::7\""));
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
    fn two_expected_intervals_make_a_host_late_and_four_silent_whatever_the_limits() {
        use Condition::{Broken, Fresh, Late, Silent};
        for (every, seconds, condition) in [
            (900, 1799, Fresh),
            (900, 1800, Late),
            (900, 3599, Late),
            (900, 3600, Silent),
            (86_400, 172_799, Fresh),
            (86_400, 345_600, Silent),
            (u64::MAX, 400_000, Fresh),
            (900, -15, Fresh),
            (900, -16, Broken),
        ] {
            let owners =
                owners(&json!({"al": {"id": ["A.example"], "every": {"a.example": every}}}));
            let state = json!({"a.example": {"update": ago(seconds)}, "b": {"update": ago(3599)}});
            let state = state.as_object().unwrap();
            let status = Status::of(state, &[], &Config::default(), now(), Some(&owners));
            let host = |name| status.hosts.iter().find(|host| host.name == name).unwrap();
            assert_eq!(host("a.example").condition, condition, "{every} {seconds}");
            assert_eq!((host("a.example").every, host("b").every), (Some(every), None));
            assert_eq!(host("b").condition, Fresh, "nothing is expected of this one");
        }
    }

    #[test]
    fn owner_interval_and_change_are_shown_where_they_are_known() {
        let owners = owners(&json!({"al<b>": {"id": ["a.example"], "every": {"a.example": 5400}}}));
        let state = json!({
            "a.example": {"update": ago(60), "changed": ago(11 * 86_400 + 60)},
            "b.example": {"update": ago(60)},
            "c.example": {"update": ago(-9), "changed": ago(-9)},
        });
        let status =
            Status::of(state.as_object().unwrap(), &[], &Config::default(), now(), Some(&owners));
        let page = html::page(&status, &all());
        for (part, count) in [
            ("<small>of al&#60;b&#62;</small>", 1),
            ("<small>of ", 1),
            ("<small>every 90 min</small>", 1),
            ("<small>every ", 1),
            ("class=\"since\">for 11 days <small>2026-11-12</small></td>", 1),
            (">for 0 s <", 1),
            ("class=\"unknown\">–</td>", 1),
            ("Owners are unknown", 0),
        ] {
            assert_eq!(page.matches(part).count(), count, "{part} in {page}");
        }
        let page: Value = serde_json::from_str(&json::page(&status, &all())).unwrap();
        let shown = |n: usize| {
            let host = &page["hosts"][n];
            [&host["owner"], &host["expected_seconds"], &host["changed"]]
        };
        assert_eq!(shown(0), [&json!("al<b>"), &json!(5400), &json!("2026-11-12T04:59:00Z")]);
        assert_eq!(shown(1), [&Value::Null; 3]);
        assert_eq!(page["owners_known"], true);
        let page = metrics::page(&status);
        let name = "ddns_host_changed_timestamp_seconds{";
        assert!(page.contains(&format!("{name}host=\"a.example\"}} 1794459540\n")), "{page}");
        assert!(page.contains("ddns_host_info{host=\"a.example\",owner=\"al<b>\"} 1\n"), "{page}");
        assert_eq!((page.matches(name).count(), page.matches("_info{").count()), (2, 1), "{page}");
    }

    #[test]
    fn where_no_owners_are_known_the_page_says_so_once() {
        let status = status(&json!({"a.example": {"update": ago(60)}, "b.example": {}}));
        let page = html::page(&status, &all());
        assert_eq!(page.matches("Owners are unknown").count(), 1, "{page}");
        assert!(json::page(&status, &all()).contains("\"owners_known\": false"));
    }

    #[test]
    fn a_filter_leaves_out_hosts_and_says_so_but_counts_all_and_keeps_metrics() {
        let record = |n: u32| (format!("host{n}.example"), json!({"update": ago(n.into())}));
        let state = Value::Object((0..1234).map(record).collect());
        let status = status(&state);
        let shown = |query: &str| html::page(&status, &View::parse(query.as_bytes()));
        let rows = |page: &str| page.matches("<tr ").count().saturating_sub(1);
        for (query, count, caption) in [
            ("", 1000, ">The first 1,000 of 1,234 hosts<"),
            ("refresh=60", 1000, ">The first 1,000 of 1,234 hosts<"),
            ("find=HOST12", 45, ">45 of 1,234 hosts<"),
            ("find=host12&show=fresh", 45, ">45 of 1,234 hosts<"),
            ("find=host12&show=late", 0, ">0 of 1,234 hosts<"),
            ("find=%22%3E%3Cb%3E", 0, ">0 of 1,234 hosts<"),
        ] {
            let page = shown(query);
            assert_eq!(rows(&page), count, "{query}");
            assert!(page.contains(caption), "{query}: {page}");
            assert!(page.contains("<h1>All 1,234 hosts are fresh</h1>"), "{page}");
            assert_eq!(page.contains(">Show all<"), query.contains("find"), "{query}");
            assert!(!page.contains("<b>"), "{page}");
        }
        let page = shown("find=HOST12%22&show=fresh&refresh=60");
        for part in [
            "name=\"find\" value=\"HOST12&#34;\"",
            "<option selected>fresh</option>",
            "name=\"refresh\" value=\"60\"",
            "<meta http-equiv=\"refresh\" content=\"60\">",
            "href=\"?find=HOST12%22&#38;show=fresh\">Stop<",
            "href=\"?refresh=60\">Show all<",
            "href=\"?show=fresh&#38;refresh=60\">fresh</a></dt><dd>1,234<",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        let page = shown("");
        assert!(page.contains("href=\"?show=fresh\">fresh<"), "{page}");
        assert!(page.contains("href=\"?refresh=60\">Refresh every minute<"), "{page}");
        assert!(!page.contains("<meta http-equiv") && !page.contains("show=late"), "{page}");
        let view = View::parse(b"find=host12&show=fresh");
        let page: Value = serde_json::from_str(&json::page(&status, &view)).unwrap();
        assert_eq!(page["filter"], json!({"find": "host12", "show": "fresh"}));
        assert_eq!(page["hosts"].as_array().unwrap().len(), 45);
        assert_eq!(page["counts"]["fresh"], 1234);
        assert!(json::page(&status, &all()).contains("\"filter\": null"));
        let metrics = |view| Format::Metrics.page(&status, view);
        assert_eq!(metrics(&view), metrics(&all()));
    }

    #[test]
    fn a_page_of_a_fault_is_asked_for_again_if_that_was_wanted() {
        let page = html::page_of_fault(&View::parse(b"refresh=60"));
        assert!(page.contains("<meta http-equiv=\"refresh\" content=\"60\">"), "{page}");
        assert!(!html::page_of_fault(&all()).contains("http-equiv"));
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
        let status = Status::of(state.as_object().unwrap(), &[], &config, now(), None);
        assert_eq!(Condition::ALL.map(|condition| status.count(condition)), [1, 1, 1, 0]);
    }

    #[test]
    fn the_reason_of_a_failed_restart_names_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let config = in_folder(folder.path());
        let mark = Mark::of(Target::HostsFile, &config.store.hosts);
        let read = || Progress::of(mark.read().unwrap().as_ref());
        assert_eq!(read(), Progress::Done);
        pending::add(&config, "a.example 192.0.2.1").unwrap();
        assert_eq!(read(), Progress::Pending);
        mark.fail("/media/data/ip.txt: cannot open (see '/etc/x/'): a b").unwrap();
        let reason = "ip.txt: cannot open (see '): a b".to_owned();
        assert_eq!(read(), Progress::Failed { reason });
    }

    /// A configuration with its hosts file in this folder.
    fn in_folder(folder: &Path) -> Config {
        let store = config::Store { hosts: folder.join("hosts.dns"), ..Default::default() };
        Config { store, ..Config::default() }
    }

    #[test]
    fn each_form_tells_how_hosts_and_restart_are() {
        let folder = tempfile::tempdir().unwrap();
        let config = in_folder(folder.path());
        let mark = Mark::of(Target::HostsFile, &config.store.hosts);
        let state = json!({
            "a.example": {"ip": "192.0.2.1", "update": ago(60)}, "b.example": 5,
            "c.example": {"update": ago(-9)}, "d.example": {"update": ago(-99)},
        });
        let tells = |html: &str, json: &str, metrics: &str| {
            let marks = [(Target::HostsFile, mark.read().unwrap())];
            let status = Status::of(state.as_object().unwrap(), &marks, &config, now(), None);
            let pages =
                [html::page(&status, &all()), json::page(&status, &all()), metrics::page(&status)];
            for (page, text) in pages.iter().zip([html, json, metrics]) {
                assert!(page.contains(text), "{text}: {page}");
            }
            assert!(pages[1].ends_with("}\n"));
        };
        tells("2 of 4 hosts are fresh", "\"fresh\": 2", "ddns_hosts{condition=\"fresh\"} 2\n");
        tells(">1 min ago ", "\"age_seconds\": 60", "{host=\"a.example\"} 1795409940\n");
        tells(">0 s ago ", "\"age_seconds\": -9", "# TYPE ddns_host_address_info gauge\n");
        tells(">in the future ", "192.0.2.1", "\",address=\"192.0.2.1\"} 1\n");
        tells("less than 1 h ago", ":59:00Z", "# HELP ddns_hosts ");
        tells("less than 1 day ago", "\"update\": null", "ddns_host_expired{");
        tells(">2026-11-23 04:59:00<", "\"condition\": \"broken\"", "ddns_hosts{");
        tells("has every change", "\"pending\": false", "ddns_restart_pending 0\n");
        pending::add(&config, "a.example 192.0.2.1").unwrap();
        tells("about to be restarted", "\"pending\": true", "ddns_restart_pending 1\n");
        tells("a change waits", "\"failure\": null", "ddns_restart_failed 0\n");
        mark.fail("exit status: 1").unwrap();
        tells("restarted:</strong> exit status: 1.", "exit status: 1", "ddns_restart_failed 1\n");
    }

    #[test]
    fn each_form_tells_how_the_zones_are_if_there_are_any() {
        let folder = tempfile::tempdir().unwrap();
        let zones = Some(config::Zones::default());
        let publish = config::Publish { restart: vec![], zones, ..Default::default() };
        let config = Config { publish, ..in_folder(folder.path()) };
        let mark = Mark::of(Target::Zones, &config.store.hosts);
        let tells = |html: &str, json: &str, metrics: &str| {
            let marks = [(Target::Zones, mark.read().unwrap())];
            let status = Status::of(&Map::new(), &marks, &config, now(), None);
            let pages =
                [html::page(&status, &all()), json::page(&status, &all()), metrics::page(&status)];
            for (page, text) in pages.iter().zip([html, json, metrics]) {
                assert!(page.contains(text), "{text}: {page}");
                assert!(!page.contains("dnsmasq"), "{page}");
            }
        };
        tells("about to be updated", "\"publish\": {", "ddns_publish_pending 1\n");
        std::fs::write(target::published(&config.store.hosts), "").unwrap();
        tells("zones have every change", "\"pending\": false", "ddns_publish_pending 0\n");
        mark.fail("REFUSED").unwrap();
        tells("not updated:</strong> REFUSED.", ": \"REFUSED\"", "ddns_publish_failed 1\n");
    }

    #[test]
    fn each_form_has_a_page_of_a_fault() {
        let pages = [html::page_of_fault(&all()), json::page_of_fault(), metrics::page_of_fault()];
        for (page, text) in pages.iter().zip(["</html>", "\"error\": \"911\"", "# 911\n"]) {
            assert!(page.contains(text), "{page}");
        }
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
                let _ = format.page(&status, &all());
            }
        }
    }
}

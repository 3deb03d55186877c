//! What name servers are to say about the hosts, and whether they say it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

use chrono::Utc;
use ddns_cgi::config::Config;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::publish::pending::Mark;
use ddns_cgi::publish::target::Target;
use ddns_cgi::store::expiry::Expiry;
use ddns_cgi::store::{hosts, record};
use serde_json::{Map, Value};
use simple_dns::TYPE;

use super::dns::{self, Answer, Question};
use super::findings::{Advice, Findings};
use crate::words::FEW;

/// How many times to look at what is not as it should be: a change may come while we ask, and a
/// server needs a moment to take it over.
pub const LOOKS: usize = 4;

/// The pause between two looks.
pub const PAUSE: Duration = Duration::from_millis(500);

/// The addresses of hosts; none if a host is to have none.
pub type Records = BTreeMap<HostName, BTreeSet<IpAddr>>;

/// What the state wants a target's name servers to say.
pub struct Wanted<'c> {
    config: &'c Config,
    mark: Mark,
}

impl<'c> Wanted<'c> {
    pub fn of(config: &'c Config, target: Target) -> Self {
        Self { config, mark: Mark::of(target, &config.store.hosts) }
    }

    /// The records that the name servers should have by now. `None` while a change is pending.
    pub fn records(&self) -> Option<Records> {
        let records = self.records_of_state();
        matches!(self.mark.read(), Ok(None)).then_some(records)
    }

    /// The records of the state. Without a state there are none.
    pub fn records_of_state(&self) -> Records {
        let store = &self.config.store;
        let text = fs::read_to_string(&store.state).unwrap_or_default();
        let state: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
        let hosts_file = hosts::read(&store.hosts).ok().flatten().unwrap_or_default();
        records(
            &state,
            &hosts::to_state(&hosts_file, store.time_zone),
            &Expiry::at(Utc::now(), store),
        )
    }
}

/// The records of a state. A host that has expired has no address as soon as it has left the hosts
/// file. Until then, which is until the next update, it may have its address.
fn records(state: &Map<String, Value>, listed: &Map<String, Value>, expiry: &Expiry) -> Records {
    let mut records = Records::new();
    for (name, record) in state {
        let (Some(host), Some(fields)) = (HostName::parse(name), record.as_object()) else {
            continue;
        };
        let is_over = expiry.is_over(record);
        if is_over && listed.contains_key(name) {
            continue;
        }
        let addresses = records.entry(host).or_default();
        addresses.extend(record::published(fields).filter(|_| !is_over));
    }
    records
}

/// What a name server says about hosts.
#[derive(Debug, Default)]
pub struct Said {
    /// The addresses of each host, and their time to live. Not there if a question is unanswered.
    pub hosts: BTreeMap<HostName, (BTreeSet<IpAddr>, Option<u32>)>,
    /// Why there are unanswered questions.
    pub silence: Option<String>,
}

impl Said {
    /// Asks a server that knows all addresses of these hosts itself.
    pub fn by<'h>(server: SocketAddr, hosts: impl Iterator<Item = &'h HostName>) -> Self {
        let hosts: Vec<&HostName> = hosts.collect();
        let questions: Vec<Question> = hosts
            .iter()
            .flat_map(|host| [TYPE::A, TYPE::AAAA].map(|kind| Question::new(host, kind)))
            .collect();
        let answers = dns::ask(server, &questions);
        let mut said = Self { silence: answers.silence, ..Self::default() };
        for (host, pair) in hosts.into_iter().zip(answers.list.chunks(2)) {
            if pair.iter().all(Option::is_some) {
                pair.iter().flatten().for_each(|answer| said.add(host, answer));
            }
        }
        said
    }

    /// Adds what an answer says about a host.
    pub fn add(&mut self, host: &HostName, answer: &Answer) {
        let (addresses, ttl) = self.hosts.entry(host.clone()).or_default();
        addresses.extend(&answer.addresses);
        *ttl = (*ttl).max(answer.ttl);
    }

    /// The addresses alone.
    pub fn records(&self) -> Records {
        self.hosts.iter().map(|(host, (addresses, _))| (host.clone(), addresses.clone())).collect()
    }
}

/// What is wrong with all that a server says about hosts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Addresses that it does not have.
    pub missing: Vec<(HostName, IpAddr)>,
    /// Addresses that it has, and should not.
    pub extra: Vec<(HostName, IpAddr)>,
    /// Times to live that are not as they should be.
    pub ttl: Vec<(HostName, u32)>,
    /// Why there are unanswered questions.
    pub silence: Option<String>,
}

impl View {
    fn of(wanted: &Records, said: Said, is_ttl_right: impl Fn(u32) -> bool) -> Self {
        let mut view = Self { silence: said.silence, ..Self::default() };
        for (host, wanted) in wanted {
            let Some((addresses, ttl)) = said.hosts.get(host) else { continue };
            let missing = wanted.difference(addresses);
            view.missing.extend(missing.map(|address| (host.clone(), *address)));
            let extra = addresses.difference(wanted);
            view.extra.extend(extra.map(|address| (host.clone(), *address)));
            let ttl = ttl.filter(|ttl| !is_ttl_right(*ttl));
            view.ttl.extend(ttl.map(|ttl| (host.clone(), ttl)));
        }
        view
    }

    /// The hosts with wrong addresses.
    fn hosts(&self) -> BTreeSet<HostName> {
        self.missing.iter().chain(&self.extra).map(|(host, _)| host.clone()).collect()
    }
}

/// Compares what a server says with what is wanted. Looks again at wrong addresses, as long as they
/// may still change: `again` tells what is wanted of these hosts by then. `None` means that nothing
/// can be said about hosts now.
pub fn compare(
    wanted: Option<Records>,
    again: impl Fn(&BTreeSet<HostName>) -> Option<Records>,
    mut ask: impl FnMut(&Records) -> Said,
    is_ttl_right: impl Fn(u32) -> bool,
) -> View {
    let Some(records) = wanted else { return View::default() };
    let mut view = View::of(&records, ask(&records), is_ttl_right);
    for _ in 1..LOOKS {
        let suspects = view.hosts();
        if suspects.is_empty() || view.silence.is_some() {
            break;
        }
        sleep(PAUSE);
        let Some(mut records) = again(&suspects) else { return View::default() };
        records.retain(|host, _| suspects.contains(host));
        let again = View::of(&records, ask(&records), |_| true);
        // What it said before is all that a silent server says.
        if again.silence.is_none() {
            (view.missing, view.extra) = (again.missing, again.extra);
        }
        view.silence = again.silence;
    }
    view
}

/// Reports that the same is wrong with hosts: the first few, and how many more there are.
pub fn report<T>(
    findings: &mut Findings,
    hosts: &[(HostName, T)],
    problem: impl Fn(&T) -> String,
    advice: &Advice,
) {
    let (named, others) = hosts.split_at(hosts.len().min(FEW));
    for (host, detail) in named {
        findings.error(host, problem(detail), advice.clone());
    }
    if let [(_, first), ..] = others {
        let problem = format!("the same, such as: {}", problem(first));
        findings.error(format_args!("{} more", others.len()), problem, advice.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::cell::Cell;

    fn name(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    fn records_of(list: &[(&str, &[&str])]) -> Records {
        let addresses =
            |list: &[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
        list.iter().map(|(host, list)| (name(host), addresses(list))).collect()
    }

    fn said(list: &[(&str, &[&str])], ttl: u32) -> Said {
        let hosts = records_of(list).into_iter();
        let hosts = hosts.map(|(host, addresses)| (host, (addresses, Some(ttl)))).collect();
        Said { hosts, silence: None }
    }

    #[test]
    fn the_records_are_those_of_the_state_and_none_of_a_host_that_has_left() {
        let settings = ddns_cgi::config::Store { expire_after: 3600, ..Default::default() };
        let state = json!({
            "a.example": {"ip": "192.0.2.1", "ip6": "2001:db8::1"},
            "A.example": {"ip": "192.0.2.2"},
            "offline.example": {},
            "waiting.example": {"ip": "192.0.2.7", "ip6": "::7"},
            "expired.example": {"ip": "192.0.2.3", "update": "2012-01-01 00:00:00"},
            "leaving.example": {"ip": "192.0.2.4", "update": "2012-01-01 00:00:00"},
            "no name": {"ip": "192.0.2.5"},
            "no-record.example": [],
        });
        let listed = json!({"leaving.example": {"ip": "192.0.2.4"}});
        let [state, listed] =
            [state, listed].map(|map| serde_json::from_value::<Map<_, _>>(map).unwrap());
        let records = records(&state, &listed, &Expiry::at(Utc::now(), &settings));
        let wanted: &[(&str, &[&str])] = &[
            ("a.example", &["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
            ("expired.example", &[]),
            ("offline.example", &[]),
            ("waiting.example", &["192.0.2.7"]),
        ];
        assert_eq!(records, records_of(wanted));
    }

    #[test]
    fn what_is_missing_what_is_left_and_a_wrong_ttl_are_told_apart() {
        let wanted = records_of(&[
            ("a.example", &["192.0.2.1"]),
            ("b.example", &["192.0.2.2"]),
            ("offline.example", &[]),
            ("unanswered.example", &["192.0.2.9"]),
        ]);
        let list: &[(&str, &[&str])] = &[
            ("a.example", &["192.0.2.1"]),
            ("b.example", &["2001:db8::2"]),
            ("offline.example", &[]),
        ];
        let view = View::of(&wanted, said(list, 7), |ttl| ttl == 7);
        assert_eq!(view.missing, [(name("b.example"), "192.0.2.2".parse().unwrap())]);
        assert_eq!(view.extra, [(name("b.example"), "2001:db8::2".parse().unwrap())]);
        assert!(view.ttl.is_empty());
        assert_eq!(View::of(&wanted, said(list, 60), |ttl| ttl == 7).ttl.len(), 3);
    }

    #[test]
    fn what_is_right_by_the_second_look_was_a_change_and_only_that_is_asked_again() {
        let wanted =
            || Some(records_of(&[("a.example", &["192.0.2.1"]), ("b.example", &["192.0.2.2"])]));
        let asked = Cell::new(Vec::new());
        let view = compare(
            wanted(),
            |_| wanted(),
            |records| {
                asked.set([asked.take(), vec![records.len()]].concat());
                let other: &[&str] =
                    if records.len() == 2 { &["192.0.2.9"] } else { &["192.0.2.2"] };
                said(&[("a.example", &["192.0.2.1"]), ("b.example", other)], 7)
            },
            |_| true,
        );
        assert_eq!(view, View::default());
        assert_eq!(asked.take(), [2, 1]);
        // As long as a change is pending, nothing is wrong.
        let view = compare(None, |_| None, |_| said(&[], 7), |_| true);
        assert_eq!(view, View::default());
    }

    #[test]
    fn of_many_hosts_with_the_same_fault_a_few_are_named() {
        let hosts: Vec<_> = (0..9).map(|n| (name(&format!("h{n}.example")), n)).collect();
        let mut findings = Findings::default();
        report(&mut findings, &hosts, |n| format!("is {n}"), &Advice::say("Do it."));
        let text = findings.into_report(false, "").text;
        let text = anstream::adapter::strip_str(&text).to_string();
        let end = "error: 4 more: the same, such as: is 5\n    Do it.\n6 errors\n";
        assert!(text.lines().count() == 8 && text.ends_with(end), "{text}");
    }
}

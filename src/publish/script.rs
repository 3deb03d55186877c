//! The script that brings zones up to date, in the language of nsupdate(1): from two texts, without
//! files or processes.
//!
//! Both texts say what a server serves, as a hosts file does. They begin with a line about the
//! server:
//!
//! ```text
//! # server 127.0.0.1 53 ttl 7 zones h.lohray.com
//! 129.118.243.10 host1.h.lohray.com
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

use crate::config::Zones;
use crate::protocol::host::HostName;

/// How many bytes the records of one message may have. A message has at most 64 KiB (RFC 1035,
/// 4.2.2), and its header, zone and signature need some of them.
const MESSAGE: usize = 60_000;

/// The address of a name in doubt: an IPv4 address in IPv6 notation, which no host has. A record
/// that has one counts as having the IPv4 address.
const DOUBT: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0);

/// A script for nsupdate.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The script.
    pub text: String,
    /// How many names it has updates for.
    pub names: usize,
    /// What the server serves while the script is under way: of these names, nobody knows.
    pub in_doubt: String,
}

/// The addresses of each name.
type Records = BTreeMap<HostName, BTreeSet<IpAddr>>;

/// What the server shall serve: the lines of a hosts file whose hosts lie in its zones.
#[must_use]
pub fn wanted(zones: &Zones, hosts: &str) -> String {
    let names: Vec<&str> = zones.names.iter().map(HostName::as_str).collect();
    let (server, ttl) = (zones.server, zones.ttl);
    let mut text =
        format!("# server {} {} ttl {ttl} zones {}\n", server.ip(), server.port(), names.join(" "));
    for line in hosts.lines() {
        if parse(line).is_some_and(|(host, _)| zones.zone_of(&host).is_some()) {
            text += line;
            text.push('\n');
        }
    }
    text
}

/// The script that makes a server serve what is `wanted`, given what it has `acknowledged`. If
/// their first lines differ, as they do after a change of the settings, everything is sent anew.
///
/// Only a name's addresses are deleted; its other records stay.
#[must_use]
pub fn difference(zones: &Zones, acknowledged: &str, wanted: &str) -> Script {
    let is_anew = acknowledged.lines().next() != wanted.lines().next();
    let (old, new) = (records(acknowledged), records(wanted));
    let is_changed = |host: &&HostName| is_anew || old.get(*host) != new.get(*host);
    let changed: BTreeSet<&HostName> = old.keys().chain(new.keys()).filter(is_changed).collect();
    let nothing = BTreeSet::new();
    let mut updates: BTreeMap<&HostName, Vec<Update>> = BTreeMap::new();
    for host in &changed {
        if let Some(zone) = zones.zone_of(host) {
            let addresses = new.get(*host).unwrap_or(&nothing);
            updates.entry(zone).or_default().push(Update { host, addresses, ttl: zones.ttl });
        }
    }
    let mut script = Script { in_doubt: in_doubt(wanted, &changed), ..Script::default() };
    for (zone, updates) in updates {
        script.names += updates.len();
        add_updates(&mut script.text, zones, zone, &updates);
    }
    script
}

/// A text that says of these names what no server has acknowledged.
fn in_doubt(text: &str, names: &BTreeSet<&HostName>) -> String {
    let is_known = |line: &&str| parse(line).is_none_or(|(host, _)| !names.contains(&host));
    let known = text.lines().filter(is_known).map(|line| format!("{line}\n"));
    let unknown = names.iter().map(|name| doubt(name));
    known.chain(unknown).collect()
}

/// The line that puts a name in doubt.
#[must_use]
pub fn doubt(name: &HostName) -> String {
    format!("{DOUBT} {name}\n")
}

/// How the message for a zone begins.
#[must_use]
pub fn begin(zones: &Zones, zone: &HostName) -> String {
    format!("server {} {}\nzone {zone}.\n", zones.server.ip(), zones.server.port())
}

/// Adds the updates of one zone, in as many messages as they need.
fn add_updates(text: &mut String, zones: &Zones, zone: &HostName, updates: &[Update]) {
    let begin = begin(zones, zone);
    let mut size = 0;
    *text += &begin;
    for update in updates {
        if size + update.size() > MESSAGE {
            *text += "send\n";
            *text += &begin;
            size = 0;
        }
        size += update.size();
        update.write(text);
    }
    *text += "send\n";
}

/// The update of one name.
struct Update<'u> {
    host: &'u HostName,
    addresses: &'u BTreeSet<IpAddr>,
    ttl: u32,
}

impl Update<'_> {
    fn write(&self, text: &mut String) {
        let Self { host, addresses, ttl } = self;
        let _ = write!(text, "update delete {host}. A\nupdate delete {host}. AAAA\n");
        for address in *addresses {
            let kind = if address.is_ipv4() { "A" } else { "AAAA" };
            let _ = writeln!(text, "update add {host}. {ttl} {kind} {address}");
        }
    }

    /// How many bytes its records have in a message, if no name is compressed: each has the name,
    /// ten bytes, and an address if one is added (RFC 1035, 3.2.1).
    fn size(&self) -> usize {
        let record = self.host.as_str().len() + 2 + 10;
        let address = |address: &IpAddr| if address.is_ipv4() { 4 } else { 16 };
        2 * record + self.addresses.iter().map(|a| record + address(a)).sum::<usize>()
    }
}

fn records(text: &str) -> Records {
    let mut records = Records::new();
    for (host, address) in text.lines().filter_map(parse) {
        records.entry(host).or_default().insert(address);
    }
    records
}

/// The host and the address of a line. Only what has been parsed gets into a script, so nothing in
/// a file can add a command to it.
fn parse(line: &str) -> Option<(HostName, IpAddr)> {
    let (address, name) = line.split_once(' ')?;
    Some((HostName::parse(name)?, address.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zones(names: &[&str]) -> Zones {
        let names = names.iter().filter_map(|name| HostName::parse(name)).collect();
        Zones { names, ..Zones::default() }
    }

    fn script(zones: &Zones, before: &str, after: &str) -> String {
        difference(zones, &wanted(zones, before), &wanted(zones, after)).text
    }

    #[test]
    fn the_changed_names_are_sent_and_no_others() {
        let zones = zones(&["example"]);
        let before = "192.0.2.1 a.example\n192.0.2.2 b.example\n2001:db8::2 b.example\n\
                      192.0.2.3 c.example\n";
        let after = "192.0.2.1 A.example\n192.0.2.9 b.example\n2001:db8::4 d.example\n\
                     192.0.2.4 d.example\n";
        assert_eq!(
            script(&zones, before, after),
            "server 127.0.0.1 53\nzone example.\n\
             update delete b.example. A\nupdate delete b.example. AAAA\n\
             update add b.example. 7 A 192.0.2.9\n\
             update delete c.example. A\nupdate delete c.example. AAAA\n\
             update delete d.example. A\nupdate delete d.example. AAAA\n\
             update add d.example. 7 A 192.0.2.4\nupdate add d.example. 7 AAAA 2001:db8::4\n\
             send\n"
        );
        assert_eq!(script(&zones, after, after), "");
    }

    #[test]
    fn each_host_is_in_the_message_of_its_zone_or_in_none() {
        let zones = zones(&["example", "h.example"]);
        let after = "192.0.2.1 a.example\n192.0.2.2 b.h.example\n192.0.2.3 c.test\n\
                     192.0.2.4 d_d.example\n192.0.2.5 h.example\n";
        let script = script(&zones, "", after);
        let (one, two) = script.split_once("send\n").unwrap();
        assert!(one.contains("zone example.\n") && one.contains(" a.example. "), "{script}");
        assert!(two.contains("zone h.example.\n") && two.contains(" b.h.example. "), "{script}");
        assert!(two.contains(" h.example. ") && two.ends_with("send\n"), "{script}");
        assert!(!script.contains("c.test") && !script.contains("d_d"), "{script}");
    }

    #[test]
    fn after_a_change_of_the_settings_everything_is_sent_and_what_is_gone_is_deleted() {
        let old = zones(&["example"]);
        let hosts = "192.0.2.1 a.example\n192.0.2.2 b.example\n";
        let acknowledged = wanted(&old, hosts);
        for new in [
            Zones { ttl: 60, ..old.clone() },
            Zones { server: "192.0.2.53:53".parse().unwrap(), ..old.clone() },
            Zones { server: "127.0.0.1:5353".parse().unwrap(), ..old.clone() },
            zones(&["example", "test"]),
        ] {
            let hosts = "192.0.2.1 a.example\n";
            let Script { text, names, .. } = difference(&new, &acknowledged, &wanted(&new, hosts));
            assert_eq!(names, 2);
            assert!(text.contains("update add a.example. "), "{text}");
            assert!(text.contains("update delete b.example. A\n"), "{text}");
        }
        let elsewhere = zones(&["test"]);
        let script = difference(&elsewhere, &acknowledged, &wanted(&elsewhere, hosts));
        assert_eq!((script.text.as_str(), script.names), ("", 0));
    }

    #[test]
    fn many_names_take_several_messages_each_within_its_size() {
        let zones = zones(&["example"]);
        let label = "x".repeat(63);
        let hosts = (0..2000).fold(String::new(), |mut text, number| {
            let name = format!("{number:05}.{label}.{label}.{label}.example");
            let _ = write!(text, "192.0.2.1 {name}\n2001:db8::1 {name}\n");
            text
        });
        let script = difference(&zones, "", &wanted(&zones, &hosts));
        assert_eq!(script.names, 2000);
        let mut sizes = Vec::new();
        for message in script.text.split_inclusive("send\n") {
            assert!(message.starts_with("server ") && message.ends_with("send\n"));
            let records = message.lines().filter_map(|line| line.strip_prefix("update "));
            // A name has one byte more than its text with the last dot.
            let size = |record: &str| record.split(' ').nth(1).unwrap().len() + 1 + 10 + 16;
            sizes.push(records.map(size).sum::<usize>());
        }
        assert_eq!(sizes.len(), 30);
        assert!(sizes.iter().all(|size| *size < 65_000), "{sizes:?}");
    }

    /// The last part of the addresses of some names.
    type Hosts = BTreeMap<String, [Option<u8>; 2]>;

    fn hosts() -> impl Strategy<Value = Hosts> {
        prop::collection::btree_map("[a-c]{1,2}\\.example", any::<[Option<u8>; 2]>(), 0..9)
    }

    fn text(hosts: &Hosts) -> String {
        let lines = hosts.iter().flat_map(|(name, [ip, ip6])| {
            let ip = ip.map(|ip| format!("192.0.2.{ip} {name}\n"));
            ip.into_iter().chain(ip6.map(|ip6| format!("2001:db8::{ip6:x} {name}\n")))
        });
        lines.collect()
    }

    proptest! {
        /// Whatever stands in the two texts, each line of the script is one of the few that we
        /// write, with a name that lies in the zone of its message.
        #[test]
        fn nothing_in_a_text_adds_a_command(
            before in "(\\PC|[\0-\u{7f}]|[0-9a-f.:]{2,9} [a-z.\n]{1,9}\\.example\n){0,20}",
            after in "(\\PC|[\0-\u{7f}]|[0-9a-f.:]{2,9} [a-z.\n]{1,9}\\.example\n){0,20}",
        ) {
            let zones = zones(&["example", "b.example"]);
            let text = difference(&zones, &before, &wanted(&zones, &after)).text;
            prop_assert!(text.is_empty() || text.ends_with("send\n"));
            let mut zone = None;
            for line in text.lines() {
                match line.split(' ').collect::<Vec<_>>()[..] {
                    ["server", "127.0.0.1", "53"] | ["send"] => {}
                    ["zone", name] => zone = HostName::parse(name.trim_end_matches('.')),
                    ["update", "delete", name, "A" | "AAAA"] => {
                        let host = HostName::parse(name.strip_suffix('.').unwrap()).unwrap();
                        prop_assert_eq!(zones.zone_of(&host), zone.as_ref());
                    }
                    ["update", "add", name, "7", kind, address] => {
                        let host = HostName::parse(name.strip_suffix('.').unwrap()).unwrap();
                        prop_assert_eq!(zones.zone_of(&host), zone.as_ref());
                        let address: IpAddr = address.parse().unwrap();
                        prop_assert_eq!(kind, if address.is_ipv4() { "A" } else { "AAAA" });
                    }
                    _ => prop_assert!(false, "{line:?}"),
                }
            }
        }

        /// While a script is under way, its names are in doubt, and sent again whatever is wanted.
        #[test]
        fn what_is_under_way_is_sent_again(texts in [hosts(), hosts(), hosts()]) {
            let zones = zones(&["example"]);
            let [before, during, after] = texts.map(|hosts| wanted(&zones, &text(&hosts)));
            let under_way = difference(&zones, &before, &during);
            let next = difference(&zones, &under_way.in_doubt, &after).text;
            for line in under_way.text.lines().filter(|line| line.starts_with("update delete ")) {
                prop_assert!(next.contains(line), "{} {}", line, next);
            }
            prop_assert!(next.len() >= difference(&zones, &during, &after).text.len());
        }

        /// A server that carries the script out serves what is wanted.
        #[test]
        fn the_script_leads_from_one_text_to_the_other(
            [before, after] in [hosts(), hosts()],
        ) {
            let zones = zones(&["example"]);
            let mut served = records(&text(&before));
            for line in script(&zones, &text(&before), &text(&after)).lines() {
                match line.split(' ').collect::<Vec<_>>()[..] {
                    ["update", "delete", name, kind] => {
                        let host = HostName::parse(name.trim_end_matches('.')).unwrap();
                        let addresses = served.entry(host).or_default();
                        addresses.retain(|address| address.is_ipv4() != (kind == "A"));
                    }
                    ["update", "add", name, _, _, address] => {
                        let host = HostName::parse(name.trim_end_matches('.')).unwrap();
                        served.entry(host).or_default().insert(address.parse().unwrap());
                    }
                    _ => {}
                }
            }
            served.retain(|_, addresses| !addresses.is_empty());
            prop_assert_eq!(served, records(&text(&after)));
        }
    }
}

//! Random histories of an installation, compared with a small reference model: requests one by one and
//! two at a time, for one host and for two, with addresses and with prefixes; crashes, failed or killed
//! restarts, edits, expiry, wiped files, power cuts with and without a copy to restore. After each step, the files and what dnsmasq would serve must match the model. In some of the
//! histories zones get dynamic updates, too: then what a real Knot serves must match as well.
//!
//! `DDNS_MODEL_HISTORIES` sets the number of histories, `DDNS_MODEL_SEED` repeats a failure's.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::process::Stdio;
use std::thread;

use base64ct::{Base64, Encoding};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Map, Value, json};

use crate::primary::{KNOT, NSUPDATE, Primary};
use crate::scene::{Cgi, Reply, Scene, can_run, signed, signed_2, tell};

const STRACE: &str = "/usr/bin/strace";

const HOSTS: [&str; 3] = ["a.example", "b.example", "c.example"];
const IPV4: [&str; 3] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
const IPV6: [&str; 2] = ["2001:db8::1", "2001:db8::2"];
const PREFIXES: [&str; 2] = ["2001:db8:a::/48", "2001:db8:b:c0::/60"];

/// What a hand writes into the state: interface identifiers, and an address that no prefix moves.
const BY_HAND: [&str; 3] = ["::7", "::5:0:0:0:7", "::1"];

/// None of them.
const ELSEWHERE: &str = "198.51.100.1";

/// Older than the stamp of any request.
const NEVER: i64 = -1;
/// Of the clock at the beginning of a history. The stamps of signed requests are older, or newer.
const NOW: i64 = 1000;
/// A host expires after this many seconds. With a stamp a little newer than `RECENT`, it does not within a
/// history; with one that is little more than 0, it has.
const EXPIRE_AFTER: i64 = 500;
const RECENT: i64 = NOW - EXPIRE_AFTER / 5;
/// Newer than that of any other request.
const LAST: i64 = 100_000;

/// Something that happens to the installation.
#[derive(Clone, Debug)]
enum Step {
    Request(Request),
    /// Two at the same time, for different hosts.
    Together(Request, Request),
    /// The process dies at this point, if it gets there.
    Crash(Request, Point),
    Restart(Restart),
    /// The same for dynamic updates.
    Update(Restart),
    /// A hand gives a host one of `BY_HAND`, and marks the change.
    Edit {
        host: usize,
        address: usize,
    },
    /// The operator lets hosts expire, or not, and marks the change.
    Expire(bool),
    WipeState,
    WipeHosts,
    /// Both files and the mark are copied to the disk.
    Save,
    /// The RAM disk is empty at boot, or the copy is restored; then dnsmasq starts.
    PowerCut {
        is_restored: bool,
    },
}

#[derive(Clone, Debug)]
struct Request {
    /// One, or two of user1.
    hosts: Vec<usize>,
    /// IPv4 and IPv6.
    named: Addresses,
    /// A place in `PREFIXES`.
    prefix: Option<usize>,
    /// Seconds after the beginning. A request with a password has none.
    stamp: i64,
    by: Sender,
    protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    /// It has one address, which it comes from.
    One,
    /// What it names is signed, and the request comes from elsewhere.
    Two,
    /// dyndns2. The server's clock counts.
    Password,
}

#[derive(Clone, Copy, Debug)]
enum Sender {
    Owner,
    WrongKey,
    /// A user who may not update the host.
    OtherUser,
}

/// The write before which a process dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    Stamp,
    State,
    Hosts,
    Restarter,
}

/// What becomes of a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Restart {
    #[default]
    Works,
    Fails,
    /// The restarter is killed.
    Dies,
}

/// The addresses of a host: IPv4 and IPv6.
type Addresses = [Option<IpAddr>; 2];

/// A host's record: its addresses and its stamp.
type Record = (Addresses, i64);

/// The address with the first bits of a prefix.
fn moved(prefix: &str, address: IpAddr) -> IpAddr {
    let (IpAddr::V6(address), Some((prefix, length))) = (address, prefix.split_once('/')) else {
        panic!("{prefix} and {address}")
    };
    let prefix: Ipv6Addr = prefix.parse().unwrap();
    let rest = 128 - length.parse::<u32>().unwrap();
    let (first, last) = (prefix.to_bits() >> rest << rest, address.to_bits() % (1 << rest));
    Ipv6Addr::from(first + last).into()
}

/// Whether DNS gets it, and no prefix is missing.
fn is_published(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V4(_))
        || address.is_loopback()
        || address.to_string().starts_with("2001:")
}

/// The reference.
#[derive(Clone, Debug, Default)]
struct Model {
    disk: Disk,
    copy: Option<Disk>,
    restart: Restart,
    served: BTreeMap<usize, Addresses>,
    /// Whether hosts expire.
    expires: bool,
    /// If zones get dynamic updates.
    zones: Option<Zones>,
}

/// Zones in the reference. Only the primary server outlives a power cut.
#[derive(Clone, Debug, Default)]
struct Zones {
    update: Restart,
    is_pending: bool,
    /// What the primary has acknowledged; `None` before the first update.
    acknowledged: Option<Acknowledged>,
    served: BTreeMap<usize, Addresses>,
    /// What is in the copy of the RAM disk.
    copy: Option<Acknowledged>,
}

/// What a primary has acknowledged, with the names of which nobody knows.
#[derive(Clone, Debug, Default)]
struct Acknowledged {
    hosts: BTreeMap<usize, Addresses>,
    in_doubt: BTreeSet<usize>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Disk {
    state: BTreeMap<usize, Record>,
    hosts: Option<BTreeMap<usize, Addresses>>,
    is_pending: bool,
}

impl Disk {
    /// The state, or if there is none, what the hosts file says.
    fn records(&self) -> BTreeMap<usize, Record> {
        if !self.state.is_empty() {
            return self.state.clone();
        }
        let hosts = self.hosts.clone().unwrap_or_default();
        hosts.into_iter().map(|(host, addresses)| (host, (addresses, NEVER))).collect()
    }
}

impl Request {
    /// What the host in this place of the list gets, if it has this IPv6 address.
    fn share(&self, place: usize, stored: Option<IpAddr>) -> Addresses {
        let [ipv4, own] = self.named;
        let stored = stored.filter(|address| !address.is_loopback());
        match self.prefix {
            Some(prefix) if place > 0 || own.is_none() => {
                [ipv4, stored.map(|stored| moved(PREFIXES[prefix], stored))]
            }
            _ => [ipv4, own],
        }
    }
}

/// What becomes of one host of a request.
enum Fate {
    Refused(&'static str),
    Repeated,
    Redundant,
    Changed,
}

impl Model {
    /// What the hosts file is to say.
    fn rendered(&self) -> BTreeMap<usize, Addresses> {
        let is_served =
            |(_, stamp): &Record| !self.expires || *stamp == NEVER || *stamp > NOW - EXPIRE_AFTER;
        let records = self.disk.records().into_iter().filter(|(_, record)| is_served(record));
        let published = |(host, (addresses, _)): (usize, Record)| {
            (host, addresses.map(|address| address.filter(is_published)))
        };
        records.map(published).filter(|(_, addresses)| *addresses != [None; 2]).collect()
    }

    /// What is to be published waits.
    fn mark(&mut self) {
        self.disk.is_pending = true;
        if let Some(zones) = &mut self.zones {
            zones.is_pending = true;
        }
    }

    /// The lines of the answer to a request; `None` if the process died. `stamp` tells the stamp that
    /// counts for a host.
    fn request(
        &mut self,
        request: &Request,
        death: Option<Point>,
        stamp: impl Fn(usize) -> i64,
    ) -> Option<String> {
        match request.by {
            Sender::Owner => {}
            Sender::WrongKey => return Some("badauth".to_owned()),
            Sender::OtherUser => return Some(vec!["nohost"; request.hosts.len()].join("\n")),
        }
        let mut records = self.disk.records();
        let (mut lines, mut is_accepted, mut is_stored, mut is_changed) =
            (Vec::new(), false, false, false);
        for (place, host) in request.hosts.iter().enumerate() {
            let (addresses, last) = records.get(host).copied().unwrap_or(([None; 2], NEVER));
            let share = request.share(place, addresses[1]);
            let fate = fate(request.protocol, share, (addresses, last), stamp(*host));
            let word = match fate {
                Fate::Refused(word) => {
                    lines.push(word.to_owned());
                    continue;
                }
                Fate::Changed => "good",
                Fate::Redundant | Fate::Repeated => "nochg",
            };
            is_accepted = true;
            is_changed |= matches!(fate, Fate::Changed);
            if !matches!(fate, Fate::Repeated) {
                is_stored = true;
                let new = [0, 1].map(|family| share[family].or(addresses[family]));
                records.insert(*host, (new, last.max(stamp(*host))));
            }
            let new: Vec<String> = share.iter().flatten().map(IpAddr::to_string).collect();
            lines.push(format!("{word} {}", new.join(",")));
        }
        if is_stored {
            self.store(records, is_changed, death)?;
        }
        if is_accepted {
            self.start_restarter(death)?;
        }
        Some(lines.join("\n"))
    }

    /// Stores new records; `None` if the process died.
    fn store(
        &mut self,
        records: BTreeMap<usize, Record>,
        is_changed: bool,
        death: Option<Point>,
    ) -> Option<()> {
        let dies = |point| if death == Some(point) { None } else { Some(()) };
        let is_wiped = self.disk.state.is_empty();
        let old = std::mem::replace(&mut self.disk.state, records);
        // Where hosts expire, one may have gone, or come back.
        let has_new_lines = self.expires && self.disk.hosts != Some(self.rendered());
        let new = std::mem::replace(&mut self.disk.state, old);
        if !is_changed && !has_new_lines && self.disk.hosts.is_some() {
            // In place, or as a new file if the state was wiped.
            dies(if is_wiped { Point::State } else { Point::Stamp })?;
            self.disk.state = new;
            return Some(());
        }
        self.mark();
        dies(Point::State)?;
        self.disk.state = new;
        dies(Point::Hosts)?;
        self.disk.hosts = Some(self.rendered());
        // Before the index, which only saves time. While hosts expire, there is none.
        if self.expires { Some(()) } else { dies(Point::Stamp) }
    }

    /// What an accepted request does about changes that wait; `None` if the process died.
    fn start_restarter(&mut self, death: Option<Point>) -> Option<()> {
        let zones = self.zones.as_ref();
        let is_due = zones.is_some_and(|zones| zones.is_pending || zones.acknowledged.is_none());
        if self.disk.is_pending || is_due {
            if death == Some(Point::Restarter) {
                return None;
            }
            // A restarter that brings the hosts file up to date marks that for the other target.
            let is_behind = self.disk.hosts.as_ref() != Some(&self.rendered());
            let is_restart_due = self.disk.is_pending;
            if is_restart_due {
                self.restart();
            }
            if is_due {
                self.update();
            }
            match &mut self.zones {
                Some(zones) if is_behind && !is_due => zones.is_pending = true,
                Some(_) if is_behind && !is_restart_due => self.disk.is_pending = true,
                _ => {}
            }
        }
        Some(())
    }

    fn restart(&mut self) {
        self.disk.hosts = Some(self.rendered());
        if self.restart == Restart::Works {
            self.served = self.rendered();
            self.disk.is_pending = false;
        }
    }

    /// The primary learns the difference between what is to be served and what it has acknowledged.
    fn update(&mut self) {
        let wanted = self.rendered();
        self.disk.hosts = Some(wanted.clone());
        let Some(zones) = &mut self.zones else { return };
        let acknowledged = zones.acknowledged.clone().unwrap_or_default();
        let is_changed = |host: &usize| {
            acknowledged.in_doubt.contains(host) || acknowledged.hosts.get(host) != wanted.get(host)
        };
        let changed: BTreeSet<usize> = (0..HOSTS.len()).filter(is_changed).collect();
        let is_done = changed.is_empty() || zones.update == Restart::Works;
        let in_doubt = if is_done { BTreeSet::new() } else { changed.clone() };
        zones.acknowledged = Some(Acknowledged { hosts: wanted.clone(), in_doubt });
        // Even if there was no mark before the first update.
        zones.is_pending = !is_done;
        // A restarter that dies does so after the primary has the update.
        if zones.update != Restart::Fails {
            for host in changed {
                zones.served.remove(&host);
                zones.served.extend(wanted.get(&host).map(|addresses| (host, *addresses)));
            }
        }
    }

    fn cut_power(&mut self, is_restored: bool) {
        self.disk = self.copy.clone().filter(|_| is_restored).unwrap_or_default();
        self.served = self.disk.hosts.clone().unwrap_or_default();
        if let Some(zones) = &mut self.zones {
            // The copy tells the names that may be there, and not what the primary has of them.
            zones.acknowledged = zones.copy.clone().filter(|_| is_restored).map(|copy| {
                let names = copy.hosts.keys().chain(&copy.in_doubt).copied().collect();
                Acknowledged { hosts: BTreeMap::new(), in_doubt: names }
            });
            zones.is_pending = zones.acknowledged.is_some();
        }
    }
}

/// What becomes of a host with this record, if it is to get these addresses.
fn fate(protocol: Protocol, share: Addresses, (stored, last): Record, stamp: i64) -> Fate {
    let is_signed = protocol != Protocol::Password;
    let holds =
        [0, 1].iter().all(|family| share[*family].is_none_or(|new| stored[*family] == Some(new)));
    match stamp {
        _ if share == [None; 2] && !(is_signed && stamp < last) => Fate::Refused("noip6"),
        _ if stamp == last && holds => Fate::Repeated,
        _ if stamp <= last && is_signed => Fate::Refused("replay"),
        _ if holds => Fate::Redundant,
        _ => Fate::Changed,
    }
}

/// The real program with real files.
struct Real {
    scene: Scene,
    /// `NOW` seconds before the history began.
    beginning: Cell<DateTime<Utc>>,
    /// If zones get dynamic updates.
    primary: Option<Primary>,
}

/// The files in the state's folder that a history can change.
const FILES: [&str; 4] = ["ip.txt", "hosts.dns", ".hosts.dns.pending", ".hosts.dns.published"];

impl Real {
    fn new(has_zones: bool) -> Self {
        let scene = Scene::on_ram_disk();
        let credentials = json!({
            "user1": {"id": [HOSTS[0], HOSTS[1]], "key": "secretkey1"},
            "user2": {"id": [HOSTS[2]], "key": "secretkey2"},
        });
        scene.write("etc/credentials.json", &credentials.to_string());
        let primary = has_zones.then(|| Primary::start(&scene));
        Self { scene, beginning: Cell::default(), primary }
    }

    fn clear(&self) {
        let folder = self.scene.path("www/ramcache");
        for entry in fs::read_dir(folder).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    /// What dnsmasq has read.
    fn serve(&self) {
        let hosts = fs::read(self.scene.path("www/ramcache/hosts.dns")).unwrap_or_default();
        fs::write(self.scene.path("run/served"), hosts).unwrap();
    }

    /// Configures what becomes of a restart, and of a dynamic update.
    fn configure(&self, model: &Model) {
        let served = self.scene.path("run/served");
        let command = match model.restart {
            Restart::Works => json!(["cp", self.scene.path("www/ramcache/hosts.dns"), served]),
            Restart::Fails => json!(["false"]),
            Restart::Dies => json!(["sh", "-c", "kill -KILL $PPID"]),
        };
        let mut config = json!({"restart": command, "window": 1_000_000});
        if model.expires {
            config["expire_after"] = EXPIRE_AFTER.into();
        }
        if let (Some(primary), Some(zones)) = (&self.primary, &model.zones) {
            let command = match zones.update {
                Restart::Works => "UPDATE",
                Restart::Fails => "echo REFUSED; false",
                Restart::Dies => "UPDATE; kill -KILL $PPID",
            };
            config["publish"] = primary.publish(&self.scene, command);
        }
        self.scene.configure(&config);
    }

    /// Forgets all hosts, in the primary, too.
    fn forget_zones(&self) {
        let Some(primary) = &self.primary else { return };
        let delete = |host| format!("update delete {host}. A\nupdate delete {host}. AAAA\n");
        primary.send(&self.scene, "example", &HOSTS.map(delete).concat());
    }

    /// The run of a request.
    fn cgi(&self, request: &Request) -> Cgi {
        let is_users1 = request.hosts[0] < 2;
        let (user, key) = match (request.by, is_users1) {
            (Sender::Owner, true) | (Sender::OtherUser, false) => ("user1", "secretkey1"),
            (Sender::Owner, false) | (Sender::OtherUser, true) => ("user2", "secretkey2"),
            (Sender::WrongKey, true) => ("user1", "secretkey2"),
            (Sender::WrongKey, false) => ("user2", "secretkey1"),
        };
        let hosts: Vec<&str> = request.hosts.iter().map(|host| HOSTS[*host]).collect();
        let (hosts, time) = (hosts.join(","), self.time(request.stamp));
        let [ip, ip6] =
            request.named.map(|address| address.map(|a| a.to_string()).unwrap_or_default());
        let prefix = request.prefix.map_or("", |prefix| PREFIXES[prefix]);
        match request.protocol {
            Protocol::One => self.scene.cgi(&[ip, ip6].concat(), &signed(user, key, &hosts, &time)),
            Protocol::Two => {
                let ip6 = [&*ip6, prefix].concat();
                self.scene.cgi(ELSEWHERE, &signed_2(user, key, &hosts, &time, [&ip, &ip6]))
            }
            Protocol::Password => {
                let mut query = format!("hostname={hosts}&myip={ip},{ip6}");
                // Without one, the parameter would say that the router has a network.
                if !prefix.is_empty() {
                    query += &format!("&ip6lanprefix={prefix}");
                }
                let login = Base64::encode_string(format!("{user}:{key}").as_bytes());
                self.scene
                    .cgi(ELSEWHERE, &query)
                    .env("PATH_INFO", "/nic/update")
                    .env("HTTPS", "on")
                    .env("HTTP_AUTHORIZATION", &format!("Basic {login}"))
            }
        }
    }

    fn time(&self, stamp: i64) -> String {
        (self.beginning.get() + TimeDelta::seconds(stamp)).format("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// Sends requests, all at the same time; the answers, `None` of one that died.
    fn send(&self, requests: &[&Request], death: Option<Point>) -> Vec<Option<String>> {
        let injection = death.map(|point| match point {
            Point::Stamp => "inject=pwrite64:signal=KILL:when=1",
            Point::State => "inject=rename:signal=KILL:when=1",
            Point::Hosts => "inject=rename:signal=KILL:when=2",
            Point::Restarter => "inject=clone,clone3,fork,vfork:signal=KILL:when=1",
        });
        let children: Vec<_> = requests
            .iter()
            .map(|request| {
                let mut cgi = self.cgi(request);
                if let Some(injection) = injection {
                    cgi = cgi.by(&[STRACE, "-o", "/dev/null", "-e", injection, "--"]);
                }
                // A restarter inherits standard output, so its end is the restarter's end too.
                cgi = cgi.by(&["/bin/sh", "-c", "exec \"$0\" \"$@\" 3>&1"]);
                cgi.0.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        children
            .into_iter()
            .map(|child| child.wait_with_output().unwrap())
            .map(|output| output.status.success().then(|| Reply::from_cgi(&output).line))
            .collect()
    }

    /// Does a step here and in the model, and compares the answers.
    fn step(&self, step: &Step, model: &mut Model) -> Result<(), TestCaseError> {
        match step {
            Step::Request(request) if request.protocol == Protocol::Password => {
                self.step_with_password(request, model)?;
            }
            Step::Request(request) => {
                let expected = model.request(request, None, |_| request.stamp);
                prop_assert_eq!(self.send(&[request], None), [expected]);
            }
            Step::Together(one, other) => {
                // A restarter that fails may or may not have seen the other request.
                let one_by_one = model.zones.as_ref().is_some_and(|z| z.update != Restart::Works);
                let answers = if one_by_one {
                    [self.send(&[one], None), self.send(&[other], None)].concat()
                } else {
                    self.send(&[one, other], None)
                };
                let expected =
                    [one, other].map(|request| model.request(request, None, |_| request.stamp));
                prop_assert_eq!(answers, expected);
            }
            Step::Crash(request, point) => {
                let answers = self.send(&[request], Some(*point));
                let expected = model.request(request, Some(*point), |_| request.stamp);
                prop_assert_eq!(answers, [expected]);
            }
            Step::Restart(restart) => {
                model.restart = *restart;
                self.configure(model);
            }
            Step::Update(update) => {
                if let Some(zones) = &mut model.zones {
                    zones.update = *update;
                }
                self.configure(model);
            }
            Step::Edit { host, address } => {
                let mut records = model.disk.records();
                let record = records.entry(*host).or_insert(([None; 2], NEVER));
                record.0[1] = Some(BY_HAND[*address].parse().unwrap());
                model.disk.state = records;
                self.edit(&model.disk.state);
                self.mark(model);
            }
            Step::Expire(expires) => {
                model.expires = *expires;
                self.configure(model);
                self.mark(model);
            }
            Step::WipeState => {
                model.disk.state.clear();
                let _ = fs::remove_file(self.scene.path("www/ramcache/ip.txt"));
            }
            Step::WipeHosts => {
                model.disk.hosts = None;
                let _ = fs::remove_file(self.scene.path("www/ramcache/hosts.dns"));
            }
            Step::Save => {
                model.copy = Some(model.disk.clone());
                if let Some(zones) = &mut model.zones {
                    zones.copy = zones.acknowledged.clone();
                }
                self.copy("www/ramcache", "run/copy");
            }
            Step::PowerCut { is_restored } => {
                model.cut_power(*is_restored);
                self.clear();
                if *is_restored {
                    self.copy("run/copy", "www/ramcache");
                    self.restore_published();
                }
                self.serve();
            }
        }
        self.compare(model)
    }

    /// A request whose stamp is the server's. The state tells which second that was.
    fn step_with_password(
        &self,
        request: &Request,
        model: &mut Model,
    ) -> Result<(), TestCaseError> {
        let second = || (Utc::now() - self.beginning.get()).num_seconds();
        let earliest = second();
        let answers = self.send(&[request], None);
        let clock = earliest..=second();
        let state = self.state();
        let stamp = |host: usize| {
            let text = state.get(HOSTS[host]).and_then(|record| record["update"].as_str());
            let moment = text.map(|text| format!("{}Z", text.replace(' ', "T")));
            let moment = moment.map(|text| DateTime::parse_from_rfc3339(&text).unwrap().to_utc());
            moment.map_or(NEVER, |moment| (moment - self.beginning.get()).num_seconds())
        };
        let before = model.disk.records();
        prop_assert_eq!(answers, [model.request(request, None, stamp)]);
        for (host, (_, new)) in model.disk.records() {
            // Never older than the stored one.
            let old = before.get(&host).map_or(NEVER, |(_, old)| *old);
            prop_assert!(new == old || new > old && clock.contains(&new), "{new} after {old}");
        }
        Ok(())
    }

    fn state(&self) -> BTreeMap<String, Value> {
        let text = fs::read_to_string(self.scene.path("www/ramcache/ip.txt"));
        text.map(|text| serde_json::from_str(&text).unwrap()).unwrap_or_default()
    }

    /// Writes the state as an editor does, as a new file. The hosts keep their order, which is that of
    /// the hosts file if there is no state.
    fn edit(&self, state: &BTreeMap<usize, Record>) {
        let read = |name| fs::read_to_string(self.scene.path(name)).unwrap_or_default();
        let old = [read("www/ramcache/ip.txt"), read("www/ramcache/hosts.dns")].concat();
        let mut hosts: Vec<_> = state.keys().collect();
        hosts.sort_by_key(|host| old.find(HOSTS[**host]).unwrap_or(usize::MAX));
        let records = hosts.iter().map(|host| self.entry(**host, &state[*host]));
        let new: Map<String, Value> = records.collect();
        let name = "www/ramcache/ip.txt";
        self.scene.write("www/ramcache/ip.txt~", &serde_json::to_string_pretty(&new).unwrap());
        fs::rename(self.scene.path("www/ramcache/ip.txt~"), self.scene.path(name)).unwrap();
    }

    /// Marks that what is to be published waits.
    fn mark(&self, model: &mut Model) {
        model.mark();
        self.scene.write("www/ramcache/.hosts.dns.pending", "changed by hand\n");
        if self.primary.is_some() {
            self.scene.write("www/ramcache/.hosts.dns.publish.pending", "changed by hand\n");
        }
    }

    /// Does what `ddns-ramcache restore` does about zones.
    fn restore_published(&self) {
        let published = self.scene.path("www/ramcache/.hosts.dns.published");
        let Ok(text) = fs::read_to_string(&published) else { return };
        let (_, names) = text.split_once('\n').unwrap();
        fs::write(published, names).unwrap();
        self.scene.write("www/ramcache/.hosts.dns.publish.pending", "changed restored\n");
    }

    /// Copies the files from one folder to another.
    fn copy(&self, from: &str, to: &str) {
        fs::create_dir_all(self.scene.path(to)).unwrap();
        for name in FILES {
            let target = self.scene.path(to).join(name);
            let _ = fs::remove_file(&target);
            let _ = fs::copy(self.scene.path(from).join(name), target);
        }
    }

    fn compare(&self, model: &Model) -> Result<(), TestCaseError> {
        let read = |name: &str| fs::read_to_string(self.scene.path(name)).ok();
        let expected: BTreeMap<String, Value> =
            model.disk.state.iter().map(|(host, record)| self.entry(*host, record)).collect();
        prop_assert_eq!(self.state(), expected);
        let hosts = read("www/ramcache/hosts.dns").map(|text| sorted(&text));
        let mark = fs::read_to_string(self.scene.mark());
        prop_assert_eq!(hosts, model.disk.hosts.as_ref().map(lines), "the mark: {:?}", mark);
        prop_assert_eq!(sorted(&read("run/served").unwrap_or_default()), lines(&model.served));
        prop_assert_eq!(self.scene.mark().exists(), model.disk.is_pending);
        if let (Some(primary), Some(zones)) = (&self.primary, &model.zones) {
            let served = HOSTS.iter().flat_map(|host| {
                let addresses = primary.addresses(host).into_iter();
                addresses.map(move |address| format!("{address} {host}\n"))
            });
            let served = sorted(&served.collect::<String>());
            let mark = read("www/ramcache/.hosts.dns.publish.pending");
            prop_assert_eq!(served, lines(&zones.served), "mark: {:?}", mark);
            prop_assert_eq!(mark.is_some(), zones.is_pending, "mark: {:?}", mark);
        }
        Ok(())
    }

    /// A host's entry of the state.
    fn entry(&self, host: usize, (addresses, stamp): &Record) -> (String, Value) {
        let update =
            if *stamp == NEVER { "1970-01-01 00:00:00".to_owned() } else { self.time(*stamp) };
        let mut record = json!({"update": update});
        for (field, address) in ["ip", "ip6"].into_iter().zip(addresses) {
            if let Some(address) = address {
                record[field] = address.to_string().into();
            }
        }
        (HOSTS[host].to_owned(), record)
    }

    fn run(&self, steps: &[Step]) -> Result<(), TestCaseError> {
        self.beginning.set(Utc::now().trunc_subsecs(0) - TimeDelta::seconds(NOW));
        self.clear();
        self.copy("www/ramcache", "run/copy");
        self.serve();
        self.forget_zones();
        let zones = self.primary.as_ref().map(|_| Zones::default());
        let mut model = Model { zones, ..Model::default() };
        self.configure(&model);
        for step in steps {
            self.step(step, &mut model)?;
        }
        let cuts_power = steps.iter().any(|step| matches!(step, Step::PowerCut { .. }));
        self.step(&Step::Restart(Restart::Works), &mut model)?;
        self.step(&Step::Update(Restart::Works), &mut model)?;
        // Whatever happened, the next accepted request (redundant if the host is known) repairs it all.
        let known = model.disk.records().get(&2).and_then(|(addresses, _)| addresses[0]);
        let next = Request {
            hosts: vec![2],
            named: [Some(known.unwrap_or_else(|| IPV4[0].parse().unwrap())), None],
            prefix: None,
            stamp: LAST,
            by: Sender::Owner,
            protocol: Protocol::One,
        };
        self.step(&Step::Request(next), &mut model)?;
        prop_assert!(!model.disk.is_pending);
        if let Some(zones) = &model.zones {
            prop_assert!(!zones.is_pending);
            // The zone may still have a host of which no file tells after a power cut.
            let wanted = model.rendered();
            let is_lost = |host: &usize| cuts_power && !wanted.contains_key(host);
            let served = zones.served.clone().into_iter().filter(|(host, _)| !is_lost(host));
            prop_assert_eq!(served.collect::<BTreeMap<_, _>>(), wanted);
        }
        prop_assert_eq!(model.disk.hosts.as_ref(), Some(&model.rendered()));
        Ok(())
    }
}

/// The lines of a hosts file, sorted.
fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn lines(hosts: &BTreeMap<usize, Addresses>) -> Vec<String> {
    let line = |host: usize, address: IpAddr| format!("{address} {}\n", HOSTS[host]);
    let lines = hosts.iter().flat_map(|(host, addresses)| {
        addresses.iter().flatten().map(move |address| line(*host, *address))
    });
    sorted(&lines.collect::<String>())
}

/// A request for one of these hosts.
fn a_request(hosts: std::ops::Range<usize>) -> impl Strategy<Value = Request> {
    a_request_for(hosts.prop_map(|host| vec![host]), prop_oneof![Just(Protocol::One), two()])
}

/// One for both hosts of user1, or by dyndns2.
fn a_request_of_any_kind() -> impl Strategy<Value = Request> {
    let hosts = prop_oneof![
        2 => Just(vec![0, 1]),
        2 => Just(vec![1, 0]),
        1 => (0..3_usize).prop_map(|host| vec![host]),
    ];
    a_request_for(hosts, prop_oneof![2 => two(), 1 => Just(Protocol::Password)])
}

fn two() -> Just<Protocol> {
    Just(Protocol::Two)
}

fn a_request_for(
    hosts: impl Strategy<Value = Vec<usize>>,
    protocol: impl Strategy<Value = Protocol>,
) -> impl Strategy<Value = Request> {
    let by = prop_oneof![
        8 => Just(Sender::Owner),
        1 => Just(Sender::WrongKey),
        1 => Just(Sender::OtherUser),
    ];
    let stamp = prop_oneof![
        4 => 0_i64..12,
        4 => RECENT..RECENT + 12,
        1 => 2 * NOW..2 * NOW + 12,
    ];
    // Bits: which of IPv4, IPv6 and prefix it names.
    (hosts, 1..8_u8, 0..IPV4.len(), 0..IPV6.len(), 0..PREFIXES.len(), stamp, by, protocol).prop_map(
        |(hosts, names, ipv4, ipv6, prefix, stamp, by, protocol)| {
            let bits = match (protocol, names) {
                // There is room for one.
                (Protocol::One, _) => 1 + names % 2,
                (Protocol::Two, 6..) => names - 2,
                _ => names,
            };
            let name = |bit: u8, text: &str| (bits & bit > 0).then(|| text.parse().unwrap());
            Request {
                hosts,
                named: [name(1, IPV4[ipv4]), name(2, IPV6[ipv6])],
                prefix: (bits & 4 > 0).then_some(prefix),
                stamp,
                by,
                protocol,
            }
        },
    )
}

fn a_step() -> impl Strategy<Value = Step> {
    let point = prop_oneof![
        Just(Point::Stamp),
        Just(Point::State),
        Just(Point::Hosts),
        Just(Point::Restarter)
    ];
    let restart = || prop_oneof![Just(Restart::Works), Just(Restart::Fails), Just(Restart::Dies)];
    prop_oneof![
        7 => a_request(0..3).prop_map(Step::Request),
        4 => a_request_of_any_kind().prop_map(Step::Request),
        2 => (a_request(0..1), a_request(1..3)).prop_map(|(one, other)| Step::Together(one, other)),
        4 => (a_request(0..3), point).prop_map(|(request, point)| Step::Crash(request, point)),
        2 => restart().prop_map(Step::Restart),
        2 => restart().prop_map(Step::Update),
        2 => (0..3_usize, 0..BY_HAND.len())
            .prop_map(|(host, address)| Step::Edit { host, address }),
        1 => any::<bool>().prop_map(Step::Expire),
        1 => Just(Step::WipeState),
        1 => Just(Step::WipeHosts),
        1 => Just(Step::Save),
        1 => any::<bool>().prop_map(|is_restored| Step::PowerCut { is_restored }),
    ]
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn every_history_ends_with_both_files_and_dnsmasq_as_the_model_says() {
    if can_run("the model test", &[STRACE]) {
        run_histories(10_000, false);
    }
}

#[test]
fn every_history_ends_with_the_zones_as_the_model_says() {
    if can_run("the model test with zones", &[STRACE, KNOT, NSUPDATE]) {
        run_histories(1000, true);
    }
}

fn run_histories(usual: u64, has_zones: bool) {
    let histories = number("DDNS_MODEL_HISTORIES").unwrap_or(usual);
    let seed = number("DDNS_MODEL_SEED").unwrap_or_else(|| Utc::now().timestamp().unsigned_abs());
    // Most of the time, a history waits for processes.
    let workers = 4 * thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let worker = |seed| {
        let real = Real::new(has_zones);
        let config = Config {
            cases: u32::try_from(histories.div_ceil(workers)).expect("fewer histories"),
            rng_seed: RngSeed::Fixed(seed),
            failure_persistence: None,
            ..Config::default()
        };
        let histories = prop::collection::vec(a_step(), 1..16);
        TestRunner::new(config).run(&histories, |steps| real.run(&steps)).map_err(|failure| {
            format!("to repeat: DDNS_MODEL_SEED={seed}; the shortest such history: {failure}")
        })
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|n| scope.spawn(move || worker(seed + n))).collect();
        for thread in threads {
            if let Err(failure) = thread.join().expect("the history runs") {
                panic!("{failure}");
            }
        }
    });
    let with = if has_zones { " with zones" } else { "" };
    tell(&format!("measured: {histories} random histories{with} as the model says, seed {seed}"));
}

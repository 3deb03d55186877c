//! Random histories of an installation, compared with a small reference model: requests one by one and
//! two at a time, crashes, failed or killed restarts, wiped files, power cuts with and without a copy to
//! restore. After each step, the files and what dnsmasq would serve must match the model. In some of the
//! histories zones get dynamic updates, too: then what a real Knot serves must match as well.
//!
//! `DDNS_MODEL_HISTORIES` sets the number of histories, `DDNS_MODEL_SEED` repeats a failure's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Stdio;
use std::thread;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use crate::primary::{KNOT, NSUPDATE, Primary};
use crate::scene::{Reply, Scene, can_run, signed, signed_2, tell};

const STRACE: &str = "/usr/bin/strace";

const HOSTS: [&str; 3] = ["a.example", "b.example", "c.example"];
const ADDRESSES: [&str; 5] = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"];

/// None of them.
const ELSEWHERE: &str = "198.51.100.1";

/// Older than the stamp of any request.
const NEVER: i64 = -1;
/// Newer than that of any other request.
const LAST: i64 = 99;

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
    host: usize,
    address: usize,
    /// Seconds after the beginning.
    stamp: i64,
    by: Sender,
    protocol: Protocol,
}

#[derive(Clone, Copy, Debug)]
enum Protocol {
    One,
    /// The address is signed, and the request comes from elsewhere.
    Two,
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

/// The addresses of a host: IPv4 and IPv6, as places in `ADDRESSES`.
type Addresses = [Option<usize>; 2];

/// The reference.
#[derive(Clone, Debug, Default)]
struct Model {
    disk: Disk,
    copy: Option<Disk>,
    restart: Restart,
    served: BTreeMap<usize, Addresses>,
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
    state: BTreeMap<usize, (Addresses, i64)>,
    hosts: Option<BTreeMap<usize, Addresses>>,
    is_pending: bool,
}

impl Disk {
    /// The state, or if there is none, what the hosts file says.
    fn records(&self) -> BTreeMap<usize, (Addresses, i64)> {
        if !self.state.is_empty() {
            return self.state.clone();
        }
        let hosts = self.hosts.clone().unwrap_or_default();
        hosts.into_iter().map(|(host, addresses)| (host, (addresses, NEVER))).collect()
    }

    fn rendered(&self) -> BTreeMap<usize, Addresses> {
        self.records().into_iter().map(|(host, (addresses, _))| (host, addresses)).collect()
    }
}

impl Model {
    /// The answer to a request; `None` if the process died.
    fn request(&mut self, request: &Request, death: Option<Point>) -> Option<String> {
        match request.by {
            Sender::Owner => {}
            Sender::WrongKey => return Some("badauth".to_owned()),
            Sender::OtherUser => return Some("nohost".to_owned()),
        }
        let disk = &mut self.disk;
        let mut records = disk.records();
        let (addresses, stamp) = records.entry(request.host).or_insert(([None; 2], NEVER));
        let family = &mut addresses[usize::from(ADDRESSES[request.address].contains(':'))];
        let holds = *family == Some(request.address);
        let is_repeated = *stamp == request.stamp && holds;
        if !is_repeated && request.stamp <= *stamp {
            return Some("replay".to_owned());
        }
        *family = Some(request.address);
        *stamp = request.stamp;
        if !is_repeated && holds && disk.hosts.is_some() {
            // In place, or as a new file if the state was wiped.
            let point = if disk.state.is_empty() { Point::State } else { Point::Stamp };
            if death == Some(point) {
                return None;
            }
            disk.state = records;
        } else if !is_repeated {
            disk.is_pending = true;
            if let Some(zones) = &mut self.zones {
                zones.is_pending = true;
            }
            if death == Some(Point::State) {
                return None;
            }
            disk.state = records;
            if death == Some(Point::Hosts) {
                return None;
            }
            disk.hosts = Some(disk.rendered());
            // Before the index, which only saves time.
            if death == Some(Point::Stamp) {
                return None;
            }
        }
        let zones = self.zones.as_ref();
        let is_due = zones.is_some_and(|zones| zones.is_pending || zones.acknowledged.is_none());
        if disk.is_pending || is_due {
            if death == Some(Point::Restarter) {
                return None;
            }
            // A restarter that brings the hosts file up to date marks that for the other target.
            let is_behind = disk.hosts.as_ref() != Some(&disk.rendered());
            let is_restart_due = disk.is_pending;
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
        let word = if holds { "nochg" } else { "good" };
        Some(format!("{word} {}", ADDRESSES[request.address]))
    }

    fn restart(&mut self) {
        self.disk.hosts = Some(self.disk.rendered());
        if self.restart == Restart::Works {
            self.served = self.disk.rendered();
            self.disk.is_pending = false;
        }
    }

    /// The primary learns the difference between what is to be served and what it has acknowledged.
    fn update(&mut self) {
        let wanted = self.disk.rendered();
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

/// The real program with real files.
struct Real {
    scene: Scene,
    beginning: DateTime<Utc>,
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
        Self { scene, beginning: Utc::now(), primary }
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

    fn query(&self, request: &Request) -> String {
        let is_users1 = request.host < 2;
        let (user, key) = match (request.by, is_users1) {
            (Sender::Owner, true) | (Sender::OtherUser, false) => ("user1", "secretkey1"),
            (Sender::Owner, false) | (Sender::OtherUser, true) => ("user2", "secretkey2"),
            (Sender::WrongKey, true) => ("user1", "secretkey2"),
            (Sender::WrongKey, false) => ("user2", "secretkey1"),
        };
        let (host, time) = (HOSTS[request.host], self.time(request.stamp));
        let address = ADDRESSES[request.address];
        match request.protocol {
            Protocol::One => signed(user, key, host, &time),
            Protocol::Two if address.contains(':') => {
                signed_2(user, key, host, &time, ["", address])
            }
            Protocol::Two => signed_2(user, key, host, &time, [address, ""]),
        }
    }

    fn time(&self, stamp: i64) -> String {
        (self.beginning + TimeDelta::seconds(stamp)).format("%Y-%m-%d %H:%M:%S").to_string()
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
                let sender = match request.protocol {
                    Protocol::One => ADDRESSES[request.address],
                    Protocol::Two => ELSEWHERE,
                };
                let mut cgi = self.scene.cgi(sender, &self.query(request));
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
            Step::Request(request) => {
                prop_assert_eq!(self.send(&[request], None), [model.request(request, None)]);
            }
            Step::Together(one, other) => {
                // A restarter that fails may or may not have seen the other request.
                let one_by_one = model.zones.as_ref().is_some_and(|z| z.update != Restart::Works);
                let answers = if one_by_one {
                    [self.send(&[one], None), self.send(&[other], None)].concat()
                } else {
                    self.send(&[one, other], None)
                };
                let expected = [one, other].map(|request| model.request(request, None));
                prop_assert_eq!(answers, expected);
            }
            Step::Crash(request, point) => {
                let answers = self.send(&[request], Some(*point));
                prop_assert_eq!(answers, [model.request(request, Some(*point))]);
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
        let state = read("www/ramcache/ip.txt").unwrap_or_else(|| "{}".to_owned());
        let state: BTreeMap<String, Value> = serde_json::from_str(&state).unwrap();
        let expected: BTreeMap<String, Value> =
            model.disk.state.iter().map(|(host, record)| self.entry(*host, record)).collect();
        prop_assert_eq!(state, expected);
        let hosts = read("www/ramcache/hosts.dns").map(|text| sorted(&text));
        prop_assert_eq!(hosts, model.disk.hosts.as_ref().map(lines));
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
    fn entry(&self, host: usize, (addresses, stamp): &(Addresses, i64)) -> (String, Value) {
        let update =
            if *stamp == NEVER { "1970-01-01 00:00:00".to_owned() } else { self.time(*stamp) };
        let mut record = json!({"update": update});
        for (field, address) in ["ip", "ip6"].into_iter().zip(addresses) {
            if let Some(address) = address {
                record[field] = ADDRESSES[*address].into();
            }
        }
        (HOSTS[host].to_owned(), record)
    }

    fn run(&self, steps: &[Step]) -> Result<(), TestCaseError> {
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
        let address = known.unwrap_or(0);
        let (by, protocol) = (Sender::Owner, Protocol::One);
        let next = Request { host: 2, address, stamp: LAST, by, protocol };
        self.step(&Step::Request(next), &mut model)?;
        prop_assert!(!model.disk.is_pending);
        if let Some(zones) = &model.zones {
            prop_assert!(!zones.is_pending);
            // The zone may still have a host of which no file tells after a power cut.
            let wanted = model.disk.rendered();
            let is_lost = |host: &usize| cuts_power && !wanted.contains_key(host);
            let served = zones.served.clone().into_iter().filter(|(host, _)| !is_lost(host));
            prop_assert_eq!(served.collect::<BTreeMap<_, _>>(), wanted);
        }
        prop_assert_eq!(model.disk.hosts.as_ref(), Some(&model.disk.rendered()));
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
    let line = |host: usize, address: usize| format!("{} {}\n", ADDRESSES[address], HOSTS[host]);
    let lines = hosts.iter().flat_map(|(host, addresses)| {
        addresses.iter().flatten().map(move |address| line(*host, *address))
    });
    sorted(&lines.collect::<String>())
}

fn a_request(hosts: std::ops::Range<usize>) -> impl Strategy<Value = Request> {
    let by = prop_oneof![
        8 => Just(Sender::Owner),
        1 => Just(Sender::WrongKey),
        1 => Just(Sender::OtherUser),
    ];
    let protocol = prop_oneof![Just(Protocol::One), Just(Protocol::Two)];
    (hosts, 0..ADDRESSES.len(), 0_i64..12, by, protocol).prop_map(
        |(host, address, stamp, by, protocol)| Request { host, address, stamp, by, protocol },
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
        10 => a_request(0..3).prop_map(Step::Request),
        2 => (a_request(0..1), a_request(1..3)).prop_map(|(one, other)| Step::Together(one, other)),
        4 => (a_request(0..3), point).prop_map(|(request, point)| Step::Crash(request, point)),
        2 => restart().prop_map(Step::Restart),
        2 => restart().prop_map(Step::Update),
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

//! Sixty-four clients at once, through a web server to the real dnsmasq, which is queried throughout:
//! nothing is lost, nothing is wrong. And what the FastCGI process takes after many requests.
//!
//! `DDNS_LOAD_REQUESTS` is the number of requests through each web server, `DDNS_STAY_REQUESTS` of those
//! that one process answers.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::dnsmasq::{DNSMASQ, Dnsmasq, Resolver};
use crate::fastcgi::{ADDRESS, get, line};
use crate::fastcgi_client::{Connection, FastCgi, Footprint, ask, request};
use crate::fastcgi_process::children;
use crate::plan::{Client, Host, first_state};
use crate::scene::{Scene, can_run, eventually, is_root, signed, tell, time, web_user};
use crate::transport::Way;

const CLIENTS: usize = 64;

/// In a normal test run.
const REQUESTS: usize = 2000;

/// Seconds between restarts of dnsmasq: shorter than any operator would have it.
const INTERVAL: u64 = 1;

/// The pause between two queries to dnsmasq.
const PAUSE: Duration = Duration::from_millis(2);

#[test]
fn sixty_four_clients_lose_nothing_under_mod_cgi() {
    load("mod_cgi", Way::ApachePreforkCgi);
}

#[test]
fn sixty_four_clients_lose_nothing_under_mod_cgid() {
    load("mod_cgid", Way::ApacheEventCgid);
}

#[test]
fn sixty_four_clients_lose_nothing_under_mod_proxy_fcgi() {
    load("mod_proxy_fcgi", Way::ApacheFastCgi);
}

#[test]
fn sixty_four_clients_lose_nothing_under_nginx() {
    load("nginx", Way::Nginx);
}

fn load(module: &str, way: Way) {
    let needs = [DNSMASQ, "/usr/bin/curl", "/usr/bin/setpriv", "/dev/shm"];
    let test = format!("load under {module}");
    if !way.can_run(&test) || !can_run(&test, &needs) {
        return;
    }
    let requests = std::env::var("DDNS_LOAD_REQUESTS").map_or(REQUESTS, |n| n.parse().unwrap());
    let scene = Scene::new();
    let _ram_disk = put_on_ram_disk(&scene);
    let front = way.start_server(&scene);
    let clients = prepare(&scene, requests, &front.url("/ip.php"));
    let dnsmasq = Dnsmasq::start(&scene);

    let started = Instant::now();
    let (outputs, served) = thread::scope(|scope| {
        // When it is dropped, even by a panic, the queries end.
        let (questions, until) = channel::<()>();
        let (clients, mut resolver) = (&clients, dnsmasq.resolver());
        let served = scope.spawn(move || ask_all_the_while(clients, &mut resolver, &until));
        let outputs = send_all(&scene, clients);
        eventually("dnsmasq serves the last change", || !scene.mark().exists());
        drop(questions);
        (outputs, served.join().unwrap())
    });
    let seconds = started.elapsed().as_secs();

    let answered = compare_answers(&clients, &outputs);
    let restarts = scene.restarts();
    tell(&format!(
        "measured: load under {module}: {requests} requests by {CLIENTS} clients in {seconds} s, \
         {} errors; {}; {} restarts; {}",
        answered.errors.len(),
        served.describe(),
        restarts.len(),
        answered.describe()
    ));
    assert_eq!(answered.count, requests);
    assert!(answered.errors.is_empty(), "{}", some(&answered.errors));
    assert!(served.wrong.is_empty(), "{}", some(&served.wrong));
    assert!(served.asked > 2 * served.lost, "most questions are answered");
    compare_log(&scene.read(front.log()), &clients);
    compare_files(&scene, &clients);
    let mut resolver = dnsmasq.resolver();
    for host in hosts(&clients) {
        assert_eq!(resolver.ask(&host.name).unwrap(), host.addresses.last().copied());
    }
    assert!(restarts.len() as u64 <= seconds / INTERVAL + 2, "{restarts:?}");
    scene.settle();
}

fn hosts(clients: &[Client]) -> impl Iterator<Item = &Host> {
    clients.iter().flat_map(|client| &client.hosts)
}

/// State and hosts file are on a RAM disk, as in real life.
fn put_on_ram_disk(scene: &Scene) -> TempDir {
    let ram_disk = tempfile::tempdir_in("/dev/shm").unwrap();
    if is_root() {
        chown(ram_disk.path(), Some(web_user()), Some(web_user())).unwrap();
    }
    fs::set_permissions(ram_disk.path(), Permissions::from_mode(0o755)).unwrap();
    fs::remove_dir_all(scene.path("www/ramcache")).unwrap();
    symlink(ram_disk.path(), scene.path("www/ramcache")).unwrap();
    ram_disk
}

/// Plans all requests, and writes the files that they meet.
fn prepare(scene: &Scene, requests: usize, url: &str) -> Vec<Client> {
    let share = |number| requests / CLIENTS + usize::from(number < requests % CLIENTS);
    let clients: Vec<Client> =
        (0..CLIENTS).map(|number| Client::plan(number, CLIENTS, share(number), url)).collect();
    for (number, client) in clients.iter().enumerate() {
        scene.write(&format!("etc/curl{number}"), &client.curl);
    }
    let credentials: Map<String, Value> = clients.iter().map(Client::credentials).collect();
    scene.write("etc/credentials.json", &Value::from(credentials).to_string());
    let state = first_state(&clients);
    scene.write("www/ramcache/ip.txt", &serde_json::to_string_pretty(&state).unwrap());
    scene.write("www/ramcache/hosts.dns", &ddns_cgi::store::hosts::render(&state));
    if is_root() {
        for name in ["ip.txt", "hosts.dns"] {
            let path = scene.path("www/ramcache").join(name);
            chown(path, Some(web_user()), Some(web_user())).unwrap();
        }
    }
    scene.configure(&json!({
        "restart": ["sh", "-c", scene.noting(&Dnsmasq::restart(scene))],
        "restart_interval": INTERVAL,
        // The requests are signed beforehand, each with a stamp of its own.
        "window": 1_000_000,
    }));
    clients
}

/// All clients at once, each with one request after the other.
fn send_all(scene: &Scene, clients: &[Client]) -> Vec<Output> {
    thread::scope(|scope| {
        let running: Vec<_> = (0..clients.len())
            .map(|number| {
                let configuration = scene.path(&format!("etc/curl{number}"));
                scope.spawn(move || {
                    Command::new("/usr/bin/setpriv")
                        .args(["--pdeathsig", "KILL", "--", "curl", "--disable", "--config"])
                        .arg(configuration)
                        .output()
                        .unwrap()
                })
            })
            .collect();
        running.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

/// The outcome of all requests.
#[derive(Default)]
struct Answered {
    count: usize,
    errors: Vec<String>,
    /// Seconds until the answer, for requests that need the state's lock and those that do not.
    locked: Vec<f64>,
    free: Vec<f64>,
}

impl Answered {
    fn describe(&self) -> String {
        let times = |seconds: &[f64]| {
            let mut seconds = seconds.to_vec();
            seconds.sort_by(f64::total_cmp);
            let at = |share: usize| seconds.get((seconds.len() - 1) * share / 100).unwrap_or(&0.0);
            format!("{:.2} / {:.2} / {:.2} s", at(50), at(99), at(100))
        };
        format!(
            "answers that need the lock after {} (median, 99 %, longest), others after {}",
            times(&self.locked),
            times(&self.free)
        )
    }
}

/// Compares each answer with the planned one.
fn compare_answers(clients: &[Client], outputs: &[Output]) -> Answered {
    let mut answered = Answered::default();
    for (number, (client, output)) in clients.iter().zip(outputs).enumerate() {
        let text = String::from_utf8_lossy(&output.stdout);
        let mut answers = text.split_inclusive('\n').fold(vec![String::new()], |mut all, line| {
            let end = line.strip_prefix("= ");
            all.last_mut().unwrap().push_str(line);
            if end.is_some() {
                all.push(String::new());
            }
            all
        });
        assert_eq!(answers.pop().as_deref(), Some(""), "{output:?}");
        answered.count += answers.len();
        assert_eq!(answers.len(), client.answers.len(), "{output:?}");
        for (turn, (answer, (status, line))) in answers.iter().zip(&client.answers).enumerate() {
            let seconds = answer.trim_end().rsplit(' ').next().unwrap();
            if *answer != format!("{line}\n= {status} {seconds}\n") {
                let error = String::from_utf8_lossy(&output.stderr);
                answered.errors.push(format!(
                    "client {number}, request {turn}: {answer:?} and not {status} {line:?} {error}"
                ));
            }
            let needs_lock = ["good ", "nochg ", "replay"].iter().any(|w| line.starts_with(w));
            let times = if needs_lock { &mut answered.locked } else { &mut answered.free };
            times.push(seconds.parse().unwrap());
        }
    }
    answered
}

/// What dnsmasq served.
#[derive(Default)]
struct Served {
    asked: usize,
    lost: usize,
    wrong: Vec<String>,
    longest_gap: Duration,
}

impl Served {
    fn describe(&self) -> String {
        format!(
            "{} queries, {} wrong, {} lost, longest gap {:.2} s",
            self.asked,
            self.wrong.len(),
            self.lost,
            self.longest_gap.as_secs_f64()
        )
    }
}

/// Asks for one host after the other. An answer must be an address that the host has in the course of
/// the requests, and never an older one than was served before.
fn ask_all_the_while(clients: &[Client], resolver: &mut Resolver, until: &Receiver<()>) -> Served {
    let mut served = Served::default();
    let mut last = Instant::now();
    // Before the first answer, a known host has its first address, and a new one has none.
    let mut watched: Vec<(&Host, Option<usize>)> =
        hosts(clients).map(|host| (host, host.is_known.then_some(0))).collect();
    let mut turn = 0;
    while until.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
        turn = (turn + 1) % watched.len();
        let (host, seen) = &mut watched[turn];
        served.asked += 1;
        let Ok(answer) = resolver.ask(&host.name) else {
            served.lost += 1;
            continue;
        };
        served.longest_gap = served.longest_gap.max(last.elapsed());
        last = Instant::now();
        let place = answer.and_then(|it| host.addresses.iter().position(|known| *known == it));
        if place.is_some() == answer.is_some() && place >= *seen {
            *seen = place;
        } else {
            let before = seen.map(|place| host.addresses[place]);
            served.wrong.push(format!("{} is {answer:?} after {before:?}", host.name));
        }
    }
    served
}

/// Each refusal is one line in the web server's log, and no other line is ours.
fn compare_log(log: &str, clients: &[Client]) {
    let mut expected = BTreeMap::new();
    for (_, line) in clients.iter().flat_map(|client| &client.answers) {
        let word = line.split(' ').next().unwrap().to_owned();
        if !["good", "nochg"].contains(&word.as_str()) {
            *expected.entry(word).or_insert(0) += 1;
        }
    }
    let mut found = BTreeMap::new();
    for line in log.lines() {
        // What comes before, such as the path of the program, is the server's.
        if let Some((_, ours)) = line.rsplit_once("ddns-cgi: ") {
            *found.entry(ours.split(' ').next().unwrap().to_owned()).or_insert(0) += 1;
        }
    }
    assert_eq!(found, expected, "words in the error log");
}

/// State and hosts file tell each host's last accepted request.
fn compare_files(scene: &Scene, clients: &[Client]) {
    let state: Map<String, Value> = serde_json::from_str(&scene.state()).unwrap();
    let expected: HashMap<&str, Value> = hosts(clients)
        .filter_map(|host| {
            let address = host.addresses.last()?.to_string();
            Some((host.name.as_str(), json!({"ip": address, "update": host.stamp})))
        })
        .collect();
    assert_eq!(state.len(), expected.len());
    for (name, record) in &state {
        assert_eq!(record, &expected[name.as_str()], "{name}");
    }
    assert_eq!(scene.hosts(), ddns_cgi::store::hosts::render(&state));
}

/// The first few of many errors.
fn some(errors: &[String]) -> String {
    errors.iter().take(9).cloned().collect::<Vec<_>>().join("\n")
}

/// In a normal test run.
const STAY_REQUESTS: usize = 5000;

/// What the process takes is first looked at after about so many requests.
const WARM: usize = 100;

/// One of the requests that a process answers one after the other: address, query and answer.
fn mixed(turn: usize) -> [String; 3] {
    let second = |turn: usize| time(i64::try_from(turn).unwrap());
    let host1 = |key, turn| signed("user1", key, "host1.h.lohray.com", &second(turn));
    let moved = turn / 10;
    let here = format!("127.0.{}.{}", moved / 250 % 250, moved % 250 + 1);
    let (query, answer) = match turn % 10 {
        0 => (host1("secretkey1", turn), format!("good {here}")),
        3 => (host1("guess", turn), "badauth".to_owned()),
        5 => (host1("secretkey1", turn - 4), "replay".to_owned()),
        7 => ("user=user1".to_owned(), "badrequest missing id".to_owned()),
        _ => (host1("secretkey1", turn), format!("nochg {here}")),
    };
    [if turn % 10 == 5 { "192.0.2.1".to_owned() } else { here }, query, answer]
}

#[test]
fn a_process_that_has_answered_many_requests_takes_no_more_than_before() {
    let requests =
        std::env::var("DDNS_STAY_REQUESTS").map_or(STAY_REQUESTS, |n| n.parse().unwrap());
    let scene = Scene::new();
    scene.configure(&json!({"window": 1_000_000_000, "restart": ["true"]}));
    let server = FastCgi::start(&scene);
    // A hundred by eight clients at once, as a web server has them.
    thread::scope(|scope| {
        for client in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for turn in 0..=WARM / 8 {
                    let stamp = time(i64::try_from(turn * 8 + client).unwrap() - 1000);
                    let query = signed("user1", "secretkey1", "host1.h.lohray.com", &stamp);
                    let address = format!("127.0.1.{client}");
                    line(&ask(server.socket(), &get(&address, &query), b""));
                }
            });
        }
    });
    let before = footprint(&scene, &server);
    let mut kept = Connection::open(server.socket());
    let started = Instant::now();
    for turn in 0..requests {
        let [address, query, answer] = mixed(turn);
        let variables = get(&address, &query);
        // Half of them have a connection of their own.
        let response = if turn % 2 == 0 {
            ask(server.socket(), &variables, b"")
        } else {
            kept.send(&request(1, true, &variables, b"")).unwrap();
            kept.response(1).unwrap()
        };
        assert_eq!(line(&response), answer, "{turn}");
    }
    let seconds = started.elapsed().as_secs_f32();
    drop(kept);
    let after = footprint(&scene, &server);
    tell(&format!(
        "measured: {requests} requests to one process in {seconds:.0} s: {after:?}; after {WARM}: \
         {before:?}"
    ));
    assert!(after.memory * 100 <= before.memory * 105, "{after:?} {before:?}");
    // What a request takes for a moment depends on who else has one.
    assert!(after.peak <= before.peak + 256, "{after:?} {before:?}");
    assert_eq!((after.threads, after.descriptors), (before.threads, before.descriptors));
}

/// What the process takes when no connection and no restarter is there.
fn footprint(scene: &Scene, server: &FastCgi) -> Footprint {
    assert_eq!(line(&ask(server.socket(), &ADDRESS, b"")), "192.0.2.7");
    scene.settle();
    eventually("no connection is left", || server.footprint().threads == 1);
    eventually("no zombie is left", || children(server.pid()).is_empty());
    server.footprint()
}

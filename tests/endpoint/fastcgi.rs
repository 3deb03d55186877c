//! FastCGI without a web server: hostile and slow peers, and who may connect. Whatever one connection
//! does, the others are served meanwhile.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;

use crate::fastcgi_client::{
    BEGIN_REQUEST, Connection, END_REQUEST, FastCgi, Footprint, PARAMS, Response, STDIN, ask,
    begin, pairs, record, request, stream,
};
use crate::scene::{HOSTS, STATE, Scene, can_run, eventually, host1, lines_of, signed, tell, time};

const ABORT_REQUEST: u8 = 2;
const GET_VALUES: u8 = 9;
const GET_VALUES_RESULT: u8 = 10;
const UNKNOWN_TYPE: u8 = 11;

/// How long a peer may take for a request or a reply, in seconds.
const LIMIT: u64 = 20;

/// The most connections at a time.
const CONNECTIONS: usize = 1024;

/// The most bytes of variables.
const VARIABLES: usize = 128 * 1024;

const FORM: &str = "application/x-www-form-urlencoded";

/// The variables of a GET from this address.
pub fn get<'a>(address: &'a str, query: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", "/ip.php"),
        ("REMOTE_ADDR", address),
        ("QUERY_STRING", query),
    ]
}

/// The lines of a reply.
pub fn line(response: &Response) -> String {
    let text = String::from_utf8(response.stdout.clone()).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{response:?}"));
    lines_of(body)
}

/// The line of the answer to a GET on a connection of its own.
pub fn answer(server: &FastCgi, address: &str, query: &str) -> String {
    line(&ask(server.socket(), &get(address, query), b""))
}

/// What the process has written to its standard error.
pub fn log(scene: &Scene) -> String {
    scene.read("run/fastcgi.log")
}

/// The client's address, for which the program needs no file.
pub const ADDRESS: [(&str, &str); 4] = [
    ("REQUEST_METHOD", "GET"),
    ("SCRIPT_NAME", "/ip.php"),
    ("PATH_INFO", "/ip"),
    ("REMOTE_ADDR", "192.0.2.7"),
];

/// Asks for an address, and returns how long the answer takes.
fn ask_address(server: &FastCgi) -> Duration {
    let asked = Instant::now();
    assert_eq!(line(&ask(server.socket(), &ADDRESS, b"")), "192.0.2.7");
    asked.elapsed()
}

/// Asks again and again until `others` are done. The answers must come much earlier than if they had to
/// wait for somebody's time limit.
fn is_served_during(what: &str, server: &FastCgi, others: impl FnOnce() + Send) {
    let mut times = Vec::new();
    thread::scope(|scope| {
        let others = scope.spawn(others);
        while !others.is_finished() {
            times.push(ask_address(server));
            sleep(Duration::from_millis(20));
        }
    });
    times.sort();
    let [median, longest] = [times.len() / 2, times.len() - 1].map(|place| times[place]);
    let count = times.len();
    tell(&format!(
        "measured: {what}: {count} others answered, median {median:.1?}, longest {longest:.1?}"
    ));
    assert!(count > 2 && longest < Duration::from_secs(5), "{what}: {times:?}");
}

/// What the process takes when it has answered a request, and nobody is connected.
pub fn at_rest(server: &FastCgi) -> Footprint {
    ask_address(server);
    eventually("its connection ends", || server.footprint().threads == 1);
    server.footprint()
}

/// Waits until the server closes a connection, and returns what it has sent before.
pub fn rest(connection: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    match connection.0.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("it stays: {error}"),
        _ => bytes,
    }
}

/// A peer that never comes to an end. It does something again and again, until the server hangs up.
fn goes_on(socket: &Path, pause: Duration, mut what: impl FnMut(&mut Connection) -> bool) {
    let mut connection = Connection::open(socket);
    connection.0.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    let started = Instant::now();
    while what(&mut connection) {
        assert!(started.elapsed().as_secs() < 3 * LIMIT, "it stays");
        sleep(pause);
    }
}

/// Does what a peer does until the server hangs up.
type Peer<'s> = Box<dyn FnOnce() + Send + 's>;

#[test]
fn a_peer_that_is_slow_or_silent_is_dropped_after_20_seconds_and_keeps_nobody_waiting() {
    let scene = Scene::new();
    let server = FastCgi::start(&scene);
    let socket = server.socket();
    let slow = request(1, false, &get("127.0.0.10", &host1()), b"");
    let moment = Duration::from_millis(10);
    let silent = |bytes: Vec<u8>| {
        move || {
            let mut connection = Connection::open(socket);
            connection.send(&bytes).unwrap();
            assert_eq!(rest(&mut connection), b"");
        }
    };
    let head = [1, PARAMS, 0, 1, 0xff, 0xff, 0, 0];
    let mut bytes = slow.chunks(1);
    let peers: [(&str, Peer); 7] = [
        ("says nothing", Box::new(silent(Vec::new()))),
        (
            "claims 65,535 bytes and sends 3",
            Box::new(silent([&begin(1, false), &head[..], b"abc"].concat())),
        ),
        ("begins a request", Box::new(silent(begin(1, true)))),
        (
            "sends one byte a second",
            Box::new(move || {
                goes_on(socket, Duration::from_secs(1), |it| {
                    it.send(bytes.next().unwrap()).is_ok()
                });
            }),
        ),
        (
            "sends a body without end",
            Box::new(move || {
                let head = [begin(1, false), stream(PARAMS, 1, &pairs(&ADDRESS))].concat();
                let mut next = head;
                goes_on(socket, moment, |it| {
                    it.send(&std::mem::replace(&mut next, record(STDIN, 1, &[b'x'; 999]))).is_ok()
                });
            }),
        ),
        (
            "asks what we can, and reads no answer",
            Box::new(move || {
                goes_on(socket, Duration::ZERO, |it| {
                    it.send(&record(GET_VALUES, 0, &[]).repeat(9)).is_ok()
                });
            }),
        ),
        (
            "begins and aborts again and again",
            Box::new(move || {
                let both = [begin(1, true), record(ABORT_REQUEST, 1, &[])].concat();
                goes_on(socket, moment, |it| it.send(&both).is_ok() && it.record().is_ok());
            }),
        ),
    ];
    is_served_during("slow and silent peers", &server, || {
        thread::scope(|scope| {
            for (what, peer) in peers {
                scope.spawn(move || {
                    let started = Instant::now();
                    peer();
                    let time = started.elapsed();
                    tell(&format!("measured: a peer that {what} is dropped after {time:.1?}"));
                    assert!((LIMIT - 1..LIMIT + 6).contains(&time.as_secs()), "{what}: {time:?}");
                });
            }
        });
    });
    assert_eq!(scene.state(), STATE);
    assert_eq!(log(&scene), "", "none of them is an error of the operator's");
}

/// Lets this process have so many descriptors, or as many as it may.
fn raise_own_limit(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(count, |most| most.min(count));
    let current = limit.current.map(|current| current.max(most));
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
}

#[test]
fn five_hundred_connections_that_say_nothing_keep_nobody_out() {
    raise_own_limit(8192);
    let scene = Scene::new();
    let server = FastCgi::start(&scene);
    let before = at_rest(&server);
    is_served_during("500 silent connections", &server, || {
        let mut silent: Vec<_> = (0..500).map(|_| Connection::open(server.socket())).collect();
        eventually("all are accepted", || server.footprint().threads > 500);
        for connection in &mut silent {
            assert_eq!(rest(connection), b"");
        }
    });
    let after = at_rest(&server);
    assert_eq!(after.descriptors, before.descriptors, "nothing of them is left");
}

#[test]
fn more_connections_than_there_may_be_wait_until_others_are_dropped() {
    raise_own_limit(8192);
    let scene = Scene::new();
    let server = FastCgi::start(&scene);
    let before = at_rest(&server);
    let mut silent: Vec<_> = (0..2000).map(|_| Connection::open(server.socket())).collect();
    eventually("all places are taken", || server.footprint().threads > CONNECTIONS);
    let waited = ask_address(&server);
    let most = server.footprint();
    let others = ask_address(&server);
    tell(&format!(
        "measured: behind 2,000 silent connections, the first answer takes {waited:.1?}, the next \
         {others:.1?}; {most:?} before: {before:?}"
    ));
    // Whoever came when half of the places were taken has two seconds.
    assert!((1..LIMIT / 2).contains(&waited.as_secs()), "{waited:?}");
    assert!(others.as_secs() < 5, "{others:?}");
    assert!(most.threads <= CONNECTIONS + 1, "{most:?}");
    for connection in &mut silent {
        assert_eq!(rest(connection), b"");
    }
}

#[test]
fn requests_at_once_read_large_credentials_one_after_the_other() {
    const REQUESTS: usize = 16;
    let scene = Scene::new();
    let users: serde_json::Map<_, _> = (0..100_000)
        .map(|n| (format!("user{n}"), json!({"id": [format!("h{n}.example")], "key": "secret"})))
        .collect();
    // It has just been edited, so nobody has an index of it.
    scene.write("etc/credentials.json", &serde_json::Value::from(users).to_string());
    let server = FastCgi::start(&scene);
    let query = signed("nobody", "guess", "h1.example", &time(0));
    assert_eq!(answer(&server, "127.0.0.11", &query), "badauth");
    let one = server.footprint().peak;
    thread::scope(|scope| {
        for _ in 0..REQUESTS {
            scope.spawn(|| assert_eq!(answer(&server, "127.0.0.11", &query), "badauth"));
        }
    });
    let many = server.footprint().peak;
    tell(&format!("measured: whole credentials: {one} KiB for one, {many} KiB for {REQUESTS}"));
    assert!(one > 4096 && many < one + one / 2, "{one} KiB, {many} KiB");
}

#[test]
fn where_there_are_few_descriptors_there_are_few_connections_and_no_request_fails() {
    let scene = Scene::new();
    let program = scene.path("bin/ddns-cgi").display().to_string();
    let arguments = ["--nofile=64:64", &program];
    let server = FastCgi::of(&scene, Path::new("/usr/bin/prlimit"), &arguments);
    // Of the eight that there may be.
    let silent: Vec<_> = (0..7).map(|_| Connection::open(server.socket())).collect();
    for seconds in -9..0 {
        let query = signed("user1", "secretkey1", "host1.h.lohray.com", &time(seconds));
        let address = format!("127.0.0.{}", 20 + seconds);
        assert_eq!(answer(&server, &address, &query), format!("good {address}"));
    }
    let more: Vec<_> = (0..99).map(|_| Connection::open(server.socket())).collect();
    sleep(Duration::from_secs(1));
    assert_eq!(server.footprint().threads, 9);
    drop((silent, more));
    assert_eq!(answer(&server, "127.0.0.11", &host1()), "good 127.0.0.11");
    scene.settle();
}

/// A line in standard error about a connection that was closed for this reason.
fn closed(reason: &str) -> String {
    format!("ddns-cgi: notice file=\"standard input\" reason=\"closed a connection: {reason}\"\n")
}

#[test]
fn what_is_not_fastcgi_ends_its_connection_and_the_operator_learns_why() {
    const OTHER: &str = "the peer does not speak FastCGI 1";
    const PLACE: &str = "a record comes in a place that is not its own";
    const TOO_LONG: &str = "the variables of a request are too long";
    let scene = Scene::new();
    let server = FastCgi::start(&scene);
    let get = get("127.0.0.10", "");
    let whole = request(1, false, &get, b"");
    let after = |records: &[Vec<u8>]| [begin(1, true), records.concat()].concat();
    let long = [record(PARAMS, 1, &vec![b'x'; 65_535]).repeat(3)];
    let mut expected = String::new();
    for (name, bytes, reason) in [
        ("HTTP", b"GET /ip.php HTTP/1.1\r\nHost: ns.example.net\r\n\r\n".to_vec(), OTHER),
        ("garbage", (2..=255).cycle().take(5000).collect(), OTHER),
        ("another version", [&[2], &whole[1..]].concat(), OTHER),
        ("half a header", begin(1, true)[..5].to_vec(), ""),
        ("half a record", whole[..30].to_vec(), ""),
        ("65,535 bytes that are 3", after(&[[1, PARAMS, 0, 1, 0xff, 0xff, 0, 0].to_vec()]), ""),
        ("no end", whole[..whole.len() - 8].to_vec(), ""),
        (
            "a short beginning",
            record(BEGIN_REQUEST, 1, &[0, 1]),
            "a request begins without its eight bytes",
        ),
        ("two beginnings", after(&[begin(1, true)]), PLACE),
        ("a body before the variables", after(&[record(STDIN, 1, b"a=b")]), PLACE),
        (
            "variables after their end",
            after(&[stream(PARAMS, 1, b""), record(PARAMS, 1, b"")]),
            PLACE,
        ),
        ("a kind that is none", after(&[record(99, 1, b"")]), PLACE),
        (
            "half a variable",
            after(&[stream(PARAMS, 1, b"\x01\x09A")]),
            "the last variable is cut off",
        ),
        ("many variables", after(&long), TOO_LONG),
    ] {
        let mut connection = Connection::open(server.socket());
        // The server may hang up before all is sent.
        let _ = connection.send(&bytes);
        if reason.is_empty() {
            connection.finish();
        } else {
            expected += &closed(reason);
        }
        assert_eq!(rest(&mut connection), b"", "{name}");
        assert_eq!(log(&scene), expected, "{name}");
        ask_address(&server);
    }
    assert_eq!(scene.state(), STATE);
}

#[test]
fn what_is_no_request_for_us_is_answered_as_the_specification_says() {
    let scene = Scene::new();
    let server = FastCgi::start(&scene);
    let mut connection = Connection::open(server.socket());
    let eight = |first, fifth| vec![first, 0, 0, 0, fifth, 0, 0, 0];
    let role = |role, flags| record(BEGIN_REQUEST, 3, &[0, role, flags, 0, 0, 0, 0, 0]);

    let asked = [("FCGI_MAX_CONNS", ""), ("FCGI_MAX_REQS", ""), ("FCGI_MPXS_CONNS", "")];
    connection.send(&record(GET_VALUES, 0, &pairs(&asked))).unwrap();
    let values = pairs(&[("FCGI_MPXS_CONNS", "0")]);
    assert_eq!(connection.record().unwrap(), (GET_VALUES_RESULT, 0, values));
    connection.send(&record(77, 0, b"?")).unwrap();
    assert_eq!(connection.record().unwrap(), (UNKNOWN_TYPE, 0, eight(77, 0)));
    // An authorizer and a filter.
    for other in [2, 3] {
        connection.send(&role(other, 1)).unwrap();
        assert_eq!(connection.record().unwrap(), (END_REQUEST, 3, eight(0, 3)));
    }

    // A second request, while the first one arrives.
    let variables = stream(PARAMS, 1, &pairs(&ADDRESS));
    connection.send(&[begin(1, true), variables].concat()).unwrap();
    connection.send(&request(2, true, &ADDRESS, b"")).unwrap();
    assert_eq!(connection.record().unwrap(), (END_REQUEST, 2, eight(0, 1)));
    connection.send(&record(STDIN, 1, b"")).unwrap();
    assert_eq!(line(&connection.response(1).unwrap()), "192.0.2.7");

    // An aborted one, and one after it.
    let query = host1();
    let update = get("127.0.0.11", &query);
    let update = [begin(1, true), stream(PARAMS, 1, &pairs(&update))].concat();
    connection.send(&[update, record(ABORT_REQUEST, 1, b"")].concat()).unwrap();
    assert_eq!(connection.record().unwrap(), (END_REQUEST, 1, eight(0, 0)));
    assert_eq!(scene.state(), STATE, "what is aborted is not done");
    connection.send(&request(0xffff, true, &ADDRESS, b"")).unwrap();
    assert_eq!(line(&connection.response(0xffff).unwrap()), "192.0.2.7");

    // Two at once: one is answered after the other.
    let two = [4, 5].map(|id| request(id, true, &ADDRESS, b"")).concat();
    connection.send(&two).unwrap();
    for id in [4, 5] {
        assert_eq!(line(&connection.response(id).unwrap()), "192.0.2.7");
    }

    // What comes to nothing ends a connection that is not kept.
    let aborted = [begin(3, false), record(ABORT_REQUEST, 3, b"")].concat();
    for (bytes, status) in [(role(2, 0), 3), (aborted, 0)] {
        let mut connection = Connection::open(server.socket());
        connection.send(&bytes).unwrap();
        assert_eq!(connection.record().unwrap(), (END_REQUEST, 3, eight(0, status)));
        assert!(connection.is_closed());
    }
    assert_eq!(log(&scene), "");
}

/// Holds the lock of the state, as a request does that writes.
pub fn hold_lock(scene: &Scene) -> File {
    let path = scene.path("www/ramcache/.ip.txt.lock");
    if !path.exists() {
        scene.write("www/ramcache/.ip.txt.lock", "");
        scene.hand_over("www/ramcache/.ip.txt.lock");
    }
    let file = File::open(path).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    file
}

/// Waits until so many requests have the file of the lock open.
pub fn wait_for_lock(server: &FastCgi, count: usize) {
    eventually("the requests wait for the lock", || {
        let files = server.descriptors();
        files.iter().filter(|file| file.ends_with(".ip.txt.lock")).count() == count
    });
}

#[test]
fn requests_that_wait_for_the_lock_keep_no_others_out() {
    const WAITING: usize = 40;
    let scene = Scene::new();
    scene.configure(&json!({"window": 1000, "lock_timeout": 60}));
    let server = FastCgi::start(&scene);
    let lock = hold_lock(&scene);
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..WAITING)
            .map(|n| {
                let stamp = time(i64::try_from(n).unwrap());
                let query = signed("user1", "secretkey1", "host1.h.lohray.com", &stamp);
                let server = &server;
                scope.spawn(move || answer(server, &format!("127.0.1.{n}"), &query))
            })
            .collect();
        wait_for_lock(&server, WAITING);
        is_served_during("40 requests that wait for the lock", &server, || {
            let wrong = signed("user1", "guess", "host1.h.lohray.com", &time(0));
            for _ in 0..9 {
                let asked = Instant::now();
                assert_eq!(answer(&server, "192.0.2.7", &wrong), "badauth");
                assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
                sleep(Duration::from_millis(50));
            }
        });
        assert!(waiting.iter().all(|it| !it.is_finished()));
        drop(lock);
        let lines: Vec<_> = waiting.into_iter().map(|it| it.join().unwrap()).collect();
        let is_right = |line: &String| line.starts_with("good 127.0.1.") || line == "replay";
        assert!(lines.iter().all(is_right) && lines.iter().any(|it| it != "replay"), "{lines:?}");
    });
    scene.settle();
}

#[test]
fn a_peer_that_hangs_up_stops_no_update_and_loses_no_line_of_the_log() {
    let scene = Scene::new();
    let server = FastCgi::start(&scene);
    // In the middle of a request.
    let whole = request(1, false, &get("127.0.0.11", &host1()), b"");
    for length in [1, 8, 16, 20, 100, whole.len() - 8, whole.len() - 1] {
        Connection::open(server.socket()).send(&whole[..length]).unwrap();
    }
    ask_address(&server);
    assert_eq!(scene.state(), STATE, "half a request is none");

    // Before it has the reply: a request that is refused, then one that changes something.
    let at = |seconds| signed("user1", "secretkey1", "host1.h.lohray.com", &time(seconds));
    assert_eq!(answer(&server, "127.0.0.10", &at(-9)), "good 127.0.0.10");
    for query in [at(-10), at(0)] {
        let lock = hold_lock(&scene);
        let mut connection = Connection::open(server.socket());
        connection.send(&request(1, true, &get("127.0.0.11", &query), b"")).unwrap();
        wait_for_lock(&server, 1);
        drop(connection);
        drop(lock);
        wait_for_lock(&server, 0);
    }
    eventually("the change is stored", || scene.state().contains("127.0.0.11"));
    let line = "ddns-cgi: replay address=127.0.0.11 user=\"user1\" host=\"host1.h.lohray.com\" ";
    eventually("the line is there", || log(&scene).lines().count() == 1);
    assert!(log(&scene).starts_with(line), "{}", log(&scene));
    scene.settle();

    // One that only sends no more has its reply.
    let mut connection = Connection::open(server.socket());
    connection.send(&request(1, true, &ADDRESS, b"")).unwrap();
    connection.finish();
    assert_eq!(line_of_rest(&mut connection), "192.0.2.7");
}

fn line_of_rest(connection: &mut Connection) -> String {
    let response = connection.response(1).unwrap();
    assert_eq!(rest(connection), b"");
    line(&response)
}

#[test]
fn a_peer_that_does_not_read_a_large_reply_is_dropped_and_keeps_nobody_waiting() {
    const HOSTS: usize = 30_000;
    const PAGES: usize = 2;
    let scene = Scene::new();
    let record = json!({"ip": "192.0.2.1", "update": "2012-04-20 20:45:59"});
    let state: serde_json::Map<_, _> =
        (0..HOSTS).map(|n| (format!("host{n}.example"), record.clone())).collect();
    scene.write("www/ramcache/ip.txt", &serde_json::to_string_pretty(&state).unwrap());
    scene.configure(&json!({"status_page": true}));
    let server = FastCgi::start(&scene);
    let status = [
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", "/ip.php"),
        ("PATH_INFO", "/status"),
        ("REMOTE_ADDR", "127.0.0.1"),
        // It has all hosts.
        ("HTTP_ACCEPT", "application/json"),
    ];
    let whole = ask(server.socket(), &status, b"").stdout;
    assert!(whole.len() > 1_000_000, "{}", whole.len());
    let count = server.footprint().threads;
    is_served_during("replies that nobody reads", &server, || {
        let open = || {
            let mut connection = Connection::open(server.socket());
            connection.send(&request(1, false, &status, b"")).unwrap();
            let mut start = [0; 22];
            connection.0.read_exact(&mut start).unwrap();
            assert!(start.ends_with(b"Status: 200 OK"));
            connection
        };
        let started = Instant::now();
        let mut lazy: Vec<_> = (0..PAGES).map(|_| open()).collect();
        // So many pages at a time, and no more.
        for _ in 0..95 {
            let reply = ask(server.socket(), &status, b"");
            assert!(reply.stdout.starts_with(b"Status: 503 "));
            let log = String::from_utf8_lossy(&reply.stderr[0]);
            assert!(log.contains("reason=\"others are being shown: ask again in a moment\""));
        }
        // A peer that takes a little again and again has no more time than the others.
        sleep(Duration::from_secs(5));
        let mut little = vec![0; 1 << 16];
        while lazy[0].0.read(&mut little).is_ok_and(|length| length > 0) {
            sleep(Duration::from_secs(1));
        }
        let seconds = started.elapsed().as_secs();
        assert!((LIMIT - 1..LIMIT + 10).contains(&seconds), "{seconds} s");
        eventually("all are dropped", || server.footprint().threads <= count + 1);
        for connection in &mut lazy[1..] {
            let length = rest(connection).len();
            assert!((1..whole.len()).contains(&length), "{length}");
        }
    });
    let peak = server.footprint().peak / 1024;
    tell(&format!("measured: {PAGES} pages of {HOSTS} hosts at once: at most {peak} MiB"));
    assert!(peak < 256, "{peak} MiB");
    // One that reads slowly, but reads, has all of it.
    let mut slow = Connection::open(server.socket());
    slow.send(&request(1, true, &status, b"")).unwrap();
    let mut bytes = vec![0; 100_000];
    sleep(Duration::from_secs(2));
    slow.0.read_exact(&mut bytes).unwrap();
    sleep(Duration::from_secs(2));
    while !bytes.ends_with(&[0, 0, 0, 0, 0, 0, 0, 0]) {
        let mut more = [0; 9999];
        let count = slow.0.read(&mut more).unwrap();
        bytes.extend(&more[..count]);
    }
    assert!(bytes.len() > whole.len(), "{}", bytes.len());
}

#[test]
fn variables_have_128_kib_and_not_a_byte_more() {
    let scene = Scene::new();
    let server = FastCgi::start(&scene);
    let fill = |length: usize| {
        let fixed = pairs(&ADDRESS).len() + 1 + 4 + "HTTP_LONG".len();
        let long = "x".repeat(length - fixed);
        pairs(&[&ADDRESS[..], &[("HTTP_LONG", &long)]].concat())
    };
    for (length, is_served) in [(VARIABLES, true), (VARIABLES + 1, false)] {
        let variables = fill(length);
        assert_eq!(variables.len(), length);
        let mut connection = Connection::open(server.socket());
        let records = [begin(1, false), stream(PARAMS, 1, &variables), record(STDIN, 1, b"")];
        let _ = connection.send(&records.concat());
        if is_served {
            assert_eq!(line_of_rest(&mut connection), "192.0.2.7");
        } else {
            assert_eq!(rest(&mut connection), b"");
        }
    }
    assert_eq!(log(&scene), closed("the variables of a request are too long"));
}

#[test]
fn a_body_of_8_kib_is_read_and_one_of_a_gigabyte_is_refused_without_its_memory() {
    let scene = Scene::new();
    let server = FastCgi::start(&scene);
    let query = host1();
    let post = |length: &str, parts: &mut dyn Iterator<Item = Vec<u8>>| {
        let variables = [
            ("REQUEST_METHOD", "POST"),
            ("REMOTE_ADDR", "127.0.0.11"),
            ("CONTENT_TYPE", FORM),
            ("CONTENT_LENGTH", length),
        ];
        let mut connection = Connection::open(server.socket());
        let head = [begin(1, false), stream(PARAMS, 1, &pairs(&variables))].concat();
        connection.send(&head).unwrap();
        parts.for_each(|part| connection.send(&record(STDIN, 1, &part)).unwrap());
        connection.send(&record(STDIN, 1, b"")).unwrap();
        line_of_rest(&mut connection)
    };
    let body = |length| format!("{query}&pad={}", "x".repeat(length - query.len() - 5));
    let once = |length: usize| {
        let body = body(length).into_bytes();
        post(&length.to_string(), &mut body.chunks(1000).map(<[u8]>::to_vec))
    };
    assert_eq!(once(8192), "good 127.0.0.11");
    assert_eq!(once(8193), "badrequest overlong body");
    let before = server.footprint();
    let started = Instant::now();
    let piece = vec![b'x'; 50_000];
    let reply = post("1000000000", &mut (0..20_000).map(|_| piece.clone()));
    assert_eq!(reply, "badrequest overlong body");
    let (after, elapsed) = (server.footprint(), started.elapsed());
    tell(&format!(
        "measured: a body of 1 GB is refused after {elapsed:.1?}, peak memory {} KiB, {} KiB before",
        after.peak, before.peak
    ));
    assert!(after.peak < before.peak + 512, "{after:?}");
    // Shorter and longer than it says.
    let short = query.len().to_string();
    assert_eq!(post("9999", &mut [b"a=b".to_vec()].into_iter()), "badrequest overlong body");
    assert_eq!(post("99", &mut [b"a=b".to_vec()].into_iter()), "badrequest malformed body");
    let mut longer = [query.clone().into_bytes(), b"&user=x".to_vec()].into_iter();
    assert_eq!(post(&short, &mut longer), "nochg 127.0.0.11");
    scene.settle();
}

#[test]
fn a_variable_is_of_its_request_alone_and_changes_nothing_in_the_process() {
    let scene = Scene::new();
    scene.write("etc/other.json", "{");
    let other = scene.path("etc/other.json").display().to_string();
    let server = FastCgi::start(&scene);
    let at = |seconds| signed("user1", "secretkey1", "host1.h.lohray.com", &time(seconds));
    let mut connection = Connection::open(server.socket());
    let mut next = |variables: &[(&str, &str)]| {
        connection.send(&request(1, true, variables, b"")).unwrap();
        line(&connection.response(1).unwrap())
    };
    // Whoever reaches the socket chooses no configuration, no role, no time zone.
    let of_process = [
        ("DDNS_CONFIG", &*other),
        ("DDNS_RESTARTER", "restart"),
        ("TZ", "Pacific/Apia"),
        ("DDNS_SOCKET_ACTIVATION", "yes"),
        ("FCGI_WEB_SERVER_ADDRS", "192.0.2.1"),
        ("PATH", "/nonexistent"),
        ("LD_PRELOAD", "/nonexistent"),
    ];
    for seconds in [-9, -8] {
        let query = at(seconds);
        let line = next(&[&get("127.0.0.11", &query)[..], &of_process].concat());
        assert!(["good 127.0.0.11", "nochg 127.0.0.11"].contains(&&*line), "{line}");
    }
    let query = at(-7);
    // The last one counts, as with nginx.
    let twice = [&get("127.0.0.66", "user=nobody")[..], &get("127.0.0.11", &query)].concat();
    assert_eq!(next(&twice), "nochg 127.0.0.11");
    // What one request has, the next one has not.
    assert_eq!(
        next(&[("REQUEST_METHOD", "GET"), ("REMOTE_ADDR", "127.0.0.11")]),
        "badrequest missing user"
    );
    assert_eq!(next(&[("REQUEST_METHOD", "GET")]), "911");
    assert_eq!(next(&[]), "911");
    // A CGI program cannot get a NUL.
    let query = at(-6).replace("user1", "user1\0");
    assert_eq!(next(&get("127.0.0.11", &query)), "badrequest malformed user");
    assert_eq!(next(&get("127.0.0.11\0", &at(-6))), "911");
    let hidden = [("REMOTE_ADDR\0", "127.0.0.66"), ("QUERY_STRING\0x", "y")];
    let query = at(-6);
    assert_eq!(next(&[&get("127.0.0.11", &query)[..], &hidden].concat()), "nochg 127.0.0.11");
    scene.settle();
    assert_eq!(scene.hosts(), HOSTS.replace("129.118.243.10", "127.0.0.11"));
    assert_eq!(scene.restarts().len(), 1);
}

/// A network namespace; it ends when this is dropped.
struct Network {
    holder: Child,
}

impl Network {
    fn new() -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]);
        let network = Self { holder: command.spawn().unwrap() };
        let name = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).unwrap();
        let process = network.process();
        eventually("the network is there", || name(&process) != name("self"));
        network.run("ip link set lo up");
        network
    }

    fn process(&self) -> String {
        self.holder.id().to_string()
    }

    /// Runs a command there.
    fn run(&self, command: &str) {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--net", "--target", &self.process()]);
        let output = nsenter.args(command.split(' ')).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }

    /// Does something there.
    fn within<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let network = File::open(format!("/proc/{}/ns/net", self.process())).unwrap();
        let within = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(network.as_fd(), kind).unwrap();
            what()
        };
        thread::scope(|scope| scope.spawn(within).join().unwrap())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A connection between these addresses.
fn connect_from(own: &str, to: SocketAddr) -> Connection {
    let own: IpAddr = own.parse().unwrap();
    let family = if own.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::new(own, 0)).unwrap();
    connect(&socket, &to).unwrap();
    Connection::over(socket)
}

#[test]
fn a_tcp_socket_serves_this_machine_and_the_peers_that_are_named() {
    let needs = ["root", "/usr/bin/unshare", "/usr/bin/nsenter", "/usr/sbin/ip"];
    if !can_run("FastCGI over TCP", &needs) {
        return;
    }
    let [here, there] = [Network::new(), Network::new()];
    here.run(&format!("ip link add web type veth peer name web netns {}", there.process()));
    for (network, addresses) in [
        (&here, &["192.0.2.1/24", "2001:db8::1/64"][..]),
        (&there, &["192.0.2.2/24", "192.0.2.3/24", "2001:db8::2/64", "2001:db8::3/64"]),
    ] {
        network.run("ip link set web up");
        for address in addresses {
            let option = if address.contains(':') { " nodad" } else { "" };
            network.run(&format!("ip addr add {address} dev web{option}"));
        }
    }
    let scene = Scene::new();
    let program = scene.path("bin/ddns-cgi").display().to_string();
    let named = "FCGI_WEB_SERVER_ADDRS=192.0.2.2, 2001:db8::2";
    for (settings, is_named) in [(&[][..], [false, false]), (&[named], [true, false])] {
        let listener = here.within(|| TcpListener::bind("[::]:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        let arguments = [settings, &[&*program]].concat();
        let env = Path::new("/usr/bin/env");
        let mut server = FastCgi::on(&scene, listener.into(), env, &arguments);
        let expect = |network: &Network, own: &str, to: &str, is_served: bool| {
            let to = SocketAddr::new(to.parse().unwrap(), port);
            let mut connection = network.within(|| connect_from(own, to));
            let _ = connection.send(&request(1, true, &ADDRESS, b""));
            if is_served {
                assert_eq!(line(&connection.response(1).unwrap()), "192.0.2.7", "{own}");
            } else {
                assert_eq!(rest(&mut connection), b"", "{own}");
            }
        };
        expect(&here, "127.0.0.1", "127.0.0.1", true);
        expect(&here, "::1", "::1", true);
        for (number, is_served) in [2, 3].into_iter().zip(is_named) {
            expect(&there, &format!("192.0.2.{number}"), "192.0.2.1", is_served);
            expect(&there, &format!("2001:db8::{number}"), "2001:db8::1", is_served);
        }
        // Not even this machine by another address, if it is not named.
        expect(&here, "192.0.2.1", "192.0.2.1", false);
        assert!(server.stop().success());
        assert!(log(&scene).contains("FCGI_WEB_SERVER_ADDRS\" reason=\"does not name "));
    }
    let mut server = FastCgi::of(
        &scene,
        Path::new("/usr/bin/env"),
        &["FCGI_WEB_SERVER_ADDRS=web.example", &program],
    );
    assert!(!server.wait().success());
    assert!(log(&scene).contains("FCGI_WEB_SERVER_ADDRS must list IP addresses"));
}

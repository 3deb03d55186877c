//! The FastCGI process from its start to its end: what it takes from its surroundings, what it leaves
//! there, when it ends, and what happens then to those whom it serves.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::fastcgi::{ADDRESS, answer, at_rest, get, hold_lock, line, rest, wait_for_lock};
use crate::fastcgi_client::{Connection, FastCgi, ask, begin, request};
use crate::process::modes;
use crate::scene::{HOSTS, Scene, eventually, host1, signed, tell, time};

/// How long nobody needs a process that systemd has started, or a connection, in seconds.
const IDLE: u64 = 60;

/// Starts the program as `ddns-cgi.service` does.
const ACTIVATED: &str = "export DDNS_SOCKET_ACTIVATION=yes; exec \"$0\"";

/// The program, started by a line of shell that ends with `exec "$0"`.
fn start_by(scene: &Scene, script: &str) -> FastCgi {
    let program = scene.path("bin/ddns-cgi").display().to_string();
    FastCgi::of(scene, Path::new("/bin/bash"), &["-c", script, &program])
}

/// A query of the article's first user, `seconds` from now: each stamp counts once.
fn host1_at(seconds: i64) -> String {
    signed("user1", "secretkey1", "host1.h.lohray.com", &time(seconds))
}

/// The children of a process, with their states.
pub fn children(process: u32) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        // The name, in parentheses, may hold spaces.
        let (name, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        let (state, parent) = (fields.next()?, fields.next()?);
        (parent == process.to_string()).then(|| format!("{name}) {state}"))
    });
    processes.collect()
}

#[test]
fn a_hundred_changes_leave_no_child_and_no_descriptor() {
    const CHANGES: i64 = 100;
    let scene = Scene::new();
    scene.configure(&json!({"window": 1000}));
    let server = FastCgi::start(&scene);
    let before = at_rest(&server);
    let mut connection = Connection::open(server.socket());
    for change in 0..CHANGES {
        let (address, query) = (format!("127.0.1.{change}"), host1_at(change));
        let reply = if change % 2 == 0 {
            answer(&server, &address, &query)
        } else {
            connection.send(&request(1, true, &get(&address, &query), b"")).unwrap();
            line(&connection.response(1).unwrap())
        };
        assert_eq!(reply, format!("good {address}"));
    }
    drop(connection);
    scene.settle();
    // Nobody asks any more.
    eventually("no restarter is left, not even as a zombie", || children(server.pid()).is_empty());
    let after = at_rest(&server);
    assert_eq!(after.descriptors, before.descriptors, "{:?}", server.descriptors());
    assert!(!scene.restarts().is_empty());
}

#[test]
fn a_crash_leaves_no_core_with_a_key_in_it() {
    let scene = Scene::new();
    let script = |program: &str| {
        format!("cd {}; ulimit -c unlimited; exec {program}", scene.path("run").display())
    };
    let crash = |server: &mut FastCgi| {
        server.signal(Signal::ABORT);
        let status = server.wait();
        assert!(status.signal().is_some(), "{status}");
        status.core_dumped()
    };
    let mut other = start_by(&scene, &script("sleep 99"));
    eventually("sleep is there", || {
        let name = fs::read_to_string(format!("/proc/{}/comm", other.pid()));
        name.is_ok_and(|name| name == "sleep\n")
    });
    if !crash(&mut other) {
        tell("SKIPPED core dumps of FastCGI: this system writes none, whatever crashes");
        return;
    }
    let mut server = start_by(&scene, &script("\"$0\""));
    assert_eq!(answer(&server, "127.0.0.11", &host1()), "good 127.0.0.11");
    assert!(!crash(&mut server));
    scene.settle();
}

#[test]
fn no_umask_hides_the_names_from_dnsmasq_or_opens_a_file_to_others() {
    for (umask, closed) in [("077", 0o600), ("000", 0o660)] {
        let scene = Scene::new();
        for name in ["ip.txt", "hosts.dns"] {
            fs::remove_file(scene.path("www/ramcache").join(name)).unwrap();
        }
        let server = start_by(&scene, &format!("umask {umask}; exec \"$0\""));
        assert_eq!(answer(&server, "127.0.0.11", &host1()), "good 127.0.0.11");
        scene.settle();
        let index = if umask == "077" { 0o600 } else { 0o640 };
        let expected = [
            (".hosts.dns.restart.lock", closed),
            (".ip.txt.index", index),
            (".ip.txt.lock", closed),
            ("hosts.dns", 0o644),
            ("ip.txt", 0o644),
        ];
        assert_eq!(modes(&scene), expected.map(|(name, mode)| (name.to_owned(), mode)), "{umask}");
    }
}

#[test]
fn closed_descriptors_corrupt_no_file() {
    let scene = Scene::new();
    // As the specification has it, nothing but standard input is open. The line for the log that nobody
    // takes, about the state that is missing, must get into no file.
    fs::remove_file(scene.path("www/ramcache/ip.txt")).unwrap();
    let server = start_by(&scene, "exec \"$0\" >&- 2>&-");
    let lock = hold_lock(&scene);
    let mut connection = Connection::open(server.socket());
    connection.send(&request(1, true, &get("127.0.0.11", &host1()), b"")).unwrap();
    wait_for_lock(&server, 1);
    drop((connection, lock));
    eventually("the change is stored", || scene.hosts().contains("127.0.0.11"));
    scene.settle();
    at_rest(&server);
    assert_eq!(scene.hosts(), HOSTS.replace("129.118.243.10", "127.0.0.11"));
    for entry in fs::read_dir(scene.path("www/ramcache")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("ddns-cgi: ") && !text.contains("good"), "{}", path.display());
    }
}

#[test]
fn the_restarter_and_its_command_get_no_socket_and_can_be_stopped() {
    let scene = Scene::new();
    let [status, files, process] = ["run/status", "run/files", "run/process"].map(|name| {
        scene.write(name, "");
        scene.hand_over(name);
        scene.path(name).display().to_string()
    });
    let note = format!(
        "grep -E '^Sig(Blk|Ign)|^CoreDumping' /proc/self/status > {status}; ls -l /proc/$$/fd > {files}; \
         echo $$ > {process}; exec sleep 99"
    );
    // Debian's sh would unblock signals by itself.
    scene.configure(&json!({"restart": ["bash", "-c", note]}));
    let server = start_by(&scene, ACTIVATED);
    at_rest(&server);
    let sockets = |files: &[std::path::PathBuf]| {
        files.iter().filter(|file| file.to_str().unwrap().starts_with("socket:")).count()
    };
    // The one that listens, and the two that tell of the end.
    assert_eq!(sockets(&server.descriptors()), 3, "{:?}", server.descriptors());

    // One connection stays open meanwhile.
    let mut connection = Connection::open(server.socket());
    connection.send(&request(1, true, &get("127.0.0.11", &host1_at(-3)), b"")).unwrap();
    assert_eq!(line(&connection.response(1).unwrap()), "good 127.0.0.11");
    eventually("the command runs", || scene.read("run/process").ends_with('\n'));
    for line in scene.read("run/status").lines() {
        let (_, mask) = line.split_once(":\t").unwrap();
        // The signals of the C library's threads, 32 and up, are not ours.
        assert_eq!(u64::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff, 0, "{line}");
    }
    let of_command = scene.read("run/files");
    assert!(of_command.contains("memfd"), "{of_command}");
    for foreign in ["socket:", "signalfd", "ramcache", ".sock"] {
        assert!(!of_command.contains(foreign), "{of_command}");
    }
    let restarter = scene.restarter().unwrap();
    let of_restarter = crate::process::descriptors(&restarter.to_string());
    assert_eq!(sockets(&of_restarter), 0, "{of_restarter:?}");

    let end = |process: i32| kill_process(Pid::from_raw(process).unwrap(), Signal::TERM).unwrap();
    end(scene.read("run/process").trim_end().parse().unwrap());
    let mark = || fs::read_to_string(scene.mark()).unwrap_or_default();
    eventually("the command has ended", || mark().contains("signal: 15"));
    scene.write("run/process", "");
    assert_eq!(answer(&server, "127.0.0.12", &host1_at(-2)), "good 127.0.0.12");
    eventually("the command runs again", || scene.read("run/process").ends_with('\n'));
    end(scene.restarter().unwrap());
    eventually("the restarter has ended", || scene.restarter().is_none());
    end(scene.read("run/process").trim_end().parse().unwrap());
    eventually("both are forgotten", || children(server.pid()).is_empty());
}

#[test]
fn the_limit_of_descriptors_is_raised_as_far_as_needed_and_permitted() {
    let scene = Scene::new();
    for (limits, expected) in
        [("256:2000", "2000"), ("1024:10000", "8192"), ("9000:10000", "9000"), ("64:64", "64")]
    {
        let program = scene.path("bin/ddns-cgi").display().to_string();
        let arguments = [&format!("--nofile={limits}"), &*program];
        let server = FastCgi::of(&scene, Path::new("/usr/bin/prlimit"), &arguments);
        at_rest(&server);
        let text = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
        let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let hard = limits.split(':').nth(1).unwrap();
        let fields: Vec<_> = line.split_whitespace().collect();
        assert_eq!(fields[3..5], [expected, hard], "{limits}: {line}");
    }
}

#[test]
fn whoever_has_begun_is_answered_when_the_process_is_told_to_end() {
    let scene = Scene::new();
    let mut server = FastCgi::start(&scene);
    let connect = || Connection::open(server.socket());
    // One that waits for the lock, one in the middle of its request, one that has only connected, and one
    // that is kept.
    let lock = hold_lock(&scene);
    let [mut waits, mut half, mut late, mut kept] = [connect(), connect(), connect(), connect()];
    kept.send(&request(1, true, &ADDRESS, b"")).unwrap();
    assert_eq!(line(&kept.response(1).unwrap()), "192.0.2.7");
    waits.send(&request(1, true, &get("127.0.0.11", &host1()), b"")).unwrap();
    let whole = request(1, true, &ADDRESS, b"");
    half.send(&whole[..20]).unwrap();
    wait_for_lock(&server, 1);
    eventually("all are accepted", || server.footprint().threads == 5);

    let told = Instant::now();
    server.signal(Signal::TERM);
    sleep(Duration::from_millis(100));
    late.send(&request(1, true, &ADDRESS, b"")).unwrap();
    assert_eq!(line(&late.response(1).unwrap()), "192.0.2.7");
    assert!(late.is_closed(), "there is no further request");
    assert!(kept.is_closed());
    let closed = told.elapsed();
    assert!(closed < Duration::from_secs(2), "{closed:?}");
    half.send(&whole[20..]).unwrap();
    assert_eq!(line(&half.response(1).unwrap()), "192.0.2.7");
    // A second signal changes nothing.
    server.signal(Signal::TERM);
    sleep(Duration::from_millis(100));
    drop(lock);
    assert_eq!(line(&waits.response(1).unwrap()), "good 127.0.0.11");
    assert!(waits.is_closed() && half.is_closed());
    assert!(server.wait().success());
    tell(&format!("measured: idle connections are closed {closed:.1?} after SIGTERM"));
    scene.settle();
    assert_eq!(scene.restarts().len(), 1);
}

#[test]
fn whoever_has_connected_is_answered_when_the_process_is_told_to_end() {
    const PEERS: usize = 50;
    let scene = Scene::new();
    let mut server = FastCgi::start(&scene);
    at_rest(&server);
    server.signal(Signal::STOP);
    let mut peers: Vec<_> = (0..PEERS).map(|_| Connection::open(server.socket())).collect();
    for peer in &mut peers {
        peer.send(&request(1, false, &ADDRESS, b"")).unwrap();
    }
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    for peer in &mut peers {
        assert_eq!(line(&peer.response(1).unwrap()), "192.0.2.7");
    }
    assert!(server.wait().success());
}

#[test]
fn a_peer_that_does_not_wait_for_its_replies_does_not_hold_up_the_end() {
    let scene = Scene::new();
    let mut server = FastCgi::start(&scene);
    let writes = Connection::open(server.socket()).0;
    let mut reads = writes.try_clone().unwrap();
    let requests = request(1, true, &ADDRESS, b"").repeat(1000);
    thread::scope(|scope| {
        scope.spawn(|| while (&writes).write_all(&requests).is_ok() {});
        let counts = scope.spawn(|| std::io::copy(&mut reads, &mut std::io::sink()).unwrap_or(0));
        sleep(Duration::from_millis(300));
        let told = Instant::now();
        server.signal(Signal::TERM);
        assert!(server.wait().success());
        let ended = told.elapsed();
        let _ = counts.join();
        tell(&format!("measured: in the midst of replies, the end comes after {ended:.1?}"));
        assert!(ended < Duration::from_secs(1), "{ended:?}");
    });
}

#[test]
fn a_burst_loses_nothing_when_one_of_two_processes_ends() {
    const CLIENTS: i64 = 8;
    const REQUESTS: i64 = 50;
    let scene = Scene::new();
    scene.configure(&json!({"window": 1_000_000, "lock_timeout": 30}));
    let socket = scene.path("run/ddns-cgi.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let program = scene.path("bin/ddns-cgi");
    let start = || FastCgi::on(&scene, listener.try_clone().unwrap().into(), &program, &[]);
    let [mut first, second] = [start(), start()];
    let (second, scene) = (&second, &scene);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    for turn in 0..REQUESTS {
                        let query = host1_at(turn * CLIENTS + client);
                        let reply = answer(second, &format!("127.0.1.{client}"), &query);
                        let is_right = ["good ", "nochg ", "replay"];
                        assert!(is_right.iter().any(|word| reply.starts_with(word)), "{reply}");
                    }
                })
            })
            .collect();
        sleep(Duration::from_millis(20));
        assert!(first.stop().success());
        assert!(clients.iter().any(|client| !client.is_finished()), "it ended after the burst");
    });
    scene.settle();
}

#[test]
fn a_process_that_systemd_starts_ends_when_nobody_needs_it() {
    let scene = Scene::new();
    let [unneeded, needed, other, held_up] = [0; 4].map(|_| Scene::new());
    let started = Instant::now();
    let mut unneeded = start_by(&unneeded, ACTIVATED);
    let mut needed = start_by(&needed, ACTIVATED);
    // systemd starts others, too, such as spawn-fcgi, and keeps no socket for them.
    let mut other = start_by(&other, "export SYSTEMD_EXEC_PID=$$ LISTEN_PID=$$; exec \"$0\"");
    let mut always = FastCgi::start(&scene);
    let held_up = start_by(&held_up, ACTIVATED);
    // A connection that is kept makes nobody needed, nor does one that says nothing.
    let mut kept = Connection::open(unneeded.socket());
    kept.send(&request(1, true, &ADDRESS, b"")).unwrap();
    assert_eq!(line(&kept.response(1).unwrap()), "192.0.2.7");
    for server in [&needed, &other, &always] {
        at_rest(server);
    }
    sleep(Duration::from_secs(IDLE / 2));
    at_rest(&needed);
    assert!(unneeded.is_running());
    sleep(Duration::from_secs(IDLE / 2 - 5));
    assert!(unneeded.is_running());
    let mut silent = Connection::open(unneeded.socket());
    silent.send(&begin(1, true)[..1]).unwrap();
    let mut half = Connection::open(held_up.socket());
    half.send(&begin(1, true)[..1]).unwrap();
    assert!(kept.is_closed());
    let closed = started.elapsed();
    drop(silent);
    assert!(unneeded.wait().success());
    let ended = started.elapsed();
    tell(&format!("measured: nobody asks: closed after {closed:.1?}, ended after {ended:.1?}"));
    assert!((IDLE..IDLE + 4).contains(&ended.as_secs()), "{ended:?}");
    sleep(Duration::from_secs(3));
    // While a peer is in the middle of its request, new ones are served.
    let asked = Instant::now();
    assert_eq!(line(&ask(held_up.socket(), &ADDRESS, b"")), "192.0.2.7");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert!(needed.is_running() && other.is_running() && always.is_running());
    // All of them can be told to end.
    assert!(needed.stop().success() && other.stop().success() && always.stop().success());
}

#[test]
fn a_connection_that_is_kept_is_closed_after_a_minute() {
    let scene = Scene::new();
    let server = FastCgi::start(&scene);
    let mut kept = Connection::open(server.socket());
    kept.0.set_read_timeout(Some(Duration::from_secs(2 * IDLE))).unwrap();
    kept.send(&request(1, true, &ADDRESS, b"")).unwrap();
    assert_eq!(line(&kept.response(1).unwrap()), "192.0.2.7");
    let answered = Instant::now();
    assert_eq!(rest(&mut kept), b"");
    let seconds = answered.elapsed().as_secs();
    assert!((IDLE - 1..IDLE + 8).contains(&seconds), "{seconds} s");
}

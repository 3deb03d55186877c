//! Faults at every system call of the FastCGI process: it is killed there, it is told to end, or the call
//! fails.
//!
//! strace watches one thread alone, that of a connection or the first one, so each of its calls is hit.
//! Beside what `faults.rs` demands of the files, a request that has begun is answered, and the process
//! serves the next one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use crate::fastcgi::{ADDRESS, answer, at_rest, get, line, log};
use crate::fastcgi_client::{Connection, FastCgi, Response, request};
use crate::faults::{
    Deed, ERRORS, FILE_CALLS, Outcome, STRACE, calls_in, check_files, check_healing_by,
    check_reply, prepare, scene,
};
use crate::scene::{Scene, can_run, eventually, tell, time, web_user};

/// What a request does. The restarter is the same, whoever starts it.
const DEEDS: [Deed; 5] = [
    Deed::Changed,
    Deed::Redundant,
    Deed::ChangedIndexed,
    Deed::RedundantIndexed,
    Deed::ChangedList,
];

/// strace on one thread.
pub struct Strace(Child);

impl Strace {
    /// Attaches it. `fault` is what it injects.
    pub fn attach(scene: &Scene, thread: &str, fault: &str) -> Self {
        let mut command = Command::new(STRACE);
        command.arg("-o").arg(scene.path("run/trace"));
        if !fault.is_empty() {
            command.args(["-e", fault]);
        }
        let mut strace = command.args(["-p", thread]).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(strace.stderr.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("attached"), "{said}");
        Self(strace)
    }

    pub fn detach(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        self.detach();
    }
}

/// The process, with a connection that the web server keeps.
pub struct Resident {
    server: FastCgi,
    connection: Connection,
    /// The thread of the connection.
    pub thread: String,
}

impl Resident {
    pub fn start(scene: &Scene) -> Self {
        let server = FastCgi::start(scene);
        at_rest(&server);
        let connection = Connection::open(server.socket());
        let mut resident = Self { server, connection, thread: String::new() };
        resident.connect();
        resident
    }

    /// Makes a new connection.
    fn connect(&mut self) {
        self.connection = Connection::open(self.server.socket());
        let own = self.server.pid().to_string();
        assert_eq!(self.ask(&ADDRESS).as_deref(), Some("192.0.2.7"));
        let folder = format!("/proc/{own}/task");
        eventually("there is one connection", || fs::read_dir(&folder).unwrap().count() == 2);
        let threads = fs::read_dir(folder).unwrap();
        let mut threads = threads.map(|thread| thread.unwrap().file_name().into_string().unwrap());
        self.thread = threads.find(|thread| *thread != own).unwrap();
    }

    /// Asks on the connection. `None` if it ends.
    pub fn ask(&mut self, variables: &[(&str, &str)]) -> Option<String> {
        self.connection.send(&request(1, true, variables, b"")).ok()?;
        self.connection.response(1).ok().map(|response| line(&response))
    }

    /// Does a deed while strace watches the connection's thread. `meanwhile` happens after the request
    /// and before the reply.
    fn run(
        &mut self,
        scene: &Scene,
        deed: Deed,
        fault: &str,
        meanwhile: impl FnOnce(&Self),
    ) -> Outcome {
        prepare(scene, deed);
        give_to_web_user(scene);
        let before = scene.state();
        let stamp = time(0);
        scene.write("run/fastcgi.log", "");
        let mut strace = Strace::attach(scene, &self.thread, fault);
        let (address, query) = deed.request(&stamp);
        let _ = self.connection.send(&request(1, true, &get(address, &query), b""));
        meanwhile(self);
        let response = self.connection.response(1).unwrap_or_else(|_| {
            // The thread comes to its end, and strace with it.
            let thread = format!("/proc/{}/task/{}", self.server.pid(), self.thread);
            eventually("the thread ends", || !Path::new(&thread).exists());
            Response::default()
        });
        strace.detach();
        let line = if response.stdout.is_empty() { String::new() } else { line(&response) };
        let said = String::from_utf8(response.stderr.concat()).unwrap() + &log(scene);
        let trace = scene.read("run/trace");
        Outcome { line, log: said, before, stamp, trace }
    }
}

/// Gives the files to the web server's user: a CGI of ours may have made some.
pub fn give_to_web_user(scene: &Scene) {
    for file in fs::read_dir(scene.path("www/ramcache")).unwrap() {
        chown(file.unwrap().path(), Some(web_user()), Some(web_user())).unwrap();
    }
}

/// All calls of the thread from the request to the reply, each as often as it is made.
fn points(scene: &Scene, deed: Deed) -> Vec<(String, usize)> {
    let mut resident = Resident::start(scene);
    // The first one may make the helper files.
    let _ = resident.run(scene, deed, "", |_| {});
    scene.settle();
    let outcome = resident.run(scene, deed, "", |_| {});
    scene.settle();
    let (trace, _) = outcome.trace.rsplit_once("\nsendto(").unwrap();
    let calls = calls_in(&format!("{trace}\nsendto("));
    // The thread was waiting in that one.
    let calls = calls.into_iter().filter(|(call, _)| call != "restart_syscall");
    calls.flat_map(|(call, count)| (1..=count).map(move |when| (call.clone(), when))).collect()
}

/// Whether the test can run, and its scene.
fn scene_for(test: &str) -> Option<Scene> {
    can_run(&format!("{test} through FastCGI"), &[STRACE, "root"]).then(|| {
        let scene = scene();
        scene.write("run/served", "");
        scene.hand_over("run/served");
        scene
    })
}

/// Says how many points were hit: nearly all, since a thread does not always make the same calls.
fn told(what: &str, hit: usize, all: usize) {
    tell(&format!("measured: {what}: whole after each of {hit} points of {all}"));
    assert!(hit <= all && hit * 10 >= all * 9, "{what}: {hit} of {all}");
}

#[test]
fn the_process_can_be_killed_at_every_system_call_of_a_request() {
    let Some(scene) = scene_for("SIGKILL") else { return };
    for deed in DEEDS {
        let points = points(&scene, deed);
        let mut hit = 0;
        let mut resident = Resident::start(&scene);
        for (call, when) in &points {
            let point = format!("FastCGI, {deed:?}: SIGKILL at {call} {when}");
            let fault = format!("inject={call}:signal=SIGKILL:when={when}");
            let outcome = resident.run(&scene, deed, &fault, |_| {});
            hit += usize::from(outcome.trace.contains("killed by SIGKILL"));
            resident = Resident::start(&scene);
            scene.settle();
            check_files(&scene, deed, &outcome, &point);
            let answer = |address: &str, query: &str| answer(&resident.server, address, query);
            check_healing_by(answer, &scene, deed, &point);
            resident.connect();
        }
        told(&format!("FastCGI, {deed:?}: SIGKILL"), hit, points.len());
    }
}

/// Waits until the thread has stopped, or its reply is there.
fn wait_for_stop(scene: &Scene, resident: &Resident) {
    while !scene.read("run/trace").contains("stopped by SIGSTOP") {
        let mut socket = [PollFd::new(&resident.connection.0, PollFlags::IN)];
        let moment = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        if poll(&mut socket, Some(&moment)).unwrap() > 0 {
            return;
        }
    }
}

#[test]
fn a_process_that_is_told_to_end_at_any_system_call_of_a_request_answers_it_first() {
    let Some(scene) = scene_for("SIGTERM") else { return };
    for deed in DEEDS {
        let points = points(&scene, deed);
        let mut hit = 0;
        for (call, when) in &points {
            let point = format!("FastCGI, {deed:?}: SIGTERM at {call} {when}");
            let mut resident = Resident::start(&scene);
            // SIGTERM comes from outside, as a supervisor sends it, while the thread has stopped there.
            let fault = format!("inject={call}:signal=SIGSTOP:when={when}");
            let outcome = resident.run(&scene, deed, &fault, |resident| {
                wait_for_stop(&scene, resident);
                resident.server.signal(Signal::TERM);
                resident.server.signal(Signal::CONT);
            });
            hit += usize::from(outcome.trace.contains("--- SIGSTOP"));
            let Resident { mut server, connection, .. } = resident;
            drop(connection);
            assert!(server.wait().success(), "{point}");
            let is_answered =
                outcome.line.starts_with("good ") || outcome.line.starts_with("nochg ");
            assert!(is_answered, "{point}: {:?} {}", outcome.line, outcome.trace);
            assert_eq!(outcome.log, "", "{point}");
            scene.settle();
            check_files(&scene, deed, &outcome, &point);
            let heals = FastCgi::start(&scene);
            let answer = |address: &str, query: &str| answer(&heals, address, query);
            check_healing_by(answer, &scene, deed, &point);
        }
        told(&format!("FastCGI, {deed:?}: SIGTERM"), hit, points.len());
    }
}

/// What calls on a connection may return, recvfrom(2) to poll(2). The first one is no reason to give up.
const SOCKET_ERRORS: [&str; 3] = ["error=EINTR", "error=ECONNRESET", "error=ENOMEM"];

/// The errors that a call may return.
fn errors_of(call: &str) -> &'static [&'static str] {
    match call {
        "sendto" | "recvfrom" => &SOCKET_ERRORS,
        // It may be the one after the reply.
        "ppoll" => &SOCKET_ERRORS[..1],
        _ if FILE_CALLS.contains(&call) => &ERRORS,
        _ => &[],
    }
}

#[test]
fn the_process_survives_every_error_at_every_call_of_a_request() {
    let Some(scene) = scene_for("errors") else { return };
    for deed in DEEDS {
        let (mut hit, mut all) = (0, 0);
        let points = points(&scene, deed);
        let mut resident = Resident::start(&scene);
        let descriptors = resident.server.footprint().descriptors;
        for (call, when) in &points {
            for error in errors_of(call) {
                let point = format!("FastCGI, {deed:?}: {error} at {call} {when}");
                let fault = format!("inject={call}:{error}:when={when}");
                let outcome = resident.run(&scene, deed, &fault, |_| {});
                hit += usize::from(outcome.trace.contains("(INJECTED)"));
                all += 1;
                scene.settle();
                check_files(&scene, deed, &outcome, &point);
                if outcome.line.is_empty() {
                    // The connection is lost, and nothing else.
                    assert!(SOCKET_ERRORS[1..].contains(error), "{point}: {}", outcome.log);
                    resident.connect();
                } else {
                    check_reply(&outcome, &point);
                }
                // The same process serves the next request, and has lost nothing.
                let answer = |address: &str, query: &str| {
                    let reply = resident.ask(&get(address, query));
                    reply.unwrap_or_else(|| panic!("{point}: the connection is lost"))
                };
                check_healing_by(answer, &scene, deed, &point);
                assert_eq!(resident.server.footprint().descriptors, descriptors, "{point}");
            }
        }
        told(&format!("FastCGI, {deed:?}: errors"), hit, all);
    }
}

/// Starts the process under strace, which watches its first thread alone.
fn start_under_strace(scene: &Scene, fault: &str) -> FastCgi {
    let [trace, program] =
        ["run/trace", "bin/ddns-cgi"].map(|name| scene.path(name).display().to_string());
    scene.write("run/trace", "");
    scene.hand_over("run/trace");
    scene.write("run/fastcgi.log", "");
    let options = if fault.is_empty() { vec![] } else { vec!["-e", fault] };
    let arguments = [&["-D", "-o", &*trace][..], &options, &["--", &program]].concat();
    FastCgi::of(scene, Path::new(STRACE), &arguments)
}

/// The line of the reply on a connection of its own; empty if there is none. A process that is gone
/// by now accepts no connection.
fn try_answer(server: &FastCgi, address: &str, query: &str) -> String {
    let Ok(socket) = UnixStream::connect(server.socket()) else { return String::new() };
    let mut connection = Connection::over(socket);
    let _ = connection.send(&request(1, false, &get(address, query), b""));
    connection.response(1).map(|response| line(&response)).unwrap_or_default()
}

/// Starts the process with a fault in its first thread, does a deed, and ends the process.
fn live(scene: &Scene, deed: Deed, fault: &str) -> (Outcome, ExitStatus) {
    prepare(scene, deed);
    give_to_web_user(scene);
    let before = scene.state();
    let stamp = time(0);
    let mut server = start_under_strace(scene, fault);
    let (address, query) = deed.request(&stamp);
    let line = try_answer(&server, address, &query);
    let status = server.stop();
    let trace = || scene.read("run/trace");
    eventually("strace has seen the end", || trace().contains("\n+++ "));
    scene.settle();
    (Outcome { line, log: log(scene), before, stamp, trace: trace() }, status)
}

#[test]
fn the_first_thread_can_be_killed_or_told_to_end_at_each_of_its_system_calls() {
    let Some(scene) = scene_for("the first thread") else { return };
    let deed = Deed::Changed;
    let (whole, status) = live(&scene, deed, "");
    assert!(status.success() && whole.line.starts_with("good "), "{} {}", whole.line, whole.trace);
    let mut points = 0;
    for (call, count) in calls_in(&whole.trace) {
        for (when, signal) in (1..=count).flat_map(|when| [(when, "SIGKILL"), (when, "SIGTERM")]) {
            let point = format!("FastCGI, first thread: {signal} at {call} {when}");
            let fault = format!("inject={call}:signal={signal}:when={when}");
            let (outcome, status) = live(&scene, deed, &fault);
            let trace = &outcome.trace;
            check_files(&scene, deed, &outcome, &point);
            if signal == "SIGTERM" {
                // Before it listens to signals, it has taken nobody's request.
                let is_ready = trace.contains("SIG_BLOCK, [TERM CHLD]");
                assert!(status.success() || !is_ready, "{point}: {status} {trace}");
                let is_accepted = trace.contains("\naccept4(") && !trace.contains("accept4(0, 0x");
                assert!(!outcome.line.is_empty() || !is_accepted, "{point}: {trace}");
            }
            let heals = FastCgi::start(&scene);
            let answer = |address: &str, query: &str| answer(&heals, address, query);
            check_healing_by(answer, &scene, deed, &point);
            points += 1;
        }
    }
    tell(&format!("measured: FastCGI, first thread: whole after each of {points} signals"));
}

#[test]
fn the_first_thread_survives_what_the_system_refuses() {
    let Some(scene) = scene_for("errors of the first thread") else { return };
    for (call, errors) in [
        ("accept4", &["EMFILE", "ENFILE", "EINTR", "ENOMEM", "ECONNABORTED", "EAGAIN"][..]),
        ("ppoll", &["EINTR", "ENOMEM"]),
        ("wait4", &["EINTR", "ECHILD"]),
        ("read", &["EINTR", "EIO"]),
        ("clone", &["EAGAIN"]),
    ] {
        for (error, when) in errors.iter().flat_map(|error| [(error, 1), (error, 2)]) {
            let point = format!("{error} at {call} {when}");
            prepare(&scene, Deed::Changed);
            give_to_web_user(&scene);
            let fault = format!("inject={call}:error={error}:when={when}");
            let mut server = start_under_strace(&scene, &fault);
            // Whoever can get no thread is sent away. Nobody else is.
            let lines: Vec<_> = (0..3).map(|_| try_answer(&server, "192.0.2.7", "")).collect();
            let lost = lines.iter().filter(|line| line.is_empty()).count();
            assert_eq!(lost, usize::from(call == "clone"), "{point}: {lines:?}");
            let (address, query) = Deed::Changed.request(&time(0));
            assert_eq!(answer(&server, address, &query), format!("good {address}"), "{point}");
            scene.settle();
            assert!(server.stop().success(), "{point}");
            let trace = || scene.read("run/trace");
            eventually("strace has seen the end", || trace().contains("\n+++ "));
            assert!(trace().contains("(INJECTED)"), "{point}: {}", trace());
        }
    }
}

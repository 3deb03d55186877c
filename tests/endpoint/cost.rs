//! What an update costs, in instructions and system calls, against a budget that is checked in.
//!
//! Counts, not times: a busy machine does not change them, so the test notices a tenth more. The program
//! is the shipped one. The files have a fixed size, the host is in the middle, and earlier accepted
//! updates have indexed them.

use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::fastcgi::get;
use crate::fastcgi_faults::{Resident, Strace, give_to_web_user};
use crate::faults::{STRACE, files_of};
use crate::scene::{Scene, can_run, eventually, signed, tell, time};

pub const VALGRIND: &str = "/usr/bin/valgrind";

/// By how many percent the instructions may exceed the budget, if the program was built with the
/// budget's compiler and C library.
///
/// From run to run the count differs by a few instructions.
const HEADROOM: u64 = 5;

/// The same in percent for a program built with others. The start of Debian 13's glibc alone takes twice
/// as many as a whole small update with musl, because valgrind's processor describes its caches in an
/// old way. Without its fast path, an update of 10,000 hosts takes a hundred times as many.
const HEADROOM_ELSEWHERE: u64 = 300;

/// By how many percent fewer instructions make the budget out of date.
const SLACK: u64 = 20;

/// How many more system calls are allowed: the kernel may split a write in two.
const MORE_CALLS: u64 = 1;

/// The same for a program built with others: glibc's start takes a dozen more than musl's.
const MORE_CALLS_ELSEWHERE: u64 = 16;

/// Prints the budget that the present program needs.
const PRINT: &str = "DDNS_COST_BUDGET";

/// What the program of the budget was built with.
const BUILT_WITH: &str = "built with";

/// Only musl describes an unknown error like this.
const ERROR_OF_MUSL: &str = "No error information";

/// The address of all hosts at first, and the new one of the host that changes.
pub const ADDRESSES: [&str; 2] = ["192.0.2.1", "192.0.2.2"];

/// Names of equal length.
pub fn host(number: usize) -> String {
    format!("host{number:05}.example")
}

/// The credentials of these hosts, ten for each user, in the layout that the state has.
fn credentials(names: &[String]) -> String {
    let users: Map<_, _> = names
        .chunks(10)
        .enumerate()
        .map(|(n, hosts)| (format!("user{n:04}"), json!({"id": hosts, "key": "secretkey"})))
        .collect();
    serde_json::to_string_pretty(&users).unwrap().replace("  ", "    ")
}

/// Files of so many hosts with their indexes, on a RAM disk.
fn indexed_scene(hosts: usize) -> Scene {
    let scene = Scene::on_ram_disk();
    let names: Vec<String> = (0..hosts).map(host).collect();
    let (state, hosts_file) = files_of(&names);
    scene.write_long_ago("etc/credentials.json", &credentials(&names));
    scene.configure(&json!({"restart": []}));
    scene.reset(&state, &hosts_file);
    // The first one writes the indexes.
    update(&scene, 0, ADDRESSES[0], &[]);
    scene
}

/// The query of an update of one host.
fn query(number: usize) -> String {
    signed(&format!("user{:04}", number / 10), "secretkey", &host(number), &time(0))
}

/// An update of one host by a program started like this.
fn update(scene: &Scene, number: usize, address: &str, words: &[&str]) {
    let query = query(number);
    let mut cgi = scene.cgi(address, &query);
    if !words.is_empty() {
        cgi = cgi.by(words);
    }
    let word = if address == ADDRESSES[0] { "nochg" } else { "good" };
    let reply = cgi.run();
    assert_eq!(reply.line, format!("{word} {address}"), "{reply:?}");
    scene.settle();
}

/// How many instructions the update of one host takes, perhaps the first one after an edit of the state.
fn instructions(hosts: usize, address: &str, is_edited: bool) -> u64 {
    let scene = indexed_scene(hosts);
    if is_edited {
        let state = File::options().append(true).open(scene.path("www/ramcache/ip.txt")).unwrap();
        state.set_modified(SystemTime::now()).unwrap();
    }
    let counts = scene.path("run/callgrind");
    let out = format!("--callgrind-out-file={}", counts.display());
    update(&scene, hosts / 2, address, &[VALGRIND, "--tool=callgrind", "--quiet", &out]);
    instructions_in(&counts)
}

/// How many instructions callgrind counted.
pub fn instructions_in(counts: &Path) -> u64 {
    let counts = fs::read_to_string(counts).unwrap();
    let total = counts.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
    total.trim().parse().unwrap()
}

/// How many system calls the update of one host takes.
fn system_calls(hosts: usize, address: &str) -> u64 {
    let scene = indexed_scene(hosts);
    let trace = scene.path("run/trace");
    update(&scene, hosts / 2, address, &[STRACE, "-o", trace.to_str().unwrap()]);
    let trace = fs::read_to_string(trace).unwrap();
    trace.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase())).count() as u64
}

/// How many system calls a redundant update takes on a connection that is kept.
fn system_calls_of_fastcgi(hosts: usize) -> u64 {
    let scene = indexed_scene(hosts);
    give_to_web_user(&scene);
    let mut resident = Resident::start(&scene);
    let mut strace = Strace::attach(&scene, &resident.thread, "");
    let reply = resident.ask(&get(ADDRESSES[0], &query(hosts / 2)));
    assert_eq!(reply, Some(format!("nochg {}", ADDRESSES[0])));
    let trace = || fs::read_to_string(scene.path("run/trace")).unwrap();
    let waits = || trace().lines().last().is_some_and(|line| line.starts_with("ppoll("));
    eventually("the thread waits for the next request", waits);
    strace.detach();
    // Each request has one wait, before these or after them. strace may have missed the former.
    let is_wait =
        |line: &&str| ["ppoll(", "restart_syscall("].iter().any(|call| line.starts_with(call));
    let trace = trace();
    let calls = trace.lines().skip_while(is_wait).take_while(|line| !is_wait(line));
    calls.count() as u64 + 1
}

/// What all updates cost, in the form of the budget.
fn measure() -> Map<String, Value> {
    let mut costs = Map::new();
    for hosts in [10, 10_000] {
        for (update, address) in ["redundant", "changed"].into_iter().zip(ADDRESSES) {
            let cost = json!({
                "instructions": instructions(hosts, address, false),
                "system calls": system_calls(hosts, address),
            });
            tell(&format!("measured: cost: {update} update, {hosts} hosts: {cost}"));
            costs.insert(format!("{update}, {hosts} hosts"), cost);
        }
    }
    for (update, address) in ["redundant", "changed"].into_iter().zip(ADDRESSES) {
        let cost = json!({ "instructions": instructions(10_000, address, true) });
        tell(&format!("measured: cost: {update} update after an edit, 10000 hosts: {cost}"));
        costs.insert(format!("{update} after an edit, 10000 hosts"), cost);
    }
    if can_run("the cost of an update through FastCGI", &[STRACE, "root"]) {
        for hosts in [10, 10_000] {
            let cost = json!({ "system calls": system_calls_of_fastcgi(hosts) });
            tell(&format!("measured: cost: redundant update, {hosts} hosts, FastCGI: {cost}"));
            costs.insert(format!("redundant, {hosts} hosts, FastCGI"), cost);
        }
    }
    costs
}

/// The compiler and the C library that the program names. musl names no version.
fn built_with(program: &str) -> String {
    let bytes = fs::read(program).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let version = |before: &str| {
        let rest = text.split(before).nth(1).unwrap_or_default();
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        rest[..end].trim_end_matches('.').to_owned()
    };
    let [compiler, library] = ["rustc version ", "stable release version "].map(version);
    let library =
        if text.contains(ERROR_OF_MUSL) { "musl".to_owned() } else { format!("glibc {library}") };
    format!("{}, rustc {compiler}, {library}", std::env::consts::ARCH)
}

/// Which counts are over the budget, and which are far below it.
fn compare(
    costs: &Map<String, Value>,
    budget: &Value,
    is_same: bool,
) -> (Vec<String>, Vec<String>) {
    let (headroom, more_calls) =
        if is_same { (HEADROOM, MORE_CALLS) } else { (HEADROOM_ELSEWHERE, MORE_CALLS_ELSEWHERE) };
    let (mut over, mut below) = (Vec::new(), Vec::new());
    for (update, cost) in costs {
        for what in ["instructions", "system calls"] {
            // What FastCGI costs without its start is a matter of calls, what all of a file costs one
            // of instructions.
            let Some(cost) = cost[what].as_u64() else { continue };
            let budget = budget[update][what].as_u64().unwrap();
            let (most, least) = match what {
                "instructions" => (budget + budget * headroom / 100, budget - budget * SLACK / 100),
                _ => (budget + more_calls, budget - budget * SLACK / 100),
            };
            let line = format!("{update}: {cost} {what}, the budget is {budget}");
            if cost > most {
                over.push(format!("{line}: {} % more", (cost - budget) * 100 / budget));
            } else if cost < least {
                below.push(line);
            }
        }
    }
    (over, below)
}

#[test]
fn an_update_costs_no_more_instructions_and_system_calls_than_its_budget() {
    let program = std::env::var("DDNS_CGI");
    let program = program.as_deref().unwrap_or("DDNS_CGI=dist/ddns-cgi (scripts/build)");
    if !can_run("the cost of an update", &[VALGRIND, STRACE, program]) {
        return;
    }
    let mut costs = measure();
    let built_with = built_with(program);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/endpoint/cost-budget.json");
    let how = format!("print the new budget with {PRINT}=1 and put it into {}", file.display());
    if std::env::var_os(PRINT).is_some() {
        costs.insert(BUILT_WITH.to_owned(), built_with.into());
        tell(&serde_json::to_string_pretty(&costs).unwrap());
        return;
    }
    let budget: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let is_same = budget[BUILT_WITH] == *built_with;
    if !is_same {
        let other = &budget[BUILT_WITH];
        tell(&format!("measured: cost: built with {built_with}; the budget is of {other}: {how}"));
    }
    let (over, below) = compare(&costs, &budget, is_same);
    for line in below {
        tell(&format!("measured: cost: far below the budget: {line}: {how}"));
    }
    assert!(
        over.is_empty(),
        "over the budget: {over:#?}\nSee where with valgrind --tool=callgrind and callgrind_annotate \
         (of a build with CARGO_PROFILE_RELEASE_STRIP=none), and with strace. \
         Where it is meant: {how}"
    );
}

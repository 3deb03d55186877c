//! The restarter: late, once, again after a failure, and never in the way of an answer.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::apache::{APACHE, Apache, Kind};
use crate::scene::{Scene, can_run, eventually, host1, is_root, signed, time};
use crate::transport::{Transport, Way};

/// A signed query of the article's first user, `seconds` from now: each stamp counts once.
fn host1_at(seconds: i64) -> String {
    signed("user1", "secretkey1", "host1.h.lohray.com", &time(seconds))
}

fn answers_at_once(scene: &Scene, transport: &Transport) {
    scene.configure(&json!({"restart": ["sh", "-c", scene.noting("sleep 6")]}));
    let started = Instant::now();
    assert_eq!(transport.answer(scene, "127.0.0.11", &host1()), "good 127.0.0.11");
    let elapsed = started.elapsed();
    assert!(elapsed < Duration::from_secs(1), "the answer took {elapsed:?}");
    scene.settle();
    assert!(started.elapsed() > Duration::from_secs(6), "the restart was not cut short");
    assert_eq!(scene.restarts().len(), 1);
    assert!(!scene.mark().exists());
}

#[test]
fn the_answer_does_not_wait_for_a_restart_of_six_seconds_bare() {
    answers_at_once_through(Way::BareCgi);
}

#[test]
fn the_answer_does_not_wait_for_a_restart_of_six_seconds_under_mod_cgi() {
    answers_at_once_through(Way::ApachePreforkCgi);
}

#[test]
fn the_answer_does_not_wait_for_a_restart_of_six_seconds_under_mod_cgid() {
    answers_at_once_through(Way::ApacheEventCgid);
}

#[test]
fn the_answer_does_not_wait_for_a_restart_of_six_seconds_under_nginx() {
    answers_at_once_through(Way::Nginx);
}

#[test]
fn the_answer_does_not_wait_for_a_restart_of_six_seconds_under_lighttpd_with_mod_cgi() {
    answers_at_once_through(Way::LighttpdCgi);
}

#[test]
fn the_answer_does_not_wait_for_a_restart_of_six_seconds_under_fcgiwrap() {
    answers_at_once_through(Way::NginxFcgiwrap);
}

fn answers_at_once_through(way: Way) {
    if way.can_run("slow restart") {
        let scene = Scene::new();
        let transport = way.start(&scene);
        answers_at_once(&scene, &transport);
    }
}

#[test]
fn the_restart_outlives_apache() {
    if can_run("restart and Apache's end", &[APACHE]) {
        let scene = Scene::new();
        scene.configure(&json!({"restart": ["sh", "-c", scene.noting("sleep 2")]}));
        let apache = Apache::start(&scene, Kind::EventCgid);
        assert_eq!(apache.answer("127.0.0.11", &host1()), "good 127.0.0.11");
        drop(apache);
        scene.settle();
        assert_eq!(scene.restarts().len(), 1);
    }
}

#[test]
fn two_hundred_changes_by_eight_clients_are_all_stored_and_served_with_few_restarts() {
    const HOSTS: usize = 200;
    const INTERVAL: u64 = 1;
    if !can_run("200 changes", &[APACHE]) {
        return;
    }
    let scene = Scene::new();
    let names: Vec<String> = (0..HOSTS).map(|n| format!("host{n}.example")).collect();
    scene.write("etc/credentials.json", &json!({"user1": {"id": names, "key": "k"}}).to_string());
    scene.reset("[]", "");
    // What dnsmasq would read: the hosts file when the restart begins.
    let copy = format!(
        "cp {} {}",
        scene.path("www/ramcache/hosts.dns").display(),
        scene.path("run/served").display()
    );
    scene.configure(
        &json!({"restart": ["sh", "-c", scene.noting(&copy)], "restart_interval": INTERVAL}),
    );
    let apache = Apache::start(&scene, Kind::EventCgid);
    let started = Instant::now();
    thread::scope(|scope| {
        for client in 0..8 {
            let (apache, names) = (&apache, &names);
            scope.spawn(move || {
                for name in names.iter().skip(client).step_by(8) {
                    let query = signed("user1", "k", name, &time(0));
                    let address = format!("127.0.1.{}", client + 1);
                    let answer = apache.answer(&address, &query);
                    assert_eq!(answer, format!("good {address}"), "{name}");
                }
            });
        }
    });
    scene.settle();
    let seconds = started.elapsed().as_secs();

    let state: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&scene.state()).unwrap();
    for (n, name) in names.iter().enumerate() {
        assert_eq!(state[name]["ip"], format!("127.0.1.{}", n % 8 + 1), "{name}");
    }
    assert_eq!(scene.hosts().lines().count(), HOSTS);
    assert_eq!(
        scene.read("run/served"),
        scene.hosts(),
        "the last restart came after the last change"
    );
    let restarts = scene.restarts();
    assert!(
        restarts.len() as u64 <= seconds / INTERVAL + 2,
        "{} restarts in {seconds} s",
        restarts.len()
    );
    // On a busy machine, the shell notes its start a few milliseconds late.
    assert!(restarts.windows(2).all(|pair| pair[1] - pair[0] >= 900 * INTERVAL), "{restarts:?}");
    assert!(!scene.mark().exists());
}

#[test]
fn a_failed_restart_keeps_the_mark_with_its_reason_and_any_accepted_request_tries_again() {
    let scene = Scene::new();
    scene.configure(&json!({"restart": ["sh", "-c", scene.noting("echo no way >&2; exit 7")]}));
    let attempts = |count| {
        scene.settle();
        assert_eq!(scene.restarts().len(), count);
        let mark = fs::read_to_string(scene.mark()).unwrap();
        assert_eq!(mark, "failed exit status: 7: no way\n");
    };
    assert_eq!(scene.answer("127.0.0.11", &host1_at(-5)), "good 127.0.0.11");
    attempts(1);
    let redundant = host1_at(-4);
    let reply = scene.cgi("127.0.0.11", &redundant).run();
    assert_eq!(reply.line, "nochg 127.0.0.11");
    assert!(
        reply.log.starts_with("ddns-cgi: notice ") && reply.log.contains("no way"),
        "{}",
        reply.log
    );
    attempts(2);
    assert_eq!(scene.answer("127.0.0.11", &redundant), "nochg 127.0.0.11", "repeated delivery");
    attempts(3);
    assert_eq!(scene.answer("127.0.0.66", &redundant), "replay", "refusals try nothing");
    attempts(3);

    scene.configure(&json!({}));
    let other = signed("user2", "secretkey2", "host3.h.lohray.com", &time(0));
    assert_eq!(
        scene.answer("50.19.108.105", &other),
        "nochg 50.19.108.105",
        "another user's redundant one"
    );
    scene.settle();
    assert_eq!(scene.restarts().len(), 4);
    assert!(!scene.mark().exists());
}

#[test]
fn a_command_that_is_missing_or_denied_is_named_in_the_mark() {
    let scene = Scene::new();
    for (command, reason) in [
        (json!(["no-such-program"]), "no-such-program not found"),
        (json!(["/no/such/program"]), "cannot run /no/such/program"),
        (json!(["/etc/passwd"]), "Permission denied"),
        (json!(["false"]), "exit status: 1"),
    ] {
        scene.reset(crate::scene::STATE, crate::scene::HOSTS);
        scene.configure(&json!({"restart": command}));
        assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
        scene.settle();
        let mark = fs::read_to_string(scene.mark()).unwrap();
        assert!(mark.starts_with("failed ") && mark.contains(reason), "{mark}");
        assert!(scene.state().contains("127.0.0.11") && scene.hosts().contains("127.0.0.11"));
    }
}

#[test]
fn a_restarter_that_cannot_begin_says_so_in_the_mark() {
    let scene = Scene::new();
    let lock = scene.path("www/ramcache/.hosts.dns.restart.lock");
    fs::create_dir(&lock).unwrap();
    assert_eq!(scene.answer("127.0.0.11", &host1_at(-3)), "good 127.0.0.11");
    scene.settle();
    let mark = fs::read_to_string(scene.mark()).unwrap();
    assert!(mark.starts_with("failed ") && mark.contains(".hosts.dns.restart.lock"), "{mark}");
    let reply = scene.cgi("127.0.0.11", &host1_at(-2)).run();
    assert!(reply.log.contains(".hosts.dns.restart.lock"), "{reply:?}");
    scene.settle();
    fs::remove_dir(&lock).unwrap();
    assert_eq!(scene.answer("127.0.0.11", &host1()), "nochg 127.0.0.11");
    scene.settle();
    assert_eq!(scene.restarts().len(), 1);
    assert!(!scene.mark().exists());
}

#[test]
fn a_restart_that_hangs_is_given_up_after_thirty_seconds() {
    let scene = Scene::new();
    scene.configure(&json!({"restart": ["sh", "-c", scene.noting("echo password:; sleep 99")]}));
    assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
    scene.settle();
    assert_eq!(fs::read_to_string(scene.mark()).unwrap(), "failed no end within 30 s: password:\n");
}

#[test]
fn no_restart_command_means_no_restart() {
    let scene = Scene::new();
    scene.configure(&json!({"restart": []}));
    assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
    scene.settle();
    assert!(scene.restarts().is_empty() && !scene.mark().exists());
    assert!(scene.hosts().contains("127.0.0.11 host1"));
}

#[test]
fn changes_within_the_interval_share_one_restart() {
    let scene = Scene::new();
    scene.configure(&json!({"restart": ["sh", "-c", scene.noting("")], "restart_interval": 2}));
    for n in 0_u8..6 {
        let address = format!("127.0.0.{}", 100 + n);
        assert_eq!(scene.answer(&address, &host1_at(i64::from(n) - 9)), format!("good {address}"));
    }
    scene.settle();
    let restarts = scene.restarts();
    assert!((1..=3).contains(&restarts.len()), "{restarts:?}");
    assert!(restarts.windows(2).all(|pair| pair[1] - pair[0] >= 1900), "{restarts:?}");
    assert!(scene.hosts().contains("127.0.0.105 host1"));
}

/// Starts a slow restart, and returns the restarter's process.
fn restarter_at_work(scene: &Scene) -> i32 {
    scene.configure(&json!({"restart": ["sh", "-c", scene.noting("sleep 5")]}));
    assert_eq!(scene.answer("127.0.0.11", &host1_at(-3)), "good 127.0.0.11");
    eventually("the restart begins", || scene.restarts().len() == 1);
    scene.restarter().unwrap()
}

#[test]
fn a_restarter_that_is_killed_leaves_the_mark_to_the_next_request() {
    let scene = Scene::new();
    let process = restarter_at_work(&scene);
    Command::new("kill").args(["-KILL", &process.to_string()]).status().unwrap();
    scene.settle();
    assert!(scene.mark().exists());
    scene.configure(&json!({}));
    assert_eq!(scene.answer("127.0.0.11", &host1()), "nochg 127.0.0.11");
    scene.settle();
    assert_eq!(scene.restarts().len(), 2);
    assert!(!scene.mark().exists());
}

#[test]
fn a_change_during_a_restart_leads_to_another() {
    let scene = Scene::new();
    restarter_at_work(&scene);
    assert_eq!(scene.answer("127.0.0.12", &host1()), "good 127.0.0.12");
    scene.settle();
    assert_eq!(scene.restarts().len(), 2);
    assert!(!scene.mark().exists());
}

#[test]
fn a_restart_that_fails_while_another_change_comes_says_so_and_is_tried_again() {
    let scene = Scene::new();
    let (mark, once, seen) = (scene.mark(), scene.path("run/once"), scene.path("run/seen"));
    let script = format!(
        "cp {mark} {seen}; mkdir {once} 2>&- || exit 0; echo changed more >>{mark}; exit 7",
        mark = mark.display(),
        seen = seen.display(),
        once = once.display()
    );
    scene.configure(&json!({"restart": ["sh", "-c", scene.noting(&script)]}));
    assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
    scene.settle();
    assert_eq!(scene.restarts().len(), 2);
    assert_eq!(scene.read("run/seen"), "failed exit status: 7\n");
    assert!(!scene.mark().exists());
}

#[test]
fn a_command_ends_though_changes_keep_coming_and_leaves_them_to_a_restarter() {
    for is_restarter_at_work in [false, true] {
        let scene = Scene::new();
        let over = scene.path("run/over");
        let mark = scene.mark();
        let script = format!("[ -e {} ] || echo changed more >>{}", over.display(), mark.display());
        scene.configure(&json!({"restart": ["sh", "-c", scene.noting(&script)]}));
        if is_restarter_at_work {
            assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
            eventually("it goes on and on", || scene.restarts().len() > 1);
        }
        scene.does(&["apply"]);
        let restarts = scene.restarts().len();
        eventually("a restarter goes on", || scene.restarts().len() > restarts + 1);
        scene.write("run/over", "");
        scene.settle();
        assert!(!mark.exists());
    }
}

#[test]
fn the_mark_does_not_grow_from_restart_to_restart() {
    let scene = Scene::new();
    restarter_at_work(&scene);
    for n in 1_u8..4 {
        let address = format!("127.0.0.{}", 20 + n);
        assert_eq!(scene.answer(&address, &host1_at(i64::from(n))), format!("good {address}"));
    }
    assert_eq!(fs::read_to_string(scene.mark()).unwrap().lines().count(), 4);
    eventually("the second restart begins", || scene.restarts().len() == 2);
    let mark = fs::read_to_string(scene.mark()).unwrap();
    assert_eq!(mark, "changed host1.h.lohray.com 127.0.0.23\n");
    assert_eq!(scene.answer("127.0.0.23", &host1_at(5)), "nochg 127.0.0.23");
    scene.settle();
    assert_eq!(scene.restarts().len(), 2);
    assert!(!scene.mark().exists());
}

#[test]
fn the_restarter_is_detached_with_nothing_of_the_request() {
    let scene = Scene::new();
    let process = restarter_at_work(&scene);
    let read = |name: &str| fs::read(format!("/proc/{process}/{name}")).unwrap();
    for descriptor in 0..3 {
        let file = fs::read_link(format!("/proc/{process}/fd/{descriptor}")).unwrap();
        assert_eq!(file.to_str(), Some("/dev/null"));
    }
    let environment = String::from_utf8(read("environ")).unwrap();
    let mut names: Vec<&str> =
        environment.split_terminator('\0').map(|v| v.split('=').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["DDNS_CONFIG", "DDNS_RESTARTER"]);
    let stat = String::from_utf8(read("stat")).unwrap();
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
    assert_eq!(session, process.to_string(), "a session of its own");
    assert_eq!(fs::read_link(format!("/proc/{process}/cwd")).unwrap().to_str(), Some("/"));
    let locks: Vec<_> = fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|fd| fs::read_link(fd.unwrap().path()).ok())
        .filter(|file| file.ends_with(".ip.txt.lock"))
        .collect();
    assert!(locks.is_empty(), "the lock of the state is free while the restart runs");
}

#[test]
fn the_restart_command_gets_default_signals() {
    let scene = Scene::new();
    let status = scene.path("run/status");
    let note = format!("grep -E '^Sig(Blk|Ign)' /proc/self/status > {}", status.display());
    // Debian's sh would unblock them by itself.
    scene.configure(&json!({"restart": ["bash", "-c", note]}));
    // As mod_cgi under the event MPM starts a CGI.
    let env = ["/usr/bin/env", "--default-signal", "--block-signal=TERM", "--ignore-signal=PIPE"];
    let cgi = scene.cgi("127.0.0.11", &host1()).by(&env);
    assert_eq!(cgi.run().line, "good 127.0.0.11");
    scene.settle();
    for line in scene.read("run/status").lines() {
        let (_, mask) = line.split_once(":\t").unwrap();
        // The signals of the C library's threads, 32 and up, are not ours.
        assert_eq!(u64::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff, 0, "{line}");
    }
}

#[test]
fn the_restart_command_inherits_no_lock() {
    let scene = Scene::new();
    let files = scene.path("run/files");
    // A daemon started by it would keep the lock and prevent any further restart.
    let note = format!("ls -l /proc/$$/fd > {}", files.display());
    scene.configure(&json!({"restart": ["sh", "-c", note]}));
    assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
    scene.settle();
    let files = scene.read("run/files");
    assert!(files.contains("memfd") && !files.contains("ramcache"), "{files}");
}

#[test]
fn where_no_process_can_be_started_the_change_is_kept_and_the_mark_stays() {
    let scene = Scene::new();
    let mut cgi = scene.cgi("127.0.0.11", &host1_at(-3)).by(&["/usr/bin/prlimit", "--nproc=0:0"]);
    if is_root() {
        // root is exempt from the limit.
        cgi = cgi.by_web_user();
    }
    let reply = cgi.run();
    assert_eq!(reply.line, "good 127.0.0.11");
    assert!(reply.log.contains("cannot start the restarter"), "{}", reply.log);
    assert!(scene.hosts().contains("127.0.0.11") && scene.mark().exists());
    assert_eq!(scene.answer("127.0.0.11", &host1()), "nochg 127.0.0.11");
    scene.settle();
    assert_eq!(scene.restarts().len(), 1);
    assert!(!scene.mark().exists());
}

#[test]
fn a_hosts_file_that_a_killed_request_left_behind_is_brought_up_to_date() {
    let scene = Scene::new();
    // Killed between replacing the state and the hosts file.
    scene.write("www/ramcache/.hosts.dns.pending", "changed host1.h.lohray.com 127.0.0.11\n");
    let state = crate::scene::STATE.replace("129.118.243.10", "127.0.0.11");
    scene.reset(&state, crate::scene::HOSTS);
    assert_eq!(scene.answer("127.0.0.11", &host1()), "nochg 127.0.0.11");
    scene.settle();
    assert_eq!(scene.hosts(), crate::scene::HOSTS.replace("129.118.243.10", "127.0.0.11"));
    assert_eq!(scene.restarts().len(), 1);
    assert!(!scene.mark().exists());
}

#[test]
fn a_clock_that_was_set_back_costs_one_interval_at_most() {
    let scene = Scene::new();
    scene.configure(&json!({"restart": ["sh", "-c", scene.noting("")], "restart_interval": 1}));
    scene.write("www/ramcache/.hosts.dns.restart.lock", "2999-01-01T00:00:00.000000Z\n");
    let started = Instant::now();
    assert_eq!(scene.answer("127.0.0.11", &host1()), "good 127.0.0.11");
    scene.settle();
    assert_eq!(scene.restarts().len(), 1);
    assert!(started.elapsed() < Duration::from_secs(9));
}

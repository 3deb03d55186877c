//! What the process takes from its surroundings, and what it leaves there: arguments, environment,
//! descriptors, umask, core dumps, resource limits.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::json;

use crate::apache::{Apache, Kind};
use crate::scene::{HOSTS, Scene, can_run, eventually, host1, signed, tell, time};

#[test]
fn the_environment_names_another_configuration_and_arguments_are_never_read() {
    let scene = Scene::new();
    let mut cgi = scene.cgi("127.0.0.11", "-s+--help");
    cgi.0.args(["-s", "--help"]);
    assert_eq!(cgi.run().line, "badrequest missing user");
    fs::copy(scene.path("etc/config.json"), scene.path("etc/other.json")).unwrap();
    scene.write("etc/config.json", "{");
    let other = scene.path("etc/other.json");
    let reply = scene.cgi("127.0.0.11", &host1()).env("DDNS_CONFIG", other.to_str().unwrap()).run();
    assert_eq!(reply.line, "good 127.0.0.11");
}

/// Both files have the change, and the restart is done.
fn check_changed(scene: &Scene) {
    scene.settle();
    assert_eq!(scene.hosts(), HOSTS.replace("129.118.243.10", "127.0.0.11"));
    let state: serde_json::Value = serde_json::from_str(&scene.state()).unwrap();
    assert_eq!(state["host1.h.lohray.com"]["ip"], "127.0.0.11");
    assert_eq!(scene.restarts().len(), 1);
    assert!(!scene.mark().exists());
}

#[test]
fn closed_descriptors_corrupt_no_file() {
    let scene = Scene::new();
    let shell = ["/bin/sh", "-c", "exec \"$0\" 0<&- 1>&- 2>&-"];
    let mut cgi = scene.cgi("127.0.0.11", &host1()).by(&shell);
    assert!(cgi.0.status().unwrap().success());
    check_changed(&scene);
}

#[test]
fn a_log_line_for_a_closed_standard_error_gets_into_no_file() {
    let scene = Scene::new();
    // The rebuilt state is logged while its files are open: the lock would have the number of
    // standard error, after the credentials have that of standard input.
    fs::remove_file(scene.path("www/ramcache/ip.txt")).unwrap();
    let shell = ["/bin/sh", "-c", "exec \"$0\" <&- 2>&-"];
    let reply = scene.cgi("127.0.0.11", &host1()).by(&shell).run();
    assert_eq!(reply.line, "good 127.0.0.11");
    check_changed(&scene);
    for entry in fs::read_dir(scene.path("www/ramcache")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("ddns-cgi: "), "{}: {text}", path.display());
    }
}

#[test]
fn open_descriptors_of_the_parent_are_not_used() {
    let scene = Scene::new();
    let files: Vec<_> = (3..10).map(|n| scene.path(&format!("run/inherited{n}"))).collect();
    let mut script = String::new();
    for (n, file) in (3..10).zip(&files) {
        script += &format!("exec {n}<>{}; ", file.display());
    }
    script += "exec \"$0\"";
    let reply = scene.cgi("127.0.0.11", &host1()).by(&["/bin/sh", "-c", &script]).run();
    assert_eq!(reply.line, "good 127.0.0.11");
    check_changed(&scene);
    assert!(files.iter().all(|file| fs::read(file).unwrap().is_empty()));
}

/// The files that a process has open.
pub fn descriptors(process: &str) -> Vec<PathBuf> {
    fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|descriptor| fs::read_link(descriptor.unwrap().path()).ok())
        .collect()
}

#[test]
fn the_restarter_has_no_descriptor_of_apache() {
    for kind in Kind::all("descriptors", &[]) {
        let scene = Scene::new();
        scene.configure(&json!({"restart": ["sh", "-c", scene.noting("sleep 2")]}));
        let apache = Apache::start(&scene, kind);
        assert_eq!(apache.answer("127.0.0.11", &host1()), "good 127.0.0.11");
        eventually("the restart begins", || scene.restarts().len() == 1);
        let process = scene.restarter().unwrap();
        // Apache did not open what these tests inherited themselves.
        let inherited = descriptors("self");
        let foreign: Vec<_> = descriptors(&process.to_string())
            .into_iter()
            .filter(|file| !inherited.contains(file) && file.to_str() != Some("/dev/null"))
            .filter(|file| !file.starts_with(scene.path("www/ramcache")))
            // Input and output of the restart command.
            .filter(|file| file.to_str() != Some("/memfd:ddns-cgi (deleted)"))
            .collect();
        assert!(foreign.is_empty(), "{kind:?}: {foreign:?}");
    }
}

/// The modes of everything in the state's folder.
pub fn modes(scene: &Scene) -> Vec<(String, u32)> {
    let mut modes: Vec<_> = fs::read_dir(scene.path("www/ramcache"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().mode() & 0o777)
        })
        .collect();
    modes.sort();
    modes
}

#[test]
fn no_umask_hides_the_names_from_dnsmasq_or_opens_a_file_to_others() {
    for (umask, lock_mode) in [("077", 0o600), ("000", 0o660)] {
        let scene = Scene::new();
        for name in ["ip.txt", "hosts.dns"] {
            fs::remove_file(scene.path("www/ramcache").join(name)).unwrap();
        }
        scene.configure(&json!({"restart": ["sh", "-c", scene.noting("sleep 1")]}));
        let shell = ["/bin/sh", "-c", &format!("umask {umask}; exec \"$0\"")];
        let reply = scene.cgi("127.0.0.11", &host1()).by(&shell).run();
        assert_eq!(reply.line, "good 127.0.0.11");
        eventually("the restart begins", || scene.restarts().len() == 1);
        let expected = [
            (".hosts.dns.pending", if umask == "077" { 0o600 } else { 0o644 }),
            (".hosts.dns.restart.lock", lock_mode),
            (".ip.txt.index", if umask == "077" { 0o600 } else { 0o640 }),
            (".ip.txt.lock", lock_mode),
            ("hosts.dns", 0o644),
            ("ip.txt", 0o644),
        ];
        assert_eq!(modes(&scene), expected.map(|(name, mode)| (name.to_owned(), mode)), "{umask}");
    }
}

/// Whether a program that strace ends with SIGABRT, at its first call of this kind, dumps core.
fn dumps_core(scene: &Scene, call: &str, program: &str) -> bool {
    let script = format!(
        "cd {}; ulimit -c unlimited; strace -o trace -e inject={call}:signal=SIGABRT:when=1 {program}",
        scene.path("run").display()
    );
    let mut cgi = scene.cgi("127.0.0.11", &host1());
    cgi = cgi.by(&["/bin/bash", "-c", &script]);
    let _ = cgi.env("PATH", "/usr/bin:/bin").0.output().unwrap();
    let trace = scene.read("run/trace");
    assert!(trace.contains("killed by SIGABRT"), "{trace}");
    trace.contains("core dumped")
}

#[test]
fn a_crash_leaves_no_core_with_a_key_in_it() {
    const STRACE: &str = "/usr/bin/strace";
    if !can_run("core dumps", &[STRACE]) {
        return;
    }
    let scene = Scene::new();
    if !dumps_core(&scene, "openat", "/bin/true") {
        tell("SKIPPED core dumps: this system writes none, whatever crashes");
        return;
    }
    let program = scene.path("bin/ddns-cgi").display().to_string();
    // It has the credentials in memory when it takes the lock.
    assert!(!dumps_core(&scene, "flock", &program));
    scene.settle();
    // ddnsctl has them when it prints.
    let ddnsctl = scene.ddnsctl_command(&["user", "list"]);
    let words = std::iter::once(ddnsctl.get_program()).chain(ddnsctl.get_args());
    let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
    assert!(!dumps_core(&scene, "write", &words.join(" ")));
}

#[test]
fn the_limits_of_the_shipped_file_leave_room_for_a_change_and_its_restart() {
    for kind in Kind::all("limits", &[]) {
        let scene = Scene::new();
        let limits = scene.path("run/limits");
        let note = format!("ulimit -a > {}", limits.display());
        scene.configure(&json!({"restart": ["bash", "-c", note]}));
        let apache = Apache::start_with(&scene, kind, "", &[("#RLimit", "RLimit")]);
        // The last limit is on all processes of the web server's user. Other tests have some, too.
        let mut second = -30;
        eventually("a request and its restart find room", || {
            second += 1;
            let query = signed("user1", "secretkey1", "host1.h.lohray.com", &time(second));
            apache.answer("127.0.0.11", &query);
            scene.settle();
            limits.exists() && !scene.mark().exists()
        });
        assert!(scene.hosts().contains("127.0.0.11") && scene.state().contains("127.0.0.11"));
        let limits = scene.read("run/limits");
        for (name, limit) in
            [("cpu time", "10"), ("virtual memory", "262144"), ("user processes", "200")]
        {
            let line = limits.lines().find(|line| line.contains(name)).unwrap();
            assert_eq!(line.split_whitespace().last(), Some(limit), "{kind:?}: {line}");
        }
    }
}

#[test]
fn where_apache_allows_no_further_process_the_change_is_kept_and_the_mark_stays() {
    // root is exempt from the limit, so Apache has to have another user.
    for kind in Kind::all("RLimitNPROC", &["root"]) {
        let scene = Scene::new();
        let changes = [("#RLimitNPROC 200", "RLimitNPROC 1")];
        let apache = Apache::start_with(&scene, kind, "", &changes);
        assert_eq!(apache.answer("127.0.0.11", &host1()), "good 127.0.0.11");
        assert!(scene.hosts().contains("127.0.0.11") && scene.mark().exists());
        assert!(scene.restarts().is_empty());
        assert!(scene.read("run/error.log").contains("cannot start the restarter"));
    }
}

#[test]
fn a_request_that_nobody_listens_to_any_more_is_done_to_its_end() {
    let scene = Scene::new();
    // There is a log line about this.
    scene.write("www/ramcache/.hosts.dns.pending", "failed exit status 1\n");
    let nobody = || Stdio::from(OwnedFd::from(UnixStream::pair().unwrap().0));
    let mut cgi = scene.cgi("129.118.243.10", &host1());
    let status = cgi.0.stdout(nobody()).stderr(nobody()).status().unwrap();
    assert!(status.success(), "{status}");
    scene.settle();
    assert!(!scene.state().contains("2012-04-20"), "{}", scene.state());
    assert_eq!(scene.restarts().len(), 1);
    assert!(!scene.mark().exists());
}

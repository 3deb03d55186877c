//! A second front end takes over, as `docs/beyond-one-machine.md` says: with a copy of the first one's
//! state, and the same primary server.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ddns_cgi::config::Protocol;
use serde_json::json;

use crate::apache::{APACHE, Apache, Kind};
use crate::primary::{KNOT, NSUPDATE, Primary};
use crate::scene::{Scene, can_run, signed, time};
use crate::zones::served;

const PAGE: &str = include_str!("../../docs/beyond-one-machine.md");

const RSYNC: &str = "/usr/bin/rsync";

/// The replay window, shorter than by default.
const WINDOW: u64 = 6;

/// Two front ends and the primary server, which is on neither of them.
struct System {
    first: Scene,
    second: Scene,
    primary: Primary,
    /// Where the primary has its files.
    _third: Scene,
}

impl System {
    fn new() -> Self {
        let [first, second, third] = [(); 3].map(|()| Scene::new());
        let primary = Primary::start(&third);
        for scene in [&first, &second] {
            let publish = primary.publish(&third, "UPDATE");
            scene.configure(&json!({"restart": [], "publish": publish, "window": WINDOW}));
        }
        // The second has nothing yet.
        for file in ["www/ramcache/ip.txt", "www/ramcache/hosts.dns", "etc/credentials.json"] {
            fs::remove_file(second.path(file)).unwrap();
        }
        Self { first, second, primary, _third: third }
    }
}

fn can(test: &str) -> bool {
    can_run(test, &["root", KNOT, NSUPDATE, RSYNC, APACHE])
}

/// Copies the state with the commands of the page.
fn copy(from: &Scene, to: &Scene) {
    for command in PAGE.lines().filter_map(|line| line.strip_prefix("ExecStart=")) {
        let (source, target) = command.rsplit_once(' ').unwrap();
        let source = in_scene(from, &source.replace("front1:", ""));
        let command = format!("{source} {}", in_scene(to, target));
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
    }
}

/// A text with the paths of a scene in the place of the real ones.
fn in_scene(scene: &Scene, text: &str) -> String {
    let path = |name| scene.path(name).display().to_string();
    text.replace("/media/data/www/ramcache", &path("www/ramcache"))
        .replace("/etc/ddns-cgi", &path("etc"))
}

fn start(scene: &Scene) -> Apache {
    Apache::start(scene, Kind::EventCgid)
}

/// A query of a host of the article, signed `seconds` from now.
fn query(host: u8, seconds: i64) -> String {
    let user = if host == 3 { 2 } else { 1 };
    let [user, key] = [format!("user{user}"), format!("secretkey{user}")];
    signed(&user, &key, &format!("host{host}.h.lohray.com"), &time(seconds))
}

#[test]
fn nothing_of_the_copy_is_lost_and_the_next_updates_bring_the_rest() {
    if !can("a takeover") {
        return;
    }
    let System { first, second, primary, .. } = &System::new();
    let apache = start(first);
    let captured = query(1, -3);
    assert_eq!(apache.answer("127.0.0.11", &captured), "good 127.0.0.11");
    assert_eq!(apache.answer("127.0.0.13", &query(3, -3)), "good 127.0.0.13");
    first.settle();
    copy(first, second);
    let copied = first.hosts();
    assert_eq!(apache.answer("127.0.0.12", &query(2, -2)), "good 127.0.0.12");
    first.settle();
    assert_eq!(served(primary), copied.replace("75.110.204.100", "127.0.0.12"));
    drop(apache);

    let apache = start(second);
    let state = second.state();
    assert_eq!(apache.answer("127.0.0.66", &captured), "replay");
    assert_eq!(second.state(), state);
    // The first accepted request, which changes nothing, brings the zone to the copied state.
    assert_eq!(apache.answer("127.0.0.13", &query(3, -1)), "nochg 127.0.0.13");
    second.settle();
    assert_eq!(second.hosts(), copied);
    assert_eq!(served(primary), copied);
    // The change since the copy comes back with the host's next update.
    assert_eq!(apache.answer("127.0.0.12", &query(2, 0)), "good 127.0.0.12");
    second.settle();
    assert_eq!(served(primary), second.hosts());
    assert!(second.hosts().contains("127.0.0.12 host2"));
}

#[test]
fn a_request_from_after_the_copy_can_be_replayed_once_until_twice_the_window_is_over() {
    if !can("replays at a takeover") {
        return;
    }
    let pause = format!("sleep {} ", 2 * Protocol::default().window);
    assert!(PAGE.contains(&pause), "{pause}");
    let System { first, second, .. } = &System::new();
    let apache = start(first);
    copy(first, second);
    // The clocks of these clients are ahead, nearly as far as the window allows.
    let captured = [1, 2, 3].map(|host| query(host, i64::try_from(WINDOW).unwrap() - 1));
    for query in &captured {
        assert_eq!(apache.answer("127.0.0.11", query), "good 127.0.0.11");
    }
    let accepted = Instant::now();
    let wait = |seconds| sleep(Duration::from_secs(seconds).saturating_sub(accepted.elapsed()));
    first.settle();
    drop(apache);

    let apache = start(second);
    assert_eq!(apache.answer("127.0.0.66", &captured[0]), "good 127.0.0.66");
    assert_eq!(apache.answer("127.0.0.67", &captured[0]), "replay");
    wait(WINDOW + 1);
    assert_eq!(apache.answer("127.0.0.66", &captured[1]), "good 127.0.0.66");
    wait(2 * WINDOW);
    let answer = apache.answer("127.0.0.66", &captured[2]);
    assert!(answer.starts_with("stale -"), "{answer}");
    second.settle();
}

#[test]
fn what_an_earlier_time_left_on_the_standby_does_no_harm() {
    if !can("a takeover and back") {
        return;
    }
    let System { first, second, primary, .. } = &System::new();
    let apply = |scene: &Scene| {
        let output = scene.ddnsctl(&["apply", "--all"]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(served(primary), scene.hosts());
    };
    apply(first);
    // The first fails again and again; the second hands over in good order. Lengths differ, so an
    // index of an earlier state has wrong places.
    let addresses = ["127.0.0.1", "127.100.100.1", "127.0.0.2", "127.100.100.2"];
    for (turn, address) in (0_u8..).zip(addresses) {
        let fails = turn % 2 == 0;
        let (from, to) = if fails { (first, second) } else { (second, first) };
        let apache = start(from);
        let update = |host, address, seconds| {
            assert_eq!(apache.answer(address, &query(host, seconds)), format!("good {address}"));
            from.settle();
        };
        let seconds = i64::from(turn) - 4;
        update(1, address, seconds);
        assert!(from.path("www/ramcache/.ip.txt.index").exists());
        copy(from, to);
        if fails {
            update(2, &format!("127.9.9.{turn}"), seconds);
        }
        drop(apache);
        apply(to);
        // The zone does not keep what the copy does not know.
        assert!(to.hosts().contains(&format!("{address} host1")), "{}", to.hosts());
        assert!(to.hosts().contains("75.110.204.100 host2"), "{}", to.hosts());
    }
}

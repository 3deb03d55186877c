//! Updates and the files that they leave.

use super::*;
use crate::config;
use crate::protocol::addresses::{Action, Addresses, NewIpv6, Wanted};
use crate::protocol::prefix::Prefix;
use crate::protocol::stamp::{Clock, Stamp, TimeZone};
use crate::store::record::{self, Fields};
use crate::store::{hosts, json};
use proptest::prelude::*;
use serde_json::{Map, Value};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use tempfile::TempDir;

const NAMES: [&str; 4] = ["a.example", "aa.example", "host1.a.example", "B.example"];

fn stamp(second: u32) -> Stamp {
    Stamp::parse(&format!("2026-11-23 12:00:{second:02}"), TimeZone::Utc).unwrap()
}

/// A record with an address of each family at most, and a field that is not ours.
fn a_record() -> impl Strategy<Value = Value> {
    let note = prop_oneof![
        "\\PC{0,9}".prop_map(Value::from),
        Just(serde_json::json!([{"a.example": "\n    \"a.example\": {"}, 1.0, null, {}])),
        any::<i64>().prop_map(Value::from),
    ];
    (any::<Option<u32>>(), any::<Option<u128>>(), prop::option::of(note)).prop_map(
        |(ip, ip6, note)| {
            let mut fields = Map::new();
            let addresses =
                [ip.map(|ip| IpAddr::V4(ip.into())), ip6.map(|ip| IpAddr::V6(ip.into()))];
            for address in addresses.into_iter().flatten() {
                record::set(&mut fields, &address.into(), stamp(0), TimeZone::Utc);
            }
            fields.extend(note.map(|note| ("note".to_owned(), note)));
            fields.into()
        },
    )
}

fn config_in(folder: &TempDir) -> Config {
    let path = |name: &str| folder.path().join(name);
    Config {
        store: config::Store {
            state: path("ip.txt"),
            hosts: path("hosts.dns"),
            credentials: path("credentials.json"),
            ..Default::default()
        },
        ..Config::default()
    }
}

fn an_action<A: Copy + std::fmt::Debug + 'static>(of: [A; 3]) -> impl Strategy<Value = Action<A>> {
    prop_oneof![
        2 => Just(Action::Keep),
        4 => prop::sample::select(of.to_vec()).prop_map(Action::Set),
        1 => Just(Action::Remove),
    ]
}

/// Some addresses, or prefixes for those that are stored.
fn some_addresses() -> impl Strategy<Value = Wanted> {
    let ipv4 = an_action([0, 1, 2].map(|last| Ipv4Addr::new(192, 0, 2, last)));
    let address = |last| NewIpv6::Address(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
    let prefix = NewIpv6::Prefix(Prefix::parse("2001:db8:1::/56").unwrap());
    let ipv6 = an_action([address(0), address(1), prefix]);
    let is_something = |wanted: &Wanted| *wanted != Addresses::KEPT.into();
    let wanted = (ipv4, ipv6).prop_map(|(ipv4, ipv6)| Wanted { ipv4, ipv6 });
    wanted.prop_filter("a request wants something", is_something)
}

/// An update of one host.
fn of_one(name: &str, address: &str, second: u32) -> Vec<Verified> {
    let address: IpAddr = address.parse().unwrap();
    vec![Ok(Authentic::for_test(name, address, stamp(second)))]
}

/// Both files after the requests, in a folder of their own. If they are not to be indexed, the
/// index is removed before each.
fn files_after(
    state: &Map<String, Value>,
    requests: impl IntoIterator<Item = Vec<Verified>>,
    is_indexed: bool,
) -> (String, String) {
    // On a RAM disk, if there is one: each update waits for the disk several times.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let config = config_in(&folder);
    fs::write(&config.store.state, json::to_string(state).unwrap()).unwrap();
    fs::write(&config.store.hosts, hosts::render(state)).unwrap();
    let mut is_stored = false;
    for updates in requests {
        if !is_indexed {
            let _ = fs::remove_file(folder.path().join(".ip.txt.index"));
        }
        let answers = store(&config, None, updates, Utc::now()).unwrap().unwrap().answers;
        is_stored |= answers.iter().any(Result::is_ok);
    }
    if is_indexed && is_stored {
        assert!(knows_hosts(&config), "all this is without an index");
    }
    (
        fs::read_to_string(&config.store.state).unwrap(),
        fs::read_to_string(&config.store.hosts).unwrap(),
    )
}

/// Whether both files are known from the index.
fn knows_hosts(config: &Config) -> bool {
    State::open(&config.store, Patience::Client).unwrap().knows_hosts()
}

#[test]
fn a_record_keeps_what_an_update_does_not_name() {
    let record = serde_json::json!({"ip": "192.0.2.1", "ip6": "2001:db8::1", "note": 1});
    let state = Map::from_iter([("a.example".to_owned(), record)]);
    for is_indexed in [true, false] {
        let requests = [1, 2].map(|n| of_one("a.example", &format!("192.0.2.{}", n + 1), n));
        let (text, hosts) = files_after(&state, requests, is_indexed);
        assert!(text.contains("\"note\": 1"), "{text}");
        assert_eq!(hosts, "192.0.2.3 a.example\n2001:db8::1 a.example\n");
    }
}

#[test]
fn where_a_redundant_update_drops_an_address_the_hosts_file_loses_it_too() {
    for (record, address) in [
        // Both of one family, as only a hand makes them.
        (r#"{"ip": "2001:db8::1", "ip6": "2001:db8::2"}"#, "2001:db8::2"),
        (r#"{"ip": "192.0.2.1", "ip6": "192.0.2.2"}"#, "192.0.2.2"),
        (r#"{"ip": "2001:db8::1", "ip6": "192.0.2.2"}"#, "192.0.2.2"),
    ] {
        let record = serde_json::from_str(record).unwrap();
        let state = [("a.example".to_owned(), record), ("b.example".to_owned(), Map::new().into())];
        let state = Map::from_iter(state);
        for is_indexed in [true, false] {
            let requests = [of_one("b.example", "192.0.2.9", 1), of_one("a.example", address, 2)];
            let (text, hosts) = files_after(&state, requests, is_indexed);
            let rendered = hosts::render(&serde_json::from_str(&text).unwrap());
            assert_eq!(hosts, rendered, "indexed: {is_indexed}, {text}");
        }
    }
}

#[test]
fn where_a_redundant_update_makes_two_spellings_one_the_hosts_file_has_one_too() {
    let state = ["B.example", "b.example", "a.example"].map(|name| {
        let address: IpAddr =
            if name == "B.example" { "192.0.2.1" } else { "192.0.2.2" }.parse().unwrap();
        let mut fields = Map::new();
        record::set(&mut fields, &address.into(), stamp(0), TimeZone::Utc);
        (name.to_owned(), fields.into())
    });
    let state = Map::from_iter(state);
    let both = ["a.example", "b.example"].map(|name| of_one(name, "192.0.2.2", 1).remove(0));
    for request in [Vec::from(both), of_one("b.example", "192.0.2.2", 1)] {
        let (text, hosts) = files_after(&state, [request], true);
        assert!(!text.contains("192.0.2.1"), "{text}");
        let rendered = hosts::render(&serde_json::from_str(&text).unwrap());
        assert_eq!(hosts, rendered, "{text}");
    }
}

#[test]
fn a_state_that_is_edited_meanwhile_is_neither_stamped_nor_replaced_nor_indexed() {
    let [one, both] = [&["b.example"][..], &["a.example", "b.example"]];
    let requests =
        [(one, "192.0.2.1"), (one, "192.0.2.2"), (both, "192.0.2.1"), (both, "192.0.2.2")];
    // Some editors write into the file, others put a new one in its place.
    for ((names, address), is_new) in requests.into_iter().flat_map(|r| [(r, false), (r, true)]) {
        let folder = tempfile::tempdir().unwrap();
        let config = config_in(&folder);
        for (name, second) in [("a.example", 1), ("b.example", 2)] {
            let update = of_one(name, "192.0.2.1", second);
            store(&config, None, update, Utc::now()).unwrap().unwrap();
        }
        let mut state = State::open(&config.store, Patience::Client).unwrap();
        assert!(state.knows_hosts(), "the files are not indexed");
        let step = |name: &&str| {
            let update = of_one(name, address, 3).remove(0).unwrap();
            let entry = state.entry(update.host()).unwrap();
            Step::decide(update, entry, false).step.unwrap()
        };
        let steps: Vec<Step> = names.iter().map(step).collect();
        let change = state.plan(&steps, &Expiry::at(Utc::now(), &config.store)).unwrap();
        // The clock of a file system may tick every 10 ms.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let edited = fs::read_to_string(&config.store.state).unwrap().replace("a.example", "A");
        let written = if is_new { folder.path().join("new") } else { config.store.state.clone() };
        fs::write(&written, &edited).unwrap();
        fs::rename(&written, &config.store.state).unwrap();
        let mut is_marked = false;
        let mark = || {
            is_marked = true;
            Ok(())
        };
        let fault = change.commit(mark).unwrap_err();
        assert_eq!(is_marked, address != "192.0.2.1", "the mark comes first");
        assert!(fault.reason.contains("edited meanwhile"), "{names:?} {address} {is_new}: {fault}");
        assert_eq!(fs::read_to_string(&config.store.state).unwrap(), edited);
        assert!(!knows_hosts(&config), "{names:?} {address}: the edited state is indexed");
    }
}

#[test]
fn a_copy_that_is_restored_meanwhile_is_not_replaced_by_what_the_hosts_file_tells() {
    for before in [None, Some("[]")] {
        let folder = tempfile::tempdir().unwrap();
        let config = config_in(&folder);
        store(&config, None, of_one("a.example", "192.0.2.1", 9), Utc::now()).unwrap().unwrap();
        let path = &config.store.state;
        let copy = fs::read_to_string(path).unwrap();
        fs::remove_file(path).unwrap();
        if let Some(before) = before {
            fs::write(path, before).unwrap();
        }
        let plan = || {
            let mut state = State::open(&config.store, Patience::Client).unwrap();
            let update = of_one("b.example", "192.0.2.2", 9).remove(0).unwrap();
            let entry = state.entry(update.host()).unwrap();
            let step = Step::decide(update, entry, false).step.unwrap();
            state.plan(&[step], &Expiry::at(Utc::now(), &config.store)).unwrap()
        };
        let change = plan();
        fs::write(path, &copy).unwrap();
        let fault = change.commit(|| Ok(())).unwrap_err();
        assert!(fault.reason.contains("edited meanwhile"), "{before:?}: {fault}");
        assert_eq!(fs::read_to_string(path).unwrap(), copy, "{before:?}");
        plan().commit(|| Ok(())).unwrap();
        assert!(fs::read_to_string(path).unwrap().contains("b.example"), "{before:?}");
    }
}

proptest! {
    #[test]
    fn indexed_files_become_what_others_become(
        records in prop::collection::vec(a_record(), NAMES.len()),
        requests in prop::collection::vec(
            (prop::sample::subsequence(NAMES.to_vec(), 1..3), some_addresses()),
            1..9,
        ),
    ) {
        let names = NAMES.iter().skip(1).map(|name| (*name).to_owned());
        let state: Map<_, _> = names.zip(records).collect();
        let requests = || (1..).zip(&requests).map(|(second, (names, addresses))| {
            let update = |name: &&str| Ok(Authentic::for_test(name, *addresses, stamp(second)));
            names.iter().map(update).collect()
        });
        let files = files_after(&state, requests(), true);
        prop_assert_eq!(&files, &files_after(&state, requests(), false));
        let state: Map<_, _> = serde_json::from_str(&files.0).unwrap();
        prop_assert_eq!(files.1, hosts::render(&state));
    }

    #[test]
    fn a_change_of_addresses_is_dated_if_the_page_is_on_and_nothing_else_is(
        records in prop::collection::vec(a_record(), NAMES.len()),
        requests in prop::collection::vec(
            (
                prop::sample::subsequence(NAMES.to_vec(), 1..3),
                some_addresses(),
                prop::bool::weighted(0.8),
                any::<bool>(),
            ),
            1..9,
        ),
    ) {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let mut config = config_in(&folder);
        let names = NAMES.iter().skip(1).map(|name| (*name).to_owned());
        let state: Map<_, _> = names.zip(records).collect();
        fs::write(&config.store.state, json::to_string(&state).unwrap()).unwrap();
        let read = || -> Map<String, Value> {
            serde_json::from_str(&fs::read_to_string(&config.store.state).unwrap()).unwrap()
        };
        let text = |state: &Map<String, Value>, name: &str, field| {
            state.get(name).and_then(|record| record.text(field)).map(str::to_owned)
        };
        for (second, (names, addresses, page, is_foreign)) in (1..).zip(requests) {
            config.status.page = page;
            let before = read();
            if is_foreign {
                // The layout of another program, which has no index.
                fs::write(&config.store.state, Value::from(before.clone()).to_string()).unwrap();
            }
            let update = |name: &&str| Ok(Authentic::for_test(name, addresses, stamp(second)));
            store(&config, None, names.iter().map(update).collect(), Utc::now()).unwrap().unwrap();
            let after = read();
            for name in after.keys() {
                let [was, is] = [&before, &after].map(|state| {
                    state.get(name).map(|record| record::addresses(record).collect::<Vec<_>>())
                });
                let expected = match (was == is, page) {
                    (true, _) => text(&before, name, record::CHANGED),
                    (false, true) => Some(stamp(second).format(TimeZone::Utc)),
                    (false, false) => None,
                };
                prop_assert_eq!(text(&after, name, record::CHANGED), expected, "{}", name);
            }
        }
    }
}

#[test]
fn without_the_page_a_change_leaves_the_bytes_that_it_always_left() {
    let record = |address: &str, update: &str| {
        let fields = serde_json::json!({"ip": address, "update": update});
        serde_json::json!({"a.example": fields, "b.example": {}})
    };
    let state = record("192.0.2.1", "2026-11-23 12:00:00");
    for is_indexed in [true, false] {
        let requests = [1, 2].map(|n| of_one("a.example", &format!("192.0.2.{n}"), n));
        let (text, _) = files_after(state.as_object().unwrap(), requests, is_indexed);
        let expected = record("192.0.2.2", "2026-11-23 12:00:02");
        assert_eq!(text, json::to_string(expected.as_object().unwrap()).unwrap());
    }
}

#[test]
fn hosts_of_one_request_are_stored_by_one_write_and_one_mark() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let config = config_in(&folder);
    let request = |second| {
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let update = |name: &str| Ok(Authentic::for_test(name, address, stamp(second)));
        vec![update("a.example"), Err(Refusal::Host), update("b.example")]
    };
    let answers = store(&config, None, request(1), Utc::now()).unwrap().unwrap().answers;
    assert!(matches!(
        &*answers,
        [Ok(Accepted::Good(_)), Err(Refusal::Host), Ok(Accepted::Good(_))]
    ));
    let mark = fs::read_to_string(path(".hosts.dns.pending")).unwrap();
    assert_eq!(mark, "changed a.example 192.0.2.1, b.example 192.0.2.1\n");
    let hosts = fs::metadata(path("hosts.dns")).unwrap();
    let answers = store(&config, None, request(2), Utc::now()).unwrap().unwrap().answers;
    assert!(matches!(
        &*answers,
        [Ok(Accepted::NoChange(_)), Err(Refusal::Host), Ok(Accepted::NoChange(_))]
    ));
    let state = fs::read_to_string(path("ip.txt")).unwrap();
    assert_eq!(state.matches("2026-11-23 12:00:02").count(), 2, "{state}");
    assert_eq!(fs::metadata(path("hosts.dns")).unwrap().ino(), hosts.ino(), "left alone");
    assert_eq!(fs::read_to_string(path(".hosts.dns.pending")).unwrap(), mark);
    let answers = store(&config, None, request(1), Utc::now()).unwrap().unwrap().answers;
    assert!(answers.iter().all(Result::is_err));
}

#[test]
fn the_stored_stamp_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let config = config_in(&folder);
    let request = |last: u8, second, clock| {
        let update =
            Authentic::for_test("a.example", IpAddr::from([192, 0, 2, last]), stamp(second));
        vec![Ok(if clock == Clock::Server { update.by_server_clock() } else { update })]
    };
    let send =
        |updates| store(&config, None, updates, Utc::now()).unwrap().unwrap().answers.remove(0);
    let stored = || fs::read_to_string(path("ip.txt")).unwrap();
    assert!(matches!(send(request(1, 9, Clock::Client)), Ok(Accepted::Good(_))));
    // As a new file and as a change of one record in indexed files.
    for (last, second) in [(2, 5), (3, 5), (4, 9)] {
        let answer = send(request(last, second, Clock::Server));
        assert!(matches!(answer, Ok(Accepted::Good(_))), "{last}");
        let text = stored();
        assert!(text.contains("12:00:09") && text.contains(&format!("192.0.2.{last}")), "{text}");
    }
    let before = stored();
    assert!(matches!(send(request(4, 3, Clock::Server)), Ok(Accepted::NoChange(_))));
    assert!(matches!(send(request(1, 9, Clock::Client)), Err(Refusal::Replay { .. })));
    assert_eq!(stored(), before);
}

#[test]
fn nothing_is_stored_that_was_verified_by_other_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let config = config_in(&folder);
    let send = |credentials| {
        let update = of_one("a.example", "192.0.2.1", 1);
        store(&config, credentials, update, Utc::now()).unwrap().map(|stored| stored.answers)
    };
    let credentials = &config.store.credentials;
    fs::write(credentials, "{}").unwrap();
    let before = Validity::at(credentials);
    fs::write(credentials, "{ }").unwrap();
    assert!(send(before).is_none() && send(None).is_none());
    assert!(!config.store.state.exists());
    assert!(send(Validity::at(credentials)).is_some());
    let refused = vec![Err(Refusal::Host)];
    assert!(store(&config, before, refused, Utc::now()).unwrap().is_some());
}

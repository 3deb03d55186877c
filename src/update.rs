//! Stores an authentic update: lock, decide, write.

use chrono::{DateTime, Utc};

use crate::auth::Authentic;
use crate::config::Config;
use crate::credentials::Credentials;
use crate::decide::{Decision, decide};
use crate::error::{Error, Fault, Refusal};
use crate::log;
use crate::mark::Mark;
use crate::reply::Accepted;
use crate::state::{HostEntry, Patience, State};

/// Brings the state up to date and, where an address changed, the hosts file.
///
/// The mark comes first: wherever this is killed, the mark is there before the files differ from
/// what dnsmasq serves, and the next request finds it.
///
/// `credentials` are those that the update was verified with; the next request will find its user in
/// them the faster.
pub fn store(
    config: &Config,
    update: &Authentic,
    credentials: &Credentials,
    now: DateTime<Utc>,
) -> Result<Accepted, Error> {
    let state = State::open(config, Patience::Client)?;
    credentials.write_index(&state, now);
    let entry = state.entry(update.host())?;
    let address = update.address();
    match decide(update, entry.as_ref().map(|entry| &entry.record)) {
        Decision::Repeated => Ok(Accepted::NoChange(address)),
        Decision::Redundant => {
            match &entry {
                Some(entry) if entry.record.is_in_order() && config.hosts.exists() => {
                    state.store_stamp(update, entry)?;
                    notice_rebuild(config, &state);
                }
                Some(_) | None => store_both(config, &state, update, entry.as_ref())?,
            }
            Ok(Accepted::NoChange(address))
        }
        Decision::Changed => {
            store_both(config, &state, update, entry.as_ref())?;
            Ok(Accepted::Good(address))
        }
        Decision::Replay { last } => {
            let seconds = last.seconds_ahead_of(now);
            let ahead = u64::try_from(seconds).is_ok_and(|s| s > config.window).then_some(seconds);
            Err(Refusal::Replay { last, ahead }.into())
        }
    }
}

fn store_both(
    config: &Config,
    state: &State,
    update: &Authentic,
    entry: Option<&HostEntry>,
) -> Result<(), Fault> {
    let change = state.change(update, entry)?;
    Mark::add(&config.hosts, format_args!("{} {}", update.host(), update.address()))?;
    state.store(&change)?;
    notice_rebuild(config, state);
    Ok(())
}

fn notice_rebuild(config: &Config, state: &State) {
    if let Ok(count @ 1..) = state.rebuilt_hosts() {
        let reason = format!(
            "the state was missing or empty: {count} hosts taken from {}",
            config.hosts.display()
        );
        log::notice(&Fault::new(config.state.display(), reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::php_json;
    use crate::record;
    use crate::sealed::Seals;
    use crate::stamp::{Stamp, Zone};
    use crate::state::Change;
    use proptest::prelude::*;
    use serde_json::{Map, Value};
    use std::fs::{self, File};
    use std::net::IpAddr;

    const NAMES: [&str; 4] = ["a.example", "aa.example", "host1.a.example", "B.example"];

    fn stamp(second: u32) -> Stamp {
        Stamp::parse(&format!("2026-11-23 12:00:{second:02}"), Zone::Utc).unwrap()
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
                    record::set(&mut fields, address, stamp(0), Zone::Utc);
                }
                fields.extend(note.map(|note| ("note".to_owned(), note)));
                fields.into()
            },
        )
    }

    fn credentials(config: &Config) -> Credentials {
        fs::write(&config.credentials, "{}").unwrap();
        Credentials::open(config).unwrap()
    }

    /// Both files after the updates, in a folder of their own. Where they are not to be sealed, the
    /// lock file is emptied before each.
    fn files_after(
        state: &Map<String, Value>,
        updates: &[Authentic],
        is_sealed: bool,
    ) -> (String, String) {
        // On a RAM disk, where there is one: each update waits for the disk several times.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = |name: &str| folder.path().join(name);
        let config = Config {
            state: path("ip.txt"),
            hosts: path("hosts.dns"),
            credentials: path("credentials.json"),
            ..Config::default()
        };
        fs::write(&config.state, php_json::to_bytes(state).unwrap()).unwrap();
        fs::write(&config.hosts, crate::hosts::render(state)).unwrap();
        let credentials = credentials(&config);
        for update in updates {
            if !is_sealed {
                fs::write(path(".ip.txt.lock"), "").unwrap();
            }
            let _ = store(&config, update, &credentials, Utc::now());
        }
        if is_sealed {
            let lock = File::open(path(".ip.txt.lock")).unwrap();
            let seals = Seals::read(&lock).unwrap();
            assert!(seals.state.is_some() && seals.hosts.is_some(), "all this is without seals");
        }
        (fs::read_to_string(&config.state).unwrap(), fs::read_to_string(&config.hosts).unwrap())
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
            let state =
                [("a.example".to_owned(), record), ("b.example".to_owned(), Map::new().into())];
            let state = Map::from_iter(state);
            let updates = [("b.example", "192.0.2.9", 1), ("a.example", address, 2)]
                .map(|(name, address, second)| Authentic::for_test(name, address, stamp(second)));
            for is_sealed in [true, false] {
                let (text, hosts) = files_after(&state, &updates, is_sealed);
                let rendered = crate::hosts::render(&serde_json::from_str(&text).unwrap());
                assert_eq!(hosts, rendered, "sealed: {is_sealed}, {text}");
            }
        }
    }

    #[test]
    fn a_state_that_is_edited_meanwhile_is_neither_stamped_nor_spliced_nor_sealed() {
        let update = |name, address, second| Authentic::for_test(name, address, stamp(second));
        for address in ["192.0.2.1", "192.0.2.2"] {
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name);
            let config = Config {
                state: path("ip.txt"),
                hosts: path("hosts.dns"),
                credentials: path("credentials.json"),
                ..Config::default()
            };
            for (name, second) in [("a.example", 1), ("b.example", 2)] {
                let update = update(name, "192.0.2.1", second);
                store(&config, &update, &credentials(&config), Utc::now()).unwrap();
            }
            let update = update("b.example", address, 3);
            let state = State::open(&config, Patience::Client).unwrap();
            let entry = state.entry(update.host()).unwrap().unwrap();
            let change = state.change(&update, Some(&entry)).unwrap();
            assert!(matches!(change, Change::Record { .. }), "the files are not sealed");
            // The clock of a file system may tick every 10 ms.
            std::thread::sleep(std::time::Duration::from_millis(20));
            let edited = fs::read_to_string(&config.state).unwrap().replace("a.example", "A");
            fs::write(&config.state, &edited).unwrap();
            let result = match address {
                "192.0.2.1" => state.store_stamp(&update, &entry),
                _ => state.store(&change),
            };
            let fault = result.unwrap_err();
            assert!(fault.reason.contains("edited meanwhile"), "{fault}");
            assert_eq!(fs::read_to_string(&config.state).unwrap(), edited);
            drop(state);
            let state = State::open(&config, Patience::Client).unwrap();
            assert!(!state.knows_hosts(), "{address}: the edited state is sealed");
        }
    }

    proptest! {
        #[test]
        fn sealed_files_become_what_others_become(
            records in prop::collection::vec(a_record(), NAMES.len()),
            updates in prop::collection::vec((0..NAMES.len(), 0_u8..3, any::<bool>()), 1..9),
        ) {
            let state: Map<_, _> = NAMES.iter().skip(1).map(|name| (*name).to_owned()).zip(records).collect();
            let updates: Vec<_> = (1..).zip(&updates).map(|(second, (name, address, is_ip6))| {
                let address = if *is_ip6 { format!("2001:db8::{address}") } else { format!("192.0.2.{address}") };
                Authentic::for_test(NAMES[*name], &address, stamp(second))
            }).collect();
            prop_assert_eq!(files_after(&state, &updates, true), files_after(&state, &updates, false));
        }
    }
}

//! `ddnsctl rename`, which `ddnsctl host rename` runs as the owner of the state.

use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::store::state::{Patience, State};
use serde_json::{Map, Value};

use crate::Report;
use crate::names::host_name;
use crate::records::{Edit, STORED, settle, store};

/// What became of a host's record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// There is none.
    Absent,
    /// It has the new name.
    Renamed,
    /// It is gone: the new name has a record of its own already.
    Removed,
}

/// Gives the record of a host another name, and makes the name servers follow.
pub fn run(config: &Config, [host, new]: [&str; 2]) -> Result<Report, Fault> {
    let names = [host_name(host)?, host_name(new)?];
    let outcome = rename(config, &names)?;
    settle(config, STORED)?;
    let [host, new] = names;
    Ok(Report::done(match outcome {
        Outcome::Absent => format!("{host} was not in DNS"),
        Outcome::Renamed => format!("{new} has the place of {host} in the state and in DNS"),
        Outcome::Removed => {
            format!("{new} has a record of its own, so that of {host} is removed")
        }
    }))
}

fn rename(config: &Config, [host, new]: &[HostName; 2]) -> Result<Outcome, Fault> {
    let mut state = State::open(&config.store, Patience::Client)?;
    let map = state.map()?;
    let has = |host: &HostName| map.keys().any(|name| host.is(name));
    let outcome = match (has(host), has(new)) {
        (false, _) => Outcome::Absent,
        (true, false) => Outcome::Renamed,
        (true, true) => Outcome::Removed,
    };
    let map = match outcome {
        Outcome::Absent => map,
        Outcome::Renamed => renamed(map, host, new),
        Outcome::Removed => map.into_iter().filter(|(name, _)| !host.is(name)).collect(),
    };
    let change = format!("{host} is {new}");
    let edit = Edit { map: &map, is_changed: outcome != Outcome::Absent, change };
    store(config, &state, &edit)?;
    Ok(outcome)
}

/// The same map with another name for a host, in its place. If the host is there in several
/// spellings, the last one counts, as for an update.
pub fn renamed(map: Map<String, Value>, host: &HostName, new: &HostName) -> Map<String, Value> {
    let name_of = |name: String| if host.is(&name) { new.to_string() } else { name };
    map.into_iter().map(|(name, value)| (name_of(name), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_last_spelling_gets_the_new_name_in_the_place_of_the_first() {
        let map = json!({"x.example": 1, "A.example": 2, "b.example": 3, "a.example": 4});
        let Value::Object(map) = map else { panic!("no map") };
        let [host, new] = ["a.EXAMPLE", "c.example"].map(|name| host_name(name).unwrap());
        let text = serde_json::to_string(&renamed(map, &host, &new)).unwrap();
        assert_eq!(text, r#"{"x.example":1,"c.example":4,"b.example":3}"#);
    }
}

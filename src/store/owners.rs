//! Who owns which host, and how often to expect its updates, as the credentials say: for the status
//! page. Nothing else of a user's entry is kept, above all no key.

use std::collections::HashMap;
use std::fs::File;

use serde_json::{Map, Value};

use crate::config;
use crate::fault::{Fault, json_position};
use crate::protocol::user;
use crate::store::keys::Keys;
use crate::store::object::Object;
use crate::store::validity::Validity;

/// The owners of all hosts.
#[derive(Debug, Default)]
pub struct Owners(HashMap<String, Owner>);

/// The user who may update a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user's name.
    pub user: String,
    /// How many seconds may pass between two updates of the host, if the user's entry says so.
    pub every: Option<u64>,
}

impl Owners {
    /// Reads the credentials that the configuration names. They leave memory before this returns.
    pub fn read(settings: &config::Store) -> Result<Self, Fault> {
        let path = &settings.credentials;
        let fault = |error| Fault::io("read the credentials", path, &error);
        let file = File::open(path).map_err(fault)?;
        let text = Validity::of_file(&file).and_then(|file_as_it_is| file_as_it_is.read(&file));
        Self::parse(text.map_err(fault)?)
            .map_err(|error| Fault::new(path.display(), json_position(&error)))
    }

    /// The owners in credentials that somebody has read already.
    #[must_use]
    pub fn in_users(users: &Map<String, Value>) -> Self {
        let mut owners = Self::default();
        for (user, entry) in users {
            owners.add(user, entry);
        }
        owners
    }

    fn parse(text: String) -> serde_json::Result<Self> {
        let mut owners = Self::default();
        for (user, entry) in Object::read(text, Keys::OfUsers)?.entries() {
            // What is no valid entry has no hosts.
            if let Ok(entry) = serde_json::from_str(entry) {
                owners.add(&user, &entry);
            }
        }
        Ok(owners)
    }

    /// Adds the hosts in a user's entry, if it is an object. A host that two users list belongs to
    /// the first.
    fn add(&mut self, user: &str, entry: &Value) {
        let hosts = entry.get(user::HOSTS).and_then(Value::as_array).into_iter().flatten();
        for host in hosts.filter_map(Value::as_str) {
            let owner = || Owner { user: user.to_owned(), every: None };
            self.0.entry(host.to_ascii_lowercase()).or_insert_with(owner);
        }
        let intervals = entry.get(user::EVERY).and_then(Value::as_object).into_iter().flatten();
        for (host, seconds) in intervals {
            let owner = self.0.get_mut(&host.to_ascii_lowercase());
            if let Some(owner) = owner.filter(|owner| owner.user == user) {
                owner.every = seconds.as_u64().filter(|seconds| *seconds > 0);
            }
        }
    }

    /// The owner of a host.
    #[must_use]
    pub fn of(&self, host: &str) -> Option<&Owner> {
        self.0.get(&host.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_belongs_to_the_first_user_who_lists_it_in_any_spelling() {
        let owners = Owners::parse(
            r#"{"al": {"id": ["A.example", "b.example"], "key": "k"},
                "bo": {"id": ["a.EXAMPLE", "c.example", 5, null], "key": 1, "x": {}},
                "list": ["d.example"], "text": {"id": "d.example"}, "none": {}, "null": null}"#
                .to_owned(),
        )
        .unwrap();
        let user = |host| owners.of(host).map(|owner| owner.user.as_str());
        assert_eq!(user("a.example"), Some("al"));
        assert_eq!(user("B.EXAMPLE"), Some("al"));
        assert_eq!(user("c.example"), Some("bo"));
        assert_eq!(user("d.example"), None);
    }

    #[test]
    fn only_a_number_of_seconds_is_an_interval_and_only_that_of_the_owner_counts() {
        for (every, expected) in [
            (r#"{"a.example": 900}"#, Some(900)),
            (r#"{"A.Example": 1}"#, Some(1)),
            (r#"{"a.example": 18446744073709551615}"#, Some(u64::MAX)),
            (r#"{"b.example": 900}"#, None),
            (r#"{"a.example": 0}"#, None),
            (r#"{"a.example": -900}"#, None),
            (r#"{"a.example": 1.5}"#, None),
            (r#"{"a.example": 1e3}"#, None),
            (r#"{"a.example": "900"}"#, None),
            (r#"{"a.example": null}"#, None),
            (r#"{"a.example": {}}"#, None),
            (r#"{"a.example": 18446744073709551616}"#, None),
            ("900", None),
            ("[900]", None),
            ("null", None),
        ] {
            let text = format!(
                r#"{{"al": {{"every": {every}, "id": ["a.example"]}},
                    "bo": {{"id": ["a.example"], "every": {{"a.example": 7}}}}}}"#
            );
            let owners = Owners::parse(text).unwrap();
            assert_eq!(owners.of("a.example").unwrap().every, expected, "{every}");
        }
    }

    #[test]
    fn broken_credentials_tell_nothing_and_the_fault_has_nothing_of_them() {
        for text in ["[1]", "{", r#"{"al": {"key": "secretkey"}"#, r#"{"al": "secretkey\x"}"#] {
            let error = Owners::parse(text.to_owned()).unwrap_err();
            assert!(!json_position(&error).contains("secret"), "{text}");
        }
        for text in ["", "{}", "[]"] {
            assert!(Owners::parse(text.to_owned()).unwrap().0.is_empty());
        }
    }
}

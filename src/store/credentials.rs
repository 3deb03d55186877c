//! The credentials: the operator's file of users. Like the state, it is indexed or read whole.
//!
//! The index is a helper file beside the state. As long as it is that of the file as it is, it is
//! believed even if it does not know a user. So the time that it takes tells nobody where a user is
//! in the file, or whether there is one.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::Value;

use crate::config;
use crate::fault::{Fault, json_position};
use crate::protocol::host::HostName;
use crate::protocol::user::{self, Found};
use crate::store::index::{self, Indexed, Place, Search};
use crate::store::json::Text;
use crate::store::keys::Keys;
use crate::store::lock::Lock;
use crate::store::object::Object;
use crate::store::replace::{Readers, companion, replace_with};
use crate::store::validity::Validity;

/// Files up to this size in bytes are read whole: to open an index takes as long.
const SMALL: u64 = 16 << 10;

/// The turn to read a large file whole, which takes several times its size in memory. Requests that
/// a process answers at once have it one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// The credentials file of a request.
#[derive(Debug)]
pub struct Credentials {
    /// What tells whether the file is still the one that was read.
    pub(crate) validity: Validity,
    path: PathBuf,
    contents: Contents,
    /// What the file said, if it had to be read whole.
    users: Option<Object>,
}

#[derive(Debug)]
enum Contents {
    Indexed(Indexed),
    Whole(File),
}

impl Credentials {
    /// Opens the file that the configuration names.
    pub fn open(settings: &config::Store) -> Result<Self, Fault> {
        let path = settings.credentials.clone();
        let fault = |error| Fault::io("read the credentials", &path, &error);
        let file = File::open(&path).map_err(fault)?;
        let validity = Validity::of_file(&file).map_err(fault)?;
        let contents = if validity.size <= SMALL {
            Contents::Whole(file)
        } else {
            match Indexed::open(file, validity, &index_path(settings)) {
                Ok(indexed) => Contents::Indexed(indexed),
                Err(file) => Contents::Whole(file),
            }
        };
        Ok(Self { validity, path, contents, users: None })
    }

    /// Looks up one user, with those of the user's hosts that are among `hosts`: one user may have
    /// many. An error means that the file is unusable as a whole.
    pub fn find(&mut self, name: &str, hosts: &[HostName]) -> Result<Found, Fault> {
        let fault = |error| Fault::io("read the credentials", &self.path, &error);
        let file = match &self.contents {
            Contents::Whole(file) => file,
            Contents::Indexed(indexed) => match indexed.find(Keys::OfUsers, name).map_err(fault)? {
                Search::Found { json, .. } => {
                    return Ok(lookup(&json, hosts));
                }
                Search::Absent => return Ok(Found::Unknown),
                Search::Unsure => &indexed.file,
            },
        };
        let is_large = self.validity.size > SMALL;
        let _turn = is_large.then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
        let text = self.validity.read(file).map_err(fault)?;
        let users = Object::read(text, Keys::OfUsers).map_err(|error| {
            let reason = format!("{}; it must be an object of users", json_position(&error));
            Fault::new(self.path.display(), reason)
        })?;
        let found = find(&users, name, hosts);
        // Of a request that will be refused, nothing stays in memory when its turn is over.
        if matches!(found, Found::Known(_)) {
            self.users = Some(users);
        }
        Ok(found)
    }

    /// Writes the index for the requests to come, if this one had to do without. If that fails,
    /// they have to, too.
    pub(crate) fn write_index(self, settings: &config::Store, now: DateTime<Utc>) {
        let Self { validity, users: Some(users), .. } = self else { return };
        if validity.size <= SMALL || !validity.is_settled(now) {
            return;
        }
        let place = |start| Place { entry: u32::into(start), lines: 0 };
        let places = users.starts().into_iter().map(place);
        let keys = users.into_hashes().into_iter().zip(places);
        let Some(index) = index::build(keys, validity, None) else { return };
        let write = |new: &mut File| {
            new.write_all(&index)?;
            new.set_modified(validity.modified)
        };
        let path = index_path(settings);
        // A link is not followed in the place of a helper file.
        if path.is_symlink() {
            return;
        }
        // Another request may be at it.
        if let Ok(Some(_lock)) = Lock::try_acquire(&companion(&settings.state, "lock")) {
            let _ = replace_with(&path, write, Readers::OwnerAndGroup);
        }
    }
}

fn index_path(settings: &config::Store) -> PathBuf {
    companion(&settings.state, "users")
}

/// Looks up one user in the text of a credentials file, with the user's hosts among `hosts`.
pub fn parse(text: &str, name: &str, hosts: &[HostName]) -> serde_json::Result<Found> {
    Ok(find(&Object::read(text.to_owned(), Keys::OfUsers)?, name, hosts))
}

fn find(users: &Object, name: &str, hosts: &[HostName]) -> Found {
    users.find(name).map_or(Found::Unknown, |(_, json, _)| lookup(json, hosts))
}

/// What the entry of a user says.
fn lookup(json: &str, hosts: &[HostName]) -> Found {
    match read(json, hosts).or(Err("it cannot be read")).and_then(user::parse) {
        Ok(user) => Found::Known(user),
        Err(why) => Found::Broken(why),
    }
}

/// Reads a user's entry, but of the list of hosts only those that are among `hosts`.
fn read(json: &str, hosts: &[HostName]) -> serde_json::Result<Value> {
    if !json.starts_with('{') {
        return serde_json::from_str(json);
    }
    let fields = Object::read(json.to_owned(), Keys::OfFields)?;
    let field = |(name, json): (Cow<str>, &str)| {
        let value = if name == user::HOSTS && json.starts_with('[') {
            serde_json::Deserializer::from_str(json).deserialize_seq(List { hosts })?
        } else {
            serde_json::from_str(json)?
        };
        Ok((name.into_owned(), value))
    };
    fields.entries().map(field).collect()
}

/// Reads a list of host names, and keeps those that are among `hosts`.
struct List<'h> {
    hosts: &'h [HostName],
}

impl<'t> Visitor<'t> for List<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<S: SeqAccess<'t>>(self, mut list: S) -> Result<Value, S::Error> {
        let mut kept = Vec::new();
        while let Some(Text(name)) = list.next_element()? {
            match name {
                Some(name) if self.hosts.iter().any(|host| host.is(&name)) => {
                    kept.push(name.into());
                }
                Some(_) => {}
                // What is no name makes the entry unusable.
                None => kept.push(Value::Null),
            }
        }
        Ok(kept.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::user::SignaturePolicy;

    const SEED: &str = r#"{
        "user1": {"id": ["host1.h.lohray.com", "host2.h.lohray.com"], "key": "secretkey1"},
        "user2": {"id": ["host3.h.lohray.com"], "key": "secretkey2"},
        "nokey": {"id": []}, "numkey": {"id": [], "key": 1}, "emptykey": {"id": [], "key": ""},
        "noid": {"key": "k"}, "textid": {"id": "h", "key": "k"}, "numid": {"id": [1], "key": "k"},
        "list": [], "text": "user1",
        "signed": {"id": [], "key": "k", "signature": "hmac-sha256"},
        "sha1": {"id": [], "key": "k", "signature": "sha1"},
        "nosignature": {"id": [], "key": "k", "signature": null}
    }"#;

    fn parse(text: &str, name: &str) -> serde_json::Result<Found> {
        super::parse(text, name, &[])
    }

    #[test]
    fn of_a_user_only_the_hosts_in_question_are_kept_as_the_operator_wrote_them() {
        let text = r#"{"u": {"id": ["A.example", "b.example", "a.example", "c"], "key": "k"}}"#;
        let name = |text| HostName::parse(text).unwrap();
        for (hosts, kept) in [
            (vec![], vec![]),
            (vec![name("a.EXAMPLE")], vec!["A.example", "a.example"]),
            (vec![name("c"), name("d"), name("b.example")], vec!["b.example", "c"]),
        ] {
            let Ok(Found::Known(user)) = super::parse(text, "u", &hosts) else { panic!("no user") };
            assert_eq!(user.hosts, kept);
        }
    }

    #[test]
    fn the_seeds_users_are_found() {
        let hosts = ["host1.h.lohray.com", "host2.h.lohray.com"];
        let names = hosts.map(|host| HostName::parse(host).unwrap());
        let Ok(Found::Known(user)) = super::parse(SEED, "user1", &names) else {
            panic!("no user1")
        };
        assert_eq!(user.hosts, hosts);
        assert_eq!(user.key.as_bytes(), b"secretkey1");
        assert_eq!(user.signature, SignaturePolicy::Any);
        let Ok(Found::Known(user)) = parse(SEED, "signed") else { panic!("signed not found") };
        assert_eq!(user.signature, SignaturePolicy::HmacSha256);
        for name in ["user3", "USER1", "secretkey1", "id", "host1.h.lohray.com"] {
            assert!(matches!(parse(SEED, name), Ok(Found::Unknown)), "{name}");
        }
    }

    #[test]
    fn one_broken_user_does_not_affect_the_others() {
        for name in [
            "nokey",
            "numkey",
            "emptykey",
            "noid",
            "textid",
            "numid",
            "list",
            "text",
            "sha1",
            "nosignature",
        ] {
            assert!(matches!(parse(SEED, name), Ok(Found::Broken(_))), "{name}");
        }
    }

    #[test]
    fn no_users_is_not_a_fault_but_a_broken_file_is() {
        for text in ["", "[]", "{}"] {
            assert!(matches!(parse(text, "user1"), Ok(Found::Unknown)));
        }
        for text in ["[1]", "null", &SEED[..SEED.len() - 1]] {
            assert!(parse(text, "user1").is_err(), "{text}");
        }
    }
}

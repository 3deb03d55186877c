//! The credentials: the operator's file of users. Like the state, it is indexed or read whole.
//!
//! The index is a helper file beside the state. As long as it is that of the file as it is, it is
//! believed even if it does not know a user. So the time that it takes tells nobody where a user is
//! in the file, or whether there is one.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::config;
use crate::fault::{Fault, json_position};
use crate::protocol::user::{self, Found};
use crate::store::index::{self, Indexed, Place, Search};
use crate::store::json;
use crate::store::lock::Lock;
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
    path: PathBuf,
    contents: Contents,
    /// What the file said, if it had to be read whole.
    text: Option<(Validity, String)>,
}

#[derive(Debug)]
enum Contents {
    Indexed(Indexed),
    Whole(File, Validity),
}

impl Credentials {
    /// Opens the file that the configuration names.
    pub fn open(settings: &config::Store) -> Result<Self, Fault> {
        let path = settings.credentials.clone();
        let fault = |error| Fault::io("read the credentials", &path, &error);
        let file = File::open(&path).map_err(fault)?;
        let validity = Validity::of_file(&file).map_err(fault)?;
        let contents = if validity.size <= SMALL {
            Contents::Whole(file, validity)
        } else {
            match Indexed::open(file, validity, &index_path(settings)) {
                Ok(indexed) => Contents::Indexed(indexed),
                Err(file) => Contents::Whole(file, validity),
            }
        };
        Ok(Self { path, contents, text: None })
    }

    /// Looks up one user. An error means that the file is unusable as a whole.
    pub fn find(&mut self, name: &str) -> Result<Found, Fault> {
        let fault = |error| Fault::io("read the credentials", &self.path, &error);
        let (file, validity) = match &self.contents {
            Contents::Whole(file, validity) => (file, *validity),
            Contents::Indexed(indexed) => {
                match indexed.find(name, |key| key == name).map_err(fault)? {
                    Search::Found { json, .. } => {
                        return Ok(lookup(serde_json::from_str(&json).ok()));
                    }
                    Search::Absent => return Ok(Found::Unknown),
                    Search::Unsure => (&indexed.file, indexed.validity),
                }
            }
        };
        let is_large = validity.size > SMALL;
        let _turn = is_large.then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
        let text = validity.read(file).map_err(fault)?;
        let found = parse(&text, name).map_err(|error| {
            let reason = format!("{}; it must be an object of users", json_position(&error));
            Fault::new(self.path.display(), reason)
        })?;
        self.text = Some((validity, text));
        Ok(found)
    }

    /// Writes the index for the requests to come, if this one had to do without. If that fails,
    /// they have to, too.
    pub(crate) fn write_index(&self, settings: &config::Store, now: DateTime<Utc>) {
        let Some((validity, text)) = &self.text else { return };
        if validity.size <= SMALL || !validity.is_settled(now) {
            return;
        }
        let Ok(entries) = json::entries(text) else { return };
        let place = |entry: json::Entry| (entry.key, Place { entry: entry.start, lines: 0 });
        let places: Vec<_> = entries.into_iter().map(place).collect();
        let Some(index) = index::build(&places, *validity, None) else { return };
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

/// Looks up one user in the text of a credentials file.
pub fn parse(text: &str, name: &str) -> serde_json::Result<Found> {
    let entry = json::parse(text)?.remove(name);
    Ok(entry.map_or(Found::Unknown, |entry| lookup(Some(entry))))
}

/// What the entry of a user says, if it could be read.
fn lookup(entry: Option<Value>) -> Found {
    match entry.ok_or("it cannot be read").and_then(user::parse) {
        Ok(user) => Found::Known(user),
        Err(why) => Found::Broken(why),
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

    #[test]
    fn the_seeds_users_are_found() {
        let Ok(Found::Known(user)) = parse(SEED, "user1") else { panic!("user1 not found") };
        assert_eq!(user.hosts, ["host1.h.lohray.com", "host2.h.lohray.com"]);
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

//! The operator's users: who may update what, in the seed's format.
//!
//! ```json
//! { "user1": { "id": ["host1.h.lohray.com"], "key": "secretkey1" } }
//! ```
//!
//! A user whose entry has `"signature": "hmac-sha256"` as well signs by protocol 2, and in no other way.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::config::Config;
use crate::error::{Fault, json_position};
use crate::index::{self, Index, Place};
use crate::lookup;
use crate::replace::{Readers, companion, replace};
use crate::seal::Seal;
use crate::sealed::{self, SealedFile, Search, is_laid_out};
use crate::state::State;

/// A secret that a user shares with this server. It has no way to be printed.
pub struct Key(String);

impl Key {
    /// The key that is this text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// A key to verify with where there is none, so that an unknown user takes as long as a known one.
    #[must_use]
    pub fn dummy() -> Self {
        Self("no user has this key".to_owned())
    }

    /// The bytes, for the hash alone.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// One user.
pub struct User {
    /// The names of the hosts that this user may update, as the operator wrote them.
    pub hosts: Vec<String>,
    /// The user's key.
    pub key: Key,
    /// How the user may sign.
    pub signature: Signature,
}

/// How a user may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// By any protocol.
    Any,
    /// By protocol 2 alone.
    HmacSha256,
}

/// The field of an entry that tells how the user may sign.
pub const SIGNATURE: &str = "signature";
/// Its one value.
pub const HMAC_SHA256: &str = "hmac-sha256";

/// What the credentials say of a name.
pub enum Lookup {
    /// They hold a user of this name.
    Known(User),
    /// They do not.
    Unknown,
    /// They do, but the entry is unusable, for this reason. The other users are not affected.
    Broken(&'static str),
}

/// The credentials file of a request.
///
/// In a large file, a user is found with the help of a helper file beside the state: the seal that the
/// credentials had when they were read strictly, and the index of their users. What it says is relied on
/// only as long as the seal is whole, also where it does not know a user. So the time that it
/// takes tells nobody where a user is in the file, or whether there is one.
#[derive(Debug)]
pub struct Credentials {
    path: PathBuf,
    file: File,
    seal: Seal,
    index: PathBuf,
    /// All of the text, once it has been read strictly.
    text: OnceCell<String>,
}

impl Credentials {
    /// Opens the file that the configuration names.
    pub fn open(config: &Config) -> Result<Self, Fault> {
        let path = config.credentials.clone();
        let fault = |error| Fault::io("read the credentials", &path, &error);
        let file = File::open(&path).map_err(fault)?;
        let seal = Seal::of_file(&file).map_err(fault)?;
        Ok(Self {
            path,
            file,
            seal,
            index: companion(&config.state, "users"),
            text: OnceCell::new(),
        })
    }

    /// Looks up one user. An error means that the file as a whole is unusable.
    pub fn find(&self, name: &str) -> Result<Lookup, Fault> {
        let fault = |error| Fault::io("read the credentials", &self.path, &error);
        if self.seal.size() > sealed::SMALL {
            match self.search(name).map_err(fault)? {
                Search::Found(entry) => return Ok(lookup(&entry.json)),
                Search::Absent => return Ok(Lookup::Unknown),
                Search::Unsure => {}
            }
        }
        let mut text = String::new();
        (&self.file).read_to_string(&mut text).map_err(fault)?;
        let user = parse(&text, name).map_err(|error| {
            let reason = format!("{}; it must be an object of users", json_position(&error));
            Fault::new(self.path.display(), reason)
        })?;
        let _ = self.text.set(text);
        Ok(user)
    }

    /// Searches the file with the help of the index.
    fn search(&self, name: &str) -> io::Result<Search> {
        let Ok(index) = File::open(&self.index) else { return Ok(Search::Unsure) };
        let mut known = [0; Seal::LENGTH];
        let is_known = index.read_exact_at(&mut known, 0).is_ok();
        let known = Seal::from_bytes(&known).filter(|_| is_known);
        let Ok(file) = SealedFile::new(self.file.try_clone()?, self.seal, known) else {
            return Ok(Search::Unsure);
        };
        match Index::open(&index, Seal::LENGTH as u64)?.map(|index| index.find(name)).transpose()? {
            Some(Place::At(place)) => Ok(file.find_near(place, name)?.unwrap_or(Search::Unsure)),
            Some(Place::Absent) if sealed::is_plain(name) => {
                // As long as it takes for a user who is there.
                file.find_near(0, name)?;
                Ok(Search::Absent)
            }
            Some(Place::Absent) | None => Ok(Search::Unsure),
        }
    }

    /// Writes the index for the requests to come, if this one had to do without. Where that fails, they
    /// have to, too.
    ///
    /// The state is under its lock.
    pub fn write_index(&self, _state: &State, now: DateTime<Utc>) {
        let Some(text) = self.text.get() else { return };
        if self.seal.size() <= sealed::SMALL || !self.seal.is_settled(now) || !is_laid_out(text) {
            return;
        }
        if let Some(index) = index::build(&sealed::keys(text)) {
            let bytes = [Seal::to_bytes(Some(self.seal)), index].concat();
            let _ = replace(&self.index, &bytes, Readers::OwnerAndGroup);
        }
    }
}

/// Looks up one user in the text of a credentials file.
pub fn parse(text: &str, name: &str) -> serde_json::Result<Lookup> {
    if lookup::is_empty_map(text) {
        return Ok(Lookup::Unknown);
    }
    let entry = lookup::find(text, |key| key == name)?;
    Ok(entry.map_or(Lookup::Unknown, |entry| lookup(entry.get())))
}

fn lookup(entry: &str) -> Lookup {
    match serde_json::from_str(entry).map_err(|_| "it cannot be read").and_then(user) {
        Ok(user) => Lookup::Known(user),
        Err(why) => Lookup::Broken(why),
    }
}

/// Takes a user's entry. The error says what is wrong with it.
pub fn user(entry: Value) -> Result<User, &'static str> {
    let Value::Object(mut fields) = entry else { return Err("it must be an object") };
    let Some(Value::String(key)) = fields.remove("key") else {
        return Err("\"key\" must be a text");
    };
    if key.is_empty() {
        return Err("\"key\" must not be empty");
    }
    let Some(Value::Array(hosts)) = fields.remove("id") else {
        return Err("\"id\" must be a list of host names");
    };
    let hosts = hosts
        .into_iter()
        .map(|host| match host {
            Value::String(host) => Ok(host),
            _ => Err("\"id\" must list host names only"),
        })
        .collect::<Result<_, _>>()?;
    let signature = match fields.get(SIGNATURE) {
        None => Signature::Any,
        Some(Value::String(text)) if text == HMAC_SHA256 => Signature::HmacSha256,
        Some(_) => return Err("\"signature\" must be \"hmac-sha256\", or be left out"),
    };
    Ok(User { hosts, key: Key(key), signature })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let Ok(Lookup::Known(user)) = parse(SEED, "user1") else { panic!("user1 not found") };
        assert_eq!(user.hosts, ["host1.h.lohray.com", "host2.h.lohray.com"]);
        assert_eq!(user.key.as_bytes(), b"secretkey1");
        assert_eq!(user.signature, Signature::Any);
        let Ok(Lookup::Known(user)) = parse(SEED, "signed") else { panic!("signed not found") };
        assert_eq!(user.signature, Signature::HmacSha256);
        for name in ["user3", "USER1", "secretkey1", "id", "host1.h.lohray.com"] {
            assert!(matches!(parse(SEED, name), Ok(Lookup::Unknown)), "{name}");
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
            assert!(matches!(parse(SEED, name), Ok(Lookup::Broken(_))), "{name}");
        }
    }

    #[test]
    fn no_users_is_not_a_fault_but_a_broken_file_is() {
        for text in ["", "[]", "{}"] {
            assert!(matches!(parse(text, "user1"), Ok(Lookup::Unknown)));
        }
        for text in ["[1]", "null", &SEED[..SEED.len() - 1]] {
            assert!(parse(text, "user1").is_err(), "{text}");
        }
    }
}

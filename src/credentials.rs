//! The operator's users: who may update what, in the seed's format.
//!
//! ```json
//! { "user1": { "id": ["host1.h.lohray.com"], "key": "secretkey1" } }
//! ```
//!
//! A user whose entry has `"signature": "hmac-sha256"` as well signs by protocol 2, and in no other way.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::error::{Fault, json_position};
use crate::lookup;
use crate::sealed::{self, Seal, SealedFile, Search};

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

/// Looks up one user in the credentials file. An error means that the file as a whole is unusable.
///
/// `known` is the seal of the credentials as far as it is known; it becomes that of the file read.
pub fn find(path: &Path, name: &str, known: &mut Option<Seal>) -> Result<Lookup, Fault> {
    let fault = |error| Fault::io("read the credentials", path, &error);
    let file = File::open(path).map_err(fault)?;
    let seal = Seal::of_file(&file).map_err(fault)?;
    let mut file = match SealedFile::new(file, seal, *known) {
        Ok(sealed) => match sealed.find_evenly(name).map_err(fault)? {
            Search::Found(entry) => return Ok(lookup(&entry.json)),
            Search::Absent => return Ok(Lookup::Unknown),
            Search::Unsure => sealed.into_file(),
        },
        Err(file) => file,
    };
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(fault)?;
    let user = parse(&text, name).map_err(|error| {
        let reason = format!("{}; it must be an object of users", json_position(&error));
        Fault::new(path.display(), reason)
    })?;
    *known = sealed::is_laid_out(&text).then_some(seal);
    Ok(user)
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

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

use crate::config::Store;
use crate::fault::{Fault, json_position};
use crate::protocol::user::{self, Lookup};
use crate::store::index::{self, Index, Place};
use crate::store::lookup;
use crate::store::replace::{Readers, companion, replace};
use crate::store::seal::Seal;
use crate::store::sealed::{self, SealedFile, Search, is_laid_out};
use crate::store::state::State;
use chrono::{DateTime, Utc};

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
    pub fn open(store: &Store) -> Result<Self, Fault> {
        let path = store.credentials.clone();
        let fault = |error| Fault::io("read the credentials", &path, &error);
        let file = File::open(&path).map_err(fault)?;
        let seal = Seal::of_file(&file).map_err(fault)?;
        Ok(Self {
            path,
            file,
            seal,
            index: companion(&store.state, "users"),
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
    match serde_json::from_str(entry).map_err(|_| "it cannot be read").and_then(user::parse) {
        Ok(user) => Lookup::Known(user),
        Err(why) => Lookup::Broken(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::user::Signature;

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

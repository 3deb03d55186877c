//! A user's entry in the credentials:
//!
//! ```json
//! { "user1": { "id": ["host1.h.lohray.com"], "key": "secretkey1" } }
//! ```
//!
//! With `"signature": "hmac-sha256"` in the entry, the user may sign only with protocol 2. With
//! `"every": { "host1.h.lohray.com": 900 }`, the status page expects an update of this host every
//! 900 seconds.

use serde_json::Value;

/// A secret that a user shares with this server. Nothing can print it.
pub struct Key(String);

impl Key {
    /// Makes a key of this text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// A key for a user who has none. We verify with it to take as long as for a known user.
    pub(crate) fn dummy() -> Self {
        Self("no user has this key".to_owned())
    }

    /// The bytes. Only hash them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// One user.
pub struct User {
    /// The hosts that this user may update, as the operator wrote them.
    pub hosts: Vec<String>,
    /// The user's key.
    pub key: Key,
    /// How the user may sign.
    pub signature: SignaturePolicy,
}

/// How a user may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignaturePolicy {
    /// With any protocol.
    Any,
    /// Only with protocol 2.
    HmacSha256,
}

/// The field of an entry that has the user's key.
pub const KEY: &str = "key";
/// The field of an entry that lists the user's hosts.
pub const HOSTS: &str = "id";
/// The field of an entry that says, in seconds, how often to expect an update of which hosts.
pub const EVERY: &str = "every";
/// The field of an entry that says how the user may sign.
pub const SIGNATURE: &str = "signature";
/// The only value of that field.
pub const HMAC_SHA256: &str = "hmac-sha256";

/// What the credentials say about a name.
pub enum Found {
    /// A user has this name.
    Known(User),
    /// No user has it.
    Unknown,
    /// A user has it, but the entry is unusable, for this reason. Other users are not affected.
    Broken(&'static str),
}

/// Reads a user's entry. The error says what is wrong with it.
pub fn parse(entry: Value) -> Result<User, &'static str> {
    let Value::Object(mut fields) = entry else { return Err("it must be an object") };
    let Some(Value::String(key)) = fields.remove(KEY) else {
        return Err("\"key\" must be a text");
    };
    if key.is_empty() {
        return Err("\"key\" must not be empty");
    }
    let Some(Value::Array(hosts)) = fields.remove(HOSTS) else {
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
        None => SignaturePolicy::Any,
        Some(Value::String(text)) if text == HMAC_SHA256 => SignaturePolicy::HmacSha256,
        Some(_) => return Err("\"signature\" must be \"hmac-sha256\", or be left out"),
    };
    Ok(User { hosts, key: Key(key), signature })
}

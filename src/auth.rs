//! Verification: turns a claim into an authentic update. No files, no clock of its own.
//!
//! As in TSIG (RFC 8945, 5.2): first key and hash, then the host, then the time. Until the hash has
//! verified, every refusal is the same to the client.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use crate::credentials::{Key, Lookup, User};
use crate::error::{Refusal, Unproven};
use crate::host::HostName;
use crate::request::Claim;
use crate::stamp::Stamp;

/// An update whose hash, host and clock were right. Only [`authenticate`] makes one.
#[derive(Debug)]
pub struct Authentic {
    host: HostName,
    address: IpAddr,
    stamp: Stamp,
}

impl Authentic {
    /// The host, as the credentials spell it.
    #[must_use]
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// The host's new address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The stamp that the client signed.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// An update that nobody verified, for tests of what comes after.
    #[cfg(test)]
    pub(crate) fn for_test(host: &str, address: &str, stamp: Stamp) -> Self {
        let host = HostName::parse(host).unwrap();
        Self { host, address: address.parse().unwrap(), stamp }
    }
}

/// Verifies a claim against what the credentials say of its user. `window` is in seconds.
#[expect(clippy::needless_pass_by_value, reason = "a claim is used up: what it says counts once")]
pub fn authenticate(
    claim: Claim,
    user: Lookup,
    now: DateTime<Utc>,
    window: u64,
) -> Result<Authentic, Refusal> {
    let user = verify(&claim, user).map_err(Refusal::Identity)?;
    let host = user
        .hosts
        .iter()
        .find(|host| claim.host().is(host))
        .and_then(|host| HostName::parse(host))
        .ok_or(Refusal::Host)?;
    let seconds = claim.stamp().seconds_ahead_of(now);
    if seconds.unsigned_abs() > window {
        return Err(Refusal::Stale { seconds });
    }
    Ok(Authentic { host, address: claim.address(), stamp: claim.stamp() })
}

/// The user whose key made the claim's hash. Whoever the claim names, one hash is computed and
/// compared, so that the time tells nothing about who exists.
fn verify(claim: &Claim, user: Lookup) -> Result<User, Unproven> {
    let nobody = || User { hosts: Vec::new(), key: Key::dummy() };
    let (user, failure) = match user {
        Lookup::Known(user) => (user, None),
        Lookup::Unknown => (nobody(), Some(Unproven::UnknownUser)),
        Lookup::Broken(why) => (nobody(), Some(Unproven::BrokenUser(why))),
    };
    let expected = hash(claim.host().as_str(), claim.time(), &user.key);
    let is_right = bool::from(expected.ct_eq(claim.hash()));
    match failure {
        Some(failure) => Err(failure),
        None if is_right => Ok(user),
        None => Err(Unproven::WrongHash),
    }
}

/// The hash of protocol 1: SHA-1 over `id LF timeST LF key LF`, with the last LF, as
/// `printf '%s\n' "$id" "$timeST" "$key" | sha1sum` makes it.
#[must_use]
pub fn hash(id: &str, time: &str, key: &Key) -> [u8; 20] {
    let mut sha1 = Sha1::new();
    for part in [id.as_bytes(), time.as_bytes(), key.as_bytes()] {
        sha1.update(part);
        sha1.update(b"\n");
    }
    sha1.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials;
    use crate::request::Request;
    use crate::stamp::Zone;

    const USERS: &str = r#"{
        "user1": {"id": ["Host1.h.lohray.com", "bad name"], "key": "secretkey1"},
        "user2": {"id": ["host3.h.lohray.com"], "key": "secretkey2"},
        "broken": {"id": []}
    }"#;
    const GOLDEN: &str = "2bd2a24f7c89869491bb9695aefda8da3daee00f";

    fn claim(user: &str, id: &str, hash: &str) -> Claim {
        let query = format!("user={user}&id={id}&timeST=2012-06-14+15:58:27&hash={hash}");
        let environment = |name: &str| match name {
            "REQUEST_METHOD" => Some("GET".into()),
            "QUERY_STRING" => Some(query.clone().into()),
            _ => None,
        };
        let request = Request::read(environment, std::io::empty()).unwrap();
        Claim::parse(&request, "192.0.2.1".parse().unwrap(), Zone::Utc).unwrap()
    }

    /// Authenticates at `seconds` after the stamp of the claim.
    fn after(claim: Claim, seconds: i64, window: u64) -> Result<Authentic, Refusal> {
        let user = credentials::parse(USERS, claim.user()).unwrap();
        let now = DateTime::parse_from_rfc3339("2012-06-14T15:58:27Z").unwrap().to_utc();
        authenticate(claim, user, now + chrono::TimeDelta::seconds(seconds), window)
    }

    #[test]
    fn the_golden_vector_of_the_article_verifies() {
        let Ok(Lookup::Known(user)) = credentials::parse(USERS, "user1") else { panic!() };
        let golden = hash("host1.h.lohray.com", "2012-06-14 15:58:27", &user.key);
        assert_eq!(hex::encode(golden), GOLDEN);
        let update = after(claim("user1", "host1.h.lohray.com", GOLDEN), 0, 15).unwrap();
        assert_eq!(update.host().as_str(), "Host1.h.lohray.com", "spelt as in the credentials");
    }

    #[test]
    fn a_hash_without_the_last_line_feed_is_refused() {
        let mut sha1 = Sha1::new();
        sha1.update("host1.h.lohray.com\n2012-06-14 15:58:27\nsecretkey1");
        let hash = hex::encode(sha1.finalize());
        let result = after(claim("user1", "host1.h.lohray.com", &hash), 0, 15);
        assert!(matches!(result, Err(Refusal::Identity(Unproven::WrongHash))));
    }

    #[test]
    fn the_window_is_fifteen_seconds_either_way_and_no_more() {
        for (seconds, expected) in [(15, None), (16, Some(-16)), (-15, None), (-16, Some(16))] {
            match after(claim("user1", "host1.h.lohray.com", GOLDEN), seconds, 15) {
                Ok(_) => assert_eq!(expected, None, "{seconds}"),
                Err(Refusal::Stale { seconds }) => assert_eq!(Some(seconds), expected),
                Err(other) => panic!("{other:?}"),
            }
        }
        let forever = after(claim("user1", "host1.h.lohray.com", GOLDEN), 456_000_000, u64::MAX);
        assert!(forever.is_ok());
    }

    #[test]
    fn identity_comes_before_host_and_host_before_clock() {
        let wrong = "0e00000000000000000000000000000000000000";
        for user in ["user1", "user2", "user3", "broken"] {
            let result = after(claim(user, "host1.h.lohray.com", wrong), 99, 15);
            assert!(matches!(result, Err(Refusal::Identity(_))), "{user}");
        }
        let Ok(Lookup::Known(user2)) = credentials::parse(USERS, "user2") else { panic!() };
        let foreign = hex::encode(hash("host1.h.lohray.com", "2012-06-14 15:58:27", &user2.key));
        let result = after(claim("user2", "host1.h.lohray.com", &foreign), 99, 15);
        assert!(matches!(result, Err(Refusal::Host)));
    }

    #[test]
    fn a_hash_is_bound_to_its_host_and_user() {
        for (user, id) in [("user2", "host1.h.lohray.com"), ("user1", "host2.h.lohray.com")] {
            let result = after(claim(user, id, GOLDEN), 0, 15);
            assert!(matches!(result, Err(Refusal::Identity(Unproven::WrongHash))));
        }
    }
}

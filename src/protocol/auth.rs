//! Verification: turns a claim into authentic updates.
//!
//! The order is that of TSIG (RFC 8945, 5.2): first the signature, then the host, then the time.
//! Until the signature is verified, the client gets the same refusal for every reason.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::protocol::addresses::Wanted;
use crate::protocol::answer::{Refusal, Unproven};
use crate::protocol::claim::{Claim, Proof};
use crate::protocol::host::HostName;
use crate::protocol::signature::{hmac_sha256, sha1};
use crate::protocol::stamp::{Clock, Stamp};
use crate::protocol::user::{Found, Key, SignaturePolicy, User};

/// An update whose signature, host and time were right. Only [`authenticate`] makes one.
#[derive(Debug)]
pub struct Authentic {
    host: HostName,
    wanted: Wanted,
    stamp: Stamp,
    clock: Clock,
}

impl Authentic {
    /// The host, as the credentials spell it.
    #[must_use]
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// What is to become of the host's addresses.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// The stamp.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Whose clock the stamp is from.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// An update that nobody verified, to test the rooms that use it.
    #[cfg(test)]
    pub(crate) fn for_test(host: &str, wanted: impl Into<Wanted>, stamp: Stamp) -> Self {
        let host = HostName::parse(host).unwrap();
        Self { host, wanted: wanted.into(), stamp, clock: Clock::Client }
    }

    /// The same, as if it came by dyndns2.
    #[cfg(test)]
    pub(crate) fn by_server_clock(self) -> Self {
        Self { clock: Clock::Server, ..self }
    }
}

/// What verification says of one host of a claim.
pub(crate) type Verified = Result<Authentic, Refusal>;

/// Verifies a claim against what the credentials say about its user. `window` is in seconds.
///
/// Once we know who sent it, we verify each host separately, in the claim's order.
pub fn authenticate(
    claim: &Claim,
    user: Found,
    now: DateTime<Utc>,
    window: u64,
) -> Result<Vec<Verified>, Refusal> {
    let Claim { updates, stamp, clock, proof, .. } = claim;
    let user = verify(proof, user).map_err(Refusal::Identity)?;
    let seconds = stamp.seconds_ahead_of(now);
    let update = |(host, wanted): &(HostName, Wanted)| {
        let own = user.hosts.iter().find(|own| host.is(own));
        let host = own.and_then(|own| HostName::parse(own)).ok_or(Refusal::Host)?;
        if seconds.unsigned_abs() > window {
            return Err(Refusal::Stale { seconds });
        }
        Ok(Authentic { host, wanted: *wanted, stamp: *stamp, clock: *clock })
    };
    Ok(updates.iter().map(update).collect())
}

/// The user whose key made the proof. We compute and compare a proof for unknown users, too, so the
/// time it takes does not tell who exists.
fn verify(proof: &Proof, user: Found) -> Result<User, Unproven> {
    let nobody = || User { hosts: Vec::new(), key: Key::dummy(), signature: SignaturePolicy::Any };
    let (user, failure) = match user {
        Found::Known(user) => (user, None),
        Found::Unknown => (nobody(), Some(Unproven::UnknownUser)),
        Found::Broken(why) => (nobody(), Some(Unproven::BrokenUser(why))),
    };
    let is_right = is_by(proof, &user.key);
    match (failure, user.signature, proof) {
        (Some(failure), ..) => Err(failure),
        (None, _, Proof::Sha1 { .. } | Proof::HmacSha256 { .. }) if !is_right => {
            Err(Unproven::WrongHash)
        }
        (None, _, Proof::Password(_)) if !is_right => Err(Unproven::WrongPassword),
        (None, SignaturePolicy::Any, _)
        | (None, SignaturePolicy::HmacSha256, Proof::HmacSha256 { .. }) => Ok(user),
        (None, SignaturePolicy::HmacSha256, Proof::Sha1 { .. } | Proof::Password(_)) => {
            Err(Unproven::Downgrade)
        }
    }
}

/// Whether this key made the proof. The time it takes tells nothing about the key.
fn is_by(proof: &Proof, key: &Key) -> bool {
    match proof {
        Proof::Sha1 { text, hash } => sha1(text, key).ct_eq(hash).into(),
        Proof::HmacSha256 { text, code } => {
            hmac_sha256(text, key).is_some_and(|expected| expected.ct_eq(code).into())
        }
        // Hashes have one length, whatever the length of the password.
        Proof::Password(password) => {
            let [password, key] = [password, key].map(|key| Sha256::digest(key.as_bytes()));
            password.ct_eq(&key).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::addresses::Addresses;
    use crate::protocol::form::Form;
    use crate::protocol::signature::{text_of_protocol_1, text_of_protocol_2};
    use crate::protocol::special::PrivateAddresses;
    use crate::protocol::stamp::TimeZone;
    use crate::protocol::user;
    use chrono::TimeDelta;
    use serde_json::{Map, Value};
    use sha1::Sha1;

    const USERS: &str = r#"{
        "user1": {"id": ["Host1.h.lohray.com", "bad name"], "key": "secretkey1"},
        "user2": {"id": ["host3.h.lohray.com"], "key": "secretkey2"},
        "strict": {"id": ["host1.h.lohray.com"], "key": "secretkey1", "signature": "hmac-sha256"},
        "broken": {"id": []}
    }"#;
    const GOLDEN: &str = "2bd2a24f7c89869491bb9695aefda8da3daee00f";

    const TIME: &str = "2012-06-14 15:58:27";

    fn parse(query: &str) -> Claim {
        let form = Form::parse(query.as_bytes(), b"");
        Claim::parse(&form, "192.0.2.1".parse().unwrap(), TimeZone::Utc, PrivateAddresses::Allowed)
            .unwrap()
    }

    fn found(name: &str) -> Found {
        let mut users: Map<String, Value> = serde_json::from_str(USERS).unwrap();
        match users.remove(name).map(user::parse) {
            Some(Ok(user)) => Found::Known(user),
            Some(Err(why)) => Found::Broken(why),
            None => Found::Unknown,
        }
    }

    fn claim(user: &str, id: &str, hash: &str) -> Claim {
        parse(&format!("user={user}&id={id}&timeST={TIME}&hash={hash}"))
    }

    /// A claim of protocol 2, signed with this key.
    fn signed(user: &str, id: &str, ip: &str, key: &str) -> Claim {
        let text = text_of_protocol_2(user, id, TIME, ip, "");
        let code = hex::encode(hmac_sha256(&text, &Key::new(key.to_owned())).unwrap());
        parse(&format!("user={user}&id={id}&timeST={TIME}&ip={ip}&hmac={code}"))
    }

    fn golden_moment() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2012-06-14T15:58:27Z").unwrap().to_utc()
    }

    /// What becomes of each host if we authenticate `seconds` after the claim's stamp.
    fn all_after(claim: &Claim, seconds: i64, window: u64) -> Result<Vec<Verified>, Refusal> {
        let user = found(&claim.user);
        authenticate(claim, user, golden_moment() + TimeDelta::seconds(seconds), window)
    }

    /// What becomes of the only host of a claim.
    fn after(claim: &Claim, seconds: i64, window: u64) -> Verified {
        let mut all = all_after(claim, seconds, window)?;
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    #[test]
    fn the_golden_vector_of_the_article_verifies() {
        let update = after(&claim("user1", "host1.h.lohray.com", GOLDEN), 0, 15).unwrap();
        assert_eq!(update.host().as_str(), "Host1.h.lohray.com", "spelt as in the credentials");
    }

    #[test]
    fn a_hash_without_the_last_line_feed_is_refused() {
        let hash = hex::encode(Sha1::digest("host1.h.lohray.com\n2012-06-14 15:58:27\nsecretkey1"));
        let result = after(&claim("user1", "host1.h.lohray.com", &hash), 0, 15);
        assert!(matches!(result, Err(Refusal::Identity(Unproven::WrongHash))));
    }

    #[test]
    fn the_window_is_fifteen_seconds_either_way_and_no_more() {
        for (seconds, expected) in [(15, None), (16, Some(-16)), (-15, None), (-16, Some(16))] {
            match after(&claim("user1", "host1.h.lohray.com", GOLDEN), seconds, 15) {
                Ok(_) => assert_eq!(expected, None, "{seconds}"),
                Err(Refusal::Stale { seconds }) => assert_eq!(Some(seconds), expected),
                Err(other) => panic!("{other:?}"),
            }
        }
        let forever = after(&claim("user1", "host1.h.lohray.com", GOLDEN), 456_000_000, u64::MAX);
        assert!(forever.is_ok());
    }

    #[test]
    fn identity_comes_before_host_and_host_before_clock() {
        let wrong = "0e00000000000000000000000000000000000000";
        for user in ["user1", "user2", "user3", "broken"] {
            let result = after(&claim(user, "host1.h.lohray.com", wrong), 99, 15);
            assert!(matches!(result, Err(Refusal::Identity(_))), "{user}");
        }
        let Found::Known(user2) = found("user2") else { panic!() };
        let foreign =
            hex::encode(sha1(&text_of_protocol_1("host1.h.lohray.com", TIME), &user2.key));
        let result = after(&claim("user2", "host1.h.lohray.com", &foreign), 99, 15);
        assert!(matches!(result, Err(Refusal::Host)));
    }

    #[test]
    fn a_hash_is_bound_to_its_host_and_user() {
        for (user, id) in [("user2", "host1.h.lohray.com"), ("user1", "host2.h.lohray.com")] {
            let result = after(&claim(user, id, GOLDEN), 0, 15);
            assert!(matches!(result, Err(Refusal::Identity(Unproven::WrongHash))));
        }
    }

    #[test]
    fn an_hmac_is_bound_to_user_hosts_and_address() {
        let host1 = "host1.h.lohray.com";
        assert!(after(&signed("user1", host1, "192.0.2.9", "secretkey1"), 0, 15).is_ok());
        let Proof::HmacSha256 { code, .. } =
            signed("user1", host1, "192.0.2.9", "secretkey1").proof
        else {
            panic!("protocol 2")
        };
        for (user, id, ip) in [
            ("user1", host1, "192.0.2.8"),
            ("user1", host1, ""),
            ("user1", host1, "none"),
            ("user1", "Host1.h.lohray.com", "192.0.2.9"),
            ("user1", "host1.h.lohray.com,host3.h.lohray.com", "192.0.2.9"),
            ("user2", host1, "192.0.2.9"),
            ("strict", host1, "192.0.2.9"),
        ] {
            let mut other = signed(user, id, ip, "secretkey1");
            let Proof::HmacSha256 { text, .. } = other.proof else { panic!("protocol 2") };
            other.proof = Proof::HmacSha256 { text, code };
            let result = all_after(&other, 0, 15);
            let is_refused = matches!(result, Err(Refusal::Identity(Unproven::WrongHash)));
            assert!(is_refused, "{user} {id} {ip}");
        }
    }

    #[test]
    fn each_host_of_a_list_counts_by_itself() {
        let list = "host1.h.lohray.com,host3.h.lohray.com";
        let all = all_after(&signed("user1", list, "", "secretkey1"), 0, 15).unwrap();
        assert!(matches!(&*all, [Ok(_), Err(Refusal::Host)]));
        let all = all_after(&signed("user1", list, "", "secretkey1"), 16, 15).unwrap();
        let (stale, foreign) = (Refusal::Stale { seconds: -16 }, Refusal::Host);
        assert_eq!(format!("{all:?}"), format!("[Err({stale:?}), Err({foreign:?})]"));
    }

    #[test]
    fn who_must_sign_by_protocol_2_is_refused_protocol_1() {
        let host1 = "host1.h.lohray.com";
        assert!(after(&signed("strict", host1, "", "secretkey1"), 0, 15).is_ok());
        let result = after(&claim("strict", host1, GOLDEN), 0, 15);
        assert!(matches!(result, Err(Refusal::Identity(Unproven::Downgrade))));
        let result = after(&claim("strict", host1, &"0".repeat(40)), 0, 15);
        assert!(matches!(result, Err(Refusal::Identity(Unproven::WrongHash))));
    }

    #[test]
    fn a_password_is_the_key_and_nothing_else() {
        let with = |user: &str, password: &str| {
            let claim = Claim {
                user: user.to_owned(),
                updates: vec![(
                    HostName::parse("host1.h.lohray.com").unwrap(),
                    Addresses::REMOVED.into(),
                )],
                left_out: Vec::new(),
                stamp: Stamp::at(golden_moment()).unwrap(),
                clock: Clock::Server,
                proof: Proof::Password(Key::new(password.to_owned())),
            };
            after(&claim, 0, 15)
        };
        assert_eq!(with("user1", "secretkey1").unwrap().clock(), Clock::Server);
        for password in ["", "secretkey", "secretkey11", "Secretkey1", "secretkey2", GOLDEN] {
            let result = with("user1", password);
            let is_refused = matches!(result, Err(Refusal::Identity(Unproven::WrongPassword)));
            assert!(is_refused, "{password}");
        }
        assert!(matches!(with("user2", "secretkey2"), Err(Refusal::Host)));
        let unknown = with("user3", "no user has this key");
        assert!(matches!(unknown, Err(Refusal::Identity(Unproven::UnknownUser))));
        let strict = with("strict", "secretkey1");
        assert!(matches!(strict, Err(Refusal::Identity(Unproven::Downgrade))));
    }
}

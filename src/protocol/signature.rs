//! The signatures of protocols 1 and 2: what they cover, and how to make them.

use hmac::{Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};
use sha2::Sha256;

use crate::protocol::user::Key;

/// What the hash of protocol 1 covers besides the key: `id LF timeST LF`.
#[must_use]
pub fn text_of_protocol_1(id: &str, time: &str) -> String {
    [id, "\n", time, "\n"].concat()
}

/// What the HMAC of protocol 2 covers: `ddns2 LF user LF id LF timeST LF ip LF ip6 LF`.
///
/// Each field is as the client sent it. An address that it did not send is an empty line. No field
/// contains a line feed, so no two requests have the same text.
#[must_use]
pub fn text_of_protocol_2(user: &str, id: &str, time: &str, ip: &str, ip6: &str) -> String {
    format!("ddns2\n{user}\n{id}\n{time}\n{ip}\n{ip6}\n")
}

/// The hash of protocol 1: SHA-1 over the text, the key and a last line feed. In a shell:
/// `printf '%s\n' "$id" "$timeST" "$key" | sha1sum`.
#[must_use]
pub fn sha1(text: &str, key: &Key) -> [u8; 20] {
    let mut sha1 = Sha1::new();
    sha1.update(text);
    sha1.update(key.as_bytes());
    sha1.update(b"\n");
    sha1.finalize().into()
}

/// The HMAC-SHA-256 of protocol 2 (RFC 2104, RFC 6234) with this key. In a shell:
/// `openssl dgst -sha256 -hmac "$key"`.
///
/// `None` stands for a key of a wrong length, but HMAC takes keys of any length.
#[must_use]
pub fn hmac_sha256(text: &str, key: &Key) -> Option<[u8; 32]> {
    let hmac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
    Some(hmac.chain_update(text).finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST1: &str = "host1.h.lohray.com";
    const TIME: &str = "2012-06-14 15:58:27";

    fn key() -> Key {
        Key::new("secretkey1".to_owned())
    }

    #[test]
    fn protocol_1_makes_the_golden_vector_of_the_article() {
        let text = text_of_protocol_1(HOST1, TIME);
        let digits = hex::encode(sha1(&text, &key()));
        assert_eq!(digits, "2bd2a24f7c89869491bb9695aefda8da3daee00f");
    }

    #[test]
    fn protocol_2_makes_what_openssl_makes() {
        // printf 'ddns2\nuser1\n%s\n2012-06-14 15:58:27\n%s\n%s\n' "$id" "$ip" "$ip6" |
        //     openssl dgst -sha256 -hmac secretkey1
        for (id, ip, ip6, expected) in [
            (HOST1, "", "", "8345db78e06f640d542addb6828c1caf8f3e39b95e747e1ecb6624f32444adc9"),
            (
                HOST1,
                "192.0.2.1",
                "2001:db8::1",
                "8f4e1d10f70d6531fbd57f04ff9e62a1c292cda5b56a60a8db1026e7eadcfe9d",
            ),
            (
                "host1.h.lohray.com,host2.h.lohray.com",
                "none",
                "",
                "f191a4376c23638e683113a232736a30bad45b19e67b0113b0c0a791db9d65b1",
            ),
        ] {
            let text = text_of_protocol_2("user1", id, TIME, ip, ip6);
            assert_eq!(hex::encode(hmac_sha256(&text, &key()).unwrap()), expected, "{id}");
        }
    }

    #[test]
    fn a_key_of_any_length_signs() {
        for length in [1, 64, 65, 10_000] {
            assert!(hmac_sha256("", &Key::new("k".repeat(length))).is_some(), "{length}");
        }
    }
}

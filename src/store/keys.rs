//! Which keys of a file mean the same, and what they are found by.

use sha1::{Digest, Sha1};

/// Which keys mean the same.
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    /// The names of hosts: PHP told them apart by case, name servers do not.
    OfHosts,
    /// The names of users: only equal ones are the same.
    OfUsers,
    /// The names of fields: likewise.
    OfFields,
}

impl Keys {
    /// Whether two keys mean the same.
    #[must_use]
    pub fn are_same(self, one: &str, other: &str) -> bool {
        match self {
            Self::OfHosts => one.eq_ignore_ascii_case(other),
            Self::OfUsers | Self::OfFields => one == other,
        }
    }

    /// The hash of a key; keys that mean the same have the same.
    ///
    /// FNV-1a, mixed at the end: quick, and the same everywhere. But of users, SHA-1: a request
    /// with another name of the same hash would take longer if there is such a user, so nobody may
    /// find one.
    #[must_use]
    pub fn hash(self, key: &str) -> u64 {
        match self {
            Self::OfHosts => quick_hash(key.bytes().map(|byte| byte.to_ascii_lowercase())),
            Self::OfFields => quick_hash(key.bytes()),
            Self::OfUsers => {
                let digest = Sha1::digest(key);
                digest.first_chunk().copied().map_or(0, u64::from_le_bytes)
            }
        }
    }
}

fn quick_hash(bytes: impl Iterator<Item = u8>) -> u64 {
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_mean_the_same_have_one_hash() {
        for (one, other, is_host, is_equal) in [
            ("a.example", "a.example", true, true),
            ("a.example", "A.Example", true, false),
            ("a.example", "b.example", false, false),
            ("a", "", false, false),
        ] {
            for (keys, is_same) in
                [(Keys::OfHosts, is_host), (Keys::OfUsers, is_equal), (Keys::OfFields, is_equal)]
            {
                assert_eq!(keys.are_same(one, other), is_same, "{one} {other}");
                assert_eq!(keys.hash(one) == keys.hash(other), is_same, "{one} {other}");
            }
        }
    }
}

//! Which keys of a file mean the same, and what they are found by.

/// Which keys mean the same.
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    /// The names of hosts: PHP told them apart by case, name servers do not.
    OfHosts,
    /// Any others: equal ones.
    Others,
}

impl Keys {
    /// Whether two keys mean the same.
    #[must_use]
    pub fn are_same(self, one: &str, other: &str) -> bool {
        match self {
            Self::OfHosts => one.eq_ignore_ascii_case(other),
            Self::Others => one == other,
        }
    }

    /// The hash of a key; keys that mean the same have the same.
    ///
    /// FNV-1a, mixed at the end: quick, and the same everywhere. It is not for any safety.
    #[must_use]
    pub fn hash(self, key: &str) -> u64 {
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            let byte = match self {
                Self::OfHosts => byte.to_ascii_lowercase(),
                Self::Others => byte,
            };
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 32)
    }
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
            for (keys, is_same) in [(Keys::OfHosts, is_host), (Keys::Others, is_equal)] {
                assert_eq!(keys.are_same(one, other), is_same, "{one} {other}");
                assert_eq!(keys.hash(one) == keys.hash(other), is_same, "{one} {other}");
            }
        }
    }
}

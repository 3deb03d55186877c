//! IPv6 prefixes. If a provider changes the prefix of a home, all its hosts move with it, and keep
//! the rest of their addresses: subnet and interface identifier (RFC 4291, 2.5).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The first bits of all addresses of a network, such as `2001:db8:1::/56`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// All bits behind the prefix are 0.
    address: Ipv6Addr,
    /// How many bits it has: 1 to 127.
    length: u8,
}

impl Prefix {
    /// Reads `PREFIX/LENGTH` (RFC 4291, 2.3). The error says what is wrong with it.
    ///
    /// We refuse a prefix with further bits instead of cutting them off. `2001:db8::7/64`, as
    /// `ip addr` prints it, is the address of one host, and may be meant as that.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (prefix, address) = Self::split(text)?;
        if prefix.address != address {
            return Err("is an address with a length: send the address alone, \
                        or a prefix with zeros behind it");
        }
        Ok(prefix)
    }

    /// Reads the prefix of `ADDRESS/LENGTH`. This is for where only a prefix can be meant: scripts
    /// of some routers send the address of an interface with its length.
    pub fn of_interface(text: &str) -> Result<Self, &'static str> {
        Self::split(text).map(|(prefix, _)| prefix)
    }

    /// The prefix of `ADDRESS/LENGTH`, and the address.
    fn split(text: &str) -> Result<(Self, Ipv6Addr), &'static str> {
        let (address, length) = text.split_once('/').ok_or("is no prefix: it has no length")?;
        let address = match address.parse() {
            Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_none() => address,
            Ok(_) => return Err("is an IPv4 address with a length: send the address alone"),
            Err(_) => return Err("is no prefix: no IPv6 address stands before its length"),
        };
        let length = parse_length(length)
            .filter(|length| (1..=127).contains(length))
            .ok_or("is no prefix: only a length from 1 to 127 may follow the slash")?;
        let first = (address.to_bits() & mask(length)).into();
        Ok((Self { address: first, length }, address))
    }

    /// The address of this network that has the rest of `address`.
    #[must_use]
    pub fn of(self, address: Ipv6Addr) -> Ipv6Addr {
        (self.address.to_bits() | address.to_bits() & !mask(self.length)).into()
    }

    /// The first address of the network.
    pub(super) fn address(self) -> Ipv6Addr {
        self.address
    }

    /// How many bits it has.
    pub(super) fn length(self) -> u8 {
        self.length
    }
}

/// Reads a length: a number without sign or leading zero.
pub(crate) fn parse_length(text: &str) -> Option<u8> {
    text.parse().ok().filter(|length: &u8| length.to_string() == text)
}

/// The bits of a prefix of this length.
pub(crate) fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(length.into())).unwrap_or(0)
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bits of an address as text.
    fn bits(address: Ipv6Addr) -> String {
        format!("{:0128b}", address.to_bits())
    }

    #[test]
    fn the_first_bits_are_replaced_and_the_rest_stays() {
        for (prefix, address, expected) in [
            (
                "2001:db8:1::/56",
                "2001:db8:9:99:211:32ff:fe12:3456",
                "2001:db8:1:99:211:32ff:fe12:3456",
            ),
            (
                "2001:db8:1::/64",
                "2001:db8:9:99:211:32ff:fe12:3456",
                "2001:db8:1:0:211:32ff:fe12:3456",
            ),
            ("2001:db8:1:f0::/60", "2001:db8:9:9f::1", "2001:db8:1:ff::1"),
            ("2001:db8::/64", "::211:32ff:fe12:3456", "2001:db8::211:32ff:fe12:3456"),
            ("2001:db8:1::/48", "::5:0:0:0:1", "2001:db8:1:5::1"),
            ("8000::/1", "7fff::1", "ffff::1"),
            ("2001:db8::2/127", "::1", "2001:db8::3"),
        ] {
            let [address, expected] = [address, expected].map(|text| text.parse().unwrap());
            assert_eq!(Prefix::parse(prefix).unwrap().of(address), expected, "{prefix}");
        }
    }

    #[test]
    fn what_is_no_prefix_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "no length"),
            ("2001:db8::", "no length"),
            ("/64", "no IPv6 address"),
            ("x/64", "no IPv6 address"),
            ("2001:db8::/", "from 1 to 127"),
            ("2001:db8::/0", "from 1 to 127"),
            ("::/0", "from 1 to 127"),
            ("2001:db8::/128", "from 1 to 127"),
            ("2001:db8::/999", "from 1 to 127"),
            ("2001:db8::/064", "from 1 to 127"),
            ("2001:db8::/+64", "from 1 to 127"),
            ("2001:db8::/-1", "from 1 to 127"),
            ("2001:db8::/64/64", "from 1 to 127"),
            ("2001:db8:75:e4f0::/647656:3cff:fe47:1", "from 1 to 127"),
            ("2001:db8::7/64", "zeros behind it"),
            ("2001:db8:0:1::/63", "zeros behind it"),
            ("192.0.2.0/24", "IPv4"),
            ("::ffff:192.0.2.0/120", "IPv4"),
        ] {
            let error = Prefix::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert_eq!(
            Prefix::of_interface("2001:db8:1:22ff::1/56").unwrap(),
            Prefix::parse("2001:db8:1:2200::/56").unwrap()
        );
        assert_eq!(Prefix::parse("2001:DB8::/32").unwrap().to_string(), "2001:db8::/32");
        assert_eq!(Prefix::parse("::/64").unwrap().to_string(), "::/64");
    }

    proptest! {
        #[test]
        fn each_bit_is_of_the_prefix_or_of_the_address(
            prefix: u128, address: u128, length in 1..=127_u8,
        ) {
            // As text, bit for bit: nothing of the arithmetic above.
            let at = usize::from(length);
            let all = Ipv6Addr::from(prefix);
            let zeros = "0".repeat(128 - at);
            let first = u128::from_str_radix(&(bits(all)[..at].to_owned() + &zeros), 2).unwrap();
            let text = format!("{}/{length}", Ipv6Addr::from(first));
            let address = Ipv6Addr::from(address);
            if let Ok(prefix) = Prefix::parse(&text) {
                let expected = bits(all)[..at].to_owned() + &bits(address)[at..];
                prop_assert_eq!(bits(prefix.of(address)), expected);
                prop_assert_eq!(prefix.to_string(), text);
            } else {
                prop_assert!(Ipv6Addr::from(first).to_ipv4_mapped().is_some());
            }
            let has_more = all != Ipv6Addr::from(first);
            let whole = Prefix::parse(&format!("{all}/{length}"));
            prop_assert_eq!(whole.is_err(), has_more || all.to_ipv4_mapped().is_some());
        }

        #[test]
        fn any_text_is_refused_or_understood(text in "[0-9a-f:./]{0,40}|\\PC{0,20}") {
            let _ = Prefix::parse(&text);
        }
    }
}

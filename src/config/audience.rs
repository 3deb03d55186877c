//! Who may see the status page besides this machine: key `status_for`.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde_json::Value;

use crate::protocol::prefix::{mask, parse_length};

/// The word for those whose password the web server has checked.
const USERS: &str = "users";

/// What the list must be.
type Need = Cow<'static, str>;

/// Who may see the status page besides this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Clients with an address in one of these networks.
    pub networks: Vec<Network>,
    /// Clients whose password the web server has checked.
    pub users: bool,
}

/// A network. No address of it has other bits than its own before the end of the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first address; all bits behind the prefix are 0.
    address: IpAddr,
    /// How many bits the prefix has.
    length: u8,
}

impl Audience {
    /// Reads the list of key `status_for`.
    pub(super) fn parse(value: &Value) -> Result<Self, Need> {
        const NEED: &str =
            "must be a list of networks, such as \"192.0.2.0/24\", of addresses, and of \"users\"";
        let mut audience = Self::default();
        for entry in value.as_array().ok_or(NEED)? {
            match entry.as_str().ok_or(NEED)? {
                USERS => audience.users = true,
                text => {
                    let network = Network::parse(text).ok_or(NEED)?;
                    audience.networks.push(network.without_host()?);
                }
            }
        }
        Ok(audience)
    }

    /// Whether a network of this audience has the address.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.has(address))
    }
}

impl Network {
    /// Reads `ADDRESS/LENGTH`, or a single address.
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        // The address of a request is never IPv4 in IPv6 notation, so no request would match.
        if address.to_canonical() != address {
            return None;
        }
        let bits = bits_of(address);
        let length = match length {
            Some(text) => parse_length(text)?,
            None => bits,
        };
        (length <= bits).then_some(Self { address, length })
    }

    /// Refuses an address of a host where the network's belongs: the length may be wrong.
    fn without_host(self) -> Result<Self, Need> {
        let address = prefix(self.address, self.length);
        if address == self.address {
            return Ok(self);
        }
        let (wrong, length) = (self.address, self.length);
        Err(format!(
            "has \"{wrong}/{length}\", a host in a network: \
             write \"{address}/{length}\" for all of it, or \"{wrong}\" for the host alone"
        )
        .into())
    }

    /// Whether an address lies in this network.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        prefix(address, self.length) == self.address
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// How many bits an address of this family has.
fn bits_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address with only its first bits; all others are 0.
fn prefix(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length.into())).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & mask(length)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn network(text: &str) -> Network {
        Network::parse(text).unwrap()
    }

    #[test]
    fn a_network_has_the_addresses_that_share_its_prefix() {
        for (text, has, has_not) in [
            ("192.0.2.0/24", &["192.0.2.0", "192.0.2.255"][..], &["192.0.1.255", "192.0.3.0"][..]),
            ("192.0.2.0/25", &["192.0.2.127"], &["192.0.2.128", "::c000:200"]),
            ("192.0.2.7", &["192.0.2.7"], &["192.0.2.6", "192.0.2.8"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::", "::1"]),
            ("2001:db8::/32", &["2001:db8::", "2001:db8:ffff::1"], &["2001:db9::", "32.1.13.184"]),
            ("2001:DB8::1", &["2001:db8::1"], &["2001:db8::2", "2001:db8::"]),
            ("::/0", &["::", "2001:db8::1"], &["0.0.0.0", "192.0.2.1"]),
            ("::/64", &["::1"], &["0:0:0:1::", "192.0.2.1"]),
        ] {
            let network = network(text);
            for (addresses, expected) in [(has, true), (has_not, false)] {
                for address in addresses {
                    assert_eq!(network.has(address.parse().unwrap()), expected, "{text} {address}");
                }
            }
        }
    }

    #[test]
    fn a_list_names_networks_and_users() {
        let parsed = |value| Audience::parse(&value);
        assert_eq!(parsed(json!([])), Ok(Audience::default()));
        let users = Audience { users: true, ..Audience::default() };
        assert_eq!(parsed(json!(["users"])), Ok(users));
        let networks = ["192.0.2.0/24", "::1"].map(network).into();
        let both = json!(["192.0.2.0/24", "users", "::1"]);
        assert_eq!(parsed(both), Ok(Audience { networks, users: true }));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "user",
            "Users",
            "localhost",
            "192.0.2.0/33",
            "192.0.2.0/-1",
            "192.0.2.0/+24",
            "192.0.2.0/024",
            "192.0.2.0/",
            "192.0.2.0/24/24",
            "192.0.2.0/255.255.255.0",
            "192.0.2/24",
            "192.0.2.0 /24",
            "192.0.2.0/24 ",
            "::/129",
            "fe80::1%eth0",
            "[::1]",
            "::ffff:192.0.2.0/120",
            "::ffff:192.0.2.1",
        ] {
            let need = Audience::parse(&json!([text])).unwrap_err();
            assert!(need.contains("must be a list of networks"), "{text}: {need}");
        }
        for value in [json!("users"), json!(true), json!({}), json!([1]), json!([["::1"]])] {
            assert!(Audience::parse(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_host_with_the_length_of_a_network_is_refused_with_both_ways_to_mend_it() {
        let need = Audience::parse(&json!(["192.0.2.7/24"])).unwrap_err();
        assert!(need.contains("write \"192.0.2.0/24\" for all of it, or \"192.0.2.7\""), "{need}");
        assert!(Audience::parse(&json!(["2001:db8::1/32"])).is_err());
        assert!(Audience::parse(&json!(["0.0.0.1/0"])).is_err());
    }

    fn addresses() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<Ipv4Addr>().prop_map(IpAddr::from),
            any::<Ipv6Addr>().prop_map(|address| IpAddr::from(address).to_canonical()),
        ]
    }

    proptest! {
        /// Compared with the digits of both addresses, bit by bit.
        #[test]
        fn the_first_bits_decide(
            one in addresses(), other in addresses(), flipped in 0_u8..128, length in 0_u8..=128,
        ) {
            let length = length.min(bits_of(one));
            let network = Network { address: prefix(one, length), length };
            prop_assert!(network.has(one));
            let written = Network::parse(&network.to_string());
            prop_assert_eq!(written.map(Network::without_host), Some(Ok(network)));
            let flipped = flipped % bits_of(one);
            let near = match one {
                IpAddr::V4(it) => IpAddr::from(Ipv4Addr::from(it.to_bits() ^ (1 << flipped))),
                IpAddr::V6(it) => IpAddr::from(Ipv6Addr::from(it.to_bits() ^ (1 << flipped))),
            };
            let digits = |address| match address {
                IpAddr::V4(it) => format!("4{:032b}", it.to_bits()),
                IpAddr::V6(it) => format!("6{:0128b}", it.to_bits()),
            };
            for address in [near, other] {
                let end = 1 + usize::from(length);
                let is_equal = digits(address)[..end.min(digits(address).len())]
                    == digits(one)[..end];
                prop_assert_eq!(network.has(address), is_equal);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,30}|[0-9a-f:./]{0,30}") {
            let _ = Audience::parse(&json!([text]));
        }
    }
}

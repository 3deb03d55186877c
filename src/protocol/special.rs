//! Addresses of special purpose (RFC 6890, and IANA's registries): which of them a host can have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::protocol::prefix::Prefix;

/// Whether hosts may have private addresses: key `private_addresses`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateAddresses {
    /// They may. People serve their own network, too.
    Allowed,
    /// They may not.
    Refused,
}

const UNSPECIFIED: &str = "is no address: the client has none to report";
const LOOPBACK: &str = "is a loopback address, which only a connection can have";
const LINK_LOCAL: &str =
    "is a link-local address, which nobody beyond the client's network reaches";
const MULTICAST: &str = "is a multicast address";
const RESERVED: &str = "is a reserved address or the broadcast address";
const IDENTIFIER: &str = "is an interface identifier without a prefix";
const SHORT: &str = "is shorter than 16 bits, and could make addresses that no host can have";
const PRIVATE: &str =
    "is a private address, which key \"private_addresses\" of the configuration refuses";

/// Why no host can have an address that a request names; `None` if one can.
pub(super) fn flaw(address: IpAddr, private: PrivateAddresses) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => flaw_of_ipv4(address),
        IpAddr::V6(address) => flaw_of_ipv6(address),
    }
    .or((private == PrivateAddresses::Refused && is_private(address)).then_some(PRIVATE))
}

/// The same for the address of a connection, which may be a loopback address.
pub(super) fn flaw_of_sender(sender: IpAddr, private: PrivateAddresses) -> Option<&'static str> {
    if sender.is_loopback() { None } else { flaw(sender, private) }
}

/// Why no host can have addresses of this network. The first 16 bits of an address tell. A shorter
/// prefix leaves some of these to the stored address: `8000::/1` makes `fe80::1` of `7e80::1`.
pub(super) fn flaw_of_network(prefix: Prefix, private: PrivateAddresses) -> Option<&'static str> {
    if prefix.length() < 16 { Some(SHORT) } else { flaw(prefix.address().into(), private) }
}

fn flaw_of_ipv4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some(UNSPECIFIED),
        [127, ..] => Some(LOOPBACK),
        [169, 254, ..] => Some(LINK_LOCAL),
        [224..=239, ..] => Some(MULTICAST),
        [240..=255, ..] => Some(RESERVED),
        _ => None,
    }
}

fn flaw_of_ipv6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(UNSPECIFIED),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(LOOPBACK),
        [0, ..] => Some(IDENTIFIER),
        [0xfe80..=0xfebf, ..] => Some(LINK_LOCAL),
        [0xff00..=0xffff, ..] => Some(MULTICAST),
        _ => None,
    }
}

/// RFC 1918, RFC 6598 (between a provider and its customers), and RFC 4193.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_private() || matches!(address.octets(), [100, 64..=127, ..])
        }
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

/// Whether this is an interface identifier: an address of prefix `::`, whose first 16 bits are 0.
/// It waits for a prefix, and nobody can reach it. The loopback address is none.
#[must_use]
pub fn is_identifier(address: Ipv6Addr) -> bool {
    flaw_of_ipv6(address) == Some(IDENTIFIER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw_of(text: &str) -> Option<&'static str> {
        flaw(text.parse().unwrap(), PrivateAddresses::Allowed)
    }

    #[test]
    fn what_no_host_can_have_has_a_flaw() {
        for (text, expected) in [
            ("0.0.0.0", UNSPECIFIED),
            ("0.1.2.3", UNSPECIFIED),
            ("127.0.0.1", LOOPBACK),
            ("127.255.255.255", LOOPBACK),
            ("169.254.7.7", LINK_LOCAL),
            ("224.0.0.1", MULTICAST),
            ("239.255.255.255", MULTICAST),
            ("240.0.0.1", RESERVED),
            ("255.255.255.255", RESERVED),
            ("::", UNSPECIFIED),
            ("::1", LOOPBACK),
            ("::2", IDENTIFIER),
            ("0:ffff:ffff:ffff::1", IDENTIFIER),
            ("fe80::1", LINK_LOCAL),
            ("febf::1", LINK_LOCAL),
            ("ff02::1", MULTICAST),
            ("::ffff:127.0.0.1", LOOPBACK),
        ] {
            assert_eq!(flaw_of(text), Some(expected), "{text}");
        }
        for text in [
            "1.1.1.1",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.0.1",
            "223.255.255.255",
            "192.168.1.1",
            "2001:db8::1",
            "1::",
            "64:ff9b::192.0.2.1",
            "fe7f::1",
            "fec0::1",
            "fd00::1",
            "::ffff:192.0.2.1",
        ] {
            assert_eq!(flaw_of(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_connection_has_a_loopback_address() {
        for text in ["127.0.0.1", "::1"] {
            assert_eq!(
                flaw_of_sender(text.parse().unwrap(), PrivateAddresses::Refused),
                None,
                "{text}"
            );
        }
        for text in ["fe80::1", "0.0.0.0", "::2"] {
            assert!(
                flaw_of_sender(text.parse().unwrap(), PrivateAddresses::Allowed).is_some(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_network_that_is_too_large_has_addresses_that_no_host_can_have() {
        let flaw = |text| flaw_of_network(Prefix::parse(text).unwrap(), PrivateAddresses::Refused);
        for (text, expected) in [
            ("8000::/1", Some(SHORT)),
            ("2000::/3", Some(SHORT)),
            ("fe00::/8", Some(SHORT)),
            ("2000::/15", Some(SHORT)),
            ("2001::/16", None),
            ("2001:db8::/127", None),
            ("::/64", Some(UNSPECIFIED)),
            ("0:1::/32", Some(IDENTIFIER)),
            ("fe80::/64", Some(LINK_LOCAL)),
            ("fd00::/64", Some(PRIVATE)),
        ] {
            assert_eq!(flaw(text), expected, "{text}");
        }
    }

    #[test]
    fn private_addresses_are_refused_where_the_operator_wants_it() {
        for (text, is_private) in [
            ("10.0.0.1", true),
            ("172.16.0.1", true),
            ("172.32.0.1", false),
            ("192.168.0.1", true),
            ("100.64.0.1", true),
            ("100.127.255.255", true),
            ("100.128.0.1", false),
            ("fc00::1", true),
            ("fdff::1", true),
            ("fe00::1", false),
            ("2001:db8::1", false),
        ] {
            let address: IpAddr = text.parse().unwrap();
            let expected = is_private.then_some(PRIVATE);
            assert_eq!(flaw(address, PrivateAddresses::Refused), expected, "{text}");
            assert_eq!(flaw_of_sender(address, PrivateAddresses::Refused), expected, "{text}");
            assert_eq!(flaw(address, PrivateAddresses::Allowed), None, "{text}");
        }
    }
}

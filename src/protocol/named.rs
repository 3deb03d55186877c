//! The addresses that a request names, and which of its hosts gets which.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::protocol::addresses::{Action, Addresses, NewIpv6, Wanted};
use crate::protocol::answer::Refusal;
use crate::protocol::form::{Part, Problem};
use crate::protocol::host::HostName;
use crate::protocol::prefix::Prefix;
use crate::protocol::special::{PrivateAddresses, flaw, flaw_of_network, flaw_of_sender};

/// An address or a prefix that a request names in vain, since no host can have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The parameter that names it.
    pub part: Part,
    /// The address or the prefix.
    pub text: String,
    /// Why no host can have it.
    pub why: &'static str,
}

/// What a request names, of each family by itself. `None` means that it says nothing about it.
#[derive(Debug)]
pub(super) struct Named {
    private: PrivateAddresses,
    ipv4: Option<Action<Ipv4Addr>>,
    ipv6: Option<Action<Ipv6Addr>>,
    prefix: Option<Prefix>,
    /// Whether it speaks of an IPv6 address of its own, perhaps in vain.
    names_router: bool,
    /// Whether it speaks of a network behind a router, perhaps in vain.
    names_network: bool,
    left_out: Vec<LeftOut>,
}

/// What the hosts of a request get.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shares {
    first: Wanted,
    others: Wanted,
    left_out: Vec<LeftOut>,
}

impl Named {
    pub fn nothing(private: PrivateAddresses) -> Self {
        Self {
            private,
            ipv4: None,
            ipv6: None,
            prefix: None,
            names_router: false,
            names_network: false,
            left_out: Vec::new(),
        }
    }

    /// What is to happen to the IPv4 address.
    pub fn set_ipv4(&mut self, action: Action<Ipv4Addr>) -> Result<(), Problem> {
        set(&mut self.ipv4, action)
    }

    /// What is to happen to the IPv6 address.
    pub fn set_ipv6(&mut self, action: Action<Ipv6Addr>) -> Result<(), Problem> {
        self.names_router = true;
        set(&mut self.ipv6, action)
    }

    /// There may be a network behind a router, whether or not a prefix comes.
    pub fn expect_network(&mut self) {
        self.names_network = true;
    }

    /// A new address. It is left out if no host can have it.
    pub fn add(&mut self, address: IpAddr, part: Part) -> Result<(), Problem> {
        self.names_router |= address.is_ipv6();
        if let Some(why) = flaw(address, self.private) {
            self.leave_out(part, address, why);
            return Ok(());
        }
        match address {
            IpAddr::V4(address) => self.set_ipv4(Action::Set(address)),
            IpAddr::V6(address) => self.set_ipv6(Action::Set(address)),
        }
    }

    /// A new prefix. It is left out if no host can have an address with it.
    pub fn add_prefix(&mut self, prefix: Prefix, part: Part) -> Result<(), Problem> {
        self.expect_network();
        if let Some(why) = flaw_of_network(prefix, self.private) {
            self.leave_out(part, prefix, why);
            return Ok(());
        }
        set(&mut self.prefix, prefix)
    }

    /// Keeps one text for each reason: a list can have thousands, and each has a line in the log.
    fn leave_out(&mut self, part: Part, text: impl fmt::Display, why: &'static str) {
        if !self.left_out.iter().any(|other| other.why == why) {
            self.left_out.push(LeftOut { part, text: text.to_string(), why });
        }
    }

    /// What becomes of the hosts. The sender's address counts if the request names none.
    ///
    /// An address and a prefix together are those of a router and of the hosts behind it: the first
    /// host is the router. Neither takes the place of the other. If one was named in vain, its
    /// hosts keep what they have, since the router's address on a host would replace the rest of
    /// that host's own, which no later prefix could bring back.
    pub fn shares(self, sender: IpAddr) -> Result<Shares, Refusal> {
        let named = Addresses {
            ipv4: self.ipv4.unwrap_or(Action::Keep),
            ipv6: self.ipv6.unwrap_or(Action::Keep),
        };
        let is_nothing_named = named == Addresses::KEPT && self.prefix.is_none();
        let own = Wanted::from(if is_nothing_named { self.of_sender(sender)? } else { named });
        let behind = Wanted {
            ipv6: match self.prefix {
                Some(prefix) => Action::Set(NewIpv6::Prefix(prefix)),
                None if self.names_network => Action::Keep,
                None => own.ipv6,
            },
            ..own
        };
        let is_own = self.names_router || is_nothing_named;
        let first = if is_own { own } else { behind };
        Ok(Shares { first, others: behind, left_out: self.left_out })
    }

    /// The sender's address, unless the request names something that does not count, or wants the
    /// address to stay.
    fn of_sender(&self, sender: IpAddr) -> Result<Addresses, Refusal> {
        if let Some(LeftOut { part, why, .. }) = self.left_out.first() {
            return Err(Refusal::Form(Problem::Unusable(why), *part));
        }
        let is_to_stay = if sender.is_ipv4() { self.ipv4.is_some() } else { self.ipv6.is_some() };
        if is_to_stay {
            return Err(Refusal::Form(Problem::Conflicting, Part::Connection));
        }
        address_of(sender, self.private)
    }
}

/// The address of a connection, for a request that cannot name one.
pub(super) fn address_of(sender: IpAddr, private: PrivateAddresses) -> Result<Addresses, Refusal> {
    match flaw_of_sender(sender, private) {
        Some(why) => Err(Refusal::Form(Problem::Unusable(why), Part::Connection)),
        None => Ok(sender.into()),
    }
}

impl Shares {
    /// All hosts lose all addresses.
    pub fn removed() -> Self {
        let removed = Wanted::from(Addresses::REMOVED);
        Self { first: removed, others: removed, left_out: Vec::new() }
    }

    /// What each host gets, in their order, and what was named in vain.
    pub fn for_hosts(self, hosts: Vec<HostName>) -> (Vec<(HostName, Wanted)>, Vec<LeftOut>) {
        let all = std::iter::once(self.first).chain(std::iter::repeat(self.others));
        (hosts.into_iter().zip(all).collect(), self.left_out)
    }
}

/// Sets what the request says. It may repeat it, but must not say two things.
fn set<T: Copy + PartialEq>(field: &mut Option<T>, new: T) -> Result<(), Problem> {
    match field.replace(new) {
        Some(old) if old != new => Err(Problem::Conflicting),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: &str = "2001:db8:99::9";

    /// What the first host gets and what the others get of these addresses, prefixes and words.
    fn shares(texts: &[&str]) -> Result<[Wanted; 2], Refusal> {
        let mut named = Named::nothing(PrivateAddresses::Allowed);
        for text in texts {
            match *text {
                "network" => named.expect_network(),
                "keep4" => named.set_ipv4(Action::Keep).unwrap(),
                "keep6" => named.set_ipv6(Action::Keep).unwrap(),
                text if text.contains('/') => {
                    named.add_prefix(Prefix::parse(text).unwrap(), Part::MyIp).unwrap();
                }
                text => named.add(text.parse().unwrap(), Part::MyIp).unwrap(),
            }
        }
        named.shares(SENDER.parse().unwrap()).map(|shares| [shares.first, shares.others])
    }

    #[test]
    fn neither_the_router_nor_the_network_takes_what_is_for_the_other() {
        let keep = Action::Keep;
        let own = Action::Set(NewIpv6::Address("2001:db8:ff::1".parse().unwrap()));
        let behind = Action::Set(NewIpv6::Prefix(Prefix::parse("2001:db8:1::/56").unwrap()));
        let sender = Action::Set(NewIpv6::Address(SENDER.parse().unwrap()));
        for (texts, first, others) in [
            (&["2001:db8:1::/56"][..], behind, behind),
            (&["2001:db8:ff::1"], own, own),
            (&["2001:db8:ff::1", "2001:db8:1::/56"], own, behind),
            (&["2001:db8:ff::1", "network"], own, keep),
            (&["2001:db8:ff::1", "fe80::/64"], own, keep),
            (&["2001:db8:ff::1", "::/64", "network"], own, keep),
            (&["fe80::1", "2001:db8:1::/56"], keep, behind),
            (&["keep6", "2001:db8:1::/56"], keep, behind),
            (&[], sender, sender),
            (&["network"], sender, keep),
        ] {
            let [one, rest] = shares(texts).unwrap().map(|wanted| wanted.ipv6);
            assert_eq!((one, rest), (first, others), "{texts:?}");
            // IPv4 is for all, beside anything that counts.
            let with4 = [texts, &["192.0.2.1"]].concat();
            let ipv4 = shares(&with4).unwrap().map(|wanted| wanted.ipv4);
            assert_eq!(ipv4, [Action::Set("192.0.2.1".parse().unwrap()); 2], "{texts:?}");
        }
    }

    #[test]
    fn what_is_named_in_vain_does_not_become_the_senders_address() {
        for texts in [&["0.0.0.0"][..], &["fe80::1"], &["fe80::/64"], &["0.0.0.0", "keep6"]] {
            let refusal = shares(texts).unwrap_err();
            assert!(
                matches!(refusal, Refusal::Form(Problem::Unusable(_), Part::MyIp)),
                "{texts:?}"
            );
        }
        let refusal = shares(&["keep6"]).unwrap_err();
        assert!(matches!(refusal, Refusal::Form(Problem::Conflicting, Part::Connection)));
        let sender = Wanted::from(SENDER.parse::<IpAddr>().unwrap());
        assert_eq!(shares(&["keep4"]).unwrap(), [sender; 2]);
    }
}

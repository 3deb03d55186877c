//! The addresses that a request names, and which of its hosts gets which.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::protocol::addresses::{Action, Addresses, NewIpv6, Wanted};
use crate::protocol::answer::Refusal;
use crate::protocol::form::{Part, Problem};
use crate::protocol::prefix::Prefix;
use crate::protocol::special::{Private, flaw, flaw_of_network, flaw_of_sender};

/// An address that a request names, but that no host can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The parameter that names it.
    pub part: Part,
    /// The address.
    pub address: IpAddr,
    /// Why no host can have it.
    pub why: &'static str,
}

/// What a request names, of each family by itself. `None` means that it says nothing about it.
#[derive(Debug)]
pub(super) struct Named {
    private: Private,
    ipv4: Option<Action<Ipv4Addr>>,
    ipv6: Option<Action<Ipv6Addr>>,
    /// Whether it names an IPv6 address, even one that no host can have.
    names_ipv6: bool,
    prefix: Option<Prefix>,
    left_out: Vec<LeftOut>,
}

/// What the hosts of a request get.
#[derive(Debug)]
pub(super) struct Shares {
    /// For the first host.
    pub first: Wanted,
    /// For each of the others.
    pub others: Wanted,
    /// What was named in vain.
    pub left_out: Vec<LeftOut>,
}

impl Named {
    pub fn nothing(private: Private) -> Self {
        let (ipv4, ipv6, prefix) = (None, None, None);
        Self { private, ipv4, ipv6, names_ipv6: false, prefix, left_out: Vec::new() }
    }

    /// What is to happen to the IPv4 address.
    pub fn set_ipv4(&mut self, action: Action<Ipv4Addr>) -> Result<(), Problem> {
        set(&mut self.ipv4, action)
    }

    /// What is to happen to the IPv6 address.
    pub fn set_ipv6(&mut self, action: Action<Ipv6Addr>) -> Result<(), Problem> {
        set(&mut self.ipv6, action)
    }

    /// A new address. It is left out if no host can have it.
    pub fn add(&mut self, address: IpAddr, part: Part) -> Result<(), Problem> {
        self.names_ipv6 |= address.is_ipv6();
        if let Some(why) = flaw(address, self.private) {
            self.leave_out(address, part, why);
            return Ok(());
        }
        match address {
            IpAddr::V4(address) => self.set_ipv4(Action::Set(address)),
            IpAddr::V6(address) => self.set_ipv6(Action::Set(address)),
        }
    }

    /// A new prefix. It is left out if no host can have an address with it.
    pub fn add_prefix(&mut self, prefix: Prefix, part: Part) -> Result<(), Problem> {
        if let Some(why) = flaw_of_network(prefix, self.private) {
            self.leave_out(prefix.address().into(), part, why);
            return Ok(());
        }
        set(&mut self.prefix, prefix)
    }

    /// Keeps one address for each reason: a list can have thousands, and each has a line in the
    /// log.
    fn leave_out(&mut self, address: IpAddr, part: Part, why: &'static str) {
        if !self.left_out.iter().any(|other| other.why == why) {
            self.left_out.push(LeftOut { part, address, why });
        }
    }

    /// What becomes of the hosts. The sender's address counts if the request names none.
    ///
    /// An address and a prefix together are those of a router and of the hosts behind it: the first
    /// host is the router. Without an address, the prefix is that of all hosts.
    pub fn shares(self, sender: IpAddr) -> Result<Shares, Refusal> {
        let Self { ipv4, ipv6, prefix, .. } = self;
        let is_router_named = ipv6.is_some() || self.names_ipv6;
        let own =
            Addresses { ipv4: ipv4.unwrap_or(Action::Keep), ipv6: ipv6.unwrap_or(Action::Keep) };
        let Some(prefix) = prefix else {
            let own = if own == Addresses::KEPT { self.of_sender(sender)? } else { own };
            let own = own.into();
            return Ok(Shares { first: own, others: own, left_out: self.left_out });
        };
        let own = Wanted::from(own);
        let others = Wanted { ipv6: Action::Set(NewIpv6::Prefix(prefix)), ..own };
        let first = if is_router_named { own } else { others };
        Ok(Shares { first, others, left_out: self.left_out })
    }

    /// The sender's address, unless the request names something that does not count, or wants the
    /// address to stay.
    fn of_sender(&self, sender: IpAddr) -> Result<Addresses, Refusal> {
        if let Some(LeftOut { part, why, .. }) = self.left_out.first() {
            return Err(Refusal::Form(Problem::Unusable(why), *part));
        }
        let is_to_stay = if sender.is_ipv4() { self.ipv4.is_some() } else { self.ipv6.is_some() };
        let refused = |problem| Err(Refusal::Form(problem, Part::Connection));
        match flaw_of_sender(sender, self.private) {
            _ if is_to_stay => refused(Problem::Conflicting),
            Some(why) => refused(Problem::Unusable(why)),
            None => Ok(sender.into()),
        }
    }
}

/// Sets what the request says. It may repeat it, but must not say two things.
fn set<T: Copy + PartialEq>(field: &mut Option<T>, new: T) -> Result<(), Problem> {
    match field.replace(new) {
        Some(old) if old != new => Err(Problem::Conflicting),
        _ => Ok(()),
    }
}

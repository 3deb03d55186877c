//! What an update does to the addresses of a host: as a request wants it, and what that means for
//! one host.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::protocol::prefix::Prefix;

/// What a request wants for a host. What a prefix makes of it depends on the address that is stored
/// of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What is to happen to the IPv4 address.
    pub ipv4: Action<Ipv4Addr>,
    /// What is to happen to the IPv6 address.
    pub ipv6: Action<NewIpv6>,
}

/// Where a host's new IPv6 address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewIpv6 {
    /// It is this one.
    Address(Ipv6Addr),
    /// It is the stored one, with this prefix.
    Prefix(Prefix),
}

/// What an update does to the addresses of a host. The two families are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// What happens to the IPv4 address.
    pub ipv4: Action<Ipv4Addr>,
    /// What happens to the IPv6 address.
    pub ipv6: Action<Ipv6Addr>,
}

/// What an update does to the address of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<A> {
    /// It stays.
    Keep,
    /// It becomes this one.
    Set(A),
    /// The host loses it.
    Remove,
}

impl Wanted {
    /// Whether it wants another prefix for the host's address.
    #[must_use]
    pub(crate) fn has_prefix(self) -> bool {
        matches!(self.ipv6, Action::Set(NewIpv6::Prefix(_)))
    }

    /// What it means for a host that has this IPv6 address. A prefix alone makes no address:
    /// without one, the family stays as it is.
    #[must_use]
    pub fn for_host_with(self, stored: Option<Ipv6Addr>) -> Addresses {
        let ipv6 = match (self.ipv6, stored) {
            (Action::Keep, _) | (Action::Set(NewIpv6::Prefix(_)), None) => Action::Keep,
            (Action::Remove, _) => Action::Remove,
            (Action::Set(NewIpv6::Address(address)), _) => Action::Set(address),
            (Action::Set(NewIpv6::Prefix(prefix)), Some(stored)) => Action::Set(prefix.of(stored)),
        };
        Addresses { ipv4: self.ipv4, ipv6 }
    }
}

impl From<Addresses> for Wanted {
    fn from(Addresses { ipv4, ipv6 }: Addresses) -> Self {
        let ipv6 = match ipv6 {
            Action::Keep => Action::Keep,
            Action::Remove => Action::Remove,
            Action::Set(address) => Action::Set(NewIpv6::Address(address)),
        };
        Self { ipv4, ipv6 }
    }
}

impl From<IpAddr> for Wanted {
    /// Sets the address of its family. The other family stays.
    fn from(address: IpAddr) -> Self {
        Addresses::from(address).into()
    }
}

impl<A> Action<A> {
    fn address(self) -> Option<A> {
        match self {
            Self::Set(address) => Some(address),
            Self::Keep | Self::Remove => None,
        }
    }
}

impl Addresses {
    /// Both stay.
    pub(crate) const KEPT: Self = Self { ipv4: Action::Keep, ipv6: Action::Keep };

    /// The host loses both.
    pub const REMOVED: Self = Self { ipv4: Action::Remove, ipv6: Action::Remove };

    /// The addresses that the host gets, IPv4 first.
    pub(crate) fn new_ones(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let ipv4 = self.ipv4.address().map(IpAddr::V4);
        ipv4.into_iter().chain(self.ipv6.address().map(IpAddr::V6))
    }

    /// Whether a host that has this address loses it and gets no other in its place.
    pub(crate) fn removes(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.ipv4 == Action::Remove,
            IpAddr::V6(_) => self.ipv6 == Action::Remove,
        }
    }
}

impl From<IpAddr> for Addresses {
    /// Sets the address of its family. The other family stays.
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self { ipv4: Action::Set(address), ..Self::KEPT },
            IpAddr::V6(address) => Self { ipv6: Action::Set(address), ..Self::KEPT },
        }
    }
}

impl fmt::Display for Addresses {
    /// The new addresses with commas between them, or `none`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut new = self.new_ones();
        let Some(first) = new.next() else { return f.write_str("none") };
        write!(f, "{first}")?;
        new.try_for_each(|address| write!(f, ",{address}"))
    }
}

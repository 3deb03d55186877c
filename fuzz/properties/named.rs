//! What a request names, and which of its hosts gets which: a second computation. It knows networks as they
//! are documented, and addresses as their bits in text.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use ddns_cgi::protocol::addresses::{Action, Addresses, NewIpv6, Wanted};
use ddns_cgi::protocol::special::PrivateAddresses;
use url::form_urlencoded;

/// No host can have an address of these networks.
const UNUSABLE: [&str; 8] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/16",
    "fe80::/10",
    "ff00::/8",
];

/// Nor of these, if the operator says so.
const PRIVATE: [&str; 5] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"];

/// A prefix has to tell whether an address is one of the above.
const SHORTEST_PREFIX: usize = 16;

/// The word for a family that stays as it is.
pub const KEEP: &str = "keep";
/// The word for one that the host loses.
pub const NONE: &str = "none";

/// What happens to IPv4 and to IPv6: an address, a prefix with its length, or a word.
pub type Share = [String; 2];

/// What a request names.
pub struct Named {
    private: PrivateAddresses,
    /// For IPv4, for IPv6, and prefixes.
    families: [BTreeSet<String>; 3],
    /// Whether the first host has an IPv6 address of its own, be it a bad one.
    has_own: bool,
    /// Whether the others are hosts behind a router, be its prefix a bad one or none.
    has_network: bool,
    /// What no host can have.
    pub in_vain: Vec<String>,
}

impl Named {
    pub fn nothing(private: PrivateAddresses) -> Self {
        Self {
            private,
            families: Default::default(),
            has_own: false,
            has_network: false,
            in_vain: Vec::new(),
        }
    }

    /// Adds a word for a family: 0 for IPv4, 1 for IPv6.
    pub fn word(&mut self, family: usize, word: &str) {
        self.families[family].insert(word.to_owned());
    }

    pub fn address(&mut self, address: IpAddr) {
        let address = address.to_canonical();
        self.has_own |= address.is_ipv6();
        if is_unusable(address, self.private) {
            self.in_vain.push(address.to_string());
        } else {
            self.word(usize::from(address.is_ipv6()), &address.to_string());
        }
    }

    /// Says that there is a network behind a router.
    pub fn network(&mut self) {
        self.has_network = true;
    }

    /// Adds `PREFIX/LENGTH`; `None` if it is no prefix. Further bits may be cut off where nothing but a prefix
    /// can be meant.
    pub fn prefix(&mut self, text: &str, may_have_rest: bool) -> Option<()> {
        let (address, length) = text.split_once('/')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let length = (1..128).find(|number| number.to_string() == length)?;
        self.network();
        let has_rest = bits(address)[length..].contains('1');
        if address.to_ipv4_mapped().is_some() || has_rest && !may_have_rest {
            return None;
        }
        let first = bits(address)[..length].to_owned() + &"0".repeat(128 - length);
        let address = Ipv6Addr::from(u128::from_str_radix(&first, 2).unwrap());
        if length < SHORTEST_PREFIX || is_unusable(address.into(), self.private) {
            self.in_vain.push(format!("{address}/{length}"));
        } else {
            self.families[2].insert(format!("{address}/{length}"));
        }
        Some(())
    }

    /// What the first host gets, and what each of the others gets; `None` if the request is to be refused.
    pub fn shares(&self, sender: IpAddr) -> Option<[Share; 2]> {
        if self.families.iter().any(|words| words.len() > 1) {
            return None;
        }
        let [ipv4, ipv6, prefix] = self.families.each_ref().map(BTreeSet::first);
        let says_nothing = [ipv4, ipv6, prefix].into_iter().flatten().all(|word| word == KEEP);
        let keep = || KEEP.to_owned();
        if !says_nothing {
            let ipv4 = ipv4.cloned().unwrap_or_else(keep);
            let first = ipv6.or(prefix.filter(|_| !self.has_own)).cloned().unwrap_or_else(keep);
            let others = prefix.or(ipv6.filter(|_| !self.has_network));
            let others = others.cloned().unwrap_or_else(keep);
            return Some([[ipv4.clone(), first], [ipv4, others]]);
        }
        let is_to_stay = if sender.is_ipv4() { ipv4 } else { ipv6 }.is_some();
        let is_good = sender.is_loopback() || !is_unusable(sender, self.private);
        let mut share = [keep(), keep()];
        share[usize::from(sender.is_ipv6())] = sender.to_string();
        let counts = self.in_vain.is_empty() && !is_to_stay && is_good;
        let mut others = share.clone();
        if self.has_network {
            others[1] = keep();
        }
        counts.then_some([share, others])
    }
}

/// What the program wants, in the same words.
pub fn described(wanted: &Wanted) -> Share {
    let ipv6 = match wanted.ipv6 {
        Action::Keep => Action::Keep,
        Action::Remove => Action::Remove,
        Action::Set(NewIpv6::Address(address)) => Action::Set(address.to_string()),
        Action::Set(NewIpv6::Prefix(prefix)) => Action::Set(prefix.to_string()),
    };
    [in_words(wanted.ipv4), in_words(ipv6)]
}

fn in_words<A: ToString>(action: Action<A>) -> String {
    match action {
        Action::Keep => KEEP.to_owned(),
        Action::Remove => NONE.to_owned(),
        Action::Set(new) => new.to_string(),
    }
}

/// A prefix makes the address that has its bits and the rest of the stored one, and nothing that no host can
/// have. Everything else does not depend on what is stored. Returns it for this address.
pub fn moved(wanted: Wanted, private: PrivateAddresses, seed: &[u8]) -> Addresses {
    let mut octets = [0x55; 16];
    octets.iter_mut().zip(seed.iter().rev()).for_each(|(octet, byte)| *octet = *byte);
    let stored = [Ipv6Addr::from(octets), Ipv6Addr::UNSPECIFIED, Ipv6Addr::from(u128::MAX)];
    let [ipv4, ipv6] = described(&wanted);
    let in_words = |addresses: Addresses| [in_words(addresses.ipv4), in_words(addresses.ipv6)];
    for stored in stored {
        let expected = match ipv6.split_once('/') {
            None => ipv6.clone(),
            Some((prefix, length)) => {
                let at: usize = length.parse().unwrap();
                let first = &bits(prefix.parse().unwrap())[..at];
                let whole = first.to_owned() + &bits(stored)[at..];
                let address = Ipv6Addr::from(u128::from_str_radix(&whole, 2).unwrap());
                assert!(!is_unusable(address.into(), private), "{wanted:?} of {stored}");
                address.to_string()
            }
        };
        assert_eq!(in_words(wanted.for_host_with(Some(stored))), [ipv4.clone(), expected]);
    }
    let alone = if ipv6.contains('/') { KEEP.to_owned() } else { ipv6 };
    assert_eq!(in_words(wanted.for_host_with(None)), [ipv4, alone]);
    wanted.for_host_with(Some(stored[0]))
}

/// The names of parameters with an address, or an address with a length, anywhere in their lists.
pub fn with_addresses(forms: [&[u8]; 2]) -> BTreeSet<String> {
    let pairs = forms.into_iter().flat_map(|form| form_urlencoded::parse(form));
    let has_some = |value: &str| {
        value.split(',').any(|text| {
            let mut parts = text.trim().splitn(2, '/');
            let is_address = parts.next().is_some_and(|text| text.parse::<IpAddr>().is_ok());
            is_address && parts.next().unwrap_or_default().chars().all(|c| c.is_ascii_digit())
        })
    };
    pairs.filter(|(_, value)| has_some(value)).map(|(name, _)| name.into_owned()).collect()
}

fn is_unusable(address: IpAddr, private: PrivateAddresses) -> bool {
    let is_in = |network: &&str| lies_in(address, network);
    UNUSABLE.iter().any(is_in) || private == PrivateAddresses::Refused && PRIVATE.iter().any(is_in)
}

fn lies_in(address: IpAddr, network: &str) -> bool {
    let (first, length) = network.split_once('/').unwrap();
    let length: u32 = length.parse().unwrap();
    match (address, first.parse().unwrap()) {
        (IpAddr::V4(address), IpAddr::V4(first)) => {
            (address.to_bits() ^ first.to_bits()).leading_zeros() >= length
        }
        (IpAddr::V6(address), IpAddr::V6(first)) => {
            (address.to_bits() ^ first.to_bits()).leading_zeros() >= length
        }
        _ => false,
    }
}

fn bits(address: Ipv6Addr) -> String {
    format!("{:0128b}", address.to_bits())
}

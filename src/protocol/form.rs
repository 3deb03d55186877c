//! The parameters of a request, decoded.
//!
//! Treat all of it as hostile. We look only at declared parameters, which must be well-formed. Each
//! may occur once, unless it is a list.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use url::form_urlencoded;

/// The longest query or body that we read, in bytes: about the limit of web servers for a request
/// line.
pub const MAX_FORM: usize = 8192;

/// The parameters of a request.
pub struct Form<'r>(Vec<Pair<'r>>);

/// A name and a value of a form.
struct Pair<'r> {
    /// As the client sent it.
    text: &'r [u8],
    name: Cow<'r, str>,
    value: Cow<'r, str>,
}

impl<'r> Form<'r> {
    /// Decodes the parameters of a query and a body together.
    #[must_use]
    pub fn parse(query: &'r [u8], body: &'r [u8]) -> Self {
        let pairs = [query, body]
            .into_iter()
            .flat_map(|form| form.split(|byte| *byte == b'&'))
            .filter_map(|text| {
                let (name, value) = form_urlencoded::parse(text).next()?;
                Some(Pair { text, name, value })
            });
        Self(pairs.collect())
    }

    /// Whether there is a parameter of this name.
    pub(crate) fn has(&self, part: Part) -> bool {
        self.0.iter().any(|pair| pair.name == part.name())
    }

    /// The value of a parameter that must not be missing: at most `max` bytes of printable text.
    pub(crate) fn required(&self, part: Part, max: usize) -> Result<&str, (Problem, Part)> {
        self.optional(part, max)?.ok_or((Problem::Missing, part))
    }

    /// The value of a parameter that may be missing. An empty value counts as missing.
    pub(crate) fn optional(&self, part: Part, max: usize) -> Result<Option<&str>, (Problem, Part)> {
        let mut found = None;
        for pair in self.0.iter().filter(|pair| pair.name == part.name()) {
            if !has_whole_escapes(pair.text) {
                return Err((Problem::Malformed, part));
            }
            if found.replace(&*pair.value).is_some() {
                return Err((Problem::Repeated, part));
            }
        }
        let value = found.unwrap_or_default();
        if value.len() > max {
            return Err((Problem::Overlong, part));
        }
        if !is_printable(value) {
            return Err((Problem::Malformed, part));
        }
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    /// What stands between the commas of a list. The parameter may be repeated; then the lists
    /// follow each other. White space around what stands there, and empty places, are left out.
    pub(crate) fn list(&self, part: Part) -> Result<Vec<&str>, (Problem, Part)> {
        let mut list = Vec::new();
        for pair in self.0.iter().filter(|pair| pair.name == part.name()) {
            if !has_whole_escapes(pair.text) {
                return Err((Problem::Malformed, part));
            }
            let places = pair.value.split(',').map(str::trim);
            list.extend(places.filter(|text| !text.is_empty()));
        }
        if !list.iter().all(|text| is_printable(text)) {
            return Err((Problem::Malformed, part));
        }
        Ok(list)
    }

    /// The name of a parameter with an address or a prefix that is none of these parts.
    pub(crate) fn stray_address(&self, parts: &[Part]) -> Option<&str> {
        let is_address = |text: &str| {
            let (address, length) = text.trim().split_once('/').unwrap_or((text.trim(), "0"));
            address.parse::<IpAddr>().is_ok() && length.bytes().all(|byte| byte.is_ascii_digit())
        };
        let is_stray = |pair: &&Pair| {
            pair.value.split(',').any(is_address)
                && !parts.iter().any(|part| pair.name == part.name())
        };
        self.0.iter().find(is_stray).map(|pair| &*pair.name)
    }
}

/// Whether a text can be printed. The decoder replaces bytes that are not UTF-8 by U+FFFD.
fn is_printable(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER)
}

/// Whether two hexadecimal digits follow each `%`. The decoder would leave `%zz` as it is.
fn has_whole_escapes(pair: &[u8]) -> bool {
    pair.split(|byte| *byte == b'%')
        .skip(1)
        .all(|rest| rest.get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

/// What is wrong with a part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is missing.
    Missing,
    /// It occurs more than once.
    Repeated,
    /// It is longer than any valid value.
    Overlong,
    /// It is not well-formed.
    Malformed,
    /// It contradicts the rest, such as a parameter of another protocol.
    Conflicting,
    /// It is of no use. Says why, after `it`.
    Unusable(&'static str),
}

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The parameter `user`.
    User,
    /// The parameter `id`.
    Id,
    /// The parameter `timeST`.
    TimeSt,
    /// The parameter `hash`.
    Hash,
    /// The parameter `hmac`.
    Hmac,
    /// The parameter `ip`.
    Ip,
    /// The parameter `ip6`.
    Ip6,
    /// The parameter `hostname` of dyndns2.
    Hostname,
    /// The same by another name: `hostnames`.
    Hostnames,
    /// The same by another name: `host`.
    Host,
    /// The same by another name: `domain`.
    Domain,
    /// The parameter `myip` of dyndns2.
    MyIp,
    /// The IPv4 address by the name `myipv4`.
    MyIpv4,
    /// The IPv4 address by the name `ipv4`.
    Ipv4,
    /// The IPv4 address by the name `ip4`.
    Ip4,
    /// The IPv4 address by the name `a`.
    A,
    /// The parameter `myipv6` of dyndns2.
    MyIpv6,
    /// The parameter `myip6` of dyndns2.
    MyIp6,
    /// The IPv6 address by the name `ipv6`.
    Ipv6,
    /// The IPv6 address by the name `aaaa`.
    Aaaa,
    /// The parameter `ip6lanprefix` of dyndns2.
    Ip6LanPrefix,
    /// The parameter `offline` of dyndns2.
    Offline,
    /// The parameter `username`, in the place of the header `Authorization`.
    Username,
    /// The parameter `password`, in the place of the header `Authorization`.
    Password,
    /// The connection that the request came through.
    Connection,
    /// The whole query string.
    Query,
    /// The whole body.
    Body,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Repeated => "repeated",
            Self::Overlong => "overlong",
            Self::Malformed => "malformed",
            Self::Conflicting => "conflicting",
            Self::Unusable(_) => "unusable",
        })
    }
}

impl Part {
    /// The parameters of dyndns2 that name hosts.
    pub(super) const HOSTS: [Self; 4] = [Self::Hostname, Self::Hostnames, Self::Host, Self::Domain];

    /// The name of the parameter, or of the part.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Id => "id",
            Self::TimeSt => "timeST",
            Self::Hash => "hash",
            Self::Hmac => "hmac",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Hostname => "hostname",
            Self::Hostnames => "hostnames",
            Self::Host => "host",
            Self::Domain => "domain",
            Self::MyIp => "myip",
            Self::MyIpv4 => "myipv4",
            Self::Ipv4 => "ipv4",
            Self::Ip4 => "ip4",
            Self::A => "a",
            Self::MyIpv6 => "myipv6",
            Self::MyIp6 => "myip6",
            Self::Ipv6 => "ipv6",
            Self::Aaaa => "aaaa",
            Self::Ip6LanPrefix => "ip6lanprefix",
            Self::Offline => "offline",
            Self::Username => "username",
            Self::Password => "password",
            Self::Connection => "connection",
            Self::Query => "query",
            Self::Body => "body",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

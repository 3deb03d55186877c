//! The form of a request: its parameters, decoded.
//!
//! All of it is hostile. Only declared parameters are looked at, only once each, and only in their
//! exact form.

use std::borrow::Cow;
use std::fmt;

use url::form_urlencoded;

use crate::protocol::answer::Refusal;

/// The longest query or body in bytes that is read, about Apache's own limit for a request line.
pub const MAX_FORM: usize = 8192;

/// The parameters of a request.
pub struct Form<'r>(Vec<Pair<'r>>);

/// A name and a value of a form.
struct Pair<'r> {
    /// As it was sent.
    text: &'r [u8],
    name: Cow<'r, str>,
    value: Cow<'r, str>,
}

impl<'r> Form<'r> {
    /// The parameters of a query and a body together.
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
    #[must_use]
    pub fn has(&self, part: Part) -> bool {
        self.0.iter().any(|pair| pair.name == part.name())
    }

    /// The value of a parameter, which must be there: at most `max` bytes of printable text.
    pub fn required(&self, part: Part, max: usize) -> Result<&str, Refusal> {
        self.optional(part, max)?.ok_or(Refusal::Form(Problem::Missing, part))
    }

    /// The same of one that may be missing, or empty, which is the same.
    pub fn optional(&self, part: Part, max: usize) -> Result<Option<&str>, Refusal> {
        let refused = |problem| Refusal::Form(problem, part);
        let mut found = None;
        for pair in self.0.iter().filter(|pair| pair.name == part.name()) {
            if !has_whole_escapes(pair.text) {
                return Err(refused(Problem::Malformed));
            }
            if found.replace(&*pair.value).is_some() {
                return Err(refused(Problem::Repeated));
            }
        }
        let value = found.unwrap_or_default();
        if value.len() > max {
            return Err(refused(Problem::Overlong));
        }
        // The decoder puts U+FFFD in the place of bytes that are not UTF-8.
        if value.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
            return Err(refused(Problem::Malformed));
        }
        Ok(Some(value).filter(|value| !value.is_empty()))
    }
}

/// Whether two hexadecimal digits follow each `%`; the decoder would take `%zz` as it stands.
fn has_whole_escapes(pair: &[u8]) -> bool {
    pair.split(|byte| *byte == b'%')
        .skip(1)
        .all(|rest| rest.get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

/// What is wrong with a part of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is not there.
    Missing,
    /// It is there more than once.
    Repeated,
    /// It is longer than any valid one.
    Overlong,
    /// It is not of its form.
    Malformed,
    /// It does not go with the rest: parameters of two protocols.
    Conflicting,
}

/// A part of the request.
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
    /// The parameter `myip` of dyndns2.
    MyIp,
    /// The parameter `myipv6` of dyndns2.
    MyIpv6,
    /// The parameter `myip6` of dyndns2.
    MyIp6,
    /// The parameter `offline` of dyndns2.
    Offline,
    /// The query string as a whole.
    Query,
    /// The body as a whole.
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
        })
    }
}

impl Part {
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
            Self::MyIp => "myip",
            Self::MyIpv6 => "myipv6",
            Self::MyIp6 => "myip6",
            Self::Offline => "offline",
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

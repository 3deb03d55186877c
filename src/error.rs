//! What can go wrong: a [`Refusal`] is the client's doing, a [`Fault`] is ours.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde_json::error::Category;

use crate::stamp::Stamp;

/// Why a request was not carried out.
#[derive(Debug)]
pub enum Error {
    /// The request was turned away.
    Refusal(Refusal),
    /// The request may have been right, but something here is in the way.
    Fault(Fault),
}

impl Error {
    /// The word for it, in the reply and in the log.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Refusal(refusal) => refusal.word(),
            Self::Fault(_) => "911",
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A request that was turned away; it changed nothing.
#[derive(Debug)]
pub enum Refusal {
    /// A method other than GET and POST.
    Method,
    /// A method other than GET and HEAD, where there is only something to read.
    ReadOnly,
    /// The status page is off.
    NoPage,
    /// A part of the request is missing or unusable.
    Form(Problem, Part),
    /// The claim does not prove who sent it.
    Identity(Unproven),
    /// The key is right, but the host is not this user's.
    Host,
    /// The key is right, but the stamp is further from the clock than the replay window.
    Stale {
        /// Seconds by which the client is ahead; negative where it is behind.
        seconds: i64,
    },
    /// dyndns2 is not served.
    Disabled,
    /// dyndns2 is served over HTTPS alone.
    Insecure,
    /// The stamp is not newer than the last accepted one.
    Replay {
        /// The last accepted stamp.
        last: Stamp,
        /// How many seconds that stamp is ahead of the clock, where it is ahead of the window.
        ahead: Option<i64>,
    },
}

impl Refusal {
    /// The word for it, in the log and in the reply; to some of them, dyndns2 replies with its own.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Method | Self::ReadOnly => "badmethod",
            Self::NoPage => "notfound",
            Self::Form(..) => "badrequest",
            Self::Identity(_) => "badauth",
            Self::Host => "nohost",
            Self::Stale { .. } => "stale",
            Self::Replay { .. } => "replay",
            Self::Disabled => "disabled",
            Self::Insecure => "insecure",
        }
    }
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

/// Why a claim is not believed. The client never learns which.
#[derive(Debug)]
pub enum Unproven {
    /// No such user.
    UnknownUser,
    /// The user's entry in the credentials cannot be used.
    BrokenUser(&'static str),
    /// The signature is not that of this claim and the user's key.
    WrongHash,
    /// The request has no user and password.
    NoPassword,
    /// The password is not the user's key.
    WrongPassword,
    /// The key is right, but the user's entry demands the signature of protocol 2.
    Downgrade,
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

/// Something of ours that is in the way: what, why, and what the operator can do about it.
#[derive(Debug)]
pub struct Fault {
    /// The file, key or variable.
    pub subject: String,
    /// Why, and what to do.
    pub reason: String,
}

impl Fault {
    /// A fault of `subject`.
    #[must_use]
    pub fn new(subject: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self { subject: subject.to_string(), reason: reason.to_string() }
    }

    /// A failed operation on a file: `action` is its verb.
    #[must_use]
    pub fn io(action: &str, path: &Path, error: &io::Error) -> Self {
        let advice = match error.kind() {
            ErrorKind::PermissionDenied => {
                "; give the web server's user access to it and write access to its folder"
            }
            ErrorKind::NotFound => "; create it or its folder, or correct its path",
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free some space there",
            ErrorKind::ReadOnlyFilesystem => "; mount its file system read-write",
            _ => "",
        };
        Self::new(path.display(), format_args!("cannot {action}: {error}{advice}"))
    }
}

/// Where a JSON text is wrong. Not `serde_json`'s own message, which may quote the text: a key of the
/// credentials would get into the log.
#[must_use]
pub fn json_position(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Eof => "ends too early",
        Category::Data => "has a value of the wrong kind",
        Category::Syntax | Category::Io => "is no JSON",
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.reason)
    }
}

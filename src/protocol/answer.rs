//! What became of a request, and the words that tell the client.

use std::fmt;

use crate::fault::Fault;
use crate::protocol::addresses::Addresses;
use crate::protocol::form::{Part, Problem};
use crate::protocol::stamp::Stamp;

/// The language that a client speaks and understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Protocols 1 and 2: the client signs its request.
    Signed,
    /// dyndns2: the client sends a password.
    Dyndns2,
}

/// What became of one host of a request.
pub(crate) type Answer = Result<Accepted, Refusal>;

/// What became of each host of a request, in the request's order.
pub(crate) type Answers = Vec<Answer>;

/// An update that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The addresses are new, and stored now.
    Good(Addresses),
    /// The addresses were stored already.
    NoChange(Addresses),
}

impl fmt::Display for Accepted {
    /// The line of the reply, in every dialect.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Good(addresses) => write!(f, "good {addresses}"),
            Self::NoChange(addresses) => write!(f, "nochg {addresses}"),
        }
    }
}

/// Why a request was not carried out.
#[derive(Debug)]
pub enum Error {
    /// We turned the request away.
    Refusal(Refusal),
    /// The request may have been right, but something on our side failed.
    Fault(Fault),
}

/// The word for a fault, in the log and in every dialect.
const FAULT: &str = "911";

impl Error {
    /// The word in the log.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Refusal(refusal) => refusal.word(),
            Self::Fault(_) => FAULT,
        }
    }

    /// The line of the reply.
    pub(crate) fn line(&self, dialect: Dialect) -> String {
        match self {
            Self::Refusal(refusal) => refusal.line(dialect),
            Self::Fault(_) => FAULT.to_owned(),
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

/// Why we turned a request away. It changed nothing.
#[derive(Debug)]
pub enum Refusal {
    /// The method is neither GET nor POST.
    Method,
    /// The method is neither GET nor HEAD, for something that can only be read.
    ReadOnly,
    /// The status page is off.
    NoPage,
    /// The status page is not for whoever asks.
    Audience(Outsider),
    /// A part of the request is missing or unusable.
    Form(Problem, Part),
    /// The request names an address by a parameter of this name, which means nothing here. To go
    /// by another address would not be what the client wants.
    Stray(String),
    /// The claim does not prove who sent it.
    Identity(Unproven),
    /// The key is right, but the host is not this user's.
    Host,
    /// The key is right, but the stamp is further from the clock than the replay window allows.
    Stale {
        /// Seconds by which the client is ahead; negative if it is behind.
        seconds: i64,
    },
    /// dyndns2 is off.
    Disabled,
    /// dyndns2 needs HTTPS here.
    Insecure,
    /// The request has only a prefix for the host, which has no IPv6 address.
    NoIpv6,
    /// The stamp is not newer than the last accepted one.
    Replay {
        /// The last accepted stamp.
        last: Stamp,
        /// How many seconds that stamp is ahead of the clock, if that is more than the window.
        ahead: Option<i64>,
    },
}

impl From<(Problem, Part)> for Refusal {
    fn from((problem, part): (Problem, Part)) -> Self {
        Self::Form(problem, part)
    }
}

/// How we put a refusal into words.
struct Words {
    /// The word in the log, and in replies of protocols 1 and 2.
    word: &'static str,
    /// What follows the word in such a reply.
    detail: String,
    /// All that dyndns2 replies.
    dyndns2: &'static str,
}

impl Refusal {
    /// The word in the log.
    pub(crate) fn word(&self) -> &'static str {
        self.words().word
    }

    /// The line of the reply.
    pub(crate) fn line(&self, dialect: Dialect) -> String {
        let Words { word, detail, dyndns2 } = self.words();
        match dialect {
            Dialect::Signed => [word, &detail].concat(),
            Dialect::Dyndns2 => dyndns2.to_owned(),
        }
    }

    fn words(&self) -> Words {
        let (word, detail, dyndns2) = match self {
            Self::Method | Self::ReadOnly => ("badmethod", String::new(), "badagent"),
            Self::NoPage => ("notfound", String::new(), "notfound"),
            Self::Audience(_) => ("forbidden", String::new(), "forbidden"),
            Self::Form(problem, part) => {
                ("badrequest", format!(" {problem} {part}"), word_of_dyndns2(*problem, *part))
            }
            Self::Stray(_) => ("badrequest", " unknown parameter".to_owned(), "badagent"),
            Self::Identity(_) => ("badauth", String::new(), "badauth"),
            Self::Host => ("nohost", String::new(), "nohost"),
            Self::Stale { seconds } => ("stale", format!(" {seconds}"), "stale"),
            Self::NoIpv6 => ("noip6", String::new(), "noip6"),
            Self::Replay { .. } => ("replay", String::new(), "replay"),
            Self::Disabled => ("disabled", String::new(), "disabled"),
            Self::Insecure => ("insecure", String::new(), "insecure"),
        };
        Words { word, detail, dyndns2 }
    }
}

/// dyndns2 has its own words for a wrong list of hosts.
fn word_of_dyndns2(problem: Problem, part: Part) -> &'static str {
    if !Part::HOSTS.contains(&part) {
        return "badagent";
    }
    match problem {
        Problem::Repeated | Problem::Overlong => "numhost",
        Problem::Missing | Problem::Malformed | Problem::Conflicting | Problem::Unusable(_) => {
            "notfqdn"
        }
    }
}

/// Why the status page is not for whoever asks. The client never learns which reason it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outsider {
    /// Key `status_for` does not list the client.
    Unlisted,
    /// The client would be this machine, but this header shows that a proxy passed the request on.
    Proxied(&'static str),
    /// The web server names a user, but does not say that it has checked a password.
    Unchecked,
}

/// Why we do not believe a claim. The client never learns which reason it was.
#[derive(Debug)]
pub enum Unproven {
    /// There is no such user.
    UnknownUser,
    /// The user's entry in the credentials is unusable.
    BrokenUser(&'static str),
    /// The user's key makes a different signature for this claim.
    WrongHash,
    /// The request has no user and password.
    NoPassword,
    /// The request has them in its form, which the configuration does not allow.
    LoginInForm,
    /// The password is not the user's key.
    WrongPassword,
    /// The key is right, but the user's entry requires the signature of protocol 2.
    Downgrade,
}

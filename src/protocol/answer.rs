//! What became of a request: accepted, refused, or met by a fault of ours.

use crate::fault::Fault;
use crate::protocol::addresses::Addresses;
use crate::protocol::form::{Part, Problem};
use crate::protocol::stamp::Stamp;

/// An update that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The addresses are new and stored.
    Good(Addresses),
    /// The addresses were stored already.
    NoChange(Addresses),
}

/// What became of one host of a request.
pub type Answer = Result<Accepted, Refusal>;

/// What became of each host of a request, in the request's order.
pub type Answers = Vec<Answer>;

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

//! The protocol: what a request for an update says, and whether to believe it.
//!
//! The parameters of a request come in, with its sender's address and what the credentials say
//! about its user. Out comes a list of updates that are proved to be the user's, or the reason why
//! not. The words of the answer live here, too. This room knows nothing of HTTP, files or settings,
//! and it has no clock: its callers pass the time.
//!
//! - [`form`]: the parameters, decoded,
//! - [`claim`]: who says what, in protocols 1 and 2,
//! - [`dyndns2`]: who says what, in dyndns2,
//! - [`named`]: the addresses that it names, and which of its hosts gets which,
//! - [`host`], [`addresses`], [`prefix`], [`stamp`]: what a claim consists of,
//! - [`special`]: addresses that no host can have,
//! - [`user`]: a user's entry in the credentials,
//! - [`signature`]: what the signatures cover, and how to make them,
//! - [`auth`]: verifies a claim: user, signature, hosts, time,
//! - [`answer`]: what became of the request, in words.

pub mod addresses;
pub mod answer;
pub mod auth;
pub mod claim;
pub mod dyndns2;
pub mod form;
pub mod host;
pub mod named;
pub mod prefix;
pub mod signature;
pub mod special;
pub mod stamp;
pub mod user;

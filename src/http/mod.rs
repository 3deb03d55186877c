//! The HTTP side: how a request reaches us, and how the answer leaves.
//!
//! The web server's variables and the body come in. They become one [`request::Request`], and
//! nothing below can tell which transport brought it. One [`reply::Output`] goes out: the reply to
//! the client, and lines for the log. This room knows nothing of users and files. It knows
//! the protocol's refusals, and gives each its HTTP status and its explanation in the log.
//!
//! - [`request`]: the variables, read once, and the body,
//! - `origin`: where a request comes from,
//! - `service`: which service a path asks for,
//! - [`reply`]: the status, the headers and the lines that the client gets,
//! - `permit`: the right to make a large reply,
//! - [`log`]: the lines that the operator and fail2ban get.

pub mod log;
pub(crate) mod origin;
pub(crate) mod permit;
pub mod reply;
pub mod request;
pub(crate) mod service;

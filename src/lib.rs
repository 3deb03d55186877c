//! The update endpoint of a dynamic-DNS system: Apache runs it once per request, dnsmasq serves
//! the names that it stores.
//!
//! The modules, in the order in which a request flows:
//!
//! 1. [`config`]: the operator's settings,
//! 2. [`endpoint`] and [`request`]: the CGI environment and body,
//! 3. [`claim`] and [`dyndns2`]: who says what ([`host`], [`addresses`], [`stamp`], [`signature`]),
//! 4. [`credentials`]: the user that the claim names,
//! 5. [`auth`]: signature, hosts and clock; makes the claim authentic updates, one for each host,
//! 6. [`update`]: stores them: [`lock`], [`state`] (with [`record`], [`lookup`] and [`php_json`]),
//!    [`decide`], [`mark`], [`expiry`], [`hosts`], [`replace`]; [`sealed`] and [`index`] are the fast
//!    path through large files,
//! 7. [`restart`]: makes dnsmasq read the hosts file ([`command`]), detached from the request,
//! 8. [`reply`]: the answer; [`error`] and [`log`] for what went wrong.

#![forbid(unsafe_code)]

pub mod addresses;
pub mod auth;
pub mod claim;
pub mod command;
pub mod config;
pub mod credentials;
pub mod decide;
pub mod dyndns2;
pub mod endpoint;
pub mod error;
pub mod expiry;
pub mod host;
pub mod hosts;
pub mod index;
pub mod lock;
pub mod log;
pub mod lookup;
pub mod mark;
pub mod php_json;
pub mod record;
pub mod replace;
pub mod reply;
pub mod request;
pub mod restart;
pub mod sealed;
pub mod signature;
pub mod stamp;
pub mod state;
pub mod update;

use std::ffi::OsString;
use std::io::{self, Read};

use chrono::{DateTime, Utc};

use crate::auth::authenticate;
use crate::claim::Claim;
use crate::config::Config;
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::log::Who;
use crate::reply::{Answers, Reply};
use crate::request::Request;

/// Answers one CGI request. `variable` looks up the environment, `body` is standard input.
pub fn run(
    variable: impl Fn(&str) -> Option<OsString>,
    body: impl Read,
    now: DateTime<Utc>,
) -> Reply {
    let mut who = Who::default();
    let mut body = body.take(request::body_length(&variable));
    let endpoint = Endpoint::of(&variable);
    let outcome = serve(endpoint, &variable, &mut body, now, &mut who);
    let reply = Reply::new(endpoint, &outcome);
    log::outcome(&who, outcome);
    // mod_cgid sends the body through a socket. To leave some of it there would reset the
    // connection, and the reply would be lost.
    let _ = io::copy(&mut body, &mut io::sink());
    reply
}

/// The story of a request. `who` learns who asks as soon as it is known, for the log.
fn serve(
    endpoint: Endpoint,
    variable: &impl Fn(&str) -> Option<OsString>,
    body: impl Read,
    now: DateTime<Utc>,
    who: &mut Who,
) -> Result<Answers, Error> {
    let address = request::remote_address(variable)?;
    who.address = Some(address);
    let config = Config::load(variable(config::VARIABLE))?;
    let request = Request::read(variable, body)?;
    let claim = match endpoint {
        Endpoint::Dyndns2 => dyndns2::claim(&request, variable, address, config.dyndns2, now)?,
        Endpoint::Update | Endpoint::Address | Endpoint::Status => {
            Claim::parse(&request, address, config.time_zone)?
        }
    };
    who.user = Some(claim.user.clone());
    who.hosts = claim.hosts.iter().map(|host| host.as_str().to_owned()).collect();
    let credentials = Credentials::open(&config)?;
    let user = credentials.find(&claim.user)?;
    let updates = authenticate(claim, user, now, config.window)?;
    let answers = update::store(&config, updates, &credentials, now)?;
    if answers.iter().any(Result::is_ok) {
        restart::if_pending(&config);
    }
    Ok(answers)
}

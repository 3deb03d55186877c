//! The update endpoint of a dynamic-DNS system: Apache runs it once per request, dnsmasq serves
//! the names that it stores.
//!
//! The modules, in the order in which a request flows:
//!
//! 1. [`endpoint`]: what the request is for; [`config`]: the operator's settings,
//! 2. [`request`]: the CGI environment and body,
//! 3. [`claim`] and [`dyndns2`]: who says what ([`host`], [`addresses`], [`stamp`]),
//! 4. [`credentials`]: the user that the claim names,
//! 5. [`auth`]: [`signature`], hosts and clock; makes the claim authentic updates, one for each host,
//! 6. [`update`]: stores them: [`lock`], [`state`] (with [`record`], [`lookup`] and [`php_json`]),
//!    [`decide`], [`pending`], [`expiry`], [`hosts`], [`replace`]; [`seal`], [`sealed`] and [`index`] are the fast
//!    path through large files,
//! 7. [`restarter`]: makes dnsmasq read the hosts file ([`command`]), detached from the request,
//! 8. [`reply`]: the answer; [`error`] and [`log`] for what went wrong.
//!
//! Beside updates, [`endpoint`] knows the client's own address and the [`status`] page, which only look.

pub mod config;
pub mod fault;
pub mod http;
pub mod protocol;
pub mod publish;
pub mod status;
pub mod store;
mod text;
pub mod update;

use std::ffi::OsString;
use std::io::{self, Read};

use chrono::{DateTime, Utc};

use crate::config::Config;
use crate::http::endpoint::{Endpoint, Protocol};
use crate::http::log::Who;
use crate::http::reply::Reply;
use crate::http::request::{Reading, Request};
use crate::http::{log, request};
use crate::protocol::answer::Answers;
use crate::protocol::answer::{Error, Refusal};
use crate::protocol::auth::authenticate;
use crate::protocol::claim::Claim;
use crate::protocol::dyndns2;
use crate::publish::restarter;
use crate::status::{Format, Status};
use crate::store::credentials::Credentials;

/// Answers one CGI request. `variable` looks up the environment, `body` is standard input.
pub fn run(
    variable: impl Fn(&str) -> Option<OsString>,
    body: impl Read,
    now: DateTime<Utc>,
) -> Reply {
    let mut who = Who::default();
    let mut body = body.take(request::body_length(&variable));
    let reply = match Endpoint::of(&variable) {
        Endpoint::Update(protocol) => {
            let outcome = serve(protocol, &variable, &mut body, now, &mut who);
            let reply = Reply::to_update(protocol, &outcome);
            log::outcome(&who, outcome);
            Ok(reply)
        }
        Endpoint::Address => show_address(&variable, &mut who),
        Endpoint::Status => show_status(&variable, now, &mut who),
    };
    let reply = reply.unwrap_or_else(|error| {
        log::error(&who, &error);
        Reply::from(&error)
    });
    // mod_cgid sends the body through a socket. To leave some of it there would reset the
    // connection, and the reply would be lost.
    let _ = io::copy(&mut body, &mut io::sink());
    reply
}

/// The story of an update. `who` learns who asks as soon as it is known, for the log.
fn serve(
    protocol: Protocol,
    variable: &impl Fn(&str) -> Option<OsString>,
    body: impl Read,
    now: DateTime<Utc>,
    who: &mut Who,
) -> Result<Answers, Error> {
    let address = request::remote_address(variable)?;
    who.address = Some(address);
    let config = Config::load(variable(config::VARIABLE))?;
    let request = Request::read(variable, body)?;
    let claim = match protocol {
        Protocol::Signed => Claim::parse(&request, address, config.store.time_zone)?,
        Protocol::Dyndns2 => {
            dyndns2::claim(&request, variable, address, config.protocol.dyndns2, now)?
        }
    };
    who.user = Some(claim.user.clone());
    who.hosts = claim.hosts.iter().map(|host| host.as_str().to_owned()).collect();
    let credentials = Credentials::open(&config.store)?;
    let user = credentials.find(&claim.user)?;
    let updates = authenticate(claim, user, now, config.protocol.window)?;
    let answers = update::store(&config, updates, &credentials, now)?;
    if answers.iter().any(Result::is_ok) {
        restarter::if_pending(&config).iter().for_each(log::notice);
    }
    Ok(answers)
}

/// The client's own address, which a client behind NAT cannot know.
fn show_address(
    variable: &impl Fn(&str) -> Option<OsString>,
    who: &mut Who,
) -> Result<Reply, Error> {
    let address = request::remote_address(variable)?;
    who.address = Some(address);
    let reading = Reading::of(variable)?;
    Ok(Reply::address(address).for_reading(reading))
}

/// The status page. It takes no lock, writes nothing, and starts no restart.
fn show_status(
    variable: &impl Fn(&str) -> Option<OsString>,
    now: DateTime<Utc>,
    who: &mut Who,
) -> Result<Reply, Error> {
    who.address = Some(request::remote_address(variable)?);
    let config = Config::load(variable(config::VARIABLE))?;
    if !config.status.page {
        return Err(Refusal::NoPage.into());
    }
    let reading = Reading::of(variable)?;
    let format = Format::wanted(&variable("HTTP_ACCEPT").unwrap_or_default().to_string_lossy());
    let page = match Status::look(&config, now) {
        Ok(status) => format.page(&status),
        Err(fault) => {
            log::error(who, &fault.into());
            format.page_of_fault()
        }
    };
    Ok(page.for_reading(reading))
}

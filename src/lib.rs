//! The update endpoint of a dynamic-DNS system. Clients send their addresses, and dnsmasq serves
//! what we store.
//!
//! A [`Request`] comes in, and an [`Output`] goes out: the reply, and lines for the log. This file
//! tells the story in between. It does not know how the request reached us; `main.rs` does.
//!
//! The rooms of the house. A room may use those below it in this list, and none above:
//!
//! - [`fastcgi`]: takes requests through a socket, in a process that stays,
//! - [`update`]: stores authentic updates,
//! - [`status`]: the status page, which changes nothing,
//! - [`http`]: the request as the web server hands it over, the reply, the log,
//! - [`publish`]: makes name servers serve a change, without letting the client wait,
//! - [`store`]: state, hosts file and credentials,
//! - [`config`]: the operator's settings,
//! - [`protocol`]: what a request says, and whether to believe it; no files, no clock,
//! - [`fault`]: what can fail on our side,
//! - [`text`]: how texts and durations are shown to people.

pub mod config;
pub mod fastcgi;
pub mod fault;
pub mod http;
pub mod protocol;
pub mod publish;
pub mod status;
pub mod store;
pub mod text;
mod update;

use std::io::Read;

use chrono::{DateTime, Utc};

use crate::config::Config;
use crate::fault::Fault;
use crate::http::log::{self, Who};
use crate::http::permit::Permit;
use crate::http::reply::{Output, Reply};
use crate::http::request::Request;
use crate::http::service::Service;
use crate::protocol::answer::{Dialect, Error};
use crate::protocol::auth::authenticate;
use crate::protocol::claim::Claim;
use crate::protocol::dyndns2;
use crate::protocol::form::Form;
use crate::protocol::host::HostName;
use crate::publish::restarter;
use crate::status::Status;
use crate::status::format::Format;
use crate::status::view::View;
use crate::status::viewer::Viewer;
use crate::store::credentials::Credentials;
use crate::update::Stored;

/// Answers one request, whichever way it reached us. Reads no more of the body than a form needs.
pub fn run(request: &Request, body: &mut dyn Read, now: DateTime<Utc>) -> Output {
    let output = match request.service {
        Service::Update(dialect) => Ok(update_hosts(dialect, request, body, now)),
        Service::Address => show_address(request),
        Service::Status => show_status(request, now),
    };
    output.unwrap_or_else(|error| {
        let who = Who::of(request, None);
        let reply = Reply::to_failure(Dialect::Signed, &error).for_method(request.method);
        Output { reply, log: log::of_failure(&who, &error), permit: None }
    })
}

/// The story of an update.
fn update_hosts(
    dialect: Dialect,
    request: &Request,
    body: &mut dyn Read,
    now: DateTime<Utc>,
) -> Output {
    let understood = understand(dialect, request, body, now);
    let claim = understood.as_ref().ok().map(|(_, claim)| claim);
    let who = Who::of(request, claim);
    // For users who have proved who they are: nobody else tells the log more than a refusal.
    let left_out = claim.map(|claim| log::of_left_out(&who, &claim.left_out)).unwrap_or_default();
    let stored = understood.and_then(|(config, claim)| carry_out(&config, &claim, now));
    let (outcome, notices) = match stored {
        Ok(Stored { answers, notices }) => (Ok(answers), log::of_notices(&notices) + &left_out),
        Err(error) => (Err(error), String::new()),
    };
    let log = notices + &log::of_update(&who, &outcome);
    Output { reply: Reply::to_update(dialect, &outcome), log, permit: None }
}

/// Finds out who says what. Nothing is believed yet.
fn understand(
    dialect: Dialect,
    request: &Request,
    body: &mut dyn Read,
    now: DateTime<Utc>,
) -> Result<(Config, Claim), Error> {
    let sender = request.sender()?;
    let config = Config::load(request.config_file.clone())?;
    let private = config.protocol.private;
    let body = request.form_body(body)?;
    let form = Form::parse(request.form_query()?, &body);
    let claim = match dialect {
        Dialect::Signed => Claim::parse(&form, sender, config.store.time_zone, private)?,
        Dialect::Dyndns2 => {
            let authorization = request.authorization.as_str();
            let is_https = request.is_https;
            let request = dyndns2::Request { form, authorization, is_https, sender };
            dyndns2::claim(&request, config.protocol.dyndns2, private, now)?
        }
    };
    Ok((config, claim))
}

/// How often a request is verified anew because the credentials have changed meanwhile.
const MOST_TRIES: usize = 10;

/// Verifies the claim, stores what it asks for, and starts a restarter if one is needed.
fn carry_out(config: &Config, claim: &Claim, now: DateTime<Utc>) -> Result<Stored, Error> {
    let hosts: Vec<HostName> = claim.updates.iter().map(|(host, _)| host.clone()).collect();
    for _ in 0..MOST_TRIES {
        let mut credentials = Credentials::open(&config.store)?;
        let user = credentials.find(&claim.user, &hosts)?;
        let updates = authenticate(claim, user, now, config.protocol.window)?;
        let stored = update::store(config, Some(credentials.validity), updates, now)?;
        // Somebody has edited the credentials before it was our turn.
        let Some(mut stored) = stored else { continue };
        if stored.answers.iter().any(Result::is_ok) {
            stored.notices.extend(restarter::if_pending(config));
            credentials.write_index(&config.store, now);
        }
        return Ok(stored);
    }
    let reason = "is edited again and again: the next request tries again";
    Err(Fault::new(config.store.credentials.display(), reason).into())
}

/// The client's own address. A client behind NAT has no other way to learn it.
fn show_address(request: &Request) -> Result<Output, Error> {
    let address = request.sender()?;
    let method = request.reading()?;
    let reply = Reply::address(address).for_method(method);
    Ok(Output { reply, log: String::new(), permit: None })
}

/// The status page. It takes no lock, writes nothing, and starts no restarter.
fn show_status(request: &Request, now: DateTime<Utc>) -> Result<Output, Error> {
    let sender = request.sender()?;
    let config = Config::load(request.config_file.clone())?;
    let viewer = Viewer::admit(sender, &request.origin, &config.status)?;
    let method = request.reading()?;
    let (format, view) = (Format::wanted(&request.accept), View::parse(&request.query));
    let permit = Permit::take();
    let status = match &permit {
        Some(_) => Status::look(&viewer, &config, now),
        None => Err(Fault::new("status page", "others are being shown: ask again in a moment")),
    };
    let (page, log) = match status {
        Ok(status) => (format.page(&status, &view), String::new()),
        Err(fault) => {
            let who = Who::of(request, None);
            (format.page_of_fault(&view), log::of_failure(&who, &fault.into()))
        }
    };
    Ok(Output { reply: page.for_method(method), log, permit })
}

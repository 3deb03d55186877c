//! The log: lines that the web server puts into its error log.
//!
//! Programs such as fail2ban read them, so their format is stable:
//!
//! ```text
//! ddns-cgi: WORD address=ADDRESS user="USER" host="HOST" file="FILE" reason="REASON"
//! ```
//!
//! WORD belongs to the refusal or fault, or is `notice`. Unknown fields are left out. If a request
//! for several hosts fails as a whole, `host` lists them all, with commas between. Text in quotes
//! is ASCII with Rust's escapes: nothing that a client sends can end a field or a line. Text that
//! is too long for the log of a web server ends in `...`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::IpAddr;

use crate::fault::Fault;
use crate::http::request::Request;
use crate::protocol::answer::{Answer, Answers, Error, Outsider, Refusal, Unproven};
use crate::protocol::claim::Claim;
use crate::protocol::form::{Part, Problem};
use crate::protocol::named::LeftOut;
use crate::protocol::stamp::{Stamp, TimeZone};
use crate::text::push_visible;

/// The longest text of a field, in bytes as we log it. A list of hosts can have 8192 bytes. Apache
/// breaks such a line in two, and nginx cuts it off after 2048 bytes, its own words included:
/// fail2ban's filter would not match it.
const MAX_FIELD: usize = 768;

/// Who asks, as far as we know. User and hosts are what the client claims.
#[derive(Debug, Default)]
pub(crate) struct Who {
    address: Option<IpAddr>,
    user: Option<String>,
    hosts: Vec<String>,
    /// Whether Apache may have kept the password from us.
    is_header_withheld: bool,
}

impl Who {
    /// What request and claim tell. There is no claim if the request is not understood.
    pub(crate) fn of(request: &Request, claim: Option<&Claim>) -> Self {
        let updates = claim.map(|claim| claim.updates.as_slice()).unwrap_or_default();
        Self {
            address: request.remote_address,
            user: claim.map(|claim| claim.user.clone()),
            hosts: updates.iter().map(|(host, _)| host.as_str().to_owned()).collect(),
            is_header_withheld: request.is_header_withheld,
        }
    }
}

/// Writes lines to standard error, each in one write. Otherwise the lines of simultaneous requests
/// would mix. If standard error is gone, there is nobody left to tell.
pub fn write(lines: &str) {
    for line in lines.split_inclusive('\n') {
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

/// Lines about what the operator should know even though we accepted the request.
#[must_use]
pub fn of_notices(faults: &[Fault]) -> String {
    faults.iter().map(|fault| fault_line("ddns-cgi: notice".to_owned(), fault)).collect()
}

/// Lines about the addresses that an accepted request names in vain.
#[must_use]
pub(crate) fn of_left_out(who: &Who, left_out: &[LeftOut]) -> String {
    let line = |LeftOut { part, text, why }: &LeftOut| {
        let mut line = start("notice", who, &who.hosts.join(","));
        field(&mut line, "reason", &format!("{part} {text} is left out: it {why}"));
        line + "\n"
    };
    left_out.iter().map(line).collect()
}

/// Says why an update, or part of it, was refused. Empty if nothing was.
pub(crate) fn of_update(who: &Who, outcome: &Result<Answers, Error>) -> String {
    match outcome {
        Err(error) => of_failure(who, error),
        Ok(answers) => {
            let refused = |(host, answer): (&String, &Answer)| {
                answer.as_ref().err().map(|refusal| refusal_line(who, host, refusal))
            };
            who.hosts.iter().zip(answers).filter_map(refused).collect()
        }
    }
}

/// Says why a request was not carried out.
pub(crate) fn of_failure(who: &Who, error: &Error) -> String {
    let hosts = who.hosts.join(",");
    match error {
        Error::Refusal(refusal) => refusal_line(who, &hosts, refusal),
        Error::Fault(fault) => fault_line(start(error.word(), who, &hosts), fault),
    }
}

fn refusal_line(who: &Who, hosts: &str, refusal: &Refusal) -> String {
    let mut line = start(refusal.word(), who, hosts);
    field(&mut line, "reason", &explain(refusal, who));
    line + "\n"
}

fn fault_line(mut line: String, fault: &Fault) -> String {
    field(&mut line, "file", &fault.subject);
    field(&mut line, "reason", &fault.reason);
    line + "\n"
}

/// The start of a line: its word, and who asks.
fn start(word: &str, who: &Who, hosts: &str) -> String {
    let mut line = format!("ddns-cgi: {word}");
    if let Some(address) = who.address {
        let _ = write!(line, " address={address}");
    }
    if let Some(user) = &who.user {
        field(&mut line, "user", user);
    }
    if !hosts.is_empty() {
        field(&mut line, "host", hosts);
    }
    line
}

fn field(line: &mut String, name: &str, value: &str) {
    let _ = write!(line, " {name}=\"");
    let end = line.len() + MAX_FIELD;
    for c in value.chars() {
        if line.len() >= end {
            line.push_str("...");
            break;
        }
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            _ => push_visible(line, c),
        }
    }
    line.push('"');
}

fn explain(refusal: &Refusal, who: &Who) -> Cow<'static, str> {
    match refusal {
        Refusal::Method => "only GET and POST are served".into(),
        Refusal::ReadOnly => "only GET and HEAD are served here".into(),
        Refusal::NoPage => "the status page is off: see key \"status_page\"".into(),
        Refusal::Form(Problem::Unusable(why), part) => format!("unusable {part}: it {why}").into(),
        Refusal::Form(Problem::Conflicting, Part::Connection) => {
            "the request leaves the address as it is, and names no other".into()
        }
        Refusal::Form(problem, part) => format!("{problem} {part}").into(),
        Refusal::Stray(name) => format!(
            "parameter \"{name}\" has an address, but no meaning here: \
             PROTOCOL.md has the names of the parameters"
        )
        .into(),
        Refusal::Audience(outsider) => explain_outsider(*outsider),
        Refusal::Identity(unproven) => explain_identity(unproven, who),
        Refusal::Disabled => "dyndns2 is off in the configuration".into(),
        Refusal::Insecure => {
            "dyndns2 without HTTPS, which key \"dyndns2\" of the configuration forbids".into()
        }
        Refusal::Host => "the credentials do not list this host for this user".into(),
        Refusal::Stale { seconds } => {
            let side = if *seconds < 0 { "behind" } else { "ahead" };
            format!("the client's clock is {} s {side}", seconds.unsigned_abs()).into()
        }
        Refusal::NoIpv6 => "the request has only a prefix for this host, and no IPv6 address of \
             it is stored: let it report itself once, or run ddnsctl host add USER HOST --ip6 \
             IDENTIFIER"
            .into(),
        Refusal::Replay { last, ahead } => explain_replay(*last, *ahead).into(),
    }
}

fn explain_outsider(outsider: Outsider) -> Cow<'static, str> {
    match outsider {
        Outsider::Unlisted => {
            "the status page is for this machine, and for those that key \"status_for\" lists"
                .into()
        }
        Outsider::Proxied(header) => format!(
            "header {header} shows that a proxy passed this on: let the web server take the \
             client's address from the proxy, and list it in key \"status_for\""
        )
        .into(),
        Outsider::Unchecked => "the web server names a user, but sets no AUTH_TYPE: let it check \
             the password, and set AUTH_TYPE where it does"
            .into(),
    }
}

fn explain_identity(unproven: &Unproven, who: &Who) -> Cow<'static, str> {
    match unproven {
        Unproven::UnknownUser => "unknown user".into(),
        Unproven::BrokenUser(why) => {
            format!("the user's entry in the credentials is unusable: {why}").into()
        }
        Unproven::WrongHash => "wrong hash".into(),
        Unproven::Downgrade => {
            "right key, but the user's entry in the credentials demands protocol 2".into()
        }
        Unproven::WrongPassword => "wrong password".into(),
        Unproven::NoPassword if who.is_header_withheld => {
            "no user and password; if the client sends them, Apache lacks CGIPassAuth On".into()
        }
        Unproven::NoPassword => "no user and password".into(),
        Unproven::LoginInForm => "user and password in the query, which takes HTTPS and key \
             \"login_in_query\" of the configuration"
            .into(),
    }
}

fn explain_replay(last: Stamp, ahead: Option<i64>) -> String {
    let last = last.format(TimeZone::Utc);
    match ahead {
        None => format!("not newer than the last accepted stamp, {last} UTC"),
        Some(seconds) => format!(
            "the stored stamp, {last} UTC, is {seconds} s in the future: \
             correct the clock, or the host's \"update\" in the state"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::addresses::Addresses;
    use crate::protocol::answer::Accepted;

    #[test]
    fn a_line_has_the_documented_fields() {
        let who = Who {
            address: Some("192.0.2.7".parse().unwrap()),
            user: Some("user1".into()),
            hosts: vec!["host1.example".into()],
            ..Who::default()
        };
        assert_eq!(
            of_failure(&who, &Refusal::Identity(Unproven::WrongHash).into()),
            "ddns-cgi: badauth address=192.0.2.7 user=\"user1\" host=\"host1.example\" \
             reason=\"wrong hash\"\n"
        );
        assert_eq!(
            of_failure(&Who::default(), &Fault::new("/f", "broken").into()),
            "ddns-cgi: 911 file=\"/f\" reason=\"broken\"\n"
        );
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let replay = |ahead| Refusal::Replay { last: Stamp::NEVER, ahead };
        for (refusal, reason) in [
            (Refusal::Method, "only GET and POST"),
            (Refusal::ReadOnly, "only GET and HEAD"),
            (Refusal::NoPage, "the status page is off"),
            (Refusal::Form(Problem::Missing, Part::Id), "missing id"),
            (Refusal::Form(Problem::Unusable("is odd"), Part::MyIp), "unusable myip: it is odd"),
            (Refusal::Stray("v4".into()), r#"parameter \"v4\" has an address"#),
            (Refusal::Identity(Unproven::UnknownUser), "unknown user"),
            (Refusal::Identity(Unproven::LoginInForm), r#"takes HTTPS and key \"login_in_query\""#),
            (Refusal::NoIpv6, "ddnsctl host add USER HOST --ip6"),
            (Refusal::Identity(Unproven::BrokenUser("no key")), "is unusable: no key"),
            (Refusal::Identity(Unproven::WrongPassword), "wrong password"),
            (Refusal::Identity(Unproven::Downgrade), "demands protocol 2"),
            (Refusal::Audience(Outsider::Unlisted), r#"key \"status_for\" lists"#),
            (Refusal::Audience(Outsider::Proxied("Via")), "header Via shows"),
            (Refusal::Audience(Outsider::Unchecked), "sets no AUTH_TYPE"),
            (Refusal::Identity(Unproven::NoPassword), "no user and password\""),
            (Refusal::Disabled, "dyndns2 is off"),
            (Refusal::Insecure, "without HTTPS"),
            (Refusal::Stale { seconds: 16 }, "is 16 s ahead"),
            (replay(None), "not newer than the last accepted stamp, 1970-01-01 00:00:00 UTC"),
            (replay(Some(99)), "is 99 s in the future"),
        ] {
            let line = of_failure(&Who::default(), &refusal.into());
            assert!(line.contains(reason), "{reason}: {line}");
        }
        let notice = of_notices(&[Fault::new("/f", "look"), Fault::new("/g", "look")]);
        assert_eq!(notice.matches("ddns-cgi: notice file=").count(), 2, "{notice}");
    }

    #[test]
    fn an_address_in_vain_is_a_notice_with_its_reason() {
        let who = Who { hosts: vec!["a.example".into(), "b.example".into()], ..Who::default() };
        let left_out = [LeftOut { part: Part::MyIp, text: "0.0.0.0".into(), why: "is odd" }];
        assert_eq!(
            of_left_out(&who, &left_out),
            "ddns-cgi: notice host=\"a.example,b.example\" \
             reason=\"myip 0.0.0.0 is left out: it is odd\"\n"
        );
    }

    #[test]
    fn only_under_apache_does_a_line_speak_of_apache() {
        for is_header_withheld in [true, false] {
            let who = Who { is_header_withheld, ..Who::default() };
            let line = of_failure(&who, &Refusal::Identity(Unproven::NoPassword).into());
            assert_eq!(line.contains("Apache lacks CGIPassAuth On"), is_header_withheld, "{line}");
        }
    }

    #[test]
    fn untrusted_text_cannot_forge_a_field_or_a_line() {
        let who = Who { user: Some("x\" address=1\nddns-cgi: é".into()), ..Who::default() };
        let line = of_failure(&who, &Refusal::Host.into());
        assert!(line.contains(r#"user="x\" address=1\nddns-cgi: \u{e9}""#), "{line}");
        assert!(line.is_ascii() && line.lines().count() == 1);
    }

    #[test]
    fn no_list_of_hosts_makes_a_line_that_apache_breaks_or_nginx_cuts_off() {
        let user = "\u{e9}".repeat(127);
        let who = Who {
            address: Some("2001:db8::1".parse().unwrap()),
            user: Some(user.clone()),
            hosts: vec!["a".repeat(253); 32],
            ..Who::default()
        };
        let line = of_failure(&who, &Refusal::Host.into());
        assert!(line.len() < 1900, "{}", line.len());
        assert!(line.contains(&format!("user=\"{}\" host=\"aaa", "\\u{e9}".repeat(127))), "{line}");
        assert!(line.contains("a...\" reason=\"the credentials do not"), "{line}");
    }

    #[test]
    fn each_refused_host_has_a_line_of_its_own() {
        let who = Who { hosts: ["a", "b", "c"].map(String::from).into(), ..Who::default() };
        let accepted = Accepted::Good(Addresses::REMOVED);
        let answers = vec![Err(Refusal::Host), Ok(accepted), Err(Refusal::Stale { seconds: -16 })];
        assert_eq!(
            of_update(&who, &Ok(answers)),
            "ddns-cgi: nohost host=\"a\" reason=\"the credentials do not list this host for this \
             user\"\nddns-cgi: stale host=\"c\" reason=\"the client's clock is 16 s behind\"\n"
        );
        assert_eq!(of_update(&who, &Ok(vec![Ok(accepted)])), "");
    }
}

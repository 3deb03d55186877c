//! The log: one line on standard error, which Apache puts into its error log.
//!
//! The format is stable, for fail2ban and its like:
//!
//! ```text
//! ddns-cgi: WORD address=ADDRESS user="USER" host="HOST" file="FILE" reason="REASON"
//! ```
//!
//! WORD is that of the [refusal or fault](Error::word), or `notice`. A field that is not known is left
//! out; of a request for several hosts as a whole, `host` has all of them, with commas between. Text in
//! quotes is ASCII with Rust's escapes, so that nothing that a client sends ends a field or a line. A text that
//! is too long for a line of Apache's ends in `...`.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::IpAddr;

use crate::fault::Fault;
use crate::protocol::answer::Answers;
use crate::protocol::answer::{Error, Refusal, Unproven};
use crate::protocol::stamp::Zone;

/// The longest text of a field, in bytes as it is logged: longer than any user's name. Apache breaks lines of 8192 bytes
/// in two, and a list of hosts can be as long.
const MAX_FIELD: usize = 1024;

/// Who asks, as far as it is known. User and host are what the client claims.
#[derive(Debug, Default)]
pub struct Who {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The user.
    pub user: Option<String>,
    /// The hosts.
    pub hosts: Vec<String>,
}

/// Logs why a request was not carried out, or for which of its hosts.
pub fn outcome(who: &Who, outcome: Result<Answers, Error>) {
    match outcome {
        Err(failed) => error(who, &failed),
        Ok(answers) => {
            for (host, answer) in who.hosts.iter().zip(answers) {
                if let Err(refusal) = answer {
                    let who = Who { user: who.user.clone(), hosts: vec![host.clone()], ..*who };
                    error(&who, &refusal.into());
                }
            }
        }
    }
}

/// Logs why a request was not carried out.
pub fn error(who: &Who, error: &Error) {
    write(&error_line(who, error));
}

/// Logs something that the operator should know although the request was accepted.
pub fn notice(fault: &Fault) {
    let mut line = "ddns-cgi: notice".to_owned();
    field(&mut line, "file", Some(&fault.subject));
    field(&mut line, "reason", Some(&fault.reason));
    write(&line);
}

fn error_line(who: &Who, error: &Error) -> String {
    let mut line = format!("ddns-cgi: {}", error.word());
    if let Some(address) = who.address {
        let _ = write!(line, " address={address}");
    }
    field(&mut line, "user", who.user.as_deref());
    let hosts = who.hosts.join(",");
    field(&mut line, "host", Some(hosts.as_str()).filter(|hosts| !hosts.is_empty()));
    match error {
        Error::Refusal(refusal) => field(&mut line, "reason", Some(&explain(refusal))),
        Error::Fault(fault) => {
            field(&mut line, "file", Some(&fault.subject));
            field(&mut line, "reason", Some(&fault.reason));
        }
    }
    line
}

fn field(line: &mut String, name: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    let _ = write!(line, " {name}=\"");
    let end = line.len() + MAX_FIELD;
    for c in value.chars() {
        if line.len() >= end {
            line.push_str("...");
            break;
        }
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            ' '..='~' => line.push(c),
            _ => line.extend(c.escape_default()),
        }
    }
    line.push('"');
}

/// One write, so that the lines of requests at the same time do not mix. Where standard error is
/// gone, so is the line: there is nobody left to tell.
fn write(line: &str) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

fn explain(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Method => "only GET and POST are served".to_owned(),
        Refusal::ReadOnly => "only GET and HEAD are served here".to_owned(),
        Refusal::NoPage => "the status page is off: see key \"status_page\"".to_owned(),
        Refusal::Form(problem, part) => format!("{problem} {part}"),
        Refusal::Identity(Unproven::UnknownUser) => "unknown user".to_owned(),
        Refusal::Identity(Unproven::BrokenUser(why)) => {
            format!("the user's entry in the credentials is unusable: {why}")
        }
        Refusal::Identity(Unproven::WrongHash) => "wrong hash".to_owned(),
        Refusal::Identity(Unproven::Downgrade) => {
            "right key, but the user's entry in the credentials demands protocol 2".to_owned()
        }
        Refusal::Identity(Unproven::WrongPassword) => "wrong password".to_owned(),
        Refusal::Identity(Unproven::NoPassword) => {
            "no user and password; if the client sends them, Apache lacks CGIPassAuth On".to_owned()
        }
        Refusal::Disabled => "dyndns2 is off in the configuration".to_owned(),
        Refusal::Insecure => {
            "dyndns2 without HTTPS, against key \"dyndns2\" of the configuration".to_owned()
        }
        Refusal::Host => "the credentials do not list this host for this user".to_owned(),
        Refusal::Stale { seconds } if *seconds < 0 => {
            format!("the client's clock is {} s behind", seconds.unsigned_abs())
        }
        Refusal::Stale { seconds } => format!("the client's clock is {seconds} s ahead"),
        Refusal::Replay { last, ahead } => {
            let last = last.format(Zone::Utc);
            match ahead {
                None => format!("not newer than the last accepted stamp, {last} UTC"),
                Some(seconds) => format!(
                    "the stored stamp, {last} UTC, is {seconds} s in the future: \
                     correct the clock, or the host's \"update\" in the state"
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_documented_fields() {
        let who = Who {
            address: Some("192.0.2.7".parse().unwrap()),
            user: Some("user1".into()),
            hosts: vec!["host1.example".into()],
        };
        assert_eq!(
            error_line(&who, &Refusal::Identity(Unproven::WrongHash).into()),
            "ddns-cgi: badauth address=192.0.2.7 user=\"user1\" host=\"host1.example\" reason=\"wrong hash\""
        );
        assert_eq!(
            error_line(&Who::default(), &Fault::new("/f", "broken").into()),
            "ddns-cgi: 911 file=\"/f\" reason=\"broken\""
        );
    }

    #[test]
    fn untrusted_text_cannot_forge_a_field_or_a_line() {
        let who = Who { user: Some("x\" address=1\nddns-cgi: é".into()), ..Who::default() };
        let line = error_line(&who, &Refusal::Host.into());
        assert!(line.contains(r#"user="x\" address=1\nddns-cgi: \u{e9}""#), "{line}");
        assert!(line.is_ascii() && line.lines().count() == 1);
    }

    #[test]
    fn no_list_of_hosts_makes_a_line_that_apache_breaks() {
        let user = "\u{e9}".repeat(127);
        let who = Who {
            address: Some("2001:db8::1".parse().unwrap()),
            user: Some(user.clone()),
            hosts: vec!["a".repeat(253); 32],
        };
        let line = error_line(&who, &Refusal::Host.into());
        assert!(line.len() < 4096, "{}", line.len());
        assert!(line.contains(&format!("user=\"{}\" host=\"aaa", "\\u{e9}".repeat(127))), "{line}");
        assert!(line.contains("a...\" reason=\"the credentials do not"), "{line}");
    }
}

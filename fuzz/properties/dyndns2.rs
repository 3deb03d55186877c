//! dyndns2: what its clients send, to the reply.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::IpAddr;

use chrono::DateTime;
use ddns_cgi::http::reply::Reply;
use ddns_cgi::http::request::Request;
use ddns_cgi::protocol::addresses::{Action, Addresses};
use ddns_cgi::protocol::answer::{Dialect, Error, Refusal};
use ddns_cgi::protocol::auth::authenticate;
use ddns_cgi::protocol::claim::{Claim, MAX_ADDRESS, MAX_HOSTS, MAX_LIST, Proof};
use ddns_cgi::protocol::dyndns2::{self, Dyndns2};
use ddns_cgi::protocol::form::Form;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::protocol::stamp::{Clock, Stamp};
use ddns_cgi::store::credentials;

use super::request::{CREDENTIALS, WINDOW, has, is_distinct, is_host_name, line_of, the_value};

/// The words of a refusal.
const WORDS: [&str; 5] = ["badauth", "notfqdn", "numhost", "badagent", "insecure"];

/// A form becomes a claim over HTTPS, with a user and a password, where each parameter is there once at
/// most and in its form.
pub fn claim(forms: [&[u8]; 2], variable: impl Fn(&str) -> Option<OsString>, sender: IpAddr) {
    let now = DateTime::from_timestamp(1_795_410_000, 0).unwrap();
    let is_https = variable("HTTPS").is_some_and(|value| value == "on");
    let header = variable("HTTP_AUTHORIZATION").and_then(|header| header.into_string().ok());
    let list = the_value(forms, "hostname", MAX_LIST).unwrap_or_default();
    let names: Vec<&str> = list.split(',').collect();
    let is_list = names.iter().all(|name| is_host_name(name))
        && names.len() <= MAX_HOSTS
        && is_distinct(&names);
    let wanted = wanted(forms, sender);
    let request = Request::read(|name| match name {
        "PATH_INFO" => Some("/nic/update".into()),
        _ => variable(name),
    });
    let request = dyndns2::Request {
        form: Form::parse(forms[0], forms[1]),
        authorization: &request.authorization,
        is_https: request.is_https,
        sender,
    };
    match dyndns2::claim(&request, Dyndns2::Https, now) {
        Ok(claim) => {
            assert!(is_https, "a password counts over HTTPS alone");
            assert!(is_list, "a list of hosts that is none");
            assert_eq!(claim.hosts.iter().map(HostName::as_str).collect::<Vec<_>>(), names);
            assert_eq!(Some(claim.addresses), wanted);
            assert_eq!((Some(claim.stamp), claim.clock), (Stamp::at(now), Clock::Server));
            verification(claim, &header.unwrap());
        }
        Err(Error::Refusal(refusal)) => {
            match &refusal {
                Refusal::Insecure => assert!(!is_https),
                Refusal::Identity(_) => assert!(is_https),
                Refusal::Form(..) => assert!(is_https && !(is_list && wanted.is_some())),
                other => panic!("{other:?}"),
            }
            check_refusal(refusal);
        }
        Err(Error::Fault(fault)) => panic!("{fault}"),
    }
}

/// Only the user's key makes a claim believed, and the header has nothing else.
fn verification(claim: Claim, header: &str) {
    let Proof::Password(password) = &claim.proof else { panic!("a password") };
    let pair = [claim.user.as_bytes(), b":", password.as_bytes()].concat();
    let (scheme, code) = header.split_once(' ').unwrap();
    assert!(scheme.eq_ignore_ascii_case("basic"));
    assert_eq!(code.trim(), base64(&pair));
    let keys = [("user1", b"secretkey1"), ("user2", b"secretkey2")];
    let is_right =
        keys.iter().any(|(user, key)| claim.user == *user && password.as_bytes() == *key);
    let (now, count) = (DateTime::from_timestamp(1_795_410_000, 0).unwrap(), claim.hosts.len());
    let found = credentials::parse(CREDENTIALS, &claim.user, &claim.hosts).unwrap();
    match authenticate(claim, found, now, WINDOW) {
        Ok(updates) => assert!(is_right && updates.len() == count, "a wrong password is believed"),
        Err(refusal) => {
            assert!(!is_right && matches!(refusal, Refusal::Identity(_)));
            check_refusal(refusal);
        }
    }
}

/// What a request wants for the addresses; `None` if that cannot be understood.
fn wanted(forms: [&[u8]; 2], sender: IpAddr) -> Option<Addresses> {
    let text = |name, max| {
        if has(forms, name) { the_value(forms, name, max) } else { Some(String::new()) }
    };
    if text("offline", 16)?.eq_ignore_ascii_case("yes") {
        return Some(Addresses::REMOVED);
    }
    let (mut first, mut second) = (BTreeSet::new(), BTreeSet::new());
    for name in ["myip", "myipv6", "myip6"] {
        let list = text(name, 2 * MAX_ADDRESS + 1)?;
        for address in list.split(',').filter(|_| !list.is_empty()) {
            match address.parse() {
                Ok(IpAddr::V4(address)) if name == "myip" => drop(first.insert(address)),
                Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_none() => {
                    second.insert(address);
                }
                _ => return None,
            }
        }
    }
    if first.len() > 1 || second.len() > 1 {
        return None;
    }
    let (ipv4, ipv6) = (first.pop_first(), second.pop_first());
    if ipv4.is_none() && ipv6.is_none() {
        return Some(sender.into());
    }
    Some(Addresses {
        ipv4: ipv4.map_or(Action::Keep, Action::Set),
        ipv6: ipv6.map_or(Action::Keep, Action::Set),
    })
}

/// RFC 4648, 4.
fn base64(bytes: &[u8]) -> String {
    let alphabet: Vec<char> =
        ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    let group = |three: &[u8]| {
        let byte = |at: usize| usize::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digit = |at: usize| {
            if at > three.len() { '=' } else { alphabet[bits >> (18 - 6 * at) & 63] }
        };
        (0..4).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// The reply to a refusal is one of those in `PROTOCOL.md`.
fn check_refusal(refusal: Refusal) {
    let line = line_of(Reply::to_update(Dialect::Dyndns2, &Err(refusal.into())));
    assert!(WORDS.contains(&&*line), "{line}");
}

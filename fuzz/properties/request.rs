//! The request: environment and body, to the reply.

use std::ffi::OsString;
use std::io::{Cursor, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::ffi::OsStringExt;

use chrono::{DateTime, TimeDelta};
use ddns_cgi::auth::{self, Authentic, authenticate};
use ddns_cgi::credentials::{self, Lookup, User};
use ddns_cgi::error::{Error, Part, Refusal};
use ddns_cgi::host::HostName;
use ddns_cgi::reply::{Accepted, Reply};
use ddns_cgi::request::{self, Claim, MAX_FORM, MAX_USER, Request};
use ddns_cgi::stamp::{Stamp, Zone};
use url::form_urlencoded;

use super::is_printable;
use super::stamp::seconds;

/// The users that the requests are held against.
const CREDENTIALS: &str = r#"{
    "user1": {"id": ["host1.h.lohray.com", "Host2.h.lohray.com", "bad name"], "key": "secretkey1"},
    "user2": {"id": ["host3.h.lohray.com"], "key": "secretkey2"},
    "broken": {"id": []}
}"#;

/// The replay window in seconds.
const WINDOW: u64 = 15;

/// A whole request: lines `NAME=VALUE` of the environment, an empty line, the body. A NUL, which no
/// variable can hold, stands for a line feed in one.
pub fn request(input: &[u8]) {
    let end = input.windows(2).position(|pair| pair == b"\n\n").unwrap_or(input.len());
    let body = input.get(end + 2..).unwrap_or_default();
    let variables: Vec<(&[u8], Vec<u8>)> = input[..end]
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let equals = line.iter().position(|byte| *byte == b'=')?;
            let value =
                line[equals + 1..].iter().map(|byte| if *byte == 0 { b'\n' } else { *byte });
            Some((&line[..equals], value.collect()))
        })
        .collect();
    let bytes = |name: &str| {
        variables.iter().find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value.clone())
    };
    let variable = |name: &str| bytes(name).map(OsString::from_vec);

    let address = address_of(variable);
    let method = bytes("REQUEST_METHOD").unwrap_or_default();
    let query = bytes("QUERY_STRING").unwrap_or_default();
    let length = bytes("CONTENT_LENGTH").unwrap_or_default();
    let bound = request::body_length(variable);
    assert!(bound <= 1 << 20, "a body is bounded");

    let mut reader = Cursor::new(body);
    let read = Request::read(variable, (&mut reader).take(bound));
    let taken = usize::try_from(reader.position()).unwrap();
    assert!(taken as u64 <= bound, "no more of the body is read than its length");
    assert!(method == b"POST" || taken == 0, "the body of a GET is not read");
    let is_served = method == b"GET" || method == b"POST";
    assert_eq!(matches!(read, Err(Refusal::Method)), !is_served);
    match read {
        Err(refusal) => {
            assert!(method != b"GET" || query.len() > MAX_FORM, "a GET has its query alone");
            check_refusal(refusal);
        }
        Ok(request) => {
            assert!(query.len() <= MAX_FORM && taken <= MAX_FORM);
            if method == b"POST" && !length.is_empty() {
                assert_eq!(length, format!("{taken:0width$}", width = length.len()).as_bytes());
            }
            claim(&request, [&query, &body[..taken]], address);
        }
    }
}

/// The request's address, checked; that of this machine where there is none.
fn address_of(variable: impl Fn(&str) -> Option<OsString>) -> IpAddr {
    match request::remote_address(&variable) {
        Ok(address) => {
            let text = variable("REMOTE_ADDR").and_then(|text| text.into_string().ok());
            let told = text.and_then(|text| text.parse::<IpAddr>().ok());
            assert_eq!(told.map(|told| told.to_canonical()), Some(address));
            address
        }
        Err(fault) => {
            assert_eq!(line_of(&Reply::from(&Error::from(fault))), "911");
            Ipv4Addr::LOCALHOST.into()
        }
    }
}

/// A form becomes a claim where each of the four parameters is there once and in its form.
fn claim(request: &Request, forms: [&[u8]; 2], address: IpAddr) {
    let [user, id, time, hash] =
        [("user", MAX_USER), ("id", HostName::MAX), ("timeST", Stamp::MAX), ("hash", 40)]
            .map(|(name, max)| the_value(forms, name, max).unwrap_or_default());
    let is_well_formed = !user.is_empty()
        && is_host_name(&id)
        && Stamp::parse(&time, Zone::Utc).is_some()
        && hash.len() == 40
        && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
    match Claim::parse(request, address, Zone::Utc) {
        Ok(claim) => {
            assert!(is_well_formed, "a claim of a form that is none");
            assert_eq!([claim.user(), claim.host().as_str(), claim.time()], [&user, &id, &time]);
            assert_eq!(hex::encode(claim.hash()), hash.to_lowercase());
            assert_eq!(Some(claim.stamp()), Stamp::parse(&time, Zone::Utc));
            assert_eq!(claim.address(), address);
            verification(claim);
        }
        Err(refusal) => {
            assert!(!is_well_formed, "a good form is refused: {refusal:?}");
            let is_parameter = |part| !matches!(part, Part::Query | Part::Body);
            assert!(matches!(refusal, Refusal::Form(_, part) if is_parameter(part)));
            check_refusal(refusal);
        }
    }
}

/// The text of a parameter that is there once, is whole and not too long.
fn the_value(forms: [&[u8]; 2], name: &str, max: usize) -> Option<String> {
    let mut values = Vec::new();
    for pair in forms.into_iter().flat_map(|form| form.split(|byte| *byte == b'&')) {
        let has_whole_escapes = (0..pair.len()).filter(|at| pair[*at] == b'%').all(|at| {
            pair.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
        });
        let decoded = form_urlencoded::parse(pair).filter(|(key, _)| key == name);
        values.extend(decoded.map(|(_, value)| has_whole_escapes.then(|| value.into_owned())));
    }
    let is_odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
    match values.as_slice() {
        [Some(value)] if value.len() <= max && !value.contains(is_odd) => Some(value.clone()),
        _ => None,
    }
}

/// RFC 1123, 2.1, with underscores, and no IPv4 address.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        label.len() <= 63
            && !label.trim_matches('-').is_empty()
            && label.trim_matches('-') == label
            && label.chars().all(|c| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_'))
    };
    text.len() <= 253 && text.split('.').all(is_label) && text.parse::<Ipv4Addr>().is_err()
}

/// A claim is believed with the right hash alone; then host and clock decide.
fn verification(claim: Claim) {
    let (host, time, stamp) = (claim.host().clone(), claim.time().to_owned(), claim.stamp());
    let name = if claim.user() == "user2" { "user2" } else { "user1" };
    let own = user_of(name);
    let right = auth::hash(host.as_str(), &time, &own.key);
    let is_right = claim.user() == name && *claim.hash() == right;
    let moment = DateTime::from_timestamp(seconds(stamp), 0).unwrap();
    let found = credentials::parse(CREDENTIALS, claim.user()).unwrap();
    match authenticate(claim, found, moment, WINDOW) {
        Err(Refusal::Identity(_)) => assert!(!is_right),
        Ok(_) | Err(_) => assert!(is_right, "a wrong hash is believed"),
    }

    let listed = own.hosts.iter().find(|listed| listed.eq_ignore_ascii_case(host.as_str()));
    let at = |ahead: i64, hash: [u8; 20]| {
        let claim = signed(name, host.as_str(), &time, hash);
        let now = moment - TimeDelta::seconds(ahead);
        authenticate(claim, Lookup::Known(user_of(name)), now, WINDOW)
    };
    for ahead in [0, 15, -15, 16, -16] {
        match (at(ahead, right), listed) {
            (Ok(update), Some(listed)) => {
                assert!(ahead.unsigned_abs() <= WINDOW);
                check_update(&update, listed, stamp);
            }
            (Err(Refusal::Host), None) => check_refusal(Refusal::Host),
            (Err(Refusal::Stale { seconds }), Some(_)) => {
                assert_eq!(seconds, ahead);
                assert!(ahead.unsigned_abs() > WINDOW);
                check_refusal(Refusal::Stale { seconds });
            }
            (result, _) => panic!("{result:?}"),
        }
    }
    let mut wrong = right;
    wrong[usize::try_from(seconds(stamp).rem_euclid(20)).unwrap()] ^= 1;
    let refusal = at(0, wrong).unwrap_err();
    assert!(matches!(refusal, Refusal::Identity(_)), "a hash with one wrong bit is believed");
    check_refusal(refusal);
}

fn check_update(update: &Authentic, listed: &str, stamp: Stamp) {
    assert_eq!(update.host().as_str(), listed, "spelt as in the credentials");
    assert_eq!(update.stamp(), stamp);
    for accepted in [Accepted::Good(update.address()), Accepted::NoChange(update.address())] {
        line_of(&Reply::from(accepted));
    }
}

fn user_of(name: &str) -> User {
    match credentials::parse(CREDENTIALS, name) {
        Ok(Lookup::Known(user)) => user,
        _ => panic!("{name} is a user"),
    }
}

/// The claim of a POST whose form is made by the encoder of the URL standard.
fn signed(user: &str, id: &str, time: &str, hash: [u8; 20]) -> Claim {
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("hash", &hex::encode_upper(hash))
        .append_pair("timeST", time)
        .append_pair("id", id)
        .append_pair("user", user)
        .finish();
    let variable = |name: &str| match name {
        "REQUEST_METHOD" => Some("POST".into()),
        "CONTENT_TYPE" => Some("application/x-www-form-urlencoded; charset=UTF-8".into()),
        "CONTENT_LENGTH" => Some(form.len().to_string().into()),
        _ => None,
    };
    let request = Request::read(variable, form.as_bytes()).unwrap();
    Claim::parse(&request, Ipv4Addr::LOCALHOST.into(), Zone::Utc).unwrap()
}

/// The reply to a refusal is one of the README's.
fn check_refusal(refusal: Refusal) {
    let expected = match &refusal {
        Refusal::Method => "badmethod".to_owned(),
        Refusal::ReadOnly | Refusal::NoPage => panic!("it is no update"),
        Refusal::Form(problem, part) => format!("badrequest {problem} {part}"),
        Refusal::Identity(_) => "badauth".to_owned(),
        Refusal::Host => "nohost".to_owned(),
        Refusal::Stale { seconds } => format!("stale {seconds}"),
        Refusal::Replay { .. } => "replay".to_owned(),
    };
    assert_eq!(line_of(&Reply::from(&Error::from(refusal))), expected);
}

/// The one line of a reply, which is a CGI response of printable ASCII.
fn line_of(reply: &Reply) -> String {
    let text = String::from_utf8(reply.to_bytes()).unwrap();
    let (headers, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(headers.starts_with("Status: "));
    assert!(
        headers.split("\r\n").all(|line| is_printable(line) && line.contains(": ")),
        "{headers:?}"
    );
    let line = body.strip_suffix('\n').unwrap();
    assert!(is_printable(line), "{line:?}");
    line.to_owned()
}

//! The request: environment and body, to the reply.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{Cursor, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStringExt;

use chrono::{DateTime, TimeDelta};
use ddns_cgi::http::reply::Reply;
use ddns_cgi::http::request::Request;
use ddns_cgi::protocol::addresses::Wanted;
use ddns_cgi::protocol::answer::{Accepted, Dialect, Refusal};
use ddns_cgi::protocol::auth::{Authentic, authenticate};
use ddns_cgi::protocol::claim::{Claim, MAX_HOSTS, MAX_LIST, MAX_USER, Proof};
use ddns_cgi::protocol::form::{Form, MAX_FORM, Part};
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::protocol::signature::{hmac_sha256, sha1, text_of_protocol_1, text_of_protocol_2};
use ddns_cgi::protocol::special::PrivateAddresses;
use ddns_cgi::protocol::stamp::{Clock, Stamp, TimeZone};
use ddns_cgi::protocol::user::{Found, Key, User};
use ddns_cgi::store::credentials;
use url::form_urlencoded;

use super::named::{NONE, Named, Share, described, moved, with_addresses};
use super::stamp::seconds;
use super::{dyndns2, is_printable};

/// The users that the requests may name.
pub const CREDENTIALS: &str = r#"{
    "user1": {"id": ["host1.h.lohray.com", "Host2.h.lohray.com", "bad name"], "key": "secretkey1"},
    "user2": {"id": ["host3.h.lohray.com"], "key": "secretkey2"},
    "broken": {"id": []}
}"#;

/// The replay window in seconds.
pub const WINDOW: u64 = 15;

/// A whole request: lines `NAME=VALUE` of the environment, an empty line, the body. A NUL, which no
/// variable can contain, stands for a line feed within one.
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

    let request = Request::read(variable);
    let address = address_of(&request, variable);
    let method = bytes("REQUEST_METHOD").unwrap_or_default();
    let query = bytes("QUERY_STRING").unwrap_or_default();
    let length = bytes("CONTENT_LENGTH").unwrap_or_default();
    let bound = request.body_length.readable();
    assert!(bound <= 1 << 20, "a body is bounded");

    let mut reader = Cursor::new(body);
    let read = request.form_body((&mut reader).take(bound));
    let taken = usize::try_from(reader.position()).unwrap();
    assert!(taken as u64 <= bound, "no more of the body is read than its length");
    assert!(method == b"POST" || taken == 0, "the body of a GET is not read");
    let is_served = method == b"GET" || method == b"POST";
    assert_eq!(matches!(read, Err(Refusal::Method)), !is_served);
    match read.and_then(|body| Ok([request.form_query()?.to_vec(), body])) {
        Err(refusal) => {
            assert!(method != b"GET" || query.len() > MAX_FORM, "a GET has its query alone");
            check_refusal(refusal);
        }
        Ok(read) => {
            assert!(query.len() <= MAX_FORM && taken <= MAX_FORM);
            if method == b"POST" && !length.is_empty() {
                assert_eq!(length, format!("{taken:0width$}", width = length.len()).as_bytes());
            }
            assert_eq!(read, [&query, &body[..taken]]);
            for private in [PrivateAddresses::Allowed, PrivateAddresses::Refused] {
                claim([&query, &body[..taken]], address, private);
            }
            dyndns2::claim([&query, &body[..taken]], variable, address);
        }
    }
}

/// The request's address, checked; that of this machine where there is none.
fn address_of(request: &Request, variable: impl Fn(&str) -> Option<OsString>) -> IpAddr {
    match request.sender() {
        Ok(address) => {
            let text = variable("REMOTE_ADDR").and_then(|text| text.into_string().ok());
            let told = text.and_then(|text| text.parse::<IpAddr>().ok());
            assert_eq!(told.map(|told| told.to_canonical()), Some(address));
            address
        }
        Err(fault) => {
            assert_eq!(line_of(Reply::to_update(Dialect::Signed, &Err(fault.into()))), "911");
            Ipv4Addr::LOCALHOST.into()
        }
    }
}

/// A form becomes a claim where each parameter of its protocol is there once and in its form, and none
/// of the other.
fn claim(forms: [&[u8]; 2], sender: IpAddr, private: PrivateAddresses) {
    let is_2 = has(forms, "hmac");
    let (signature, digits, max_id, others) =
        if is_2 { ("hmac", 64, MAX_LIST, ["hash"; 2]) } else { ("hash", 40, 253, ["ip", "ip6"]) };
    let value = |name, max| the_value(forms, name, max);
    let user = value("user", MAX_USER).unwrap_or_default();
    let id = value("id", max_id).unwrap_or_default();
    let time = value("timeST", Stamp::MAX).unwrap_or_default();
    let code = value(signature, digits).unwrap_or_default();
    let names: Vec<&str> =
        id.split(',').map(|name| name.strip_suffix('.').unwrap_or(name)).collect();
    let is_well_formed = !user.is_empty()
        && names.iter().all(|name| is_host_name(name))
        && names.len() <= if is_2 { MAX_HOSTS } else { 1 }
        && is_distinct(&names)
        && Stamp::parse(&time, TimeZone::Utc).is_some()
        && code.len() == digits
        && code.bytes().all(|digit| digit.is_ascii_hexdigit())
        && !others.iter().any(|other| has(forms, other));
    let stray = if is_2 { stray(forms) } else { Vec::new() };
    let wanted = wanted(is_2, forms, sender, private);
    let is_good = is_well_formed && stray.is_empty() && wanted.is_some();
    match Claim::parse(&Form::parse(forms[0], forms[1]), sender, TimeZone::Utc, private) {
        Ok(claim) => {
            assert!(is_good, "a claim of a form that is none");
            assert_eq!(claim.user, user);
            assert_eq!(Some(claim.stamp), Stamp::parse(&time, TimeZone::Utc));
            assert_eq!(claim.clock, Clock::Client);
            let Wishes { share, in_vain, lines } = wanted.unwrap();
            let updates: Vec<(&str, Share)> =
                claim.updates.iter().map(|(host, to)| (host.as_str(), described(to))).collect();
            let expected: Vec<(&str, Share)> =
                names.into_iter().map(|name| (name, share.clone())).collect();
            assert_eq!(updates, expected);
            assert_eq!(claim.left_out.is_empty(), in_vain.is_empty());
            assert!(claim.left_out.iter().all(|one| in_vain.contains(&one.text)));
            moved(claim.updates[0].1, private, forms[0]);
            let (text, sent) = match &claim.proof {
                Proof::Sha1 { text, hash } => (text, hex::encode(hash)),
                Proof::HmacSha256 { text, code } => (text, hex::encode(code)),
                Proof::Password(_) => panic!("no protocol of this endpoint"),
            };
            assert_eq!(sent, code.to_lowercase());
            let signed = if is_2 {
                ["ddns2", &user, &id, &time, &lines].join("\n")
            } else {
                [&*id, &*time, ""].join("\n")
            };
            assert_eq!(*text, signed);
            verification(&claim, &id, &time);
        }
        Err(refusal) => {
            assert!(!is_good, "a good form is refused: {refusal:?}");
            match &refusal {
                Refusal::Form(_, part) => assert!(!matches!(part, Part::Query | Part::Body)),
                Refusal::Stray(name) => assert!(is_well_formed && stray.contains(name)),
                other => panic!("{other:?}"),
            }
            check_refusal(refusal);
        }
    }
}

/// What a request wants for the addresses of each host.
struct Wishes {
    share: Share,
    /// What no host can have.
    in_vain: Vec<String>,
    /// What protocol 2 signs of it.
    lines: String,
}

/// What a request wants; `None` if that cannot be understood.
fn wanted(
    is_2: bool,
    forms: [&[u8]; 2],
    sender: IpAddr,
    private: PrivateAddresses,
) -> Option<Wishes> {
    let text = |name, max| {
        if is_2 && has(forms, name) { the_value(forms, name, max) } else { Some(String::new()) }
    };
    let (ip, ip6) = (text("ip", 45)?, text("ip6", 49)?);
    let mut named = Named::nothing(private);
    match (&*ip, ip.parse()) {
        ("", _) => {}
        ("none", _) => named.word(0, NONE),
        (_, Ok(address @ IpAddr::V4(_))) => named.address(address),
        _ => return None,
    }
    match (&*ip6, ip6.parse::<IpAddr>()) {
        ("", _) => {}
        ("none", _) => named.word(1, NONE),
        (_, Ok(address)) if address.to_canonical().is_ipv6() => named.address(address),
        (text, Err(_)) => named.prefix(text, false)?,
        _ => return None,
    }
    let [share, others] = named.shares(sender)?;
    assert_eq!(share, others);
    Some(Wishes { share, in_vain: named.in_vain, lines: format!("{ip}\n{ip6}\n") })
}

/// The names that have addresses, and no meaning in protocol 2.
fn stray(forms: [&[u8]; 2]) -> Vec<String> {
    let known = ["user", "id", "timeST", "ip", "ip6", "hmac"];
    with_addresses(forms).into_iter().filter(|name| !known.contains(&&**name)).collect()
}

/// Whether there is a parameter of this name.
pub fn has(forms: [&[u8]; 2], name: &str) -> bool {
    forms
        .into_iter()
        .flat_map(|form| form.split(|byte| *byte == b'&'))
        .any(|pair| form_urlencoded::parse(pair).any(|(key, _)| key == name))
}

/// Whether no two names differ only in case.
pub fn is_distinct(names: &[&str]) -> bool {
    let lower: BTreeSet<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    lower.len() == names.len()
}

/// The text of a parameter that is there once, complete and not too long.
pub fn the_value(forms: [&[u8]; 2], name: &str, max: usize) -> Option<String> {
    let is_odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
    match values(forms, name)?.as_slice() {
        [value] if value.len() <= max && !value.contains(is_odd) => Some(value.clone()),
        _ => None,
    }
}

/// All texts of a parameter; `None` if one is not complete.
pub fn values(forms: [&[u8]; 2], name: &str) -> Option<Vec<String>> {
    let mut values = Vec::new();
    for pair in forms.into_iter().flat_map(|form| form.split(|byte| *byte == b'&')) {
        let has_whole_escapes = (0..pair.len()).filter(|at| pair[*at] == b'%').all(|at| {
            pair.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
        });
        let decoded = form_urlencoded::parse(pair).filter(|(key, _)| key == name);
        values.extend(decoded.map(|(_, value)| has_whole_escapes.then(|| value.into_owned())));
    }
    values.into_iter().collect()
}

/// RFC 1123, 2.1, with underscores, and no IPv4 address.
pub fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        label.len() <= 63
            && !label.trim_matches('-').is_empty()
            && label.trim_matches('-') == label
            && label.chars().all(|c| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_'))
    };
    text.len() <= 253 && text.split('.').all(is_label) && text.parse::<Ipv4Addr>().is_err()
}

/// Only the right signature makes a claim believed; then hosts and window decide.
fn verification(claim: &Claim, id: &str, time: &str) {
    let stamp = claim.stamp;
    let (hosts, wanted): (Vec<_>, Vec<_>) = claim.updates.iter().cloned().unzip();
    let name = if claim.user == "user2" { "user2" } else { "user1" };
    let own = user_of(name, &hosts);
    let is_2 = matches!(claim.proof, Proof::HmacSha256 { .. });
    let is_right = claim.user == name && is_signed_with(&claim.proof, &own.key);
    let moment = DateTime::from_timestamp(seconds(stamp), 0).unwrap();
    let found = credentials::parse(CREDENTIALS, &claim.user, &hosts).unwrap();
    match authenticate(claim, found, moment, WINDOW) {
        Err(Refusal::Identity(_)) => assert!(!is_right),
        Ok(_) | Err(_) => assert!(is_right, "a wrong signature is believed"),
    }

    let bit = usize::try_from(seconds(stamp).rem_euclid(160)).unwrap();
    let at = |ahead: i64, wrong: Option<usize>| {
        let claim = signed(name, id, time, &own.key, is_2, wrong);
        let now = moment - TimeDelta::seconds(ahead);
        authenticate(&claim, Found::Known(user_of(name, &hosts)), now, WINDOW)
    };
    for ahead in [0, 15, -15, 16, -16] {
        let updates = at(ahead, None).unwrap();
        assert_eq!(updates.len(), hosts.len());
        for (update, host) in updates.into_iter().zip(&hosts) {
            let listed = own.hosts.iter().find(|own| own.eq_ignore_ascii_case(host.as_str()));
            match (update, listed) {
                (Ok(update), Some(listed)) => {
                    assert!(ahead.unsigned_abs() <= WINDOW);
                    check_update(&update, listed, stamp, wanted[0]);
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
    }
    let refusal = at(0, Some(bit)).unwrap_err();
    assert!(matches!(refusal, Refusal::Identity(_)), "a signature with a wrong bit is believed");
    check_refusal(refusal);
}

fn is_signed_with(proof: &Proof, key: &Key) -> bool {
    match proof {
        Proof::Sha1 { text, hash } => sha1(text, key) == *hash,
        Proof::HmacSha256 { text, code } => hmac_sha256(text, key).unwrap() == *code,
        Proof::Password(_) => panic!("no protocol of this endpoint"),
    }
}

fn check_update(update: &Authentic, listed: &str, stamp: Stamp, wanted: Wanted) {
    assert_eq!(update.host().as_str(), listed, "spelt as in the credentials");
    assert_eq!(update.stamp(), stamp);
    let addresses = wanted.for_host_with(Some(Ipv6Addr::LOCALHOST));
    let own = update.wanted().for_host_with(None);
    for answer in [Accepted::Good(addresses), Accepted::NoChange(own)] {
        line_of(Reply::to_update(Dialect::Signed, &Ok(vec![Ok(answer)])));
    }
}

fn user_of(name: &str, hosts: &[HostName]) -> User {
    match credentials::parse(CREDENTIALS, name, hosts) {
        Ok(Found::Known(user)) => user,
        _ => panic!("{name} is a user"),
    }
}

/// The claim of a POST whose form is made by the encoder of the URL standard, perhaps with one wrong bit
/// in its signature.
fn signed(user: &str, id: &str, time: &str, key: &Key, is_2: bool, wrong: Option<usize>) -> Claim {
    let (name, mut code) = if is_2 {
        ("hmac", hmac_sha256(&text_of_protocol_2(user, id, time, "", ""), key).unwrap().to_vec())
    } else {
        ("hash", sha1(&text_of_protocol_1(id, time), key).to_vec())
    };
    if let Some(bit) = wrong {
        code[bit / 8] ^= 1 << (bit % 8);
    }
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair(name, &hex::encode_upper(code))
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
    let body = Request::read(variable).form_body(form.as_bytes()).unwrap();
    let form = Form::parse(b"", &body);
    Claim::parse(&form, Ipv4Addr::LOCALHOST.into(), TimeZone::Utc, PrivateAddresses::Refused)
        .unwrap()
}

/// The reply to a refusal is a documented one.
fn check_refusal(refusal: Refusal) {
    let expected = match &refusal {
        Refusal::Method => "badmethod".to_owned(),
        Refusal::ReadOnly | Refusal::NoPage | Refusal::Audience(_) => panic!("it is no update"),
        Refusal::Disabled | Refusal::Insecure => panic!("it is no dyndns2"),
        Refusal::Form(problem, part) => format!("badrequest {problem} {part}"),
        Refusal::Stray(_) => "badrequest unknown parameter".to_owned(),
        Refusal::Identity(_) => "badauth".to_owned(),
        Refusal::NoIpv6 => "noip6".to_owned(),
        Refusal::Host => "nohost".to_owned(),
        Refusal::Stale { seconds } => format!("stale {seconds}"),
        Refusal::Replay { .. } => "replay".to_owned(),
    };
    assert_eq!(line_of(Reply::to_update(Dialect::Signed, &Err(refusal.into()))), expected);
}

/// The one line of a reply, which is a CGI response of printable ASCII.
pub fn line_of(reply: Reply) -> String {
    let text = String::from_utf8(reply.into_bytes()).unwrap();
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

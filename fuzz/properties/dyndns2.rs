//! dyndns2: what its clients send, to the reply.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::IpAddr;

use chrono::DateTime;
use ddns_cgi::http::reply::Reply;
use ddns_cgi::http::request::Request;
use ddns_cgi::protocol::answer::{Dialect, Error, Refusal};
use ddns_cgi::protocol::auth::authenticate;
use ddns_cgi::protocol::claim::{Claim, MAX_HOSTS, MAX_USER, Proof};
use ddns_cgi::protocol::dyndns2::{self, Dyndns2, Rules};
use ddns_cgi::protocol::form::{Form, MAX_FORM};
use ddns_cgi::protocol::special::PrivateAddresses;
use ddns_cgi::protocol::stamp::{Clock, Stamp};
use ddns_cgi::store::credentials;

use super::named::{KEEP, NONE, Named, Share, described, moved, with_addresses};
use super::request::{
    CREDENTIALS, WINDOW, has, is_distinct, is_host_name, line_of, the_value, values,
};

/// The words of a refusal.
const WORDS: [&str; 5] = ["badauth", "notfqdn", "numhost", "badagent", "insecure"];

/// The documented names of parameters for IPv4, for IPv6 (and prefixes), and for hosts. Those for both families
/// are in both lists.
const IPV4: [&str; 6] = ["myip", "ip", "myipv4", "ipv4", "ip4", "a"];
const IPV6: [&str; 7] = ["myip", "ip", "myipv6", "myip6", "ipv6", "ip6", "aaaa"];
const PREFIX: &str = "ip6lanprefix";
const HOSTS: [&str; 4] = ["hostname", "hostnames", "host", "domain"];
const LOGIN: [&str; 2] = ["username", "password"];

/// What the operator may choose: dyndns2 with and without HTTPS, a login in the form, private addresses.
const CHOICES: [(Dyndns2, bool, PrivateAddresses); 4] = [
    (Dyndns2::Https, false, PrivateAddresses::Allowed),
    (Dyndns2::Https, true, PrivateAddresses::Refused),
    (Dyndns2::Any, true, PrivateAddresses::Allowed),
    (Dyndns2::Any, false, PrivateAddresses::Refused),
];

/// Why there is no user and password: none that count, or ill-formed ones.
#[derive(PartialEq)]
enum NoLogin {
    Identity,
    Form,
}

/// A form becomes a claim over HTTPS, with a user and a password, where hosts and addresses are named in their
/// form.
pub fn claim(forms: [&[u8]; 2], variable: impl Fn(&str) -> Option<OsString>, sender: IpAddr) {
    let request = Request::read(|name| match name {
        "PATH_INFO" => Some("/nic/update".into()),
        _ => variable(name),
    });
    let is_https = variable("HTTPS").is_some_and(|value| value == "on");
    let header = variable("HTTP_AUTHORIZATION").and_then(|header| header.into_string().ok());
    assert_eq!(request.is_https, is_https);
    assert_eq!(request.authorization, header.unwrap_or_default());
    for choice in CHOICES {
        claim_with(choice, forms, &request, sender);
    }
}

fn claim_with(
    (served, login_in_query, private): (Dyndns2, bool, PrivateAddresses),
    forms: [&[u8]; 2],
    request: &Request,
    sender: IpAddr,
) {
    let now = DateTime::from_timestamp(1_795_410_000, 0).unwrap();
    let is_https = request.is_https;
    let login = login(forms, &request.authorization, login_in_query, is_https);
    let names = hosts(forms);
    let wanted = wanted(forms, sender, private);
    let request = dyndns2::Request {
        form: Form::parse(forms[0], forms[1]),
        authorization: &request.authorization,
        is_https,
        sender,
    };
    match dyndns2::claim(&request, Rules { served, login_in_query }, private, now) {
        Ok(claim) => {
            assert!(is_https || served == Dyndns2::Any, "a password counts over HTTPS alone");
            let names = names.unwrap();
            let updates: Vec<(&str, Share)> =
                claim.updates.iter().map(|(host, to)| (host.as_str(), described(to))).collect();
            let (shares, in_vain) = wanted.unwrap();
            let shares = shares.iter().chain(std::iter::repeat(&shares[1]));
            let expected: Vec<(&str, Share)> =
                names.iter().map(String::as_str).zip(shares.cloned()).collect();
            assert_eq!(updates, expected);
            assert_eq!(claim.left_out.is_empty(), in_vain.is_empty());
            assert!(claim.left_out.iter().all(|one| in_vain.contains(&one.text)));
            assert_eq!((Some(claim.stamp), claim.clock), (Stamp::at(now), Clock::Server));
            for (_, to) in &claim.updates {
                moved(*to, private, forms[0]);
            }
            let Ok((user, password)) = login else { panic!("a claim without a login") };
            let Proof::Password(key) = &claim.proof else { panic!("a password") };
            assert_eq!((&claim.user, key.as_bytes()), (&user, password.as_bytes()));
            verification(&claim, &password);
        }
        Err(Error::Refusal(refusal)) => {
            let is_served = is_https || served == Dyndns2::Any;
            let why = login.err();
            let is_right = why.is_none() && names.is_some();
            match &refusal {
                Refusal::Insecure => assert!(!is_served),
                _ if !is_served => panic!("{refusal:?}"),
                Refusal::Identity(_) => assert!(why == Some(NoLogin::Identity)),
                Refusal::Stray(name) => assert!(is_right && stray(forms).contains(name)),
                Refusal::Form(..) if why == Some(NoLogin::Form) => {}
                Refusal::Form(..) => {
                    assert!(why.is_none() && !(names.is_some() && wanted.is_some()));
                }
                other => panic!("{other:?}"),
            }
            check_refusal(refusal);
        }
        Err(Error::Fault(fault)) => panic!("{fault}"),
    }
}

/// The user and the password: of the header, or of the form where that is allowed.
fn login(
    forms: [&[u8]; 2],
    header: &str,
    may_be_in_form: bool,
    is_https: bool,
) -> Result<(String, String), NoLogin> {
    if !header.is_empty() || !LOGIN.iter().all(|name| has(forms, name)) {
        return basic(header).ok_or(NoLogin::Identity);
    }
    if !may_be_in_form || !is_https {
        return Err(NoLogin::Identity);
    }
    let value = |name, max| the_value(forms, name, max).filter(|value| !value.is_empty());
    let pair = value(LOGIN[0], MAX_USER).zip(value(LOGIN[1], MAX_FORM));
    pair.ok_or(NoLogin::Form)
}

/// HTTP Basic (RFC 7617).
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, code) = header.split_once(' ')?;
    let code = code.trim();
    let digits = code.trim_end_matches('=');
    let all = alphabet();
    let bits: Option<String> = digits
        .chars()
        .map(|digit| Some(format!("{:06b}", all.iter().position(|one| *one == digit)?)))
        .collect();
    let bits = bits?;
    let bytes: Vec<u8> = (0..bits.len() / 8)
        .map(|at| u8::from_str_radix(&bits[8 * at..8 * at + 8], 2).unwrap())
        .collect();
    let pair = String::from_utf8(bytes).ok().filter(|pair| base64(pair.as_bytes()) == code)?;
    let (user, password) = pair.split_once(':')?;
    let is_good = scheme.eq_ignore_ascii_case("basic")
        && !user.is_empty()
        && user.len() <= MAX_USER
        && !user.chars().any(char::is_control);
    is_good.then(|| (user.to_owned(), password.to_owned()))
}

/// Only the user's key makes a claim believed.
fn verification(claim: &Claim, password: &str) {
    let keys = [("user1", "secretkey1"), ("user2", "secretkey2")];
    let is_right = keys.contains(&(&claim.user, password));
    let (now, count) = (DateTime::from_timestamp(1_795_410_000, 0).unwrap(), claim.updates.len());
    let hosts: Vec<_> = claim.updates.iter().map(|(host, _)| host.clone()).collect();
    let found = credentials::parse(CREDENTIALS, &claim.user, &hosts).unwrap();
    match authenticate(claim, found, now, WINDOW) {
        Ok(updates) => assert!(is_right && updates.len() == count, "a wrong password is believed"),
        Err(refusal) => {
            assert!(!is_right && matches!(refusal, Refusal::Identity(_)));
            check_refusal(refusal);
        }
    }
}

/// The names of the hosts, without a dot at the end; `None` if they are no list of hosts.
fn hosts(forms: [&[u8]; 2]) -> Option<Vec<String>> {
    let all: Option<Vec<_>> = HOSTS.into_iter().map(|name| places(forms, name)).collect();
    let all = all?;
    let there: Vec<usize> = (0..HOSTS.len()).filter(|at| !all[*at].is_empty()).collect();
    let mut names = match there[..] {
        [0, ..] => all[0].clone(),
        [at] => all[at].clone(),
        _ => return None,
    };
    for name in &mut names {
        if name.ends_with('.') {
            name.pop();
        }
    }
    let short: Vec<&str> = names.iter().map(String::as_str).collect();
    let is_list = (1..=MAX_HOSTS).contains(&short.len())
        && short.iter().all(|name| is_host_name(name))
        && is_distinct(&short);
    is_list.then_some(names)
}

/// What is in the places of all lists of this name, without white space around it.
fn places(forms: [&[u8]; 2], name: &str) -> Option<Vec<String>> {
    let lists = values(forms, name)?.join(",");
    let places: Vec<String> =
        lists.split(',').map(|text| text.trim().to_owned()).filter(|t| !t.is_empty()).collect();
    let is_odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
    (!places.iter().any(|text| text.contains(is_odd))).then_some(places)
}

/// What the first host gets, what the others get, and what was named in vain; `None` if that cannot be
/// understood.
fn wanted(
    forms: [&[u8]; 2],
    sender: IpAddr,
    private: PrivateAddresses,
) -> Option<([Share; 2], Vec<String>)> {
    let offline =
        if has(forms, "offline") { the_value(forms, "offline", 16)? } else { String::new() };
    if offline.to_lowercase() == "yes" {
        let gone = [NONE, NONE].map(str::to_owned);
        return Some(([gone.clone(), gone], Vec::new()));
    }
    let mut named = Named::nothing(private);
    for name in BTreeSet::from_iter([&IPV4[..], &IPV6, &[PREFIX]].concat()) {
        let families = [IPV4.contains(&name), IPV6.contains(&name)];
        for text in places(forms, name)? {
            let address = text.parse::<IpAddr>().map(|address| address.to_canonical());
            match address {
                _ if ["no", "preserve"].contains(&&*text.to_ascii_lowercase()) => {
                    let kept = (0..2).filter(|family| families[*family]);
                    kept.for_each(|family| named.word(family, KEEP));
                }
                Ok(address) if families[usize::from(address.is_ipv6())] => named.address(address),
                Err(_) if families[1] || name == PREFIX => named.prefix(&text, name == PREFIX)?,
                _ => return None,
            }
        }
    }
    if has(forms, PREFIX) {
        named.network();
    }
    if !stray(forms).is_empty() {
        return None;
    }
    Some((named.shares(sender)?, named.in_vain))
}

/// The names that have addresses, and no meaning.
fn stray(forms: [&[u8]; 2]) -> Vec<String> {
    let is_known = |name: &str| {
        let lists = [&IPV4[..], &IPV6, &HOSTS, &LOGIN, &[PREFIX, "offline"]];
        lists.iter().any(|list| list.contains(&name))
    };
    with_addresses(forms).into_iter().filter(|name| !is_known(name)).collect()
}

fn alphabet() -> Vec<char> {
    ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect()
}

/// RFC 4648, 4.
fn base64(bytes: &[u8]) -> String {
    let alphabet = alphabet();
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

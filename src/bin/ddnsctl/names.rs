//! Names of users and hosts, as the operator types them.

use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::claim::MAX_USER;
use ddns_cgi::protocol::host::HostName;

use crate::credentials::{Users, hosts};
use crate::words::few;

/// The longest label of a host name in characters (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;

/// Reads a host name. A dot at its end is dropped, as it is in a request.
pub fn host_name(text: &str) -> Result<HostName, Fault> {
    let name = text.strip_suffix('.').unwrap_or(text);
    HostName::parse(name).ok_or_else(|| {
        let reason = format!("is not a valid host name: {}", why_not(name));
        Fault::new(text.escape_default(), reason)
    })
}

/// Why a text is no host name.
fn why_not(text: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if let Some(c) = text.chars().find(|c| !is_allowed(*c)) {
        return format!("{c:?} is no letter (a to z), digit, hyphen or underscore");
    }
    if text.len() > HostName::MAX {
        return format!("it is longer than {} characters", HostName::MAX);
    }
    for label in text.split('.') {
        if label.is_empty() {
            return "a part between its dots is empty".to_owned();
        }
        if label.len() > MAX_LABEL {
            return format!("{label} is longer than {MAX_LABEL} characters");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return format!("{label} begins or ends with a hyphen");
        }
    }
    "it is an IP address".to_owned()
}

/// What the operator should know of host names that are valid all the same.
pub fn oddity(hosts: &[HostName]) -> Option<String> {
    let names = hosts.iter().map(HostName::as_str).filter(|name| !name.contains('.'));
    let names: Vec<&str> = names.collect();
    let has = match names.len() {
        0 => return None,
        1 => "has",
        _ => "have",
    };
    let names = few(names.iter());
    Some(format!("{names} {has} no domain, so no public zone can serve it"))
}

/// Whether a new user may have this name. Users who have another one keep it.
pub fn check_new_user(name: &str) -> Result<(), Fault> {
    if name.is_empty() || name.len() > MAX_USER {
        let reason = format!("must have 1 to {MAX_USER} characters");
        return Err(Fault::new("the user's name", reason));
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
    let reason = match name.chars().find(|c| !is_allowed(*c)) {
        Some(':') => "HTTP Basic ends a name at its first colon (RFC 7617)".to_owned(),
        Some(c) if !c.is_ascii() => format!("clients differ in how they send {c:?}"),
        Some(c) => format!("not every client's settings can hold {c:?}"),
        None if name.starts_with(|c: char| c.is_ascii_alphanumeric()) => return Ok(()),
        None => "it must begin with a letter or a digit".to_owned(),
    };
    let reason = format!("cannot be a user's name: {reason}; use letters, digits and . _ - + @");
    Err(Fault::new(name.escape_default(), reason))
}

/// Says that there is no such user, and who may be meant.
pub fn no_user(users: &Users, name: &str) -> String {
    let hint = match users.keys().find(|other| is_close(name, other)) {
        Some(other) => format!("; did you mean {}?", other.escape_default()),
        None => String::new(),
    };
    format!("there is no user {}{hint}", name.escape_default())
}

/// Says that no user has this host, and which one may be meant. If none may be, the line ends with
/// `otherwise`.
pub fn no_host(users: &Users, host: &HostName, otherwise: &str) -> String {
    let mut others = users.values().flat_map(hosts);
    match others.find(|other| is_close(host.as_str(), other)) {
        Some(other) => format!("no user has {host}; did you mean {}?", other.escape_default()),
        None => format!("no user has {host}{otherwise}"),
    }
}

/// Whether two names differ in one letter at most, without regard to case.
fn is_close(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|name| name.to_lowercase().chars().collect::<Vec<_>>());
    let is_same = |(a, b): &(&char, &char)| a == b;
    let start = one.iter().zip(&other).take_while(is_same).count();
    let [rest, other_rest] = [&one, &other].map(|name| name.iter().skip(start).rev());
    let end = rest.zip(other_rest).take_while(is_same).count();
    one.len().max(other.len()) - start - end <= 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_host_name_may_end_with_a_dot_and_what_is_none_is_told_why() {
        assert_eq!(host_name("Home.example.").unwrap().as_str(), "Home.example");
        let (long, longer) = ("x".repeat(64), "x.".repeat(127));
        for (text, reason) in [
            ("", "a part between its dots is empty"),
            (".", "a part between its dots is empty"),
            ("a..b", "a part between its dots is empty"),
            (".a", "a part between its dots is empty"),
            ("a..", "a part between its dots is empty"),
            ("a b", "' ' is no letter"),
            ("bücher.example", "'ü' is no letter"),
            ("a\nb", "'\\n' is no letter"),
            ("a:b", "':' is no letter"),
            ("-a.example", "-a begins or ends with a hyphen"),
            ("a.b-.example", "b- begins or ends with a hyphen"),
            ("192.0.2.1", "it is an IP address"),
            (&long, "is longer than 63 characters"),
            (&format!("{longer}xx"), "it is longer than 253 characters"),
        ] {
            let fault = host_name(text).unwrap_err().to_string();
            assert!(fault.contains("is not a valid host name: "), "{fault}");
            assert!(fault.contains(reason), "{fault}");
        }
    }

    #[test]
    fn only_a_name_without_a_domain_is_odd() {
        let odd = |names: &[&str]| {
            oddity(&names.iter().map(|name| host_name(name).unwrap()).collect::<Vec<_>>())
        };
        assert_eq!(odd(&["a.example"]), None);
        let one = "h has no domain, so no public zone can serve it";
        assert_eq!(odd(&["a.example", "h"]).unwrap(), one);
        let two = "h, i have no domain, so no public zone can serve it";
        assert_eq!(odd(&["h", "i"]).unwrap(), two);
    }

    #[test]
    fn a_new_users_name_works_in_every_client() {
        for name in ["alice", "Alice.B", "a-b_c+d@example.net", "4u", &"x".repeat(255)] {
            assert!(check_new_user(name).is_ok(), "{name}");
        }
        for (name, reason) in [
            ("", "1 to 255"),
            (&*"x".repeat(256), "1 to 255"),
            ("a:b", "at its first colon (RFC 7617)"),
            ("a b", "settings can hold ' '"),
            ("a\"b", "settings can hold '\"'"),
            ("a\\b", "settings can hold '\\\\'"),
            ("a#b", "settings can hold '#'"),
            ("a\nb", "settings can hold '\\n'"),
            ("zoë", "clients differ in how they send 'ë'"),
            ("-a", "begin with a letter or a digit"),
            ("@", "begin with a letter or a digit"),
        ] {
            let refusal = check_new_user(name).unwrap_err().to_string();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    #[test]
    fn a_name_that_differs_in_a_letter_or_in_case_is_close() {
        let users = json!({"alice": {}, "bob": {}});
        let users = users.as_object().unwrap();
        for name in ["Alice", "alce", "alicee", "alixe", "lice"] {
            assert_eq!(
                no_user(users, name),
                format!("there is no user {name}; did you mean alice?")
            );
        }
        for name in ["al", "alcie", "carol", "", "alice2you"] {
            assert_eq!(no_user(users, name), format!("there is no user {name}"));
        }
    }

    #[test]
    fn a_host_that_no_user_has_may_be_a_close_one() {
        let users = json!({"alice": {"id": ["a b", "home.example.net"]}, "bob": "text"});
        let text = |name| no_host(users.as_object().unwrap(), &host_name(name).unwrap(), "; next");
        let expected = "no user has hone.example.net; did you mean home.example.net?";
        assert_eq!(text("hone.example.net"), expected);
        assert_eq!(text("nas.example.net"), "no user has nas.example.net; next");
    }
}

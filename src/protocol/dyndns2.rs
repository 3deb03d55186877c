//! The claim of a dyndns2 request. ddclient, inadyn and most routers speak this protocol. Nothing
//! here is believed yet. <https://help.dyn.com/remote-access-api/perform-update/>
//!
//! dyndns2 has no signature and no time. The password is the user's key: whoever has it can update
//! the user's hosts. So it normally needs HTTPS, and users bound to protocol 2 may not use it.

use std::net::IpAddr;

use base64ct::{Base64, Encoding};
use chrono::{DateTime, Utc};

use crate::fault::Fault;
use crate::protocol::addresses::{Action, Addresses};
use crate::protocol::answer::{Error, Refusal, Unproven};
use crate::protocol::claim::{Claim, MAX_ADDRESS, MAX_LIST, MAX_USER, Proof, hosts, ipv6};
use crate::protocol::form::{Form, Part, Problem};
use crate::protocol::stamp::{Clock, Stamp};
use crate::protocol::user::Key;

/// The longest value of `offline` that we read, in bytes.
const MAX_WORD: usize = 16;

/// The connections over which we serve dyndns2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dyndns2 {
    /// None.
    Off,
    /// Those over HTTPS.
    Https,
    /// Any, though each request contains the key.
    Any,
}

/// A request of dyndns2. It may contain a key, so nothing can print it.
pub struct Request<'r> {
    /// Its parameters.
    pub form: Form<'r>,
    /// The header `Authorization`; empty if it has none.
    pub authorization: &'r str,
    /// Whether it came over HTTPS.
    pub is_https: bool,
    /// The address that sent it, which counts if the request names none.
    pub sender: IpAddr,
}

/// Reads a request that arrived at `now`, which becomes its stamp.
pub fn claim(request: &Request, served: Dyndns2, now: DateTime<Utc>) -> Result<Claim, Error> {
    let Request { form, authorization, is_https, sender } = request;
    admit(*is_https, served)?;
    let (user, password) =
        user_and_password(authorization).ok_or(Refusal::Identity(Unproven::NoPassword))?;
    let list = form.required(Part::Hostname, MAX_LIST).map_err(Refusal::from)?;
    Ok(Claim {
        user,
        hosts: hosts(list, Part::Hostname)?,
        addresses: addresses(form, *sender)?,
        stamp: Stamp::at(now)
            .ok_or_else(|| Fault::new("the clock", "shows no usable year: set it"))?,
        clock: Clock::Server,
        proof: Proof::Password(password),
    })
}

fn admit(is_https: bool, served: Dyndns2) -> Result<(), Refusal> {
    match served {
        Dyndns2::Off => Err(Refusal::Disabled),
        Dyndns2::Https if !is_https => Err(Refusal::Insecure),
        Dyndns2::Https | Dyndns2::Any => Ok(()),
    }
}

/// User and password of HTTP Basic (RFC 7617).
fn user_and_password(authorization: &str) -> Option<(String, Key)> {
    let (scheme, code) = authorization.split_once(' ')?;
    let pair = Base64::decode_vec(code.trim()).ok()?;
    let pair = String::from_utf8(pair).ok().filter(|_| scheme.eq_ignore_ascii_case("Basic"))?;
    let (user, password) = pair.split_once(':')?;
    let is_user = (1..=MAX_USER).contains(&user.len()) && !user.contains(char::is_control);
    is_user.then(|| (user.to_owned(), Key::new(password.to_owned())))
}

/// The addresses of `myip`, `myipv6` and `myip6` together. `offline` removes all.
fn addresses(form: &Form, sender: IpAddr) -> Result<Addresses, Refusal> {
    let offline = form.optional(Part::Offline, MAX_WORD)?;
    if offline.is_some_and(|value| value.eq_ignore_ascii_case("yes")) {
        return Ok(Addresses::REMOVED);
    }
    let mut addresses = Addresses::KEPT;
    for part in [Part::MyIp, Part::MyIpv6, Part::MyIp6] {
        let Some(list) = form.optional(part, 2 * MAX_ADDRESS + 1)? else { continue };
        for text in list.split(',') {
            let result = match address(text, part) {
                Some(IpAddr::V4(address)) => set(&mut addresses.ipv4, address),
                Some(IpAddr::V6(address)) => set(&mut addresses.ipv6, address),
                None => Err(Problem::Malformed),
            };
            result.map_err(|problem| Refusal::Form(problem, part))?;
        }
    }
    Ok(addresses.or_of(sender))
}

/// Reads an address. Only `myip` takes both families.
fn address(text: &str, part: Part) -> Option<IpAddr> {
    match text.parse() {
        Ok(IpAddr::V4(address)) if part == Part::MyIp => Some(address.into()),
        _ => ipv6(text).map(IpAddr::V6),
    }
}

/// Sets the address of a family. The request may repeat it, but must not name another.
fn set<A: Copy + PartialEq>(action: &mut Action<A>, address: A) -> Result<(), Problem> {
    let new = Action::Set(address);
    if *action != Action::Keep && *action != new {
        return Err(Problem::Conflicting);
    }
    *action = new;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::host::HostName;
    use crate::protocol::stamp::TimeZone;
    use proptest::prelude::*;

    const SENDER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn claim_of(query: &str, pairs: &[(&str, &str)], served: Dyndns2) -> Result<Claim, Error> {
        let value = |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let now = DateTime::parse_from_rfc3339("2012-06-14T15:58:27.9Z").unwrap().to_utc();
        let request = Request {
            form: Form::parse(query.as_bytes(), b""),
            authorization: value("HTTP_AUTHORIZATION").unwrap_or_default(),
            is_https: value("HTTPS") == Some("on"),
            sender: SENDER,
        };
        claim(&request, served, now)
    }

    /// user1 with the password secret:key1.
    const HEADER: (&str, &str) = ("HTTP_AUTHORIZATION", "Basic dXNlcjE6c2VjcmV0OmtleTE=");

    fn refusal(query: &str, pairs: &[(&str, &str)], served: Dyndns2) -> Refusal {
        match claim_of(query, pairs, served).map(drop) {
            Err(Error::Refusal(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_ddclient_sends_is_understood() {
        let query =
            "system=dyndns&hostname=a.example,B.example&myip=192.0.2.1&wildcard=ON&mx=m&backmx=NO";
        let claim = claim_of(query, &[HEADER], Dyndns2::Any).unwrap();
        assert_eq!(claim.user, "user1");
        assert_eq!(
            claim.hosts.iter().map(HostName::as_str).collect::<Vec<_>>(),
            ["a.example", "B.example"]
        );
        assert_eq!(claim.addresses, "192.0.2.1".parse::<IpAddr>().unwrap().into());
        assert_eq!(claim.clock, Clock::Server);
        assert_eq!(claim.stamp.format(TimeZone::Utc), "2012-06-14 15:58:27");
        let Proof::Password(key) = claim.proof else { panic!("a password") };
        assert_eq!(key.as_bytes(), b"secret:key1");
    }

    #[test]
    fn addresses_come_in_any_of_three_parameters() {
        let addresses = |more: &str| {
            claim_of(&format!("hostname=a.example{more}"), &[HEADER], Dyndns2::Any)
                .unwrap()
                .addresses
        };
        let ipv4: IpAddr = "192.0.2.1".parse().unwrap();
        let ipv6: IpAddr = "2001:db8::1".parse().unwrap();
        let both = Addresses { ipv6: Action::Set("2001:db8::1".parse().unwrap()), ..ipv4.into() };
        for (more, expected) in [
            ("", SENDER.into()),
            ("&myip=", SENDER.into()),
            ("&offline=NO", SENDER.into()),
            ("&myip=192.0.2.1", ipv4.into()),
            ("&myip=2001:db8::1", ipv6.into()),
            ("&myip=2001%3adb8%3A%3a1", ipv6.into()),
            ("&myipv6=2001:db8::1", ipv6.into()),
            ("&myip6=2001:db8::1&myip=", ipv6.into()),
            ("&myip=192.0.2.1,2001:db8::1", both),
            ("&myip=192.0.2.1&myipv6=2001:db8::1", both),
            ("&myip=192.0.2.1,2001:db8::1&myip6=2001:DB8::1", both),
            ("&offline=YES&myip=192.0.2.1", Addresses::REMOVED),
            ("&offline=yes", Addresses::REMOVED),
        ] {
            assert_eq!(addresses(more), expected, "{more}");
        }
    }

    #[test]
    fn two_of_the_longest_addresses_are_read_and_no_more() {
        let long = "2001:0db8:0000:0000:0000:0000:192.168.100.200";
        assert_eq!(long.len(), MAX_ADDRESS);
        let query = format!("hostname=a.example&myip={long},{long}");
        let claim = claim_of(&query, &[HEADER], Dyndns2::Any).unwrap();
        assert_eq!(claim.addresses, long.parse::<IpAddr>().unwrap().into());
        let refusal = refusal(&(query + ","), &[HEADER], Dyndns2::Any);
        assert!(matches!(refusal, Refusal::Form(Problem::Overlong, Part::MyIp)));
    }

    #[test]
    fn what_is_no_host_or_no_address_is_refused() {
        for (query, problem, part) in [
            ("", Problem::Missing, Part::Hostname),
            ("hostname=", Problem::Missing, Part::Hostname),
            ("hostname=a%20b", Problem::Malformed, Part::Hostname),
            ("hostname=a.example,", Problem::Malformed, Part::Hostname),
            ("hostname=a.example,A.example", Problem::Repeated, Part::Hostname),
            ("hostname=a&hostname=b", Problem::Repeated, Part::Hostname),
            ("hostname=a&myip=x", Problem::Malformed, Part::MyIp),
            ("hostname=a&myip=192.0.2.1,", Problem::Malformed, Part::MyIp),
            ("hostname=a&myip=::ffff:192.0.2.1", Problem::Malformed, Part::MyIp),
            ("hostname=a&myip=192.0.2.1,192.0.2.2", Problem::Conflicting, Part::MyIp),
            ("hostname=a&myip=2001:db8::1&myip6=2001:db8::2", Problem::Conflicting, Part::MyIp6),
            ("hostname=a&myipv6=192.0.2.1", Problem::Malformed, Part::MyIpv6),
        ] {
            let refusal = refusal(query, &[HEADER], Dyndns2::Any);
            let is_so = matches!(refusal, Refusal::Form(a, b) if (a, b) == (problem, part));
            assert!(is_so, "{query}: {refusal:?}");
        }
        let list = vec!["a"; 33].join(",");
        let refusal = refusal(&format!("hostname={list}"), &[HEADER], Dyndns2::Any);
        assert!(matches!(refusal, Refusal::Form(Problem::Overlong, Part::Hostname)));
    }

    #[test]
    fn without_a_user_and_a_password_nothing_is_read() {
        let long =
            format!("Basic {}", Base64::encode_string(format!("{}:k", "u".repeat(256)).as_bytes()));
        for header in [
            "",
            "Basic",
            "Basic ",
            "Basic !",
            "Basic dXNlcjE=",
            "Basic OmtleQ==",
            "Basic dXNlcjE6c2VjcmV0OmtleTE",
            "Basic /zo=",
            "Basic YQpiOmM=",
            "Bearer dXNlcjE6c2VjcmV0OmtleTE=",
            &long,
        ] {
            let refusal = refusal("", &[("HTTP_AUTHORIZATION", header)], Dyndns2::Any);
            assert!(matches!(refusal, Refusal::Identity(Unproven::NoPassword)), "{header}");
        }
        let missing = refusal("", &[], Dyndns2::Any);
        assert!(matches!(missing, Refusal::Identity(Unproven::NoPassword)));
        let lower = ("HTTP_AUTHORIZATION", "basic  dXNlcjE6c2VjcmV0OmtleTE=");
        assert!(claim_of("hostname=a", &[lower], Dyndns2::Any).is_ok());
    }

    #[test]
    fn it_is_served_where_the_configuration_says_so() {
        let query = "hostname=a.example";
        let https = ("HTTPS", "on");
        assert!(claim_of(query, &[HEADER, https], Dyndns2::Https).is_ok());
        for pairs in [
            &[HEADER][..],
            &[HEADER, ("HTTPS", "off")],
            &[HEADER, ("HTTP_HTTPS", "on"), ("HTTP_X_FORWARDED_PROTO", "https")],
        ] {
            assert!(matches!(refusal(query, pairs, Dyndns2::Https), Refusal::Insecure));
        }
        assert!(matches!(refusal(query, &[HEADER, https], Dyndns2::Off), Refusal::Disabled));
    }

    proptest! {
        #[test]
        fn any_request_is_refused_or_understood(
            header in "(Basic )?[ -~]{0,40}",
            query in "(hostname=a,b)?(&(myip|myip6|offline)=[0-9a-f.:,%YES]{0,20}){0,3}",
        ) {
            let header = ("HTTP_AUTHORIZATION", header.as_str());
            let _ = claim_of(&query, &[header], Dyndns2::Any);
            let _ = claim_of(&query, &[HEADER], Dyndns2::Any);
        }
    }
}

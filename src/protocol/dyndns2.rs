//! The claim of a dyndns2 request. ddclient, inadyn and most routers speak this protocol. Nothing
//! here is believed yet. <https://help.dyn.com/remote-access-api/perform-update/>
//!
//! dyndns2 has no signature and no time. The password is the user's key: whoever has it can update
//! the user's hosts. So it normally needs HTTPS, and users bound to protocol 2 may not use it.

use std::net::IpAddr;

use base64ct::{Base64, Encoding};
use chrono::{DateTime, Utc};

use crate::fault::Fault;
use crate::protocol::addresses::Action;
use crate::protocol::answer::{Error, Refusal, Unproven};
use crate::protocol::claim::{Claim, MAX_USER, Proof, hosts};
use crate::protocol::form::{Form, MAX_FORM, Part, Problem};
use crate::protocol::host::HostName;
use crate::protocol::named::{Named, Shares};
use crate::protocol::prefix::Prefix;
use crate::protocol::special::PrivateAddresses;
use crate::protocol::stamp::{Clock, Stamp};
use crate::protocol::user::Key;

/// The longest value of `offline` that we read, in bytes.
const MAX_WORD: usize = 16;

/// The parameters that name addresses, and what may stand there. Other services have other names
/// for them, and clients are set up for those.
const ADDRESSES: [(Part, Kind); 12] = [
    (Part::MyIp, Kind::Any),
    (Part::Ip, Kind::Any),
    (Part::MyIpv4, Kind::Ipv4),
    (Part::Ipv4, Kind::Ipv4),
    (Part::Ip4, Kind::Ipv4),
    (Part::A, Kind::Ipv4),
    (Part::MyIpv6, Kind::Ipv6),
    (Part::MyIp6, Kind::Ipv6),
    (Part::Ipv6, Kind::Ipv6),
    (Part::Ip6, Kind::Ipv6),
    (Part::Aaaa, Kind::Ipv6),
    (Part::Ip6LanPrefix, Kind::Prefix),
];

/// What may stand in a parameter. Where an IPv6 address may, a prefix may, too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Any,
    Ipv4,
    Ipv6,
    Prefix,
}

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

/// What we accept of dyndns2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Over which connections.
    pub served: Dyndns2,
    /// Whether user and password may come in the form, over HTTPS: key `login_in_query`.
    pub login_in_query: bool,
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
pub fn claim(
    request: &Request,
    rules: Rules,
    private: PrivateAddresses,
    now: DateTime<Utc>,
) -> Result<Claim, Error> {
    let Request { form, sender, is_https, .. } = request;
    admit(*is_https, rules.served)?;
    let (user, password) = login(request, rules.login_in_query)?;
    let hosts = named_hosts(form)?;
    let (updates, left_out) = shares(form, *sender, private)?.for_hosts(hosts);
    Ok(Claim {
        user,
        updates,
        left_out,
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

/// User and password from the header or, where that is allowed, from the form: some devices can
/// send them in no other way. Then only HTTPS will do, whatever else is served.
fn login(request: &Request, may_be_in_form: bool) -> Result<(String, Key), Refusal> {
    let Request { form, authorization, is_https, .. } = request;
    let has_login = form.has(Part::Username) && form.has(Part::Password);
    let refused = |why| Err(Refusal::Identity(why));
    if !authorization.is_empty() || !has_login {
        return user_and_password(authorization).map_or(refused(Unproven::NoPassword), Ok);
    }
    if !may_be_in_form || !is_https {
        return refused(Unproven::LoginInForm);
    }
    let user = form.required(Part::Username, MAX_USER)?;
    let password = form.required(Part::Password, MAX_FORM)?;
    Ok((user.to_owned(), Key::new(password.to_owned())))
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

/// The hosts of `hostname`, or of the one other parameter that names hosts. Beside `hostname`, the
/// others may mean something else.
fn named_hosts(form: &Form) -> Result<Vec<HostName>, Refusal> {
    let mut lists = Vec::new();
    for part in Part::HOSTS {
        let names = form.list(part)?;
        if !names.is_empty() {
            lists.push((part, names));
        }
    }
    match lists.as_slice() {
        [] => Err(Refusal::Form(Problem::Missing, Part::Hostname)),
        [(part, names)] | [(part @ Part::Hostname, names), ..] => {
            hosts(names.iter().copied(), *part)
        }
        [(part, _), ..] => Err(Refusal::Form(Problem::Conflicting, *part)),
    }
}

/// What the hosts get. `offline` removes all addresses.
fn shares(form: &Form, sender: IpAddr, private: PrivateAddresses) -> Result<Shares, Refusal> {
    let offline = form.optional(Part::Offline, MAX_WORD)?;
    if offline.is_some_and(|value| value.eq_ignore_ascii_case("yes")) {
        return Ok(Shares::removed());
    }
    let mut named = Named::nothing(private);
    for (part, kind) in ADDRESSES {
        for text in form.list(part)? {
            read(&mut named, text, part, kind).map_err(|problem| Refusal::Form(problem, part))?;
        }
    }
    // A router's placeholder is empty while it has no prefix.
    if form.has(Part::Ip6LanPrefix) {
        named.expect_network();
    }
    // A password may look like an address.
    let others = [Part::Username, Part::Password, Part::Offline];
    let known = [&ADDRESSES.map(|(part, _)| part)[..], &Part::HOSTS, &others].concat();
    match form.stray_address(&known) {
        Some(name) => Err(Refusal::Stray(name.to_owned())),
        None => named.shares(sender),
    }
}

/// What one text says: an address, a prefix, or that the address stays as it is.
fn read(named: &mut Named, text: &str, part: Part, kind: Kind) -> Result<(), Problem> {
    let allows = |own| kind == Kind::Any || kind == own;
    if ["no", "preserve"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
        if allows(Kind::Ipv4) {
            named.set_ipv4(Action::Keep)?;
        }
        return if allows(Kind::Ipv6) { named.set_ipv6(Action::Keep) } else { Ok(()) };
    }
    if text.contains('/') || kind == Kind::Prefix {
        let prefix =
            if kind == Kind::Prefix { Prefix::of_interface(text) } else { Prefix::parse(text) };
        let prefix = prefix.map_err(Problem::Unusable)?;
        return if kind == Kind::Ipv4 {
            Err(Problem::Malformed)
        } else {
            named.add_prefix(prefix, part)
        };
    }
    match text.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address @ IpAddr::V4(_)) if allows(Kind::Ipv4) => named.add(address, part),
        Ok(address @ IpAddr::V6(_)) if allows(Kind::Ipv6) => named.add(address, part),
        Ok(_) | Err(_) => Err(Problem::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::addresses::{Addresses, NewIpv6, Wanted};
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
        claim(&request, Rules { served, login_in_query: false }, PrivateAddresses::Allowed, now)
    }

    /// user1 with the password secret:key1.
    const HEADER: (&str, &str) = ("HTTP_AUTHORIZATION", "Basic dXNlcjE6c2VjcmV0OmtleTE=");

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    /// What a.example gets if these parameters are added.
    fn wanted(more: &str) -> Wanted {
        let query = format!("hostname=a.example{more}");
        claim_of(&query, &[HEADER], Dyndns2::Any).unwrap().updates[0].1
    }

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
        let wanted = "192.0.2.1".parse::<IpAddr>().unwrap().into();
        assert_eq!(claim.updates, ["a.example", "B.example"].map(|name| (host(name), wanted)));
        assert_eq!(claim.clock, Clock::Server);
        assert_eq!(claim.stamp.format(TimeZone::Utc), "2012-06-14 15:58:27");
        let Proof::Password(key) = claim.proof else { panic!("a password") };
        assert_eq!(key.as_bytes(), b"secret:key1");
    }

    #[test]
    fn addresses_come_by_many_names() {
        let ipv4: IpAddr = "192.0.2.1".parse().unwrap();
        let ipv6: IpAddr = "2001:db8::1".parse().unwrap();
        let both = Addresses { ipv6: Action::Set("2001:db8::1".parse().unwrap()), ..ipv4.into() };
        for (more, expected) in [
            ("", SENDER.into()),
            ("&myip=", SENDER.into()),
            ("&myip=,", SENDER.into()),
            ("&offline=NO", SENDER.into()),
            ("&myip=192.0.2.1", ipv4.into()),
            ("&myip=2001:db8::1", ipv6.into()),
            ("&myip=2001%3adb8%3A%3a1", ipv6.into()),
            ("&myipv6=2001:db8::1", ipv6.into()),
            ("&myip6=2001:db8::1&myip=", ipv6.into()),
            ("&myip=192.0.2.1,2001:db8::1", both),
            ("&myip=192.0.2.1&myipv6=2001:db8::1", both),
            ("&myip=192.0.2.1,2001:db8::1&myip6=2001:DB8::1", both),
            ("&myip=192.0.2.1&myip=192.0.2.1", ipv4.into()),
            ("&ip=192.0.2.1,2001:db8::1", both),
            ("&myipv4=192.0.2.1&myipv6=2001:db8::1", both),
            ("&ipv4=192.0.2.1&ipv6=2001:db8::1", both),
            ("&ip4=192.0.2.1&ip6=2001:db8::1", both),
            ("&a=192.0.2.1&aaaa=2001:db8::1", both),
            ("&myip=192.0.2.1,", ipv4.into()),
            ("&myip=,2001:db8::1", ipv6.into()),
            ("&myip=192.0.2.1,2001:db8::1,", both),
            ("&myip=%20192.0.2.1%0d%0a", ipv4.into()),
            ("&myip=192.0.2.1,+2001:db8::1", both),
            ("&myip=::ffff:192.0.2.1", ipv4.into()),
            ("&myip=0:0:0:0:0:ffff:c000:201", ipv4.into()),
            ("&myipv4=::ffff:192.0.2.1", ipv4.into()),
            ("&myip=192.0.2.1&myipv6=no", ipv4.into()),
            ("&myip=192.0.2.1&myipv6=preserve", ipv4.into()),
            ("&myipv4=preserve&myipv6=2001:db8::1", ipv6.into()),
            ("&myipv6=preserve", SENDER.into()),
            ("&myip=0.0.0.0&myipv6=2001:db8::1", ipv6.into()),
            ("&myip=192.0.2.1,fe80::1", ipv4.into()),
            ("&myip=192.0.2.1&ip6lanprefix=", ipv4.into()),
            ("&offline=YES&myip=192.0.2.1", Addresses::REMOVED),
            ("&offline=yes", Addresses::REMOVED),
        ] {
            assert_eq!(wanted(more), expected.into(), "{more}");
        }
    }

    #[test]
    fn a_prefix_is_for_the_hosts_behind_a_router() {
        let ipv4 = Action::Set("192.0.2.1".parse().unwrap());
        let own = Action::Set(NewIpv6::Address("2001:db8:ff::1".parse().unwrap()));
        let behind = Action::Set(NewIpv6::Prefix(Prefix::parse("2001:db8:1::/56").unwrap()));
        let (keep4, keep) = (Action::Keep, Action::Keep);
        for (more, first, others) in [
            ("&myip=2001:db8:1::/56", (keep4, behind), (keep4, behind)),
            ("&myipv6=2001:db8:1::/56", (keep4, behind), (keep4, behind)),
            ("&ip6lanprefix=2001:db8:1::/56", (keep4, behind), (keep4, behind)),
            ("&ip6lanprefix=2001:db8:1:ff::1/56", (keep4, behind), (keep4, behind)),
            ("&myip=192.0.2.1&ip6lanprefix=2001:db8:1::/56", (ipv4, behind), (ipv4, behind)),
            (
                "&myip=192.0.2.1&myipv6=2001:db8:ff::1&ip6lanprefix=2001:db8:1::/56",
                (ipv4, own),
                (ipv4, behind),
            ),
            ("&myip=2001:db8:ff::1,2001:db8:1::/56", (keep4, own), (keep4, behind)),
            ("&myip=2001:db8:1::/56&myipv6=preserve", (keep4, keep), (keep4, behind)),
            ("&myip=0.0.0.0&myipv6=2001:db8:1::/56", (keep4, behind), (keep4, behind)),
            ("&myipv6=fe80::1&ip6lanprefix=2001:db8:1::/56", (keep4, keep), (keep4, behind)),
            ("&myip=0.0.0.0,::&ip6lanprefix=2001:db8:1::/56", (keep4, keep), (keep4, behind)),
            ("&ip6lanprefix=fe80::/64,2001:db8:1::/56", (keep4, behind), (keep4, behind)),
            ("&myip=192.0.2.1&ip6lanprefix=fe80::/64", (ipv4, keep), (ipv4, keep)),
        ] {
            let query = format!("hostname=a,b,c{more}");
            let updates = claim_of(&query, &[HEADER], Dyndns2::Any).unwrap().updates;
            let [first, others] = [first, others].map(|(ipv4, ipv6)| Wanted { ipv4, ipv6 });
            let expected = [("a", first), ("b", others), ("c", others)];
            assert_eq!(updates, expected.map(|(name, wanted)| (host(name), wanted)), "{more}");
        }
        for more in [
            "&myip=2001:db8::7/56",
            "&ip6lanprefix=2001:db8::/128",
            "&myip=192.0.2.0/24",
            "&myipv4=192.0.2.7/24",
            "&ip6lanprefix=2001:db8::1",
            "&ip6lanprefix=none",
            "&myipv6=2001:db8:75:e4f0::/647656:3cff:fe47:1",
            "&ip6lanprefix=::/64",
        ] {
            let refusal = refusal(&format!("hostname=a{more}"), &[HEADER], Dyndns2::Any);
            assert!(matches!(refusal, Refusal::Form(Problem::Unusable(_), _)), "{more}");
        }
    }

    #[test]
    fn what_is_left_out_is_told_once_for_each_reason() {
        let list = "::,".repeat(2000) + "127.0.0.1,fe80::1,fe80::2,192.0.2.1";
        let query = format!("hostname=a&myip={list}&ip6lanprefix=8000::/1");
        let claim = claim_of(&query, &[HEADER], Dyndns2::Any).unwrap();
        let addresses = claim.left_out.iter().map(|one| one.text.clone());
        assert_eq!(addresses.collect::<Vec<_>>(), ["::", "127.0.0.1", "fe80::1", "8000::/1"]);
    }

    #[test]
    fn hosts_come_in_lists_as_people_write_them() {
        let hosts = |query: &str| {
            let claim = claim_of(query, &[HEADER], Dyndns2::Any).unwrap();
            claim.updates.into_iter().map(|(host, _)| host.to_string()).collect::<Vec<_>>()
        };
        for query in [
            "hostname=a.example,b.example",
            "hostname=a.example,+b.example",
            "hostname=%20a.example%20,%20b.example,",
            "hostname=,a.example,,b.example.",
            "hostname=a.example&hostname=b.example",
            "hostnames=a.example,b.example",
            "host=a.example,b.example",
            "domain=a.example,b.example",
            "hostname=a.example,b.example&host=c&domain=example",
            "hostname=&host=a.example,b.example&domain=",
        ] {
            assert_eq!(hosts(query), ["a.example", "b.example"], "{query}");
        }
    }

    #[test]
    fn an_address_by_an_unknown_name_is_refused() {
        for (query, name) in [
            ("hostname=a&v4=192.0.2.1&v6=2001:db8::1&prefix=2001:db8:1::/56", "v4"),
            ("hostname=a&myip=192.0.2.1&prefix=2001:db8:1::/56", "prefix"),
            ("hostname=a&MYIP=192.0.2.1", "MYIP"),
        ] {
            let refusal = refusal(query, &[HEADER], Dyndns2::Any);
            assert!(matches!(refusal, Refusal::Stray(n) if n == name), "{query}");
        }
        // A password may look like one.
        let query = "hostname=a&username=192.0.2.1&password=,::/";
        assert!(claim_of(query, &[HEADER], Dyndns2::Any).is_ok());
    }

    #[test]
    fn a_login_in_the_form_counts_where_it_is_allowed_over_https_alone() {
        let query = "hostname=a&username=user1&password=secret:key1";
        let header = ("HTTP_AUTHORIZATION", HEADER.1);
        for (allowed, is_https, pairs, expected) in [
            (true, true, &[][..], Ok("user1")),
            (true, true, &[header], Ok("user1")),
            (true, true, &[("HTTP_AUTHORIZATION", "Basic !")], Err("no password")),
            (true, false, &[], Err("forbidden")),
            (false, true, &[], Err("forbidden")),
        ] {
            let authorization = pairs.first().map_or("", |(_, value)| *value);
            let form = Form::parse(query.as_bytes(), b"");
            let request = Request { form, authorization, is_https, sender: SENDER };
            let rules = Rules { served: Dyndns2::Any, login_in_query: allowed };
            let now = DateTime::from_timestamp(1_795_410_000, 0).unwrap();
            let said = match claim(&request, rules, PrivateAddresses::Allowed, now) {
                Ok(claim) => Ok(claim.user),
                Err(Error::Refusal(Refusal::Identity(Unproven::LoginInForm))) => Err("forbidden"),
                Err(Error::Refusal(Refusal::Identity(Unproven::NoPassword))) => Err("no password"),
                Err(other) => panic!("{other:?}"),
            };
            assert_eq!(said, expected.map(str::to_owned), "{allowed} {is_https} {pairs:?}");
        }
    }

    #[test]
    fn what_is_no_host_or_no_address_is_refused() {
        for (query, problem, part) in [
            ("", Problem::Missing, Part::Hostname),
            ("hostname=", Problem::Missing, Part::Hostname),
            ("hostname=a%20b", Problem::Malformed, Part::Hostname),
            ("hostname=,+,", Problem::Missing, Part::Hostname),
            ("hostname=a%00", Problem::Malformed, Part::Hostname),
            ("hostname=a,%zz", Problem::Malformed, Part::Hostname),
            ("host=a&domain=example", Problem::Conflicting, Part::Host),
            ("host=", Problem::Missing, Part::Hostname),
            ("hostname=a.example,A.example", Problem::Repeated, Part::Hostname),
            ("hostname=a&hostname=A", Problem::Repeated, Part::Hostname),
            ("hostname=a&myip=x", Problem::Malformed, Part::MyIp),
            ("hostname=a&myip=1.1.1.1nas.example.net", Problem::Malformed, Part::MyIp),
            ("hostname=a&myip=192.0.2.1;2001:db8::1", Problem::Malformed, Part::MyIp),
            ("hostname=a&myipv6=::ffff:192.0.2.1", Problem::Malformed, Part::MyIpv6),
            ("hostname=a&myipv4=2001:db8::1", Problem::Malformed, Part::MyIpv4),
            ("hostname=a&myipv4=2001:db8::/32", Problem::Malformed, Part::MyIpv4),
            ("hostname=a&myip=preserve", Problem::Conflicting, Part::Connection),
            ("hostname=a&myipv4=no", Problem::Conflicting, Part::Connection),
            ("hostname=a&myip=192.0.2.1,no", Problem::Conflicting, Part::MyIp),
            (
                "hostname=a&myip=2001:db8:1::/56&ip6lanprefix=2001:db8:2::/56",
                Problem::Conflicting,
                Part::Ip6LanPrefix,
            ),
            ("hostname=a&myip=192.0.2.1,192.0.2.2", Problem::Conflicting, Part::MyIp),
            ("hostname=a&myip=2001:db8::1&myip6=2001:db8::2", Problem::Conflicting, Part::MyIp6),
            ("hostname=a&myipv6=192.0.2.1", Problem::Malformed, Part::MyIpv6),
        ] {
            let refusal = refusal(query, &[HEADER], Dyndns2::Any);
            let is_so = matches!(refusal, Refusal::Form(a, b) if (a, b) == (problem, part));
            assert!(is_so, "{query}: {refusal:?}");
        }
        let list: Vec<String> = (0..33).map(|n| format!("a{n}")).collect();
        let list = list.join(",");
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
            query in "(hostname=a,b)?(&(myip|myip6|a|v4|offline)=[0-9a-f.:,/ %YESno]{0,20}){0,3}",
        ) {
            let header = ("HTTP_AUTHORIZATION", header.as_str());
            let _ = claim_of(&query, &[header], Dyndns2::Any);
            let _ = claim_of(&query, &[HEADER], Dyndns2::Any);
        }
    }
}

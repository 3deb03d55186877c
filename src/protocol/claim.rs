//! The claim: who says what, in protocols 1 and 2. Nothing here is believed yet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::protocol::addresses::{Action, Wanted};
use crate::protocol::answer::Refusal;
use crate::protocol::form::{Form, Part, Problem};
use crate::protocol::host::HostName;
use crate::protocol::named::{LeftOut, Named, address_of};
use crate::protocol::prefix::Prefix;
use crate::protocol::signature::{text_of_protocol_1, text_of_protocol_2};
use crate::protocol::special::PrivateAddresses;
use crate::protocol::stamp::{Clock, Stamp, TimeZone};
use crate::protocol::user::Key;

/// The longest user name in bytes.
pub const MAX_USER: usize = 255;

/// The most hosts that one request can update.
pub const MAX_HOSTS: usize = 32;

/// The longest list of hosts in bytes: names with commas between them.
pub const MAX_LIST: usize = MAX_HOSTS * (HostName::MAX + 1) - 1;

/// The longest IPv6 address in bytes: its last 32 bits may be written as an IPv4 address.
pub const MAX_ADDRESS: usize = 45;

/// The longest prefix in bytes: an address, a slash and a length.
pub const MAX_PREFIX: usize = MAX_ADDRESS + 4;

/// The value of `ip` and `ip6` that removes the address.
pub const NONE: &str = "none";

/// A well-formed request for an update.
pub struct Claim {
    /// The user that it names.
    pub user: String,
    /// The hosts that it wants to update, and what it wants for each: at least one, and none twice.
    pub updates: Vec<(HostName, Wanted)>,
    /// The addresses that it names in vain.
    pub left_out: Vec<LeftOut>,
    /// The moment that it names, or at which it arrived.
    pub stamp: Stamp,
    /// Whose clock showed that moment.
    pub clock: Clock,
    /// What proves all of this.
    pub proof: Proof,
}

/// What proves that the user made the claim. It may be the key, so nothing can print it.
pub enum Proof {
    /// The hash of protocol 1.
    Sha1 {
        /// What it covers besides the key.
        text: String,
        /// As the client sent it.
        hash: [u8; 20],
    },
    /// The HMAC of protocol 2.
    HmacSha256 {
        /// What it covers.
        text: String,
        /// As the client sent it.
        code: [u8; 32],
    },
    /// The key itself.
    Password(Key),
}

impl Claim {
    /// Reads a request of protocol 2 if it has `hmac`, else one of protocol 1.
    ///
    /// `sender` is the address that sent it, which counts if the request names none. Stamps without
    /// an offset are in `zone`.
    pub fn parse(
        form: &Form,
        sender: IpAddr,
        zone: TimeZone,
        private: PrivateAddresses,
    ) -> Result<Self, Refusal> {
        if form.has(Part::Hmac) {
            Self::of_protocol_2(form, sender, zone, private)
        } else {
            Self::of_protocol_1(form, sender, zone, private)
        }
    }

    fn of_protocol_1(
        form: &Form,
        sender: IpAddr,
        zone: TimeZone,
        private: PrivateAddresses,
    ) -> Result<Self, Refusal> {
        let user = form.required(Part::User, MAX_USER)?;
        let id = form.required(Part::Id, HostName::MAX)?;
        let time = form.required(Part::TimeSt, Stamp::MAX)?;
        let hash = digits(form, Part::Hash)?;
        let host = HostName::received(id).ok_or(Refusal::Form(Problem::Malformed, Part::Id))?;
        let stamp = stamp(time, zone)?;
        // The hash does not cover addresses. Whoever sends them means protocol 2.
        must_not_have(form, &[Part::Ip, Part::Ip6])?;
        Ok(Self {
            user: user.to_owned(),
            updates: vec![(host, address_of(sender, private)?.into())],
            left_out: Vec::new(),
            stamp,
            clock: Clock::Client,
            proof: Proof::Sha1 { text: text_of_protocol_1(id, time), hash },
        })
    }

    fn of_protocol_2(
        form: &Form,
        sender: IpAddr,
        zone: TimeZone,
        private: PrivateAddresses,
    ) -> Result<Self, Refusal> {
        let user = form.required(Part::User, MAX_USER)?;
        let id = form.required(Part::Id, MAX_LIST)?;
        let time = form.required(Part::TimeSt, Stamp::MAX)?;
        let ip = form.optional(Part::Ip, MAX_ADDRESS)?;
        let ip6 = form.optional(Part::Ip6, MAX_PREFIX)?;
        let code = digits(form, Part::Hmac)?;
        let hosts = hosts(id.split(','), Part::Id)?;
        let stamp = stamp(time, zone)?;
        let mut named = Named::nothing(private);
        read_ip(&mut named, ip).map_err(|problem| Refusal::Form(problem, Part::Ip))?;
        read_ip6(&mut named, ip6).map_err(|problem| Refusal::Form(problem, Part::Ip6))?;
        must_not_have(form, &[Part::Hash])?;
        if let Some(name) = form.stray_address(&PARTS_OF_PROTOCOL_2) {
            return Err(Refusal::Stray(name.to_owned()));
        }
        let (updates, left_out) = named.shares(sender)?.for_hosts(hosts);
        let (ip, ip6) = (ip.unwrap_or_default(), ip6.unwrap_or_default());
        Ok(Self {
            user: user.to_owned(),
            updates,
            left_out,
            stamp,
            clock: Clock::Client,
            proof: Proof::HmacSha256 { text: text_of_protocol_2(user, id, time, ip, ip6), code },
        })
    }
}

const PARTS_OF_PROTOCOL_2: [Part; 6] =
    [Part::User, Part::Id, Part::TimeSt, Part::Ip, Part::Ip6, Part::Hmac];

/// Reads the names of hosts, in their order. How many there are counts first, then what they are.
pub(super) fn hosts<'n>(
    names: impl Iterator<Item = &'n str>,
    part: Part,
) -> Result<Vec<HostName>, Refusal> {
    let names: Vec<&str> = names.take(MAX_HOSTS + 1).collect();
    let refused = |problem| Refusal::Form(problem, part);
    if names.len() > MAX_HOSTS {
        return Err(refused(Problem::Overlong));
    }
    let read = |name: &&str| HostName::received(name).ok_or_else(|| refused(problem_of(name)));
    let hosts: Vec<HostName> = names.iter().map(read).collect::<Result<_, _>>()?;
    let is_twin = |(place, host): (usize, &HostName)| hosts.iter().take(place).any(|h| h == host);
    if hosts.iter().enumerate().any(is_twin) {
        return Err(refused(Problem::Repeated));
    }
    Ok(hosts)
}

/// Why this is no name of a host.
fn problem_of(name: &str) -> Problem {
    if name.starts_with("*.") { Problem::Unusable(WILDCARD) } else { Problem::Malformed }
}

const WILDCARD: &str = "has a wildcard, which a hosts file cannot have: name each host";

fn stamp(time: &str, zone: TimeZone) -> Result<Stamp, Refusal> {
    Stamp::parse(time, zone).ok_or(Refusal::Form(Problem::Malformed, Part::TimeSt))
}

/// The bytes of a parameter that consists of their hexadecimal digits.
fn digits<const LENGTH: usize>(form: &Form, part: Part) -> Result<[u8; LENGTH], Refusal> {
    let mut bytes = [0; LENGTH];
    hex::decode_to_slice(form.required(part, 2 * LENGTH)?, &mut bytes)
        .map_err(|_| Refusal::Form(Problem::Malformed, part))?;
    Ok(bytes)
}

/// What the value of `ip` says.
fn read_ip(named: &mut Named, value: Option<&str>) -> Result<(), Problem> {
    match value {
        None => Ok(()),
        Some(NONE) => named.set_ipv4(Action::Remove),
        Some(text) => {
            let address: Ipv4Addr = text.parse().map_err(|_| Problem::Malformed)?;
            named.add(address.into(), Part::Ip)
        }
    }
}

/// What the value of `ip6` says. An IPv4 address in IPv6 notation belongs to the other family.
fn read_ip6(named: &mut Named, value: Option<&str>) -> Result<(), Problem> {
    match value {
        None => Ok(()),
        Some(NONE) => named.set_ipv6(Action::Remove),
        Some(text) if text.contains('/') => {
            named.add_prefix(Prefix::parse(text).map_err(Problem::Unusable)?, Part::Ip6)
        }
        Some(text) => match text.parse::<Ipv6Addr>() {
            Ok(address) if address.to_ipv4_mapped().is_none() => {
                named.add(address.into(), Part::Ip6)
            }
            Ok(_) | Err(_) => Err(Problem::Malformed),
        },
    }
}

/// Refuses parameters of another protocol.
fn must_not_have(form: &Form, parts: &[Part]) -> Result<(), Refusal> {
    match parts.iter().find(|part| form.has(**part)) {
        Some(part) => Err(Refusal::Form(Problem::Conflicting, *part)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::addresses::{Addresses, NewIpv6};
    use proptest::prelude::*;
    use url::form_urlencoded;

    const SENDER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const HOST1: &str = "host1.h.lohray.com";
    const SEED: &str = "user=user1&id=host1.h.lohray.com&timeST=2012-06-14%2015:58:27\
                        &hash=2bd2a24f7c89869491bb9695aefda8da3daee00f";

    fn claim(query: &[u8], body: &[u8]) -> Result<Claim, Refusal> {
        Claim::parse(&Form::parse(query, body), SENDER, TimeZone::Utc, PrivateAddresses::Allowed)
    }

    fn refusal(query: impl AsRef<[u8]>) -> (Problem, Part) {
        match claim(query.as_ref(), b"").map(drop) {
            Err(Refusal::Form(problem, part)) => (problem, part),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_seeds_request_is_understood() {
        let claim = claim(SEED.as_bytes(), b"").unwrap();
        assert_eq!(claim.user, "user1");
        assert_eq!(claim.updates, [(HostName::parse(HOST1).unwrap(), SENDER.into())]);
        let Proof::Sha1 { text, hash } = claim.proof else { panic!("protocol 1") };
        assert_eq!(text, "host1.h.lohray.com\n2012-06-14 15:58:27\n");
        assert_eq!(hex::encode(hash), "2bd2a24f7c89869491bb9695aefda8da3daee00f");
    }

    #[test]
    fn parameters_may_come_in_any_order_in_query_and_body_and_beside_unknown_ones() {
        assert!(claim(b"", SEED.as_bytes()).is_ok());
        let (first, rest) = SEED.split_once('&').unwrap();
        assert!(claim(rest.as_bytes(), first.as_bytes()).is_ok());
        let other = format!("x=100%&&{}&=&y", SEED.replace("%20", "+"));
        assert!(claim(other.as_bytes(), b"").is_ok());
    }

    #[test]
    fn a_parameter_is_there_once_in_its_form() {
        use Part::{Hash, Id, TimeSt, User};
        use Problem::{Malformed, Missing, Overlong, Repeated};
        assert_eq!(refusal(""), (Missing, User));
        assert_eq!(refusal("-s+--help"), (Missing, User));
        assert_eq!(refusal("-s --help"), (Missing, User));
        assert_eq!(refusal(SEED.replace("user1", "")), (Missing, User));
        assert_eq!(refusal(SEED.replace("id=", "id[]=")), (Missing, Id));
        assert_eq!(refusal(SEED.replace("id=", "ID=")), (Missing, Id));
        assert_eq!(refusal(format!("{SEED}&id=host1.h.lohray.com")), (Repeated, Id));
        assert_eq!(refusal(format!("{SEED}&%69d=")), (Repeated, Id));
        assert_eq!(refusal(SEED.replace("user1", &"u".repeat(256))), (Overlong, User));
        assert_eq!(refusal(SEED.replace("00f", "00f0")), (Overlong, Hash));
        assert_eq!(refusal(SEED.replace("00f", "00")), (Malformed, Hash));
        assert_eq!(refusal(SEED.replace("00f", "00g")), (Malformed, Hash));
        assert_eq!(refusal(SEED.replace("2012-06-14", "2012-02-30")), (Malformed, TimeSt));
        for broken in ["%00", "%0a", "%zz", "%4", "%", "%ff", "%c3", "%20", "#"] {
            let query = SEED.replace("host1.", &format!("host1{broken}."));
            assert_eq!(refusal(query), (Malformed, Id), "{broken}");
        }
        let mut raw = SEED.replace("user1", "user?").into_bytes();
        *raw.iter_mut().find(|byte| **byte == b'?').unwrap() = 0xff;
        assert_eq!(refusal(raw), (Malformed, User));
    }

    #[test]
    fn half_an_escape_is_refused_even_where_any_text_is_allowed() {
        for user in ["u%", "u%4", "u%zz", "u%4g", "%%75"] {
            let query = SEED.replace("user1", user);
            assert_eq!(refusal(query), (Problem::Malformed, Part::User), "{user}");
        }
        assert_eq!(claim(SEED.replace("user1", "u%25").as_bytes(), b"").unwrap().user, "u%");
    }

    #[test]
    fn hash_digits_may_be_upper_case() {
        let (head, hash) = SEED.rsplit_once('=').unwrap();
        let upper = format!("{head}={}", hash.to_uppercase());
        let hash = |query: &str| match claim(query.as_bytes(), b"").unwrap().proof {
            Proof::Sha1 { hash, .. } => hash,
            Proof::HmacSha256 { .. } | Proof::Password(_) => panic!("protocol 1"),
        };
        assert_eq!(hash(&upper), hash(SEED));
    }

    /// A request of protocol 2 with these further parameters.
    fn request_2(id: &str, more: &str) -> String {
        let code = "5".repeat(64);
        format!("user=user1&id={id}&timeST=2012-06-14+15:58:27&hmac={code}{more}")
    }

    #[test]
    fn an_hmac_makes_it_protocol_2_and_covers_what_was_sent() {
        let set = |ipv4: &str, ipv6: &str| Addresses {
            ipv4: Action::Set(ipv4.parse().unwrap()),
            ipv6: Action::Set(ipv6.parse().unwrap()),
        };
        for (more, addresses, lines) in [
            ("", SENDER.into(), "\n\n"),
            ("&ip=&ip6=", SENDER.into(), "\n\n"),
            ("&ip=192.0.2.1", "192.0.2.1".parse::<IpAddr>().unwrap().into(), "192.0.2.1\n\n"),
            (
                "&ip6=2001:DB8::1&ip=192.0.2.1",
                set("192.0.2.1", "2001:db8::1"),
                "192.0.2.1\n2001:DB8::1\n",
            ),
            ("&ip=none&ip6=none", Addresses::REMOVED, "none\nnone\n"),
            ("&ip6=none", Addresses { ipv6: Action::Remove, ..Addresses::KEPT }, "\nnone\n"),
        ] {
            let claim = claim(request_2("a.example,B.example", more).as_bytes(), b"").unwrap();
            let wanted: Vec<Wanted> = claim.updates.iter().map(|(_, wanted)| *wanted).collect();
            assert_eq!(wanted, [addresses.into(); 2], "{more}");
            let Proof::HmacSha256 { text, .. } = claim.proof else { panic!("protocol 2") };
            let head = "ddns2\nuser1\na.example,B.example\n2012-06-14 15:58:27\n";
            assert_eq!(text, format!("{head}{lines}"), "{more}");
        }
    }

    #[test]
    fn an_address_is_one_of_its_family() {
        for (part, text) in [
            (Part::Ip, "2001:db8::1"),
            (Part::Ip, "192.0.2"),
            (Part::Ip, "192.0.2.01"),
            (Part::Ip, "192.0.2.1%20"),
            (Part::Ip, "None"),
            (Part::Ip6, "192.0.2.1"),
            (Part::Ip6, "::ffff:192.0.2.1"),
            (Part::Ip6, "::ffff:c000:201"),
            (Part::Ip6, "[2001:db8::1]"),
            (Part::Ip6, "fe80::1%25eth0"),
        ] {
            let query = request_2(HOST1, &format!("&{part}={text}"));
            assert_eq!(refusal(query), (Problem::Malformed, part), "{text}");
        }
        let long = format!("&ip6={}", "1".repeat(50));
        assert_eq!(refusal(request_2(HOST1, &long)), (Problem::Overlong, Part::Ip6));
        let twice = request_2(HOST1, "&ip=192.0.2.1&ip=192.0.2.1");
        assert_eq!(refusal(twice), (Problem::Repeated, Part::Ip));
    }

    #[test]
    fn a_prefix_is_for_every_host_and_signed_as_it_was_sent() {
        let more = "&ip=192.0.2.1&ip6=2001:DB8:1::/56";
        let claim = claim(request_2("a.example,b.example.", more).as_bytes(), b"").unwrap();
        let prefix = NewIpv6::Prefix(Prefix::parse("2001:db8:1::/56").unwrap());
        let wanted =
            Wanted { ipv4: Action::Set("192.0.2.1".parse().unwrap()), ipv6: Action::Set(prefix) };
        let host = |name| HostName::parse(name).unwrap();
        assert_eq!(claim.updates, [(host("a.example"), wanted), (host("b.example"), wanted)]);
        let Proof::HmacSha256 { text, .. } = claim.proof else { panic!("protocol 2") };
        assert!(text.ends_with(
            "\na.example,b.example.\n2012-06-14 15:58:27\n192.0.2.1\n2001:DB8:1::/56\n"
        ));
        for text in ["2001:db8::1/64", "2001:db8::/0", "2001:db8::/128", "192.0.2.0/24", "x/64"] {
            let (problem, part) = refusal(request_2(HOST1, &format!("&ip6={text}")));
            assert!(matches!((problem, part), (Problem::Unusable(_), Part::Ip6)), "{text}");
        }
        assert_eq!(refusal(request_2(HOST1, "&ip=192.0.2.0/24")), (Problem::Malformed, Part::Ip));
    }

    #[test]
    fn an_address_that_no_host_can_have_is_left_out_if_there_is_another() {
        let claim = |more: &str| claim(request_2(HOST1, more).as_bytes(), b"");
        for (more, ipv6) in [
            ("&ip=0.0.0.0&ip6=2001:db8::1", Action::Set("2001:db8::1".parse().unwrap())),
            ("&ip=127.0.0.1&ip6=none", Action::Remove),
        ] {
            let claim = claim(more).unwrap();
            let expected: Wanted = Addresses { ipv6, ..Addresses::KEPT }.into();
            assert_eq!(claim.updates[0].1, expected, "{more}");
            assert!(matches!(&*claim.left_out, [LeftOut { part: Part::Ip, .. }]), "{more}");
        }
        for (more, part) in [
            ("&ip=0.0.0.0", Part::Ip),
            ("&ip=224.0.0.1&ip6=", Part::Ip),
            ("&ip6=fe80::1", Part::Ip6),
            ("&ip6=::/64", Part::Ip6),
            ("&ip6=::211:32ff:fe12:3456", Part::Ip6),
        ] {
            let refusal = refusal(request_2(HOST1, more));
            assert!(matches!(refusal, (Problem::Unusable(_), p) if p == part), "{more}");
        }
    }

    #[test]
    fn an_address_by_an_unknown_name_is_refused_and_other_text_is_not() {
        for (more, name) in [
            ("&myip=192.0.2.1", "myip"),
            ("&v6=2001:db8::1", "v6"),
            ("&prefix=2001:db8::/56&ip=192.0.2.1", "prefix"),
            ("&x=,+192.0.2.1", "x"),
        ] {
            let refusal = claim(request_2(HOST1, more).as_bytes(), b"").map(drop);
            assert!(matches!(refusal, Err(Refusal::Stray(n)) if n == name), "{more}");
        }
        for more in ["&version=2.10", "&x=192.0.2", "&y=none", "&z=/"] {
            assert!(claim(request_2(HOST1, more).as_bytes(), b"").is_ok(), "{more}");
        }
        // Clients of ip.php may send what they like: nobody looked at it.
        assert!(claim(format!("{SEED}&myip=192.0.2.1").as_bytes(), b"").is_ok());
    }

    #[test]
    fn a_dot_may_end_a_name_and_a_wildcard_has_its_reason() {
        let host = |id: &str| claim(SEED.replace(HOST1, id).as_bytes(), b"");
        let claim = host("host1.h.lohray.com.").unwrap();
        assert_eq!(claim.updates[0].0.as_str(), HOST1);
        let Proof::Sha1 { text, .. } = claim.proof else { panic!("protocol 1") };
        assert_eq!(text, "host1.h.lohray.com.\n2012-06-14 15:58:27\n");
        for id in [".", "host1..", ".host1"] {
            assert!(host(id).is_err(), "{id}");
        }
        assert_eq!(refusal(request_2("a.example,A.example.", "")), (Problem::Repeated, Part::Id));
        let wildcard = refusal(request_2("*.example", ""));
        assert!(matches!(wildcard, (Problem::Unusable(_), Part::Id)));
    }

    #[test]
    fn a_list_has_up_to_32_hosts_and_none_of_them_twice() {
        let list = |count: usize| {
            (0..count).map(|n| format!("host{n}.example")).collect::<Vec<_>>().join(",")
        };
        let hosts = |id: &str| claim(request_2(id, "").as_bytes(), b"").map(|claim| claim.updates);
        assert_eq!(hosts(&list(32)).unwrap().len(), 32);
        for (id, problem) in [
            (list(33), Problem::Overlong),
            (format!("{HOST1},HOST1.h.lohray.com"), Problem::Repeated),
            // The number counts first, then what they are.
            (["a"; 33].join(","), Problem::Overlong),
            (format!("{HOST1},{HOST1},"), Problem::Malformed),
            (format!("{HOST1},"), Problem::Malformed),
            (format!("{HOST1},,a.example"), Problem::Malformed),
            (format!("{HOST1},+a.example"), Problem::Malformed),
            (String::new(), Problem::Missing),
        ] {
            assert_eq!(refusal(request_2(&id, "")), (problem, Part::Id), "{id}");
        }
        let query = SEED.replace(HOST1, "host1.h.lohray.com,host2.h.lohray.com");
        assert_eq!(refusal(query), (Problem::Malformed, Part::Id), "protocol 1 has one host");
    }

    #[test]
    fn a_list_of_the_longest_names_is_read_and_no_longer_one() {
        let label = "x".repeat(59);
        let name =
            |n: usize| format!("{n:05}.{label}.{label}.{label}.{label}.{label}")[..253].to_owned();
        let list = (0..MAX_HOSTS).map(name).collect::<Vec<_>>().join(",");
        assert_eq!(list.len(), MAX_HOSTS * 254 - 1);
        assert_eq!(claim(request_2(&list, "").as_bytes(), b"").unwrap().updates.len(), MAX_HOSTS);
        assert_eq!(refusal(request_2(&(list + "x"), "")), (Problem::Overlong, Part::Id));
    }

    #[test]
    fn parameters_of_two_protocols_conflict() {
        for (query, part) in [
            (request_2(HOST1, "&hash=2bd2a24f7c89869491bb9695aefda8da3daee00f"), Part::Hash),
            (request_2(HOST1, "&hash="), Part::Hash),
            (format!("{SEED}&ip=192.0.2.1"), Part::Ip),
            (format!("{SEED}&ip6="), Part::Ip6),
        ] {
            assert_eq!(refusal(query), (Problem::Conflicting, part));
        }
        let empty = request_2(HOST1, "").replace(&"5".repeat(64), "");
        assert_eq!(refusal(empty), (Problem::Missing, Part::Hmac));
        let short = request_2(HOST1, "").replace(&"5".repeat(64), &"5".repeat(62));
        assert_eq!(refusal(short), (Problem::Malformed, Part::Hmac));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_understood(
            query in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = claim(&query, b"");
        }

        #[test]
        fn any_damage_to_a_request_is_refused_or_understood(
            at in 0..SEED.len(),
            byte in any::<u8>(),
        ) {
            let mut query = SEED.as_bytes().to_vec();
            query[at] = byte;
            let _ = claim(&query, b"");
        }

        #[test]
        fn an_encoded_parameter_decodes_to_itself(user in "[^\\p{Cc}\u{fffd}]{1,60}") {
            let mut form = form_urlencoded::Serializer::new(String::new());
            let form = form.append_pair("user", &user).finish();
            let query = format!("{form}{}", SEED.strip_prefix("user=user1").unwrap());
            let claim = claim(query.as_bytes(), b"").unwrap();
            prop_assert_eq!(claim.user, user);
        }
    }
}

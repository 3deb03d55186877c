//! The request: what the CGI environment and the body hold (RFC 3875), and what they claim.
//!
//! All of it is hostile. Only the four declared parameters of protocol 1 are looked at, only once
//! each, and only in their exact form.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::Read;
use std::net::IpAddr;

use url::form_urlencoded;

use crate::error::{Fault, Part, Problem, Refusal};
use crate::host::HostName;
use crate::stamp::{Stamp, Zone};

/// The longest query or body in bytes that is read, about Apache's own limit for a request line.
pub const MAX_FORM: usize = 8192;

/// The most that is read of a body, in bytes. Apache is told to refuse less than that.
const MAX_BODY: u64 = 1 << 20;

/// The longest user name in bytes.
pub const MAX_USER: usize = 255;

/// The address that sent the request. Headers such as `X-Forwarded-For` are never looked at: behind
/// a proxy, Apache's `mod_remoteip` sets `REMOTE_ADDR`. IPv4 mapped into IPv6 becomes IPv4.
pub fn remote_address(variable: impl Fn(&str) -> Option<OsString>) -> Result<IpAddr, Fault> {
    let text = variable("REMOTE_ADDR");
    text.as_ref()
        .and_then(|text| text.to_str()?.parse::<IpAddr>().ok())
        .map(|address| address.to_canonical())
        .ok_or_else(|| {
            let reason = "is no IP address that DNS can hold: run this program as a CGI of Apache";
            Fault::new("REMOTE_ADDR", reason)
        })
}

/// How something is asked for that can only be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// GET.
    Whole,
    /// HEAD: the headers alone.
    Headers,
}

impl Reading {
    /// Refuses every other method.
    pub fn of(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Refusal> {
        match variable("REQUEST_METHOD").unwrap_or_default().as_encoded_bytes() {
            b"GET" => Ok(Self::Whole),
            b"HEAD" => Ok(Self::Headers),
            _ => Err(Refusal::ReadOnly),
        }
    }
}

/// How many bytes of the body are there to be read, or a bound where the client did not say.
///
/// A body in chunks (RFC 9112, 7.1) has no length, but Apache ends it. Other bodies may stay open, so
/// they are read no further than their length.
pub fn body_length(variable: impl Fn(&str) -> Option<OsString>) -> u64 {
    match variable("CONTENT_LENGTH").filter(|length| !length.is_empty()) {
        Some(length) => length.to_str().and_then(|l| l.parse().ok()).unwrap_or(0).min(MAX_BODY),
        None if variable("HTTP_TRANSFER_ENCODING").is_some() => MAX_BODY,
        None => 0,
    }
}

/// The form of a GET or POST request, still encoded.
#[derive(Debug)]
pub struct Request {
    query: Vec<u8>,
    body: Vec<u8>,
}

impl Request {
    /// Takes the request from the environment and, for POST, `CONTENT_LENGTH` bytes of the body.
    pub fn read(
        variable: impl Fn(&str) -> Option<OsString>,
        body: impl Read,
    ) -> Result<Self, Refusal> {
        let bytes = |name| variable(name).unwrap_or_default().into_encoded_bytes();
        let body = match bytes("REQUEST_METHOD").as_slice() {
            b"GET" => Vec::new(),
            b"POST" => read_body(&bytes("CONTENT_LENGTH"), &bytes("CONTENT_TYPE"), body)?,
            _ => return Err(Refusal::Method),
        };
        let query = bytes("QUERY_STRING");
        if query.len() > MAX_FORM {
            return Err(Refusal::Form(Problem::Overlong, Part::Query));
        }
        Ok(Self { query, body })
    }

    /// The pairs of the query and the body together.
    fn pairs(&self) -> Vec<Pair<'_>> {
        [&self.query, &self.body]
            .into_iter()
            .flat_map(|form| form.split(|byte| *byte == b'&'))
            .filter_map(|text| {
                let (name, value) = form_urlencoded::parse(text).next()?;
                Some(Pair { text, name, value })
            })
            .collect()
    }
}

/// A name and a value of a form.
struct Pair<'r> {
    /// As it was sent.
    text: &'r [u8],
    name: Cow<'r, str>,
    value: Cow<'r, str>,
}

fn read_body(length: &[u8], kind: &[u8], body: impl Read) -> Result<Vec<u8>, Refusal> {
    if length.is_empty() {
        return Ok(Vec::new());
    }
    let refused = |problem| Refusal::Form(problem, Part::Body);
    let length: usize = std::str::from_utf8(length)
        .ok()
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or(refused(Problem::Malformed))?;
    if length > MAX_FORM {
        return Err(refused(Problem::Overlong));
    }
    let media_type = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if length > 0 && !media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        return Err(refused(Problem::Malformed));
    }
    let mut bytes = Vec::with_capacity(length);
    let read = body.take(length as u64).read_to_end(&mut bytes);
    if read.is_err() || bytes.len() < length {
        return Err(refused(Problem::Malformed));
    }
    Ok(bytes)
}

/// Who says what: a well-formed request of protocol 1, not yet believed.
#[derive(Debug)]
pub struct Claim {
    user: String,
    host: HostName,
    time: String,
    stamp: Stamp,
    hash: [u8; 20],
    address: IpAddr,
}

impl Claim {
    /// Takes the four parameters from the query and the body together.
    pub fn parse(request: &Request, address: IpAddr, zone: Zone) -> Result<Self, Refusal> {
        let malformed = |part| Refusal::Form(Problem::Malformed, part);
        let form = request.pairs();
        let user = parameter(&form, Part::User, MAX_USER)?;
        let host = parameter(&form, Part::Id, HostName::MAX)?;
        let time = parameter(&form, Part::TimeSt, Stamp::MAX)?;
        let hash = parameter(&form, Part::Hash, 40)?;
        let mut digest = [0; 20];
        hex::decode_to_slice(hash, &mut digest).map_err(|_| malformed(Part::Hash))?;
        Ok(Self {
            user: user.to_owned(),
            host: HostName::parse(host).ok_or(malformed(Part::Id))?,
            time: time.to_owned(),
            stamp: Stamp::parse(time, zone).ok_or(malformed(Part::TimeSt))?,
            hash: digest,
            address,
        })
    }

    /// The user that the request names.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The host that it wants to update.
    #[must_use]
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// The time stamp as it was sent, which is what the hash covers.
    #[must_use]
    pub fn time(&self) -> &str {
        &self.time
    }

    /// The moment that the time stamp names.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The hash that came with the request.
    #[must_use]
    pub fn hash(&self) -> &[u8; 20] {
        &self.hash
    }

    /// The address that sent the request.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

/// The value of the one occurrence of a parameter: at most `max` bytes of printable text.
fn parameter<'f>(form: &'f [Pair], part: Part, max: usize) -> Result<&'f str, Refusal> {
    let refused = |problem| Refusal::Form(problem, part);
    let name = part.to_string();
    let mut found = None;
    for pair in form.iter().filter(|pair| pair.name == name) {
        if !has_whole_escapes(pair.text) {
            return Err(refused(Problem::Malformed));
        }
        if found.replace(&*pair.value).is_some() {
            return Err(refused(Problem::Repeated));
        }
    }
    let value = found.filter(|value| !value.is_empty()).ok_or(refused(Problem::Missing))?;
    if value.len() > max {
        return Err(refused(Problem::Overlong));
    }
    // The decoder puts U+FFFD in the place of bytes that are not UTF-8.
    if value.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
        return Err(refused(Problem::Malformed));
    }
    Ok(value)
}

/// Whether two hexadecimal digits follow each `%`; the decoder would take `%zz` as it stands.
fn has_whole_escapes(pair: &[u8]) -> bool {
    pair.split(|byte| *byte == b'%')
        .skip(1)
        .all(|rest| rest.get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const FORM: &str = "application/x-www-form-urlencoded";
    const SEED: &str = "user=user1&id=host1.h.lohray.com&timeST=2012-06-14%2015:58:27\
                        &hash=2bd2a24f7c89869491bb9695aefda8da3daee00f";

    fn claim(query: &[u8], body: &[u8]) -> Result<Claim, Refusal> {
        let request = Request { query: query.to_vec(), body: body.to_vec() };
        Claim::parse(&request, ADDRESS, Zone::Utc)
    }

    fn refusal(query: impl AsRef<[u8]>) -> (Problem, Part) {
        match claim(query.as_ref(), b"") {
            Err(Refusal::Form(problem, part)) => (problem, part),
            other => panic!("{other:?}"),
        }
    }

    fn environment<'a>(
        pairs: &'a [(&'a str, &'a str)],
    ) -> impl Fn(&str) -> Option<OsString> + use<'a> {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    }

    fn read(pairs: &[(&str, &str)], body: &[u8]) -> Result<Request, Refusal> {
        Request::read(environment(pairs), body)
    }

    #[test]
    fn the_seeds_request_is_understood() {
        let claim = claim(SEED.as_bytes(), b"").unwrap();
        assert_eq!(claim.user(), "user1");
        assert_eq!(claim.host().as_str(), "host1.h.lohray.com");
        assert_eq!(claim.time(), "2012-06-14 15:58:27");
        assert_eq!(hex::encode(claim.hash()), "2bd2a24f7c89869491bb9695aefda8da3daee00f");
    }

    #[test]
    fn parameters_may_come_in_any_order_in_query_and_body_and_beside_unknown_ones() {
        assert!(claim(b"", SEED.as_bytes()).is_ok());
        let (first, rest) = SEED.split_once('&').unwrap();
        assert!(claim(rest.as_bytes(), first.as_bytes()).is_ok());
        let other = format!("x=100%&&{}&=&y", SEED.replace("%20", "+"));
        assert_eq!(claim(other.as_bytes(), b"").unwrap().time(), "2012-06-14 15:58:27");
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
    fn hash_digits_may_be_upper_case() {
        let (head, hash) = SEED.rsplit_once('=').unwrap();
        let upper = format!("{head}={}", hash.to_uppercase());
        assert_eq!(
            claim(upper.as_bytes(), b"").unwrap().hash(),
            claim(SEED.as_bytes(), b"").unwrap().hash()
        );
    }

    #[test]
    fn only_get_and_post_are_served() {
        for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "get", ""] {
            assert!(matches!(read(&[("REQUEST_METHOD", method)], b""), Err(Refusal::Method)));
        }
        assert!(matches!(read(&[], b""), Err(Refusal::Method)));
    }

    #[test]
    fn what_can_only_be_read_is_had_by_get_and_head() {
        let reading = |method| Reading::of(environment(&[("REQUEST_METHOD", method)]));
        assert!(matches!(reading("GET"), Ok(Reading::Whole)));
        assert!(matches!(reading("HEAD"), Ok(Reading::Headers)));
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", ""] {
            assert!(matches!(reading(method), Err(Refusal::ReadOnly)), "{method}");
        }
    }

    #[test]
    fn the_body_is_read_to_its_announced_length_and_no_further() {
        let post = |length, kind, body: &[u8]| {
            read(
                &[("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", length), ("CONTENT_TYPE", kind)],
                body,
            )
            .map(|request| request.body)
        };
        assert_eq!(post("3", FORM, b"a=bcd").unwrap(), b"a=b");
        assert_eq!(
            post("3", "Application/X-WWW-Form-URLencoded; charset=utf-8", b"a=b").unwrap(),
            b"a=b"
        );
        assert_eq!(post("", "", b"a=b").unwrap(), b"");
        assert_eq!(post("0", "", b"").unwrap(), b"");
        for (length, kind, body) in [
            ("4", FORM, "a=b"),
            ("-1", FORM, "a=b"),
            ("x", FORM, "a=b"),
            ("+3", FORM, "a=b"),
            ("8193", FORM, "a=b"),
            ("99999999999999999999", FORM, "a=b"),
            ("3", "multipart/form-data", "a=b"),
            ("3", "", "a=b"),
        ] {
            assert!(post(length, kind, body.as_bytes()).is_err(), "{length} {kind}");
        }
    }

    #[test]
    fn no_more_of_a_body_is_read_than_its_length_or_a_bound() {
        for (pairs, expected) in [
            (&[][..], 0),
            (&[("CONTENT_LENGTH", "")], 0),
            (&[("CONTENT_LENGTH", "7")], 7),
            (&[("CONTENT_LENGTH", "7"), ("HTTP_TRANSFER_ENCODING", "chunked")], 7),
            (&[("CONTENT_LENGTH", "-7")], 0),
            (&[("CONTENT_LENGTH", "9999999999")], MAX_BODY),
            (&[("HTTP_TRANSFER_ENCODING", "chunked")], MAX_BODY),
        ] {
            assert_eq!(body_length(environment(pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn an_overlong_query_is_refused() {
        let long = "x".repeat(MAX_FORM + 1);
        let result = read(&[("REQUEST_METHOD", "GET"), ("QUERY_STRING", &long)], b"");
        assert!(matches!(result, Err(Refusal::Form(Problem::Overlong, Part::Query))));
    }

    #[test]
    fn only_remote_addr_tells_the_address() {
        let address = |text| {
            remote_address(environment(&[
                ("REMOTE_ADDR", text),
                ("HTTP_X_FORWARDED_FOR", "192.0.2.9"),
                ("HTTP_CLIENT_IP", "192.0.2.9"),
            ]))
        };
        assert_eq!(address("192.0.2.1").unwrap().to_string(), "192.0.2.1");
        assert_eq!(address("2001:DB8::1").unwrap().to_string(), "2001:db8::1");
        assert_eq!(address("::ffff:192.0.2.1").unwrap().to_string(), "192.0.2.1");
        for text in ["", "localhost", "192.0.2.1:80", "192.0.2", "fe80::1%eth0", " 192.0.2.1"] {
            assert!(address(text).is_err(), "{text}");
        }
        assert!(remote_address(environment(&[])).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_understood(query in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = claim(&query, b"");
        }

        #[test]
        fn any_damage_to_a_request_is_refused_or_understood(at in 0..SEED.len(), byte in any::<u8>()) {
            let mut query = SEED.as_bytes().to_vec();
            query[at] = byte;
            let _ = claim(&query, b"");
        }

        #[test]
        fn an_encoded_parameter_decodes_to_itself(user in "[^\\p{Cc}\u{fffd}]{1,60}") {
            let form = form_urlencoded::Serializer::new(String::new()).append_pair("user", &user).finish();
            let query = format!("{form}{}", SEED.strip_prefix("user=user1").unwrap());
            let claim = claim(query.as_bytes(), b"").unwrap();
            prop_assert_eq!(claim.user(), user);
        }
    }
}

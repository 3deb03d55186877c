//! The request: what the CGI environment and the body hold (RFC 3875).
//!
//! All of it is hostile. Only declared parameters are looked at, only once each, and only in their
//! exact form.

use std::ffi::OsString;
use std::io::Read;
use std::net::IpAddr;

use crate::fault::Fault;
use crate::protocol::answer::Refusal;
use crate::protocol::form::{Form, MAX_FORM, Part, Problem};

/// The most that is read of a body, in bytes. Apache is told to refuse less than that.
const MAX_BODY: u64 = 1 << 20;

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
    /// A request with this query and this body.
    #[cfg(test)]
    pub(crate) fn for_test(query: &[u8], body: &[u8]) -> Self {
        Self { query: query.to_vec(), body: body.to_vec() }
    }

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

    /// The parameters of the query and the body together.
    #[must_use]
    pub fn form(&self) -> Form<'_> {
        Form::parse(&self.query, &self.body)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";
    fn environment<'a>(
        pairs: &'a [(&'a str, &'a str)],
    ) -> impl Fn(&str) -> Option<OsString> + use<'a> {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    }

    fn read(pairs: &[(&str, &str)], body: &[u8]) -> Result<Request, Refusal> {
        Request::read(environment(pairs), body)
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
}

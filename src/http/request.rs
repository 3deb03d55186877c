//! The request: what the web server's variables and the body hold (RFC 3875).
//!
//! Treat all of it as hostile.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::net::IpAddr;

use crate::config;
use crate::fault::Fault;
use crate::http::origin::{Origin, ip_address};
use crate::http::service::Service;
use crate::protocol::answer::{Dialect, Refusal};
use crate::protocol::form::{MAX_FORM, Part, Problem};

/// A request without its body, whichever way it reached us. It may contain a key, so nothing can
/// print it.
pub struct Request {
    /// What it is for.
    pub(crate) service: Service,
    /// Its method.
    pub(crate) method: Method,
    /// The address that sent it, if the variable holds one.
    pub(crate) remote_address: Option<IpAddr>,
    /// The query string, still encoded.
    pub(crate) query: Vec<u8>,
    /// How long its body is, according to the client.
    pub body_length: BodyLength,
    /// The media type of its body, if the method is POST.
    pub(crate) content_type: Vec<u8>,
    /// Whether it came over HTTPS, if it is a request of dyndns2.
    pub is_https: bool,
    /// The header `Authorization`, if it is a request of dyndns2. Apache passes it on if
    /// `CGIPassAuth` is on; other web servers always do. Empty if it is not text.
    pub authorization: String,
    /// Whether Apache may have kept that header from us.
    pub(crate) is_header_withheld: bool,
    /// The header `Accept`, if the service is the status page.
    pub(crate) accept: String,
    /// Where it comes from, if the service is the status page.
    pub(crate) origin: Origin,
    /// The configuration file, if the operator named one.
    pub(crate) config_file: Option<OsString>,
}

impl Request {
    /// Reads the variables, each of them once. Nothing is refused yet.
    ///
    /// Each look-up walks through the whole environment, so this skips what the service does not
    /// use.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let variable = &variable;
        let value = |name| variable(name).unwrap_or_default();
        let value_if = |is_used, name| if is_used { value(name) } else { OsString::new() };
        let service = Service::of(&value("SCRIPT_NAME"), &value("PATH_INFO"));
        let method = Method::of(value("REQUEST_METHOD").as_encoded_bytes());
        let sender = ip_address(&value("REMOTE_ADDR"));
        let is_dyndns2 = service == Service::Update(Dialect::Dyndns2);
        let is_chunked = || variable("HTTP_TRANSFER_ENCODING").is_some();
        let authorization = is_dyndns2.then(|| variable("HTTP_AUTHORIZATION")).flatten();
        let is_missing = is_dyndns2 && authorization.is_none();
        let is_status = service == Service::Status;
        let accept = value_if(is_status, "HTTP_ACCEPT");
        Self {
            service,
            method,
            remote_address: sender,
            query: value("QUERY_STRING").into_encoded_bytes(),
            body_length: BodyLength::of(&value("CONTENT_LENGTH"), is_chunked),
            content_type: value_if(method == Method::Post, "CONTENT_TYPE").into_encoded_bytes(),
            is_https: value_if(is_dyndns2, "HTTPS") == "on",
            authorization: authorization.unwrap_or_default().into_string().unwrap_or_default(),
            is_header_withheld: is_missing && is_apache(&value("SERVER_SOFTWARE")),
            accept: accept.to_string_lossy().into_owned(),
            origin: if is_status { Origin::read(variable) } else { Origin::default() },
            config_file: variable(config::VARIABLE),
        }
    }

    /// The address that sent the request.
    pub fn sender(&self) -> Result<IpAddr, Fault> {
        self.remote_address.ok_or_else(|| {
            let reason = "is not an IP address that DNS can hold: \
                          the web server has to set it to the client's";
            Fault::new("REMOTE_ADDR", reason)
        })
    }

    /// The method of a request that can only read. Refuses all methods but GET and HEAD.
    pub(crate) fn reading(&self) -> Result<Method, Refusal> {
        match self.method {
            Method::Get | Method::Head => Ok(self.method),
            Method::Post | Method::Other => Err(Refusal::ReadOnly),
        }
    }

    /// Reads the body of a form, still encoded. Refuses all methods but GET, which has no body, and
    /// POST.
    pub fn form_body(&self, body: impl Read) -> Result<Vec<u8>, Refusal> {
        match self.method {
            Method::Get => Ok(Vec::new()),
            Method::Post => read_body(self.body_length, &self.content_type, body),
            Method::Head | Method::Other => Err(Refusal::Method),
        }
    }

    /// The query string of a form, still encoded.
    pub fn form_query(&self) -> Result<&[u8], Refusal> {
        if self.query.len() > MAX_FORM {
            return Err(Refusal::Form(Problem::Overlong, Part::Query));
        }
        Ok(&self.query)
    }
}

/// Whether the name of a web server, as in `SERVER_SOFTWARE`, is that of Apache.
fn is_apache(software: &OsStr) -> bool {
    software.as_encoded_bytes().starts_with(b"Apache")
}

/// The methods that any service here accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// GET.
    Get,
    /// HEAD: GET for the headers only.
    Head,
    /// POST.
    Post,
    /// Any other. No service accepts it.
    Other,
}

impl Method {
    fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            _ => Self::Other,
        }
    }
}

/// How long a body is, according to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// The client gives no length, so there is no body.
    None,
    /// The body comes in chunks (RFC 9112, 7.1), and the web server ends it.
    Chunked,
    /// The client gives this number of bytes.
    Bytes(u64),
    /// The client gives no valid number. This many bytes may be there all the same: three for `+3`.
    Malformed(u64),
}

impl BodyLength {
    /// The most that we read of a body, in bytes. The limits in the shipped files are lower.
    const MAX: u64 = 1 << 20;

    fn of(length: &OsStr, is_chunked: impl FnOnce() -> bool) -> Self {
        if length.is_empty() {
            return if is_chunked() { Self::Chunked } else { Self::None };
        }
        let Some(number) = length.to_str().and_then(|text| text.parse().ok()) else {
            return Self::Malformed(0);
        };
        if length.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            Self::Bytes(number)
        } else {
            Self::Malformed(number)
        }
    }

    /// How many bytes we may read without waiting for a client that sends no more.
    #[must_use]
    pub fn readable(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Chunked => Self::MAX,
            Self::Bytes(length) | Self::Malformed(length) => length.min(Self::MAX),
        }
    }
}

fn read_body(length: BodyLength, kind: &[u8], body: impl Read) -> Result<Vec<u8>, Refusal> {
    let refused = |problem| Refusal::Form(problem, Part::Body);
    let length = match length {
        BodyLength::None | BodyLength::Chunked => return Ok(Vec::new()),
        BodyLength::Bytes(length) => length,
        BodyLength::Malformed(_) => return Err(refused(Problem::Malformed)),
    };
    if length > MAX_FORM as u64 {
        return Err(refused(Problem::Overlong));
    }
    let media_type = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if length > 0 && !media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        return Err(refused(Problem::Malformed));
    }
    let mut bytes = Vec::with_capacity(MAX_FORM);
    let read = body.take(length).read_to_end(&mut bytes);
    if read.is_err() || (bytes.len() as u64) < length {
        return Err(refused(Problem::Malformed));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    const FORM: &str = "application/x-www-form-urlencoded";

    fn request(pairs: &[(&str, &str)]) -> Request {
        Request::read(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
    }

    fn body(pairs: &[(&str, &str)], body: &[u8]) -> Result<Vec<u8>, Refusal> {
        request(pairs).form_body(body)
    }

    #[test]
    fn only_get_and_post_are_served() {
        for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "get", ""] {
            assert!(matches!(body(&[("REQUEST_METHOD", method)], b""), Err(Refusal::Method)));
        }
        assert!(matches!(body(&[], b""), Err(Refusal::Method)));
    }

    #[test]
    fn what_can_only_be_read_is_had_by_get_and_head() {
        let reading = |method| request(&[("REQUEST_METHOD", method)]).reading();
        assert!(matches!(reading("GET"), Ok(Method::Get)));
        assert!(matches!(reading("HEAD"), Ok(Method::Head)));
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", ""] {
            assert!(matches!(reading(method), Err(Refusal::ReadOnly)), "{method}");
        }
    }

    #[test]
    fn the_body_is_read_to_its_announced_length_and_no_further() {
        let post = |length, kind, bytes: &[u8]| {
            body(
                &[("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", length), ("CONTENT_TYPE", kind)],
                bytes,
            )
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
            (&[("CONTENT_LENGTH", "+7")], 7),
            (&[("CONTENT_LENGTH", "9999999999")], BodyLength::MAX),
            (&[("CONTENT_LENGTH", "99999999999999999999")], 0),
            (&[("HTTP_TRANSFER_ENCODING", "chunked")], BodyLength::MAX),
            (&[("CONTENT_LENGTH", ""), ("HTTP_TRANSFER_ENCODING", "chunked")], BodyLength::MAX),
        ] {
            assert_eq!(request(pairs).body_length.readable(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn an_overlong_query_is_refused() {
        let long = "x".repeat(MAX_FORM + 1);
        let request = request(&[("REQUEST_METHOD", "GET"), ("QUERY_STRING", &long)]);
        let result = request.form_query();
        assert!(matches!(result, Err(Refusal::Form(Problem::Overlong, Part::Query))));
    }

    #[test]
    fn a_query_or_a_body_of_the_greatest_length_is_read_and_no_longer_one() {
        let long = |length| "x".repeat(length);
        let query = request(&[("QUERY_STRING", &long(MAX_FORM))]);
        assert_eq!(query.form_query().unwrap().len(), MAX_FORM);
        let post = |length: usize| {
            let [text, body] = [length.to_string(), long(length)];
            let post = ("REQUEST_METHOD", "POST");
            let post = request(&[post, ("CONTENT_LENGTH", &text), ("CONTENT_TYPE", FORM)]);
            post.form_body(body.as_bytes())
        };
        assert_eq!(post(MAX_FORM).unwrap().len(), MAX_FORM);
        let result = post(MAX_FORM + 1);
        assert!(matches!(result, Err(Refusal::Form(Problem::Overlong, Part::Body))));
    }

    #[test]
    fn only_remote_addr_tells_the_address() {
        let address = |text| {
            request(&[
                ("REMOTE_ADDR", text),
                ("HTTP_X_FORWARDED_FOR", "192.0.2.9"),
                ("HTTP_CLIENT_IP", "192.0.2.9"),
            ])
            .sender()
        };
        assert_eq!(address("192.0.2.1").unwrap().to_string(), "192.0.2.1");
        assert_eq!(address("2001:DB8::1").unwrap().to_string(), "2001:db8::1");
        assert_eq!(address("::ffff:192.0.2.1").unwrap().to_string(), "192.0.2.1");
        for text in ["", "localhost", "192.0.2.1:80", "192.0.2", "fe80::1%eth0", " 192.0.2.1"] {
            assert!(address(text).is_err(), "{text}");
        }
        assert!(request(&[]).sender().is_err());
    }

    #[test]
    fn only_https_on_and_readable_text_count() {
        for (value, expected) in [("on", true), ("off", false), ("ON", false), ("", false)] {
            let request = request(&[("PATH_INFO", "/nic/update"), ("HTTPS", value)]);
            assert_eq!(request.is_https, expected, "{value}");
        }
        let others = [("HTTP_HTTPS", "on"), ("HTTP_X_FORWARDED_PROTO", "https")];
        assert!(!request(&[&[("PATH_INFO", "/nic/update")], &others[..]].concat()).is_https);
        let odd = |path: &'static str| {
            Request::read(move |name| match name {
                "PATH_INFO" => Some(path.into()),
                _ => Some(OsString::from_vec(vec![b'a', 0xff])),
            })
        };
        assert_eq!(odd("/nic/update").authorization, "");
        assert_eq!(odd("/status").accept, "a\u{fffd}");
    }

    #[test]
    fn only_apache_withholds_a_header_and_only_one_that_is_missing() {
        let is_withheld = |path, more: &[(&str, &str)]| {
            request(&[&[("PATH_INFO", path)], more].concat()).is_header_withheld
        };
        for name in ["Apache", "Apache/2.4.57 (Debian)"] {
            let apache = ("SERVER_SOFTWARE", name);
            assert!(is_withheld("/nic/update", &[apache]));
            assert!(!is_withheld("/nic/update", &[apache, ("HTTP_AUTHORIZATION", "x")]));
            assert!(!is_withheld("", &[apache]));
        }
        for name in ["nginx/1.22.1", "lighttpd/1.4.69", "Caddy/2.6.2", ""] {
            assert!(!is_withheld("/nic/update", &[("SERVER_SOFTWARE", name)]), "{name}");
        }
        assert!(!is_withheld("/nic/update", &[]));
    }
}

//! What goes out: the reply to the client, as a CGI response (RFC 3875, 6), and the log.
//!
//! The reply to an update has one line for each host, and each line begins with a fixed word. The
//! status page brings its own media types.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::http::permit::Permit;
use crate::http::request::Method;
use crate::protocol::answer::{Answer, Answers, Dialect, Error, Refusal};

/// Everything that comes out of a request.
#[derive(Debug)]
pub struct Output {
    /// For the client.
    pub reply: Reply,
    /// For the log: any number of lines, each ending in LF.
    pub log: String,
    /// For a reply that may be large: kept until the reply has been sent.
    pub permit: Option<Permit>,
}

/// What the client gets. Of the client's own text, it repeats only addresses that we have parsed.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    status: StatusCode,
    /// The media type and the headers that belong to it, each ending in CR LF.
    headers: Cow<'static, str>,
    body: String,
}

/// The media type of lines of text.
const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";

impl Reply {
    /// The reply to an update. If hosts were refused, the status is that of the first of them.
    #[must_use]
    pub fn to_update(dialect: Dialect, outcome: &Result<Answers, Error>) -> Self {
        let reply = match outcome {
            Err(error) => Self::to_failure(dialect, error),
            Ok(answers) => {
                let none = Self::text(StatusCode::Ok, String::new());
                answers.iter().fold(none, |reply, answer| reply.with_line(dialect, answer))
            }
        };
        match dialect {
            Dialect::Signed => reply,
            Dialect::Dyndns2 => reply.with_length(),
        }
    }

    /// Adds the line of a host. The first status other than OK stays.
    fn with_line(mut self, dialect: Dialect, answer: &Answer) -> Self {
        let (status, line) = match answer {
            Ok(accepted) => (StatusCode::Ok, accepted.to_string()),
            Err(refusal) => (StatusCode::of(dialect, refusal), refusal.line(dialect)),
        };
        if self.status == StatusCode::Ok {
            self.status = status;
        }
        self.body += &line;
        self.body.push('\n');
        self
    }

    /// The reply to a request that was not carried out.
    pub(crate) fn to_failure(dialect: Dialect, error: &Error) -> Self {
        let status = match error {
            Error::Refusal(refusal) => StatusCode::of(dialect, refusal),
            Error::Fault(_) => StatusCode::ServiceUnavailable,
        };
        Self::text(status, error.line(dialect) + "\n")
    }

    /// The client's own address.
    pub(crate) fn address(address: IpAddr) -> Self {
        Self::text(StatusCode::Ok, format!("{address}\n"))
    }

    /// A document. The headers are its media type and what belongs to it, each ending in CR LF.
    pub(crate) fn document(headers: &'static str, body: String) -> Self {
        Self { status: StatusCode::Ok, headers: headers.into(), body }
    }

    fn text(status: StatusCode, body: String) -> Self {
        Self { status, headers: TEXT.into(), body }
    }

    /// Adds the length. Without it, the web server may send the reply in chunks, and ddclient takes
    /// the lengths of the chunks for text. Apache believes us if told to (`ap_trust_cgilike_cl`).
    fn with_length(self) -> Self {
        let headers = format!("{}Content-Length: {}\r\n", self.headers, self.body.len());
        Self { headers: headers.into(), ..self }
    }

    /// Tells the client to come back later, because of a fault.
    pub(crate) fn unavailable(self) -> Self {
        Self { status: StatusCode::ServiceUnavailable, ..self }
    }

    /// Drops the body if the method is HEAD: "the script MUST NOT provide a response message-body"
    /// (RFC 3875, 4.3.3).
    pub(crate) fn for_method(self, method: Method) -> Self {
        match method {
            Method::Head => Self { body: String::new(), ..self },
            Method::Get | Method::Post | Method::Other => self,
        }
    }

    /// The response as bytes for standard output.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        let Self { status, headers, body } = self;
        format!("{}{headers}Cache-Control: no-store\r\n\r\n{body}", status.headers()).into_bytes()
    }
}

/// An HTTP status, with the headers that it requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatusCode {
    Ok,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    ReadOnly,
    ServiceUnavailable,
}

impl StatusCode {
    /// The status of a refusal. Clients of dyndns2 report the word of a reply if its status is 200,
    /// but with hardly any other status. So they nearly always get 200.
    fn of(dialect: Dialect, refusal: &Refusal) -> Self {
        let choose = |signed, dyndns2| match dialect {
            Dialect::Signed => signed,
            Dialect::Dyndns2 => dyndns2,
        };
        match refusal {
            Refusal::Method => Self::MethodNotAllowed,
            Refusal::ReadOnly => Self::ReadOnly,
            Refusal::NoPage => Self::NotFound,
            Refusal::Audience(_) => Self::Forbidden,
            Refusal::Form(..) | Refusal::Stray(_) => choose(Self::BadRequest, Self::Ok),
            Refusal::Identity(_) => choose(Self::Forbidden, Self::Unauthorized),
            Refusal::Host
            | Refusal::Stale { .. }
            | Refusal::NoIpv6
            | Refusal::Replay { .. }
            | Refusal::Disabled
            | Refusal::Insecure => choose(Self::Forbidden, Self::Ok),
        }
    }

    /// The status line, and the headers that RFC 9110, 15 requires with it.
    fn headers(self) -> &'static str {
        match self {
            Self::Ok => "Status: 200 OK\r\n",
            Self::BadRequest => "Status: 400 Bad Request\r\n",
            Self::Unauthorized => {
                "Status: 401 Unauthorized\r\n\
                 WWW-Authenticate: Basic realm=\"ddns-cgi\", charset=\"UTF-8\"\r\n"
            }
            Self::Forbidden => "Status: 403 Forbidden\r\n",
            Self::NotFound => "Status: 404 Not Found\r\n",
            Self::MethodNotAllowed => "Status: 405 Method Not Allowed\r\nAllow: GET, POST\r\n",
            Self::ReadOnly => "Status: 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n",
            Self::ServiceUnavailable => "Status: 503 Service Unavailable\r\nRetry-After: 60\r\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::protocol::addresses::Addresses;
    use crate::protocol::answer::{Accepted, Outsider, Unproven};
    use crate::protocol::form::{Part, Problem};
    use crate::protocol::stamp::Stamp;

    fn text(reply: Reply) -> String {
        String::from_utf8(reply.into_bytes()).unwrap()
    }

    #[test]
    fn a_reply_is_a_cgi_response_of_one_line() {
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        let answers = vec![Ok(Accepted::Good(address.into()))];
        let reply = Reply::to_update(Dialect::Signed, &Ok(answers));
        assert_eq!(
            text(reply),
            "Status: 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Cache-Control: no-store\r\n\r\ngood 192.0.2.7\n"
        );
    }

    #[test]
    fn a_document_has_headers_of_its_own_and_for_head_no_body() {
        let document = |body: &str| Reply::document("Content-Type: text/x\r\n", body.to_owned());
        let headers = "Content-Type: text/x\r\nCache-Control: no-store\r\n\r\n";
        assert_eq!(text(document("a\nb\n")), format!("Status: 200 OK\r\n{headers}a\nb\n"));
        assert_eq!(
            text(document("a\nb\n").unavailable().for_method(Method::Head)),
            format!("Status: 503 Service Unavailable\r\nRetry-After: 60\r\n{headers}")
        );
    }

    #[test]
    fn every_refusal_has_its_word_and_status() {
        let unusable = |part| Error::from(Refusal::Form(Problem::Unusable("is odd"), part));
        let cases = [
            (Refusal::Method.into(), "405", "badmethod"),
            (Refusal::ReadOnly.into(), "405", "badmethod"),
            (Refusal::NoPage.into(), "404", "notfound"),
            (Refusal::Audience(Outsider::Unlisted).into(), "403", "forbidden"),
            (Refusal::Form(Problem::Missing, Part::Id).into(), "400", "badrequest missing id"),
            (Refusal::Identity(Unproven::UnknownUser).into(), "403", "badauth"),
            (Refusal::Identity(Unproven::WrongHash).into(), "403", "badauth"),
            (Refusal::Host.into(), "403", "nohost"),
            (Refusal::Stale { seconds: -16 }.into(), "403", "stale -16"),
            (Refusal::NoIpv6.into(), "403", "noip6"),
            (unusable(Part::Ip), "400", "badrequest unusable ip"),
            (Refusal::Stray("v4".into()).into(), "400", "badrequest unknown parameter"),
            (Refusal::Replay { last: Stamp::NEVER, ahead: None }.into(), "403", "replay"),
            (Error::from(Fault::new("/f", "broken")), "503", "911"),
        ];
        for (error, status, line) in cases {
            let reply = text(Reply::to_update(Dialect::Signed, &Err(error)));
            assert!(reply.starts_with(&format!("Status: {status} ")), "{reply}");
            assert!(reply.ends_with(&format!("\r\n\r\n{line}\n")), "{reply}");
        }
    }

    #[test]
    fn dyndns2_has_words_and_statuses_of_its_own() {
        let form = |problem, part| Error::from(Refusal::Form(problem, part));
        for (error, status, line) in [
            (Refusal::Method.into(), "405", "badagent"),
            (form(Problem::Missing, Part::Hostname), "200", "notfqdn"),
            (form(Problem::Malformed, Part::Hostname), "200", "notfqdn"),
            (form(Problem::Overlong, Part::Hostname), "200", "numhost"),
            (form(Problem::Repeated, Part::Hostname), "200", "numhost"),
            (form(Problem::Malformed, Part::MyIp), "200", "badagent"),
            (form(Problem::Overlong, Part::Query), "200", "badagent"),
            (form(Problem::Conflicting, Part::Domain), "200", "notfqdn"),
            (form(Problem::Unusable("is odd"), Part::Hostname), "200", "notfqdn"),
            (form(Problem::Unusable("is odd"), Part::MyIp), "200", "badagent"),
            (Refusal::Stray("v4".into()).into(), "200", "badagent"),
            (Refusal::NoIpv6.into(), "200", "noip6"),
            (Refusal::Identity(Unproven::LoginInForm).into(), "401", "badauth"),
            (Refusal::Identity(Unproven::NoPassword).into(), "401", "badauth"),
            (Refusal::Identity(Unproven::WrongPassword).into(), "401", "badauth"),
            (Refusal::Identity(Unproven::UnknownUser).into(), "401", "badauth"),
            (Refusal::Host.into(), "200", "nohost"),
            (Refusal::Disabled.into(), "200", "disabled"),
            (Refusal::Insecure.into(), "200", "insecure"),
            (Error::from(Fault::new("/f", "broken")), "503", "911"),
        ] {
            let reply = text(Reply::to_update(Dialect::Dyndns2, &Err(error)));
            assert!(reply.starts_with(&format!("Status: {status} ")), "{reply}");
            assert!(reply.ends_with(&format!("\r\n\r\n{line}\n")), "{reply}");
            assert_eq!(reply.contains("WWW-Authenticate: Basic "), status == "401", "{reply}");
            let length = format!("\r\nContent-Length: {}\r\n", line.len() + 1);
            assert!(reply.contains(&length), "{reply}");
        }
    }

    #[test]
    fn each_host_has_its_line_and_the_first_refusal_the_status() {
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        let answers = vec![
            Ok(Accepted::NoChange(address.into())),
            Err(Refusal::Host),
            Ok(Accepted::Good(Addresses::REMOVED)),
        ];
        let outcome = Ok(answers);
        let lines = "\r\n\r\nnochg 2001:db8::1\nnohost\ngood none\n";
        for (dialect, status) in [(Dialect::Signed, "403"), (Dialect::Dyndns2, "200")] {
            let reply = text(Reply::to_update(dialect, &outcome));
            assert!(reply.starts_with(&format!("Status: {status} ")), "{reply}");
            assert!(reply.ends_with(lines), "{reply}");
        }
    }
}

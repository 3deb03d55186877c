//! The answer: a CGI response (RFC 3875, 6). As a rule it is one line, which begins with one fixed
//! word; the status page has its own media types.

use std::net::IpAddr;

use crate::error::{Error, Refusal};
use crate::request::Reading;

/// An update that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The address is new and stored.
    Good(IpAddr),
    /// The address was stored already.
    NoChange(IpAddr),
}

/// What the client gets. Nothing in it comes from the client but its address.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    status: Status,
    /// The header of the media type, and those that go with it.
    headers: &'static str,
    body: String,
}

/// The headers of a line of text.
const LINE: &str = "Content-Type: text/plain; charset=utf-8\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok,
    BadRequest,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    ReadOnly,
    ServiceUnavailable,
}

impl Status {
    /// The status line, with the further header that the status asks for (RFC 9110, 15).
    fn headers(self) -> &'static str {
        match self {
            Self::Ok => "Status: 200 OK\r\n",
            Self::BadRequest => "Status: 400 Bad Request\r\n",
            Self::Forbidden => "Status: 403 Forbidden\r\n",
            Self::NotFound => "Status: 404 Not Found\r\n",
            Self::ReadOnly => "Status: 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n",
            Self::MethodNotAllowed => "Status: 405 Method Not Allowed\r\nAllow: GET, POST\r\n",
            Self::ServiceUnavailable => "Status: 503 Service Unavailable\r\nRetry-After: 60\r\n",
        }
    }
}

impl Reply {
    fn line(status: Status, line: impl Into<String>) -> Self {
        let mut body = line.into();
        body.push('\n');
        Self { status, headers: LINE, body }
    }

    /// The client's own address.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self::line(Status::Ok, address.to_string())
    }

    /// A document with the headers of its kind, each ended by CR LF.
    #[must_use]
    pub fn document(headers: &'static str, body: String) -> Self {
        Self { status: Status::Ok, headers, body }
    }

    /// The same as what the client gets for now, because of a fault.
    #[must_use]
    pub fn unavailable(self) -> Self {
        Self { status: Status::ServiceUnavailable, ..self }
    }

    /// The same as it was asked for. To HEAD "the script MUST NOT provide a response message-body"
    /// (RFC 3875, 4.3.3).
    #[must_use]
    pub fn for_reading(self, reading: Reading) -> Self {
        match reading {
            Reading::Whole => self,
            Reading::Headers => Self { body: String::new(), ..self },
        }
    }

    /// The response as bytes for standard output.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        format!(
            "{}{}Cache-Control: no-store\r\n\r\n{}",
            self.status.headers(),
            self.headers,
            self.body
        )
        .into_bytes()
    }

    /// The first word of the body.
    #[must_use]
    pub fn word(&self) -> &str {
        self.body.split([' ', '\n']).next().unwrap_or_default()
    }
}

impl From<Accepted> for Reply {
    fn from(accepted: Accepted) -> Self {
        let line = match accepted {
            Accepted::Good(address) => format!("good {address}"),
            Accepted::NoChange(address) => format!("nochg {address}"),
        };
        Self::line(Status::Ok, line)
    }
}

impl From<&Error> for Reply {
    fn from(error: &Error) -> Self {
        let (status, line) = match error {
            Error::Fault(_) => (Status::ServiceUnavailable, "911".to_owned()),
            Error::Refusal(refusal) => match refusal {
                Refusal::Method => (Status::MethodNotAllowed, "badmethod".to_owned()),
                Refusal::ReadOnly => (Status::ReadOnly, "badmethod".to_owned()),
                Refusal::NoPage => (Status::NotFound, "notfound".to_owned()),
                Refusal::Form(problem, part) => {
                    (Status::BadRequest, format!("badrequest {problem} {part}"))
                }
                Refusal::Identity(_) => (Status::Forbidden, "badauth".to_owned()),
                Refusal::Host => (Status::Forbidden, "nohost".to_owned()),
                Refusal::Stale { seconds } => (Status::Forbidden, format!("stale {seconds}")),
                Refusal::Replay { .. } => (Status::Forbidden, "replay".to_owned()),
            },
        };
        Self::line(status, line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Fault, Part, Problem, Unproven};
    use crate::stamp::Stamp;

    fn text(reply: &Reply) -> String {
        String::from_utf8(reply.to_bytes()).unwrap()
    }

    #[test]
    fn a_reply_is_a_cgi_response_of_one_line() {
        let reply = Reply::from(Accepted::Good("192.0.2.7".parse().unwrap()));
        assert_eq!(
            text(&reply),
            "Status: 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Cache-Control: no-store\r\n\r\ngood 192.0.2.7\n"
        );
    }

    #[test]
    fn a_document_has_headers_of_its_own_and_for_head_no_body() {
        let document = |body: &str| Reply::document("Content-Type: text/x\r\n", body.to_owned());
        let headers = "Content-Type: text/x\r\nCache-Control: no-store\r\n\r\n";
        assert_eq!(text(&document("a\nb\n")), format!("Status: 200 OK\r\n{headers}a\nb\n"));
        assert_eq!(
            text(&document("a\nb\n").unavailable().for_reading(Reading::Headers)),
            format!("Status: 503 Service Unavailable\r\nRetry-After: 60\r\n{headers}")
        );
    }

    #[test]
    fn every_refusal_has_its_word_and_status() {
        let cases = [
            (Refusal::Method.into(), "405", "badmethod"),
            (Refusal::ReadOnly.into(), "405", "badmethod"),
            (Refusal::NoPage.into(), "404", "notfound"),
            (Refusal::Form(Problem::Missing, Part::Id).into(), "400", "badrequest missing id"),
            (Refusal::Identity(Unproven::UnknownUser).into(), "403", "badauth"),
            (Refusal::Identity(Unproven::WrongHash).into(), "403", "badauth"),
            (Refusal::Host.into(), "403", "nohost"),
            (Refusal::Stale { seconds: -16 }.into(), "403", "stale -16"),
            (Refusal::Replay { last: Stamp::NEVER, ahead: None }.into(), "403", "replay"),
            (Error::from(Fault::new("/f", "broken")), "503", "911"),
        ];
        for (error, status, line) in cases {
            let reply = text(&Reply::from(&error));
            assert!(reply.starts_with(&format!("Status: {status} ")), "{reply}");
            assert!(reply.ends_with(&format!("\r\n\r\n{line}\n")), "{reply}");
        }
    }
}

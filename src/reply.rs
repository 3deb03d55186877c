//! The answer: a CGI response (RFC 3875, 6) of one line, which begins with one fixed word.

use std::net::IpAddr;

use crate::error::{Error, Refusal};

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
    line: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok,
    BadRequest,
    Forbidden,
    MethodNotAllowed,
    ServiceUnavailable,
}

impl Status {
    /// The status line, with the further header that the status asks for (RFC 9110, 15).
    fn headers(self) -> &'static str {
        match self {
            Self::Ok => "Status: 200 OK\r\n",
            Self::BadRequest => "Status: 400 Bad Request\r\n",
            Self::Forbidden => "Status: 403 Forbidden\r\n",
            Self::MethodNotAllowed => "Status: 405 Method Not Allowed\r\nAllow: GET, POST\r\n",
            Self::ServiceUnavailable => "Status: 503 Service Unavailable\r\nRetry-After: 60\r\n",
        }
    }
}

impl Reply {
    /// The response as bytes for standard output.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        format!(
            "{}Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\r\n{}\n",
            self.status.headers(),
            self.line
        )
        .into_bytes()
    }

    /// The first word of the line.
    #[must_use]
    pub fn word(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }
}

impl From<Accepted> for Reply {
    fn from(accepted: Accepted) -> Self {
        let line = match accepted {
            Accepted::Good(address) => format!("good {address}"),
            Accepted::NoChange(address) => format!("nochg {address}"),
        };
        Self { status: Status::Ok, line }
    }
}

impl From<&Error> for Reply {
    fn from(error: &Error) -> Self {
        let (status, line) = match error {
            Error::Fault(_) => (Status::ServiceUnavailable, "911".to_owned()),
            Error::Refusal(refusal) => match refusal {
                Refusal::Method => (Status::MethodNotAllowed, "badmethod".to_owned()),
                Refusal::Form(problem, part) => {
                    (Status::BadRequest, format!("badrequest {problem} {part}"))
                }
                Refusal::Identity(_) => (Status::Forbidden, "badauth".to_owned()),
                Refusal::Host => (Status::Forbidden, "nohost".to_owned()),
                Refusal::Stale { seconds } => (Status::Forbidden, format!("stale {seconds}")),
                Refusal::Replay { .. } => (Status::Forbidden, "replay".to_owned()),
            },
        };
        Self { status, line }
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
    fn every_refusal_has_its_word_and_status() {
        let cases = [
            (Refusal::Method.into(), "405", "badmethod"),
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

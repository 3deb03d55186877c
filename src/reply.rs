//! The answer: a CGI response (RFC 3875, 6) of one line for each host, which begins with one fixed
//! word.

use crate::addresses::Addresses;
use crate::error::{Error, Refusal};

/// An update that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The addresses are new and stored.
    Good(Addresses),
    /// The addresses were stored already.
    NoChange(Addresses),
}

/// What became of each host of a request, in the request's order.
pub type Answers = Vec<Result<Accepted, Refusal>>;

/// What the client gets. Nothing in it comes from the client but its addresses, which were understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    status: Status,
    lines: Vec<String>,
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
            self.lines.join("\n")
        )
        .into_bytes()
    }
}

impl From<&Answers> for Reply {
    /// The status is that of the first refusal.
    fn from(answers: &Answers) -> Self {
        let refusal = answers.iter().find_map(|answer| answer.as_ref().err());
        Self {
            status: refusal.map_or(Status::Ok, status),
            lines: answers
                .iter()
                .map(|answer| answer.as_ref().map_or_else(line, accepted))
                .collect(),
        }
    }
}

impl From<&Error> for Reply {
    fn from(error: &Error) -> Self {
        let (status, line) = match error {
            Error::Fault(_) => (Status::ServiceUnavailable, error.word().to_owned()),
            Error::Refusal(refusal) => (status(refusal), line(refusal)),
        };
        Self { status, lines: vec![line] }
    }
}

fn accepted(accepted: &Accepted) -> String {
    match accepted {
        Accepted::Good(addresses) => format!("good {addresses}"),
        Accepted::NoChange(addresses) => format!("nochg {addresses}"),
    }
}

fn status(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Method => Status::MethodNotAllowed,
        Refusal::Form(..) => Status::BadRequest,
        Refusal::Identity(_) | Refusal::Host | Refusal::Stale { .. } | Refusal::Replay { .. } => {
            Status::Forbidden
        }
    }
}

fn line(refusal: &Refusal) -> String {
    let word = refusal.word();
    match refusal {
        Refusal::Form(problem, part) => format!("{word} {problem} {part}"),
        Refusal::Stale { seconds } => format!("{word} {seconds}"),
        Refusal::Method | Refusal::Identity(_) | Refusal::Host | Refusal::Replay { .. } => {
            word.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Fault, Part, Problem, Unproven};
    use crate::stamp::Stamp;
    use std::net::IpAddr;

    fn text(reply: &Reply) -> String {
        String::from_utf8(reply.to_bytes()).unwrap()
    }

    #[test]
    fn a_reply_is_a_cgi_response_of_one_line() {
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        let reply = Reply::from(&vec![Ok(Accepted::Good(address.into()))]);
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

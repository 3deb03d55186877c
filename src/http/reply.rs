//! The answer: a CGI response (RFC 3875, 6). To an update it is one line for each host, which begins
//! with one fixed word; the status page has its own media types.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::http::endpoint::Protocol;
use crate::http::request::Reading;
use crate::protocol::answer::{Accepted, Answers, Error, Refusal};
use crate::protocol::form::{Part, Problem};

/// What the client gets. Nothing in it comes from the client but its addresses, which were understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    status: Status,
    /// The header of the media type, and those that go with it, each ended by CR LF.
    headers: Cow<'static, str>,
    body: String,
}

/// The header of lines of text.
const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok,
    BadRequest,
    Unauthorized,
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

impl Reply {
    /// The reply to an update. With an answer for each host, the status is that of the first one that is
    /// not good.
    #[must_use]
    pub fn to_update(protocol: Protocol, outcome: &Result<Answers, Error>) -> Self {
        let refused = match protocol {
            Protocol::Signed => refused,
            Protocol::Dyndns2 => refused_by_dyndns2,
        };
        let mut reply = Self::text(Status::Ok, String::new());
        match outcome {
            Err(error) => reply.add(&failed(error, refused)),
            Ok(answers) => {
                for answer in answers {
                    reply.add(&answer.as_ref().map_or_else(refused, accepted));
                }
            }
        }
        match protocol {
            Protocol::Signed => reply,
            Protocol::Dyndns2 => reply.with_length(),
        }
    }

    /// Adds a line. The first status that is not good stays.
    fn add(&mut self, (status, line): &(Status, String)) {
        if self.status == Status::Ok {
            self.status = *status;
        }
        self.body += line;
        self.body.push('\n');
    }

    /// The client's own address.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self::text(Status::Ok, format!("{address}\n"))
    }

    /// A document with the headers of its kind, each ended by CR LF.
    #[must_use]
    pub fn document(headers: &'static str, body: String) -> Self {
        Self { status: Status::Ok, headers: headers.into(), body }
    }

    fn text(status: Status, body: String) -> Self {
        Self { status, headers: TEXT.into(), body }
    }

    /// The same with its length. Otherwise Apache may send it in chunks, which ddclient takes for a part
    /// of the text. Apache believes the length where it is told to (`ap_trust_cgilike_cl`).
    fn with_length(self) -> Self {
        let headers = format!("{}Content-Length: {}\r\n", self.headers, self.body.len());
        Self { headers: headers.into(), ..self }
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
        let Self { status, headers, body } = self;
        format!("{}{headers}Cache-Control: no-store\r\n\r\n{body}", status.headers()).into_bytes()
    }
}

impl From<&Error> for Reply {
    fn from(error: &Error) -> Self {
        let mut reply = Self::text(Status::Ok, String::new());
        reply.add(&failed(error, refused));
        reply
    }
}

/// The answer to an accepted update.
fn accepted(accepted: &Accepted) -> (Status, String) {
    let line = match accepted {
        Accepted::Good(addresses) => format!("good {addresses}"),
        Accepted::NoChange(addresses) => format!("nochg {addresses}"),
    };
    (Status::Ok, line)
}

fn failed(error: &Error, refused: impl Fn(&Refusal) -> (Status, String)) -> (Status, String) {
    match error {
        Error::Fault(_) => (Status::ServiceUnavailable, "911".to_owned()),
        Error::Refusal(refusal) => refused(refusal),
    }
}

/// The answer to a refused request of protocol 1 or 2, or of one that only reads.
fn refused(refusal: &Refusal) -> (Status, String) {
    let word = refusal.word();
    let status = match refusal {
        Refusal::Method => Status::MethodNotAllowed,
        Refusal::ReadOnly => Status::ReadOnly,
        Refusal::NoPage => Status::NotFound,
        Refusal::Form(problem, part) => {
            return (Status::BadRequest, format!("{word} {problem} {part}"));
        }
        Refusal::Stale { seconds } => return (Status::Forbidden, format!("{word} {seconds}")),
        Refusal::Identity(_)
        | Refusal::Host
        | Refusal::Replay { .. }
        | Refusal::Disabled
        | Refusal::Insecure => Status::Forbidden,
    };
    (status, word.to_owned())
}

/// The answer to a refused request of dyndns2, in its own words. Its clients report those of a reply with
/// status 200, and hardly any other status.
fn refused_by_dyndns2(refusal: &Refusal) -> (Status, String) {
    let (status, word) = match refusal {
        Refusal::Method | Refusal::ReadOnly => (Status::MethodNotAllowed, "badagent"),
        Refusal::Form(Problem::Repeated | Problem::Overlong, Part::Hostname) => {
            (Status::Ok, "numhost")
        }
        Refusal::Form(_, Part::Hostname) => (Status::Ok, "notfqdn"),
        Refusal::Form(..) => (Status::Ok, "badagent"),
        Refusal::Identity(_) => (Status::Unauthorized, refusal.word()),
        Refusal::Host
        | Refusal::NoPage
        | Refusal::Stale { .. }
        | Refusal::Replay { .. }
        | Refusal::Disabled
        | Refusal::Insecure => (Status::Ok, refusal.word()),
    };
    (status, word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::protocol::addresses::Addresses;
    use crate::protocol::answer::Unproven;
    use crate::protocol::stamp::Stamp;

    fn text(reply: &Reply) -> String {
        String::from_utf8(reply.to_bytes()).unwrap()
    }

    #[test]
    fn a_reply_is_a_cgi_response_of_one_line() {
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        let answers = vec![Ok(Accepted::Good(address.into()))];
        let reply = Reply::to_update(Protocol::Signed, &Ok(answers));
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
            let reply = text(&Reply::to_update(Protocol::Signed, &Err(error)));
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
            (Refusal::Identity(Unproven::NoPassword).into(), "401", "badauth"),
            (Refusal::Identity(Unproven::WrongPassword).into(), "401", "badauth"),
            (Refusal::Identity(Unproven::UnknownUser).into(), "401", "badauth"),
            (Refusal::Host.into(), "200", "nohost"),
            (Refusal::Disabled.into(), "200", "disabled"),
            (Refusal::Insecure.into(), "200", "insecure"),
            (Error::from(Fault::new("/f", "broken")), "503", "911"),
        ] {
            let reply = text(&Reply::to_update(Protocol::Dyndns2, &Err(error)));
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
        for (protocol, status) in [(Protocol::Signed, "403"), (Protocol::Dyndns2, "200")] {
            let reply = text(&Reply::to_update(protocol, &outcome));
            assert!(reply.starts_with(&format!("Status: {status} ")), "{reply}");
            assert!(reply.ends_with(lines), "{reply}");
        }
    }
}

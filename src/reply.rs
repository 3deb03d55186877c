//! The answer: a CGI response (RFC 3875, 6) of one line for each host, which begins with one fixed
//! word.

use crate::addresses::Addresses;
use crate::endpoint::Endpoint;
use crate::error::{Error, Part, Problem, Refusal};

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
    endpoint: Endpoint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok,
    BadRequest,
    Unauthorized,
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
            Self::Unauthorized => {
                "Status: 401 Unauthorized\r\n\
                 WWW-Authenticate: Basic realm=\"ddns-cgi\", charset=\"UTF-8\"\r\n"
            }
            Self::Forbidden => "Status: 403 Forbidden\r\n",
            Self::MethodNotAllowed => "Status: 405 Method Not Allowed\r\nAllow: GET, POST\r\n",
            Self::ServiceUnavailable => "Status: 503 Service Unavailable\r\nRetry-After: 60\r\n",
        }
    }
}

impl Reply {
    /// The reply of an endpoint. With an answer for each host, the status is that of the first one that is
    /// not good.
    #[must_use]
    pub fn new(endpoint: Endpoint, outcome: &Result<Answers, Error>) -> Self {
        let refused = match endpoint {
            Endpoint::Dyndns2 => refused_by_dyndns2,
            Endpoint::Update | Endpoint::Address | Endpoint::Status => refused,
        };
        let answers = match outcome {
            Err(Error::Fault(_)) => vec![(Status::ServiceUnavailable, "911".to_owned())],
            Err(Error::Refusal(refusal)) => vec![refused(refusal)],
            Ok(answers) => answers
                .iter()
                .map(|answer| answer.as_ref().map_or_else(refused, |ok| (Status::Ok, accepted(ok))))
                .collect(),
        };
        let first = answers.iter().map(|(status, _)| *status).find(|status| *status != Status::Ok);
        let lines = answers.into_iter().map(|(_, line)| line).collect();
        Self { status: first.unwrap_or(Status::Ok), lines, endpoint }
    }

    /// The response as bytes for standard output.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let body = self.lines.join("\n") + "\n";
        let length = match self.endpoint {
            // Otherwise Apache may send it in chunks, which ddclient takes for a part of the text. It
            // believes the length where its configuration says so (`ap_trust_cgilike_cl`).
            Endpoint::Dyndns2 => format!("Content-Length: {}\r\n", body.len()),
            Endpoint::Update | Endpoint::Address | Endpoint::Status => String::new(),
        };
        format!(
            "{}Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n{length}\r\n{body}",
            self.status.headers(),
        )
        .into_bytes()
    }
}

fn accepted(accepted: &Accepted) -> String {
    match accepted {
        Accepted::Good(addresses) => format!("good {addresses}"),
        Accepted::NoChange(addresses) => format!("nochg {addresses}"),
    }
}

/// The answer to a refused request of protocol 1 or 2.
fn refused(refusal: &Refusal) -> (Status, String) {
    let word = refusal.word();
    let status = match refusal {
        Refusal::Method => Status::MethodNotAllowed,
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
        Refusal::Method => (Status::MethodNotAllowed, "badagent"),
        Refusal::Form(Problem::Repeated | Problem::Overlong, Part::Hostname) => {
            (Status::Ok, "numhost")
        }
        Refusal::Form(_, Part::Hostname) => (Status::Ok, "notfqdn"),
        Refusal::Form(..) => (Status::Ok, "badagent"),
        Refusal::Identity(_) => (Status::Unauthorized, refusal.word()),
        Refusal::Host
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
    use crate::error::{Fault, Unproven};
    use crate::stamp::Stamp;
    use std::net::IpAddr;

    fn text(reply: &Reply) -> String {
        String::from_utf8(reply.to_bytes()).unwrap()
    }

    #[test]
    fn a_reply_is_a_cgi_response_of_one_line() {
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        let answers = vec![Ok(Accepted::Good(address.into()))];
        let reply = Reply::new(Endpoint::Update, &Ok(answers));
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
            let reply = text(&Reply::new(Endpoint::Update, &Err(error)));
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
            let reply = text(&Reply::new(Endpoint::Dyndns2, &Err(error)));
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
        for (endpoint, status) in [(Endpoint::Update, "403"), (Endpoint::Dyndns2, "200")] {
            let reply = text(&Reply::new(endpoint, &outcome));
            assert!(reply.starts_with(&format!("Status: {status} ")), "{reply}");
            assert!(reply.ends_with(lines), "{reply}");
        }
    }
}

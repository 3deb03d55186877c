//! A question to the web server: what a client gets that asks for its own address.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::words::printable;

/// What is asked for.
pub const URL: &str = "http://127.0.0.1/ip.php/ip";

/// How long each step of an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The most of an answer that is read.
const MOST: u64 = 4096;

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The client's address.
    Address,
    /// Something else, which begins so.
    Other(String),
    /// An HTTP status that is not 200.
    Status(u16),
    /// There is a server, but not for HTTP.
    OnlyHttps,
    /// Nothing, and why.
    None(String),
}

/// Asks the web server of this machine.
pub fn ask() -> Answer {
    match exchange(80) {
        Ok(answer) => Answer::of(&answer),
        Err(_) if connect(443).is_ok() => Answer::OnlyHttps,
        Err(error) => Answer::None(error.to_string()),
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, LIMIT)
}

fn exchange(port: u16) -> io::Result<String> {
    let mut stream = connect(port)?;
    stream.set_read_timeout(Some(LIMIT))?;
    // With HTTP/1.0, the answer comes in one piece and ends with the connection.
    stream.write_all(b"GET /ip.php/ip HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

impl Answer {
    fn of(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let body = body.trim();
        match status {
            Some(200) if body.parse::<IpAddr>().is_ok() => Self::Address,
            Some(200) => {
                let start: String = body.chars().take(40).collect();
                Self::Other(printable(&start))
            }
            Some(status) => Self::Status(status),
            None => Self::None("it does not speak HTTP".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_address_or_says_what_it_is() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nServer: x\r\n\r\n127.0.0.1\n", Answer::Address),
            ("HTTP/1.0 200 OK\r\n\r\n::1\n", Answer::Address),
            ("HTTP/1.1 200 OK\r\n\r\n<?php\n", Answer::Other("<?php".to_owned())),
            ("HTTP/1.1 502 Bad Gateway\r\n\r\n", Answer::Status(502)),
            ("SSH-2.0-x", Answer::None("it does not speak HTTP".to_owned())),
        ] {
            assert_eq!(Answer::of(answer), expected, "{answer}");
        }
    }
}

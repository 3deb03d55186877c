//! A question to a FastCGI server: what a client gets that asks for its own address.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the answer may take. systemd may have to start the program.
const LIMIT: Duration = Duration::from_secs(10);

/// The most of an answer that is read.
const MOST: u64 = 4096;

/// The address that asks. It is for documentation (RFC 5737), so nobody has it.
const CLIENT: &str = "192.0.2.1";

// The kinds of records (FastCGI Specification 1.0, section 8).
const BEGIN_REQUEST: u8 = 1;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;

/// Asks, and returns the whole CGI response.
pub fn ask(socket: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(&question())?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    })?;
    Ok(String::from_utf8_lossy(&output(&answer)).into_owned())
}

/// Whether a response has the address that asked.
pub fn is_answer(response: &str) -> bool {
    response.split_once("\r\n\r\n").is_some_and(|(_, body)| body.trim_end() == CLIENT)
}

/// A request for `/ip.php/ip`, after which the connection ends.
fn question() -> Vec<u8> {
    let variables = [
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", "/ip.php"),
        ("PATH_INFO", "/ip"),
        ("REMOTE_ADDR", CLIENT),
    ];
    let pairs: Vec<u8> = variables.iter().flat_map(|(name, value)| pair(name, value)).collect();
    let begin = record(BEGIN_REQUEST, &[0, 1, 0, 0, 0, 0, 0, 0]);
    [begin, record(PARAMS, &pairs), record(PARAMS, &[]), record(STDIN, &[])].concat()
}

/// A name and a value, each shorter than 128 bytes, after their lengths.
fn pair(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap_or_default();
    [&[length(name), length(value)], name.as_bytes(), value.as_bytes()].concat()
}

/// A record of the request 1.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or_default().to_be_bytes();
    [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
}

/// What the records of an answer hold of standard output.
fn output(mut rest: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    while let [_, kind, _, _, high, low, padding, _, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let content = after.get(..length).unwrap_or(after);
        if *kind == STDOUT {
            output.extend_from_slice(content);
        }
        rest = after.get(length + usize::from(*padding)..).unwrap_or_default();
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    use ddns_cgi::fastcgi::record::receive;

    #[test]
    fn the_program_understands_the_question_and_we_its_answer() {
        let request = receive(&mut question().as_slice(), &mut Vec::new()).unwrap().unwrap();
        assert!(!request.keeps_connection && request.body.is_empty());
        assert_eq!(request.variable("PATH_INFO").unwrap(), "/ip");
        let response = "Content-Type: text/plain\r\n\r\n192.0.2.1\n";
        let answer = request.reply("a line\n", response.as_bytes());
        assert_eq!(output(&answer), response.as_bytes());
        assert!(is_answer(response));
        for other in ["", "Status: 503 Service Unavailable\r\n\r\n911\n", "192.0.2.1"] {
            assert!(!is_answer(other), "{other}");
        }
        for end in 0..answer.len() {
            assert!(response.as_bytes().starts_with(&output(&answer[..end])));
        }
    }
}

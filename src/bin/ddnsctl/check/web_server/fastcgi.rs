//! A question to a FastCGI server: what a client gets that asks for its own address.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use ddns_cgi::fastcgi::record::{BEGIN_REQUEST, PARAMS, Record, STDIN, STDOUT, record};

/// How long the answer may take. systemd may have to start the program.
const LIMIT: Duration = Duration::from_secs(10);

/// The most of an answer that is read.
const MOST: u64 = 4096;

/// The address that asks. It is for documentation (RFC 5737), so nobody has it.
const CLIENT: &str = "192.0.2.1";

/// The number of the request.
const ID: u16 = 1;

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
    let begin = record(BEGIN_REQUEST, ID, &[0, 1, 0, 0, 0, 0, 0, 0]);
    [begin, record(PARAMS, ID, &pairs), record(PARAMS, ID, &[]), record(STDIN, ID, &[])].concat()
}

/// A name and a value, each shorter than 128 bytes, after their lengths.
fn pair(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap_or_default();
    [&[length(name), length(value)], name.as_bytes(), value.as_bytes()].concat()
}

/// What the whole records of an answer hold of standard output.
fn output(mut answer: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    while let Ok(Some(record)) = Record::read(&mut answer) {
        if record.kind == STDOUT {
            output.extend(record.content);
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    use ddns_cgi::fastcgi::request::receive;

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

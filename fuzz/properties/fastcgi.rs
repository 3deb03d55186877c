//! FastCGI: what a web server sends through a connection, to the requests in it and the answers.

use std::ffi::OsStr;
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;

use ddns_cgi::fastcgi::request::{Received, receive};
use ddns_cgi::protocol::form::MAX_FORM;

/// The most bytes of variables that a request may have.
const MAX_VARIABLES: usize = 128 * 1024;

/// What ends a connection, in the place of a request that has to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing more is to come.
    Quiet,
    /// The bytes end too early.
    Cut,
    /// They are not what a web server sends.
    Broken,
}

/// A request in the connection.
struct Expected {
    id: [u8; 2],
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    is_kept: bool,
}

/// A connection. However its bytes are cut into pieces, the same requests are found in it.
pub fn fastcgi(input: &[u8]) {
    let (records, end) = records(input);
    let mut rest = records.as_slice();
    let piece = usize::from(input.last().copied().unwrap_or_default() % 16) + 1;
    let mut reader = BufReader::new(Pieces(input, piece));
    let mut all = 0;
    loop {
        let mut answers = Vec::new();
        let received = receive(&mut reader, &mut answers);
        let (expected, expected_answers) = next(&mut rest, end);
        assert_eq!(answers, expected_answers, "the answers to what is no request");
        match (received, expected) {
            (Ok(Some(received)), Ok(expected)) => {
                all += compare(&received, &expected);
                assert!(all <= input.len(), "nothing is made up");
            }
            (Ok(None), Err(End::Quiet)) => return,
            (Err(error), Err(end)) => {
                let kind = match end {
                    End::Cut => ErrorKind::UnexpectedEof,
                    End::Broken => ErrorKind::InvalidData,
                    End::Quiet => panic!("{error}"),
                };
                assert_eq!(error.kind(), kind);
                return;
            }
            (received, expected) => {
                let received = received.map(|request| request.is_some());
                panic!("{received:?} and not {:?}", expected.map(|_| true));
            }
        }
    }
}

/// A request is what was sent, and its reply can be read. Returns how many bytes of it there are.
fn compare(received: &Received, expected: &Expected) -> usize {
    assert_eq!(received.body, expected.body);
    assert_eq!(received.keeps_connection, expected.is_kept);
    for (name, _) in &expected.pairs {
        let last = expected.pairs.iter().rfind(|(key, _)| key == name);
        if let (Ok(name), Some((_, value))) = (std::str::from_utf8(name), last) {
            assert_eq!(received.variable(name).as_deref(), Some(OsStr::from_bytes(value)));
        }
    }
    let is_there = expected.pairs.iter().any(|(name, _)| *name == b"ABSENT");
    assert_eq!(received.variable("ABSENT").is_some(), is_there);

    // What we reply is of the input, too, since any text may be in it.
    let log = String::from_utf8_lossy(&expected.body);
    let response: Vec<u8> = expected.pairs.iter().flat_map(|(_, value)| value).copied().collect();
    check_reply(&received.reply(&log, &response), expected.id, &log, &response);
    let pairs = expected.pairs.iter().map(|(name, value)| name.len() + value.len());
    pairs.sum::<usize>() + expected.body.len()
}

/// Each line of the log has a record, the response follows, then both ends.
fn check_reply(reply: &[u8], id: [u8; 2], log: &str, response: &[u8]) {
    let (records, end) = records(reply);
    assert_eq!(end, End::Quiet);
    assert!(records.iter().all(|record| record.id == id));
    let lines = log.split_inclusive('\n').count();
    let (errors, others) = records.split_at(lines);
    let errors: Vec<&[u8]> = errors.iter().filter(|it| it.kind == 7).map(|it| it.content).collect();
    assert_eq!(errors.len(), lines);
    assert_eq!(errors.concat(), log.as_bytes());
    let [parts @ .., empty, end] = others else { panic!("{records:?}") };
    assert!(parts.iter().all(|part| part.kind == 6 && !part.content.is_empty()));
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.content).collect();
    assert_eq!(parts.concat(), response);
    assert_eq!((empty.kind, empty.content), (6, &b""[..]));
    assert_eq!((end.kind, end.content), (3, &[0; 8][..]));
}

#[derive(Debug)]
struct Record<'i> {
    kind: u8,
    id: [u8; 2],
    content: &'i [u8],
}

/// All whole records, and how the bytes end.
fn records(mut bytes: &[u8]) -> (Vec<Record<'_>>, End) {
    let mut records = Vec::new();
    while bytes.len() >= 8 {
        if bytes[0] != 1 {
            return (records, End::Broken);
        }
        let end = 8 + usize::from(bytes[4]) * 256 + usize::from(bytes[5]);
        let next = end + usize::from(bytes[6]);
        if bytes.len() < next {
            return (records, End::Cut);
        }
        records.push(Record { kind: bytes[1], id: [bytes[2], bytes[3]], content: &bytes[8..end] });
        bytes = &bytes[next..];
    }
    (records, if bytes.is_empty() { End::Quiet } else { End::Cut })
}

/// A request under way: its variables as they came, and whether all of them are there.
struct Open {
    request: Expected,
    variables: Vec<u8>,
    has_variables: bool,
}

/// The next request in the records, or else how the connection ends; and what is answered before.
fn next(rest: &mut &[Record], end: End) -> (Result<Expected, End>, Vec<u8>) {
    let mut answers = Vec::new();
    let mut open: Option<Open> = None;
    while let [record, others @ ..] = *rest {
        *rest = others;
        let Record { kind, id, content } = *record;
        let is_own = open.as_ref().is_some_and(|open| open.request.id == id);
        match (kind, is_own) {
            (9, _) if id == [0, 0] => {
                answers.extend(b"\x01\x0a\0\0\0\x12\0\0\x0f\x01FCGI_MPXS_CONNS0");
            }
            (_, _) if id == [0, 0] => answers.extend(eight(11, id, kind, 0)),
            (1, false) if open.is_some() => answers.extend(eight(3, id, 0, 1)),
            (1, false) if content.len() != 8 => return (Err(End::Broken), answers),
            (1, false) if content[..2] == [0, 1] => {
                let is_kept = content[2] % 2 == 1;
                let request = Expected { id, pairs: Vec::new(), body: Vec::new(), is_kept };
                open = Some(Open { request, variables: Vec::new(), has_variables: false });
            }
            (1, false) => {
                answers.extend(eight(3, id, 0, 3));
                if content[2] % 2 == 0 {
                    return (Err(End::Quiet), answers);
                }
            }
            (_, false) => {}
            (2, true) => {
                answers.extend(eight(3, id, 0, 0));
                if open.take().is_some_and(|open| !open.request.is_kept) {
                    return (Err(End::Quiet), answers);
                }
            }
            (5, true) if content.is_empty() && open.as_ref().unwrap().has_variables => {
                return (Ok(open.unwrap().request), answers);
            }
            (_, true) => {
                if !open.as_mut().unwrap().take_in(kind, content) {
                    return (Err(End::Broken), answers);
                }
            }
        }
    }
    let end = if end == End::Quiet && open.is_some() { End::Cut } else { end };
    (Err(end), answers)
}

impl Open {
    /// Takes in a record that does not end the request. Returns whether it may be there.
    fn take_in(&mut self, kind: u8, content: &[u8]) -> bool {
        match (kind, self.has_variables) {
            (4, false) if content.is_empty() => {
                let mut rest = self.variables.as_slice();
                while !rest.is_empty() {
                    let Some(pair) = pair(&mut rest) else { return false };
                    self.request.pairs.push(pair);
                }
                self.has_variables = true;
                true
            }
            (4, false) => {
                self.variables.extend(content);
                self.variables.len() <= MAX_VARIABLES
            }
            (5, true) => {
                self.request.body.extend(content);
                self.request.body.truncate(MAX_FORM);
                true
            }
            _ => false,
        }
    }
}

/// Takes a name and a value off the bytes.
fn pair(rest: &mut &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut lengths = [0, 0];
    for length in &mut lengths {
        let size = if rest.first()? & 0x80 == 0 { 1 } else { 4 };
        let digits = take(rest, size)?;
        *length = digits.iter().fold(0, |number, digit| number * 256 + usize::from(*digit));
        if size == 4 {
            *length -= 1 << 31;
        }
    }
    Some((take(rest, lengths[0])?.to_vec(), take(rest, lengths[1])?.to_vec()))
}

fn take<'i>(rest: &mut &'i [u8], length: usize) -> Option<&'i [u8]> {
    let (taken, others) = rest.split_at_checked(length)?;
    *rest = others;
    Some(taken)
}

/// A record with eight bytes, of which the first and the fifth say something.
fn eight(kind: u8, id: [u8; 2], first: u8, fifth: u8) -> [u8; 16] {
    [1, kind, id[0], id[1], 0, 8, 0, 0, first, 0, 0, 0, fifth, 0, 0, 0]
}

/// Bytes that come in pieces of this size.
struct Pieces<'i>(&'i [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.1);
        self.0.read(&mut buffer[..most])
    }
}

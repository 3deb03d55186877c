//! A request: read from records, and its reply put into records.
//!
//! FastCGI Specification 1.0 (Open Market, 1996), sections 4 to 6, in the role of a responder. A
//! connection carries one request at a time; a web server that tries more is told so.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;

use crate::fastcgi::record::{
    ABORT_REQUEST, BEGIN_REQUEST, CANNOT_MULTIPLEX, END_REQUEST, GET_VALUES, GET_VALUES_RESULT,
    KEEP_CONNECTION, MAX_CONTENT, PARAMS, REQUEST_COMPLETE, RESPONDER, Record, STDERR, STDIN,
    STDOUT, UNKNOWN_ROLE, UNKNOWN_TYPE, broken, record,
};
use crate::protocol::form::MAX_FORM;

/// The most bytes that the variables of a request may have, with the lengths between them. A single
/// variable of a CGI program may have that many, execve(2).
const MAX_VARIABLES: usize = 128 * 1024;

/// A whole request. It may contain a key, so nothing can print it.
pub struct Received {
    id: u16,
    variables: Vec<u8>,
    /// The body, or as much of it as a form may have.
    pub body: Vec<u8>,
    /// Whether the web server keeps the connection for its next request.
    pub keeps_connection: bool,
}

/// A request whose end has not come. Its variables come first, then its body; an empty record ends
/// each of them.
enum Arriving {
    Variables(Received),
    Body(Received),
}

/// Reads one request, and answers what else the web server asks meanwhile. Returns `None` if the
/// connection ends before a request begins.
pub fn receive(input: &mut impl Read, output: &mut impl Write) -> io::Result<Option<Received>> {
    let mut current: Option<Arriving> = None;
    while let Some(Record { kind, id, content }) = Record::read(input)? {
        current = match (kind, current) {
            (_, current) if id == 0 => {
                output.write_all(&management(kind))?;
                current
            }
            (BEGIN_REQUEST, None) => {
                let request = Received::begin(id, &content)?;
                if content.starts_with(&RESPONDER) {
                    Some(Arriving::Variables(request))
                } else {
                    output.write_all(&end(id, UNKNOWN_ROLE))?;
                    if !request.keeps_connection {
                        return Ok(None);
                    }
                    None
                }
            }
            // The rest of a request that has ended.
            (_, None) => None,
            (BEGIN_REQUEST, Some(request)) if request.id() != id => {
                output.write_all(&end(id, CANNOT_MULTIPLEX))?;
                Some(request)
            }
            (_, Some(request)) if request.id() != id => Some(request),
            (ABORT_REQUEST, Some(Arriving::Variables(request) | Arriving::Body(request))) => {
                output.write_all(&end(id, REQUEST_COMPLETE))?;
                if !request.keeps_connection {
                    return Ok(None);
                }
                None
            }
            (STDIN, Some(Arriving::Body(request))) if content.is_empty() => {
                return Ok(Some(request));
            }
            (_, Some(request)) => Some(request.with(kind, &content)?),
        }
    }
    if current.is_none() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

impl Arriving {
    fn id(&self) -> u16 {
        let (Self::Variables(request) | Self::Body(request)) = self;
        request.id
    }

    /// Takes in a record.
    fn with(self, kind: u8, content: &[u8]) -> io::Result<Self> {
        match (self, kind) {
            (Self::Variables(request), PARAMS) if content.is_empty() => {
                let is_whole = request.pairs().all(|pair| pair.is_some());
                let cut_off = || broken("the last variable is cut off");
                is_whole.then_some(Self::Body(request)).ok_or_else(cut_off)
            }
            (Self::Variables(mut request), PARAMS) => {
                request.variables.extend_from_slice(content);
                let is_bounded = request.variables.len() <= MAX_VARIABLES;
                let too_many = || broken("the variables of a request are too long");
                is_bounded.then_some(Self::Variables(request)).ok_or_else(too_many)
            }
            (Self::Body(mut request), STDIN) => {
                // Nobody needs more of it than a form may have.
                let room = MAX_FORM.saturating_sub(request.body.len());
                request.body.extend(content.iter().take(room));
                Ok(Self::Body(request))
            }
            _ => Err(broken("a record comes in a place that is not its own")),
        }
    }
}

impl Received {
    fn begin(id: u16, content: &[u8]) -> io::Result<Self> {
        let [_, _, flags, _, _, _, _, _] = content else {
            return Err(broken("a request begins without its eight bytes"));
        };
        let keeps_connection = flags & KEEP_CONNECTION != 0;
        Ok(Self { id, keeps_connection, variables: Vec::new(), body: Vec::new() })
    }

    /// The names and values, and `None` at the end if the last one is cut off.
    fn pairs(&self) -> impl Iterator<Item = Option<(&[u8], &[u8])>> {
        let mut rest = self.variables.as_slice();
        std::iter::from_fn(move || {
            let pair = (!rest.is_empty()).then(|| split_pair(rest))?;
            rest = pair.map_or(&[], |(_, _, rest)| rest);
            Some(pair.map(|(name, value, _)| (name, value)))
        })
    }

    /// The value of a variable. If it is there twice, the last one counts: nginx sends both, and
    /// its users expect that from PHP.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<OsString> {
        let values = self.pairs().flatten().filter(|(key, _)| *key == name.as_bytes());
        values.last().map(|(_, value)| OsStr::from_bytes(value).to_owned())
    }

    /// The records of a reply: a CGI response, after the lines for the web server's log. Each line
    /// has a record of its own, because nginx logs each record.
    #[must_use]
    pub fn reply(&self, log: &str, response: &[u8]) -> Vec<u8> {
        let lines = log.split_inclusive('\n').map(|line| record(STDERR, self.id, line.as_bytes()));
        let parts = response.chunks(MAX_CONTENT).map(|part| record(STDOUT, self.id, part));
        let ends = [record(STDOUT, self.id, b""), end(self.id, REQUEST_COMPLETE)];
        lines.chain(parts).chain(ends).collect::<Vec<_>>().concat()
    }
}

/// The end of a request.
fn end(id: u16, status: u8) -> Vec<u8> {
    record(END_REQUEST, id, &[0, 0, 0, 0, status, 0, 0, 0])
}

/// The answer to a record that belongs to no request. The only question that we know is what we can
/// do: no multiplexing. How many connections there may be depends on the machine.
fn management(kind: u8) -> Vec<u8> {
    match kind {
        GET_VALUES => record(GET_VALUES_RESULT, 0, b"\x0f\x01FCGI_MPXS_CONNS0"),
        _ => record(UNKNOWN_TYPE, 0, &[kind, 0, 0, 0, 0, 0, 0, 0]),
    }
}

/// The first name and value, and what follows them.
fn split_pair(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, rest) = split_length(bytes)?;
    let (value, rest) = split_length(rest)?;
    let (name, rest) = rest.split_at_checked(name)?;
    let (value, rest) = rest.split_at_checked(value)?;
    Some((name, value, rest))
}

/// A length of one byte, or of four if the first bit is set, and what follows it.
fn split_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [short @ 0..=0x7f, rest @ ..] => Some((usize::from(*short), rest)),
        [a, b, c, d, rest @ ..] => {
            let length = u32::from_be_bytes([a & 0x7f, *b, *c, *d]);
            Some((usize::try_from(length).ok()?, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const ID: u16 = 0x1234;

    /// A request as a web server sends it, with its streams in pieces of these sizes.
    fn sent(variables: &[(Vec<u8>, Vec<u8>)], body: &[u8], sizes: &[usize]) -> Vec<u8> {
        let length = |text: &[u8]| match u8::try_from(text.len()) {
            Ok(short @ ..0x80) => vec![short],
            _ => (u32::try_from(text.len()).unwrap() | 1 << 31).to_be_bytes().to_vec(),
        };
        let pair = |(name, value): &(Vec<u8>, Vec<u8>)| {
            [&length(name)[..], &length(value), name, value].concat()
        };
        let variables: Vec<u8> = variables.iter().flat_map(pair).collect();
        let mut sizes = sizes.iter().cycle();
        let mut stream = |kind, mut content: &[u8]| {
            let mut records = Vec::new();
            while !content.is_empty() {
                let (piece, rest) = content.split_at(content.len().min(*sizes.next().unwrap()));
                records.extend(record(kind, ID, piece));
                content = rest;
            }
            [records, record(kind, ID, b"")].concat()
        };
        let begin = record(BEGIN_REQUEST, ID, &[0, 1, KEEP_CONNECTION, 0, 0, 0, 0, 0]);
        [begin, stream(PARAMS, &variables), stream(STDIN, body)].concat()
    }

    /// What is received of these bytes, and what is answered meanwhile.
    fn received(bytes: &[u8]) -> (io::Result<Option<Received>>, Vec<u8>) {
        let mut output = Vec::new();
        (receive(&mut &*bytes, &mut output), output)
    }

    fn pair(name: &str, value: &str) -> (Vec<u8>, Vec<u8>) {
        (name.into(), value.into())
    }

    #[test]
    fn a_request_is_what_its_variables_and_its_body_say() {
        let variables = [pair("A", "1"), pair("EMPTY", ""), pair("A", "2"), pair("", "x")];
        let (request, output) = received(&sent(&variables, b"a=b", &[7]));
        let request = request.unwrap().unwrap();
        assert_eq!(request.variable("A").unwrap(), "2", "the last one counts");
        assert_eq!(request.variable("EMPTY").unwrap(), "");
        assert_eq!(request.variable("B"), None);
        assert_eq!(request.body, b"a=b");
        assert!(request.keeps_connection && output.is_empty());
        assert!(received(b"").0.unwrap().is_none());
    }

    #[test]
    fn a_reply_is_lines_of_the_log_then_the_response_then_the_end() {
        let request = received(&sent(&[], b"", &[7])).0.unwrap().unwrap();
        let expected = [
            record(STDERR, ID, b"one\n"),
            record(STDERR, ID, b"two\n"),
            record(STDOUT, ID, b"Status: 200 OK"),
            record(STDOUT, ID, b""),
            record(END_REQUEST, ID, &[0; 8]),
        ];
        assert_eq!(request.reply("one\ntwo\n", b"Status: 200 OK"), expected.concat());
        let long = vec![b'x'; 3 * MAX_CONTENT + 1];
        let records = request.reply("", &long);
        let mut rest = records.as_slice();
        let mut parts = Vec::new();
        while let Some(record) = Record::read(&mut rest).unwrap() {
            parts.extend((record.kind == STDOUT).then_some(record.content));
        }
        assert_eq!(parts.concat(), long);
        assert_eq!(parts.len(), 5);
    }

    #[test]
    fn answers_are_what_the_specification_says() {
        let eight = |kind, id: u8, first, fifth| {
            vec![1, kind, 0, id, 0, 8, 0, 0, first, 0, 0, 0, fifth, 0, 0, 0]
        };
        assert_eq!(management(77), eight(11, 0, 77, 0));
        assert_eq!(management(9), b"\x01\x0a\0\0\0\x12\0\0\x0f\x01FCGI_MPXS_CONNS0");
        for (status, number) in [(REQUEST_COMPLETE, 0), (CANNOT_MULTIPLEX, 1), (UNKNOWN_ROLE, 3)] {
            assert_eq!(end(5, status), eight(3, 5, 0, number));
        }
    }

    #[test]
    fn padding_belongs_to_its_record_and_means_nothing() {
        let mut bytes = sent(&[pair("A", "1")], b"", &[99]);
        // In the last record, which has no content, and the first one, which has eight bytes.
        let last = bytes.len() - 8;
        for (record, end) in [(last, last + 8), (0, 16)] {
            bytes[record + 6] = 3;
            bytes.splice(end..end, *b"???");
        }
        let request = received(&bytes).0.unwrap().unwrap();
        assert_eq!(request.variable("A").unwrap(), "1");
        for length in 1..bytes.len() {
            let error = received(&bytes[..length]).0.err().map(|error| error.kind());
            assert_eq!(error, Some(ErrorKind::UnexpectedEof), "{length}");
        }
    }

    #[test]
    fn what_is_not_for_us_is_answered_and_the_request_comes_all_the_same() {
        let other = ID + 1;
        let begin =
            |id, role| record(BEGIN_REQUEST, id, &[0, role, KEEP_CONNECTION, 0, 0, 0, 0, 0]);
        let whole = sent(&[pair("A", "1")], b"", &[7]);
        for (before, answer) in [
            (record(GET_VALUES, 0, b"\x0f\x00FCGI_MPXS_CONNS"), management(GET_VALUES)),
            (record(77, 0, b"?"), record(UNKNOWN_TYPE, 0, &[77, 0, 0, 0, 0, 0, 0, 0])),
            (begin(other, 2), end(other, UNKNOWN_ROLE)),
            (record(PARAMS, other, b"?"), Vec::new()),
            ([begin(ID, 1), record(ABORT_REQUEST, ID, b"")].concat(), end(ID, REQUEST_COMPLETE)),
        ] {
            let (request, output) = received(&[before, whole.clone()].concat());
            assert_eq!(request.unwrap().unwrap().variable("A").unwrap(), "1");
            assert_eq!(output, answer);
        }
        let (first, rest) = whole.split_at(16);
        let second = [begin(other, 1), record(PARAMS, other, b""), record(STDIN, other, b"")];
        let (request, output) = received(&[first, &second.concat(), rest].concat());
        assert_eq!(request.unwrap().unwrap().variable("A").unwrap(), "1");
        assert_eq!(output, end(other, CANNOT_MULTIPLEX));
    }

    #[test]
    fn a_request_that_comes_to_nothing_ends_a_connection_that_is_not_kept() {
        let whole = sent(&[pair("A", "1")], b"", &[7]);
        for (role, abort) in [(2, Vec::new()), (1, record(ABORT_REQUEST, ID, b""))] {
            for (flags, is_kept) in [(0, false), (KEEP_CONNECTION, true)] {
                let begin = record(BEGIN_REQUEST, ID, &[0, role, flags, 0, 0, 0, 0, 0]);
                let (request, output) = received(&[begin, abort.clone(), whole.clone()].concat());
                assert_eq!(request.unwrap().is_some(), is_kept);
                assert_eq!(output.len(), 16);
            }
        }
    }

    #[test]
    fn what_makes_no_sense_ends_the_connection() {
        let begin = record(BEGIN_REQUEST, ID, &[0, 1, 0, 0, 0, 0, 0, 0]);
        let after = |records: &[Vec<u8>]| [&begin[..], &records.concat()].concat();
        let long = record(PARAMS, ID, &vec![b'x'; 60_000]);
        for broken in [
            b"GET /ip.php HTTP/1.1\r\n".to_vec(),
            record(BEGIN_REQUEST, ID, &[0, 1, 0]),
            after(std::slice::from_ref(&begin)),
            after(&[record(STDIN, ID, b"")]),
            after(&[record(PARAMS, ID, b"\x01"), record(PARAMS, ID, b"")]),
            after(&[record(PARAMS, ID, b"\x01\xff\xff\xff\xffA"), record(PARAMS, ID, b"")]),
            after(&[record(PARAMS, ID, b""), record(PARAMS, ID, b"")]),
            after(&[long.clone(), long.clone(), long]),
        ] {
            let error = received(&broken).0.err().map(|error| error.kind());
            assert_eq!(error, Some(ErrorKind::InvalidData), "{broken:?}");
        }
    }

    #[test]
    fn no_more_of_a_body_is_kept_than_a_form_may_have() {
        let body = vec![b'x'; 5 * MAX_FORM];
        let request = received(&sent(&[], &body, &[1000])).0.unwrap().unwrap();
        assert_eq!(request.body.len(), MAX_FORM);
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_request_do_not_matter(
            variables in vec((vec(any::<u8>(), 0..200), vec(any::<u8>(), 0..200)), 0..9),
            body in vec(any::<u8>(), 0..300),
            sizes in vec(1..999_usize, 1..9),
        ) {
            let (request, output) = received(&sent(&variables, &body, &sizes));
            let request = request.unwrap().unwrap();
            prop_assert!(output.is_empty());
            let all: Vec<_> = request.pairs().flatten().collect();
            let expected = variables.iter().map(|(name, value)| (&name[..], &value[..]));
            prop_assert_eq!(all, expected.collect::<Vec<_>>());
            prop_assert_eq!(request.body, body);
        }

        #[test]
        fn no_records_do_any_harm(
            records in vec((1..12_u8, 0..3_u16, vec(any::<u8>(), 0..40)), 0..9),
            length in 0..400_usize,
        ) {
            let records = records.iter().map(|(kind, id, content)| record(*kind, *id, content));
            let bytes = records.collect::<Vec<_>>().concat();
            let _ = received(bytes.get(..length).unwrap_or(&bytes));
        }
    }
}

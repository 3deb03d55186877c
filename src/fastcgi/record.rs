//! Records: what a connection consists of, in both directions.
//!
//! FastCGI Specification 1.0 (Open Market, 1996), sections 3.3 and 8. Treat everything that comes
//! in as hostile: an error here ends the connection.

use std::io::{self, ErrorKind, Read};

/// The most content that we put into a record: a multiple of eight, as the specification advises.
pub(super) const MAX_CONTENT: usize = 0xfff8;

// The kinds of records, and what they say: section 8 of the specification.
const VERSION: u8 = 1;
/// The kind of record that begins a request.
pub const BEGIN_REQUEST: u8 = 1;
pub(super) const ABORT_REQUEST: u8 = 2;
pub(super) const END_REQUEST: u8 = 3;
/// The kind of record that has variables.
pub const PARAMS: u8 = 4;
/// The kind of record that has a part of the body.
pub const STDIN: u8 = 5;
/// The kind of record that has a part of the response.
pub const STDOUT: u8 = 6;
pub(super) const STDERR: u8 = 7;
pub(super) const GET_VALUES: u8 = 9;
pub(super) const GET_VALUES_RESULT: u8 = 10;
pub(super) const UNKNOWN_TYPE: u8 = 11;
pub(super) const RESPONDER: [u8; 2] = [0, 1];
pub(super) const KEEP_CONNECTION: u8 = 1;
pub(super) const REQUEST_COMPLETE: u8 = 0;
pub(super) const CANNOT_MULTIPLEX: u8 = 1;
pub(super) const UNKNOWN_ROLE: u8 = 3;

/// A record that came in.
pub struct Record {
    /// What it is for.
    pub kind: u8,
    pub(super) id: u16,
    /// What it holds.
    pub content: Vec<u8>,
}

impl Record {
    /// Reads a record, or `None` if the connection ends here.
    pub fn read(input: &mut impl Read) -> io::Result<Option<Self>> {
        let header = read_up_to(input, 8)?;
        let [version, kind, id_1, id_0, length_1, length_0, padding, _] = header[..] else {
            let is_end = header.is_empty();
            return if is_end { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
        };
        if version != VERSION {
            return Err(broken("the peer does not speak FastCGI 1"));
        }
        let length = u16::from_be_bytes([length_1, length_0]);
        let mut content = read_up_to(input, u64::from(length) + u64::from(padding))?;
        if content.len() < usize::from(length) + usize::from(padding) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        content.truncate(length.into());
        Ok(Some(Self { kind, id: u16::from_be_bytes([id_1, id_0]), content }))
    }
}

/// Reads so many bytes, or fewer if the connection ends before.
fn read_up_to(input: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    input.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A record with its header. If the content is longer than a record can be, the rest is left out.
#[must_use]
pub fn record(kind: u8, id: u16, content: &[u8]) -> Vec<u8> {
    let content = content.get(..MAX_CONTENT).unwrap_or(content);
    let length = u16::try_from(content.len()).unwrap_or_default();
    let [[id_1, id_0], [length_1, length_0]] = [id, length].map(u16::to_be_bytes);
    let header = [VERSION, kind, id_1, id_0, length_1, length_0, 0, 0];
    [&header, content].concat()
}

/// What a peer has done that the specification does not allow.
pub(super) fn broken(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

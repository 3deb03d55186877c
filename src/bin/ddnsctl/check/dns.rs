//! One question to a name server.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, Question, TYPE};

/// How long to wait for the answer.
const LIMIT: Duration = Duration::from_secs(2);

/// What a name server says about an address of a name.
pub enum Answer {
    /// The name has the address.
    Has,
    /// The name does not have it, or there is no such name.
    HasNot,
}

/// Asks the server whether `name` has `address`. The error says why there is no answer.
pub fn ask(server: SocketAddr, name: &str, address: IpAddr) -> Result<Answer, String> {
    let query = query(name, address).map_err(text)?;
    let mut buffer = [0; 4096];
    let length = exchange(server, &query, &mut buffer).map_err(text)?;
    let answer = Packet::parse(buffer.get(..length).unwrap_or_default()).map_err(text)?;
    let has_address = answer.answers.iter().any(|record| match &record.rdata {
        RData::A(a) => address == IpAddr::V4(a.address.into()),
        RData::AAAA(a) => address == IpAddr::V6(a.address.into()),
        _ => false,
    });
    Ok(if has_address { Answer::Has } else { Answer::HasNot })
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}

fn query(name: &str, address: IpAddr) -> simple_dns::Result<Vec<u8>> {
    let kind = if address.is_ipv4() { TYPE::A } else { TYPE::AAAA };
    let mut query = Packet::new_query(1);
    let question = Question::new(Name::new(name)?, kind.into(), CLASS::IN.into(), false);
    query.questions.push(question);
    query.build_bytes_vec()
}

/// Sends the query and receives the answer into `buffer`. Returns its length.
fn exchange(server: SocketAddr, query: &[u8], buffer: &mut [u8]) -> io::Result<usize> {
    let local: SocketAddr =
        if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(local)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.send(query)?;
    loop {
        match socket.recv(buffer) {
            // The wait is interrupted if somebody stops this process and lets it go on: signal(7).
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => return received,
        }
    }
}

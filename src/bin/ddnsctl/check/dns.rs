//! One question to a name server.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, Question, TYPE};

/// Whether the server's answer for `name` has `address`.
pub fn ask(server: SocketAddr, name: &str, address: IpAddr) -> Result<bool, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let kind = if address.is_ipv4() { TYPE::A } else { TYPE::AAAA };
    let mut query = Packet::new_query(1);
    let name = Name::new(name).map_err(|e| text(&e))?;
    query.questions.push(Question::new(name, kind.into(), CLASS::IN.into(), false));
    let query = query.build_bytes_vec().map_err(|e| text(&e))?;
    let local: SocketAddr =
        if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).map_err(|e| text(&e))?;
    socket.connect(server).map_err(|e| text(&e))?;
    socket.set_read_timeout(Some(Duration::from_secs(2))).map_err(|e| text(&e))?;
    socket.send(&query).map_err(|e| text(&e))?;
    let mut buffer = [0; 4096];
    let length = receive(&socket, &mut buffer).map_err(|e| text(&e))?;
    let answer = Packet::parse(buffer.get(..length).unwrap_or_default()).map_err(|e| text(&e))?;
    Ok(answer.answers.iter().any(|record| match &record.rdata {
        RData::A(a) => address == IpAddr::V4(a.address.into()),
        RData::AAAA(a) => address == IpAddr::V6(a.address.into()),
        _ => false,
    }))
}

/// A wait with a time limit is interrupted where the process is stopped and goes on: signal(7).
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.recv(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => return received,
        }
    }
}

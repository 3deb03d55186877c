//! One question to a name server.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, ResourceRecord, TYPE};

/// How long to wait for the answer.
const LIMIT: Duration = Duration::from_secs(2);

/// What a name server says.
pub struct Reply {
    /// Whether the name exists, if the server is willing to tell.
    pub rcode: RCODE,
    /// The records that it was asked for.
    pub answers: Vec<ResourceRecord<'static>>,
    /// The records that say who knows.
    pub authority: Vec<ResourceRecord<'static>>,
}

impl Reply {
    /// Whether a record of this name and kind is in the answer.
    pub fn has(&self, name: &str, kind: TYPE) -> bool {
        self.answers.iter().any(|record| is_of(record, name) && record.rdata.type_code() == kind)
    }

    /// The servers of a zone, be it that the asked server has the zone, or that it delegates it.
    pub fn servers(&self, zone: &str) -> Vec<String> {
        let records = self.answers.iter().chain(&self.authority);
        let servers = records.filter(|record| is_of(record, zone)).filter_map(|record| {
            let RData::NS(server) = &record.rdata else { return None };
            // A foreign server chooses this text, and a terminal shows it.
            Some(server.0.to_string().escape_default().to_string())
        });
        servers.collect()
    }
}

fn is_of(record: &ResourceRecord, name: &str) -> bool {
    record.name.to_string().eq_ignore_ascii_case(name)
}

/// Asks the server for records of a name; `""` is the root. With `recursion`, it may ask others.
pub fn ask(server: SocketAddr, name: &str, kind: TYPE, recursion: bool) -> Result<Reply, String> {
    let query = query(name, kind, recursion).map_err(|error| error.to_string())?;
    let mut buffer = [0; 4096];
    let length = exchange(server, &query, &mut buffer).map_err(|error| error.to_string())?;
    let packet = Packet::parse(buffer.get(..length).unwrap_or_default());
    let packet = packet.map_err(|error| error.to_string())?;
    let owned = |records: Vec<ResourceRecord>| {
        records.into_iter().map(ResourceRecord::into_owned).collect()
    };
    let rcode = packet.rcode();
    Ok(Reply { rcode, answers: owned(packet.answers), authority: owned(packet.name_servers) })
}

fn query(name: &str, kind: TYPE, recursion: bool) -> simple_dns::Result<Vec<u8>> {
    let mut query = Packet::new_query(1);
    if recursion {
        query.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    query.questions.push(Question::new(Name::new(name)?, kind.into(), CLASS::IN.into(), false));
    query.build_bytes_vec()
}

/// Sends the query and receives the answer into `buffer`. Returns its length.
fn exchange(server: SocketAddr, query: &[u8], buffer: &mut [u8]) -> io::Result<usize> {
    let socket = if server.is_ipv4() {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?
    } else {
        UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?
    };
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

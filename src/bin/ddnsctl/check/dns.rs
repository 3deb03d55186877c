//! Asks a name server many questions at once.
//!
//! They go over UDP. Only a few are under way at a time, so that they overflow no receive buffer.
//! What has no answer is asked again. A truncated answer is asked for again over TCP, as resolvers
//! do (RFC 7766): it is long, or the server limits its rate and wants to know that our address is
//! our own.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE};

use crate::progress;

/// The port of every public name server.
pub const PORT: u16 = 53;

/// How many questions are under way at once. A socket buffers more answers than that.
const WINDOW: usize = 100;

/// After this time without an answer, a question is asked again.
const PATIENCE: Duration = Duration::from_millis(500);

/// What to do about a server that answers some questions, and then no more.
pub const SLOW: &str = "See why it is so slow, and whether it limits the rate of its answers.";

/// A server that is silent for this long is given up.
const SILENCE: Duration = Duration::from_secs(2);

/// A server is given up after this time, even if it answers now and then.
const LIMIT: Duration = Duration::from_secs(30);

/// How often to look for a question that has to be asked again.
const TICK: Duration = Duration::from_millis(50);

/// Without EDNS a message over UDP has at most 512 bytes (RFC 1035, 2.3.4). Longer ones are read
/// all the same.
const LONGEST: usize = 4096;

/// A question for a name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name, without a dot at its end; empty for the root.
    pub name: String,
    /// What to tell about the name.
    pub kind: QTYPE,
    /// Whether the server is to find the answer elsewhere if it does not know.
    pub is_recursive: bool,
}

/// What a name server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub code: RCODE,
    /// Whether the server speaks with authority.
    pub is_authoritative: bool,
    /// Whether the server finds answers elsewhere.
    pub is_recursive: bool,
    pub addresses: Vec<IpAddr>,
    /// The longest time to live of an address, in seconds.
    pub ttl: Option<u32>,
    /// The serial number of the zone.
    pub serial: Option<u32>,
    /// The name servers of the zone.
    pub servers: Vec<String>,
    /// The name servers that a server above the zone delegates it to.
    pub delegated_to: Vec<String>,
}

/// All that a name server says.
#[derive(Debug)]
pub struct Answers {
    /// The answers, in the order of the questions.
    pub list: Vec<Option<Answer>>,
    /// Why some questions have no answer.
    pub silence: Option<String>,
}

/// Asks a name server.
pub fn ask(server: SocketAddr, questions: &[Question]) -> Answers {
    let mut list = vec![None; questions.len()];
    progress::ask(list.len());
    let end = Instant::now() + LIMIT;
    let open = questions.iter().zip(&mut list).map(|(question, slot)| Open { question, slot });
    let result = over_udp(server, open, end).and_then(|truncated| over_tcp(server, truncated, end));
    progress::asked(list.len());
    let silence = result.err().map(|error| {
        let (missing, all) = (list.iter().filter(|answer| answer.is_none()).count(), list.len());
        let part =
            if missing < all { format!(" to {missing} of {all} questions") } else { String::new() };
        format!("no answer from {server}{part}: {error}")
    });
    Answers { list, silence }
}

/// Asks a name server one question. The error says why there is no answer.
pub fn ask_one(server: SocketAddr, question: Question) -> Result<Answer, String> {
    let Answers { mut list, silence } = ask(server, &[question]);
    list.pop().flatten().ok_or_else(|| silence.unwrap_or_default())
}

impl Question {
    /// A question about what the server itself knows.
    pub fn new(name: impl fmt::Display, kind: impl Into<QTYPE>) -> Self {
        Self { name: name.to_string(), kind: kind.into(), is_recursive: false }
    }

    /// The message with this question.
    fn message(&self, id: u16) -> Vec<u8> {
        let mut query = Packet::new_query(id);
        if self.is_recursive {
            query.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        // Not Name::new, which refuses an underscore at the end of a label.
        let name = Name::new_unchecked(&self.name);
        query.questions.push(simple_dns::Question::new(name, self.kind, CLASS::IN.into(), false));
        query.build_bytes_vec().unwrap_or_default()
    }

    /// Whether a message asks this. A server need not repeat a question that it rejects.
    fn is_in(&self, message: &Packet) -> bool {
        match message.questions.as_slice() {
            [] => message.rcode() != RCODE::NoError,
            [question] => question.qtype == self.kind && self.is_about(&question.qname),
            _ => false,
        }
    }

    fn is_about(&self, name: &Name) -> bool {
        name.to_string().eq_ignore_ascii_case(&self.name)
    }
}

/// What a message answers.
enum Reading {
    Whole(Answer),
    Truncated,
}

impl Reading {
    /// Reads the answer to `question` from a message. Anything else is `None`.
    fn of(message: &Packet, question: &Question) -> Option<Self> {
        if !message.has_flags(PacketFlag::RESPONSE) || !question.is_in(message) {
            return None;
        }
        if message.has_flags(PacketFlag::TRUNCATION) {
            return Some(Self::Truncated);
        }
        let mut answer = Answer {
            code: message.rcode(),
            is_authoritative: message.has_flags(PacketFlag::AUTHORITATIVE_ANSWER),
            is_recursive: message.has_flags(PacketFlag::RECURSION_AVAILABLE),
            addresses: Vec::new(),
            ttl: None,
            serial: None,
            servers: Vec::new(),
            delegated_to: Vec::new(),
        };
        for record in &message.answers {
            match &record.rdata {
                RData::A(a) => answer.add(IpAddr::V4(a.address.into()), record.ttl),
                RData::AAAA(a) => answer.add(IpAddr::V6(a.address.into()), record.ttl),
                RData::SOA(soa) => answer.serial = Some(soa.serial),
                RData::NS(server) => answer.servers.push(shown(&server.0)),
                _ => {}
            }
        }
        for record in &message.name_servers {
            if let (RData::NS(server), true) = (&record.rdata, question.is_about(&record.name)) {
                answer.delegated_to.push(shown(&server.0));
            }
        }
        Some(Self::Whole(answer))
    }
}

/// A name that somebody else chose, and that a terminal shows.
fn shown(name: &Name) -> String {
    name.to_string().escape_default().to_string()
}

impl Answer {
    fn add(&mut self, address: IpAddr, ttl: u32) {
        self.addresses.push(address);
        self.ttl = self.ttl.max(Some(ttl));
    }
}

/// A question without an answer, and the place for it.
struct Open<'q> {
    question: &'q Question,
    slot: &'q mut Option<Answer>,
}

/// A question that is under way.
struct Asked<'q> {
    open: Open<'q>,
    /// When it was last sent.
    sent: Option<Instant>,
}

impl Asked<'_> {
    /// Sends the question if nobody has answered for a while. If this fails, it is tried again in a
    /// while.
    fn send_if_due(&mut self, socket: &UdpSocket, id: u16, now: Instant) -> io::Result<()> {
        if self.sent.is_none_or(|sent| now.duration_since(sent) >= PATIENCE) {
            self.sent = Some(now);
            socket.send(&self.open.question.message(id))?;
        }
        Ok(())
    }
}

/// Asks over UDP. Returns the questions whose answer is truncated.
fn over_udp<'q>(
    server: SocketAddr,
    mut waiting: impl Iterator<Item = Open<'q>>,
    end: Instant,
) -> io::Result<Vec<Open<'q>>> {
    let socket = connect(server)?;
    let mut buffer = [0; LONGEST];
    let mut truncated = Vec::new();
    // The place in the window is the ID of the message.
    let mut window: Vec<Option<Asked>> = (0..WINDOW).map(|_| None).collect();
    let mut heard = Instant::now();
    let mut reason = None;
    loop {
        let now = Instant::now();
        for (id, place) in (0..).zip(&mut window) {
            if place.is_none() {
                *place = waiting.next().map(|open| Asked { open, sent: None });
            }
            let sent = place.as_mut().map(|asked| asked.send_if_due(&socket, id, now));
            // The server may be restarting. One of the next calls says so, to send or to receive.
            reason = sent.and_then(Result::err).or(reason);
        }
        if window.iter().all(Option::is_none) {
            return Ok(truncated);
        }
        if now.duration_since(heard) >= SILENCE || now >= end {
            return Err(reason.unwrap_or_else(late));
        }
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let bytes = buffer.get(..length).unwrap_or_default();
                if settle(&mut window, bytes, &mut truncated).is_some() {
                    heard = Instant::now();
                }
            }
            // Somebody stopped this process and let it go on: signal(7). The silence was our own.
            Err(error) if error.kind() == ErrorKind::Interrupted => heard = Instant::now(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => reason = Some(error),
        }
    }
}

/// Gives a message to the question that it answers, which then leaves the window.
fn settle<'q>(
    window: &mut [Option<Asked<'q>>],
    bytes: &[u8],
    truncated: &mut Vec<Open<'q>>,
) -> Option<()> {
    let message = Packet::parse(bytes).ok()?;
    let place = window.get_mut(usize::from(message.id()))?;
    let reading = Reading::of(&message, place.as_ref()?.open.question)?;
    let open = place.take()?.open;
    match reading {
        Reading::Whole(answer) => {
            *open.slot = Some(answer);
            progress::answered();
        }
        Reading::Truncated => truncated.push(open),
    }
    Some(())
}

/// A socket for questions to a server. This sends nothing.
pub fn connect(server: SocketAddr) -> io::Result<UdpSocket> {
    let local: SocketAddr =
        if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(local)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(TICK))?;
    Ok(socket)
}

fn late() -> io::Error {
    io::Error::other("it takes too long")
}

/// Asks over TCP, one question after the other.
fn over_tcp(server: SocketAddr, truncated: Vec<Open>, end: Instant) -> io::Result<()> {
    let mut connection = None;
    for Open { question, slot } in truncated {
        if Instant::now() >= end {
            return Err(late());
        }
        let query = question.message(0);
        let again = connection.as_mut().and_then(|stream| exchange(stream, &query, end).ok());
        let bytes = match again {
            Some(bytes) => bytes,
            // A server may close the connection after some questions.
            None => exchange(connection.insert(open(server)?), &query, end)?,
        };
        let message = Packet::parse(&bytes).map_err(io::Error::other)?;
        match Reading::of(&message, question) {
            Some(Reading::Whole(answer)) => *slot = Some(answer),
            _ => return Err(io::Error::other("over TCP: its answer is to another question")),
        }
    }
    Ok(())
}

fn open(server: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&server, SILENCE)
        .map_err(|error| io::Error::other(format!("over TCP: {error}")))
}

/// Sends a message and receives one, each after its length (RFC 1035, 4.2.2).
fn exchange(stream: &mut TcpStream, query: &[u8], end: Instant) -> io::Result<Vec<u8>> {
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat())?;
    let end = end.min(Instant::now() + SILENCE);
    let mut length = [0; 2];
    receive(stream, &mut length, end)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    receive(stream, &mut message, end)?;
    Ok(message)
}

/// Fills the buffer before `end`. A server may send one byte at a time.
fn receive(stream: &mut TcpStream, buffer: &mut [u8], end: Instant) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(rest) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => filled += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(late()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use simple_dns::TYPE;

    /// A reply to a question, with records as a server sends them: type, TTL and data.
    fn reply(question: &Question, flags: u16, records: &[(u16, u32, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = question.message(7);
        bytes[2..4].copy_from_slice(&(0x8000 | flags).to_be_bytes());
        bytes[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
        for (kind, ttl, data) in records {
            // The name is that of the question.
            bytes.extend([0xc0, 12]);
            bytes.extend(kind.to_be_bytes());
            bytes.extend([0, 1]);
            bytes.extend(ttl.to_be_bytes());
            bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            bytes.extend(data);
        }
        bytes
    }

    fn read(bytes: &[u8], question: &Question) -> Option<Answer> {
        match Reading::of(&Packet::parse(bytes).ok()?, question)? {
            Reading::Whole(answer) => Some(answer),
            Reading::Truncated => None,
        }
    }

    #[test]
    fn an_answer_tells_addresses_the_longest_ttl_the_serial_and_the_servers() {
        let question = Question::new("Host_.h.Example.net", TYPE::A);
        let v6 = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap();
        let soa = [&[0, 0][..], &7_u32.to_be_bytes(), &[0; 16]].concat();
        let records = [
            (1, 7, vec![192, 0, 2, 1]),
            (28, 3600, v6.octets().to_vec()),
            (6, 9, soa),
            (2, 9, vec![3, b'n', b's', b'1', 0xc0, 12]),
            (16, 9, vec![1, b'x']),
        ];
        let answer = read(&reply(&question, 0x0480, &records), &question).unwrap();
        assert_eq!(answer.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap(), v6.into()]);
        assert_eq!((answer.ttl, answer.serial), (Some(3600), Some(7)));
        assert_eq!(answer.servers, ["ns1.Host_.h.Example.net"]);
        assert!(answer.is_authoritative && answer.is_recursive && answer.code == RCODE::NoError);
        let answer = read(&reply(&question, 3, &[]), &question).unwrap();
        assert!(!answer.is_authoritative && !answer.is_recursive);
        assert_eq!((answer.code, answer.ttl), (RCODE::NameError, None));
    }

    #[test]
    fn what_does_not_answer_the_question_is_no_answer() {
        let question = Question::new("a.example", TYPE::A);
        let is_answer = |bytes: &[u8]| read(bytes, &question).is_some();
        assert!(is_answer(&reply(&question, 0, &[])));
        assert!(is_answer(&reply(&Question::new("A.EXAMPLE", TYPE::A), 0, &[])));
        assert!(!is_answer(&question.message(7)), "it is the question itself");
        assert!(!is_answer(&reply(&question, 0x0200, &[])), "it is truncated");
        assert!(!is_answer(&reply(&Question::new("b.example", TYPE::A), 0, &[])));
        assert!(!is_answer(&reply(&Question::new("a.example", TYPE::AAAA), 0, &[])));
        let header = |code| [&[0, 7, 0x80, code][..], &[0; 8]].concat();
        assert!(is_answer(&header(5)), "a server may refuse in few words");
        assert!(!is_answer(&header(0)));
    }

    #[test]
    fn only_a_recursive_question_asks_for_recursion() {
        let question = Question::new("a.example", QTYPE::ANY);
        assert_eq!(question.message(1)[..4], [0, 1, 0, 0]);
        let recursive = Question { is_recursive: true, ..question };
        assert_eq!(recursive.message(1)[..4], [0, 1, 1, 0]);
        assert_eq!(Question::new("", TYPE::NS).message(1).len(), 12 + 5);
    }

    fn questions(count: usize) -> Vec<Question> {
        (0..count).map(|n| Question::new(format!("h{n}.example"), TYPE::A)).collect()
    }

    /// A socket on this machine, and its address.
    fn bound() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[test]
    fn what_gets_lost_is_asked_again_and_what_was_not_asked_does_not_count() {
        const COUNT: usize = 1000;
        let (socket, server) = bound();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        let answering = std::thread::spawn(move || {
            let mut seen = std::collections::BTreeMap::new();
            let mut buffer = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                let message = &mut buffer[..length];
                let (number, id) = (seen.len(), message[1]);
                let times = seen.entry(message[12..].to_vec()).or_insert(0);
                *times += 1;
                // The first copy of each tenth question gets lost.
                if *times == 1 && number % 10 == 0 {
                    continue;
                }
                message[2] |= 0x80;
                // The answer to another question, the same answer twice, and no message at all.
                message[1] = id ^ 1;
                socket.send_to(message, client).unwrap();
                message[1] = id;
                socket.send_to(message, client).unwrap();
                socket.send_to(message, client).unwrap();
                socket.send_to(&message[..9], client).unwrap();
            }
            seen
        });
        let answers = ask(server, &questions(COUNT));
        assert_eq!(answers.silence, None);
        assert!(answers.list.iter().all(Option::is_some));
        let seen = answering.join().unwrap();
        assert_eq!(seen.len(), COUNT);
        assert!(seen.values().filter(|times| **times > 1).count() >= COUNT / 10);
    }

    #[test]
    fn an_answer_that_comes_byte_by_byte_over_tcp_is_given_up() {
        let (socket, server) = bound();
        let listener = std::net::TcpListener::bind(server).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            let (length, client) = socket.recv_from(&mut buffer).unwrap();
            buffer[2] |= 0x82; // An answer, and truncated.
            socket.send_to(&buffer[..length], client).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&[0xff, 0xff]).unwrap();
            while stream.write_all(&[0]).is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let started = Instant::now();
        let silence = ask(server, &questions(1)).silence.unwrap();
        assert!(silence.ends_with("it takes too long"), "{silence}");
        assert!(started.elapsed() < 2 * SILENCE, "{:?}", started.elapsed());
    }

    #[test]
    fn a_silent_server_is_given_up_once_and_not_for_each_question() {
        let (silent, server) = bound();
        let started = Instant::now();
        let answers = ask(server, &questions(20_000));
        let took = started.elapsed();
        assert!(took >= SILENCE && took < SILENCE + Duration::from_secs(1), "{took:?}");
        assert_eq!(answers.silence.unwrap(), format!("no answer from {server}: it takes too long"));
        assert!(answers.list.iter().all(Option::is_none));
        drop(silent);
        let refused = ask(server, &questions(1)).silence.unwrap();
        assert!(refused.contains("Connection refused"), "{refused}");
        assert_eq!(ask(server, &[]).silence, None);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            records in prop::collection::vec(
                (0..70_u16, any::<u32>(), prop::collection::vec(any::<u8>(), 0..40)), 0..4
            ),
            flags in any::<u16>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let question = Question::new("a.example", TYPE::A);
            let mut message = reply(&question, flags, &records);
            let _ = read(&bytes, &question);
            let _ = read(&message, &question);
            message.truncate(cut.index(message.len() + 1));
            let _ = read(&message, &question);
        }
    }
}

//! What many clients will ask for, the answers that they must get, and what must be stored in the end.
//! Each client owns its hosts, so every word of its answers is known beforehand.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use crate::scene::{signed, time};

/// The hosts of a client: one that never moves, two that do, and one that is new.
const HOSTS: usize = 4;
const STILL: usize = 0;
const NEW: usize = 3;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// From a new address.
    Changed,
    /// From the host's address, signed anew.
    Redundant,
    /// The last accepted request, delivered again.
    Repeated,
    /// The last accepted request, from elsewhere.
    Replayed,
    /// An earlier accepted request.
    Older,
    WrongHash,
    UnknownUser,
    OtherUsersHost,
    Malformed,
}

/// The kinds in the order in which a client uses them. Their number has no factor in common with the
/// number of hosts, so each host gets each kind.
const KINDS: [Kind; 13] = [
    Kind::Changed,
    Kind::Redundant,
    Kind::WrongHash,
    Kind::Repeated,
    Kind::Changed,
    Kind::Replayed,
    Kind::Redundant,
    Kind::OtherUsersHost,
    Kind::Changed,
    Kind::UnknownUser,
    Kind::Older,
    Kind::Redundant,
    Kind::Malformed,
];

/// A host after the requests planned so far.
pub struct Host {
    pub name: String,
    /// All its addresses over time.
    pub addresses: Vec<Ipv4Addr>,
    /// Whether it is in the state from the beginning.
    pub is_known: bool,
    /// The last accepted stamp.
    pub stamp: String,
    /// The accepted queries.
    accepted: Vec<String>,
}

/// An answer: status and line.
pub type Answer = (u16, String);

/// One client's requests.
pub struct Client {
    user: String,
    key: String,
    neighbour: String,
    pub hosts: Vec<Host>,
    /// The configuration of a curl that sends them one after the other.
    pub curl: String,
    pub answers: Vec<Answer>,
}

/// The state's stamp for a host that has not moved since.
const LONG_AGO: &str = "2012-04-20 20:45:59";

impl Client {
    /// Plans `requests` requests to `url` of client `number`, of `clients`.
    pub fn plan(number: usize, clients: usize, requests: usize, url: &str) -> Self {
        let name = |number: usize, host: usize| format!("host{host}.client{number}.example");
        let mut hosts = Vec::new();
        for host in 0..HOSTS {
            let is_known = host != NEW;
            hosts.push(Host {
                name: name(number, host),
                addresses: if is_known { vec![address(number, host, 0)] } else { vec![] },
                is_known,
                stamp: LONG_AGO.to_owned(),
                accepted: Vec::new(),
            });
        }
        let mut client = Self {
            user: format!("client{number}"),
            key: format!("key{number}"),
            neighbour: name((number + 1) % clients, STILL),
            hosts,
            curl: String::new(),
            answers: Vec::new(),
        };
        for turn in 0..requests {
            let kind = KINDS[(number + turn) % KINDS.len()];
            let host = turn % HOSTS;
            let kind = client.possible(host, kind);
            let elsewhere = address(number, host, client.hosts[host].addresses.len());
            let (query, from, answer) = client.request(host, kind, elsewhere, turn);
            client.curl += &section(url, &query, from, turn);
            client.answers.push(answer);
        }
        client
    }

    /// The user's entry in the credentials.
    pub fn credentials(&self) -> (String, Value) {
        let names: Vec<&str> = self.hosts.iter().map(|host| host.name.as_str()).collect();
        (self.user.clone(), json!({"id": names, "key": self.key}))
    }

    /// The kind, or another if the host lacks what it needs.
    fn possible(&self, host: usize, kind: Kind) -> Kind {
        let known = &self.hosts[host];
        let needed = match kind {
            Kind::Repeated | Kind::Replayed => 1,
            Kind::Older => 2,
            _ => 0,
        };
        let lacks_address = known.addresses.is_empty() && kind == Kind::Redundant;
        match kind {
            _ if known.accepted.len() < needed || lacks_address || kind == Kind::Changed => {
                if host == STILL { Kind::Redundant } else { Kind::Changed }
            }
            kind => kind,
        }
    }

    /// A request: query, address and the answer that it must get. A refused one comes from `elsewhere`,
    /// like a changed one, and would move the host if it were accepted.
    fn request(
        &mut self,
        host: usize,
        kind: Kind,
        elsewhere: Ipv4Addr,
        turn: usize,
    ) -> (String, Ipv4Addr, Answer) {
        let stamp = time(i64::try_from(turn).unwrap());
        let Self { user, key, neighbour, hosts, .. } = self;
        let host = &mut hosts[host];
        let query = signed(user, key, &host.name, &stamp);
        let last = || host.accepted.last().unwrap().clone();
        let refused = |status, line: &str| (status, line.to_owned());
        let badauth = refused(403, "badauth");
        match kind {
            Kind::Changed | Kind::Redundant => {
                let word = if kind == Kind::Changed { "good" } else { "nochg" };
                if kind == Kind::Changed {
                    host.addresses.push(elsewhere);
                }
                let here = *host.addresses.last().unwrap();
                host.stamp = stamp;
                host.accepted.push(query.clone());
                (query, here, (200, format!("{word} {here}")))
            }
            Kind::Repeated => {
                let here = *host.addresses.last().unwrap();
                (last(), here, (200, format!("nochg {here}")))
            }
            Kind::Replayed => (last(), elsewhere, refused(403, "replay")),
            Kind::Older => (host.accepted[0].clone(), elsewhere, refused(403, "replay")),
            Kind::WrongHash => (signed(user, "guess", &host.name, &stamp), elsewhere, badauth),
            Kind::UnknownUser => (signed("nobody", key, &host.name, &stamp), elsewhere, badauth),
            Kind::OtherUsersHost => {
                (signed(user, key, neighbour, &stamp), elsewhere, refused(403, "nohost"))
            }
            Kind::Malformed => {
                let query = signed(user, key, &host.name, "2012-02-30 00:00:00");
                (query, elsewhere, refused(400, "badrequest malformed timeST"))
            }
        }
    }
}

/// The `n`th address of a host: no other host or client has it.
fn address(client: usize, host: usize, n: usize) -> Ipv4Addr {
    assert!(client < 200 && host < HOSTS && n < 1 << 14);
    let [high, low] = u16::try_from(host << 14 | n).unwrap().to_be_bytes();
    Ipv4Addr::new(127, u8::try_from(client + 1).unwrap(), high, low)
}

/// One request in a configuration of curl. Each has a connection of its own, as with real clients,
/// and every third is a POST.
fn section(url: &str, query: &str, from: Ipv4Addr, turn: usize) -> String {
    let next = if turn == 0 { "" } else { "next\n" };
    let target = match turn % 3 {
        0 => format!("url = \"{url}\"\ndata = \"{query}\"\n"),
        _ => format!("url = \"{url}?{query}\"\n"),
    };
    format!(
        "{next}{target}interface = \"{from}\"\nheader = \"Connection: close\"\nsilent\nshow-error\n\
         max-time = 60\nwrite-out = \"= %{{http_code}} %{{time_total}}\\n\"\n"
    )
}

/// The state before the first request, with all hosts known then.
pub fn first_state(clients: &[Client]) -> Map<String, Value> {
    let hosts = clients.iter().flat_map(|client| &client.hosts).filter(|host| host.is_known);
    hosts
        .map(|host| {
            (host.name.clone(), json!({"ip": host.addresses[0].to_string(), "update": LONG_AGO}))
        })
        .collect()
}

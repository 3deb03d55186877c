//! Whether the zone above says who serves a zone.

use std::net::{IpAddr, SocketAddr};

use simple_dns::{RCODE, TYPE};

use crate::check::dns::{self, Answer, PORT, Question};
use crate::check::zones::why_not;

/// What the zone above says.
pub struct Delegation {
    /// The name of the zone above.
    pub parent: String,
    /// Its server that was asked.
    pub asked: String,
    /// The servers that the zone is delegated to.
    pub servers: Vec<String>,
}

/// Asks these resolvers for the servers of the zone above, and one of those for the delegation. The
/// error says who did not answer.
pub fn find(zone: &str, resolvers: &[IpAddr]) -> Result<Delegation, String> {
    let mut why = "there is no resolver in /etc/resolv.conf".to_owned();
    for resolver in resolvers {
        match find_with(zone, *resolver) {
            Ok(delegation) => return Ok(delegation),
            Err(error) => why = error,
        }
    }
    Err(why)
}

fn find_with(zone: &str, resolver: IpAddr) -> Result<Delegation, String> {
    for parent in above(zone) {
        let servers = resolve(resolver, parent, TYPE::NS)?.servers;
        if !servers.is_empty() {
            return find_at(zone, parent, servers, resolver);
        }
    }
    Err(format!("{resolver} knows no zone above it"))
}

/// Asks the servers of the zone above, until one answers.
fn find_at(
    zone: &str,
    parent: &str,
    servers: Vec<String>,
    resolver: IpAddr,
) -> Result<Delegation, String> {
    let mut why = format!("the servers of {parent} have no addresses");
    for asked in servers {
        for address in addresses(resolver, &asked)? {
            match settled(SocketAddr::new(address, PORT), Question::new(zone, TYPE::NS)) {
                Ok(answer) => {
                    // It may serve the zone, too.
                    let servers = [answer.delegated_to, answer.servers].concat();
                    return Ok(Delegation { parent: parent.to_owned(), asked, servers });
                }
                Err(error) => why = format!("{asked}: {error}"),
            }
        }
    }
    Err(why)
}

/// The names above a name, up to the root. Not each of them is a zone.
fn above(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| match name.split_once('.') {
        Some((_, rest)) => Some(rest),
        None => (!name.is_empty()).then_some(""),
    })
    .skip(1)
}

/// The addresses of a server.
fn addresses(resolver: IpAddr, server: &str) -> Result<Vec<IpAddr>, String> {
    let mut addresses = Vec::new();
    for kind in [TYPE::A, TYPE::AAAA] {
        addresses.extend(resolve(resolver, server, kind)?.addresses);
    }
    Ok(addresses)
}

fn resolve(resolver: IpAddr, name: &str, kind: TYPE) -> Result<Answer, String> {
    let question = Question { is_recursive: true, ..Question::new(name, kind) };
    settled(SocketAddr::new(resolver, PORT), question)
}

/// An answer that settles whether there are such records.
fn settled(server: SocketAddr, question: Question) -> Result<Answer, String> {
    let answer = dns::ask_one(server, question)?;
    match answer.code {
        RCODE::NoError | RCODE::NameError => Ok(answer),
        _ => Err(format!("{server} answers with {}", why_not(&answer))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_above_end_with_the_root() {
        assert_eq!(above("h.example.net").collect::<Vec<_>>(), ["example.net", "net", ""]);
        assert_eq!(above("net").collect::<Vec<_>>(), [""]);
        assert_eq!(above("").count(), 0);
    }

    #[test]
    fn without_a_resolver_nothing_is_known() {
        let why = find("h.example.net", &[]).err().unwrap();
        assert_eq!(why, "there is no resolver in /etc/resolv.conf");
    }
}

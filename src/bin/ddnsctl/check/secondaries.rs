//! What `ddnsctl check` says about the secondary servers of zones, which their NS records name.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::thread::sleep;

use ddns_cgi::config::Zones;
use ddns_cgi::protocol::host::HostName;
use simple_dns::TYPE;

use super::dns::{self, Answer, PORT, Question};
use super::findings::{Advice, Findings};
use super::names::{self, LOOKS, PAUSE, Records, Said};
use super::zones::{Served, check_recursion, serial, why_not};

/// A name server that NS records name.
pub struct Secondary<'z> {
    name: String,
    address: SocketAddr,
    /// The zones that it should have, with the primary's serial number.
    zones: Vec<(&'z HostName, u32)>,
}

/// How many name servers are asked, and at how many addresses each. More must be a mistake, or a
/// server that wants to keep us busy.
const MOST: usize = 64;
const MOST_ADDRESSES: usize = 4;

/// The name servers of the zones, but for the primary at its own address.
pub fn find<'z>(
    findings: &mut Findings,
    zones: &Zones,
    served: &[Served<'z>],
) -> Vec<Secondary<'z>> {
    let mut found: BTreeMap<String, Vec<(&HostName, u32)>> = BTreeMap::new();
    for Served { zone, serial, servers } in served {
        for server in servers {
            found.entry(server.to_ascii_lowercase()).or_default().push((zone, *serial));
        }
    }
    let mut secondaries = Vec::new();
    if found.len() > MOST {
        let problem = format!("the zones name {} of them; only {MOST} are asked", found.len());
        findings.warning("name servers", problem, "Correct the NS records.");
    }
    for (name, of_zones) in found.into_iter().take(MOST) {
        let addresses = addresses(zones, &name);
        if addresses.is_empty() {
            findings.error(
                format_args!("name server {name}"),
                "has no address",
                "Give it one, or correct the NS records that name it.",
            );
        }
        let own = addresses.into_iter().filter(|address| *address != zones.server.ip());
        secondaries.extend(own.take(MOST_ADDRESSES).map(|address| Secondary {
            name: name.clone(),
            address: (address, PORT).into(),
            zones: of_zones.clone(),
        }));
    }
    secondaries
}

/// The addresses of a name server. If it lies in a zone, the primary has them, and perhaps nobody
/// else yet.
fn addresses(zones: &Zones, name: &str) -> BTreeSet<IpAddr> {
    let host = HostName::parse(name).filter(|host| zones.zone_of(host).is_some());
    let all: BTreeSet<IpAddr> = if let Some(host) = host {
        Said::by(zones.server, [&host].into_iter()).records().remove(&host).unwrap_or_default()
    } else {
        let found = (name, PORT).to_socket_addrs();
        found.into_iter().flatten().map(|address| address.ip()).collect()
    };
    let reachable: BTreeSet<IpAddr> = all.iter().copied().filter(|a| has_way(*a)).collect();
    if reachable.is_empty() { all } else { reachable }
}

/// Whether there is a way to an address. A machine without IPv6 has none to a server's second
/// address. This sends nothing.
fn has_way(address: IpAddr) -> bool {
    !dns::connect((address, PORT).into()).is_err_and(|error| {
        matches!(error.kind(), ErrorKind::NetworkUnreachable | ErrorKind::Unsupported)
    })
}

/// What a secondary says about a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Current,
    /// Its serial number is smaller.
    Behind(u32),
    /// Its serial number is greater.
    Ahead(u32),
    NotServed(&'static str),
}

impl Standing {
    fn of(soa: &Answer, primary: u32) -> Self {
        match serial(soa) {
            None => Self::NotServed(why_not(soa)),
            Some(serial) if serial == primary => Self::Current,
            // RFC 1982, 3.2: the shorter way round tells which of the two is greater.
            Some(serial) if primary.wrapping_sub(serial) < 1 << 31 => Self::Behind(serial),
            Some(serial) => Self::Ahead(serial),
        }
    }

    /// What is wrong if it stays like this, and what to do about it.
    fn fault(&self, zone: &HostName, primary: u32) -> Option<(String, &'static str)> {
        match self {
            Self::Current => None,
            Self::Behind(serial) => Some((
                format!("has {zone} with serial {serial} and does not catch up with {primary}"),
                "Let the primary notify it, and let it transfer the zone (BIND: also-notify, \
                 allow-transfer; Knot: notify, acl).",
            )),
            Self::Ahead(serial) => Some((
                format!("has {zone} with serial {serial}, but the primary is at {primary}"),
                "Let it transfer the zone anew (BIND: rndc retransfer; Knot: knotc \
                 zone-retransfer; NSD: nsd-control force_transfer).",
            )),
            Self::NotServed(why) => Some((
                format!("does not serve {zone} ({why})"),
                "Set it up there as a secondary, let it transfer the zone, or correct the NS \
                 records.",
            )),
        }
    }
}

/// Compares a secondary with the primary, whose `hosts` these are.
pub fn check(secondary: &Secondary, zones: &Zones, hosts: &Records) -> Findings {
    let mut findings = Findings::default();
    let Secondary { name, address, .. } = secondary;
    let who = format!("name server {name} ({})", address.ip());
    let standings = match standings(secondary, zones.server) {
        Ok(standings) => standings,
        Err(silence) => {
            let advice = "Start it, open port 53 for UDP and TCP, or correct the NS records.";
            findings.error(&who, silence, advice);
            return findings;
        }
    };
    let mut current = Vec::new();
    for (zone, primary, standing) in standings {
        match standing.fault(zone, primary) {
            Some((problem, advice)) => findings.error(&who, problem, advice),
            None => current.push(zone),
        }
    }
    let mut hosts = hosts.clone();
    hosts.retain(|host, _| zones.zone_of(host).is_some_and(|zone| current.contains(&zone)));
    check_names(&mut findings, *address, &who, zones.server, hosts);
    check_recursion(&mut findings, *address, &who);
    findings
}

/// Compares the hosts of the zones that are current.
fn check_names(
    findings: &mut Findings,
    server: SocketAddr,
    who: &str,
    primary: SocketAddr,
    hosts: Records,
) {
    let view = names::compare(
        Some(hosts),
        |suspects| Some(Said::by(primary, suspects.iter()).records()),
        |records| Said::by(server, records.keys()),
        |_| true,
    );
    if let Some(silence) = &view.silence {
        findings.error(who, silence, dns::SLOW);
    }
    for (differences, verb) in [(&view.missing, "does not answer"), (&view.extra, "answers")] {
        names::report(
            findings,
            differences,
            |address| format!("{who} {verb} with {address}, unlike the primary"),
            &Advice::say("Let it transfer the zone anew, and nobody else change it there."),
        );
    }
}

/// How the secondary's zones stand, after a while in which it may catch up.
fn standings<'z>(
    secondary: &Secondary<'z>,
    primary: SocketAddr,
) -> Result<Vec<(&'z HostName, u32, Standing)>, String> {
    let zones = &secondary.zones;
    let questions: Vec<_> = zones.iter().map(|(zone, _)| Question::new(zone, TYPE::SOA)).collect();
    let mut serials: Vec<u32> = zones.iter().map(|(_, serial)| *serial).collect();
    let mut look = 1;
    loop {
        let answers = dns::ask(secondary.address, &questions);
        if let Some(silence) = answers.silence {
            return Err(silence);
        }
        let standings = zones.iter().zip(&serials).zip(answers.list.iter().flatten());
        let standings: Vec<_> = standings
            .map(|(((zone, _), serial), soa)| (*zone, *serial, Standing::of(soa, *serial)))
            .collect();
        if look == LOOKS || standings.iter().all(|(_, _, standing)| *standing == Standing::Current)
        {
            return Ok(standings);
        }
        look += 1;
        sleep(PAUSE);
        // A secondary that is ahead of what the primary said first may know of a change since.
        let is_ahead = |standing: &Standing| matches!(standing, Standing::Ahead(_));
        if standings.iter().any(|(_, _, standing)| is_ahead(standing)) {
            let answers = dns::ask(primary, &questions).list;
            for (known, soa) in serials.iter_mut().zip(&answers) {
                *known = soa.as_ref().and_then(serial).unwrap_or(*known);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::RCODE;

    #[test]
    fn serial_numbers_are_compared_on_their_circle() {
        let soa = |serial| Answer {
            delegated_to: Vec::new(),
            code: RCODE::NoError,
            is_authoritative: true,
            is_recursive: false,
            addresses: Vec::new(),
            ttl: None,
            serial,
            servers: Vec::new(),
        };
        for (serial, primary, standing) in [
            (7, 7, Standing::Current),
            (6, 7, Standing::Behind(6)),
            (8, 7, Standing::Ahead(8)),
            (u32::MAX, 0, Standing::Behind(u32::MAX)),
            (0, u32::MAX, Standing::Ahead(0)),
            (1, 1 << 31, Standing::Behind(1)),
        ] {
            assert_eq!(Standing::of(&soa(Some(serial)), primary), standing);
        }
        assert_eq!(Standing::of(&soa(None), 7), Standing::NotServed("no authority"));
        let lame = Answer { is_authoritative: false, ..soa(Some(7)) };
        assert_eq!(Standing::of(&lame, 7), Standing::NotServed("no authority"));
        let refused = Answer { code: RCODE::Refused, ..soa(None) };
        assert_eq!(Standing::of(&refused, 7), Standing::NotServed("REFUSED"));
    }
}

//! What `ddnsctl check` says about zones that get dynamic updates, and about their primary server.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;

use ddns_cgi::config::Zones;
use ddns_cgi::protocol::host::HostName;
use simple_dns::{QTYPE, RCODE, TYPE};

use super::dns::{self, Answer, Question};
use super::findings::{Advice, Findings, Level};
use super::names::{self, Records, Said, Wanted};
use super::{secondaries, updates};
use crate::web_user::WebUser;

/// What the primary server says about a zone.
pub struct Served<'z> {
    pub zone: &'z HostName,
    pub serial: u32,
    /// The names of its name servers.
    pub servers: Vec<String>,
}

/// Examines the zones. Returns the number of addresses that were asked.
pub fn check(
    findings: &mut Findings,
    zones: &Zones,
    wanted: &Wanted,
    user: Option<&WebUser>,
) -> usize {
    updates::check_files(findings, zones, user);
    let hosts = wanted.records_of_state();
    check_hosts_without_zone(findings, zones, &hosts);
    let served = check_primary(findings, zones);
    if let Some(user) = user {
        for Served { zone, .. } in &served {
            let mut hosts = hosts.iter().filter(|(host, _)| zones.zone_of(host) == Some(*zone));
            let host = hosts.find(|(_, addresses)| !addresses.iter().any(IpAddr::is_unspecified));
            updates::try_one(findings, zones, zone, host.map(|(host, _)| host), user);
        }
    }
    let is_served = |host: &HostName| {
        zones.zone_of(host).is_some_and(|zone| served.iter().any(|served| served.zone == zone))
    };
    let said = Said::by(zones.server, hosts.keys().filter(|host| is_served(host)));
    let hosts = said.records();
    check_names(findings, zones, wanted, said);
    let secondaries = secondaries::find(findings, zones, &served);
    // One that is down does not hold up the others.
    let of_secondaries = thread::scope(|scope| {
        let hosts = &hosts;
        let check = |secondary| scope.spawn(move || secondaries::check(secondary, zones, hosts));
        let running: Vec<_> = secondaries.iter().map(check).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>()
    });
    for found in of_secondaries {
        findings.append(found);
    }
    1 + secondaries.len()
}

fn check_hosts_without_zone(findings: &mut Findings, zones: &Zones, hosts: &Records) {
    let without = |has_underscore: bool| {
        let hosts = hosts.keys().filter(|host| zones.zone_of(host).is_none());
        hosts.filter(|host| host.as_str().contains('_') == has_underscore).collect::<Vec<_>>()
    };
    for (hosts, [one, many], advice) in [
        (
            without(false),
            ["lies in no zone of key \"publish\"", "lie in no zone of key \"publish\""],
            "If they are to be in a zone, add it to \"zones\" there.",
        ),
        (
            without(true),
            ["has an underscore", "have an underscore"],
            "nsupdate and BIND refuse an underscore: use other names, if they are to be in a zone.",
        ),
    ] {
        let (reason, pronoun) = if hosts.len() == 1 { (one, "it") } else { (many, "them") };
        let problem = format!("{reason}, so only the hosts file has {pronoun}");
        let hosts = hosts.into_iter().map(ToString::to_string).collect();
        findings.hosts(Level::Warning, hosts, problem, advice);
    }
}

/// Asks the primary server for the zones. Returns those that it serves.
fn check_primary<'z>(findings: &mut Findings, zones: &'z Zones) -> Vec<Served<'z>> {
    let primary = zones.server;
    let questions = zones.names.iter();
    let questions =
        questions.flat_map(|zone| [TYPE::SOA, TYPE::NS].map(|kind| Question::new(zone, kind)));
    let answers = dns::ask(primary, &questions.collect::<Vec<_>>());
    if let Some(silence) = answers.silence {
        let advice = "Start it, or correct \"server\" and \"port\" in key \"publish\": they must \
                      lead this machine to it, too.";
        findings.error("primary server", silence, advice);
        return Vec::new();
    }
    let mut served = Vec::new();
    for (zone, pair) in zones.names.iter().zip(answers.list.chunks(2)) {
        let [Some(soa), Some(ns)] = pair else { continue };
        if let Some(serial) = serial(soa) {
            served.push(Served { zone, serial, servers: ns.servers.clone() });
        } else {
            findings.error(
                format_args!("zone {zone}"),
                format_args!("{primary} does not serve it ({})", why_not(soa)),
                "Set it up there, or correct \"zones\" or \"server\" in key \"publish\".",
            );
        }
    }
    check_recursion(findings, primary, "primary server");
    served
}

/// The serial number of a zone that a server serves.
pub fn serial(soa: &Answer) -> Option<u32> {
    soa.serial.filter(|_| soa.is_authoritative && soa.code == RCODE::NoError)
}

/// Why a server does not serve a zone, in the words of dig.
pub fn why_not(soa: &Answer) -> &'static str {
    match soa.code {
        RCODE::NoError => "no authority",
        RCODE::NameError => "NXDOMAIN",
        RCODE::Refused => "REFUSED",
        RCODE::ServerFailure => "SERVFAIL",
        RCODE::NOTAUTH => "NOTAUTH",
        _ => "an error",
    }
}

/// A server that answers for everybody is misused to flood others. On this machine, it may well
/// answer for this machine alone.
pub fn check_recursion(findings: &mut Findings, server: SocketAddr, who: &str) {
    if is_local(server.ip()) {
        return;
    }
    let question = Question { is_recursive: true, ..Question::new("", QTYPE::from(TYPE::NS)) };
    let answers = dns::ask(server, &[question]).list;
    if answers.into_iter().flatten().any(|answer| answer.is_recursive && !answer.servers.is_empty())
    {
        findings.warning(
            who,
            "finds answers about foreign names for this machine, and perhaps for everybody",
            "Turn recursion off there, or allow it to your own network only.",
        );
    }
}

/// Whether it is an address of this machine.
pub fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Compares the primary's records with the state, beginning with what the primary has `said`.
fn check_names(findings: &mut Findings, zones: &Zones, wanted: &Wanted, said: Said) {
    let primary = zones.server;
    let mut said = Some(said);
    let view = names::compare(
        wanted.records(),
        |_| wanted.records(),
        |records| said.take().unwrap_or_else(|| Said::by(primary, records.keys())),
        |ttl| ttl == zones.ttl,
    );
    let anew = "ddnsctl apply --all";
    if let Some(silence) = &view.silence {
        findings.error("primary server", silence, dns::SLOW);
    }
    names::report(
        findings,
        &view.missing,
        |address| format!("{primary} does not answer with {address}"),
        &Advice::run(anew),
    );
    names::report(
        findings,
        &view.extra,
        |address| format!("{primary} answers with {address}, which is not in the state"),
        &Advice::say("Delete it with nsupdate, if it stays after this:").then(anew),
    );
    names::report(
        findings,
        &view.ttl,
        |ttl| {
            format!("{primary} answers with a time to live of {ttl} s instead of {} s", zones.ttl)
        },
        &Advice::run(anew),
    );
}

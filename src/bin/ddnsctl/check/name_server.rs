//! What `ddnsctl check` says about the answers of dnsmasq, or of another server of the hosts file.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use ddns_cgi::protocol::host::HostName;
use simple_dns::{QTYPE, TYPE};

use super::dns::{self, Question};
use super::findings::Findings;
use super::names::{self, Records, Said, Wanted};

/// An answer that may be kept for longer than this, in seconds, does not follow a host that moves.
const LONGEST: u32 = 60;

/// Asks for all addresses of all hosts.
pub fn check(findings: &mut Findings, server: SocketAddr, wanted: &Wanted, hosts_file: &Path) {
    let view = names::compare(
        wanted.records(),
        |_| wanted.records(),
        |records| ask(server, records),
        |ttl| ttl <= LONGEST,
    );
    if let Some(silence) = &view.silence {
        findings.error("dnsmasq", silence, "service dnsmasq status");
    }
    names::report(
        findings,
        &view.missing,
        |address| format!("dnsmasq does not answer with {address}"),
        &format!(
            "Make sure that its configuration has addn-hosts={}, then: ddnsctl apply",
            hosts_file.display()
        ),
    );
    names::report(
        findings,
        &view.extra,
        |address| format!("dnsmasq answers with {address}, which is not in the state"),
        "ddnsctl apply. If it stays, look for it in /etc/hosts and in dnsmasq's other files",
    );
    if let Some(ttl) = view.ttl.iter().map(|(_, ttl)| ttl).max() {
        findings.warning(
            "dnsmasq",
            format_args!("resolvers may keep its answers for {ttl} s after a host has moved"),
            "Write local-ttl=7 into its configuration, and also auth-ttl=7 if that has auth-zone. \
             Then: service dnsmasq restart",
        );
    }
}

/// First asks for the addresses of the families that a host has, then whether it has others.
///
/// dnsmasq passes on a question about a family that the host lacks, and its resolver need not
/// answer. It answers itself if it is asked for everything, as long as the host has any address. A
/// server that passes on nothing, such as dnsmasq with `auth-zone`, need not answer that (RFC
/// 8482), and is asked for the family.
fn ask(server: SocketAddr, records: &Records) -> Said {
    let mut said = Said::default();
    let (passes_on, unanswered) = add(&mut said, server, &families(records, true));
    if said.silence.is_some() {
        said.hosts.retain(|host, _| !unanswered.contains(host));
        return said;
    }
    let mut others = families(records, false);
    if passes_on {
        for (_, kind) in &mut others {
            *kind = QTYPE::ANY;
        }
        others.dedup();
    }
    add(&mut said, server, &others);
    if passes_on {
        // Of a host without any address, only another server may know.
        said.silence = None;
    }
    said
}

/// The families of addresses that each host has, or those that it lacks.
fn families(records: &Records, has: bool) -> Vec<(&HostName, QTYPE)> {
    let mut families = Vec::new();
    for (host, addresses) in records {
        for (kind, is_v4) in [(TYPE::A, true), (TYPE::AAAA, false)] {
            if addresses.iter().any(|address| address.is_ipv4() == is_v4) == has {
                families.push((host, kind.into()));
            }
        }
    }
    families
}

/// Asks, and adds what the server says. Returns whether it may pass on questions, and the hosts
/// with an unanswered question.
fn add<'h>(
    said: &mut Said,
    server: SocketAddr,
    questions: &[(&'h HostName, QTYPE)],
) -> (bool, BTreeSet<&'h HostName>) {
    let asked: Vec<_> = questions.iter().map(|(host, kind)| Question::new(host, *kind)).collect();
    let answers = dns::ask(server, &asked);
    said.silence = answers.silence;
    let mut passes_on = questions.is_empty();
    let mut unanswered = BTreeSet::new();
    for ((host, _), answer) in questions.iter().zip(&answers.list) {
        if let Some(answer) = answer {
            said.add(host, answer);
            passes_on |= answer.is_recursive;
        } else {
            unanswered.insert(*host);
        }
    }
    (passes_on, unanswered)
}

//! What `ddnsctl check` says about dnsmasq's answers.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ddns_cgi::protocol::host::HostName;
use ddns_cgi::store::record;
use serde_json::{Map, Value};

use super::dns::{self, Answer};
use super::findings::Findings;

/// Asks for every address of the state. Stops as soon as the server does not answer.
pub fn check(
    findings: &mut Findings,
    server: SocketAddr,
    state: &Map<String, Value>,
    hosts_file: &Path,
) {
    for (name, address) in addresses(state) {
        match dns::ask(server, name.as_str(), address) {
            Ok(Answer::Has) => {}
            Ok(Answer::HasNot) => findings.error(
                name,
                format_args!("dnsmasq does not answer with {address}"),
                format_args!(
                    "Make sure that its configuration has addn-hosts={}, then: ddnsctl apply",
                    hosts_file.display()
                ),
            ),
            Err(why) => {
                let problem = format!("no answer from {server}: {why}");
                findings.error("dnsmasq", problem, "service dnsmasq status");
                return;
            }
        }
    }
}

/// All names and addresses that dnsmasq gets.
fn addresses(state: &Map<String, Value>) -> impl Iterator<Item = (HostName, IpAddr)> {
    state
        .iter()
        .filter_map(|(name, record)| Some((HostName::parse(name)?, record.as_object()?)))
        .flat_map(|(name, fields)| {
            record::addresses(fields).map(move |address| (name.clone(), address))
        })
}

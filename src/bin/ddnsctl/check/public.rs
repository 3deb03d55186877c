//! What `ddnsctl check` says about a dnsmasq that serves the Internet: whom it answers, and whether
//! the Internet finds its zone.

mod delegation;
mod machine;
mod settings;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use simple_dns::TYPE;

use self::delegation::Delegation;
use self::machine::Local;
use self::settings::{Service, Settings};
use super::dns::{self, Question};
use super::findings::{Advice, Findings};

/// What makes dnsmasq read changed settings.
const RESTART: &str = "service dnsmasq restart";

/// Looks at every dnsmasq of this network.
pub fn check(findings: &mut Findings) {
    let locals = machine::addresses();
    for process in machine::dnsmasq() {
        let settings = Settings::read(&process.root, &process.words);
        if has_upstream(&settings, &process.root, &locals) {
            check_strangers(findings, &settings, &locals);
        }
        for zone in &settings.zones {
            check_zone(findings, &settings, &locals, zone);
        }
    }
}

/// Whether there is a name server that dnsmasq asks. It does not ask itself.
fn has_upstream(settings: &Settings, root: &Path, locals: &[Local]) -> bool {
    let is_foreign = |server: &IpAddr| locals.iter().all(|local| local.address != *server);
    let listed = settings.resolv_files().any(|file| {
        let text = settings::read_file(root, file).unwrap_or_default();
        settings::name_servers(&text).iter().any(is_foreign)
    });
    settings.has_servers || listed
}

/// Attacks are sent by way of a server that resolves names for everybody.
fn check_strangers(findings: &mut Findings, settings: &Settings, locals: &[Local]) {
    let open = open_to_strangers(settings, locals);
    if open.is_empty() {
        return;
    }
    let addresses: Vec<String> = open.iter().map(|local| local.address.to_string()).collect();
    // The advice keeps those that serve the zone already.
    let is_served = |local: &&Local| settings.service_at(local) != Service::Nothing;
    let served = locals.iter().filter(|local| is_public(local.address)).filter(is_served);
    let mut interfaces: Vec<&str> = served.map(|local| local.interface.as_str()).collect();
    interfaces.dedup();
    findings.warning(
        "dnsmasq",
        format_args!("resolves all names for strangers, at {}", addresses.join(" and ")),
        Advice::say(format!(
            "To answer strangers only about your zone, set interface=lo and auth-server={},{} \
             (docs/public.md). To answer only a local network, set listen-address= to a private \
             address. Then run:",
            settings.name.as_deref().unwrap_or("NAME"),
            interfaces.join(","),
        ))
        .then(RESTART),
    );
}

/// The public addresses at which dnsmasq answers any question.
fn open_to_strangers<'a>(settings: &Settings, locals: &'a [Local]) -> Vec<&'a Local> {
    let is_open = |local: &&Local| settings.service_at(local) == Service::AllNames;
    locals.iter().filter(|local| is_public(local.address)).filter(is_open).collect()
}

/// Whether strangers may send packets to this address.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            // 100.64.0.0/10 is behind a provider's NAT (RFC 6598).
            let is_shared = matches!(address.octets(), [100, 64..=127, ..]);
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || is_shared)
        }
        IpAddr::V6(address) => {
            !(address.is_unique_local()
                || address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_unspecified())
        }
    }
}

fn check_zone(findings: &mut Findings, settings: &Settings, locals: &[Local], zone: &str) {
    let has_zone = |local: &&Local| settings.service_at(local) == Service::Zones;
    let Some(local) = locals.iter().find(has_zone) else {
        return findings.error(
            zone,
            "auth-server names no interface or address of this machine, so nobody outside gets it",
            Advice::say("List the addresses, correct auth-server, then restart dnsmasq:")
                .then("ip -brief address")
                .then(RESTART),
        );
    };
    let server = SocketAddr::new(local.address, settings.port);
    let answers = dns::ask(server, &[TYPE::SOA, TYPE::NS].map(|kind| Question::new(zone, kind)));
    if let Some(silence) = answers.silence {
        return findings.error(zone, silence, Advice::run("service dnsmasq status"));
    }
    for (word, answer) in ["SOA", "NS"].into_iter().zip(answers.list) {
        if answer.is_none_or(|answer| answer.serial.is_none() && answer.servers.is_empty()) {
            findings.error(
                zone,
                format_args!("dnsmasq at {} has no {word} record of it", local.address),
                Advice::say("Make it read its settings:").then(RESTART),
            );
        }
    }
    check_delegation(findings, zone, settings.name.as_deref().unwrap_or_default());
}

/// Resolvers find the zone if the zone above names this server.
fn check_delegation(findings: &mut Findings, zone: &str, name: &str) {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let found = delegation::find(zone, &settings::name_servers(&text));
    let add = |parent: &str| format!("Put this record into the zone {parent}: {zone}. NS {name}.");
    match found {
        Ok(Delegation { servers, .. }) if servers.iter().any(|s| s.eq_ignore_ascii_case(name)) => {}
        Ok(Delegation { servers, parent, asked }) if servers.is_empty() => findings.error(
            zone,
            format_args!("is not delegated, so nobody finds it: {asked} has no NS record of it"),
            add(&parent),
        ),
        Ok(Delegation { servers, parent, .. }) => findings.warning(
            zone,
            format_args!("is delegated to {}, not to {name}", servers.join(" and ")),
            add(&parent),
        ),
        Err(why) => findings.warning(
            zone,
            format_args!("whether it is delegated could not be checked: {why}"),
            Advice::say("Ask on a machine elsewhere:").then(format!("dig {zone} NS +trace")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_strangers_cannot_reach_is_not_public() {
        for (address, expected) in [
            ("192.0.2.53", true),
            ("100.63.255.255", true),
            ("100.64.0.1", false),
            ("100.127.255.255", false),
            ("100.128.0.1", true),
            ("10.0.0.1", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.168.0.1", false),
            ("169.254.0.1", false),
            ("127.0.0.1", false),
            ("2001:db8::53", true),
            ("fd00::1", false),
            ("fe80::1", false),
            ("::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn a_dnsmasq_that_could_only_ask_itself_asks_nobody() {
        let locals = [Local::new("lo", "127.0.0.1"), Local::new("eth0", "192.0.2.53")];
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        for (text, resolv_conf, expected) in [
            ("", "nameserver 198.51.100.53\n", true),
            ("", "nameserver 127.0.0.1\nnameserver 192.0.2.53\n", false),
            ("", "", false),
            ("no-resolv", "nameserver 198.51.100.53\n", false),
            ("no-resolv\nserver=198.51.100.53", "", true),
        ] {
            fs::write(root.path().join("etc/resolv.conf"), resolv_conf).unwrap();
            let settings = Settings::of(&[], text);
            let found = has_upstream(&settings, root.path(), &locals);
            assert_eq!(found, expected, "{text} {resolv_conf}");
        }
    }

    #[test]
    fn the_shipped_settings_are_not_open_and_the_interface_alone_is() {
        let locals = [
            Local::new("lo", "127.0.0.1"),
            Local::new("eth0", "192.0.2.53"),
            Local::new("eth0", "2001:db8::53"),
            Local::new("eth1", "198.51.100.1"),
            Local::new("lan0", "192.168.7.1"),
        ];
        let shipped = include_str!("../../../../dnsmasq.d/public.conf");
        for (text, expected) in [
            ("", &[][..]),
            (shipped, &[]),
            ("interface=eth0", &["192.0.2.53", "2001:db8::53"]),
            ("interface=eth0\nport=0", &[]),
            // Each switches off --local-service.
            ("except-interface=eth1", &["192.0.2.53", "2001:db8::53"]),
            ("auth-server=ns.example.net,eth0", &["198.51.100.1"]),
            ("auth-server=ns.example.net,192.0.2.53", &["2001:db8::53", "198.51.100.1"]),
            ("listen-address=192.168.7.1,198.51.100.1", &["198.51.100.1"]),
            ("listen-address=192.168.7.1", &[]),
            ("interface=eth0\nauth-server=ns.example.net,eth0/4", &["2001:db8::53"]),
        ] {
            let settings = Settings::of(&["--local-service"], text);
            let open = open_to_strangers(&settings, &locals);
            let open: Vec<String> = open.iter().map(|local| local.address.to_string()).collect();
            assert_eq!(open, expected, "{text}");
        }
        assert_eq!(open_to_strangers(&Settings::of(&[], ""), &locals).len(), 3);
    }
}

//! The script for the primary server of zones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ddns_cgi::config::Zones;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::publish::script::{difference, wanted};

/// The addresses of each name in lower case.
type Served = BTreeMap<String, BTreeSet<IpAddr>>;

/// The largest message (RFC 1035, 4.2.2), without what header, zone and signature need.
const MESSAGE: usize = 65_535 - 1000;

/// What a server has acknowledged, NUL, a hosts file.
pub fn script(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (acknowledged, hosts) = text.split_once('\0').unwrap_or(("", &text));
    let names = ["example", "b.example"].map(|name| HostName::parse(name).unwrap());
    let zones = Zones { names: names.into(), ..Zones::default() };
    let wanted = wanted(&zones, hosts);
    let mut served = served(acknowledged);
    for message in difference(&zones, acknowledged, &wanted).text.split_inclusive("send\n") {
        send(message, &mut served);
    }
    served.retain(|_, addresses| !addresses.is_empty());
    assert_eq!(served, self::served(&wanted), "{acknowledged:?} {hosts:?}");
    assert_eq!(difference(&zones, &wanted, &wanted).names, 0);
}

/// What a text says of names in the zones.
fn served(text: &str) -> Served {
    let mut served = Served::new();
    for line in text.lines() {
        let [address, name] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
        let name = name.to_ascii_lowercase();
        let is_in_zone = name == "example" || name.ends_with(".example");
        let address = address.parse().ok().filter(|_| is_in_zone && !name.contains('_'));
        if let (Some(address), Some(_)) = (address, HostName::parse(&name)) {
            served.entry(name).or_default().insert(address);
        }
    }
    served
}

/// Does what a primary server does with a message, which has to be one of those that we write.
fn send(message: &str, served: &mut Served) {
    let mut lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines.remove(0), "server 127.0.0.1 53");
    let zone = lines.remove(0).strip_prefix("zone ").unwrap().strip_suffix('.').unwrap();
    assert!(["example", "b.example"].contains(&zone), "{zone}");
    assert_eq!(lines.pop(), Some("send"));
    let mut size = 0;
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let name = words[2].strip_suffix('.').unwrap().to_ascii_lowercase();
        assert!(HostName::parse(&name).is_some(), "{line}");
        let is_in_longer = name == "b.example" || name.ends_with(".b.example");
        assert_eq!(is_in_longer, zone == "b.example", "{line}");
        size += name.len() + 2 + 10;
        let addresses = served.entry(name).or_default();
        match words[..] {
            ["update", "delete", _, "A"] => addresses.retain(IpAddr::is_ipv6),
            ["update", "delete", _, "AAAA"] => addresses.retain(IpAddr::is_ipv4),
            ["update", "add", _, "7", kind, address] => {
                let address: IpAddr = address.parse().unwrap();
                assert_eq!(kind, if address.is_ipv4() { "A" } else { "AAAA" }, "{line}");
                size += if address.is_ipv4() { 4 } else { 16 };
                addresses.insert(address);
            }
            _ => panic!("{line}"),
        }
    }
    assert!(size <= MESSAGE, "{size}");
}

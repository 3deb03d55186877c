//! dyndns2 as real clients and routers speak it: their requests over every transport, and what each
//! must get. The names of the hosts are ours. Above each request stands who sends it, and from where we
//! know that; a number is that of a report to the project. What is said of inadyn, ddclient,
//! ddns-updater, Home Assistant and the firewall `OPNsense` is from their source at GitHub:
//! `troglobit/inadyn`, `ddclient/ddclient`, `qdm12/ddns-updater`, `home-assistant/core`,
//! `opnsense/plugins`.
//!
//! host1 stands for the router at home, host2 for a NAS behind it. Cameras and routers that have
//! `<username>` and `<pass>` in a URL, and inadyn's deSEC, need `login_in_query`: see `dyndns2.rs`.

use serde_json::{Value, json};

use crate::password::{Case, HOST1, HOST2, basic, lines, scene};
use crate::scene::Scene;
use crate::transport::Transport;

const LOGIN: &str = "user1:secretkey1";

/// What is stored before each request.
const STATE: &str = r#"{
    "host1.h.lohray.com": {
        "ip": "129.118.243.10",
        "update": "2012-04-20 20:45:59",
        "ip6": "2001:db8:0:1200::1"
    },
    "host2.h.lohray.com": {
        "ip": "75.110.204.100",
        "update": "2012-05-09 07:30:06",
        "ip6": "2001:db8:0:1234:211:32ff:fe12:3456"
    }
}"#;

const HOSTS: &str = "129.118.243.10 host1.h.lohray.com\n2001:db8:0:1200::1 host1.h.lohray.com\n\
                     75.110.204.100 host2.h.lohray.com\n\
                     2001:db8:0:1234:211:32ff:fe12:3456 host2.h.lohray.com\n";

const ROUTER: &str = "129.118.243.10 2001:db8:0:1200::1";
const NAS: &str = "75.110.204.100 2001:db8:0:1234:211:32ff:fe12:3456";

/// A request and what it gets. `ROUTER` and `NAS` stand for the hosts.
fn row(query: &str, line: &'static str, hosts: [&'static str; 2]) -> Case {
    let query = query.replace("ROUTER", HOST1).replace("NAS", HOST2);
    Case { query, login: LOGIN, status: 200, line, hosts }
}

/// One about the router.
fn router(query: &str, line: &'static str, router: &'static str) -> Case {
    row(&format!("hostname=ROUTER&{query}"), line, [router, NAS])
}

/// One that changes nothing.
fn refused(query: &str, line: &'static str) -> Case {
    row(query, line, [ROUTER, NAS])
}

/// One whose address no host can have, or which we cannot read.
fn bad(query: &str) -> Case {
    refused(&format!("hostname=ROUTER&{query}"), "badagent")
}

/// From an address that only a connection can have.
const CONNECTION: &str = "127.0.0.10 2001:db8:0:1200::1";

/// Lists and spaces as people and templates write them.
fn lists() -> Vec<Case> {
    const IPV4: &str = "192.0.2.1 2001:db8:0:1200::1";
    const BOTH: [&str; 2] =
        ["192.0.2.1 2001:db8:0:1200::1", "192.0.2.1 2001:db8:0:1234:211:32ff:fe12:3456"];
    let both = |query| row(query, "good 192.0.2.1\ngood 192.0.2.1", BOTH);
    vec![
        // A URL with two placeholders, `myip=<ipaddr>,<ip6addr>`, on a line with one family.
        router("myip=192.0.2.1,", "good 192.0.2.1", IPV4),
        router("myip=,2001:db8::5", "good 2001:db8::5", "129.118.243.10 2001:db8::5"),
        router(
            "myip=192.0.2.1,2001:db8::5,",
            "good 192.0.2.1,2001:db8::5",
            "192.0.2.1 2001:db8::5",
        ),
        router("myip=,", "good 127.0.0.10", CONNECTION),
        // Names copied from zone files.
        row("hostname=ROUTER.&myip=192.0.2.1", "good 192.0.2.1", [IPV4, NAS]),
        // Web forms of routers.
        both("hostname=ROUTER,+NAS&myip=192.0.2.1"),
        both("hostname=ROUTER,%20NAS&myip=192.0.2.1"),
        both("hostname=%20ROUTER%20,NAS%20&myip=192.0.2.1"),
        both("hostname=ROUTER,,NAS&myip=192.0.2.1"),
        both("hostname=ROUTER,NAS,&myip=192.0.2.1"),
        // Scripts that append one parameter for each host.
        both("hostname=ROUTER&hostname=NAS&myip=192.0.2.1"),
        // Scripts that read an address from a file or a web page.
        router("myip=%20192.0.2.1", "good 192.0.2.1", IPV4),
        router("myip=192.0.2.1%0d%0a", "good 192.0.2.1", IPV4),
        // Dual-stack sockets; the second was reported to hopper.pw (25).
        router("myip=::ffff:192.0.2.1", "good 192.0.2.1", IPV4),
        router("myip=0:0:0:0:0:ffff:c000:201", "good 192.0.2.1", IPV4),
        // `wildcard=ON` of old clients is not a name.
        refused("hostname=*.wild.example.net&myip=192.0.2.1", "notfqdn"),
        // Reported to unifi-ddns (13).
        refused("ip=203.0.113.10&hostname=", "notfqdn"),
    ]
}

/// Addresses that no host can have.
fn special() -> Vec<Case> {
    vec![
        // Routers whose line is down.
        bad("myip=0.0.0.0"),
        bad("myip=255.255.255.255"),
        bad("myip=224.0.0.1"),
        bad("myip=169.254.1.1"),
        bad("myip=240.0.0.1"),
        bad("myip=127.0.0.1"),
        bad("myipv6=::"),
        bad("myipv6=::1"),
        bad("myipv6=ff02::1"),
        // Clients that take the first IPv6 address that they find.
        bad("myipv6=fe80::1"),
        // The identifier of an interface alone.
        bad("myipv6=::211:32ff:fe12:3456"),
        bad("myip=0.0.0.0,fe80::1"),
        // The good address of the other family counts.
        router("myip=0.0.0.0&myipv6=2001:db8::5", "good 2001:db8::5", "129.118.243.10 2001:db8::5"),
        router("myip=192.0.2.1,fe80::1", "good 192.0.2.1", "192.0.2.1 2001:db8:0:1200::1"),
        // People serve a LAN.
        router("myip=192.168.1.5", "good 192.168.1.5", "192.168.1.5 2001:db8:0:1200::1"),
        router("myip=fd00::5", "good fd00::5", "129.118.243.10 fd00::5"),
        // <https://github.com/troglobit/inadyn/issues/380>
        bad("myip=1.1.1.1nas.example.net"),
    ]
}

/// Settings made for other services.
fn other_names() -> Vec<Case> {
    const IPV4: &str = "203.0.113.5 2001:db8:0:1200::1";
    const IPV6: &str = "129.118.243.10 2001:db8::6";
    const BOTH: &str = "203.0.113.5 2001:db8::6";
    let named = |query| row(query, "good 203.0.113.5", [IPV4, NAS]);
    let both = |query| router(query, "good 203.0.113.5,2001:db8::6", BOTH);
    vec![
        named("hostname=ROUTER&ip=203.0.113.5"),
        named("host=ROUTER&ip=203.0.113.5"),
        named("domain=ROUTER&ip4=203.0.113.5"),
        named("hostnames=ROUTER&ipv4=203.0.113.5"),
        both("a=203.0.113.5&aaaa=2001:db8::6"),
        both("ip=203.0.113.5,2001:db8::6"),
        // deSEC's name for the IPv4 address: <https://github.com/troglobit/inadyn/issues/422>,
        // <https://github.com/desec-io/desec-stack/issues/445>.
        router("myipv4=203.0.113.5", "good 203.0.113.5", IPV4),
        both("myipv4=203.0.113.5&myipv6=2001:db8::6"),
        // Dynu: <https://github.com/ddclient/ddclient/issues/964>.
        router("myip=203.0.113.5&myipv6=no", "good 203.0.113.5", IPV4),
        // <https://desec.readthedocs.io/en/latest/dyndns/update-api.html>
        router("myip=203.0.113.5&myipv6=preserve", "good 203.0.113.5", IPV4),
        router("myipv4=preserve&myipv6=2001:db8::6", "good 2001:db8::6", IPV6),
        // An address in a place without meaning must not get `good` and another one:
        // reported to fritzbox-cloudflare-dyndns (34).
        bad("v4=203.0.113.12&v6=2001:db8::c&prefix=2001:db8:1::/56"),
        // DHIS in inadyn: plugins/dhis.c.
        bad("password=x&ipaddr=203.0.113.5&updatetimeout=0"),
        // MyDNS.JP in inadyn: plugins/mydns.c.
        refused("MID=x&PWD=x&hostname=ROUTER&IPV4ADDR=203.0.113.5", "badagent"),
        // A FRITZ!Box set up after the names of its placeholders.
        refused("domain=ROUTER&ipaddr=203.0.113.5&ip6addr=2001:db8::6", "badagent"),
        // ZoneEdit in HPE and H3C routers: <https://support.hpe.com/>, command `url` of DDNS policies.
        refused("host=ROUTER&dnsto=203.0.113.5", "badagent"),
    ]
}

/// Prefixes.
fn prefixes() -> Vec<Case> {
    const MOVED: [&str; 2] =
        ["129.118.243.10 2001:db8:1::1", "75.110.204.100 2001:db8:1:34:211:32ff:fe12:3456"];
    let moved =
        |query| row(query, "good 2001:db8:1::1\ngood 2001:db8:1:34:211:32ff:fe12:3456", MOVED);
    vec![
        // FRITZ!Box: <https://fritz.com/en/apps/knowledge-base/FRITZ-Box-7590/>, "Setting up dynamic
        // DNS". Only the prefix; then with its own address, and on a line with DS-Lite.
        moved("hostname=ROUTER,NAS&ip6lanprefix=2001:db8:1::/56"),
        row(
            "hostname=ROUTER,NAS&myip=203.0.113.5&myipv6=2001:db8:1:ff::1&\
             ip6lanprefix=2001:db8:1::/56",
            "good 203.0.113.5,2001:db8:1:ff::1\n\
             good 203.0.113.5,2001:db8:1:34:211:32ff:fe12:3456",
            ["203.0.113.5 2001:db8:1:ff::1", "203.0.113.5 2001:db8:1:34:211:32ff:fe12:3456"],
        ),
        row(
            "hostname=ROUTER,NAS&myip=&myipv6=2001:db8:1:ff::1&ip6lanprefix=2001:db8:1::/56",
            "good 2001:db8:1:ff::1\ngood 2001:db8:1:34:211:32ff:fe12:3456",
            ["129.118.243.10 2001:db8:1:ff::1", "75.110.204.100 2001:db8:1:34:211:32ff:fe12:3456"],
        ),
        // On a line without IPv6.
        row(
            "hostname=ROUTER,NAS&myip=203.0.113.5&myipv6=&ip6lanprefix=",
            "good 203.0.113.5\ngood 203.0.113.5",
            ["203.0.113.5 2001:db8:0:1200::1", "203.0.113.5 2001:db8:0:1234:211:32ff:fe12:3456"],
        ),
        // On a line without a prefix, the hosts behind the router keep their addresses.
        row(
            "hostname=ROUTER,NAS&myip=203.0.113.5&myipv6=2001:db8:1:ff::1&ip6lanprefix=",
            "good 203.0.113.5,2001:db8:1:ff::1\ngood 203.0.113.5",
            ["203.0.113.5 2001:db8:1:ff::1", "203.0.113.5 2001:db8:0:1234:211:32ff:fe12:3456"],
        ),
        row(
            "hostname=ROUTER,NAS&myipv6=2001:db8:1:ff::1&ip6lanprefix=fe80::/64",
            "good 2001:db8:1:ff::1\nnochg 75.110.204.100,2001:db8:0:1234:211:32ff:fe12:3456",
            ["129.118.243.10 2001:db8:1:ff::1", NAS],
        ),
        // The router has no address that a host can have: only the others move.
        row(
            "hostname=ROUTER,NAS&myipv6=fe80::1&ip6lanprefix=2001:db8:1::/56",
            "nochg 129.118.243.10,2001:db8:0:1200::1\ngood 2001:db8:1:34:211:32ff:fe12:3456",
            [ROUTER, "75.110.204.100 2001:db8:1:34:211:32ff:fe12:3456"],
        ),
        // deSEC's way, in any name for IPv6.
        moved("hostname=ROUTER,NAS&ipv6=2001:db8:1::/56"),
        // <https://github.com/nsupdate-info/nsupdate.info/issues/470>
        router(
            "myip=2001:db8:1200:1234::/64",
            "good 2001:db8:1200:1234::1",
            "129.118.243.10 2001:db8:1200:1234::1",
        ),
        // The router's own name must get the router's own address:
        // <https://github.com/nsupdate-info/nsupdate.info/pull/497>.
        row(
            "hostname=ROUTER,NAS&myip=2001:db8::1,2001:db8:1200:1234::/64",
            "good 2001:db8::1\ngood 2001:db8:1200:1234:211:32ff:fe12:3456",
            ["129.118.243.10 2001:db8::1", "75.110.204.100 2001:db8:1200:1234:211:32ff:fe12:3456"],
        ),
        // A placeholder `<ip6lanprefix>` with the rest of an address behind it:
        // <https://github.com/fernwerker/ownDynDNS/issues/38>.
        bad("myipv6=2001:db8:75:e4f0::/647656:3cff:fe47:1"),
        // An address with a length, as `ip addr` prints it, could mean either.
        bad("myipv6=2001:db8::5/64"),
        bad("ip6lanprefix=2001:db8:1::/56&ipv6=2001:db8:2::/56"),
        bad("ip6lanprefix=2001:db8::5"),
        bad("myip=2001:db8:1::/128"),
        // RouterOS scripts that send an interface's address as it is. Where only a prefix can be
        // meant, it is one.
        bad("myip=203.0.113.5/24"),
        moved("hostname=ROUTER,NAS&ip6lanprefix=2001:db8:1:ff::1/56"),
    ]
}

/// Requests as clients put them together.
fn clients() -> Vec<Case> {
    const NEW: &str = "203.0.113.5 2001:db8:0:1200::1";
    let good = |query| router(query, "good 203.0.113.5", NEW);
    let only = |query| row(query, "good 203.0.113.5", [NEW, NAS]);
    let both = |query| {
        let line = "good 203.0.113.5,2001:db8::6\ngood 203.0.113.5,2001:db8::6";
        row(query, line, ["203.0.113.5 2001:db8::6"; 2])
    };
    vec![
        // LANCOM, action table: <https://support.lancom-systems.com/>, "Manual configuration of a
        // DynDNS service for Strato". It looks for `good 203.0.113.5` in the reply. Strato's settings
        // of the Telekom's Speedport and Dyn's of Synology DSM (/etc.defaults/ddns_provider.conf)
        // have the same parameters.
        good("myip=203.0.113.5&wildcard=NOCHG&mx=NOCHG&backmx=NOCHG"),
        only("hostname=ROUTER&myip=203.0.113.5&system=dyndns&wildcard=NOCHG&mx=NOCHG&backmx=NOCHG"),
        // Cisco IOS, `ip ddns update method`, <h> and <a>:
        // <https://www.ciscozine.com/ddns-manage-dynamic-public-ip/>.
        good("myip=203.0.113.5"),
        // HPE, H3C: <https://support.hpe.com/>, command `url` of DDNS policies. Their ChangeIP.
        only("system=dyndns&hostname=ROUTER&myip=203.0.113.5"),
        router("offline=1", "good 127.0.0.10", CONNECTION),
        // The camera Rovio by WowWee, in its published source: function `Do_DNS`.
        only("system=dyndns&hostname=ROUTER&myip=203.0.113.5&wildcard=NO&backmx=NO&offline=NO&mx="),
        // Set-top boxes with Enigma2: `plugin.py` of the plugin DynDNS.
        only("system=dyndns&hostname=ROUTER&myip=203.0.113.5&wildcard=ON&offline=NO"),
        // D-Link's service, from routers and from scripts such as <https://herd-of-neurons.com/node/53>.
        only("system=dyndns&hostname=ROUTER&myip=203.0.113.5&wildcard=OFF"),
        // Zyxel by order of the parameters, and without an address:
        // <https://github.com/mhofer117/ispconfig-ddns-module/issues/6>.
        only("myip=203.0.113.5&hostname=ROUTER"),
        // Home Assistant, components/no_ip: the connection's address.
        row("hostname=ROUTER", "good 127.0.0.10", [CONNECTION, NAS]),
        // inadyn's default@dyndns.org without a wildcard, and for IPv6: plugins/dyndns.c.
        good("myip=203.0.113.5&"),
        router("myipv6=2001:db8::6&", "good 2001:db8::6", "129.118.243.10 2001:db8::6"),
        // inadyn's easyDNS and twoDNS.
        good("myip=203.0.113.5&wildcard=OFF"),
        good("ip=203.0.113.5"),
        // inadyn's DuiaDNS and dynv6; the password and the token are nobody's here.
        only("host=ROUTER&password=x&ip4=203.0.113.5"),
        only("ipv4=203.0.113.5&hostname=ROUTER&token=x"),
        // ddclient 4 with IPv6 only, and with both, for two hosts: `nic_dyndns2_update`.
        router("myip=2001:db8::6", "good 2001:db8::6", "129.118.243.10 2001:db8::6"),
        both("hostname=ROUTER,NAS&myip=203.0.113.5,2001:db8::6"),
        // OPNsense, native backend: `requests` encodes commas and colons.
        // (dns/ddclient/.../lib/account/dyndns2.py)
        row(
            "hostname=ROUTER%2CNAS&myip=2001%3Adb8%3A%3A6&system=dyndns&wildcard=NOCHG",
            "good 2001:db8::6\ngood 2001:db8::6",
            ["129.118.243.10 2001:db8::6", "75.110.204.100 2001:db8::6"],
        ),
        // ddns-updater by qdm12: internal/provider/providers/dyn.
        router("myip=2001%3Adb8%3A%3A6", "good 2001:db8::6", "129.118.243.10 2001:db8::6"),
        // ddns-go by jeessy2, Callback: <https://github.com/jeessy2/ddns-go>, placeholders #{ip}.
        only("hostname=ROUTER&ip=203.0.113.5&ttl=600"),
        // ipv64.net's settings, with a router's script:
        // domain=<domain>&ip6=<ip6addr>&ip6lanprefix=<ip6lanprefix>.
        row(
            "key=x&domain=ROUTER&ip6=2001:db8:1::9&ip6lanprefix=2001:db8:1::/56",
            "good 2001:db8:1::9",
            ["129.118.243.10 2001:db8:1::9", NAS],
        ),
        // EdgeRouter (EdgeOS), dyndns2; and dyndns1 of old clients, which means `host_id`:
        // <https://desec.readthedocs.io/en/latest/dyndns/update-api.html>.
        only("system=dyndns&hostname=ROUTER&myip=203.0.113.5"),
        refused("action=edit&started=1&hostname=YES&host_id=ROUTER&myip=203.0.113.5", "nohost"),
        // Scripts with other spellings of an address.
        router("myip=2001:DB8:0:0::0006", "good 2001:db8::6", "129.118.243.10 2001:db8::6"),
        bad("myip=203.000.113.005"),
        bad("myip=[2001:db8::6]"),
        // FRITZ!Box with No-IP's URL, two placeholders in one parameter.
        both("hostname=ROUTER,NAS&myip=203.0.113.5,2001:db8::6&username=x"),
    ]
}

#[test]
fn every_request_over_every_transport() {
    for (scene, transport) in Transport::all("requests of real clients", scene) {
        let all = [lists(), special(), other_names(), prefixes(), clients()].into_iter().flatten();
        for case in all {
            case.check(&scene, &transport, ["/nic/update", ""], [STATE, HOSTS]);
        }
        // Routers that add a slash at the end or at the front.
        let slashes = router("myip=192.0.2.1", "good 192.0.2.1", "192.0.2.1 2001:db8:0:1200::1");
        for path in [["/nic/update", "/"], ["/v3/update", "/"], ["//nic/update", ""]] {
            slashes.check(&scene, &transport, path, [STATE, HOSTS]);
        }
    }
}

/// The answer to a query of dyndns2 without a web server.
fn answer(scene: &Scene, address: &str, query: &str) -> (String, String) {
    let query = query.replace("ROUTER", HOST1).replace("NAS", HOST2);
    let cgi = scene.cgi(address, &query).env("SCRIPT_NAME", "/nic/update");
    let reply = cgi.env("HTTP_AUTHORIZATION", &basic(LOGIN)).run();
    (reply.line, reply.log)
}

#[test]
fn over_ipv6_an_ipv4_address_is_stored_and_the_ipv6_address_stays() {
    // <https://github.com/desec-io/desec-stack/issues/915>
    let scene = scene();
    scene.reset(STATE, HOSTS);
    let query = "hostname=ROUTER&myip=203.0.113.9";
    assert_eq!(answer(&scene, "2001:db8:ffff::1", query).0, "good 203.0.113.9");
    assert_eq!(lines(&scene, HOST1), "203.0.113.9 2001:db8:0:1200::1");
}

#[test]
fn the_log_names_what_the_request_gets_wrong() {
    let scene = scene();
    scene.reset(STATE, HOSTS);
    for (query, parts) in [
        ("hostname=ROUTER&v4=203.0.113.5", &["badrequest", "\\\"v4\\\""][..]),
        ("hostname=ROUTER&prefix=2001:db8:1::/56", &["badrequest", "\\\"prefix\\\""]),
        ("hostname=ROUTER&myip=0.0.0.0", &["badrequest", "myip"]),
        ("hostname=ROUTER&myip=203.0.113.5,fe80::1", &["notice", "fe80::1"]),
        ("hostname=ROUTER&myipv6=2001:db8:75:e4f0::/647656:3cff:fe47:1", &["badrequest", "myipv6"]),
        ("hostname=ROUTER&myipv6=2001:db8::5/64", &["badrequest", "myipv6"]),
        ("hostname=*.wild.example.net", &["unusable hostname: it has a wildcard"]),
    ] {
        let (_, log) = answer(&scene, "192.0.2.9", query);
        assert!(parts.iter().all(|part| log.contains(part)), "{query}: {log}");
    }
}

#[test]
fn a_prefix_for_a_host_without_an_ipv6_address_is_refused_for_this_host_alone() {
    let scene = scene();
    let state: Value = serde_json::from_str(STATE).unwrap();
    let mut without = state.clone();
    without[HOST2].as_object_mut().unwrap().remove("ip6");
    for (state, query, line) in [
        (&without, "hostname=ROUTER,NAS&ip6lanprefix=2001:db8:1::/56", "good 2001:db8:1::1\nnoip6"),
        (
            &without,
            "hostname=ROUTER,NAS&myip=203.0.113.5&ip6lanprefix=2001:db8:1::/56",
            "good 203.0.113.5,2001:db8:1::1\ngood 203.0.113.5",
        ),
        (&state, "hostname=NAS&myip=203.0.113.5", "good 203.0.113.5"),
    ] {
        scene.write("www/ramcache/ip.txt", &state.to_string());
        assert_eq!(answer(&scene, "192.0.2.9", query).0, line, "{query}");
        scene.settle();
    }
}

#[test]
fn private_addresses_can_be_refused() {
    for (scene, transport) in Transport::some("private addresses", scene) {
        scene.configure(&json!({"dyndns2": "any", "private_addresses": false}));
        for query in [
            "myip=10.0.0.5",
            "myip=172.16.0.5",
            "myip=192.168.1.5",
            "myip=100.64.0.5",
            "myip=fd00::5",
            "ip6lanprefix=fd00:1::/64",
        ] {
            bad(query).check(&scene, &transport, ["/nic/update", ""], [STATE, HOSTS]);
        }
        router(
            "myip=192.168.1.5&myipv6=2001:db8::6",
            "good 2001:db8::6",
            "129.118.243.10 2001:db8::6",
        )
        .check(&scene, &transport, ["/nic/update", ""], [STATE, HOSTS]);
    }
}

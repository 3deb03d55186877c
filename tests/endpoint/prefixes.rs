//! A home behind one router: all its hosts move with the prefix, through a real Apache and dnsmasq.

use serde_json::json;
use simple_dns::TYPE;

use crate::dnsmasq::{DNSMASQ, Dnsmasq, Resolver};
use crate::password::basic;
use crate::scene::{Scene, can_run, eventually, signed_2, time};
use crate::server::Server;
use crate::transport::Way;

const HOME: &str = "home.example.net";
const NAS: &str = "nas.example.net";
const CAM: &str = "cam.example.net";

const CREDENTIALS: &str = r#"{"alice": {
    "id": ["home.example.net", "nas.example.net", "cam.example.net"], "key": "secret"}}"#;

/// The router has an address of its own, the NAS is in a subnet of the home, and the camera has never
/// had an address.
const STATE: &str = r#"{
    "home.example.net": {
        "ip": "192.0.2.1",
        "ip6": "2001:db8:ff::1",
        "update": "2012-04-20 20:45:59"
    },
    "nas.example.net": {
        "ip": "192.0.2.1",
        "ip6": "2001:db8:0:a5:211:32ff:fe12:3456",
        "update": "2012-04-20 20:45:59"
    },
    "cam.example.net": {
        "ip6": "::20c:29ff:fe0c:47d5"
    }
}"#;

const HOSTS: &str = "192.0.2.1 home.example.net\n2001:db8:ff::1 home.example.net\n\
                     192.0.2.1 nas.example.net\n2001:db8:0:a5:211:32ff:fe12:3456 nas.example.net\n";

fn scene() -> Scene {
    let scene = Scene::new();
    scene.write("etc/credentials.json", CREDENTIALS);
    scene.reset(STATE, HOSTS);
    let restart = scene.noting(&Dnsmasq::restart(&scene));
    scene.configure(&json!({"dyndns2": "any", "restart": ["sh", "-c", restart]}));
    scene
}

/// What a FRITZ!Box sends, with the reply.
fn fritzbox(server: &Server, parameters: &str) -> String {
    let path = format!("/nic/update?hostname={HOME},{NAS},{CAM}&{parameters}");
    server.curl("127.0.0.10", &path, &["--user", "alice:secret"]).line
}

/// The IPv6 addresses that DNS has of the three hosts.
fn served(resolver: &mut Resolver) -> [String; 3] {
    [HOME, NAS, CAM].map(|host| {
        let addresses = resolver.addresses(host, TYPE::AAAA).unwrap_or_default();
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    })
}

#[test]
fn a_fritzbox_moves_three_hosts_and_each_keeps_its_identifier() {
    let needs = [DNSMASQ, "/usr/sbin/apache2"];
    if !can_run("a prefix through Apache and dnsmasq", &needs) {
        return;
    }
    for way in [Way::ApachePreforkCgi, Way::ApacheEventCgid] {
        let scene = scene();
        let dnsmasq = Dnsmasq::start(&scene);
        let mut resolver = dnsmasq.resolver();
        let server = way.start_server(&scene);
        let nas = "2001:db8:0:a5:211:32ff:fe12:3456";
        assert_eq!(served(&mut resolver), ["2001:db8:ff::1", nas, ""], "{way:?}: before");

        let from_provider = "myip=198.51.100.7&myipv6=2001:db8:fe::1&\
                             ip6lanprefix=2001:db8:1:ff00::/56";
        let moved = [
            "2001:db8:fe::1",
            "2001:db8:1:ffa5:211:32ff:fe12:3456",
            "2001:db8:1:ff00:20c:29ff:fe0c:47d5",
        ];
        for word in ["good", "nochg"] {
            let lines = moved.map(|ipv6| format!("{word} 198.51.100.7,{ipv6}"));
            assert_eq!(fritzbox(&server, from_provider), lines.join("\n"), "{way:?}");
            scene.settle();
            eventually("DNS has the new addresses", || served(&mut resolver) == moved);
            assert_eq!(scene.restarts().len(), 1, "{way:?}: {word}");
        }
        replays_and_forgeries_move_nothing(&scene, &server, &mut resolver);
    }
}

/// After these, the addresses are those of the last request of the box.
fn replays_and_forgeries_move_nothing(scene: &Scene, server: &Server, resolver: &mut Resolver) {
    let ids = format!("{NAS},{CAM}");
    // A second ahead, since the box has used this one.
    let request = signed_2("alice", "secret", &ids, &time(1), ["", "2001:db8:2::/64"]);
    for (sent, altered) in [("/64", "/63"), ("db8:2::", "db8:3::")] {
        let forged = request.replacen(sent, altered, 1);
        assert_ne!(forged, request);
        assert_eq!(server.answer("127.0.0.10", &forged), "badauth", "{altered}");
    }
    let lines = "good 2001:db8:2:0:211:32ff:fe12:3456\ngood 2001:db8:2:0:20c:29ff:fe0c:47d5";
    assert_eq!(server.answer("127.0.0.10", &request), lines);

    let last = "myip=198.51.100.7&myipv6=2001:db8:fe::1&ip6lanprefix=2001:db8:3::/64";
    let moved =
        ["2001:db8:fe::1", "2001:db8:3:0:211:32ff:fe12:3456", "2001:db8:3:0:20c:29ff:fe0c:47d5"];
    fritzbox(server, last);
    scene.settle();
    let files = scene.files();
    for _ in 0..2 {
        assert_eq!(server.answer("127.0.0.66", &request), "replay\nreplay");
    }
    assert_eq!(scene.files(), files);
    eventually("DNS has the last addresses", || served(resolver) == moved);
}

#[test]
fn a_host_without_an_address_gets_none_from_a_prefix() {
    let scene = scene();
    scene
        .reset(&STATE.replace("\"ip6\": \"::20c:29ff:fe0c:47d5\"", "\"ip\": \"192.0.2.1\""), HOSTS);
    let ids = format!("{CAM},{NAS}");
    let send = |second, addresses| {
        let query = signed_2("alice", "secret", &ids, &time(second), addresses);
        scene.cgi("127.0.0.10", &query).run()
    };
    let reply = send(0, ["", "2001:db8:2::/64"]);
    let nas = "2001:db8:2:0:211:32ff:fe12:3456";
    assert_eq!((reply.status, reply.line), (403, format!("noip6\ngood {nas}")));
    assert!(
        reply.log.contains("noip6 address=127.0.0.10 user=\"alice\" host=\"cam."),
        "{}",
        reply.log
    );
    assert!(reply.log.contains("ddnsctl host add USER HOST --ip6"), "{}", reply.log);
    // What else the request says of the host counts.
    let reply = send(1, ["192.0.2.7", "2001:db8:2::/64"]);
    assert_eq!((reply.status, reply.line), (200, format!("good 192.0.2.7\ngood 192.0.2.7,{nas}")));
    scene.settle();
    assert!(!scene.hosts().contains(&format!(":: {CAM}")), "{}", scene.hosts());
}

#[test]
fn private_addresses_are_refused_where_the_operator_wants_it() {
    let scene = scene();
    let send = |more: &str| {
        let query = format!("hostname={HOME}&{more}");
        let cgi = scene.cgi("192.168.1.7", &query).env("SCRIPT_NAME", "/nic/update");
        cgi.env("HTTP_AUTHORIZATION", &basic("alice:secret")).run()
    };
    assert_eq!(send("myip=10.0.0.1,fd00::1").line, "good 10.0.0.1,fd00::1");
    assert_eq!(send("").line, "good 192.168.1.7");
    scene.configure(&json!({"dyndns2": "any", "private_addresses": false}));
    for more in ["myip=10.0.0.1", "myip=100.64.0.1,fd00::1", "ip6lanprefix=fd00::/64", ""] {
        let reply = send(more);
        assert_eq!(reply.line, "badagent", "{more}");
        assert!(reply.log.contains(r#"key \"private_addresses\""#), "{more}: {}", reply.log);
    }
    let reply = send("myip=10.0.0.1,2001:db8::7");
    assert_eq!(reply.line, "good 2001:db8::7");
    assert!(reply.log.contains("ddns-cgi: notice address=192.168.1.7"), "{}", reply.log);
    assert!(reply.log.contains("myip 10.0.0.1 is left out"), "{}", reply.log);
}

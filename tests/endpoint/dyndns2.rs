//! dyndns2: its words and statuses over every transport and HTTPS, and Debian's clients.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use crate::password::{Case, HOST1, HOST2, basic, lines, scene};
use crate::scene::{HOSTS, STATE, Scene, can_run, eventually, host1, signed, time};
use crate::server::{Server, make_certificate};
use crate::transport::{Request, Transport, Way};

const DDCLIENT: &str = "/usr/bin/ddclient";
const INADYN: &str = "/usr/sbin/inadyn";

const BOTH: &str = "host1.h.lohray.com,host2.h.lohray.com";

/// What a host has in the state.
fn addresses(scene: &Scene, host: &str) -> [Value; 2] {
    let state: Value = serde_json::from_str(&scene.state()).unwrap();
    ["ip", "ip6"].map(|field| state[host][field].clone())
}

const STORED: [&str; 2] = ["129.118.243.10", "75.110.204.100"];

fn case(query: &str, status: u16, line: &'static str, hosts: [&'static str; 2]) -> Case {
    Case { query: query.to_owned(), login: "user1:secretkey1", status, line, hosts }
}

fn cases() -> Vec<Case> {
    let of = |id: &str, more: &str| format!("hostname={id}{more}");
    let moved = ["192.0.2.1", STORED[1]];
    let good = |query: &str, line, hosts| case(query, 200, line, hosts);
    let refused = |query: &str, line| case(query, 200, line, STORED);
    let by = |login, line, status| Case {
        login,
        ..case(&of(HOST1, "&myip=192.0.2.1"), status, line, STORED)
    };
    vec![
        good(&of(HOST1, "&myip=192.0.2.1"), "good 192.0.2.1", moved),
        good(&of(HOST1, "&myip=129.118.243.10"), "nochg 129.118.243.10", STORED),
        good(&of(HOST1, ""), "good 127.0.0.10", ["127.0.0.10", STORED[1]]),
        good(
            &of(HOST1, "&system=dyndns&wildcard=ON&mx=x&backmx=YES&myip=192.0.2.1&x=y"),
            "good 192.0.2.1",
            moved,
        ),
        good(
            &of(BOTH, "&myip=192.0.2.1,2001:db8::1"),
            "good 192.0.2.1,2001:db8::1\ngood 192.0.2.1,2001:db8::1",
            ["192.0.2.1 2001:db8::1", "192.0.2.1 2001:db8::1"],
        ),
        good(
            &of(HOST1, "&myip=2001%3adb8%3a%3a1"),
            "good 2001:db8::1",
            ["129.118.243.10 2001:db8::1", STORED[1]],
        ),
        good(
            &of(HOST1, "&myip=192.0.2.1&myipv6=2001:db8::1"),
            "good 192.0.2.1,2001:db8::1",
            ["192.0.2.1 2001:db8::1", STORED[1]],
        ),
        good(
            &of(HOST1, "&myip6=2001:db8::1"),
            "good 2001:db8::1",
            ["129.118.243.10 2001:db8::1", STORED[1]],
        ),
        good(&of(HOST1, "&offline=YES"), "good none", ["", STORED[1]]),
        good(
            &of("host1.h.lohray.com,host3.h.lohray.com,host2.h.lohray.com", "&myip=192.0.2.1"),
            "good 192.0.2.1\nnohost\ngood 192.0.2.1",
            ["192.0.2.1", "192.0.2.1"],
        ),
        refused(&of("host3.h.lohray.com", ""), "nohost"),
        refused(&of("nobody.example", ""), "nohost"),
        refused("myip=192.0.2.1", "notfqdn"),
        refused(&of("a%20b", ""), "notfqdn"),
        refused(&of("go%0aod", ""), "notfqdn"),
        refused(&of(&["a"; 33].join(","), ""), "numhost"),
        refused(&of(HOST1, "&myip=nochg"), "badagent"),
        refused(&of(HOST1, "&myipv6=::ffff:192.0.2.1"), "badagent"),
        by("user1:secretkey2", "badauth", 401),
        by("user1:", "badauth", 401),
        by("nobody:secretkey1", "badauth", 401),
        by("", "badauth", 401),
        by("strict:k", "badauth", 401),
    ]
}

/// Every case at both paths.
fn check_all(scene: &Scene, transport: &Transport) {
    for path in ["/nic/update", "/v3/update"] {
        for case in cases() {
            case.check(scene, transport, [path, ""], [STATE, HOSTS]);
        }
    }
}

#[test]
fn every_case_over_every_transport() {
    for (scene, transport) in Transport::all("dyndns2", scene) {
        check_all(&scene, &transport);
        // Some routers add slashes.
        for script in ["/nic/update/", "/v3/update/", "//nic/update"] {
            scene.reset(STATE, HOSTS);
            let user = format!("Authorization: {}", basic("user1:secretkey1"));
            let query = format!("hostname={HOST1}&myip=192.0.2.3");
            let headers = &[user.as_str()];
            let request =
                Request { script: Some(script), query: Some(&query), headers, ..Request::GET };
            assert_eq!(transport.reply(&scene, &request).line, "good 192.0.2.3", "{script}");
            scene.settle();
        }
        // By POST, too, but by no other method.
        scene.reset(STATE, HOSTS);
        let user = format!("Authorization: {}", basic("user1:secretkey1"));
        let request = Request { headers: &[&user], ..Request::GET };
        let update = Request { script: Some("/nic/update"), ..request };
        let body = Some("hostname=host1.h.lohray.com&myip=192.0.2.1");
        let post = Request { method: "POST", body, ..update };
        assert_eq!(transport.reply(&scene, &post).line, "good 192.0.2.1");
        let query = format!("hostname={HOST1}&myip=192.0.2.2");
        for method in ["HEAD", "PUT"] {
            let other = Request { method, query: Some(&query), ..update };
            assert_eq!(transport.reply(&scene, &other).status, 405, "{method}");
        }
        scene.settle();
        assert_eq!(addresses(&scene, HOST1), [json!("192.0.2.1"), Value::Null]);
        // A password is of no use elsewhere.
        assert_eq!(transport.reply(&scene, &request).line, "badrequest missing user");
    }
}

#[test]
fn over_plain_http_a_password_is_refused_by_default() {
    if can_run("dyndns2 over HTTPS", &["/usr/bin/openssl"]) {
        for way in Way::all_through_servers("dyndns2 over HTTPS") {
            accepts_passwords_over_https_alone(way);
        }
    }
}

fn accepts_passwords_over_https_alone(way: Way) {
    let scene = Scene::new();
    make_certificate(&scene);
    let server = way.start_server(&scene);
    let query = format!("/nic/update?hostname={HOST1}&myip=192.0.2.1");
    let user = ["--user", "user1:secretkey1"];

    let forged = ["--header", "HTTPS: on", "--header", "X-Forwarded-Proto: https"];
    for password in ["secretkey1", "wrong"] {
        let login = format!("user1:{password}");
        let reply = server.curl("127.0.0.10", &query, &[&["--user", &login], &forged[..]].concat());
        let said = (reply.status, &*reply.line);
        assert_eq!(said, (200, "insecure"), "{way:?}: whatever the password is");
    }
    assert_eq!(scene.state(), STATE, "{way:?}");
    eventually("the log says why", || scene.read(server.log()).contains("dyndns2 without HTTPS"));

    let https = |options: &[&str]| server.https(&scene, &query, options).line;
    assert_eq!(https(&user), "good 192.0.2.1", "{way:?}");
    assert_eq!(https(&["--user", "user1:wrong"]), "badauth", "{way:?}");
    scene.configure(&json!({"dyndns2": "off"}));
    assert_eq!(https(&user), "disabled", "{way:?}");
    scene.settle();
    assert_eq!(addresses(&scene, HOST1)[0], "192.0.2.1", "{way:?}");
}

#[test]
fn a_key_in_the_query_counts_over_https_where_the_operator_allows_it() {
    if can_run("a key in the query over HTTPS", &["/usr/bin/openssl"]) {
        for way in Way::all_through_servers("a key in the query over HTTPS") {
            takes_a_key_from_the_query_over_https_alone(way);
        }
    }
}

fn takes_a_key_from_the_query_over_https_alone(way: Way) {
    let scene = Scene::new();
    make_certificate(&scene);
    let server = way.start_server(&scene);
    let query = format!("/nic/update?hostname={HOST1}&myip=192.0.2.1");
    let with_key = format!("{query}&username=user1&password=secretkey1");
    scene.configure(&json!({"dyndns2": "any"}));
    assert_eq!(server.https(&scene, &with_key, &[]).line, "badauth", "{way:?}: it is off");
    scene.configure(&json!({"dyndns2": "any", "login_in_query": true}));
    assert_eq!(server.curl("127.0.0.10", &with_key, &[]).line, "badauth", "{way:?}: no HTTPS");
    eventually("the log says why", || scene.read(server.log()).contains("takes HTTPS and key"));
    assert_eq!(scene.state(), STATE, "{way:?}");
    let wrong = format!("{query}&username=user1&password=secretkey2");
    assert_eq!(server.https(&scene, &wrong, &[]).line, "badauth", "{way:?}");
    assert_eq!(server.https(&scene, &with_key, &[]).line, "good 192.0.2.1", "{way:?}");
    // A header counts before the query.
    let user = ["--user", "user1:wrong"];
    assert_eq!(server.https(&scene, &with_key, &user).line, "badauth", "{way:?}");
    let form = ["--data", "username=user1&password=secretkey1"];
    assert_eq!(server.https(&scene, &query, &form).line, "nochg 192.0.2.1", "{way:?}");
    scene.settle();
}

#[test]
fn updates_of_one_second_count_and_open_no_way_for_replays() {
    let scene = scene();
    let send = |address: &str| {
        let query = format!("hostname={HOST1}&myip={address}");
        let cgi = scene.cgi("127.0.0.10", &query).env("SCRIPT_NAME", "/nic/update");
        cgi.env("HTTP_AUTHORIZATION", &basic("user1:secretkey1")).run().line
    };
    // From a client whose clock is ahead, and read by somebody else.
    let captured = signed("user1", "secretkey1", HOST1, &time(10));
    assert_eq!(scene.answer("127.0.0.11", &captured), "good 127.0.0.11");
    for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        assert_eq!(send(address), format!("good {address}"));
        assert_eq!(send(address), format!("nochg {address}"));
    }
    for address in ["127.0.0.11", "127.0.0.66"] {
        assert_eq!(scene.answer(address, &captured), "replay");
        assert_eq!(scene.answer(address, &host1()), "replay", "older than the last signed one");
    }
    scene.settle();
    assert_eq!(addresses(&scene, HOST1)[0], "192.0.2.3");
}

#[test]
fn no_password_gets_into_a_reply_or_the_log() {
    let scene = scene();
    for (login, query) in [
        ("user1:secretkey1", "hostname=host3.h.lohray.com"),
        ("user1:secretkey1x", "hostname=host1.h.lohray.com"),
        ("nobody:secretkey1", "hostname=host1.h.lohray.com"),
        ("secretkey1", "hostname=host1.h.lohray.com"),
        ("strict:k", "hostname=host1.h.lohray.com"),
        ("user1:secretkey1", "hostname=secret key1"),
    ] {
        let code = Base64::encode_string(login.as_bytes());
        let cgi = scene.cgi("127.0.0.10", query).env("SCRIPT_NAME", "/nic/update");
        let reply = cgi.env("HTTP_AUTHORIZATION", &format!("Basic {code}")).run();
        assert_eq!(reply.log.lines().count(), 1, "{reply:?}");
        let text = format!("{reply:?}");
        assert!(!text.contains("secretkey1") && !text.contains(&code), "{text}");
    }
}

/// The servers that these clients meet.
const OF_CLIENTS: [Way; 4] =
    [Way::ApachePreforkCgi, Way::ApacheEventCgid, Way::Nginx, Way::Lighttpd];

/// A client of Debian, run once.
struct Client<'s> {
    scene: &'s Scene,
    web: &'s Server,
}

/// A client's settings.
#[derive(Clone, Copy)]
struct Settings<'s> {
    hosts: &'s str,
    address: &'s str,
    password: &'s str,
}

impl Client<'_> {
    fn server(&self) -> String {
        self.web.url("").trim_start_matches("http://").to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        self.scene.write(name, text);
        let file = self.scene.path(name);
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        file.display().to_string()
    }

    /// What ddclient says when it knows nothing of earlier runs.
    fn ddclient(&self, settings: Settings, options: &[&str]) -> String {
        let Settings { hosts, address, password } = settings;
        let file = self.write(
            "run/ddclient.conf",
            &format!(
                "ssl=no\nuse=ip, ip={address}\nprotocol=dyndns2\nserver={}\nlogin=user1\n\
                 password='{password}'\n{hosts}\n",
                self.server()
            ),
        );
        let cache = self.scene.path("run/ddclient.cache");
        let _ = fs::remove_file(&cache);
        let output = Command::new(DDCLIENT)
            .args(["-daemon=0", "-noquiet", "-file", &file, "-cache"])
            .arg(cache)
            .args(options)
            .output()
            .unwrap();
        said(&output)
    }

    /// What inadyn says when it believes that its hosts have another address.
    fn inadyn(&self, settings: Settings) -> String {
        let Settings { hosts, address, password } = settings;
        let file = self.write(
            "run/inadyn.conf",
            &format!(
                "allow-ipv6 = true\ncustom ddns {{\nusername = user1\npassword = {password}\n\
                 hostname = {{ {} }}\nddns-server = \"{}\"\nssl = false\n\
                 ddns-path = \"/nic/update?hostname=%h&myip=%i\"\n\
                 checkip-command = \"/bin/echo {address}\"\n}}\n",
                hosts.replace(',', ", "),
                self.server()
            ),
        );
        let cache = self.scene.path("run/inadyn");
        fs::create_dir_all(&cache).unwrap();
        // Otherwise it asks DNS.
        for host in hosts.split(',') {
            fs::write(cache.join(format!("{host}.cache")), "198.51.100.1").unwrap();
        }
        // After a temporary error it waits for ten minutes.
        let output = Command::new("timeout")
            .args(["5", INADYN, "--once", "--foreground", "--loglevel=info", "--config", &file])
            .arg(format!("--cache-dir={}", cache.display()))
            .arg(format!("--pidfile={}", self.scene.path("run/inadyn.pid").display()))
            .output()
            .unwrap();
        said(&output)
    }
}

fn said(output: &std::process::Output) -> String {
    [&*output.stdout, &output.stderr].map(String::from_utf8_lossy).concat()
}

#[test]
fn ddclient_of_debian_reports_each_answer() {
    if can_run("ddclient", &[DDCLIENT]) {
        for way in OF_CLIENTS.into_iter().filter(|way| way.can_run("ddclient")) {
            ddclient_reports_each_answer(way);
        }
    }
}

fn ddclient_reports_each_answer(way: Way) {
    let scene = scene();
    let server = way.start_server(&scene);
    let client = Client { scene: &scene, web: &server };
    let settings = Settings { hosts: BOTH, address: "192.0.2.1", password: "secretkey1" };
    let says = |settings, expected: &[&str]| {
        let said = client.ddclient(settings, &[]);
        assert!(expected.iter().all(|text| said.contains(text)), "{expected:?}: {said}");
    };
    let success =
        |host, address| format!("SUCCESS:  updating {host}: good: IP address set to {address}");
    says(settings, &[&success(HOST1, "192.0.2.1"), &success(HOST2, "192.0.2.1")]);
    says(
        settings,
        &[
            "WARNING:  updating host1.h.lohray.com: nochg: No update required",
            "WARNING:  updating host2.h.lohray.com: nochg: No update required",
        ],
    );
    let ipv6 = Settings { hosts: HOST1, address: "2001:db8::1", ..settings };
    says(ipv6, &[&success(HOST1, "2001:db8::1")]);
    says(
        Settings { password: "wrong", ..settings },
        &[
            "FAILED:   updating host1.h.lohray.com,host2.h.lohray.com: authorization failed",
            "badauth",
        ],
    );
    says(
        Settings {
            hosts: "host1.h.lohray.com,host3.h.lohray.com",
            address: "192.0.2.2",
            ..settings
        },
        &[
            &success(HOST1, "192.0.2.2"),
            "FAILED:   updating host3.h.lohray.com: nohost: The hostname specified does not exist",
        ],
    );
    scene.configure(&json!({}));
    says(settings, &["FAILED:   updating host1.h.lohray.com: unexpected status (insecure)"]);
    scene.settle();
    assert_eq!(addresses(&scene, HOST1), ["192.0.2.2", "2001:db8::1"]);
    assert_eq!(addresses(&scene, HOST2), [json!("192.0.2.1"), Value::Null]);

    // It reports a server's error only if asked to, and tries again next time.
    scene.configure(&json!({"dyndns2": "any"}));
    scene.write("www/ramcache/ip.txt", "{");
    assert_eq!(client.ddclient(settings, &[]), "");
    let said = client.ddclient(settings, &["-verbose"]);
    assert!(said.contains("503 Service Unavailable") && said.contains("RECEIVE:  911"), "{said}");
}

#[test]
fn inadyn_of_debian_reports_each_answer() {
    if can_run("inadyn", &[INADYN]) {
        for way in OF_CLIENTS.into_iter().filter(|way| way.can_run("inadyn")) {
            inadyn_reports_each_answer(way);
        }
    }
}

fn inadyn_reports_each_answer(way: Way) {
    let scene = scene();
    let server = way.start_server(&scene);
    let client = Client { scene: &scene, web: &server };
    let settings = Settings { hosts: BOTH, address: "192.0.2.1", password: "secretkey1" };
    let says = |settings, expected: &[&str]| {
        let said = client.inadyn(settings);
        assert!(expected.iter().all(|text| said.contains(text)), "{expected:?}: {said}");
    };
    let success =
        |host, address| format!("Successful alias table update for {host} => new IP# {address}");
    says(settings, &[&success(HOST1, "192.0.2.1"), &success(HOST2, "192.0.2.1")]);
    assert_eq!([lines(&scene, HOST1), lines(&scene, HOST2)], ["192.0.2.1", "192.0.2.1"]);
    let stored = scene.hosts();
    says(settings, &[&success(HOST1, "192.0.2.1"), &success(HOST2, "192.0.2.1")]);
    assert_eq!(scene.hosts(), stored, "nochg is a success to it");
    let ipv6 = Settings { hosts: HOST1, address: "2001:db8::1", ..settings };
    says(ipv6, &[&success(HOST1, "2001:db8::1")]);
    assert_eq!(lines(&scene, HOST1), "192.0.2.1 2001:db8::1");
    let wrong = Settings { password: "wrong", ..settings };
    says(wrong, &["[401 Unauthorized] badauth", "Authentication failure"]);
    let foreign = Settings { hosts: "host3.h.lohray.com", ..settings };
    says(foreign, &["[200 OK] nohost", "DDNS server response not OK"]);
    scene.configure(&json!({}));
    says(settings, &["[200 OK] insecure", "DDNS server response not OK"]);
    scene.configure(&json!({"dyndns2": "any"}));
    scene.settle();
    scene.write("www/ramcache/ip.txt", "{");
    says(settings, &["Temporary error", "[503 Service Unavailable] 911", "Will retry again"]);
}

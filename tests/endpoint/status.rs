//! The client's own address and the status page, over several transports.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::apache::{APACHE, Apache, Kind};
use crate::faults::STRACE;
use crate::scene::{Page, Scene, can_run, eventually, signed, tell, time};
use crate::transport::{Request, Transport};

pub const JSON: &str = "Accept: application/json";
pub const METRICS: &str = "Accept: text/plain; version=0.0.4";
pub const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

const NAMES: [&str; 5] = ["fresh.example", "late.example", "silent.example", "never.example", "x"];

/// A host in each condition.
pub fn state() -> String {
    let record = |address: &str, seconds: i64| json!({"ip": address, "update": time(-seconds)});
    let [fresh, late, silent, never, broken] = NAMES;
    json!({
        fresh: {"ip": "192.0.2.1", "ip6": "2001:db8::1", "update": time(-60), "note": "secretkey"},
        late: record("192.0.2.2", 7200),
        silent: record("192.0.2.3", 200_000),
        never: {"ip": "192.0.2.4", "ip6": "::211:32ff:fe12:3456"},
        broken: {"ip": "192.0.2.5", "update": "2999-01-01 00:00:00"},
    })
    .to_string()
}

/// A scene whose status page is on.
pub fn scene() -> Scene {
    let scene = Scene::new();
    scene.configure(&json!({"status_page": true}));
    scene.write("www/ramcache/ip.txt", &state());
    scene
}

/// Each way to the program, with a scene of its own.
fn over_all_transports(test: impl Fn(&Scene, &Transport)) {
    for (scene, transport) in Transport::all("the status page", scene) {
        test(&scene, &transport);
    }
}

/// Asks for `/ip.php` and what follows it.
pub fn ask(
    scene: &Scene,
    transport: &Transport,
    method: &str,
    path: &str,
    headers: &[&str],
) -> Page {
    let script = Some("/ip.php");
    transport.page(scene, &Request { method, script, path, headers, ..Request::GET })
}

/// The page in one form, of those hosts that a query asks for.
pub fn filtered(scene: &Scene, transport: &Transport, query: &str, accept: &str) -> String {
    let (script, query, headers) = (Some("/ip.php"), Some(query), &[accept][..]);
    let request = Request { script, path: "/status", query, headers, ..Request::GET };
    let page = transport.page(scene, &request);
    assert_eq!(page.status, 200, "{query:?}: {page:?}");
    page.body
}

/// Users for some of the hosts in `state`.
const USERS: &str = r#"{
    "alice": {"id": ["fresh.example", "LATE.example"], "key": "secretkey3"},
    "<bob>": {"id": ["silent.example"], "key": "secretkey4", "every": {"silent.example": 86400}},
    "carol": {"id": "never.example", "key": "secretkey5"}
}"#;

/// The page in one form, when all is well.
fn page(scene: &Scene, transport: &Transport, accept: &str) -> String {
    let page = ask(scene, transport, "GET", "/status", &[accept]);
    assert_eq!(page.status, 200, "{page:?}");
    page.body
}

/// The program's lines in the log of a reply.
pub fn log(scene: &Scene, transport: &Transport, page: &Page) -> String {
    let Some(server) = transport.server() else {
        return page.log.clone();
    };
    let read = || scene.read(server.log());
    eventually("the line is in the server's log", || read().contains("ddns-cgi: "));
    let log = read();
    scene.write(server.log(), "");
    log
}

#[test]
fn a_client_learns_its_own_address_without_any_configuration() {
    over_all_transports(|scene, transport| {
        scene.write("etc/config.json", "{");
        let get = ask(scene, transport, "GET", "/ip", &["X-Forwarded-For: 192.0.2.9"]);
        assert_eq!((get.status, get.body.as_str()), (200, "127.0.0.10\n"));
        for part in ["Content-Type: text/plain; charset=utf-8", "Cache-Control: no-store"] {
            assert!(get.headers.contains(part), "{get:?}");
        }
        let head = ask(scene, transport, "HEAD", "/ip", &[]);
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        let post = ask(scene, transport, "POST", "/ip", &[]);
        assert_eq!((post.status, post.body.as_str()), (405, "badmethod\n"));
        assert!(post.headers.contains("Allow: GET, HEAD"), "{post:?}");
    });
}

#[test]
fn the_address_can_have_a_path_of_its_own() {
    if can_run("an alias for the address", &[APACHE]) {
        let scene = scene();
        let kind = Kind::EventCgid;
        let apache = Apache::start_with(&scene, kind, "", &[("#ScriptAlias", "ScriptAlias")]);
        assert_eq!(apache.curl("127.0.0.10", "/ip", &[]).line, "127.0.0.10");
        assert_eq!(apache.curl("127.0.0.10", "/ip/status", &[]).line, "127.0.0.10");
        assert_eq!(apache.curl("127.0.0.10", "/ip.php", &[]).line, "badrequest missing user");
    }
}

#[test]
fn the_page_is_off_by_default() {
    over_all_transports(|scene, transport| {
        scene.configure(&json!({}));
        for method in ["GET", "HEAD", "POST"] {
            let page = ask(scene, transport, method, "/status", &[BROWSER]);
            assert_eq!(page.status, 404, "{page:?}");
            assert!(!page.body.contains("example"), "{page:?}");
            let log = log(scene, transport, &page);
            assert!(
                log.contains(
                    "ddns-cgi: notfound address=127.0.0.10 reason=\"the status page is off"
                ),
                "{log}"
            );
        }
    });
}

#[test]
fn the_page_shows_each_host_to_people() {
    over_all_transports(|scene, transport| {
        let before = scene.files();
        let get = ask(scene, transport, "GET", "/status", &[BROWSER]);
        assert_eq!(get.status, 200);
        for header in [
            "Content-Type: text/html; charset=utf-8",
            "Content-Security-Policy: default-src 'none'; style-src 'sha256-",
            "X-Content-Type-Options: nosniff",
            "Cache-Control: no-store",
        ] {
            assert!(get.headers.contains(header), "{}", get.headers);
        }
        assert!(get.body.contains("<h1>1 of 5 hosts are fresh</h1>"), "{}", get.body);
        let conditions = ["fresh", "late", "silent", "silent", "broken"];
        for (name, condition) in NAMES.into_iter().zip(conditions) {
            let row = get.body.lines().find(|line| line.contains(&format!(">{name}<"))).unwrap();
            assert!(row.contains(&format!("</span>{condition}</td>")), "{row}");
        }
        for part in ["<span>192.0.2.1</span> <span>2001:db8::1</span>", "1 min", "2 h", "2 days"] {
            assert!(get.body.contains(part), "{part}");
        }
        assert!(!get.body.contains("secretkey"));
        let head = ask(scene, transport, "HEAD", "/status", &[BROWSER]);
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        let post = ask(scene, transport, "POST", "/status", &[BROWSER]);
        assert_eq!((post.status, post.body.as_str()), (405, "badmethod\n"));
        assert_eq!(scene.files(), before);
    });
}

#[test]
fn the_page_shows_the_same_to_programs() {
    over_all_transports(|scene, transport| {
        let get = ask(scene, transport, "GET", "/status", &[JSON]);
        assert!(get.headers.contains("Content-Type: application/json"), "{get:?}");
        let page: Value = serde_json::from_str(&get.body).unwrap();
        assert_eq!(page["counts"], json!({"fresh": 1, "late": 1, "silent": 2, "broken": 1}));
        assert_eq!(page["restart"], json!({"pending": false, "failure": null}));
        let hosts = page["hosts"].as_array().unwrap();
        let names: Vec<&str> = hosts.iter().map(|host| host["host"].as_str().unwrap()).collect();
        let [fresh, late, silent, never, broken] = NAMES;
        assert_eq!(names, [broken, never, silent, late, fresh]);
        let host = &hosts[4];
        assert_eq!(host["addresses"], json!(["192.0.2.1", "2001:db8::1"]));
        assert!((60..120).contains(&host["age_seconds"].as_u64().unwrap()), "{host}");
        let update = host["update"].as_str().unwrap();
        assert!(state().contains("note") && update.ends_with('Z') && update.len() == 20, "{host}");
        assert_eq!(hosts[1]["update"], Value::Null);
        assert_eq!(hosts[1]["age_seconds"], Value::Null);
    });
}

/// The samples that Prometheus's own parser finds, as `[NAME, LABELS, VALUE]`.
fn samples(metrics: &str) -> Option<Vec<Value>> {
    const PYTHON: &str = "/usr/bin/python3";
    const PARSER: &str = "/usr/lib/python3/dist-packages/prometheus_client/parser.py";
    const SCRIPT: &str = "import json, sys; from prometheus_client.parser import text_string_to_metric_families as parse\n\
        families = list(parse(sys.stdin.read()))\n\
        assert all(family.type == 'gauge' and family.documentation for family in families), families\n\
        print(json.dumps([[s.name, s.labels, s.value] for family in families for s in family.samples]))";
    if !can_run("Prometheus's parser (python3-prometheus-client)", &[PYTHON, PARSER]) {
        return None;
    }
    let mut child = Command::new(PYTHON)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{metrics}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn the_page_shows_the_same_to_prometheus() {
    over_all_transports(|scene, transport| {
        let get = ask(scene, transport, "GET", "/status", &[METRICS]);
        let kind = "Content-Type: text/plain; version=0.0.4; charset=utf-8";
        assert!(get.headers.contains(kind), "{get:?}");
        let Some(samples) = samples(&get.body) else { return };
        for (condition, count) in [("fresh", 1.0), ("late", 1.0), ("silent", 2.0), ("broken", 1.0)]
        {
            assert!(samples.contains(&json!(["ddns_hosts", {"condition": condition}, count])));
        }
        let info = |host, address| json!(["ddns_host_address_info", {"host": host, "address": address}, 1.0]);
        assert!(samples.contains(&info(NAMES[0], "192.0.2.1")), "{samples:?}");
        assert!(samples.contains(&info(NAMES[0], "2001:db8::1")), "{samples:?}");
        let name = "ddns_host_last_update_timestamp_seconds";
        let updates = samples.iter().filter(|sample| sample[0] == name);
        assert_eq!(updates.count(), 4, "all but the one that is not known");
        assert!(samples.contains(&json!(["ddns_restart_pending", {}, 0.0])));
    });
}

#[test]
fn the_page_shows_whose_a_host_is_and_what_is_expected_of_it_and_no_key() {
    over_all_transports(|scene, transport| {
        scene.write("etc/credentials.json", USERS);
        let html = page(scene, transport, BROWSER);
        let row = |name: &str| {
            let is_row =
                |line: &&str| [' ', '<'].iter().any(|c| line.contains(&format!(">{name}{c}")));
            html.lines().find(is_row).unwrap().to_owned()
        };
        for name in NAMES {
            assert_eq!(row(name).contains(">of "), name != "never.example" && name != "x");
        }
        assert!(row("late.example").contains(">of alice<"), "{html}");
        assert!(row("silent.example").contains(">of &#60;bob&#62;<"), "{html}");
        assert!(row("silent.example").contains(">every 1 day<"), "{html}");
        assert!(row("silent.example").contains("</span>late</td>"), "after 200,000 s: {html}");
        let json: Value = serde_json::from_str(&page(scene, transport, JSON)).unwrap();
        let hosts = json["hosts"].as_array().unwrap();
        let host = |name| hosts.iter().find(|host| host["host"] == name).unwrap();
        assert_eq!(host("fresh.example")["owner"], "alice");
        assert_eq!(host("fresh.example")["expected_seconds"], Value::Null);
        assert_eq!(host("silent.example")["expected_seconds"], 86_400);
        assert_eq!((&json["owners_known"], &host("x")["owner"]), (&json!(true), &Value::Null));
        if let Some(samples) = samples(&page(scene, transport, METRICS)) {
            let info = json!(["ddns_host_info", {"host": "silent.example", "owner": "<bob>"}, 1.0]);
            assert!(samples.contains(&info), "{samples:?}");
        }
        for accept in [BROWSER, JSON, METRICS] {
            assert!(!page(scene, transport, accept).contains("secretkey"));
        }
    });
}

#[test]
fn credentials_that_cannot_be_read_cost_the_page_its_owners_and_nothing_else() {
    let scene = scene();
    let path = scene.path("etc/credentials.json");
    for text in [Some("{\"alice\": {\"id\": [\"fresh.example\"], \"key\": \"secretkey\\x"), None] {
        match text {
            Some(text) => scene.write("etc/credentials.json", text),
            None => fs::remove_file(&path).unwrap(),
        }
        let get = ask(&scene, &Transport::Bare, "GET", "/status", &[BROWSER]);
        assert_eq!((get.status, get.log.as_str()), (200, ""));
        assert_eq!(get.body.matches("Owners are unknown").count(), 1, "{}", get.body);
        assert_eq!(get.body.matches("<tr ").count(), 6);
        let json: Value = serde_json::from_str(&page(&scene, &Transport::Bare, JSON)).unwrap();
        assert_eq!(
            (&json["owners_known"], json["hosts"].as_array().unwrap().len()),
            (&json!(false), 5)
        );
        assert!(!page(&scene, &Transport::Bare, METRICS).contains("ddns_host_info{"));
        for text in [get.body, json.to_string()] {
            assert!(!text.contains("secret") && !text.contains("credentials.json"), "{text}");
        }
    }
}

#[test]
fn a_query_filters_what_people_and_programs_see() {
    over_all_transports(|scene, transport| {
        scene.write("etc/credentials.json", USERS);
        for (query, expected) in [
            ("find=FRESH&show=", &["fresh.example"][..]),
            ("find=alice", &["late.example", "fresh.example"]),
            ("find=%3Cbob%3E", &["silent.example"]),
            ("find=+192.0.2.2+", &["late.example"]),
            ("show=silent", &["never.example"]),
            ("show=late", &["late.example", "silent.example"]),
            ("show=silent&find=2001%3Adb8", &[]),
            (
                "show=nonsense&other=1&find=&refresh=60",
                &["x", "never.example", "late.example", "silent.example", "fresh.example"],
            ),
        ] {
            let html = filtered(scene, transport, query, BROWSER);
            assert_eq!(html.matches("<tr ").count().saturating_sub(1), expected.len(), "{query}");
            let is_all = expected.len() == NAMES.len();
            let caption = format!(">{} of 5 hosts<", expected.len());
            assert_eq!(html.contains(&caption), !is_all, "{query}: {html}");
            let json: Value =
                serde_json::from_str(&filtered(scene, transport, query, JSON)).unwrap();
            let hosts = json["hosts"].as_array().unwrap().iter();
            let names: Vec<&str> = hosts.map(|host| host["host"].as_str().unwrap()).collect();
            assert_eq!(names, expected, "{query}");
            assert_eq!(
                (json["filter"] == Value::Null, &json["counts"]["silent"]),
                (is_all, &json!(1))
            );
            let metrics = filtered(scene, transport, query, METRICS);
            assert_eq!(metrics, page(scene, transport, METRICS), "{query}");
        }
        let html = filtered(scene, transport, "find=%22%3E%3Cscript%3E&refresh=600", BROWSER);
        assert!(html.contains("value=\"&#34;&#62;&#60;script&#62;\"") && !html.contains("<script"));
        assert!(html.contains("<meta http-equiv=\"refresh\" content=\"600\">"), "{html}");
        assert!(!page(scene, transport, BROWSER).contains("http-equiv"));
    });
}

#[test]
fn an_overlong_query_filters_nothing() {
    let scene = scene();
    let query = |length| format!("find={}", "x".repeat(length));
    let caption = |length| filtered(&scene, &Transport::Bare, &query(length), BROWSER);
    assert!(caption(8187).contains(">0 of 5 hosts<"));
    assert!(caption(8188).contains(">Hosts<"));
    // Without a "=", it comes as an argument, too.
    let mut cgi = scene.cgi("127.0.0.10", "fresh").env("PATH_INFO", "/status");
    cgi.0.arg("fresh");
    assert!(cgi.page().body.contains("1 of 5 hosts are fresh"));
}

#[test]
fn the_page_says_since_when_a_host_has_its_addresses() {
    let names = ["host1.h.lohray.com", "host2.h.lohray.com"];
    let scene = Scene::new();
    let record = |name: &str| -> Value {
        serde_json::from_str::<Value>(&scene.state()).unwrap()[name].clone()
    };
    let send = |host: &str, address: &str, seconds| {
        let stamp = time(seconds);
        let line = scene.answer(address, &signed("user1", "secretkey1", host, &stamp));
        scene.settle();
        (line.split(' ').next().unwrap().to_owned(), stamp)
    };
    // Without the page, the state is what it always was.
    let (word, stamp) = send(names[0], "192.0.2.1", -14);
    assert_eq!(
        (word.as_str(), record(names[0])),
        ("good", json!({"ip": "192.0.2.1", "update": stamp}))
    );
    scene.configure(&json!({"status_page": true}));
    let (word, stamp) = send(names[0], "192.0.2.1", -13);
    assert_eq!(
        (word.as_str(), record(names[0])),
        ("nochg", json!({"ip": "192.0.2.1", "update": stamp}))
    );
    // One record of an indexed state, and a whole state of another layout.
    for (second, address) in [(-12, "192.0.2.2"), (-10, "192.0.2.3")] {
        let (word, stamp) = send(names[0], address, second);
        let expected = json!({"ip": address, "update": stamp, "changed": stamp});
        assert_eq!((word.as_str(), record(names[0])), ("good", expected));
        let (word, update) = send(names[0], address, second + 1);
        let expected = json!({"ip": address, "update": update, "changed": stamp});
        assert_eq!((word.as_str(), record(names[0])), ("nochg", expected));
        scene.write("www/ramcache/ip.txt", &scene.state().replace("    ", "\t"));
    }
    let page = |accept| page(&scene, &Transport::Bare, accept);
    let html = page(BROWSER);
    assert_eq!(html.matches("for 1").count() + html.matches("for 2").count(), 1, "{html}");
    assert!(html.contains(&format!("<small>{}</small>", &time(0)[..10])), "{html}");
    let json: Value = serde_json::from_str(&page(JSON)).unwrap();
    let known = json["hosts"].as_array().unwrap().iter().filter(|host| host["changed"].is_string());
    assert_eq!(known.count(), 1);
    if let Some(samples) = samples(&page(METRICS)) {
        let name = "ddns_host_changed_timestamp_seconds";
        assert_eq!(samples.iter().filter(|sample| sample[0] == name).count(), 1);
    }
    // Without the page again, a change leaves no old date.
    scene.configure(&json!({}));
    let (_, stamp) = send(names[0], "192.0.2.4", -8);
    assert_eq!(record(names[0]), json!({"ip": "192.0.2.4", "update": stamp}));
}

#[test]
fn each_host_of_a_request_is_dated_by_itself_when_a_prefix_moves() {
    let scene = Scene::new();
    scene.configure(&json!({"status_page": true, "dyndns2": "any"}));
    let hosts = ["host1.h.lohray.com", "host2.h.lohray.com"];
    let old = "2026-01-01 00:00:00";
    let record = |address| json!({"ip6": address, "update": old, "changed": old, "note": 1});
    let state = json!({hosts[0]: record("2001:db8:1::1"), hosts[1]: record("2001:db8:2::2")});
    scene.write("www/ramcache/ip.txt", &state.to_string());
    let query = format!("hostname={}&myipv6=2001:db8:1::/48", hosts.join(","));
    let header = format!("Authorization: {}", crate::password::basic("user1:secretkey1"));
    let request =
        Request { path: "/nic/update", query: Some(&query), headers: &[&header], ..Request::GET };
    let reply = Transport::Bare.page(&scene, &request);
    assert_eq!(reply.body, "nochg 2001:db8:1::1\ngood 2001:db8:1::2\n", "{reply:?}");
    scene.settle();
    let state: Value = serde_json::from_str(&scene.state()).unwrap();
    let [kept, moved] = hosts.map(|host| &state[host]);
    assert_eq!((&kept["changed"], &moved["changed"]), (&json!(old), &moved["update"]));
    assert_ne!(moved["update"], old);
    assert_eq!((&kept["note"], &moved["note"]), (&json!(1), &json!(1)));
}

#[test]
fn a_pending_restart_is_shown_with_its_reason_and_not_started() {
    over_all_transports(|scene, transport| {
        let json = || -> Value { serde_json::from_str(&page(scene, transport, JSON)).unwrap() };
        fs::write(scene.mark(), "changed a.example 192.0.2.1\n").unwrap();
        assert_eq!(json()["restart"], json!({"pending": true, "failure": null}));
        assert!(page(scene, transport, BROWSER).contains("a change waits for it"));
        fs::write(scene.mark(), "failed exit status: 1: <b>/sbin/service</b>: no\n").unwrap();
        let reason = "exit status: 1: b>: no";
        assert_eq!(json()["restart"], json!({"pending": true, "failure": reason}));
        assert!(page(scene, transport, BROWSER).contains("exit status: 1: b&#62;: no"));
        assert!(page(scene, transport, METRICS).contains("\nddns_restart_failed 1\n"));
        scene.settle();
        assert!(scene.mark().exists() && scene.restarts().is_empty());
        fs::remove_file(scene.mark()).unwrap();
    });
}

/// Names that only a person or another program puts into a state.
pub const HOSTILE: [&str; 8] = [
    "</table></body><script>alert(1)</script>",
    "\" onmouseover=\"alert(1)",
    "&lt;b&gt;",
    "a\nddns_hosts{condition=\"fresh\"} 99",
    "\\\"} 1\n# TYPE",
    "\u{202e}\u{0}\u{1b}[2Jx",
    "{{ 7 * 7 }}{% raw %}",
    "</style></title><!--",
];

#[test]
fn a_hostile_name_breaks_no_form_of_the_page() {
    let record = json!({"ip": "192.0.2.1", "ip6": "</td>", "update": time(-60)});
    let mut state: Value = serde_json::from_str(&state()).unwrap();
    for name in HOSTILE {
        state[name] = record.clone();
    }
    over_all_transports(|scene, transport| {
        scene.write("www/ramcache/ip.txt", &state.to_string());
        let html = page(scene, transport, BROWSER);
        for (part, count) in [
            ("<script", 0),
            ("</table>", 1),
            ("<td role", 13 * 4),
            ("<style", 1),
            ("<!--", 0),
            ("\" on", 0),
        ] {
            assert_eq!(html.matches(part).count(), count, "{part} in {html}");
        }
        assert!(html.contains("{{ 7 * 7 }}") && html.is_ascii() || html.contains('–'), "{html}");
        assert!(!html.contains(['\u{202e}', '\0', '\u{1b}']), "{html}");
        let json: Value = serde_json::from_str(&page(scene, transport, JSON)).unwrap();
        let named =
            |name| json["hosts"].as_array().unwrap().iter().any(|host| host["host"] == name);
        assert!(HOSTILE.into_iter().all(named), "{json}");
        let Some(samples) = samples(&page(scene, transport, METRICS)) else { return };
        let fresh: Vec<&Value> =
            samples.iter().filter(|sample| sample[1] == json!({"condition": "fresh"})).collect();
        assert_eq!(fresh, [&json!(["ddns_hosts", {"condition": "fresh"}, 1.0])]);
        for name in HOSTILE {
            let sample =
                json!(["ddns_host_address_info", {"host": name, "address": "192.0.2.1"}, 1.0]);
            assert!(samples.contains(&sample), "{name:?} in {samples:?}");
        }
    });
}

#[test]
fn a_broken_state_is_said_to_be_so_without_detail() {
    over_all_transports(|scene, transport| {
        for state in ["{\"fresh.example\": {", "[1]", "\u{feff}{}"] {
            scene.write("www/ramcache/ip.txt", state);
            for (accept, text) in [
                (BROWSER, "<h1>The state cannot be read</h1>"),
                (JSON, "\"error\": \"911\""),
                (METRICS, "# 911\n"),
            ] {
                let page = ask(scene, transport, "GET", "/status", &[accept]);
                assert_eq!(page.status, 503, "{page:?}");
                assert!(page.body.contains(text), "{page:?}");
                assert!(page.headers.contains("Retry-After: "), "{page:?}");
                for detail in ["ramcache", "ip.txt", "line 1", "fresh.example"] {
                    assert!(!page.body.contains(detail), "{page:?}");
                }
                let log = log(scene, transport, &page);
                assert!(log.contains("ddns-cgi: 911 address=127.0.0.10 file="), "{log}");
                assert!(log.contains("ip.txt") && log.contains("broken"), "{log}");
            }
            assert_eq!(scene.state(), state);
        }
    });
}

#[test]
fn a_state_that_is_missing_is_shown_as_the_next_update_will_find_it() {
    let scene = scene();
    fs::remove_file(scene.path("www/ramcache/ip.txt")).unwrap();
    let json: Value = serde_json::from_str(&page(&scene, &Transport::Bare, JSON)).unwrap();
    assert_eq!(json["counts"], json!({"fresh": 0, "late": 0, "silent": 3, "broken": 0}));
    assert_eq!(json["hosts"][0]["addresses"], json!(["129.118.243.10"]));
    assert!(!scene.path("www/ramcache/ip.txt").exists());
    fs::remove_file(scene.path("www/ramcache/hosts.dns")).unwrap();
    assert!(page(&scene, &Transport::Bare, BROWSER).contains("<h1>No hosts yet</h1>"));
}

#[test]
fn a_state_too_large_is_not_read_for_the_page_either() {
    let scene = scene();
    let file = fs::File::create(scene.path("www/ramcache/ip.txt")).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    let started = Instant::now();
    let page = ask(&scene, &Transport::Bare, "GET", "/status", &[BROWSER]);
    assert!(page.status == 503 && page.log.contains("bytes, over"), "{page:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_page_takes_no_lock_and_opens_four_files_to_read() {
    let scene = scene();
    let lock = fs::File::create(scene.path("www/ramcache/.ip.txt.lock")).unwrap();
    fs2::FileExt::lock_exclusive(&lock).unwrap();
    fs::write(scene.mark(), "failed x\n").unwrap();
    assert!(page(&scene, &Transport::Bare, BROWSER).contains("x. The next update tries again"));
    if can_run("what the status page opens", &[STRACE]) {
        let trace = scene.path("run/trace");
        let words = [STRACE, "-f", "-y", "-o", trace.to_str().unwrap()];
        let cgi = scene.cgi("127.0.0.10", "").env("PATH_INFO", "/status").by(&words);
        assert_eq!(cgi.page().status, 200);
        let trace = scene.read("run/trace");
        let opened: Vec<&str> = trace
            .lines()
            .filter(|line| line.contains(" open(") || line.contains(" openat("))
            .filter(|line| line.contains(scene.path("").to_str().unwrap()))
            .collect();
        let names =
            ["etc/config.json\"", "ip.txt\"", ".hosts.dns.pending\"", "etc/credentials.json\""];
        assert_eq!(opened.len(), names.len(), "{opened:#?}");
        for (line, name) in opened.iter().zip(names) {
            assert!(line.contains(name) && line.contains(", O_RDONLY|"), "{line}");
            assert!(line.contains("O_CLOEXEC"), "{line}");
            assert!(!line.contains("O_CREAT") && !line.contains("O_TRUNC"), "{line}");
        }
        for call in ["flock(", "clone", "fork", "rename", "unlink", "pwrite", "utimensat"] {
            assert!(!trace.contains(call), "{call} in {trace}");
        }
    }
    fs::remove_file(scene.mark()).unwrap();
}

#[test]
fn ten_thousand_hosts_are_shown_in_under_a_second() {
    let scene = scene();
    let record = |n: u32| {
        let fields = json!({"ip": format!("10.{}.{}.1", n / 256, n % 256), "ip6": format!("2001:db8::{n:x}"),
            "update": time(-i64::from(n) * 20), "changed": time(-i64::from(n) * 60)});
        (format!("host{n:05}.some.example"), fields)
    };
    let user = |n: u32| {
        let hosts: Vec<String> =
            (10 * n..10 * n + 10).map(|n| format!("host{n:05}.some.example")).collect();
        (format!("user{n}"), json!({"id": hosts, "key": "secretkey", "every": {&hosts[0]: 900}}))
    };
    scene.write("etc/credentials.json", &Value::Object((0..1000).map(user).collect()).to_string());
    scene.write(
        "www/ramcache/ip.txt",
        &Value::Object((0..10_000).map(record).collect()).to_string(),
    );
    for (name, accept) in [("HTML", BROWSER), ("JSON", JSON), ("metrics", METRICS)] {
        let mut durations: Vec<(Duration, usize)> = (0..5)
            .map(|_| {
                let started = Instant::now();
                let body = page(&scene, &Transport::Bare, accept);
                (started.elapsed(), body.len())
            })
            .collect();
        durations.sort();
        let (median, length) = durations[2];
        tell(&format!(
            "measured: the status page of 10,000 hosts as {name}: {median:.0?}, {length} bytes"
        ));
        // A build without optimization takes ten times as long.
        let bound = if std::env::var_os("DDNS_CGI").is_some() { 1 } else { 10 };
        assert!(median < Duration::from_secs(bound), "{name}: {median:?}");
    }
}

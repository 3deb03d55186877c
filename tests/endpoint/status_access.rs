//! Who sees the status page: what the program decides, over every transport, and passwords.

use std::net::UdpSocket;
use std::process::Command;

use serde_json::{Value, json};

use crate::apache::{APACHE, Apache, Kind, load};
use crate::nginx::{self, NGINX};
use crate::scene::{Scene, can_run, tell};
use crate::status::{BROWSER, JSON, METRICS, log, scene};
use crate::transport::{Request, Transport};
use crate::web_servers::{SETTINGS, block_of};

const HTPASSWD: &str = "/usr/bin/htpasswd";

/// Lets `X-Client` tell Apache the client's address, as a proxy in front would.
const PROXY: &str = "LoadModule remoteip_module modules/mod_remoteip.so\n\
                     RemoteIPHeader X-Client\nRemoteIPTrustedProxy 127.0.0.0/8\n";

/// An address of this machine that is not a loopback one. From there, a connection to a loopback address
/// comes from outside, as far as a web server can tell.
pub fn outside() -> Option<String> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    // This sends nothing; the kernel only chooses an address.
    let address = socket.connect(("198.51.100.1", 9)).and_then(|()| socket.local_addr());
    let address = address.ok().map(|address| address.ip());
    if address.is_none() {
        assert!(std::env::var_os("DDNS_TEST_ALL").is_none(), "there is no network");
        tell("SKIPPED the status page from outside: it needs a network");
    }
    address.map(|address| address.to_string())
}

/// What makes Apache's files ask for a password.
pub const PASSWORD: [(&str, &str); 7] = [
    ("#<If", "<If"),
    ("#    AuthType", "AuthType"),
    ("#    AuthName", "AuthName"),
    ("#    AuthUserFile", "AuthUserFile"),
    ("#    Require local", "Require local"),
    ("#    Require valid-user", "Require valid-user"),
    ("#</If>", "</If>"),
];

/// Turns the page on, for these.
pub fn show_to(scene: &Scene, status_for: &Value) {
    scene.configure(&json!({"status_page": true, "status_for": status_for}));
}

/// Makes the file of passwords.
fn make_password(scene: &Scene) -> String {
    let file = scene.path("etc/status.htpasswd");
    let made = Command::new(HTPASSWD).arg("-bc").arg(&file).args(["alice", "word"]).output();
    assert!(made.unwrap().status.success());
    file.display().to_string()
}

#[test]
fn by_default_this_machine_alone_sees_the_page() {
    let Some(outside) = outside() else { return };
    for (scene, transport) in Transport::all("who sees the status page", scene) {
        let ask = |address, method, headers: &[&str]| {
            let script = Some("/ip.php");
            let path = "/status";
            let request = Request { method, address, script, path, headers, ..Request::GET };
            transport.page(&scene, &request)
        };
        for address in ["127.0.0.1", "127.0.0.10"] {
            assert_eq!(ask(address, "GET", &[BROWSER]).status, 200, "{address}");
            let page = ask(address, "GET", &[BROWSER, "X-Forwarded-For: 198.51.100.7"]);
            assert_eq!((page.status, page.body.as_str()), (403, "forbidden\n"));
            let log = log(&scene, &transport, &page);
            assert!(log.contains("reason=\"header X-Forwarded-For shows"), "{log}");
        }
        for method in ["GET", "HEAD", "POST"] {
            for accept in [BROWSER, JSON, METRICS] {
                // What a client says of itself does not count.
                let headers = [
                    accept,
                    "X-Forwarded-For: 127.0.0.1",
                    "X-Real-IP: 127.0.0.1",
                    "Remote-Addr: 127.0.0.1",
                    "Server-Addr: 127.0.0.1",
                    "Remote-User: alice",
                    "Auth-Type: Basic",
                    "Authorization: Basic YWxpY2U6d29yZA==",
                ];
                for headers in [&headers[..1], &headers] {
                    let page = ask(&outside, method, headers);
                    assert_eq!(page.status, 403, "{page:?}");
                    assert_eq!(page.body, if method == "HEAD" { "" } else { "forbidden\n" });
                    let log = log(&scene, &transport, &page);
                    let line = format!("ddns-cgi: forbidden address={outside} reason=");
                    assert!(log.contains(&line) && log.contains("status_for"), "{log}");
                }
            }
        }
    }
}

#[test]
fn networks_that_are_listed_see_the_page_and_no_others() {
    let Some(outside) = outside() else { return };
    for (scene, transport) in Transport::all("networks that see the status page", scene) {
        for (status_for, expected) in [
            (json!([format!("{outside}/32")]), 200),
            (json!(["2001:db8::/32", outside]), 200),
            (json!(["0.0.0.0/0"]), 200),
            (json!(["198.51.100.7", "::/0", "127.0.0.0/8"]), 403),
            (json!([]), 403),
        ] {
            show_to(&scene, &status_for);
            for (address, expected) in [("127.0.0.10", 200), (&outside, expected)] {
                let request = Request {
                    address,
                    script: Some("/ip.php"),
                    path: "/status",
                    headers: &[JSON],
                    ..Request::GET
                };
                let page = transport.page(&scene, &request);
                assert_eq!(page.status, expected, "{address} {status_for} {page:?}");
            }
        }
    }
}

#[test]
fn no_query_shows_anything_to_others() {
    let Some(outside) = outside() else { return };
    let long = format!("find={}", "x".repeat(9000));
    let scene = scene();
    for query in ["find=fresh", "show=fresh", "refresh=60", "find=%", &long] {
        for (settings, expected) in [(json!({"status_page": true}), 403), (json!({}), 404)] {
            scene.configure(&settings);
            let page = scene.cgi(&outside, query).env("PATH_INFO", "/status").page();
            assert_eq!(page.status, expected, "{query}");
            assert!(!page.body.contains("example") && !page.headers.contains("html"), "{page:?}");
        }
    }
}

#[test]
fn nginxs_own_location_for_the_password_passes_the_query_on() {
    if !can_run("a filter behind a password of nginx", &[NGINX, HTPASSWD]) {
        return;
    }
    let scene = scene();
    let file = make_password(&scene);
    let lines = block_of(SETTINGS, "nginx", "auth_basic");
    let server = nginx::start_with(&scene, &lines.replace("/etc/ddns-cgi/status.htpasswd", &file));
    let options = ["--user", "alice:word", "--header", BROWSER];
    let page = server.page("127.0.0.1", "/ip.php/status?show=late", &options);
    assert!(page.body.contains(">1 of 5 hosts<"), "{page:?}");
}

#[test]
fn the_address_at_which_a_request_arrived_is_this_machine() {
    let scene = scene();
    for (server, expected) in [("192.0.2.1", 200), ("192.0.2.2", 403), ("", 403)] {
        let cgi = scene.cgi("192.0.2.1", "").env("PATH_INFO", "/status");
        assert_eq!(cgi.env("SERVER_ADDR", server).page().status, expected, "{server}");
    }
}

#[test]
fn every_spelling_of_the_path_is_refused_to_others() {
    for kind in Kind::all("paths of the status page", &[]) {
        let scene = scene();
        let changes = [("#ScriptAlias \"/ip\"", "ScriptAlias \"/other\"")];
        let apache = Apache::start_with(&scene, kind, PROXY, &changes);
        let status = |path: &str, options: &[&str]| apache.page("127.0.0.1", path, options).status;
        let outside = ["--header", "X-Client: 198.51.100.7"];
        let own = apache.curl("127.0.0.1", "/ip.php/ip", &outside).line;
        assert_eq!(own, "198.51.100.7", "the proxy's word counts");
        for path in [
            "/ip.php/status",
            "/other/status",
            "/ip.php//status",
            "/ip.php/%73tatus",
            "//ip.php/./status",
        ] {
            assert_eq!(status(path, &[]), 200, "{path}");
            assert_eq!(status(path, &outside), 403, "{path}");
        }
        for path in ["/ip.php/STATUS", "/ip.php/status/", "/ip.php/x/status", "/ip.php?/status"] {
            assert_eq!(
                apache.curl("127.0.0.1", path, &outside).line,
                "badrequest missing user",
                "{path}"
            );
        }
    }
}

#[test]
fn the_lines_of_the_shipped_file_ask_others_for_a_password() {
    if !can_run("a password for the status page", &[APACHE, HTPASSWD]) {
        return;
    }
    let scene = scene();
    let lines = load(&["auth_basic", "authn_core", "authn_file", "authz_user"]) + PROXY;
    make_password(&scene);
    let apache = Apache::start_with(&scene, Kind::EventCgid, &lines, &PASSWORD);
    let status = |options: &[&str]| {
        let outside = ["--header", "X-Client: 198.51.100.7"];
        apache.page("127.0.0.1", "/ip.php/status", &[&outside, options].concat()).status
    };
    for (status_for, with_password) in [(json!([]), 403), (json!(["users"]), 200)] {
        show_to(&scene, &status_for);
        assert_eq!(status(&[]), 401);
        assert_eq!(status(&["--user", "alice:wrong"]), 401);
        assert_eq!(status(&["--user", "alice:word"]), with_password, "{status_for}");
        let here = apache.page("127.0.0.1", "/ip.php/status", &[]).status;
        assert_eq!(here, 200, "here, without one");
    }
}

#[test]
fn a_user_without_a_check_of_the_password_does_not_see_the_page() {
    let scene = scene();
    show_to(&scene, &json!(["users"]));
    let page = |variables: &[(&str, &str)]| {
        let cgi = scene.cgi("198.51.100.7", "").env("PATH_INFO", "/status");
        variables.iter().fold(cgi, |cgi, (name, value)| cgi.env(name, value)).page()
    };
    assert_eq!(page(&[("REMOTE_USER", "alice"), ("AUTH_TYPE", "Basic")]).status, 200);
    // What nginx makes of `curl --user alice:x` with its fastcgi_params, without auth_basic.
    let unchecked = page(&[("REMOTE_USER", "alice")]);
    assert_eq!(unchecked.status, 403);
    assert!(unchecked.log.contains("sets no AUTH_TYPE"), "{unchecked:?}");
    for variables in [&[("AUTH_TYPE", "Basic")][..], &[("HTTP_REMOTE_USER", "alice")], &[]] {
        assert_eq!(page(variables).status, 403, "{variables:?}");
    }
}

#[test]
fn nginx_that_names_a_user_without_a_password_lets_nobody_in() {
    if !can_run("a user without a password through nginx", &[NGINX]) {
        return;
    }
    let Some(outside) = outside() else { return };
    let scene = scene();
    show_to(&scene, &json!(["users"]));
    // As an operator may write it who knows Debian's fastcgi_params, and forgets the password.
    let server = nginx::start_with(
        &scene,
        "location = /ip.php/status { include /etc/nginx/fastcgi_params; \
         fastcgi_param SCRIPT_NAME /ip.php; fastcgi_param PATH_INFO /status; \
         fastcgi_pass ddns-cgi; }\n",
    );
    let page = server.page(&outside, "/ip.php/status", &["--user", "alice:word"]);
    assert_eq!(page.status, 403);
    let log = scene.read(server.log());
    assert!(log.contains("the web server names a user, but sets no AUTH_TYPE"), "{log}");
}

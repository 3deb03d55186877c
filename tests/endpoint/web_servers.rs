//! `docs/web-servers.md`: its settings as printed, and what every web server has to do.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::json;

use crate::apache::Apache;
use crate::caddy::{self, CADDY};
use crate::fastcgi_client::FastCgi;
use crate::lighttpd::{self, LIGHTTPD};
use crate::nginx::{self, NGINX};
use crate::scene::{Scene, can_run, eventually, free_port, host1, signed, time};
use crate::server::Server;
use crate::status_access::{outside, show_to};
use crate::transport::Way;

const PAGE: &str = include_str!("../../docs/web-servers.md");
pub const SETTINGS: &str = include_str!("../../docs/configuration.md");

const HTPASSWD: &str = "/usr/bin/htpasswd";
const SPAWN_FCGI: &str = "/usr/bin/spawn-fcgi";

/// The one block of the page in this language that contains this text.
fn block(language: &str, text: &str) -> String {
    block_of(PAGE, language, text)
}

pub fn block_of(page: &str, language: &str, text: &str) -> String {
    let opening = format!("```{language}\n");
    let blocks = page.split(opening.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap());
    let found: Vec<&str> = blocks.filter(|block| block.contains(text)).collect();
    let [block] = *found else { panic!("{text}: {found:?}") };
    block.to_owned()
}

/// The lines for nginx with fcgiwrap.
pub fn fcgiwrap() -> String {
    block("nginx", "/run/fcgiwrap.socket")
}

/// The lines for lighttpd with `mod_cgi`.
pub fn lighttpd_cgi() -> String {
    block("lighttpd", "cgi.assign")
}

/// The lines for a lighttpd that starts the program itself.
pub fn lighttpd_own() -> String {
    block("lighttpd", "bin-path")
}

/// The lines for Apache with `mod_fcgid`.
pub fn fcgid() -> String {
    block("apache", "fcgid-script")
}

/// The ways through a socket of systemd, with the shipped files.
const THROUGH_SOCKET: [Way; 4] = [Way::ApacheFastCgi, Way::Nginx, Way::Lighttpd, Way::Caddy];

#[test]
fn every_server_finds_a_program_that_was_started_again() {
    for way in THROUGH_SOCKET.into_iter().filter(|way| way.can_run("starting again")) {
        let scene = Scene::new();
        let mut server = way.start_server(&scene);
        for round in 0..3 {
            // On connections that are kept, and on new ones.
            for _ in 0..5 {
                let reply = server.curl("127.0.0.10", "/ip.php/ip", &[]);
                assert_eq!(reply.line, "127.0.0.10", "{way:?}: {round}");
                let reply = server.curl("127.0.0.10", "/ip.php", &["--data", "user=x"]);
                assert_eq!(reply.line, "badrequest missing id", "{way:?}: {round}");
            }
            let application = server.application().unwrap();
            let first = application.pid();
            let status = application.stop();
            assert!(status.success(), "{way:?}: {status}");
            *application = FastCgi::start(&scene);
            assert_ne!(application.pid(), first);
        }
        // If there is none for a while, the next request is served all the same.
        server.application().unwrap().stop();
        for _ in 0..5 {
            let without = server.page("127.0.0.10", "/ip.php/ip", &[]).status;
            assert!([502, 503].contains(&without), "{way:?}: {without}");
        }
        *server.application().unwrap() = FastCgi::start(&scene);
        // lighttpd takes a moment before it tries again.
        let began = Instant::now();
        eventually("it is found", || {
            server.curl("127.0.0.10", "/ip.php/ip", &[]).line == "127.0.0.10"
        });
        let limit = Duration::from_secs(if way.is_lighttpd() { 10 } else { 1 });
        assert!(began.elapsed() < limit, "{way:?}");
    }
}

/// A process that spawn-fcgi has started; stopped when dropped.
struct Spawned(Pid);

impl Spawned {
    /// Runs a command of the page, with `changes`.
    fn start(scene: &Scene, command: &str, changes: &[(&str, &str)]) -> Self {
        let path = |name| scene.path(name).display().to_string();
        let pid = path("run/ddns-cgi.pid");
        let bin = path("bin");
        let own = [("/run/ddns-cgi.pid", &*pid), ("/usr/lib/ddns-cgi", &bin)];
        let command = crate::server::replaced(command.to_owned(), &[changes, &own].concat());
        let output = Command::new("sh")
            .args(["-ec", &command])
            .env("DDNS_CONFIG", path("etc/config.json"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        let pid = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        Self(Pid::from_raw(pid).unwrap())
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::TERM);
        let is_gone = || test_kill_process(self.0).is_err();
        if !std::thread::panicking() {
            eventually("the spawned process ends", is_gone);
        }
    }
}

#[test]
fn spawn_fcgi_starts_the_program_without_systemd() {
    if !can_run("spawn-fcgi", &["root", SPAWN_FCGI, NGINX]) {
        return;
    }
    let scene = Scene::new();
    let run = scene.path("run").display().to_string();
    let folder = format!("{run}/socket");
    let command = block("sh", "spawn-fcgi -s").replace("/run/ddns-cgi\n", &format!("{folder}\n"));
    let socket = ("/run/ddns-cgi/", &*format!("{folder}/"));
    let _process = Spawned::start(&scene, &command, &[socket]);
    let server = nginx::start_for(&scene, &format!("unix:{run}/socket/ddns-cgi.sock"), "");
    assert_eq!(server.answer("127.0.0.11", &host1()), "good 127.0.0.11");
    scene.settle();
    assert_eq!(scene.restarts().len(), 1);
}

#[test]
fn over_tcp_only_web_servers_that_are_named_are_served() {
    if !can_run("FastCGI over TCP", &["root", SPAWN_FCGI, NGINX]) {
        return;
    }
    let Some(outside) = outside() else { return };
    let port = free_port();
    for (named, expected) in [("192.0.2.81", 502), (&outside, 200)] {
        let scene = Scene::new();
        let command = block("sh", "FCGI_WEB_SERVER_ADDRS");
        let port = port.to_string();
        let changes = [("192.0.2.80", named), ("192.0.2.53", "127.0.0.1"), ("9053", &port)];
        let _process = Spawned::start(&scene, &command, &changes);
        let address = format!("127.0.0.1:{port}");
        let stranger = nginx::start_for(&scene, &address, &format!("fastcgi_bind {outside};\n"));
        let status = stranger.page("127.0.0.10", "/ip.php/ip", &[]).status;
        assert_eq!(status, expected, "{named}");
        drop(stranger);
        let server = nginx::start_for(&scene, &address, "");
        assert_eq!(server.curl("127.0.0.10", "/ip.php/ip", &[]).line, "127.0.0.10");
    }
}

/// A server with the lines of the table about proxies, for the proxy 127.0.0.1.
fn behind_a_proxy(scene: &Scene, way: Way) -> Server {
    let row = |name: &str| {
        let row = PAGE.lines().find(|line| line.starts_with(&format!("| {name} | `"))).unwrap();
        let parts: Vec<_> = row.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        parts.iter().map(|part| part.replace("192.0.2.80", "127.0.0.1")).collect::<Vec<_>>()
    };
    match way {
        Way::ApacheFastCgi => {
            let module = crate::apache::load(&["remoteip"]);
            let lines = module + &row("Apache")[..2].join("\n") + "\n";
            Apache::start_with_fastcgi_and(scene, &lines, &[]).0
        }
        Way::Nginx => nginx::start_with(scene, &(row("nginx").join("\n") + "\n")),
        Way::Lighttpd => {
            let module = "server.modules += ( \"mod_extforward\" )\n";
            lighttpd::start_with(scene, &format!("{module}{}\n", row("lighttpd")[0]))
        }
        Way::Caddy => caddy::start_with(scene, "", &row("Caddy 2.6")[0]),
        _ => panic!("{way:?}"),
    }
}

#[test]
fn behind_a_proxy_the_address_is_what_the_proxy_says() {
    for way in THROUGH_SOCKET.into_iter().filter(|way| way.can_run("proxies")) {
        let scene = Scene::new();
        let server = behind_a_proxy(&scene, way);
        // The proxy has added the address to what the client claims.
        let headers = ["X-Forwarded-For: 192.0.2.99, 198.51.100.7", "X-Real-IP: 198.51.100.7"];
        let options = ["--header", headers[0], "--header", headers[1]];
        let told = |address: &str| server.curl(address, "/ip.php/ip", &options).line;
        assert_eq!(told("127.0.0.1"), "198.51.100.7", "{way:?}");
        if way != Way::Caddy {
            assert_eq!(told("127.0.0.10"), "127.0.0.10", "{way:?}: it is no proxy");
        }
        let wrong = signed("user1", "k", "host1.h.lohray.com", &time(0));
        server.curl("127.0.0.1", &format!("/ip.php?{wrong}"), &options);
        let line = "badauth address=198.51.100.7 ";
        eventually("the log has it", || scene.read(server.log()).contains(line));
    }
}

/// A server with the changes that the page about settings names for a proxy that ends HTTPS.
fn behind_https(scene: &Scene, way: Way) -> Server {
    let named = |text: &'static str| {
        assert!(SETTINGS.contains(&format!("`{text}`")), "{text}");
        text
    };
    match way {
        Way::ApacheFastCgi => {
            let line = named("SetEnvIf X-Forwarded-Proto");
            let change = (&*format!("#{line}"), line);
            let module = crate::apache::load(&["setenvif"]);
            Apache::start_with_fastcgi_and(scene, &module, &[change]).0
        }
        Way::Nginx => {
            let change = (named("$https"), named("on"));
            nginx::start_with_changes(scene, "", &[change])
        }
        Way::Lighttpd => behind_a_proxy(scene, way),
        Way::Caddy => caddy::start_with(scene, "", named("env HTTPS on")),
        _ => panic!("{way:?}"),
    }
}

#[test]
fn behind_a_proxy_that_ends_https_dyndns2_is_served() {
    for way in THROUGH_SOCKET.into_iter().filter(|way| way.can_run("HTTPS of a proxy")) {
        let scene = Scene::new();
        let server = behind_https(&scene, way);
        let query = "/nic/update?hostname=host1.h.lohray.com&myip=192.0.2.1";
        let options = ["--user", "user1:secretkey1", "--header", "X-Forwarded-For: 198.51.100.7"];
        let told = |address: &str, proto: &str| {
            let proto = ["--header", proto];
            server.curl(address, query, &[&options[..], &proto].concat()).line
        };
        assert_eq!(told("127.0.0.1", "X-Forwarded-Proto: https"), "good 192.0.2.1", "{way:?}");
        // nginx and Caddy believe every request.
        if matches!(way, Way::ApacheFastCgi | Way::Lighttpd) {
            assert_eq!(told("127.0.0.1", "X-Forwarded-Proto: http"), "insecure", "{way:?}");
        }
        if way == Way::Lighttpd {
            assert_eq!(told("127.0.0.10", "X-Forwarded-Proto: https"), "insecure", "no proxy");
        }
    }
}

#[test]
fn each_server_can_ask_for_a_password_for_the_status_page() {
    let Some(outside) = outside() else { return };
    if !can_run("passwords for the status page", &[HTPASSWD, NGINX, LIGHTTPD, CADDY]) {
        return;
    }
    let starts: [fn(&Scene) -> Server; 4] = [
        |scene| {
            let modules = ["auth_basic", "authn_core", "authn_file", "authz_user"];
            let lines = crate::apache::load(&modules);
            Apache::start_with_fastcgi_and(scene, &lines, &crate::status_access::PASSWORD).0
        },
        |scene| {
            let lines = block_of(SETTINGS, "nginx", "auth_basic");
            let file = scene.path("etc/status.htpasswd").display().to_string();
            nginx::start_with(scene, &lines.replace("/etc/ddns-cgi/status.htpasswd", &file))
        },
        |scene| {
            let file = scene.path("etc/status.htpasswd");
            let lines = format!(
                "server.modules += ( \"mod_auth\", \"mod_authn_file\" )\n\
                 auth.backend = \"htpasswd\"\nauth.backend.htpasswd.userfile = \"{}\"\n\
                 auth.require = ( \"/ip.php/status\" => ( \"method\" => \"basic\", \
                 \"realm\" => \"Dynamic DNS\", \"require\" => \"valid-user\" ) )\n",
                file.display()
            );
            lighttpd::start_with(scene, &lines)
        },
        |scene| {
            let made = Command::new(CADDY).args(["hash-password", "--plaintext", "word"]).output();
            let hash = String::from_utf8(made.unwrap().stdout).unwrap();
            let lines = format!("basicauth /ip.php/status {{\nalice {}\n}}\n", hash.trim());
            caddy::start_with(scene, &lines, "env AUTH_TYPE Basic")
        },
    ];
    // Of Apache's lines, one lets this machine in without.
    for (start, here) in starts.into_iter().zip([200, 401, 401, 401]) {
        let scene = Scene::new();
        let file = scene.path("etc/status.htpasswd");
        let made = Command::new(HTPASSWD).arg("-bc").arg(&file).args(["alice", "word"]).output();
        assert!(made.unwrap().status.success());
        let server = start(&scene);
        let status = |options: &[&str]| server.page(&outside, "/ip.php/status", options).status;
        for (status_for, with_password) in [(json!([]), 403), (json!(["users"]), 200)] {
            show_to(&scene, &status_for);
            assert_eq!(status(&[]), 401);
            assert_eq!(status(&["--user", "alice:wrong"]), 401);
            assert_eq!(status(&["--user", "mallory:word"]), 401);
            assert_eq!(status(&["--user", "alice:word"]), with_password, "{status_for}");
            // Other ways to write the path, which might pass by the question.
            for path in
                ["/ip.php//status", "/ip.php/%73tatus", "//ip.php/./status", "/IP.PHP/status"]
            {
                let page = server.page(&outside, path, &["--user", "mallory:x"]);
                assert!(page.status >= 400, "{path}: {page:?}");
            }
        }
        assert_eq!(server.page("127.0.0.1", "/ip.php/status", &[]).status, here);
        let own = server.curl(&outside, "/ip.php/ip", &[]);
        assert_eq!(own.line, outside, "nothing else needs a password");
    }
}

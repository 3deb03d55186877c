//! A private web server in front of a scene: what all of them have in common.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::fastcgi_client::FastCgi;
use crate::scene::{Page, Reply, Scene, eventually, free_port, is_root, lines_of, web_user};

/// A running web server, with what it needs beside it. Both are stopped when it is dropped.
pub struct Server {
    process: Child,
    ports: Ports,
    log: &'static str,
    application: Option<FastCgi>,
}

/// Where a server listens.
#[derive(Clone, Copy)]
pub struct Ports {
    /// On the loopback addresses.
    pub http: u16,
    /// On 127.0.0.1, if the scene has a certificate.
    pub https: Option<u16>,
}

impl Ports {
    pub fn free(scene: &Scene) -> Self {
        let has_certificate = scene.path(CERTIFICATE).exists();
        Self { http: free_port(), https: has_certificate.then(free_port) }
    }
}

/// The server's certificate in a scene.
pub const CERTIFICATE: &str = "run/certificate.pem";
/// Its key.
pub const KEY: &str = "run/key.pem";

impl Server {
    /// Starts a server that has its configuration already. `log` is the file of the scene where it puts
    /// the lines of the program.
    pub fn start(
        command: &mut Command,
        ports: Ports,
        log: &'static str,
        application: Option<FastCgi>,
    ) -> Self {
        let process = command.spawn().unwrap();
        let mut server = Self { process, ports, log, application };
        eventually("the server listens", || {
            assert!(server.process.try_wait().unwrap().is_none(), "it has ended: {command:?}");
            TcpStream::connect(("127.0.0.1", ports.http)).is_ok()
        });
        server
    }

    /// The program, if it was started beside the server and not by it.
    pub fn application(&mut self) -> Option<&mut FastCgi> {
        self.application.as_mut()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports.http)
    }

    pub fn https_url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.ports.https.unwrap())
    }

    /// The file of the scene where the lines of the program are.
    pub fn log(&self) -> &'static str {
        self.log
    }

    /// The one line of the answer to a GET.
    pub fn answer(&self, address: &str, query: &str) -> String {
        self.curl(address, &format!("/ip.php?{query}"), &[]).line
    }

    /// A client's request with curl, from `address`; the reply is one line, where it is of the program.
    pub fn curl(&self, address: &str, path_and_query: &str, options: &[&str]) -> Reply {
        Reply::of_page(self.page(address, path_and_query, options))
    }

    /// A client's request with curl, from `address`.
    pub fn page(&self, address: &str, path_and_query: &str, options: &[&str]) -> Page {
        let host = if address.contains(':') { "[::1]" } else { "127.0.0.1" };
        let url = format!("http://{host}:{}{path_and_query}", self.ports.http);
        curl(&url, &[&["--interface", address], options].concat())
    }

    /// A request over HTTPS, by a client that knows the certificate.
    pub fn https(&self, scene: &Scene, path_and_query: &str, options: &[&str]) -> Reply {
        let certificate = scene.path(CERTIFICATE);
        let known = ["--cacert", certificate.to_str().unwrap()];
        let url = format!("https://127.0.0.1:{}{path_and_query}", self.ports.https.unwrap());
        Reply::of_page(curl(&url, &[&known, options].concat()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

fn curl(url: &str, options: &[&str]) -> Page {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--http1.1", "--globoff"])
        .args(["--max-time", "30"])
        .args(options)
        .arg(url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{url}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    // After "100 Continue" there is a second block of headers.
    let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
    let (headers, body) = text.split_once("\r\n\r\n").unwrap();
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    Page { status, headers: headers.to_owned(), body: body.to_owned(), log: String::new() }
}

impl Reply {
    /// The reply in a page, where it is of the program.
    fn of_page(page: Page) -> Self {
        let Page { status, headers, body, log } = page;
        let is_ours = headers.contains("text/plain; charset=utf-8") && !body.is_empty();
        let line = if is_ours { lines_of(&body) } else { String::new() };
        Self { status, headers, line, log }
    }
}

/// The start of a command that ends with the tests, even if they are killed.
pub fn mortal() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    command
}

/// The same, as the web server's user if we are root.
pub fn mortal_web_user() -> Command {
    let mut command = mortal();
    if is_root() {
        let [user, group] = ["reuid", "regid"].map(|name| format!("--{name}={}", web_user()));
        command.args([&user, &group, "--clear-groups"]);
    }
    command
}

/// Whether clients can come over IPv6.
pub fn has_ipv6() -> bool {
    TcpListener::bind(("::1", 0)).is_ok()
}

/// A shipped file with each of the first texts replaced by the second.
pub fn shipped(file: &str, changes: &[(&str, &str)]) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    replaced(text, changes)
}

/// A text with each of the first texts, which it contains, replaced by the second.
pub fn replaced(mut text: String, changes: &[(&str, &str)]) -> String {
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    text
}

/// Makes a certificate for 127.0.0.1. Servers that start later use it.
pub fn make_certificate(scene: &Scene) {
    let [key, certificate] = [KEY, CERTIFICATE].map(|name| scene.path(name));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    for name in [KEY, CERTIFICATE] {
        scene.hand_over(name);
    }
}

//! A private Apache in front of a scene, with the shipped configuration.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::scene::{Page, Reply, Scene, can_run, eventually, free_port, lines_of};

pub const APACHE: &str = "/usr/sbin/apache2";
pub const MODULES: &str = "/usr/lib/apache2/modules";

/// Which of Apache's process models, with its CGI module.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    PreforkCgi,
    EventCgid,
}

impl Kind {
    /// Each kind that can run here; `needs` are what the test needs beside Apache.
    pub fn all(test: &str, needs: &[&str]) -> impl Iterator<Item = Self> {
        let all = [Self::PreforkCgi, Self::EventCgid];
        all.into_iter().filter(move |kind| kind.can_run(test, needs))
    }

    /// As `scene::can_run`.
    pub fn can_run(self, test: &str, needs: &[&str]) -> bool {
        can_run(&format!("{test} through {self:?}"), &[&[APACHE], needs].concat())
    }

    fn process_model(self) -> &'static str {
        match self {
            Self::PreforkCgi => "prefork",
            Self::EventCgid => "event",
        }
    }
}

/// A running Apache; stopped when dropped.
pub struct Apache {
    process: Child,
    port: u16,
}

impl Apache {
    /// Starts one on a free port of the loopback addresses.
    pub fn start(scene: &Scene, kind: Kind) -> Self {
        Self::start_with(scene, kind, "", &[])
    }

    /// Starts one with lines before the shipped file, and changes to that file: each text, and its
    /// replacement.
    pub fn start_with(scene: &Scene, kind: Kind, lines: &str, changes: &[(&str, &str)]) -> Self {
        let port = free_port();
        let text = frame(scene, kind, port) + lines + &shipped(scene, changes);
        fs::write(scene.path("etc/apache.conf"), text).unwrap();
        let process = Command::new("setpriv")
            // Apache ends with the tests, even if they are killed.
            .args(["--pdeathsig", "TERM", "--", APACHE, "-f"])
            .arg(scene.path("etc/apache.conf"))
            .arg("-DFOREGROUND")
            .stdin(Stdio::null())
            // prefork ends its whole process group when it is stopped.
            .process_group(0)
            .spawn()
            .unwrap();
        let apache = Self { process, port };
        eventually("Apache listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        apache
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The one line of the answer to a GET.
    pub fn answer(&self, address: &str, query: &str) -> String {
        self.curl(address, &format!("/ip.php?{query}"), &[]).line
    }

    /// A client's request with curl, from `address`; the reply is one line, where it is of the program.
    pub fn curl(&self, address: &str, path_and_query: &str, options: &[&str]) -> Reply {
        let Page { status, headers, body, log } = self.page(address, path_and_query, options);
        let is_ours = headers.contains("text/plain; charset=utf-8") && !body.is_empty();
        let line = if is_ours { lines_of(&body) } else { String::new() };
        Reply { status, headers, line, log }
    }

    /// A client's request with curl, from `address`.
    pub fn page(&self, address: &str, path_and_query: &str, options: &[&str]) -> Page {
        let host = if address.contains(':') { "[::1]" } else { "127.0.0.1" };
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--include", "--globoff", "--max-time", "30"])
            .args(["--interface", address])
            .args(options)
            .arg(format!("http://{host}:{}{path_and_query}", self.port))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        // After "100 Continue" there is a second block of headers.
        let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
        let (headers, body) = text.split_once("\r\n\r\n").unwrap();
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        Page { status, headers: headers.to_owned(), body: body.to_owned(), log: String::new() }
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.process.wait();
    }
}

/// The lines that load some modules more.
pub fn load(modules: &[&str]) -> String {
    let line = |name| format!("LoadModule {name}_module modules/mod_{name}.so\n");
    modules.iter().map(line).collect()
}

/// What comes before the shipped file.
fn frame(scene: &Scene, kind: Kind, port: u16) -> String {
    let path = |name| scene.path(name).display().to_string();
    let mut text = include_str!("../apache.conf.template")
        .replace("@RUN@", &path("run"))
        .replace("@PORT@", &port.to_string())
        .replace("@MPM@", kind.process_model());
    text +=
        &format!("StartServers 2\nDocumentRoot {}\nAlias /settings {}\n", path("www"), path("etc"));
    if TcpListener::bind(("::1", 0)).is_ok() {
        text += &format!("Listen [::1]:{port}\n");
    }
    text
}

/// `apache/ddns-cgi.conf` with the scene's paths in the place of the real ones, and with `changes`.
fn shipped(scene: &Scene, changes: &[(&str, &str)]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("apache/ddns-cgi.conf");
    let mut text = fs::read_to_string(file).unwrap();
    let paths = [
        (
            "#SetEnv DDNS_CONFIG /etc/ddns-cgi/other.json",
            format!("SetEnv DDNS_CONFIG {}", scene.path("etc/config.json").display()),
        ),
        ("/usr/lib/ddns-cgi", scene.path("bin").display().to_string()),
        ("/media/data/www/ramcache", scene.path("www/ramcache").display().to_string()),
        ("/etc/ddns-cgi", scene.path("etc").display().to_string()),
    ];
    let paths = paths.iter().map(|(real, scratch)| (*real, scratch.as_str()));
    for (old, new) in paths.chain(changes.iter().copied()) {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    text
}

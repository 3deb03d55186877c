//! A private Apache in front of a scene, with the shipped configuration.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::scene::{Page, Reply, Scene, eventually, is_root, lines_of};

pub const APACHE: &str = "/usr/sbin/apache2";
pub const MODULES: &str = "/usr/lib/apache2/modules";

/// One of Apache's process models, with its CGI module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    PreforkCgi,
    EventCgid,
    /// Like `PreforkCgi`, with PHP serving `*.php`.
    PreforkCgiPhp,
}

impl Kind {
    fn modules(self) -> &'static [&'static str] {
        match self {
            Self::PreforkCgi => &["mpm_prefork", "cgi"],
            Self::EventCgid => &["mpm_event", "cgid"],
            Self::PreforkCgiPhp => &["mpm_prefork", "cgi", "mime", "php"],
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
        Self::start_with(scene, kind, &[])
    }

    /// Starts one with changes to the shipped file: each text to replace, and its replacement.
    pub fn start_with(scene: &Scene, kind: Kind, changes: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut text = configuration(scene, kind, port);
        for (old, new) in changes {
            assert!(text.contains(old), "{old}");
            text = text.replace(old, new);
        }
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

    /// A client's request with curl, from `address`. A reply of the program is one line.
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

pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// The shipped file with the scene's paths, in the smallest frame that runs it.
fn configuration(scene: &Scene, kind: Kind, port: u16) -> String {
    let path = |name| scene.path(name).display().to_string();
    let mut text = String::new();
    for (module, file) in modules(kind) {
        text += &format!("LoadModule {module}_module {MODULES}/{file}\n");
    }
    text += &format!(
        "ServerRoot {root}\nServerName localhost\nPidFile {root}/run/apache.pid\n\
         DefaultRuntimeDir {root}/run\nErrorLog {root}/run/error.log\nLogLevel warn\n\
         Listen 127.0.0.1:{port}\nDocumentRoot {root}/www\n\
         Alias /settings {root}/etc\nStartServers 2\n",
        root = path("").trim_end_matches('/')
    );
    if TcpListener::bind(("::1", 0)).is_ok() {
        text += &format!("Listen [::1]:{port}\n");
    }
    if is_root() {
        text += "User www-data\nGroup www-data\n";
    }
    if kind == Kind::EventCgid {
        text += &format!("ScriptSock {}\n", path("run/cgid.sock"));
    }
    if kind == Kind::PreforkCgiPhp {
        text += "<FilesMatch \".+\\.ph(ar|p|tml)$\">\nSetHandler application/x-httpd-php\n</FilesMatch>\n";
        text += "TypesConfig /etc/mime.types\n";
    }
    text + &shipped(scene)
}

/// The names of the modules and their files.
fn modules(kind: Kind) -> impl Iterator<Item = (&'static str, String)> {
    ["authz_core", "authz_host", "alias", "env"].iter().chain(kind.modules()).map(
        |name| match *name {
            "php" => ("php", php_module()),
            name => (name, format!("mod_{name}.so")),
        },
    )
}

/// `apache/ddns-cgi.conf` with the scene's paths instead of the real ones.
fn shipped(scene: &Scene) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("apache/ddns-cgi.conf");
    let mut text = fs::read_to_string(file).unwrap();
    for (real, scratch) in [
        (
            "#SetEnv DDNS_CONFIG /etc/ddns-cgi/other.json",
            format!("SetEnv DDNS_CONFIG {}", scene.path("etc/config.json").display()),
        ),
        ("/usr/lib/ddns-cgi", scene.path("bin").display().to_string()),
        ("/media/data/www/ramcache", scene.path("www/ramcache").display().to_string()),
        ("/etc/ddns-cgi", scene.path("etc").display().to_string()),
    ] {
        assert!(text.contains(real), "{real}");
        text = text.replace(real, &scratch);
    }
    text
}

/// Debian's PHP module carries its version in its name.
pub fn php_module() -> String {
    fs::read_dir(MODULES)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.starts_with("libphp"))
        .expect("PHP's module for Apache: apt-get install libapache2-mod-php")
}

//! A private Apache in front of a scene, with a shipped configuration.

use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use crate::fastcgi_client::FastCgi;
use crate::scene::{Scene, can_run};
use crate::server::{CERTIFICATE, KEY, Ports, Server, has_ipv6, mortal, shipped};

pub const APACHE: &str = "/usr/sbin/apache2";
pub const MODULES: &str = "/usr/lib/apache2/modules";
pub const FCGID: &str = "/usr/lib/apache2/modules/mod_fcgid.so";

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
pub struct Apache(pub Server);

impl Deref for Apache {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl Apache {
    /// Starts one on a free port of the loopback addresses.
    pub fn start(scene: &Scene, kind: Kind) -> Self {
        Self::start_with(scene, kind, "", &[])
    }

    /// Starts one with lines before the shipped file, and changes to that file: each text, and its
    /// replacement.
    pub fn start_with(scene: &Scene, kind: Kind, lines: &str, changes: &[(&str, &str)]) -> Self {
        let config = scene.path("etc/config.json").display().to_string();
        let config = format!("SetEnv DDNS_CONFIG {config}");
        let named = ("#SetEnv DDNS_CONFIG /etc/ddns-cgi/other.json", &*config);
        let file = in_scene(scene, "apache/ddns-cgi.conf", &[&[named], changes].concat());
        Self::serve(scene, kind, &[lines, &file].concat(), None)
    }

    /// Starts one that speaks FastCGI to the program, which systemd would have started.
    pub fn start_with_fastcgi(scene: &Scene) -> Self {
        Self::start_with_fastcgi_and(scene, "", &[])
    }

    /// The same with lines before the shipped file, and changes to that file.
    pub fn start_with_fastcgi_and(scene: &Scene, lines: &str, changes: &[(&str, &str)]) -> Self {
        let application = FastCgi::start(scene);
        let socket = application.socket().display().to_string();
        let socket = ("/run/ddns-cgi/ddns-cgi.sock", &*socket);
        let file = in_scene(scene, "apache/ddns-cgi-fastcgi.conf", &[&[socket], changes].concat());
        let all = [&load(&["proxy", "proxy_fcgi"]), lines, &file].concat();
        Self::serve(scene, Kind::EventCgid, &all, Some(application))
    }

    /// Starts one whose `mod_fcgid` starts the program. The page has the `lines` for it.
    pub fn start_with_fcgid(scene: &Scene, lines: &str) -> Self {
        let file = in_scene(scene, "apache/ddns-cgi-fastcgi.conf", &[]);
        let (before, rest) = file.split_once("<Proxy").unwrap();
        let (_, rest) = rest.split_once("</Proxy>\n").unwrap();
        let (_, directory) = rest.split_once("    SetHandler").unwrap();
        let (_, after) = directory.split_once("    Options None\n").unwrap();
        let bin = scene.path("bin").display().to_string();
        let run = scene.path("run").display().to_string();
        let config = scene.path("etc/config.json").display().to_string();
        let own = format!(
            "FcgidIPCDir {run}\nFcgidProcessTableFile {run}/fcgid\n\
             FcgidInitialEnv DDNS_CONFIG {config}\n"
        );
        let directory = format!("<Directory \"{bin}\">\n");
        let all = [&load(&["fcgid"]), &own, before, &directory, lines, after].concat();
        Self::serve(scene, Kind::EventCgid, &all, None)
    }

    /// Starts one with lines of configuration.
    pub fn serve(scene: &Scene, kind: Kind, lines: &str, application: Option<FastCgi>) -> Self {
        let ports = Ports::free(scene);
        scene.write("etc/apache.conf", &(frame(scene, kind, ports) + lines));
        let mut command = mortal();
        command.args(["--", APACHE, "-f"]).arg(scene.path("etc/apache.conf")).arg("-DFOREGROUND");
        // prefork ends its whole process group when it is stopped.
        command.stdin(Stdio::null()).process_group(0);
        Self(Server::start(&mut command, ports, "run/error.log", application))
    }
}

/// The lines that load some modules more.
pub fn load(modules: &[&str]) -> String {
    let line = |name| format!("LoadModule {name}_module modules/mod_{name}.so\n");
    modules.iter().map(line).collect()
}

/// What comes before the shipped file.
fn frame(scene: &Scene, kind: Kind, ports: Ports) -> String {
    let path = |name| scene.path(name).display().to_string();
    let mut text = include_str!("../apache.conf.template")
        .replace("@RUN@", &path("run"))
        .replace("@PORT@", &ports.http.to_string())
        .replace("@MPM@", kind.process_model());
    text +=
        &format!("StartServers 2\nDocumentRoot {}\nAlias /settings {}\n", path("www"), path("etc"));
    if has_ipv6() {
        text += &format!("Listen [::1]:{}\n", ports.http);
    }
    if let Some(port) = ports.https {
        text += &load(&["ssl", "setenvif"]);
        text += &format!(
            "Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>\nSSLEngine On\n\
             SSLCertificateFile {}\nSSLCertificateKeyFile {}\n</VirtualHost>\n",
            path(CERTIFICATE),
            path(KEY)
        );
    }
    text
}

/// A shipped file with the scene's paths in the place of the real ones, after `changes`.
fn in_scene(scene: &Scene, file: &str, changes: &[(&str, &str)]) -> String {
    let path = |name| scene.path(name).display().to_string();
    let [bin, state, etc] = ["bin", "www/ramcache", "etc"].map(path);
    let paths = [
        ("/usr/lib/ddns-cgi", &*bin),
        ("/media/data/www/ramcache", &*state),
        ("/etc/ddns-cgi", &*etc),
    ];
    shipped(file, &[changes, &paths].concat())
}

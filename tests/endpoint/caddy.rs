//! A private Caddy in front of a scene, with the shipped configuration.

use crate::fastcgi_client::FastCgi;
use crate::scene::Scene;
use crate::server::{CERTIFICATE, KEY, Ports, Server, has_ipv6, mortal_web_user, shipped};

pub const CADDY: &str = "/usr/bin/caddy";

/// Starts one that speaks FastCGI to the program, which systemd would have started.
pub fn start(scene: &Scene) -> Server {
    start_with(scene, "", "")
}

/// The same with lines before the shipped file, and others in its `transport fastcgi`.
pub fn start_with(scene: &Scene, lines: &str, transport: &str) -> Server {
    let application = FastCgi::start(scene);
    let ports = Ports::free(scene);
    let path = |name| scene.path(name).display().to_string();
    // Caddy writes a second slash before the path.
    let socket = format!("/{}", application.socket().display());
    let transport = format!("split .php\n{transport}\n");
    let changes = [("//run/ddns-cgi/ddns-cgi.sock", &*socket), ("split .php\n", &transport)];
    let file = shipped("caddy/ddns-cgi.caddy", &changes);
    scene.write("etc/ddns-cgi.caddy", &(lines.to_owned() + &file));
    let mut text = include_str!("../Caddyfile.template")
        .replace("@RUN@", &path("run"))
        .replace("@WWW@", &path("www"))
        .replace("@PORT@", &ports.http.to_string())
        .replace("@ADDRESSES@", if has_ipv6() { "127.0.0.1 ::1" } else { "127.0.0.1" })
        .replace("@SNIPPET@", &path("etc/ddns-cgi.caddy"));
    if let Some(port) = ports.https {
        text += &format!(
            "https://127.0.0.1:{port} {{\nbind 127.0.0.1\ntls {} {}\nimport {}\n}}\n",
            path(CERTIFICATE),
            path(KEY),
            path("etc/ddns-cgi.caddy")
        );
    }
    scene.write("etc/Caddyfile", &text);
    let mut command = mortal_web_user();
    command.args(["--", CADDY, "run", "--adapter", "caddyfile", "--config"]);
    command.arg(scene.path("etc/Caddyfile"));
    command.env("HOME", scene.path("run")).env("XDG_CONFIG_HOME", scene.path("run"));
    command.stderr(std::fs::File::create(scene.path("run/caddy.log")).unwrap());
    Server::start(&mut command, ports, LOG, Some(application))
}

/// The program's own standard error: this Caddy drops what comes through FastCGI.
const LOG: &str = "run/fastcgi.log";

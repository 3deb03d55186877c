//! A private nginx in front of a scene, with the shipped configuration.

use std::path::Path;

use crate::fastcgi_client::FastCgi;
use crate::scene::Scene;
use crate::server::{CERTIFICATE, KEY, Ports, Server, has_ipv6, mortal, replaced, shipped};

pub const NGINX: &str = "/usr/sbin/nginx";
pub const FCGIWRAP: &str = "/usr/sbin/fcgiwrap";

/// Starts one that speaks FastCGI to the program, which systemd would have started.
pub fn start(scene: &Scene) -> Server {
    start_with(scene, "")
}

/// The same with lines before the shipped file.
pub fn start_with(scene: &Scene, lines: &str) -> Server {
    start_with_changes(scene, lines, &[])
}

/// The same with changes to the shipped file.
pub fn start_with_changes(scene: &Scene, lines: &str, changes: &[(&str, &str)]) -> Server {
    let application = FastCgi::start(scene);
    let server = format!("unix:{}", application.socket().display());
    let snippet = lines.to_owned() + &shipped("nginx/ddns-cgi.conf", changes);
    write_upstream(scene, &server);
    serve(scene, &snippet, "run/error.log", Some(application))
}

/// Starts one that speaks FastCGI to what listens at this address, with lines before the shipped file.
pub fn start_for(scene: &Scene, address: &str, lines: &str) -> Server {
    write_upstream(scene, address);
    serve(scene, &(lines.to_owned() + &shipped("nginx/ddns-cgi.conf", &[])), "run/error.log", None)
}

fn write_upstream(scene: &Scene, server: &str) {
    let change = ("unix:/run/ddns-cgi/ddns-cgi.sock", server);
    scene.write("etc/upstream.conf", &shipped("nginx/ddns-cgi-upstream.conf", &[change]));
}

/// Starts one that speaks FastCGI to fcgiwrap, which starts the program as a CGI. The page has the
/// `lines` for it, and says what `options` of fcgiwrap do.
pub fn start_with_fcgiwrap(scene: &Scene, options: &[&str], lines: &str) -> Server {
    let application = FastCgi::of(scene, Path::new(FCGIWRAP), options);
    let [socket, bin] = [application.socket().to_owned(), scene.path("bin")];
    let [socket, bin] = [socket, bin].map(|path| path.display().to_string());
    scene.write("etc/upstream.conf", "");
    let paths = [("/run/fcgiwrap.socket", &*socket), ("/usr/lib/ddns-cgi", &bin)];
    let lines = replaced(lines.to_owned(), &paths);
    let change = ("    fastcgi_pass ddns-cgi;\n    fastcgi_keep_conn on;\n", &*lines);
    serve(scene, &shipped("nginx/ddns-cgi.conf", &[change]), "run/fastcgi.log", Some(application))
}

fn serve(scene: &Scene, snippet: &str, log: &'static str, application: Option<FastCgi>) -> Server {
    let ports = Ports::free(scene);
    let path = |name| scene.path(name).display().to_string();
    scene.write("etc/snippet.conf", snippet);
    let mut listen = format!("listen 127.0.0.1:{};", ports.http);
    if has_ipv6() {
        listen += &format!(" listen [::1]:{};", ports.http);
    }
    if let Some(port) = ports.https {
        listen += &format!(
            " listen 127.0.0.1:{port} ssl; ssl_certificate {}; ssl_certificate_key {};",
            path(CERTIFICATE),
            path(KEY)
        );
    }
    let text = include_str!("../nginx.conf.template")
        .replace("@RUN@", &path("run"))
        .replace("@WWW@", &path("www"))
        .replace("@LISTEN@", &listen)
        .replace("@UPSTREAM@", &path("etc/upstream.conf"))
        .replace("@SNIPPET@", &path("etc/snippet.conf"));
    scene.write("etc/nginx.conf", &text);
    let mut command = mortal();
    // Before it has read where its log is, it would write to /var/log.
    command.args(["--", NGINX, "-e"]).arg(scene.path("run/error.log"));
    command.arg("-c").arg(scene.path("etc/nginx.conf"));
    Server::start(&mut command, ports, log, application)
}

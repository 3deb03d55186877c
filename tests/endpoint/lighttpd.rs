//! A private lighttpd in front of a scene, with the shipped configuration.

use crate::fastcgi_client::FastCgi;
use crate::scene::Scene;
use crate::server::{
    CERTIFICATE, KEY, Ports, Server, has_ipv6, mortal_web_user, replaced, shipped,
};

pub const LIGHTTPD: &str = "/usr/sbin/lighttpd";

/// Starts one that speaks FastCGI to the program, which systemd would have started.
pub fn start(scene: &Scene) -> Server {
    let application = FastCgi::start(scene);
    let socket = application.socket().display().to_string();
    let file = shipped("lighttpd/ddns-cgi.conf", &[("/run/ddns-cgi/ddns-cgi.sock", &socket)]);
    let module = "server.modules += ( \"mod_fastcgi\" )\n";
    serve(scene, &(module.to_owned() + &file), Some(application))
}

/// Starts one that starts the program as a CGI or a FastCGI server, with the lines of the page for it.
pub fn start_with_lines(scene: &Scene, lines: &str) -> Server {
    let path = |name| scene.path(name).display().to_string();
    let [run, bin] = ["run", "bin"].map(path);
    let text = replaced(lines.to_owned(), &[("/usr/lib/ddns-cgi", &bin)]);
    let text = text.replace("/run/lighttpd", &run).replace("/var/log/lighttpd", &run);
    let config = scene.path("etc/config.json");
    let variable = format!(
        "server.modules += ( \"mod_setenv\" )\n\
         setenv.set-environment = ( \"DDNS_CONFIG\" => \"{}\" )\n",
        config.display()
    );
    serve(scene, &(text + &variable), None)
}

fn serve(scene: &Scene, lines: &str, application: Option<FastCgi>) -> Server {
    let ports = Ports::free(scene);
    let path = |name| scene.path(name).display().to_string();
    let mut text = include_str!("../lighttpd.conf.template")
        .replace("@RUN@", &path("run"))
        .replace("@WWW@", &path("www"))
        .replace("@PORT@", &ports.http.to_string());
    if has_ipv6() {
        text += &format!("$SERVER[\"socket\"] == \"[::1]:{}\" {{ }}\n", ports.http);
    }
    if let Some(port) = ports.https {
        text += &format!(
            "server.modules += ( \"mod_openssl\" )\n$SERVER[\"socket\"] == \"127.0.0.1:{port}\" {{\n\
             ssl.engine = \"enable\"\nssl.pemfile = \"{}\"\nssl.privkey = \"{}\"\n}}\n",
            path(CERTIFICATE),
            path(KEY)
        );
    }
    scene.write("etc/lighttpd.conf", &(text + lines));
    let mut command = mortal_web_user();
    command.args(["--", LIGHTTPD, "-D", "-f"]).arg(scene.path("etc/lighttpd.conf"));
    // lighttpd's own messages, and those of its CGI programs, have files of their own.
    let is_cgi = lines.contains("mod_cgi");
    let log = if is_cgi { "run/breakage.log" } else { "run/error.log" };
    Server::start(&mut command, ports, log, application)
}

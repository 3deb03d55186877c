//! A private lighttpd in front of a scene, with the shipped configuration.

use crate::fastcgi_client::FastCgi;
use crate::scene::Scene;
use crate::server::{
    CERTIFICATE, KEY, Ports, Server, has_ipv6, mortal_web_user, replaced, shipped,
};

pub const LIGHTTPD: &str = "/usr/sbin/lighttpd";

/// Starts one that speaks FastCGI to the program, which systemd would have started.
pub fn start(scene: &Scene) -> Server {
    start_with(scene, "")
}

/// The same with lines before the shipped file.
pub fn start_with(scene: &Scene, lines: &str) -> Server {
    let application = FastCgi::start(scene);
    let socket = application.socket().display().to_string();
    let file = shipped("lighttpd/ddns-cgi.conf", &[("/run/ddns-cgi/ddns-cgi.sock", &socket)]);
    let module = "server.modules += ( \"mod_fastcgi\" )\n";
    serve(scene, &[lines, module, &file].concat(), Some(application))
}

/// Starts one that starts the program itself: for each request through `mod_cgi`, or once through
/// `mod_fastcgi`. The page has the `lines` for it, in the place of those of the shipped file.
pub fn start_with_own(scene: &Scene, module: &str, lines: &str) -> Server {
    let path = |name| scene.path(name).display().to_string();
    let [run, bin, config] = ["run", "bin", "etc/config.json"].map(path);
    let lines = replaced(lines.to_owned(), &[("/usr/lib/ddns-cgi", &bin)]);
    let file = shipped("lighttpd/ddns-cgi.conf", &[]);
    let (before, rest) = file.split_once("    fastcgi.server").unwrap();
    let (_, after) = rest.split_once("    )))\n").unwrap();
    let file = format!("{before}{lines}{after}").replace("/run/lighttpd", &run);
    let modules = format!("server.modules += ( \"{module}\", \"mod_setenv\" )\n");
    // Of a process that stays, and of one for each request.
    let own =
        format!("\"max-procs\" => 1, \"bin-environment\" => ( \"DDNS_CONFIG\" => \"{config}\" )");
    let file = file.replace("\"max-procs\" => 1", &own);
    let variable = format!("setenv.set-environment = ( \"DDNS_CONFIG\" => \"{config}\" )\n");
    let log = format!("server.breakagelog = \"{run}/breakage.log\"\n");
    serve(scene, &[modules, variable, log, file].concat(), None)
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
    let is_cgi = lines.contains("cgi.assign");
    let log = if is_cgi { "run/breakage.log" } else { "run/error.log" };
    Server::start(&mut command, ports, log, application)
}

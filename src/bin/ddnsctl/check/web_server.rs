//! What `ddnsctl check` says about web servers: whether those that are set up for `ddns-cgi` hand
//! requests to it, and whether it answers them.

mod fastcgi;
mod http;
mod url;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ddns_cgi::config::{COMMAND_PATH, Store};
use ddns_cgi::publish::command;

use self::http::Answer;
pub use self::url::check as check_url;
use super::findings::{Advice, Findings};
use super::folders;
use crate::web_user::{WebUser, succeeds};
use crate::words::printable;

/// A file that an installation has for a web server.
struct Installed {
    server: &'static str,
    program: &'static str,
    file: &'static str,
    /// The file that names the socket, unless the server speaks CGI.
    socket: Option<&'static str>,
    reader: Reader,
    /// What to do by hand, before the server can be made to read the file.
    by_hand: &'static str,
    /// The commands that make the server read the file.
    commands: &'static [&'static str],
}

/// How a web server comes to read a file.
enum Reader {
    /// It reads every file of a folder.
    Always,
    /// It reads the file through this link.
    Link(&'static str),
    /// Another file includes it. What the server prints about its configuration, by these
    /// arguments, then contains these words.
    Included(&'static [&'static str], &'static str),
}

const ALL: [Installed; 6] = [
    Installed {
        server: "Apache",
        program: "apache2",
        file: "/etc/apache2/conf-available/ddns-cgi.conf",
        socket: None,
        reader: Reader::Link("/etc/apache2/conf-enabled/ddns-cgi.conf"),
        by_hand: "",
        commands: &["a2enconf ddns-cgi", "apachectl graceful"],
    },
    Installed {
        server: "Apache",
        program: "httpd",
        file: "/etc/httpd/conf.d/ddns-cgi.conf",
        socket: None,
        reader: Reader::Always,
        by_hand: "",
        commands: &[],
    },
    Installed {
        server: "Apache",
        program: "apache2",
        file: "/etc/apache2/conf-available/ddns-cgi-fastcgi.conf",
        socket: Some("/etc/apache2/conf-available/ddns-cgi-fastcgi.conf"),
        reader: Reader::Link("/etc/apache2/conf-enabled/ddns-cgi-fastcgi.conf"),
        by_hand: "",
        commands: &["a2enmod proxy_fcgi", "a2enconf ddns-cgi-fastcgi", "apachectl graceful"],
    },
    Installed {
        server: "nginx",
        program: "nginx",
        file: "/etc/nginx/snippets/ddns-cgi.conf",
        socket: Some("/etc/nginx/conf.d/ddns-cgi.conf"),
        reader: Reader::Included(
            &["-T"],
            "# configuration file /etc/nginx/snippets/ddns-cgi.conf:",
        ),
        by_hand: "Put the line \"include snippets/ddns-cgi.conf;\" into a server block, then run:",
        commands: &["nginx -t && systemctl reload nginx"],
    },
    Installed {
        server: "lighttpd",
        program: "lighttpd",
        file: "/etc/lighttpd/conf-available/15-ddns-cgi.conf",
        socket: Some("/etc/lighttpd/conf-available/15-ddns-cgi.conf"),
        reader: Reader::Link("/etc/lighttpd/conf-enabled/15-ddns-cgi.conf"),
        by_hand: "",
        commands: &["lighty-enable-mod ddns-cgi", "systemctl reload lighttpd"],
    },
    Installed {
        server: "Caddy",
        program: "caddy",
        file: "/etc/caddy/ddns-cgi.caddy",
        socket: Some("/etc/caddy/ddns-cgi.caddy"),
        reader: Reader::Included(
            &["adapt", "--config", "/etc/caddy/Caddyfile"],
            "/run/ddns-cgi/ddns-cgi.sock",
        ),
        by_hand: "Put the line \"import ddns-cgi.caddy\" into a site block of \
                  /etc/caddy/Caddyfile, then run:",
        commands: &["systemctl reload caddy"],
    },
];

/// The socket of the unit `ddns-cgi.socket`.
const SOCKET: &str = "/run/ddns-cgi/ddns-cgi.sock";

/// The modules by which Debian's Apache runs CGI programs, of which one is enabled.
const CGI_MODULES: [&str; 2] =
    ["/etc/apache2/mods-enabled/cgi.load", "/etc/apache2/mods-enabled/cgid.load"];

/// What shows why the service does not answer.
const LOG: &str = "journalctl --unit ddns-cgi.service";

/// Examines the web servers of this machine. A server that is set up by other files is none of
/// ours. Returns whether one answers wrongly: clients then fare no better, whatever their URL.
pub fn check(findings: &mut Findings, store: &Store, user: &WebUser) -> bool {
    let is_here = |installed: &&Installed| {
        Path::new(installed.file).exists() && command::find(installed.program).is_some()
    };
    let here: Vec<&Installed> = ALL.iter().filter(is_here).collect();
    let (read, mut unread): (Vec<_>, Vec<_>) =
        here.iter().copied().partition(|installed| installed.is_read());
    // The package has files for all servers, and two for Apache. One that is read is enough.
    if !read.is_empty() {
        unread.clear();
    }
    unread.dedup_by_key(|installed| installed.server);
    for installed in &unread {
        let problem = format!("{} does not read it", installed.server);
        let commands = installed.commands.iter().copied();
        let advice = commands.fold(Advice::say(installed.by_hand), Advice::then);
        findings.error(installed.file, problem, advice);
    }
    for (socket, users) in sockets(read.iter().chain(&unread), user) {
        check_socket(findings, &socket, users.values());
        if socket == Path::new(SOCKET) {
            check_service(findings, store);
        }
    }
    // These serve it under every name. Others need not do so under the address that we ask.
    let is_everywhere = read.iter().any(|installed| {
        !matches!(installed.reader, Reader::Included(..)) && is_running(installed.program)
    });
    !here.is_empty() && check_answer(findings, http::ask(), is_everywhere, || lacks_cgi(&read))
}

/// Whether an Apache that is to run `ddns-cgi` as a CGI program cannot run any. Its log does not
/// say so.
fn lacks_cgi(read: &[&Installed]) -> bool {
    let is_for_cgi = |it: &&Installed| it.program == "apache2" && it.socket.is_none();
    read.iter().any(is_for_cgi)
        && !CGI_MODULES.iter().any(|module| Path::new(module).exists())
        && is_running("apache2")
}

impl Installed {
    fn is_read(&self) -> bool {
        match self.reader {
            Reader::Always => true,
            Reader::Link(link) => Path::new(link).exists(),
            Reader::Included(arguments, words) => printed(self.program, arguments).contains(words),
        }
    }

    /// The socket to which the server connects.
    fn socket(&self) -> Option<PathBuf> {
        socket_in(&fs::read_to_string(self.socket?).ok()?)
    }
}

/// The sockets of these web servers, each with the users that connect to it, by their names.
fn sockets<'i>(
    installed: impl Iterator<Item = &'i &'i Installed>,
    user: &WebUser,
) -> BTreeMap<PathBuf, BTreeMap<String, WebUser>> {
    let mut sockets: BTreeMap<PathBuf, BTreeMap<String, WebUser>> = BTreeMap::new();
    for installed in installed {
        if let Some(socket) = installed.socket() {
            // Some have a user of their own, such as Debian's Caddy.
            let user = WebUser::find(Some(installed.program)).unwrap_or_else(|| user.clone());
            sockets.entry(socket).or_default().insert(user.name.clone(), user);
        }
    }
    sockets
}

/// The Unix socket that a configuration names, whichever server's it is.
fn socket_in(text: &str) -> Option<PathBuf> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut words = lines.flat_map(|line| line.split([' ', '"', ';', '|', '\t']));
    words.find_map(|word| {
        let path: PathBuf = Path::new(word.get(word.find('/')?..)?).components().collect();
        (path.extension()? == "sock").then_some(path)
    })
}

/// Whether the service of this name runs.
fn is_running(name: &str) -> bool {
    succeeds("service", &[name, "status"]).unwrap_or(false)
}

/// What a program prints, or nothing if it fails.
fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", COMMAND_PATH.join(":"))
        .stdin(Stdio::null())
        .output();
    let bytes = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

/// Whether the web servers may connect to the socket, and `ddns-cgi` answers there.
fn check_socket<'u>(
    findings: &mut Findings,
    socket: &Path,
    users: impl Iterator<Item = &'u WebUser>,
) {
    let shown = socket.display();
    if !socket.exists() {
        let advice = Advice::say("Without systemd, see docs/web-servers.md. With it, run:")
            .then("systemctl enable --now ddns-cgi.socket");
        return findings.error(shown, "is not there, so no request reaches ddns-cgi", advice);
    }
    for user in users.filter(|user| !user.may("-w", socket)) {
        let problem = format!("{} may not connect to it", user.name);
        let advice =
            Advice::say(format!("Put SocketGroup={} below [Socket], then restart it:", user.group))
                .then("systemctl edit ddns-cgi.socket")
                .then("systemctl stop ddns-cgi.service")
                .then("systemctl restart ddns-cgi.socket");
        findings.error(&shown, problem, advice);
    }
    let problem = match fastcgi::ask(socket) {
        Ok(response) if fastcgi::is_answer(&response) => return,
        Ok(response) => response.lines().next().map_or_else(
            || "ddns-cgi does not answer there: the connection ends too early".to_owned(),
            |line| format!("answers with something other than an address: {}", printable(line)),
        ),
        Err(error) => format!("ddns-cgi does not answer there: {error}"),
    };
    findings.error(shown, problem, Advice::run(LOG));
}

/// Whether the service may write the files. It sees nearly all of the system read-only.
fn check_service(findings: &mut Findings, store: &Store) {
    let show = ["show", "--value", "--property", "ReadWritePaths", "ddns-cgi.service"];
    let writable = printed("systemctl", &show);
    let writable: Vec<&str> =
        writable.split_whitespace().map(|path| path.trim_start_matches(['-', '+'])).collect();
    for folder in folders::folders(store) {
        if !writable.is_empty() && !writable.iter().any(|path| folder.starts_with(path)) {
            let shown = folder.display();
            findings.error(
                shown.to_string(),
                "ddns-cgi.service may not write there",
                Advice::say(format!(
                    "Put ReadWritePaths={shown} below [Service], then restart it:"
                ))
                .then("systemctl edit ddns-cgi.service")
                .then("systemctl restart ddns-cgi.service"),
            );
        }
    }
}

/// Whether a web server hands requests to `ddns-cgi`. Returns whether it answers wrongly.
fn check_answer(
    findings: &mut Findings,
    answer: Answer,
    is_everywhere: bool,
    lacks_cgi: impl FnOnce() -> bool,
) -> bool {
    match answer {
        // HTTPS may be where the others are sent.
        Answer::Address | Answer::Status(300..=399) | Answer::OnlyHttps => false,
        Answer::Status(status) if is_everywhere || status >= 500 => {
            let advice = if lacks_cgi() {
                Advice::say("Apache has no module that runs CGI programs:")
                    .then("a2enmod cgid")
                    .then("service apache2 restart")
            } else {
                Advice::say("The error log of the web server says why.")
            };
            findings.error(http::URL, format_args!("is answered with HTTP {status}"), advice);
            true
        }
        Answer::Other(body) if is_everywhere => {
            let problem = format!("is answered with something other than an address: {body}");
            findings.error(http::URL, problem, "Find out which program serves /ip.php.");
            true
        }
        Answer::Status(_) | Answer::Other(_) => false,
        Answer::None(error) => {
            findings.warning(
                http::URL,
                format_args!("no web server answers there: {error}"),
                "Start the web server, unless it listens at other addresses only.",
            );
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_found_in_each_shipped_file() {
        for text in [
            include_str!("../../../../nginx/ddns-cgi-upstream.conf"),
            include_str!("../../../../lighttpd/ddns-cgi.conf"),
            include_str!("../../../../caddy/ddns-cgi.caddy"),
            include_str!("../../../../apache/ddns-cgi-fastcgi.conf"),
        ] {
            assert_eq!(socket_in(text).as_deref(), Some(Path::new(SOCKET)), "{text}");
        }
        let unit = include_str!("../../../../systemd/ddns-cgi.socket");
        assert!(unit.contains(&format!("\nListenStream={SOCKET}\n")));
        assert_eq!(socket_in("server 127.0.0.1:9000;\n# /run/x.sock"), None);
    }

    #[test]
    fn an_answer_counts_where_the_server_must_know_the_path() {
        let other = || Answer::Other("<html>".to_owned());
        for (answer, everywhere, somewhere) in [
            (Answer::Address, 0, 0),
            (Answer::Status(301), 0, 0),
            (Answer::OnlyHttps, 0, 0),
            (Answer::Status(404), 2, 0),
            (Answer::Status(502), 2, 2),
            (other(), 2, 0),
            (Answer::None("refused".to_owned()), 1, 1),
        ] {
            for (is_everywhere, expected) in [(true, everywhere), (false, somewhere)] {
                let mut findings = Findings::default();
                let is_wrong = check_answer(&mut findings, answer.clone(), is_everywhere, || false);
                assert_eq!(is_wrong, expected == 2, "{answer:?}");
                assert_eq!(findings.into_report(false, "").status, expected, "{answer:?}");
            }
        }
    }
}

//! A question at the URL that clients are told: what one gets there that asks for its own address.

use std::net::{IpAddr, ToSocketAddrs};
use std::process::{Command, Stdio};

use ddns_cgi::config::COMMAND_PATH;
use ddns_cgi::publish::command;

use crate::check::findings::{Advice, Findings};
use crate::check::zones::is_local;
use crate::words::{printable, quoted};

/// How many seconds an answer may take.
const LIMIT: &str = "5";

/// The status with which curl ends if it does not trust a certificate: `curl(1)`, exit codes.
const UNTRUSTED: i32 = 60;

/// Asks with curl: it knows TLS, and which authorities this machine trusts.
/// It is no error if this machine does not reach itself as its clients do.
pub fn check(findings: &mut Findings, url: &str) {
    let asked = format!("{url}/ip");
    let Some(curl) = command::find("curl") else {
        let problem = "was not tried, because curl is not installed";
        return findings.warning(url, problem, "Install curl.");
    };
    let output = Command::new(curl)
        .args(["-q", "--silent", "--show-error", "--max-time", LIMIT, "--max-filesize", "4096"])
        .args(["--write-out", "\n%{http_code}", "--url", &asked])
        .env("PATH", COMMAND_PATH.join(":"))
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else { return };
    let [text, error] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let found = match output.status.code() {
        Some(0) => problem(&text).map(|problem| {
            let advice = "Clients are told this URL: correct \"url\" in the configuration, or the \
                          web server.";
            (problem, Advice::say(advice))
        }),
        Some(UNTRUSTED) => {
            let advice = "Clients refuse it, too, unless they trust it: let an authority sign it.";
            let problem = format!("its certificate is not trusted: {}", reason(&error));
            Some((problem, Advice::say(advice)))
        }
        Some(7) if lacks_https(url) => {
            let problem = "no connection: nothing listens at its port on this machine";
            let advice = "HTTPS is not set up yet: see docs/web-servers.md#https.";
            Some((problem.to_owned(), Advice::say(advice)))
        }
        status => {
            let problem = match status {
                Some(6) => "its name has no address here".to_owned(),
                Some(7) => "no connection".to_owned(),
                Some(28) => format!("no answer within {LIMIT} s"),
                _ => reason(&error),
            };
            let advice = Advice::say("This machine may not reach itself there. Try it on another:");
            Some((problem, advice.then(format!("curl {}", quoted(&asked)))))
        }
    };
    if let Some((problem, advice)) = found {
        findings.warning(url, problem, advice);
    }
}

/// Whether a URL that nobody answers is one with HTTPS, and at an address of this machine.
fn lacks_https(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else { return false };
    let server = rest.split('/').next().unwrap_or_default();
    let addresses = server.to_socket_addrs().or_else(|_| (server, 443).to_socket_addrs());
    addresses.is_ok_and(|mut addresses| addresses.any(|address| is_local(address.ip())))
}

/// What is wrong with an answer, if something is: a body, then a line with the HTTP status.
fn problem(answer: &str) -> Option<String> {
    let (body, status) = answer.rsplit_once('\n').unwrap_or(("", answer));
    match status {
        "200" if body.trim().parse::<IpAddr>().is_ok() => None,
        "200" => Some("is answered with something else than an address".to_owned()),
        status => Some(format!("is answered with HTTP {status}")),
    }
}

/// What curl says, without its name and the number of the error.
fn reason(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    printable(line.split_once(") ").map_or(line, |(_, reason)| reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_right_answer() {
        assert_eq!(problem("192.0.2.1\n\n200"), None);
        assert_eq!(problem("2001:db8::1\n200"), None);
        for (answer, expected) in [
            ("<html>\n\n200", "is answered with something else than an address"),
            ("\n404", "is answered with HTTP 404"),
            ("192.0.2.1\n\n301", "is answered with HTTP 301"),
        ] {
            assert_eq!(problem(answer).as_deref(), Some(expected));
        }
    }

    #[test]
    fn only_https_at_an_address_of_this_machine_is_missing_here() {
        for here in ["https://127.0.0.1/ip.php", "https://localhost:8443/ip.php"] {
            assert!(lacks_https(here), "{here}");
        }
        for other in ["http://127.0.0.1/ip.php", "https://192.0.2.1/ip.php"] {
            assert!(!lacks_https(other), "{other}");
        }
    }

    #[test]
    fn the_reason_has_no_number() {
        let error = "curl: (60) SSL certificate problem: self-signed certificate\nMore details";
        assert_eq!(reason(error), "SSL certificate problem: self-signed certificate");
        assert_eq!(reason("x"), "x");
        let name = "no name matches 'ns.example.net'";
        assert_eq!(reason(&format!("curl: (60) {name}\u{1b}[31m")), format!("{name}\\u{{1b}}[31m"));
    }
}

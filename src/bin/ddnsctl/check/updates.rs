//! What `ddnsctl check` says about the command that sends dynamic updates.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use ddns_cgi::config::Zones;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::publish::script;

use super::credentials::keep_secret;
use super::findings::Findings;
use crate::web_user::WebUser;

/// How long an update may take that changes nothing. nsupdate gives up a silent server after 12 s.
const LIMIT: Duration = Duration::from_secs(15);

/// The files that the command is given. The web server's user must be able to read them; nobody
/// else a key, of nsupdate (-k) or of ssh (-i). A path that is not there may be meant for another
/// machine.
pub fn check_files(findings: &mut Findings, zones: &Zones, user: Option<&WebUser>) {
    for (before, word) in zones.command.iter().zip(zones.command.iter().skip(1)) {
        let path = Path::new(word);
        if path.is_relative() {
            continue;
        }
        let Ok(metadata) = fs::metadata(path) else { continue };
        let is_program = metadata.mode() & 0o111 != 0;
        if !metadata.is_file() || is_program {
            continue;
        }
        let shown = path.display();
        let advice = keep_secret(path, user);
        if let Some(user) = user.filter(|user| !user.may("-r", path)) {
            findings.error(&shown, format_args!("{} cannot read it", user.name), advice.clone());
        }
        let is_key = before == "-k" || before == "-i";
        if is_key && metadata.mode() & 0o007 != 0 {
            let problem = format!("others can use the key (mode {:o})", metadata.mode() & 0o777);
            findings.error(&shown, problem, advice);
        }
    }
}

/// Sends an update that changes nothing, since it deletes addresses that no host has. A server that
/// accepts it accepts the others.
pub fn try_one(
    findings: &mut Findings,
    zones: &Zones,
    zone: &HostName,
    host: Option<&HostName>,
    user: &WebUser,
) {
    let host = host.map_or_else(|| format!("ddnsctl-check.{zone}"), ToString::to_string);
    let script = format!(
        "{}update delete {host}. A 0.0.0.0\nupdate delete {host}. AAAA ::\nsend\n",
        script::begin(zones, zone)
    );
    if let Err(reason) = user.run(&zones.command, &script, LIMIT) {
        let problem = format!("a dynamic update as {} fails: {reason}", user.name);
        findings.error(format_args!("zone {zone}"), problem, advice(&reason));
    }
}

/// What to do, by what the tool says: nsupdate in version 9.18, knsupdate in version 3.2.
fn advice(reason: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if says(&["not found: install", "failed to execute", "cannot run"]) {
        "Install it, or correct \"command\" in the configuration."
    } else if says(&["BADTIME"]) {
        "Set the clocks of both machines: a signature is valid for 5 minutes."
    } else if says(&["BADKEY", "BADSIG", "verif", "expected a TSIG"]) {
        "Give the server the key of the command, with the same name, algorithm and secret, and let \
         it update the zone (BIND: update-policy; Knot: acl)."
    } else if says(&["keyfile", "could not read key", "permission denied"]) {
        "Write a key file that this user can read and the command understands."
    } else if says(&["REFUSED"]) {
        "Let the key update A and AAAA in the zone (BIND: update-policy; Knot: acl; PowerDNS: \
         dnsupdate=yes and TSIG-ALLOW-DNSUPDATE), and give the command the key."
    } else if says(&["NOTAUTH", "NOTZONE"]) {
        "Name a zone and its primary server in key \"publish\" of the configuration, and give the \
         command the zone's key."
    } else if says(&["NOTIMP"]) {
        "Use a server that takes dynamic updates (RFC 2136)."
    } else if says(&[
        "refused",
        "timed out",
        "timeout",
        "unreachable",
        "no end within",
        "operation canceled",
        "connect to",
    ]) {
        "Correct \"server\" or \"port\" in key \"publish\", or start the server."
    } else {
        "Run the \"command\" of the configuration by hand, as this user."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_of_a_tool_has_its_advice() {
        for (reason, part) in [
            (
                "exit status: 2: TSIG error with server: tsig indicates error; update failed: \
                 NOTAUTH(BADKEY)",
                "Give the server the key",
            ),
            ("exit status: 2: update failed: NOTAUTH(BADSIG)", "Give the server the key"),
            ("exit status: 2: update failed: NOTAUTH(BADTIME)", "Set the clocks"),
            ("exit status: 2: update failed: NOTAUTH", "Name a zone and its primary"),
            ("exit status: 2: update failed: NOTZONE", "Name a zone and its primary"),
            ("exit status: 2: update failed: REFUSED", "Let the key update"),
            (
                "exit status: 2: 27-Nov-2026 06:17:53.588 open: /k.key: permission denied; update \
                 failed: REFUSED",
                "Write a key file",
            ),
            ("exit status: 2: update failed: NOTIMP", "takes dynamic updates"),
            (
                "exit status: 2: Communication with 127.0.0.9#53 failed: connection refused",
                "start the server",
            ),
            (
                "exit status: 2: Communication with 192.0.2.9#53 failed: timed out",
                "start the server",
            ),
            ("exit status: 1: ERROR: update failed with error 'REFUSED'", "Let the key update"),
            (
                "exit status: 1: ERROR: reply verification (failed to verify TSIG)",
                "Give the server the key",
            ),
            ("exit status: 1: ERROR: failed to parse keyfile '/k'", "Write a key file"),
            ("exit status: 1: WARNING: response timeout for 127.0.0.9@53(UDP)", "start the server"),
            (
                "exit status: 127: setpriv: failed to execute nsupdate: No such file or directory",
                "Install it",
            ),
            (
                "exit status: 2: Communication with 127.0.0.9#53 failed: operation canceled",
                "start the server",
            ),
            ("exit status: 1: WARNING: can't connect to 127.0.0.9@53(TCP)", "start the server"),
            ("nsupdate not found: install it or correct the configuration", "Install it"),
            ("exit status: 1", "by hand"),
        ] {
            assert!(advice(reason).contains(part), "{reason}: {}", advice(reason));
        }
    }
}

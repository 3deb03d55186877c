//! What `ddnsctl check` says about pending changes, and about restarts of dnsmasq.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ddns_cgi::config::Config;
use ddns_cgi::publish::command;
use ddns_cgi::publish::pending::Mark;
use ddns_cgi::publish::target::Target;
use ddns_cgi::text::duration;

use super::findings::{Advice, Findings};
use crate::web_user::WebUser;
use crate::words::quoted;

/// A change that waits for longer than this is not just under way.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the web server's user may run as root.
const RULES: &str = "/etc/sudoers.d/ddns-cgi";

pub fn check(findings: &mut Findings, config: &Config, user: Option<&WebUser>) {
    for target in Target::of(&config.publish) {
        check_pending(findings, target, &Mark::of(target, &config.store.hosts));
    }
    let Some((program, arguments)) = config.publish.restart.split_first() else { return };
    if command::find(program).is_none() {
        findings.error(
            "restart",
            format_args!("{program} is not installed"),
            "Install it, or correct \"restart\" in the configuration.",
        );
    } else if let (Some(user), true) = (user, is_sudo(program)) {
        check_sudo(findings, program, arguments, user);
    }
}

fn check_pending(findings: &mut Findings, target: Target, mark: &Mark) {
    let pending = match mark.read() {
        Err(fault) => {
            let advice = Advice::say("Remove it, and publish anew:");
            let remove = format!("rm -r {}", quoted(mark.path().display()));
            return findings.fault(fault, advice.then(remove).then("ddnsctl apply"));
        }
        Ok(None) => return,
        Ok(Some(pending)) => pending,
    };
    let path = mark.path().display();
    if let Some(reason) = pending.failure() {
        let advice = Advice::say("Remove the cause, then run:").then("ddnsctl apply");
        return findings.error(path, format_args!("the last {target} failed: {reason}"), advice);
    }
    let waited = match age(mark.path()) {
        Some(age) if age <= PATIENCE => return,
        Some(age) => format!(" for {}", duration(age.as_secs())),
        None => String::new(),
    };
    let problem = format!("a change has waited for a {target}{waited}");
    findings.warning(path, problem, Advice::run("ddnsctl apply"));
}

/// How long ago a file was written, if that is known.
fn age(file: &Path) -> Option<Duration> {
    fs::metadata(file).ok()?.modified().ok()?.elapsed().ok()
}

/// Beside sudo, sudo-rs has a name of its own.
fn is_sudo(program: &str) -> bool {
    Path::new(program).file_name().is_some_and(|name| name == "sudo" || name == "sudo-rs")
}

/// The arguments of sudo are its own options, then the command.
fn check_sudo(findings: &mut Findings, sudo: &str, arguments: &[String], user: &WebUser) {
    let words = arguments.iter().map(String::as_str).skip_while(|word| word.starts_with('-'));
    let wanted: Vec<&str> = words.collect();
    if user.can(&[&[sudo, "-n", "-l"], &wanted[..]].concat()) == Some(true) {
        return;
    }
    let wanted = wanted.join(" ");
    // Only Debian's package has this file.
    let is_packaged = Path::new("/usr/share/doc/ddns-cgi/copyright").exists();
    findings.error(
        "sudo",
        format_args!("{} may not run without a password: {wanted}", user.name),
        give_permission(is_packaged, Path::new(RULES).exists()),
    );
}

/// How to let the web server's user run the restart command, after an installation from Debian's
/// package or from a clone.
fn give_permission(is_packaged: bool, is_there: bool) -> Advice {
    if !is_packaged {
        return Advice::say(
            "In the clone of ddns-cgi, run these. If \"restart\" is a command of your own, first \
             write it into the file:",
        )
        .then(format!("install -m 440 sudoers.d/ddns-cgi {RULES}"))
        .then("visudo -c");
    }
    let advice =
        Advice::say("If \"restart\" is a command of your own, write it into the file at the end:");
    let advice = if is_there {
        advice.then(format!("chmod 440 {RULES}"))
    } else {
        advice.then(format!(
            "apt-get install --reinstall -o Dpkg::Options::=--force-confmiss ./ddns-cgi_{}_{}.deb",
            env!("CARGO_PKG_VERSION"),
            debian_architecture(std::env::consts::ARCH)
        ))
    };
    advice.then(format!("visudo -f {RULES}"))
}

/// Debian's name of an architecture.
fn debian_architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packages_rules_come_from_the_package() {
        let words = "If \"restart\" is a command of your own, write it into the file at the end:";
        let deb = format!(
            "./ddns-cgi_{}_{}.deb",
            env!("CARGO_PKG_VERSION"),
            debian_architecture(std::env::consts::ARCH)
        );
        let reinstall = "apt-get install --reinstall -o Dpkg::Options::=--force-confmiss";
        for (is_there, first) in
            [(false, format!("{reinstall} {deb}")), (true, format!("chmod 440 {RULES}"))]
        {
            let expected = Advice::say(words).then(first).then(format!("visudo -f {RULES}"));
            assert_eq!(give_permission(true, is_there), expected);
        }
        assert_eq!(["x86_64", "aarch64"].map(debian_architecture), ["amd64", "arm64"]);
    }
}

//! What `ddnsctl check` says about pending changes, and about restarts of dnsmasq.

use ddns_cgi::config::Config;
use ddns_cgi::publish::command;
use ddns_cgi::publish::pending::Mark;
use ddns_cgi::publish::target::Target;

use super::findings::Findings;
use crate::web_user::WebUser;

pub fn check(findings: &mut Findings, config: &Config, user: Option<&WebUser>) {
    for target in Target::of(&config.publish) {
        check_pending(findings, target, &Mark::of(target, &config.store.hosts));
    }
    let Some((program, arguments)) = config.publish.restart.split_first() else { return };
    if command::find(program).is_none() {
        findings.error(
            "restart",
            format_args!("{program} is not installed"),
            "Install it, or correct \"restart\" in the configuration",
        );
    } else if let (Some(user), true) = (user, program.ends_with("sudo")) {
        check_sudo(findings, arguments, user);
    }
}

fn check_pending(findings: &mut Findings, target: Target, mark: &Mark) {
    let pending = match mark.read() {
        Err(fault) => return findings.fault(&fault),
        Ok(None) => return,
        Ok(Some(pending)) => pending,
    };
    let path = mark.path().display();
    match pending.failure() {
        Some(reason) => findings.error(
            path,
            format_args!("the last {target} failed: {reason}"),
            "Fix the cause, then: ddnsctl apply",
        ),
        None => findings.warning(
            path,
            format_args!("a change waits for a {target}"),
            "If it stays: ddnsctl apply",
        ),
    }
}

/// The arguments of sudo are its own options, then the command.
fn check_sudo(findings: &mut Findings, arguments: &[String], user: &WebUser) {
    let words = arguments.iter().map(String::as_str).skip_while(|word| word.starts_with('-'));
    let wanted: Vec<&str> = words.collect();
    if user.can(&[&["sudo", "-n", "-l"], &wanted[..]].concat()) == Some(true) {
        return;
    }
    let wanted = wanted.join(" ");
    findings.error(
        "sudo",
        format_args!("{} may not run without a password: {wanted}", user.name),
        "Install sudoers.d/ddns-cgi as /etc/sudoers.d/ddns-cgi, mode 0440, and run: visudo -c",
    );
}

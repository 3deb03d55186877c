//! What `ddnsctl check` says about the credentials.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ddns_cgi::config::Store;

use super::findings::{Advice, Findings, Level};
use crate::credentials::{self, Users};
use crate::web_user::WebUser;
use crate::words::{command, quoted};

/// Reads the credentials. Returns `None` if that is not possible.
pub fn check(findings: &mut Findings, store: &Store, user: Option<&WebUser>) -> Option<Users> {
    let path = &store.credentials;
    let Ok(metadata) = fs::metadata(path) else {
        let advice = Advice::say("Add a user:").then("ddnsctl user add USER --host HOST");
        findings.error(path.display(), "is not there", advice);
        return None;
    };
    let mut advice = keep_secret(path, user);
    if metadata.mode() & 0o007 != 0 {
        advice = advice.after(format!(
            "Keep others out. If they may have read the keys, then give each user a new one: {}",
            command("ddnsctl user rekey USER")
        ));
    }
    check_mode(findings, path, metadata.mode(), &advice);
    if let Some(user) = user {
        check_owner(findings, path, &metadata, user, &advice);
    }
    match credentials::read(path) {
        Ok(users) => {
            check_users(findings, path, &users);
            Some(users)
        }
        Err(fault) => {
            findings.fault(fault, "Correct it by hand, or restore a copy.");
            None
        }
    }
}

/// What gives a secret file the right owner, group and mode.
pub fn keep_secret(path: &Path, user: Option<&WebUser>) -> Advice {
    let group = user.map_or("WEBGROUP", |user| &user.group);
    let path = quoted(path.display());
    Advice::run(format!("chown {} {path}", quoted(format_args!("root:{group}"))))
        .then(format!("chmod 640 {path}"))
}

fn check_mode(findings: &mut Findings, path: &Path, mode: u32, advice: &Advice) {
    for (right, problem) in
        [(0o007, "others can use the keys"), (0o020, "its group can change the keys")]
    {
        if mode & right != 0 {
            let problem = format!("{problem} (mode {:o})", mode & 0o777);
            findings.error(path.display(), problem, advice.clone());
        }
    }
}

fn check_owner(
    findings: &mut Findings,
    path: &Path,
    metadata: &Metadata,
    user: &WebUser,
    advice: &Advice,
) {
    if !user.may("-r", path) {
        findings.error(
            path.display(),
            format_args!("{} cannot read it", user.name),
            advice.clone(),
        );
    }
    if metadata.uid() != 0 {
        findings.warning(path.display(), "does not belong to root", advice.clone());
    }
}

fn check_users(findings: &mut Findings, path: &Path, users: &Users) {
    for (user, why) in credentials::broken(users) {
        let advice = if why == credentials::NO_KEY {
            let word = quoted(user);
            Advice::say("Give the user a new key, or complete a removal that stopped halfway:")
                .then(format!("ddnsctl user rekey {word}"))
                .then(format!("ddnsctl user remove {word} --hosts"))
        } else {
            Advice::say(format!("Correct the user's entry in {}.", path.display()))
        };
        findings.error(format_args!("user {}", user.escape_default()), why, advice);
    }
    let hosts = credentials::invalid_hosts(users).map(|host| host.escape_default().to_string());
    let hosts: Vec<String> = hosts.collect();
    let problem = if hosts.len() == 1 {
        "is not a valid host name, so nobody can update it"
    } else {
        "are not valid host names, so nobody can update them"
    };
    let advice = format!("Correct it in {}.", path.display());
    findings.hosts(Level::Warning, hosts, problem, advice);
}

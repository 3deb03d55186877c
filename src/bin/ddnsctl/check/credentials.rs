//! What `ddnsctl check` says about the credentials.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ddns_cgi::config::Store;
use serde_json::{Map, Value};

use super::findings::Findings;
use crate::credentials;
use crate::web_user::WebUser;

/// Reads the credentials. Returns `None` if that is not possible.
pub fn check(
    findings: &mut Findings,
    store: &Store,
    user: Option<&WebUser>,
) -> Option<Map<String, Value>> {
    let path = &store.credentials;
    let Ok(metadata) = fs::metadata(path) else {
        findings.error(path.display(), "is not there", "Add users with: ddnsctl user add");
        return None;
    };
    check_mode(findings, path, metadata.mode(), user);
    if let Some(user) = user {
        check_owner(findings, path, &metadata, user);
    }
    match credentials::read(path) {
        Ok(users) => {
            check_users(findings, path, &users);
            Some(users)
        }
        Err(fault) => {
            findings.fault(&fault);
            None
        }
    }
}

/// The commands that give the file the right owner, group and mode.
fn advice(path: &Path, user: Option<&WebUser>) -> String {
    let group = user.map_or("WEBGROUP".to_owned(), |user| user.gid.to_string());
    format!("chown root:{group} {0} && chmod 640 {0}", path.display())
}

fn check_mode(findings: &mut Findings, path: &Path, mode: u32, user: Option<&WebUser>) {
    for (right, problem) in
        [(0o007, "others can use the keys"), (0o020, "its group can change the keys")]
    {
        if mode & right != 0 {
            let problem = format!("{problem} (mode {:o})", mode & 0o777);
            findings.error(path.display(), problem, advice(path, user));
        }
    }
}

fn check_owner(findings: &mut Findings, path: &Path, metadata: &Metadata, user: &WebUser) {
    let advice = advice(path, Some(user));
    if !user.may("-r", path) {
        findings.error(path.display(), format_args!("{} cannot read it", user.name), &advice);
    }
    if metadata.uid() != 0 {
        findings.warning(path.display(), "does not belong to root", &advice);
    }
}

fn check_users(findings: &mut Findings, path: &Path, users: &Map<String, Value>) {
    for (user, why) in credentials::broken(users) {
        findings.error(
            format_args!("user {user}"),
            why,
            format_args!("Correct the entry in {}", path.display()),
        );
    }
    for host in credentials::invalid_hosts(users) {
        findings.warning(
            host.escape_default(),
            "is not a valid host name, so nobody can update it",
            "Correct it in the credentials",
        );
    }
}

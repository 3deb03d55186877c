//! What `ddnsctl check` says of the credentials.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ddns_cgi::config::Config;
use ddns_cgi::protocol::host::HostName;
use serde_json::{Map, Value};

use super::findings::Findings;
use crate::users;
use crate::web_user::WebUser;

/// Reads the credentials; `None` where that is not possible.
pub fn check(
    findings: &mut Findings,
    config: &Config,
    user: Option<&WebUser>,
) -> Option<Map<String, Value>> {
    let path = &config.store.credentials;
    let Ok(metadata) = fs::metadata(path) else {
        findings.error(path.display(), "is not there", "Add users with: ddnsctl user add");
        return None;
    };
    check_access(findings, path, &metadata, user);
    let users = match users::read(path) {
        Ok(users) => users,
        Err(fault) => {
            findings.fault(&fault);
            return None;
        }
    };
    check_users(findings, path, &users);
    Some(users)
}

fn check_access(findings: &mut Findings, path: &Path, metadata: &Metadata, user: Option<&WebUser>) {
    let mode = metadata.mode();
    let advice = |user: Option<&WebUser>| {
        let group = user.map_or("WEBGROUP".to_owned(), |user| user.gid.to_string());
        format!("chown root:{group} {0} && chmod 640 {0}", path.display())
    };
    if mode & 0o007 != 0 {
        findings.error(
            path.display(),
            format_args!("others can use the keys (mode {:o})", mode & 0o777),
            advice(user),
        );
    }
    if mode & 0o020 != 0 {
        findings.error(
            path.display(),
            format_args!("its group can change the keys (mode {:o})", mode & 0o777),
            advice(user),
        );
    }
    if let Some(user) = user {
        if !user.may("-r", path) {
            findings.error(
                path.display(),
                format_args!("{} cannot read it", user.name),
                advice(Some(user)),
            );
        }
        if metadata.uid() != 0 {
            findings.warning(path.display(), "it is not root's", advice(Some(user)));
        }
    }
}

fn check_users(findings: &mut Findings, path: &Path, users: &Map<String, Value>) {
    for (user, why) in users::broken(users) {
        findings.error(
            format_args!("user {user}"),
            why,
            format_args!("Correct the entry in {}", path.display()),
        );
    }
    for host in users.values().flat_map(users::hosts).filter(|host| HostName::parse(host).is_none())
    {
        findings.warning(
            host.escape_default(),
            "is not a valid host name, so nobody can update it",
            "Correct it in the credentials",
        );
    }
}

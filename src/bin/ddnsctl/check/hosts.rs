//! What `ddnsctl check` says about the hosts file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ddns_cgi::config::Store;
use ddns_cgi::store::expiry::Expiry;
use ddns_cgi::store::hosts;
use ddns_cgi::store::replace::follow;
use serde_json::{Map, Value};

use super::findings::Findings;

pub fn check(findings: &mut Findings, store: &Store, state: &Map<String, Value>, expiry: &Expiry) {
    let path = &store.hosts;
    if state.is_empty() && !path.exists() {
        return;
    }
    match hosts::read(path) {
        Err(fault) => findings.fault(&fault),
        Ok(None) => findings.error(path.display(), "is not there", "ddnsctl apply"),
        Ok(Some(text)) if !is_of(&text, state, expiry, store) => {
            findings.error(path.display(), "is not what the state says", "ddnsctl apply");
        }
        Ok(Some(_)) => {}
    }
}

/// dnsmasq reads the hosts file as its own user.
pub fn check_readers(findings: &mut Findings, path: &Path) {
    let file = follow(path);
    for folder in file.ancestors().skip(1) {
        if fs::metadata(folder).is_ok_and(|m| m.mode() & 0o001 == 0) {
            let shown = folder.display();
            let advice = format!("chmod o+x {shown}");
            findings.error(&shown, "dnsmasq's user may not pass through it", advice);
        }
    }
    let mode = fs::metadata(path).map_or(0o644, |metadata| metadata.mode());
    if mode & 0o004 == 0 {
        findings.error(
            path.display(),
            format_args!("dnsmasq's user may not read it (mode {:o})", mode & 0o777),
            format_args!("chmod 644 {} && ddnsctl apply", path.display()),
        );
    }
}

/// Whether the text is the hosts file of this state. A host that has expired may still be in it,
/// because it leaves only with the next update.
fn is_of(text: &str, state: &Map<String, Value>, expiry: &Expiry, store: &Store) -> bool {
    if text == expiry.hosts_file(state) {
        return true;
    }
    let listed = hosts::to_state(text, store.time_zone);
    let mut wanted = state.clone();
    wanted.retain(|host, record| !expiry.is_over(record) || listed.contains_key(host));
    text == hosts::render(&wanted)
}

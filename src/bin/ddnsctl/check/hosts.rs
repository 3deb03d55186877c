//! What `ddnsctl check` says about the hosts file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use chrono::Utc;
use ddns_cgi::config::Store;
use ddns_cgi::store::expiry::Expiry;
use ddns_cgi::store::hosts;
use ddns_cgi::store::replace::follow;
use serde_json::{Map, Value};

use super::findings::{Advice, Findings};
use crate::words::quoted;

/// Compares the hosts file with a state, if there is one to compare with.
pub fn check(findings: &mut Findings, store: &Store, state: Option<&Map<String, Value>>) {
    let path = &store.hosts;
    let expiry = Expiry::at(Utc::now(), store);
    let text = hosts::read(path);
    match (text, state) {
        (Err(fault), _) => {
            let path = quoted(path.display());
            let advice = Advice::say("Move it away, and make it anew from the state:");
            let advice = advice.then(format!("mv {path} {path}.old")).then("ddnsctl apply");
            findings.fault(fault, advice);
        }
        (Ok(None), Some(state)) if state.is_empty() => {}
        (Ok(None), Some(_)) => {
            findings.error(path.display(), "is not there", Advice::run("ddnsctl apply"));
        }
        (Ok(Some(text)), Some(state)) if !is_of(&text, state, &expiry, store) => {
            let advice = Advice::run("ddnsctl apply");
            findings.error(path.display(), "is not what the state says", advice);
        }
        (_, None) | (Ok(Some(_)), Some(_)) => {}
    }
}

/// dnsmasq reads the hosts file as its own user.
pub fn check_readers(findings: &mut Findings, path: &Path) {
    let file = follow(path);
    for folder in file.ancestors().skip(1) {
        if fs::metadata(folder).is_ok_and(|m| m.mode() & 0o001 == 0) {
            let shown = folder.display();
            let advice = Advice::run(format!("chmod o+x {}", quoted(&shown)));
            findings.error(&shown, "dnsmasq's user may not pass through it", advice);
        }
    }
    let mode = fs::metadata(path).map_or(0o644, |metadata| metadata.mode());
    if mode & 0o004 == 0 {
        findings.error(
            path.display(),
            format_args!("dnsmasq's user may not read it (mode {:o})", mode & 0o777),
            Advice::run(format!("chmod 644 {}", quoted(path.display()))).then("ddnsctl apply"),
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

//! What a shell may complete: commands and options, which the command line itself says, and the
//! names of users and hosts.
//!
//! The shell runs `ddnsctl` for it. Whoever may not read the credentials gets no names.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::{fs, path};

use clap::CommandFactory;
use clap_complete::env::CompleteEnv;
use clap_complete::{ArgValueCandidates, CompletionCandidate};
use ddns_cgi::config::{Config, VARIABLE};
use ddns_cgi::store::json;

use crate::cli::Arguments;
use crate::credentials;

/// The environment variable by which the shell asks, and says which shell it is.
pub const ASKED: &str = "DDNSCTL_COMPLETE";

/// Answers if a shell asks, and ends.
pub fn answer_shell() {
    CompleteEnv::with_factory(Arguments::command).var(ASKED).complete();
}

/// The names of the users.
pub fn users() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let users =
            configured().and_then(|config| credentials::read(&config.store.credentials).ok());
        candidates(users.unwrap_or_default().into_iter().map(|(name, _)| name))
    })
}

/// The names of the hosts: those of users, and those in the state.
pub fn hosts() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let Some(store) = configured().map(|config| config.store) else { return Vec::new() };
        let users = credentials::read(&store.credentials).unwrap_or_default();
        let owned = users.values().flat_map(credentials::hosts);
        // Without the lock: a shell should not wait for it, and names are whole at any time.
        let state = fs::read_to_string(&store.state).unwrap_or_default();
        let state = json::parse(&state).unwrap_or_default();
        let names = owned.chain(state.keys().map(String::as_str));
        candidates(names.map(str::to_ascii_lowercase))
    })
}

/// The configuration that the command line or the environment names.
fn configured() -> Option<Config> {
    let named = named_on(env::args_os()).or_else(|| env::var_os(VARIABLE));
    let file = named.map(path::absolute).transpose().ok()?;
    Config::load(file.map(Into::into)).ok()
}

/// The value of `--config` in an unfinished command line.
fn named_on(mut words: impl Iterator<Item = OsString>) -> Option<OsString> {
    while let Some(word) = words.next() {
        if word == "--config" {
            return words.next();
        }
        if let Some(file) = word.to_str().and_then(|word| word.strip_prefix("--config=")) {
            return Some(file.into());
        }
    }
    None
}

/// Each name once, in order. A name that a shell would not take as it is has to be typed.
fn candidates(names: impl Iterator<Item = String>) -> Vec<CompletionCandidate> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._+@".contains(c);
    let names: BTreeSet<String> = names.filter(|name| name.chars().all(is_plain)).collect();
    names.into_iter().map(CompletionCandidate::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_the_one_on_the_command_line() {
        for (line, file) in [
            ("ddnsctl -- ddnsctl --config /c sign h", Some("/c")),
            ("ddnsctl -- ddnsctl sign --config=c.json", Some("c.json")),
            ("ddnsctl -- ddnsctl sign --config", None),
            ("ddnsctl -- ddnsctl sign h", None),
        ] {
            let words = line.split(' ').map(OsString::from);
            assert_eq!(named_on(words), file.map(OsString::from), "{line}");
        }
    }
}

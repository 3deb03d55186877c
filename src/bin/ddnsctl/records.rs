//! How the operator's commands change the records of the state.

use chrono::Utc;
use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::publish::pending;
use ddns_cgi::store::expiry::Expiry;
use ddns_cgi::store::hosts;
use ddns_cgi::store::state::State;
use serde_json::{Map, Value};

use crate::apply;

/// A change to the state.
pub struct Edit<'m> {
    /// All of the state, as it is to be.
    pub map: &'m Map<String, Value>,
    /// Whether the state is not like that already.
    pub is_changed: bool,
    /// The change in words.
    pub change: String,
}

/// Writes the state. If DNS is to change, the marks come before it, so that a restarter finishes
/// what a crash leaves, and the hosts file comes after it.
pub fn store(config: &Config, state: &State, edit: &Edit) -> Result<(), Fault> {
    let path = &config.store.hosts;
    let wanted = Expiry::at(Utc::now(), &config.store).hosts_file(edit.map);
    let is_published = hosts::read(path)?.as_ref() == Some(&wanted);
    if !is_published {
        pending::add(config, &edit.change)?;
    }
    // An empty state is rebuilt from the hosts file, which must not bring the last hosts back.
    if edit.map.is_empty() && !is_published {
        hosts::store(path, &wanted)?;
    }
    if edit.is_changed {
        state.replace(edit.map)?;
    }
    if is_published {
        return Ok(());
    }
    hosts::store(path, &wanted).map(drop)
}

/// What is done once a change is stored.
pub const STORED: &str = "the state has the change";

/// Makes the name servers serve what was stored. If that fails, the fault says what is done all the
/// same.
pub fn settle(config: &Config, done: &str) -> Result<(), Fault> {
    apply::settle(config).map_err(|fault| {
        let reason = format!("{}. All the same, {done}", fault.reason);
        Fault { reason, ..fault }
    })
}

//! The state, as several commands see it.

use std::collections::HashMap;
use std::time::Duration;

use ddns_cgi::config::Store;
use ddns_cgi::fault::Fault;
use ddns_cgi::store::lock::Lock;
use ddns_cgi::store::replace::companion;
use serde_json::{Map, Value};

use crate::credentials::{self, Users};

/// Takes the lock on the state. Waits for it as long as a request would.
pub fn lock(store: &Store) -> Result<Lock, Fault> {
    let limit = Duration::from_secs(store.lock_timeout.into());
    Lock::acquire(&companion(&store.state, "lock"), limit)
}

/// One host of a state.
pub struct Host<'s> {
    /// Its key in the state. It need not be a host name.
    pub name: &'s str,
    pub record: &'s Value,
    /// The user who may update it.
    pub owner: Option<&'s str>,
    /// Whether the state has the same name in another case, too.
    pub has_twin: bool,
    /// The last such name before this one.
    pub earlier_twin: Option<&'s str>,
}

impl<'s> Host<'s> {
    /// The fields of its record, or `None` if the record is no object.
    pub fn fields(&self) -> Option<&'s Map<String, Value>> {
        self.record.as_object()
    }
}

/// The hosts of a state, in its order.
pub fn hosts<'s>(
    state: &'s Map<String, Value>,
    users: &'s Users,
) -> impl Iterator<Item = Host<'s>> {
    let owners = credentials::owners(users);
    // How often there is a name, and its last spelling so far.
    let mut spellings: HashMap<String, (usize, Option<&str>)> = HashMap::new();
    for name in state.keys() {
        spellings.entry(name.to_ascii_lowercase()).or_default().0 += 1;
    }
    let host = move |(name, record): (&'s String, &'s Value)| {
        let key = name.to_ascii_lowercase();
        let twins = spellings.get_mut(&key);
        let (count, earlier) =
            twins.map_or((1, None), |(count, last)| (*count, last.replace(name.as_str())));
        Host {
            name,
            record,
            owner: owners.get(&key).copied(),
            has_twin: count > 1,
            earlier_twin: earlier,
        }
    };
    state.iter().map(host)
}

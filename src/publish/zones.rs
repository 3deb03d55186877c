//! The zones: their primary server learns of the difference between what the hosts file says and
//! what the server last acknowledged.
//!
//! What it acknowledged is in `.hosts.dns.published`. Before an update is sent, that file says that
//! its names are in doubt; after a success, what they are. So whatever fails or is killed, the next
//! update is about these names again, even if a host has returned to its old address by then.

use std::path::Path;
use std::time::Duration;

use crate::config::Zones;
use crate::fault::Fault;
use crate::protocol::host::HostName;
use crate::publish::target::{Target, published};
use crate::publish::turn::Turn;
use crate::publish::{command, script};
use crate::store::hosts;
use crate::store::replace::{Readers, replace};

/// How long an update may take, and how much longer for each name. A primary on the same machine
/// takes 2 s for 100,000 names.
const LIMIT: Duration = Duration::from_secs(30);
const LIMIT_OF_NAME: Duration = Duration::from_millis(1);

/// Sends what has changed since the last success. The error says why the server may not know of it.
pub(super) fn update(zones: &Zones, hosts: &Path) -> Result<(), String> {
    let path = published(hosts);
    let read = |path| hosts::read(path).map_err(|fault| fault.to_string());
    let write = |text: &str| {
        replace(&path, text.as_bytes(), Readers::Everybody).map_err(|fault| fault.to_string())
    };
    let acknowledged = read(&path)?;
    let hosts = read(hosts)?.ok_or_else(|| format!("{} is gone", hosts.display()))?;
    let wanted = script::wanted(zones, &hosts);
    let script = script::difference(zones, acknowledged.as_deref().unwrap_or_default(), &wanted);
    if script.names > 0 {
        let names = u32::try_from(script.names).unwrap_or(u32::MAX);
        write(&script.in_doubt)?;
        command::run(&zones.command, &script.text, LIMIT + LIMIT_OF_NAME * names)?;
    }
    if acknowledged.as_ref() == Some(&wanted) { Ok(()) } else { write(&wanted) }
}

/// Puts these names in doubt, so that the next update is about all of them. Waits for an update
/// that is under way, `limit` at most.
pub fn forget<'n>(
    hosts: &Path,
    names: impl Iterator<Item = &'n String>,
    limit: Duration,
) -> Result<(), Fault> {
    let _turn = Turn::wait(Target::Zones, hosts, limit)?;
    let path = published(hosts);
    let mut text = hosts::read(&path)?.unwrap_or_default();
    text.extend(names.filter_map(|name| HostName::parse(name)).map(|name| script::doubt(&name)));
    replace(&path, text.as_bytes(), Readers::Everybody)
}

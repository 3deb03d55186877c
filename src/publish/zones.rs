//! The zones: their primary server learns of the difference between what the hosts file says and
//! what the server last acknowledged.
//!
//! What it acknowledged is in `.hosts.dns.published`, which is replaced after each success. An
//! update that is sent twice does no harm. So wherever this is killed, the next one goes on.

use std::fmt::Write;
use std::net::Ipv4Addr;
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
/// needs a tenth of that.
const LIMIT: Duration = Duration::from_secs(30);
const LIMIT_OF_NAME: Duration = Duration::from_millis(1);

/// Sends what has changed since the last success. The error says why the server may not know of it.
pub(super) fn update(zones: &Zones, hosts: &Path) -> Result<(), String> {
    let path = published(hosts);
    let read = |path| hosts::read(path).map_err(|fault| fault.to_string());
    let acknowledged = read(&path)?;
    let hosts = read(hosts)?.ok_or_else(|| format!("{} is gone", hosts.display()))?;
    let wanted = script::wanted(zones, &hosts);
    let script = script::difference(zones, acknowledged.as_deref().unwrap_or_default(), &wanted);
    if script.names > 0 {
        let names = u32::try_from(script.names).unwrap_or(u32::MAX);
        command::run(&zones.command, &script.text, LIMIT + LIMIT_OF_NAME * names)?;
    }
    if acknowledged.as_ref() != Some(&wanted) {
        replace(&path, wanted.as_bytes(), Readers::Everybody).map_err(|fault| fault.to_string())?;
    }
    Ok(())
}

/// Makes the next update send all about these names: it will find that the server has acknowledged
/// other addresses, or some where there are none. Returns `false` if another process has the turn,
/// so that it has to be tried again.
pub fn forget<'n>(hosts: &Path, names: impl Iterator<Item = &'n String>) -> Result<bool, Fault> {
    let Some(_turn) = Turn::take(Target::Zones, hosts)? else { return Ok(false) };
    let path = published(hosts);
    let mut text = hosts::read(&path)?.unwrap_or_default();
    for name in names.filter_map(|name| HostName::parse(name)) {
        let _ = writeln!(text, "{} {name}", Ipv4Addr::UNSPECIFIED);
    }
    replace(&path, text.as_bytes(), Readers::Everybody)?;
    Ok(true)
}

//! The mark `.hosts.dns.pending`: as long as it exists, dnsmasq may not serve what the state says.
//!
//! Requests write it before they touch a file, and only a restart that succeeded removes it. Each
//! change adds a line, so whoever restarts can tell whether another change came meanwhile. All of
//! this happens under the lock of the state.
//!
//! ```text
//! changed host1.h.lohray.com 129.118.243.10
//! failed exit status 1: sudo: a password is required
//! ```

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::store::replace::{
    Readers, companion, give_to_folder_owner, no_follow, replace, sync_folder,
};

/// What the mark says, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    /// The mark beside this hosts file.
    #[must_use]
    pub fn path(hosts: &Path) -> PathBuf {
        companion(hosts, "pending")
    }

    /// Reads the mark; `None` where nothing is pending.
    pub fn read(hosts: &Path) -> Result<Option<Self>, Fault> {
        let path = Self::path(hosts);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(Self(String::from_utf8_lossy(&bytes).into_owned()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Fault::io("read the mark", &path, &error)),
        }
    }

    /// Why the last restart failed, if no change came after it.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.0.lines().next_back()?.strip_prefix("failed ")
    }

    /// Adds a line, about `change`. On return the mark itself survives a power failure; its text
    /// need not.
    pub fn add(hosts: &Path, change: impl fmt::Display) -> Result<(), Fault> {
        let line = format!("changed {change}\n");
        let path = Self::path(hosts);
        let is_new = !path.exists();
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .custom_flags(no_follow())
            .open(&path)
            .and_then(|mut file| {
                if is_new {
                    give_to_folder_owner(&file, &path)?;
                }
                file.write_all(line.as_bytes())
            })
            .map_err(|error| Fault::io("write the mark", &path, &error))?;
        if is_new { sync_folder(&path) } else { Ok(()) }
    }

    /// Leaves the last line alone, which is enough to tell whether another comes. Otherwise the mark
    /// would grow for as long as changes come faster than restarts.
    pub fn shorten(self, hosts: &Path) -> Result<Self, Fault> {
        match self.0.lines().next_back().map(|last| format!("{last}\n")) {
            Some(last) if last.len() < self.0.len() => {
                replace(&Self::path(hosts), last.as_bytes(), Readers::Everybody)?;
                Ok(Self(last))
            }
            Some(_) | None => Ok(self),
        }
    }

    /// Puts the reason of a failed restart in the place of the changes that led to it.
    pub fn fail(hosts: &Path, reason: &str) -> Result<(), Fault> {
        replace(&Self::path(hosts), format!("failed {reason}\n").as_bytes(), Readers::Everybody)
    }

    /// Removes the mark: dnsmasq serves what the state says.
    pub fn remove(hosts: &Path) -> Result<(), Fault> {
        let path = Self::path(hosts);
        fs::remove_file(&path).map_err(|error| Fault::io("remove the mark", &path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_grows_with_each_change_and_tells_the_last_failure() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("hosts.dns");
        assert_eq!(Mark::read(&hosts).unwrap(), None);
        Mark::add(&hosts, "host1 192.0.2.1").unwrap();
        let first = Mark::read(&hosts).unwrap().unwrap();
        assert_eq!(first.failure(), None);
        Mark::add(&hosts, "host1 192.0.2.1").unwrap();
        assert_ne!(Mark::read(&hosts).unwrap().unwrap(), first);
        Mark::fail(&hosts, "exit status 1").unwrap();
        assert_eq!(Mark::read(&hosts).unwrap().unwrap().failure(), Some("exit status 1"));
        Mark::add(&hosts, "host1 192.0.2.1").unwrap();
        assert_eq!(Mark::read(&hosts).unwrap().unwrap().failure(), None);
        Mark::remove(&hosts).unwrap();
        assert_eq!(Mark::read(&hosts).unwrap(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

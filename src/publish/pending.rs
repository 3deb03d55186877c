//! The mark `.hosts.dns.pending`: while it exists, the name server may not know what the state
//! says.
//!
//! A request writes the mark before it touches any other file. Only a successful restart removes
//! it. Each change adds a line, so the restarter can tell whether another change came while it
//! worked. All of this happens under the lock of the state.
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
use crate::store::replace::{Readers, companion, open_helper, replace, sync_folder};

/// The text of the mark, as somebody read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending(String);

impl Pending {
    /// The path of the mark: it is beside the hosts file.
    #[must_use]
    pub fn path(hosts: &Path) -> PathBuf {
        companion(hosts, "pending")
    }

    /// Reads the mark. Returns `None` if nothing is pending.
    pub fn read(hosts: &Path) -> Result<Option<Self>, Fault> {
        let path = Self::path(hosts);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(Self(String::from_utf8_lossy(&bytes).into_owned()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Fault::io("read the mark", &path, &error)),
        }
    }

    /// Why the last restart failed, if no change has come since.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.0.lines().next_back()?.strip_prefix("failed ")
    }

    /// Adds a line about `change`. When this returns, the mark is there even after a power failure,
    /// though perhaps without its text.
    pub fn add(hosts: &Path, change: impl fmt::Display) -> Result<(), Fault> {
        let path = Self::path(hosts);
        let is_new = !path.exists();
        open_helper(&path, OpenOptions::new().append(true).mode(0o644))
            .and_then(|mut file| file.write_all(format!("changed {change}\n").as_bytes()))
            .map_err(|error| Fault::io("write the mark", &path, &error))?;
        if is_new { sync_folder(&path) } else { Ok(()) }
    }

    /// Keeps only the last line, which is enough to tell whether another one comes. Otherwise the
    /// mark would grow as long as changes come faster than restarts.
    pub(super) fn shorten(self, hosts: &Path) -> Result<Self, Fault> {
        match self.0.lines().next_back().map(|last| format!("{last}\n")) {
            Some(last) if last.len() < self.0.len() => {
                replace(&Self::path(hosts), last.as_bytes(), Readers::Everybody)?;
                Ok(Self(last))
            }
            Some(_) | None => Ok(self),
        }
    }

    /// Replaces the text of the mark with the reason why the restart failed.
    pub(crate) fn fail(hosts: &Path, reason: &str) -> Result<(), Fault> {
        replace(&Self::path(hosts), format!("failed {reason}\n").as_bytes(), Readers::Everybody)
    }

    /// Removes the mark: the name server knows what the state says.
    pub(super) fn remove(hosts: &Path) -> Result<(), Fault> {
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
        assert_eq!(Pending::read(&hosts).unwrap(), None);
        Pending::add(&hosts, "host1 192.0.2.1").unwrap();
        let first = Pending::read(&hosts).unwrap().unwrap();
        assert_eq!(first.failure(), None);
        Pending::add(&hosts, "host1 192.0.2.1").unwrap();
        assert_ne!(Pending::read(&hosts).unwrap().unwrap(), first);
        Pending::fail(&hosts, "exit status 1").unwrap();
        assert_eq!(Pending::read(&hosts).unwrap().unwrap().failure(), Some("exit status 1"));
        Pending::add(&hosts, "host1 192.0.2.1").unwrap();
        assert_eq!(Pending::read(&hosts).unwrap().unwrap().failure(), None);
        Pending::remove(&hosts).unwrap();
        assert_eq!(Pending::read(&hosts).unwrap(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

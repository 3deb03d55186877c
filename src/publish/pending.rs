//! The mark of a target: while it exists, the target's name servers may not know what the state
//! says.
//!
//! A request writes the marks before it touches any other file. Only a success of the target
//! removes its mark. Each change adds a line, so the restarter can tell whether another change came
//! while it worked. All of this happens under the lock of the state.
//!
//! ```text
//! changed host1.h.lohray.com 129.118.243.10
//! failed exit status 1: sudo: a password is required
//! ```

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::fault::Fault;
use crate::publish::target::{Target, published};
use crate::store::replace::{Readers, open_helper, replace, sync_folder};
use crate::text::visible;

/// The mark of a target.
#[derive(Clone, Debug)]
pub struct Mark {
    path: PathBuf,
    /// The file that exists since the first update, if the target has one.
    published: Option<PathBuf>,
}

/// The text of a mark, as somebody read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending(String);

/// Adds a line about `change` to the mark of each target.
pub fn add(config: &Config, change: impl fmt::Display) -> Result<(), Fault> {
    add_for(Target::of(&config.publish), &config.store.hosts, change)
}

/// Adds a line about `change` to the marks of these targets. When this returns, the marks are there
/// even after a power failure, though perhaps without their text.
pub(super) fn add_for(
    targets: impl Iterator<Item = Target>,
    hosts: &Path,
    change: impl fmt::Display,
) -> Result<(), Fault> {
    let line = format!("changed {change}\n");
    let mut is_any_new = false;
    for target in targets {
        let mark = Mark::of(target, hosts);
        is_any_new |= !mark.path.exists();
        mark.append(&line).map_err(|error| Fault::io("write the mark", &mark.path, &error))?;
    }
    if is_any_new { sync_folder(hosts) } else { Ok(()) }
}

impl Mark {
    /// The mark of a target.
    #[must_use]
    pub fn of(target: Target, hosts: &Path) -> Self {
        let published = (target == Target::Zones).then(|| published(hosts));
        Self { path: target.mark(hosts), published }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the mark. Returns `None` if nothing is pending. Before the first update of zones,
    /// everything is, even without a mark.
    pub fn read(&self) -> Result<Option<Pending>, Fault> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(Pending(String::from_utf8_lossy(&bytes).into_owned()))),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let is_first = self.published.as_ref().is_some_and(|file| !file.exists());
                Ok(is_first.then(Pending::default))
            }
            Err(error) => Err(Fault::io("read the mark", &self.path, &error)),
        }
    }

    /// Makes a mark if everything is pending without one. That would not be known any more as soon
    /// as the first update is under way.
    pub(super) fn ensure(&self, pending: Pending) -> Result<Pending, Fault> {
        if !pending.0.is_empty() {
            return Ok(pending);
        }
        let all = Pending("changed everything\n".to_owned());
        replace(&self.path, all.0.as_bytes(), Readers::Everybody)?;
        Ok(all)
    }

    fn append(&self, line: &str) -> io::Result<()> {
        open_helper(&self.path, OpenOptions::new().append(true).mode(0o644))?
            .write_all(line.as_bytes())
    }

    /// Keeps only the last line, which is enough to tell whether another one comes. Otherwise the
    /// mark would grow as long as changes come faster than they are published.
    pub(super) fn shorten(&self, pending: Pending) -> Result<Pending, Fault> {
        match pending.0.lines().next_back().map(|last| format!("{last}\n")) {
            Some(last) if last.len() < pending.0.len() => {
                replace(&self.path, last.as_bytes(), Readers::Everybody)?;
                Ok(Pending(last))
            }
            Some(_) | None => Ok(pending),
        }
    }

    /// Replaces the text of the mark with the reason why the target failed.
    pub(crate) fn fail(&self, reason: &str) -> Result<(), Fault> {
        replace(&self.path, format!("failed {reason}\n").as_bytes(), Readers::Everybody)
    }

    /// Removes the mark: the name servers know what the state says.
    pub(super) fn remove(&self) -> Result<(), Fault> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Fault::io("remove the mark", &self.path, &error))
            }
            _ => Ok(()),
        }
    }
}

impl Pending {
    /// Why the last try failed, if no change has come since. It is safe to look at, whoever wrote
    /// the mark.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.0.lines().next_back()?.strip_prefix("failed ").map(visible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Publish, Store, Zones};

    #[test]
    fn a_mark_grows_with_each_change_and_tells_the_last_failure() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("hosts.dns");
        let store = Store { hosts: hosts.clone(), ..Store::default() };
        let config = Config { store, ..Config::default() };
        let mark = Mark::of(Target::HostsFile, &hosts);
        assert_eq!(mark.read().unwrap(), None);
        add(&config, "host1 192.0.2.1").unwrap();
        let first = mark.read().unwrap().unwrap();
        assert_eq!(first.failure(), None);
        add(&config, "host1 192.0.2.1").unwrap();
        assert_ne!(mark.read().unwrap().unwrap(), first);
        mark.fail("\u{1b}[31mred").unwrap();
        assert_eq!(mark.read().unwrap().unwrap().failure().as_deref(), Some("\\u{1b}[31mred"));
        mark.fail("exit status 1").unwrap();
        assert_eq!(mark.read().unwrap().unwrap().failure().as_deref(), Some("exit status 1"));
        add(&config, "host1 192.0.2.1").unwrap();
        assert_eq!(mark.read().unwrap().unwrap().failure(), None);
        mark.remove().unwrap();
        assert_eq!(mark.read().unwrap(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_change_is_pending_for_each_target_and_all_is_before_zones_got_anything() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("hosts.dns");
        let store = Store { hosts: hosts.clone(), ..Store::default() };
        let publish = Publish { zones: Some(Zones::default()), ..Publish::default() };
        let config = Config { store, publish, ..Config::default() };
        let [mark, zones] = Target::ALL.map(|target| Mark::of(target, &hosts));
        assert_eq!(mark.read().unwrap(), None);
        let first = zones.read().unwrap().unwrap();
        let first = zones.ensure(first).unwrap();
        fs::write(published(&hosts), "").unwrap();
        assert_eq!(zones.read().unwrap(), Some(first.clone()));
        assert_eq!(zones.ensure(first.clone()).unwrap(), first);
        zones.remove().unwrap();
        add(&config, "host1 192.0.2.1").unwrap();
        for mark in [mark, zones] {
            assert!(mark.read().unwrap().is_some());
            mark.remove().unwrap();
            assert_eq!(mark.read().unwrap(), None);
        }
    }
}

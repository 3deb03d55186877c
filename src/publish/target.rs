//! The targets: the ways to publish. Each has a mark and a turn of its own, so one that fails does
//! not hold up the other.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::Publish;
use crate::store::replace::companion;

/// A way to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The hosts file, and a restart of the name server that reads it.
    HostsFile,
    /// Zones, by dynamic updates of their primary server.
    Zones,
}

impl Target {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::HostsFile, Self::Zones];

    /// The targets of a configuration: at least one. Without zones, the hosts file is one even if
    /// no restart is configured, because somebody has to bring it up to date after a fault.
    pub fn of(publish: &Publish) -> impl Iterator<Item = Self> {
        let has_zones = publish.zones.is_some();
        let is_on = [!publish.restart.is_empty() || !has_zones, has_zones];
        Self::ALL.into_iter().zip(is_on).filter_map(|(target, is_on)| is_on.then_some(target))
    }

    /// Its key in the configuration.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::HostsFile => "restart",
            Self::Zones => "publish",
        }
    }

    /// The target with this key.
    pub(super) fn named(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.key() == key)
    }

    /// The file of its mark. All files of a target are beside the hosts file.
    #[must_use]
    pub fn mark(self, hosts: &Path) -> PathBuf {
        let purpose = match self {
            Self::HostsFile => "pending",
            Self::Zones => "publish.pending",
        };
        companion(hosts, purpose)
    }

    /// The file of the lock on its turn.
    #[must_use]
    pub fn turn(self, hosts: &Path) -> PathBuf {
        let purpose = match self {
            Self::HostsFile => "restart.lock",
            Self::Zones => "publish.lock",
        };
        companion(hosts, purpose)
    }
}

/// What it does, in a sentence about it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::HostsFile => "restart",
            Self::Zones => "dynamic update",
        })
    }
}

/// The file with what the primary server of the zones has acknowledged. Each update writes it.
#[must_use]
pub fn published(hosts: &Path) -> PathBuf {
    companion(hosts, "published")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Zones;

    #[test]
    fn a_configuration_has_the_targets_that_it_names_and_at_least_one() {
        let restart = || vec!["true".to_owned()];
        let zones = || Some(Zones::default());
        for (restart, zones, targets) in [
            (restart(), None, &[Target::HostsFile][..]),
            (vec![], None, &[Target::HostsFile]),
            (restart(), zones(), &[Target::HostsFile, Target::Zones]),
            (vec![], zones(), &[Target::Zones]),
        ] {
            let publish = Publish { restart, zones, ..Publish::default() };
            assert_eq!(Target::of(&publish).collect::<Vec<_>>(), targets);
        }
    }
}

//! The turn: one process at a time has it, and only that process works on a target.
//!
//! A [`Turn`] is a lock on a file such as `.hosts.dns.restart.lock`. The file also keeps the time
//! when that work last started.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use rustix::io::FdFlags;

use crate::fault::Fault;
use crate::publish::target::Target;
use crate::store::lock::Lock;

/// The right to work on a target. It ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    lock: Lock,
    path: PathBuf,
}

/// A fault, and the turn that the process had at that moment. The process keeps the turn until the
/// fault is in the mark. Nobody else can work on the mark before that.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) turn: Turn,
    pub(super) fault: Fault,
}

impl Turn {
    /// Takes the turn. Returns `None` if another process has it.
    pub(super) fn take(target: Target, hosts: &Path) -> Result<Option<Self>, Fault> {
        let path = target.turn(hosts);
        Ok(Lock::try_acquire(&path)?.map(|lock| Self { lock, path }))
    }

    /// Waits for the turn, `limit` at most.
    pub(super) fn wait(target: Target, hosts: &Path, limit: Duration) -> Result<Self, Fault> {
        let path = target.turn(hosts);
        Ok(Self { lock: Lock::acquire(&path, limit)?, path })
    }

    /// Does a step of the work, and keeps the turn even if the step fails.
    pub(super) fn keep_during<T>(
        self,
        step: impl FnOnce(&Self) -> Result<T, Fault>,
    ) -> Result<(Self, T), Failed> {
        match step(&self) {
            Ok(result) => Ok((self, result)),
            Err(fault) => Err(Failed { turn: self, fault }),
        }
    }

    /// Gives up the turn, and only then the lock of the state. If it were the other way round, a
    /// request could add its line in between, and its restarter would find the turn taken.
    pub(super) fn give_up<StateLock>(self, state: StateLock) {
        drop(self);
        drop(state);
    }

    /// Waits until the interval since the last start is over. If the clock was set back, this waits
    /// for one interval at most.
    pub(super) fn wait_for_interval(&self, seconds: u32) {
        let interval = Duration::from_secs(seconds.into());
        if let Some(started) = last_start(self.lock.file()) {
            let since = (Utc::now() - started).to_std().unwrap_or_default();
            sleep(interval.saturating_sub(since));
        }
    }

    /// Lets the commands of this process have the turn, too, until they end. If this process is
    /// killed, a command that still sends an update would undo that of the next restarter. A
    /// command that closes all files, such as ssh, does not keep it.
    pub(super) fn extend_to_commands(&self) -> Result<(), Fault> {
        rustix::io::fcntl_setfd(self.lock.file(), FdFlags::empty())
            .map_err(|error| Fault::io("pass on the lock", &self.path, &error.into()))
    }

    /// Notes that the work starts now.
    pub(super) fn note_start(&self) -> Result<(), Fault> {
        write_time(self.lock.file())
            .map_err(|error| Fault::io("write the time", &self.path, &error))
    }
}

/// When the work last started, or `None` if the file does not tell.
fn last_start(mut file: &File) -> Option<DateTime<Utc>> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
    Some(DateTime::parse_from_rfc3339(text.trim_end()).ok()?.to_utc())
}

fn write_time(mut file: &File) -> io::Result<()> {
    file.rewind()?;
    // The text always has the same length: one write replaces the old one and needs no more space.
    let text = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true) + "\n";
    file.write_all(text.as_bytes())
}

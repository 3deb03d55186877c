//! A lock: flock(2) on a file of its own, which is never deleted or renamed.
//!
//! The lock is not on the data: a file that is replaced by a rename takes its lock with it. It ends
//! with its holder, however that ends. The descriptor is not inherited by child processes.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use fs2::FileExt;

use crate::error::Fault;
use crate::replace::{give_to_folder_owner, no_follow};

/// An exclusive lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Waits for the lock, `limit` at most.
    ///
    /// flock(2) lets those who wait have the lock in turn, but has no time limit. So a thread waits in
    /// it. To try again and again instead would leave it to chance who comes next, and under load some
    /// would never.
    pub fn acquire(path: &Path, limit: Duration) -> Result<Self, Fault> {
        if let Some(lock) = Self::try_acquire(path)? {
            return Ok(lock);
        }
        let (sender, receiver) = channel();
        let file = path.to_owned();
        thread::Builder::new()
            // Where nobody receives it any more, the lock ends with the message.
            .spawn(move || sender.send(Self::wait(&file)))
            .map_err(|error| Fault::io("start a thread that waits for the lock", path, &error))?;
        receiver.recv_timeout(limit).unwrap_or_else(|_| {
            let reason = format!(
                "the lock was not free within {} s: see who holds it with fuser",
                limit.as_secs()
            );
            Err(Fault::new(path.display(), reason))
        })
    }

    /// Takes the lock, or `None` where another process holds it.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>, Fault> {
        let file = open(path)?;
        match file.try_lock_exclusive() {
            Ok(()) => Ok(Some(Self(file))),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(None)
            }
            Err(error) => Err(Fault::io("lock", path, &error)),
        }
    }

    /// Waits for the lock as long as it takes.
    pub fn wait(path: &Path) -> Result<Self, Fault> {
        let file = open(path)?;
        loop {
            match file.lock_exclusive() {
                Ok(()) => return Ok(Self(file)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::io("lock", path, &error)),
            }
        }
    }

    /// The locked file, for a note in it.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.0
    }
}

/// The file is for the web server's user and group alone: whoever can open it can hold the lock. It is
/// never a link: root would write where somebody else's link leads.
fn open(path: &Path) -> Result<File, Fault> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o660).custom_flags(no_follow());
    options
        .open(path)
        .or_else(|error| match error.kind() {
            ErrorKind::NotFound => {
                let file = options.create(true).open(path)?;
                give_to_folder_owner(&file, path)?;
                Ok(file)
            }
            _ => Err(error),
        })
        .map_err(|error| Fault::io("open the lock", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn one_holder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".ip.txt.lock");
        let held = Lock::acquire(&path, Duration::ZERO).unwrap();
        assert!(Lock::try_acquire(&path).unwrap().is_none());
        let fault = Lock::acquire(&path, Duration::from_millis(30)).unwrap_err();
        assert!(fault.reason.contains("not free within"), "{fault}");
        drop(held);
        // Not by trying once: the thread of the attempt before has it for a moment.
        Lock::acquire(&path, Duration::from_secs(20)).unwrap();
        assert!(path.exists(), "the lock file stays");
    }

    #[test]
    fn nobody_waits_much_longer_than_the_others() {
        const WAITERS: u32 = 32;
        const TURNS: u32 = 12;
        const HOLD: Duration = Duration::from_millis(2);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".ip.txt.lock");
        let started = Instant::now();
        let wait = || {
            (0..TURNS).map(|_| {
                let asked = Instant::now();
                let _lock = Lock::acquire(&path, Duration::from_secs(60)).unwrap();
                let waited = asked.elapsed();
                thread::sleep(HOLD);
                waited
            })
        };
        let longest = thread::scope(|scope| {
            let waiters: Vec<_> =
                (0..WAITERS).map(|_| scope.spawn(|| wait().max().unwrap())).collect();
            waiters.into_iter().map(|waiter| waiter.join().unwrap()).max().unwrap()
        });
        // In turn, each waits for a twelfth of it. Trying again and again, some wait for nearly all.
        let total = started.elapsed();
        assert!(longest < total / 2, "{longest:?} of {total:?}");
    }
}

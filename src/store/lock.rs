//! A lock: flock(2) on a file of its own, which is never deleted or renamed.
//!
//! The lock is not on the data: a file that is replaced by a rename takes its lock with it. It ends
//! with its holder, however that ends. The descriptor is not inherited by child processes.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fs2::FileExt;

use crate::fault::Fault;
use crate::store::replace::open_helper;

/// An exclusive lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// The next thread comes when the lock is free again.
    _head: Option<Head>,
}

impl Lock {
    /// Waits for the lock, `limit` at most.
    ///
    /// flock(2) has no time limit, so this tries again and again. It tries more often the longer it
    /// has waited, so the longest waiter usually comes next. With growing pauses instead, somebody
    /// would wait for ever while others come and go.
    pub fn acquire(path: &Path, limit: Duration) -> Result<Self, Fault> {
        Self::acquire_since(Instant::now(), open(path)?, path, limit)
    }

    /// The same for many threads of one process. They queue, so only one of them has to try again
    /// and again, and the next one comes without delay. Nobody may hold two such locks.
    pub(super) fn acquire_in_turn(path: &Path, limit: Duration) -> Result<Self, Fault> {
        let (asked, file) = (Instant::now(), open(path)?);
        let head = Head::wait(limit);
        Ok(Self { _head: head, ..Self::acquire_since(asked, file, path, limit)? })
    }

    fn acquire_since(
        asked: Instant,
        file: File,
        path: &Path,
        limit: Duration,
    ) -> Result<Self, Fault> {
        while !try_lock(&file, path)? {
            let waited = asked.elapsed();
            if waited >= limit {
                let reason = format!(
                    "the lock was not free within {} s: see who holds it with fuser",
                    limit.as_secs()
                );
                return Err(Fault::new(path.display(), reason));
            }
            sleep(pause(waited).min(limit.saturating_sub(waited)));
        }
        Ok(file.into())
    }

    /// Takes the lock, or returns `None` if another process holds it.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Self>, Fault> {
        let file = open(path)?;
        Ok(try_lock(&file, path)?.then(|| file.into()))
    }

    /// Waits for the lock as long as it takes.
    pub fn wait(path: &Path) -> Result<Self, Fault> {
        let file = open(path)?;
        loop {
            match file.lock_exclusive() {
                Ok(()) => return Ok(file.into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::io("lock", path, &error)),
            }
        }
    }

    /// The locked file, for a note in it.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl From<File> for Lock {
    fn from(file: File) -> Self {
        Self { file, _head: None }
    }
}

/// The threads of this process that need a lock.
struct Queue {
    /// Whether one of them is at the head.
    is_taken: bool,
    /// How many others wait. Without any, nobody has to be called, which saves a system call.
    waiting: usize,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { is_taken: false, waiting: 0 });

/// Calls the next one.
static CALL: Condvar = Condvar::new();

/// The head of the queue, until it is dropped.
#[derive(Debug)]
struct Head;

impl Head {
    /// Queues. `None` after the time limit.
    fn wait(limit: Duration) -> Option<Self> {
        let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting += 1;
        let outcome = CALL.wait_timeout_while(queue, limit, |queue| queue.is_taken);
        let (mut queue, _) = outcome.unwrap_or_else(PoisonError::into_inner);
        queue.waiting -= 1;
        (!mem::replace(&mut queue.is_taken, true)).then(|| Self)
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
        queue.is_taken = false;
        if queue.waiting > 0 {
            CALL.notify_one();
        }
    }
}

/// How long a process sleeps before it tries again, having waited so long.
fn pause(waited: Duration) -> Duration {
    // To write a stamp takes less than that.
    if waited < Duration::from_micros(300) {
        return Duration::from_micros(100);
    }
    // After 50 ms it is half as long as at first, after 100 ms a third, and so on.
    let turns = waited.div_duration_f32(Duration::from_millis(50));
    Duration::from_millis(8).div_f32(1.0 + turns).max(Duration::from_micros(500))
}

fn try_lock(file: &File, path: &Path) -> Result<bool, Fault> {
    match file.try_lock_exclusive() {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(false)
        }
        Err(error) => Err(Fault::io("lock", path, &error)),
    }
}

/// The file is only for the web server's user and group. Anybody who can open it can hold the lock.
fn open(path: &Path) -> Result<File, Fault> {
    open_helper(path, OpenOptions::new().read(true).write(true).mode(0o660))
        .map_err(|error| Fault::io("open the lock", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn one_holder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".ip.txt.lock");
        let held = Lock::acquire(&path, Duration::ZERO).unwrap();
        assert!(Lock::try_acquire(&path).unwrap().is_none());
        let fault = Lock::acquire(&path, Duration::from_millis(30)).unwrap_err();
        assert!(fault.reason.contains("not free within"), "{fault}");
        drop(held);
        assert!(Lock::try_acquire(&path).unwrap().is_some());
        assert!(path.exists(), "the lock file stays");
    }

    #[test]
    fn a_lock_that_becomes_free_in_time_is_had() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".ip.txt.lock");
        let held = Lock::acquire(&path, Duration::ZERO).unwrap();
        thread::scope(|scope| {
            let waits = scope.spawn(|| Lock::acquire(&path, Duration::from_secs(60)).is_ok());
            sleep(Duration::from_millis(30));
            drop(held);
            assert!(waits.join().unwrap());
        });
    }

    #[test]
    fn threads_that_queue_do_not_ask_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".ip.txt.lock");
        let switches = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let line =
                status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.unwrap().trim().parse::<u32>().unwrap()
        };
        let held = Lock::acquire_in_turn(&path, Duration::from_secs(60)).unwrap();
        let fault = Lock::acquire_in_turn(&path, Duration::from_millis(30)).unwrap_err();
        assert!(fault.reason.contains("not free within"), "{fault}");
        thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let before = switches();
                let lock = Lock::acquire_in_turn(&path, Duration::from_secs(60));
                lock.map(|_lock| switches() - before)
            });
            sleep(Duration::from_millis(300));
            drop(held);
            let switches = waits.join().unwrap().unwrap();
            // One that asks again and again has a hundred.
            assert!(switches < 20, "{switches}");
        });
        // The limit counts for other processes, too.
        let _held = Lock::acquire(&path, Duration::ZERO).unwrap();
        assert!(Lock::acquire_in_turn(&path, Duration::from_millis(30)).is_err());
        assert!(Lock::acquire_in_turn(&path, Duration::ZERO).is_err(), "the queue went on");
    }

    #[test]
    fn those_who_have_waited_longest_come_next() {
        const CLIENTS: u32 = 32;
        const TURNS: u32 = 30;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".ip.txt.lock");
        let started = Instant::now();
        let client = || {
            let turns = (0..TURNS).map(|_| {
                // Another process begins.
                sleep(Duration::from_millis(1));
                let asked = Instant::now();
                let _lock = Lock::acquire(&path, Duration::from_secs(60)).unwrap();
                let waited = asked.elapsed();
                sleep(Duration::from_millis(3));
                waited
            });
            turns.max().unwrap()
        };
        let longest = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
            clients.into_iter().map(|client| client.join().unwrap()).max().unwrap()
        });
        // In turn, it would be a thirtieth. With pauses that grow, it is about a half.
        let total = started.elapsed();
        assert!(longest < total / 3, "{longest:?} of {total:?}");
    }
}

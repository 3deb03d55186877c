//! A connection of the web server: one request after the other, and no peer that is silent or slow
//! for long.

use std::cell::Cell;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

use crate::fastcgi::request::{Received, receive};
use crate::fault::Fault;
use crate::http::log;
use crate::http::reply::Output;

/// How long a request may take to arrive, and how long its reply may take to leave. Web servers
/// send a request when they have it, so only a slow body takes more than a moment.
const LIMIT: Duration = Duration::from_secs(20);

/// The same while more than half of all connections are taken: slow peers must not take the others,
/// too.
const LIMIT_IN_A_CROWD: Duration = Duration::from_secs(2);

/// How long a connection may wait for its next request. The shipped files tell the web servers to
/// close it before.
const IDLE: Duration = Duration::from_secs(60);

/// How long a connection may wait for a request when the process ends. The web server may have
/// connected a moment ago.
const GRACE: Duration = Duration::from_secs(1);

/// The most that we write at once, in bytes. In a longer write to a Unix socket, Linux waits for
/// the peer again and again, as long as the timeout each time.
const PIECE: usize = 16 * 1024;

/// How long to wait before we look again, if the system has no room for one thing more.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Serves a connection until it ends, until its time is over, or until `ending` is closed at its
/// other end. Each request passes through `answer`.
pub(super) fn serve(
    socket: OwnedFd,
    ending: &UnixStream,
    is_crowded: impl Fn() -> bool,
    answer: impl Fn(&Received) -> Output,
) {
    let limit = |usual| if is_crowded() { LIMIT_IN_A_CROWD } else { usual };
    // Whichever kind of socket this is, all that we ask of it is the same.
    let peer = Peer::new(socket.into());
    let mut input = BufReader::new(&peer);
    let mut patience = limit(LIMIT);
    loop {
        let next = match input.buffer() {
            [] => peer.wait(patience, ending),
            _ if readable([ending.as_fd()], Duration::ZERO) == [true] => Next::Last,
            _ => Next::More,
        };
        if next == Next::End {
            return;
        }
        peer.start_deadline(limit(LIMIT));
        let request = match receive(&mut input, &mut &peer) {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) => return note(&error),
        };
        let Output { reply, mut log, permit } = answer(&request);
        if !log.is_empty() && !logs_for_us(&request) {
            log::write(&mem::take(&mut log));
        }
        let records = request.reply(&log, &reply.into_bytes());
        peer.start_deadline(LIMIT);
        if (&peer).write_all(&records).is_err() {
            // The web server has hung up. It does not log these lines any more.
            log::write(&log);
            return;
        }
        drop(permit);
        if next == Next::Last || !request.keeps_connection {
            return;
        }
        patience = limit(IDLE);
    }
}

/// Whether the web server puts into its log what we send for it. Caddy 2.6 drops it, and later ones
/// do unless they are told to capture it.
fn logs_for_us(request: &Received) -> bool {
    let software = request.variable("SERVER_SOFTWARE").unwrap_or_default();
    !software.as_encoded_bytes().starts_with(b"Caddy/")
}

/// Tells the operator of a peer that is no web server, or one with wrong settings.
fn note(error: &io::Error) {
    if error.kind() == ErrorKind::InvalidData {
        let fault = Fault::new("standard input", format!("closed a connection: {error}"));
        log::write(&log::of_notices(&[fault]));
    }
}

/// What to expect of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A request, and perhaps others after it.
    More,
    /// A request, after which the process ends.
    Last,
    /// No request: the time is over, or the process ends.
    End,
}

/// The web server's end of the connection. Reading and writing fail once a deadline has passed,
/// however often the peer sends or takes a byte.
struct Peer {
    socket: UnixStream,
    deadline: Cell<Instant>,
    /// What the socket has for reading and for writing.
    timeout: Cell<Duration>,
}

impl Peer {
    fn new(socket: UnixStream) -> Self {
        Self { socket, deadline: Cell::new(Instant::now()), timeout: Cell::new(Duration::ZERO) }
    }

    fn start_deadline(&self, limit: Duration) {
        self.deadline.set(Instant::now() + limit);
    }

    /// Sets the socket's timeouts to what is left until the deadline, in whole seconds: as long as
    /// nobody has to wait, they stay the same, and that costs no system call.
    fn set_timeouts(&self) -> io::Result<()> {
        let left = self.deadline.get().saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let timeout = Duration::from_secs(left.as_secs() + 1);
        if self.timeout.replace(timeout) != timeout {
            self.socket.set_read_timeout(Some(timeout))?;
            self.socket.set_write_timeout(Some(timeout))?;
        }
        Ok(())
    }

    /// Waits for a request.
    fn wait(&self, patience: Duration, ending: &UnixStream) -> Next {
        match readable([self.socket.as_fd(), ending.as_fd()], patience) {
            [true, false] => Next::More,
            [true, true] => Next::Last,
            [false, false] => Next::End,
            [false, true] => match readable([self.socket.as_fd()], GRACE) {
                [true] => Next::Last,
                [false] => Next::End,
            },
        }
    }
}

impl Read for &Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.set_timeouts()?;
        (&self.socket).read(buffer)
    }
}

impl Write for &Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.set_timeouts()?;
        (&self.socket).write(bytes.get(..PIECE).unwrap_or(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until one of the descriptors can be read, and says which. A connection that the peer has
/// closed counts, too; reading then finds its end. After the time limit, or if this cannot be found
/// out, it is none.
pub(super) fn readable<const N: usize>(files: [BorrowedFd; N], limit: Duration) -> [bool; N] {
    let mut files = files.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN));
    let limit = Timespec::try_from(limit).ok();
    let outcome = retry_on_intr(|| poll(&mut files, limit.as_ref()));
    if outcome.is_err() {
        // The system has no memory for this. It may have some soon.
        sleep(PAUSE);
    }
    files.map(|file| outcome.is_ok() && !file.revents().is_empty())
}

//! A connection of the web server: one request after the other, and no peer that is silent or slow
//! for long.

use std::cell::Cell;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

use crate::fastcgi::record::{Received, receive};
use crate::fault::Fault;
use crate::http::log;
use crate::http::reply::Output;

/// How long a request may take to arrive, and how long its reply may take to leave. Web servers
/// send a request when they have it, so only a slow body takes more than a moment.
const LIMIT: Duration = Duration::from_secs(20);

/// How long a connection may wait for its next request. The shipped files tell the web servers to
/// close it before.
const IDLE: Duration = Duration::from_secs(60);

/// How long a connection may wait for a request when the process ends. The web server may have
/// connected a moment ago.
const GRACE: Duration = Duration::from_secs(1);

/// How long to wait before we look again, if the system has no room for one thing more.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Serves a connection until it ends, until its time is over, or until `ending` is closed at its
/// other end. Each request passes through `answer`.
pub(super) fn serve(socket: OwnedFd, ending: &UnixStream, answer: impl Fn(&Received) -> Output) {
    // Whichever kind of socket this is, all that we ask of it is the same.
    let peer = Peer::new(socket.into());
    let mut input = BufReader::new(&peer);
    let mut patience = LIMIT;
    loop {
        let next = if input.buffer().is_empty() { peer.wait(patience, ending) } else { Next::Any };
        if next == Next::None {
            return;
        }
        peer.limit();
        let request = match receive(&mut input, &mut &peer) {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) => return note(&error),
        };
        let Output { reply, log } = answer(&request);
        let log = if log.is_empty() || request.takes_log() {
            log
        } else {
            log::write(&log);
            String::new()
        };
        peer.limit();
        let records = request.reply(&log, &reply.to_bytes());
        if (&peer).write_all(&records).is_err() {
            // The web server has hung up. It does not log these lines any more.
            log::write(&log);
            return;
        }
        if next == Next::Last || !request.keeps_connection {
            return;
        }
        patience = IDLE;
    }
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
    Any,
    /// A request, after which the process ends.
    Last,
    /// Nothing: the time is over, or the process ends.
    None,
}

/// The web server's end of the connection. Reading and writing fail once a deadline has passed,
/// however often the peer sends or takes a byte.
struct Peer {
    socket: UnixStream,
    deadline: Cell<Instant>,
    /// The time limit that the socket has.
    limit: Cell<Duration>,
}

impl Peer {
    fn new(socket: UnixStream) -> Self {
        Self { socket, deadline: Cell::new(Instant::now()), limit: Cell::new(Duration::ZERO) }
    }

    fn limit(&self) {
        self.deadline.set(Instant::now() + LIMIT);
    }

    /// Makes the socket's time limit what is left until the deadline, in whole seconds: as long as
    /// nobody has to wait, it stays the same, and that costs no system call.
    fn keep_deadline(&self) -> io::Result<()> {
        let left = self.deadline.get().saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let limit = Duration::from_secs(left.as_secs() + 1);
        if self.limit.replace(limit) != limit {
            self.socket.set_read_timeout(Some(limit))?;
            self.socket.set_write_timeout(Some(limit))?;
        }
        Ok(())
    }

    /// Waits for a request.
    fn wait(&self, patience: Duration, ending: &UnixStream) -> Next {
        match readable([self.socket.as_fd(), ending.as_fd()], patience) {
            [true, false] => Next::Any,
            [true, true] => Next::Last,
            [false, false] => Next::None,
            [false, true] => match readable([self.socket.as_fd()], GRACE) {
                [true] => Next::Last,
                [false] => Next::None,
            },
        }
    }
}

impl Read for &Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.keep_deadline()?;
        (&self.socket).read(buffer)
    }
}

impl Write for &Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.keep_deadline()?;
        (&self.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until one of the descriptors can be read, and says which. A connection that has ended can
/// be read, too: that tells so. After the time limit, or if this cannot be found out, it is none.
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

//! The process: a thread for each connection, so no request waits for another one's lock.

use std::env;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::net::sockopt::socket_acceptconn;
use rustix::net::{AddressFamily, SocketFlags, acceptfrom_with};
use rustix::process::{Resource, WaitOptions, getrlimit, setrlimit, wait};

use crate::fastcgi::connection::{self, PAUSE, readable};
use crate::fastcgi::request::Received;
use crate::fault::Fault;
use crate::http::log;
use crate::http::reply::Output;

/// The most connections at a time. One more waits until another one ends.
const MAX_CONNECTIONS: u64 = 1024;

/// The descriptors that a connection needs, with a request that has files open.
const DESCRIPTORS: u64 = 8;

/// How long nobody needs a process that will be started again when somebody does.
const UNNEEDED: Duration = Duration::from_secs(60);

/// Longer than any process runs.
const ENDLESS: Duration = Duration::from_secs(1 << 30);

/// The environment variable with the peers of a TCP socket that we serve beside those on this
/// machine: their IP addresses, with commas between (FastCGI specification, 3.2).
const PEERS: &str = "FCGI_WEB_SERVER_ADDRS";

/// The environment variable that says that whoever has started us keeps the socket, and will start
/// us again when somebody connects: `ddns-cgi.service` sets it.
const ACTIVATION: &str = "DDNS_SOCKET_ACTIVATION";

/// Whether standard input is a socket that listens. Then a web server expects FastCGI.
pub fn is_expected(standard_input: impl AsFd) -> bool {
    socket_acceptconn(standard_input).unwrap_or(false)
}

/// Serves the connections of a listening socket, until SIGTERM or until nobody needs this process
/// any more. Whatever has begun by then is finished. Each request passes through `answer`.
pub fn serve(
    listener: BorrowedFd,
    answer: impl Fn(&Received) -> Output + Sync,
) -> Result<(), Fault> {
    let fault = |error| Fault::new("standard input", format!("cannot serve FastCGI: {error}"));
    let server = Server::start(listener).map_err(fault)?;
    let (ending, end) = UnixStream::pair().map_err(fault)?;
    let answer = |request: &Received| {
        let output = answer(request);
        server.note_request();
        output
    };
    let is_crowded = || server.count() > server.max_connections / 2;
    thread::scope(|scope| {
        let (ending, is_crowded, answer) = (&ending, &is_crowded, &answer);
        let start = |socket| {
            let count = server.connections.clone();
            let serve = move || {
                connection::serve(socket, ending, is_crowded, answer);
                drop(count);
            };
            // Without a thread, the connection is closed.
            let _ = thread::Builder::new().spawn_scoped(scope, serve);
        };
        while let Some(socket) = server.next_connection() {
            start(socket);
        }
        server.last_connections().for_each(start);
        drop(end);
    });
    Ok(())
}

struct Server<'l> {
    listener: BorrowedFd<'l>,
    signals: Signals,
    /// The peers of a TCP socket that we serve, beside those on this machine.
    peers: Vec<IpAddr>,
    /// Whether systemd holds the socket, and starts us again when somebody connects.
    is_activated: bool,
    last_request: Mutex<Instant>,
    /// Each connection has a clone.
    connections: Arc<()>,
    max_connections: u64,
}

impl<'l> Server<'l> {
    fn start(listener: BorrowedFd<'l>) -> io::Result<Self> {
        // Before the first thread: each one inherits the mask.
        let signals = Signals::block()?;
        // Other processes may share the socket, and be faster to accept a connection.
        rustix::io::ioctl_fionbio(listener, true)?;
        Ok(Self {
            listener,
            signals,
            peers: named_peers(&env::var(PEERS).unwrap_or_default())?,
            is_activated: env::var_os(ACTIVATION).is_some(),
            last_request: Mutex::new(Instant::now()),
            connections: Arc::new(()),
            max_connections: (raise_limit() / DESCRIPTORS).max(1),
        })
    }

    fn note_request(&self) {
        *self.last_request.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long to wait for a connection before nobody needs this process any more. While another
    /// one is open, the process stays: it would serve no new ones until that ends.
    fn patience(&self) -> Duration {
        let last = *self.last_request.lock().unwrap_or_else(PoisonError::into_inner);
        let left = UNNEEDED.saturating_sub(last.elapsed());
        match (self.is_activated, self.count()) {
            (false, _) => ENDLESS,
            (true, 0) => left,
            (true, _) => left.max(PAUSE),
        }
    }

    /// How many connections are open.
    fn count(&self) -> u64 {
        // One clone is the server's own.
        Arc::strong_count(&self.connections) as u64 - 1
    }

    /// The next connection, or `None` if the process is to end.
    fn next_connection(&self) -> Option<OwnedFd> {
        loop {
            let patience = self.patience();
            if patience.is_zero() {
                return None;
            }
            let [has_signal, has_connection] = if self.count() >= self.max_connections {
                let [has_signal] = readable([self.signals.as_fd()], PAUSE);
                [has_signal, false]
            } else {
                readable([self.signals.as_fd(), self.listener], patience)
            };
            if has_signal && self.signals.tell_to_end() {
                return None;
            }
            match has_connection.then(|| self.accept()) {
                None | Some(Ok(None)) => {}
                Some(Ok(Some(socket))) => return Some(socket),
                Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => {}
                Some(Err(_)) => thread::sleep(PAUSE),
            }
        }
    }

    /// The connections that wait when the process ends. If nobody keeps the socket, they would be
    /// lost.
    fn last_connections(&self) -> impl Iterator<Item = OwnedFd> {
        let most = if self.is_activated { 0 } else { MAX_CONNECTIONS };
        (0..most).map_while(|_| self.accept().ok()).flatten()
    }

    /// Accepts a connection. `None` if its peer is a stranger: whoever connects can claim any
    /// client's address. A Unix socket has the permissions of its file instead.
    fn accept(&self) -> io::Result<Option<OwnedFd>> {
        let (socket, address) = acceptfrom_with(self.listener, SocketFlags::CLOEXEC)?;
        if address.as_ref().is_some_and(|it| it.address_family() == AddressFamily::UNIX) {
            return Ok(Some(socket));
        }
        let peer = address.and_then(|address| SocketAddr::try_from(address).ok());
        if peer.is_some_and(|peer| is_welcome(peer.ip(), &self.peers)) {
            return Ok(Some(socket));
        }
        let peer = peer.map_or_else(|| "a peer without one".to_owned(), |peer| peer.to_string());
        let fault = Fault::new(PEERS, format!("does not name {peer}: closed its connection"));
        log::write(&log::of_notices(&[fault]));
        Ok(None)
    }
}

/// Reads the addresses of web servers, with commas between.
fn named_peers(text: &str) -> io::Result<Vec<IpAddr>> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let addresses = names.map(|name| name.parse().map(|address: IpAddr| address.to_canonical()));
    addresses.collect::<Result<_, _>>().map_err(|_| {
        let need = format!("{PEERS} must list IP addresses, with commas between");
        io::Error::new(ErrorKind::InvalidInput, need)
    })
}

fn is_welcome(peer: IpAddr, named: &[IpAddr]) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || named.contains(&peer)
}

/// Lets this process have descriptors for all connections, if the system permits. Returns for how
/// many it does. Requests that find none left would fail, so there are fewer connections instead.
fn raise_limit() -> u64 {
    const MOST: u64 = MAX_CONNECTIONS * DESCRIPTORS;
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(MOST, |maximum| maximum.min(MOST));
    limit.current = limit.current.map(|current| current.max(most));
    let _ = setrlimit(Resource::Nofile, limit);
    most
}

/// SIGTERM, which tells us to end, and SIGCHLD, which tells that a restarter has ended.
struct Signals(SignalFd);

impl Signals {
    fn block() -> io::Result<Self> {
        let signals: SigSet = [Signal::SIGTERM, Signal::SIGCHLD].into_iter().collect();
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&signals, flags)?))
    }

    /// Reads all signals, and waits for children that have ended. Says whether we are to end.
    fn tell_to_end(&self) -> bool {
        let mut is_told = false;
        while let Ok(Some(signal)) = self.0.read_signal() {
            is_told |= i32::try_from(signal.ssi_signo) == Ok(Signal::SIGTERM as i32);
        }
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        is_told
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_and_those_that_are_named_may_connect() {
        let named = named_peers("192.0.2.1, 2001:db8::1,").unwrap();
        for (peer, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("2001:db8::1", true),
            ("192.0.2.2", false),
            ("2001:db8::2", false),
            ("0.0.0.0", false),
        ] {
            let peer: IpAddr = peer.parse().unwrap();
            assert_eq!(is_welcome(peer, &named), expected, "{peer}");
            assert_eq!(is_welcome(peer, &[]), peer.to_canonical().is_loopback(), "{peer}");
        }
        assert!(named_peers("").unwrap().is_empty());
        assert!(named_peers("192.0.2.1,web.example").is_err());
    }
}

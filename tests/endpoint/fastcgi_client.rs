//! A FastCGI client (FastCGI Specification 1.0), which shares no code with the program, and the
//! program started as a FastCGI server.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::scene::{Scene, can_run, host1, is_root, tell, web_user};
use crate::server::mortal_web_user;

pub const BEGIN_REQUEST: u8 = 1;
pub const END_REQUEST: u8 = 3;
pub const PARAMS: u8 = 4;
pub const STDIN: u8 = 5;
pub const STDOUT: u8 = 6;
pub const STDERR: u8 = 7;

const RESPONDER: u8 = 1;
const KEEP_CONNECTION: u8 = 1;

/// The most that one record holds.
const LONGEST: usize = 0xffff;

/// One record, with padding to a multiple of eight bytes, as the specification recommends.
pub fn record(kind: u8, request: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    let padding = (8 - length % 8) % 8;
    let [id, length] = [request, length].map(u16::to_be_bytes);
    let head = [1, kind, id[0], id[1], length[0], length[1], u8::try_from(padding).unwrap(), 0];
    [&head, content, &[0; 8][..padding.into()]].concat()
}

/// A stream: as many records as its content needs, and the empty one that ends it.
pub fn stream(kind: u8, request: u16, content: &[u8]) -> Vec<u8> {
    let parts = content.chunks(LONGEST).map(|part| record(kind, request, part));
    parts.chain([record(kind, request, &[])]).flatten().collect()
}

/// The record that begins a request.
pub fn begin(request: u16, keep: bool) -> Vec<u8> {
    let flags = if keep { KEEP_CONNECTION } else { 0 };
    record(BEGIN_REQUEST, request, &[0, RESPONDER, flags, 0, 0, 0, 0, 0])
}

/// Names and values, each of them with its length before it: one byte, or four if it is above 127.
pub fn pairs(variables: &[(&str, &str)]) -> Vec<u8> {
    let length = |text: &str| match u8::try_from(text.len()) {
        Ok(short @ 0..=127) => vec![short],
        _ => (u32::try_from(text.len()).unwrap() | 1 << 31).to_be_bytes().to_vec(),
    };
    let pair = |(name, value): &(&str, &str)| {
        [length(name), length(value), (*name).into(), (*value).into()].concat()
    };
    variables.iter().flat_map(pair).collect()
}

/// A whole request, as a web server sends it.
pub fn request(request: u16, keep: bool, variables: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let params = stream(PARAMS, request, &pairs(variables));
    [begin(request, keep), params, stream(STDIN, request, body)].concat()
}

/// What came back for a request.
#[derive(Debug, Default)]
pub struct Response {
    pub stdout: Vec<u8>,
    /// Each record of standard error.
    pub stderr: Vec<Vec<u8>>,
    pub application_status: u32,
    pub protocol_status: u8,
}

/// A connection to a FastCGI server.
pub struct Connection(pub UnixStream);

impl Connection {
    pub fn open(socket: &Path) -> Self {
        Self::over(UnixStream::connect(socket).unwrap())
    }

    /// Over a socket of any kind.
    pub fn over(socket: impl Into<OwnedFd>) -> Self {
        let stream = UnixStream::from(socket.into());
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(stream)
    }

    /// Sends bytes: records, or what else a test makes up.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// The next record: its kind, its request and its content.
    pub fn record(&mut self) -> io::Result<(u8, u16, Vec<u8>)> {
        let mut head = [0; 8];
        self.0.read_exact(&mut head)?;
        let [version, kind, id1, id0, length1, length0, padding, _] = head;
        assert_eq!(version, 1, "{head:?}");
        let length = u16::from_be_bytes([length1, length0]);
        let mut content = vec![0; usize::from(length) + usize::from(padding)];
        self.0.read_exact(&mut content)?;
        content.truncate(length.into());
        Ok((kind, u16::from_be_bytes([id1, id0]), content))
    }

    /// All that comes for a request, to the end of it.
    pub fn response(&mut self, request: u16) -> io::Result<Response> {
        let mut response = Response::default();
        loop {
            let (kind, id, content) = self.record()?;
            assert_eq!(id, request, "{kind} {content:?}");
            match kind {
                STDOUT => response.stdout.extend(content),
                STDERR if content.is_empty() => {}
                STDERR => response.stderr.push(content),
                END_REQUEST => {
                    let [a, b, c, d, protocol, ..] = *content else { panic!("{content:?}") };
                    response.application_status = u32::from_be_bytes([a, b, c, d]);
                    response.protocol_status = protocol;
                    return Ok(response);
                }
                _ => panic!("{kind} {content:?}"),
            }
        }
    }

    /// Whether the server has closed the connection. Waits for it.
    pub fn is_closed(&mut self) -> bool {
        // Unlike read(2), which ends early when somebody stops and continues this process.
        let rest = io::copy(&mut (&self.0).take(1), &mut io::sink());
        let is_closed = matches!(rest, Ok(0));
        if !is_closed {
            tell(&format!("the connection is not closed, but: {rest:?}"));
        }
        is_closed
    }

    /// Tells the server that nothing more comes.
    pub fn finish(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }
}

/// A request on a connection of its own.
pub fn ask(socket: &Path, variables: &[(&str, &str)], body: &[u8]) -> Response {
    let mut connection = Connection::open(socket);
    connection.send(&request(1, false, variables, body)).unwrap();
    let response = connection.response(1).unwrap();
    assert!(connection.is_closed(), "without FCGI_KEEP_CONN, the server closes the connection");
    response
}

/// The program of a scene as a FastCGI server, as the web server's user if we are root. It is
/// stopped when dropped.
pub struct FastCgi {
    process: Child,
    socket: PathBuf,
}

impl FastCgi {
    /// Starts it as systemd does: its standard input is a listening Unix socket.
    pub fn start(scene: &Scene) -> Self {
        Self::of(scene, &scene.path("bin/ddns-cgi"), &[])
    }

    /// The same with another program.
    pub fn of(scene: &Scene, program: &Path, arguments: &[&str]) -> Self {
        let socket = scene.path("run/ddns-cgi.sock");
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, PermissionsExt::from_mode(0o660)).unwrap();
        if is_root() {
            chown(&socket, Some(web_user()), Some(web_user())).unwrap();
        }
        Self::on(scene, listener.into(), program, arguments)
    }

    /// The same on a socket of another kind.
    pub fn on(scene: &Scene, listener: OwnedFd, program: &Path, arguments: &[&str]) -> Self {
        // Many open it, and one of them empties it.
        let log = scene.path("run/fastcgi.log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let process = mortal_web_user()
            .arg("--")
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DDNS_CONFIG", scene.path("etc/config.json"))
            .stdin(listener)
            .stderr(log)
            .spawn()
            .unwrap();
        Self { process, socket: scene.path("run/ddns-cgi.sock") }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it takes at the moment.
    pub fn footprint(&self) -> Footprint {
        let folder = format!("/proc/{}", self.pid());
        let status = fs::read_to_string(format!("{folder}/status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        Footprint {
            memory: number("VmRSS:"),
            peak: number("VmHWM:"),
            threads: number("Threads:"),
            descriptors: self.descriptors().len(),
        }
    }

    /// The files that it has open.
    pub fn descriptors(&self) -> Vec<PathBuf> {
        fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .unwrap()
            .filter_map(|descriptor| fs::read_link(descriptor.unwrap().path()).ok())
            .collect()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Waits until it has ended. If it does not, it is killed, as its status tells.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.is_running() {
            if Instant::now() >= deadline {
                let _ = self.process.kill();
            }
            sleep(Duration::from_millis(1));
        }
        self.process.wait().unwrap()
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        if self.is_running() {
            let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        }
        self.wait()
    }
}

/// What a process takes: memory and its peak in KiB, threads, descriptors.
#[derive(Debug)]
pub struct Footprint {
    pub memory: usize,
    pub peak: usize,
    pub threads: usize,
    pub descriptors: usize,
}

impl Drop for FastCgi {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn the_client_of_the_tests_speaks_with_fcgiwrap() {
    const FCGIWRAP: &str = "/usr/sbin/fcgiwrap";
    if !can_run("the FastCGI client", &[FCGIWRAP]) {
        return;
    }
    let scene = Scene::new();
    let fcgiwrap = FastCgi::of(&scene, Path::new(FCGIWRAP), &["-f"]);
    let program = scene.path("bin/ddns-cgi").display().to_string();
    let config = scene.path("etc/config.json").display().to_string();
    // Longer than one record, and longer than a length of one byte.
    let long = "x".repeat(100_000);
    let variables = [
        ("SCRIPT_FILENAME", &*program),
        ("DDNS_CONFIG", &*config),
        ("REQUEST_METHOD", "POST"),
        ("REMOTE_ADDR", "127.0.0.10"),
        ("CONTENT_TYPE", "application/x-www-form-urlencoded"),
        ("HTTP_X_LONG", &*long),
    ];
    let query = host1();
    let length = query.len().to_string();
    let good = [&variables[..], &[("CONTENT_LENGTH", &*length)]].concat();
    let mut connection = Connection::open(fcgiwrap.socket());
    for answer in ["good 127.0.0.10\n", "nochg 127.0.0.10\n"] {
        connection.send(&request(1, true, &good, query.as_bytes())).unwrap();
        let response = connection.response(1).unwrap();
        let text = String::from_utf8(response.stdout).unwrap();
        assert!(text.ends_with(&format!("\r\n\r\n{answer}")), "{text}");
        assert!(response.stderr.is_empty());
    }
    // It serves one connection at a time.
    connection.finish();
    assert!(connection.is_closed());
    let response = ask(fcgiwrap.socket(), &variables, b"");
    assert_eq!((response.application_status, response.protocol_status), (0, 0));
    let said = String::from_utf8(response.stderr.concat()).unwrap();
    let line = "ddns-cgi: badrequest address=127.0.0.10 reason=\"missing user\"";
    assert_eq!(said.trim_end(), line);
    scene.settle();
}

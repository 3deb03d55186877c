//! A scratch installation: the article's files, a configuration, and the program.

use std::fs::{self, Permissions};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use chrono::{TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use tempfile::TempDir;

/// The state of the article.
pub const STATE: &str = r#"{
    "host1.h.lohray.com": {
        "ip": "129.118.243.10",
        "update": "2012-04-20 20:45:59"
    },
    "host2.h.lohray.com": {
        "ip": "75.110.204.100",
        "update": "2012-05-09 07:30:06"
    },
    "host3.h.lohray.com": {
        "ip": "50.19.108.105",
        "update": "2012-04-19 04:54:21"
    }
}"#;

/// The hosts file of the article.
pub const HOSTS: &str = "129.118.243.10 host1.h.lohray.com\n75.110.204.100 host2.h.lohray.com\n\
                         50.19.108.105 host3.h.lohray.com\n";

/// The credentials of the article.
pub const CREDENTIALS: &str = r#"{
    "user1": {
        "id": [
            "host1.h.lohray.com",
            "host2.h.lohray.com"
        ],
        "key": "secretkey1"
    },
    "user2": {
        "id": [
            "host3.h.lohray.com"
        ],
        "key": "secretkey2"
    }
}"#;

/// How long to wait for something that should happen soon.
const SOON: Duration = Duration::from_secs(40);

/// Folders and files of one installation; removed when dropped.
pub struct Scene {
    folder: TempDir,
}

impl Scene {
    /// The article's files. The restart command notes each call in the file `restarts`.
    pub fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap())
    }

    /// The same on a RAM disk, if the machine has one.
    pub fn on_ram_disk() -> Self {
        Self::in_folder(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    /// The same in a scratch folder within this one.
    pub fn within(folder: &Path) -> Self {
        Self::in_folder(tempfile::tempdir_in(folder).unwrap())
    }

    fn in_folder(folder: TempDir) -> Self {
        let scene = Self { folder };
        for folder in ["bin", "etc", "www", "www/ramcache", "run"] {
            fs::create_dir(scene.path(folder)).unwrap();
        }
        // Another process writes it. If this one did, a child of another test could inherit the open
        // file, and a program that is open for writing does not run (ETXTBSY).
        let copied = Command::new("cp").arg(program()).arg(scene.path("bin/ddns-cgi")).status();
        assert!(copied.unwrap().success());
        scene.write("www/ramcache/ip.txt", STATE);
        scene.write("www/ramcache/hosts.dns", HOSTS);
        scene.write("etc/credentials.json", CREDENTIALS);
        scene.write("run/restarts", "");
        scene.configure(&json!({}));
        for name in [
            "",
            "www/ramcache",
            "www/ramcache/ip.txt",
            "www/ramcache/hosts.dns",
            "run",
            "run/restarts",
        ] {
            scene.hand_over(name);
        }
        scene
    }

    /// Opens a file or folder to the web server's user.
    pub fn hand_over(&self, name: &str) {
        let path = self.path(name);
        let mode = if path.is_dir() { 0o755 } else { 0o664 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        if is_root() && !name.is_empty() {
            let user = web_user();
            chown(&path, Some(user), Some(user)).unwrap();
        }
    }

    /// Writes the configuration: the scene's paths and the note of each restart, unless given.
    pub fn configure(&self, keys: &Value) {
        let mut config = json!({
            "state": self.path("www/ramcache/ip.txt"),
            "hosts": self.path("www/ramcache/hosts.dns"),
            "credentials": self.path("etc/credentials.json"),
            "restart": ["sh", "-c", self.noting("")],
            "restart_interval": 0,
        });
        for (key, value) in keys.as_object().unwrap() {
            config[key] = value.clone();
        }
        self.write("etc/config.json", &config.to_string());
    }

    /// A shell script that notes its start, in milliseconds, then goes on with `script`.
    pub fn noting(&self, script: &str) -> String {
        format!("date +%s%3N >> {}; {script}", self.path("run/restarts").display())
    }

    /// A path of this scene.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes a file that has not been written to for a minute.
    pub fn write_long_ago(&self, name: &str, text: &str) {
        self.write(name, text);
        let file = fs::File::options().append(true).open(self.path(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        String::from_utf8(fs::read(self.path(name)).unwrap()).unwrap()
    }

    pub fn state(&self) -> String {
        self.read("www/ramcache/ip.txt")
    }

    pub fn hosts(&self) -> String {
        self.read("www/ramcache/hosts.dns")
    }

    /// Both files, if they exist.
    pub fn files(&self) -> [Option<Vec<u8>>; 2] {
        ["ip.txt", "hosts.dns"].map(|name| fs::read(self.path("www/ramcache").join(name)).ok())
    }

    /// Puts the two files back to a known text.
    pub fn reset(&self, state: &str, hosts: &str) {
        self.write("www/ramcache/ip.txt", state);
        self.write("www/ramcache/hosts.dns", hosts);
        self.write("run/restarts", "");
    }

    pub fn mark(&self) -> PathBuf {
        self.path("www/ramcache/.hosts.dns.pending")
    }

    /// The starts of the restart command so far, in milliseconds.
    pub fn restarts(&self) -> Vec<u64> {
        self.read("run/restarts").lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Waits until no request and no restarter is at work.
    pub fn settle(&self) {
        // Trying the restarter's lock would not do, because a restarter that finds it taken leaves. Nor
        // would the command line: within execve(2), a restarter still has that of its request.
        eventually("the restarter leaves", || self.processes().is_empty());
    }

    /// The process of a restarter of this scene.
    pub fn restarter(&self) -> Option<i32> {
        self.processes().into_iter().find(|process| {
            let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == b"ddns-cgi-restarter")
        })
    }

    /// The processes of the program of this scene, without those that wait for requests through a
    /// socket.
    fn processes(&self) -> Vec<i32> {
        let program = self.path("bin/ddns-cgi");
        let listening = listening_sockets();
        let waits = |process: &i32| {
            let stdin = fs::read_link(format!("/proc/{process}/fd/0"));
            stdin.is_ok_and(|file| listening.iter().any(|socket| file == Path::new(socket)))
        };
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|process: &i32| {
                let file = fs::read_link(format!("/proc/{process}/exe")).unwrap_or_default();
                let is_ours =
                    |program: &&str| file.ends_with(program) && self.is_named_to(*process);
                file == program || ["ddnsctl", "qemu-aarch64"].iter().any(is_ours)
            })
            .filter(|process| !waits(process))
            .collect()
    }

    /// Whether a process got a file of this scene in its environment, as the program does, and a restarter
    /// that `ddnsctl` starts. An emulator that begins to run it does not show more. For a moment, it shows
    /// nothing.
    fn is_named_to(&self, process: i32) -> bool {
        let variables = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let folder = self.path("").display().to_string();
        variables.is_empty() || String::from_utf8_lossy(&variables).contains(&folder)
    }

    /// Runs the program as a CGI without a web server, from `address`.
    pub fn cgi(&self, address: &str, query: &str) -> Cgi {
        let mut command = Command::new(self.path("bin/ddns-cgi"));
        command
            .env_clear()
            .env("DDNS_CONFIG", self.path("etc/config.json"))
            .env("GATEWAY_INTERFACE", "CGI/1.1")
            .env("REQUEST_METHOD", "GET")
            .env("REMOTE_ADDR", address)
            .env("QUERY_STRING", query)
            .stdin(std::process::Stdio::null());
        Cgi(command)
    }

    /// The one line of the answer to a GET.
    pub fn answer(&self, address: &str, query: &str) -> String {
        self.cgi(address, query).run().line
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.settle();
        }
    }
}

/// A run of the program without a web server.
pub struct Cgi(pub Command);

/// Its outcome.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: String,
    /// One line, or one for each host of a list.
    pub line: String,
    pub log: String,
}

/// A reply of any length.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub headers: String,
    pub body: String,
    pub log: String,
}

impl Cgi {
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// The same program, started by `words` that end where the program belongs.
    pub fn by(mut self, words: &[&str]) -> Self {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(self.0.get_program()).args(self.0.get_args());
        let variables = self.0.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.env_clear().envs(variables).stdin(std::process::Stdio::null());
        self.0 = command;
        self
    }

    pub fn by_web_user(self) -> Self {
        self.by(&["/usr/bin/setpriv", "--reuid=33", "--regid=33", "--clear-groups"])
    }

    pub fn run(mut self) -> Reply {
        Reply::from_cgi(&self.0.output().unwrap())
    }

    pub fn page(mut self) -> Page {
        Page::from_cgi(&self.0.output().unwrap())
    }
}

impl Reply {
    pub fn from_cgi(output: &Output) -> Self {
        let Page { status, headers, body, log } = Page::from_cgi(output);
        Self { status, headers, line: lines_of(&body), log }
    }
}

impl Page {
    fn from_cgi(output: &Output) -> Self {
        assert!(output.status.success(), "{output:?}");
        Self::from_response(&output.stdout, &output.stderr)
    }

    /// From the response of a CGI program (RFC 3875, 6), and what it wrote to standard error.
    pub fn from_response(response: &[u8], log: &[u8]) -> Self {
        let [text, log] = [response, log].map(|text| String::from_utf8(text.to_vec()).unwrap());
        let (headers, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no headers: {text} {log}"));
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, headers: headers.to_owned(), body: body.to_owned(), log }
    }
}

/// The Unix sockets that listen, as `/proc` names them (proc(5), /proc/net/unix).
fn listening_sockets() -> Vec<String> {
    const ACCEPTS: &str = "00010000";
    let text = fs::read_to_string("/proc/net/unix").unwrap();
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listening = lines.filter(|fields| fields.get(3) == Some(&ACCEPTS));
    listening.map(|fields| format!("socket:[{}]", fields[6])).collect()
}

/// The lines of a body, without the last line feed.
pub fn lines_of(body: &str) -> String {
    body.strip_suffix('\n').unwrap_or_else(|| panic!("no line: {body:?}")).to_owned()
}

/// `timeST` of this moment and `seconds` more.
pub fn time(seconds: i64) -> String {
    (Utc::now() + TimeDelta::seconds(seconds)).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The hash of protocol 1.
pub fn hash(id: &str, time: &str, key: &str) -> String {
    hex::encode(Sha1::digest(format!("{id}\n{time}\n{key}\n")))
}

/// A signed query.
pub fn signed(user: &str, key: &str, id: &str, time: &str) -> String {
    let encoded = time.replace(' ', "%20").replace('+', "%2B");
    format!("user={user}&id={id}&timeST={encoded}&hash={}", hash(id, time, key))
}

/// A query of protocol 2, with the addresses that are not empty.
pub fn signed_2(user: &str, key: &str, id: &str, time: &str, [ip, ip6]: [&str; 2]) -> String {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    hmac.update(format!("ddns2\n{user}\n{id}\n{time}\n{ip}\n{ip6}\n").as_bytes());
    let mut query = format!("user={user}&id={id}&timeST={}", time.replace(' ', "%20"));
    for (name, address) in [("ip", ip), ("ip6", ip6)] {
        if !address.is_empty() {
            query += &format!("&{name}={address}");
        }
    }
    format!("{query}&hmac={}", hex::encode(hmac.finalize().into_bytes()))
}

/// A query of the article's first user, signed now.
pub fn host1() -> String {
    signed("user1", "secretkey1", "host1.h.lohray.com", &time(0))
}

/// A port that is free for UDP and TCP, and that no client gets: those of clients begin at 32768.
pub fn free_port() -> u16 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: &u16| {
        UdpSocket::bind(("127.0.0.1", *port)).is_ok()
            && TcpListener::bind(("127.0.0.1", *port)).is_ok()
    };
    // Other processes of tests begin elsewhere.
    let start = std::process::id().wrapping_mul(97);
    let mut ports = (0..1000).map(|_| {
        let number = start.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
        10_000 + u16::try_from(number % 20_000).unwrap()
    });
    ports.find(is_free).unwrap()
}

/// Waits for something that should happen soon.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not come about that {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The program under test: `DDNS_CGI`, or else this build's.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        std::env::var_os("DDNS_CGI").map_or(env!("CARGO_BIN_EXE_ddns-cgi").into(), PathBuf::from)
    })
}

pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// The number of Debian's web server user.
pub fn web_user() -> u32 {
    33
}

/// Whether a test can run here. If not, it says so past the test runner's capture, or fails if
/// `DDNS_TEST_ALL` is set, as in CI.
pub fn can_run(test: &str, needs: &[&str]) -> bool {
    let missing: Vec<&str> = needs
        .iter()
        .copied()
        .filter(|need| match *need {
            "root" => !is_root(),
            path => !Path::new(path).exists(),
        })
        .collect();
    if missing.is_empty() {
        return true;
    }
    let message = format!("SKIPPED {test}: it needs {}", missing.join(", "));
    assert!(std::env::var_os("DDNS_TEST_ALL").is_none(), "{message}");
    tell(&message);
    false
}

/// Prints what a script measured, past the capture too.
pub fn tell_measured(text: &str) {
    text.lines().filter(|line| line.starts_with("measured: ")).for_each(tell);
}

/// Prints a line past the capture.
pub fn tell(line: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes());
}

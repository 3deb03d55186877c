//! A private dnsmasq behind a scene, with the shipped configuration. A restart really stops it and
//! starts another.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, Question, ResourceRecord, TYPE};

use crate::scene::{Scene, eventually, free_port, is_root, web_user};

pub const DNSMASQ: &str = "/usr/sbin/dnsmasq";

/// How long an answer may take. On the loopback address, a later one counts as none.
const PATIENCE: Duration = Duration::from_millis(500);

/// A running dnsmasq. It ends when this is dropped, or when the tests are killed.
pub struct Dnsmasq {
    keeper: Child,
    port: u16,
}

impl Dnsmasq {
    /// Starts one on a free port of the loopback address, with the scene's hosts file. It runs as the
    /// web server's user, who restarts it.
    pub fn start(scene: &Scene) -> Self {
        let port = free_port();
        write_program(scene, port);
        let service = scene.path("bin/dnsmasq-service").display().to_string();
        // It reads until this test closes its input or dies.
        let script = format!("{service}; read -r _; {service} end");
        let mut keeper = Command::new("/bin/sh");
        if is_root() {
            keeper = Command::new("/usr/bin/setpriv");
            let user = web_user();
            keeper.args([&format!("--reuid={user}"), &format!("--regid={user}")]);
            keeper.args(["--clear-groups", "/bin/sh"]);
        }
        keeper.arg("-c").arg(script).stdin(Stdio::piped());
        // An interrupt from the terminal does not reach the keeper.
        let keeper = keeper.process_group(0).spawn().unwrap();
        let dnsmasq = Self { keeper, port };
        let mut resolver = dnsmasq.resolver();
        eventually("dnsmasq answers", || resolver.ask("localhost").is_ok());
        dnsmasq
    }

    /// Where it answers.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The shell command that restarts it.
    pub fn restart(scene: &Scene) -> String {
        format!("exec {}", scene.path("bin/dnsmasq-service").display())
    }

    /// Somebody who queries it.
    pub fn resolver(&self) -> Resolver {
        Resolver::of(self.port, PATIENCE)
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Replaces `service dnsmasq`: restarts, or with `end` stops for good, one call at a time.
fn write_program(scene: &Scene, port: u16) {
    let path = |name| scene.path(name).display().to_string();
    let (run, settings) = (path("run"), path("run/dnsmasq.conf"));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("dnsmasq.d/ddns-cgi.conf");
    let shipped = fs::read_to_string(shipped).unwrap();
    let text = shipped.replace("/media/data/www/ramcache", &path("www/ramcache"));
    assert_ne!(text, shipped);
    let frame = format!(
        "port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\n\
         pid-file={run}/dnsmasq.pid\nlog-facility={run}/dnsmasq.log\n"
    );
    scene.write("run/dnsmasq.conf", &(text + &frame));
    // Not kill -0: if nobody reaps orphans, a zombie stays for ever.
    let script = format!(
        "#!/bin/sh\nexec 9>>{run}/dnsmasq.lock\nflock 9\n\
         pid=$(cat {run}/dnsmasq.pid 2>/dev/null) && kill \"$pid\" &&\n\
         while [ -e \"/proc/$pid/exe\" ]; do sleep 0.02; done\n\
         [ \"$1\" = end ] && rm {settings} && exit\n\
         {DNSMASQ} --conf-file={settings} --user=\"$(id -un)\" 9>&-\n"
    );
    scene.write("bin/dnsmasq-service", &script);
    fs::set_permissions(scene.path("bin/dnsmasq-service"), Permissions::from_mode(0o755)).unwrap();
}

/// Asks a name server.
pub struct Resolver {
    socket: UdpSocket,
    id: u16,
}

impl Resolver {
    /// Somebody who asks the server at a port of this machine, and waits for so long.
    pub fn of(port: u16, patience: Duration) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(patience)).unwrap();
        Self { socket, id: 0 }
    }

    /// The one address of `name`, or `None` if the answer has none. An error if no answer comes in time.
    pub fn ask(&mut self, name: &str) -> io::Result<Option<Ipv4Addr>> {
        self.exchange(name, TYPE::A, only_address)
    }

    /// All addresses in the answer.
    pub fn addresses(&mut self, name: &str, kind: TYPE) -> io::Result<Vec<IpAddr>> {
        let address = |record: &ResourceRecord| match &record.rdata {
            RData::A(a) => Some(IpAddr::V4(a.address.into())),
            RData::AAAA(a) => Some(IpAddr::V6(a.address.into())),
            _ => None,
        };
        self.exchange(name, kind, |answer| answer.answers.iter().filter_map(address).collect())
    }

    fn exchange<T>(
        &mut self,
        name: &str,
        kind: TYPE,
        read: impl FnOnce(&Packet) -> T,
    ) -> io::Result<T> {
        self.id = self.id.wrapping_add(1);
        let mut query = Packet::new_query(self.id);
        let name = Name::new(name).unwrap();
        query.questions.push(Question::new(name, kind.into(), CLASS::IN.into(), false));
        self.socket.send(&query.build_bytes_vec().unwrap())?;
        let mut buffer = [0; 4096];
        loop {
            let length = match self.socket.recv(&mut buffer) {
                // As after a stop of the whole machine: signal(7).
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                received => received?,
            };
            let answer = Packet::parse(&buffer[..length]).map_err(|error| {
                io::Error::new(ErrorKind::InvalidData, format!("no DNS message: {error}"))
            })?;
            // A late answer to an earlier question is ignored.
            if answer.id() == self.id {
                return Ok(read(&answer));
            }
        }
    }
}

fn only_address(answer: &Packet) -> Option<Ipv4Addr> {
    match answer.answers.as_slice() {
        [] => None,
        [record] => match &record.rdata {
            RData::A(a) => Some(a.address.into()),
            other => panic!("not asked for: {other:?}"),
        },
        several => panic!("a host has one address: {several:?}"),
    }
}

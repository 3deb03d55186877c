//! A private Knot DNS: the primary server of a scene's zones, which takes dynamic updates of
//! addresses, signed with the scene's key.

use std::fs;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, Question, TYPE};

use crate::scene::{Scene, eventually};

pub const KNOT: &str = "/usr/sbin/knotd";
pub const NSUPDATE: &str = "/usr/bin/nsupdate";

/// The zones. The first has the hosts of the article.
const ZONES: [&str; 2] = ["h.lohray.com", "example"];

/// Long enough for any answer on the loopback address.
const PATIENCE: Duration = Duration::from_secs(3);

/// A running Knot. It ends when this is dropped, or when the tests are killed.
pub struct Primary {
    keeper: Child,
    port: u16,
    log: PathBuf,
}

impl Primary {
    /// Starts one on a free port of the loopback address.
    pub fn start(scene: &Scene) -> Self {
        let port = free_port();
        let folder = scene.path("run/knot").display().to_string();
        fs::create_dir_all(&folder).unwrap();
        let secret = "c2VjcmV0IG9mIHRoZSB0ZXN0cywgMzIgYnl0ZXMgISE=";
        let zones = ZONES.map(|zone| format!("  - domain: {zone}\n    acl: update\n")).concat();
        let settings = format!(
            "server:\n    listen: 127.0.0.1@{port}\n    rundir: {folder}\n\
             database:\n    storage: {folder}\n\
             key:\n  - id: ddns\n    algorithm: hmac-sha256\n    secret: {secret}\n\
             acl:\n  - id: update\n    key: ddns\n    action: update\n    \
             update-type: [A, AAAA]\n\
             template:\n  - id: default\n    storage: {folder}\n    file: \"%s.zone\"\n\
             zone:\n{zones}"
        );
        scene.write("run/knot/knot.conf", &settings);
        for zone in ZONES {
            let file = format!("run/knot/{zone}.zone");
            if !scene.path(&file).exists() {
                scene.write(&file, "@ 3600 SOA ns h 1 60 60 600 7\n@ NS ns\nns A 127.0.0.1\n");
            }
        }
        let key =
            format!("key \"ddns\" {{\n    algorithm hmac-sha256;\n    secret \"{secret}\";\n}};\n");
        scene.write("etc/tsig.key", &key);
        // It reads until this test closes its input or dies.
        let script = format!(
            "exec 3<&0\n\
             {KNOT} --config={folder}/knot.conf >{folder}/log 2>&1 3<&- & server=$!\n\
             {{ read -r _; kill $server; }} <&3 &\n\
             wait $server; echo \"Knot ended with $?\" >>{folder}/log; kill $! 2>/dev/null"
        );
        let mut keeper = Command::new("/bin/sh");
        keeper.arg("-c").arg(script).stdin(Stdio::piped());
        // An interrupt from the terminal does not reach the keeper.
        let primary = Self {
            keeper: keeper.process_group(0).spawn().unwrap(),
            port,
            log: scene.path("run/knot/log"),
        };
        eventually("Knot answers", || primary.ask("ns.example", TYPE::A).is_some());
        primary
    }

    /// Key `publish` of the configuration. `command` is a line of shell in which `UPDATE` stands for
    /// nsupdate with its key.
    pub fn publish(&self, scene: &Scene, command: &str) -> Value {
        let update = format!("{NSUPDATE} -k {}", scene.path("etc/tsig.key").display());
        let command = command.replace("UPDATE", &update);
        json!({"command": ["sh", "-c", command], "port": self.port, "zones": ZONES})
    }

    /// The addresses of a name, IPv4 first.
    pub fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let ask = |kind| {
            // A question may get lost.
            (0..3).find_map(|_| self.ask(name, kind)).unwrap_or_else(|| {
                panic!("Knot does not answer: {}", fs::read_to_string(&self.log).unwrap())
            })
        };
        [ask(TYPE::A), ask(TYPE::AAAA)].concat()
    }

    /// The addresses in the answer to one question; `None` if there is no answer.
    fn ask(&self, name: &str, kind: TYPE) -> Option<Vec<IpAddr>> {
        let mut query = Packet::new_query(1);
        query.questions.push(Question::new(
            Name::new(name).unwrap(),
            kind.into(),
            CLASS::IN.into(),
            false,
        ));
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(&query.build_bytes_vec().unwrap()).ok()?;
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).ok()?;
        let answer = Packet::parse(&buffer[..length]).unwrap();
        let address = |record: &simple_dns::ResourceRecord| match &record.rdata {
            RData::A(a) => Some(IpAddr::V4(a.address.into())),
            RData::AAAA(a) => Some(IpAddr::V6(a.address.into())),
            _ => None,
        };
        Some(answer.answers.iter().filter_map(address).collect())
    }
}

/// A port that is free for UDP and TCP, and that no client gets: those of clients begin at 32768.
fn free_port() -> u16 {
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

impl Drop for Primary {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

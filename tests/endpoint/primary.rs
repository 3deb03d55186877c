//! A private Knot DNS: the primary server of a scene's zones, which takes dynamic updates of
//! addresses, signed with the scene's key.

use std::fs;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use simple_dns::TYPE;

use crate::dnsmasq::Resolver;
use crate::scene::{Scene, eventually, free_port};

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

    /// Sends updates of a zone, without the program.
    pub fn send(&self, scene: &Scene, zone: &str, updates: &str) {
        let script = format!("server 127.0.0.1 {}\nzone {zone}.\n{updates}send\n", self.port);
        scene.write("run/script", &script);
        let mut nsupdate = Command::new(NSUPDATE);
        nsupdate.arg("-k").arg(scene.path("etc/tsig.key")).arg(scene.path("run/script"));
        assert!(nsupdate.status().unwrap().success());
    }

    /// What the program keeps of this server in the first line of `.hosts.dns.published`.
    pub fn head(&self) -> String {
        format!("# server 127.0.0.1 {} ttl 7 zones {}\n", self.port, ZONES.join(" "))
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
        Resolver::of(self.port, PATIENCE).addresses(name, kind).ok()
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

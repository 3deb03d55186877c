//! A request of dyndns2 over any transport: what it gets, and what the hosts file says afterwards.

use base64ct::{Base64, Encoding};
use serde_json::json;

use crate::scene::{CREDENTIALS, Reply, Scene};
use crate::transport::{Request, Transport, is_changed_by_lighttpd};

pub const HOST1: &str = "host1.h.lohray.com";
pub const HOST2: &str = "host2.h.lohray.com";

/// The scene with dyndns2 over any connection, and a user bound to protocol 2.
pub fn scene() -> Scene {
    let scene = Scene::new();
    scene.configure(&json!({"dyndns2": "any"}));
    let users = CREDENTIALS.trim_end().strip_suffix('}').unwrap();
    let strict =
        format!(r#""strict": {{"id": ["{HOST1}"], "key": "k", "signature": "hmac-sha256"}}"#);
    scene.write("etc/credentials.json", &format!("{users}, {strict}}}"));
    scene
}

/// The value of `Authorization` for a login.
pub fn basic(login: &str) -> String {
    format!("Basic {}", Base64::encode_string(login.as_bytes()))
}

/// The addresses of a host in the hosts file.
pub fn lines(scene: &Scene, host: &str) -> String {
    let suffix = format!(" {host}");
    let hosts = scene.hosts();
    hosts.lines().filter_map(|line| line.strip_suffix(&suffix)).collect::<Vec<_>>().join(" ")
}

/// One request, its answer, and the addresses of host1 and host2 in the hosts file after it.
pub struct Case {
    pub query: String,
    /// Empty: without `Authorization`.
    pub login: &'static str,
    pub status: u16,
    pub line: &'static str,
    pub hosts: [&'static str; 2],
}

impl Case {
    /// Sends it to a script, and what follows it in the path, where these files are stored.
    pub fn check(
        &self,
        scene: &Scene,
        transport: &Transport,
        [script, path]: [&str; 2],
        [state, hosts]: [&str; 2],
    ) {
        let what = format!("{script}{path}?{} {}", self.query, self.login);
        scene.reset(state, hosts);
        let before = [lines(scene, HOST1), lines(scene, HOST2)];
        let reply = self.reply(scene, transport, script, path);
        if is_changed_by_lighttpd(&self.query, &reply.headers) {
            assert_eq!((reply.status, scene.state().as_str()), (400, state), "{what}");
            return;
        }
        assert_eq!((reply.status, &*reply.line), (self.status, self.line), "{what}: {reply:?}");
        // Caddy spells the name of the header in its own way.
        let headers = reply.headers.to_lowercase();
        let asks = headers.contains("www-authenticate: basic realm=");
        assert_eq!(asks, self.status == 401, "{what}: {reply:?}");
        assert!(reply.headers.contains("Cache-Control: no-store"), "{what}: {reply:?}");
        assert!(reply.headers.contains("Content-Length: "), "{what}: not in chunks: {reply:?}");
        scene.settle();
        assert_eq!([lines(scene, HOST1), lines(scene, HOST2)], self.hosts, "{what}");
        let is_changed = self.hosts != before;
        assert_eq!(scene.restarts().len(), usize::from(is_changed), "{what}: restarts");
        if !self.line.contains("good") && !self.line.contains("nochg") {
            assert_eq!(scene.state(), state, "{what}");
        }
    }

    fn reply(&self, scene: &Scene, transport: &Transport, script: &str, path: &str) -> Reply {
        let basic = format!("Authorization: {}", basic(self.login));
        let headers = if self.login.is_empty() { &[][..] } else { &[basic.as_str()] };
        let query = Some(self.query.as_str());
        let request = Request { script: Some(script), path, query, headers, ..Request::GET };
        transport.reply(scene, &request)
    }
}

//! The ways a request can take to the program.

use std::fs::File;

use crate::apache::{APACHE, Apache, FCGID, Kind};
use crate::caddy::{self, CADDY};
use crate::fastcgi_client::{FastCgi, ask};
use crate::lighttpd::{self, LIGHTTPD};
use crate::nginx::{self, FCGIWRAP, NGINX};
use crate::scene::{Page, Reply, Scene, can_run, lines_of};
use crate::server::Server;
use crate::web_servers;

/// What can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    BareCgi,
    BareFastCgi,
    ApachePreforkCgi,
    ApacheEventCgid,
    ApacheFastCgi,
    ApacheFcgid,
    Nginx,
    NginxFcgiwrap,
    Lighttpd,
    LighttpdOwn,
    LighttpdCgi,
    Caddy,
}

impl Way {
    pub const ALL: [Self; 12] = [
        Self::BareCgi,
        Self::BareFastCgi,
        Self::ApachePreforkCgi,
        Self::ApacheEventCgid,
        Self::ApacheFastCgi,
        Self::ApacheFcgid,
        Self::Nginx,
        Self::NginxFcgiwrap,
        Self::Lighttpd,
        Self::LighttpdOwn,
        Self::LighttpdCgi,
        Self::Caddy,
    ];

    /// One of each kind, for what takes its time and hardly depends on the way.
    const SOME: [Self; 4] = [Self::BareCgi, Self::BareFastCgi, Self::ApacheEventCgid, Self::Nginx];

    /// Each way through a web server that can run here.
    pub fn all_through_servers(test: &str) -> impl Iterator<Item = Self> {
        let all = Self::ALL.into_iter().filter(|way| !way.is_bare());
        all.filter(move |way| way.can_run(test))
    }

    /// As `scene::can_run`.
    pub fn can_run(self, test: &str) -> bool {
        can_run(&format!("{test} through {self:?}"), self.needs())
    }

    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::BareCgi => &[],
            Self::BareFastCgi => &["/usr/bin/setpriv"],
            Self::ApachePreforkCgi | Self::ApacheEventCgid | Self::ApacheFastCgi => &[APACHE],
            Self::Nginx => &[NGINX],
            Self::NginxFcgiwrap => &[NGINX, FCGIWRAP],
            Self::ApacheFcgid => &[APACHE, FCGID],
            Self::Lighttpd | Self::LighttpdOwn | Self::LighttpdCgi => &[LIGHTTPD],
            Self::Caddy => &[CADDY],
        }
    }

    /// Whether there is no web server.
    fn is_bare(self) -> bool {
        matches!(self, Self::BareCgi | Self::BareFastCgi)
    }

    pub fn is_lighttpd(self) -> bool {
        matches!(self, Self::Lighttpd | Self::LighttpdOwn | Self::LighttpdCgi)
    }

    /// Starts what belongs to it in front of a scene.
    pub fn start(self, scene: &Scene) -> Transport {
        match self {
            Self::BareCgi => Transport::Bare,
            Self::BareFastCgi => Transport::FastCgi(FastCgi::start(scene)),
            _ => Transport::Server(self.start_server(scene)),
        }
    }

    /// The same for a way through a web server.
    pub fn start_server(self, scene: &Scene) -> Server {
        match self {
            Self::BareCgi | Self::BareFastCgi => panic!("{self:?} has no web server"),
            Self::ApachePreforkCgi => Apache::start(scene, Kind::PreforkCgi).0,
            Self::ApacheEventCgid => Apache::start(scene, Kind::EventCgid).0,
            Self::ApacheFastCgi => Apache::start_with_fastcgi(scene).0,
            Self::ApacheFcgid => Apache::start_with_fcgid(scene, &web_servers::fcgid()).0,
            Self::Nginx => nginx::start(scene),
            Self::NginxFcgiwrap => nginx::start_with_fcgiwrap(scene, &[], &web_servers::fcgiwrap()),
            Self::Lighttpd => lighttpd::start(scene),
            Self::LighttpdOwn => {
                lighttpd::start_with_own(scene, "mod_fastcgi", &web_servers::lighttpd_own())
            }
            Self::LighttpdCgi => {
                lighttpd::start_with_own(scene, "mod_cgi", &web_servers::lighttpd_cgi())
            }
            Self::Caddy => caddy::start(scene),
        }
    }
}

/// A way to the program, ready to be taken.
pub enum Transport {
    /// The CGI environment, without a web server.
    Bare,
    /// FastCGI, without a web server.
    FastCgi(FastCgi),
    Server(Server),
}

/// One request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    pub address: &'a str,
    /// `/ip.php` if it is not given; the bare environment then names none.
    pub script: Option<&'a str>,
    /// What follows the script.
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub body: Option<&'a str>,
    pub headers: &'a [&'a str],
}

impl Request<'static> {
    /// A GET from an address that is host1's in `cases.rs`.
    pub const GET: Self = Self {
        method: "GET",
        address: "127.0.0.10",
        script: None,
        path: "",
        query: None,
        body: None,
        headers: &[],
    };
}

impl Request<'_> {
    /// The variables that a web server would make of it (RFC 3875, 4.1).
    fn variables(&self) -> Vec<(String, String)> {
        let mut variables = vec![
            ("GATEWAY_INTERFACE", "CGI/1.1".to_owned()),
            ("REQUEST_METHOD", self.method.to_owned()),
            ("REMOTE_ADDR", self.address.to_owned()),
            ("QUERY_STRING", self.query.unwrap_or("").to_owned()),
        ];
        for (name, value) in [("SCRIPT_NAME", self.script.unwrap_or("")), ("PATH_INFO", self.path)]
        {
            if !value.is_empty() {
                variables.push((name, value.to_owned()));
            }
        }
        if let Some(body) = self.body {
            variables.push(("CONTENT_LENGTH", body.len().to_string()));
            variables.push(("CONTENT_TYPE", "application/x-www-form-urlencoded".to_owned()));
        }
        let headers = self.headers.iter().map(|header| {
            let (name, value) = header.split_once(": ").unwrap();
            (format!("HTTP_{}", name.to_uppercase().replace('-', "_")), value.to_owned())
        });
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(headers).collect()
    }

    fn page_of_cgi(&self, scene: &Scene) -> Page {
        let mut cgi = scene.cgi(self.address, "");
        cgi.0.envs(self.variables());
        if let Some(body) = self.body {
            scene.write("run/body", body);
            cgi.0.stdin(File::open(scene.path("run/body")).unwrap());
        }
        cgi.page()
    }

    fn page_of_fastcgi(&self, server: &FastCgi) -> Page {
        let variables = self.variables();
        let variables: Vec<_> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
        let response = ask(server.socket(), &variables, self.body.unwrap_or("").as_bytes());
        assert_eq!((response.application_status, response.protocol_status), (0, 0));
        Page::from_response(&response.stdout, &response.stderr.concat())
    }

    fn url(&self) -> String {
        let query = self.query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{}{query}", self.script.unwrap_or("/ip.php"), self.path)
    }

    /// The options of curl.
    fn options(&self) -> Vec<&str> {
        let mut options = match self.method {
            "HEAD" => vec!["--head"],
            // lighttpd asks for the length of every body (411).
            "POST" if self.body.is_none() => {
                vec!["--request", "POST", "--header", "Content-Length: 0"]
            }
            method => vec!["--request", method],
        };
        options.extend(self.body.iter().flat_map(|body| ["--data", *body]));
        options.extend(self.headers.iter().flat_map(|header| ["--header", *header]));
        options
    }
}

impl Transport {
    /// Each one that can run here, with a scene of its own.
    pub fn all(test: &str, scene: fn() -> Scene) -> impl Iterator<Item = (Scene, Self)> {
        Self::each(&Way::ALL, test, scene)
    }

    /// One of each kind.
    pub fn some(test: &str, scene: fn() -> Scene) -> impl Iterator<Item = (Scene, Self)> {
        Self::each(&Way::SOME, test, scene)
    }

    fn each(
        ways: &'static [Way],
        test: &str,
        scene: fn() -> Scene,
    ) -> impl Iterator<Item = (Scene, Self)> {
        ways.iter().filter(move |way| way.can_run(test)).map(move |way| {
            let scene = scene();
            let transport = way.start(&scene);
            (scene, transport)
        })
    }

    pub fn reply(&self, scene: &Scene, request: &Request) -> Reply {
        match self {
            Self::Bare | Self::FastCgi(_) => {
                let Page { status, headers, body, log } = self.page(scene, request);
                Reply { status, headers, line: lines_of(&body), log }
            }
            Self::Server(it) => it.curl(request.address, &request.url(), &request.options()),
        }
    }

    pub fn page(&self, scene: &Scene, request: &Request) -> Page {
        match self {
            Self::Bare => request.page_of_cgi(scene),
            Self::FastCgi(server) => request.page_of_fastcgi(server),
            Self::Server(it) => it.page(request.address, &request.url(), &request.options()),
        }
    }

    /// The one line of the answer to a GET.
    pub fn answer(&self, scene: &Scene, address: &str, query: &str) -> String {
        self.reply(scene, &Request { address, query: Some(query), ..Request::GET }).line
    }

    /// The web server, if there is one.
    pub fn server(&self) -> Option<&Server> {
        match self {
            Self::Bare | Self::FastCgi(_) => None,
            Self::Server(server) => Some(server),
        }
    }
}

/// Whether a request that got these headers was not passed on as it came: lighttpd refuses some bytes,
/// however they are written, and corrects broken escapes.
pub fn is_changed_by_lighttpd(query: &str, headers: &str) -> bool {
    let is_odd = ["%00", "%0a", "%ff", "%zz"].iter().any(|escape| query.contains(escape));
    is_odd && headers.contains("Server: lighttpd")
}

//! The ways a request can take to the program.

use std::fs::File;
use std::iter::once;

use crate::apache::{Apache, Kind};
use crate::scene::{Cgi, Page, Reply, Scene};

/// A way to the program.
pub enum Transport {
    /// The CGI environment, without a web server.
    Bare,
    Apache(Apache),
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
    fn cgi(&self, scene: &Scene) -> Cgi {
        let query = self.query.unwrap_or("");
        let mut cgi = scene.cgi(self.address, query).env("REQUEST_METHOD", self.method);
        let script = self.script.unwrap_or("");
        for (name, value) in [("SCRIPT_NAME", script), ("PATH_INFO", self.path)] {
            if !value.is_empty() {
                cgi = cgi.env(name, value);
            }
        }
        for header in self.headers {
            let (name, value) = header.split_once(": ").unwrap();
            cgi = cgi.env(&format!("HTTP_{}", name.to_uppercase().replace('-', "_")), value);
        }
        if let Some(body) = self.body {
            scene.write("run/body", body);
            cgi.0.stdin(File::open(scene.path("run/body")).unwrap());
            cgi = cgi
                .env("CONTENT_LENGTH", &body.len().to_string())
                .env("CONTENT_TYPE", "application/x-www-form-urlencoded");
        }
        cgi
    }

    fn url(&self) -> String {
        let query = self.query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{}{query}", self.script.unwrap_or("/ip.php"), self.path)
    }

    /// The options of curl.
    fn options(&self) -> Vec<&str> {
        let mut options = match self.method {
            "HEAD" => vec!["--head"],
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
        once((scene(), Self::Bare)).chain(Self::all_through_apache(test, scene))
    }

    /// The same without the bare one.
    pub fn all_through_apache(
        test: &str,
        scene: fn() -> Scene,
    ) -> impl Iterator<Item = (Scene, Self)> {
        Kind::all(test, &[]).map(move |kind| {
            let scene = scene();
            let apache = Apache::start(&scene, kind);
            (scene, Self::Apache(apache))
        })
    }

    pub fn reply(&self, scene: &Scene, request: &Request) -> Reply {
        match self {
            Self::Bare => request.cgi(scene).run(),
            Self::Apache(it) => it.curl(request.address, &request.url(), &request.options()),
        }
    }

    pub fn page(&self, scene: &Scene, request: &Request) -> Page {
        match self {
            Self::Bare => request.cgi(scene).page(),
            Self::Apache(it) => it.page(request.address, &request.url(), &request.options()),
        }
    }

    /// The one line of the answer to a GET.
    pub fn answer(&self, scene: &Scene, address: &str, query: &str) -> String {
        self.reply(scene, &Request { address, query: Some(query), ..Request::GET }).line
    }
}

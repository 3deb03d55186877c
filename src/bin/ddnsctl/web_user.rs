//! The user that the web server runs as, and what this user may do.

use std::ffi::OsStr;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ddns_cgi::config::COMMAND_PATH;
use ddns_cgi::fault::Fault;
use ddns_cgi::publish::command;

use crate::words::quoted;

/// The user that the web server runs as, and so does `ddns-cgi`.
#[derive(Clone)]
pub struct WebUser {
    pub name: String,
    pub gid: u32,
    /// The name of its group.
    pub group: String,
}

impl WebUser {
    /// The user of this name. Without a name, the first of the usual ones that exists.
    pub fn find(name: Option<&str>) -> Option<Self> {
        let candidates = name.map_or(vec!["www-data", "apache", "httpd"], |name| vec![name]);
        candidates.into_iter().find_map(|name| {
            Some(Self {
                name: name.to_owned(),
                gid: id("-g", name)?.parse().ok()?,
                group: id("-gn", name)?,
            })
        })
    }

    /// Whether a command succeeds when this user runs it. `None` if it cannot be run as this user.
    pub fn can(&self, command: &[&str]) -> Option<bool> {
        let words = self.words(command.iter().copied());
        let (program, arguments) = words.split_first()?;
        succeeds(program, arguments)
    }

    /// Runs a command as this user, just as the restarter would. The error says why it did not
    /// succeed.
    pub fn run(&self, words: &[String], input: &str, limit: Duration) -> Result<(), String> {
        command::run(&self.words(words.iter().map(String::as_str)), input, limit)
    }

    /// The command that runs a command as this user.
    fn words<'w>(&self, command: impl Iterator<Item = &'w str>) -> Vec<String> {
        let group = self.gid.to_string();
        let own = ["setpriv", "--reuid", &self.name, "--regid", &group, "--init-groups", "--"];
        own.map(str::to_owned).into_iter().chain(command.map(str::to_owned)).collect()
    }

    /// How `chown` writes this user with its group.
    pub fn owner(&self) -> String {
        quoted(format_args!("{}:{}", self.name, self.group))
    }

    /// Whether this user has a right on a file: `-r` to read it, `-w` to write it.
    pub fn may(&self, right: &str, path: &Path) -> bool {
        self.can(&["test", right, &path.display().to_string()]).unwrap_or(false)
    }
}

/// Whether a command succeeds. `None` if it cannot be run.
pub fn succeeds(program: &str, arguments: &[impl AsRef<OsStr>]) -> Option<bool> {
    let status = Command::new(program)
        .args(arguments)
        .env("PATH", COMMAND_PATH.join(":"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.ok().map(|status| status.success())
}

/// What `id` says about a user. It asks all the system's sources, which a static program cannot.
fn id(option: &str, name: &str) -> Option<String> {
    let output = Command::new("id").args([option, name]).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(text.trim().to_owned())
}

/// Gives the credentials to the web server's group. That group can then read them; others cannot.
pub fn give_credentials_to_group(path: &Path) -> Result<(), Fault> {
    match WebUser::find(None) {
        Some(user) if rustix::process::geteuid().is_root() => chown(path, None, Some(user.gid))
            .map_err(|error| Fault::io("give to the web server's group", path, &error)),
        _ => Ok(()),
    }
}

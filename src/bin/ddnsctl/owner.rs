//! Work in the web server's folder is done as that folder's owner, even if root asks for it. So a
//! link that somebody plants there leads no further than the owner may go, and root leaves no file
//! of its own behind.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use ddns_cgi::config::{Config, VARIABLE};
use ddns_cgi::fault::Fault;
use rustix::process::geteuid;

use crate::{QUIET, Report};

/// The environment variable of a process that works for root. Such a process does not advise its
/// user to be root.
pub const FOR_ROOT: &str = "DDNSCTL_FOR_ROOT";

/// Does the work here, or has the owner of the state's folder do it: `arguments` are the same work
/// as a command line.
pub fn work(
    config: &Config,
    arguments: &[&str],
    work: impl FnOnce(&Config) -> Result<Report, Fault>,
) -> Result<Report, Fault> {
    match other_owner(config)? {
        Some(owner) => run_again(config, arguments, Some(&owner), None),
        None => work(config),
    }
}

/// Runs this program with other arguments and this input, as the owner of the state's folder if
/// root asks.
pub fn run(config: &Config, arguments: &[&str], input: &str) -> Result<Report, Fault> {
    run_again(config, arguments, other_owner(config)?.as_ref(), Some(input))
}

fn run_again(
    config: &Config,
    arguments: &[&str],
    owner: Option<&fs::Metadata>,
    input: Option<&str>,
) -> Result<Report, Fault> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("ddnsctl").env_remove(VARIABLE);
    // Options come first: what follows -- is no option.
    if QUIET.load(Ordering::Relaxed) {
        command.arg("--quiet");
    }
    command.args(arguments);
    if let Some(file) = &config.file {
        command.env(VARIABLE, file);
    }
    if let Some(owner) = owner {
        command.uid(owner.uid()).gid(owner.gid()).env(FOR_ROOT, "1");
    }
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let fault = |error| Fault::io("run again", Path::new("ddnsctl"), &error);
    let mut child = command.spawn().map_err(fault)?;
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
        // If the other process does not read it, its status says so.
        let _ = pipe.write_all(input.as_bytes());
    }
    let status = child.wait().map_err(fault)?;
    let status = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(Report { status, ..Report::default() })
}

/// The folder of the state, if this process is root and the folder belongs to somebody else.
fn other_owner(config: &Config) -> Result<Option<fs::Metadata>, Fault> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let folder = config.store.state.parent().unwrap_or(Path::new("/"));
    let metadata = fs::metadata(folder)
        .map_err(|error| Fault::io("find the folder of the state", folder, &error))?;
    Ok(Some(metadata).filter(|folder| folder.uid() != 0))
}

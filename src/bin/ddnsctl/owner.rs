//! Work in the web server's folder is done as its owner, also when root asks for it: a link that is
//! planted there leads no further than its owner may go, and no file of root's is left behind.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use ddns_cgi::config::{Config, VARIABLE};
use ddns_cgi::fault::Fault;
use rustix::process::geteuid;

use crate::Report;

/// The environment variable of a process that works for root: it needs no advice to be root.
pub const FOR_ROOT: &str = "DDNSCTL_FOR_ROOT";

/// Whether this process has to hand the work over.
pub fn is_another(config: &Config) -> Result<bool, Fault> {
    Ok(geteuid().is_root() && folder(config)?.uid() != 0)
}

/// Runs this program with other arguments as the owner of the state's folder, or as the user that we
/// are, where that is not root.
pub fn run(config: &Config, arguments: &[&OsStr]) -> Result<Report, Fault> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("ddnsctl").args(arguments).env_remove(VARIABLE);
    if let Some(file) = &config.file {
        command.env(VARIABLE, file);
    }
    if is_another(config)? {
        let folder = folder(config)?;
        command.uid(folder.uid()).gid(folder.gid()).env(FOR_ROOT, "1");
    }
    let status =
        command.status().map_err(|error| Fault::io("run again", Path::new("ddnsctl"), &error))?;
    let status = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(Report { text: String::new(), status })
}

fn folder(config: &Config) -> Result<fs::Metadata, Fault> {
    let folder = config.store.state.parent().unwrap_or(Path::new("/"));
    fs::metadata(folder).map_err(|error| Fault::io("find the folder of the state", folder, &error))
}

//! `ddnsctl`, the operator's tool: a command line for the library of `ddns-cgi`.

mod apply;
mod check;
mod cli;
mod credentials;
mod forget;
mod generate;
mod identify;
mod import;
mod list;
mod owner;
mod rebuild;
mod sign;
mod state;
mod table;
mod users;
mod web_user;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use dlmalloc::GlobalDlmalloc;
use rustix::process::{DumpableBehavior, geteuid, set_dumpable_behavior};

use cli::{Arguments, Command};

/// As that of `ddns-cgi`: the heap of musl makes a large state cost twice as much.
#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

/// What a command prints, and its exit status.
struct Report {
    text: String,
    status: u8,
}

impl Report {
    /// A report that all is well.
    fn good(text: impl Into<String>) -> Self {
        Self { text: text.into(), status: 0 }
    }
}

fn main() -> ExitCode {
    // The keys of all users may be in memory. A crash must not leave them in a core dump.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let arguments = Arguments::parse();
    match run(arguments).and_then(|report| print(&report)) {
        Ok(status) => ExitCode::from(status),
        Err(fault) => {
            let is_root = geteuid().is_root() || std::env::var_os(owner::FOR_ROOT).is_some();
            let fault = if is_root { fault } else { for_a_user(fault) };
            let _ = io::stderr().write_all(format!("ddnsctl: {fault}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Prints a report and returns its status. It is no failure if a reader such as `head` has seen
/// enough.
fn print(report: &Report) -> Result<u8, Fault> {
    let mut output = io::stdout();
    match output.write_all(report.text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let reason = format!("{error}; the command itself is done");
            Err(Fault::new("standard output", reason))
        }
        _ => Ok(report.status),
    }
}

/// Advice about access is for root. Any other user is told to run this as root.
fn for_a_user(fault: Fault) -> Fault {
    match fault.kind {
        Some(ErrorKind::PermissionDenied) => {
            Fault::new(fault.subject, "you have no access to it: run ddnsctl as root")
        }
        Some(_) | None => fault,
    }
}

fn run(arguments: Arguments) -> Result<Report, Fault> {
    let file = arguments.config.map(Into::into);
    let load = || Config::load(file.clone());
    match arguments.command {
        Command::Generate { folder } => generate::run(&folder),
        Command::Check(options) => Ok(check::run(load(), &options)),
        // The operator may be about to restore this copy. A broken configuration does not matter.
        Command::List(options) if options.state.is_some() => {
            list::run(&load().unwrap_or_default(), &options)
        }
        Command::List(options) => list::run(&load()?, &options),
        Command::User(command) => users::user(&load()?.store, command),
        Command::Host(command) => users::host(&load()?, command),
        Command::Sign(options) => sign::run(&load()?.store, &options),
        Command::Apply { all } => {
            let arguments: &[&str] = if all { &["apply", "--all"] } else { &["apply"] };
            owner::work(&load()?, arguments, |config| apply::run(config, all))
        }
        Command::Rebuild => owner::work(&load()?, &["rebuild"], rebuild::run),
        Command::Forget { host } => {
            owner::work(&load()?, &["forget", &host], |config| forget::run(config, &host))
        }
        Command::Identify { host, identifier } => {
            let arguments = ["identify", &host, &identifier.to_string()];
            owner::work(&load()?, &arguments, |config| identify::run(config, &host, identifier))
        }
        Command::Import(options) => import::run(&load()?.store, &options),
    }
}

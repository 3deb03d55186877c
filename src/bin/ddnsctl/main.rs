//! `ddnsctl`, the operator's tool: one command line over the library of `ddns-cgi`.

mod apply;
mod check;
mod cli;
mod generate;
mod import;
mod list;
mod owner;
mod rebuild;
mod sign;
mod table;
mod users;
mod web_user;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use rustix::process::{DumpableBehavior, geteuid, set_dumpable_behavior};

use cli::{Arguments, Command};

/// What a command prints, and whether all is well.
struct Report {
    text: String,
    status: u8,
}

impl Report {
    /// All is well.
    fn good(text: impl Into<String>) -> Self {
        Self { text: text.into(), status: 0 }
    }
}

fn main() -> ExitCode {
    // The keys of all users may be in memory: a crash must not leave them in a core dump.
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

/// Prints a report, and passes its status on. A reader that has seen enough, such as head, is not a
/// failure.
fn print(report: &Report) -> Result<u8, Fault> {
    let mut output = io::stdout();
    match output.write_all(report.text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let reason = format!("{error}; what was to be done is done");
            Err(Fault::new("standard output", reason))
        }
        _ => Ok(report.status),
    }
}

/// What root is told about access is of no use to another user.
fn for_a_user(fault: Fault) -> Fault {
    if fault.reason.contains("Permission denied") {
        return Fault::new(fault.subject, "you have no access to it: run ddnsctl as root");
    }
    fault
}

fn run(arguments: Arguments) -> Result<Report, Fault> {
    if let Command::Generate { folder } = &arguments.command {
        return generate::run(folder);
    }
    let file = arguments.config.map(Into::into);
    if let Command::Check(options) = &arguments.command {
        return Ok(check::run(file, options));
    }
    let config = match &arguments.command {
        // A saved copy can be looked at, and so be restored, whatever the configuration is like.
        Command::List(options) if options.state.is_some() => Config::load(file).unwrap_or_default(),
        _ => Config::load(file)?,
    };
    match arguments.command {
        Command::List(options) => list::run(&config, &options),
        Command::User(command) => users::user(&config, command),
        Command::Host(command) => users::host(&config, command),
        Command::Sign(options) => sign::run(&config, &options),
        Command::Apply if owner::is_another(&config)? => owner::run(&config, &["apply".as_ref()]),
        Command::Apply => apply::run(&config),
        Command::Rebuild if owner::is_another(&config)? => {
            owner::run(&config, &["rebuild".as_ref()])
        }
        Command::Rebuild => rebuild::run(&config),
        Command::Forget { host } if owner::is_another(&config)? => {
            owner::run(&config, &["forget".as_ref(), host.as_ref()])
        }
        Command::Forget { host } => users::forget(&config, &host),
        Command::Import(options) => import::run(&config, &options),
        Command::Check(_) | Command::Generate { .. } => Ok(Report::good("")),
    }
}

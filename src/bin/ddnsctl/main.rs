//! `ddnsctl`, the operator's tool: a command line for the library of `ddns-cgi`.

mod apply;
mod check;
mod cli;
mod client_settings;
mod complete;
mod credentials;
mod forget;
mod generate;
mod host;
mod identify;
mod import;
mod interval;
mod list;
mod manual;
mod names;
mod owner;
mod progress;
mod rebuild;
mod records;
mod rename;
mod sign;
mod state;
mod style;
mod table;
mod user;
mod web_user;
mod words;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, path};

use clap::Parser;
use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::publish::restarter;
use dlmalloc::GlobalDlmalloc;
use rustix::process::{DumpableBehavior, geteuid, set_dumpable_behavior};

use cli::{Arguments, Command};

/// As that of `ddns-cgi`: the heap of musl makes a large state cost twice as much.
#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

/// Whether `--quiet` is given. A process that works for this one is as quiet.
static QUIET: AtomicBool = AtomicBool::new(false);

/// What a command prints, and its exit status.
#[derive(Default)]
struct Report {
    /// What was asked for. It goes to standard output.
    text: String,
    /// What was done, in one line. It goes to standard error, unless `--quiet` is given, so that a
    /// script finds on standard output what it asked for and no more.
    note: String,
    status: u8,
}

impl Report {
    /// What was asked for.
    fn good(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// What was done.
    fn done(note: impl Into<String>) -> Self {
        Self { note: note.into(), ..Self::default() }
    }

    /// The same, with what was done.
    fn noting(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
}

fn main() -> ExitCode {
    // It leaves to a restarter what clients change while it works.
    if env::var_os(restarter::ROLE).is_some() {
        restarter::main();
        return ExitCode::SUCCESS;
    }
    // The keys of all users may be in memory. A crash must not leave them in a core dump.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    complete::answer_shell();
    let arguments = Arguments::try_parse().map_err(cli::with_clients).map_err(cli::without_hidden);
    let arguments = arguments.unwrap_or_else(|error| error.exit());
    QUIET.store(arguments.quiet, Ordering::Relaxed);
    let progress = progress::show();
    let result = run(arguments);
    drop(progress);
    match result.and_then(|report| print(&report)) {
        Ok(status) => ExitCode::from(status),
        Err(fault) => {
            let text = format!("{} {}\n", style::bad("ddnsctl:"), shown(fault));
            let _ = anstream::stderr().write_all(text.as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Prints a report and returns its status. It is no failure if a reader such as `head` has seen
/// enough.
fn print(report: &Report) -> Result<u8, Fault> {
    let mut output = anstream::stdout();
    match output.write_all(report.text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let reason = format!("{error}; the command itself is done");
            return Err(Fault::new("standard output", reason));
        }
        _ => {}
    }
    // The last line on a terminal is what to do next.
    if !QUIET.load(Ordering::Relaxed) && !report.note.is_empty() {
        let _ = io::stderr().write_all(format!("{}\n", report.note).as_bytes());
    }
    Ok(report.status)
}

/// A fault as whoever runs this should read it. Advice about access is for root. Any other user is
/// told to run this as root.
fn shown(fault: Fault) -> Fault {
    let is_root = geteuid().is_root() || env::var_os(owner::FOR_ROOT).is_some();
    if !is_root && fault.kind == Some(ErrorKind::PermissionDenied) {
        return Fault::new(fault.subject, "you have no access to it: run ddnsctl as root");
    }
    fault
}

fn run(arguments: Arguments) -> Result<Report, Fault> {
    let file = match arguments.config {
        // The endpoint demands an absolute path. Whoever types one may not want to.
        Some(file) => {
            let file = path::absolute(&file)
                .map_err(|error| Fault::io("find the configuration", &file, &error))?;
            let _ = words::CONFIG.set(file.clone());
            Some(file.into_os_string())
        }
        None => None,
    };
    let load = || Config::load(file.clone());
    match arguments.command {
        Command::Generate { folder } => generate::run(&folder),
        Command::Check(options) => Ok(check::run(load(), &options)),
        // The operator may be about to restore this copy. A broken configuration does not matter.
        Command::List(options) if options.state.is_some() => {
            list::run(&load().unwrap_or_default(), &options)
        }
        Command::List(options) => list::run(&load()?, &options),
        Command::User(command) => user::run(&load()?, command),
        Command::Host(command) => host::run(&load()?, command),
        Command::Sign(options) => sign::run(&load()?, &options),
        Command::Apply { all } => {
            let arguments: &[&str] = if all { &["apply", "--all"] } else { &["apply"] };
            owner::work(&load()?, arguments, |config| apply::run(config, all))
        }
        Command::Rebuild => owner::work(&load()?, &["rebuild"], rebuild::run),
        Command::Forget { hosts } => {
            let words = hosts.iter().map(String::as_str);
            let arguments: Vec<&str> = ["forget", "--"].into_iter().chain(words).collect();
            owner::work(&load()?, &arguments, |config| forget::run(config, &hosts))
        }
        Command::Rename { host, new } => {
            let arguments = ["rename", "--", &host, &new];
            owner::work(&load()?, &arguments, |config| rename::run(config, [&host, &new]))
        }
        Command::Identify { host, identifier } => {
            let arguments = ["identify", &host, &identifier.to_string()];
            owner::work(&load()?, &arguments, |config| identify::run(config, &host, identifier))
        }
        Command::Import(options) => import::run(&load()?.store, &options),
    }
}

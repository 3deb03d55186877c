//! The program: a request in, log lines and one reply out. It is a CGI program, unless its standard
//! input is a socket that listens: then it serves FastCGI. Nothing else in the house knows which.
//!
//! It never reads its arguments: a query string without `=` arrives there (RFC 3875, 4.4).

use std::env;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;

use chrono::Utc;
use ddns_cgi::config;
use ddns_cgi::fastcgi::request::Received;
use ddns_cgi::fastcgi::server;
use ddns_cgi::http::log;
use ddns_cgi::http::reply::Output;
use ddns_cgi::http::request::Request;
use ddns_cgi::publish::restarter;
use dlmalloc::GlobalDlmalloc;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Takes memory from the kernel in large pieces. The heap of musl keeps returning pages and asking
/// for them again, which would make a request cost a third more.
#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

fn main() -> ExitCode {
    if env::var_os(restarter::ROLE).is_some() {
        restarter::main();
        return ExitCode::SUCCESS;
    }
    // The keys of all users are about to be in memory. A crash must not leave them in a core dump.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let stdin = io::stdin();
    if server::is_expected(&stdin) {
        return serve_fastcgi(stdin.as_fd());
    }
    answer_cgi();
    ExitCode::SUCCESS
}

/// Answers the one request for which a web server has started this program.
fn answer_cgi() {
    let request = Request::read(|name| env::var_os(name));
    let mut body = io::stdin().lock().take(request.body_length.readable());
    let output = ddns_cgi::run(&request, &mut body, Utc::now());
    log::write(&output.log);
    // mod_cgid sends the body through a socket. If we left some of it there, the connection would
    // be reset and the reply lost.
    let _ = io::copy(&mut body, &mut io::sink());
    // The update is stored by now. It stays stored even if the client has hung up.
    let mut stdout = io::stdout();
    let _ = stdout.write_all(&output.reply.into_bytes()).and_then(|()| stdout.flush());
}

/// Answers requests that come through a socket.
fn serve_fastcgi(listener: BorrowedFd) -> ExitCode {
    match server::serve(listener, answer_fastcgi) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            log::write(&log::of_notices(&[fault]));
            ExitCode::FAILURE
        }
    }
}

/// Answers one of them. Whoever started this process names the configuration: it names a command,
/// too, which a request must not choose.
fn answer_fastcgi(received: &Received) -> Output {
    let request = Request::read(|name| match name {
        config::VARIABLE => env::var_os(name),
        _ => received.variable(name),
    });
    ddns_cgi::run(&request, &mut received.body.as_slice(), Utc::now())
}

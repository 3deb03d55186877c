//! The CGI program: environment and body in, log lines and one reply out. Nothing else in the house
//! knows that this is a CGI.
//!
//! It never reads its arguments: a query string without `=` arrives there (RFC 3875, 4.4).

use std::env;
use std::io::{self, Read, Write};

use chrono::Utc;
use ddns_cgi::http::log;
use ddns_cgi::http::request::Request;
use ddns_cgi::publish::restarter;
use dlmalloc::GlobalDlmalloc;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Takes memory from the kernel in large pieces. The heap of musl keeps returning pages and asking
/// for them again, which would make a request cost a third more.
#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

fn main() {
    if env::var_os(restarter::ROLE).is_some() {
        return restarter::main();
    }
    // The keys of all users are about to be in memory. A crash must not leave them in a core dump.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let request = Request::read(|name| env::var_os(name));
    let mut body = io::stdin().lock().take(request.body_length.readable());
    let output = ddns_cgi::run(&request, &mut body, Utc::now());
    log::write(&output.log);
    // mod_cgid sends the body through a socket. If we left some of it there, the connection would
    // be reset and the reply lost.
    let _ = io::copy(&mut body, &mut io::sink());
    // The update is stored by now. It stays stored even if the client has hung up.
    let mut stdout = io::stdout();
    let _ = stdout.write_all(&output.reply.to_bytes()).and_then(|()| stdout.flush());
}

//! The CGI program: environment and body in, log lines and one reply out.
//!
//! It never reads its arguments: a query string without `=` arrives there (RFC 3875, 4.4).

use std::env;
use std::io::{self, Write};

use chrono::Utc;
use ddns_cgi::http::log;
use ddns_cgi::publish::restart;
use dlmalloc::GlobalDlmalloc;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Takes memory from the kernel in large pieces. The heap of musl returns each page and asks for it
/// again, which would make a request cost a third more.
#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

fn main() {
    if env::var_os(restart::ROLE).is_some() {
        return restart::main();
    }
    // The keys of all users are about to be in memory. A crash must not leave them in a core dump.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let output = ddns_cgi::run(|name| env::var_os(name), io::stdin().lock(), Utc::now());
    log::write(&output.log);
    // The update is stored by now. It stays stored even if the client has hung up.
    let mut stdout = io::stdout();
    let _ = stdout.write_all(&output.reply.to_bytes()).and_then(|()| stdout.flush());
}

//! The CGI executable: environment and body in, one reply out.
//!
//! It never reads its arguments: a query string without `=` arrives there (RFC 3875, 4.4).

use std::env;
use std::io::{self, Write};

use chrono::Utc;
use ddns_cgi::publish::restarter;
use dlmalloc::GlobalDlmalloc;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Takes memory from the kernel in large pieces. The heap of musl gives each page back and asks for it
/// again, and a request would cost a third more.
#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

fn main() {
    if env::var_os(restarter::ROLE).is_some() {
        return restarter::main();
    }
    // The keys of all users are about to be in memory: a crash must not leave them in a core dump.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let reply = ddns_cgi::run(|name| env::var_os(name), io::stdin().lock(), Utc::now());
    // The update is stored by now. A client that hung up changes nothing about that.
    let mut output = io::stdout();
    let _ = output.write_all(&reply.to_bytes()).and_then(|()| output.flush());
}

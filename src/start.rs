//! The entry point of the program, in the place of the standard library's.
//!
//! Before `main`, the standard library reads `/proc/self/maps` and makes a stack for the handling of
//! stack overflows, which costs a fifth of what a whole request may cost (see `benches/`). Nothing
//! here needs it. What is needed of its preparations is done here.
//!
//! This is the one module with `unsafe`: the linker finds the entry point by its bare name, and no
//! crate on the request path ignores a signal.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, IntoRawFd};

use rustix::io::{Errno, fcntl_getfd};

/// Called by the C library.
#[allow(unsafe_code, reason = "see above")]
// SAFETY: no other symbol of the program has this name.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    if open_standard_streams().is_err() {
        return 1;
    }
    // SAFETY: no handler is installed, and there is one thread.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    crate::main();
    0
}

/// Opens those of the descriptors 0 to 2 that are closed. Otherwise the next file that is opened gets
/// such a number, and a log line would be written into the state.
fn open_standard_streams() -> io::Result<()> {
    let is_closed = |stream: &dyn AsFd| fcntl_getfd(stream.as_fd()) == Err(Errno::BADF);
    // open(2) takes the lowest number that is free.
    for stream in [&io::stdin() as &dyn AsFd, &io::stdout(), &io::stderr()] {
        if is_closed(stream) {
            // It stays open.
            let _ = OpenOptions::new().read(true).write(true).open("/dev/null")?.into_raw_fd();
        }
    }
    Ok(())
}

//! A fault: something on this machine that stops a request, even a good one.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde_json::error::Category;

/// What is wrong on this machine, why, and what the operator can do about it.
#[derive(Debug)]
pub struct Fault {
    /// The file, key or variable.
    pub subject: String,
    /// Why, and what to do.
    pub reason: String,
    /// The kind of error, if the operating system reported one.
    pub kind: Option<ErrorKind>,
}

impl Fault {
    /// A fault of `subject`.
    #[must_use]
    pub fn new(subject: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self { subject: subject.to_string(), reason: reason.to_string(), kind: None }
    }

    /// A failed operation on a file. `action` is what failed, such as `read the state`.
    #[must_use]
    pub fn io(action: &str, path: &Path, error: &io::Error) -> Self {
        let advice = match error.kind() {
            ErrorKind::PermissionDenied => {
                "; give the web server's user access to it and write access to its folder"
            }
            ErrorKind::NotFound => "; create it or its folder, or correct its path",
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free some space there",
            ErrorKind::ReadOnlyFilesystem => "; mount its file system read-write",
            _ => "",
        };
        let reason = format!("cannot {action}: {error}{advice}");
        Self { kind: Some(error.kind()), ..Self::new(path.display(), reason) }
    }
}

/// Says where a JSON text is wrong. It does not use `serde_json`'s own message, which may quote the
/// text: a key from the credentials would get into the log.
#[must_use]
pub fn json_position(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Eof => "ends too early",
        Category::Data => "has a value of the wrong kind",
        Category::Syntax | Category::Io => "is not JSON",
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.reason)
    }
}

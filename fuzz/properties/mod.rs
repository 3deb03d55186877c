//! What the program promises for any bytes it reads, in one property for each kind of input.
//!
//! The fuzz targets look for bytes that break a property; `tests/corpora.rs` replays those they found. A
//! property panics if it does not hold. It compares the program with a second way to the same result: a
//! whole parse by `serde_json`, a calendar written out, a form decoder, a documented table,
//! another reader of the same records.

mod config;
mod credentials;
mod dyndns2;
mod fastcgi;
mod indexed;
mod json;
mod named;
mod request;
mod script;
mod stamp;
mod state;
mod status;

pub use config::config;
pub use credentials::credentials;
pub use fastcgi::fastcgi;
pub use request::request;
pub use script::script;
pub use stamp::stamp;
pub use state::state;

/// Panics if the bytes break a promise.
pub type Property = fn(&[u8]);

/// Every target, by its name.
pub const TARGETS: [(&str, Property); 7] = [
    ("request", request),
    ("stamp", stamp),
    ("state", state),
    ("credentials", credentials),
    ("config", config),
    ("script", script),
    ("fastcgi", fastcgi),
];

/// Whether the text is printable ASCII and not empty.
fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

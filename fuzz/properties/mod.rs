//! What the program promises of any bytes that it reads, in one property for each of its inputs.
//!
//! The fuzz targets look for bytes that break a property; `tests/corpora.rs` replays those that they
//! found. A property panics where it does not hold. It compares the program with a second way to the
//! same result: a whole parse by `serde_json`, a calendar written out, a form decoder, the README.

mod config;
mod credentials;
mod dyndns2;
mod indexed;
mod json;
mod request;
mod stamp;
mod state;
mod status;

pub use config::config;
pub use credentials::credentials;
pub use request::request;
pub use stamp::stamp;
pub use state::state;

/// Panics where the bytes break a promise.
pub type Property = fn(&[u8]);

/// Every target, by its name.
pub const TARGETS: [(&str, Property); 5] = [
    ("request", request),
    ("stamp", stamp),
    ("state", state),
    ("credentials", credentials),
    ("config", config),
];

/// Whether the text has printable ASCII alone, and some.
fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

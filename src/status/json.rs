//! The status as JSON.

use serde_json::{Value, json};

use crate::protocol::stamp::Stamp;
use crate::status::{Condition, Host, Restart, Status};

/// The headers of this form.
pub(super) const HEADERS: &str =
    "Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\nVary: Accept\r\n";

/// The whole status.
pub(super) fn page(status: &Status) -> String {
    let counts = Condition::ALL
        .map(|condition| (condition.word().to_owned(), Value::from(status.count(condition))));
    let page = json!({
        "time": status.now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        "counts": Value::Object(counts.into_iter().collect()),
        "restart": {
            "pending": status.restart != Restart::Done,
            "failure": status.restart.failure(),
        },
        "hosts": status.hosts.iter().map(host).collect::<Vec<_>>(),
    });
    // Writing a `Value` does not fail.
    serde_json::to_string_pretty(&page).unwrap_or_default() + "\n"
}

fn host(host: &Host) -> Value {
    json!({
        "host": host.name,
        "addresses": host.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "update": host.update.map(Stamp::to_rfc3339),
        "age_seconds": host.age,
        "condition": host.condition.word(),
        "expired": host.has_expired,
    })
}

/// The page if there was a fault.
pub(super) fn page_of_fault() -> String {
    format!("{:#}\n", json!({"error": "911"}))
}

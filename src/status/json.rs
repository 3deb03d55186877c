//! The status as JSON.

use serde_json::{Map, Value, json};

use crate::protocol::stamp::Stamp;
use crate::publish::target::Target;
use crate::status::view::View;
use crate::status::{Condition, Host, Progress, Status};

/// The headers of this form.
pub(super) const HEADERS: &str =
    "Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\nVary: Accept\r\n";

/// The status, with the hosts that somebody asks to see.
pub(super) fn page(status: &Status, view: &View) -> String {
    let counts = Condition::ALL
        .map(|condition| (condition.word().to_owned(), Value::from(status.count(condition))));
    let time = status.now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let mut page = Map::new();
    page.insert("time".to_owned(), time.into());
    page.insert("counts".to_owned(), Value::Object(counts.into_iter().collect()));
    page.extend(status.targets.iter().map(target));
    page.insert("owners_known".to_owned(), status.has_owners.into());
    page.insert("filter".to_owned(), filter(view));
    page.insert("hosts".to_owned(), view.of(&status.hosts).into_iter().map(host).collect());
    // Writing a `Map` does not fail.
    serde_json::to_string_pretty(&page).unwrap_or_default() + "\n"
}

/// What is left out; `null` if nothing is.
fn filter(view: &View) -> Value {
    if !view.is_filter() {
        return Value::Null;
    }
    json!({"find": view.find, "show": view.show.map(Condition::word)})
}

fn target((target, progress): &(Target, Progress)) -> (String, Value) {
    let value = json!({"pending": *progress != Progress::Done, "failure": progress.failure()});
    (target.key().to_owned(), value)
}

fn host(host: &Host) -> Value {
    json!({
        "host": host.name,
        "owner": host.owner,
        "addresses": host.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "interface_identifier": host.identifier.map(|identifier| identifier.to_string()),
        "update": host.update.map(Stamp::to_rfc3339),
        "age_seconds": host.age,
        "expected_seconds": host.every,
        "changed": host.changed.map(Stamp::to_rfc3339),
        "condition": host.condition.word(),
        "expired": host.has_expired,
    })
}

/// The page if there was a fault.
pub(super) fn page_of_fault() -> String {
    format!("{:#}\n", json!({"error": "911"}))
}

//! The status as a page for people. The templates in `templates/` escape all that they are given.

use askama::Template;

use crate::protocol::stamp::{Stamp, TimeZone};
use crate::publish::target::Target;
use crate::status::{Condition, Host, Progress, Status};
use crate::text::visible;

/// The headers of this form. The browser may load and run nothing, and may use no style sheet but
/// `templates/style.css`, whose SHA-256 is here.
pub(super) const HEADERS: &str = "Content-Type: text/html; charset=utf-8\r\n\
    Content-Security-Policy: default-src 'none'; \
    style-src 'sha256-NToPT0CD20uOd+6O4+URhwTat3QGCAFTfKJTBj+vcEw='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
    X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nVary: Accept\r\n";

#[derive(Template)]
#[template(path = "status.html")]
struct Page<'s> {
    status: &'s Status,
    counts: [(Condition, usize); 4],
}

#[derive(Template)]
#[template(path = "fault.html")]
struct PageOfFault;

/// The whole status.
pub(super) fn page(status: &Status) -> String {
    let counts = Condition::ALL.map(|condition| (condition, status.count(condition)));
    rendered(&Page { status, counts })
}

/// The page if there was a fault.
pub(super) fn page_of_fault() -> String {
    rendered(&PageOfFault)
}

/// Writing to memory does not fail.
fn rendered(template: &impl Template) -> String {
    template.render().unwrap_or_default()
}

impl Page<'_> {
    /// The page in one line, for its head.
    fn verdict(&self) -> String {
        let hosts = self.status.hosts.len();
        let fresh = self.status.count(Condition::Fresh);
        match hosts {
            0 => "No hosts yet".to_owned(),
            1 => format!("{fresh} of 1 host is fresh"),
            _ if fresh == hosts => format!("All {hosts} hosts are fresh"),
            _ => format!("{fresh} of {hosts} hosts are fresh"),
        }
    }

    fn late_after(&self) -> String {
        duration(self.status.limits.late_after)
    }

    fn silent_after(&self) -> String {
        duration(self.status.limits.silent_after)
    }
}

impl Host {
    fn shown_name(&self) -> String {
        visible(&self.name)
    }

    fn shown_age(&self) -> String {
        match self.age.map(u64::try_from) {
            None => "–".to_owned(),
            Some(Ok(age)) => duration(age),
            Some(Err(_)) if self.condition == Condition::Fresh => duration(0),
            Some(Err(_)) => "in the future".to_owned(),
        }
    }
}

/// How a target is doing: the mark of a condition, a verdict if there is something to say, and the
/// rest of the sentence.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "a template passes references")]
fn verdict(target: &Target, progress: &Progress) -> (&'static str, &'static str, String) {
    let (failed, pending, done) = match target {
        Target::HostsFile => (
            "dnsmasq was not restarted",
            "dnsmasq is about to be restarted",
            "dnsmasq has every change.",
        ),
        Target::Zones => (
            "The zones were not updated",
            "The zones are about to be updated",
            "The zones have every change.",
        ),
    };
    match progress {
        Progress::Failed { reason } => {
            ("broken", failed, format!("{}. The next update tries again.", visible(reason)))
        }
        Progress::Pending => ("late", pending, "a change waits for it.".to_owned()),
        Progress::Done => ("fresh", "", done.to_owned()),
    }
}

/// `YYYY-MM-DD HH:MM:SS`, in UTC.
fn civil(stamp: &Stamp) -> String {
    stamp.format(TimeZone::Utc)
}

/// A duration in its largest unit.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        86_400..172_800 => "1 day".to_owned(),
        172_800.. => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::status;
    use serde_json::json;

    #[test]
    fn a_hostile_name_is_text() {
        let page = page(&status(&json!({
            "</table><script>alert(1)</script>": {}, "\" onclick=x": {}, "\u{202e}moc.example": {},
            "a\nb&lt;": {"ip": "<b>"},
        })));
        for markup in ["<script", "</table><", "\" onclick", "\u{202e}", "a\nb", "<b>"] {
            assert!(!page.contains(markup), "{markup}");
        }
        for text in ["script&#62;alert(1)", "\\u{202e}moc.example", "a\\nb&#38;lt;"] {
            assert!(page.contains(text), "{text} in {page}");
        }
    }

    #[test]
    fn the_verdict_counts_what_is_fresh() {
        let verdict = |state| {
            let status = status(&state);
            Page { status: &status, counts: [(Condition::Fresh, 0); 4] }.verdict()
        };
        let fresh = json!({"update": "2026-11-23 05:00:00"});
        assert_eq!(verdict(json!({})), "No hosts yet");
        assert_eq!(verdict(json!({"a": fresh})), "1 of 1 host is fresh");
        assert_eq!(verdict(json!({"a": fresh, "b": fresh})), "All 2 hosts are fresh");
        assert_eq!(verdict(json!({"a": fresh, "b": {}})), "1 of 2 hosts are fresh");
    }

    #[test]
    fn a_stamp_that_is_ahead_counts_as_now_within_the_window_only() {
        for (update, age) in [
            ("2026-11-23 04:59:00", "1 min"),
            ("2026-11-23 05:00:15", "0 s"),
            ("2026-11-23 05:00:16", "in the future"),
        ] {
            let page = page(&status(&json!({"a.example": {"update": update}})));
            assert!(page.contains(&format!("class=\"age\">{age}<")), "{age}: {page}");
        }
    }

    #[test]
    fn a_duration_is_in_its_largest_unit() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (86_399, "23 h"),
            (86_400, "1 day"),
            (172_799, "1 day"),
            (172_800, "2 days"),
            (u64::MAX, "213503982334601 days"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}

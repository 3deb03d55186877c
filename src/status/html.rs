//! The status as a page for people. The templates in `templates/` escape all that they are given.

use askama::Template;

use crate::protocol::stamp::{Stamp, TimeZone};
use crate::publish::target::Target;
use crate::status::view::View;
use crate::status::{Condition, Host, Progress, Status};
use crate::text::{duration, exact_duration, visible};

/// The headers of this form. The browser may load and run nothing, and may use no style sheet but
/// `templates/style.css`, whose SHA-256 is here. The form that filters goes to this server alone.
pub(super) const HEADERS: &str = "Content-Type: text/html; charset=utf-8\r\n\
    Content-Security-Policy: default-src 'none'; \
    style-src 'sha256-CYrJqdjeoe8M0cT1mhbZuPT63/KSkcSuXLLdU8P3vAQ='; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'\r\n\
    X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nVary: Accept\r\n";

/// The most hosts that the table has. Those that need attention come first, and the filter finds
/// the others.
const MOST: usize = 1000;

#[derive(Template)]
#[template(path = "status.html")]
struct Page<'s> {
    status: &'s Status,
    view: &'s View,
    now: Option<Stamp>,
    counts: [Count; 4],
    /// How many hosts somebody asks to see.
    found: usize,
    /// The first of these.
    hosts: Vec<&'s Host>,
}

/// How many hosts are in a condition.
struct Count {
    condition: Condition,
    hosts: usize,
    shown: String,
    /// Where these hosts are.
    link: String,
}

#[derive(Template)]
#[template(path = "fault.html")]
struct PageOfFault<'v> {
    view: &'v View,
}

/// The status, with the hosts that somebody asks to see.
pub(super) fn page(status: &Status, view: &View) -> String {
    rendered(&Page::of(status, view))
}

/// The page if there was a fault.
pub(super) fn page_of_fault(view: &View) -> String {
    rendered(&PageOfFault { view })
}

/// Writing to memory does not fail.
fn rendered(template: &impl Template) -> String {
    template.render().unwrap_or_default()
}

impl<'s> Page<'s> {
    fn of(status: &'s Status, view: &'s View) -> Self {
        let counts = Condition::ALL.map(|condition| {
            let hosts = status.count(condition);
            // The count is one of all hosts.
            let link = View { show: Some(condition), refresh: view.refresh, ..View::default() };
            Count { condition, hosts, shown: number(hosts), link: link.link() }
        });
        let mut hosts = view.of(&status.hosts);
        let found = hosts.len();
        hosts.truncate(MOST);
        Self { status, view, now: Stamp::at(status.now), counts, found, hosts }
    }

    /// The page in one line, for its head.
    fn verdict(&self) -> String {
        let hosts = self.status.hosts.len();
        let fresh = self.status.count(Condition::Fresh);
        match (hosts, number(fresh), number(hosts)) {
            (0, ..) => "No hosts yet".to_owned(),
            (1, fresh, _) => format!("{fresh} of 1 host is fresh"),
            (_, _, all) if fresh == hosts => format!("All {all} hosts are fresh"),
            (_, fresh, all) => format!("{fresh} of {all} hosts are fresh"),
        }
    }

    /// Which hosts the table has.
    fn caption(&self) -> String {
        let [shown, found, all] =
            [self.hosts.len(), self.found, self.status.hosts.len()].map(number);
        match (self.view.is_filter(), self.is_part()) {
            (false, false) => "Hosts".to_owned(),
            (false, true) => format!("The first {shown} of {all} hosts"),
            (true, false) if all == "1" => format!("{found} of 1 host"),
            (true, false) => format!("{found} of {all} hosts"),
            (true, true) => format!("The first {shown} of {found} found, of {all} hosts"),
        }
    }

    /// Whether the table leaves out some of what somebody asks to see.
    fn is_part(&self) -> bool {
        self.hosts.len() < self.found
    }

    /// Where all hosts are.
    fn all(&self) -> String {
        View { refresh: self.view.refresh, ..View::default() }.link()
    }

    /// The same page, once or again and again.
    fn refreshed(&self, refresh: Option<u32>) -> String {
        View { refresh, ..self.view.clone() }.link()
    }

    /// How often the browser asks again.
    fn interval(&self) -> Option<String> {
        self.view.refresh.map(|seconds| exact_duration(seconds.into()))
    }

    fn is_shown(&self, count: &Count) -> bool {
        self.view.show == Some(count.condition)
    }

    /// How long ago a stamp was.
    fn since(&self, stamp: &Stamp) -> String {
        duration(u64::try_from(-stamp.seconds_ahead_of(self.status.now)).unwrap_or_default())
    }

    fn late_after(&self) -> String {
        exact_duration(self.status.limits.late_after)
    }

    fn silent_after(&self) -> String {
        exact_duration(self.status.limits.silent_after)
    }
}

impl Host {
    fn shown_name(&self) -> String {
        visible(&self.name)
    }

    fn shown_owner(&self) -> Option<String> {
        self.owner.as_deref().map(visible)
    }

    fn shown_age(&self) -> String {
        match u64::try_from(self.age.unwrap_or_default()) {
            Err(_) if self.condition == Condition::Broken => "in the future".to_owned(),
            age => format!("{} ago", duration(age.unwrap_or_default())),
        }
    }

    fn shown_interval(&self) -> Option<String> {
        self.every.map(exact_duration)
    }
}

/// A number of hosts, with commas between the thousands.
fn number(count: usize) -> String {
    if count < 1000 {
        return count.to_string();
    }
    format!("{},{:03}", number(count / 1000), count % 1000)
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
            // What failed may have told why in sentences of its own.
            let reason = visible(reason).replace(".;", ";");
            let reason = reason.trim_end_matches('.');
            ("broken", failed, format!("{reason}. The next update tries again."))
        }
        Progress::Pending => ("late", pending, "a change waits for it.".to_owned()),
        Progress::Done => ("fresh", "", done.to_owned()),
    }
}

/// `YYYY-MM-DD HH:MM:SS`, in UTC.
fn civil(stamp: &Stamp) -> String {
    stamp.format(TimeZone::Utc)
}

/// `YYYY-MM-DD`, in UTC.
fn date(stamp: &Stamp) -> String {
    civil(stamp).split(' ').take(1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::status;
    use serde_json::json;

    fn shown(status: &Status) -> String {
        page(status, &View::default())
    }

    #[test]
    fn a_hostile_name_is_text() {
        let page = shown(&status(&json!({
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
    fn a_reason_that_ends_its_sentences_gets_no_second_full_stop() {
        for (reason, shown) in [
            ("exit status: 1: it failed with error code.; See its log.", "code; See its log. The"),
            ("exit status: 1", "exit status: 1. The"),
        ] {
            let progress = Progress::Failed { reason: reason.to_owned() };
            let (_, _, rest) = verdict(&Target::HostsFile, &progress);
            assert!(rest.ends_with(&format!("{shown} next update tries again.")), "{rest}");
        }
    }

    #[test]
    fn of_many_hosts_the_first_are_in_the_table_and_the_filter_finds_the_others() {
        let state = |hosts: usize| {
            let record = |n| (format!("h{n:04}.example"), json!({"ip": "192.0.2.1"}));
            serde_json::Value::Object((0..hosts).map(record).collect())
        };
        let page =
            |hosts, query: &str| page(&status(&state(hosts)), &View::parse(query.as_bytes()));
        let rows = |page: &str| page.matches("<tr role=\"row\" class").count();
        let whole = page(1000, "");
        assert!(rows(&whole) == 1000 && whole.contains(">Hosts<"), "{whole}");
        assert!(!whole.contains("The filter finds"));
        let part = page(1001, "");
        assert!(rows(&part) == 1000 && part.contains(">The first 1,000 of 1,001 hosts<"));
        assert!(part.contains("The filter finds the others"));
        let found = page(1001, "find=h1000");
        assert!(rows(&found) == 1 && found.contains(">1 of 1,001 hosts<"));
        let much = page(2001, "find=h");
        assert!(much.contains(">The first 1,000 of 2,001 found, of 2,001 hosts<"));
    }

    #[test]
    fn the_verdict_counts_what_is_fresh() {
        let verdict = |state| Page::of(&status(&state), &View::default()).verdict();
        let fresh = json!({"update": "2026-11-23 05:00:00"});
        assert_eq!(verdict(json!({})), "No hosts yet");
        assert_eq!(verdict(json!({"a": fresh})), "1 of 1 host is fresh");
        assert_eq!(verdict(json!({"a": fresh, "b": fresh})), "All 2 hosts are fresh");
        assert_eq!(verdict(json!({"a": fresh, "b": {}})), "1 of 2 hosts are fresh");
    }

    #[test]
    fn a_stamp_that_is_ahead_counts_as_now_within_the_window_only() {
        for (update, age) in [
            ("2026-11-23 04:59:00", "1 min ago"),
            ("2026-11-23 05:00:15", "0 s ago"),
            ("2026-11-23 05:00:16", "in the future"),
        ] {
            let page = shown(&status(&json!({"a.example": {"update": update}})));
            assert!(page.contains(&format!(">{age} <small>")), "{age}: {page}");
        }
    }
}

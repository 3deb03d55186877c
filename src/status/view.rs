//! What somebody asks to see of the page: the query string of a request.
//!
//! No parameter has to be there, and none is refused: a browser that comes back with what it has
//! must find the page. What cannot be understood does not count, and the page shows what does.

use url::form_urlencoded;

use crate::protocol::form::MAX_FORM;
use crate::status::{Condition, Host};
use crate::text::visible;

/// What somebody asks to see. By default all hosts, once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Only hosts with this text in what the page shows of their name, owner or addresses.
    pub(crate) find: String,
    /// Only hosts in this condition.
    pub(crate) show: Option<Condition>,
    /// After so many seconds the browser asks again.
    pub(crate) refresh: Option<u32>,
}

/// The parameter of [`View::find`].
const FIND: &str = "find";
/// The parameter of [`View::show`].
const SHOW: &str = "show";
/// The parameter of [`View::refresh`].
const REFRESH: &str = "refresh";

/// The shortest and the longest time between two views that a browser may ask for, in seconds.
const REFRESHES: [u32; 2] = [10, 3600];

impl View {
    /// Reads a query string. Of equal parameters, the last one counts.
    #[must_use]
    pub fn parse(query: &[u8]) -> Self {
        let mut view = Self::default();
        if query.len() > MAX_FORM {
            return view;
        }
        for (name, value) in form_urlencoded::parse(query) {
            match &*name {
                // The page shows names like this, so they are found like this, too.
                FIND => view.find = visible(value.trim()),
                SHOW => view.show = Condition::ALL.into_iter().find(|it| it.word() == value),
                REFRESH => view.refresh = value.parse().ok().map(within_bounds),
                _ => {}
            }
        }
        view
    }

    /// Whether it leaves hosts out.
    pub(crate) fn is_filter(&self) -> bool {
        !self.find.is_empty() || self.show.is_some()
    }

    /// The hosts that are to be seen.
    pub(crate) fn of<'h>(&self, hosts: &'h [Host]) -> Vec<&'h Host> {
        let find = self.find.to_ascii_lowercase();
        let is_wanted = |host: &&Host| {
            self.show.is_none_or(|condition| condition == host.condition) && host.has(&find)
        };
        hosts.iter().filter(is_wanted).collect()
    }

    /// Where the page has this view: a reference that keeps the path.
    pub(crate) fn link(&self) -> String {
        let mut link = String::from("?");
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                let parts = [if link.len() > 1 { "&" } else { "" }, name, "="];
                link.extend(
                    parts.into_iter().chain(form_urlencoded::byte_serialize(value.as_bytes())),
                );
            }
        };
        add(FIND, &self.find);
        add(SHOW, self.show.map_or("", Condition::word));
        add(REFRESH, &self.refresh.map(|seconds| seconds.to_string()).unwrap_or_default());
        link
    }
}

fn within_bounds(seconds: u32) -> u32 {
    let [shortest, longest] = REFRESHES;
    seconds.clamp(shortest, longest)
}

impl Host {
    /// Whether what the page shows of its name, its owner or its addresses has this text, which is
    /// in lower case.
    fn has(&self, find: &str) -> bool {
        let has = |text: &str| visible(text).to_ascii_lowercase().contains(find);
        find.is_empty()
            || has(&self.name)
            || self.owner.as_deref().is_some_and(has)
            || self.addresses.iter().any(|address| has(&address.to_string()))
            || self.identifier.is_some_and(|identifier| has(&identifier.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::status;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_cannot_be_understood_does_not_count() {
        let view = |find: &str, show, refresh| View { find: find.to_owned(), show, refresh };
        let silent = Some(Condition::Silent);
        for (query, expected) in [
            ("", View::default()),
            ("find=nas&show=silent&refresh=60", view("nas", silent, Some(60))),
            ("find=+NAS%20&show=", view("NAS", None, None)),
            ("find=a&find=b&show=late&show=silent", view("b", silent, None)),
            ("show=all&refresh=often&x=y", View::default()),
            ("show=Silent&refresh=-1", View::default()),
            ("refresh=60&refresh=", View::default()),
            ("refresh=0", view("", None, Some(10))),
            ("refresh=10", view("", None, Some(10))),
            ("refresh=3600", view("", None, Some(3600))),
            ("refresh=3601", view("", None, Some(3600))),
            ("refresh=99999999999", View::default()),
            ("nas", View::default()),
            ("&&=&%&%zz=%", View::default()),
            ("find=%C3%A9%00", view("\\u{e9}\\u{0}", None, None)),
            ("find=%ff", view("\\u{fffd}", None, None)),
        ] {
            assert_eq!(View::parse(query.as_bytes()), expected, "{query}");
        }
        let long = |length| format!("find={}", "x".repeat(length - "find=".len()));
        assert!(View::parse(long(MAX_FORM).as_bytes()).is_filter());
        assert!(!View::parse(long(MAX_FORM + 1).as_bytes()).is_filter());
    }

    #[test]
    fn a_text_is_found_in_what_the_page_shows() {
        let status = status(&json!({
            "nas.Example": {"ip": "192.0.2.1", "update": "2026-11-23 05:00:00"},
            "caf\u{e9}": {"ip6": "2001:db8::aB"},
            "c.example": {"ip6": "::7"},
        }));
        let found = |query: &str| {
            let view = View::parse(query.as_bytes());
            let mut names: Vec<String> =
                view.of(&status.hosts).iter().map(|host| host.name.clone()).collect();
            names.sort();
            names
        };
        for (query, expected) in [
            ("", &["c.example", "caf\u{e9}", "nas.Example"][..]),
            ("find=NAS.e", &["nas.Example"]),
            ("find=example", &["c.example", "nas.Example"]),
            ("find=2.0.2", &["nas.Example"]),
            ("find=DB8::AB", &["caf\u{e9}"]),
            ("find=::7", &["c.example"]),
            ("find=%C3%A9", &["caf\u{e9}"]),
            ("find=%5Cu{e9}", &["caf\u{e9}"]),
            ("show=fresh", &["nas.Example"]),
            ("show=silent", &["c.example"]),
            ("show=broken", &["caf\u{e9}"]),
            ("show=silent&find=example", &["c.example"]),
            ("show=late", &[]),
            ("find=elsewhere", &[]),
            ("find=[2J", &[]),
        ] {
            assert_eq!(found(query), expected, "{query}");
        }
    }

    proptest! {
        #[test]
        fn a_link_leads_to_its_view(
            find in "\\PC{0,9}|[\0-\u{7f}]{0,9}",
            show in 0..5_usize,
            refresh in any::<Option<u32>>(),
        ) {
            let view = View {
                find: visible(find.trim()),
                show: Condition::ALL.get(show).copied(),
                refresh: refresh.map(within_bounds),
            };
            let link = view.link();
            let query = link.strip_prefix('?').unwrap();
            prop_assert!(query.bytes().all(|byte| byte.is_ascii_graphic()), "{}", link);
            prop_assert_eq!(View::parse(query.as_bytes()), view);
        }

        #[test]
        fn any_query_has_a_view(query in any::<Vec<u8>>()) {
            let _ = View::parse(&query);
        }
    }
}

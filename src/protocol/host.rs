//! Host names.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

/// A host name that is safe in a line of a hosts file. Only [`HostName::parse`] makes one.
///
/// RFC 1123, 2.1: letters, digits and hyphens, in labels of 1 to 63 characters that neither begin
/// nor end with a hyphen, 253 characters in all. We allow the underscore because dnsmasq does.
/// Names compare without regard to case (RFC 4343), and keep the case they were written in.
#[derive(Clone, Debug)]
pub struct HostName(String);

impl HostName {
    /// The longest name in characters (RFC 1035, 2.3.4, without the root label).
    pub const MAX: usize = 253;

    /// Reads `text` as a host name; `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_name = text.len() <= Self::MAX
            && text.split('.').all(is_label)
            && text.parse::<IpAddr>().is_err();
        is_name.then(|| Self(text.to_owned()))
    }

    /// Reads a name as clients send it: a dot may stand at its end, as in zone files (RFC 1034,
    /// 3.1).
    pub(super) fn received(text: &str) -> Option<Self> {
        Self::parse(text.strip_suffix('.').unwrap_or(text))
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` is the same name. Case does not matter.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.0.eq_ignore_ascii_case(text)
    }

    /// Whether this is the name `zone` or a name below it.
    #[must_use]
    pub fn lies_in(&self, zone: &Self) -> bool {
        let (name, zone) = (self.0.as_bytes(), zone.0.as_bytes());
        let Some(above) = name.len().checked_sub(zone.len()) else { return false };
        let (above, end) = name.split_at(above);
        end.eq_ignore_ascii_case(zone) && above.last().is_none_or(|last| *last == b'.')
    }
}

impl PartialEq for HostName {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for HostName {}

impl Ord for HostName {
    fn cmp(&self, other: &Self) -> Ordering {
        let [one, two] = [self, other].map(|name| name.0.bytes().map(|b| b.to_ascii_lowercase()));
        one.cmp(two)
    }
}

impl PartialOrd for HostName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_the_field_are_accepted() {
        for name in ["host1.h.lohray.com", "a", "A-1.example", "_dmarc.example", "4u.example"] {
            assert_eq!(HostName::parse(name).unwrap().as_str(), name);
        }
        assert!(HostName::parse(&format!("{}.a", "x".repeat(63))).is_some());
    }

    #[test]
    fn anything_that_could_break_a_hosts_line_is_not_a_name() {
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "a\nb",
            "a\tb",
            "a#b",
            "a\0",
            "-a",
            "a-",
            "a/b",
            "é.example",
            "10.0.0.1",
            "::1",
        ] {
            assert!(HostName::parse(text).is_none(), "{text:?}");
        }
        assert!(HostName::parse(&"x".repeat(64)).is_none());
        assert!(HostName::parse(&["x"; 127].join(".")).is_some());
        assert!(HostName::parse(&["x"; 128].join(".")).is_none());
    }

    #[test]
    fn names_compare_without_case() {
        assert!(HostName::parse("Host1.Example").unwrap().is("hOST1.eXAMPLE"));
    }

    #[test]
    fn a_name_lies_in_a_zone_at_the_bound_of_a_label() {
        let name = |text| HostName::parse(text).unwrap();
        let zone = name("h.Example.net");
        for (text, lies_in_it) in [
            ("a.h.example.net", true),
            ("b.a.H.EXAMPLE.NET", true),
            ("h.example.net", true),
            ("xh.example.net", false),
            ("example.net", false),
            ("a.example.net", false),
            ("h.example.net.a", false),
        ] {
            assert_eq!(name(text).lies_in(&zone), lies_in_it, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_one_word_of_a_hosts_line(
            text in "\\PC{0,20}|[-_.a-zA-Z0-9 #\n]{0,20}",
        ) {
            if let Some(name) = HostName::parse(&text) {
                let line = format!("192.0.2.1 {name}\n");
                let words: Vec<&str> = line.split_whitespace().collect();
                prop_assert_eq!(words, vec!["192.0.2.1", text.as_str()]);
                prop_assert!(!line.contains('#'));
                prop_assert_eq!(line.lines().count(), 1);
            }
        }

        #[test]
        fn every_name_made_of_labels_is_accepted(
            text in "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\\.[a-z]([-a-z0-9]{0,20}[a-z0-9])?){1,5}",
        ) {
            prop_assert!(HostName::parse(&text).is_some());
        }
    }
}

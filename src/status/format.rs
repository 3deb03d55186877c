//! The forms of the page, and which of them a client wants.

use crate::reply::Reply;
use crate::status::{Status, html, json, metrics};

/// A form of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Html,
    /// For programs.
    Json,
    /// For Prometheus.
    Metrics,
}

impl Format {
    /// All of them; the first is for those who have no preference.
    pub const ALL: [Self; 3] = [Self::Html, Self::Json, Self::Metrics];

    /// The form that the header `Accept` asks for (RFC 9110, 12.5.1). Where none is acceptable, it is
    /// the first, as the RFC allows.
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        let mut best = (Self::Html, 0.0);
        for format in Self::ALL {
            let quality = format.quality(accept);
            if quality > best.1 {
                best = (format, quality);
            }
        }
        best.0
    }

    /// What the most specific range that matches this form says, from 0 to 1.
    fn quality(self, accept: &str) -> f32 {
        let ranges = accept.split(',').filter_map(|range| self.match_range(range));
        ranges.max_by_key(|(precision, _)| *precision).map_or(0.0, |(_, quality)| quality)
    }

    /// How precisely a range matches, and its quality.
    fn match_range(self, range: &str) -> Option<(u8, f32)> {
        let mut parts = range.split(';').map(str::trim);
        let precision = match parts.next()?.split_once('/')? {
            ("*", "*") => 0,
            (kind, "*") if kind.eq_ignore_ascii_case(self.media_type().0) => 1,
            (kind, subtype)
                if kind.eq_ignore_ascii_case(self.media_type().0)
                    && subtype.eq_ignore_ascii_case(self.media_type().1) =>
            {
                2
            }
            _ => return None,
        };
        let (mut more, mut quality) = (0, 1.0);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            if name.eq_ignore_ascii_case("q") {
                quality = value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?;
            } else if name.eq_ignore_ascii_case("version") {
                if value.trim_matches('"') != metrics::VERSION {
                    return None;
                }
                more = 1;
            }
        }
        Some((precision + more, quality))
    }

    fn media_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Html => ("text", "html"),
            Self::Json => ("application", "json"),
            Self::Metrics => ("text", "plain"),
        }
    }

    /// The page in this form.
    #[must_use]
    pub fn page(self, status: &Status) -> Reply {
        match self {
            Self::Html => Reply::document(html::HEADERS, html::page(status)),
            Self::Json => Reply::document(json::HEADERS, json::page(status)),
            Self::Metrics => Reply::document(metrics::HEADERS, metrics::page(status)),
        }
    }

    /// The page where a fault is in the way. The log has the reason.
    #[must_use]
    pub fn page_of_fault(self) -> Reply {
        let page = match self {
            Self::Html => Reply::document(html::HEADERS, html::page_of_fault()),
            Self::Json => Reply::document(json::HEADERS, json::page_of_fault()),
            Self::Metrics => Reply::document(metrics::HEADERS, metrics::page_of_fault()),
        };
        page.unavailable()
    }
}

#[cfg(test)]
mod tests {
    use super::Format::{Html, Json, Metrics};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_most_wanted_form_is_served() {
        for (accept, expected) in [
            ("", Html),
            ("*/*", Html),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", Html),
            ("image/png", Html),
            ("nonsense", Html),
            ("application/json", Json),
            ("Application/JSON; charset=utf-8", Json),
            ("application/json, text/plain, */*", Json),
            ("application/json;q=0.5, */*;q=0.1", Json),
            ("text/html;q=0, */*", Json),
            ("text/plain", Metrics),
            ("text/plain; version=0.0.4", Metrics),
            ("text/*;q=0.5, text/html;q=0.1", Metrics),
            ("text/plain;version=1.0.0", Html),
            ("application/json;q=2", Html),
            ("application/json;q=NaN", Html),
            // What Prometheus 2 and 3 send.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Metrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Metrics,
            ),
        ] {
            assert_eq!(Format::wanted(accept), expected, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn any_header_gets_a_form(accept in "\\PC{0,40}|[a-z*/;,=q.0-9 ]{0,40}") {
            let _ = Format::wanted(&accept);
        }
    }
}

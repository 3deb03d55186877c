//! The forms of the page, and which of them a client wants.

use crate::http::reply::Reply;
use crate::status::view::View;
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
    /// All of them. A client without a preference gets the first.
    pub const ALL: [Self; 3] = [Self::Html, Self::Json, Self::Metrics];

    /// The form that the header `Accept` asks for (RFC 9110, 12.5.1). Among equals, the one that it
    /// names most precisely; if it accepts none, the first, as the RFC allows.
    pub(crate) fn wanted(accept: &str) -> Self {
        let mut best = (Self::Html, (0, 0));
        for format in Self::ALL {
            let preference = format.preference(accept);
            if preference > best.1 {
                best = (format, preference);
            }
        }
        best.0
    }

    /// The quality of this form in thousandths, and how precisely the header names it. The most
    /// precise range decides.
    fn preference(self, accept: &str) -> (u32, u8) {
        let matches = accept.split(',').filter_map(|range| self.match_range(range));
        matches.max_by_key(|(_, precision)| *precision).unwrap_or_default()
    }

    /// The quality of a range that matches this form, and its precision.
    fn match_range(self, range: &str) -> Option<(u32, u8)> {
        let mut parts = range.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let (own_kind, own_subtype) = self.media_type();
        let mut precision = match (kind, subtype) {
            ("*", "*") => 0,
            _ if !kind.eq_ignore_ascii_case(own_kind) => return None,
            (_, "*") => 1,
            _ if subtype.eq_ignore_ascii_case(own_subtype) => 2,
            _ => return None,
        };
        let mut quality = BEST;
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            if name.eq_ignore_ascii_case("q") {
                quality = parse_quality(value)?;
            } else if name.eq_ignore_ascii_case("version") {
                if value.trim_matches('"') != metrics::VERSION {
                    return None;
                }
                precision = 3;
            }
        }
        Some((quality, precision))
    }

    fn media_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Html => ("text", "html"),
            Self::Json => ("application", "json"),
            Self::Metrics => ("text", "plain"),
        }
    }

    /// The page in this form. Prometheus asks for everything, and selects later.
    #[must_use]
    pub fn page(self, status: &Status, view: &View) -> Reply {
        match self {
            Self::Html => Reply::document(html::HEADERS, html::page(status, view)),
            Self::Json => Reply::document(json::HEADERS, json::page(status, view)),
            Self::Metrics => Reply::document(metrics::HEADERS, metrics::page(status)),
        }
    }

    /// The page if there was a fault. The log has the reason.
    pub(crate) fn page_of_fault(self, view: &View) -> Reply {
        let page = match self {
            Self::Html => Reply::document(html::HEADERS, html::page_of_fault(view)),
            Self::Json => Reply::document(json::HEADERS, json::page_of_fault()),
            Self::Metrics => Reply::document(metrics::HEADERS, metrics::page_of_fault()),
        };
        page.unavailable()
    }
}

/// The quality that a client gives a range without one, in thousandths.
const BEST: u32 = 1000;

/// A quality in thousandths (RFC 9110, 12.4.2). Decimals after the third do not count.
fn parse_quality(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let mut digits = whole.bytes().chain(decimals.bytes());
    if whole.is_empty() || !digits.all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let decimals = decimals.get(..3).unwrap_or(decimals);
    let quality = format!("{whole}{decimals:0<3}").parse().ok()?;
    (quality <= BEST).then_some(quality)
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
                "application/openmetrics-text;version=1.0.0,\
                 application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Metrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Metrics,
            ),
        ] {
            assert_eq!(Format::wanted(accept), expected, "{accept}");
        }
    }

    #[test]
    fn a_quality_is_a_number_from_0_to_1() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(1000)),
            ("0.5", Some(500)),
            ("0.123", Some(123)),
            ("0.1239", Some(123)),
            ("1.000", Some(1000)),
            ("0.", Some(0)),
            ("1.001", None),
            ("2", None),
            ("99999999999", None),
            ("", None),
            (".5", None),
            ("+1", None),
            ("-0", None),
            ("0.5 ", None),
            ("0.\u{663}", None),
            ("NaN", None),
        ] {
            assert_eq!(parse_quality(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_header_gets_a_form(accept in "\\PC{0,40}|[a-z*/;,=q.0-9 ]{0,40}") {
            let _ = Format::wanted(&accept);
        }
    }
}

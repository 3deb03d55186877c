//! How often the operator expects a host to be updated.

use std::fmt;

use ddns_cgi::text::exact_duration;
use humantime::parse_duration;

/// The seconds between two updates; `None` if nothing is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(pub Option<u64>);

impl Interval {
    /// Reads an interval such as `15min`, from a minute to a year, or `none`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let duration = parse_duration(text)
            .map_err(|_| "write it as 15min, 6h or 1day, or none".to_owned())?;
        match duration.as_secs() {
            seconds @ 60..=31_557_600 => Ok(Self(Some(seconds))),
            _ => Err("must be from a minute to a year".to_owned()),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            None => f.write_str("none"),
            Some(seconds) => f.write_str(&exact_duration(seconds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_read_and_written_exactly() {
        for (text, seconds, written) in [
            ("1min", 60, "1 min"),
            ("15min", 900, "15 min"),
            ("90min", 5400, "90 min"),
            ("61s", 61, "61 s"),
            ("1h 30s", 3630, "3630 s"),
            ("26h", 93_600, "26 h"),
            ("1day", 86_400, "1 day"),
            ("1week", 604_800, "7 days"),
            ("1year", 31_557_600, "8766 h"),
        ] {
            let interval = Interval::parse(text).unwrap();
            assert_eq!((interval.0, interval.to_string()), (Some(seconds), written.to_owned()));
        }
        assert_eq!(Interval::parse("none"), Ok(Interval(None)));
        assert_eq!(Interval(None).to_string(), "none");
        for text in ["", "0s", "59s", "2years", "-1h", "900", "often", "999999999999years"] {
            assert!(Interval::parse(text).is_err(), "{text}");
        }
        assert!(Interval::parse("59s").unwrap_err().contains("from a minute to a year"));
        assert_eq!(Interval::parse("900").unwrap_err(), "write it as 15min, 6h or 1day, or none");
    }
}

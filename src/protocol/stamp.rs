//! Time stamps: `timeST` of a request and `update` of a record.

use std::ops::Range;

use chrono::{
    DateTime, Datelike, Local, NaiveDate, NaiveDateTime, SecondsFormat, TimeZone as _, Utc,
};

/// A moment, in whole seconds. Two stamps compare as moments, even if their zones differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(DateTime<Utc>);

/// The zone of a stamp without an offset. The setting `time_zone` chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeZone {
    /// Coordinated universal time.
    Utc,
    /// The zone of this machine (`TZ`, else `/etc/localtime`).
    Local,
}

/// Whose clock a stamp is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The client's. It signed the stamp, so the request counts only once.
    Client,
    /// This machine's: the moment at which the request arrived.
    Server,
}

impl Stamp {
    /// Older than any stamp of a client. A record has it if its last update is not known.
    pub const NEVER: Self = Self(DateTime::UNIX_EPOCH);

    /// The length of the longest form: RFC 3339 with nanoseconds and an offset.
    pub const MAX: usize = 35;

    /// Reads `YYYY-MM-DD HH:MM:SS` in `zone`, or RFC 3339 with an offset. Fractions of a second are
    /// dropped. `None` if `text` is neither, or if there is no such moment.
    ///
    /// In the hour that local time repeats in autumn, a stamp without an offset means the first
    /// pass. So a request that somebody captured in the first pass is an hour old in the second.
    #[must_use]
    pub fn parse(text: &str, zone: TimeZone) -> Option<Self> {
        let moment = if text.len() == 19 {
            let time = parse_civil(text)?;
            match zone {
                TimeZone::Utc => time.and_utc(),
                TimeZone::Local => parse_local(time)?,
            }
        } else {
            // chrono also accepts the leap second :60, which no clock here can show, and U+2212
            // as a minus.
            parse_civil(&text.get(..19)?.replace(['T', 't'], " "))?;
            DateTime::parse_from_rfc3339(text).ok().filter(|_| text.is_ascii())?.to_utc()
        };
        Self::at(moment)
    }

    /// The stamp of a moment; `None` outside the years 1 to 9999.
    #[must_use]
    pub fn at(moment: DateTime<Utc>) -> Option<Self> {
        let whole = DateTime::from_timestamp(moment.timestamp(), 0)?;
        (1..=9999).contains(&whole.year()).then_some(Self(whole))
    }

    /// The text of `update`: `YYYY-MM-DD HH:MM:SS` in `zone`, as PHP's `date("Y-m-d H:i:s")`.
    ///
    /// In the second pass of the hour that autumn repeats, this would read back as another moment.
    /// Then the text is RFC 3339 with the offset.
    #[must_use]
    pub fn format(self, zone: TimeZone) -> String {
        match zone {
            TimeZone::Utc => self.0.naive_utc().to_string(),
            TimeZone::Local => {
                let local = self.0.with_timezone(&Local);
                let text = local.naive_local().to_string();
                if Self::parse(&text, zone) == Some(self) { text } else { local.to_rfc3339() }
            }
        }
    }

    /// The text in RFC 3339, in UTC.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        self.0.to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// Seconds since the start of 1970 in UTC.
    #[must_use]
    pub(crate) fn unix_seconds(self) -> i64 {
        self.0.timestamp()
    }

    /// Seconds by which this stamp is ahead of `now`; negative if it is behind.
    #[must_use]
    pub fn seconds_ahead_of(self, now: DateTime<Utc>) -> i64 {
        self.0.timestamp() - now.timestamp()
    }
}

/// The first moment at which clocks here show `time`; `None` in the hour that spring skips.
fn parse_local(time: NaiveDateTime) -> Option<DateTime<Utc>> {
    let found = Local.from_local_datetime(&time);
    [found.earliest(), found.latest()]
        .into_iter()
        .flatten()
        .map(|moment| moment.to_utc())
        // chrono counts the second right after the repeated hour as a part of that hour.
        .filter(|moment| moment.with_timezone(&Local).naive_local() == time)
        .min()
}

/// Reads exactly `YYYY-MM-DD HH:MM:SS`: no sign, no missing zero, no 30 February, no 24:00.
fn parse_civil(text: &str) -> Option<NaiveDateTime> {
    let shape = b"dddd-dd-dd dd:dd:dd";
    let fits = |(byte, like): (u8, &u8)| match like {
        b'd' => byte.is_ascii_digit(),
        _ => byte == *like,
    };
    if text.len() != shape.len() || !text.bytes().zip(shape).all(fits) {
        return None;
    }
    let number = |range: Range<usize>| text.get(range)?.parse::<u32>().ok();
    let year = i32::try_from(number(0..4)?).ok().filter(|year| *year >= 1)?;
    NaiveDate::from_ymd_opt(year, number(5..7)?, number(8..10)?)?.and_hms_opt(
        number(11..13)?,
        number(14..16)?,
        number(17..19)?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn utc(text: &str) -> Option<Stamp> {
        Stamp::parse(text, TimeZone::Utc)
    }

    #[test]
    fn the_seeds_form_and_rfc_3339_name_the_same_moment() {
        let seed = utc("2012-06-14 15:58:27").unwrap();
        for text in [
            "2012-06-14T15:58:27Z",
            "2012-06-14T15:58:27+00:00",
            "2012-06-14 15:58:27+00:00",
            "2012-06-14T17:58:27+02:00",
            "2012-06-14T15:58:27.999Z",
        ] {
            assert_eq!(utc(text), Some(seed), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "now",
            "tomorrow",
            "2012-06-14",
            "2012-06-14 15:58",
            "2012-06-14 15:58:27 ",
            "2012-02-30 00:00:00",
            "2011-02-29 00:00:00",
            "2012-06-14 24:00:00",
            "2012-06-14 23:59:60",
            "2012-06-14T23:59:60Z",
            "0000-01-01 00:00:00",
            "0000-01-01T00:00:00Z",
            "+012-06-14 15:58:27",
            "2012-6-14 15:58:27",
            "2012-06-14T15:58:27",
            "2012-06-14T15:58:27+99:00",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "2012-06-14é15:58:27Z",
            "2012-06-14T15:58:27\u{2212}02:00",
        ] {
            assert_eq!(utc(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_moment_has_one_text_in_local_time_too() {
        let text = "2012-06-14 15:58:27";
        assert_eq!(Stamp::parse(text, TimeZone::Local).unwrap().format(TimeZone::Local), text);
    }

    #[test]
    fn ahead_is_positive_and_behind_negative() {
        let stamp = utc("2012-06-14 15:58:27").unwrap();
        let now = |text| Utc.from_utc_datetime(&parse_civil(text).unwrap());
        assert_eq!(stamp.seconds_ahead_of(now("2012-06-14 15:58:43")), -16);
        assert_eq!(stamp.seconds_ahead_of(now("2012-06-14 15:58:11")), 16);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}|[-0-9 :TtZz+.]{15,35}") {
            let _ = utc(&text);
            let _ = Stamp::parse(&text, TimeZone::Local);
        }

        #[test]
        fn every_second_round_trips(seconds in 0_i64..253_402_300_800) {
            let stamp = Stamp::at(DateTime::from_timestamp(seconds, 0).unwrap()).unwrap();
            for zone in [TimeZone::Utc, TimeZone::Local] {
                prop_assert_eq!(Stamp::parse(&stamp.format(zone), zone), Some(stamp));
            }
        }

        #[test]
        fn an_accepted_stamp_of_the_seeds_form_is_written_back_as_it_was(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-6][0-9]:[0-6][0-9]",
        ) {
            if let Some(stamp) = utc(&text) {
                prop_assert_eq!(stamp.format(TimeZone::Utc), text);
            }
        }
    }
}

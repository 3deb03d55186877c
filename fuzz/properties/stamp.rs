//! Time stamps, in UTC and in the zone of this machine.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use chrono::{DateTime, Local, Offset, TimeZone as _};
use ddns_cgi::protocol::stamp::{Stamp, TimeZone};

use super::is_printable;

/// A time stamp, as `timeST` or as `update`.
pub fn stamp(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let civil = civil_seconds(text);
    let absolute = rfc3339_seconds(text);
    for (zone, expected) in [
        (TimeZone::Utc, civil.or(absolute)),
        (TimeZone::Local, civil.map_or(absolute, first_local_moment)),
    ] {
        let expected = expected.filter(|moment| YEARS.contains(moment));
        let read = Stamp::parse(text, zone);
        assert_eq!(read.map(seconds), expected, "{text:?} in {zone:?}");
        let Some(stamp) = read else { continue };
        let written = stamp.format(zone);
        assert!(written.len() <= Stamp::MAX && is_printable(&written));
        // Clocks of a zone may show a year that a stamp cannot have.
        if (YEARS.start() + 86400..YEARS.end() - 86400).contains(&seconds(stamp)) {
            assert_eq!(Stamp::parse(&written, zone), Some(stamp), "{written:?} in {zone:?}");
        }
        assert!(civil.is_none() || written == text, "{text:?} is written as {written:?}");
        let now = DateTime::from_timestamp(1_339_689_507, 999_999_999).unwrap();
        assert_eq!(stamp.seconds_ahead_of(now), seconds(stamp) - 1_339_689_507);
    }
}

/// The moments from the year 1 to the year 9999, in seconds since 1970.
const YEARS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// The seconds of a stamp since 1970.
pub fn seconds(stamp: Stamp) -> i64 {
    stamp.seconds_ahead_of(DateTime::UNIX_EPOCH)
}

/// The seconds since 1970 of `YYYY-MM-DD HH:MM:SS` in UTC.
fn civil_seconds(text: &str) -> Option<i64> {
    let number = |start: usize, end: usize| -> Option<i64> {
        let digits = text.get(start..end)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let is_at = |index: usize, byte: u8| text.as_bytes().get(index) == Some(&byte);
    let is_punctuated = text.len() == 19
        && [4, 7].iter().all(|index| is_at(*index, b'-'))
        && [13, 16].iter().all(|index| is_at(*index, b':'))
        && is_at(10, b' ');
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + i64::from(is_leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let earlier = lengths.get(..usize::try_from(month).ok()?.checked_sub(1)?)?;
    let exists = year >= 1
        && (1..=*lengths.get(earlier.len())?).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let past = year - 1;
    let days =
        past * 365 + past / 4 - past / 100 + past / 400 + earlier.iter().sum::<i64>() + day - 1;
    let moment = YEARS.start() + days * 86400 + hour * 3600 + minute * 60 + second;
    (is_punctuated && exists).then_some(moment)
}

/// The seconds since 1970 of a time stamp in the form of RFC 3339, 5.6.
fn rfc3339_seconds(text: &str) -> Option<i64> {
    let (time, rest) = text.split_at_checked(19)?;
    let (date, time) = time.split_once(['T', 't', ' '])?;
    let civil = civil_seconds(&format!("{date} {time}"))?;
    let offset = match rest.strip_prefix('.') {
        None => rest,
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            (offset.len() < fraction.len()).then_some(offset)?
        }
    };
    let ahead = match offset.as_bytes() {
        b"Z" | b"z" => 0,
        [
            sign @ (b'+' | b'-'),
            h @ b'0'..=b'2',
            i @ b'0'..=b'9',
            b':',
            m @ b'0'..=b'5',
            n @ b'0'..=b'9',
        ] => {
            let digit = |byte: &u8| i64::from(byte - b'0');
            let hours = 10 * digit(h) + digit(i);
            let ahead = hours * 3600 + (10 * digit(m) + digit(n)) * 60;
            (hours < 24).then_some(if *sign == b'-' { -ahead } else { ahead })?
        }
        _ => return None,
    };
    Some(civil - ahead)
}

/// The first moment at which clocks of this machine's zone show `civil`.
fn first_local_moment(civil: i64) -> Option<i64> {
    let ahead = |moment: i64| {
        let moment = DateTime::from_timestamp(moment, 0).unwrap();
        i64::from(Local.offset_from_utc_datetime(&moment.naive_utc()).fix().local_minus_utc())
    };
    let offsets: BTreeSet<i64> = (-4..=4).map(|part| ahead(civil + part * 6 * 3600)).collect();
    offsets
        .iter()
        .map(|offset| civil - offset)
        .filter(|moment| moment + ahead(*moment) == civil)
        .min()
}

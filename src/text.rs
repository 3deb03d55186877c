//! How texts and durations are shown to people.

/// Adds a character to `text` in printable ASCII, with Rust's escapes for all others. Nothing in
/// the result reverses the text, is invisible, or looks like another letter.
pub(crate) fn push_visible(text: &mut String, c: char) {
    match c {
        ' '..='~' => text.push(c),
        _ => text.extend(c.escape_default()),
    }
}

/// A text in printable ASCII. See [`push_visible`].
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        push_visible(&mut shown, c);
    }
    shown
}

/// The units of durations in seconds, the largest first.
const UNITS: [(u64, &str); 4] = [(86_400, "day"), (3600, "h"), (60, "min"), (1, "s")];

/// A duration in its largest unit, rounded down: for ages.
#[must_use]
pub fn duration(seconds: u64) -> String {
    in_unit(seconds, |unit| seconds >= unit)
}

/// A duration in the largest unit that loses nothing: for what the operator has set.
#[must_use]
pub fn exact_duration(seconds: u64) -> String {
    in_unit(seconds, |unit| seconds >= unit && seconds % unit == 0)
}

fn in_unit(seconds: u64, is_wanted: impl Fn(u64) -> bool) -> String {
    let (unit, word) = UNITS.into_iter().find(|(unit, _)| is_wanted(*unit)).unwrap_or((1, "s"));
    match (seconds / unit, word) {
        (number, "day") if number > 1 => format!("{number} days"),
        (number, word) => format!("{number} {word}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn printable_ascii_stays_as_it_is_and_nothing_else_does() {
        let printable: String = (' '..='~').collect();
        assert_eq!(visible(&printable), printable);
        assert_eq!(visible("a\n\u{7f}é"), "a\\n\\u{7f}\\u{e9}");
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

    #[test]
    fn an_exact_duration_loses_nothing() {
        for (seconds, text) in [
            (0, "0 s"),
            (60, "1 min"),
            (61, "61 s"),
            (3600, "1 h"),
            (5400, "90 min"),
            (86_400, "1 day"),
            (93_600, "26 h"),
            (604_800, "7 days"),
            (31_557_600, "8766 h"),
            (u64::MAX, "18446744073709551615 s"),
        ] {
            assert_eq!(exact_duration(seconds), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_printable_and_tells_texts_apart(
            one in "\\PC{0,5}", other in "\\PC{0,5}",
        ) {
            prop_assert!(visible(&one).bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            if !one.contains('\\') && !other.contains('\\') {
                prop_assert_eq!(visible(&one) == visible(&other), one == other);
            }
        }
    }
}

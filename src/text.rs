//! Makes text safe to look at, whoever wrote it.

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

//! Whether an entry of the state is already written as PHP writes it. Nearly all are, so nearly
//! nothing has to be written anew after an edit.

use std::borrow::Cow;
use std::io;

use crate::store::json::{entry, entry_to_string};

/// An entry of a map as [`crate::store::json::to_string`] writes it, which it may already be.
pub(super) fn as_written(text: &str) -> io::Result<Cow<'_, str>> {
    if is_plain(text).is_some() {
        return Ok(text.into());
    }
    let (key, value) = entry(text).ok_or(io::ErrorKind::InvalidData)?;
    Ok(entry_to_string(&key, serde_json::from_str(value)?)?.into())
}

/// The most fields of a record that is known to be plain.
const FIELDS: usize = 8;

/// Whether an entry has nothing that `to_string` would write otherwise, nor a field twice. It may
/// well say no where there is nothing: only records of texts and numbers are looked at.
fn is_plain(entry: &str) -> Option<()> {
    let mut rest = plain_text(entry)?.1.strip_prefix(": {")?;
    let mut keys = [""; FIELDS];
    for place in 0..FIELDS {
        let (key, value) = plain_text(rest.strip_prefix("\n        ")?)?;
        let is_new = !keys.contains(&key);
        *keys.get_mut(place).filter(|_| is_new)? = key;
        let value = value.strip_prefix(": ")?;
        rest = match plain_text(value) {
            Some((_, rest)) => rest,
            None => value.trim_start_matches(is_of_number),
        };
        if rest == "\n    }" {
            return Some(());
        }
        rest = rest.strip_prefix(',')?;
    }
    None
}

/// Whether this is part of a number without an exponent, of which `1E5` would be another spelling.
fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || "-.".contains(c)
}

/// The string that a text begins with, and the rest, if `to_string` writes the string like that.
fn plain_text(text: &str) -> Option<(&str, &str)> {
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'/' | 0x80..);
    let mut rest = text.strip_prefix('"')?.as_bytes();
    loop {
        let special = rest.iter().position(is_special)?;
        match rest.get(special..)? {
            [b'"', after @ ..] => return text.split_at_checked(text.len() - after.len()),
            [b'\\', escaped, after @ ..] if br#"/"\bfnrt"#.contains(escaped) => rest = after,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_ours_is_plain_and_anything_that_is_written_otherwise_is_not() {
        let ours = "\"a\": {\n        \"ip\": \"192.0.2.1\",\n        \"n\": -1.5\n    }";
        assert!(matches!(as_written(ours), Ok(Cow::Borrowed(_))));
        for (part, other) in [
            ("\"a\"", "\"\\u0061\""),
            ("\"a\"", "\"é\""),
            ("\"a\"", "\"/\""),
            (": {", ":{"),
            ("-1.5", "-1.5 "),
            ("        \"n\"", "       \"n\""),
            ("\"n\": ", "\"n\":  "),
            ("\"n\"", "\"ip\""),
            ("-1.5", "[1]"),
            ("-1.5", "1E5"),
            ("-1.5", "true"),
            ("    }", "}"),
        ] {
            let text = ours.replace(part, other);
            assert!(matches!(as_written(&text), Ok(Cow::Owned(_))), "{text}");
        }
    }
}

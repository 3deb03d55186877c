//! JSON as the files have it: read strictly, with the places of entries, and written to the byte as
//! PHP's `json_encode($map, JSON_PRETTY_PRINT)` writes it.
//! <https://www.php.net/manual/en/function.json-encode.php>

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The whole map that a text is. Of equal keys the last one counts, as in PHP.
pub fn parse(text: &str) -> serde_json::Result<Map<String, Value>> {
    if is_empty_map(text) { Ok(Map::new()) } else { serde_json::from_str(text) }
}

/// Whether the text is an empty map: nothing, `{}`, or PHP's `[]`.
#[must_use]
pub fn is_empty_map(text: &str) -> bool {
    let mut bytes = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    matches!(
        (bytes.next(), bytes.next(), bytes.next()),
        (None, ..) | (Some(b'{'), Some(b'}'), None) | (Some(b'['), Some(b']'), None)
    )
}

/// The text of a map: four spaces, `/` and everything outside ASCII escaped, no newline at the end.
pub fn to_string(map: &Map<String, Value>) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    let format = PrettyFormatter::with_indent(b"    ");
    map.serialize(&mut Serializer::with_formatter(&mut bytes, format))?;
    Ok(escape(&String::from_utf8_lossy(&bytes)))
}

/// Escapes what PHP escapes and `serde_json` does not. Both occur only within strings.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    for plain in text.split_inclusive(|c: char| c == '/' || !c.is_ascii()) {
        let mut rest = plain.chars();
        match rest.next_back() {
            Some('/') => escaped.extend([rest.as_str(), "\\/"]),
            Some(c) if !c.is_ascii() => {
                escaped.push_str(rest.as_str());
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
            Some(_) | None => escaped.push_str(plain),
        }
    }
    escaped
}

/// The text of one entry of a map, as it stands in the text of the map.
pub fn entry_to_string(key: &str, value: Value) -> serde_json::Result<String> {
    let text = to_string(&Map::from_iter([(key.to_owned(), value)]))?;
    let text = text.strip_prefix("{\n    ").and_then(|text| text.strip_suffix("\n}"));
    Ok(text.unwrap_or_default().to_owned())
}

/// The text of one value of a map, as it stands in the text of the map.
pub fn value_to_string(value: Value) -> serde_json::Result<String> {
    let text = entry_to_string("", value)?;
    Ok(text.strip_prefix("\"\": ").unwrap_or_default().to_owned())
}

/// Where an entry of an object stands in its text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key, without escapes.
    pub key: String,
    /// Where it begins: the first quote of the key.
    pub start: u64,
    /// Where its value stands.
    pub value: Range<u64>,
}

/// The entries of an object in the order of the text, equal keys included. Values are only skimmed:
/// [`parse`] tells whether all of the text is right.
pub fn entries(text: &str) -> serde_json::Result<Vec<Entry>> {
    if is_empty_map(text) {
        return Ok(Vec::new());
    }
    let Entries(found) = serde_json::from_str(text)?;
    let mut end = 0;
    let places = found.into_iter().map(|(key, value)| {
        // Between a value and the next key there is a comma and white space, but no quote.
        let gap = text.get(end..).and_then(|rest| rest.find('"')).unwrap_or_default();
        let start = (end + gap) as u64;
        let value_start = value.get().as_ptr().addr() - text.as_ptr().addr();
        end = value_start + value.get().len();
        Entry { key, start, value: value_start as u64..end as u64 }
    });
    Ok(places.collect())
}

/// What stands in a part of a text.
#[must_use]
pub fn text_at<'t>(text: &'t str, part: &Range<u64>) -> &'t str {
    let [start, end] = [part.start, part.end].map(|at| usize::try_from(at).unwrap_or_default());
    text.get(start..end).unwrap_or_default()
}

/// The key of an entry, and the text of its value.
pub(super) fn entry(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut keys = serde_json::Deserializer::from_str(text).into_iter::<Text>();
    let Text(key) = keys.next()?.ok()?;
    let value = text.get(keys.byte_offset()..)?.trim_ascii_start().strip_prefix(':')?;
    Some((key?, value.trim_ascii_start()))
}

/// How much of an entry is read at first, in bytes.
const ENTRY: usize = 512;

/// The entry of a file of `size` bytes that begins at `start`, with the text of its value; `None`
/// if no entry with an object as its value stands there.
pub(super) fn entry_at(file: &File, size: u64, start: u64) -> io::Result<Option<(Entry, String)>> {
    let rest = usize::try_from(size.saturating_sub(start)).unwrap_or(usize::MAX);
    let mut length = ENTRY;
    loop {
        let mut bytes = vec![0; length.min(rest)];
        file.read_exact_at(&mut bytes, start)?;
        let entry = first_entry(&bytes, start);
        // Perhaps the end was cut off.
        if entry.is_some() || length >= rest {
            return Ok(entry);
        }
        length *= 2;
    }
}

/// The entry that a text begins with. An object is whole or no JSON, so no cut goes unnoticed.
fn first_entry(text: &[u8], start: u64) -> Option<(Entry, String)> {
    let mut keys = serde_json::Deserializer::from_slice(text).into_iter::<String>();
    let key = keys.next()?.ok()?;
    let rest = text.get(keys.byte_offset()..)?.trim_ascii_start().strip_prefix(b":")?;
    let rest = rest.trim_ascii_start();
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
    let json = values.next()?.ok()?.get();
    let value = start + (text.len() - rest.len()) as u64;
    let value = value..value + json.len() as u64;
    json.starts_with('{').then(|| (Entry { key, start, value }, json.to_owned()))
}

/// A value that is read strictly, and kept only if it is a string.
pub(super) struct Text<'t>(pub(super) Option<Cow<'t, str>>);

impl<'t> Deserialize<'t> for Text<'t> {
    fn deserialize<D: Deserializer<'t>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(AnyValue)
    }
}

/// Takes any value for a [`Text`]. Of large numbers and of fractions, `serde_json` makes maps.
struct AnyValue;

impl<'t> Visitor<'t> for AnyValue {
    type Value = Text<'t>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'t str) -> Result<Text<'t>, E> {
        Ok(Text(Some(text.into())))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'t>, E> {
        Ok(Text(Some(text.to_owned().into())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Text<'t>, E> {
        Ok(Text(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Text<'t>, E> {
        Ok(Text(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Text<'t>, E> {
        Ok(Text(None))
    }

    fn visit_unit<E>(self) -> Result<Text<'t>, E> {
        Ok(Text(None))
    }

    fn visit_seq<S: SeqAccess<'t>>(self, mut list: S) -> Result<Text<'t>, S::Error> {
        while list.next_element::<Text>()?.is_some() {}
        Ok(Text(None))
    }

    fn visit_map<M: MapAccess<'t>>(self, mut map: M) -> Result<Text<'t>, M::Error> {
        while map.next_entry::<Text, Text>()?.is_some() {}
        Ok(Text(None))
    }
}

/// The entries of an object in the order of the text.
struct Entries<'t>(Vec<(String, &'t RawValue)>);

impl<'t> Deserialize<'t> for Entries<'t> {
    fn deserialize<D: Deserializer<'t>>(value: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'t> Visitor<'t> for Object {
            type Value = Entries<'t>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'t>>(self, mut map: M) -> Result<Entries<'t>, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        value.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewritten(text: &str) -> String {
        to_string(&serde_json::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn the_articles_state_is_written_as_it_is() {
        let state = r#"{
    "host1.h.lohray.com": {
        "ip": "129.118.243.10",
        "update": "2012-04-20 20:45:59"
    }
}"#;
        assert_eq!(rewritten(state), state);
    }

    #[test]
    fn strings_numbers_and_empty_values_are_phps() {
        let text = concat!(
            r#"{"a\/b":"é😀\u007f\u0001\"\\\b\f\n\r\t</x>","n":1.0,"e":1.0e+25,"#,
            r#""l":[],"o":{},"k":[1,{"z":null,"a":true}]}"#
        );
        let expected = r#"{
    "a\/b": "\u00e9\ud83d\ude00DEL\u0001\"\\\b\f\n\r\t<\/x>",
    "n": 1.0,
    "e": 1.0e+25,
    "l": [],
    "o": {},
    "k": [
        1,
        {
            "z": null,
            "a": true
        }
    ]
}"#;
        let expected = expected.replace("DEL", "\u{7f}");
        assert_eq!(rewritten(text), expected);
    }

    /// The values of the entries with this key, by their places in the text and in a file.
    fn values(text: &str, key: &str) -> Vec<String> {
        let entries = entries(text).unwrap();
        let entries = entries.into_iter().filter(|entry| entry.key == key);
        let value = |entry: Entry| {
            let start = usize::try_from(entry.start).unwrap();
            assert_eq!(text.as_bytes()[start], b'"', "{text}");
            let value = text_at(text, &entry.value).to_owned();
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(text.as_bytes(), 0).unwrap();
            let found = entry_at(&file, text.len() as u64, entry.start).unwrap();
            assert_eq!(found, value.starts_with('{').then(|| (entry, value.clone())), "{text}");
            value
        };
        entries.map(value).collect()
    }

    #[test]
    fn the_last_of_equal_keys_counts_and_escapes_are_keys_too() {
        let text = r#" {"a": 1, "b": {"a": 2}, "x": "a", "a" : [3 ], "c":{ } } "#;
        assert_eq!(values(text, "a"), ["1", "[3 ]"]);
        assert_eq!(parse(text).unwrap()["a"], serde_json::json!([3]));
        assert_eq!(values(text, "b"), [r#"{"a": 2}"#]);
        assert_eq!(values(text, "c"), ["{ }"]);
        assert_eq!(values(r#"{"\u0061": {"\"": "}"}}"#, "a"), [r#"{"\"": "}"}"#]);
        assert!(values(text, "d").is_empty());
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for text in ["null", "{", "{\"a\":1", "{\"a\":1} x", "{\"a\":1,}", "{'a':1}", "\u{feff}{}"]
        {
            assert!(parse(text).is_err(), "{text:?}");
            assert!(entries(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_could_not_be_built_is_an_error_wherever_it_stands() {
        let deep = format!("{{\"x\": {}{}}}", "[".repeat(200), "]".repeat(200));
        for text in [r#"{"x": "\ud800"}"#, r#"{"\ud800": 1}"#, r#"{"x": [{"y": "\udc00"}]}"#, &deep]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(r#"{"a": "\ud800", "a": 1}"#).is_err());
    }

    #[test]
    fn an_entry_of_any_length_is_read_whole_from_its_place_and_from_no_other() {
        let file = tempfile::tempfile().unwrap();
        for length in [0, ENTRY - 30, ENTRY - 20, ENTRY, 2 * ENTRY, 9 * ENTRY] {
            let record = format!("{{\"note\": \"{}\"}}", "x".repeat(length));
            let text = format!("{{\"a\": {record}, \"b\": 5}}");
            file.set_len(text.len() as u64).unwrap();
            file.write_all_at(text.as_bytes(), 0).unwrap();
            for start in 0..text.len() as u64 + 9 {
                let found = entry_at(&file, text.len() as u64, start).unwrap();
                let expected = (start == 1).then_some(record.as_str());
                assert_eq!(found.as_ref().map(|(_, json)| json.as_str()), expected, "{start}");
            }
        }
    }

    #[test]
    fn php_has_three_ways_to_write_an_empty_map() {
        for text in ["", " \n", "[]", "{}", "{ }", "[\n]\n"] {
            assert!(is_empty_map(text), "{text:?}");
            assert_eq!(parse(text).unwrap(), Map::new(), "{text:?}");
        }
        for text in ["{", "[}", "[[]]", "{}x", "null", "0"] {
            assert!(!is_empty_map(text), "{text:?}");
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_map_round_trips_and_is_ascii(
            map in prop::collection::vec(("\\PC{0,8}", "[\\PC\0-\u{1f}]{0,8}"), 0..6),
        ) {
            let map: Map<String, Value> = map.into_iter().map(|(k, v)| (k, v.into())).collect();
            let text = to_string(&map).unwrap();
            prop_assert!(text.is_ascii());
            prop_assert_eq!(&serde_json::from_str::<Map<String, Value>>(&text).unwrap(), &map);
            prop_assert_eq!(rewritten(&text), text);
        }

        #[test]
        fn an_entry_is_where_it_is_said_to_be(
            map in prop::collection::btree_map("\\PC{0,6}", "\\PC{0,6}", 0..8),
        ) {
            let text = serde_json::to_string(&map).unwrap();
            for (key, value) in &map {
                prop_assert_eq!(values(&text, key), [serde_json::to_string(value).unwrap()]);
            }
            let nested = serde_json::to_string(&serde_json::json!({"outer": map})).unwrap();
            prop_assert_eq!(values(&nested, "outer"), [text]);
        }
    }
}

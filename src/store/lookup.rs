//! Finds one entry of a JSON object without building the others.
//!
//! The rest of the text is read as strictly as if it were built, so that a broken file is never taken
//! for a good one. Of equal keys the last one counts, as in PHP.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The value of the last entry of the object `text` whose key `is_wanted`, as it stands there.
pub fn find(text: &str, is_wanted: impl Fn(&str) -> bool) -> serde_json::Result<Option<&RawValue>> {
    let mut json = serde_json::Deserializer::from_str(text);
    let found = json.deserialize_map(Object { is_wanted: &is_wanted })?;
    json.end()?;
    Ok(found)
}

/// Where a value that [`find`] found begins in its text, in bytes.
#[must_use]
pub fn offset(text: &str, value: &RawValue) -> usize {
    value.get().as_ptr().addr() - text.as_ptr().addr()
}

/// The whole map that the text is.
pub fn parse_map(text: &str) -> serde_json::Result<Map<String, Value>> {
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

/// Visits the entries of an object.
struct Object<'p, P> {
    is_wanted: &'p P,
}

impl<'t, P: Fn(&str) -> bool> Visitor<'t> for Object<'_, P> {
    type Value = Option<&'t RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'t>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found = None;
        while let Some(is_wanted) = map.next_key_seed(Key { is_wanted: self.is_wanted })? {
            if is_wanted {
                let value = map.next_value()?;
                if !can_be_built(value) {
                    return Err(M::Error::custom("a value that cannot be built"));
                }
                found = Some(value);
            } else {
                map.next_value::<Skipped>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a value can be built: a raw one was only skimmed. In a list, it is nested as deeply as in
/// the object that it comes from.
fn can_be_built(value: &RawValue) -> bool {
    serde_json::from_str::<Skipped>(&format!("[{value}]")).is_ok()
}

/// A value that is read and forgotten. Unlike serde's `IgnoredAny`, it finds what only the contents
/// of a string can have wrong, and values that are nested too deeply to be built.
struct Skipped;

impl<'t> Deserialize<'t> for Skipped {
    fn deserialize<D: Deserializer<'t>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(Self)
    }
}

impl<'t> Visitor<'t> for Skipped {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<S: SeqAccess<'t>>(self, mut list: S) -> Result<Self, S::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    // A number of many digits comes here, too: `arbitrary_precision` hands it over as a map.
    fn visit_map<M: MapAccess<'t>>(self, mut map: M) -> Result<Self, M::Error> {
        while map.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

/// Compares a key where it stands; only one with escapes is copied.
struct Key<'p, P> {
    is_wanted: &'p P,
}

impl<'t, P: Fn(&str) -> bool> DeserializeSeed<'t> for Key<'_, P> {
    type Value = bool;

    fn deserialize<D: Deserializer<'t>>(self, key: D) -> Result<bool, D::Error> {
        key.deserialize_str(self)
    }
}

impl<P: Fn(&str) -> bool> Visitor<'_> for Key<'_, P> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok((self.is_wanted)(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn get(text: &str, key: &str) -> Option<String> {
        find(text, |k| k == key).unwrap().map(|raw| raw.get().to_owned())
    }

    #[test]
    fn the_last_of_equal_keys_counts_and_escapes_are_keys_too() {
        let text = r#" {"a": 1, "b": {"a": 2}, "x": "a", "a" : [3 ]} "#;
        assert_eq!(get(text, "a").as_deref(), Some("[3 ]"));
        assert_eq!(get(r#"{"\u0061": 1}"#, "a").as_deref(), Some("1"));
        assert_eq!(get(text, "c"), None);
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for text in [
            "",
            "[]",
            "null",
            "{",
            "{\"a\":1",
            "{\"a\":1} x",
            "{\"a\":1,}",
            "{'a':1}",
            "\u{feff}{}",
        ] {
            assert!(find(text, |_| true).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_could_not_be_built_is_an_error_wherever_it_stands() {
        let deep = format!("{{\"x\": {}{}}}", "[".repeat(200), "]".repeat(200));
        for text in [r#"{"x": "\ud800"}"#, r#"{"\ud800": 1}"#, r#"{"x": [{"y": "\udc00"}]}"#, &deep]
        {
            assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
            for wanted in ["a", "x"] {
                assert!(find(text, |key| key == wanted).is_err(), "{wanted} in {text}");
            }
        }
        assert!(find(r#"{"a": "\ud800", "a": 1}"#, |key| key == "a").is_err());
        for depth in 126..=129 {
            let text = format!("{{\"x\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
            let whole = serde_json::from_str::<Value>(&text);
            assert_eq!(find(&text, |key| key == "x").is_ok(), whole.is_ok(), "{depth}");
        }
        let all =
            r#"{"x": [null, true, -1.5e300, 123456789012345678901234567890, "\u00e9"], "a": 1}"#;
        assert_eq!(get(all, "a").as_deref(), Some("1"));
    }

    #[test]
    fn php_has_three_ways_to_write_an_empty_map() {
        for text in ["", " \n", "[]", "{}", "{ }", "[\n]\n"] {
            assert!(is_empty_map(text), "{text:?}");
            assert_eq!(parse_map(text).unwrap(), Map::new(), "{text:?}");
        }
        for text in ["{", "[}", "[[]]", "{}x", "null", "0"] {
            assert!(!is_empty_map(text), "{text:?}");
            assert!(parse_map(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn it_finds_what_a_whole_parse_finds(
            map in prop::collection::btree_map("\\PC{0,6}", "\\PC{0,6}", 0..8), key in "\\PC{0,6}",
        ) {
            let text = serde_json::to_string(&map).unwrap();
            let whole: Value = serde_json::from_str(&text).unwrap();
            for key in map.keys().chain([&key]) {
                let found = find(&text, |k| k == key).unwrap();
                let found: Option<Value> = found.map(|raw| serde_json::from_str(raw.get()).unwrap());
                prop_assert_eq!(found.as_ref(), whole.get(key));
            }
        }
    }
}

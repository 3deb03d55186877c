//! Finds one entry of a JSON object without building the others.
//!
//! The whole text is still read as strict JSON, so that a broken file is never taken for a good
//! one. Of equal keys the last one counts, as in PHP.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The value of the last entry of the object `text` whose key `is_wanted`, as it stands there.
pub fn find(text: &str, is_wanted: impl Fn(&str) -> bool) -> serde_json::Result<Option<&RawValue>> {
    let mut json = serde_json::Deserializer::from_str(text);
    let found = json.deserialize_map(Object { is_wanted: &is_wanted })?;
    json.end()?;
    Ok(found)
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
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
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
    use serde_json::Value;

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
    fn php_has_three_ways_to_write_an_empty_map() {
        for text in ["", " \n", "[]", "{}", "{ }", "[\n]\n"] {
            assert!(is_empty_map(text), "{text:?}");
        }
        for text in ["{", "[}", "[[]]", "{}x", "null", "0"] {
            assert!(!is_empty_map(text), "{text:?}");
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

//! JSON built whole, to compare with.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The first line of an input, and what follows it.
pub fn first_line(input: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(input).ok()?.split_once('\n')
}

/// The entries of an object, built whole, in the order of the text, equal keys included.
pub struct Entries(pub Vec<(String, Value)>);

impl<'t> Deserialize<'t> for Entries {
    fn deserialize<D: Deserializer<'t>>(value: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'t> Visitor<'t> for Object {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'t>>(self, mut map: M) -> Result<Entries, M::Error> {
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

/// Whether the text may contain, perhaps escaped, one of the keys by which `serde_json` passes on long
/// numbers and raw values: when it builds a value, it takes an object with such a key for one of these.
pub fn has_private_names(text: &str) -> bool {
    let mut parts = text.split("\\u");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match code.and_then(char::from_u32) {
            Some(c) => plain.extend([c.to_string().as_str(), &part[4..]]),
            None => plain.push_str(part),
        }
    }
    plain.contains("$serde_json::private::")
}

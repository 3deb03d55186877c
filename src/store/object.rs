//! A JSON object of many entries: its text, and where each of them stands in it. It takes little
//! more memory than the text.
//!
//! All of the text is read strictly, but nothing is built of it. Only the list of places says which
//! entries there are, and in which order.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::store::json::{self, Text};
use crate::store::keys::Keys;
use crate::store::plain;

/// An object that has been read.
#[derive(Debug)]
pub(super) struct Object {
    text: String,
    /// What has been added to it.
    added: String,
    entries: Vec<Place>,
    keys: Keys,
    /// Whether no two keys mean the same.
    are_distinct: bool,
    /// The hashes of keys that the text has more than once.
    repeated: Vec<u64>,
}

/// Where an entry stands in the text, or behind it in what has been added: from the first quote of
/// its key to the end of its value.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The hash of the key.
    hash: u64,
    start: u32,
    end: u32,
}

/// The length of a short entry with a record, in bytes.
const SHORTEST: usize = 64;

impl Object {
    /// Reads all of a text. Of equal keys the last value counts, in the place of the first, as in
    /// PHP.
    pub(super) fn read(text: String, keys: Keys) -> serde_json::Result<Self> {
        let mut entries = Vec::new();
        if !json::is_empty_map(&text) {
            let mut source = serde_json::Deserializer::from_str(&text);
            entries = source.deserialize_map(Places { text: &text, keys })?;
            source.end()?;
        }
        let are_distinct = have_distinct_hashes(&entries);
        let mut object =
            Self { text, added: String::new(), entries, keys, are_distinct, repeated: Vec::new() };
        if !are_distinct {
            object.merge_equal_keys();
        }
        Ok(object)
    }

    fn merge_equal_keys(&mut self) {
        // The number of each key in `merged`. A map of this kind is in the program anyway.
        let mut numbers: Map<String, Value> = Map::new();
        let (mut merged, mut repeated): (Vec<Place>, _) = (Vec::new(), Vec::new());
        for place in &self.entries {
            let number = numbers.entry(key(self.part(place))).or_insert(merged.len().into());
            let number = number.as_u64().and_then(|number| usize::try_from(number).ok());
            match number.and_then(|number| merged.get_mut(number)) {
                None => merged.push(*place),
                Some(first) => {
                    repeated.push(place.hash);
                    *first = *place;
                }
            }
        }
        self.are_distinct = have_distinct_hashes(&merged);
        (self.entries, self.repeated) = (merged, repeated);
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The text as it was read.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether no two keys mean the same.
    pub(super) fn are_distinct(&self) -> bool {
        self.are_distinct
    }

    /// Where each entry begins.
    pub(super) fn starts(&self) -> Vec<u32> {
        self.entries.iter().map(|place| place.start).collect()
    }

    /// The hashes of the keys.
    pub(super) fn into_hashes(self) -> Vec<u64> {
        self.entries.into_iter().map(|place| place.hash).collect()
    }

    /// The entries whose keys mean the same as this one, in their order.
    fn numbers_of(&self, wanted: &str) -> Vec<usize> {
        let hash = self.keys.hash(wanted);
        let is_wanted = |(_, place): &(usize, &Place)| {
            place.hash == hash && self.keys.are_same(&key(self.part(place)), wanted)
        };
        self.entries.iter().enumerate().filter(is_wanted).map(|(number, _)| number).collect()
    }

    /// The text of an entry.
    fn part(&self, place: &Place) -> &str {
        let part = u64::from(place.start)..place.end.into();
        let length = self.text.len() as u64;
        match part.start.checked_sub(length) {
            Some(start) => json::text_at(&self.added, &(start..part.end - length)),
            None => json::text_at(&self.text, &part),
        }
    }

    /// The entry whose key means the same as this one, with the text of its value, and whether it
    /// is the only one. Of several, it is the last one in the text.
    pub(super) fn find(&self, wanted: &str) -> Option<(json::Entry, &str, bool)> {
        let numbers = self.numbers_of(wanted);
        let places = numbers.iter().filter_map(|number| self.entries.get(*number));
        let place = places.max_by_key(|place| place.start)?;
        let is_only_one = numbers.len() == 1 && !self.repeated.contains(&place.hash);
        let text = self.part(place);
        let (key, value) = json::entry(text)?;
        let [start, end] = [place.start, place.end].map(u64::from);
        let at = end - value.len() as u64..end;
        let entry = json::Entry { key: key.into_owned(), start, value: at };
        Some((entry, value, is_only_one))
    }

    /// The entries: their keys, and the texts of their values.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
        self.entries.iter().filter_map(|place| json::entry(self.part(place)))
    }

    /// Gives a key a value. Of several keys that mean the same as this one, the first stays, with
    /// the spelling that it has.
    pub(super) fn set(&mut self, wanted: &str, value: impl Into<Value>) -> serde_json::Result<()> {
        let numbers = self.numbers_of(wanted);
        let first = numbers.first().and_then(|number| self.entries.get(*number));
        let name = first.map_or(wanted.into(), |first| key(self.part(first)));
        let new = json::entry_to_string(&name, value.into())?;
        let start = self.text.len() + self.added.len();
        let [start, end] = [start, start + new.len()].map(to_u32);
        let place = Place { hash: self.keys.hash(wanted), start, end };
        self.added += &new;
        let Some((first, twins)) = numbers.split_first() else {
            self.entries.push(place);
            return Ok(());
        };
        self.entries.get_mut(*first).into_iter().for_each(|first| *first = place);
        if !twins.is_empty() {
            let mut numbers = 0..;
            let is_twin = |number| twins.binary_search(&number).is_ok();
            self.entries.retain(|_| !numbers.next().is_some_and(is_twin));
            self.are_distinct = have_distinct_hashes(&self.entries);
        }
        Ok(())
    }

    /// Writes the object as PHP does, and returns where each entry begins in what was written.
    pub(super) fn write(&self, to: &mut dyn Write) -> io::Result<Vec<u32>> {
        let mut starts = Vec::with_capacity(self.entries.len());
        let (mut at, mut before) = (0, "{\n    ");
        for place in &self.entries {
            let text = plain::as_written(self.part(place))?;
            to.write_all(before.as_bytes())?;
            to.write_all(text.as_bytes())?;
            starts.push(to_u32(at + before.len()));
            at += before.len() + text.len();
            before = ",\n    ";
        }
        to.write_all(if self.entries.is_empty() { b"{}" } else { b"\n}" })?;
        Ok(starts)
    }

    /// Whether the text is what [`Self::write`] writes.
    pub(super) fn is_as_written(&self) -> bool {
        let (mut at, mut before) = (0, "{\n    ");
        for place in &self.entries {
            let text = self.part(place);
            let is_written = plain::as_written(text).is_ok_and(|written| match written {
                Cow::Borrowed(_) => true,
                Cow::Owned(written) => written == text,
            });
            if json::text_at(&self.text, &(at..place.start.into())) != before || !is_written {
                return false;
            }
            (at, before) = (place.end.into(), ",\n    ");
        }
        json::text_at(&self.text, &(at..self.text.len() as u64)) == "\n}"
    }
}

/// A place beyond 4 GiB is wrong, and is noticed there.
fn to_u32(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn key(entry: &str) -> Cow<'_, str> {
    json::entry(entry).map(|(key, _)| key).unwrap_or_default()
}

/// By a table that is at most half full. To sort the hashes would make the program larger by 3 KB.
fn have_distinct_hashes(entries: &[Place]) -> bool {
    let size = (2 * entries.len()).next_power_of_two();
    // The numbers of entries, counted from 1; a free slot has 0.
    let mut table = vec![0_u32; size];
    (1..).zip(entries).all(|(number, place)| {
        let home = usize::try_from(place.hash >> 32).unwrap_or_default() & (size - 1);
        for slot in (home..size).chain(0..home) {
            let Some(taken) = table.get_mut(slot) else { break };
            if *taken == 0 {
                *taken = number;
                break;
            }
            let other = entries.get(*taken as usize - 1);
            if other.is_some_and(|other| other.hash == place.hash) {
                return false;
            }
        }
        true
    })
}

/// Reads an object, and keeps the places of its entries.
struct Places<'t> {
    text: &'t str,
    keys: Keys,
}

impl<'t> Visitor<'t> for Places<'t> {
    type Value = Vec<Place>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'t>>(self, mut map: M) -> Result<Vec<Place>, M::Error> {
        // Room for entries as short as a host's, without moving them from one room to a larger one.
        let mut places: Vec<Place> = Vec::with_capacity(self.text.len() / SHORTEST);
        while let Some(key) = map.next_key::<&RawValue>()? {
            let start = key.get().as_ptr().addr() - self.text.as_ptr().addr();
            let start = u32::try_from(start).map_err(M::Error::custom)?;
            // Strictly.
            let name = serde_json::from_str::<Text>(key.get());
            let name = name.map_err(|_| M::Error::custom("a key is no text"))?;
            let hash = self.keys.hash(&name.0.unwrap_or_default());
            map.next_value::<Text>()?;
            places.push(Place { hash, start, end: start });
        }
        // Between a value and the next key there are a comma and white space.
        let mut after = self.text.trim_ascii_end().strip_suffix('}').unwrap_or_default();
        for place in places.iter_mut().rev() {
            place.end = to_u32(after.trim_ascii_end().len());
            let before = json::text_at(self.text, &(0..place.start.into())).trim_ascii_end();
            after = before.strip_suffix(',').unwrap_or_default();
        }
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, json};

    fn read(text: &str) -> Object {
        Object::read(text.to_owned(), Keys::OfHosts).unwrap()
    }

    fn written(object: &Object) -> String {
        let mut text = Vec::new();
        let starts = object.write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let is_key = |start: &u32| text.get(*start as usize..).unwrap().starts_with('"');
        assert!(starts.len() == object.len() && starts.iter().all(is_key), "{text}");
        text
    }

    #[test]
    fn of_equal_keys_the_last_value_counts_in_the_place_of_the_first() {
        let text = r#"{"a": 1, "b": 2, "\u0061": {"x": "y"}, "A": 3, "b":4}"#;
        let object = read(text);
        let twins = read(r#"{"A": 1, "a": 2, "A": 3}"#);
        assert_eq!(twins.find("a").unwrap().1, "3", "the last in the text, not among the names");
        assert_eq!(written(&object), json::to_string(&json::parse(text).unwrap()).unwrap());
        let (entry, value, is_only_one) = object.find("B").unwrap();
        assert_eq!((entry.key.as_str(), value, is_only_one), ("b", "4", false));
        let (entry, value, is_only_one) = object.find("a").unwrap();
        assert_eq!((entry.key.as_str(), value, is_only_one), ("A", "3", false));
        assert!(!object.are_distinct());
        assert!(read(r#"{"a": 1, "b": 2, "a": 3}"#).are_distinct());
        assert!(object.find("c").is_none());
    }

    #[test]
    fn a_new_value_takes_the_place_of_all_keys_that_mean_the_same() {
        let mut object = read(r#"{"a": 1, "B": 2, "A": 3, "c": 4, "b": 5}"#);
        for (key, value) in [("A", 6), ("d", 7), ("b", 8), ("b", 9), ("D", 10)] {
            object.set(key, value).unwrap();
            assert_eq!(object.find(key).unwrap().1, value.to_string());
        }
        assert!(object.are_distinct());
        let expected = json!({"a": 6, "B": 9, "c": 4, "d": 10});
        assert_eq!(written(&object), json::to_string(expected.as_object().unwrap()).unwrap());
    }

    #[test]
    fn an_entry_is_found_where_it_stands() {
        let text = " {\n \"a\\/b\"\t:\n{\"x\": [1, 2.50]} , \"c\":{} } ";
        let object = read(text);
        for (key, expected) in [("a/b", "{\"x\": [1, 2.50]}"), ("c", "{}")] {
            let (entry, value, _) = object.find(key).unwrap();
            assert_eq!((value, json::text_at(text, &entry.value)), (expected, expected));
            assert_eq!(json::entries(text).unwrap().iter().find(|e| e.key == key), Some(&entry));
        }
    }

    /// Spellings of values, of which `serde_json` writes some otherwise.
    fn a_value() -> impl Strategy<Value = String> {
        let scalars = [
            "1",
            "-0",
            "1.50",
            "1E5",
            "1e+25",
            "99999999999999999999",
            "true",
            "null",
            "\"x\"",
            "\"\"",
            "\"/\"",
            "\"\\/\"",
            "\"\\u0041\"",
            "\"\\u00e9\"",
            "\"é\"",
            "\"\\b\\u0008\"",
            "\"\\\"\\\\\"",
            "\"\u{7f}\"",
            "\"\\u007f\"",
            "\"\\ud83d\\ude00\"",
            "{}",
            "[]",
        ];
        let scalar = prop::sample::select(scalars.to_vec()).prop_map(str::to_owned);
        scalar.prop_recursive(3, 12, 4, |inner| {
            let key = prop::sample::select(vec!["a", "A", "b", "\\u0061", "/"]);
            let list = prop::collection::vec(inner.clone(), 0..4);
            let list = list.prop_map(|values| format!("[{}]", values.join(", ")));
            let object = prop::collection::vec((key, inner), 0..12);
            let object = object.prop_map(|fields| {
                let fields = fields.iter().map(|(key, value)| format!("\"{key}\":{value}"));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(",\n"))
            });
            prop_oneof![list, object]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_the_whole_map_would_be(
            text in a_value(), spaces in "[ \n]{0,2}", name in "[aAbc]", is_pretty: bool,
        ) {
            let text = format!("{spaces}{{\"x\": {text}, \"y\":{text}{spaces}}}");
            let mut map = json::parse(&text).unwrap();
            let ours = json::to_string(&map).unwrap();
            prop_assert_eq!(written(&read(&text)), ours.as_str());
            prop_assert_eq!(read(&text).is_as_written(), text == ours);
            prop_assert!(read(&ours).is_as_written());
            let mut object = read(if is_pretty { &ours } else { &text });
            object.set(&name, json!({"ip": "192.0.2.1"})).unwrap();
            map.insert(name, json!({"ip": "192.0.2.1"}));
            prop_assert_eq!(written(&object), json::to_string(&map).unwrap());
        }

        #[test]
        fn what_the_whole_map_does_not_take_is_an_error(text in a_value(), cut in 0..40_usize) {
            let text = format!("{{\"x\": {text}}}");
            let cut = text.get(..cut).unwrap_or(&text);
            for text in [cut.to_owned(), cut.replace("\\ude00", "").replace(':', "")] {
                let strict = json::parse(&text);
                let object = Object::read(text.clone(), Keys::OfUsers);
                prop_assert_eq!(object.is_ok(), strict.is_ok(), "{}", text);
                if let (Err(object), Err(strict)) = (object, strict) {
                    let [one, other] = [object, strict].map(|error| (error.line(), error.column()));
                    prop_assert_eq!(one, other, "{}", text);
                }
            }
        }
    }

    #[test]
    fn a_hundred_thousand_spellings_of_one_name_are_read_and_merged() {
        let spelling = |number: usize| {
            let letter = |bit: usize| if number >> bit & 1 == 0 { 'a' } else { 'A' };
            (0..17).map(letter).collect::<String>()
        };
        let spellings: Map<_, _> = (0..100_000).map(|n| (spelling(n), json!({}))).collect();
        let mut object = read(&json::to_string(&spellings).unwrap());
        assert_eq!((object.len(), object.are_distinct()), (100_000, false));
        object.set(&spelling(5), json!({"ip": "192.0.2.1"})).unwrap();
        assert_eq!((object.len(), object.are_distinct()), (1, true));
    }
}

//! JSON to the byte as PHP's `json_encode($map, JSON_PRETTY_PRINT)` writes it: four spaces, `/` and
//! everything outside ASCII escaped, no newline at the end.
//! <https://www.php.net/manual/en/function.json-encode.php>

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use serde_json::{Map, Value};

/// The text of `map`.
pub fn to_bytes(map: &Map<String, Value>) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let format = PhpFormatter(PrettyFormatter::with_indent(b"    "));
    map.serialize(&mut Serializer::with_formatter(&mut bytes, format))?;
    Ok(bytes)
}

/// The text of one value of a map, as it stands in the text of the map.
pub fn value_to_string(value: Value) -> serde_json::Result<String> {
    let text = to_bytes(&Map::from_iter([(String::new(), value)]))?;
    let text = text.strip_prefix(b"{\n    \"\": ").and_then(|text| text.strip_suffix(b"\n}"));
    Ok(String::from_utf8_lossy(text.unwrap_or_default()).into_owned())
}

/// `serde_json`'s own layout with PHP's strings.
struct PhpFormatter(PrettyFormatter<'static>);

impl Formatter for PhpFormatter {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        text: &str,
    ) -> io::Result<()> {
        for plain in text.split_inclusive(|c: char| c == '/' || !c.is_ascii()) {
            let mut rest = plain.chars();
            match rest.next_back() {
                Some('/') => write!(writer, "{}\\/", rest.as_str())?,
                Some(c) if !c.is_ascii() => {
                    writer.write_all(rest.as_str().as_bytes())?;
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(writer, "\\u{unit:04x}")?;
                    }
                }
                Some(_) | None => writer.write_all(plain.as_bytes())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewritten(text: &str) -> String {
        String::from_utf8(to_bytes(&serde_json::from_str(text).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn the_articles_state_is_written_as_it_is() {
        let state = "{\n    \"host1.h.lohray.com\": {\n        \"ip\": \"129.118.243.10\",\n        \
                     \"update\": \"2012-04-20 20:45:59\"\n    }\n}";
        assert_eq!(rewritten(state), state);
    }

    #[test]
    fn strings_numbers_and_empty_values_are_phps() {
        let text = r#"{"a\/b":"é😀\u007f\u0001\"\\\b\f\n\r\t</x>","n":1.0,"e":1.0e+25,"l":[],"o":{},"k":[1,{"z":null,"a":true}]}"#;
        let expected = "{\n    \"a\\/b\": \"\\u00e9\\ud83d\\ude00\u{7f}\\u0001\\\"\\\\\\b\\f\\n\\r\\t<\\/x>\",\n    \"n\": 1.0,\n    \
                        \"e\": 1.0e+25,\n    \"l\": [],\n    \"o\": {},\n    \"k\": [\n        1,\n        {\n            \
                        \"z\": null,\n            \"a\": true\n        }\n    ]\n}";
        assert_eq!(rewritten(text), expected);
    }

    proptest! {
        #[test]
        fn any_map_round_trips_and_is_ascii(map in prop::collection::vec(("\\PC{0,8}", "[\\PC\0-\u{1f}]{0,8}"), 0..6)) {
            let map: Map<String, Value> = map.into_iter().map(|(k, v)| (k, v.into())).collect();
            let bytes = to_bytes(&map).unwrap();
            prop_assert!(bytes.is_ascii());
            prop_assert_eq!(&serde_json::from_slice::<Map<String, Value>>(&bytes).unwrap(), &map);
            let text = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(rewritten(&text), text);
        }
    }
}

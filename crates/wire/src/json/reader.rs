//! From a JSON text to values, by the same walk that validates one.

use std::slice::Iter;

use bytes::Bytes;
use serde_json::Number;

use super::scanner::{DEPTH_MAX, Ending, Quoted, Scanner};
use super::text::{Escapes, Text};
use super::value::{Map, Value};
use super::{Document, Malformed, check_utf8, has_half_character};

impl Value {
    /// Reads a document. Long texts share its memory.
    ///
    /// # Errors
    /// When it is not one well-formed JSON value, is nested too deep, or has a number or a character that does not exist.
    pub fn read<'a>(document: impl Into<Document<'a>>) -> Result<Self, Malformed> {
        let Document { text, scanned } = document.into();
        match scanned {
            Some(object) => Reader::new(text, object.endings.iter()).document(),
            None => {
                check_utf8(text)?;
                Reader::new(text, Unknown).document()
            }
        }
    }
}

impl Map {
    /// Reads an object, but for the members that `passes_over` names: they have to be well formed, and no more.
    ///
    /// # Errors
    /// Those of [`Value::read`], and when it is no object.
    pub fn read_but(document: &Bytes, passes_over: impl Fn(&[u8]) -> bool) -> Result<Self, Malformed> {
        check_utf8(document)?;
        Reader::new(document, Unknown).object_but(passes_over)
    }
}

/// Room for what is open in most documents, so that a list need not grow on the way there.
const OPEN_ITEMS: usize = 16;
const OPEN_MEMBERS: usize = 11;

/// What is known of the strings of a text.
pub(super) trait Strings {
    /// Walks over the next string, at its quote.
    fn next(&mut self, scanner: &mut Scanner<'_>) -> Result<Quoted, Malformed>;
}

/// Nothing: where they end is looked for.
struct Unknown;

impl Strings for Unknown {
    fn next(&mut self, scanner: &mut Scanner<'_>) -> Result<Quoted, Malformed> {
        scanner.string()
    }
}

/// Where those end that have not been read yet.
impl Strings for Iter<'_, Ending> {
    fn next(&mut self, scanner: &mut Scanner<'_>) -> Result<Quoted, Malformed> {
        scanner.known_string(self)
    }
}

pub(super) struct Reader<'a, S> {
    text: &'a Bytes,
    pub(super) scanner: Scanner<'a>,
    pub(super) strings: S,
    /// Items and members of what is open, the outermost first: so that each list is made once, as long as it is.
    items: Vec<Value>,
    pub(super) members: Vec<(Text, Value)>,
}

impl<'a, S: Strings> Reader<'a, S> {
    pub(super) fn new(text: &'a Bytes, strings: S) -> Self {
        let scanner = Scanner::new(text, DEPTH_MAX);
        Self { text, scanner, strings, items: Vec::new(), members: Vec::new() }
    }

    /// Reads all of the text.
    fn document(mut self) -> Result<Value, Malformed> {
        self.make_room();
        self.scanner.skip_space();
        let value = self.value(0)?;
        self.end()?;
        Ok(value)
    }

    fn make_room(&mut self) {
        self.items.reserve(OPEN_ITEMS);
        self.members.reserve(OPEN_MEMBERS);
    }

    /// Walks to the brace that opens the text.
    pub(super) fn begin_object(&mut self) -> Result<(), Malformed> {
        self.scanner.skip_space();
        if self.scanner.peek() == Some(b'{') { Ok(()) } else { Err(Malformed::NotAnObject) }
    }

    fn object_but(mut self, passes_over: impl Fn(&[u8]) -> bool) -> Result<Map, Malformed> {
        self.make_room();
        self.begin_object()?;
        self.each_member(1, |reader, key| {
            if reader.scanner.plain(&key).is_some_and(&passes_over) {
                return reader.scanner.value(1);
            }
            let key = reader.text_of(key)?;
            let value = reader.value(1)?;
            reader.members.push((key, value));
            Ok(())
        })?;
        self.end()?;
        Ok(Map::from(self.members))
    }

    /// Walks to the end of the text, before which nothing may stand.
    pub(super) fn end(&mut self) -> Result<(), Malformed> {
        self.scanner.skip_space();
        match self.scanner.peek() {
            None => Ok(()),
            Some(_) => Err(Malformed::TrailingData { at: self.scanner.at }),
        }
    }

    pub(super) fn value(&mut self, depth: usize) -> Result<Value, Malformed> {
        let scanner = &mut self.scanner;
        Ok(match scanner.peek() {
            Some(b'"') => Value::String(self.string()?),
            Some(b'{') => Value::Object(self.object(depth + 1)?),
            Some(b'[') => Value::Array(self.array(depth + 1)?),
            Some(b'-' | b'0'..=b'9') => Value::Number(self.number()?),
            Some(b't') => {
                scanner.literal(b"true")?;
                Value::Bool(true)
            }
            Some(b'f') => {
                scanner.literal(b"false")?;
                Value::Bool(false)
            }
            Some(b'n') => {
                scanner.literal(b"null")?;
                Value::Null
            }
            _ => return scanner.expected("a JSON value"),
        })
    }

    fn object(&mut self, depth: usize) -> Result<Map, Malformed> {
        let start = self.members.len();
        self.each_member(depth, |reader, key| {
            let key = reader.text_of(key)?;
            let value = reader.value(depth)?;
            reader.members.push((key, value));
            Ok(())
        })?;
        Ok(Map::from(self.members.split_off(start)))
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value>, Malformed> {
        let start = self.items.len();
        self.each_item(depth, |reader| {
            let value = reader.value(depth)?;
            reader.items.push(value);
            Ok(())
        })?;
        Ok(self.items.split_off(start))
    }

    /// Walks over the object at `depth`. `member` is given each key, and reads the value.
    #[inline]
    pub(super) fn each_member(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&mut Self, Quoted) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.open(depth)?;
        let mut has_entries = false;
        while self.goes_on(b'}', has_entries)? {
            has_entries = true;
            if self.scanner.peek() != Some(b'"') {
                return self.scanner.expected("a key");
            }
            let key = self.quoted()?;
            self.scanner.colon()?;
            member(self, key)?;
        }
        Ok(())
    }

    /// Walks over the array at `depth`. `item` reads each item.
    #[inline]
    pub(super) fn each_item(
        &mut self,
        depth: usize,
        mut item: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.open(depth)?;
        let mut has_entries = false;
        while self.goes_on(b']', has_entries)? {
            has_entries = true;
            item(self)?;
        }
        Ok(())
    }

    /// Walks over the bracket that opens the container at `depth`.
    fn open(&mut self, depth: usize) -> Result<(), Malformed> {
        if depth >= self.scanner.depth_max {
            return Err(Malformed::TooDeep { at: self.scanner.at });
        }
        self.scanner.at += 1;
        Ok(())
    }

    /// Walks to the next entry of a container, over the comma where it is not the first; or over its end.
    fn goes_on(&mut self, close: u8, has_entries: bool) -> Result<bool, Malformed> {
        self.scanner.skip_space();
        match self.scanner.peek() {
            Some(byte) if byte == close => {
                self.scanner.at += 1;
                Ok(false)
            }
            Some(b',') if has_entries => {
                self.scanner.at += 1;
                self.scanner.skip_space();
                Ok(true)
            }
            Some(_) if !has_entries => Ok(true),
            _ => self.scanner.expected(if close == b'}' { "',' or '}'" } else { "',' or ']'" }),
        }
    }

    /// Walks over the next string, at its quote.
    pub(super) fn quoted(&mut self) -> Result<Quoted, Malformed> {
        self.strings.next(&mut self.scanner)
    }

    pub(super) fn string(&mut self) -> Result<Text, Malformed> {
        let quoted = self.quoted()?;
        self.text_of(quoted)
    }

    pub(super) fn text_of(&self, Quoted { range, escapes }: Quoted) -> Result<Text, Malformed> {
        let from_here = self.text.get(range.start..).unwrap_or_default();
        let between = from_here.get(..range.len()).unwrap_or_default();
        if escapes == Escapes::Other && has_half_character(between) {
            return Err(Malformed::Syntax { expected: "both halves of a character", at: range.start });
        }
        Ok(Text::of_string(between, escapes, from_here, || self.text.slice(range)))
    }

    fn number(&mut self) -> Result<Number, Malformed> {
        let start = self.scanner.at;
        self.scanner.number()?;
        let digits = self.text.get(start..self.scanner.at).unwrap_or_default();
        if let Some(count) = count(digits) {
            return Ok(count.into());
        }
        serde_json::from_slice(digits)
            .map_err(|_| Malformed::Syntax { expected: "a number of 64 bits", at: start })
    }
}

/// A count that surely has 64 bits.
fn count(digits: &[u8]) -> Option<u64> {
    const DIGITS_MAX: usize = 19;
    let is_count = digits.len() <= DIGITS_MAX && digits.iter().all(u8::is_ascii_digit);
    is_count.then(|| digits.iter().fold(0, |count, digit| count * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::json::{Limits, scan};

    fn read(text: &str) -> Result<Value, Malformed> {
        Value::read(&Bytes::copy_from_slice(text.as_bytes()))
    }

    /// Reads and writes `text` as `serde_json` does.
    fn check(text: &str) {
        let expected = serde_json::from_str::<serde_json::Value>(text).ok();
        let value = read(text).ok();
        let document = Bytes::copy_from_slice(text.as_bytes());
        if let Ok(scanned) = scan(&document, Limits::default()) {
            assert_eq!(Value::read(Document::scanned(&document, &scanned)).ok(), value, "{text}");
        }
        let written = value.as_ref().map(Value::to_string);
        assert_eq!(written, expected.as_ref().map(serde_json::Value::to_string), "{text}");
        // The same values, however they come.
        assert_eq!(value, serde_json::from_str(text).ok(), "{text}");
        assert_eq!(value.map(|value| serde_json::to_string(&value).ok()), written.map(Some), "{text}");
    }

    #[test]
    fn reads_and_writes_what_others_do() {
        let long = "x".repeat(40);
        for text in [
            "0",
            "-0",
            "-1",
            "9999999999999999999",
            "18446744073709551615",
            "18446744073709551616",
            "1e2",
            "0.1",
            "1e400",
            "01",
            "1.",
            "-",
            "true",
            "nul",
            "null",
            "",
            " ",
            "[",
            "[]",
            "[ ]",
            "[1 ,2]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{}",
            "{ }",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{a:1}",
            "{\"a\":{\"b\":[{}]}} ",
            "{} x",
            "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\\u001F\\u00e9\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "\"\\ufffd\\uFFFD\"",
            "\"\\ud83dx\"",
            "\"\\x\"",
            "\"\u{1}\"",
            "\"\u{7f}\u{e9}\"",
            "{\"a\":1,\"b\":2,\"a\":3}",
            "{\"\\u0061\":1,\"a\":2}",
        ] {
            check(text);
            // A long text is shared.
            check(&text.replacen('"', &format!("\"{long}"), 1));
        }
        check(&format!(
            "{{{}}}",
            (0..100).map(|key| format!("\"{}\":{key}", key % 60)).collect::<Vec<_>>().join(",")
        ));
        for depth in [126, 127, 128, 5000] {
            check(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        }
    }

    #[test]
    fn what_is_passed_over_has_to_be_well_formed() {
        let passes_over = |key: &[u8]| matches!(key, b"over" | b"parallel");
        let read = |text: &str| Map::read_but(&Bytes::copy_from_slice(text.as_bytes()), passes_over);
        let over = r#" {"a":1,"over":{"b":[1e400,"\ud800"]},"c":[{"over":2}],"parallel":null} "#;
        let left = read(over).map(|left| Value::from(left).to_string());
        assert_eq!(left.as_deref(), Ok(r#"{"a":1,"c":[{"over":2}]}"#));
        // The same key, which nobody writes so.
        assert!(read(r#"{"\u006fver":1}"#).is_ok_and(|left| left.len() == 1));
        for broken in
            [r#"{"over":}"#, r#"{"over":[}"#, r#"{"over":1"#, r#"{"over":1}x"#, "[]", "1", "", r#"{"over":"#]
        {
            assert!(read(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_text_that_was_not_scanned_is_refused() {
        let long = "x".repeat(40);
        let scanned = Bytes::from(format!(r#"{{"a":"{long}"}}"#));
        let object = scan(&scanned, Limits::default()).expect("an object");
        for other in [format!(r#"{{"abc":"{long}"}}"#), format!(r#"{{"a":["{long}","{long}"]}}"#)] {
            let other = Bytes::from(other);
            assert!(Value::read(Document::scanned(&other, &object)).is_err());
        }
    }

    #[test]
    fn a_text_is_the_same_however_it_is_written() {
        let long = "x".repeat(40);
        let plain = Value::from(format!("{long}\n/"));
        for written in [format!("\"{long}\\n/\""), format!("\"{long}\\n\\/\""), format!("\"{long}\\u000a/\"")]
        {
            let value = read(&written).expect("a string");
            assert_eq!(value, plain);
            assert_eq!(plain, value);
            assert_eq!(value.to_string(), format!("\"{long}\\n/\""));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_others_do(text in r#"[{}\[\]":,\\/nu019aedx. -]{0,60}"#) {
            check(&text);
        }

        #[test]
        fn what_was_scanned_is_read_as_what_was_not(texts in vec((any::<String>(), ".{0,40}"), 0..12)) {
            let mut object = serde_json::Map::new();
            for (key, text) in texts {
                let inner = serde_json::json!({ text.clone(): [text.clone(), { "k": key.clone() }, 1.5] });
                object.insert(key, inner);
            }
            let document = Bytes::from(serde_json::Value::from(object).to_string());
            let scanned = scan(&document, Limits::default()).expect("an object");
            prop_assert_eq!(Value::read(Document::scanned(&document, &scanned)), Value::read(&document));
        }

        #[test]
        fn any_string_comes_back(text in any::<String>()) {
            let value = Value::from(text.clone());
            prop_assert_eq!(value.to_string(), serde_json::Value::from(text).to_string());
        }
    }
}

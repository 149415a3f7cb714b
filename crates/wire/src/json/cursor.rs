//! A list of a document, of which each item is first offered to somebody who reads it step by step, without a value in between.

use std::slice::Iter;

use super::reader::Reader;
use super::scanner::Ending;
use super::value::{Map, Value};
use super::{Document, Malformed, Text};

/// An item of a list.
#[derive(Debug, Clone, PartialEq)]
pub enum Item<T> {
    /// As somebody has read it step by step.
    Read(T),
    /// As a value.
    Value(Value),
}

/// A place in a document that is known to be well formed. Each step is none where something else stands there than what is asked for.
pub struct Cursor<'r, 'a>(&'r mut Reader<'a, Iter<'a, Ending>>);

/// An object without one of its lists, and that list apart, if it is there.
pub type Apart<T> = (Map, Option<Vec<Item<T>>>);

impl<'a> Document<'a> {
    /// Reads an object, and apart from it the list at `key`, if there is one: each item as `read` does, or as a value where it gives
    /// none. Nothing but values comes of a document that has not been scanned.
    ///
    /// # Errors
    /// Those of [`Value::read`], and when it is no object.
    pub fn read_list<T>(
        self,
        key: &str,
        read: impl FnMut(&mut Cursor<'_, 'a>) -> Option<T>,
    ) -> Result<Apart<T>, Malformed> {
        if let Self { text, scanned: Some(object) } = self {
            return Reader::new(text, object.endings.iter()).list(key, read);
        }
        let Value::Object(mut members) = Value::read(self)? else { return Err(Malformed::NotAnObject) };
        let list = members.get_mut(key).and_then(Value::as_array_mut).map(std::mem::take);
        if list.is_some() {
            members.remove(key);
        }
        Ok((members, list.map(|items| items.into_iter().map(Item::Value).collect())))
    }
}

impl<'a> Reader<'a, Iter<'a, Ending>> {
    fn list<T>(
        mut self,
        key: &str,
        mut read: impl FnMut(&mut Cursor<'_, 'a>) -> Option<T>,
    ) -> Result<Apart<T>, Malformed> {
        let mut list = None;
        self.members.reserve(MEMBERS);
        self.begin_object()?;
        self.each_member(1, |reader, own| {
            let own = reader.text_of(own)?;
            if own == *key && reader.scanner.peek() == Some(b'[') {
                list = Some(reader.items(&mut read)?);
            } else {
                let value = reader.value(1)?;
                reader.members.push((own, value));
            }
            Ok(())
        })?;
        self.end()?;
        Ok((Map::from(self.members), list))
    }

    fn items<T>(
        &mut self,
        read: &mut impl FnMut(&mut Cursor<'_, 'a>) -> Option<T>,
    ) -> Result<Vec<Item<T>>, Malformed> {
        let mut items = Vec::with_capacity(ITEMS);
        self.each_item(2, |reader| {
            let (at, strings) = (reader.scanner.at, reader.strings.clone());
            let item = if let Some(item) = read(&mut Cursor(reader)) {
                Item::Read(item)
            } else {
                (reader.scanner.at, reader.strings) = (at, strings);
                Item::Value(reader.value(2)?)
            };
            items.push(item);
            Ok(())
        })?;
        Ok(items)
    }
}

/// Room for the members of most requests.
const MEMBERS: usize = 8;

/// Room for the items of lists that are not long.
const ITEMS: usize = 16;

impl<'a> Cursor<'_, 'a> {
    fn stands_at(&self, byte: u8) -> Option<()> {
        (self.0.scanner.peek() == Some(byte)).then_some(())
    }

    /// Walks over an object: `member` is given each key, and has to read its value. None where a key is written with escapes.
    pub fn members(
        &mut self,
        mut member: impl FnMut(&mut Cursor<'_, 'a>, &'a [u8]) -> Option<()>,
    ) -> Option<()> {
        self.stands_at(b'{')?;
        let read = self.0.each_member(SCANNED, |reader, key| {
            let key = reader.scanner.plain(&key);
            or_other(key.and_then(|key| member(&mut Cursor(reader), key)))
        });
        read.ok()
    }

    /// Walks over an array: `item` has to read each item.
    pub fn items(&mut self, mut item: impl FnMut(&mut Cursor<'_, 'a>) -> Option<()>) -> Option<()> {
        self.stands_at(b'[')?;
        self.0.each_item(SCANNED, |reader| or_other(item(&mut Cursor(reader)))).ok()
    }

    /// Reads a string that is to be told from others, as its bytes. None where it is written with escapes.
    pub fn word(&mut self) -> Option<&'a [u8]> {
        self.stands_at(b'"')?;
        let quoted = self.0.quoted().ok()?;
        self.0.scanner.plain(&quoted)
    }

    /// Reads a string.
    pub fn text(&mut self) -> Option<Text> {
        self.stands_at(b'"')?;
        self.0.string().ok()
    }
}

/// The scan has found nothing too deep, and who walks step by step goes as deep as it has steps.
const SCANNED: usize = 0;

fn or_other(step: Option<()>) -> Result<(), Malformed> {
    // Nobody is told: the item is read as a value instead.
    step.ok_or(Malformed::Syntax { expected: "what the caller reads", at: 0 })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::json::{Limits, scan};

    /// A number of texts, each in an object of its own.
    fn texts(cursor: &mut Cursor<'_, '_>) -> Option<Vec<Text>> {
        let mut texts = Vec::new();
        cursor.items(|cursor| {
            cursor.members(|cursor, key| {
                texts.push(if key == b"text" { cursor.text()? } else { return None });
                Some(())
            })
        })?;
        Some(texts)
    }

    fn read(text: &str) -> Result<Apart<Vec<Text>>, Malformed> {
        let text = Bytes::copy_from_slice(text.as_bytes());
        let object = scan(&text, Limits::default())?;
        Document::scanned(&text, &object).read_list("list", texts)
    }

    #[test]
    fn what_is_not_read_step_by_step_is_a_value() {
        let long = "a text that is longer than those that are copied \\n";
        let text = format!(
            r#"{{"a":"{long}","list":[ [{{"text":"{long}"}} , {{"text":"b"}}],[],[{{"text":"{long}","no":1}}],"{long}", 1],"z":[{{}}]}}"#
        );
        let (rest, list) = read(&text).expect("an object");
        let long = Text::from(long.replace("\\n", "\n"));
        assert_eq!(
            list.expect("a list"),
            [
                Item::Read(vec![long.clone(), Text::from("b")]),
                Item::Read(Vec::new()),
                Item::Value(
                    serde_json::from_str(&format!(r#"[{{"text":{},"no":1}}]"#, Value::from(long.clone())))
                        .expect("a value")
                ),
                Item::Value(Value::from(long.clone())),
                Item::Value(Value::from(1)),
            ]
        );
        let rest: Vec<_> = rest.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        assert_eq!(
            rest,
            [("a".to_owned(), Value::from(long).to_string()), ("z".to_owned(), "[{}]".to_owned())]
        );
    }

    #[test]
    fn a_list_is_taken_out_only_where_it_is_one() {
        for (text, rest, is_there) in [
            (r#"{"list":"text"}"#, r#"{"list":"text"}"#, false),
            (r#"{"list":null,"a":1}"#, r#"{"list":null,"a":1}"#, false),
            (r#"{"a":1}"#, r#"{"a":1}"#, false),
            (r#"{"list":[],"a":1}"#, r#"{"a":1}"#, true),
            (r#"{"l\u0069st":[],"a":1}"#, r#"{"a":1}"#, true),
        ] {
            let document = Bytes::copy_from_slice(text.as_bytes());
            let unscanned = Document::from(&document).read_list("list", texts);
            assert_eq!(read(text), unscanned, "{text}");
            let (members, list) = unscanned.expect("an object");
            assert_eq!(
                (Value::from(members).to_string().as_str(), list.is_some()),
                (rest, is_there),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_read_step_by_step_is_what_the_value_says(
            lists in proptest::collection::vec(proptest::collection::vec(("text|no", ".{0,50}"), 0..4), 0..6),
        ) {
            let lists: Vec<Vec<_>> = lists
                .into_iter()
                .map(|list| list.into_iter().map(|(key, text)| serde_json::json!({ key: text })).collect())
                .collect();
            let text = serde_json::json!({ "list": lists }).to_string();
            let (_, read) = read(&text).expect("an object");
            let expected = lists.iter().map(|list| {
                let texts = list.iter().map(|item| Some(Text::from(item.get("text")?.as_str()?)));
                texts.collect::<Option<Vec<_>>>().map_or_else(
                    || Item::Value(serde_json::from_value(serde_json::json!(list)).expect("a value")),
                    Item::Read,
                )
            });
            prop_assert_eq!(read.expect("a list"), expected.collect::<Vec<_>>());
        }
    }
}

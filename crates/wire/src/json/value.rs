//! A JSON document as values: read in one pass, and written again. Texts that stand long in it are shared and not copied.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;
pub use serde_json::Number;

use super::text::Text;
use super::written::WrittenList;

/// A value.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(Text),
    /// An array.
    Array(Vec<Value>),
    /// An array that has been written, whose items are no values any more: nobody who looks into a value finds any in it.
    WrittenList(WrittenList),
    /// An object.
    Object(Map),
}

/// The members of an object, in the order of the document.
#[derive(Debug, Clone, Default)]
pub struct Map {
    // Invariant: no two keys read the same.
    members: Vec<(Text, Value)>,
    // Invariant: has the mark of every key.
    marks: Marks,
}

/// A set of keys that may have others too, in which most of those that are not there are found missing at once.
#[derive(Debug, Clone, Copy, Default)]
struct Marks(u64);

/// Up to this many members, comparing each with each is cheaper than hashing.
const COMPARED_MAX: usize = 24;

/// What is known of the keys of an object of ours when the program is made.
#[derive(Debug, Clone, Copy)]
pub struct Keys(Marks);

impl Keys {
    /// That of these keys, each a word as [`Text::word`] takes it.
    ///
    /// # Panics
    /// When two are the same.
    pub const fn of(words: &[&str]) -> Self {
        let mut marks = 0;
        let mut at = 0;
        while at < words.len() {
            let mut before = 0;
            while before < at {
                assert!(!is_same(words[before].as_bytes(), words[at].as_bytes()), "a key stands twice");
                before += 1;
            }
            marks |= Marks::mark(words[at].as_bytes());
            at += 1;
        }
        Self(Marks(marks))
    }
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

impl Value {
    /// The member `key` of an object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_object()?.get(key)
    }

    /// The same, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        self.as_object_mut()?.get_mut(key)
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// Whether it is a number.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Number(_))
    }

    /// Whether it is a string.
    pub fn is_string(&self) -> bool {
        matches!(self, Self::String(_))
    }

    /// The text of a string.
    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a string as it reads.
    pub fn as_str(&self) -> Option<Cow<'_, str>> {
        self.as_text().map(Text::as_str)
    }

    /// A number of at least 0.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.as_u64()
    }

    /// A whole number.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number()?.as_i64()
    }

    /// Any number.
    pub fn as_f64(&self) -> Option<f64> {
        self.as_number()?.as_f64()
    }

    fn as_number(&self) -> Option<&Number> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The items of an array.
    pub fn as_array(&self) -> Option<&Vec<Self>> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The same, to change.
    pub fn as_array_mut(&mut self) -> Option<&mut Vec<Self>> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The members of an object.
    pub fn as_object(&self) -> Option<&Map> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The same, to change.
    pub fn as_object_mut(&mut self) -> Option<&mut Map> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Takes the value out, and leaves null.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// The value as a JSON text without spaces.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.written_bytes());
        self.write(&mut out);
        Bytes::from(out)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(number) => {
                // Nothing refuses to be written to memory.
                let _ = number.serialize(&mut serde_json::Serializer::new(out));
            }
            Self::String(text) => text.write(out),
            Self::Array(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::WrittenList(list) => list.write(out),
            Self::Object(members) => members.write(out),
        }
    }

    /// About how many bytes it is written in: less only where much of a text of ours has to be escaped.
    fn written_bytes(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 5,
            Self::Number(_) => 20,
            Self::String(text) => text.written_bytes(),
            Self::Array(items) => 2 + items.iter().map(|item| item.written_bytes() + 1).sum::<usize>(),
            Self::WrittenList(list) => list.written_bytes(),
            Self::Object(members) => members.written_bytes(),
        }
    }
}

impl Map {
    /// No members.
    pub fn new() -> Self {
        Self::default()
    }

    /// No members yet, but room for so many.
    pub fn with_capacity(members: usize) -> Self {
        Self { members: Vec::with_capacity(members), marks: Marks::default() }
    }

    /// An object of ours, whose keys are these.
    #[inline]
    pub fn of_keys(members: Vec<(Text, Value)>, keys: Keys) -> Self {
        debug_assert!(members.iter().all(|(key, _)| keys.0.may_have(&key.as_bytes())), "{members:?}");
        Self { members, marks: keys.0 }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The value of `key`.
    #[inline]
    pub fn get(&self, key: &str) -> Option<&Value> {
        if self.may_have(key) { self.find(key) } else { None }
    }

    /// Whether `key` may be there. What is written in the program is known to it: then that costs next to nothing, and most keys that a decoder asks for are not there.
    #[inline]
    pub fn may_have(&self, key: &str) -> bool {
        self.marks.may_have(key.as_bytes())
    }

    fn find(&self, key: &str) -> Option<&Value> {
        self.members.iter().find(|(own, _)| own == key).map(|(_, value)| value)
    }

    /// The same, to change.
    #[inline]
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        if self.may_have(key) { self.find_mut(key) } else { None }
    }

    fn find_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.members.iter_mut().find(|(own, _)| own == key).map(|(_, value)| value)
    }

    /// Whether `key` is there.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Gives `key` this value: where it stands, or at the end. May look at all keys; to put many together, collect them.
    pub fn insert(&mut self, key: impl Into<Text>, value: Value) {
        let key = key.into();
        if self.marks.add(&key)
            && let Some((_, own)) = self.members.iter_mut().find(|(own, _)| *own == key)
        {
            *own = value;
        } else {
            self.members.push((key, value));
        }
    }

    /// The same, of a word of ours.
    #[inline]
    pub fn insert_word(&mut self, key: &'static str, value: Value) {
        if self.may_have(key) {
            self.insert(Text::word(key), value);
        } else {
            self.marks.0 |= Marks::mark(key.as_bytes());
            self.members.push((Text::word(key), value));
        }
    }

    /// Takes `key` out. The others keep their order.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.remove_entry(key).map(|(_, value)| value)
    }

    /// The same, with the key.
    pub fn remove_entry(&mut self, key: &str) -> Option<(Text, Value)> {
        if !self.may_have(key) {
            return None;
        }
        let at = self.members.iter().position(|(own, _)| own == key)?;
        Some(self.members.remove(at))
    }

    /// Keeps those members only that `keeps` says.
    pub fn retain(&mut self, mut keeps: impl FnMut(&Text, &Value) -> bool) {
        self.members.retain(|(key, value)| keeps(key, value));
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Text> {
        self.members.iter().map(|(key, _)| key)
    }

    /// The members, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Value)> {
        self.members.iter().map(|(key, value)| (key, value))
    }

    /// The object as a JSON text without spaces.
    pub fn to_bytes(&self) -> Bytes {
        self.to_bytes_of_about(self.written_bytes())
    }

    /// The same, where it is known about how many bytes it is written in.
    pub fn to_bytes_of_about(&self, bytes: usize) -> Bytes {
        let mut out = Vec::with_capacity(bytes);
        self.write(&mut out);
        Bytes::from(out)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, (key, value)) in self.members.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            key.write(out);
            out.push(b':');
            value.write(out);
        }
        out.push(b'}');
    }

    fn written_bytes(&self) -> usize {
        let members = self.members.iter();
        2 + members.map(|(key, value)| key.written_bytes() + value.written_bytes() + 2).sum::<usize>()
    }
}

/// Of several values of one key the last one counts, where the first one stood.
impl<K: Into<Text>> FromIterator<(K, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(members: I) -> Self {
        Self::from(members.into_iter().map(|(key, value)| (key.into(), value)).collect::<Vec<_>>())
    }
}

/// Of several values of one key the last one counts, where the first one stood.
impl From<Vec<(Text, Value)>> for Map {
    fn from(members: Vec<(Text, Value)>) -> Self {
        let mut marks = Marks::default();
        let mut has_duplicates = members.len() > COMPARED_MAX;
        for (at, (key, _)) in members.iter().enumerate() {
            // Where most keys of a small object have a mark of their own, few are compared.
            has_duplicates |=
                marks.add(key) && !has_duplicates && members.iter().take(at).any(|(before, _)| before == key);
        }
        let members = if has_duplicates { merged(members) } else { members };
        Self { members, marks }
    }
}

fn merged(members: Vec<(Text, Value)>) -> Vec<(Text, Value)> {
    let mut places = HashMap::with_capacity(members.len());
    let mut kept: Vec<(Text, Value)> = Vec::with_capacity(members.len());
    for (key, value) in members {
        let place = *places.entry(key.as_str().into_owned()).or_insert(kept.len());
        match kept.get_mut(place) {
            Some((_, own)) => *own = value,
            None => kept.push((key, value)),
        }
    }
    kept
}

/// Those of the same members in the same order, whatever others have been there.
impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

impl Marks {
    /// Adds a key. Whether one with the same mark was there before.
    #[inline]
    fn add(&mut self, key: &Text) -> bool {
        let mark = match key.as_it_reads() {
            Some(bytes) => Self::mark(bytes),
            None => Self::mark(&key.as_bytes()),
        };
        let was_there = self.0 & mark != 0;
        self.0 |= mark;
        was_there
    }

    #[inline]
    fn may_have(self, key: &[u8]) -> bool {
        self.0 & Self::mark(key) != 0
    }

    /// One of 64 marks, by what keys of one object differ in most: how they begin and end, and how long they are.
    #[inline]
    const fn mark(key: &[u8]) -> u64 {
        let ends = match key {
            [] => 0,
            [only] => *only as usize * 16,
            [first, .., last] => *first as usize * 5 + *last as usize * 11,
        };
        1 << ((ends + key.len() * 3) % u64::BITS as usize)
    }
}

impl IntoIterator for Map {
    type Item = (Text, Value);
    type IntoIter = std::vec::IntoIter<(Text, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.into_iter()
    }
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

impl PartialEq<str> for Value {
    fn eq(&self, other: &str) -> bool {
        self.as_text().is_some_and(|text| text == other)
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

macro_rules! from_whole_numbers {
    ($($kind:ty),+) => {$(
        impl From<$kind> for Value {
            fn from(number: $kind) -> Self {
                Self::Number(number.into())
            }
        }
    )+};
}
from_whole_numbers!(u8, u64, usize, i32, i64);

/// What JSON has no number for is null.
impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Number::from_f64(number).map_or(Self::Null, Self::Number)
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Self::String(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<Cow<'_, str>> for Value {
    fn from(text: Cow<'_, str>) -> Self {
        Self::String(text.into())
    }
}

impl From<Map> for Value {
    fn from(members: Map) -> Self {
        Self::Object(members)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        Self::Array(items.into_iter().collect())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_is_there_and_nothing_else(
            changes in vec((any::<bool>(), "[ab]{0,3}|[a-z_]{1,12}|\\PC{0,3}"), 0..40),
        ) {
            let mut map = Map::new();
            let mut expected: Vec<(String, u64)> = Vec::new();
            for (number, (is_set, key)) in (0..).zip(changes) {
                let own = expected.iter().position(|(own, _)| *own == key);
                prop_assert_eq!(map.get(&key).and_then(Value::as_u64), own.map(|at| expected[at].1));
                match (is_set, own) {
                    (true, Some(at)) => expected[at].1 = number,
                    (true, None) => expected.push((key.clone(), number)),
                    (false, at) => drop(at.map(|at| expected.remove(at))),
                }
                if is_set {
                    map.insert(key, number.into());
                } else {
                    map.remove(&key);
                }
                let members = expected.iter().map(|(key, number)| (key.as_str(), Value::from(*number)));
                prop_assert_eq!(&map, &members.collect::<Map>());
            }
        }
    }
}

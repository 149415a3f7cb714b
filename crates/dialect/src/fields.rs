//! The members of a JSON object, taken out one by one, so that what nobody took is known.

use std::fmt::Display;

use bytes::Bytes;
use serde::Deserialize;
use tollgate_chat::{Block, BlockKind, CachePoint, Citation, Effect, Loss, LossKind, Losses, Origin};
use tollgate_wire::json::{Document, Map, Text, Value};

use crate::observe::Count;
use crate::{Invalid, Unreadable};

/// Members of one object of a request or answer.
pub(crate) struct Fields {
    /// Where the object stands.
    pub(crate) pointer: Origin,
    /// One that was taken is null, which counts as absent.
    map: Map,
}

impl Fields {
    /// The members of a body.
    pub(crate) fn read<'a>(body: impl Into<Document<'a>>) -> Result<Self, Invalid> {
        Self::of(read(body)?, Origin::default())
    }

    /// The members of an answer or an event, but for its framing: what repeats something of the request, or only says what it is.
    pub(crate) fn read_answer(body: &Bytes, is_framing: impl Fn(&[u8]) -> bool) -> Result<Self, Unreadable> {
        let body = Map::read_but(body, is_framing).map_err(|malformed| Unreadable(malformed.to_string()))?;
        Ok(Self::of_body(body))
    }

    /// Those of a body that has been read.
    pub(crate) fn of_body(map: Map) -> Self {
        Self { pointer: Origin::default(), map }
    }

    /// No members.
    pub(crate) fn none(pointer: Origin) -> Self {
        Self { pointer, map: Map::new() }
    }

    /// The members of `value`, which must be an object.
    pub(crate) fn of(value: Value, pointer: impl Into<Origin>) -> Result<Self, Invalid> {
        let pointer = pointer.into();
        match value {
            Value::Object(map) => Ok(Self { pointer, map }),
            other => Err(wrong(pointer, "an object", &other)),
        }
    }

    /// Where the member `key` stands.
    pub(crate) fn at(&self, key: &'static str) -> Origin {
        self.pointer.member(key)
    }

    /// Where an item of the list `key` stands.
    pub(crate) fn item_at(&self, key: &'static str, index: usize) -> Origin {
        self.pointer.member(key).item(index)
    }

    /// Whether a member is there and null.
    pub(crate) fn is_null(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(Value::is_null)
    }

    /// Takes a member out; one that is null counts as absent.
    #[inline]
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        if self.map.may_have(key) { self.take_found(key) } else { None }
    }

    fn take_found(&mut self, key: &str) -> Option<Value> {
        self.map.get_mut(key).map(Value::take).filter(|value| !value.is_null())
    }

    /// Takes a member out as `read` does, which knows how it was found.
    #[inline]
    fn taken<T>(
        &mut self,
        key: &'static str,
        read: fn(&Self, &'static str, Value) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => read(self, key, value).map(Some),
        }
    }

    /// A text that is looked at here.
    #[inline]
    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<String>, Invalid> {
        self.taken(key, |own, key, value| own.is_text(key, value).map(Text::into_string))
    }

    pub(crate) fn needed_text(&mut self, key: &'static str) -> Result<String, Invalid> {
        Ok(self.needed_written(key)?.into_string())
    }

    /// A text that is passed on as it was written.
    #[inline]
    pub(crate) fn written(&mut self, key: &'static str) -> Result<Option<Text>, Invalid> {
        self.taken(key, Self::is_text)
    }

    fn is_text(&self, key: &'static str, value: Value) -> Result<Text, Invalid> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(wrong(self.at(key), "a string", &other)),
        }
    }

    pub(crate) fn needed_written(&mut self, key: &'static str) -> Result<Text, Invalid> {
        self.written(key)?.ok_or_else(|| missing(self.at(key)))
    }

    #[inline]
    pub(crate) fn truth(&mut self, key: &'static str) -> Result<Option<bool>, Invalid> {
        self.taken(key, |own, key, value| match value {
            Value::Bool(truth) => Ok(truth),
            other => Err(wrong(own.at(key), "true or false", &other)),
        })
    }

    #[inline]
    pub(crate) fn count(&mut self, key: &'static str) -> Result<Option<u64>, Invalid> {
        self.taken(key, |own, key, value| {
            value.as_u64().ok_or_else(|| wrong(own.at(key), "a whole number of at least 0", &value))
        })
    }

    #[inline]
    pub(crate) fn integer(&mut self, key: &'static str) -> Result<Option<i64>, Invalid> {
        self.taken(key, |own, key, value| {
            value.as_i64().ok_or_else(|| wrong(own.at(key), "a whole number", &value))
        })
    }

    #[inline]
    pub(crate) fn number(&mut self, key: &'static str) -> Result<Option<f64>, Invalid> {
        self.taken(key, |own, key, value| {
            value.as_f64().ok_or_else(|| wrong(own.at(key), "a number", &value))
        })
    }

    #[inline]
    pub(crate) fn list(&mut self, key: &'static str) -> Result<Vec<Value>, Invalid> {
        let list = self.taken(key, |own, key, value| match value {
            Value::Array(items) => Ok(items),
            other => Err(wrong(own.at(key), "an array", &other)),
        });
        Ok(list?.unwrap_or_default())
    }

    pub(crate) fn needed_list(&mut self, key: &'static str) -> Result<Vec<Value>, Invalid> {
        match self.take(key) {
            Some(Value::Array(items)) => Ok(items),
            found => Err(wrong(self.at(key), "an array", &found.unwrap_or_default())),
        }
    }

    #[inline]
    pub(crate) fn object(&mut self, key: &'static str) -> Result<Option<Self>, Invalid> {
        self.taken(key, |own, key, value| Self::of(value, own.at(key)))
    }

    /// `cache_control`, which both dialects write alike.
    pub(crate) fn cache_point(&mut self, losses: &mut Losses) -> Result<Option<CachePoint>, Invalid> {
        let Some(mut control) = self.object("cache_control")? else { return Ok(None) };
        control.take("type");
        let point = CachePoint { ttl: control.text("ttl")? };
        control.lose_rest(losses);
        Ok(Some(point))
    }

    /// The content at `key`: a text, or a list of objects, of each of which `block` makes a block.
    pub(crate) fn content(
        &mut self,
        key: &'static str,
        mut block: impl FnMut(Self) -> Result<Block, Invalid>,
    ) -> Result<Vec<Block>, Invalid> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) if text.is_empty() => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![Block::text(self.at(key), text)]),
            Some(Value::Array(items)) => {
                let mut blocks = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    blocks.push(block(Self::of(item, self.item_at(key, index))?)?);
                }
                Ok(blocks)
            }
            Some(other) => Err(wrong(self.at(key), "a string or an array", &other)),
        }
    }

    /// What is left, as a block of a kind that the hub does not know.
    pub(crate) fn into_foreign(mut self, cache: Option<CachePoint>, name: Text) -> Block {
        let origin = std::mem::take(&mut self.pointer);
        let kind = BlockKind::Foreign { name: name.into_string(), value: self.into_value() };
        Block { origin, cache, kind }
    }

    /// What is left, member by member.
    pub(crate) fn into_members(self) -> Map {
        told_members(self.map)
    }

    /// What is left, whole.
    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.into_members())
    }

    /// Records every member that nobody took as lost.
    pub(crate) fn lose_rest(self, losses: &mut Losses) {
        self.lose_rest_but(&[], losses);
    }

    /// The same, but for members that only say what the object is.
    pub(crate) fn lose_rest_but(self, framing: &[&str], losses: &mut Losses) {
        lose_members(&self.pointer, &self.map, framing, losses);
    }

    /// Records every member that nobody took as lost, and tells where the object stood.
    pub(crate) fn end(self, losses: &mut Losses) -> Origin {
        lose_members(&self.pointer, &self.map, &[], losses);
        self.pointer
    }
}

/// The members of an object that are not null, which counts as absent.
pub(crate) fn told_members(mut object: Map) -> Map {
    object.retain(|_, value| !value.is_null());
    object
}

/// Reads a body.
pub(crate) fn read<'a>(body: impl Into<Document<'a>>) -> Result<Value, Invalid> {
    Value::read(body).map_err(|malformed| Invalid::from_malformed(&malformed))
}

/// A number of tokens or seconds as providers write it; anything that is no whole number of at least 0 is none.
pub(crate) fn count(value: &Value) -> Option<u64> {
    typed(value).and_then(Count::value)
}

/// A value as a type that is read by derive; none where it is not one.
pub(crate) fn typed<'a, T: Deserialize<'a>>(value: &'a Value) -> Option<T> {
    T::deserialize(value).ok()
}

/// Records the members of an answer's object that nobody took as lost, but for those that say what it is.
pub(crate) fn lose_members(
    pointer: &(impl Display + ?Sized),
    rest: &Map,
    framing: &[&str],
    losses: &mut Losses,
) {
    for (key, value) in rest.iter() {
        if !value.is_null() && !framing.iter().any(|word| key == word) {
            losses.push_once(loss(member(pointer, &key.as_str()), LossKind::UnknownField, Effect::Meaning));
        }
    }
}

/// Records what an object of usage tells beside `known`, which are paths within it. What is zero or empty tells nothing.
pub(crate) fn lose_usage(usage: &Value, known: &[&str], losses: &mut Losses) {
    lose_leaves(&mut Vec::new(), usage, known, losses);
}

fn lose_leaves<'a>(path: &mut Vec<&'a Text>, value: &'a Value, known: &[&str], losses: &mut Losses) {
    if let Value::Object(members) = value {
        for (key, value) in members.iter() {
            path.push(key);
            lose_leaves(path, value, known, losses);
            path.pop();
        }
    } else if tells(value) && !known.iter().any(|known| path.iter().copied().eq(known.split('/'))) {
        let pointer = path.iter().fold("/usage".to_owned(), |pointer, key| member(&pointer, &key.as_str()));
        losses.push_once(loss(pointer, LossKind::Usage, Effect::Cost));
    }
}

fn member(pointer: &(impl Display + ?Sized), key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// A loss.
pub(crate) fn loss(pointer: impl Into<String>, kind: LossKind, effect: Effect) -> Loss {
    Loss { pointer: pointer.into(), kind, effect }
}

/// Records a cache point, for encoders whose providers cache as they see fit, or not there.
pub(crate) fn lose_cache_point(origin: &impl Display, cache: Option<&CachePoint>, losses: &mut Losses) {
    if cache.is_some() {
        losses.push(loss(format!("{origin}/cache_control"), LossKind::CachePoint, Effect::Cost));
    }
}

/// Records the citations of a text of a request, for encoders that have no words for them there.
pub(crate) fn lose_citations(origin: &Origin, citations: &[Citation], losses: &mut Losses) {
    if !citations.is_empty() {
        losses.push(loss(format!("{origin}/citations"), LossKind::Citation, Effect::Meaning));
    }
}

/// Records wishes of OpenAI's dialects that no other has words for: how much to say, and which requests share a cache, which
/// other providers find out by themselves.
pub(crate) fn lose_wishes(verbosity: Option<&String>, cache_key: Option<&String>, losses: &mut Losses) {
    if verbosity.is_some() {
        losses.push(loss("/verbosity", LossKind::Sampling, Effect::Meaning));
    }
    if cache_key.is_some() {
        losses.push(loss("/prompt_cache_key", LossKind::CachePoint, Effect::Cost));
    }
}

/// A member that is not what it should be.
pub(crate) fn wrong(pointer: impl Into<String>, expected: &str, found: &Value) -> Invalid {
    let pointer = pointer.into();
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) | Value::WrittenList(_) => "an array",
        Value::Object(_) => "an object",
    };
    let mut invalid = Invalid::bad_request(format!("{pointer}: expected {expected}, found {found}"));
    invalid.param = Some(pointer);
    invalid
}

/// A member that has to be there.
pub(crate) fn missing(pointer: impl Into<String>) -> Invalid {
    let pointer = pointer.into();
    let mut invalid = Invalid::bad_request(format!("{pointer} is required"));
    invalid.param = Some(pointer);
    invalid
}

/// Whether a value tells anything: null, false, zero and what is empty do not.
pub(crate) fn tells(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::WrittenList(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// Members of an object, in the order in which they are set.
pub(crate) struct Members {
    pub(crate) map: Map,
}

/// Room for as many as most objects have.
impl Default for Members {
    fn default() -> Self {
        Self { map: Map::with_capacity(8) }
    }
}

impl Members {
    /// Sets a member, unless there is nothing to say.
    #[inline]
    pub(crate) fn set(&mut self, key: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.map.insert_word(key, value.into());
        }
    }

    /// The object.
    pub(crate) fn value(self) -> Value {
        Value::Object(self.map)
    }

    /// The object as a body.
    pub(crate) fn body(&self) -> Bytes {
        self.map.to_bytes()
    }
}

/// A list of parts of which some are nothing but a text, and a string so far: `part` says each of these.
pub(crate) fn list_of_parts(said: impl IntoIterator<Item = Value>, part: impl Fn(Text) -> Value) -> Value {
    let parts = said.into_iter().map(|said| match said {
        Value::String(text) => part(text),
        said => said,
    });
    parts.collect()
}

/// Members, written as JSON is: their values move into them.
macro_rules! members {
    ({$($key:literal: $value:expr),+ $(,)?}) => {
        $crate::fields::Members {
            map: ::tollgate_wire::json::Map::of_keys(
                vec![$((::tollgate_wire::json::Text::word($key), ::tollgate_wire::json::Value::from($value))),+],
                const { ::tollgate_wire::json::Keys::of(&[$($key),+]) },
            ),
        }
    };
}
pub(crate) use members;

/// An object, written so.
macro_rules! object {
    ($members:tt) => {
        $crate::fields::members!($members).value()
    };
}
pub(crate) use object;

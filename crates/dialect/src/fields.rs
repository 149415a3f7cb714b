//! The members of a JSON object, taken out one by one, so that what nobody took is known.

use serde_json::{Map, Value};
use tollgate_chat::{CachePoint, Effect, Loss, LossKind, Losses};

use crate::Invalid;

/// So many members are looked at one by one.
const FEW: usize = 16;

/// Members of one object of a request or answer.
pub(crate) struct Fields {
    /// JSON pointer to the object.
    pub(crate) pointer: String,
    map: Map<String, Value>,
}

impl Fields {
    /// The members of `value`, which must be an object.
    pub(crate) fn of(value: Value, pointer: impl Into<String>) -> Result<Self, Invalid> {
        let pointer = pointer.into();
        match value {
            Value::Object(map) => Ok(Self { pointer, map }),
            other => Err(wrong(&pointer, "an object", &other)),
        }
    }

    /// JSON pointer to the member `key`.
    pub(crate) fn at(&self, key: &str) -> String {
        format!("{}/{key}", self.pointer)
    }

    /// Takes a member out; one that is null counts as absent.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        // Most members that are asked for are not there, and to look at a few names is faster than to hash one.
        if self.map.len() <= FEW && !self.map.keys().any(|member| member == key) {
            return None;
        }
        self.map.shift_remove(key).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>, Invalid> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(&self.at(key), "a string", &other)),
        }
    }

    pub(crate) fn needed_text(&mut self, key: &str) -> Result<String, Invalid> {
        self.text(key)?.ok_or_else(|| missing(&self.at(key)))
    }

    pub(crate) fn truth(&mut self, key: &str) -> Result<Option<bool>, Invalid> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(truth)),
            Some(other) => Err(wrong(&self.at(key), "true or false", &other)),
        }
    }

    pub(crate) fn count(&mut self, key: &str) -> Result<Option<u64>, Invalid> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => value
                .as_u64()
                .map(Some)
                .ok_or_else(|| wrong(&self.at(key), "a whole number of at least 0", &value)),
        }
    }

    pub(crate) fn integer(&mut self, key: &str) -> Result<Option<i64>, Invalid> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => {
                value.as_i64().map(Some).ok_or_else(|| wrong(&self.at(key), "a whole number", &value))
            }
        }
    }

    pub(crate) fn number(&mut self, key: &str) -> Result<Option<f64>, Invalid> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| wrong(&self.at(key), "a number", &value)),
        }
    }

    pub(crate) fn list(&mut self, key: &str) -> Result<Vec<Value>, Invalid> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(wrong(&self.at(key), "an array", &other)),
        }
    }

    pub(crate) fn object(&mut self, key: &str) -> Result<Option<Self>, Invalid> {
        self.take(key).map(|value| Self::of(value, self.at(key))).transpose()
    }

    /// `cache_control`, which both dialects write alike.
    pub(crate) fn cache_point(&mut self, losses: &mut Losses) -> Result<Option<CachePoint>, Invalid> {
        let Some(mut control) = self.object("cache_control")? else { return Ok(None) };
        control.take("type");
        let point = CachePoint { ttl: control.text("ttl")? };
        control.lose_rest(losses);
        Ok(Some(point))
    }

    /// What is left, whole.
    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.map)
    }

    /// Records every member that nobody took as lost.
    pub(crate) fn lose_rest(self, losses: &mut Losses) {
        lose_members(&self.pointer, &self.map, &[], losses);
    }
}

/// Records the members of an answer's object that nobody took as lost, but for those that say what it is.
pub(crate) fn lose_members(pointer: &str, rest: &Map<String, Value>, framing: &[&str], losses: &mut Losses) {
    for (key, value) in rest {
        if !value.is_null() && !framing.contains(&key.as_str()) {
            losses.push_once(loss(member(pointer, key), LossKind::UnknownField, Effect::Meaning));
        }
    }
}

/// Records what an object of usage tells beside `known`, which are paths within it. What is zero or empty tells nothing.
pub(crate) fn lose_usage(usage: &Value, known: &[&str], losses: &mut Losses) {
    lose_leaves("/usage", usage, known, losses);
}

fn lose_leaves(pointer: &str, value: &Value, known: &[&str], losses: &mut Losses) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                lose_leaves(&member(pointer, key), value, known, losses);
            }
        }
        value => {
            let is_known = pointer.strip_prefix("/usage/").is_some_and(|path| known.contains(&path));
            if tells(value) && !is_known {
                losses.push_once(loss(pointer, LossKind::Usage, Effect::Cost));
            }
        }
    }
}

fn member(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// A loss.
pub(crate) fn loss(pointer: impl Into<String>, kind: LossKind, effect: Effect) -> Loss {
    Loss { pointer: pointer.into(), kind, effect }
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
pub(crate) fn wrong(pointer: &str, expected: &str, found: &Value) -> Invalid {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    let mut invalid = Invalid::bad_request(format!("{pointer}: expected {expected}, found {found}"));
    invalid.param = Some(pointer.to_owned());
    invalid
}

/// A member that has to be there.
pub(crate) fn missing(pointer: &str) -> Invalid {
    let mut invalid = Invalid::bad_request(format!("{pointer} is required"));
    invalid.param = Some(pointer.to_owned());
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
        Value::Object(members) => !members.is_empty(),
    }
}

/// Members of an object, in the order in which they are set.
#[derive(Default)]
pub(crate) struct Members {
    pub(crate) map: Map<String, Value>,
}

impl Members {
    /// Sets a member, unless there is nothing to say.
    pub(crate) fn set(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.map.insert(key.to_owned(), value.into());
        }
    }

    /// The object.
    pub(crate) fn value(self) -> Value {
        Value::Object(self.map)
    }
}

/// An object like that of `json!`, but of values that move into it: `json!` copies them, texts and whole trees alike.
macro_rules! object {
    ({$($key:literal: $value:expr),+ $(,)?}) => {{
        let mut members = $crate::fields::Members::default();
        $(members.set($key, Some($value));)+
        members.value()
    }};
}
pub(crate) use object;

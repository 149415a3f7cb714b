//! What Envoy's filter for tokens has told in dynamic metadata of those that it has verified.

use serde_json::{Map, Number, Value};
use tollgate_envoy::processor::Incoming;
use tollgate_envoy::{Struct, value};
use tollgate_exchange::authorize::Vouched;

use crate::names;

/// What `message` tells of tokens: nothing, unless the filter that has sent it was set to.
pub(crate) fn vouched(message: &Incoming) -> Vec<Vouched> {
    let Some(Struct { mut fields }) = message.metadata(names::TOKENS) else { return Vec::new() };
    let providers: Vec<String> =
        fields.keys().filter(|name| fields.contains_key(&names::token_head(name))).cloned().collect();
    let vouched = |provider: String| {
        let head = object(fields.remove(&names::token_head(&provider))?)?;
        let claims = object(fields.remove(&provider)?)?;
        Some(Vouched { provider, head, claims })
    };
    providers.into_iter().filter_map(vouched).collect()
}

fn object(value: tollgate_envoy::Value) -> Option<Map<String, Value>> {
    match value.kind? {
        value::Kind::StructValue(members) => members_of(members),
        _ => None,
    }
}

fn members_of(members: Struct) -> Option<Map<String, Value>> {
    members.fields.into_iter().map(|(name, value)| Some((name, json(value)?))).collect()
}

/// The same value in JSON, which has no number that is none.
fn json(value: tollgate_envoy::Value) -> Option<Value> {
    Some(match value.kind? {
        value::Kind::NullValue(_) => Value::Null,
        value::Kind::NumberValue(number) => Value::Number(Number::from_f64(number)?),
        value::Kind::StringValue(text) => Value::String(text),
        value::Kind::BoolValue(flag) => Value::Bool(flag),
        value::Kind::StructValue(members) => Value::Object(members_of(members)?),
        value::Kind::ListValue(list) => {
            Value::Array(list.values.into_iter().map(json).collect::<Option<_>>()?)
        }
    })
}

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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use serde_json::json;
    use tollgate_envoy::processing::processing_request::Request;
    use tollgate_envoy::processing::{HttpHeaders, ProcessingRequest};
    use tollgate_envoy::services::envoy::config::core::v3::Metadata;
    use tollgate_envoy::{ListValue, Message as _};

    use super::*;

    fn proto(value: &Value) -> tollgate_envoy::Value {
        let kind = match value {
            Value::Null => value::Kind::NullValue(0),
            Value::Bool(flag) => value::Kind::BoolValue(*flag),
            Value::Number(number) => value::Kind::NumberValue(number.as_f64().unwrap()),
            Value::String(text) => value::Kind::StringValue(text.clone()),
            Value::Array(items) => {
                value::Kind::ListValue(ListValue { values: items.iter().map(proto).collect() })
            }
            Value::Object(members) => value::Kind::StructValue(structure(members)),
        };
        tollgate_envoy::Value { kind: Some(kind) }
    }

    fn structure(members: &Map<String, Value>) -> Struct {
        let fields = members.iter().map(|(name, value)| (name.clone(), proto(value)));
        Struct { fields: fields.collect::<BTreeMap<_, _>>() }
    }

    /// What a filter called `namespace` has said, as Envoy tells it.
    fn told(namespace: &str, said: &Value) -> Vec<Vouched> {
        let filter_metadata =
            HashMap::from([(namespace.to_owned(), structure(said.as_object().expect("an object")))]);
        let metadata = Metadata { filter_metadata, typed_filter_metadata: HashMap::new() };
        let message = ProcessingRequest {
            request: Some(Request::RequestHeaders(HttpHeaders::default())),
            metadata_context: Some(metadata),
            ..Default::default()
        };
        vouched(&Incoming::decode(message.encode_to_vec().into()).expect("a message"))
    }

    #[test]
    fn tokens_are_told_by_head_and_claims() {
        let (head, claims) =
            (json!({ "alg": "RS256" }), json!({ "sub": "a", "exp": 1.5, "list": [true, null, {}] }));
        let said = json!({ "n/p/one": claims, "n/p/one head": head, "n/p/two": claims, "three": "text", "three head": head });
        let expected = Vouched {
            provider: "n/p/one".to_owned(),
            head: head.as_object().cloned().unwrap(),
            claims: claims.as_object().cloned().unwrap(),
        };
        assert_eq!(told(names::TOKENS, &said), [expected], "the others have no head, or no claims");
        assert_eq!(told("another.filter", &said), []);
    }
}

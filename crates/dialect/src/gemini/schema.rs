//! Schemas in the words of OpenAPI 3.0, of which Gemini takes a part, said as JSON schemas.
//!
//! Source: `google.genai.types.Schema`, and `JSONSchema` beside it.

use crate::fields::object;
use tollgate_wire::json::{Map, Text, Value};

/// Deepest nesting: a schema that is nested deeper is left as it is from there on.
const DEPTH_MAX: usize = 100;

/// The JSON schema of a schema.
pub(super) fn json_schema(schema: Value) -> Value {
    convert(schema, 0)
}

fn convert(schema: Value, depth: usize) -> Value {
    let members = match schema {
        Value::Object(members) if depth < DEPTH_MAX => members,
        other => return other,
    };
    let mut said: Vec<(Text, Value)> = Vec::with_capacity(members.len());
    let mut is_nullable = false;
    for (key, value) in members {
        match key.as_str().as_ref() {
            "type" => {
                let word = value.as_str().map(|word| word.to_ascii_lowercase());
                if word.as_deref() != Some("type_unspecified") {
                    said.push((key, word.map_or(value, Value::from)));
                }
            }
            "nullable" => is_nullable = value == Value::Bool(true),
            "properties" | "defs" | "$defs" => {
                let inner = match value {
                    Value::Object(inner) => Value::Object(
                        inner.into_iter().map(|(name, schema)| (name, convert(schema, depth + 1))).collect(),
                    ),
                    other => other,
                };
                said.push((key, inner));
            }
            "items" | "additionalProperties" | "additional_properties" => {
                said.push((json_name(key), convert(value, depth + 1)));
            }
            "anyOf" | "any_of" => {
                let inner = match value {
                    Value::Array(items) => {
                        items.into_iter().map(|item| convert(item, depth + 1)).collect::<Vec<_>>().into()
                    }
                    other => other,
                };
                said.push(("anyOf".into(), inner));
            }
            "example" => {
                said.push(("examples".into(), Value::Array(vec![value])));
            }
            _ => {
                // The JSON of a proto writes 64 bits as text.
                let name = json_name(key);
                let digits = value.as_str().filter(|_| is_bound(&name));
                let number = digits.and_then(|digits| digits.parse::<i64>().ok());
                said.push((name, number.map_or(value, Value::from)));
            }
        }
    }
    let mut said = Map::from(said);
    if is_nullable {
        set_nullable(&mut said);
    }
    set_order(&mut said);
    Value::Object(said)
}

fn set_nullable(said: &mut Map) {
    if let Some(kind) = said.get_mut("type") {
        *kind = Value::Array(vec![kind.take(), "null".into()]);
        if let Some(words) = said.get_mut("enum").and_then(Value::as_array_mut) {
            words.push(Value::Null);
        }
    } else if let Some(any) = said.get_mut("anyOf").and_then(Value::as_array_mut) {
        any.push(object!({"type": "null"}));
    }
}

/// The order of the properties, which JSON schemas have no word for: they are written in it.
fn set_order(said: &mut Map) {
    let Some(Value::Array(order)) = said.remove("propertyOrdering") else { return };
    if let Some(Value::Object(properties)) = said.get_mut("properties") {
        let names = order.iter().filter_map(Value::as_str);
        let sorted: Vec<(Text, Value)> = names.filter_map(|name| properties.remove_entry(&name)).collect();
        *properties = sorted.into_iter().chain(std::mem::take(properties)).collect();
    }
}

fn is_bound(name: &Text) -> bool {
    ["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"]
        .iter()
        .any(|bound| name == bound)
}

/// The names that two words have in the proto.
fn json_name(key: Text) -> Text {
    let known = [
        ("additional_properties", "additionalProperties"),
        ("property_ordering", "propertyOrdering"),
        ("min_items", "minItems"),
        ("max_items", "maxItems"),
        ("min_length", "minLength"),
        ("max_length", "maxLength"),
        ("min_properties", "minProperties"),
        ("max_properties", "maxProperties"),
    ];
    known.iter().find(|(proto, _)| key == *proto).map_or(key, |(_, json)| (*json).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fold::value;

    #[test]
    fn says_openapi_as_json_schema() {
        let schema = json!({
            "type": "OBJECT",
            "properties": {
                "type": {"type": "STRING", "nullable": true, "enum": ["a"], "example": "a"},
                "list": {"type": "ARRAY", "items": {"type": "INTEGER", "format": "int32"}, "minItems": "1"},
                "either": {"any_of": [{"type": "NUMBER"}, {"type": "BOOLEAN"}], "nullable": true},
            },
            "required": ["type"],
            "propertyOrdering": ["list", "gone"],
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "list": {"type": "array", "items": {"type": "integer", "format": "int32"}, "minItems": 1},
                "type": {"type": ["string", "null"], "enum": ["a", null], "examples": ["a"]},
                "either": {"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "null"}]},
            },
            "required": ["type"],
        });
        let said = json_schema(value(schema));
        assert_eq!(said.to_string(), expected.to_string());
    }
}

//! Schemas in the words of OpenAPI 3.0, of which Gemini takes a part, said as JSON schemas.
//!
//! Source: `google.genai.types.Schema`, and `JSONSchema` beside it.

use serde_json::{Map, Value, json};

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
    let mut said = Map::new();
    let mut is_nullable = false;
    for (key, value) in members {
        match key.as_str() {
            "type" => {
                let word = value.as_str().map(str::to_ascii_lowercase);
                if word.as_deref() != Some("type_unspecified") {
                    said.insert(key, word.map_or(value, Value::String));
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
                said.insert(key, inner);
            }
            "items" | "additionalProperties" | "additional_properties" => {
                said.insert(json_name(key), convert(value, depth + 1));
            }
            "anyOf" | "any_of" => {
                let inner = match value {
                    Value::Array(items) => {
                        items.into_iter().map(|item| convert(item, depth + 1)).collect::<Vec<_>>().into()
                    }
                    other => other,
                };
                said.insert("anyOf".to_owned(), inner);
            }
            "example" => {
                said.insert("examples".to_owned(), json!([value]));
            }
            _ => {
                // The JSON of a proto writes 64 bits as text.
                let name = json_name(key);
                let number =
                    value.as_str().filter(|_| is_bound(&name)).and_then(|text| text.parse::<i64>().ok());
                said.insert(name, number.map_or(value, Value::from));
            }
        }
    }
    if is_nullable {
        set_nullable(&mut said);
    }
    Value::Object(said)
}

fn set_nullable(said: &mut Map<String, Value>) {
    if let Some(kind) = said.get_mut("type") {
        *kind = json!([kind.take(), "null"]);
        if let Some(words) = said.get_mut("enum").and_then(Value::as_array_mut) {
            words.push(Value::Null);
        }
    } else if let Some(any) = said.get_mut("anyOf").and_then(Value::as_array_mut) {
        any.push(json!({"type": "null"}));
    }
}

fn is_bound(name: &str) -> bool {
    ["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"].contains(&name)
}

/// The names that two words have in the proto.
fn json_name(key: String) -> String {
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
    known.iter().find(|(proto, _)| *proto == key).map_or(key, |(_, json)| (*json).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "type": {"type": ["string", "null"], "enum": ["a", null], "examples": ["a"]},
                "list": {"type": "array", "items": {"type": "integer", "format": "int32"}, "minItems": 1},
                "either": {"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "null"}]},
            },
            "required": ["type"],
        });
        assert_eq!(json_schema(schema), expected);
    }
}

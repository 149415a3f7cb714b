//! Values that meet simple JSON schemas.

use serde_json::{Map, Value, json};

/// A value of the schema.
pub(super) fn example(schema: &Value) -> Value {
    of(schema, schema, 0)
}

fn of(schema: &Value, root: &Value, depth: usize) -> Value {
    if depth > 16 {
        return Value::Null;
    }
    if let Some(first) = schema.get("enum").and_then(|values| values.get(0)).or_else(|| schema.get("const")) {
        return first.clone();
    }
    if let Some(pointer) =
        schema.get("$ref").and_then(Value::as_str).and_then(|pointer| pointer.strip_prefix('#'))
    {
        return root.pointer(pointer).map_or(Value::Null, |schema| of(schema, root, depth + 1));
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema.get(key).and_then(|schemas| schemas.get(0)) {
            return of(first, root, depth + 1);
        }
    }
    let kind = schema.get("type").map(|kind| kind.get(0).unwrap_or(kind)).and_then(Value::as_str);
    match kind {
        Some("string") => json!("text"),
        Some("integer") => json!(18),
        Some("number") => json!(18.5),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        Some("array") => json!([schema.get("items").map_or(Value::Null, |items| of(items, root, depth + 1))]),
        _ => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let members = properties.into_iter().flatten();
            Value::Object(
                members
                    .map(|(key, schema)| (key.clone(), of(schema, root, depth + 1)))
                    .collect::<Map<_, _>>(),
            )
        }
    }
}

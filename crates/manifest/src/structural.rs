//! JSON Schema, as it is derived from our types, to the structural schemas that Kubernetes takes.
//!
//! Kubernetes wants everything in place (no references), one type for each value, `nullable` instead of the type
//! null, `enum` instead of alternatives, and only formats that it knows.
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The structural schema of a type.
pub(crate) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    make_structural(&mut schema);
    schema
}

fn make_structural(schema: &mut Value) {
    // `true` is the schema of anything.
    if schema.is_boolean() {
        *schema = json!({ "x-kubernetes-preserve-unknown-fields": true });
    }
    let Some(schema) = schema.as_object_mut() else { return };
    schema.shift_remove("title");
    schema.shift_remove("$schema");
    take_over_alternative(schema);
    alternatives_to_enum(schema);
    drop_null(schema);
    drop_empty_default(schema);
    bound_integers(schema);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(make_structural);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(inner) {
            make_structural(inner);
        }
    }
}

/// `anyOf: [T, null]`, an optional T, is T; what stands beside it is about T.
fn take_over_alternative(schema: &mut Map<String, Value>) {
    let Some(Value::Array(alternatives)) = schema.shift_remove("anyOf") else { return };
    let is_null = |schema: &Value| schema.get("type").is_some_and(|kind| kind == "null");
    let alternative = alternatives.into_iter().find(|alternative| !is_null(alternative));
    let Some(Value::Object(alternative)) = alternative else { return };
    for (key, value) in alternative {
        schema.entry(key).or_insert(value);
    }
}

/// `oneOf` of constants, an enum whose variants are described, is an `enum` with a longer description.
fn alternatives_to_enum(schema: &mut Map<String, Value>) {
    let Some(Value::Array(alternatives)) = schema.shift_remove("oneOf") else { return };
    let mut values = Vec::new();
    let mut description = match schema.shift_remove("description") {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    for alternative in &alternatives {
        let described = alternative.get("description").and_then(Value::as_str).unwrap_or_default();
        let several = alternative.get("enum").and_then(Value::as_array).into_iter().flatten();
        for value in several.chain(alternative.get("const")) {
            if !described.is_empty() {
                let name = value.as_str().unwrap_or_default();
                let separator = if values.is_empty() { "\n\n" } else { "\n" };
                description.push_str(&format!("{separator}- `{name}`: {described}"));
            }
            values.push(value.clone());
        }
    }
    schema.insert("type".to_owned(), "string".into());
    schema.insert("description".to_owned(), description.into());
    schema.insert("enum".to_owned(), values.into());
}

/// An absent value is absent; only what says `nullable` may be written as null.
fn drop_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let Some(only) = kinds.first().cloned() {
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
}

/// To be empty by default is to be absent; rules ask `has()`.
fn drop_empty_default(schema: &mut Map<String, Value>) {
    let is_empty = match schema.get("default") {
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        Some(Value::Null) => true,
        _ => false,
    };
    if is_empty {
        schema.shift_remove("default");
    }
}

/// Unsigned formats are not known to Kubernetes: a wider signed one with bounds says the same.
fn bound_integers(schema: &mut Map<String, Value>) {
    let (format, maximum) = match schema.get("format").and_then(Value::as_str) {
        Some("uint8") => ("int32", Some(u64::from(u8::MAX))),
        Some("uint16") => ("int32", Some(u64::from(u16::MAX))),
        Some("uint32") => ("int64", Some(u64::from(u32::MAX))),
        Some("uint64" | "uint") => ("int64", None),
        _ => return,
    };
    schema.insert("format".to_owned(), format.into());
    if let Some(maximum) = maximum {
        let declared = schema.get("maximum").and_then(Value::as_u64).unwrap_or(maximum);
        schema.insert("maximum".to_owned(), declared.min(maximum).into());
    }
}

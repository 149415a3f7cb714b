//! How types state what no type can: rules in CEL, keys of lists, fields that are known and not served, content that is not read.
//!
//! These functions make the values of `#[schemars(extend(...))]`, so a rule stands beside the type it is about:
//! `x-kubernetes-validations` has CEL rules, each with the message that is shown when it does not hold;
//! `x-tollgate-not-served` the fields that the upstream API has and Tollgate does not serve; `x-tollgate-refused`
//! those of them that cannot be left out without letting somebody in; `x-tollgate-ignored`
//! those that have no effect here and need no word either; `x-tollgate-removed` those of older versions, each with
//! what to write instead.

use serde_json::{Value, json};

/// The value of `x-kubernetes-validations`: pairs of a rule and its message.
pub(crate) fn cel<const N: usize>(rules: [(&str, &str); N]) -> Value {
    rules.iter().map(|(rule, message)| json!({ "rule": rule, "message": message })).collect()
}

/// The value of an extension that lists fields.
pub(crate) fn fields<const N: usize>(names: [&str; N]) -> Value {
    names.into_iter().collect()
}

/// The value of `x-tollgate-removed`: pairs of a field and what to write instead.
pub(crate) fn removed<const N: usize>(fields: [(&str, &str); N]) -> Value {
    Value::Object(fields.into_iter().map(|(field, instead)| (field.to_owned(), instead.into())).collect())
}

/// The schema of an object whose content is not looked at.
pub(crate) fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

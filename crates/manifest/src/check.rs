//! Checks a value against a schema: every mistake in it, and the value with its defaults.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::finding::Findings;
use crate::node::{Content, Member, Node};
use crate::position::Path;
use crate::scalar::Timestamp;
use crate::schema::{Kind, ListType, Schema};
use crate::suggest::hint;

/// Longest text that is repeated in a message.
const SHOWN_CHARS_MAX: usize = 80;

/// The value as JSON, without what is not served and with defaults where nothing is written. Rules are evaluated
/// only on values that are otherwise right, as in Kubernetes. `Null` stands for what is no value at all.
pub(crate) fn check(node: &Node, schema: &Schema, path: Path<'_>, findings: &mut Findings) -> Value {
    let errors_before = findings.errors();
    let value = check_shape(node, schema, path, findings);
    if findings.errors() == errors_before && !value.is_null() {
        for rule in schema.rules.iter().filter(|rule| !rule.holds(&value)) {
            findings.error(node.position, path, lower_first(&rule.message));
        }
    }
    value
}

fn check_shape(node: &Node, schema: &Schema, path: Path<'_>, findings: &mut Findings) -> Value {
    match &node.content {
        Content::Null if schema.nullable => Value::Null,
        Content::Map(members) if schema.kind == Some(Kind::Object) => {
            check_map(node, members, schema, path, findings)
        }
        Content::List(items) if schema.kind == Some(Kind::Array) => {
            check_list(node, items, schema, path, findings)
        }
        Content::Text(text) if schema.kind == Some(Kind::String) || schema.int_or_string => {
            check_text(node, text, schema, path, findings)
        }
        Content::Number(number) if schema.int_or_string && number.is_u64() => node.to_json(),
        Content::Number(number)
            if schema.kind == Some(Kind::Number)
                || schema.kind == Some(Kind::Integer) && !number.is_f64() =>
        {
            check_number(node, schema, path, findings)
        }
        Content::Bool(value) if schema.kind == Some(Kind::Boolean) => Value::Bool(*value),
        _ if schema.kind.is_none() && schema.preserve_unknown_fields => node.to_json(),
        _ => {
            findings.error(
                node.position,
                path,
                format!("expected {}, got {}", noun(schema), describe(node, schema)),
            );
            Value::Null
        }
    }
}

fn noun(schema: &Schema) -> &'static str {
    match schema.kind {
        None => "a string or an integer",
        Some(Kind::Boolean) => "true or false",
        Some(Kind::Integer) => "an integer",
        Some(Kind::Number) => "a number",
        Some(Kind::String) => "a string",
        Some(Kind::Array) => "a list",
        Some(Kind::Object) => "a map",
    }
}

/// What was found, with the cure for the most frequent cause.
fn describe(node: &Node, schema: &Schema) -> String {
    let is_scalar = matches!(node.content, Content::Bool(_) | Content::Number(_));
    match schema.kind {
        Some(Kind::String) if is_scalar => format!("{} (put it in quotes)", node.noun()),
        _ => node.noun().to_owned(),
    }
}

fn check_map(
    node: &Node,
    members: &[Member],
    schema: &Schema,
    path: Path<'_>,
    findings: &mut Findings,
) -> Value {
    check_size(
        members.len(),
        ("members", "member"),
        (schema.min_properties, schema.max_properties),
        node,
        path,
        findings,
    );
    let mut object = Map::new();
    for member in members {
        let path = path.key(&member.key);
        if let Some(inner) = schema.properties.get(&member.key) {
            let value = check(&member.value, inner, path, findings);
            if !value.is_null() {
                object.insert(member.key.clone(), value);
            }
        } else if let Some(inner) = &schema.additional_properties {
            object.insert(member.key.clone(), check_member(&member.value, inner, schema, path, findings));
        } else if schema.preserve_unknown_fields {
            object.insert(member.key.clone(), member.value.to_json());
        } else {
            check_unknown(member, schema, path, findings);
        }
    }
    for (key, inner) in &schema.properties {
        if object.contains_key(key) || members.iter().any(|member| member.key == *key && !is_null(member)) {
            continue;
        }
        if let Some(default) = &inner.default {
            object.insert(key.clone(), default.clone());
        } else if schema.required.contains(key) {
            findings.error(node.position, path.key(key), "is required");
        }
    }
    Value::Object(object)
}

fn is_null(member: &Member) -> bool {
    matches!(member.value.content, Content::Null)
}

/// A member of a map of anything; if the map is secret, so is the member.
fn check_member(
    node: &Node,
    inner: &Schema,
    outer: &Schema,
    path: Path<'_>,
    findings: &mut Findings,
) -> Value {
    // Null in a map of texts, such as a label or an annotation without a value, is the empty text in Kubernetes.
    if matches!(node.content, Content::Null) && outer.nullable && inner.kind == Some(Kind::String) {
        return Value::String(String::new());
    }
    check(node, inner, path, findings)
}

fn check_unknown(member: &Member, schema: &Schema, path: Path<'_>, findings: &mut Findings) {
    let key = &member.key;
    if schema.ignored.contains(key) {
        return;
    }
    if schema.not_served.contains(key) {
        findings.warning(member.key_position, path, "is not served and has no effect");
        return;
    }
    if schema.refused.contains(key) {
        findings.error(
            member.key_position,
            path,
            "is not served, and cannot be left out: it decides who is let in",
        );
        return;
    }
    if let Some(instead) = schema.removed.get(key) {
        findings.error(member.key_position, path, format!("exists no longer; {instead}"));
        return;
    }
    let known = schema.properties.keys().chain(&schema.not_served).chain(&schema.refused).map(String::as_str);
    findings.error(member.key_position, path, format!("unknown field{}", hint(key, known)));
}

fn check_list(
    node: &Node,
    items: &[Node],
    schema: &Schema,
    path: Path<'_>,
    findings: &mut Findings,
) -> Value {
    check_size(items.len(), ("items", "item"), (schema.min_items, schema.max_items), node, path, findings);
    let mut values = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let value = match &schema.items {
            Some(inner) => check(item, inner, path.index(index), findings),
            None => item.to_json(),
        };
        values.push(value);
    }
    check_distinct(items, &values, schema, path, findings);
    Value::Array(values)
}

/// No two items of a set are the same, and no two of a list map have the same keys.
fn check_distinct(
    items: &[Node],
    values: &[Value],
    schema: &Schema,
    path: Path<'_>,
    findings: &mut Findings,
) {
    let mut seen = BTreeSet::new();
    for (index, (item, value)) in items.iter().zip(values).enumerate() {
        let identity = match schema.list_type {
            ListType::Atomic => return,
            ListType::Set => value.to_string(),
            ListType::Map => {
                let keys = schema.list_keys.iter().map(|key| value.get(key));
                match keys.collect::<Option<Vec<_>>>() {
                    Some(keys) => keys.iter().map(|key| key.to_string()).collect::<Vec<_>>().join(", "),
                    None => continue,
                }
            }
        };
        let message = match schema.list_type {
            ListType::Map => format!("{} {identity} stands twice in this list", schema.list_keys.join(", ")),
            ListType::Set | ListType::Atomic => format!("{identity} stands twice in this list"),
        };
        if !value.is_null() && !seen.insert(identity) {
            findings.error(item.position, path.index(index), message);
        }
    }
}

/// Bounds on a number of things, `(plural, singular)`.
fn check_size(
    size: usize,
    (plural, singular): (&str, &str),
    (min, max): (Option<usize>, Option<usize>),
    node: &Node,
    path: Path<'_>,
    findings: &mut Findings,
) {
    let noun = |count: usize| if count == 1 { singular } else { plural };
    if let Some(min) = min.filter(|min| size < *min) {
        let verb = if min == 1 { "is" } else { "are" };
        findings.error(
            node.position,
            path,
            format!("has {size} {}, at least {min} {verb} needed", noun(size)),
        );
    }
    if let Some(max) = max.filter(|max| size > *max) {
        let verb = if max == 1 { "is" } else { "are" };
        findings.error(
            node.position,
            path,
            format!("has {size} {}, at most {max} {verb} allowed", noun(size)),
        );
    }
}

fn check_text(node: &Node, text: &str, schema: &Schema, path: Path<'_>, findings: &mut Findings) -> Value {
    if !schema.one_of.is_empty() {
        check_choice(node, text, schema, path, findings);
        return Value::String(text.to_owned());
    }
    let size = (schema.min_length, schema.max_length);
    if text.is_empty() && schema.min_length.is_some_and(|min| min > 0) {
        findings.error(node.position, path, "is empty");
        return Value::String(String::new());
    }
    check_size(text.chars().count(), ("characters", "character"), size, node, path, findings);
    if let Some(pattern) = schema.pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
        let expected = expected_by(pattern.as_str());
        findings.error(node.position, path, format!("{} is not {expected}", shown(text)));
    }
    match schema.format.as_deref() {
        Some("date-time") => {
            if let Err(message) = Timestamp::parse(text) {
                findings.error(node.position, path, message);
            }
        }
        Some("ip") if text.parse::<std::net::IpAddr>().is_err() => {
            findings.error(node.position, path, format!("{} is not an IPv4 or IPv6 address", shown(text)));
        }
        _ => {}
    }
    Value::String(text.to_owned())
}

fn check_choice(node: &Node, text: &str, schema: &Schema, path: Path<'_>, findings: &mut Findings) {
    if schema.one_of.iter().any(|choice| choice == text) {
        return;
    }
    let choices = schema.one_of.iter().map(|choice| format!("{choice:?}")).collect::<Vec<_>>().join(", ");
    let one_of = if schema.one_of.len() == 1 { "" } else { "one of " };
    let hint = hint(text, schema.one_of.iter().map(String::as_str));
    findings.error(node.position, path, format!("{} is not {one_of}{choices}{hint}", shown(text)));
}

/// What a pattern means, in words where it has some.
fn expected_by(pattern: &str) -> String {
    crate::words::of_pattern(pattern).map_or_else(|| format!("a text that matches {pattern}"), str::to_owned)
}

fn check_number(node: &Node, schema: &Schema, path: Path<'_>, findings: &mut Findings) -> Value {
    let value = node.to_json();
    let (least, most) = match schema.format.as_deref() {
        Some("int32") => (f64::from(i32::MIN), f64::from(i32::MAX)),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    };
    let number = value.as_f64().unwrap_or(f64::NAN);
    let (least, most) = (schema.minimum.unwrap_or(least), schema.maximum.unwrap_or(most));
    if number < least {
        findings.error(node.position, path, format!("is {value}, at least {least} is needed"));
    }
    if number > most {
        findings.error(node.position, path, format!("is {value}, at most {most} is allowed"));
    }
    value
}

/// A text for a message: quoted, and cut where it is long.
fn shown(text: &str) -> String {
    let mut cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

/// Messages of rules are sentences in their API; ours begin in lower case, unless they begin with a name.
fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            let word: String = message.chars().take_while(|c| c.is_alphanumeric()).collect();
            let is_name = word.chars().skip(1).any(char::is_uppercase);
            if is_name { message.to_owned() } else { first.to_lowercase().chain(chars).collect() }
        }
        _ => message.to_owned(),
    }
}

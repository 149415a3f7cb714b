//! Changes to requests: those of a route over those of a backend.

use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::value::RawValue;
use tollgate_config::bundle::Mutation;
use tollgate_config::{header_name, header_value, is_gateway_owned};
use tollgate_manifest::{HttpBodyMutation, HttpHeaderMutation};

use crate::findings::{Findings, ObjectId};

/// Where mutations are written: the object, and the field that has `headerMutation` and `bodyMutation` in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) object: &'a ObjectId,
    pub(crate) path: &'a str,
}

/// Resolves what stands in one place.
///
/// # Errors
/// When something in it cannot be done: whoever wrote it may rely on it, so the requests must not go without it.
pub(crate) fn resolve(
    place: Place<'_>,
    headers: Option<&HttpHeaderMutation>,
    body: Option<&HttpBodyMutation>,
    findings: &mut Findings,
) -> Result<Mutation, String> {
    let mut mutation = Mutation::default();
    let mut broken = None;
    if let Some(headers) = headers {
        broken = resolve_headers(place, headers, &mut mutation, findings).err();
    }
    if let Some(body) = body {
        broken = broken.or(resolve_body(place, body, &mut mutation, findings).err());
    }
    broken.map_or(Ok(mutation), Err)
}

/// Merges: for the same key the route's `set` wins, and what either removes is removed.
pub(crate) fn merge(route: Mutation, backend: &Mutation) -> Mutation {
    Mutation {
        headers_set: merge_set(route.headers_set, &backend.headers_set),
        headers_remove: merge_remove(route.headers_remove, &backend.headers_remove),
        body_set: merge_set(route.body_set, &backend.body_set),
        body_remove: merge_remove(route.body_remove, &backend.body_remove),
    }
}

fn merge_set(mut route: Vec<(String, String)>, backend: &[(String, String)]) -> Vec<(String, String)> {
    let own: BTreeSet<String> = route.iter().map(|(key, _)| key.clone()).collect();
    route.extend(backend.iter().filter(|(key, _)| !own.contains(key)).cloned());
    route
}

fn merge_remove(mut route: Vec<String>, backend: &[String]) -> Vec<String> {
    for key in backend {
        if !route.contains(key) {
            route.push(key.clone());
        }
    }
    route
}

fn resolve_headers(
    place: Place<'_>,
    written: &HttpHeaderMutation,
    mutation: &mut Mutation,
    findings: &mut Findings,
) -> Result<(), String> {
    let mut broken = None;
    for (at, header) in written.set.iter().enumerate() {
        let path = format!("{}headerMutation.set[{at}]", place.path);
        if is_owned(place, &format!("{path}.name"), &header.name, findings) {
            continue;
        }
        let name = checked(place, format!("{path}.name"), header_name(&header.name), &mut broken, findings);
        let value =
            checked(place, format!("{path}.value"), header_value(&header.value), &mut broken, findings);
        if let (Some(name), Some(_)) = (name, value) {
            // Of one name in two cases the last counts, as when both are set one after the other.
            mutation.headers_set.retain(|(other, _)| *other != name.as_str());
            mutation.headers_set.push((name.as_str().to_owned(), header.value.clone()));
        }
    }
    for (at, name) in written.remove.iter().enumerate() {
        let path = format!("{}headerMutation.remove[{at}]", place.path);
        if is_owned(place, &path, name, findings) {
            continue;
        }
        if let Some(name) = checked(place, path, header_name(name), &mut broken, findings) {
            mutation.headers_remove.push(name.as_str().to_owned());
        }
    }
    broken.map_or(Ok(()), Err)
}

pub(crate) fn is_owned(place: Place<'_>, path: &str, name: &str, findings: &mut Findings) -> bool {
    let is_owned = is_gateway_owned(name);
    if is_owned {
        findings.warning(place.object, path, format!("header {name:?} belongs to the gateway: not changed"));
    }
    is_owned
}

/// The proven value, or a finding.
pub(crate) fn checked<T>(
    place: Place<'_>,
    path: String,
    result: Result<T, String>,
    broken: &mut Option<String>,
    findings: &mut Findings,
) -> Option<T> {
    result
        .inspect_err(|message| {
            broken.get_or_insert_with(|| format!("{path}: {message}"));
            findings.error(place.object, path.as_str(), message.as_str());
        })
        .ok()
}

fn resolve_body(
    place: Place<'_>,
    written: &HttpBodyMutation,
    mutation: &mut Mutation,
    findings: &mut Findings,
) -> Result<(), String> {
    let mut broken = None;
    for (at, field) in written.set.iter().enumerate() {
        let path = format!("{}bodyMutation.set[{at}]", place.path);
        warn_of_dots(place, &format!("{path}.path"), &field.path, findings);
        let json = checked(place, format!("{path}.value"), json_text(&field.value), &mut broken, findings);
        if let Some(json) = json {
            mutation.body_set.retain(|(other, _)| *other != field.path);
            mutation.body_set.push((field.path.clone(), json));
        }
    }
    for (at, key) in written.remove.iter().enumerate() {
        warn_of_dots(place, &format!("{}bodyMutation.remove[{at}]", place.path), key, findings);
        mutation.body_remove.push(key.clone());
    }
    broken.map_or(Ok(()), Err)
}

/// Envoy AI Gateway hands the path to an editor of dotted paths, though its API says top-level members only.
fn warn_of_dots(place: Place<'_>, path: &str, key: &str, findings: &mut Findings) {
    if key.contains('.') {
        let message =
            format!("{key:?} is one top-level member with a dot in its name, not a path into another");
        findings.warning(place.object, path, message);
    }
}

/// The JSON text that `written` stands for. What does not look like JSON at all is a text without its quotes.
fn json_text(written: &str) -> Result<String, String> {
    let text = written.trim();
    if serde_json::from_str::<&RawValue>(text).is_ok() {
        return Ok(text.to_owned());
    }
    if text.starts_with(['{', '[', '"']) {
        return Err("expected a JSON value".to_owned());
    }
    Ok(Value::from(written).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_json_as_it_is_and_anything_else_as_text() {
        for (written, text) in [
            ("0.5", "0.5"),
            (" true ", "true"),
            ("\"x\"", "\"x\""),
            ("{\"a\": [1]}", "{\"a\": [1]}"),
            ("plain text", "\"plain text\""),
            ("say \"hi\"", "\"say \\\"hi\\\"\""),
            ("", "\"\""),
        ] {
            assert_eq!(json_text(written).as_deref(), Ok(text));
        }
        for written in ["{\"a\":", "[1", "\"x", "{} {}"] {
            assert!(json_text(written).is_err(), "{written}");
        }
    }

    #[test]
    fn merges_routes_over_backends() {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        let keys = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect::<Vec<_>>();
        let route = Mutation {
            headers_set: pairs(&[("a", "route"), ("b", "route")]),
            headers_remove: keys(&["x"]),
            body_set: pairs(&[("t", "1")]),
            body_remove: keys(&["y"]),
        };
        let backend = Mutation {
            headers_set: pairs(&[("b", "backend"), ("c", "backend")]),
            headers_remove: keys(&["x", "a"]),
            body_set: pairs(&[("t", "2"), ("u", "2")]),
            body_remove: keys(&["z"]),
        };
        let merged = merge(route, &backend);
        assert_eq!(merged.headers_set, pairs(&[("a", "route"), ("b", "route"), ("c", "backend")]));
        assert_eq!(merged.headers_remove, keys(&["x", "a"]));
        assert_eq!(merged.body_set, pairs(&[("t", "1"), ("u", "2")]));
        assert_eq!(merged.body_remove, keys(&["y", "z"]));
    }
}

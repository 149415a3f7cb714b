//! Objects with the same kind and name. Only the first is kept: which of them holds must not depend on luck.

use std::collections::BTreeMap;

use crate::finding::{Finding, Severity};
use crate::object::{Object, Unread};
use crate::parse::group_and_version;
use crate::position::{Located, Position};

/// Kinds that say something of other objects, which must not be served as if nobody had.
const POLICIES: [&str; 4] =
    ["BackendTLSPolicy", "BackendSecurityPolicy", "BackendTrafficPolicy", "ClientTrafficPolicy"];

/// An object, and what can be said of it if it is not to be understood.
pub(crate) struct Read {
    pub(crate) object: Located<Object>,
    pub(crate) unread: Unread,
}

/// The objects without those that are there already, and a finding for each of these. A policy among them that says something
/// else is kept as one with mistakes.
pub(crate) fn refuse(objects: Vec<Read>) -> (Vec<Located<Object>>, Vec<Finding>) {
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut kept: Vec<Located<Object>> = Vec::with_capacity(objects.len());
    let mut findings = Vec::new();
    for Read { object, unread } in objects {
        let identity = identity(&object.value);
        let Some(first) = seen.get(&identity).and_then(|at| kept.get(*at)) else {
            seen.insert(identity, kept.len());
            kept.push(object);
            continue;
        };
        findings.push(finding(&object, first));
        if POLICIES.contains(&object.value.kind()) && !says_the_same(&object.value, &first.value) {
            kept.push(object.with(Object::Invalid(unread)));
        }
    }
    (kept, findings)
}

fn identity(object: &Object) -> (String, String) {
    let group = match object {
        Object::Unsupported(unread) => group_and_version(&unread.api_version).0.to_owned(),
        _ => String::new(),
    };
    (group, object.to_string())
}

fn says_the_same(twin: &Object, first: &Object) -> bool {
    match (twin, first) {
        (Object::BackendTlsPolicy(twin), Object::BackendTlsPolicy(first)) => twin == first,
        (Object::BackendSecurityPolicy(twin), Object::BackendSecurityPolicy(first)) => twin == first,
        (Object::BackendTrafficPolicy(twin), Object::BackendTrafficPolicy(first)) => twin == first,
        (Object::ClientTrafficPolicy(twin), Object::ClientTrafficPolicy(first)) => twin == first,
        _ => false,
    }
}

fn finding(twin: &Located<Object>, first: &Located<Object>) -> Finding {
    let start = Position { line: 1, column: 1 };
    let position = twin.position("").unwrap_or(start);
    let (file, at) = (first.file().unwrap_or_default(), first.position("").unwrap_or(start));
    Finding {
        file: twin.file().unwrap_or_default().to_owned(),
        line: position.line,
        column: position.column,
        object: twin.value.to_string(),
        path: String::new(),
        severity: Severity::Error,
        message: format!("is defined twice, first at {file}:{at}"),
    }
}

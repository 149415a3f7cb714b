//! Anthropic: one prefix, a version header that is required.
//!
//! Source: Anthropic's API reference, "Versions".

use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_terms::{Dialect, Operation};

const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const BETA: HeaderName = HeaderName::from_static("anthropic-beta");
const BROWSER_ACCESS: HeaderName = HeaderName::from_static("anthropic-dangerous-direct-browser-access");

/// The version that the translation is written against.
const VERSION_DEFAULT: HeaderValue = HeaderValue::from_static("2023-06-01");

pub(crate) fn path(prefix: &str, dialect: Dialect, operation: Operation) -> Option<String> {
    suffix(dialect, operation).map(|suffix| crate::call::join(prefix, suffix))
}

pub(crate) fn suffix(dialect: Dialect, operation: Operation) -> Option<&'static str> {
    match (dialect, operation) {
        (Dialect::AnthropicMessages, Operation::Chat) => Some("messages"),
        (Dialect::AnthropicMessages, Operation::CountTokens) => Some("messages/count_tokens"),
        _ => None,
    }
}

/// Sets the version header unless the client chose one.
pub(crate) fn require_headers(headers: &mut HeaderMap) {
    headers.entry(VERSION).or_insert(VERSION_DEFAULT);
}

/// The betas that a client asks for in its headers.
pub(crate) fn betas(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(BETA).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|beta| !beta.is_empty())
}

/// Takes away what only Anthropic understands.
pub(crate) fn remove_headers(headers: &mut HeaderMap) {
    for name in [VERSION, BETA, BROWSER_ACCESS] {
        headers.remove(name);
    }
}

/// Takes away the version, for a host that wants it in the body.
pub(crate) fn remove_version(headers: &mut HeaderMap) {
    for name in [VERSION, BROWSER_ACCESS] {
        headers.remove(name);
    }
}

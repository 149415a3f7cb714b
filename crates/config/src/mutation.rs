//! Changes to requests, proven to be possible.

use http::{HeaderName, HeaderValue};

use crate::bundle::Mutation;

/// Beginnings of header names that no mutation may touch.
const OWNED_PREFIXES: [&str; 4] = [":", "x-ai-eg-", "x-aigw-", "x-tollgate-"];

/// Header names that no mutation may touch: routing facts of the gateway, and the framing of the message, which the
/// gateway writes for each attempt anew.
const OWNED: [&str; 13] = [
    "x-envoy-original-path",
    "x-gateway-destination-endpoint",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "content-encoding",
];

/// Changes to make to each request at one target. Removal comes first.
#[derive(Debug, Clone, Default)]
pub struct CompiledMutation {
    /// Headers to set.
    pub headers_set: Vec<(HeaderName, HeaderValue)>,
    /// Headers to remove.
    pub headers_remove: Vec<HeaderName>,
    /// Top-level body members to set, with the value as JSON text.
    pub body_set: Vec<(String, String)>,
    /// Top-level body members to remove.
    pub body_remove: Vec<String>,
}

impl CompiledMutation {
    /// Compiles a mutation; names that the gateway owns are left out.
    ///
    /// # Errors
    /// When a name or value cannot stand in a header.
    pub(crate) fn compile(written: &Mutation) -> Result<Self, String> {
        let headers_set = written
            .headers_set
            .iter()
            .filter(|(name, _)| !is_gateway_owned(name))
            .map(|(name, value)| Ok((header_name(name)?, header_value(value)?)))
            .collect::<Result<_, String>>()?;
        let headers_remove = written
            .headers_remove
            .iter()
            .filter(|name| !is_gateway_owned(name))
            .map(|name| header_name(name))
            .collect::<Result<_, String>>()?;
        Ok(Self {
            headers_set,
            headers_remove,
            body_set: written.body_set.clone(),
            body_remove: written.body_remove.clone(),
        })
    }
}

/// Whether `name` is a header of the gateway's own, which a mutation cannot change.
pub fn is_gateway_owned(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    OWNED.contains(&name.as_str()) || OWNED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Proves that `text` is a header name.
///
/// # Errors
/// A sentence that says what was expected.
pub fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::try_from(text).map_err(|_| format!("expected a header name, found {text:?}"))
}

/// Proves that `text` can be the value of a header.
///
/// # Errors
/// A sentence that says what was expected; it does not repeat the value, which may be confidential.
pub fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::try_from(text)
        .map_err(|_| "expected a header value without line breaks or other control characters".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_the_gateways_own_headers_alone() {
        let written = Mutation {
            headers_set: vec![
                ("x-ai-eg-model".to_owned(), "other".to_owned()),
                ("x-team".to_owned(), "blue".to_owned()),
            ],
            headers_remove: vec!["Content-Length".to_owned(), "x-debug".to_owned()],
            ..Mutation::default()
        };
        let compiled = CompiledMutation::compile(&written).expect("valid names");
        assert_eq!(
            compiled.headers_set,
            [(HeaderName::from_static("x-team"), HeaderValue::from_static("blue"))]
        );
        assert_eq!(compiled.headers_remove, [HeaderName::from_static("x-debug")]);
    }

    #[test]
    fn refuses_values_that_would_forge_a_header() {
        let written = Mutation {
            headers_set: vec![("x-a".to_owned(), "1\r\nx-b: 2".to_owned())],
            ..Mutation::default()
        };
        assert!(CompiledMutation::compile(&written).is_err());
        assert!(header_name("x a").is_err());
    }
}

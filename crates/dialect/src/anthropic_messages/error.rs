//! Errors as Anthropic tells them.
//!
//! Source: Anthropic API reference, "Errors".

use bytes::Bytes;
use serde::Serialize;

use crate::error::{ErrorBody, encode as serialize};

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: Inner<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Inner<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    message: &'a str,
}

/// An error of the gateway's own.
pub(crate) fn encode(error: &ErrorBody<'_>) -> Bytes {
    encode_kind(kind(error.status), error.message, error.request_id)
}

/// An error of this kind.
pub(crate) fn encode_kind(kind: &str, message: &str, request_id: &str) -> Bytes {
    serialize(&Body { kind: "error", error: Inner { kind, message }, request_id })
}

/// Anthropic's own name for a status.
fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// Anthropic's own name for an error that another dialect calls `kind`; the same where both have it.
pub(crate) fn known_kind(kind: &str, status: u16) -> &str {
    const KNOWN: [&str; 10] = [
        "api_error",
        "authentication_error",
        "billing_error",
        "invalid_request_error",
        "not_found_error",
        "overloaded_error",
        "permission_error",
        "rate_limit_error",
        "request_too_large",
        "timeout_error",
    ];
    if KNOWN.contains(&kind) { kind } else { self::kind(status) }
}

/// The name for the status of another dialect's backend that told no type, as Envoy AI Gateway names it.
pub(crate) fn backend_kind(status: u16) -> &'static str {
    match status {
        503 => "service_unavailable_error",
        400 | 401 | 403 | 404 | 413 | 429 | 529 => kind(status),
        _ => "internal_server_error",
    }
}

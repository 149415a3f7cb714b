//! Errors as Google tells them.
//!
//! Source: Google API design guide, "Errors" (`google.rpc.Status` over HTTP/JSON).

use bytes::Bytes;
use serde::Serialize;
use tollgate_terms::Dialect;

use crate::error::{ErrorBody, encode as serialize, knows_status};

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: u16,
    message: &'a str,
    status: &'a str,
}

/// An error of the gateway's own.
pub(crate) fn encode(error: &ErrorBody<'_>) -> Bytes {
    encode_status(status(error.status), error)
}

/// An error that a backend of another dialect calls `kind`; the same where Google has it.
pub(crate) fn encode_backend(kind: &str, error: &ErrorBody<'_>) -> Bytes {
    encode_status(KNOWN.iter().find(|known| **known == kind).unwrap_or(&status(error.status)), error)
}

fn encode_status(status: &str, error: &ErrorBody<'_>) -> Bytes {
    // The one status that Google does not know: its clients get a 503.
    let code = if knows_status(Dialect::Gemini, error.status) { error.status } else { 503 };
    serialize(&Body { error: Inner { code, message: error.message, status } })
}

/// `google.rpc.Code`, but for `OK`.
const KNOWN: [&str; 16] = [
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
];

/// Google's own name for an HTTP status (`google/rpc/code.proto`, the HTTP mapping of each code).
fn status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        503 | 529 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        400..=499 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}

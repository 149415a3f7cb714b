//! Errors as OpenAI tells them.
//!
//! Source: OpenAI API reference, "Error codes". The members `type` and `request_id` beside `error` are this gateway's: with them one
//! body satisfies clients of both families.

use bytes::Bytes;
use serde::Serialize;

use crate::error::{ErrorBody, encode as serialize};

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: Inner<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Inner<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
    code: &'a str,
}

/// An error of the gateway's own.
pub(crate) fn encode(error: &ErrorBody<'_>) -> Bytes {
    body(error, Some(error.request_id))
}

/// An error of a backend, told again.
pub(crate) fn encode_backend(error: &ErrorBody<'_>) -> Bytes {
    body(error, None)
}

fn body(error: &ErrorBody<'_>, request_id: Option<&str>) -> Bytes {
    let status = error.status.to_string();
    let code = error.code.unwrap_or(&status);
    let inner = Inner { kind: error.kind, message: error.message, param: error.param, code };
    serialize(&Body { kind: "error", error: inner, request_id })
}

//! Cohere's rerank: its errors, and where it tells its usage.
//!
//! Source: Cohere API reference, `/v2/rerank`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tollgate_terms::Usage;

use crate::error::{ErrorBody, encode};
use crate::observe::Count;

#[derive(Serialize)]
struct ErrorMessage<'a> {
    message: &'a str,
}

/// An error.
pub(crate) fn encode_error(error: &ErrorBody<'_>) -> Bytes {
    encode(&ErrorMessage { message: error.message })
}

#[derive(Deserialize)]
struct Body {
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    tokens: Option<Tokens>,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
}

/// The usage of an answer: `meta.tokens`. `billed_units` counts searches, which are no tokens.
pub(crate) fn usage(body: &[u8]) -> Option<Usage> {
    let tokens = serde_json::from_slice::<Body>(body).ok()?.meta?.tokens?;
    Some(Usage {
        input_tokens: tokens.input_tokens.value()?,
        output_tokens: tokens.output_tokens.value().unwrap_or(0),
        ..Usage::default()
    })
}

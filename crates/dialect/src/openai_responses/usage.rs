//! Usage as OpenAI's responses tell it.
//!
//! Its convention is the gateway's: `input_tokens` includes cached ones, `output_tokens` includes reasoning.
//! Source: `openai.types.responses.ResponseUsage`. The wire object is in `observe.rs`, since images and audio share it.

use tollgate_chat::Losses;
use tollgate_terms::Usage;
use tollgate_wire::json::Value;

use super::observe::WireUsage;
use crate::fields::{lose_usage, object, typed};

/// What the gateway's usage has room for.
const KNOWN: [&str; 6] = [
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "input_tokens_details/cached_tokens",
    "input_tokens_details/cache_write_tokens",
    "output_tokens_details/reasoning_tokens",
];

/// Reads the object. What it tells beside the numbers above is recorded in `losses`.
pub(super) fn decode_usage(usage: &Value, losses: &mut Losses) -> Option<Usage> {
    lose_usage(usage, &KNOWN, losses);
    typed::<WireUsage>(usage)?.usage()
}

/// The usage, as answers and the last event of a stream tell it.
pub(super) fn encode_usage(usage: &Usage) -> Value {
    let Usage {
        input_tokens,
        cached_input_tokens,
        cache_creation_input_tokens,
        output_tokens,
        reasoning_tokens,
        provider_total_tokens: _,
    } = *usage;
    object!({
        "input_tokens": input_tokens,
        "input_tokens_details": object!({
            "cached_tokens": cached_input_tokens,
            "cache_write_tokens": cache_creation_input_tokens,
        }),
        "output_tokens": output_tokens,
        "output_tokens_details": object!({"reasoning_tokens": reasoning_tokens}),
        "total_tokens": usage.total_tokens(),
    })
}

//! Usage as Anthropic tells it.
//!
//! Its `input_tokens` leaves out what was read from or written to the prompt cache; the gateway's includes both.
//! Source: `anthropic.types.Usage`.

use serde::Deserialize;
use tollgate_chat::{Effect, LossKind, Losses};
use tollgate_terms::Usage;
use tollgate_wire::json::Value;

use crate::fields::{lose_usage, loss, object, typed};
use crate::observe::Count;

/// The wire object. In a stream, `message_start` tells the prompt and each `message_delta` the cumulative rest.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
pub(crate) struct WireUsage {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    cache_read_input_tokens: Count,
    #[serde(default)]
    cache_creation_input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
struct OutputDetails {
    #[serde(default)]
    thinking_tokens: Count,
}

/// What the gateway's usage has room for.
const KNOWN: [&str; 5] = [
    "input_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
    "output_tokens_details/thinking_tokens",
];

impl WireUsage {
    /// Reads the object. What it tells beside the numbers above is recorded in `losses`.
    pub(crate) fn read(usage: &Value, losses: &mut Losses) -> Option<Self> {
        let told = |key: &str| usage.get(key).and_then(Value::as_text);
        if told("service_tier").is_some_and(|tier| tier != "standard") {
            losses.push_once(loss("/usage/service_tier", LossKind::ServiceTier, Effect::Cost));
        }
        let mut known = KNOWN.to_vec();
        known.push("service_tier");
        for (key, usual) in [("inference_geo", "not_available"), ("speed", "standard")] {
            if told(key).is_some_and(|word| word == usual) {
                known.push(key);
            }
        }
        lose_usage(usage, &known, losses);
        typed(usage)
    }

    /// The usage, with `before` for what this object does not tell: numbers are cumulative and never summed.
    pub(crate) fn usage(&self, before: Option<Usage>) -> Option<Usage> {
        let told = [
            self.input_tokens,
            self.cache_read_input_tokens,
            self.cache_creation_input_tokens,
            self.output_tokens,
        ];
        if told.iter().all(|count| count.value().is_none()) {
            return before;
        }
        let before = before.unwrap_or_default();
        let read = self.cache_read_input_tokens.value().unwrap_or(before.cached_input_tokens);
        let written = self.cache_creation_input_tokens.value().unwrap_or(before.cache_creation_input_tokens);
        let fresh_before = before
            .input_tokens
            .saturating_sub(before.cached_input_tokens)
            .saturating_sub(before.cache_creation_input_tokens);
        let fresh = self.input_tokens.value().unwrap_or(fresh_before);
        let reasoning = self.output_tokens_details.and_then(|details| details.thinking_tokens.value());
        Some(Usage {
            input_tokens: fresh.saturating_add(read).saturating_add(written),
            cached_input_tokens: read,
            cache_creation_input_tokens: written,
            output_tokens: self.output_tokens.value().unwrap_or(before.output_tokens),
            reasoning_tokens: reasoning.unwrap_or(before.reasoning_tokens),
            provider_total_tokens: None,
        })
    }
}

/// The usage, as answers and the last event of a stream tell it.
pub(crate) fn encode_usage(usage: &Usage) -> Value {
    let Usage {
        input_tokens,
        cached_input_tokens,
        cache_creation_input_tokens,
        output_tokens,
        reasoning_tokens,
        provider_total_tokens: _,
    } = *usage;
    let fresh = input_tokens.saturating_sub(cached_input_tokens).saturating_sub(cache_creation_input_tokens);
    let mut wire = object!({
        "input_tokens": fresh,
        "cache_creation_input_tokens": cache_creation_input_tokens,
        "cache_read_input_tokens": cached_input_tokens,
        "output_tokens": output_tokens,
    });
    if reasoning_tokens > 0
        && let Some(wire) = wire.as_object_mut()
    {
        wire.insert("output_tokens_details", object!({"thinking_tokens": reasoning_tokens}));
    }
    wire
}

//! Usage as Gemini tells it.
//!
//! Source: `google.genai.types.GenerateContentResponseUsageMetadata`. Its `candidatesTokenCount` leaves out the thoughts.

use tollgate_chat::{Effect, LossKind, Losses};
use tollgate_terms::Usage;
use tollgate_wire::json::{Map, Value};

use super::observe::WireUsage;
use crate::fields::{loss, object, tells, typed};

/// What the gateway's usage has room for.
const KNOWN: [&str; 6] = [
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "totalTokenCount",
];

/// The usage. What it tells beside the numbers that the hub has is recorded in `losses`.
pub(super) fn decode_usage(told: &Value, losses: &mut Losses) -> Option<Usage> {
    for (key, value) in told.as_object().into_iter().flat_map(Map::iter) {
        let is_usual = KNOWN.iter().any(|known| key == known) || value == "ON_DEMAND" || is_all_text(value);
        if !is_usual && tells(value) {
            losses.push_once(loss(format!("/usageMetadata/{key}"), LossKind::Usage, Effect::Cost));
        }
    }
    typed::<WireUsage>(told)?.usage()
}

/// Whether details by modality say no more than their sum.
fn is_all_text(details: &Value) -> bool {
    let mut details = details.as_array().into_iter().flatten();
    details.next().is_some_and(|detail| detail.get("modality").is_some_and(|modality| modality == "TEXT"))
        && details.next().is_none()
}

/// The usage, as answers and the last event of a stream tell it.
pub(super) fn encode_usage(usage: Usage, losses: &mut Losses) -> Value {
    let Usage {
        input_tokens,
        cached_input_tokens,
        cache_creation_input_tokens,
        output_tokens,
        reasoning_tokens,
        provider_total_tokens,
    } = usage;
    if cache_creation_input_tokens > 0 {
        let pointer = "/usage/cache_creation_input_tokens";
        losses.push_once(loss(pointer, LossKind::Usage, Effect::Cost));
    }
    let thoughts = reasoning_tokens.min(output_tokens);
    let total = provider_total_tokens.unwrap_or_else(|| input_tokens.saturating_add(output_tokens));
    let mut told = object!({
        "promptTokenCount": input_tokens,
        "candidatesTokenCount": output_tokens - thoughts,
        "totalTokenCount": total,
    });
    for (key, count) in [("cachedContentTokenCount", cached_input_tokens), ("thoughtsTokenCount", thoughts)] {
        if let Some(told) = told.as_object_mut().filter(|_| count > 0) {
            told.insert(key.to_owned(), count.into());
        }
    }
    told
}

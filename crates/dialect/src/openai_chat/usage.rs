//! Usage as OpenAI tells it.
//!
//! Its own convention is the gateway's: `prompt_tokens` includes cached ones, `completion_tokens` includes reasoning.
//! Source: `openai.types.CompletionUsage`.

use serde::Deserialize;
use tollgate_chat::Losses;
use tollgate_terms::Usage;
use tollgate_wire::json::{Map, Value};

use crate::fields::{Members, lose_usage, typed};
use crate::observe::Count;

/// The wire object, as whole answers and the last event of a stream carry it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct WireUsage {
    #[serde(default)]
    prompt_tokens: Count,
    #[serde(default)]
    completion_tokens: Count,
    #[serde(default)]
    total_tokens: Count,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Debug, Default, Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Count,
    /// Not OpenAI's: compatible servers in front of Anthropic models tell it.
    #[serde(default)]
    cache_creation_input_tokens: Count,
}

#[derive(Debug, Default, Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Count,
}

/// What the gateway's usage has room for.
const KNOWN: [&str; 6] = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details/cached_tokens",
    "prompt_tokens_details/cache_creation_input_tokens",
    "completion_tokens_details/reasoning_tokens",
];

impl WireUsage {
    /// Reads the object. What it tells beside the numbers above is recorded in `losses`.
    pub(crate) fn read(usage: &Value, losses: &mut Losses) -> Option<Self> {
        lose_usage(usage, &KNOWN, losses);
        typed(usage)
    }

    /// Whether the object tells what the answer took, alone or in a total. Without it, it is not the last word.
    pub(crate) fn tells_answer(&self) -> bool {
        self.completion_tokens.value().is_some() || self.total_tokens.value().is_some()
    }

    /// The usage, if the object tells any.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let (prompt, completion, total) =
            (self.prompt_tokens.value(), self.completion_tokens.value(), self.total_tokens.value());
        if prompt.is_none() && completion.is_none() && total.is_none() {
            return None;
        }
        let prompt_details = self.prompt_tokens_details.as_ref();
        let count = |count: Option<Count>| count.and_then(Count::value).unwrap_or(0);
        // Where only the total is told, what it holds is the prompt: embeddings do so.
        let input_tokens =
            prompt.unwrap_or_else(|| total.unwrap_or(0).saturating_sub(completion.unwrap_or(0)));
        Some(Usage {
            input_tokens,
            cached_input_tokens: count(prompt_details.map(|details| details.cached_tokens)),
            cache_creation_input_tokens: count(
                prompt_details.map(|details| details.cache_creation_input_tokens),
            ),
            // Where only the answer is missing, it is the rest of the total.
            output_tokens: completion.unwrap_or_else(|| total.unwrap_or(0).saturating_sub(input_tokens)),
            reasoning_tokens: count(
                self.completion_tokens_details.as_ref().map(|details| details.reasoning_tokens),
            ),
            provider_total_tokens: total,
        })
    }
}

/// The usage, as answers and the last chunk of a stream tell it.
pub(crate) fn encode_usage(usage: &Usage) -> Value {
    let Usage {
        input_tokens,
        cached_input_tokens,
        cache_creation_input_tokens,
        output_tokens,
        reasoning_tokens,
        provider_total_tokens: _,
    } = *usage;
    // Of other providers nobody knows whether a zero was counted or not: it is not said.
    let told = |members: &[(&str, u64)]| {
        let told = members.iter().filter(|(_, count)| *count > 0);
        let told: Map = told.map(|(key, count)| (*key, Value::from(*count))).collect();
        (!told.is_empty()).then_some(Value::Object(told))
    };
    let prompt = told(&[
        ("cached_tokens", cached_input_tokens),
        ("cache_creation_input_tokens", cache_creation_input_tokens),
    ]);
    let mut wire = Members::default();
    wire.set("prompt_tokens", Some(input_tokens));
    wire.set("completion_tokens", Some(output_tokens));
    wire.set("total_tokens", Some(usage.total_tokens()));
    wire.set("prompt_tokens_details", prompt);
    wire.set("completion_tokens_details", told(&[("reasoning_tokens", reasoning_tokens)]));
    wire.value()
}

//! Gemini's answers, seen in passing. A stream's events have the shape of the whole answer; each tells the usage so far, and
//! the one with a `finishReason` is the last of its candidate.
//!
//! Source: `google.genai.types.GenerateContentResponse`.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tollgate_terms::Usage;
use tollgate_wire::json;

use crate::observe::{Count, Seen, Tally, string_bytes, text_bytes};

/// Members that hold answer text.
pub(crate) const TEXTS: [&[u8]; 1] = [b"text"];

/// `usageMetadata`.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WireUsage {
    prompt_token_count: Count,
    tool_use_prompt_token_count: Count,
    cached_content_token_count: Count,
    candidates_token_count: Count,
    thoughts_token_count: Count,
    total_token_count: Count,
}

impl WireUsage {
    /// The usage, if the object tells any. `promptTokenCount` includes what was cached; `candidatesTokenCount` leaves out the
    /// thoughts, and `promptTokenCount` the results of tools that the provider ran.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let (prompt, candidates) = (self.prompt_token_count.value(), self.candidates_token_count.value());
        if prompt.is_none() && candidates.is_none() {
            return None;
        }
        let thoughts = self.thoughts_token_count.value().unwrap_or(0);
        let tools = self.tool_use_prompt_token_count.value().unwrap_or(0);
        Some(Usage {
            input_tokens: prompt.unwrap_or(0).saturating_add(tools),
            cached_input_tokens: self.cached_content_token_count.value().unwrap_or(0),
            cache_creation_input_tokens: 0,
            output_tokens: candidates.unwrap_or(0).saturating_add(thoughts),
            reasoning_tokens: thoughts,
            provider_total_tokens: self.total_token_count.value(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow, default)]
    model_version: Option<Cow<'a, str>>,
    #[serde(default)]
    usage_metadata: Option<WireUsage>,
    #[serde(default)]
    error: Option<IgnoredAny>,
    #[serde(default)]
    candidates: Option<Vec<Candidate>>,
    #[serde(default)]
    prompt_feedback: Option<PromptFeedback>,
    /// The answer of `countTokens`.
    #[serde(default)]
    total_tokens: Count,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    #[serde(default)]
    finish_reason: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback {
    #[serde(default)]
    block_reason: Option<IgnoredAny>,
}

/// Sees a whole answer.
pub(crate) fn body(tally: &mut Tally, body: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<Body<'_>>(body) {
        tally.serve(read.model_version.as_deref());
        let counted = read.total_tokens.value();
        let counted = counted.map(|input_tokens| Usage { input_tokens, ..Usage::default() });
        tally.finish(read.usage_metadata.and_then(|usage| usage.usage()).or(counted));
    }
    if tally.usage.is_none() {
        tally.output(text_bytes(body, &TEXTS));
    }
}

/// Sees one event.
pub(crate) fn event(tally: &mut Tally, data: &[u8]) -> Seen {
    let mut text = 0;
    for (key, value) in json::members(data) {
        match key {
            b"text" => text += string_bytes(value),
            // Calls of functions are output too, and their arguments an object.
            b"functionCall" => text += 1,
            _ => {}
        }
    }
    let Ok(read) = serde_json::from_slice::<Body<'_>>(data) else { return Seen::Other };
    if read.error.is_some() {
        return Seen::Error;
    }
    tally.serve(read.model_version.as_deref());
    tally.output(text);
    if let Some(usage) = read.usage_metadata.and_then(|usage| usage.usage()) {
        tally.usage = Some(usage);
    }
    let ends = read.candidates.iter().flatten().any(|candidate| candidate.finish_reason.is_some());
    if ends || read.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some()) {
        tally.is_complete = true;
    }
    tally.usage_is_final = tally.is_complete && tally.usage.is_some();
    Seen::Content
}

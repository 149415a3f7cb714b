//! OpenAI's responses, seen in passing: the newer usage object, and streams whose events name their type.
//!
//! Source: `openai.types.responses.ResponseUsage` and `ResponseStreamEvent`.

use std::borrow::Cow;

use serde::Deserialize;
use tollgate_terms::Usage;

use crate::observe::{Count, Seen, Tally, TypedEvent, text_bytes};

/// Members that hold answer text.
const TEXTS: [&[u8]; 3] = [b"text", b"arguments", b"refusal"];

/// The newer usage object, which images and audio share.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct WireUsage {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
    #[serde(default)]
    total_tokens: Count,
    #[serde(default)]
    input_tokens_details: Option<InputDetails>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Debug, Default, Deserialize)]
struct InputDetails {
    #[serde(default)]
    cached_tokens: Count,
    #[serde(default)]
    cache_write_tokens: Count,
}

#[derive(Debug, Default, Deserialize)]
struct OutputDetails {
    #[serde(default)]
    reasoning_tokens: Count,
}

impl WireUsage {
    /// The usage, if the object tells any. Its convention is the gateway's.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let (input, output) = (self.input_tokens.value(), self.output_tokens.value());
        if input.is_none() && output.is_none() {
            return None;
        }
        let details = self.input_tokens_details.as_ref();
        let cached = details.and_then(|details| details.cached_tokens.value());
        let written = details.and_then(|details| details.cache_write_tokens.value());
        let reasoning =
            self.output_tokens_details.as_ref().and_then(|details| details.reasoning_tokens.value());
        Some(Usage {
            input_tokens: input.unwrap_or(0),
            cached_input_tokens: cached.unwrap_or(0),
            cache_creation_input_tokens: written.unwrap_or(0),
            output_tokens: output.unwrap_or(0),
            reasoning_tokens: reasoning.unwrap_or(0),
            provider_total_tokens: self.total_tokens.value(),
        })
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    usage: Option<WireUsage>,
    /// The answer of `input_tokens`.
    #[serde(default)]
    input_tokens: Count,
}

/// Sees a whole answer.
pub(crate) fn body(tally: &mut Tally, body: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<Body<'_>>(body) {
        tally.serve(read.model.as_deref());
        let counted = read.input_tokens.value();
        let counted = counted.map(|input_tokens| Usage { input_tokens, ..Usage::default() });
        tally.finish(read.usage.and_then(|usage| usage.usage()).or(counted));
    }
    // The last event of a stream holds once more what its deltas have told.
    if tally.usage.is_none() && tally.output_bytes == 0 {
        tally.output(text_bytes(body, &TEXTS));
    }
}

/// Sees one event.
pub(crate) fn event(tally: &mut Tally, data: &[u8]) -> Seen {
    let Ok(event) = serde_json::from_slice::<TypedEvent<'_>>(data) else { return Seen::Other };
    match event.kind.as_ref() {
        "error" => Seen::Error,
        "response.completed" | "response.incomplete" | "response.failed" => {
            if let Some(response) = event.response {
                body(tally, response.get().as_bytes());
            }
            tally.is_complete = true;
            if event.kind == "response.failed" { Seen::Error } else { Seen::Terminal }
        }
        kind if kind.ends_with(".delta") => {
            tally.output(event.delta.map_or(0, |delta| delta.get().len().saturating_sub(2)));
            Seen::Content
        }
        // Nothing has been answered yet; an error may still follow.
        "response.created" | "response.queued" | "response.in_progress" => Seen::Other,
        kind if kind.starts_with("response.") => Seen::Content,
        _ => Seen::Other,
    }
}

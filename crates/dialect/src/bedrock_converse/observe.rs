//! Converse, seen in passing. Events come as the framing tells them: the event's type on its event line, the payload as its data.
//!
//! Source: botocore, `bedrock-runtime` service model, `ConverseResponse` and `ConverseStreamOutput`.

use serde::Deserialize;
use tollgate_terms::Usage;
use tollgate_wire::sse::Frame;

use crate::observe::{Count, Seen, Tally, text_bytes};

/// Members that hold answer text, in an event or a body.
pub(crate) const TEXTS: [&[u8]; 2] = [b"text", b"input"];

/// `TokenUsage`.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WireUsage {
    input_tokens: Count,
    output_tokens: Count,
    total_tokens: Count,
    cache_read_input_tokens: Count,
    cache_write_input_tokens: Count,
}

impl WireUsage {
    /// The usage, if the object tells any. Its `inputTokens` leaves out what was read from or written to the cache.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let (input, output) = (self.input_tokens.value(), self.output_tokens.value());
        if input.is_none() && output.is_none() {
            return None;
        }
        let read = self.cache_read_input_tokens.value().unwrap_or(0);
        let written = self.cache_write_input_tokens.value().unwrap_or(0);
        Some(Usage {
            input_tokens: input.unwrap_or(0).saturating_add(read).saturating_add(written),
            cached_input_tokens: read,
            cache_creation_input_tokens: written,
            output_tokens: output.unwrap_or(0),
            reasoning_tokens: 0,
            provider_total_tokens: self.total_tokens.value(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    usage: Option<WireUsage>,
    /// The answer of `CountTokens`.
    #[serde(default)]
    input_tokens: Count,
}

/// Sees a whole answer.
pub(crate) fn body(tally: &mut Tally, body: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<Body>(body) {
        let counted = read.input_tokens.value();
        let counted = counted.map(|input_tokens| Usage { input_tokens, ..Usage::default() });
        tally.finish(read.usage.and_then(|usage| usage.usage()).or(counted));
    }
    if tally.usage.is_none() {
        tally.output(text_bytes(body, &TEXTS));
    }
}

/// Sees one event. The usage follows the end of the message, in the last event of all.
pub(crate) fn event(tally: &mut Tally, frame: &Frame, data: &[u8]) -> Seen {
    match frame.event() {
        Some(b"messageStart" | b"contentBlockStart" | b"contentBlockStop") => Seen::Content,
        Some(b"contentBlockDelta") => {
            tally.output(text_bytes(data, &TEXTS));
            Seen::Content
        }
        Some(b"messageStop") => {
            tally.is_complete = true;
            Seen::Content
        }
        Some(b"metadata") => {
            let read = serde_json::from_slice::<Body>(data).ok();
            tally.finish(read.and_then(|read| read.usage).and_then(|usage| usage.usage()));
            Seen::Terminal
        }
        Some(kind) if kind == b"error" || kind.ends_with(b"Exception") => Seen::Error,
        _ => Seen::Other,
    }
}

//! Messages, seen in passing.

use std::borrow::Cow;

use serde::Deserialize;
use tollgate_terms::Usage;
use tollgate_wire::sse::Frame;

use super::usage::WireUsage;
use crate::observe::{Count, Seen, Tally, text_bytes};

/// Members that hold answer text, in an event or a body.
pub(crate) const TEXTS: [&[u8]; 3] = [b"text", b"thinking", b"partial_json"];

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    message: Option<Body<'a>>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct CountBody {
    #[serde(default)]
    input_tokens: Count,
}

/// Sees a whole message.
pub(crate) fn body(tally: &mut Tally, body: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<Body<'_>>(body) {
        tally.serve(read.model.as_deref());
        tally.finish(read.usage.and_then(|usage| usage.usage(None)));
    }
    if tally.usage.is_none() {
        tally.output(text_bytes(body, &TEXTS));
    }
}

/// Sees the answer of `count_tokens`.
pub(crate) fn count_body(tally: &mut Tally, body: &[u8]) {
    let counted = serde_json::from_slice::<CountBody>(body).ok().and_then(|read| read.input_tokens.value());
    tally.finish(counted.map(|input_tokens| Usage { input_tokens, ..Usage::default() }));
}

/// Sees one event.
pub(crate) fn event(tally: &mut Tally, frame: &Frame, data: &[u8]) -> Seen {
    // Text comes by the thousand and is not parsed; its event line says what it is.
    if frame.event() == Some(b"content_block_delta") {
        tally.output(text_bytes(data, &TEXTS));
        return Seen::Content;
    }
    let Ok(read) = serde_json::from_slice::<Event<'_>>(data) else { return Seen::Other };
    match read.kind.as_ref() {
        "message_start" => {
            if let Some(message) = read.message {
                tally.serve(message.model.as_deref());
                tally.usage = message.usage.and_then(|usage| usage.usage(tally.usage));
            }
            Seen::Content
        }
        "message_delta" => {
            tally.usage = read.usage.unwrap_or_default().usage(tally.usage);
            tally.usage_is_final = tally.usage.is_some();
            Seen::Content
        }
        "message_stop" => {
            tally.is_complete = true;
            Seen::Terminal
        }
        "content_block_delta" => {
            tally.output(text_bytes(data, &TEXTS));
            Seen::Content
        }
        "content_block_start" | "content_block_stop" => Seen::Content,
        "error" => Seen::Error,
        _ => Seen::Other,
    }
}

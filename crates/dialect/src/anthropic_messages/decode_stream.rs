//! A streamed message, read into the hub event by event.
//!
//! Source: `anthropic.types.RawMessageStreamEvent`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use tollgate_chat::{BlockKind, BlockStart, Delta, Effect, Event, LossKind, Losses, Origin};
use tollgate_terms::Usage;
use tollgate_wire::json::{Text, Value};
use tollgate_wire::sse::Frame;

use super::answer::{decode_block, stop_reason};
use super::citations;
use super::usage::WireUsage;
use crate::Unreadable;
use crate::fields::loss;
use crate::translate::{lose_unreadable, read_event};
use crate::words::DecodeStream;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Wire {
    MessageStart {
        message: Message,
    },
    ContentBlockStart {
        index: usize,
        content_block: Value,
    },
    ContentBlockDelta {
        index: usize,
        delta: WireDelta,
    },
    ContentBlockStop {
        index: usize,
    },
    MessageDelta {
        #[serde(default)]
        delta: MessageDelta,
        #[serde(default)]
        usage: Option<Value>,
    },
    MessageStop,
    Ping,
    Error {
        #[serde(default)]
        error: WireError,
    },
    /// The API adds events; clients are to pass over what they do not know.
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    container: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireDelta {
    TextDelta {
        text: Text,
    },
    InputJsonDelta {
        partial_json: Text,
    },
    ThinkingDelta {
        thinking: Text,
    },
    SignatureDelta {
        signature: Text,
    },
    CitationsDelta {
        citation: Value,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Default, Deserialize)]
struct MessageDelta {
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    stop_sequence: Option<String>,
    #[serde(default)]
    stop_details: Option<IgnoredAny>,
    #[serde(default)]
    container: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct WireError {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    message: String,
}

/// Reads one stream.
#[derive(Debug, Default)]
pub(crate) struct StreamDecoder {
    usage: Option<Usage>,
    has_ended: bool,
}

impl StreamDecoder {
    /// A decoder for one stream.
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

impl DecodeStream for StreamDecoder {
    fn frame(&mut self, frame: &Frame, out: &mut Vec<Event>, losses: &mut Losses) -> Result<(), Unreadable> {
        let data = frame.data();
        if self.has_ended {
            return Ok(());
        }
        if data.trim_ascii().is_empty() {
            out.push(Event::Ping);
            return Ok(());
        }
        let Some(wire) = read_event::<Wire>(&data)? else {
            if frame.event().is_some_and(is_needed) {
                return Err(Unreadable("an event without its data".to_owned()));
            }
            lose_unreadable(losses);
            return Ok(());
        };
        match wire {
            Wire::MessageStart { message } => {
                lose_container(message.container.as_ref(), losses);
                self.usage = message.usage.and_then(|usage| WireUsage::read(&usage, losses)?.usage(None));
                let id = message.id.unwrap_or_default();
                out.push(Event::Start { id, model: message.model, created_s: None, usage: self.usage });
            }
            Wire::ContentBlockStart { index, content_block } => {
                block_start(index, content_block, out, losses);
            }
            Wire::ContentBlockDelta { index, delta } => out.extend(block_delta(index, delta, losses)),
            Wire::ContentBlockStop { index } => out.push(Event::BlockStop { choice: 0, block: index }),
            Wire::MessageDelta { delta, usage } => {
                lose_container(delta.container.as_ref(), losses);
                if delta.stop_details.is_some() {
                    losses.push_once(loss("/stop_details", LossKind::StopReason, Effect::Meaning));
                }
                let told = usage.and_then(|usage| WireUsage::read(&usage, losses));
                if let Some(usage) = told.and_then(|usage| usage.usage(self.usage)) {
                    self.usage = Some(usage);
                    out.push(Event::Usage(usage));
                }
                if delta.stop_reason.is_some() {
                    let reason = stop_reason(delta.stop_reason.as_deref(), delta.stop_sequence);
                    out.push(Event::Stop { choice: 0, reason });
                }
            }
            Wire::MessageStop => {
                self.has_ended = true;
                out.push(Event::End);
            }
            Wire::Ping => out.push(Event::Ping),
            Wire::Error { error } => {
                self.has_ended = true;
                out.push(Event::Error { kind: error.kind, message: error.message });
            }
            Wire::Unknown => losses.push_once(loss("", LossKind::UnknownField, Effect::Meaning)),
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<Event>) -> Result<(), Unreadable> {
        if self.has_ended {
            Ok(())
        } else {
            Err(Unreadable("the stream ended before the message did".to_owned()))
        }
    }
}

/// Whether an answer cannot be whole without an event that is called so on its event line.
fn is_needed(event: &[u8]) -> bool {
    const NEEDED: [&[u8]; 7] = [
        b"message_start",
        b"content_block_start",
        b"content_block_delta",
        b"content_block_stop",
        b"message_delta",
        b"message_stop",
        b"error",
    ];
    NEEDED.contains(&event)
}

fn lose_container(container: Option<&IgnoredAny>, losses: &mut Losses) {
    if container.is_some() {
        losses.push_once(loss("/container", LossKind::ServerTool, Effect::Meaning));
    }
}

/// A block begins; what it holds already is told as its first delta.
fn block_start(block: usize, content: Value, out: &mut Vec<Event>, losses: &mut Losses) {
    let mut deltas = Vec::new();
    let start = match decode_block(&Origin::of_item("content", block), content, losses) {
        BlockKind::Text { text, citations } => {
            deltas.push(Delta::Text(text));
            deltas.extend(citations.into_iter().map(Delta::Citation));
            BlockStart::Text
        }
        BlockKind::Thinking { text, signature } => {
            deltas.push(Delta::Text(text));
            deltas.extend(signature.map(Delta::Signature));
            BlockStart::Thinking
        }
        BlockKind::RedactedThinking { data } => BlockStart::RedactedThinking { data },
        BlockKind::ToolUse { id, name, input } => {
            // The API begins with an empty object and tells the input in deltas; others tell it here.
            if input.as_object().is_some_and(|input| !input.is_empty()) {
                deltas.push(Delta::Input(Text::of_document(&input)));
            }
            BlockStart::ToolUse { id, name }
        }
        BlockKind::Foreign { name, value: _ } => BlockStart::Foreign { name },
        BlockKind::Refusal { .. }
        | BlockKind::ToolResult { .. }
        | BlockKind::Image { .. }
        | BlockKind::Document { .. }
        | BlockKind::Audio { .. } => return,
    };
    out.push(Event::BlockStart { choice: 0, block, start });
    let deltas = deltas.into_iter().filter(|delta| !matches!(delta, Delta::Text(text) if text.is_empty()));
    out.extend(deltas.map(|delta| Event::BlockDelta { choice: 0, block, delta }));
}

fn block_delta(block: usize, delta: WireDelta, losses: &mut Losses) -> Option<Event> {
    let delta = match delta {
        WireDelta::TextDelta { text } | WireDelta::ThinkingDelta { thinking: text } => Delta::Text(text),
        WireDelta::InputJsonDelta { partial_json } => Delta::Input(partial_json),
        WireDelta::SignatureDelta { signature } => Delta::Signature(signature),
        WireDelta::CitationsDelta { citation } => {
            let pointer = format!("/content/{block}/citations");
            Delta::Citation(citations::decode_one(&pointer, &citation, losses)?)
        }
        WireDelta::Unknown => {
            let pointer = format!("/content/{block}");
            losses.push_once(loss(pointer, LossKind::UnknownField, Effect::Meaning));
            return None;
        }
    };
    Some(Event::BlockDelta { choice: 0, block, delta })
}

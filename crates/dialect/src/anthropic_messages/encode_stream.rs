//! A streamed answer, said as the events of a message.
//!
//! Source: `anthropic.types.RawMessageStreamEvent`. Blocks come one after the other, numbered without gaps. The hub may mix the
//! deltas of several blocks, so what belongs to a later block waits until the one before it has stopped.

use std::collections::VecDeque;

use bytes::BytesMut;
use tollgate_chat::{BlockStart, Citation, CitedSource, Delta, Effect, Event, LossKind, Losses, StopReason};
use tollgate_terms::{Dialect, Usage};
use tollgate_wire::json::{Map, Value};
use tollgate_wire::sse;

use super::answer::stop_words;
use super::citations;
use super::usage::encode_usage;
use crate::AnswerContext;
use crate::error::encode_told;
use crate::fields::{loss, object};
use crate::ids::CallIds;
use crate::words::EncodeStream;

/// Most sources of all of a text: each is told again with each of its blocks.
const OF_ALL_MAX: usize = 32;

/// Says one stream.
#[derive(Debug)]
pub(crate) struct StreamEncoder {
    context: AnswerContext,
    usage: Option<Usage>,
    stop: Option<StopReason>,
    /// Blocks that have not been said to the end: the first one is being said, the others wait.
    blocks: VecDeque<Pending>,
    /// The number of the next block to begin.
    next_index: usize,
    ids: CallIds,
    has_begun: bool,
    has_ended: bool,
}

/// A block that goes on, or waits for its turn.
#[derive(Debug)]
struct Pending {
    /// Its number in the hub.
    block: usize,
    start: BlockStart,
    /// Its number in the message, once it has begun.
    index: Option<usize>,
    /// What waits to be said.
    deltas: Vec<Delta>,
    text: TextSaid,
    has_stopped: bool,
}

/// A text as far as it has been said. What comes behind a source of a part of it is a block of its own: a source belongs to all of its
/// block.
#[derive(Debug, Default)]
struct TextSaid {
    /// Characters in the blocks before the one that goes on.
    chars_before: u64,
    /// Characters in the one that goes on.
    chars: u64,
    /// What all of the text rests on.
    of_all: Vec<Citation>,
    /// Whether the block that goes on has a source that what comes next does not have.
    is_cited: bool,
}

impl TextSaid {
    /// Whether a piece of the text begins a block. One that shows nothing does not: the API takes no block back that is blank.
    fn parts(&self, delta: &Delta) -> bool {
        self.is_cited && matches!(delta, Delta::Text(text) if !text.is_blank())
    }

    /// Begins another block.
    fn part(&mut self) {
        self.chars_before += self.chars;
        (self.chars, self.is_cited) = (0, false);
    }

    /// A citation as one of the block that goes on; it keeps its span where that is another part.
    fn cite(&mut self, mut citation: Citation) -> Citation {
        match &citation.span {
            None => {
                let has_room = self.of_all.len() < OF_ALL_MAX;
                if has_room {
                    self.of_all.push(citation.clone());
                }
                if self.chars_before > 0 || !has_room {
                    citation.span = Some(0..self.chars_before + self.chars);
                }
            }
            Some(span) => {
                self.is_cited = true;
                if *span == (self.chars_before..self.chars_before + self.chars) {
                    citation.span = None;
                }
            }
        }
        citation
    }
}

impl StreamEncoder {
    /// An encoder for one stream.
    pub(crate) fn new(context: AnswerContext) -> Self {
        Self {
            ids: CallIds::new(&context.fallback_id),
            context,
            usage: None,
            stop: None,
            blocks: VecDeque::new(),
            next_index: 0,
            has_begun: false,
            has_ended: false,
        }
    }
}

impl EncodeStream for StreamEncoder {
    fn event(&mut self, event: Event, out: &mut BytesMut, losses: &mut Losses) {
        if self.has_ended {
            return;
        }
        match event {
            Event::Start { id, model, created_s: _, usage } => {
                self.usage = usage;
                self.begin(id, model, out);
            }
            Event::BlockStart { choice, .. } | Event::BlockDelta { choice, .. } if choice > 0 => {
                losses.push_once(loss("/choices/1".to_owned(), LossKind::Choices, Effect::Meaning));
            }
            Event::BlockStop { choice, .. } | Event::Stop { choice, .. } if choice > 0 => {}
            Event::BlockStart { choice: _, block, start: BlockStart::Foreign { name } } => {
                losses.push_once(loss(
                    format!("/choices/0/{block}/{name}"),
                    LossKind::ServerTool,
                    Effect::Meaning,
                ));
            }
            Event::BlockStart { choice: _, block, start } => {
                let start = match start {
                    BlockStart::ToolUse { id, name } => BlockStart::ToolUse { id: self.ids.next(id), name },
                    other => other,
                };
                let pending = Pending {
                    block,
                    start,
                    index: None,
                    deltas: Vec::new(),
                    text: TextSaid::default(),
                    has_stopped: false,
                };
                self.blocks.push_back(pending);
                self.say(out, losses);
            }
            Event::BlockDelta { choice: _, block: _, delta: Delta::Logprobs(_) } => {
                losses.push_once(loss("/choices/0/logprobs", LossKind::Logprobs, Effect::Meaning));
            }
            Event::BlockDelta { choice: _, block, delta } => {
                if let Some(pending) = self.blocks.iter_mut().find(|pending| pending.block == block) {
                    pending.deltas.push(delta);
                    self.say(out, losses);
                } else if matches!(delta, Delta::Citation(_)) {
                    // Nothing can be told of a block that has been said to its end.
                    let pointer = format!("/choices/0/{block}/annotations");
                    losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
                }
            }
            Event::BlockStop { choice: _, block } => {
                if let Some(pending) = self.blocks.iter_mut().find(|pending| pending.block == block) {
                    pending.has_stopped = true;
                    self.say(out, losses);
                }
            }
            // The usage may come after the reason, and both are one event here.
            Event::Stop { choice: _, reason } => self.stop = Some(reason),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Ping if self.has_begun => write(out, "ping", &object!({"type": "ping"})),
            Event::Ping => {}
            Event::Error { kind, message } => self.error(&kind, &message, out),
            Event::End => self.end(out, losses),
        }
    }
}

impl StreamEncoder {
    fn begin(&mut self, id: String, model: Option<String>, out: &mut BytesMut) {
        if self.has_begun {
            return;
        }
        self.has_begun = true;
        let id = if id.is_empty() { self.context.fallback_id.clone() } else { id };
        self.ids = CallIds::new(&id);
        let model = model.unwrap_or_else(|| self.context.requested_model.as_str().to_owned());
        let message = object!({
            "id": id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": Value::Array(Vec::new()),
            "stop_reason": Value::Null,
            "stop_sequence": Value::Null,
            "usage": encode_usage(&self.usage.unwrap_or_default()),
        });
        write(out, "message_start", &object!({"type": "message_start", "message": message}));
    }

    /// Says all that can be said: the first block as far as it is known, the next one when that one has stopped.
    fn say(&mut self, out: &mut BytesMut, losses: &mut Losses) {
        self.begin(String::new(), None, out);
        while let Some(pending) = self.blocks.front_mut() {
            let mut index = match pending.index {
                Some(index) => index,
                None => start(&mut self.next_index, &pending.start, out),
            };
            for delta in std::mem::take(&mut pending.deltas) {
                if pending.text.parts(&delta) {
                    write(
                        out,
                        "content_block_stop",
                        &object!({"type": "content_block_stop", "index": index}),
                    );
                    index = start(&mut self.next_index, &pending.start, out);
                    pending.text.part();
                    for citation in pending.text.of_all.clone() {
                        if let Some(delta) = said_citation(pending.block, citation, losses) {
                            write_delta(index, delta, out);
                        }
                    }
                }
                if let Some(delta) = said(pending, delta, losses) {
                    write_delta(index, delta, out);
                }
            }
            pending.index = Some(index);
            if !pending.has_stopped {
                return;
            }
            write(out, "content_block_stop", &object!({"type": "content_block_stop", "index": index}));
            self.blocks.pop_front();
        }
    }

    fn error(&mut self, kind: &str, message: &str, out: &mut BytesMut) {
        self.has_ended = true;
        let id = &self.context.fallback_id;
        out.extend_from_slice(&encode_told(Dialect::AnthropicMessages, kind, message, id));
    }

    fn end(&mut self, out: &mut BytesMut, losses: &mut Losses) {
        self.begin(String::new(), None, out);
        self.blocks.iter_mut().for_each(|pending| pending.has_stopped = true);
        self.say(out, losses);
        self.has_ended = true;
        let (stop_reason, stop_sequence) =
            stop_words(self.stop.take().unwrap_or(StopReason::EndOfTurn), losses);
        let event = object!({
            "type": "message_delta",
            "delta": object!({"stop_reason": stop_reason, "stop_sequence": stop_sequence}),
            "usage": encode_usage(&self.usage.unwrap_or_default()),
        });
        write(out, "message_delta", &event);
        write(out, "message_stop", &object!({"type": "message_stop"}));
    }
}

/// A block as it begins.
fn begun(start: &BlockStart) -> Value {
    match start {
        BlockStart::Text | BlockStart::Refusal => object!({"type": "text", "text": ""}),
        BlockStart::Thinking => object!({"type": "thinking", "thinking": "", "signature": ""}),
        BlockStart::RedactedThinking { data } => object!({"type": "redacted_thinking", "data": data.clone()}),
        BlockStart::ToolUse { id, name } => {
            object!({
                "type": "tool_use",
                "id": id.as_str(),
                "name": name.as_str(),
                "input": Value::Object(Map::new()),
            })
        }
        BlockStart::Foreign { name } => object!({"type": name.as_str()}),
    }
}

/// Begins a block, which gets the next number.
fn start(next_index: &mut usize, start: &BlockStart, out: &mut BytesMut) -> usize {
    let index = *next_index;
    *next_index += 1;
    let event = object!({"type": "content_block_start", "index": index, "content_block": begun(start)});
    write(out, "content_block_start", &event);
    index
}

fn write_delta(index: usize, delta: Value, out: &mut BytesMut) {
    let event = object!({"type": "content_block_delta", "index": index, "delta": delta});
    write(out, "content_block_delta", &event);
}

fn said_citation(block: usize, citation: Citation, losses: &mut Losses) -> Option<Value> {
    let citation = citations::encode(&format!("/choices/0/{block}/annotations"), citation, losses)?;
    Some(object!({"type": "citations_delta", "citation": citation}))
}

/// More of a block; nothing where it does not fit.
fn said(pending: &mut Pending, delta: Delta, losses: &mut Losses) -> Option<Value> {
    match (&pending.start, delta) {
        (BlockStart::Text, Delta::Citation(citation)) => {
            // What has no words parts no text.
            let is_file = matches!(citation.source, CitedSource::File { .. });
            let citation = if is_file { citation } else { pending.text.cite(citation) };
            said_citation(pending.block, citation, losses)
        }
        (BlockStart::Text | BlockStart::Refusal, Delta::Text(text)) => {
            pending.text.chars += text.as_str().chars().count() as u64;
            Some(object!({"type": "text_delta", "text": text}))
        }
        (BlockStart::Thinking, Delta::Text(text)) => {
            Some(object!({"type": "thinking_delta", "thinking": text}))
        }
        (BlockStart::Thinking, Delta::Signature(signature)) => {
            Some(object!({"type": "signature_delta", "signature": signature}))
        }
        (BlockStart::ToolUse { .. }, Delta::Input(text)) => {
            Some(object!({"type": "input_json_delta", "partial_json": text}))
        }
        (
            _,
            Delta::Text(_) | Delta::Signature(_) | Delta::Input(_) | Delta::Citation(_) | Delta::Logprobs(_),
        ) => None,
    }
}

fn write(out: &mut BytesMut, event: &str, data: &Value) {
    sse::encode(out, Some(event), &data.to_bytes());
}

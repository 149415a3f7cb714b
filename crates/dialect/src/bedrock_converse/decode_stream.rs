//! A streamed answer of `ConverseStream`, read into the hub event by event.
//!
//! Source: botocore, `bedrock-runtime` service model, `ConverseStreamOutput`. Only calls of tools are sure to be told when they begin;
//! other blocks begin with their first delta. The usage follows the end of the message, in an event that some models leave out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tollgate_chat::{BlockStart, Delta, Effect, Event, LossKind, Losses};
use tollgate_wire::json::{Map, Text, Value};
use tollgate_wire::sse::Frame;

use super::answer::{Called, SERVER_CALL, is_framing, service_tier, stop_reason, usage};
use super::citations;
use crate::Unreadable;
use crate::data::base64_bytes;
use crate::fields::{Fields, lose_members, loss};
use crate::translate::{lose_unreadable, read_event};
use crate::with_rest::with_rest;
use crate::words::DecodeStream;

/// Most blocks that are told at the same time; the API tells one after the other.
const OPEN_MAX: usize = 64;

/// Longest reasoning that only the provider can read, which is held until it is whole, in bytes of its base64.
const REDACTED_BYTES_MAX: usize = 1 << 20;

/// `contentBlockStart`, `contentBlockDelta` and `contentBlockStop`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockEvent {
    content_block_index: usize,
    #[serde(default)]
    start: Option<WireStart>,
    #[serde(default)]
    delta: Option<WireDelta>,
}

#[derive(Default)]
struct WireStart {
    tool_use: Option<CallStart>,
    /// What only the provider's own tools and models of images begin.
    rest: Map,
}

with_rest!(WireStart { tool_use: "toolUse" });

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallStart {
    #[serde(default)]
    tool_use_id: Option<String>,
    name: String,
    #[serde(rename = "type", default)]
    kind: Option<String>,
}

#[derive(Default)]
struct WireDelta {
    text: Option<Text>,
    tool_use: Option<CallDelta>,
    reasoning_content: Option<ReasoningDelta>,
    citation: Option<Value>,
    rest: Map,
}

with_rest!(WireDelta {
    text: "text",
    tool_use: "toolUse",
    reasoning_content: "reasoningContent",
    citation: "citation",
});

#[derive(Deserialize)]
struct CallDelta {
    #[serde(default)]
    input: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReasoningDelta {
    #[serde(default)]
    text: Option<Text>,
    #[serde(default)]
    signature: Option<Text>,
    #[serde(default)]
    redacted_content: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageStop {
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    additional_model_response_fields: Option<Value>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// Reads one stream.
#[derive(Debug, Default)]
pub(crate) struct StreamDecoder {
    open: Vec<OpenBlock>,
    /// The number of the next block of the hub.
    next_block: usize,
    /// How much reasoning that only the provider can read has been held.
    redacted_bytes: usize,
    has_called: bool,
    phase: Phase,
}

/// How far the message has been told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    #[default]
    Waiting,
    /// Its blocks are being told.
    Telling,
    /// It is complete, and its usage may follow.
    Stopped,
    /// Nothing follows.
    Ended,
}

/// A block that has begun and not stopped.
#[derive(Debug)]
struct OpenBlock {
    /// Its number in the stream.
    index: usize,
    /// Its number in the hub.
    block: usize,
    kind: OpenKind,
}

#[derive(Debug, PartialEq, Eq)]
enum OpenKind {
    Text,
    Thinking,
    /// What has come of it, in base64. The hub tells it at once, when it has stopped.
    Redacted(Vec<String>),
    Call,
    /// What only the provider's own tools say.
    Foreign,
}

impl DecodeStream for StreamDecoder {
    fn frame(&mut self, frame: &Frame, out: &mut Vec<Event>, losses: &mut Losses) -> Result<(), Unreadable> {
        if self.phase == Phase::Ended {
            return Ok(());
        }
        let data = frame.data();
        match frame.event() {
            Some(b"contentBlockStart" | b"contentBlockDelta" | b"contentBlockStop" | b"messageStop")
                if self.phase == Phase::Stopped =>
            {
                lose_unreadable(losses);
            }
            Some(b"messageStart") if self.phase > Phase::Waiting => lose_unreadable(losses),
            Some(b"messageStart") => {
                self.phase = Phase::Telling;
                out.push(Event::Start { id: String::new(), model: None, created_s: None, usage: None });
            }
            Some(b"contentBlockStart") => self.start(read(&data)?, out)?,
            Some(b"contentBlockDelta") => self.delta(read(&data)?, out, losses)?,
            Some(b"contentBlockStop") => {
                let event: BlockEvent = read(&data)?;
                self.close(|open| open.index == event.content_block_index, out);
            }
            Some(b"messageStop") => {
                let stop: MessageStop = read(&data)?;
                self.close(|_| true, out);
                self.phase = Phase::Stopped;
                let called = if self.has_called { Called::Tools } else { Called::Nothing };
                let reason = stop_reason(
                    stop.stop_reason.as_deref(),
                    called,
                    stop.additional_model_response_fields,
                    losses,
                );
                out.push(Event::Stop { choice: 0, reason });
            }
            // The message is told, whatever is wrong with what stands beside it.
            Some(b"metadata") => match Fields::read_answer(&frame.shared_data(), is_framing) {
                Ok(metadata) => self.metadata(metadata, out, losses),
                Err(_) => lose_unreadable(losses),
            },
            Some(kind) if kind == b"error" || kind.ends_with(b"Exception") => {
                self.phase = Phase::Ended;
                let kind = String::from_utf8_lossy(kind).into_owned();
                let told = read_event::<Failure>(&data).ok().flatten();
                let (own, message) = told.map(|told| (told.kind, told.message)).unwrap_or_default();
                let message = message.unwrap_or_else(|| kind.clone());
                out.push(Event::Error { kind: own.unwrap_or(kind), message });
            }
            // The API adds events; clients are to pass over what they do not know.
            Some(_) => losses.push_once(loss("", LossKind::UnknownField, Effect::Meaning)),
            None if data.trim_ascii().is_empty() => out.push(Event::Ping),
            None => lose_unreadable(losses),
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Unreadable> {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Waiting | Phase::Telling => {
                Err(Unreadable("the stream ended before the message did".to_owned()))
            }
            Phase::Stopped => {
                out.push(Event::End);
                Ok(())
            }
            Phase::Ended => Ok(()),
        }
    }
}

/// The data of an event that the answer cannot be whole without.
fn read<T: DeserializeOwned>(data: &[u8]) -> Result<T, Unreadable> {
    read_event(data)?.ok_or_else(|| Unreadable("an event without its data".to_owned()))
}

impl StreamDecoder {
    fn start(&mut self, event: BlockEvent, out: &mut Vec<Event>) -> Result<(), Unreadable> {
        let index = event.content_block_index;
        let Some(WireStart { tool_use, rest }) = event.start else { return Ok(()) };
        match tool_use {
            Some(CallStart { kind: Some(kind), .. }) if kind == SERVER_CALL => {
                self.begin(index, OpenKind::Foreign, Some(BlockStart::Foreign { name: kind }), out)?;
            }
            Some(CallStart { name, .. }) if name.is_empty() => {
                return Err(Unreadable("a call of a tool without a name".to_owned()));
            }
            Some(CallStart { tool_use_id: id, name, kind: _ }) => {
                self.has_called = true;
                let start = BlockStart::ToolUse { id: id.unwrap_or_default(), name };
                self.begin(index, OpenKind::Call, Some(start), out)?;
            }
            None => {
                let name =
                    rest.into_iter().find(|(_, value)| !value.is_null()).map(|(key, _)| key.into_string());
                if let Some(name) = name.filter(|name| !matches!(name.as_str(), "text" | "reasoningContent"))
                {
                    self.begin(index, OpenKind::Foreign, Some(BlockStart::Foreign { name }), out)?;
                }
            }
        }
        Ok(())
    }

    fn delta(
        &mut self,
        event: BlockEvent,
        out: &mut Vec<Event>,
        losses: &mut Losses,
    ) -> Result<(), Unreadable> {
        let index = event.content_block_index;
        let Some(WireDelta { text, tool_use, reasoning_content, citation, rest }) = event.delta else {
            return Ok(());
        };
        if self.open.iter().any(|open| open.index == index && open.kind == OpenKind::Foreign) {
            // It has been said of its beginning that it is lost.
            return Ok(());
        }
        lose_members(&format!("/content/{index}"), &rest, &[], losses);
        if let Some(text) = text {
            self.more(index, OpenKind::Text, Delta::Text(text), out)?;
        }
        let pointer = || format!("/content/{index}/citation");
        if let Some(citation) = citation.and_then(|told| citations::decode_one(&pointer(), &told, losses)) {
            self.more(index, OpenKind::Text, Delta::Citation(citation), out)?;
        }
        if let Some(ReasoningDelta { text, signature, redacted_content }) = reasoning_content {
            if let Some(text) = text {
                self.more(index, OpenKind::Thinking, Delta::Text(text), out)?;
            }
            if let Some(signature) = signature {
                self.more(index, OpenKind::Thinking, Delta::Signature(signature), out)?;
            }
            if let Some(data) = redacted_content {
                self.redacted(index, data, out)?;
            }
        }
        if let Some(CallDelta { input }) = tool_use {
            let open = self.open.iter().find(|open| open.index == index && open.kind == OpenKind::Call);
            let Some(OpenBlock { block, .. }) = open else {
                return Err(Unreadable("the input of a call that has not begun".to_owned()));
            };
            let delta = Delta::Input(input.unwrap_or_default());
            out.push(Event::BlockDelta { choice: 0, block: *block, delta });
        }
        Ok(())
    }

    fn metadata(&mut self, mut metadata: Fields, out: &mut Vec<Event>, losses: &mut Losses) {
        let told = metadata.take("usage");
        out.extend(told.and_then(|told| usage(&told, losses)).map(Event::Usage));
        // Of the two classes that are bought, a stream cannot tell.
        if service_tier(metadata, losses).is_some_and(|tier| tier != "default") {
            losses.push_once(loss("/serviceTier", LossKind::ServiceTier, Effect::Cost));
        }
        if self.phase == Phase::Stopped {
            self.phase = Phase::Ended;
            out.push(Event::End);
        }
    }

    /// More of a text or of reasoning. A block of another kind with the same number is over, and one that has not begun begins.
    fn more(
        &mut self,
        index: usize,
        kind: OpenKind,
        delta: Delta,
        out: &mut Vec<Event>,
    ) -> Result<(), Unreadable> {
        let open = self.open.iter().find(|open| open.index == index && open.kind == kind);
        let block = match open {
            Some(open) => open.block,
            None => {
                let start = if kind == OpenKind::Text { BlockStart::Text } else { BlockStart::Thinking };
                self.begin(index, kind, Some(start), out)?
            }
        };
        out.push(Event::BlockDelta { choice: 0, block, delta });
        Ok(())
    }

    fn redacted(&mut self, index: usize, data: String, out: &mut Vec<Event>) -> Result<(), Unreadable> {
        let open = self.open.iter_mut().find(|open| open.index == index);
        let Some(OpenBlock { kind: OpenKind::Redacted(pieces), .. }) = open else {
            self.begin(index, OpenKind::Redacted(vec![data]), None, out)?;
            return Ok(());
        };
        self.redacted_bytes = self.redacted_bytes.saturating_add(data.len());
        if self.redacted_bytes > REDACTED_BYTES_MAX {
            return Err(Unreadable("more reasoning than can be held".to_owned()));
        }
        pieces.push(data);
        Ok(())
    }

    /// Begins a block. Whatever had its number is over.
    fn begin(
        &mut self,
        index: usize,
        kind: OpenKind,
        start: Option<BlockStart>,
        out: &mut Vec<Event>,
    ) -> Result<usize, Unreadable> {
        self.phase = Phase::Telling;
        self.close(|open| open.index == index, out);
        if self.open.len() == OPEN_MAX {
            return Err(Unreadable("more blocks at the same time than can be".to_owned()));
        }
        let block = self.next_block;
        self.next_block += 1;
        self.open.push(OpenBlock { index, block, kind });
        out.extend(start.map(|start| Event::BlockStart { choice: 0, block, start }));
        Ok(block)
    }

    /// Ends the blocks that are meant.
    fn close(&mut self, is_meant: impl Fn(&OpenBlock) -> bool, out: &mut Vec<Event>) {
        self.open.retain_mut(|open| {
            if !is_meant(open) {
                return true;
            }
            let (choice, block) = (0, open.block);
            if let OpenKind::Redacted(pieces) = &mut open.kind {
                let start = BlockStart::RedactedThinking { data: joined(std::mem::take(pieces)).into() };
                out.push(Event::BlockStart { choice, block, start });
            }
            out.push(Event::BlockStop { choice, block });
            false
        });
    }
}

/// Base64 of several pieces as one.
fn joined(mut pieces: Vec<String>) -> String {
    if pieces.len() == 1 {
        return pieces.pop().unwrap_or_default();
    }
    let bytes: Vec<u8> = pieces.iter().filter_map(|piece| base64_bytes(piece)).flatten().collect();
    STANDARD.encode(bytes)
}

//! A streamed chat completion, read into the hub event by event.
//!
//! Source: `openai.types.chat.ChatCompletionChunk`. A chunk does not say where one element of the answer ends and the next begins;
//! the kind of its delta tells. Elements of one choice follow one another, except for calls of tools, whose deltas may be mixed.

use serde::Deserialize;
use serde_json::Value;
use tollgate_chat::{BlockStart, Delta, Event};
use tollgate_wire::sse::Frame;

use super::decode_answer::stop_reason;
use super::json_end::JsonEnd;
use super::parts;
use super::usage::WireUsage;
use crate::Unreadable;
use crate::observe::Count;

/// Most choices of one answer, and most calls in one choice: neither is unbounded memory for a provider to fill.
const ELEMENTS_MAX: usize = 1024;

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    created: Count,
    #[serde(default)]
    choices: Option<Vec<WireChoice>>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct WireChoice {
    #[serde(default)]
    index: usize,
    #[serde(default)]
    delta: Option<WireDelta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct WireDelta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    reasoning_content: Option<Value>,
    #[serde(default)]
    reasoning: Option<Value>,
    #[serde(default)]
    thinking_blocks: Option<Vec<Value>>,
    #[serde(default)]
    tool_calls: Option<Vec<WireCall>>,
}

#[derive(Deserialize)]
struct WireCall {
    #[serde(default)]
    index: Option<usize>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<WireFunction>,
}

#[derive(Default, Deserialize)]
struct WireFunction {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

/// Reads one stream.
#[derive(Debug, Default)]
pub(crate) struct StreamDecoder {
    has_begun: bool,
    has_ended: bool,
    choices: Vec<Elements>,
}

/// The elements of one choice so far.
#[derive(Debug, Default)]
struct Elements {
    /// How many there have been.
    count: usize,
    /// The text, refusal or reasoning that goes on.
    current: Option<(Kind, usize)>,
    calls: Vec<Call>,
    has_stopped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Thinking,
}

#[derive(Debug)]
struct Call {
    /// The provider's number of it.
    index: usize,
    /// The element that it is.
    block: usize,
    arguments: JsonEnd,
    is_open: bool,
}

impl StreamDecoder {
    /// A decoder for one stream.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Reads one event of the stream.
    pub(crate) fn frame(&mut self, frame: &Frame, out: &mut Vec<Event>) -> Result<(), Unreadable> {
        let data = frame.data();
        let data = data.trim_ascii();
        if self.has_ended {
            return Ok(());
        }
        if data.is_empty() {
            out.push(Event::Ping);
            return Ok(());
        }
        if data == b"[DONE]" {
            self.end(out);
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_slice(data).map_err(|error| Unreadable(error.to_string()))?;
        match chunk.error {
            Some(error) if chunk.choices.is_none() => {
                self.has_ended = true;
                out.push(told_error(&error));
                Ok(())
            }
            _ => self.chunk(chunk, out),
        }
    }

    /// Reads the end of the body. Servers that leave out `[DONE]` have to have said why they stopped.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Unreadable> {
        if self.has_ended {
            return Ok(());
        }
        if self.choices.is_empty() || self.choices.iter().any(|choice| !choice.has_stopped) {
            return Err(Unreadable("the stream ended before the answer did".to_owned()));
        }
        self.end(out);
        Ok(())
    }

    fn chunk(&mut self, chunk: Chunk, out: &mut Vec<Event>) -> Result<(), Unreadable> {
        if !self.has_begun {
            self.has_begun = true;
            let id = chunk.id.unwrap_or_default();
            let created_s = chunk.created.value();
            out.push(Event::Start { id, model: chunk.model, created_s, usage: None });
        }
        for wire in chunk.choices.unwrap_or_default() {
            if wire.index >= ELEMENTS_MAX {
                return Err(Unreadable(format!("choice {} is more than can be", wire.index)));
            }
            if self.choices.len() <= wire.index {
                self.choices.resize_with(wire.index + 1, Elements::default);
            }
            let index = wire.index;
            if let Some(elements) = self.choices.get_mut(index) {
                elements.delta(index, wire.delta.unwrap_or_default(), out)?;
                if let Some(word) = wire.finish_reason {
                    elements.stop(index, Some(&word), out);
                }
            }
        }
        if let Some(usage) = chunk.usage.and_then(|usage| usage.usage()) {
            out.push(Event::Usage(usage));
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        self.has_ended = true;
        for (index, elements) in self.choices.iter_mut().enumerate() {
            elements.stop(index, None, out);
        }
        out.push(Event::End);
    }
}

impl Elements {
    fn delta(&mut self, choice: usize, delta: WireDelta, out: &mut Vec<Event>) -> Result<(), Unreadable> {
        let plain = delta.reasoning_content.or(delta.reasoning);
        match delta.thinking_blocks.filter(|blocks| !blocks.is_empty()) {
            // They say the same and more.
            Some(blocks) => blocks.iter().for_each(|block| self.thinking_block(choice, block, out)),
            None => {
                let text = plain.as_ref().and_then(parts::reasoning_text);
                self.text(choice, Kind::Thinking, text, out);
            }
        }
        self.text(choice, Kind::Text, delta.content, out);
        self.text(choice, Kind::Refusal, delta.refusal, out);
        for call in delta.tool_calls.unwrap_or_default() {
            self.call(choice, call, out)?;
        }
        Ok(())
    }

    fn thinking_block(&mut self, choice: usize, value: &Value, out: &mut Vec<Event>) {
        let text =
            |key| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        if value.get("type").is_some_and(|kind| kind == "redacted_thinking") {
            self.close_current(choice, out);
            let block = self.open(
                choice,
                BlockStart::RedactedThinking { data: text("data").unwrap_or_default() },
                out,
            );
            out.push(Event::BlockStop { choice, block });
            return;
        }
        self.text(choice, Kind::Thinking, text("thinking"), out);
        if let Some(signature) = text("signature") {
            let block = self.current(choice, Kind::Thinking, out);
            out.push(Event::BlockDelta { choice, block, delta: Delta::Signature(signature) });
            // What is signed is complete.
            self.close_current(choice, out);
        }
    }

    fn text(&mut self, choice: usize, kind: Kind, text: Option<String>, out: &mut Vec<Event>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            let block = self.current(choice, kind, out);
            out.push(Event::BlockDelta { choice, block, delta: Delta::Text(text) });
        }
    }

    fn call(&mut self, choice: usize, wire: WireCall, out: &mut Vec<Event>) -> Result<(), Unreadable> {
        let function = wire.function.unwrap_or_default();
        let id = wire.id.filter(|id| !id.is_empty());
        // Servers without numbers send each call whole.
        let index =
            wire.index.unwrap_or(if id.is_some() { self.calls.len() } else { self.calls.len().max(1) - 1 });
        if !self.calls.iter().any(|call| call.index == index) {
            self.close_finished(choice, out);
            let start =
                BlockStart::ToolUse { id: id.unwrap_or_default(), name: function.name.unwrap_or_default() };
            let block = self.open(choice, start, out);
            self.calls.push(Call { index, block, arguments: JsonEnd::default(), is_open: true });
            if self.calls.len() > ELEMENTS_MAX {
                return Err(Unreadable("more calls of tools than can be".to_owned()));
            }
        }
        let Some(arguments) = function.arguments.filter(|text| !text.is_empty()) else { return Ok(()) };
        let Some(call) = self.calls.iter_mut().find(|call| call.index == index) else { return Ok(()) };
        if !call.is_open {
            let is_blank = arguments.trim().is_empty();
            return if is_blank { Ok(()) } else { Err(Unreadable("arguments after their end".to_owned())) };
        }
        call.arguments.push(&arguments);
        out.push(Event::BlockDelta { choice, block: call.block, delta: Delta::Input(arguments) });
        Ok(())
    }

    /// The element that text of `kind` belongs to.
    fn current(&mut self, choice: usize, kind: Kind, out: &mut Vec<Event>) -> usize {
        if let Some((current, block)) = self.current
            && current == kind
        {
            return block;
        }
        self.close_finished(choice, out);
        let start = match kind {
            Kind::Text => BlockStart::Text,
            Kind::Refusal => BlockStart::Refusal,
            Kind::Thinking => BlockStart::Thinking,
        };
        let block = self.open(choice, start, out);
        self.current = Some((kind, block));
        block
    }

    fn open(&mut self, choice: usize, start: BlockStart, out: &mut Vec<Event>) -> usize {
        let block = self.count;
        self.count += 1;
        out.push(Event::BlockStart { choice, block, start });
        block
    }

    fn close_current(&mut self, choice: usize, out: &mut Vec<Event>) {
        if let Some((_, block)) = self.current.take() {
            out.push(Event::BlockStop { choice, block });
        }
    }

    /// Closes what cannot go on: the text before, and calls whose arguments are a whole object.
    fn close_finished(&mut self, choice: usize, out: &mut Vec<Event>) {
        self.close_current(choice, out);
        for call in self.calls.iter_mut().filter(|call| call.is_open && call.arguments.is_whole()) {
            call.is_open = false;
            out.push(Event::BlockStop { choice, block: call.block });
        }
    }

    fn stop(&mut self, choice: usize, word: Option<&str>, out: &mut Vec<Event>) {
        if self.has_stopped {
            return;
        }
        self.has_stopped = true;
        self.close_current(choice, out);
        for call in self.calls.iter_mut().filter(|call| call.is_open) {
            call.is_open = false;
            out.push(Event::BlockStop { choice, block: call.block });
        }
        out.push(Event::Stop { choice, reason: stop_reason(word, !self.calls.is_empty()) });
    }
}

fn told_error(error: &Value) -> Event {
    let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
    let kind = text("type").or_else(|| text("code")).unwrap_or_else(|| "server_error".to_owned());
    let message = text("message").or_else(|| error.as_str().map(str::to_owned)).unwrap_or_default();
    Event::Error { kind, message }
}

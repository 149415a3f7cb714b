//! A streamed chat completion, read into the hub event by event.
//!
//! Source: `openai.types.chat.ChatCompletionChunk`. A chunk does not say where one element of the answer ends and the next begins;
//! the kind of its delta tells. Elements of one choice follow one another, except for calls of tools, whose deltas may be mixed.

use serde::Deserialize;
use serde::de::IgnoredAny;
use tollgate_chat::{BlockStart, Delta, Effect, Event, LossKind, Losses, Origin};
use tollgate_wire::json::{Text, Value};
use tollgate_wire::sse::Frame;

use super::annotations::decode_annotation;
use super::decode_answer::{Called, stop_reason};
use super::parts;
use super::stream_calls::{Calls, WireCall, WireFunction};
use super::usage::WireUsage;
use crate::Unreadable;
use crate::fields::loss;
use crate::observe::Count;
use crate::texts::Texts;
use crate::translate::{lose_unreadable, read_event};
use crate::words::DecodeStream;

/// Most choices of one answer: they are no unbounded memory for a provider to fill.
const CHOICES_MAX: usize = 1024;

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
    usage: Option<Value>,
    #[serde(default)]
    service_tier: Option<String>,
    /// Azure's.
    #[serde(default)]
    prompt_filter_results: Option<IgnoredAny>,
    #[serde(default)]
    system_fingerprint: Option<IgnoredAny>,
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
    #[serde(default)]
    logprobs: Option<WireLogprobs>,
    /// Azure's.
    #[serde(default)]
    content_filter_results: Option<IgnoredAny>,
}

/// Of the tokens of this chunk's text and refusal.
#[derive(Default, Deserialize)]
struct WireLogprobs {
    #[serde(default)]
    content: Option<Vec<Value>>,
    #[serde(default)]
    refusal: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
struct WireDelta {
    #[serde(default)]
    content: Option<Text>,
    #[serde(default)]
    refusal: Option<Text>,
    #[serde(default)]
    reasoning_content: Option<Value>,
    #[serde(default)]
    reasoning: Option<Value>,
    #[serde(default)]
    thinking_blocks: Option<Vec<Value>>,
    #[serde(default)]
    tool_calls: Option<Vec<WireCall>>,
    #[serde(default)]
    function_call: Option<WireFunction>,
    #[serde(default)]
    annotations: Option<Vec<Value>>,
    #[serde(default)]
    audio: Option<IgnoredAny>,
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
    /// Where its texts are.
    texts: Texts,
    /// The number that the reasoning which goes on has among `thinking_blocks`, where they are numbered.
    thinking: Option<u64>,
    calls: Calls,
    /// Whether there have been calls that the hub has no room for.
    has_lost_calls: bool,
    has_stopped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Thinking,
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
        let data = data.trim_ascii();
        if self.has_ended {
            return Ok(());
        }
        if data.is_empty() {
            out.push(Event::Ping);
            return Ok(());
        }
        if data == b"[DONE]" {
            return self.end(out);
        }
        let Some(chunk) = read_event::<Chunk>(data)? else {
            lose_unreadable(losses);
            return Ok(());
        };
        match chunk.error {
            Some(error) if chunk.choices.is_none() => {
                self.has_ended = true;
                out.push(told_error(&error));
                Ok(())
            }
            _ => self.chunk(chunk, out, losses),
        }
    }

    /// Servers that leave out `[DONE]` have to have said why they stopped.
    fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Unreadable> {
        if self.has_ended {
            return Ok(());
        }
        if self.choices.is_empty() || self.choices.iter().any(|choice| !choice.has_stopped) {
            return Err(Unreadable("the stream ended before the answer did".to_owned()));
        }
        self.end(out)
    }
}

impl StreamDecoder {
    fn chunk(&mut self, chunk: Chunk, out: &mut Vec<Event>, losses: &mut Losses) -> Result<(), Unreadable> {
        if chunk.system_fingerprint.is_some() {
            losses.push_once(loss("/system_fingerprint", LossKind::Metadata, Effect::Cost));
        }
        if chunk.prompt_filter_results.is_some() {
            losses.push_once(loss("/prompt_filter_results", LossKind::UnknownField, Effect::Meaning));
        }
        if chunk.service_tier.is_some_and(|tier| tier != "default") {
            losses.push_once(loss("/service_tier", LossKind::ServiceTier, Effect::Cost));
        }
        let choices = chunk.choices.unwrap_or_default();
        let id = chunk.id.unwrap_or_default();
        let model = chunk.model.filter(|model| !model.is_empty());
        // Azure tells what it thinks of the prompt first, in a chunk without id and model; golden: anthropic_to_openai-azure.
        let is_told = !id.is_empty() || model.is_some() || !choices.is_empty();
        if !self.has_begun && is_told {
            self.has_begun = true;
            out.push(Event::Start { id, model, created_s: chunk.created.value(), usage: None });
        }
        for wire in choices {
            if wire.index >= CHOICES_MAX {
                return Err(Unreadable(format!("choice {} is more than can be", wire.index)));
            }
            if self.choices.len() <= wire.index {
                self.choices.resize_with(wire.index + 1, Elements::default);
            }
            let index = wire.index;
            if let Some(elements) = self.choices.get_mut(index) {
                if wire.content_filter_results.is_some() {
                    let pointer = format!("/choices/{index}/content_filter_results");
                    losses.push_once(loss(pointer, LossKind::UnknownField, Effect::Meaning));
                }
                let logprobs = wire.logprobs.unwrap_or_default();
                elements.delta(index, wire.delta.unwrap_or_default(), logprobs, out, losses)?;
                if let Some(word) = wire.finish_reason {
                    elements.stop(index, Some(&word), out)?;
                }
            }
        }
        if let Some(usage) = chunk.usage.and_then(|usage| WireUsage::read(&usage, losses)?.usage()) {
            out.push(Event::Usage(usage));
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), Unreadable> {
        self.has_ended = true;
        for (index, elements) in self.choices.iter_mut().enumerate() {
            elements.stop(index, None, out)?;
        }
        out.push(Event::End);
        Ok(())
    }
}

impl Elements {
    fn delta(
        &mut self,
        choice: usize,
        delta: WireDelta,
        logprobs: WireLogprobs,
        out: &mut Vec<Event>,
        losses: &mut Losses,
    ) -> Result<(), Unreadable> {
        let plain = delta.reasoning_content.or(delta.reasoning);
        match delta.thinking_blocks.filter(|blocks| !blocks.is_empty()) {
            // They say the same and more.
            Some(blocks) => blocks.iter().for_each(|block| self.thinking_block(choice, block, out)),
            None => {
                let text = plain.as_ref().and_then(parts::reasoning_text);
                self.text(choice, Kind::Thinking, text, out);
            }
        }
        for (kind, text, logprobs) in
            [(Kind::Text, delta.content, logprobs.content), (Kind::Refusal, delta.refusal, logprobs.refusal)]
        {
            self.logprobs(choice, kind, text.as_ref(), logprobs.unwrap_or_default(), out, losses);
            self.text(choice, kind, text, out);
        }
        self.annotations(choice, delta.annotations.unwrap_or_default(), out, losses);
        if delta.audio.is_some() {
            let pointer = format!("/choices/{choice}/delta/audio");
            losses.push_once(loss(pointer, LossKind::Media, Effect::Meaning));
        }
        let legacy = delta.function_call.map(WireCall::legacy);
        for call in delta.tool_calls.unwrap_or_default().into_iter().chain(legacy) {
            self.call(choice, call, out, losses)?;
        }
        Ok(())
    }

    /// Places count through all texts, of which some may be over. Without a place it is the last one.
    fn annotations(&mut self, choice: usize, told: Vec<Value>, out: &mut Vec<Event>, losses: &mut Losses) {
        let pointer = Origin::of_item("choices", choice).member("delta/annotations");
        for annotation in told {
            let Some(mut citation) = decode_annotation(&pointer, &annotation, losses) else { continue };
            let place = citation.span.as_ref().and_then(|span| self.texts.place(span));
            let (block, span) =
                place.map_or((self.texts.last(), None), |(block, span)| (Some(block), Some(span)));
            let Some(block) = block else {
                losses.push_once(loss(pointer.clone(), LossKind::Citation, Effect::Meaning));
                continue;
            };
            citation.span = span;
            out.push(Event::BlockDelta { choice, block, delta: Delta::Citation(citation) });
        }
    }

    fn thinking_block(&mut self, choice: usize, value: &Value, out: &mut Vec<Event>) {
        let text = |key| value.get(key).and_then(Value::as_text).filter(|text| !text.is_empty()).cloned();
        let index = value.get("index").and_then(Value::as_u64);
        if index != self.thinking && matches!(self.current, Some((Kind::Thinking, _))) {
            self.close_current(choice, out);
        }
        self.thinking = index;
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

    fn text(&mut self, choice: usize, kind: Kind, text: Option<Text>, out: &mut Vec<Event>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            let block = self.current(choice, kind, out);
            if kind == Kind::Text {
                self.texts.push(&text.as_str());
            }
            out.push(Event::BlockDelta { choice, block, delta: Delta::Text(text) });
        }
    }

    /// They stand beside the text that they belong to, or behind it.
    fn logprobs(
        &mut self,
        choice: usize,
        kind: Kind,
        text: Option<&Text>,
        tokens: Vec<Value>,
        out: &mut Vec<Event>,
        losses: &mut Losses,
    ) {
        if tokens.is_empty() {
            return;
        }
        let goes_on = self.current.is_some_and(|(current, _)| current == kind);
        if !goes_on && text.is_none_or(Text::is_empty) {
            // Of what is no text: a call, or reasoning.
            let pointer = format!("/choices/{choice}/logprobs");
            losses.push_once(loss(pointer, LossKind::Logprobs, Effect::Meaning));
            return;
        }
        let block = self.current(choice, kind, out);
        out.push(Event::BlockDelta { choice, block, delta: Delta::Logprobs(tokens) });
    }

    fn call(
        &mut self,
        choice: usize,
        wire: WireCall,
        out: &mut Vec<Event>,
        losses: &mut Losses,
    ) -> Result<(), Unreadable> {
        if wire.is_custom() {
            // Its input is a text, and the hub's calls have objects.
            self.has_lost_calls = true;
            let pointer = format!("/choices/{choice}/delta/tool_calls");
            losses.push_once(loss(pointer, LossKind::ToolOption, Effect::Meaning));
            return Ok(());
        }
        let mut calls = std::mem::take(&mut self.calls);
        let taken = calls.take(choice, wire, out, |start, out| {
            self.close_current(choice, out);
            self.open(choice, start, out)
        });
        self.calls = calls;
        taken
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
        if kind == Kind::Text {
            self.texts.begin(block);
        }
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
        self.calls.close_whole(choice, out);
    }

    fn stop(&mut self, choice: usize, word: Option<&str>, out: &mut Vec<Event>) -> Result<(), Unreadable> {
        if self.has_stopped {
            return Ok(());
        }
        self.has_stopped = true;
        self.close_current(choice, out);
        self.calls.close(choice, out)?;
        let called = match (self.calls.is_empty(), self.has_lost_calls) {
            (false, _) => Called::Tools,
            (true, true) => Called::LostTools,
            (true, false) => Called::Nothing,
        };
        out.push(Event::Stop { choice, reason: stop_reason(word, called) });
        Ok(())
    }
}

fn told_error(error: &Value) -> Event {
    let text = |key: &str| error.get(key).and_then(Value::as_text).map(Text::to_string);
    let kind = text("type").or_else(|| text("code")).unwrap_or_else(|| "server_error".to_owned());
    let message = text("message").or_else(|| error.as_text().map(Text::to_string)).unwrap_or_default();
    Event::Error { kind, message }
}

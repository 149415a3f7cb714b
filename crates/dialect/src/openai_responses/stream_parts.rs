//! The parts of a streamed response, told apart: which have been told, and how far.
//!
//! Every part is told in pieces, and then again as a whole when it, its item and the response are done. Servers leave some of that out,
//! so whatever a later event tells of a part that has not been told is taken from there.

use tollgate_chat::{BlockKind, BlockStart, Delta, Effect, Event, LossKind, Losses, Origin};
use tollgate_wire::json::{Text, Value};

use super::decode_answer::{Called, call_names, lose_phase, nameless, part_kind};
use super::reasoning;
use crate::Unreadable;
use crate::fields::{loss, tells};
use crate::openai_chat::decode_annotation;

/// Most parts of one response: they are no unbounded memory for a provider to fill.
const PARTS_MAX: usize = 4096;

fn item_origin(output: u64) -> Origin {
    format!("/output/{output}").into()
}

fn part_origin(output: u64, content: u64) -> Origin {
    format!("/output/{output}/content/{content}").into()
}

/// The parts so far.
#[derive(Debug, Default)]
pub(super) struct Parts {
    parts: Vec<Part>,
}

/// A part: a block of the hub, whose number is that of the part.
#[derive(Debug)]
struct Part {
    output: u64,
    place: Place,
    /// Whether any of its text or arguments has been told.
    is_said: bool,
    /// Whether log probabilities have been told.
    has_logprobs: bool,
    /// Annotations that have been told.
    citations: usize,
    has_stopped: bool,
}

/// Which part of its item it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A text or refusal of a message.
    Content(u64),
    /// All of an item of reasoning, whose last told paragraph is this one.
    Reasoning(Option<(ReasoningText, u64)>),
    Call,
    Foreign,
}

impl Place {
    /// Whether both are the same part.
    fn is(self, other: Self) -> bool {
        match (self, other) {
            (Self::Content(one), Self::Content(two)) => one == two,
            (Self::Reasoning(_), Self::Reasoning(_))
            | (Self::Call, Self::Call)
            | (Self::Foreign, Self::Foreign) => true,
            (Self::Content(_) | Self::Reasoning(_) | Self::Call | Self::Foreign, _) => false,
        }
    }
}

/// What the text of reasoning is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReasoningText {
    /// A summary.
    Summary,
    /// The reasoning itself.
    Content,
}

impl Parts {
    /// More of a text or refusal.
    pub(super) fn text(
        &mut self,
        (output, content): (u64, u64),
        start: BlockStart,
        text: &Text,
        out: &mut Vec<Event>,
    ) -> Result<(), Unreadable> {
        if text.is_empty() {
            return Ok(());
        }
        let block = self.begun(output, Place::Content(content), start, out)?;
        self.tell(block, Delta::Text(text.clone()), out);
        Ok(())
    }

    /// Log probabilities of the tokens of a text that follows.
    pub(super) fn logprobs(
        &mut self,
        (output, content): (u64, u64),
        tokens: &Value,
        out: &mut Vec<Event>,
    ) -> Result<(), Unreadable> {
        let Some(tokens) = tokens.as_array().filter(|tokens| !tokens.is_empty()) else { return Ok(()) };
        let block = self.begun(output, Place::Content(content), BlockStart::Text, out)?;
        self.tell(block, Delta::Logprobs(tokens.clone()), out);
        Ok(())
    }

    /// An annotation of a text.
    pub(super) fn citation(
        &mut self,
        (output, content): (u64, u64),
        annotation: &Value,
        out: &mut Vec<Event>,
        losses: &mut Losses,
    ) {
        let pointer = part_origin(output, content).member("annotations");
        match self.find(output, Place::Content(content)) {
            Some(block) => {
                if let Some(citation) = decode_annotation(&pointer, annotation, losses) {
                    self.tell(block, Delta::Citation(citation), out);
                }
            }
            None => {
                losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
            }
        }
    }

    /// More of a paragraph of reasoning.
    pub(super) fn reasoning(
        &mut self,
        output: u64,
        (kind, paragraph): (ReasoningText, u64),
        text: &Text,
        out: &mut Vec<Event>,
        losses: &mut Losses,
    ) -> Result<(), Unreadable> {
        if text.is_empty() {
            return Ok(());
        }
        let block = self.begun(output, Place::Reasoning(None), BlockStart::Thinking, out)?;
        let Some(part) = self.parts.get_mut(block) else { return Ok(()) };
        let before = match part.place {
            Place::Reasoning(before) => before,
            Place::Content(_) | Place::Call | Place::Foreign => None,
        };
        if before.is_some_and(|(before, _)| before != kind) {
            // A summary and the reasoning itself: there is room for one of them.
            let pointer = format!("/output/{output}/content");
            losses.push_once(loss(pointer, LossKind::Thinking, Effect::Meaning));
            return Ok(());
        }
        part.place = Place::Reasoning(Some((kind, paragraph)));
        let text = match before {
            Some((_, before)) if before != paragraph => format!("{}{text}", reasoning::PARAGRAPH).into(),
            _ => text.clone(),
        };
        self.tell(block, Delta::Text(text), out);
        Ok(())
    }

    /// More of the arguments of a call that has begun. Where it has not, its item tells all of them at its end.
    pub(super) fn arguments(&mut self, output: u64, text: &Text, out: &mut Vec<Event>) {
        if let Some(block) = self.find(output, Place::Call)
            && !text.is_empty()
        {
            self.tell(block, Delta::Input(text.clone()), out);
        }
    }

    /// All arguments of a call that has begun.
    pub(super) fn arguments_done(&mut self, output: u64, text: Option<&Text>, out: &mut Vec<Event>) {
        if let Some(block) = self.find(output, Place::Call) {
            if let Some(text) = text.filter(|text| !text.is_empty() && !self.is_said(block)) {
                self.tell(block, Delta::Input(text.clone()), out);
            }
            self.stop(block, out);
        }
    }

    /// An item begins.
    pub(super) fn item_added(
        &mut self,
        output: u64,
        item: &Value,
        out: &mut Vec<Event>,
    ) -> Result<(), Unreadable> {
        match item.get("type").and_then(Value::as_str).unwrap_or_default().as_ref() {
            // Their parts begin when something of them is told.
            "message" | "reasoning" => {}
            "function_call" => {
                if let Some((id, name)) = call_names(item) {
                    self.begun(output, Place::Call, BlockStart::ToolUse { id, name }, out)?;
                }
            }
            name => self.foreign(output, name, out)?,
        }
        Ok(())
    }

    /// A whole item: tells what has not been told.
    pub(super) fn item_done(
        &mut self,
        output: u64,
        item: &Value,
        out: &mut Vec<Event>,
        losses: &mut Losses,
    ) -> Result<(), Unreadable> {
        let origin = item_origin(output);
        match item.get("type").and_then(Value::as_str).unwrap_or_default().as_ref() {
            "message" => {
                lose_phase(&origin, item, losses);
                let parts = item.get("content").and_then(Value::as_array).map(Vec::as_slice);
                for (index, part) in (0..).zip(parts.unwrap_or_default()) {
                    self.part_done((output, index), part, out, losses)?;
                }
            }
            "reasoning" => self.reasoning_done(output, item, out, losses)?,
            "function_call" => {
                let (id, name) = call_names(item).ok_or_else(|| nameless(&origin))?;
                if item.get("namespace").is_some_and(tells) {
                    let pointer = format!("{origin}/namespace");
                    losses.push_once(loss(pointer, LossKind::ToolOption, Effect::Meaning));
                }
                self.begun(output, Place::Call, BlockStart::ToolUse { id, name }, out)?;
                let text = item.get("arguments").and_then(Value::as_text);
                self.arguments_done(output, text, out);
            }
            name => self.foreign(output, name, out)?,
        }
        Ok(())
    }

    /// A whole part of a message: tells what has not been told.
    pub(super) fn part_done(
        &mut self,
        (output, content): (u64, u64),
        part: &Value,
        out: &mut Vec<Event>,
        losses: &mut Losses,
    ) -> Result<(), Unreadable> {
        let place = Place::Content(content);
        if part.get("type").is_some_and(|kind| kind == "reasoning_text") {
            // It belongs to an item of reasoning, which tells it.
            return Ok(());
        }
        let kind = part_kind(&part_origin(output, content), part, losses);
        let (start, text, citations) = match kind {
            Some(BlockKind::Text { text, citations }) => (BlockStart::Text, text, citations),
            Some(BlockKind::Refusal { text }) => (BlockStart::Refusal, text, Vec::new()),
            _ => {
                self.find(output, place).into_iter().for_each(|block| self.stop(block, out));
                return Ok(());
            }
        };
        let block = self.begun(output, place, start, out)?;
        if !self.parts.get(block).is_some_and(|part| part.has_logprobs)
            && let Some(tokens) = part.get("logprobs")
        {
            self.logprobs((output, content), tokens, out)?;
        }
        if !self.is_said(block) {
            self.tell(block, Delta::Text(text), out);
        }
        let told = self.parts.get(block).map_or(0, |part| part.citations);
        for citation in citations.into_iter().skip(told) {
            self.tell(block, Delta::Citation(citation), out);
        }
        self.stop(block, out);
        Ok(())
    }

    fn reasoning_done(
        &mut self,
        output: u64,
        item: &Value,
        out: &mut Vec<Event>,
        losses: &mut Losses,
    ) -> Result<(), Unreadable> {
        let place = Place::Reasoning(None);
        let kind = reasoning::decode_item(item, &item_origin(output), &mut Losses::default());
        let start = match &kind {
            Some(BlockKind::RedactedThinking { data }) => BlockStart::RedactedThinking { data: data.clone() },
            Some(_) => BlockStart::Thinking,
            None => {
                self.find(output, place).into_iter().for_each(|block| self.stop(block, out));
                return Ok(());
            }
        };
        let block = self.begun(output, place, start, out)?;
        if let Some(BlockKind::Thinking { text, signature }) = kind {
            if !self.is_said(block) && !text.is_empty() {
                let both = |key| item.get(key).is_some_and(tells);
                if both("summary") && both("content") {
                    let pointer = format!("/output/{output}/content");
                    losses.push_once(loss(pointer, LossKind::Thinking, Effect::Meaning));
                }
                self.tell(block, Delta::Text(text), out);
            }
            if let Some(signature) = signature {
                self.tell(block, Delta::Signature(signature), out);
            }
        }
        self.stop(block, out);
        Ok(())
    }

    /// An item that has no words in the hub, told once.
    fn foreign(&mut self, output: u64, name: &str, out: &mut Vec<Event>) -> Result<(), Unreadable> {
        let start = BlockStart::Foreign { name: name.to_owned() };
        let block = self.begun(output, Place::Foreign, start, out)?;
        self.stop(block, out);
        Ok(())
    }

    /// Whether an item has no words in the hub.
    pub(super) fn is_foreign(&self, output: u64) -> bool {
        self.find(output, Place::Foreign).is_some()
    }

    /// Ends all parts.
    pub(super) fn close(&mut self, out: &mut Vec<Event>) {
        (0..self.parts.len()).for_each(|block| self.stop(block, out));
    }

    /// Whether the model has called a function.
    pub(super) fn called(&self) -> Called {
        let has_called = self.parts.iter().any(|part| part.place == Place::Call);
        if has_called { Called::Functions } else { Called::Nothing }
    }

    fn find(&self, output: u64, place: Place) -> Option<usize> {
        self.parts.iter().rposition(|part| part.output == output && part.place.is(place))
    }

    /// The block of a part, which begins with `start` where it has not yet.
    fn begun(
        &mut self,
        output: u64,
        place: Place,
        start: BlockStart,
        out: &mut Vec<Event>,
    ) -> Result<usize, Unreadable> {
        if let Some(block) = self.find(output, place) {
            return Ok(block);
        }
        let block = self.parts.len();
        if block >= PARTS_MAX {
            return Err(Unreadable("more parts than a response can have".to_owned()));
        }
        self.parts.push(Part {
            output,
            place,
            is_said: false,
            has_logprobs: false,
            citations: 0,
            has_stopped: false,
        });
        out.push(Event::BlockStart { choice: 0, block, start });
        Ok(block)
    }

    fn is_said(&self, block: usize) -> bool {
        self.parts.get(block).is_some_and(|part| part.is_said)
    }

    /// Tells more of a part; of one that has stopped only what it rests on.
    fn tell(&mut self, block: usize, delta: Delta, out: &mut Vec<Event>) {
        let Some(part) = self.parts.get_mut(block) else { return };
        if part.has_stopped && !matches!(delta, Delta::Citation(_)) {
            return;
        }
        match &delta {
            Delta::Text(_) | Delta::Input(_) => part.is_said = true,
            Delta::Logprobs(_) => part.has_logprobs = true,
            Delta::Citation(_) => part.citations += 1,
            Delta::Signature(_) => {}
        }
        out.push(Event::BlockDelta { choice: 0, block, delta });
    }

    fn stop(&mut self, block: usize, out: &mut Vec<Event>) {
        if let Some(part) = self.parts.get_mut(block).filter(|part| !part.has_stopped) {
            part.has_stopped = true;
            out.push(Event::BlockStop { choice: 0, block });
        }
    }
}

//! A streamed answer, said as the events of a response.
//!
//! Source: `openai.types.responses.ResponseStreamEvent`. Every part is said in pieces and then again as a whole, so all of the answer is kept,
//! up to a bound. Parts may be mixed: each event says which it belongs to.

use bytes::BytesMut;
use tollgate_chat::{BlockStart, Citation, Delta, Effect, Event, LossKind, Losses, StopReason};
use tollgate_terms::Usage;
use tollgate_wire::json::{Map, Text, Value};
use tollgate_wire::sse;

use super::items::{self, Ending, Frame};
use super::reasoning;
use crate::AnswerContext;
use crate::fields::{loss, object};
use crate::ids::CallIds;
use crate::words::EncodeStream;

/// Longest answer: a response that ends has to say all of it once more.
const SAID_BYTES_MAX: usize = 32 << 20;

/// Says one stream.
#[derive(Debug)]
pub(crate) struct StreamEncoder {
    context: AnswerContext,
    frame: Frame,
    usage: Option<Usage>,
    ending: Option<Ending>,
    items: Vec<Item>,
    /// Block of the hub, item, and part of a message.
    open: Vec<(usize, usize, usize)>,
    ids: CallIds,
    events: u64,
    said_bytes: usize,
    has_begun: bool,
    has_ended: bool,
}

/// An item of the output.
#[derive(Debug)]
struct Item {
    id: String,
    kind: Kind,
    /// Blocks that go on.
    open: usize,
    /// Its status, once all of it has been said.
    done: Option<&'static str>,
}

#[derive(Debug)]
enum Kind {
    Message(Vec<Part>),
    Reasoning { text: String, signature: Option<String> },
    Redacted { data: String },
    Call { call_id: String, name: String, arguments: String },
}

/// A part of a message.
#[derive(Debug)]
struct Part {
    /// Its number in the hub.
    block: usize,
    text: String,
    kind: PartKind,
    /// Log probabilities of its tokens; those from `told` on wait for the text that they belong to.
    logprobs: Vec<Value>,
    told: usize,
    /// What all of the text rests on, which is told once it is known how long that is.
    citations: Vec<Citation>,
}

#[derive(Debug)]
enum PartKind {
    Text(Vec<Value>),
    Refusal,
}

impl Part {
    fn value(&self) -> Value {
        match &self.kind {
            PartKind::Text(annotations) => {
                items::text_part(self.text.as_str().into(), annotations.clone(), self.logprobs.clone())
            }
            PartKind::Refusal => items::refusal_part(self.text.as_str().into()),
        }
    }
}

impl Item {
    fn value(&self, status: &'static str) -> Value {
        let id = &self.id;
        match &self.kind {
            Kind::Message(parts) => items::message(id, status, parts.iter().map(Part::value).collect()),
            Kind::Reasoning { text, signature } => {
                reasoning::answer_item(id.clone(), text, signature.as_deref())
            }
            Kind::Redacted { data } => reasoning::redacted_item(id.clone(), data),
            Kind::Call { call_id, name, arguments } => {
                items::call(id, status, call_id, name, arguments.as_str().into())
            }
        }
    }
}

impl StreamEncoder {
    /// An encoder for one stream.
    pub(crate) fn new(context: AnswerContext) -> Self {
        let frame = Frame::new(String::new(), None, None, &context);
        Self {
            ids: CallIds::new(frame.id()),
            frame,
            context,
            usage: None,
            ending: None,
            items: Vec::new(),
            open: Vec::new(),
            events: 0,
            said_bytes: 0,
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
            Event::Start { id, model, created_s, usage } => {
                self.usage = usage;
                if !self.has_begun {
                    self.frame = Frame::new(id, model, created_s, &self.context);
                    self.ids = CallIds::new(self.frame.id());
                }
                self.begin(out);
            }
            Event::BlockStart { choice, .. } | Event::BlockDelta { choice, .. } if choice > 0 => {
                losses.push_once(loss("/choices/1", LossKind::Choices, Effect::Meaning));
            }
            Event::BlockStop { choice, .. } | Event::Stop { choice, .. } if choice > 0 => {}
            Event::BlockStart { choice: _, block, start } => self.start(block, start, out, losses),
            Event::BlockDelta { choice: _, block, delta: Delta::Citation(citation) } => {
                self.cite(block, citation, out, losses);
            }
            Event::BlockDelta { choice: _, block, delta } => self.delta(block, delta, out, losses),
            Event::BlockStop { choice: _, block } => self.stop(block, out, losses),
            Event::Stop { choice: _, reason } => self.ending = Some(Ending::of(&reason, losses)),
            Event::Usage(usage) => self.usage = Some(usage),
            // There is no event for it, and clients do not know those that are none.
            Event::Ping if self.has_begun => out.extend_from_slice(b": ping\n\n"),
            Event::Ping => {}
            Event::Error { kind, message } => self.error(&kind, &message, out),
            Event::End => self.end(out, losses),
        }
    }
}

impl StreamEncoder {
    fn begin(&mut self, out: &mut BytesMut) {
        if !self.has_begun {
            self.has_begun = true;
            for kind in ["response.created", "response.in_progress"] {
                let response = self.frame.response(&Ending::OPEN, Vec::new(), None, None);
                self.write(kind, object!({"response": response}), out);
            }
        }
    }

    fn start(&mut self, block: usize, start: BlockStart, out: &mut BytesMut, losses: &mut Losses) {
        self.begin(out);
        match start {
            BlockStart::Text => self.part(block, PartKind::Text(Vec::new()), out),
            BlockStart::Refusal => self.part(block, PartKind::Refusal, out),
            BlockStart::Thinking => {
                let kind = Kind::Reasoning { text: String::new(), signature: None };
                let id = self.frame.item_id("rs", self.items.len());
                let item =
                    object!({"type": "reasoning", "id": id.as_str(), "summary": Value::Array(Vec::new())});
                self.item(block, id, kind, item, out);
            }
            BlockStart::RedactedThinking { data } => {
                let id = self.frame.item_id("rs", self.items.len());
                let item =
                    object!({"type": "reasoning", "id": id.as_str(), "summary": Value::Array(Vec::new())});
                self.item(block, id, Kind::Redacted { data: data.into_string() }, item, out);
            }
            BlockStart::ToolUse { id, name } => {
                let call_id = self.ids.next(id);
                let id = self.frame.item_id("fc", self.items.len());
                let item = items::call(&id, "in_progress", &call_id, &name, Text::default());
                let kind = Kind::Call { call_id, name, arguments: String::new() };
                self.item(block, id, kind, item, out);
            }
            BlockStart::Foreign { name } => {
                let pointer = format!("/content/{block}/{name}");
                losses.push_once(loss(pointer, LossKind::ServerTool, Effect::Meaning));
            }
        }
    }

    /// An item begins; those before it that do not go on are done.
    fn item(&mut self, block: usize, id: String, kind: Kind, added: Value, out: &mut BytesMut) {
        self.settle("completed", out);
        let index = self.items.len();
        self.items.push(Item { id, kind, open: 1, done: None });
        self.open.push((block, index, 0));
        self.write("response.output_item.added", object!({"output_index": index, "item": added}), out);
    }

    /// A part of a message begins: of the one before, if nothing has been said since.
    fn part(&mut self, block: usize, kind: PartKind, out: &mut BytesMut) {
        let goes_on = self.items.last().is_some_and(|item| matches!(item.kind, Kind::Message(_)));
        let mut index = self.items.len().saturating_sub(1);
        if !goes_on {
            index = self.items.len();
            let id = self.frame.item_id("msg", index);
            let added = items::message(&id, "in_progress", Vec::new());
            self.item(block, id, Kind::Message(Vec::new()), added, out);
            self.open.pop();
        }
        let (text, logprobs, citations) = (String::new(), Vec::new(), Vec::new());
        let part = Part { block, text, kind, logprobs, told: 0, citations };
        let value = part.value();
        if let Some(Item { id, kind: Kind::Message(parts), open, .. }) = self.items.get_mut(index) {
            *open += usize::from(goes_on);
            let content = parts.len();
            let place = object!({"item_id": id.as_str(), "output_index": index, "content_index": content});
            parts.push(part);
            self.open.push((block, index, content));
            self.write("response.content_part.added", with(place, "part", value), out);
        }
    }

    fn delta(&mut self, block: usize, delta: Delta, out: &mut BytesMut, losses: &mut Losses) {
        let Some((_, index, content)) = self.open.iter().find(|(open, ..)| *open == block).copied() else {
            return;
        };
        self.said_bytes = self.said_bytes.saturating_add(said_bytes(&delta));
        if self.said_bytes > SAID_BYTES_MAX {
            self.error("server_error", "the answer is too long to be said once more at its end", out);
            return;
        }
        let Some(item) = self.items.get_mut(index) else { return };
        let place = object!({"item_id": item.id.as_str(), "output_index": index});
        let in_part = || with(place.clone(), "content_index", content.into());
        match (&mut item.kind, delta) {
            (Kind::Message(parts), Delta::Text(text)) => {
                let Some(part) = parts.get_mut(content) else { return };
                part.text.push_str(&text.as_str());
                let (kind, event) = match part.kind {
                    PartKind::Text(_) => {
                        let waiting = part.logprobs.get(part.told..).unwrap_or_default().to_vec();
                        part.told = part.logprobs.len();
                        ("response.output_text.delta", with(in_part(), "logprobs", waiting.into()))
                    }
                    PartKind::Refusal => ("response.refusal.delta", in_part()),
                };
                self.write(kind, with(event, "delta", text.into()), out);
            }
            (Kind::Message(parts), Delta::Logprobs(tokens)) => {
                let Some(part) = parts.get_mut(content) else { return };
                if matches!(part.kind, PartKind::Text(_)) {
                    part.logprobs.extend(tokens.into_iter().map(items::whole_logprob));
                } else {
                    losses.push_once(loss("/choices/0/logprobs", LossKind::Logprobs, Effect::Meaning));
                }
            }
            (Kind::Reasoning { text: said, signature: _ }, Delta::Text(text)) => {
                let is_first = said.is_empty();
                said.push_str(&text.as_str());
                let place = with(place, "summary_index", 0.into());
                if is_first && !text.is_empty() {
                    let part = object!({"type": "summary_text", "text": ""});
                    let event = with(place.clone(), "part", part);
                    self.write("response.reasoning_summary_part.added", event, out);
                }
                if !text.is_empty() {
                    let event = with(place, "delta", text.into());
                    self.write("response.reasoning_summary_text.delta", event, out);
                }
            }
            (Kind::Reasoning { text: _, signature }, Delta::Signature(more)) => {
                signature.get_or_insert_default().push_str(&more.as_str());
            }
            (Kind::Call { arguments, .. }, Delta::Input(text)) => {
                arguments.push_str(&text.as_str());
                let event = with(place, "delta", text.into());
                self.write("response.function_call_arguments.delta", event, out);
            }
            // A delta that does not fit its block.
            (
                _,
                Delta::Text(_)
                | Delta::Input(_)
                | Delta::Signature(_)
                | Delta::Citation(_)
                | Delta::Logprobs(_),
            ) => {}
        }
    }

    fn stop(&mut self, block: usize, out: &mut BytesMut, losses: &mut Losses) {
        let at = self.open.iter().position(|(open, ..)| *open == block);
        let Some((_, index, content)) = at.map(|at| self.open.swap_remove(at)) else { return };
        self.annotate(block, (index, content), None, out, losses);
        let Some(item) = self.items.get_mut(index) else { return };
        item.open = item.open.saturating_sub(1);
        let place = object!({"item_id": item.id.as_str(), "output_index": index});
        match &mut item.kind {
            Kind::Message(parts) => {
                let Some(part) = parts.get(content) else { return };
                let place = with(place, "content_index", content.into());
                let (kind, event) = match part.kind {
                    PartKind::Text(_) => {
                        let event = with(place.clone(), "text", part.text.as_str().into());
                        ("response.output_text.done", with(event, "logprobs", part.logprobs.clone().into()))
                    }
                    PartKind::Refusal => {
                        let event = with(place.clone(), "refusal", part.text.as_str().into());
                        ("response.refusal.done", event)
                    }
                };
                let whole = with(place, "part", part.value());
                self.write(kind, event, out);
                self.write("response.content_part.done", whole, out);
            }
            Kind::Reasoning { text, .. } if !text.is_empty() => {
                let place = with(place, "summary_index", 0.into());
                let part = object!({"type": "summary_text", "text": text.as_str()});
                let done = with(place.clone(), "text", text.as_str().into());
                self.write("response.reasoning_summary_text.done", done, out);
                self.write("response.reasoning_summary_part.done", with(place, "part", part), out);
            }
            Kind::Reasoning { .. } | Kind::Redacted { .. } => {}
            Kind::Call { name, arguments, .. } => {
                let done = with(place.clone(), "name", name.as_str().into());
                // A call without arguments says nothing of them; clients parse what they got as JSON.
                let missing = arguments.trim().is_empty().then_some("{}");
                arguments.push_str(missing.unwrap_or_default());
                let done = with(done, "arguments", arguments.as_str().into());
                if let Some(missing) = missing {
                    let event = with(place, "delta", missing.into());
                    self.write("response.function_call_arguments.delta", event, out);
                }
                self.write("response.function_call_arguments.done", done, out);
            }
        }
    }

    /// Tells what a text rests on: at once where it is a part that is named, else when all of the text has been told. Clients take the
    /// event when the text is over, too; the response that is told at the end has it in its place.
    fn cite(&mut self, block: usize, citation: Citation, out: &mut BytesMut, losses: &mut Losses) {
        let mut items = self.items.iter_mut().enumerate().rev();
        let place = items.find_map(|(index, item)| {
            let Kind::Message(parts) = &mut item.kind else { return None };
            let content = parts.iter().position(|part| part.block == block)?;
            Some((index, content, parts.get_mut(content)?))
        });
        let Some((index, content, part)) = place else {
            let pointer = format!("/content/{block}/citations");
            losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
            return;
        };
        if citation.span.is_none() && self.open.iter().any(|(open, ..)| *open == block) {
            part.citations.push(citation);
        } else {
            self.annotate(block, (index, content), Some(citation), out, losses);
        }
    }

    /// Tells what a part of a text rests on, or what all of it does once all of it has been told.
    fn annotate(
        &mut self,
        block: usize,
        (index, content): (usize, usize),
        of_part: Option<Citation>,
        out: &mut BytesMut,
        losses: &mut Losses,
    ) {
        let Some(Item { id, kind: Kind::Message(parts), .. }) = self.items.get_mut(index) else { return };
        let Some(Part { text, kind: PartKind::Text(said), citations, .. }) = parts.get_mut(content) else {
            return;
        };
        let told = of_part.map_or_else(|| std::mem::take(citations), |citation| vec![citation]);
        let chars = if told.is_empty() { 0 } else { text.chars().count() as u64 };
        let place = object!({"item_id": id.as_str(), "output_index": index, "content_index": content});
        let mut events = Vec::with_capacity(told.len());
        for citation in told {
            let pointer = format!("/content/{block}/citations");
            let Some(annotation) = items::annotation(&pointer, citation, chars, losses) else { continue };
            let event = with(place.clone(), "annotation_index", said.len().into());
            said.push(annotation.clone());
            events.push(with(event, "annotation", annotation));
        }
        let kind = "response.output_text.annotation.added";
        events.into_iter().for_each(|event| self.write(kind, event, out));
    }

    /// Says the items whose parts have all been said. The last one waits until it is known whether the answer was cut off in it.
    fn settle(&mut self, status_of_last: &'static str, out: &mut BytesMut) {
        let count = self.items.len();
        let mut done = Vec::new();
        for (index, item) in self.items.iter_mut().enumerate() {
            if item.open == 0 && item.done.is_none() {
                let status = if index + 1 == count { status_of_last } else { "completed" };
                item.done = Some(status);
                done.push(object!({"output_index": index, "item": item.value(status)}));
            }
        }
        done.into_iter().for_each(|event| self.write("response.output_item.done", event, out));
    }

    fn error(&mut self, kind: &str, message: &str, out: &mut BytesMut) {
        self.has_ended = true;
        self.write("error", object!({"code": kind, "message": message, "param": Value::Null}), out);
    }

    fn end(&mut self, out: &mut BytesMut, losses: &mut Losses) {
        self.begin(out);
        let mut open: Vec<usize> = self.open.iter().map(|(block, ..)| *block).collect();
        open.sort_unstable();
        open.into_iter().for_each(|block| self.stop(block, out, losses));
        let ending = self.ending.take().unwrap_or_else(|| Ending::of(&StopReason::EndOfTurn, losses));
        self.settle(ending.of_last_item(), out);
        self.has_ended = true;
        let output = self.items.drain(..).filter_map(|item| Some(item.value(item.done?))).collect();
        let response = self.frame.response(&ending, output, self.usage.as_ref(), None);
        let kind = ending.event();
        self.write(kind, object!({"response": response}), out);
    }

    fn write(&mut self, kind: &str, event: Value, out: &mut BytesMut) {
        let numbered = [("type".into(), kind.into()), ("sequence_number".into(), self.events.into())];
        self.events += 1;
        let event = if let Value::Object(event) = event { event } else { Map::new() };
        let members: Map = numbered.into_iter().chain(event).collect();
        sse::encode(out, Some(kind), &members.to_bytes());
    }
}

/// What a delta adds to what is said once more at the end, in bytes. Citations are few and short.
fn said_bytes(delta: &Delta) -> usize {
    match delta {
        Delta::Text(text) | Delta::Input(text) | Delta::Signature(text) => text.len(),
        Delta::Citation(_) => 0,
        Delta::Logprobs(tokens) => tokens.iter().map(items::logprob_bytes).sum(),
    }
}

/// The object with one more member.
fn with(mut object: Value, key: &str, value: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.insert(key, value);
    }
    object
}

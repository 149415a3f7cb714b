//! A streamed answer of `streamGenerateContent`, read into the hub event by event.
//!
//! Source: `google.genai.types.GenerateContentResponse`. Texts come in pieces, one part in each event, and calls whole. A
//! candidate ends with its `finishReason`; the stream itself has no last event.

use std::collections::BTreeMap;
use std::ops::Range;

use tollgate_chat::{
    BlockKind, BlockStart, Citation, Delta, Effect, Event, LossKind, Losses, Origin, StopReason,
};
use tollgate_terms::Usage;
use tollgate_wire::json::{Text, Value};
use tollgate_wire::sse::Frame;

use super::citations::{self, Cited};
use super::decode_answer::{Candidate, Content, Response, blocked, lose_beside};
use super::logprobs::decode_tokens;
use super::parts::{Part, part};
use super::stop::{Called, stop_reason};
use super::time;
use super::usage::decode_usage;
use crate::Unreadable;
use crate::fields::{Fields, lose_members, loss, tells};
use crate::ruler::Ruler;
use crate::texts::{TEXTS_MAX, Texts};
use crate::translate::{lose_unreadable, read_object};
use crate::words::DecodeStream;

/// Most candidates that a request can ask for, with room to spare.
const CANDIDATES_MAX: usize = 64;

/// Reads one stream.
#[derive(Debug, Default)]
pub(crate) struct StreamDecoder {
    has_begun: bool,
    has_ended: bool,
    usage: Option<Usage>,
    candidates: Vec<Progress>,
}

/// A candidate so far.
#[derive(Debug, Default)]
struct Progress {
    /// The number of the next block.
    next_block: usize,
    open: Option<Open>,
    /// The number of the block that goes on.
    open_block: usize,
    /// All of its texts.
    ruler: Ruler,
    texts: Texts,
    /// How many parts there have been, if pieces of one are taken together, and which texts were which of them.
    parts: u64,
    text_parts: BTreeMap<u64, usize>,
    /// What was found on the web, as the last event told it that told anything: of all texts so far.
    grounding: Option<Value>,
    called: Called,
    /// Whether anything of it was told, and its end.
    has_begun: bool,
    has_stopped: bool,
}

/// The kind of the block that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
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
        let Some(event) = read_object(frame) else {
            lose_unreadable(losses);
            return Ok(());
        };
        let response = Response::of(Fields::of(event, "")?)?;
        if let Some(failure) = response.error {
            self.has_ended = true;
            let kind = failure.status.unwrap_or_else(|| "UNKNOWN".to_owned());
            let message = failure.message.unwrap_or_else(|| kind.clone());
            out.push(Event::Error { kind, message });
            return Ok(());
        }
        self.take(response, out, losses)
    }

    fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Unreadable> {
        if self.has_ended {
            return Ok(());
        }
        let mut begun = self.candidates.iter().filter(|progress| progress.has_begun).peekable();
        if begun.peek().is_none() || begun.any(|progress| !progress.has_stopped) {
            return Err(Unreadable("the stream ended before the answer did".to_owned()));
        }
        self.has_ended = true;
        out.push(Event::End);
        Ok(())
    }
}

impl StreamDecoder {
    fn take(
        &mut self,
        response: Response,
        out: &mut Vec<Event>,
        losses: &mut Losses,
    ) -> Result<(), Unreadable> {
        let Response {
            candidates,
            prompt_feedback,
            usage_metadata,
            response_id,
            model_version,
            create_time,
            error: _,
            rest,
        } = response;
        lose_members("", &rest, &[], losses);
        let told = usage_metadata.and_then(|told| decode_usage(&told, losses));
        if !std::mem::replace(&mut self.has_begun, true) {
            let id = response_id.unwrap_or_default();
            let created_s = create_time.and_then(|text| time::parse(&text));
            let model = model_version.filter(|model| !model.is_empty());
            // What is told at the start is the prompt: of the answer the later numbers count, which may be smaller.
            let prompt = |usage: Usage| Usage {
                output_tokens: 0,
                reasoning_tokens: 0,
                provider_total_tokens: None,
                ..usage
            };
            out.push(Event::Start { id, model, created_s, usage: told.map(prompt) });
        }
        if told.is_some() && told != self.usage {
            out.extend(told.map(Event::Usage));
        }
        self.usage = told.or(self.usage);
        let is_blocked = prompt_feedback.is_some_and(|feedback| blocked(&feedback, losses));
        if is_blocked && candidates.is_empty() {
            let progress = self.progress(0)?;
            if !std::mem::replace(&mut progress.has_stopped, true) {
                progress.close(0, out);
                out.push(Event::Stop { choice: 0, reason: StopReason::Refusal });
            }
        }
        for (place, candidate) in candidates.into_iter().enumerate() {
            let choice = candidate.index.unwrap_or(place);
            self.progress(choice)?.take(choice, candidate, out, losses)?;
        }
        Ok(())
    }

    fn progress(&mut self, choice: usize) -> Result<&mut Progress, Unreadable> {
        if choice >= CANDIDATES_MAX {
            return Err(Unreadable(format!("a candidate with the number {choice}")));
        }
        if self.candidates.len() <= choice {
            self.candidates.resize_with(choice + 1, Progress::default);
        }
        let progress = self.candidates.get_mut(choice);
        let progress = progress.ok_or_else(|| Unreadable("a candidate that nobody knows".to_owned()))?;
        progress.has_begun = true;
        Ok(progress)
    }
}

impl Progress {
    fn take(
        &mut self,
        choice: usize,
        candidate: Candidate,
        out: &mut Vec<Event>,
        losses: &mut Losses,
    ) -> Result<(), Unreadable> {
        if self.has_stopped {
            return Ok(());
        }
        let Candidate {
            index: _,
            content,
            finish_reason,
            citation_metadata,
            grounding_metadata,
            logprobs_result,
            rest,
        } = candidate;
        let origin = Origin::of_item("candidates", choice);
        lose_beside(&origin, &rest, losses);
        let mut tokens = logprobs_result.and_then(|told| decode_tokens(&origin, &told, losses));
        let Content { parts, rest: beside_parts } = content;
        lose_members(&origin.member("content"), &beside_parts, &["role"], losses);
        let parts_at = origin.member("content/parts");
        for members in parts {
            let Part { signature, kind } = part(&parts_at, members, losses)?;
            self.sign(choice, signature, out);
            if matches!(kind, Some(BlockKind::Text { .. })) {
                self.go_on(choice, Open::Text, out);
                self.tell_logprobs(choice, tokens.take(), out);
            }
            if let Some(kind) = kind {
                self.say(choice, kind, out, losses);
            }
        }
        if self.open == Some(Open::Text) {
            self.tell_logprobs(choice, tokens.take(), out);
        }
        if tokens.is_some_and(|tokens| !tokens.is_empty()) {
            // Of what is no text: a call, or a thought.
            losses.push_once(loss(format!("{origin}/logprobsResult"), LossKind::Logprobs, Effect::Meaning));
        }
        let quoted = citation_metadata.map(|told| citations::decode_quoted(&origin, &told, losses));
        self.cite(choice, quoted.unwrap_or_default(), out, losses);
        self.grounding = grounding_metadata.filter(tells).or(self.grounding.take());
        if let Some(word) = finish_reason.filter(|word| word != "FINISH_REASON_UNSPECIFIED") {
            if let Some(told) = self.grounding.take() {
                let found = citations::decode_grounding(&origin, &told, losses);
                self.cite(choice, found, out, losses);
            }
            self.close(choice, out);
            self.has_stopped = true;
            out.push(Event::Stop { choice, reason: stop_reason(Some(&word), self.called) });
        }
        Ok(())
    }

    /// Log probabilities of the text that comes next.
    fn tell_logprobs(&self, choice: usize, tokens: Option<Vec<Value>>, out: &mut Vec<Event>) {
        if let Some(tokens) = tokens.filter(|tokens| !tokens.is_empty()) {
            self.tell(choice, Delta::Logprobs(tokens), out);
        }
    }

    /// Gives the texts their sources. Those that are over may get some, too.
    fn cite(&mut self, choice: usize, told: Vec<Cited>, out: &mut Vec<Event>, losses: &mut Losses) {
        for cited in told {
            match self.place(&cited) {
                Some((block, span)) => {
                    let delta = Delta::Citation(Citation { span, ..cited.citation });
                    out.push(Event::BlockDelta { choice, block, delta });
                }
                None => {
                    let pointer = format!("/candidates/{choice}/groundingMetadata/groundingSupports");
                    losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
                }
            }
        }
    }

    /// The block that a source is of, and the characters that rest on it: the part that is named, the text where its place is, or the
    /// last text.
    fn place(&self, cited: &Cited) -> Option<(usize, Option<Range<u64>>)> {
        let named = cited.part.and_then(|part| self.text_parts.get(&part).copied());
        let Some(bytes) = cited.bytes else {
            return Some((named.or_else(|| self.texts.last())?, None));
        };
        let place = named.and_then(|block| self.place_in(block, bytes)).or_else(|| {
            let span = self.ruler.char_of(bytes.0)?..self.ruler.char_of(bytes.1)?;
            self.texts.place(&span)
        });
        place.map(|(block, span)| (block, Some(span)))
    }

    /// The characters of a place that counts from where the block begins; nothing where it is not all in there.
    fn place_in(&self, block: usize, (start, end): (u64, u64)) -> Option<(usize, Range<u64>)> {
        let chars = self.texts.chars_of(block)?;
        let before = self.ruler.byte_of(chars.start)?;
        let place = |byte: u64| self.ruler.char_of(before.checked_add(byte)?);
        let (start, end) = (place(start)?, place(end)?);
        (end <= chars.end).then(|| (block, start - chars.start..end.saturating_sub(chars.start)))
    }

    /// The signature of a part stands before it, as reasoning without a text.
    fn sign(&mut self, choice: usize, signature: Option<Text>, out: &mut Vec<Event>) {
        let Some(signature) = signature else { return };
        self.close_thought(choice, out);
        self.begin(choice, BlockStart::Thinking, out);
        self.delta(choice, Delta::Signature(signature), out);
        self.end(choice, out);
    }

    fn say(&mut self, choice: usize, kind: BlockKind, out: &mut Vec<Event>, losses: &mut Losses) {
        match kind {
            BlockKind::Text { text, citations: _ } => {
                self.go_on(choice, Open::Text, out);
                self.ruler.push(&text.as_str());
                self.texts.reach(self.ruler.chars());
                self.tell(choice, Delta::Text(text), out);
            }
            BlockKind::Thinking { text, signature } => {
                self.go_on(choice, Open::Thinking, out);
                if !text.is_empty() {
                    self.tell(choice, Delta::Text(text), out);
                }
                if let Some(signature) = signature {
                    // It proves all of the thought, so that what comes next is another.
                    self.tell(choice, Delta::Signature(signature), out);
                    self.close(choice, out);
                }
            }
            BlockKind::ToolUse { id, name, input } => {
                self.called = Called::Functions;
                self.close_thought(choice, out);
                self.parts += 1;
                self.begin(choice, BlockStart::ToolUse { id, name }, out);
                self.delta(choice, Delta::Input(Text::of_document(&input)), out);
                self.end(choice, out);
            }
            BlockKind::Foreign { name, value: _ } => {
                self.close_thought(choice, out);
                self.parts += 1;
                self.begin(choice, BlockStart::Foreign { name }, out);
                self.end(choice, out);
            }
            BlockKind::Refusal { .. }
            | BlockKind::RedactedThinking { .. }
            | BlockKind::ToolResult { .. }
            | BlockKind::Image { .. }
            | BlockKind::Document { .. }
            | BlockKind::Audio { .. } => {
                let pointer = format!("/candidates/{choice}/content/parts/inlineData");
                losses.push_once(loss(pointer, LossKind::Media, Effect::Meaning));
            }
        }
    }

    /// Begins a text or a thought, unless one goes on in which nothing else was told.
    fn go_on(&mut self, choice: usize, kind: Open, out: &mut Vec<Event>) {
        if self.open == Some(kind) && self.open_block + 1 == self.next_block {
            return;
        }
        self.close(choice, out);
        let start = if kind == Open::Text { BlockStart::Text } else { BlockStart::Thinking };
        self.open_block = self.next_block;
        if kind == Open::Text {
            self.texts.begin(self.open_block);
            if self.text_parts.len() < TEXTS_MAX {
                self.text_parts.insert(self.parts, self.open_block);
            }
        }
        self.parts += 1;
        self.begin(choice, start, out);
        self.open = Some(kind);
    }

    fn begin(&mut self, choice: usize, start: BlockStart, out: &mut Vec<Event>) {
        let block = self.next_block;
        self.next_block += 1;
        out.push(Event::BlockStart { choice, block, start });
    }

    /// More of the text or thought that goes on.
    fn tell(&self, choice: usize, delta: Delta, out: &mut Vec<Event>) {
        out.push(Event::BlockDelta { choice, block: self.open_block, delta });
    }

    /// More of the block that began last.
    fn delta(&mut self, choice: usize, delta: Delta, out: &mut Vec<Event>) {
        let block = self.next_block.saturating_sub(1);
        out.push(Event::BlockDelta { choice, block, delta });
    }

    /// The block that began last is over.
    fn end(&mut self, choice: usize, out: &mut Vec<Event>) {
        let block = self.next_block.saturating_sub(1);
        out.push(Event::BlockStop { choice, block });
    }

    /// The thought that goes on is over. A text waits for what it rests on, which is told at the end.
    fn close_thought(&mut self, choice: usize, out: &mut Vec<Event>) {
        if self.open == Some(Open::Thinking) {
            self.close(choice, out);
        }
    }

    /// The text or thought that goes on is over.
    fn close(&mut self, choice: usize, out: &mut Vec<Event>) {
        if self.open.take().is_some() {
            out.push(Event::BlockStop { choice, block: self.open_block });
        }
    }
}

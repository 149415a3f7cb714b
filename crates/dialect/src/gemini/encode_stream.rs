//! A streamed answer, said as events of `streamGenerateContent`.
//!
//! Source: `google.genai.types.GenerateContentResponse`. Texts and thoughts go out as they come, a call when all of it is
//! known. The last event tells how each candidate ended, and the usage.

use std::collections::VecDeque;

use bytes::BytesMut;
use tollgate_chat::{BlockStart, Citation, Delta, Effect, Event, LossKind, Losses, Origin, StopReason};
use tollgate_terms::{Dialect, Usage};
use tollgate_wire::json::{Text, Value};
use tollgate_wire::sse;

use super::citations::Grounding;
use super::logprobs::encode_tokens;
use super::stop::finish_reason;
use super::usage::encode_usage;
use super::{is_signature, redacted, time};
use crate::AnswerContext;
use crate::error::encode_told;
use crate::fields::{Members, loss, object};
use crate::ids::CallIds;
use crate::openai_chat::arguments;
use crate::ruler::Ruler;
use crate::texts::Texts;
use crate::words::EncodeStream;

/// Says one stream.
#[derive(Debug)]
pub(crate) struct StreamEncoder {
    context: AnswerContext,
    id: Text,
    model: Text,
    created: Option<Text>,
    usage: Usage,
    choices: Vec<Progress>,
    open: Vec<OpenBlock>,
    ids: CallIds,
    has_ended: bool,
}

/// What has been said of a choice.
#[derive(Debug, Default)]
struct Progress {
    /// Signatures that wait for their part; the oldest first.
    signatures: VecDeque<Text>,
    /// Log probabilities that wait for the text that they belong to.
    logprobs: Vec<Value>,
    /// Its texts, one after the other.
    ruler: Ruler,
    texts: Texts,
    grounding: Grounding,
    stop: Option<StopReason>,
}

/// A block that has begun and not stopped.
#[derive(Debug)]
struct OpenBlock {
    choice: usize,
    block: usize,
    kind: OpenKind,
    /// What it rests on, which is told once all of it has been.
    citations: Vec<Citation>,
}

#[derive(Debug)]
enum OpenKind {
    /// Whether anything of it has been said.
    Text(Begun),
    Thinking(Begun),
    /// A call, with its arguments so far.
    Call {
        id: String,
        name: String,
        input: String,
    },
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    Yes,
    No,
}

impl StreamEncoder {
    /// An encoder for one stream.
    pub(crate) fn new(context: AnswerContext) -> Self {
        Self {
            ids: CallIds::new(&context.fallback_id),
            id: context.fallback_id.as_str().into(),
            model: context.requested_model.as_str().into(),
            created: None,
            context,
            usage: Usage::default(),
            choices: Vec::new(),
            open: Vec::new(),
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
                if !id.is_empty() {
                    self.ids = CallIds::new(&id);
                    self.id = id.into();
                }
                if let Some(model) = model {
                    self.model = model.into();
                }
                self.created = created_s.map(|seconds| time::format(seconds).into());
                self.usage = usage.unwrap_or_default();
            }
            Event::BlockStart { choice, block, start } => self.start(choice, block, start, out, losses),
            Event::BlockDelta { choice, block, delta } => self.delta(choice, block, delta, out, losses),
            Event::BlockStop { choice, block } => {
                let is_meant = |open: &OpenBlock| (open.choice, open.block) == (choice, block);
                if let Some(at) = self.open.iter().position(is_meant) {
                    let open = self.open.remove(at);
                    self.stop(open, out, losses);
                }
            }
            // All that ends the answer is one event.
            Event::Stop { choice, reason } => self.progress(choice).stop = Some(reason),
            Event::Usage(usage) => self.usage = usage,
            // There is no event that says nothing.
            Event::Ping => {}
            Event::Error { kind, message } => self.error(&kind, &message, out),
            Event::End => self.end(out, losses),
        }
    }
}

impl StreamEncoder {
    fn progress(&mut self, choice: usize) -> &mut Progress {
        while self.choices.len() <= choice {
            self.choices.push(Progress::default());
        }
        #[expect(clippy::indexing_slicing, reason = "it has just been made so long")]
        &mut self.choices[choice]
    }

    fn start(
        &mut self,
        choice: usize,
        block: usize,
        start: BlockStart,
        out: &mut BytesMut,
        losses: &mut Losses,
    ) {
        let kind = match start {
            BlockStart::Text | BlockStart::Refusal => {
                self.progress(choice).texts.begin(block);
                OpenKind::Text(Begun::No)
            }
            BlockStart::Thinking => OpenKind::Thinking(Begun::No),
            BlockStart::ToolUse { id, name } => {
                OpenKind::Call { id: self.ids.next(id), name, input: String::new() }
            }
            BlockStart::RedactedThinking { data } => {
                let mut parts = self.alone(choice);
                parts.push(redacted::encode(&data));
                self.say(choice, parts, out);
                OpenKind::Nothing
            }
            BlockStart::Foreign { name } => {
                let pointer = format!("/choices/{choice}/{block}/{name}");
                losses.push_once(loss(pointer, LossKind::ServerTool, Effect::Meaning));
                OpenKind::Nothing
            }
        };
        self.open.push(OpenBlock { choice, block, kind, citations: Vec::new() });
    }

    fn delta(&mut self, choice: usize, block: usize, delta: Delta, out: &mut BytesMut, losses: &mut Losses) {
        let open = self.open.iter_mut().find(|open| (open.choice, open.block) == (choice, block));
        let Some(OpenBlock { kind, citations, .. }) = open else {
            if let Delta::Citation(citation) = delta {
                // Of a text that is over.
                self.cite(choice, block, citation, losses);
            }
            return;
        };
        match (kind, delta) {
            (_, Delta::Text(text)) if text.is_empty() => {}
            (OpenKind::Text(begun), Delta::Text(text)) => {
                let is_first = std::mem::replace(begun, Begun::Yes) == Begun::No;
                let progress = self.progress(choice);
                progress.ruler.push(&text.as_str());
                progress.texts.reach(progress.ruler.chars());
                let part = object!({"text": text});
                let part = if is_first { self.signed(choice, part) } else { part };
                self.say(choice, vec![part], out);
            }
            (OpenKind::Thinking(begun), Delta::Text(text)) => {
                *begun = Begun::Yes;
                let mut parts = self.alone(choice);
                parts.push(object!({"text": text, "thought": true}));
                self.say(choice, parts, out);
            }
            (OpenKind::Thinking(_), Delta::Signature(signature)) if !is_signature(&signature) => {
                let pointer = format!("/choices/{choice}/{block}/signature");
                losses.push_once(loss(pointer, LossKind::Thinking, Effect::Meaning));
            }
            (OpenKind::Thinking(Begun::Yes), Delta::Signature(signature)) => {
                let part = object!({"text": "", "thought": true, "thoughtSignature": signature});
                self.say(choice, vec![part], out);
            }
            // Without a text it is that of the part behind it.
            (OpenKind::Thinking(Begun::No), Delta::Signature(signature)) => {
                self.progress(choice).signatures.push_back(signature);
            }
            (OpenKind::Call { input, .. }, Delta::Input(text)) => input.push_str(&text.as_str()),
            (OpenKind::Text(_), Delta::Logprobs(tokens)) => {
                if !self.progress(choice).logprobs.is_empty() {
                    self.say(choice, Vec::new(), out);
                }
                self.progress(choice).logprobs = tokens;
            }
            (OpenKind::Text(_), Delta::Citation(citation)) => citations.push(citation),
            // A delta that does not fit its block, or a block that has no words here.
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

    fn stop(&mut self, open: OpenBlock, out: &mut BytesMut, losses: &mut Losses) {
        let OpenBlock { choice, block, kind, citations } = open;
        for citation in citations {
            self.cite(choice, block, citation, losses);
        }
        match kind {
            OpenKind::Call { id, name, input } => {
                let args = arguments(
                    &input.into(),
                    &Origin::of_item("choices", choice).item(block).member("input"),
                    losses,
                );
                let part = object!({"functionCall": object!({"id": id, "name": name, "args": args})});
                let part = self.signed(choice, part);
                self.say(choice, vec![part], out);
            }
            OpenKind::Text(_) | OpenKind::Thinking(_) | OpenKind::Nothing => {}
        }
    }

    /// What a text rests on of which all has been told.
    fn cite(&mut self, choice: usize, block: usize, citation: Citation, losses: &mut Losses) {
        let pointer = format!("/choices/{choice}/{block}/citations");
        let Progress { ruler, texts, grounding, .. } = self.progress(choice);
        match texts.chars_of(block) {
            Some(chars) => grounding.add(&pointer, citation, (&*ruler, chars, 0), losses),
            None => losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning)),
        }
    }

    /// A part with the signature that waits for it.
    fn signed(&mut self, choice: usize, mut part: Value) -> Value {
        let signatures = &mut self.progress(choice).signatures;
        if !signatures.is_empty()
            && let Some(members) = part.as_object_mut()
        {
            members.insert("thoughtSignature", signatures.pop_front().into());
        }
        part
    }

    /// Signatures that no part came for, in parts of their own, as the API itself tells them.
    fn alone(&mut self, choice: usize) -> Vec<Value> {
        let signatures = self.progress(choice).signatures.drain(..);
        signatures.map(|signature| object!({"text": "", "thoughtSignature": signature})).collect()
    }

    fn say(&mut self, choice: usize, parts: Vec<Value>, out: &mut BytesMut) {
        let mut content = Members::default();
        content.set("role", Some("model"));
        content.set("parts", (!parts.is_empty()).then_some(parts));
        let mut candidate = Members::default();
        candidate.set("content", Some(content.value()));
        candidate.set("index", Some(choice));
        candidate.set("logprobsResult", logprobs(std::mem::take(&mut self.progress(choice).logprobs)));
        self.write(vec![candidate.value()], None, out);
    }

    fn error(&mut self, kind: &str, message: &str, out: &mut BytesMut) {
        self.has_ended = true;
        let id = &self.context.fallback_id;
        out.extend_from_slice(&encode_told(Dialect::Gemini, kind, message, id));
    }

    fn end(&mut self, out: &mut BytesMut, losses: &mut Losses) {
        for open in std::mem::take(&mut self.open) {
            self.stop(open, out, losses);
        }
        self.progress(0);
        let mut candidates = Vec::with_capacity(self.choices.len());
        for choice in 0..self.choices.len() {
            let parts = self.alone(choice);
            let progress = std::mem::take(self.progress(choice));
            let Progress { signatures: _, logprobs: waiting, ruler: _, texts: _, grounding, stop } = progress;
            let mut content = Members::default();
            content.set("role", Some("model"));
            content.set("parts", (!parts.is_empty()).then_some(parts));
            let mut candidate = Members::default();
            candidate.set("content", Some(content.value()));
            let reason = stop.unwrap_or(StopReason::EndOfTurn);
            candidate.set("finishReason", Some(finish_reason(reason, losses)));
            candidate.set("groundingMetadata", grounding.value());
            candidate.set("index", Some(choice));
            candidate.set("logprobsResult", logprobs(waiting));
            candidates.push(candidate.value());
        }
        let usage = encode_usage(self.usage, losses);
        self.write(candidates, Some(usage), out);
        self.has_ended = true;
    }

    fn write(&self, candidates: Vec<Value>, usage: Option<Value>, out: &mut BytesMut) {
        let mut event = Members::default();
        event.set("candidates", Some(candidates));
        event.set("usageMetadata", usage);
        event.set("modelVersion", Some(self.model.clone()));
        event.set("createTime", self.created.clone());
        event.set("responseId", Some(self.id.clone()));
        sse::encode(out, None, &event.body());
    }
}

/// The log probabilities of tokens; none where there are none.
fn logprobs(tokens: Vec<Value>) -> Option<Value> {
    (!tokens.is_empty()).then(|| encode_tokens(&tokens))
}

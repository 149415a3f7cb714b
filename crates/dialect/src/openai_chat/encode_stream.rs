//! A streamed answer, said as chunks of a chat completion.
//!
//! Source: `openai.types.chat.ChatCompletionChunk`. Reasoning goes out as compatible servers do: its text in
//! `reasoning_content`, and the same text and its signature in `thinking_blocks`. Entries of lists are numbered, since the
//! `openai` package puts lists of objects together by `index` and breaks off where there is none.

use std::borrow::Cow;

use bytes::BytesMut;
use serde::Serialize;
use tollgate_chat::{BlockStart, Citation, Delta, Effect, Event, LossKind, Losses};
use tollgate_terms::{Dialect, Usage};
use tollgate_wire::json::Value;
use tollgate_wire::sse;

use super::annotations::encode_page;
use super::encode_answer::finish_reason;
use super::usage::encode_usage;
use crate::AnswerContext;
use crate::error::{encode, encode_told};
use crate::fields::{loss, object};
use crate::ids::CallIds;
use crate::texts::Texts;
use crate::words::EncodeStream;

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [WireChoice<'a>],
    /// There with null in each chunk but the last, where the client asked for usage.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Value>>,
}

#[derive(Serialize)]
struct WireChoice<'a> {
    index: usize,
    delta: WireDelta<'a>,
    logprobs: Option<Value>,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct WireDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<[Value; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_blocks: Option<[ThinkingBlock<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[WireCall<'a>; 1]>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ThinkingBlock<'a> {
    Thinking {
        /// The number of the block among `thinking_blocks`.
        index: usize,
        thinking: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<Cow<'a, str>>,
    },
    RedactedThinking {
        index: usize,
        data: Cow<'a, str>,
    },
}

#[derive(Serialize)]
struct WireCall<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: WireFunction<'a>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: Cow<'a, str>,
}

/// Says one stream.
#[derive(Debug)]
pub(crate) struct StreamEncoder {
    context: AnswerContext,
    id: String,
    model: String,
    created_s: u64,
    usage: Option<Usage>,
    choices: Vec<Progress>,
    open: Vec<OpenBlock>,
    ids: CallIds,
    has_ended: bool,
}

/// What has been said of a choice.
#[derive(Debug, Default, Clone)]
struct Progress {
    has_begun: bool,
    /// Where its texts are.
    texts: Texts,
    /// Annotations so far.
    annotations: usize,
    /// Blocks of `thinking_blocks` so far.
    thinking: usize,
    /// Calls so far.
    calls: usize,
    /// Log probabilities that wait for the text that they belong to.
    logprobs: Option<Value>,
}

/// A block that has begun and not stopped.
#[derive(Debug)]
struct OpenBlock {
    choice: usize,
    block: usize,
    kind: OpenKind,
    /// Whether anything of it has been said.
    is_said: bool,
    /// What all of its text rests on, which is told once it is known how long that is.
    citations: Vec<Citation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpenKind {
    Text,
    Refusal,
    /// The number of the block among `thinking_blocks`.
    Thinking(usize),
    /// The number of the call in its choice.
    Call(usize),
    Nothing,
}

impl StreamEncoder {
    /// An encoder for one stream.
    pub(crate) fn new(context: AnswerContext) -> Self {
        Self {
            ids: CallIds::new(&context.fallback_id),
            id: context.fallback_id.clone(),
            model: context.requested_model.as_str().to_owned(),
            created_s: context.created_s,
            context,
            usage: None,
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
                    self.id = id;
                }
                self.model = model.unwrap_or_else(|| std::mem::take(&mut self.model));
                self.created_s = created_s.unwrap_or(self.created_s);
                self.usage = usage;
                self.begin(0, out);
            }
            Event::BlockStart { choice, block, start } => self.start(choice, block, start, out, losses),
            Event::BlockDelta { choice, block, delta: Delta::Citation(citation) } => {
                self.cite(choice, block, citation, out, losses);
            }
            Event::BlockDelta { choice, block, delta } => self.delta(choice, block, &delta, out),
            Event::BlockStop { choice, block } => self.stop(choice, block, out, losses),
            Event::Stop { choice, reason } => {
                self.begin(choice, out);
                let finish_reason = Some(finish_reason(&reason, losses));
                self.chunk(choice, WireDelta::default(), finish_reason, out);
            }
            Event::Usage(usage) => self.usage = Some(usage),
            // A comment would do for the line, but some clients count only events towards their read timeout.
            Event::Ping if self.choices.is_empty() => {}
            Event::Ping => self.chunk(0, WireDelta::default(), None, out),
            Event::Error { kind, message } => self.error(&kind, &message, out),
            Event::End => self.end(out, losses),
        }
    }
}

impl StreamEncoder {
    fn start(
        &mut self,
        choice: usize,
        block: usize,
        start: BlockStart,
        out: &mut BytesMut,
        losses: &mut Losses,
    ) {
        self.begin(choice, out);
        let kind = match start {
            BlockStart::Text => {
                self.choices.get_mut(choice).into_iter().for_each(|progress| progress.texts.begin(block));
                OpenKind::Text
            }
            BlockStart::Refusal => OpenKind::Refusal,
            BlockStart::Thinking => OpenKind::Thinking(self.next(choice, |progress| &mut progress.thinking)),
            BlockStart::RedactedThinking { data } => {
                let index = self.next(choice, |progress| &mut progress.thinking);
                let thinking_blocks = Some([ThinkingBlock::RedactedThinking { index, data: data.as_str() }]);
                self.chunk(choice, WireDelta { thinking_blocks, ..WireDelta::default() }, None, out);
                OpenKind::Nothing
            }
            BlockStart::ToolUse { id, name } => {
                let index = self.next(choice, |progress| &mut progress.calls);
                let id = self.ids.next(id);
                let function = WireFunction { name: Some(&name), arguments: "".into() };
                let call = WireCall { index, id: Some(&id), kind: Some("function"), function };
                self.chunk(choice, WireDelta { tool_calls: Some([call]), ..WireDelta::default() }, None, out);
                OpenKind::Call(index)
            }
            BlockStart::Foreign { name } => {
                losses.push_once(loss(
                    format!("/content/{block}/{name}"),
                    LossKind::ServerTool,
                    Effect::Meaning,
                ));
                OpenKind::Nothing
            }
        };
        self.open.push(OpenBlock { choice, block, kind, is_said: false, citations: Vec::new() });
    }

    fn delta(&mut self, choice: usize, block: usize, delta: &Delta, out: &mut BytesMut) {
        let open = self.open.iter_mut().find(|open| (open.choice, open.block) == (choice, block));
        let kind = open.map_or(OpenKind::Nothing, |open| {
            open.is_said |= !matches!(delta, Delta::Input(text) if text.is_empty());
            open.kind
        });
        let wire = match (kind, delta) {
            (OpenKind::Text, Delta::Logprobs(tokens)) => {
                return self.hold(choice, object!({"content": tokens.clone(), "refusal": Value::Null}), out);
            }
            (OpenKind::Refusal, Delta::Logprobs(tokens)) => {
                return self.hold(choice, object!({"content": Value::Null, "refusal": tokens.clone()}), out);
            }
            (OpenKind::Text, Delta::Text(text)) => {
                if let Some(progress) = self.choices.get_mut(choice) {
                    progress.texts.push(&text.as_str());
                }
                WireDelta { content: Some(text.as_str()), ..WireDelta::default() }
            }
            (OpenKind::Refusal, Delta::Text(text)) => {
                WireDelta { refusal: Some(text.as_str()), ..WireDelta::default() }
            }
            (OpenKind::Thinking(index), Delta::Text(text)) => WireDelta {
                reasoning_content: Some(text.as_str()),
                thinking_blocks: Some([ThinkingBlock::Thinking {
                    index,
                    thinking: text.as_str(),
                    signature: None,
                }]),
                ..WireDelta::default()
            },
            (OpenKind::Thinking(index), Delta::Signature(signature)) => WireDelta {
                thinking_blocks: Some([ThinkingBlock::Thinking {
                    index,
                    thinking: "".into(),
                    signature: Some(signature.as_str()),
                }]),
                ..WireDelta::default()
            },
            (OpenKind::Call(index), Delta::Input(arguments)) => {
                let function = WireFunction { name: None, arguments: arguments.as_str() };
                let call = WireCall { index, id: None, kind: None, function };
                WireDelta { tool_calls: Some([call]), ..WireDelta::default() }
            }
            // A delta that does not fit its block, or a block that has no words here.
            (
                _,
                Delta::Text(_)
                | Delta::Input(_)
                | Delta::Signature(_)
                | Delta::Citation(_)
                | Delta::Logprobs(_),
            ) => return,
        };
        self.chunk(choice, wire, None, out);
    }

    /// Keeps log probabilities for the next chunk. Those before, which no text followed, get one of their own.
    fn hold(&mut self, choice: usize, logprobs: Value, out: &mut BytesMut) {
        if self.choices.get(choice).is_some_and(|progress| progress.logprobs.is_some()) {
            self.chunk(choice, WireDelta::default(), None, out);
        }
        if let Some(progress) = self.choices.get_mut(choice) {
            progress.logprobs = Some(logprobs);
        }
    }

    /// Tells what a text rests on: at once where it is a part that is named, else when all of the text has been told.
    fn cite(
        &mut self,
        choice: usize,
        block: usize,
        citation: Citation,
        out: &mut BytesMut,
        losses: &mut Losses,
    ) {
        let open = self.open.iter_mut().find(|open| (open.choice, open.block) == (choice, block));
        match open {
            Some(open) if citation.span.is_none() => open.citations.push(citation),
            _ => self.annotate(choice, block, citation, out, losses),
        }
    }

    /// An annotation counts through all texts, so it does not matter whether its own is over.
    fn annotate(
        &mut self,
        choice: usize,
        block: usize,
        citation: Citation,
        out: &mut BytesMut,
        losses: &mut Losses,
    ) {
        let pointer = format!("/content/{block}/citations");
        let chars = self.choices.get(choice).and_then(|progress| progress.texts.chars_of(block));
        let Some(chars) = chars else {
            losses.push_once(loss(pointer, LossKind::Citation, Effect::Meaning));
            return;
        };
        let chars = (chars.start, chars.end.saturating_sub(chars.start));
        let Some(page) = encode_page(&pointer, citation, chars, losses) else { return };
        let index = self.next(choice, |progress| &mut progress.annotations);
        let said = object!({"type": "url_citation", "url_citation": page, "index": index});
        self.chunk(choice, WireDelta { annotations: Some([said]), ..WireDelta::default() }, None, out);
    }

    fn stop(&mut self, choice: usize, block: usize, out: &mut BytesMut, losses: &mut Losses) {
        let at = self.open.iter().position(|open| (open.choice, open.block) == (choice, block));
        let Some(mut open) = at.map(|at| self.open.swap_remove(at)) else { return };
        for citation in std::mem::take(&mut open.citations) {
            self.annotate(choice, block, citation, out, losses);
        }
        if let OpenBlock { kind: OpenKind::Call(index), is_said: false, .. } = open {
            // A call without arguments says nothing of them; clients here parse what they got as JSON.
            let call = WireCall {
                index,
                id: None,
                kind: None,
                function: WireFunction { name: None, arguments: "{}".into() },
            };
            self.chunk(choice, WireDelta { tool_calls: Some([call]), ..WireDelta::default() }, None, out);
        }
    }

    /// The first chunk of a choice says who speaks.
    fn begin(&mut self, choice: usize, out: &mut BytesMut) {
        if self.choices.len() <= choice {
            self.choices.resize(choice + 1, Progress::default());
        }
        if let Some(progress) = self.choices.get_mut(choice)
            && !progress.has_begun
        {
            progress.has_begun = true;
            let delta =
                WireDelta { role: Some("assistant"), content: Some("".into()), ..WireDelta::default() };
            self.chunk(choice, delta, None, out);
        }
    }

    /// The number of the next element of a kind in a choice that has begun.
    fn next(&mut self, choice: usize, count: impl Fn(&mut Progress) -> &mut usize) -> usize {
        let Some(progress) = self.choices.get_mut(choice) else { return 0 };
        let count = count(progress);
        *count += 1;
        *count - 1
    }

    fn error(&mut self, kind: &str, message: &str, out: &mut BytesMut) {
        self.has_ended = true;
        let id = &self.context.fallback_id;
        out.extend_from_slice(&encode_told(Dialect::OpenAiChat, kind, message, id));
    }

    fn end(&mut self, out: &mut BytesMut, losses: &mut Losses) {
        let open: Vec<_> = self.open.iter().map(|open| (open.choice, open.block)).collect();
        open.into_iter().for_each(|(choice, block)| self.stop(choice, block, out, losses));
        self.has_ended = true;
        if self.context.usage_wanted {
            let usage = encode_usage(&self.usage.unwrap_or_default());
            self.write(&[], Some(Some(usage)), out);
        }
        sse::encode(out, None, b"[DONE]");
    }

    fn chunk(
        &mut self,
        index: usize,
        delta: WireDelta<'_>,
        finish_reason: Option<&'static str>,
        out: &mut BytesMut,
    ) {
        let logprobs = self.choices.get_mut(index).and_then(|progress| progress.logprobs.take());
        let choice = WireChoice { index, delta, logprobs, finish_reason };
        self.write(&[choice], self.context.usage_wanted.then_some(None), out);
    }

    fn write(&self, choices: &[WireChoice<'_>], usage: Option<Option<Value>>, out: &mut BytesMut) {
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created_s,
            model: &self.model,
            choices,
            usage,
        };
        sse::encode(out, None, &encode(&chunk));
    }
}

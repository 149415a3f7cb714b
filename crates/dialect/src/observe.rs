//! An answer, seen in passing: its usage, its model, its first token, its end. Never changes a byte.
//!
//! Frames of text come by the thousand, so they are not parsed: one walk over their members decides whether a frame
//! needs a closer look. Numbers are read leniently, since a provider's nonsense must not end a stream:
//! what is no count is not counted.

use std::borrow::Cow;

use http::HeaderMap;
use serde::de::{Deserializer, IgnoredAny, Visitor};
use serde::{Deserialize, de};
use tollgate_chat::Answer;
use tollgate_terms::{Delivery, Dialect, ModelName, Operation, Usage, UsageSource};
use tollgate_wire::json;
use tollgate_wire::sse::Frame;

use crate::mould::Mould;
use crate::{
    anthropic_messages, bedrock_converse, cohere_rerank, embeddings, gemini, openai_audio, openai_chat,
    openai_images, openai_responses, vllm_tokenize,
};

/// Where AWS Bedrock tells tokens, of models whose answers have no place for them (Bedrock's user guide, `InvokeModel`).
const INPUT_TOKENS: &str = "x-amzn-bedrock-input-token-count";
const OUTPUT_TOKENS: &str = "x-amzn-bedrock-output-token-count";

/// What a frame turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A part of the answer.
    Content,
    /// Nothing but the usage, which only clients that asked for it expect.
    UsageOnly,
    /// The end of the answer.
    Terminal,
    /// An error.
    Error,
    /// Anything else: comments, pings, what cannot be read.
    Other,
}

/// Whether `data` is all of the data of an event, whose end has not been seen: a document, or the word that ends a stream.
pub fn is_whole(data: &[u8]) -> bool {
    data.trim_ascii() == b"[DONE]" || serde_json::from_slice::<IgnoredAny>(data).is_ok()
}

/// Watches one answer.
#[derive(Debug)]
pub struct Observer {
    dialect: Dialect,
    operation: Operation,
    tally: Tally,
    mould: Mould,
}

/// What has been seen so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) usage: Option<Usage>,
    /// Whether the usage is the provider's last word.
    pub(crate) usage_is_final: bool,
    pub(crate) served_model: Option<ModelName>,
    pub(crate) is_complete: bool,
    pub(crate) output_bytes: u64,
    pub(crate) saw_output: bool,
}

impl Observer {
    /// An observer for an answer of `dialect`.
    pub fn new(dialect: Dialect, operation: Operation, _delivery: Delivery) -> Self {
        Self { dialect, operation, tally: Tally::default(), mould: Mould::default() }
    }

    /// Sees the head of the answer. Some hosts tell the tokens there, and only there.
    pub fn head(&mut self, headers: &HeaderMap) {
        let count = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        if let Some(input_tokens) = count(INPUT_TOKENS) {
            let output_tokens = count(OUTPUT_TOKENS).unwrap_or(0);
            self.tally.finish(Some(Usage { input_tokens, output_tokens, ..Usage::default() }));
        }
    }

    /// Sees a whole answer.
    pub fn body(&mut self, body: &[u8]) {
        let tally = &mut self.tally;
        match (self.dialect, self.operation) {
            (Dialect::OpenAiChat | Dialect::OpenAiCompletions, _) => openai_chat::observe::body(tally, body),
            (Dialect::OpenAiEmbeddings, _) => embeddings::observe::openai_body(tally, body),
            (
                Dialect::VertexEmbeddings
                | Dialect::GeminiEmbeddings
                | Dialect::TitanEmbeddings
                | Dialect::CohereEmbeddings,
                _,
            ) => embeddings::observe::body(tally, self.dialect, body),
            (Dialect::OpenAiResponses, _) => openai_responses::observe::body(tally, body),
            (Dialect::OpenAiImages, _) => openai_images::observe_body(tally, body),
            (Dialect::OpenAiAudio, _) => openai_audio::observe_body(tally, body),
            (Dialect::AnthropicMessages, Operation::CountTokens) => {
                anthropic_messages::observe::count_body(tally, body);
            }
            (Dialect::AnthropicMessages, _) => anthropic_messages::observe::body(tally, body),
            (Dialect::Gemini, _) => gemini::observe::body(tally, body),
            (Dialect::BedrockConverse, _) => bedrock_converse::observe::body(tally, body),
            (Dialect::CohereRerank, _) => tally.finish(cohere_rerank::usage(body)),
            (Dialect::VllmTokenize, _) => tally.finish(vllm_tokenize::usage(body)),
        }
        tally.is_complete = true;
    }

    /// Sees a whole answer that has been read for its translation, if it could be: what that found is not looked for once more.
    pub(crate) fn answer(&mut self, body: &[u8], read: Option<&Answer>) {
        let used = read.and_then(|answer| Some((answer, answer.usage?)));
        match used {
            // Only such a usage is the last word whatever the dialect.
            Some((answer, usage)) if usage.output_tokens > 0 => {
                self.tally.serve(answer.model.as_deref());
                self.tally.finish(Some(usage));
                self.tally.is_complete = true;
            }
            _ => self.body(body),
        }
    }

    /// Sees one event of a streamed answer.
    pub fn frame(&mut self, frame: &Frame) -> Seen {
        if let Some(text_bytes) = self.mould.fit(&frame.raw) {
            self.tally.output(text_bytes);
            return Seen::Content;
        }
        let text_bytes = self.tally.output_bytes;
        let seen = self.look_at(frame);
        if seen == Seen::Content && self.tally.output_bytes > text_bytes {
            self.mould.keep(&frame.raw, texts(self.dialect));
        }
        seen
    }

    /// Sees the events that `stream` begins with, as long as each differs from the last one seen in its text only, and
    /// returns how many bytes they take. All of them are [`Seen::Content`].
    pub fn skim(&mut self, stream: &[u8]) -> usize {
        let mut rest = stream;
        while let Some((event_bytes, text_bytes)) = self.mould.fit_first(rest) {
            self.tally.output(text_bytes);
            rest = rest.get(event_bytes..).unwrap_or_default();
        }
        stream.len() - rest.len()
    }

    fn look_at(&mut self, frame: &Frame) -> Seen {
        let data = frame.data();
        if data.is_empty() {
            return Seen::Other;
        }
        let tally = &mut self.tally;
        match self.dialect {
            Dialect::AnthropicMessages => anthropic_messages::observe::event(tally, frame, &data),
            Dialect::Gemini => gemini::observe::event(tally, &data),
            Dialect::BedrockConverse => bedrock_converse::observe::event(tally, frame, &data),
            Dialect::OpenAiResponses => openai_responses::observe::event(tally, &data),
            Dialect::OpenAiAudio => openai_audio::observe_event(tally, &data),
            Dialect::OpenAiImages => openai_images::observe_event(tally, &data),
            Dialect::OpenAiChat
            | Dialect::OpenAiCompletions
            | Dialect::OpenAiEmbeddings
            | Dialect::VertexEmbeddings
            | Dialect::GeminiEmbeddings
            | Dialect::TitanEmbeddings
            | Dialect::CohereEmbeddings
            | Dialect::CohereRerank
            | Dialect::VllmTokenize => openai_chat::observe::event(tally, &data),
        }
    }

    /// The usage told so far, and whether it is the last word.
    pub fn usage(&self) -> Option<(Usage, UsageSource)> {
        let source =
            if self.tally.usage_is_final { UsageSource::ProviderFinal } else { UsageSource::ProviderPartial };
        self.tally.usage.map(|usage| (usage, source))
    }

    /// The model that the backend says it served.
    pub fn served_model(&self) -> Option<&ModelName> {
        self.tally.served_model.as_ref()
    }

    /// Whether the end of the answer has been seen.
    pub fn is_complete(&self) -> bool {
        self.tally.is_complete
    }

    /// Bytes of answer text seen so far, for estimates.
    pub fn output_bytes(&self) -> u64 {
        self.tally.output_bytes
    }

    /// Whether any of the answer has been seen.
    pub fn saw_output(&self) -> bool {
        self.tally.saw_output
    }
}

impl Tally {
    /// Notes the provider's last word on usage.
    pub(crate) fn finish(&mut self, usage: Option<Usage>) {
        if let Some(usage) = usage {
            self.usage = Some(usage);
            self.usage_is_final = true;
        }
    }

    /// Notes a usage that leaves out what the answer took.
    pub(crate) fn begin(&mut self, usage: Option<Usage>) {
        if usage.is_some() {
            self.usage = usage;
            self.usage_is_final = false;
        }
    }

    /// Notes the model, if it is a name.
    pub(crate) fn serve(&mut self, model: Option<&str>) {
        if let Some(model) = model.and_then(|model| ModelName::parse(model).ok()) {
            self.served_model = Some(model);
        }
    }

    /// Notes answer text of this many bytes.
    pub(crate) fn output(&mut self, bytes: usize) {
        if bytes > 0 {
            self.output_bytes = self.output_bytes.saturating_add(bytes as u64);
            self.saw_output = true;
        }
    }
}

/// Members that hold the text of an event in streams of `dialect`; none where their events are read in another way.
fn texts(dialect: Dialect) -> &'static [&'static [u8]] {
    match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiCompletions => &openai_chat::observe::TEXTS,
        Dialect::AnthropicMessages => &anthropic_messages::observe::TEXTS,
        Dialect::BedrockConverse => &bedrock_converse::observe::TEXTS,
        // Each event of Gemini tells the usage so far as well.
        Dialect::OpenAiResponses
        | Dialect::Gemini
        | Dialect::OpenAiAudio
        | Dialect::OpenAiImages
        | Dialect::OpenAiEmbeddings
        | Dialect::VertexEmbeddings
        | Dialect::GeminiEmbeddings
        | Dialect::TitanEmbeddings
        | Dialect::CohereEmbeddings
        | Dialect::CohereRerank
        | Dialect::VllmTokenize => &[],
    }
}

/// Bytes of the strings in `data` that are values of one of `keys`, at any depth.
pub(crate) fn text_bytes(data: &[u8], keys: &[&[u8]]) -> usize {
    json::members(data).filter(|(key, _)| keys.contains(key)).map(|(_, value)| string_bytes(value)).sum()
}

/// Bytes of the string that `value` begins with; 0 where it is none.
pub(crate) fn string_bytes(value: &[u8]) -> usize {
    value.strip_prefix(b"\"").map_or(0, json::string_length)
}

/// A number of tokens as providers write it: anything that is no whole number of at least 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count(Option<u64>);

impl Count {
    /// The number, if it is one.
    pub(crate) fn value(self) -> Option<u64> {
        self.0
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl<'de> Visitor<'de> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number of tokens")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Count, E> {
        Ok(Count(Some(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Count, E> {
        Ok(Count(u64::try_from(value).ok()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Count, E> {
        // Some servers write 12.0. Anything else with a fraction, or beyond what a double holds exactly, is nonsense.
        let whole = value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&value);
        Ok(Count(whole.then(|| format!("{value:.0}").parse().ok()).flatten()))
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_none<E: de::Error>(self) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Count, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut members: A) -> Result<Count, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }
}

/// The type of an event that names it in its data, and what most of these events may carry.
#[derive(Deserialize)]
pub(crate) struct TypedEvent<'a> {
    /// The type.
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Cow<'a, str>,
    /// Answer text.
    #[serde(borrow, default)]
    pub(crate) delta: Option<&'a serde_json::value::RawValue>,
    /// Usage, at the top level.
    #[serde(borrow, default)]
    pub(crate) usage: Option<&'a serde_json::value::RawValue>,
    /// A whole response, in the last event.
    #[serde(borrow, default)]
    pub(crate) response: Option<&'a serde_json::value::RawValue>,
}

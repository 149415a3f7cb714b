//! Between dialects, through the hub: decode with one dialect's words, encode with the other's.
//!
//! Whole answers and streams take the same two steps; a stream takes them event by event. What could not be said comes back as losses.

use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;
use tollgate_chat::{BlockStart, Delta, Effect, Event, Loss, LossKind, Losses};
use tollgate_terms::{Delivery, Dialect, ModelName, Operation};
use tollgate_wire::json::{Document, Map, Value};
use tollgate_wire::sse::Frame;

use crate::embeddings::VectorEncoding;
use crate::fields::loss;
use crate::observe::Observer;
use crate::words::{BackendWords, ClientWords, DecodeStream, EncodeStream, words};
use crate::{Invalid, counting, embeddings};

/// Whether `operation` asked in `client` can be said in `backend`.
pub fn can_translate(client: Dialect, backend: Dialect, operation: Operation) -> bool {
    match operation {
        Operation::Chat => client != backend && pair(client, backend).is_some(),
        Operation::Embed => embeddings::can_translate(client, backend),
        Operation::CountTokens | Operation::Tokenize => counting::can_translate(client, backend),
        Operation::Complete
        | Operation::Speak
        | Operation::Transcribe
        | Operation::Translate
        | Operation::Draw
        | Operation::Rerank => false,
    }
}

/// A body in another dialect.
#[derive(Debug)]
pub struct Encoded {
    /// The body, which is not written yet: its host may want it otherwise.
    pub body: Map,
    /// What it does not say; the first hundred.
    pub losses: Vec<Loss>,
}

/// A backend's answer that cannot be read as its dialect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unreadable answer: {0}")]
pub struct Unreadable(pub String);

impl From<Invalid> for Unreadable {
    fn from(invalid: Invalid) -> Self {
        Self(invalid.message)
    }
}

/// What an answer needs that it does not carry itself.
#[derive(Debug, Clone)]
pub struct AnswerContext {
    /// The model that the client asked for.
    pub requested_model: ModelName,
    /// Now, Unix seconds.
    pub created_s: u64,
    /// The id of an answer that has none.
    pub fallback_id: String,
    /// Whether the client expects the usage of a stream.
    pub usage_wanted: bool,
    /// How the client wants vectors written.
    pub vectors: VectorEncoding,
    /// What the answer repeats of the request: see [`repeated`](crate::repeated).
    pub repeated: Bytes,
}

/// An answer in the client's dialect.
#[derive(Debug)]
pub struct TranslatedAnswer {
    /// The body.
    pub body: Bytes,
    /// What it does not say; the first hundred.
    pub losses: Vec<Loss>,
}

/// Says a request for `model` in the backend's dialect. `delivery` is known from the request, but not always from its body.
///
/// # Errors
/// When it cannot be understood, or asks for what the backend's dialect has no words for.
pub fn translate_request<'a>(
    client: Dialect,
    backend: Dialect,
    operation: Operation,
    body: impl Into<Document<'a>>,
    model: &ModelName,
    delivery: Delivery,
) -> Result<Encoded, Invalid> {
    let body = body.into();
    let mut losses = Losses::default();
    let body = match operation {
        Operation::Embed => embeddings::translate_request(backend, body.text(), &mut losses)?,
        Operation::CountTokens | Operation::Tokenize => {
            counting::translate_request(client, backend, body.text(), model, &mut losses)?
        }
        _ => {
            let (said, read) = pair(client, backend)
                .ok_or_else(|| Invalid::unprocessable("this operation cannot be translated", ""))?;
            let mut conversation = (said.decode_request)(body, &mut losses)?;
            conversation.delivery = delivery;
            (read.encode_request)(conversation, model, &mut losses)?
        }
    };
    Ok(Encoded { body, losses: losses.into_vec() })
}

/// Says a whole answer in the client's dialect. `observer`, which is of the backend's, sees it on the way: what it saw counts also where the
/// answer cannot be said.
///
/// # Errors
/// When the answer is not one of the backend's dialect.
pub fn translate_answer(
    client: Dialect,
    backend: Dialect,
    operation: Operation,
    body: &Bytes,
    context: &AnswerContext,
    observer: &mut Observer,
) -> Result<TranslatedAnswer, Unreadable> {
    let mut losses = Losses::default();
    let body = match operation {
        Operation::Embed => {
            observer.body(body);
            // Some hosts tell the tokens in the head, and only there.
            let usage = observer.usage().map(|(usage, _)| usage);
            embeddings::translate_answer(backend, body, usage, context)?
        }
        Operation::CountTokens | Operation::Tokenize => {
            observer.body(body);
            counting::translate_answer(client, backend, body)?
        }
        _ => {
            let (said, read) = pair(client, backend)
                .ok_or_else(|| Unreadable("this operation cannot be translated".to_owned()))?;
            let answer = (read.decode_answer)(body, &mut losses);
            observer.answer(body, answer.as_ref().ok());
            (said.encode_answer)(answer?, context, &mut losses)
                .to_bytes_of_about(translated_bytes(body.len()))
        }
    };
    Ok(TranslatedAnswer { body, losses: losses.into_vec() })
}

/// About how many bytes a document of `bytes` takes in another dialect: frames differ, texts do not.
pub fn translated_bytes(bytes: usize) -> usize {
    bytes + bytes / 4 + 512
}

/// The words of both sides.
fn pair(client: Dialect, backend: Dialect) -> Option<(&'static ClientWords, &'static BackendWords)> {
    Some((words(client)?.client.as_ref()?, &words(backend)?.backend))
}

/// Says a streamed answer in the client's dialect, event by event.
#[derive(Debug)]
pub struct StreamTranslator {
    decoder: Box<dyn DecodeStream>,
    encoder: Box<dyn EncodeStream>,
    events: Vec<Event>,
    losses: Losses,
    held: Held,
}

/// What an encoder may have to keep of a stream until it can be said: blocks, and of their content what no client gets piece by
/// piece in every dialect.
#[derive(Debug, Default)]
struct Held {
    blocks: usize,
    bytes: usize,
}

/// Most blocks of a stream that is translated.
const BLOCKS_MAX: usize = 4096;

/// Most bytes of arguments, signatures and citations of a stream that is translated.
const HELD_BYTES_MAX: usize = 16 << 20;

impl Held {
    /// Counts what `event` adds.
    ///
    /// # Errors
    /// When that is too much.
    fn take(&mut self, event: &Event) -> Result<(), Unreadable> {
        match event {
            Event::BlockStart { start, .. } => {
                self.blocks += 1;
                if let BlockStart::RedactedThinking { data } = start {
                    self.bytes += data.len();
                }
            }
            Event::BlockDelta { delta: Delta::Input(text) | Delta::Signature(text), .. } => {
                self.bytes += text.len();
            }
            // A citation is a short object; how short is not worth saying it for.
            Event::BlockDelta { delta: Delta::Citation(_), .. } => self.bytes += CITATION_BYTES,
            // They go on with the text that they belong to.
            Event::BlockDelta { delta: Delta::Text(_) | Delta::Logprobs(_), .. }
            | Event::Start { .. }
            | Event::BlockStop { .. }
            | Event::Stop { .. }
            | Event::Usage(_)
            | Event::Ping
            | Event::Error { .. }
            | Event::End => {}
        }
        if self.blocks > BLOCKS_MAX || self.bytes > HELD_BYTES_MAX {
            return Err(Unreadable("more than can be held of a stream".to_owned()));
        }
        Ok(())
    }
}

/// What a citation counts for.
const CITATION_BYTES: usize = 4096;

impl StreamTranslator {
    /// A translator for one stream; `None` where there are no words between the two.
    pub fn new(client: Dialect, backend: Dialect, context: AnswerContext) -> Option<Self> {
        let (said, read) = pair(client, backend)?;
        let (decoder, encoder) = ((read.decode_stream)(), (said.encode_stream)(context));
        let (events, losses, held) = (Vec::new(), Losses::default(), Held::default());
        Some(Self { decoder, encoder, events, losses, held })
    }

    /// Takes in one event. One that is no JSON is passed over and recorded as lost.
    ///
    /// # Errors
    /// When the stream cannot go on after it: it is an event of the backend's dialect, but broken.
    pub fn frame(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Unreadable> {
        let read = self.decoder.frame(frame, &mut self.events, &mut self.losses);
        self.say(out).and(read)
    }

    /// Takes in the end.
    ///
    /// # Errors
    /// When the stream ended before it was complete.
    pub fn finish(&mut self, out: &mut BytesMut) -> Result<(), Unreadable> {
        let read = self.decoder.finish(&mut self.events);
        self.say(out).and(read)
    }

    fn say(&mut self, out: &mut BytesMut) -> Result<(), Unreadable> {
        for event in self.events.drain(..) {
            self.held.take(&event)?;
            self.encoder.event(event, out, &mut self.losses);
        }
        Ok(())
    }

    /// What the stream does not say; the first hundred.
    pub fn losses(&self) -> &[Loss] {
        self.losses.as_slice()
    }
}

/// Reads the data of an event; nothing where it is no JSON object, as every event of these dialects is.
pub(crate) fn read_event<T: DeserializeOwned>(data: &[u8]) -> Result<Option<T>, Unreadable> {
    if !data.trim_ascii_start().starts_with(b"{") {
        return Ok(None);
    }
    match serde_json::from_slice(data) {
        Ok(event) => Ok(Some(event)),
        Err(error) if error.is_data() => Err(Unreadable(error.to_string())),
        Err(_) => Ok(None),
    }
}

/// What an event says; nothing where it is no JSON object, as every event of these dialects is.
pub(crate) fn read_object(event: &Frame) -> Option<Value> {
    Value::read(&event.shared_data()).ok().filter(Value::is_object)
}

/// Records an event that has been passed over, since it cannot be read.
pub(crate) fn lose_unreadable(losses: &mut Losses) {
    losses.push(loss("", LossKind::UnreadableEvent, Effect::Meaning));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_endless_blocks_or_arguments_is_broken() {
        let start = Event::BlockStart { choice: 0, block: 0, start: BlockStart::Text };
        let delta = Delta::Input("x".repeat(1 << 20).into());
        let delta = Event::BlockDelta { choice: 0, block: 0, delta };
        for (event, most) in [(start, BLOCKS_MAX), (delta, HELD_BYTES_MAX >> 20)] {
            let mut held = Held::default();
            assert!((0..most).all(|_| held.take(&event).is_ok()), "{event:?}");
            assert!(held.take(&event).is_err());
        }
    }

    #[test]
    fn an_answer_that_says_nothing_cannot_be_translated() {
        let context = AnswerContext {
            requested_model: ModelName::parse("asked").expect("a name"),
            created_s: 7,
            fallback_id: "fallback".to_owned(),
            usage_wanted: true,
            vectors: VectorEncoding::Float,
            repeated: Bytes::new(),
        };
        let (openai, anthropic) = (Dialect::OpenAiChat, Dialect::AnthropicMessages);
        let responses = Dialect::OpenAiResponses;
        for (client, backend) in [(openai, anthropic), (anthropic, openai), (openai, responses)] {
            for body in ["", " ", "null", "{}", "[]", "\"\""] {
                let answer = translate_answer(
                    client,
                    backend,
                    Operation::Chat,
                    &Bytes::from_static(body.as_bytes()),
                    &context,
                    &mut Observer::new(backend, Operation::Chat, Delivery::Whole),
                );
                assert!(answer.is_err(), "{backend:?} said {body:?}");
            }
            let mut translator = StreamTranslator::new(client, backend, context.clone()).expect("words");
            let mut out = BytesMut::new();
            assert!(translator.finish(&mut out).is_err(), "{backend:?} said nothing in a stream");
            assert!(out.is_empty());
        }
    }
}

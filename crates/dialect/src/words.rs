//! What a dialect of conversations can say: the hub reads and writes every dialect through this table, and adding a dialect
//! adds a row to [`words`].

use std::fmt;

use bytes::{Bytes, BytesMut};
use tollgate_chat::{Answer, Conversation, Event, Losses};
use tollgate_terms::{Dialect, ModelName};
use tollgate_wire::json::{Document, Map};
use tollgate_wire::sse::Frame;

use crate::translate::{AnswerContext, Unreadable};
use crate::{Invalid, anthropic_messages, bedrock_converse, gemini, openai_chat, openai_responses};

/// The words of a dialect. What they cannot say they record as losses.
pub(crate) struct Words {
    /// For requests that come in it; `None` where no client speaks it here.
    pub(crate) client: Option<ClientWords>,
    /// For backends that speak it.
    pub(crate) backend: BackendWords,
}

/// Reads what a client asks and says what it is answered.
pub(crate) struct ClientWords {
    pub(crate) decode_request: fn(Document<'_>, &mut Losses) -> Result<Conversation, Invalid>,
    pub(crate) encode_answer: fn(Answer, &AnswerContext, &mut Losses) -> Map,
    pub(crate) encode_stream: fn(AnswerContext) -> Box<dyn EncodeStream>,
}

/// Says what a backend is asked and reads what it answers.
pub(crate) struct BackendWords {
    pub(crate) encode_request: fn(Conversation, &ModelName, &mut Losses) -> Result<Map, Invalid>,
    pub(crate) decode_answer: fn(&Bytes, &mut Losses) -> Result<Answer, Unreadable>,
    pub(crate) decode_stream: fn() -> Box<dyn DecodeStream>,
}

/// Reads a streamed answer.
pub(crate) trait DecodeStream: fmt::Debug + Send + Sync {
    /// Reads one event of the stream. One that is nothing of this dialect is passed over and recorded in `losses`.
    ///
    /// # Errors
    /// When the stream cannot go on after it.
    fn frame(&mut self, frame: &Frame, out: &mut Vec<Event>, losses: &mut Losses) -> Result<(), Unreadable>;

    /// Reads the end of the body, which has to be the end of the answer.
    ///
    /// # Errors
    /// When it is not.
    fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Unreadable>;
}

/// Says a streamed answer.
pub(crate) trait EncodeStream: fmt::Debug + Send + Sync {
    /// Says one event. What it does not say is recorded in `losses`.
    fn event(&mut self, event: Event, out: &mut BytesMut, losses: &mut Losses);
}

/// The words of `dialect`; `None` where it is no language of conversations.
pub(crate) fn words(dialect: Dialect) -> Option<&'static Words> {
    match dialect {
        Dialect::OpenAiChat => Some(&openai_chat::WORDS),
        Dialect::OpenAiResponses => Some(&openai_responses::WORDS),
        Dialect::AnthropicMessages => Some(&anthropic_messages::WORDS),
        Dialect::Gemini => Some(&gemini::WORDS),
        Dialect::BedrockConverse => Some(&bedrock_converse::WORDS),
        Dialect::OpenAiCompletions
        | Dialect::OpenAiEmbeddings
        | Dialect::OpenAiImages
        | Dialect::OpenAiAudio
        | Dialect::VertexEmbeddings
        | Dialect::GeminiEmbeddings
        | Dialect::TitanEmbeddings
        | Dialect::CohereEmbeddings
        | Dialect::CohereRerank
        | Dialect::VllmTokenize => None,
    }
}

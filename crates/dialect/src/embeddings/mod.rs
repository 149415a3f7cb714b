//! Embeddings: what is asked in OpenAI's words and served in others'.
//!
//! One client dialect and four of backends meet in [`Request`] and [`Vectors`], which are all that embeddings have to say.

mod cohere;
mod gemini;
pub(crate) mod observe;
mod openai;
mod titan;
mod vertex;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tollgate_chat::{Effect, LossKind, Losses};
use tollgate_terms::{Dialect, Usage};
use tollgate_wire::json::Map;

use crate::Invalid;
use crate::fields::loss;
use crate::translate::{AnswerContext, Unreadable};

/// Texts to embed.
#[derive(Debug, Clone, PartialEq)]
struct Request {
    inputs: Vec<Input>,
    /// Length of the vectors.
    dimensions: Option<u64>,
    /// Whether a text that is too long is cut.
    auto_truncate: Option<bool>,
    encoding: VectorEncoding,
    /// The end user.
    user: Option<String>,
}

/// One text.
#[derive(Debug, Clone, PartialEq)]
struct Input {
    text: String,
    /// What the vector is for, in Vertex AI's words: `RETRIEVAL_QUERY` ...
    task: Option<String>,
    /// The title of a document.
    title: Option<String>,
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorEncoding {
    /// As arrays of numbers.
    Float,
    /// As base64 of their bytes: 32 bits each, the lowest first.
    Base64,
}

/// What comes back: a vector for each text, in their order.
#[derive(Debug, Clone, PartialEq)]
struct Vectors {
    vectors: Vec<Vec<f64>>,
    usage: Option<Usage>,
}

/// Whether `backend` is a dialect of embeddings that OpenAI's can be translated to.
pub(crate) fn can_translate(client: Dialect, backend: Dialect) -> bool {
    client == Dialect::OpenAiEmbeddings && words(backend).is_some()
}

/// What a backend's dialect can say.
struct Words {
    /// Most texts of one request.
    inputs_max: usize,
    encode_request: fn(Request, &mut Losses) -> Result<Map, Invalid>,
    decode_answer: fn(&[u8]) -> Result<Vectors, Unreadable>,
    /// Reads the tokens alone.
    usage: fn(&[u8]) -> Option<Usage>,
}

fn words(backend: Dialect) -> Option<Words> {
    match backend {
        Dialect::VertexEmbeddings => Some(Words {
            inputs_max: vertex::INPUTS_MAX,
            encode_request: vertex::encode_request,
            decode_answer: vertex::decode_answer,
            usage: vertex::usage,
        }),
        Dialect::GeminiEmbeddings => Some(Words {
            inputs_max: 1,
            encode_request: gemini::encode_request,
            decode_answer: gemini::decode_answer,
            usage: gemini::usage,
        }),
        Dialect::TitanEmbeddings => Some(Words {
            inputs_max: 1,
            encode_request: titan::encode_request,
            decode_answer: titan::decode_answer,
            usage: titan::usage,
        }),
        Dialect::CohereEmbeddings => Some(Words {
            inputs_max: cohere::INPUTS_MAX,
            encode_request: cohere::encode_request,
            decode_answer: cohere::decode_answer,
            usage: cohere::usage,
        }),
        Dialect::OpenAiChat
        | Dialect::OpenAiCompletions
        | Dialect::OpenAiEmbeddings
        | Dialect::OpenAiResponses
        | Dialect::OpenAiImages
        | Dialect::OpenAiAudio
        | Dialect::AnthropicMessages
        | Dialect::Gemini
        | Dialect::BedrockConverse
        | Dialect::CohereRerank
        | Dialect::VllmTokenize => None,
    }
}

/// Says a request in the dialect of `backend`.
///
/// # Errors
/// When it cannot be understood, or asks for what that dialect has no words for.
pub(crate) fn translate_request(backend: Dialect, body: &Bytes, losses: &mut Losses) -> Result<Map, Invalid> {
    let words = words(backend)
        .ok_or_else(|| Invalid::unprocessable("embeddings cannot be asked of this backend", ""))?;
    let request = openai::decode_request(body, losses)?;
    let (count, max) = (request.inputs.len(), words.inputs_max);
    if count > max {
        return Err(too_many(count, max));
    }
    (words.encode_request)(request, losses)
}

/// Says an answer in OpenAI's words. `usage` is what else is known of its tokens.
///
/// # Errors
/// When the answer is not one of the backend's dialect.
pub(crate) fn translate_answer(
    backend: Dialect,
    body: &[u8],
    usage: Option<Usage>,
    context: &AnswerContext,
) -> Result<Bytes, Unreadable> {
    let words = words(backend).ok_or_else(|| Unreadable("no answer to embeddings".to_owned()))?;
    let mut vectors = (words.decode_answer)(body)?;
    vectors.usage = vectors.usage.or(usage);
    Ok(openai::encode_answer(&vectors, context.vectors, context.requested_model.as_str()))
}

/// Records the end user as lost.
fn lose_user(user: Option<&String>, losses: &mut Losses) {
    if user.is_some() {
        losses.push(loss("/user", LossKind::Metadata, Effect::Cost));
    }
}

/// More texts than one request takes. It is the client that parts them: one request is one attempt, with one answer and one usage.
fn too_many(count: usize, max: usize) -> Invalid {
    let message = format!("{count} inputs: the backend of this model embeds at most {max} at a time");
    Invalid::unprocessable(message, "input")
}

/// The only text, where a backend takes no more.
fn only_one(inputs: Vec<Input>) -> Result<Input, Invalid> {
    let count = inputs.len();
    <[Input; 1]>::try_from(inputs).map(|[input]| input).map_err(|_| too_many(count, 1))
}

/// The usage of an answer that tells the tokens of its texts.
fn read_tokens(input_tokens: Option<u64>) -> Option<Usage> {
    Some(Usage { input_tokens: input_tokens?, ..Usage::default() })
}

/// An answer, read into no more than what is wanted of it: a batch may have a hundred megabytes.
fn answer<T: DeserializeOwned>(body: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(body).map_err(|error| Unreadable(error.to_string()))
}

//! Between dialects, through the hub.

use bytes::{Bytes, BytesMut};
use tollgate_chat::Loss;
use tollgate_terms::{Dialect, ModelName, Operation};
use tollgate_wire::sse::Frame;

use crate::Invalid;

/// Whether `operation` asked in `client` can be said in `backend`.
pub fn can_translate(_client: Dialect, _backend: Dialect, _operation: Operation) -> bool {
    false
}

/// A body in another dialect.
#[derive(Debug)]
pub struct Encoded {
    /// The body.
    pub body: Bytes,
    /// What it does not say.
    pub losses: Vec<Loss>,
}

/// A backend's answer that cannot be read as its dialect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unreadable answer: {0}")]
pub struct Unreadable(pub String);

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
}

/// An answer in the client's dialect.
#[derive(Debug)]
pub struct TranslatedAnswer {
    /// The body.
    pub body: Bytes,
    /// What it does not say.
    pub losses: Vec<Loss>,
}

/// Says a request in the backend's dialect.
///
/// # Errors
/// When it cannot be understood, or asks for what the backend's dialect has no words for.
pub fn translate_request(
    client: Dialect,
    backend: Dialect,
    body: &[u8],
    model: &ModelName,
) -> Result<Encoded, Invalid> {
    let _ = (client, backend, body, model);
    Err(Invalid::unprocessable("no translation", "model"))
}

/// Says a whole answer in the client's dialect.
///
/// # Errors
/// When the answer is not one of the backend's dialect.
pub fn translate_answer(
    client: Dialect,
    backend: Dialect,
    body: &[u8],
    context: &AnswerContext,
) -> Result<TranslatedAnswer, Unreadable> {
    let _ = (client, backend, body, context);
    Err(Unreadable("no translation".to_owned()))
}

/// Says a streamed answer in the client's dialect, event by event.
#[derive(Debug)]
pub struct StreamTranslator {
    losses: Vec<Loss>,
}

impl StreamTranslator {
    /// A translator for one stream.
    pub fn new(_client: Dialect, _backend: Dialect, _context: AnswerContext) -> Self {
        Self { losses: Vec::new() }
    }

    /// Takes in one event.
    ///
    /// # Errors
    /// When the stream cannot go on after it.
    pub fn frame(&mut self, _frame: &Frame, _out: &mut BytesMut) -> Result<(), Unreadable> {
        Err(Unreadable("no translation".to_owned()))
    }

    /// Takes in the end.
    ///
    /// # Errors
    /// When the stream ended before it was complete.
    pub fn finish(&mut self, _out: &mut BytesMut) -> Result<(), Unreadable> {
        Ok(())
    }

    /// What the stream does not say.
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }
}

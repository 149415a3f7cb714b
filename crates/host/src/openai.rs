//! OpenAI and everything compatible: one prefix, then the path of the operation.
//!
//! Source: OpenAI's API reference; `/tokenize` stands at the root as vLLM serves it.

use tollgate_terms::{Dialect, Operation};

pub(crate) fn path(prefix: &str, dialect: Dialect, operation: Operation) -> Option<String> {
    let suffix = suffix(dialect, operation)?;
    match dialect {
        Dialect::VllmTokenize => Some(format!("/{suffix}")),
        _ => Some(crate::call::join(prefix, suffix)),
    }
}

/// The path at a host that is asked for responses only.
pub(crate) fn responses_path(prefix: &str, dialect: Dialect, operation: Operation) -> Option<String> {
    if dialect == Dialect::OpenAiResponses { path(prefix, dialect, operation) } else { None }
}

pub(crate) fn serves_responses(dialect: Dialect, operation: Operation) -> bool {
    dialect == Dialect::OpenAiResponses && suffix(dialect, operation).is_some()
}

pub(crate) fn suffix(dialect: Dialect, operation: Operation) -> Option<&'static str> {
    match (dialect, operation) {
        (Dialect::OpenAiChat, Operation::Chat) => Some("chat/completions"),
        (Dialect::OpenAiCompletions, Operation::Complete) => Some("completions"),
        (Dialect::OpenAiEmbeddings, Operation::Embed) => Some("embeddings"),
        (Dialect::OpenAiResponses, Operation::Chat) => Some("responses"),
        (Dialect::OpenAiResponses, Operation::CountTokens) => Some("responses/input_tokens"),
        (Dialect::OpenAiImages, Operation::Draw) => Some("images/generations"),
        (Dialect::OpenAiAudio, Operation::Speak) => Some("audio/speech"),
        (Dialect::OpenAiAudio, Operation::Transcribe) => Some("audio/transcriptions"),
        (Dialect::OpenAiAudio, Operation::Translate) => Some("audio/translations"),
        (Dialect::VllmTokenize, Operation::Tokenize) => Some("tokenize"),
        _ => None,
    }
}

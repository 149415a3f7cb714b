//! Google's hosts: Gemini and Claude on Vertex AI, and the Gemini API that takes a key.
//!
//! Source: the `google-genai` package (`models.py`), and the Vertex client of the `anthropic` package.

use serde::{Deserialize, Serialize};
use tollgate_terms::{Delivery, Dialect, ModelName, Operation};

use crate::call::{Call, join, segment};

/// The project and region whose quota a request takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Name of the project.
    pub project: String,
    /// Region, or `global`.
    pub region: String,
}

/// Gemini and embeddings on Vertex AI.
pub(crate) fn gemini_path(location: Option<&Location>, call: &Call<'_>) -> Option<String> {
    Some(place(location, "google", &segment(call.model.as_str()), gemini_action(call)?))
}

/// What of Gemini and of embeddings on Vertex AI is asked for.
pub(crate) fn gemini_action(call: &Call<'_>) -> Option<&'static str> {
    match (call.dialect, call.operation) {
        (Dialect::VertexEmbeddings, Operation::Embed) => Some("predict"),
        _ => action(call),
    }
}

/// Gemini by the API that takes a key.
pub(crate) fn gemini_api_path(prefix: &str, call: &Call<'_>) -> Option<String> {
    if call.operation == Operation::Embed {
        return serves_gemini_api(call).then(|| join(prefix, "openai/embeddings"));
    }
    let action = action(call)?;
    Some(join(prefix, &["models/", &segment(call.model.as_str()), ":", action].concat()))
}

/// Whether the API that takes a key does so. Its own embeddings take other members than those of Vertex AI; it has a door for OpenAI's.
pub(crate) fn serves_gemini_api(call: &Call<'_>) -> bool {
    match call.operation {
        Operation::Embed => call.dialect == Dialect::OpenAiEmbeddings,
        _ => action(call).is_some(),
    }
}

/// Claude on Vertex AI.
pub(crate) fn claude_path(location: Option<&Location>, call: &Call<'_>) -> Option<String> {
    let action = claude_action(call)?;
    let model = match call.operation {
        Operation::CountTokens | Operation::Tokenize => "count-tokens".into(),
        _ => segment(call.model.as_str()),
    };
    Some(place(location, "anthropic", &model, action))
}

/// What of Claude on Vertex AI is asked for.
pub(crate) fn claude_action(call: &Call<'_>) -> Option<&'static str> {
    match (call.dialect, call.operation, call.delivery) {
        (Dialect::AnthropicMessages, Operation::Chat, Delivery::Stream) => Some("streamRawPredict"),
        (Dialect::AnthropicMessages, Operation::Chat | Operation::CountTokens | Operation::Tokenize, _) => {
            Some("rawPredict")
        }
        _ => None,
    }
}

fn action(call: &Call<'_>) -> Option<&'static str> {
    match (call.dialect, call.operation, call.delivery) {
        (Dialect::Gemini, Operation::Chat, Delivery::Whole) => Some("generateContent"),
        (Dialect::Gemini, Operation::Chat, Delivery::Stream) => Some("streamGenerateContent?alt=sse"),
        (Dialect::Gemini, Operation::CountTokens | Operation::Tokenize, _) => Some("countTokens"),
        (Dialect::GeminiEmbeddings, Operation::Embed, _) => Some("embedContent"),
        _ => None,
    }
}

/// Without a project the path is that of Vertex AI in express mode, which takes a key.
fn place(location: Option<&Location>, publisher: &str, model: &str, action: &str) -> String {
    let there = ["publishers/", publisher, "/models/", model, ":", action].concat();
    match location {
        None => ["/v1/", &there].concat(),
        Some(Location { project, region }) => {
            ["/v1/projects/", &segment(project), "/locations/", &segment(region), "/", &there].concat()
        }
    }
}

/// Whether `model` is embedded by `embedContent`; the others, and the first of Gemini's, by `predict`.
pub(crate) fn embeds_content(model: &ModelName) -> bool {
    model.as_str().contains("gemini") && model.as_str() != "gemini-embedding-001"
}

/// The model as counting takes it: without a version that only stands for another.
pub(crate) fn counted_model(model: &ModelName) -> &str {
    let model = model.as_str();
    model.strip_suffix("@default").or_else(|| model.strip_suffix("@latest")).unwrap_or(model)
}

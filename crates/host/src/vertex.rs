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
    let action = match (call.dialect, call.operation) {
        (Dialect::VertexEmbeddings, Operation::Embed) => "predict",
        _ => gemini_action(call)?,
    };
    Some(place(location, "google", &segment(call.model.as_str()).to_string(), action))
}

/// Gemini by the API that takes a key.
pub(crate) fn gemini_api_path(prefix: &str, call: &Call<'_>) -> Option<String> {
    if call.operation == Operation::Embed {
        // Its own embeddings take other members than those of Vertex AI; this is the API's door for OpenAI's.
        return (call.dialect == Dialect::OpenAiEmbeddings).then(|| join(prefix, "openai/embeddings"));
    }
    let action = gemini_action(call)?;
    Some(join(prefix, &format!("models/{}:{action}", segment(call.model.as_str()))))
}

/// Claude on Vertex AI.
pub(crate) fn claude_path(location: Option<&Location>, call: &Call<'_>) -> Option<String> {
    let model = segment(call.model.as_str()).to_string();
    match (call.dialect, call.operation, call.delivery) {
        (Dialect::AnthropicMessages, Operation::Chat, Delivery::Whole) => {
            Some(place(location, "anthropic", &model, "rawPredict"))
        }
        (Dialect::AnthropicMessages, Operation::Chat, Delivery::Stream) => {
            Some(place(location, "anthropic", &model, "streamRawPredict"))
        }
        (Dialect::AnthropicMessages, Operation::CountTokens | Operation::Tokenize, _) => {
            Some(place(location, "anthropic", "count-tokens", "rawPredict"))
        }
        _ => None,
    }
}

fn gemini_action(call: &Call<'_>) -> Option<&'static str> {
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
    let within = location.map_or_else(String::new, |Location { project, region }| {
        format!("projects/{}/locations/{}/", segment(project), segment(region))
    });
    format!("/v1/{within}publishers/{publisher}/models/{model}:{action}")
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

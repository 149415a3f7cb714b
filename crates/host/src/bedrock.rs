//! AWS Bedrock: the model is in the path, the answer of a stream is AWS's own framing.
//!
//! Source: botocore, `bedrock-runtime` service model.

use http::HeaderMap;
use tollgate_terms::{Delivery, Dialect, ModelName, Operation};

use crate::anthropic;
use crate::call::{Call, segment};

/// What is asked of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// To answer, by the name of the way.
    Answer(&'static str),
    /// To count.
    Count,
}

/// Converse, embeddings by InvokeModel, counting.
pub(crate) fn action(call: &Call<'_>) -> Option<Action> {
    match (call.dialect, call.operation, call.delivery) {
        (Dialect::BedrockConverse, Operation::Chat, Delivery::Whole) => Some(Action::Answer("converse")),
        (Dialect::BedrockConverse, Operation::Chat, Delivery::Stream) => {
            Some(Action::Answer("converse-stream"))
        }
        (Dialect::BedrockConverse, Operation::CountTokens | Operation::Tokenize, _) => Some(Action::Count),
        (Dialect::TitanEmbeddings | Dialect::CohereEmbeddings, Operation::Embed, _) => {
            Some(Action::Answer("invoke"))
        }
        _ => None,
    }
}

/// Claude by InvokeModel.
pub(crate) fn claude_action(call: &Call<'_>) -> Option<Action> {
    match (call.dialect, call.operation, call.delivery) {
        (Dialect::AnthropicMessages, Operation::Chat, Delivery::Whole) => Some(Action::Answer("invoke")),
        (Dialect::AnthropicMessages, Operation::Chat, Delivery::Stream) => {
            Some(Action::Answer("invoke-with-response-stream"))
        }
        (Dialect::BedrockConverse, Operation::CountTokens | Operation::Tokenize, _) => Some(Action::Count),
        _ => None,
    }
}

/// Where `model` is asked for `action`.
pub(crate) fn path(model: &ModelName, action: Action) -> String {
    let model = model.as_str();
    let (model, action) = match action {
        Action::Answer(way) => (model, way),
        Action::Count => (counted_model(model), "count-tokens"),
    };
    ["/model/", &segment(model), "/", action].concat()
}

/// Whether `model` takes the requests of Cohere's embeddings; the others are Titan's.
pub(crate) fn embeds_as_cohere(model: &ModelName) -> bool {
    model.as_str().contains("cohere.")
}

/// Tokens are counted by the model itself, not by an inference profile that spreads requests over regions.
fn counted_model(model: &str) -> &str {
    const REGIONS: [&str; 9] = ["us.", "us-gov.", "eu.", "apac.", "global.", "jp.", "au.", "ca.", "sa."];
    REGIONS.iter().find_map(|region| model.strip_prefix(region)).unwrap_or(model)
}

/// Betas that Bedrock takes; it refuses a request that names another.
const BETAS: [&str; 17] = [
    "computer-use-2024-10-22",
    "computer-use-2025-01-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "dev-full-thinking-2025-05-14",
    "fine-grained-tool-streaming-2025-05-14",
    "interleaved-thinking-2025-05-14",
    "mcp-client-2025-04-04",
    "mcp-client-2025-11-20",
    "model-context-window-exceeded-2025-08-26",
    "output-128k-2025-02-19",
    "pdfs-2024-09-25",
    "search-results-2025-06-09",
    "token-counting-2024-11-01",
    "token-efficient-tools-2025-02-19",
    "tool-search-tool-2025-10-19",
    "web-search-2025-03-05",
];

/// Betas that have another name here.
const ALIASES: [(&str, &str); 1] = [("advanced-tool-use-2025-11-20", "tool-search-tool-2025-10-19")];

/// The betas that the client asks for in its headers: those that Bedrock takes, each once, and those that it does not.
pub(crate) fn betas(headers: &HeaderMap) -> (Vec<&'static str>, Vec<String>) {
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for beta in anthropic::betas(headers) {
        let name = ALIASES.iter().find(|(alias, _)| *alias == beta).map_or(beta, |(_, name)| name);
        match BETAS.iter().find(|known| **known == name) {
            Some(known) if !taken.contains(known) => taken.push(*known),
            Some(_) => {}
            None => refused.push(beta.to_owned()),
        }
    }
    (taken, refused)
}

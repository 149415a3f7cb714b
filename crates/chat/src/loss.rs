//! What could not be said in the other dialect. A loss is a value: counted, recorded, never silent.

use serde::{Deserialize, Serialize};

/// Something that the target dialect has no words for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Loss {
    /// JSON pointer into the source body, such as `/messages/0/content/1/cache_control`.
    pub pointer: String,
    /// What kind of thing was lost.
    pub kind: LossKind,
    /// What the loss changes.
    pub effect: Effect,
}

/// What a loss changes for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Only price or speed: a cache point, a service tier.
    Cost,
    /// The answer itself may differ.
    Meaning,
}

/// The kinds of loss: short, stable names for a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// A prompt cache point.
    CachePoint,
    /// A sampling parameter: penalties, seed, `top_k`, `logit_bias` ...
    Sampling,
    /// More than one choice.
    Choices,
    /// Log probabilities.
    Logprobs,
    /// The demanded format of the answer.
    ResponseFormat,
    /// Reasoning text, its signature, or the demanded effort.
    Thinking,
    /// A citation or annotation.
    Citation,
    /// A tool that the provider itself runs.
    ServerTool,
    /// A property of a tool or of the choice among tools.
    ToolOption,
    /// An image, document, audio or video part.
    Media,
    /// Metadata: user, labels, storage.
    Metadata,
    /// A price or speed class.
    ServiceTier,
    /// A member that neither the hub nor the target knows.
    UnknownField,
}

impl LossKind {
    /// The kind as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::CachePoint => "cache_point",
            Self::Sampling => "sampling",
            Self::Choices => "choices",
            Self::Logprobs => "logprobs",
            Self::ResponseFormat => "response_format",
            Self::Thinking => "thinking",
            Self::Citation => "citation",
            Self::ServerTool => "server_tool",
            Self::ToolOption => "tool_option",
            Self::Media => "media",
            Self::Metadata => "metadata",
            Self::ServiceTier => "service_tier",
            Self::UnknownField => "unknown_field",
        }
    }
}

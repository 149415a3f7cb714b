//! Numbers of tokens that a request costs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::cel;

/// A number to publish for each request, under a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([(
    "self.type != 'CEL' || has(self.cel)",
    "cel must be set when type is CEL",
)])))]
pub struct LlmRequestCost {
    /// The key, in the namespace `io.envoy.ai_gateway`.
    pub metadata_key: String,
    /// Which number.
    #[serde(rename = "type")]
    pub kind: LlmRequestCostType,
    /// The expression, for `CEL`. It sees `model`, `backend` and `route_name` as strings and `input_tokens`,
    /// `cached_input_tokens`, `cache_creation_input_tokens`, `output_tokens`, `total_tokens` and `reasoning_tokens`
    /// as unsigned integers, and gives an integer that is not negative.
    pub cel: Option<String>,
}

/// Which number a request costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LlmRequestCostType {
    /// Tokens of the whole prompt, cached ones included.
    InputToken,
    /// Tokens read from a prompt cache.
    CachedInputToken,
    /// Tokens written to a prompt cache.
    CacheCreationInputToken,
    /// Tokens of the answer, reasoning included.
    OutputToken,
    /// Tokens of reasoning.
    ReasoningToken,
    /// Input and output together.
    TotalToken,
    /// An expression over the others.
    #[serde(rename = "CEL")]
    Cel,
}

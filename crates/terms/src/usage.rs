//! How many tokens an answer took.

use serde::{Deserialize, Serialize};

/// Tokens of one attempt, in the one convention that the whole gateway uses.
///
/// `input_tokens` is the whole prompt: it includes `cached_input_tokens` and `cache_creation_input_tokens`.
/// `output_tokens` is the whole answer: it includes `reasoning_tokens`. Each dialect converts from its own
/// convention in its `usage.rs`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub input_tokens: u64,
    /// The part of `input_tokens` that was read from a prompt cache.
    pub cached_input_tokens: u64,
    /// The part of `input_tokens` that was written to a prompt cache.
    pub cache_creation_input_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub output_tokens: u64,
    /// The part of `output_tokens` spent on reasoning.
    pub reasoning_tokens: u64,
    /// The provider's own total, where it tells one.
    pub provider_total_tokens: Option<u64>,
}

/// Where the numbers of a [`Usage`] come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The provider told them and said it was done.
    ProviderFinal,
    /// The provider told them before the answer was complete.
    ProviderPartial,
    /// The gateway estimated them, rounding up, because the provider told nothing.
    Estimated,
    /// There is nothing to count: the attempt was refused or never answered.
    #[default]
    None,
}

impl Usage {
    /// The provider's total where it told one, else input and output together.
    pub fn total_tokens(&self) -> u64 {
        self.provider_total_tokens.unwrap_or_else(|| self.input_tokens.saturating_add(self.output_tokens))
    }
}

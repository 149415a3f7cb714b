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

/// Numbers of a [`Usage`] that cannot all be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Contradiction {
    /// More was read from a cache, and written to one, than there was of the prompt.
    CachedAboveInput,
    /// More was spent on reasoning than on the answer as a whole.
    ReasoningAboveOutput,
    /// The provider's own total is less than prompt and answer together.
    TotalBelowParts,
}

impl Contradiction {
    /// The contradiction as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::CachedAboveInput => "cached_above_input",
            Self::ReasoningAboveOutput => "reasoning_above_output",
            Self::TotalBelowParts => "total_below_parts",
        }
    }
}

impl Usage {
    /// What is wrong with the numbers. They are told as they came all the same.
    pub fn contradictions(&self) -> impl Iterator<Item = Contradiction> + use<> {
        let cached = self.cached_input_tokens.saturating_add(self.cache_creation_input_tokens);
        let parts = self.input_tokens.saturating_add(self.output_tokens);
        [
            (cached > self.input_tokens, Contradiction::CachedAboveInput),
            (self.reasoning_tokens > self.output_tokens, Contradiction::ReasoningAboveOutput),
            (self.provider_total_tokens.is_some_and(|total| total < parts), Contradiction::TotalBelowParts),
        ]
        .into_iter()
        .filter_map(|(is_wrong, what)| is_wrong.then_some(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ACC-14: parts are no larger than the whole, and what breaks that is told.
    #[test]
    fn acc_14_parts_above_their_whole_contradict_it() {
        let good = Usage {
            input_tokens: 10,
            cached_input_tokens: 6,
            cache_creation_input_tokens: 4,
            output_tokens: 5,
            reasoning_tokens: 5,
            provider_total_tokens: Some(15),
        };
        let found = |usage: Usage| usage.contradictions().map(Contradiction::label).collect::<Vec<_>>();
        assert_eq!(found(good), Vec::<&str>::new());
        assert_eq!(found(Usage { provider_total_tokens: None, ..good }), Vec::<&str>::new());
        assert_eq!(found(Usage { cached_input_tokens: 7, ..good }), ["cached_above_input"]);
        assert_eq!(found(Usage { cached_input_tokens: u64::MAX, ..good }), ["cached_above_input"]);
        assert_eq!(found(Usage { reasoning_tokens: 6, ..good }), ["reasoning_above_output"]);
        assert_eq!(found(Usage { provider_total_tokens: Some(14), ..good }), ["total_below_parts"]);
    }
}

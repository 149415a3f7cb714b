//! Numbers that routes publish and limits count: tokens of some kind, or what an expression makes of them.

use tollgate_config::bundle::{Cost, CostError, CostFacts, CostKind};

/// The number of this kind for an attempt.
///
/// # Errors
/// When it is that of an expression which gives none for this attempt.
pub fn value(kind: &CostKind, facts: &CostFacts<'_>) -> Result<u64, CostError> {
    let usage = facts.usage;
    match kind {
        CostKind::InputToken => Ok(usage.input_tokens),
        CostKind::CachedInputToken => Ok(usage.cached_input_tokens),
        CostKind::CacheCreationInputToken => Ok(usage.cache_creation_input_tokens),
        CostKind::OutputToken => Ok(usage.output_tokens),
        CostKind::ReasoningToken => Ok(usage.reasoning_tokens),
        CostKind::TotalToken => Ok(usage.total_tokens()),
        CostKind::Cel(expression) => expression.evaluate(facts),
    }
}

/// The number of this kind, or all tokens in its place: nothing that was used is counted as nothing.
pub fn value_or_total(kind: &CostKind, facts: &CostFacts<'_>) -> u64 {
    value(kind, facts).unwrap_or_else(|_| facts.usage.total_tokens())
}

/// Why some of `costs` have all tokens in their place.
pub fn errors(costs: &[Cost], facts: &CostFacts<'_>) -> Vec<CostError> {
    costs.iter().filter_map(|cost| value(&cost.kind, facts).err()).collect()
}

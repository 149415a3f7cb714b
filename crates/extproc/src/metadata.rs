//! Dynamic metadata: token counts under the keys of `llmRequestCosts`, and what the access log tells.

use tollgate_envoy::processor::Members;
use tollgate_exchange::Attempt;
use tollgate_policy::cost;

use crate::names;

/// Largest number that is published. Envoy's rate limit service adds in 32 bits.
const COST_MAX: u64 = 1_000_000_000;

/// No members yet of the gateway's namespace.
pub(crate) fn members() -> Members {
    Members::new(names::METADATA)
}

/// Adds the numbers that the route publishes of `attempt`, as far as they are known. All tokens stand in for what cannot be computed; the
/// record tells of it.
pub(crate) fn add_costs(members: &mut Members, attempt: &Attempt) {
    let costs = &attempt.rule().costs;
    let Some(target) = attempt.target().filter(|_| !costs.is_empty()) else { return };
    let (usage, _) = attempt.usage();
    let facts = attempt.cost_facts(target, &usage);
    for published in costs {
        members.add_number(&published.key, published_number(cost::value_or_total(&published.kind, &facts)));
    }
}

/// Adds what the access log tells of the target that is tried.
pub(crate) fn add_target(members: &mut Members, attempt: &Attempt) {
    if let Some(target) = attempt.target() {
        members.add_text("ai_service_backend_name", target.backend.name.as_ref());
        if let Some(model) = &target.model_override {
            members.add_text("model_name_override", model.as_str());
        }
    }
    members.add_text("route_name", attempt.rule().route.as_ref());
}

/// A number as it is published, at most [`COST_MAX`].
fn published_number(number: u64) -> f64 {
    // Exact: every whole number below 2^53 is a double.
    u32::try_from(number.min(COST_MAX)).map_or(0.0, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ACC-11: Envoy's rate limit service adds in 32 bits.
    #[test]
    fn acc_11_numbers_are_published_up_to_a_thousand_million() {
        for (number, published) in
            [(0, 0.0), (7, 7.0), (1_000_000_000, 1e9), (1_000_000_001, 1e9), (u64::MAX, 1e9)]
        {
            assert!((published_number(number) - published).abs() < f64::EPSILON, "{number}");
        }
    }
}

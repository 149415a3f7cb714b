//! Numbers of tokens to publish: those of a route over those of its Gateway.

use tollgate_config::bundle::{Cost, CostKind};
use tollgate_manifest::{LlmRequestCost, LlmRequestCostType};

use crate::cost_expression;
use crate::findings::{Findings, ObjectId};

/// The costs of a route. An entry of the route replaces a global one of the same key.
pub(crate) fn merge(route: &[LlmRequestCost], global: &[LlmRequestCost]) -> Vec<Cost> {
    let is_own = |key: &str| route.iter().any(|own| own.metadata_key == key);
    route.iter().chain(global.iter().filter(|cost| !is_own(&cost.metadata_key))).map(resolve).collect()
}

/// Checks the costs in field `path` of `object`.
// Data planes with dynamic metadata publish them; the embedded one has nobody who would read them, so it computes none.
pub(crate) fn check(object: &ObjectId, path: &str, costs: &[LlmRequestCost], findings: &mut Findings) {
    for (at, cost) in costs.iter().enumerate() {
        let path = format!("{path}[{at}]");
        let expression = cost.cel.as_deref().filter(|_| cost.kind == LlmRequestCostType::Cel);
        if let Some(Err(message)) = expression.map(cost_expression::check) {
            findings.error(object, format!("{path}.cel"), message);
        }
        findings.warning(object, path, "not computed yet: nothing is published for it");
    }
}

fn resolve(written: &LlmRequestCost) -> Cost {
    let kind = match written.kind {
        LlmRequestCostType::InputToken => CostKind::InputToken,
        LlmRequestCostType::CachedInputToken => CostKind::CachedInputToken,
        LlmRequestCostType::CacheCreationInputToken => CostKind::CacheCreationInputToken,
        LlmRequestCostType::OutputToken => CostKind::OutputToken,
        LlmRequestCostType::ReasoningToken => CostKind::ReasoningToken,
        LlmRequestCostType::TotalToken => CostKind::TotalToken,
        LlmRequestCostType::Cel => CostKind::Cel(written.cel.clone().unwrap_or_default()),
    };
    Cost { key: written.metadata_key.clone(), kind }
}

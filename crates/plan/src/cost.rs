//! Numbers of tokens to publish: those of a route over those of its Gateway.

use tollgate_config::bundle::{Cost, CostExpression, CostKind};
use tollgate_manifest::{LlmRequestCost, LlmRequestCostType};

use crate::findings::{Findings, ObjectId};

/// The costs of a route. An entry of the route replaces a global one of the same key; one whose expression is wrong is left out.
pub(crate) fn merge(route: &[LlmRequestCost], global: &[LlmRequestCost]) -> Vec<Cost> {
    let is_own = |key: &str| route.iter().any(|own| own.metadata_key == key);
    route.iter().chain(global.iter().filter(|cost| !is_own(&cost.metadata_key))).filter_map(resolve).collect()
}

/// Checks the costs in field `path` of `object`.
// Data planes with dynamic metadata publish them; on the embedded one, only limits read them.
pub(crate) fn check(object: &ObjectId, path: &str, costs: &[LlmRequestCost], findings: &mut Findings) {
    for (at, cost) in costs.iter().enumerate() {
        let path = format!("{path}[{at}]");
        let expression = cost.cel.as_deref().filter(|_| cost.kind == LlmRequestCostType::Cel);
        if let Some(Err(message)) = expression.map(CostExpression::compile) {
            findings.error(object, format!("{path}.cel"), message);
        }
    }
}

fn resolve(written: &LlmRequestCost) -> Option<Cost> {
    let kind = match written.kind {
        LlmRequestCostType::InputToken => CostKind::InputToken,
        LlmRequestCostType::CachedInputToken => CostKind::CachedInputToken,
        LlmRequestCostType::CacheCreationInputToken => CostKind::CacheCreationInputToken,
        LlmRequestCostType::OutputToken => CostKind::OutputToken,
        LlmRequestCostType::ReasoningToken => CostKind::ReasoningToken,
        LlmRequestCostType::TotalToken => CostKind::TotalToken,
        LlmRequestCostType::Cel => {
            CostKind::Cel(CostExpression::compile(written.cel.as_deref().unwrap_or_default()).ok()?)
        }
    };
    Some(Cost { key: written.metadata_key.clone(), kind })
}

//! Bounds on concurrent work, and passive health: what Envoy has for a cluster as a whole.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_config::bundle::{Backend, Ejection, Limits};

use super::endpoint::Served;
use super::form::seconds;

/// How often Envoy looks whether an ejection is over.
const EJECTION_INTERVAL: &str = "1s";

/// Circuit breakers: a cluster takes what its backends take together.
pub(super) fn circuit_breakers(targets: &[Served<'_>]) -> Value {
    let backends = backends(targets);
    let sum = |bound: fn(&Limits) -> u32| {
        backends.iter().map(|backend| bound(&backend.limits)).fold(0, u32::saturating_add)
    };
    let threshold = json!({
        "max_connections": sum(|limits| limits.connections_max),
        "max_pending_requests": sum(|limits| limits.requests_max),
        "max_requests": sum(|limits| limits.requests_max),
        "max_retries": sum(|limits| limits.retries_max),
    });
    json!({ "thresholds": [threshold] })
}

/// When a host is left out for a while; `None` when no backend says so. Of several policies the largest bounds hold.
pub(super) fn outlier_detection(targets: &[Served<'_>]) -> Option<Value> {
    let policies: Vec<&Ejection> =
        backends(targets).into_iter().filter_map(|backend| backend.ejection.as_ref()).collect();
    let base = policies.iter().map(|policy| policy.base_time).max()?;
    let longest = policies.iter().map(|policy| policy.max_time).max().unwrap_or(base).max(base);
    let percent = policies.iter().map(|policy| policy.max_ejection_percent).max().unwrap_or_default();
    let most =
        |bound: fn(&Ejection) -> u32| policies.iter().map(|policy| bound(policy)).max().unwrap_or_default();
    let faults = most(|policy| policy.consecutive_5xx);
    let gateway_faults = most(|policy| policy.consecutive_gateway_errors);
    let enforced = |bound: u32| if bound == 0 { 0 } else { 100 };
    Some(json!({
        "interval": EJECTION_INTERVAL,
        "consecutive_5xx": faults,
        "enforcing_consecutive_5xx": enforced(faults),
        "consecutive_gateway_failure": gateway_faults,
        "enforcing_consecutive_gateway_failure": enforced(gateway_faults),
        "enforcing_success_rate": 0,
        "base_ejection_time": seconds(base),
        "max_ejection_time": seconds(longest),
        "max_ejection_percent": percent.min(100),
        // A rule with two or three hosts can lose its bad one, whatever part of them that is.
        "always_eject_one_host": percent > 0,
    }))
}

/// Each backend once: a rule may send to one under several names of models.
fn backends<'a>(targets: &[Served<'a>]) -> Vec<&'a Backend> {
    let by_name: BTreeMap<&str, &Backend> =
        targets.iter().map(|served| (served.backend.name.as_ref(), served.backend)).collect();
    by_name.into_values().collect()
}

//! Retries, and the bounds in time of a single try.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_config::CompiledRule;
use tollgate_config::bundle::{Retry, Timeouts};

use super::form::{extension, seconds, set};
use super::names::RETRY_HEADER;

const PREVIOUS_HOSTS: &str = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate";
const PREVIOUS_PRIORITIES: &str =
    "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig";

/// How often Envoy looks for a host that was not tried before it takes one that was. Targets of small weight come up rarely.
const HOST_SELECTIONS_MAX: u32 = 64;

/// The longest `Retry-After` that is waited out, as in the embedded data plane.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// How much later than the processor Envoy ends a silence.
const SILENCE_GRACE: Duration = Duration::from_millis(500);

/// The shortest wait that Envoy takes.
const BACKOFF_MIN: Duration = Duration::from_millis(1);

/// The retry policy of `rule`; `None` when it neither retries nor bounds a try.
pub(super) fn policy(rule: &CompiledRule) -> Option<Value> {
    let conditions = conditions(&rule.retry);
    let retries = if conditions.is_empty() { 0 } else { rule.retry.retries_max };
    let mut policy = json!({ "num_retries": retries });
    let bounded = set_bounds(&mut policy, &rule.timeouts);
    if retries == 0 {
        return bounded.then_some(policy);
    }
    set(&mut policy, "retry_on", conditions.join(",").into());
    set(&mut policy, "retriable_headers", json!([{ "name": RETRY_HEADER, "present_match": true }]));
    set_waits(&mut policy, rule);
    set_selection(&mut policy, rule);
    Some(policy)
}

/// The policy of what is never retried; `None` when it does not bound a try either.
pub(super) fn bounds_only(timeouts: &Timeouts) -> Option<Value> {
    let mut policy = json!({ "num_retries": 0 });
    set_bounds(&mut policy, timeouts).then_some(policy)
}

/// What is retried, in Envoy's words. Its `reset` holds for whatever ends without a response: no connection, a lost one, and the time of
/// one try running out; there is no word for the last alone. What a response is worth the processor says, in a header.
fn conditions(retry: &Retry) -> Vec<&'static str> {
    let mut conditions = Vec::new();
    if retry.on_connect_failure {
        conditions.push("connect-failure");
    }
    if retry.on_reset || retry.on_timeout {
        conditions.push("reset");
    }
    if !retry.on_statuses.is_empty() || retry.on_reset {
        conditions.push("retriable-headers");
    }
    conditions
}

/// Bounds of one try. Envoy's `per_try_timeout` ends with the head of the response, so it is the first byte's as well. The bound on
/// silence holds before and behind it; behind it the processor counts too, and ends a stream in its own words before Envoy cuts it off.
fn set_bounds(policy: &mut Value, timeouts: &Timeouts) -> bool {
    let head = [timeouts.per_try, timeouts.first_byte].into_iter().flatten().min();
    if let Some(limit) = head {
        set(policy, "per_try_timeout", seconds(limit).into());
    }
    if let Some(limit) = timeouts.stream_idle {
        set(policy, "per_try_idle_timeout", seconds(limit + SILENCE_GRACE).into());
    }
    head.is_some() || timeouts.stream_idle.is_some()
}

fn set_waits(policy: &mut Value, rule: &CompiledRule) {
    let base = rule.retry.backoff_base.max(BACKOFF_MIN);
    let waits = json!({
        "base_interval": seconds(base),
        "max_interval": seconds(rule.retry.backoff_max.max(base)),
    });
    set(policy, "retry_back_off", waits);
    // With another target at hand, nobody waits for the one that asked for it.
    if rule.targets.iter().filter(|target| target.weight > 0).count() == 1 {
        let waits = json!({
            "reset_headers": [{ "name": "retry-after", "format": "SECONDS" }],
            "max_interval": seconds(RETRY_AFTER_MAX),
        });
        set(policy, "rate_limited_retry_back_off", waits);
    }
}

/// Other targets first, and one priority after the other.
fn set_selection(policy: &mut Value, rule: &CompiledRule) {
    let tried = extension("envoy.retry_host_predicates.previous_hosts", PREVIOUS_HOSTS, json!({}));
    set(policy, "retry_host_predicate", json!([tried]));
    set(policy, "host_selection_retry_max_attempts", HOST_SELECTIONS_MAX.into());
    let mut tiers: BTreeMap<u32, usize> = BTreeMap::new();
    for target in rule.targets.iter().filter(|target| target.weight > 0) {
        *tiers.entry(target.priority).or_default() += 1;
    }
    if tiers.len() < 2 {
        return;
    }
    // Envoy has one number for all priorities. Who says none has each target of the first tried once.
    let first = tiers.values().next().copied().unwrap_or(1);
    let attempts = rule.retry.attempts_per_priority.map_or(json!(first), |attempts| json!(attempts.max(1)));
    let priorities = extension(
        "envoy.retry_priorities.previous_priorities",
        PREVIOUS_PRIORITIES,
        json!({ "update_frequency": attempts }),
    );
    set(policy, "retry_priority", priorities);
}

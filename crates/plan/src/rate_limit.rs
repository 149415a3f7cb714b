//! Rate limits of a BackendTrafficPolicy.

use tollgate_config::bundle::{Cost, CostKind, Limit, LimitStore, Measure, OnExceeded, Unpriced, Window};
use tollgate_manifest::{
    BackendTrafficPolicySpec, RateLimitCostFrom, RateLimitCostMetadata, RateLimitRule, RateLimitType,
    RateLimitUnit,
};

use crate::findings::{Findings, ObjectId};
use crate::index::Item;
use crate::limit::{ANSWER_TOKENS_MAX, Keeping, check_amount, selectors};

/// The namespace in which `llmRequestCosts` are published.
const METADATA_NAMESPACE: &str = "io.envoy.ai_gateway";

/// A rate limit that waits for the rule that it is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RateLimit {
    policy: ObjectId,
    /// Where it stands in the policy.
    path: String,
    limit: Limit,
    /// Whether all that the policy is about share its counters.
    is_shared: bool,
    /// The key of the number that its requests use, if there is one.
    metadata_key: Option<String>,
}

impl RateLimit {
    /// The limit, with counters of its own for a rule unless all share them.
    fn named(&self, route: &str, at: usize) -> Limit {
        let mut limit = self.limit.clone();
        if !self.is_shared {
            limit.name = format!("{} of {route} rule {at}", limit.name);
        }
        limit
    }
}

/// The rate limits of `policy`.
///
/// # Errors
/// Why they cannot be kept, so that nothing under them may be served.
pub(crate) fn resolve(
    policy: &Item<'_, BackendTrafficPolicySpec>,
    findings: &mut Findings,
) -> Result<Vec<RateLimit>, String> {
    let Some(written) = &policy.spec.rate_limit else { return Ok(Vec::new()) };
    let keeping = Keeping::annotated(policy, findings);
    let is_meant = |kind: RateLimitType| written.kind.is_none_or(|only| only == kind);
    let global = written.global.iter().filter(|_| is_meant(RateLimitType::Global));
    let local = written.local.iter().filter(|_| is_meant(RateLimitType::Local));
    let mut listed = Vec::new();
    for global in global {
        for (at, rule) in global.rules.iter().enumerate() {
            let is_shared = rule.shared.or(global.shared).unwrap_or(false);
            listed.push((format!("spec.rateLimit.global.rules[{at}]"), rule, LimitStore::Shared, is_shared));
        }
    }
    for local in local {
        for (at, rule) in local.rules.iter().enumerate() {
            let is_shared = rule.shared.unwrap_or(false);
            listed.push((format!("spec.rateLimit.local.rules[{at}]"), rule, LimitStore::Local, is_shared));
        }
    }
    let keep = keeping.clone().unwrap_or_default();
    let resolved: Vec<_> = listed
        .into_iter()
        .map(|(path, rule, store, is_shared)| {
            let limit = limit((&policy.id, &path), rule, keep, store, findings);
            limit.map(|(limit, metadata_key)| RateLimit {
                policy: policy.id.clone(),
                path,
                limit,
                is_shared,
                metadata_key,
            })
        })
        .collect();
    let name = |message: String| format!("{}: {message}", policy.id);
    keeping.map_err(name)?;
    resolved.into_iter().collect::<Result<_, _>>().map_err(name)
}

fn limit(
    (object, path): (&ObjectId, &str),
    rule: &RateLimitRule,
    keep: Keeping,
    store: LimitStore,
    findings: &mut Findings,
) -> Result<(Limit, Option<String>), String> {
    let select = selectors(&rule.client_selectors, (object, path), findings);
    let amount = check_amount(rule.limit.requests, (object, &format!("{path}.limit.requests")), findings);
    let request = request_cost(rule, (object, path), findings);
    let response = rule.cost.as_ref().and_then(|cost| cost.response.as_ref());
    let mut request = request?;
    let mut key = None;
    match response.map(|response| (response.from, response.number, &response.metadata)) {
        None => {}
        // A number that is known before is taken before.
        Some((RateLimitCostFrom::Number, number, _)) => {
            request = request.saturating_add(number.unwrap_or_default());
        }
        Some((RateLimitCostFrom::Metadata, _, metadata)) => {
            let metadata = metadata.as_ref().map(published).transpose();
            let path = format!("{path}.cost.response.metadata");
            key = metadata.inspect_err(|message| findings.error(object, path, message.as_str()))?;
        }
    }
    let limit = Limit {
        name: format!("{object} {}", path.trim_start_matches("spec.rateLimit.")),
        select: select?,
        amount: amount?,
        window: Window::Fixed { seconds: seconds(rule.limit.unit) },
        request,
        measure: None,
        enforcement: keep.enforcement,
        answer_tokens_max: keep.answer_tokens_max.unwrap_or(ANSWER_TOKENS_MAX),
        shadow: rule.shadow_mode == Some(true),
        group: None,
        store,
        on_store_failure: keep.on_store_failure,
        on_exceeded: OnExceeded::Reject,
        warn_at_percent: Vec::new(),
        unpriced: Unpriced::Allow,
    };
    Ok((limit, key))
}

/// What a request uses before it is let in.
fn request_cost(
    rule: &RateLimitRule,
    (object, path): (&ObjectId, &str),
    findings: &mut Findings,
) -> Result<u64, String> {
    let Some(request) = rule.cost.as_ref().and_then(|cost| cost.request.as_ref()) else { return Ok(1) };
    match request.from {
        RateLimitCostFrom::Number => Ok(request.number.unwrap_or(1)),
        RateLimitCostFrom::Metadata => {
            let message = "expected Number: nothing is published of a request before it is let in";
            findings.error(object, format!("{path}.cost.request.from"), message);
            Err(message.to_owned())
        }
    }
}

fn published(metadata: &RateLimitCostMetadata) -> Result<String, String> {
    if metadata.namespace == METADATA_NAMESPACE {
        Ok(metadata.key.clone())
    } else {
        let found = &metadata.namespace;
        Err(format!("expected namespace {METADATA_NAMESPACE:?}, the only one with numbers, found {found:?}"))
    }
}

fn seconds(unit: RateLimitUnit) -> u64 {
    // Months and years as the rate limit service of Envoy counts them.
    match unit {
        RateLimitUnit::Second => 1,
        RateLimitUnit::Minute => 60,
        RateLimitUnit::Hour => 3_600,
        RateLimitUnit::Day => 86_400,
        RateLimitUnit::Month => 30 * 86_400,
        RateLimitUnit::Year => 365 * 86_400,
    }
}

/// The limits of one rule of a route whose requests are passed on: those that count what an answer used count nothing there.
pub(crate) fn for_plain_rule(limits: &[RateLimit], route: &str, at: usize) -> Vec<Limit> {
    limits
        .iter()
        .filter(|planned| planned.metadata_key.is_none())
        .map(|planned| planned.named(route, at))
        .collect()
}

/// The limits of one rule of a route, which publishes `costs`.
///
/// # Errors
/// When one of them counts what is not published.
pub(crate) fn for_rule(
    limits: &[RateLimit],
    (route, at): (&str, usize),
    costs: &[Cost],
    findings: &mut Findings,
) -> Result<Vec<Limit>, String> {
    limits
        .iter()
        .map(|planned| {
            let mut limit = planned.named(route, at);
            if let Some(key) = &planned.metadata_key {
                let kind = kind(key, costs).inspect_err(|message| {
                    let path = format!("{}.cost.response.metadata.key", planned.path);
                    findings.error(&planned.policy, path, format!("{message} of route {route}"));
                })?;
                limit.measure = Some(Measure::Tokens(kind));
            }
            Ok(limit)
        })
        .collect()
}

fn kind(key: &str, costs: &[Cost]) -> Result<CostKind, String> {
    let found = costs.iter().find(|cost| cost.key == key);
    found.map(|cost| cost.kind.clone()).ok_or_else(|| format!("{key:?} is none of the llmRequestCosts"))
}

//! Routes of Envoy: one for each alternative of a rule.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate_config::bundle::{TextMatch, Timeouts};
use tollgate_config::{Alternative, CompiledRule, Condition, Expected, MODEL_HEADER};
use tollgate_dialect::{EndpointPath, Prefixes, endpoint_paths};

use super::cluster::Clusters;
use super::form::{seconds, set};
use super::{connection, names, rate_limit, retry};

/// Whether a virtual host serves requests for no model too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// It does not: whatever comes is for a model.
    Nothing,
    /// It does: a request is for a model once the processor has said so.
    Plain,
}

/// The route of one alternative.
pub(super) fn to_rule(alternative: &Alternative, beside: Beside, clusters: &mut Clusters) -> Value {
    let rule = alternative.rule();
    let mut conditions: Vec<Value> = alternative.conditions().iter().map(condition).collect();
    let asks_model = alternative.conditions().iter().any(|condition| condition.header() == MODEL_HEADER);
    if beside == Beside::Plain && !asks_model {
        conditions.push(json!({ "name": MODEL_HEADER, "present_match": true }));
    }
    let mut matched = json!({ "prefix": "/" });
    if !conditions.is_empty() {
        set(&mut matched, "headers", conditions.into());
    }
    let mut route = json!({ "name": names::rule(rule), "match": matched });
    match target(rule, clusters) {
        Ok(cluster) => {
            set(&mut route, "route", action(rule, cluster));
            let said = rate_limit::of_route(rule);
            if !said.is_empty() {
                set(&mut route, "typed_per_filter_config", said.into_iter().collect());
            }
        }
        Err(reason) => set(&mut route, "direct_response", misconfigured(&reason)),
    }
    route
}

/// The routes of the APIs of models: the processor answers, or finds the model and looks for the route anew.
pub(super) fn to_models() -> impl Iterator<Item = Value> {
    // One by one: Envoy does not take a regular expression of this size.
    endpoint_paths(&Prefixes::default()).into_iter().map(|path| {
        let matched = match path {
            EndpointPath::Exact(path) => json!({ "path": path }),
            EndpointPath::Pattern(pattern) => json!({ "safe_regex": { "regex": pattern } }),
        };
        not_found("models", matched)
    })
}

/// The route of probes, which have to go through the processor.
pub(super) fn to_processor() -> Value {
    let probe = json!({ "name": names::PROBE_HEADER, "present_match": true });
    not_found("probe", json!({ "prefix": "/", "headers": [probe] }))
}

/// The last route of a virtual host: nothing is served.
pub(super) fn to_nothing() -> Value {
    not_found("not-found", json!({ "prefix": "/" }))
}

fn not_found(name: &str, matched: Value) -> Value {
    json!({ "name": name, "match": matched, "direct_response": { "status": 404 } })
}

pub(super) fn condition(condition: &Condition) -> Value {
    named(condition.header(), condition.expected())
}

/// The same, of a condition that is not compiled.
pub(super) fn text(name: &str, value: &TextMatch) -> Value {
    named(
        name,
        match value {
            TextMatch::Exact(text) => Expected::Exact(text),
            TextMatch::RegularExpression(pattern) => Expected::RegularExpression(pattern),
        },
    )
}

/// What is expected of a header, or of a query parameter.
pub(super) fn named(name: &str, expected: Expected<'_>) -> Value {
    match expected {
        Expected::Exact(text) => json!({ "name": name, "string_match": { "exact": text } }),
        Expected::RegularExpression(pattern) => {
            json!({ "name": name, "string_match": { "safe_regex": { "regex": pattern } } })
        }
        Expected::Any => json!({ "name": name, "present_match": true }),
    }
}

/// The cluster that serves `rule`, or why there is none.
fn target(rule: &Arc<CompiledRule>, clusters: &mut Clusters) -> Result<String, String> {
    match &rule.broken {
        Some(reason) => Err(reason.clone()),
        None => clusters.of_rule(rule),
    }
}

fn action(rule: &CompiledRule, cluster: String) -> Value {
    timed(&cluster, &rule.timeouts, retry::policy(rule))
}

/// The action of a route to `cluster`, with its bounds in time.
pub(super) fn timed(cluster: &str, timeouts: &Timeouts, retry_policy: Option<Value>) -> Value {
    // Absent would be fifteen seconds.
    let mut action = json!({
        "cluster": cluster,
        "timeout": seconds(timeouts.request.unwrap_or_default()),
    });
    if let Some(idle) = timeouts.stream_idle {
        // The rule's own bound, for which the retry policy sees, must come before that of the connection.
        let idle = idle.saturating_add(connection::STREAM_IDLE_TIMEOUT);
        set(&mut action, "idle_timeout", seconds(idle).into());
    }
    if let Some(policy) = retry_policy {
        set(&mut action, "retry_policy", policy);
    }
    action
}

/// The answer for a rule that cannot be served. The text stands inside of a string of JSON, where it is put into the words of the
/// client's dialect.
pub(super) fn misconfigured(reason: &str) -> Value {
    let text = format!("the route that takes this request is misconfigured: {reason}");
    let quoted = Value::from(text).to_string();
    let escaped = quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default();
    json!({ "status": 500, "body": { "inline_string": escaped } })
}

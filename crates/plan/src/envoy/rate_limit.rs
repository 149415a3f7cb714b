//! Limits that Envoy's own filter asks a rate limit service for, instead of the processor: `docs/decisions/0013-envoys-own-filters.md`.
//!
//! A descriptor begins with the name of its limit and has an entry for each condition. Actions of routes and the service's configuration
//! are made of the same entries.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_config::bundle::{
    Cost, Enforcement, Limit, LimitStore, Measure, MethodMatch, Network, OnExceeded, OnStoreFailure,
    Selector, TextMatch, Window,
};
use tollgate_config::{Bundle, CompiledRule, Diagnostic, Severity};

use super::form::{self, extension, set, typed};
use super::names::METADATA_NAMESPACE;
use super::{Place, Resource, cluster_at, route};

/// The domain of all that a gateway asks for.
const DOMAIN: &str = "tollgate";

const CLUSTER: &str = "tollgate-ratelimit";
const FILTER: &str = "envoy.extensions.filters.http.ratelimit.v3.RateLimit";
const PER_ROUTE: &str = "envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute";

/// Filters, by what becomes of requests while the service does not answer: that is a policy's to say, and a filter's to know.
const FILTERS: [(OnStoreFailure, &str); 2] = [
    (OnStoreFailure::Open, "envoy.filters.http.ratelimit/open"),
    (OnStoreFailure::Closed, "envoy.filters.http.ratelimit/closed"),
];

/// Longest wait for the service. Its own store has a fifth of that.
const TIMEOUT: &str = "0.25s";

/// How often the service is asked for its health, and how long that may take. One that hangs costs each request its time until it has failed
/// twice; after the first time it may only have been busy.
const CHECK_EVERY: &str = "1s";
const CHECK_TIMEOUT: &str = "1s";
const FAILURES: u32 = 2;

/// What the service knows itself by, in gRPC's protocol of health.
const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";

/// Most that one request may count for (Envoy's bound on a `hits_addend`).
const HITS_MAX: u64 = 1_000_000_000;

/// The value of an entry that says that a condition holds.
const HOLDS: &str = "holds";

/// Gives the service the limits of `bundle` that Envoy's filter can ask for. The processor keeps the others; those that could have been meant are named.
pub fn hand_over(bundle: &mut Bundle) -> Vec<Diagnostic> {
    // Those of one name share their counters: all of them go, or none.
    let mut kept: BTreeMap<String, String> = BTreeMap::new();
    let plain = bundle.plain_routes.iter().flat_map(|route| &route.rules);
    for limit in plain.flat_map(|rule| &rule.limits).filter(|limit| is_meant(limit)) {
        kept.entry(limit.name.clone())
            .or_insert_with(|| "limits of HTTPRoutes are the processor's".to_owned());
    }
    for route in &bundle.routes {
        for limit in route.rules.iter().flat_map(|rule| &rule.limits).filter(|limit| is_meant(limit)) {
            if let Err(reason) = rate_limits(limit, &route.costs) {
                kept.entry(limit.name.clone()).or_insert(reason);
            }
        }
    }
    for limit in bundle.routes.iter_mut().flat_map(|route| &mut route.rules).flat_map(|rule| &mut rule.limits)
    {
        if is_meant(limit) && !kept.contains_key(&limit.name) {
            limit.store = LimitStore::Service;
        }
    }
    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    for (name, reason) in &kept {
        let diagnostic = told(name, reason);
        if !diagnostics.contains(&diagnostic) {
            diagnostics.push(diagnostic);
        }
    }
    diagnostics
}

/// Whether it is a global limit of a BackendTrafficPolicy: no other one of a rule has such a window.
fn is_meant(limit: &Limit) -> bool {
    limit.store == LimitStore::Shared && matches!(limit.window, Window::Fixed { .. })
}

/// A limit is called by its policy, its place there, and perhaps the rule that it is for.
fn told(name: &str, reason: &str) -> Diagnostic {
    let mut words = name.split(' ');
    let object = [words.next(), words.next()].map(Option::unwrap_or_default).join(" ");
    Diagnostic {
        object,
        path: format!("spec.rateLimit.{}", words.next().unwrap_or_default()),
        severity: Severity::Warning,
        message: format!("is not asked of the rate limit service, and stays with the processor: {reason}"),
    }
}

/// What the service has to be configured with for `bundle`, in the format of envoyproxy/ratelimit.
pub fn service_configuration(bundle: &Bundle) -> Value {
    let rules = bundle.routes.iter().flat_map(|route| &route.rules);
    // By name: those that are shared are there for each rule.
    let limits: BTreeMap<&str, &Limit> = rules
        .flat_map(|rule| &rule.limits)
        .filter(|limit| limit.store == LimitStore::Service)
        .map(|limit| (limit.name.as_str(), limit))
        .collect();
    let descriptors: Vec<Value> = limits.into_values().filter_map(descriptor).collect();
    json!({ "domain": DOMAIN, "descriptors": descriptors })
}

/// The place of a limit in the service's tree: one descriptor inside of the other.
fn descriptor(limit: &Limit) -> Option<Value> {
    let amount = json!({ "unit": unit(limit).ok()?, "requests_per_unit": limit.amount });
    let mut inner: Option<Value> = None;
    for entry in entries(limit).ok()?.into_iter().rev() {
        let mut descriptor = json!({ "key": entry.key });
        if let Some(value) = entry.value {
            set(&mut descriptor, "value", value.into());
        }
        match inner.take() {
            Some(inner) => set(&mut descriptor, "descriptors", json!([inner])),
            None => {
                set(&mut descriptor, "rate_limit", amount.clone());
                if limit.shadow {
                    set(&mut descriptor, "shadow_mode", true.into());
                }
            }
        }
        inner = Some(descriptor);
    }
    inner
}

/// The filters of listeners. They ask nothing unless a route says so.
pub(super) fn of_listener() -> [Value; 2] {
    FILTERS.map(|(mode, name)| {
        let fields = json!({
            "domain": DOMAIN,
            "timeout": TIMEOUT,
            "failure_mode_deny": mode == OnStoreFailure::Closed,
            "status_on_error": { "code": "ServiceUnavailable" },
            "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
            "enable_retry_after_header": true,
            "disable_x_envoy_ratelimited_header": true,
            "rate_limit_service": {
                "transport_api_version": "V3",
                "grpc_service": { "envoy_grpc": { "cluster_name": CLUSTER } },
            },
        });
        extension(name, FILTER, fields)
    })
}

/// What the route to `rule` has to say to the filters.
pub(super) fn of_route(rule: &CompiledRule) -> Vec<(&'static str, Value)> {
    let for_mode = |(mode, name): (OnStoreFailure, &'static str)| {
        let limits = rule.served_limits.iter().filter(|limit| limit.on_store_failure == mode);
        // What cannot be said was not handed over.
        let said: Vec<Value> =
            limits.filter_map(|limit| rate_limits(limit, &rule.costs).ok()).flatten().collect();
        (!said.is_empty()).then(|| (name, typed(PER_ROUTE, json!({ "rate_limits": said }))))
    };
    FILTERS.into_iter().filter_map(for_mode).collect()
}

/// The cluster of the service. While it says that it is not well, or nothing, it is not asked.
pub(super) fn cluster(place: &Place) -> Resource {
    let options = json!({ "explicit_http_config": { "http2_protocol_options": {} } });
    let mut fields = cluster_at(CLUSTER, place);
    let options = json!({ form::HTTP_OPTIONS: typed(form::HTTP_OPTIONS, options) });
    set(&mut fields, "typed_extension_protocol_options", options);
    set(&mut fields, "common_lb_config", json!({ "healthy_panic_threshold": { "value": 0 } }));
    let check = json!({
        "timeout": CHECK_TIMEOUT,
        "interval": CHECK_EVERY,
        "no_traffic_interval": CHECK_EVERY,
        "unhealthy_threshold": FAILURES,
        "healthy_threshold": 1,
        "grpc_health_check": { "service_name": SERVICE },
    });
    set(&mut fields, "health_checks", json!([check]));
    Resource { name: CLUSTER.to_owned(), body: typed(form::CLUSTER, fields) }
}

/// How Envoy asks for `limit`, and tells afterwards what was used of it.
///
/// # Errors
/// What of the limit cannot be said.
fn rate_limits(limit: &Limit, costs: &[Cost]) -> Result<Vec<Value>, String> {
    if limit.enforcement == Enforcement::Reserve {
        return Err("Envoy's filter cannot give back what was reserved".to_owned());
    }
    if limit.group.is_some() || limit.on_exceeded != OnExceeded::Reject || !limit.warn_at_percent.is_empty() {
        return Err("Envoy's filter has no groups, no warnings and no other model".to_owned());
    }
    if limit.request > HITS_MAX {
        return Err(format!("Envoy's filter lets a request count for {HITS_MAX} at most"));
    }
    if u32::try_from(limit.amount).is_err() {
        return Err(format!("the service counts to {} at most", u32::MAX));
    }
    unit(limit)?;
    let actions: Vec<Value> = entries(limit)?.into_iter().map(|entry| entry.action).collect();
    let mut said = vec![json!({ "actions": actions, "hits_addend": { "number": limit.request } })];
    if let Some(measure) = &limit.measure {
        let key = published(measure, costs)?;
        said.push(json!({
            "actions": actions,
            "hits_addend": { "format": format!("%DYNAMIC_METADATA({METADATA_NAMESPACE}:{key})%") },
            "apply_on_stream_done": true,
        }));
    }
    Ok(said)
}

/// The key under which the processor publishes what is measured.
fn published<'a>(measure: &Measure, costs: &'a [Cost]) -> Result<&'a str, String> {
    let Measure::Tokens(kind) = measure else { return Err("money is not published".to_owned()) };
    let found = costs.iter().find(|cost| cost.kind == *kind);
    let key =
        found.map(|cost| cost.key.as_str()).ok_or_else(|| "what it counts is not published".to_owned())?;
    let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'_' | b'-' | b'.');
    if key.bytes().all(is_plain) {
        Ok(key)
    } else {
        Err(format!("the key {key:?} has letters that mean something to Envoy"))
    }
}

fn unit(limit: &Limit) -> Result<&'static str, String> {
    match limit.window {
        Window::Fixed { seconds: 1 } => Ok("second"),
        Window::Fixed { seconds: 60 } => Ok("minute"),
        Window::Fixed { seconds: 3_600 } => Ok("hour"),
        Window::Fixed { seconds: 86_400 } => Ok("day"),
        Window::Fixed { seconds: 2_592_000 } => Ok("month"),
        Window::Fixed { seconds: 31_536_000 } => Ok("year"),
        _ => Err("the service has no such window".to_owned()),
    }
}

/// One entry of a descriptor.
struct Entry {
    /// How Envoy makes it. Where a condition does not hold there is none, and then no descriptor.
    action: Value,
    key: String,
    /// `None` if each value has a counter of its own.
    value: Option<String>,
}

fn entries(limit: &Limit) -> Result<Vec<Entry>, String> {
    let named = json!({ "generic_key": { "descriptor_key": "limit", "descriptor_value": limit.name } });
    let mut entries = vec![Entry { action: named, key: "limit".to_owned(), value: Some(limit.name.clone()) }];
    for (at, selector) in limit.select.iter().enumerate() {
        entry(at, selector, &mut entries)?;
    }
    Ok(entries)
}

fn entry(at: usize, selector: &Selector, entries: &mut Vec<Entry>) -> Result<(), String> {
    let key = format!("condition {at}");
    let holds = |action| Entry { action, key: key.clone(), value: Some(HOLDS.to_owned()) };
    match selector {
        Selector::DistinctHeader { name } => {
            let action = json!({ "request_headers": { "header_name": name, "descriptor_key": key } });
            entries.push(Entry { action, key, value: None });
        }
        Selector::Header { name, value, invert } => entries.push(holds(header(&key, name, value, *invert))),
        Selector::Method { any } => {
            let (method, invert) = one_of(any)?;
            entries.push(holds(header(&key, ":method", &method, invert)));
        }
        Selector::SourceAddress { networks, distinct, invert } => {
            let ranges: Vec<Value> = networks.iter().map(range).collect();
            let matcher = json!({ "ranges": ranges, "invert_match": invert });
            entries.push(holds(json!({ "remote_address_match": {
                "descriptor_key": key,
                "descriptor_value": HOLDS,
                "address_matcher": matcher,
            } })));
            if *distinct {
                let action = json!({ "remote_address": {} });
                entries.push(Entry { action, key: "remote_address".to_owned(), value: None });
            }
        }
        Selector::Path { .. } => return Err("Envoy's filter sees path and query as one".to_owned()),
        Selector::Query { .. } | Selector::DistinctQuery { .. } => {
            return Err("Envoy's filter unescapes what is in the query".to_owned());
        }
        Selector::Principal { .. } | Selector::RequestedModel { .. } | Selector::UpstreamModel { .. } => {
            return Err("Envoy's filter does not know who calls, or which model is asked".to_owned());
        }
    }
    Ok(())
}

fn header(key: &str, name: &str, value: &TextMatch, invert: bool) -> Value {
    json!({ "header_value_match": {
        "descriptor_key": key,
        "descriptor_value": HOLDS,
        "expect_match": !invert,
        "headers": [route::text(name, value)],
    } })
}

/// Several methods as one text.
fn one_of(any: &[MethodMatch]) -> Result<(TextMatch, bool), String> {
    if let [only] = any {
        return Ok((TextMatch::Exact(only.method.clone()), only.invert));
    }
    let is_plain = |one: &MethodMatch| !one.invert && one.method.bytes().all(|it| it.is_ascii_alphabetic());
    if !any.iter().all(is_plain) {
        return Err("Envoy's filter takes several methods only where none is inverted".to_owned());
    }
    let methods: Vec<&str> = any.iter().map(|one| one.method.as_str()).collect();
    Ok((TextMatch::RegularExpression(methods.join("|")), false))
}

fn range(network: &Network) -> Value {
    json!({ "address_prefix": network.address.to_string(), "prefix_len": network.prefix_bits })
}

//! Routes to plain rules. The processor has no part in them but to ask who calls and what limits have left: Envoy edits, rewrites and redirects by itself.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use tollgate_config::Entry;
use tollgate_config::bundle::{Listener, PathRewrite, Redirect, Timeouts};
use tollgate_config::plain::{
    CompiledAction, CompiledEdit, CompiledForward, CompiledPlainRule, ExpectedPath, OPEN, PlainAlternative,
};

use super::cluster::Clusters;
use super::form::{extension, set, typed};
use super::{Fleet, names, processor, retry, route};

/// The filter of listeners that plain routes configure. No filter of a cluster has its name: it would take their configuration as well.
const WORDS_FILTER: &str = "envoy.filters.http.header_mutation/words";
const WORDS_PER_ROUTE: &str = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute";

/// Parts of all requests by which a share of them is told to Envoy.
const PARTS: u64 = 1_000_000;

/// The routes of one alternative: what its rule does, and before it the share of requests that lead nowhere.
pub(super) fn routes(
    alternative: &PlainAlternative,
    (fleet, listener): (&Fleet, &Listener),
    clusters: &mut Clusters,
) -> Vec<Value> {
    let rule = alternative.rule();
    let name = names::plain_rule(rule);
    let route = |member: &str, action: Value| {
        let mut route = json!({ "name": name, "match": matched(alternative), member: action });
        let processor = match &rule.entry {
            Entry::Asked(access) => processor::asking(&fleet.snapshot, &listener.name, &access.name),
            Entry::Open if !rule.limits.is_empty() => {
                processor::asking(&fleet.snapshot, &listener.name, OPEN)
            }
            // A closed one is broken, and an answer.
            Entry::Open | Entry::Closed => processor::off(),
        };
        let filters = [processor, (WORDS_FILTER, typed(WORDS_PER_ROUTE, own_words()))];
        set(&mut route, "typed_per_filter_config", filters.into_iter().collect());
        set_edits(&mut route, rule);
        route
    };
    if let Some(reason) = &rule.broken {
        return vec![route("direct_response", route::misconfigured(reason))];
    }
    let forward = match &rule.action {
        CompiledAction::Redirect(redirect) => {
            return vec![route("redirect", redirection(redirect, alternative, listener))];
        }
        CompiledAction::Forward(forward) => forward,
    };
    let no_backend = || route::misconfigured("a backend that it names is not there");
    let last = match clusters.of_plain_rule(rule, forward) {
        Ok(cluster) => route("route", action(rule, forward, alternative, &cluster)),
        Err(reason) => return vec![route("direct_response", route::misconfigured(&reason))],
    };
    if forward.unresolved_weight == 0 {
        return vec![last];
    }
    let mut lost = route("direct_response", no_backend());
    if let Some(matched) = lost.get_mut("match") {
        set(matched, "runtime_fraction", json!({ "default_value": share(forward) }));
    }
    vec![lost, last]
}

/// What happens in the cluster of a plain rule: what Envoy has written down for itself is taken out of requests.
pub(super) fn filters() -> Value {
    json!([processor::mutation("forwarded", &remove("x-envoy-")), processor::codec()])
}

/// The filter of listeners that does nothing but what a plain route tells it to. It comes first, so that it sees responses last.
pub(super) fn of_listener() -> Value {
    extension(WORDS_FILTER, processor::MUTATION, json!({}))
}

/// Takes out of a response what nobody but the gateway may say, and what Envoy says to the processor alone.
fn own_words() -> Value {
    let owned = ["x-ai-eg-", "x-aigw-", "x-tollgate-"].map(remove);
    json!({ "mutations": { "response_mutations": owned } })
}

fn remove(prefix: &str) -> Value {
    json!({ "remove_on_match": { "key_matcher": { "prefix": prefix } } })
}

fn matched(alternative: &PlainAlternative) -> Value {
    let mut matched = match alternative.path() {
        ExpectedPath::Exact(path) => json!({ "path": path }),
        ExpectedPath::Prefix("") => json!({ "prefix": "/" }),
        ExpectedPath::Prefix(prefix) => json!({ "path_separated_prefix": prefix }),
        ExpectedPath::RegularExpression(pattern) => json!({ "safe_regex": { "regex": pattern } }),
    };
    let mut headers: Vec<Value> = alternative.headers().iter().map(route::condition).collect();
    if let Some(method) = alternative.method() {
        headers.insert(0, json!({ "name": ":method", "string_match": { "exact": method.as_str() } }));
    }
    if !headers.is_empty() {
        set(&mut matched, "headers", headers.into());
    }
    let query = alternative.query().iter();
    let query: Vec<Value> =
        query.map(|condition| route::named(condition.name(), condition.expected())).collect();
    if !query.is_empty() {
        set(&mut matched, "query_parameters", query.into());
    }
    matched
}

/// The share of requests whose backend is not there.
fn share(forward: &CompiledForward) -> Value {
    let lost = u64::from(forward.unresolved_weight);
    let all = lost + forward.targets.iter().map(|(_, weight)| u64::from(*weight)).sum::<u64>();
    json!({ "numerator": lost * PARTS / all.max(1), "denominator": "MILLION" })
}

fn action(
    rule: &Arc<CompiledPlainRule>,
    forward: &CompiledForward,
    alternative: &PlainAlternative,
    cluster: &str,
) -> Value {
    // There is only one try, so its bound is one on the whole; Envoy's own for a try ends with the head.
    let whole = [rule.timeouts.request, rule.timeouts.per_try].into_iter().flatten().min();
    let timeouts = Timeouts { request: whole, per_try: None, ..rule.timeouts.clone() };
    let mut action = route::timed(cluster, &timeouts, retry::bounds_only(&timeouts));
    if let Some(hostname) = forward.hostname.as_ref().and_then(|hostname| hostname.to_str().ok()) {
        set(&mut action, "host_rewrite_literal", hostname.into());
    }
    match &forward.path {
        Some(PathRewrite::Full(path)) => set(&mut action, "regex_rewrite", replace("^.*$", path)),
        Some(PathRewrite::Prefix(to)) => set_prefix_rewrite(&mut action, alternative, to),
        None => {}
    }
    action
}

fn redirection(redirect: &Redirect, alternative: &PlainAlternative, listener: &Listener) -> Value {
    let code = match redirect.status {
        301 => "MOVED_PERMANENTLY",
        303 => "SEE_OTHER",
        307 => "TEMPORARY_REDIRECT",
        308 => "PERMANENT_REDIRECT",
        _ => "FOUND",
    };
    let mut fields = json!({ "response_code": code });
    if let Some(scheme) = &redirect.scheme {
        set(&mut fields, "scheme_redirect", scheme.clone().into());
    }
    if let Some(hostname) = &redirect.hostname {
        set(&mut fields, "host_redirect", hostname.clone().into());
    }
    if let Some(port) = redirect.port(listener) {
        set(&mut fields, "port_redirect", port.into());
    }
    match &redirect.path {
        Some(PathRewrite::Full(path)) => set(&mut fields, "path_redirect", path.clone().into()),
        Some(PathRewrite::Prefix(to)) => set_prefix_rewrite(&mut fields, alternative, to),
        None => {}
    }
    fields
}

/// Puts `to` in the place of the prefix that was matched, as [`PathRewrite::apply`] does.
fn set_prefix_rewrite(fields: &mut Value, alternative: &PlainAlternative, to: &str) {
    let (from, to) = (alternative.prefix().unwrap_or_default(), to.trim_end_matches('/'));
    match (from, to) {
        ("", "") => {}
        // Envoy replaces the slash that it has matched.
        ("", to) => set(fields, "prefix_rewrite", format!("{to}/").into()),
        // It cannot put nothing there.
        (from, "") => set(fields, "regex_rewrite", replace(&format!("^{}/?", literal(from)), "/")),
        (_, to) => set(fields, "prefix_rewrite", to.into()),
    }
}

fn replace(pattern: &str, by: &str) -> Value {
    json!({ "pattern": { "regex": pattern }, "substitution": by.replace('\\', "\\\\") })
}

/// A regular expression that matches `text` alone.
fn literal(text: &str) -> String {
    let escaped = |letter: char| {
        let escape = letter.is_ascii_punctuation() && letter != '/';
        escape.then_some('\\').into_iter().chain(std::iter::once(letter))
    };
    text.chars().flat_map(escaped).collect()
}

fn set_edits(route: &mut Value, rule: &CompiledPlainRule) {
    set_edit(route, "request", &rule.request_headers);
    set_edit(route, "response", &rule.response_headers);
}

fn set_edit(route: &mut Value, side: &str, edit: &CompiledEdit) {
    let pairs = |pairs: &[(HeaderName, HeaderValue)], how: &str| {
        let pair = |(name, value): &(HeaderName, HeaderValue)| {
            // A percent sign begins an operator of Envoy's.
            let value = String::from_utf8_lossy(value.as_bytes()).replace('%', "%%");
            json!({ "header": { "key": name.as_str(), "value": value }, "append_action": how })
        };
        pairs.iter().map(pair).collect::<Vec<_>>()
    };
    let mut add = pairs(&edit.set, "OVERWRITE_IF_EXISTS_OR_ADD");
    add.extend(pairs(&edit.add, "APPEND_IF_EXISTS_OR_ADD"));
    if !add.is_empty() {
        set(route, &format!("{side}_headers_to_add"), add.into());
    }
    if !edit.remove.is_empty() {
        let names: Vec<Value> = edit.remove.iter().map(|name| name.as_str().into()).collect();
        set(route, &format!("{side}_headers_to_remove"), names.into());
    }
}

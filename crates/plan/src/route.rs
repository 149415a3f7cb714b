//! AIGatewayRoute: its rules, and which backends they send to.

use std::collections::BTreeMap;
use std::time::Duration;

use tollgate_config::MODEL_HEADER;
use tollgate_config::bundle::{self, HeaderMatch, Match, OnLoss, Target, TextMatch, Timeouts};
use tollgate_manifest::{
    AiGatewayRouteBackendRef, AiGatewayRouteMatch, AiGatewayRouteRule, AiGatewayRouteSpec, GatewayDuration,
    HeaderMatchType, HttpHeaderMatch, HttpRouteTimeouts,
};
use tollgate_terms::{BackendName, ModelName, RouteName};

use crate::access::AccessPolicies;
use crate::attach::Attachment;
use crate::backend::{Backends, PlannedBackend};
use crate::backend_traffic::{Traffic, TrafficPolicies, Upstream};
use crate::budget::{self, Budgets};
use crate::cost;
use crate::findings::{Findings, ObjectId, Unresolved};
use crate::gateway::PlannedListener;
use crate::grant::{self, AI_BACKEND, AI_ROUTE};
use crate::index::{Index, Item};
use crate::mutation::{self, Place};
use crate::rate_limit;

/// `owned_by` of models whose rule does not say, as in Envoy AI Gateway.
const OWNER_DEFAULT: &str = "Envoy AI Gateway";

/// How long a rule without `timeouts.request` waits for an answer to begin. Envoy AI Gateway bounds the whole exchange so and cuts
/// long streams with it; here only who writes a bound gets one on the whole.
const FIRST_BYTE_DEFAULT: Duration = Duration::from_secs(60);

/// Plans routes.
pub(crate) struct Routes<'a> {
    pub(crate) index: &'a Index<'a>,
    pub(crate) attachment: Attachment<'a, 'a>,
    pub(crate) backends: &'a Backends,
    pub(crate) traffic: &'a TrafficPolicies<'a>,
    pub(crate) budgets: &'a Budgets<'a>,
    pub(crate) access: &'a AccessPolicies<'a>,
}

/// Backends that some rule sends to, as they stand in the bundle.
pub(crate) type Used = BTreeMap<BackendName, (bundle::Backend, Upstream)>;

impl<'a> Routes<'a> {
    /// Every route, older ones first, and the backends that they use.
    pub(crate) fn plan(&self, findings: &mut Findings) -> (Vec<bundle::Route>, Used) {
        let mut used = Used::new();
        let mut items: Vec<_> = self.index.ai_gateway_routes.iter().collect();
        items.sort_by_key(|route| route.age());
        let mut routes = Vec::new();
        for route in items {
            let attached = self.attachment.listeners(route.into(), findings);
            cost::check(&route.id, "spec.llmRequestCosts", &route.spec.llm_request_costs, findings);
            // Listeners with other defaults get a route of their own.
            for (gateway, listeners) in self.by_defaults(&attached) {
                routes.push(self.route(route, &gateway, &listeners, &mut used, findings));
            }
            if attached.is_empty() {
                // Its mistakes are worth telling all the same.
                self.route(route, &Defaults::default(), &[], &mut Used::new(), findings);
            }
        }
        (routes, used)
    }

    /// Listeners by what their Gateway says for every route.
    pub(crate) fn by_defaults<'p>(
        &self,
        attached: &[&'p PlannedListener<'a>],
    ) -> Vec<(Defaults<'a>, Vec<&'p PlannedListener<'a>>)> {
        let mut groups: Vec<(Defaults<'a>, Vec<&PlannedListener<'a>>)> = Vec::new();
        for listener in attached {
            let defaults = self.defaults(listener);
            match groups.iter_mut().find(|(other, _)| *other == defaults) {
                Some((_, listeners)) => listeners.push(listener),
                None => groups.push((defaults, vec![listener])),
            }
        }
        groups
    }

    fn defaults(&self, listener: &PlannedListener<'a>) -> Defaults<'a> {
        let Some(origin) = listener.origin.as_ref() else { return Defaults::default() };
        Defaults {
            policy: self.traffic.of_listener(origin),
            budgets: self.budgets.of_listener(origin),
            access: self.access.of_listener(origin),
            costs: listener.config.costs,
            proxy: listener.config.proxy.clone(),
            broken: listener.broken.clone(),
        }
    }

    fn route(
        &self,
        route: &Item<'_, AiGatewayRouteSpec>,
        defaults: &Defaults<'_>,
        listeners: &[&PlannedListener<'_>],
        used: &mut Used,
        findings: &mut Findings,
    ) -> bundle::Route {
        let rules = route.spec.rules.iter().enumerate();
        let costs = cost::merge(&route.spec.llm_request_costs, defaults.costs);
        let mut rule = |(at, rule)| self.rule(route, at, rule, (defaults, &costs), used, findings);
        bundle::Route {
            name: RouteName::new(route.full_name()),
            listeners: listeners.iter().flat_map(|listener| listener.names.iter().cloned()).collect(),
            hostnames: route.spec.hostnames.iter().map(|name| name.to_ascii_lowercase()).collect(),
            created_at: route.created_at(),
            rules: rules.map(&mut rule).collect(),
            costs,
            on_loss: on_loss(route, findings),
        }
    }

    fn rule(
        &self,
        route: &Item<'_, AiGatewayRouteSpec>,
        at: usize,
        rule: &AiGatewayRouteRule,
        (defaults, costs): (&Defaults<'_>, &[bundle::Cost]),
        used: &mut Used,
        findings: &mut Findings,
    ) -> bundle::Rule {
        check_rule(&route.id, at, rule, findings);
        let held = self.traffic.of_rule(&route.id, rule.name.as_deref(), &defaults.policy);
        let limits = held.as_ref().map_or(Ok(Vec::new()), |traffic| {
            let place = (route.full_name(), at);
            let limits = rate_limit::for_rule(&traffic.rate_limits, (&place.0, place.1), costs, findings);
            let budgets = self.budgets.of_rule(&route.id, rule.name.as_deref(), &defaults.budgets);
            limits.and_then(|limits| Ok([limits, budgets?].concat()))
        });
        let asked = self.access.of_rule(&route.id, rule.name.as_deref(), &defaults.access);
        let broken = defaults.broken.clone().or_else(|| held.as_ref().err().cloned()).or(asked.broken);
        let unserved = broken.or_else(|| limits.as_ref().err().cloned());
        let traffic = held.unwrap_or_default();
        let mut targets = Vec::new();
        let mut first_mistake = None;
        for (nth, reference) in rule.backend_refs.iter().enumerate() {
            let path = format!("spec.rules[{at}].backendRefs[{nth}]");
            match self.target(route, &path, reference, findings) {
                Ok(_) if unserved.is_some() => {}
                Ok((target, backend)) => {
                    use_backend((&backend.id, &backend.backend), &traffic.upstream, used, findings);
                    targets.push(target);
                }
                Err(message) => {
                    first_mistake.get_or_insert(message);
                }
            }
        }
        // Where others remain they serve; a rule that has lost all of its backends says why.
        let lost = first_mistake.filter(|_| targets.iter().all(|target| target.weight == 0));
        let broken = unserved.or(lost);
        bundle::Rule {
            name: rule.name.clone(),
            matches: rule.matches.iter().map(resolve_match).collect(),
            targets,
            timeouts: timeouts(rule.timeouts.as_ref(), rule.stream_idle_timeout, &traffic),
            retry: traffic.retry,
            limits: limits.unwrap_or_default(),
            models_owned_by: rule.models_owned_by.clone().unwrap_or_else(|| OWNER_DEFAULT.to_owned()),
            models_created_at: rule
                .models_created_at
                .map_or_else(|| route.created_at(), |at| at.unix_seconds()),
            access: asked.access,
            broken,
        }
    }

    fn target(
        &self,
        route: &Item<'_, AiGatewayRouteSpec>,
        path: &str,
        reference: &AiGatewayRouteBackendRef,
        findings: &mut Findings,
    ) -> Result<(Target, &'a PlannedBackend), String> {
        let place = Place { object: &route.id, path: &format!("{path}.") };
        let (headers, body) = (reference.header_mutation.as_ref(), reference.body_mutation.as_ref());
        // Looked at whether the backend is there or not, so that all mistakes show at once.
        let mutation = mutation::resolve(place, headers, body, findings);
        let model_override = model_override(reference).inspect_err(|message| {
            findings.error(&route.id, format!("{path}.modelNameOverride"), message.as_str());
        });
        let backend = self.backend(route, path, reference, findings)?;
        let target = Target {
            backend: backend.backend.name.clone(),
            priority: reference.priority,
            weight: u32::try_from(reference.weight).unwrap_or(0),
            model_override: model_override?,
            mutation: mutation::merge(mutation?, &backend.mutation),
        };
        Ok((target, backend))
    }

    fn backend(
        &self,
        route: &Item<'_, AiGatewayRouteSpec>,
        path: &str,
        reference: &AiGatewayRouteBackendRef,
        findings: &mut Findings,
    ) -> Result<&'a PlannedBackend, String> {
        let name = &reference.name;
        let own_namespace = &route.id.namespace;
        let namespace = reference.namespace.as_ref().unwrap_or(own_namespace);
        let mut fail = |reason, field: &str, message: String| {
            findings.unresolved(&route.id, format!("{path}{field}"), reason, message.clone());
            message
        };
        if let Some(kind) = reference.kind.as_deref().filter(|kind| *kind != AI_BACKEND.name) {
            return Err(fail(Unresolved::InvalidKind, ".kind", format!("{kind} is not served yet")));
        }
        if !grant::permits(self.index, (AI_ROUTE, own_namespace), (AI_BACKEND, namespace, name)) {
            let message =
                format!("no ReferenceGrant in {namespace:?} lets this route use AIServiceBackend {name:?}");
            return Err(fail(Unresolved::RefNotPermitted, ".namespace", message));
        }
        if self.index.is_invalid(AI_BACKEND, namespace, name) {
            // What is wrong with it is told already.
            return Err(format!("AIServiceBackend \"{namespace}/{name}\" has mistakes"));
        }
        match self.backends.get(&(namespace.clone(), name.clone())) {
            Some(Ok(backend)) => Ok(backend),
            Some(Err(message)) => Err(format!("AIServiceBackend \"{namespace}/{name}\": {message}")),
            None => {
                let message = format!("no AIServiceBackend \"{namespace}/{name}\"");
                Err(fail(Unresolved::BackendNotFound, ".name", message))
            }
        }
    }
}

/// What a Gateway says for the routes on it.
#[derive(Debug, PartialEq)]
pub(crate) struct Defaults<'a> {
    /// Its BackendTrafficPolicy, or why none of the routes without one of their own can be served.
    pub(crate) policy: Result<Option<&'a ObjectId>, String>,
    /// Its Budgets, or why no route can be served.
    pub(crate) budgets: budget::Holding<'a>,
    /// Its SecurityPolicy, in the same way.
    pub(crate) access: Result<Option<&'a ObjectId>, String>,
    costs: &'a [tollgate_manifest::LlmRequestCost],
    /// The proxy through which its backends are reached: a route has one for all of its listeners.
    proxy: Option<bundle::ForwardProxy>,
    /// Why no route can be served.
    pub(crate) broken: Option<String>,
}

impl Default for Defaults<'_> {
    fn default() -> Self {
        Self {
            policy: Ok(None),
            budgets: Ok(Vec::new()),
            access: Ok(None),
            costs: &[],
            proxy: None,
            broken: None,
        }
    }
}

fn model_override(reference: &AiGatewayRouteBackendRef) -> Result<Option<ModelName>, String> {
    let name = reference.model_name_override.as_deref().filter(|name| !name.is_empty());
    name.map(|name| ModelName::parse(name).map_err(|error| error.to_string())).transpose()
}

/// Puts a backend into the bundle, with the bounds of the policy over the rule that uses it. One backend has one set of
/// bounds: those of the first policy that has any.
pub(crate) fn use_backend(
    (id, planned): (&ObjectId, &bundle::Backend),
    upstream: &Upstream,
    used: &mut Used,
    findings: &mut Findings,
) {
    let name = &planned.name;
    match used.get(name) {
        Some(_) if upstream.asks_nothing() => return,
        Some((_, other)) if other.asks_nothing() => {}
        Some((_, other)) if other.asks_the_same(upstream) => return,
        Some((_, other)) => {
            if let (Some(policy), Some(first)) = (&upstream.policy, &other.policy) {
                let message = format!("its bounds have no effect on {id}: those of {first} count");
                findings.warning(policy, "", message);
            }
            return;
        }
        None => {}
    }
    let Upstream { policy: _, limits, ejection, connect_timeout } = upstream.clone();
    let backend = bundle::Backend { limits, ejection, connect_timeout, ..planned.clone() };
    used.insert(name.clone(), (backend, upstream.clone()));
}

/// Names what is well formed in a rule, and does not do what somebody may expect of it.
fn check_rule(route: &ObjectId, at: usize, rule: &AiGatewayRouteRule, findings: &mut Findings) {
    if rule.backend_refs.iter().all(|reference| reference.weight == 0) {
        let why = match rule.backend_refs.as_slice() {
            [] => "there is no backend",
            _ => "every backend has weight 0",
        };
        findings.warning(
            route,
            format!("spec.rules[{at}].backendRefs"),
            format!("{why}: requests are answered 500"),
        );
    }
    for (nth, written) in rule.matches.iter().enumerate() {
        for (place, header) in written.headers.iter().enumerate() {
            let path = format!("spec.rules[{at}].matches[{nth}].headers[{place}].name");
            let name = header.name.to_ascii_lowercase();
            if !tollgate_config::can_hold(&name) {
                let message =
                    format!("never holds: of the headers of the gateway only {MODEL_HEADER} is matched");
                findings.warning(route, path, message);
            } else if written.headers.iter().take(place).any(|other| other.name.eq_ignore_ascii_case(&name)) {
                findings.warning(
                    route,
                    path,
                    "has no effect: of several conditions on one header the first counts",
                );
            }
        }
    }
}

fn resolve_match(written: &AiGatewayRouteMatch) -> Match {
    Match { headers: written.headers.iter().map(header_match).collect() }
}

pub(crate) fn header_match(written: &HttpHeaderMatch) -> HeaderMatch {
    HeaderMatch { name: written.name.to_ascii_lowercase(), value: text_match(written.kind, &written.value) }
}

pub(crate) fn text_match(kind: HeaderMatchType, value: &str) -> TextMatch {
    match kind {
        HeaderMatchType::Exact => TextMatch::Exact(value.to_owned()),
        HeaderMatchType::RegularExpression => TextMatch::RegularExpression(value.to_owned()),
    }
}

/// The rule's own bounds over those of the policy. A zero duration is no bound.
pub(crate) fn timeouts(
    own: Option<&HttpRouteTimeouts>,
    stream_idle: Option<GatewayDuration>,
    traffic: &Traffic,
) -> Timeouts {
    let get = |duration: Option<GatewayDuration>| duration.map(GatewayDuration::get);
    let request = own.and_then(|own| get(own.request)).or(traffic.request);
    let bound = |duration: Option<Duration>| duration.filter(|duration| !duration.is_zero());
    Timeouts {
        request: bound(request),
        per_try: bound(own.and_then(|own| get(own.backend_request)).or(traffic.per_try)),
        first_byte: request.is_none().then_some(FIRST_BYTE_DEFAULT),
        stream_idle: bound(get(stream_idle).or(traffic.stream_idle)),
    }
}

/// The annotation of an AIGatewayRoute that says what to do when a translation loses something.
const ON_LOSS: &str = "tollgate.dev/on-loss";

fn on_loss(route: &Item<'_, AiGatewayRouteSpec>, findings: &mut Findings) -> OnLoss {
    match route.metadata.annotations.get(ON_LOSS).map(String::as_str) {
        None | Some("Allow") => OnLoss::Allow,
        Some("Warn") => OnLoss::Warn,
        Some("Reject") => OnLoss::Reject,
        Some(other) => {
            let path = format!("metadata.annotations[{ON_LOSS:?}]");
            findings.error(&route.id, path, format!("expected Allow, Warn or Reject, found {other:?}"));
            // What was meant may well have been the strictest.
            OnLoss::Reject
        }
    }
}

//! HTTPRoute: its rules, and which Backends they send to.

use tollgate_config::bundle::{
    Forward, PathMatch, PlainAction, PlainMatch, PlainRoute, PlainRule, PlainTarget, QueryMatch,
};
use tollgate_manifest::{HttpBackendRef, HttpRouteMatch, HttpRouteRule, HttpRouteSpec, PathMatchType};
use tollgate_terms::{BackendName, RouteName};

use crate::backend::PlainBackends;
use crate::backend_traffic::{Traffic, Upstream};
use crate::findings::{Findings, Unresolved};
use crate::gateway::PlannedListener;
use crate::grant::{self, BACKEND, HTTP_ROUTE};
use crate::index::Item;
use crate::plain_filter::{self, Filters};
use crate::rate_limit;
use crate::route::{Defaults, Routes, Used, header_match, text_match, timeouts, use_backend};

/// Plans HTTPRoutes.
pub(crate) struct PlainRoutes<'a, 'p> {
    pub(crate) planner: &'p Routes<'a>,
    pub(crate) backends: PlainBackends<'a>,
}

impl PlainRoutes<'_, '_> {
    /// Every route, older ones first. The backends that they use join those of others.
    pub(crate) fn plan(&self, used: &mut Used, findings: &mut Findings) -> Vec<PlainRoute> {
        let index = self.planner.index;
        let mut items: Vec<_> = index.http_routes.iter().collect();
        items.sort_by_key(|route| route.age());
        let mut routes = Vec::new();
        for route in items {
            if index.ai_gateway_routes.get(&route.id.namespace, &route.id.name).is_some() {
                // Envoy AI Gateway makes an HTTPRoute of each AIGatewayRoute, which may come along in a copy of a cluster.
                findings.warning(&route.id, "", "not served: it stands for the AIGatewayRoute of its name");
                continue;
            }
            let attached = self.planner.attachment.listeners(route.into(), findings);
            for (gateway, listeners) in self.planner.by_defaults(&attached) {
                routes.push(self.route(route, &gateway, &listeners, used, findings));
            }
            if attached.is_empty() {
                // Its mistakes are worth telling all the same.
                self.route(route, &Defaults::default(), &[], &mut Used::new(), findings);
            }
        }
        routes
    }

    fn route(
        &self,
        route: &Item<'_, HttpRouteSpec>,
        defaults: &Defaults<'_>,
        listeners: &[&PlannedListener<'_>],
        used: &mut Used,
        findings: &mut Findings,
    ) -> PlainRoute {
        let rules = route.spec.rules.iter().enumerate();
        PlainRoute {
            name: RouteName::new(route.full_name()),
            listeners: listeners.iter().flat_map(|listener| listener.names.iter().cloned()).collect(),
            hostnames: route.spec.hostnames.iter().map(|name| name.to_ascii_lowercase()).collect(),
            created_at: route.created_at(),
            rules: rules.map(|(at, rule)| self.rule(route, at, rule, defaults, used, findings)).collect(),
        }
    }

    fn rule(
        &self,
        route: &Item<'_, HttpRouteSpec>,
        at: usize,
        rule: &HttpRouteRule,
        defaults: &Defaults<'_>,
        used: &mut Used,
        findings: &mut Findings,
    ) -> PlainRule {
        let path = format!("spec.rules[{at}]");
        let held = self.planner.traffic.of_rule(&route.id, rule.name.as_deref(), &defaults.policy);
        let asked = self.planner.access.of_rule(&route.id, rule.name.as_deref(), &defaults.access);
        let unserved = defaults.broken.clone().or_else(|| held.as_ref().err().cloned()).or(asked.broken);
        let traffic = held.unwrap_or_default();
        let mut limits = rate_limit::for_plain_rule(&traffic.rate_limits, &route.full_name(), at);
        let budgets = self.planner.budgets.of_rule(&route.id, rule.name.as_deref(), &defaults.budgets);
        let unserved = unserved.or_else(|| budgets.as_ref().err().cloned());
        limits.extend(budgets.unwrap_or_default().into_iter().filter(|limit| limit.measure.is_none()));
        check_traffic(route, &path, &traffic, findings);
        check_matches(route, &path, rule, findings);
        let filters = plain_filter::resolve(&route.id, &path, rule, findings);
        let broken = unserved.or(filters.broken.clone());
        // What takes no request needs no backend.
        let mut unused = Used::new();
        let used = if broken.is_some() { &mut unused } else { used };
        PlainRule {
            name: rule.name.clone(),
            matches: rule.matches.iter().map(resolve_match).collect(),
            action: self.action(route, &path, rule, &filters, &traffic, used, findings),
            request_headers: filters.request_headers,
            response_headers: filters.response_headers,
            timeouts: timeouts(rule.timeouts.as_ref(), None, &traffic),
            access: asked.access,
            limits,
            broken,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what a rule is made of")]
    fn action(
        &self,
        route: &Item<'_, HttpRouteSpec>,
        path: &str,
        rule: &HttpRouteRule,
        filters: &Filters,
        traffic: &Traffic,
        used: &mut Used,
        findings: &mut Findings,
    ) -> PlainAction {
        if let Some(redirect) = &filters.redirect {
            return PlainAction::Redirect(redirect.clone());
        }
        if rule.backend_refs.iter().all(|reference| reference.weight == 0) {
            let message = match rule.backend_refs.as_slice() {
                [] => "there is no backend: requests are answered 500",
                _ => "every backend has weight 0: requests are answered 500",
            };
            findings.warning(&route.id, format!("{path}.backendRefs"), message);
        }
        let mut forward =
            Forward { hostname: filters.hostname.clone(), path: filters.path.clone(), ..Forward::default() };
        for (nth, reference) in rule.backend_refs.iter().enumerate() {
            let path = format!("{path}.backendRefs[{nth}]");
            let weight = u32::try_from(reference.weight).unwrap_or(0);
            match self.target(route, &path, reference, traffic, used, findings) {
                Some(backend) => forward.targets.push(PlainTarget { backend, weight }),
                None => forward.unresolved_weight = forward.unresolved_weight.saturating_add(weight),
            }
        }
        PlainAction::Forward(forward)
    }

    /// The backend that `reference` names; `None` when it leads nowhere, which is told.
    fn target(
        &self,
        route: &Item<'_, HttpRouteSpec>,
        path: &str,
        reference: &HttpBackendRef,
        traffic: &Traffic,
        used: &mut Used,
        findings: &mut Findings,
    ) -> Option<BackendName> {
        let index = self.planner.index;
        let (name, own) = (&reference.name, &route.id.namespace);
        let namespace = reference.namespace.as_ref().unwrap_or(own);
        let mut fail = |reason, field: &str, message: String| {
            findings.unresolved(&route.id, format!("{path}{field}"), reason, message);
        };
        if !BACKEND.is(&reference.group, &reference.kind) {
            let found = format!("{} of group {:?}", reference.kind, reference.group);
            let message = format!("expected a Backend of gateway.envoyproxy.io, found {found}");
            fail(Unresolved::InvalidKind, ".kind", message);
            return None;
        }
        if !grant::permits(index, (HTTP_ROUTE, own), (BACKEND, namespace, name)) {
            let message = format!("no ReferenceGrant in {namespace:?} lets this route use Backend {name:?}");
            fail(Unresolved::RefNotPermitted, ".namespace", message);
            return None;
        }
        // What is wrong with it is told already.
        if index.is_invalid(BACKEND, namespace, name) {
            return None;
        }
        let Some(backend) = index.backends.get(namespace, name) else {
            fail(Unresolved::BackendNotFound, ".name", format!("no Backend \"{namespace}/{name}\""));
            return None;
        };
        if reference.port.is_some() {
            findings.warning(&route.id, format!("{path}.port"), "has no effect: a Backend has its own ports");
        }
        if !reference.filters.is_empty() {
            let message = "filters of a single backend are not served: it gets no requests";
            findings.error(&route.id, format!("{path}.filters"), message);
            return None;
        }
        let resolved = self.backends.resolve(backend, findings);
        let planned = resolved
            .inspect_err(|message| {
                findings.unresolved(&route.id, path, Unresolved::BackendNotFound, message.as_str());
            })
            .ok()?;
        let upstream = Upstream { ejection: None, ..traffic.upstream.clone() };
        use_backend((&backend.id, &planned), &upstream, used, findings);
        Some(planned.name)
    }
}

/// Names what a policy asks for that has no effect on requests that are passed through.
fn check_traffic(route: &Item<'_, HttpRouteSpec>, path: &str, traffic: &Traffic, findings: &mut Findings) {
    let Some(policy) = &traffic.upstream.policy else { return };
    if traffic.retry.retries_max > 0 {
        let message =
            format!("spec.retry of {policy} has no effect: requests of an HTTPRoute are not tried again");
        findings.warning(&route.id, path, message);
    }
    if traffic.upstream.ejection.is_some() {
        let message = format!("spec.healthCheck of {policy} has no effect on backends of an HTTPRoute");
        findings.warning(&route.id, path, message);
    }
}

/// Names conditions that do not do what somebody may expect of them.
fn check_matches(route: &Item<'_, HttpRouteSpec>, path: &str, rule: &HttpRouteRule, findings: &mut Findings) {
    for (nth, written) in rule.matches.iter().enumerate() {
        for (place, header) in written.headers.iter().enumerate() {
            if !tollgate_config::plain::can_hold(&header.name.to_ascii_lowercase()) {
                let path = format!("{path}.matches[{nth}].headers[{place}].name");
                findings.warning(&route.id, path, "never holds: it is a header of the gateway");
            }
        }
    }
}

/// A condition on the path, resolved.
pub(crate) fn path_match(kind: PathMatchType, value: &str) -> PathMatch {
    match kind {
        PathMatchType::Exact => PathMatch::Exact(value.to_owned()),
        PathMatchType::PathPrefix => PathMatch::Prefix(value.to_owned()),
        PathMatchType::RegularExpression => PathMatch::RegularExpression(value.to_owned()),
    }
}

fn resolve_match(written: &HttpRouteMatch) -> PlainMatch {
    let always = PlainMatch::default();
    let path = written.path.as_ref().map_or(always.path, |path| path_match(path.kind, &path.value));
    let query = |parameter: &tollgate_manifest::HttpQueryParamMatch| QueryMatch {
        name: parameter.name.clone(),
        value: text_match(parameter.kind, &parameter.value),
    };
    PlainMatch {
        path,
        method: written.method.clone(),
        headers: written.headers.iter().map(header_match).collect(),
        query: written.query_params.iter().map(query).collect(),
    }
}

//! Which listeners a route is attached to.

use std::collections::BTreeMap;

use tollgate_config::hostname;
use tollgate_manifest::{AiGatewayRouteSpec, FromNamespaces, HttpRouteSpec, ParentReference};

use crate::findings::{Findings, ObjectId, Unresolved};
use crate::gateway::{Origin, PlannedListener, by_gateway};
use crate::grant::{AI_ROUTE, GATEWAY, GATEWAY_API, HTTP_ROUTE, Kind};
use crate::index::{Index, Item};
use crate::selector::selects;

/// A route of any kind, as far as it says where it belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attaching<'r> {
    id: &'r ObjectId,
    /// Whom a listener has to let in.
    kinds: &'r [Kind],
    parent_refs: &'r [ParentReference],
    hostnames: &'r [String],
}

impl<'r> From<&'r Item<'_, AiGatewayRouteSpec>> for Attaching<'r> {
    fn from(route: &'r Item<'_, AiGatewayRouteSpec>) -> Self {
        let (parent_refs, hostnames) = (&route.spec.parent_refs, &route.spec.hostnames);
        // An AIGatewayRoute stands for the HTTPRoute that Envoy AI Gateway would make of it.
        Self { id: &route.id, kinds: &[HTTP_ROUTE, AI_ROUTE], parent_refs, hostnames }
    }
}

impl<'r> From<&'r Item<'_, HttpRouteSpec>> for Attaching<'r> {
    fn from(route: &'r Item<'_, HttpRouteSpec>) -> Self {
        let (parent_refs, hostnames) = (&route.spec.parent_refs, &route.spec.hostnames);
        Self { id: &route.id, kinds: &[HTTP_ROUTE], parent_refs, hostnames }
    }
}

/// Finds the listeners of routes.
pub(crate) struct Attachment<'a, 'p> {
    index: &'a Index<'a>,
    planned: &'p [PlannedListener<'a>],
    by_gateway: BTreeMap<(&'a str, &'a str), Vec<&'p PlannedListener<'a>>>,
}

impl<'a, 'p> Attachment<'a, 'p> {
    pub(crate) fn new(index: &'a Index<'a>, planned: &'p [PlannedListener<'a>]) -> Self {
        Self { index, planned, by_gateway: by_gateway(planned) }
    }

    /// The listeners that `route` is attached to, each once.
    pub(crate) fn listeners(
        &self,
        route: Attaching<'_>,
        findings: &mut Findings,
    ) -> Vec<&'p PlannedListener<'a>> {
        if !self.index.has_gateways() {
            return self.without_gateways(route, findings);
        }
        if route.parent_refs.is_empty() {
            findings.warning(route.id, "spec.parentRefs", "attached to no Gateway: nothing of it is served");
        }
        let mut attached: Vec<&PlannedListener<'a>> = Vec::new();
        for (at, parent) in route.parent_refs.iter().enumerate() {
            let path = format!("spec.parentRefs[{at}]");
            for listener in self.of_parent(route, &path, parent, findings) {
                if !attached.iter().any(|other| std::ptr::eq(*other, listener)) {
                    attached.push(listener);
                }
            }
        }
        attached
    }

    /// Without any Gateway, every route is served where the default is.
    fn without_gateways(
        &self,
        route: Attaching<'_>,
        findings: &mut Findings,
    ) -> Vec<&'p PlannedListener<'a>> {
        if !route.parent_refs.is_empty() {
            findings.warning(
                route.id,
                "spec.parentRefs",
                "there is no Gateway: served at the default address",
            );
        }
        self.planned.iter().collect()
    }

    fn of_parent(
        &self,
        route: Attaching<'_>,
        path: &str,
        parent: &ParentReference,
        findings: &mut Findings,
    ) -> Vec<&'p PlannedListener<'a>> {
        if !GATEWAY.is(&parent.group, &parent.kind) {
            findings.unresolved(route.id, path, Unresolved::InvalidKind, "expected a Gateway");
            return Vec::new();
        }
        let namespace = parent.namespace.as_deref().unwrap_or(&route.id.namespace);
        // What is wrong with it is told already.
        if self.index.is_invalid(GATEWAY, namespace, &parent.name) {
            return Vec::new();
        }
        if self.index.gateways.get(namespace, &parent.name).is_none() {
            let message = format!("no Gateway \"{namespace}/{}\"", parent.name);
            findings.unresolved(route.id, format!("{path}.name"), Unresolved::BackendNotFound, message);
            return Vec::new();
        }
        let listeners =
            self.by_gateway.get(&(namespace, parent.name.as_str())).map_or(&[][..], Vec::as_slice);
        let named: Vec<(&PlannedListener<'a>, Origin<'a>)> = listeners
            .iter()
            .filter_map(|listener| Some((*listener, listener.origin?)))
            .filter(|(_, origin)| {
                parent.section_name.as_ref().is_none_or(|name| *name == origin.listener.name)
            })
            .filter(|(_, origin)| parent.port.is_none_or(|port| port == origin.listener.port))
            .collect();
        let allowed = named.iter().filter(|(_, origin)| self.is_allowed(route, origin));
        let allowed: Vec<_> = allowed.map(|(listener, _)| *listener).collect();
        let shared: Vec<_> = allowed.iter().copied().filter(|one| shares_a_host(route, one)).collect();
        let message = match (named.is_empty(), allowed.is_empty(), shared.is_empty()) {
            (true, ..) => "no served listener of that Gateway fits",
            (_, true, _) => "not allowed by allowedRoutes of the listener",
            (.., true) => "no host name in common with the listener",
            _ => return shared,
        };
        findings.error(route.id, path, message);
        Vec::new()
    }

    /// Whether the listener lets routes of this kind and namespace attach.
    fn is_allowed(&self, route: Attaching<'_>, origin: &Origin<'_>) -> bool {
        let Some(allowed) = &origin.listener.allowed_routes else {
            return route.id.namespace == origin.gateway.id.namespace;
        };
        let is_kind = allowed.kinds.is_empty()
            || allowed.kinds.iter().any(|one| {
                let group = one.group.as_deref().unwrap_or(GATEWAY_API);
                route.kinds.iter().any(|kind| kind.is(group, &one.kind))
            });
        let namespaces = allowed.namespaces.as_ref();
        is_kind
            && match namespaces.map_or(FromNamespaces::Same, |namespaces| namespaces.from) {
                FromNamespaces::All => true,
                FromNamespaces::Same => route.id.namespace == origin.gateway.id.namespace,
                FromNamespaces::None => false,
                FromNamespaces::Selector => {
                    namespaces.and_then(|namespaces| namespaces.selector.as_ref()).is_some_and(|selector| {
                        let labels = self.labels(&route.id.namespace);
                        selects(&selector.match_labels, &selector.match_expressions, &labels)
                    })
                }
            }
    }

    /// The labels of a namespace, with the one that Kubernetes gives every namespace.
    fn labels(&self, namespace: &str) -> BTreeMap<String, String> {
        let written = self.index.namespaces.iter().find(|item| item.id.name == namespace);
        let mut labels = written.map(|item| item.metadata.labels.clone()).unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
        labels
    }
}

fn shares_a_host(route: Attaching<'_>, listener: &PlannedListener<'_>) -> bool {
    let Some(of_listener) = &listener.hostname else { return true };
    let shares = |name: &String| hostname::intersect(&name.to_ascii_lowercase(), of_listener).is_some();
    route.hostnames.is_empty() || route.hostnames.iter().any(shares)
}

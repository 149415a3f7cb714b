//! Who may refer across namespaces.

use crate::index::Index;

/// Group of AIGatewayRoute and its kin.
pub(crate) const AI_GATEWAY: &str = "aigateway.envoyproxy.io";
/// Group of Backend and the policies of Envoy Gateway.
pub(crate) const ENVOY_GATEWAY: &str = "gateway.envoyproxy.io";
/// Group of kinds that Envoy AI Gateway has not.
pub(crate) const TOLLGATE: &str = "tollgate.dev";
/// Group of Gateway API.
pub(crate) const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// A group and a kind in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
}

pub(crate) const AI_ROUTE: Kind = Kind { group: AI_GATEWAY, name: "AIGatewayRoute" };
pub(crate) const AI_BACKEND: Kind = Kind { group: AI_GATEWAY, name: "AIServiceBackend" };
pub(crate) const AI_SECURITY: Kind = Kind { group: AI_GATEWAY, name: "BackendSecurityPolicy" };
pub(crate) const BACKEND_TLS: Kind = Kind { group: GATEWAY_API, name: "BackendTLSPolicy" };
pub(crate) const BACKEND_TRAFFIC: Kind = Kind { group: ENVOY_GATEWAY, name: "BackendTrafficPolicy" };
pub(crate) const QUOTA: Kind = Kind { group: AI_GATEWAY, name: "QuotaPolicy" };
pub(crate) const BUDGET: Kind = Kind { group: TOLLGATE, name: "Budget" };
pub(crate) const SECURITY: Kind = Kind { group: ENVOY_GATEWAY, name: "SecurityPolicy" };
pub(crate) const CLIENT_TRAFFIC: Kind = Kind { group: ENVOY_GATEWAY, name: "ClientTrafficPolicy" };
pub(crate) const INFERENCE_POOL: Kind = Kind { group: "inference.networking.k8s.io", name: "InferencePool" };
pub(crate) const GATEWAY_CLASS: Kind = Kind { group: GATEWAY_API, name: "GatewayClass" };
pub(crate) const GATEWAY_CONFIG: Kind = Kind { group: AI_GATEWAY, name: "GatewayConfig" };
pub(crate) const GATEWAY: Kind = Kind { group: GATEWAY_API, name: "Gateway" };
pub(crate) const HTTP_ROUTE: Kind = Kind { group: GATEWAY_API, name: "HTTPRoute" };
pub(crate) const BACKEND: Kind = Kind { group: ENVOY_GATEWAY, name: "Backend" };
pub(crate) const SERVICE: Kind = Kind { group: "", name: "Service" };
pub(crate) const SECRET: Kind = Kind { group: "", name: "Secret" };
pub(crate) const CONFIG_MAP: Kind = Kind { group: "", name: "ConfigMap" };

impl Kind {
    /// Whether a reference with `group` and `kind` is to this kind.
    pub(crate) fn is(self, group: &str, kind: &str) -> bool {
        self.group == group && self.name == kind
    }
}

/// Whether an object of kind `from` in `from_namespace` may refer to the object `name` of kind `to` in
/// `to_namespace`: it lies in the same namespace, or a ReferenceGrant there says so.
pub(crate) fn permits(
    index: &Index<'_>,
    (from, from_namespace): (Kind, &str),
    (to, to_namespace, name): (Kind, &str, &str),
) -> bool {
    from_namespace == to_namespace
        || index.reference_grants.in_namespace(to_namespace).any(|grant| {
            grant
                .spec
                .from
                .iter()
                .any(|one| from.is(&one.group, &one.kind) && one.namespace == from_namespace)
                && grant.spec.to.iter().any(|one| {
                    to.is(&one.group, &one.kind) && one.name.as_deref().is_none_or(|only| only == name)
                })
        })
}

//! AIGatewayRoute: which requests go to which backends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HttpBodyMutation, HttpHeaderMutation, LlmRequestCost};
use crate::gateway_api::{
    GROUP, HOSTNAME, HttpHeaderMatch, HttpRouteTimeouts, KIND, NAMESPACE, ParentReference, SECTION_NAME,
};
use crate::rules::{cel, removed};
use crate::scalar::{GatewayDuration, Timestamp};

/// What an AIGatewayRoute says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-removed" = removed([
    ("targetRefs", "name the Gateways in parentRefs"),
    ("filterConfig", "use a GatewayConfig"),
    ("schema", "every schema is served on every route"),
])))]
pub struct AiGatewayRouteSpec {
    /// Gateways that this route attaches to.
    #[serde(default)]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-validations" = cel([(
            "self.all(match, match.kind == 'Gateway')",
            "only Gateway is supported",
        )]))
    )]
    pub parent_refs: Vec<ParentReference>,
    /// Host names that requests must have; every host of the listeners when empty.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253), regex(pattern = HOSTNAME)))]
    pub hostnames: Vec<String>,
    /// What goes where.
    #[schemars(
        length(max = 15),
        extend("x-kubernetes-validations" = cel([(
            "self.all(r1, !has(r1.name) || self.exists_one(r2, has(r2.name) && r1.name == r2.name))",
            "rule name must be unique within the route",
        )]))
    )]
    pub rules: Vec<AiGatewayRouteRule>,
    /// Numbers of tokens to publish for each request of this route.
    #[serde(default)]
    #[schemars(
        length(max = 36),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["metadataKey"])
    )]
    pub llm_request_costs: Vec<LlmRequestCost>,
}

/// One rule: what it matches and where it sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AiGatewayRouteRule {
    /// Name of the rule, unique in its route.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = SECTION_NAME),
        extend("x-kubernetes-validations" = cel([(
            "self != 'route-not-found'",
            "rule name must not be 'route-not-found', which is reserved",
        )]))
    )]
    pub name: Option<String>,
    /// Where requests go.
    #[serde(default)]
    #[schemars(
        length(max = 128),
        extend("x-kubernetes-validations" = cel([
            (
                "self.all(ref, has(ref.kind) && ref.kind == 'InferencePool') \
                 || self.all(ref, !has(ref.kind) || ref.kind != 'InferencePool')",
                "cannot mix InferencePool and AIServiceBackend references in the same rule",
            ),
            (
                "self.filter(ref, has(ref.kind) && ref.kind == 'InferencePool').size() <= 1",
                "only one InferencePool backend is allowed per rule",
            ),
        ]))
    )]
    pub backend_refs: Vec<AiGatewayRouteBackendRef>,
    /// Alternatives: the rule matches when one of them does. Empty: every request.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub matches: Vec<AiGatewayRouteMatch>,
    /// Bounds in time. The whole exchange may take 60 seconds unless `request` says otherwise.
    pub timeouts: Option<HttpRouteTimeouts>,
    /// How long a response body may be silent; no bound when absent.
    pub stream_idle_timeout: Option<GatewayDuration>,
    /// `owned_by` of the models of this rule in the model list; `Envoy AI Gateway` when absent.
    pub models_owned_by: Option<String>,
    /// `created` of the models of this rule in the model list; the creation time of the route when absent.
    pub models_created_at: Option<Timestamp>,
}

/// One alternative of a rule: all of its conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AiGatewayRouteMatch {
    /// Conditions on headers. `x-ai-eg-model` is the model that the request body names.
    #[serde(default)]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub headers: Vec<HttpHeaderMatch>,
}

fn one() -> i32 {
    1
}

/// One backend of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([
    (
        "has(self.group) == has(self.kind)",
        "group and kind must be specified together",
    ),
    (
        "!has(self.group) || !has(self.kind) \
         || (self.group == 'inference.networking.k8s.io' && self.kind == 'InferencePool')",
        "only InferencePool from inference.networking.k8s.io group is supported",
    ),
])))]
pub struct AiGatewayRouteBackendRef {
    /// Name of the AIServiceBackend or InferencePool.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the object; that of the route when absent. Another one needs a ReferenceGrant.
    #[schemars(length(min = 1, max = 63), regex(pattern = NAMESPACE))]
    pub namespace: Option<String>,
    /// API group, for an InferencePool.
    #[schemars(length(max = 253), regex(pattern = GROUP))]
    pub group: Option<String>,
    /// Kind, for an InferencePool.
    #[schemars(length(min = 1, max = 63), regex(pattern = KIND))]
    pub kind: Option<String>,
    /// Model to ask the backend for, instead of the one that the client asked for.
    pub model_name_override: Option<String>,
    /// Changes to request headers; wins over those of the backend.
    pub header_mutation: Option<HttpHeaderMutation>,
    /// Changes to the request body; wins over those of the backend.
    pub body_mutation: Option<HttpBodyMutation>,
    /// Share of the requests among backends of the same priority.
    #[serde(default = "one")]
    #[schemars(range(min = 0))]
    pub weight: i32,
    /// Backends of priority 0 are tried first.
    #[serde(default)]
    pub priority: u32,
}

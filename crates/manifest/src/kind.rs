//! Table: the kinds that are read, their versions, and what is said of the others.

use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::decode::{config_map, resource, secret};
use crate::kubernetes::{ConfigMapText, Metadata, NamespaceSpec, SecretText};
use crate::object::{Object, Resource};
use crate::schema::Schema;
use crate::{ai_gateway, envoy_gateway, gateway_api, structural, tollgate};

/// The group of our own kinds.
pub(crate) const OWN_GROUP: &str = "aigateway.envoyproxy.io";
const GATEWAY_API: &str = "gateway.networking.k8s.io";
const ENVOY_GATEWAY: &str = "gateway.envoyproxy.io";
/// The group of kinds that Envoy AI Gateway has not.
pub(crate) const TOLLGATE: &str = "tollgate.dev";
const CORE: &str = "";

/// Whether objects of a kind are in namespaces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Namespace,
    Cluster,
}

/// Makes an object of a checked document, or says at which path it cannot and why.
pub(crate) type Decode = fn(Value) -> Result<Object, DecodeError>;

/// A path and a message.
pub(crate) type DecodeError = (String, String);

/// One version of one kind.
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    /// The versions that have this schema.
    pub(crate) versions: &'static [&'static str],
    pub(crate) scope: Scope,
    /// What is said of these versions.
    pub(crate) deprecation: Option<&'static str>,
    /// The schema of the members beside apiVersion, kind, metadata and status.
    pub(crate) body: fn() -> Value,
    pub(crate) decode: Decode,
    schema: OnceLock<Schema>,
}

impl Kind {
    const fn new(
        group: &'static str,
        name: &'static str,
        versions: &'static [&'static str],
        body: fn() -> Value,
        decode: Decode,
    ) -> Self {
        let schema = OnceLock::new();
        Self { group, name, versions, scope: Scope::Namespace, deprecation: None, body, decode, schema }
    }

    const fn in_cluster(mut self) -> Self {
        self.scope = Scope::Cluster;
        self
    }

    const fn deprecated(mut self, message: &'static str) -> Self {
        self.deprecation = Some(message);
        self
    }

    /// The schema of a whole document.
    pub(crate) fn schema(&self) -> &Schema {
        // A schema of ours that cannot be read would accept nothing; the tests read them all.
        self.schema.get_or_init(|| serde_json::from_value(self.document()).unwrap_or_default())
    }

    fn document(&self) -> Value {
        let mut document = (self.body)();
        let mut metadata = structural::of::<Metadata>();
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.shift_remove("description");
        }
        if let Some(properties) = document.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("apiVersion".to_owned(), json!({ "type": "string" }));
            properties.insert("kind".to_owned(), json!({ "type": "string" }));
            properties.insert("metadata".to_owned(), metadata);
            properties.insert(
                "status".to_owned(),
                json!({ "x-kubernetes-preserve-unknown-fields": true, "nullable": true }),
            );
        }
        if let Some(required) = document.get_mut("required").and_then(Value::as_array_mut) {
            required.push("metadata".into());
        }
        document
    }
}

/// The body of a kind with a `spec`.
fn with_spec<S: JsonSchema>() -> Value {
    with(structural::of::<S>())
}

fn with(spec: Value) -> Value {
    json!({ "type": "object", "properties": { "spec": spec }, "required": ["spec"] })
}

/// The body of a kind whose members stand beside its metadata.
fn flat<T: JsonSchema>() -> Value {
    let mut body = structural::of::<T>();
    if let Some(body) = body.as_object_mut() {
        body.entry("required").or_insert_with(|| json!([]));
    }
    body
}

fn namespace_body() -> Value {
    json!({ "type": "object", "properties": { "spec": structural::of::<NamespaceSpec>() }, "required": [] })
}

fn security_policy_v1alpha1() -> Value {
    let mut spec = structural::of::<ai_gateway::BackendSecurityPolicySpec>();
    ai_gateway::v1alpha1(&mut spec);
    with(spec)
}

/// Decodes a kind with a `spec`.
fn decoded<S: DeserializeOwned>(
    document: Value,
    object: fn(Resource<S>) -> Object,
) -> Result<Object, DecodeError> {
    resource(document).map(object)
}

/// A Namespace, whose `spec` may be left out.
fn namespace(mut document: Value) -> Result<Object, DecodeError> {
    if let Some(document) = document.as_object_mut() {
        document.entry("spec").or_insert_with(|| json!({}));
    }
    decoded(document, Object::Namespace)
}

const V1BETA1: &[&str] = &["v1beta1"];
const V1ALPHA1: &[&str] = &["v1alpha1"];
/// Versions of a kind of Gateway API that became stable without a change of shape.
const STABLE: &[&str] = &["v1", "v1beta1", "v1alpha2"];

/// What is said of an object of v1alpha1 of our group; `{}` is the kind, in the plural.
macro_rules! deprecated {
    ($kind:literal) => {
        concat!(
            "aigateway.envoyproxy.io/v1alpha1 ",
            $kind,
            " is deprecated; use aigateway.envoyproxy.io/v1beta1 ",
            $kind
        )
    };
}

/// The kinds that are read.
pub(crate) static KINDS: [Kind; 22] = [
    Kind::new(GATEWAY_API, "GatewayClass", STABLE, with_spec::<gateway_api::GatewayClassSpec>, |document| {
        decoded(document, Object::GatewayClass)
    })
    .in_cluster(),
    Kind::new(GATEWAY_API, "Gateway", STABLE, with_spec::<gateway_api::GatewaySpec>, |document| {
        decoded(document, Object::Gateway)
    }),
    Kind::new(GATEWAY_API, "HTTPRoute", STABLE, with_spec::<gateway_api::HttpRouteSpec>, |document| {
        decoded(document, Object::HttpRoute)
    }),
    Kind::new(
        GATEWAY_API,
        "ReferenceGrant",
        STABLE,
        with_spec::<gateway_api::ReferenceGrantSpec>,
        |document| decoded(document, Object::ReferenceGrant),
    ),
    Kind::new(
        GATEWAY_API,
        "BackendTLSPolicy",
        &["v1", "v1alpha3"],
        with_spec::<gateway_api::BackendTlsPolicySpec>,
        |document| decoded(document, Object::BackendTlsPolicy),
    ),
    Kind::new(
        OWN_GROUP,
        "AIGatewayRoute",
        V1BETA1,
        with_spec::<ai_gateway::AiGatewayRouteSpec>,
        |document| decoded(document, Object::AiGatewayRoute),
    ),
    Kind::new(
        OWN_GROUP,
        "AIGatewayRoute",
        V1ALPHA1,
        with_spec::<ai_gateway::AiGatewayRouteSpec>,
        |document| decoded(document, Object::AiGatewayRoute),
    )
    .deprecated(deprecated!("AIGatewayRoute")),
    Kind::new(
        OWN_GROUP,
        "AIServiceBackend",
        V1BETA1,
        with_spec::<ai_gateway::AiServiceBackendSpec>,
        |document| decoded(document, Object::AiServiceBackend),
    ),
    Kind::new(
        OWN_GROUP,
        "AIServiceBackend",
        V1ALPHA1,
        with_spec::<ai_gateway::AiServiceBackendSpec>,
        |document| decoded(document, Object::AiServiceBackend),
    )
    .deprecated(deprecated!("AIServiceBackend")),
    Kind::new(
        OWN_GROUP,
        "BackendSecurityPolicy",
        V1BETA1,
        with_spec::<ai_gateway::BackendSecurityPolicySpec>,
        |document| decoded(document, Object::BackendSecurityPolicy),
    ),
    Kind::new(OWN_GROUP, "BackendSecurityPolicy", V1ALPHA1, security_policy_v1alpha1, |document| {
        decoded(document, Object::BackendSecurityPolicy)
    })
    .deprecated(deprecated!("BackendSecurityPolicy")),
    Kind::new(OWN_GROUP, "GatewayConfig", V1BETA1, with_spec::<ai_gateway::GatewayConfigSpec>, |document| {
        decoded(document, Object::GatewayConfig)
    }),
    Kind::new(OWN_GROUP, "GatewayConfig", V1ALPHA1, with_spec::<ai_gateway::GatewayConfigSpec>, |document| {
        decoded(document, Object::GatewayConfig)
    })
    .deprecated(deprecated!("GatewayConfig")),
    Kind::new(ENVOY_GATEWAY, "Backend", V1ALPHA1, with_spec::<envoy_gateway::BackendSpec>, |document| {
        decoded(document, Object::Backend)
    }),
    Kind::new(
        ENVOY_GATEWAY,
        "BackendTrafficPolicy",
        V1ALPHA1,
        with_spec::<envoy_gateway::BackendTrafficPolicySpec>,
        |document| decoded(document, Object::BackendTrafficPolicy),
    ),
    Kind::new(
        ENVOY_GATEWAY,
        "ClientTrafficPolicy",
        V1ALPHA1,
        with_spec::<envoy_gateway::ClientTrafficPolicySpec>,
        |document| decoded(document, Object::ClientTrafficPolicy),
    ),
    Kind::new(OWN_GROUP, "QuotaPolicy", V1ALPHA1, with_spec::<ai_gateway::QuotaPolicySpec>, |document| {
        decoded(document, Object::QuotaPolicy)
    }),
    Kind::new(TOLLGATE, "Budget", V1ALPHA1, with_spec::<tollgate::BudgetSpec>, |document| {
        decoded(document, Object::Budget)
    }),
    Kind::new(
        ENVOY_GATEWAY,
        "SecurityPolicy",
        V1ALPHA1,
        with_spec::<envoy_gateway::SecurityPolicySpec>,
        |document| decoded(document, Object::SecurityPolicy),
    ),
    Kind::new(CORE, "Secret", &["v1"], flat::<SecretText>, secret),
    Kind::new(CORE, "ConfigMap", &["v1"], flat::<ConfigMapText>, config_map),
    Kind::new(CORE, "Namespace", &["v1"], namespace_body, namespace).in_cluster(),
];

/// Kinds of the wider system that are not served yet.
pub(crate) const NOT_SERVED: &[(&str, &str)] = &[
    (OWN_GROUP, "MCPRoute"),
    (ENVOY_GATEWAY, "EnvoyProxy"),
    (ENVOY_GATEWAY, "EnvoyGateway"),
    (ENVOY_GATEWAY, "EnvoyPatchPolicy"),
    (ENVOY_GATEWAY, "EnvoyExtensionPolicy"),
    (ENVOY_GATEWAY, "HTTPRouteFilter"),
    ("inference.networking.k8s.io", "InferencePool"),
    ("inference.networking.x-k8s.io", "InferencePool"),
    ("inference.networking.x-k8s.io", "InferenceModel"),
    ("inference.networking.x-k8s.io", "InferenceObjective"),
    ("inference.networking.k8s.io", "InferenceObjective"),
    (GATEWAY_API, "GRPCRoute"),
    (GATEWAY_API, "TLSRoute"),
    (GATEWAY_API, "TCPRoute"),
    (GATEWAY_API, "UDPRoute"),
    (GATEWAY_API, "ListenerSet"),
    (GATEWAY_API, "XListenerSet"),
    (GATEWAY_API, "BackendLBPolicy"),
];

/// Groups of Kubernetes itself and of what runs in it, whose objects stand in the same files and are not for a gateway.
const ELSEWHERE: &[&str] = &[
    CORE,
    "apps",
    "batch",
    "autoscaling",
    "policy",
    "networking.k8s.io",
    "rbac.authorization.k8s.io",
    "apiextensions.k8s.io",
    "admissionregistration.k8s.io",
    "storage.k8s.io",
    "cert-manager.io",
    "monitoring.coreos.com",
    "kustomize.config.k8s.io",
];

/// Whether this group is one of those whose objects make a gateway.
pub(crate) fn is_of_gateways(group: &str) -> bool {
    [OWN_GROUP, TOLLGATE, GATEWAY_API, ENVOY_GATEWAY].contains(&group)
}

/// Whether objects of this group are meant for somebody else.
pub(crate) fn is_elsewhere(group: &str) -> bool {
    ELSEWHERE.contains(&group)
}

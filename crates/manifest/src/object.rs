//! The objects that a source can hold.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ai_gateway::{
    AiGatewayRouteSpec, AiServiceBackendSpec, BackendSecurityPolicySpec, GatewayConfigSpec, QuotaPolicySpec,
};
use crate::envoy_gateway::{
    BackendSpec, BackendTrafficPolicySpec, ClientTrafficPolicySpec, SecurityPolicySpec,
};
use crate::gateway_api::{
    BackendTlsPolicySpec, GatewayClassSpec, GatewaySpec, HttpRouteSpec, PolicyTargetReference,
    ReferenceGrantSpec,
};
use crate::kubernetes::{ConfigMap, Metadata, NamespaceSpec, Secret};
use crate::tollgate::BudgetSpec;

/// An object with a specification, as nearly every kind has one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource<S> {
    /// Its name and notes.
    pub metadata: Metadata,
    /// What it says.
    pub spec: S,
}

/// Where clients connect.
pub type Gateway = Resource<GatewaySpec>;
/// Who serves the Gateways of a class.
pub type GatewayClass = Resource<GatewayClassSpec>;
/// Which requests go where, without knowing of models.
pub type HttpRoute = Resource<HttpRouteSpec>;
/// Who may refer across namespaces to objects of this one.
pub type ReferenceGrant = Resource<ReferenceGrantSpec>;
/// Which requests go to which models.
pub type AiGatewayRoute = Resource<AiGatewayRouteSpec>;
/// A place that serves models.
pub type AiServiceBackend = Resource<AiServiceBackendSpec>;
/// How the gateway proves itself to backends.
pub type BackendSecurityPolicy = Resource<BackendSecurityPolicySpec>;
/// Settings of a whole Gateway.
pub type GatewayConfig = Resource<GatewayConfigSpec>;
/// Network addresses.
pub type Backend = Resource<BackendSpec>;
/// TLS towards a backend.
pub type BackendTlsPolicy = Resource<BackendTlsPolicySpec>;
/// Retries, timeouts and bounds towards backends.
pub type BackendTrafficPolicy = Resource<BackendTrafficPolicySpec>;
/// How much of a model's service may be used at backends.
pub type QuotaPolicy = Resource<QuotaPolicySpec>;
/// How much callers may use.
pub type Budget = Resource<BudgetSpec>;
/// Bounds towards clients.
pub type ClientTrafficPolicy = Resource<ClientTrafficPolicySpec>;
/// What callers have to prove.
pub type SecurityPolicy = Resource<SecurityPolicySpec>;
/// A namespace and its labels.
pub type Namespace = Resource<NamespaceSpec>;

/// An object of which only the name was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unread {
    /// Group and version, as written.
    pub api_version: String,
    /// Kind, as written; of an object with mistakes the one that was probably meant.
    pub kind: String,
    /// Its name and notes, as far as they could be read.
    pub metadata: Metadata,
    /// What a policy with mistakes is about; `None` where that could not be read either.
    pub targets: Option<Vec<PolicyTargetReference>>,
}

/// Any object. It has no Debug, since it may be a Secret; `Display` is `Kind namespace/name`.
#[derive(Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are few objects, and they live as long as a plan is made"
)]
pub enum Object {
    /// Where clients connect.
    Gateway(Gateway),
    /// Who serves the Gateways of a class.
    GatewayClass(GatewayClass),
    /// Which requests go where, without knowing of models.
    HttpRoute(HttpRoute),
    /// Who may refer across namespaces to objects of this one.
    ReferenceGrant(ReferenceGrant),
    /// Which requests go to which models.
    AiGatewayRoute(AiGatewayRoute),
    /// A place that serves models.
    AiServiceBackend(AiServiceBackend),
    /// How the gateway proves itself to backends.
    BackendSecurityPolicy(BackendSecurityPolicy),
    /// Settings of a whole Gateway.
    GatewayConfig(GatewayConfig),
    /// Network addresses.
    Backend(Backend),
    /// TLS towards a backend.
    BackendTlsPolicy(BackendTlsPolicy),
    /// Retries, timeouts and bounds towards backends.
    BackendTrafficPolicy(BackendTrafficPolicy),
    /// How much of a model's service may be used at backends.
    QuotaPolicy(QuotaPolicy),
    /// How much callers may use.
    Budget(Budget),
    /// Bounds towards clients.
    ClientTrafficPolicy(ClientTrafficPolicy),
    /// What callers have to prove.
    SecurityPolicy(SecurityPolicy),
    /// Texts that nobody may see.
    Secret(Secret),
    /// Texts that are no secret.
    ConfigMap(ConfigMap),
    /// A namespace and its labels.
    Namespace(Namespace),
    /// Of a kind that is not served, or not known; a warning says which.
    Unsupported(Unread),
    /// Of a kind that is served, with mistakes that findings list. It exists, so what refers to it is not wrong,
    /// yet nothing can be said of it: whoever depends on it fails closed.
    Invalid(Unread),
}

impl Object {
    /// The kind, as it is written in `kind`.
    pub fn kind(&self) -> &str {
        match self {
            Object::Gateway(_) => "Gateway",
            Object::GatewayClass(_) => "GatewayClass",
            Object::HttpRoute(_) => "HTTPRoute",
            Object::ReferenceGrant(_) => "ReferenceGrant",
            Object::AiGatewayRoute(_) => "AIGatewayRoute",
            Object::AiServiceBackend(_) => "AIServiceBackend",
            Object::BackendSecurityPolicy(_) => "BackendSecurityPolicy",
            Object::GatewayConfig(_) => "GatewayConfig",
            Object::Backend(_) => "Backend",
            Object::BackendTlsPolicy(_) => "BackendTLSPolicy",
            Object::BackendTrafficPolicy(_) => "BackendTrafficPolicy",
            Object::QuotaPolicy(_) => "QuotaPolicy",
            Object::Budget(_) => "Budget",
            Object::ClientTrafficPolicy(_) => "ClientTrafficPolicy",
            Object::SecurityPolicy(_) => "SecurityPolicy",
            Object::Secret(_) => "Secret",
            Object::ConfigMap(_) => "ConfigMap",
            Object::Namespace(_) => "Namespace",
            Object::Unsupported(unread) | Object::Invalid(unread) => &unread.kind,
        }
    }

    /// Name, namespace and notes.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Object::Gateway(object) => &object.metadata,
            Object::GatewayClass(object) => &object.metadata,
            Object::HttpRoute(object) => &object.metadata,
            Object::ReferenceGrant(object) => &object.metadata,
            Object::AiGatewayRoute(object) => &object.metadata,
            Object::AiServiceBackend(object) => &object.metadata,
            Object::BackendSecurityPolicy(object) => &object.metadata,
            Object::GatewayConfig(object) => &object.metadata,
            Object::Backend(object) => &object.metadata,
            Object::BackendTlsPolicy(object) => &object.metadata,
            Object::BackendTrafficPolicy(object) => &object.metadata,
            Object::QuotaPolicy(object) => &object.metadata,
            Object::Budget(object) => &object.metadata,
            Object::ClientTrafficPolicy(object) => &object.metadata,
            Object::SecurityPolicy(object) => &object.metadata,
            Object::Secret(object) => &object.metadata,
            Object::ConfigMap(object) => &object.metadata,
            Object::Namespace(object) => &object.metadata,
            Object::Unsupported(unread) | Object::Invalid(unread) => &unread.metadata,
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&label(self.kind(), &self.metadata().namespace, &self.metadata().name))
    }
}

/// `Kind namespace/name`, or `Kind name` for what is in no namespace.
pub(crate) fn label(kind: &str, namespace: &str, name: &str) -> String {
    if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") }
}

//! SecurityPolicy: what callers have to prove, and which of them are let in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TargetSelector;
use crate::gateway_api::{
    BackendObjectReference, HEADER_NAME, LocalObjectReference, PolicyTargetReference, SecretObjectReference,
};
use crate::rules::{cel, fields};
use crate::scalar::GatewayDuration;

/// What a SecurityPolicy says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "x-tollgate-not-served" = fields(["cors"]),
    "x-tollgate-refused" = fields(["mergeType", "basicAuth", "oidc", "extAuth"]),
    "x-kubernetes-validations" = cel([
        (
            "(has(self.targetRef) && !has(self.targetRefs)) || (!has(self.targetRef) && has(self.targetRefs)) \
             || (has(self.targetSelectors) && self.targetSelectors.size() > 0)",
            "either targetRef or targetRefs must be used",
        ),
        (
            "!has(self.authorization) || !has(self.authorization.rules) || has(self.jwt) \
             || self.authorization.rules.all(r, !has(r.principal) || !has(r.principal.jwt))",
            "if authorization.rules.principal.jwt is used, jwt must be defined",
        ),
    ])
))]
pub struct SecurityPolicySpec {
    /// The Gateway or route that this policy is about; the older spelling of `targetRefs`.
    pub target_ref: Option<PolicyTargetReference>,
    /// The Gateways or routes that this policy is about.
    #[serde(default)]
    pub target_refs: Vec<PolicyTargetReference>,
    /// The same, by their labels.
    #[serde(default)]
    pub target_selectors: Vec<TargetSelector>,
    /// Callers show an API key.
    #[serde(rename = "apiKeyAuth")]
    pub api_key_auth: Option<ApiKeyAuth>,
    /// Callers show a token.
    pub jwt: Option<JwtAuth>,
    /// Which callers are let in.
    pub authorization: Option<Authorization>,
}

/// API keys of callers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyAuth {
    /// Secrets with keys: each member is the id of a client and its key, or `sha256:` and the hexadecimal hash of it.
    #[schemars(length(min = 1))]
    pub credential_refs: Vec<SecretObjectReference>,
    /// Where a request may have a key; the first place with one counts.
    #[schemars(length(min = 1))]
    pub extract_from: Vec<ExtractFrom>,
    /// The header in which backends are told the id of the client.
    #[serde(rename = "forwardClientIDHeader")]
    #[schemars(length(min = 1, max = 256), regex(pattern = HEADER_NAME))]
    pub forward_client_id_header: Option<String>,
    /// Whether keys are kept from backends, which is always so.
    pub sanitize: Option<bool>,
}

/// Places of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtractFrom {
    /// Headers.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Parameters of the query.
    #[serde(default)]
    pub params: Vec<String>,
    /// Cookies.
    #[serde(default)]
    pub cookies: Vec<String>,
}

/// Tokens of callers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtAuth {
    /// Whether a request without a token goes on. One with a bad token never does.
    pub optional: Option<bool>,
    /// Who issues tokens.
    #[schemars(length(min = 1, max = 4))]
    pub providers: Vec<JwtProvider>,
}

/// An issuer of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([
    (
        "has(self.remoteJWKS) != has(self.localJWKS)",
        "exactly one of remoteJWKS or localJWKS must be specified",
    ),
    (
        "!has(self.recomputeRoute) || !self.recomputeRoute || (has(self.claimToHeaders) && self.claimToHeaders.size() > 0)",
        "claimToHeaders must be specified if recomputeRoute is enabled",
    ),
])))]
pub struct JwtProvider {
    /// Its name here.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// What `iss` must be; any when absent.
    #[schemars(length(max = 253))]
    pub issuer: Option<String>,
    /// Of these, `aud` must have one; any when absent.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub audiences: Vec<String>,
    /// Keys at an address.
    #[serde(rename = "remoteJWKS")]
    pub remote_jwks: Option<RemoteJwks>,
    /// Keys in the configuration.
    #[serde(rename = "localJWKS")]
    pub local_jwks: Option<LocalJwks>,
    /// Claims to tell backends.
    #[serde(default)]
    pub claim_to_headers: Vec<ClaimToHeader>,
    /// Whether these headers take part in routing.
    pub recompute_route: Option<bool>,
    /// Where a request may have a token; behind `Bearer` in `authorization`, or in the parameter `access_token`, when absent.
    pub extract_from: Option<JwtExtractor>,
}

/// Keys at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-not-served" = fields(["backendRef", "backendSettings"])))]
pub struct RemoteJwks {
    /// The address.
    #[schemars(length(min = 1, max = 253))]
    pub uri: String,
    /// How long the keys are good; 300 seconds when absent.
    pub cache_duration: Option<GatewayDuration>,
    /// Who is asked for the address, if not whom its name leads to.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub backend_refs: Vec<BackendObjectReference>,
}

/// Keys in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([(
    "(self.type == 'Inline' && has(self.inline) && !has(self.valueRef)) \
     || (self.type == 'ValueRef' && !has(self.inline) && has(self.valueRef))",
    "Exactly one of inline or valueRef must be set with correct type.",
)])))]
pub struct LocalJwks {
    /// How they are written.
    #[serde(rename = "type", default)]
    pub kind: LocalJwksType,
    /// The key set itself.
    pub inline: Option<String>,
    /// A ConfigMap or Secret with the key set under `jwks`, or under its only key.
    pub value_ref: Option<LocalObjectReference>,
}

/// How keys are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LocalJwksType {
    /// In place.
    #[default]
    Inline,
    /// In another object.
    ValueRef,
}

/// A claim that backends are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimToHeader {
    /// The header.
    #[schemars(length(min = 1, max = 256), regex(pattern = HEADER_NAME))]
    pub header: String,
    /// The claim; dots lead into objects.
    #[schemars(length(min = 1))]
    pub claim: String,
}

/// Where a request may have a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtExtractor {
    /// Headers.
    #[serde(default)]
    pub headers: Vec<JwtHeader>,
    /// Cookies.
    #[serde(default)]
    pub cookies: Vec<String>,
    /// Parameters of the query.
    #[serde(default)]
    pub params: Vec<String>,
}

/// A header with a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtHeader {
    /// Its name.
    #[schemars(length(min = 1, max = 256), regex(pattern = HEADER_NAME))]
    pub name: String,
    /// What stands before the token.
    pub value_prefix: Option<String>,
}

/// Which callers are let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// Rules; the first that is for a caller decides.
    #[serde(default)]
    pub rules: Vec<AuthorizationRule>,
    /// What becomes of a caller for which there is none; `Deny` when absent.
    pub default_action: Option<AuthorizationAction>,
}

/// Whether a caller is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthorizationAction {
    /// It is.
    Allow,
    /// It is not.
    Deny,
}

/// A rule on callers. All that it says must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([(
    "has(self.principal) || has(self.cel)",
    "principal or cel must be specified",
)])))]
pub struct AuthorizationRule {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// What becomes of those that it is for.
    pub action: AuthorizationAction,
    /// What they want to do.
    pub operation: Option<AuthorizationOperation>,
    /// Who they are.
    pub principal: Option<AuthorizationPrincipal>,
    /// An expression in CEL that must be true. It sees `request.headers`, `request.method`, `request.path`, `principal.user`,
    /// `principal.team`, `principal.application`, `principal.key_id`, `jwt.claims`, `jwt.provider` and `source.address`. Who it
    /// cannot be evaluated for is not let in.
    #[schemars(length(min = 1, max = 4096))]
    pub cel: Option<String>,
}

/// What callers want to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-refused" = fields(["paths", "path"])))]
pub struct AuthorizationOperation {
    /// With one of these methods.
    #[schemars(length(min = 1, max = 16))]
    pub methods: Vec<String>,
}

/// Who callers are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "x-tollgate-refused" = fields(["sourceCIDRs", "clientIPGeoLocations"]),
    "x-kubernetes-validations" = cel([(
        "has(self.clientCIDRs) || has(self.jwt) || has(self.headers)",
        "at least one of clientCIDRs, jwt, or headers must be specified",
    )])
))]
pub struct AuthorizationPrincipal {
    /// Networks of their addresses.
    #[serde(rename = "clientCIDRs", default)]
    pub client_cidrs: Vec<String>,
    /// What their token says.
    pub jwt: Option<JwtPrincipal>,
    /// What their headers say.
    #[serde(default)]
    pub headers: Vec<AuthorizationHeader>,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([(
    "has(self.claims) || has(self.scopes)",
    "at least one of claims or scopes must be specified",
)])))]
pub struct JwtPrincipal {
    /// The name of its issuer here.
    #[schemars(length(min = 1, max = 253))]
    pub provider: String,
    /// Claims, all of which it must have.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub claims: Vec<JwtClaim>,
    /// Scopes, all of which it must have.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub scopes: Vec<String>,
}

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtClaim {
    /// Its name; dots lead into objects.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Whether it is a text or a list of texts. Both are taken here.
    pub value_type: Option<JwtClaimValueType>,
    /// It must be one of these, or have one of them.
    #[schemars(length(min = 1, max = 128))]
    pub values: Vec<String>,
}

/// What a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum JwtClaimValueType {
    /// A text.
    String,
    /// A list of texts.
    StringArray,
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationHeader {
    /// Its name.
    #[schemars(length(min = 1, max = 256), regex(pattern = HEADER_NAME))]
    pub name: String,
    /// It must be one of these.
    #[schemars(length(min = 1, max = 256))]
    pub values: Vec<String>,
}

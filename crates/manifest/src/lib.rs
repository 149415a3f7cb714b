//! Resource kinds as users write them: YAML in, typed values with positions out, custom resource definitions out.
//!
//! The schema of each kind is derived from its Rust type, rules in CEL included, so what [`parse`] refuses is what a
//! cluster refuses that has the definitions of [`crds`]. References between objects are not followed here; that is
//! `plan`'s. No file is read and no variable looked up: texts come in, and [`substitute`] is told the values.

mod ai_gateway;
mod cel_rule;
mod check;
mod crd;
mod decode;
mod envoy_gateway;
mod finding;
mod gateway_api;
mod kind;
mod kubernetes;
mod node;
mod object;
mod parse;
mod position;
mod rules;
mod scalar;
mod schema;
mod structural;
mod substitute;
mod suggest;
mod target;
mod tollgate;
mod twin;
mod words;
mod yaml;

pub use ai_gateway::{
    AiGatewayRouteBackendRef, AiGatewayRouteMatch, AiGatewayRouteRule, AiGatewayRouteSpec,
    AiServiceBackendSpec, AwsCredentials, AwsCredentialsFile, AwsOidcExchangeToken, AzureCredentials,
    AzureOidcExchangeToken, BackendSecurityPolicySpec, CredentialOverride, CredentialOverrideHeaders,
    CredentialOverrideMetadata, CredentialType, EnvironmentVariable, ExternalProcessor, ForwardProxy,
    GatewayConfigSpec, GcpCredentials, GcpCredentialsFile, GcpOidcExchangeToken,
    GcpServiceAccountImpersonation, GcpWorkloadIdentityFederation, HttpBodyField, HttpBodyMutation,
    HttpHeader, HttpHeaderMutation, KubernetesContainer, LlmRequestCost, LlmRequestCostType, Oidc,
    OidcProvider, PerModelQuota, QuotaDefinition, QuotaDuration, QuotaMode, QuotaPolicySpec, QuotaRule,
    QuotaValue, SchemaName, SecretCredential, ServiceQuota, VersionedApiSchema,
};
pub use crd::crds;
pub use envoy_gateway::{
    ApiKeyAuth, AppProtocol, Authorization, AuthorizationAction, AuthorizationHeader, AuthorizationOperation,
    AuthorizationPrincipal, AuthorizationRule, BackOffPolicy, BackendConnection, BackendEndpoint,
    BackendSpec, BackendTls, BackendTrafficPolicySpec, BackendType, CircuitBreaker, ClaimToHeader,
    ClientConnection, ClientTimeout, ClientTrafficPolicySpec, ConnectionLimit, ExtractFrom, FqdnEndpoint,
    GlobalRateLimit, HealthCheck, HttpClientTimeout, HttpTimeout, IpEndpoint, JwtAuth, JwtClaim,
    JwtClaimValueType, JwtExtractor, JwtHeader, JwtPrincipal, JwtProvider, LocalJwks, LocalJwksType,
    LocalRateLimit, PassiveHealthCheck, PerEndpointCircuitBreakers, PerRetryPolicy, RateLimitCost,
    RateLimitCostFrom, RateLimitCostMetadata, RateLimitCostSpecifier, RateLimitHeaderMatch,
    RateLimitHeaderMatchType, RateLimitMethodMatch, RateLimitPathMatch, RateLimitQueryParamMatch,
    RateLimitRule, RateLimitSelectCondition, RateLimitSpec, RateLimitType, RateLimitUnit, RateLimitValue,
    RemoteJwks, RequestBuffer, Retry, RetryOn, RetryTrigger, SecurityPolicySpec, SourceMatch,
    SourceMatchType, TargetSelector, TcpClientTimeout, TcpTimeout, Timeout, UnixSocket,
};
pub use finding::{Finding, Severity};
pub use gateway_api::{
    AllowedRoutes, BackendObjectReference, BackendTlsPolicySpec, BackendTlsPolicyValidation, FromNamespaces,
    GatewayAddress, GatewayClassSpec, GatewayListener, GatewaySpec, GatewayTls, HeaderMatchType,
    HttpBackendRef, HttpHeaderFilter, HttpHeaderMatch, HttpPathMatch, HttpPathModifier, HttpPathModifierType,
    HttpQueryParamMatch, HttpRequestRedirect, HttpRouteFilter, HttpRouteFilterType, HttpRouteMatch,
    HttpRouteRule, HttpRouteSpec, HttpRouteTimeouts, HttpUrlRewrite, LabelSelector, LabelSelectorRequirement,
    LocalObjectReference, LocalPolicyTargetReference, ParametersReference, ParentReference, PathMatchType,
    PolicyTargetReference, ProtocolType, ReferenceGrantFrom, ReferenceGrantSpec, ReferenceGrantTo,
    RouteGroupKind, RouteNamespaces, SecretObjectReference, SubjectAltName, SubjectAltNameType, TlsMode,
    WellKnownCaCertificates,
};
pub use kubernetes::{ConfigMap, DEFAULT_NAMESPACE, Metadata, NamespaceSpec, Secret};
pub use object::{
    AiGatewayRoute, AiServiceBackend, Backend, BackendSecurityPolicy, BackendTlsPolicy, BackendTrafficPolicy,
    Budget, ClientTrafficPolicy, Gateway, GatewayClass, GatewayConfig, HttpRoute, Namespace, Object,
    QuotaPolicy, ReferenceGrant, Resource, SecurityPolicy, Unread,
};
pub use parse::{Parsed, Source, parse};
pub use position::{Located, Position};
pub use scalar::{ByteSize, GatewayDuration, Timestamp};
pub use substitute::{Unset, substitute};
pub use tollgate::{
    BudgetCount, BudgetLimit, BudgetSpec, BudgetSubject, BudgetUnit, BudgetWindow, CalendarPeriod,
    EnforcementMode, ExceededAction, FailureMode, SubjectMatch, UnpricedAction,
};

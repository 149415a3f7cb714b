//! Kinds of our own group, `aigateway.envoyproxy.io`, in the shape that users of Envoy AI Gateway know.

mod backend;
mod cost;
mod gateway_config;
mod mutation;
mod quota_policy;
mod route;
mod security_policy;
mod security_provider;

pub use backend::{AiServiceBackendSpec, SchemaName, VersionedApiSchema};
pub use cost::{LlmRequestCost, LlmRequestCostType};
pub use gateway_config::{
    EnvironmentVariable, ExternalProcessor, ForwardProxy, GatewayConfigSpec, KubernetesContainer,
};
pub use mutation::{HttpBodyField, HttpBodyMutation, HttpHeader, HttpHeaderMutation};
pub use quota_policy::{
    PerModelQuota, QuotaDefinition, QuotaDuration, QuotaMode, QuotaPolicySpec, QuotaRule, QuotaValue,
    ServiceQuota,
};
pub use route::{AiGatewayRouteBackendRef, AiGatewayRouteMatch, AiGatewayRouteRule, AiGatewayRouteSpec};
pub(crate) use security_policy::{AZURE_RULE, GCP_RULE, v1alpha1};
pub use security_policy::{
    BackendSecurityPolicySpec, CredentialOverride, CredentialOverrideHeaders, CredentialOverrideMetadata,
    CredentialType, SecretCredential,
};
pub use security_provider::{
    AwsCredentials, AwsCredentialsFile, AwsOidcExchangeToken, AzureCredentials, AzureOidcExchangeToken,
    GcpCredentials, GcpCredentialsFile, GcpOidcExchangeToken, GcpServiceAccountImpersonation,
    GcpWorkloadIdentityFederation, Oidc, OidcProvider,
};

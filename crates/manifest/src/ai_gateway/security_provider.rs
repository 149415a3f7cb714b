//! The credentials of cloud providers in a BackendSecurityPolicy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AZURE_RULE, GCP_RULE};
use crate::gateway_api::SecretObjectReference;
use crate::rules::{cel, fields};

/// Credentials of AWS. With neither a file nor an exchange, those of the environment serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsCredentials {
    /// The region to sign for.
    #[schemars(length(min = 1))]
    pub region: String,
    /// A shared credentials file.
    pub credentials_file: Option<AwsCredentialsFile>,
    /// A token to exchange.
    pub oidc_exchange_token: Option<AwsOidcExchangeToken>,
}

fn default_profile() -> String {
    "default".to_owned()
}

/// A shared credentials file of AWS in a Secret, under the key `credentials`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsCredentialsFile {
    /// The Secret.
    pub secret_ref: SecretObjectReference,
    /// The profile to use.
    #[serde(default = "default_profile")]
    pub profile: String,
}

/// A token of an OpenID provider, to be exchanged for credentials of AWS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsOidcExchangeToken {
    /// The provider.
    pub oidc: Oidc,
    /// Grant type of the exchange.
    pub grant_type: Option<String>,
    /// Audience of the token.
    pub aud: Option<String>,
    /// The role to assume.
    #[schemars(length(min = 1))]
    pub aws_role_arn: String,
}

/// Credentials of Azure. With neither a secret nor an exchange, the identity of the process serves: workload identity where the
/// environment has a token file, else managed identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([AZURE_RULE])))]
pub struct AzureCredentials {
    /// Client of the application.
    #[serde(rename = "clientID")]
    #[schemars(length(min = 1))]
    pub client_id: String,
    /// Tenant of the application.
    #[serde(rename = "tenantID")]
    #[schemars(length(min = 1))]
    pub tenant_id: String,
    /// A Secret with the key `client-secret`.
    pub client_secret_ref: Option<SecretObjectReference>,
    /// A token to exchange.
    pub oidc_exchange_token: Option<AzureOidcExchangeToken>,
}

/// A token of an OpenID provider, to be exchanged for one of Azure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureOidcExchangeToken {
    /// The provider.
    pub oidc: Oidc,
    /// Grant type of the exchange.
    pub grant_type: Option<String>,
    /// Audience of the token.
    pub aud: Option<String>,
}

/// Credentials of Google Cloud. With neither a file nor a federation, those of the environment serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([GCP_RULE])))]
pub struct GcpCredentials {
    /// The project.
    #[schemars(length(min = 1))]
    pub project_name: String,
    /// The region.
    #[schemars(length(min = 1))]
    pub region: String,
    /// A service account key.
    pub credentials_file: Option<GcpCredentialsFile>,
    /// An identity of another provider.
    pub workload_identity_federation_config: Option<GcpWorkloadIdentityFederation>,
}

/// A service account key of Google Cloud in a Secret, under the key `service_account.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcpCredentialsFile {
    /// The Secret.
    pub secret_ref: SecretObjectReference,
}

/// An identity of another provider that Google Cloud trusts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcpWorkloadIdentityFederation {
    /// Number or name of the project of the pool.
    #[serde(rename = "projectID")]
    #[schemars(length(min = 1))]
    pub project_id: String,
    /// The pool.
    #[schemars(length(min = 1))]
    pub workload_identity_pool_name: String,
    /// The provider in the pool.
    #[schemars(length(min = 1))]
    pub workload_identity_provider_name: String,
    /// A token to exchange.
    pub oidc_exchange_token: GcpOidcExchangeToken,
    /// A service account to act as.
    pub service_account_impersonation: Option<GcpServiceAccountImpersonation>,
}

/// A token of an OpenID provider, to be exchanged for one of Google Cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcpOidcExchangeToken {
    /// The provider.
    pub oidc: Oidc,
    /// Grant type of the exchange.
    pub grant_type: Option<String>,
    /// Audience of the token.
    pub aud: Option<String>,
}

/// A service account to act as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcpServiceAccountImpersonation {
    /// Name of the account, without its domain.
    #[schemars(length(min = 1))]
    pub service_account_name: String,
}

/// A client of an OpenID provider, in the shape of Envoy Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-not-served" = fields([
    "cookieNames",
    "cookieConfig",
    "cookieDomain",
    "redirectURL",
    "denyRedirect",
    "logoutPath",
    "forwardAccessToken",
    "defaultTokenTTL",
    "refreshToken",
    "defaultRefreshTokenTTL",
    "disableTokenEncryption",
    "passThroughAuthHeader",
    "csrfTokenTTL",
])))]
pub struct Oidc {
    /// The provider.
    pub provider: OidcProvider,
    /// Id of the client.
    #[serde(rename = "clientID")]
    #[schemars(length(min = 1))]
    pub client_id: Option<String>,
    /// A Secret with the id of the client, under the key `client-id`.
    #[serde(rename = "clientIDRef")]
    pub client_id_ref: Option<SecretObjectReference>,
    /// A Secret with the secret of the client, under the key `client-secret`.
    pub client_secret: SecretObjectReference,
    /// Scopes to ask for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Resources to ask for.
    #[serde(default)]
    pub resources: Vec<String>,
}

/// An OpenID provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-not-served" = fields([
    "authorizationEndpoint",
    "endSessionEndpoint",
    "backendRef",
    "backendRefs",
    "backendSettings",
])))]
pub struct OidcProvider {
    /// Issuer, at which the endpoints are discovered.
    #[schemars(length(min = 1))]
    pub issuer: String,
    /// Where tokens are to be had; discovered when absent.
    pub token_endpoint: Option<String>,
}

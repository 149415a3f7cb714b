//! How the gateway proves itself to a backend: where the proof comes from, and how it is shown.
//!
//! All secrets are references; `effects` follows them, and fetches what has to be fetched.

use serde::{Deserialize, Serialize};
use tollgate_host::CredentialKind;

use super::SecretRef;

/// How the gateway proves itself to a backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Credential {
    /// How a request shows it.
    pub kind: CredentialKind,
    /// Where the configured one comes from; `None` when only per-request credentials are allowed.
    pub configured: Option<CredentialSource>,
    /// The request headers from which a per-request credential is taken, lower case, in the order of
    /// [`CredentialKind::offered_parts`]. None if a request may not bring one.
    pub override_headers: Vec<String>,
    /// Whether the configured one serves when the request brings none.
    pub fallback_to_configured: bool,
}

/// Where a configured credential comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CredentialSource {
    /// A key that is sent as it is.
    Key(SecretRef),
    /// Keys of AWS.
    Aws(AwsSource),
    /// A token of Azure.
    Azure(AzureIdentity),
    /// A token of Google Cloud.
    Google(GoogleSource),
}

/// Where keys of AWS come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AwsSource {
    /// A shared credentials file.
    CredentialsFile {
        /// Its text.
        file: SecretRef,
        /// The profile to use.
        profile: String,
    },
    /// A token of an OpenID provider, exchanged at AWS's token service for keys of a role.
    Oidc {
        /// Who gives the token.
        client: Box<OidcClient>,
        /// The region whose token service is asked.
        region: String,
        /// The role to assume.
        role_arn: String,
        /// What the session is called in AWS's logs.
        session_name: String,
    },
    /// What the process finds around it, in the order of AWS's default chain.
    Environment,
}

/// An application of Azure that a token is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AzureIdentity {
    /// Client id of the application.
    pub client_id: String,
    /// Tenant that it belongs to.
    pub tenant_id: String,
    /// How it proves itself.
    pub source: AzureSource,
}

/// How an application of Azure proves itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AzureSource {
    /// By its secret.
    ClientSecret(SecretRef),
    /// By a token of an OpenID provider.
    Oidc(Box<OidcClient>),
    /// As the process itself: workload identity if the environment names a token file, else managed identity.
    Environment,
}

/// Where a token of Google Cloud comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GoogleSource {
    /// A service account key, as JSON.
    ServiceAccount(SecretRef),
    /// A token of an OpenID provider, exchanged at Google's token service.
    Federation(Box<GoogleFederation>),
    /// Application default credentials.
    Environment,
}

/// An identity of another provider that a pool of Google Cloud trusts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GoogleFederation {
    /// Number or id of the project of the pool.
    pub project_id: String,
    /// The workload identity pool.
    pub pool: String,
    /// The provider in the pool.
    pub provider: String,
    /// Who gives the token.
    pub client: OidcClient,
    /// The e-mail address of a service account to act as.
    pub impersonate: Option<String>,
}

/// A client of an OpenID provider, which gets a token by the grant of client credentials (RFC 6749 section 4.4).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OidcClient {
    /// The provider, at which the token endpoint is discovered.
    pub issuer: String,
    /// The token endpoint, if it is not to be discovered.
    pub token_endpoint: Option<String>,
    /// Id of the client.
    pub client_id: ClientId,
    /// Secret of the client.
    pub client_secret: SecretRef,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// Resources to ask for (RFC 8707).
    pub resources: Vec<String>,
    /// Audience to ask for.
    pub audience: Option<String>,
    /// Grant type to ask by, instead of `client_credentials`.
    pub grant_type: Option<String>,
}

/// The id of a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ClientId {
    /// As written.
    Written(String),
    /// In a Secret.
    Secret(SecretRef),
}

impl CredentialSource {
    /// The Secrets that it needs.
    pub fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Self::Key(secret) => vec![secret],
            Self::Aws(source) => match source {
                AwsSource::CredentialsFile { file, profile: _ } => vec![file],
                AwsSource::Oidc { client, region: _, role_arn: _, session_name: _ } => client.secrets(),
                AwsSource::Environment => Vec::new(),
            },
            Self::Azure(identity) => match &identity.source {
                AzureSource::ClientSecret(secret) => vec![secret],
                AzureSource::Oidc(client) => client.secrets(),
                AzureSource::Environment => Vec::new(),
            },
            Self::Google(source) => match source {
                GoogleSource::ServiceAccount(secret) => vec![secret],
                GoogleSource::Federation(federation) => federation.client.secrets(),
                GoogleSource::Environment => Vec::new(),
            },
        }
    }
}

impl OidcClient {
    fn secrets(&self) -> Vec<&SecretRef> {
        match &self.client_id {
            ClientId::Written(_) => vec![&self.client_secret],
            ClientId::Secret(id) => vec![id, &self.client_secret],
        }
    }
}

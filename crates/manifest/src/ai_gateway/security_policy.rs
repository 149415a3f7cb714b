//! BackendSecurityPolicy: how the gateway proves itself to backends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{AwsCredentials, AzureCredentials, GcpCredentials};
use crate::gateway_api::{HEADER_NAME, LocalPolicyTargetReference, SecretObjectReference};
use crate::rules::cel;

/// What a BackendSecurityPolicy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("maxProperties" = 4, "x-kubernetes-validations" = cel([
    (
        "self.type != 'APIKey' || ((has(self.apiKey) || has(self.credentialOverride)) && !has(self.awsCredentials) \
         && !has(self.azureAPIKey) && !has(self.azureCredentials) && !has(self.gcpCredentials) && !has(self.anthropicAPIKey))",
        "When type is APIKey, only apiKey field should be set",
    ),
    (
        "self.type != 'AWSCredentials' || (has(self.awsCredentials) && !has(self.apiKey) \
         && !has(self.azureAPIKey) && !has(self.azureCredentials) && !has(self.gcpCredentials) && !has(self.anthropicAPIKey))",
        "When type is AWSCredentials, only awsCredentials field should be set",
    ),
    (
        "self.type != 'AzureAPIKey' || ((has(self.azureAPIKey) || has(self.credentialOverride)) && !has(self.apiKey) \
         && !has(self.awsCredentials) && !has(self.azureCredentials) && !has(self.gcpCredentials) && !has(self.anthropicAPIKey))",
        "When type is AzureAPIKey, only azureAPIKey field should be set",
    ),
    (
        "self.type != 'AzureCredentials' || ((has(self.azureCredentials) || has(self.credentialOverride)) && !has(self.apiKey) \
         && !has(self.awsCredentials) && !has(self.azureAPIKey) && !has(self.gcpCredentials) && !has(self.anthropicAPIKey))",
        "When type is AzureCredentials, only azureCredentials field should be set",
    ),
    (
        "self.type != 'GCPCredentials' || (has(self.gcpCredentials) && !has(self.apiKey) \
         && !has(self.awsCredentials) && !has(self.azureAPIKey) && !has(self.azureCredentials) && !has(self.anthropicAPIKey))",
        "When type is GCPCredentials, only gcpCredentials field should be set",
    ),
    (
        "self.type != 'AnthropicAPIKey' || ((has(self.anthropicAPIKey) || has(self.credentialOverride)) && !has(self.apiKey) \
         && !has(self.awsCredentials) && !has(self.azureAPIKey) && !has(self.azureCredentials) && !has(self.gcpCredentials))",
        "When type is AnthropicAPIKey, only anthropicAPIKey field should be set",
    ),
    (
        "!has(self.credentialOverride) || has(self.apiKey) || has(self.anthropicAPIKey) || has(self.azureAPIKey) \
         || has(self.azureCredentials) || has(self.awsCredentials) || (has(self.gcpCredentials) \
         && (has(self.gcpCredentials.credentialsFile) || has(self.gcpCredentials.workloadIdentityFederationConfig))) \
         || (has(self.credentialOverride.fromRequestHeaders) && !self.credentialOverride.fromRequestHeaders.fallbackToConfigured) \
         || (has(self.credentialOverride.fromDynamicMetadata) && !self.credentialOverride.fromDynamicMetadata.fallbackToConfigured)",
        "credentialOverride with fallbackToConfigured needs a configured credential",
    ),
])))]
pub struct BackendSecurityPolicySpec {
    /// The backends that this policy is about.
    #[serde(default)]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-validations" = cel([(
            "self.all(ref, (ref.group == 'aigateway.envoyproxy.io' && ref.kind == 'AIServiceBackend') \
             || (ref.group == 'inference.networking.k8s.io' && ref.kind == 'InferencePool'))",
            "targetRefs must reference AIServiceBackend or InferencePool resources",
        )]))
    )]
    pub target_refs: Vec<LocalPolicyTargetReference>,
    /// Kind of credential; the field of the same name says where it is.
    #[serde(rename = "type")]
    pub kind: CredentialType,
    /// A key that is sent as `Authorization: Bearer`.
    pub api_key: Option<SecretCredential>,
    /// Credentials of AWS, with which requests are signed.
    pub aws_credentials: Option<AwsCredentials>,
    /// A key that is sent as `api-key`.
    #[serde(rename = "azureAPIKey")]
    pub azure_api_key: Option<SecretCredential>,
    /// Credentials of Azure, which are exchanged for a token.
    pub azure_credentials: Option<AzureCredentials>,
    /// Credentials of Google Cloud, which are exchanged for a token.
    pub gcp_credentials: Option<GcpCredentials>,
    /// A key that is sent as `x-api-key`.
    #[serde(rename = "anthropicAPIKey")]
    pub anthropic_api_key: Option<SecretCredential>,
    /// Credentials that a request brings along.
    pub credential_override: Option<CredentialOverride>,
}

/// Kind of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CredentialType {
    /// A key that is sent as `Authorization: Bearer`.
    #[serde(rename = "APIKey")]
    ApiKey,
    /// Credentials of AWS.
    #[serde(rename = "AWSCredentials")]
    AwsCredentials,
    /// A key that is sent as `api-key`.
    #[serde(rename = "AzureAPIKey")]
    AzureApiKey,
    /// Credentials of Azure.
    AzureCredentials,
    /// Credentials of Google Cloud.
    #[serde(rename = "GCPCredentials")]
    GcpCredentials,
    /// A key that is sent as `x-api-key`.
    #[serde(rename = "AnthropicAPIKey")]
    AnthropicApiKey,
}

/// A credential in a Secret, under the key `apiKey`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretCredential {
    /// The Secret.
    pub secret_ref: SecretObjectReference,
}

/// Where a request may bring a credential of its own along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct CredentialOverride {
    /// In its headers.
    pub from_request_headers: Option<CredentialOverrideHeaders>,
    /// In metadata that a filter before the gateway set. Has an effect on the Envoy data plane only.
    pub from_dynamic_metadata: Option<CredentialOverrideMetadata>,
}

fn yes() -> bool {
    true
}

/// A credential in request headers. They are always removed before a backend sees the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialOverrideHeaders {
    /// Name of the header, or for AWS what the names of the three headers begin with; `x-aigw-api-key`,
    /// `x-aigw-anthropic-api-key`, `x-aigw-azure-api-key`, `x-aigw-azure-access-token`, `x-aigw-gcp-access-token`
    /// or `x-aigw-aws-` by type when absent.
    #[schemars(length(min = 1, max = 256), regex(pattern = HEADER_NAME))]
    pub header: Option<String>,
    /// Whether the configured credential serves when the request brings none; it is refused otherwise.
    #[serde(default = "yes")]
    pub fallback_to_configured: bool,
}

/// A credential in dynamic metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialOverrideMetadata {
    /// Namespace of the metadata.
    #[schemars(length(min = 1))]
    pub namespace: String,
    /// Key of the metadata; by type when absent.
    #[schemars(length(min = 1))]
    pub key: Option<String>,
    /// Whether the configured credential serves when the metadata has none; the request is refused otherwise.
    #[serde(default = "yes")]
    pub fallback_to_configured: bool,
}

/// The rule on the credentials of Google Cloud in v1beta1, where neither means those of the environment.
pub(crate) const GCP_RULE: (&str, &str) = (
    "!(has(self.credentialsFile) && has(self.workloadIdentityFederationConfig))",
    "at most one of credentialsFile or workloadIdentityFederationConfig must be specified",
);

/// The same rule in v1alpha1.
const GCP_RULE_V1ALPHA1: (&str, &str) = (
    "has(self.credentialsFile) != has(self.workloadIdentityFederationConfig)",
    "exactly one of credentialsFile or workloadIdentityFederationConfig must be specified",
);

/// The rule on the credentials of Azure in v1beta1. Envoy AI Gateway asks for exactly one; here, neither means the identity of the
/// process, as it does for the other clouds.
pub(crate) const AZURE_RULE: (&str, &str) = (
    "!(has(self.clientSecretRef) && has(self.oidcExchangeToken))",
    "at most one of clientSecretRef or oidcExchangeToken must be specified",
);

/// The same rule in v1alpha1.
const AZURE_RULE_V1ALPHA1: (&str, &str) = (
    "has(self.clientSecretRef) != has(self.oidcExchangeToken)",
    "Exactly one of clientSecretRef or oidcExchangeToken must be specified",
);

/// Makes the schema of v1alpha1 of that of v1beta1: no `credentialOverride`, and neither of the two ways of Azure and of Google
/// Cloud is not a way.
pub(crate) fn v1alpha1(spec: &mut Value) {
    let Some(spec) = spec.as_object_mut() else { return };
    spec.insert("maxProperties".to_owned(), json!(3));
    let Some(properties) = spec.get_mut("properties").and_then(Value::as_object_mut) else { return };
    properties.shift_remove("credentialOverride");
    if let Some(gcp) = properties.get_mut("gcpCredentials").and_then(Value::as_object_mut) {
        gcp.insert("x-kubernetes-validations".to_owned(), cel([GCP_RULE_V1ALPHA1]));
    }
    if let Some(azure) = properties.get_mut("azureCredentials").and_then(Value::as_object_mut) {
        azure.insert("x-kubernetes-validations".to_owned(), cel([AZURE_RULE_V1ALPHA1]));
    }
    let Some(rules) = spec.get_mut("x-kubernetes-validations").and_then(Value::as_array_mut) else { return };
    rules.retain(|rule| {
        rule.get("message")
            .and_then(Value::as_str)
            .is_none_or(|message| !message.starts_with("credentialOverride"))
    });
    for rule in rules {
        if let Some(Value::String(text)) = rule.get_mut("rule") {
            *text = without_override(text);
        }
    }
}

/// `(has(self.x) || has(self.credentialOverride))` becomes `has(self.x)`: a rule cannot name a field that is not there.
fn without_override(rule: &str) -> String {
    match rule.split_once(" || has(self.credentialOverride))") {
        Some((before, after)) => format!("{}{after}", before.replacen("((has(", "(has(", 1)),
        None => rule.to_owned(),
    }
}

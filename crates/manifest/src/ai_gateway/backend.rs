//! AIServiceBackend: a place that serves models, and the language that it speaks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HttpBodyMutation, HttpHeaderMutation};
use crate::gateway_api::BackendObjectReference;
use crate::rules::{cel, removed};

/// What an AIServiceBackend says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-removed" = removed([
    ("timeouts", "set timeouts in the rules of the AIGatewayRoute"),
    ("backendSecurityPolicyRef", "name the backend in targetRefs of the BackendSecurityPolicy"),
])))]
pub struct AiServiceBackendSpec {
    /// The API that the backend speaks.
    pub schema: VersionedApiSchema,
    /// Where the backend is: a `Backend` of `gateway.envoyproxy.io`.
    #[schemars(extend("x-kubernetes-validations" = cel([(
        "self.kind == 'Backend' && self.group == 'gateway.envoyproxy.io'",
        "backendRef must be a Backend resource of Envoy Gateway (group gateway.envoyproxy.io, kind Backend)",
    )])))]
    pub backend_ref: BackendObjectReference,
    /// Changes to the headers of every request to this backend.
    pub header_mutation: Option<HttpHeaderMutation>,
    /// Changes to the body of every request to this backend.
    pub body_mutation: Option<HttpBodyMutation>,
}

/// An API and how it is addressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionedApiSchema {
    /// The API.
    pub name: SchemaName,
    /// AzureOpenAI: the `api-version`. GCPAnthropic and AWSAnthropic: the `anthropic_version`. Cohere: the path
    /// prefix. OpenAI: the older spelling of `prefix`. Ignored for the others.
    pub version: Option<String>,
    /// OpenAI and Anthropic: what stands in the path before `chat/completions` or `messages`; `v1` when absent. Gemini: what
    /// stands before `models`; `v1beta` when absent.
    pub prefix: Option<String>,
}

/// An API, by the name that says both the wire language and the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SchemaName {
    /// OpenAI, and everything that speaks its API.
    #[serde(rename = "OpenAI")]
    OpenAi,
    /// Cohere, version 2.
    Cohere,
    /// AWS Bedrock, Converse API.
    #[serde(rename = "AWSBedrock")]
    AwsBedrock,
    /// Azure OpenAI.
    #[serde(rename = "AzureOpenAI")]
    AzureOpenAi,
    /// Gemini on Google Vertex AI.
    #[serde(rename = "GCPVertexAI")]
    GcpVertexAi,
    /// Claude on Google Vertex AI.
    #[serde(rename = "GCPAnthropic")]
    GcpAnthropic,
    /// Anthropic, Messages API.
    Anthropic,
    /// Claude on AWS Bedrock, InvokeModel API.
    #[serde(rename = "AWSAnthropic")]
    AwsAnthropic,
    /// OpenAI, asked by responses only, which some models are served by. This name is Tollgate's own.
    #[serde(rename = "OpenAIResponses")]
    OpenAiResponses,
    /// Google's Gemini API, which takes a key. This name is Tollgate's own.
    Gemini,
    /// An AWS SageMaker endpoint with an OpenAI-compatible container. This name is Tollgate's own.
    SageMaker,
}

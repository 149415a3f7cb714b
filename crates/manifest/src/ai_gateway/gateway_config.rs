//! GatewayConfig: settings of a whole Gateway, which names it in an annotation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::LlmRequestCost;

/// What a GatewayConfig says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayConfigSpec {
    /// The external processor beside each Envoy. Has an effect on the Envoy data plane only.
    pub ext_proc: Option<ExternalProcessor>,
    /// Numbers of tokens to publish for each request; an entry of a route with the same key replaces one here.
    #[serde(default, rename = "globalLLMRequestCosts")]
    #[schemars(
        length(max = 36),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["metadataKey"])
    )]
    pub global_llm_request_costs: Vec<LlmRequestCost>,
    /// Proxy through which backends are reached.
    pub forward_proxy: Option<ForwardProxy>,
}

/// The external processor beside each Envoy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalProcessor {
    /// Its container.
    pub kubernetes: Option<KubernetesContainer>,
}

/// A container in a pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesContainer {
    /// Environment variables.
    #[serde(default)]
    pub env: Vec<EnvironmentVariable>,
    /// Requests and limits (`ResourceRequirements`).
    #[serde(default)]
    #[schemars(schema_with = "crate::rules::any_object")]
    pub resources: Option<Value>,
    /// Security attributes (`SecurityContext`).
    #[serde(default)]
    #[schemars(schema_with = "crate::rules::any_object")]
    pub security_context: Option<Value>,
    /// Image and tag.
    pub image: Option<String>,
    /// Image without a tag.
    pub image_repository: Option<String>,
    /// Volumes to mount (`VolumeMount`).
    #[serde(default)]
    #[schemars(schema_with = "any_objects")]
    pub volume_mounts: Vec<Value>,
}

/// An environment variable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentVariable {
    /// Name of the variable.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
    /// Where its value is (`EnvVarSource`).
    #[serde(default)]
    #[schemars(schema_with = "crate::rules::any_object")]
    pub value_from: Option<Value>,
}

/// A proxy that takes HTTP CONNECT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwardProxy {
    /// Host and port, as `host:port`.
    #[schemars(
        length(min = 1, max = 259),
        regex(pattern = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$")
    )]
    pub address: String,
}

fn any_objects(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "array", "items": crate::rules::any_object(generator) })
}

//! QuotaPolicy: how much of a model's service may be used at a backend in a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::envoy_gateway::RateLimitSelectCondition;
use crate::gateway_api::LocalPolicyTargetReference;
use crate::rules::cel;

/// What a QuotaPolicy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaPolicySpec {
    /// The backends that it is about.
    #[serde(default)]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-validations" = cel([(
            "self.all(ref, ref.group == 'aigateway.envoyproxy.io' && ref.kind == 'AIServiceBackend')",
            "targetRefs must reference AIServiceBackend resources",
        )]))
    )]
    pub target_refs: Vec<LocalPolicyTargetReference>,
    /// The quota of a backend as a whole, whatever the model.
    pub service_quota: Option<ServiceQuota>,
    /// Quotas of single models.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub per_model_quotas: Vec<PerModelQuota>,
}

/// The quota of a backend as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceQuota {
    /// What a request uses, in CEL; all of its tokens when absent.
    pub cost_expression: Option<String>,
    /// How much may be used.
    pub quota: QuotaValue,
}

/// The quota of one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PerModelQuota {
    /// The model, as the backend is asked for it.
    #[schemars(length(min = 1))]
    pub model_name: String,
    /// Its quota.
    pub quota: QuotaDefinition,
}

/// How much of a model may be used, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaDefinition {
    /// What a request uses, in CEL; all of its tokens when absent.
    pub cost_expression: Option<String>,
    /// How the buckets work together.
    pub mode: Option<QuotaMode>,
    /// What every request may use.
    pub default_bucket: QuotaValue,
    /// What certain requests may use beside that.
    #[serde(default)]
    pub bucket_rules: Vec<QuotaRule>,
}

/// How buckets work together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum QuotaMode {
    /// A request is charged to the default bucket and to all whose conditions hold, and is let in while any of them has something left.
    Shared,
}

/// What certain requests may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaRule {
    /// Which requests: all conditions must hold.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub client_selectors: Vec<RateLimitSelectCondition>,
    /// How much.
    pub quota: QuotaValue,
    /// Whether it only counts.
    pub shadow_mode: Option<bool>,
}

/// How much, and in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaValue {
    /// How much.
    pub limit: u64,
    /// The time, counted from the Unix epoch.
    pub duration: QuotaDuration,
}

/// A time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum QuotaDuration {
    /// A second.
    #[serde(rename = "1s")]
    Second,
    /// A minute.
    #[serde(rename = "1m")]
    Minute,
    /// An hour.
    #[serde(rename = "1h")]
    Hour,
    /// A day, of UTC.
    #[serde(rename = "1d")]
    Day,
}

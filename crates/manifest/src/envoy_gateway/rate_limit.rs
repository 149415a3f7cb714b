//! Rate limits of a BackendTrafficPolicy: how much of something requests may use together in a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway_api::PathMatchType;
use crate::rules::{cel, fields};

/// How much requests may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([
    (
        "!has(self.type) || self.type != 'Global' || has(self.global)",
        "global must be set when type is Global",
    ),
    (
        "!has(self.type) || self.type != 'Local' || has(self.local)",
        "local must be set when type is Local",
    ),
    ("has(self.global) || has(self.local)", "at least one of global and local must be set"),
])))]
pub struct RateLimitSpec {
    /// Which of the two is meant, where only one of them is.
    #[serde(rename = "type")]
    pub kind: Option<RateLimitType>,
    /// Limits over all gateways together.
    pub global: Option<GlobalRateLimit>,
    /// Limits of each gateway by itself.
    pub local: Option<LocalRateLimit>,
}

/// Where a limit is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RateLimitType {
    /// Over all gateways together.
    Global,
    /// In each gateway by itself.
    Local,
}

/// Limits over all gateways together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GlobalRateLimit {
    /// The limits. Each one that is for a request holds.
    #[schemars(length(max = 128))]
    pub rules: Vec<RateLimitRule>,
    /// Whether everything that the policy is about shares each limit, instead of having one of its own.
    pub shared: Option<bool>,
}

/// Limits of each gateway by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRateLimit {
    /// The limits. Each one that is for a request holds.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub rules: Vec<RateLimitRule>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitRule {
    /// Which requests it is for: all conditions must hold.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub client_selectors: Vec<RateLimitSelectCondition>,
    /// How much they may use together.
    pub limit: RateLimitValue,
    /// What each of them uses: 1 when absent.
    pub cost: Option<RateLimitCost>,
    /// Whether everything that the policy is about shares this limit; that of all rules when absent.
    pub shared: Option<bool>,
    /// Whether it only counts.
    pub shadow_mode: Option<bool>,
}

/// A condition on requests: all of its parts must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([(
    "has(self.headers) || has(self.sourceCIDR) || has(self.methods) || has(self.path) || has(self.queryParams)",
    "at least one of headers, methods, path, queryParams or sourceCIDR must be specified",
)])))]
pub struct RateLimitSelectCondition {
    /// Headers.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub headers: Vec<RateLimitHeaderMatch>,
    /// Methods, of which one has to be meant.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub methods: Vec<RateLimitMethodMatch>,
    /// The path.
    pub path: Option<RateLimitPathMatch>,
    /// Parameters of the query.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub query_params: Vec<RateLimitQueryParamMatch>,
    /// The client's address.
    #[serde(rename = "sourceCIDR")]
    pub source_cidr: Option<SourceMatch>,
}

/// A condition on the method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitMethodMatch {
    /// The method.
    #[schemars(length(min = 1, max = 32))]
    pub value: String,
    /// Whether it must be another.
    pub invert: Option<bool>,
}

/// A condition on the path, as it was sent, without the query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitPathMatch {
    /// How it is compared.
    #[serde(rename = "type", default)]
    pub kind: PathMatchType,
    /// What with.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
    /// Whether it must be another.
    pub invert: Option<bool>,
}

/// What a condition on a value has to keep to.
const VALUE_RULES: [(&str, &str); 2] = [
    ("self.type == 'Distinct' || has(self.value)", "value must be set unless type is Distinct"),
    (
        "self.type != 'Distinct' || !has(self.invert) || !self.invert",
        "invert must not be set with type Distinct",
    ),
];

/// A condition on one parameter of the query. Nothing is unescaped; of several values the first counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel(VALUE_RULES)))]
pub struct RateLimitQueryParamMatch {
    /// How the value is compared.
    #[serde(rename = "type", default = "exact_header")]
    pub kind: RateLimitHeaderMatchType,
    /// Name of the parameter.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The value.
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
    /// Whether the value must be another.
    pub invert: Option<bool>,
}

fn exact_header() -> RateLimitHeaderMatchType {
    RateLimitHeaderMatchType::Exact
}

/// A condition on one header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel(VALUE_RULES)))]
pub struct RateLimitHeaderMatch {
    /// How the value is compared.
    #[serde(rename = "type", default = "exact_header")]
    pub kind: RateLimitHeaderMatchType,
    /// Name of the header. `x-ai-eg-model` stands for the model in the body.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The value.
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
    /// Whether the value must be another.
    pub invert: Option<bool>,
}

/// How the value of a header or parameter is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RateLimitHeaderMatchType {
    /// It is the very same.
    Exact,
    /// A regular expression (RE2 syntax) matches the whole of it.
    RegularExpression,
    /// It is there, and each value has a limit of its own.
    Distinct,
}

fn exact_source() -> SourceMatchType {
    SourceMatchType::Exact
}

/// A condition on the client's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceMatch {
    /// Whether all addresses share the limit.
    #[serde(rename = "type", default = "exact_source")]
    pub kind: SourceMatchType,
    /// A network such as `10.0.0.0/8`.
    #[schemars(length(min = 1, max = 256))]
    pub value: String,
    /// Whether the address must be outside of it.
    pub invert: Option<bool>,
}

/// Who shares a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SourceMatchType {
    /// All addresses of the network.
    Exact,
    /// Nobody: each address has one of its own.
    Distinct,
}

/// How much may be used, and in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-not-served" = fields(["fromMetadata"])))]
pub struct RateLimitValue {
    /// How much: requests, or whatever their cost counts.
    pub requests: u64,
    /// The time.
    pub unit: RateLimitUnit,
}

/// A time, counted from the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RateLimitUnit {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day, of UTC.
    Day,
    /// 30 days.
    Month,
    /// 365 days.
    Year,
}

/// What a request uses of its limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitCost {
    /// What the request itself uses, before it is let in; 1 when absent.
    pub request: Option<RateLimitCostSpecifier>,
    /// What it uses beside that, known when its answer is complete.
    pub response: Option<RateLimitCostSpecifier>,
}

/// How much something uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([
    ("!(has(self.number) && has(self.metadata))", "only one of number or metadata can be specified"),
    ("self.from != 'Number' || has(self.number)", "number must be set when from is Number"),
    ("self.from != 'Metadata' || has(self.metadata)", "metadata must be set when from is Metadata"),
])))]
pub struct RateLimitCostSpecifier {
    /// Where the number comes from.
    pub from: RateLimitCostFrom,
    /// The number itself.
    pub number: Option<u64>,
    /// Where it is published.
    pub metadata: Option<RateLimitCostMetadata>,
}

/// Where a cost comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RateLimitCostFrom {
    /// It is a number.
    Number,
    /// It is published as metadata, such as by `llmRequestCosts`.
    Metadata,
}

/// A number that is published for each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitCostMetadata {
    /// Namespace; `io.envoy.ai_gateway` for `llmRequestCosts`.
    pub namespace: String,
    /// Its key there.
    pub key: String,
}

//! HTTPRoute, and the parts of it that an AIGatewayRoute uses as well.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::http_filter::HttpRouteFilter;
use super::{GROUP, HEADER_NAME, HOSTNAME, KIND, NAMESPACE, ParentReference, SECTION_NAME};
use crate::rules::{cel, fields};
use crate::scalar::GatewayDuration;

/// What an HTTPRoute says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-not-served" = fields(["useDefaultGateways"])))]
pub struct HttpRouteSpec {
    /// Gateways that this route attaches to.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub parent_refs: Vec<ParentReference>,
    /// Host names that requests must have; every host when empty.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253), regex(pattern = HOSTNAME)))]
    pub hostnames: Vec<String>,
    /// What to do with which requests.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub rules: Vec<HttpRouteRule>,
}

/// One rule of an HTTPRoute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-not-served" = fields(["retry", "sessionPersistence"])))]
pub struct HttpRouteRule {
    /// Name of the rule.
    #[schemars(length(min = 1, max = 253), regex(pattern = SECTION_NAME))]
    pub name: Option<String>,
    /// Alternatives: the rule matches when one of them does. Empty: every request.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub matches: Vec<HttpRouteMatch>,
    /// What to change on the way.
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-validations" = filter_rules()))]
    pub filters: Vec<HttpRouteFilter>,
    /// Where requests go.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub backend_refs: Vec<HttpBackendRef>,
    /// Bounds in time.
    pub timeouts: Option<HttpRouteTimeouts>,
}

/// One alternative of a rule: all of its conditions must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteMatch {
    /// Condition on the path; every path when absent.
    pub path: Option<HttpPathMatch>,
    /// Conditions on headers.
    #[serde(default)]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub headers: Vec<HttpHeaderMatch>,
    /// Conditions on query parameters.
    #[serde(default)]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub query_params: Vec<HttpQueryParamMatch>,
    /// The method.
    #[schemars(extend("enum" = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]))]
    pub method: Option<String>,
}

fn root_path() -> String {
    "/".to_owned()
}

/// A condition on the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([
    (
        "self.type == 'RegularExpression' || self.value.startsWith('/')",
        "value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']",
    ),
    (
        "self.type == 'RegularExpression' || !(self.value.contains('//') || self.value.contains('/./') \
         || self.value.contains('/../') || self.value.endsWith('/.') || self.value.endsWith('/..'))",
        "must not contain '//', '/./' or '/../', and not end with '/.' or '/..', when type one of ['Exact', 'PathPrefix']",
    ),
    (
        "self.type == 'RegularExpression' || !(self.value.contains('%2f') || self.value.contains('%2F') \
         || self.value.contains('#') || self.value.contains('?'))",
        "must not contain '%2f', '#' or '?' when type one of ['Exact', 'PathPrefix']",
    ),
])))]
pub struct HttpPathMatch {
    /// How to compare.
    #[serde(rename = "type", default)]
    pub kind: PathMatchType,
    /// What to compare with.
    #[serde(default = "root_path")]
    #[schemars(length(max = 1024))]
    pub value: String,
}

/// How to compare a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathMatchType {
    /// The very same path.
    Exact,
    /// The path or one below it.
    #[default]
    PathPrefix,
    /// A regular expression (RE2 syntax).
    RegularExpression,
}

/// How to compare a header or a query parameter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HeaderMatchType {
    /// The very same text.
    #[default]
    Exact,
    /// A regular expression (RE2 syntax) over the whole text.
    RegularExpression,
}

/// A condition on one header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeaderMatch {
    /// How to compare.
    #[serde(rename = "type", default)]
    pub kind: HeaderMatchType,
    /// Name of the header, in any case.
    #[schemars(length(min = 1, max = 256), regex(pattern = HEADER_NAME))]
    pub name: String,
    /// What to compare with.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

/// A condition on one query parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpQueryParamMatch {
    /// How to compare.
    #[serde(rename = "type", default)]
    pub kind: HeaderMatchType,
    /// Name of the parameter.
    #[schemars(length(min = 1, max = 256), regex(pattern = HEADER_NAME))]
    pub name: String,
    /// What to compare with.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

fn one() -> i32 {
    1
}

fn service_kind() -> String {
    "Service".to_owned()
}

/// A backend of an HTTPRoute's rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpBackendRef {
    /// API group of the object; empty for the core group.
    #[serde(default)]
    #[schemars(length(max = 253), regex(pattern = GROUP))]
    pub group: String,
    /// Kind of the object.
    #[serde(default = "service_kind")]
    #[schemars(length(min = 1, max = 63), regex(pattern = KIND))]
    pub kind: String,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the object; that of the route when absent.
    #[schemars(length(min = 1, max = 63), regex(pattern = NAMESPACE))]
    pub namespace: Option<String>,
    /// Port of the object.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Share of the requests.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000000))]
    pub weight: i32,
    /// What is changed in requests to this object and in its responses.
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-validations" = filter_rules()))]
    pub filters: Vec<HttpRouteFilter>,
}

fn filter_rules() -> serde_json::Value {
    cel([
        (
            "!(self.exists(f, f.type == 'RequestRedirect') && self.exists(f, f.type == 'URLRewrite'))",
            "May specify either RequestRedirect or URLRewrite, but not both",
        ),
        (
            "self.filter(f, f.type == 'RequestHeaderModifier').size() <= 1",
            "RequestHeaderModifier filter cannot be repeated",
        ),
        (
            "self.filter(f, f.type == 'ResponseHeaderModifier').size() <= 1",
            "ResponseHeaderModifier filter cannot be repeated",
        ),
        (
            "self.filter(f, f.type == 'RequestRedirect').size() <= 1",
            "RequestRedirect filter cannot be repeated",
        ),
        ("self.filter(f, f.type == 'URLRewrite').size() <= 1", "URLRewrite filter cannot be repeated"),
    ])
}

/// Bounds in time of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([(
    "!(has(self.request) && has(self.backendRequest) && duration(self.request) != duration('0s') \
     && duration(self.backendRequest) > duration(self.request))",
    "backendRequest timeout cannot be longer than request timeout",
)])))]
pub struct HttpRouteTimeouts {
    /// The whole exchange, retries included; `0s` is no bound.
    pub request: Option<GatewayDuration>,
    /// One attempt at a backend; `0s` is no bound.
    pub backend_request: Option<GatewayDuration>,
}

//! Filters of an HTTPRoute: what is changed in requests and responses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::DNS_SUBDOMAIN;
use crate::ai_gateway::HttpHeader;
use crate::rules::{any_object, cel};

/// One filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([
    (
        "has(self.requestHeaderModifier) == (self.type == 'RequestHeaderModifier')",
        "requestHeaderModifier must be specified for filter.type RequestHeaderModifier, and for no other",
    ),
    (
        "has(self.responseHeaderModifier) == (self.type == 'ResponseHeaderModifier')",
        "responseHeaderModifier must be specified for filter.type ResponseHeaderModifier, and for no other",
    ),
    (
        "has(self.requestRedirect) == (self.type == 'RequestRedirect')",
        "requestRedirect must be specified for filter.type RequestRedirect, and for no other",
    ),
    (
        "has(self.urlRewrite) == (self.type == 'URLRewrite')",
        "urlRewrite must be specified for filter.type URLRewrite, and for no other",
    ),
])))]
pub struct HttpRouteFilter {
    /// Which filter.
    #[serde(rename = "type")]
    pub kind: HttpRouteFilterType,
    /// Changes of the request's headers.
    pub request_header_modifier: Option<HttpHeaderFilter>,
    /// Changes of the response's headers.
    pub response_header_modifier: Option<HttpHeaderFilter>,
    /// Where to send a copy of each request.
    #[serde(default)]
    #[schemars(schema_with = "any_object")]
    pub request_mirror: Option<Value>,
    /// Where the client is to go instead.
    pub request_redirect: Option<HttpRequestRedirect>,
    /// Changes of host name and path.
    pub url_rewrite: Option<HttpUrlRewrite>,
    /// A filter of an implementation.
    #[serde(default)]
    #[schemars(schema_with = "any_object")]
    pub extension_ref: Option<Value>,
    /// Whom browsers let read the response.
    #[serde(default)]
    #[schemars(schema_with = "any_object")]
    pub cors: Option<Value>,
    /// Whom to ask whether a request is allowed.
    #[serde(default)]
    #[schemars(schema_with = "any_object")]
    pub external_auth: Option<Value>,
}

/// Which filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpRouteFilterType {
    /// Changes headers of requests.
    RequestHeaderModifier,
    /// Changes headers of responses.
    ResponseHeaderModifier,
    /// Sends copies of requests elsewhere; not served.
    RequestMirror,
    /// Sends the client elsewhere.
    RequestRedirect,
    /// Changes host name and path of requests.
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    /// A filter of an implementation; not served.
    ExtensionRef,
    /// Answers for browsers; not served.
    #[serde(rename = "CORS")]
    Cors,
    /// Asks somebody else; not served.
    ExternalAuth,
}

/// Changes of headers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeaderFilter {
    /// Headers to overwrite, or to add where they are not there.
    #[serde(default)]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub set: Vec<HttpHeader>,
    /// Headers to add to those that are there.
    #[serde(default)]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub add: Vec<HttpHeader>,
    /// Names of headers to remove.
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub remove: Vec<String>,
}

/// Where the client is to go instead; what is absent stays as in the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRequestRedirect {
    /// Scheme.
    #[schemars(extend("enum" = ["http", "https"]))]
    pub scheme: Option<String>,
    /// Host name.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub hostname: Option<String>,
    /// Path.
    pub path: Option<HttpPathModifier>,
    /// Port; when absent, that of the scheme if there is one here, else that of the listener.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Status: 301, 302, 303, 307 or 308.
    #[serde(default = "found")]
    #[schemars(range(min = 301, max = 308))]
    pub status_code: u16,
}

fn found() -> u16 {
    302
}

/// Changes of host name and path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpUrlRewrite {
    /// Host name.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub hostname: Option<String>,
    /// Path.
    pub path: Option<HttpPathModifier>,
}

/// A change of the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([
    (
        "has(self.replaceFullPath) == (self.type == 'ReplaceFullPath')",
        "replaceFullPath must be specified when type is set to 'ReplaceFullPath', and only then",
    ),
    (
        "has(self.replacePrefixMatch) == (self.type == 'ReplacePrefixMatch')",
        "replacePrefixMatch must be specified when type is set to 'ReplacePrefixMatch', and only then",
    ),
])))]
pub struct HttpPathModifier {
    /// What is replaced.
    #[serde(rename = "type")]
    pub kind: HttpPathModifierType,
    /// What stands for the whole path.
    #[schemars(length(max = 1024))]
    pub replace_full_path: Option<String>,
    /// What stands for the prefix that was matched.
    #[schemars(length(max = 1024))]
    pub replace_prefix_match: Option<String>,
}

/// What of a path is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpPathModifierType {
    /// All of it.
    ReplaceFullPath,
    /// The prefix that was matched.
    ReplacePrefixMatch,
}

//! Changes to make to requests on their way to a backend.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway_api::HEADER_NAME;

/// Changes to request headers. Removal comes first, so a header in both lists ends up set. Names have no case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeaderMutation {
    /// Headers to set, replacing what is there.
    #[serde(default)]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub set: Vec<HttpHeader>,
    /// Headers to remove.
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub remove: Vec<String>,
}

/// A header and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeader {
    /// Name of the header, in any case.
    #[schemars(length(min = 1, max = 256), regex(pattern = HEADER_NAME))]
    pub name: String,
    /// Its value.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

/// Changes to the top-level members of a JSON request body. Removal comes first, so a member in both lists ends up set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpBodyMutation {
    /// Members to set, replacing what is there.
    #[serde(default)]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"])
    )]
    pub set: Vec<HttpBodyField>,
    /// Members to remove.
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub remove: Vec<String>,
}

/// A top-level member of a JSON body and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpBodyField {
    /// Name of the member.
    #[schemars(length(min = 1))]
    pub path: String,
    /// Its value as JSON text, such as `"text"` with the quotes, `42`, `true`, `null` or `{"key": "value"}`.
    pub value: String,
}

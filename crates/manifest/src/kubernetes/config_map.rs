//! ConfigMap: texts that are no secret.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Metadata;

/// A ConfigMap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConfigMap {
    /// Its name and notes.
    pub metadata: Metadata,
    /// Its texts, those of `binaryData` included where they are UTF-8.
    pub data: BTreeMap<String, String>,
}

/// The fields of a ConfigMap as they are written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-ignored" = crate::rules::fields(["immutable"])))]
pub(crate) struct ConfigMapText {
    #[serde(default)]
    #[schemars(extend("nullable" = true))]
    pub(crate) data: BTreeMap<String, String>,
    #[serde(default)]
    #[schemars(extend("nullable" = true))]
    pub(crate) binary_data: BTreeMap<String, String>,
}

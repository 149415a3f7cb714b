//! Namespace: read for its labels, by which a listener may choose routes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::fields;

/// What a Namespace says; nothing that matters here beyond its labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-ignored" = fields(["finalizers"])))]
pub struct NamespaceSpec {}

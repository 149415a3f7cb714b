//! Metadata: the name of an object, where it is, and what is noted about it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway_api::{DNS_SUBDOMAIN, NAMESPACE};
use crate::rules::fields;
use crate::scalar::Timestamp;

/// The namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

fn default_namespace() -> String {
    DEFAULT_NAMESPACE.to_owned()
}

/// What every object has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-ignored" = fields([
    "uid",
    "resourceVersion",
    "generation",
    "generateName",
    "selfLink",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
])))]
pub struct Metadata {
    /// Name, unique among the objects of its kind in its namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
    /// Namespace; empty for kinds that are in none.
    #[serde(default = "default_namespace")]
    #[schemars(length(min = 1, max = 63), regex(pattern = NAMESPACE))]
    pub namespace: String,
    /// Labels.
    #[serde(default)]
    #[schemars(extend("nullable" = true))]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default)]
    #[schemars(extend("nullable" = true))]
    pub annotations: BTreeMap<String, String>,
    /// When the object was made; absent in files.
    #[schemars(extend("nullable" = true))]
    pub creation_timestamp: Option<Timestamp>,
}

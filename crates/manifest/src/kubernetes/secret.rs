//! Secret: texts that nobody may see.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Metadata;

/// What the annotations begin with that name an environment variable for a key.
const FROM_ENVIRONMENT: &str = "substitution.aigw.run/env/";
/// What the annotations begin with that name a file for a key.
const FROM_FILE: &str = "substitution.aigw.run/file/";

/// A Secret. It has no Debug and no Serialize, as the texts in it have none.
#[derive(Clone)]
pub struct Secret {
    /// Its name and notes.
    pub metadata: Metadata,
    /// Its type, such as `kubernetes.io/tls`; `Opaque` when it says none.
    pub kind: String,
    /// Its texts: `data` decoded, and `stringData` over it.
    pub data: BTreeMap<String, tollgate_terms::Secret>,
}

impl Secret {
    /// Keys that are to be read from environment variables, and the names of these.
    pub fn from_environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.annotated(FROM_ENVIRONMENT)
    }

    /// Keys that are to be read from files, and the paths of these; `~` at their beginning is the home folder.
    pub fn from_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.annotated(FROM_FILE)
    }

    fn annotated(&self, prefix: &'static str) -> impl Iterator<Item = (&str, &str)> {
        self.metadata
            .annotations
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }
}

/// The fields of a Secret as they are written.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-ignored" = crate::rules::fields(["immutable"])))]
pub(crate) struct SecretText {
    #[serde(rename = "type", default)]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    #[schemars(extend("nullable" = true))]
    pub(crate) data: BTreeMap<String, String>,
    #[serde(default)]
    #[schemars(extend("nullable" = true))]
    pub(crate) string_data: BTreeMap<String, String>,
}

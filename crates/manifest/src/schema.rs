//! A structural schema, ready to check values against.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::Regex;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::cel_rule::Rule;

/// What a value must be. Absent bounds bound nothing.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Schema {
    #[serde(rename = "type")]
    pub(crate) kind: Option<Kind>,
    pub(crate) nullable: bool,
    pub(crate) default: Option<Value>,

    pub(crate) format: Option<String>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) min_length: Option<usize>,
    pub(crate) max_length: Option<usize>,
    #[serde(rename = "enum")]
    pub(crate) one_of: Vec<String>,

    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,

    pub(crate) items: Option<Box<Schema>>,
    pub(crate) min_items: Option<usize>,
    pub(crate) max_items: Option<usize>,
    #[serde(rename = "x-kubernetes-list-type")]
    pub(crate) list_type: ListType,
    #[serde(rename = "x-kubernetes-list-map-keys")]
    pub(crate) list_keys: Vec<String>,

    pub(crate) properties: BTreeMap<String, Schema>,
    pub(crate) additional_properties: Option<Box<Schema>>,
    pub(crate) required: Vec<String>,
    pub(crate) min_properties: Option<usize>,
    pub(crate) max_properties: Option<usize>,

    #[serde(rename = "x-kubernetes-int-or-string")]
    pub(crate) int_or_string: bool,
    #[serde(rename = "x-kubernetes-preserve-unknown-fields")]
    pub(crate) preserve_unknown_fields: bool,
    #[serde(rename = "x-kubernetes-validations")]
    pub(crate) rules: Vec<Rule>,

    #[serde(rename = "x-tollgate-not-served")]
    pub(crate) not_served: Vec<String>,
    #[serde(rename = "x-tollgate-refused")]
    pub(crate) refused: Vec<String>,
    #[serde(rename = "x-tollgate-ignored")]
    pub(crate) ignored: Vec<String>,
    #[serde(rename = "x-tollgate-removed")]
    pub(crate) removed: BTreeMap<String, String>,
}

/// The type of a value.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

/// What the items of a list are to each other.
#[derive(Deserialize, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ListType {
    /// Nothing.
    #[default]
    Atomic,
    /// No two are the same.
    Set,
    /// No two have the same keys.
    Map,
}

/// A regular expression, compiled when it is first needed.
pub(crate) struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.compiled
            .get_or_init(|| Regex::new(&self.text).ok())
            .as_ref()
            .is_some_and(|regex| regex.is_match(text))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { text: String::deserialize(deserializer)?, compiled: OnceLock::new() })
    }
}

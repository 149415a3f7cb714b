//! The configuration as it is written: one domain in each file.

use serde::Deserialize;
use serde_json::Value;

use crate::yaml;

/// A configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read from the disk.
    #[error("cannot read {file}: {reason}")]
    Unreadable {
        /// Which.
        file: String,
        /// Why.
        reason: String,
    },
    /// It is not one document of YAML.
    #[error("{file}: not one document of YAML")]
    NotYaml {
        /// Which.
        file: String,
    },
    /// It says something that is not understood.
    #[error("{file}: {reason}")]
    Wrong {
        /// Which.
        file: String,
        /// Why.
        reason: String,
    },
}

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(default)]
    pub(crate) domain: String,
    #[serde(default, deserialize_with = "or_none")]
    pub(crate) descriptors: Vec<Descriptor>,
}

/// A descriptor, with those that may come after it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) key: String,
    #[serde(default, deserialize_with = "as_text")]
    pub(crate) value: String,
    pub(crate) rate_limit: Option<RateLimit>,
    #[serde(default, deserialize_with = "or_none")]
    pub(crate) descriptors: Vec<Descriptor>,
    #[serde(default)]
    pub(crate) shadow_mode: bool,
    #[serde(default)]
    pub(crate) quota_mode: bool,
    #[serde(default)]
    pub(crate) detailed_metric: bool,
    #[serde(default)]
    pub(crate) value_to_metric: bool,
    #[serde(default)]
    pub(crate) share_threshold: bool,
}

/// A limit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateLimit {
    #[serde(default)]
    pub(crate) unit: String,
    #[serde(default)]
    pub(crate) requests_per_unit: u32,
    #[serde(default)]
    pub(crate) unlimited: bool,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default, deserialize_with = "or_none")]
    pub(crate) replaces: Vec<Replaced>,
}

/// A limit that another one stands in for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replaced {
    pub(crate) name: String,
}

/// Reads a file.
pub(crate) fn read(file: &str, text: &str) -> Result<File, ConfigError> {
    let value = yaml::document(text).ok_or_else(|| ConfigError::NotYaml { file: file.to_owned() })?;
    let wrong = |reason: String| ConfigError::Wrong { file: file.to_owned(), reason };
    let read: File = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
    if read.domain.is_empty() {
        return Err(wrong("expected a domain".to_owned()));
    }
    Ok(read)
}

/// A list that is written without items is empty.
fn or_none<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Option::<Vec<T>>::deserialize(from).map(Option::unwrap_or_default)
}

/// Values are texts, also those that YAML takes for something else.
fn as_text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Array(_) | Value::Object(_) => Err(serde::de::Error::custom("expected a text as value")),
    }
}

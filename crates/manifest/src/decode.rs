//! Checked documents to objects.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::kind::DecodeError;
use crate::kubernetes::{ConfigMap, ConfigMapText, Metadata, Secret, SecretText};
use crate::object::{Object, Resource};
use crate::scalar::decode_base64;

/// An object with a `spec`.
pub(crate) fn resource<S: DeserializeOwned>(document: Value) -> Result<Resource<S>, DecodeError> {
    typed(document)
}

/// A ConfigMap. Binary data that is not UTF-8 is nothing that a gateway reads.
pub(crate) fn config_map(document: Value) -> Result<Object, DecodeError> {
    let metadata = metadata(&document)?;
    let text: ConfigMapText = typed(document)?;
    let mut data = text.data;
    for (key, encoded) in text.binary_data {
        if let Ok(decoded) = String::from_utf8(base64("binaryData", &key, &encoded)?) {
            data.insert(key, decoded);
        }
    }
    Ok(Object::ConfigMap(ConfigMap { metadata, data }))
}

/// A Secret. What is not UTF-8 is no credential that could be sent.
pub(crate) fn secret(document: Value) -> Result<Object, DecodeError> {
    let metadata = metadata(&document)?;
    let text: SecretText = typed(document)?;
    let mut data = BTreeMap::new();
    for (key, encoded) in text.data {
        if let Ok(decoded) = String::from_utf8(base64("data", &key, &encoded)?) {
            data.insert(key, tollgate_terms::Secret::new(decoded));
        }
    }
    data.extend(text.string_data.into_iter().map(|(key, value)| (key, tollgate_terms::Secret::new(value))));
    let kind = text.kind.unwrap_or_else(|| "Opaque".to_owned());
    Ok(Object::Secret(Secret { metadata, kind, data }))
}

fn metadata(document: &Value) -> Result<Metadata, DecodeError> {
    typed(document.get("metadata").cloned().unwrap_or_default())
}

fn base64(field: &str, key: &str, encoded: &str) -> Result<Vec<u8>, DecodeError> {
    // The text itself stays out of the message.
    decode_base64(encoded).ok_or_else(|| {
        let advice = if field == "data" { "; plain text goes into stringData" } else { "" };
        (format!("{field}[{key:?}]"), format!("is not base64{advice}"))
    })
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, DecodeError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        (path, error.into_inner().to_string())
    })
}

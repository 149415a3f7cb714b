//! Small things that several dialects need.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

/// An event without a name.
pub(super) fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// An event with a name.
pub(super) fn event(name: &str, value: &Value) -> String {
    format!("event: {name}\ndata: {value}\n\n")
}

/// The model in a form (RFC 7578).
pub(super) fn form_model(body: &Bytes) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("name=\"model\"")?;
    let (_, value) = rest.split_once("\r\n\r\n")?;
    value.split("\r\n").next().map(str::to_owned)
}

/// Base64 (RFC 4648).
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The JSON that `text` is in base64.
pub(super) fn json_of_base64(text: &str) -> Option<Value> {
    serde_json::from_slice(&STANDARD.decode(text).ok()?).ok()
}

//! Small things that several dialects need.

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

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

/// Base64 (RFC 4648).
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4_usize {
            let at = (word >> (18 - 6 * digit)) & 63;
            let known = digit <= chunk.len();
            out.push(if known { DIGITS.get(at as usize).map_or('=', |byte| char::from(*byte)) } else { '=' });
        }
    }
    out
}

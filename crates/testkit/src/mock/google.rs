//! How Google's services tell an error, and whom they answer.
//!
//! Source: `google.rpc.Status`, and `google.genai.errors`.

use hyper::HeaderMap;
use serde_json::{Value, json};

use super::reply::Reply;

/// Refuses a request without a token or a key.
pub(super) fn refusal(headers: &HeaderMap) -> Option<Reply> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let has_token = text("authorization").strip_prefix("Bearer ").is_some_and(|token| !token.is_empty());
    if has_token || !text("x-goog-api-key").is_empty() {
        return None;
    }
    Some(error(403, "Method doesn't allow unregistered callers (callers without established identity)."))
}

/// An error.
pub(super) fn error(status: u16, message: &str) -> Reply {
    Reply::json(status, &body(status, message))
}

/// What an error says, as an answer or in the middle of a stream.
pub(super) fn body(status: u16, message: &str) -> Value {
    let word = match status {
        400 | 422 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    };
    json!({"error": {"code": status, "message": message, "status": word}})
}

//! Why nothing was issued, in words that may be shown: no secret, no long text, nothing that breaks a line.

use serde_json::Value;
use tollgate_config::bundle::ProfileError;
use tollgate_terms::Secret;

use super::form::escaped;

/// How much of a service's own words is kept.
const SAID_CHARS_MAX: usize = 300;

/// Why nothing was issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The service answered and said no.
    #[error("{service} refused with status {status}{}", after_colon(.said))]
    Refused {
        /// Address of the service, without query.
        service: String,
        /// Status of its answer.
        status: u16,
        /// What it said, shortened and without the secrets that it was sent; empty if it gave no reason.
        said: String,
    },
    /// No connection, or one that broke.
    #[error("{service} cannot be reached: {reason}")]
    Unreachable {
        /// Address of the service, without query.
        service: String,
        /// What the system said.
        reason: String,
    },
    /// The service did not answer in time.
    #[error("{service} did not answer in time")]
    TooSlow {
        /// Address of the service, without query.
        service: String,
    },
    /// The service answered, but not as its definition says.
    #[error("{service} gave an answer that cannot be read: {reason}")]
    Unreadable {
        /// Address of the service, without query.
        service: String,
        /// What was expected.
        reason: String,
    },
    /// What was configured, or found in the environment, cannot work.
    #[error("{0}")]
    Misconfigured(String),
}

impl From<ProfileError> for IssueError {
    fn from(error: ProfileError) -> Self {
        Self::Misconfigured(error.to_string())
    }
}

impl IssueError {
    /// Whether the same question may be answered later, though nothing is changed.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::Unreachable { .. } | Self::TooSlow { .. } | Self::Unreadable { .. } => true,
            Self::Misconfigured(_) => false,
        }
    }
}

fn after_colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// What the service said for its refusal, by the shapes that are in use. `hidden` is what it was sent and may repeat.
///
/// A body that is no JSON tells nothing: it may be a page of a proxy.
pub(super) fn said(body: &[u8], hidden: &[&Secret]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return said_in_xml(&String::from_utf8_lossy(body), hidden);
    };
    let text = |at: &str| value.pointer(at).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (code, reason) = match value.get("error") {
        // Google's APIs.
        Some(Value::Object(_)) => (text("/error/status"), text("/error/message")),
        // RFC 6749 section 5.2.
        Some(_) => (text("/error"), text("/error_description")),
        // AWS's JSON protocols; the type may have a namespace.
        None => (
            text("/__type").map(|kind| kind.rsplit('#').next().unwrap_or(kind)),
            text("/message").or_else(|| text("/Message")),
        ),
    };
    told(code, reason, hidden)
}

/// AWS's query protocol: `<ErrorResponse><Error><Code>..</Code><Message>..</Message></Error></ErrorResponse>`.
fn said_in_xml(text: &str, hidden: &[&Secret]) -> String {
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(content, _)| content)
    };
    if element("Error").is_none() {
        return String::new();
    }
    told(element("Code"), element("Message"), hidden)
}

pub(super) fn told(code: Option<&str>, reason: Option<&str>, hidden: &[&Secret]) -> String {
    let words: Vec<&str> = [code, reason].into_iter().flatten().collect();
    let mut said = words.join(": ");
    for secret in hidden.iter().filter(|secret| !secret.expose().is_empty()) {
        said = said.replace(secret.expose(), "[secret]").replace(&escaped(secret.expose()), "[secret]");
    }
    shortened(&said)
}

/// One line of bounded length.
pub(super) fn shortened(text: &str) -> String {
    let line = text.split(|letter: char| letter.is_whitespace() || letter.is_control());
    let line = line.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SAID_CHARS_MAX) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shape_of_a_refusal_is_read() {
        for (body, expected) in [
            (
                r#"{"error":"invalid_client","error_description":"no such client"}"#,
                "invalid_client: no such client",
            ),
            (r#"{"error":"invalid_grant"}"#, "invalid_grant"),
            (
                r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"no"}}"#,
                "PERMISSION_DENIED: no",
            ),
            (r#"{"__type":"com.amazon#AccessDeniedException","Message":"no"}"#, "AccessDeniedException: no"),
            ("<html>", ""),
            ("<A><Error><Code>AccessDenied</Code><Message>no</Message></Error></A>", "AccessDenied: no"),
            ("{}", ""),
            ("7", ""),
        ] {
            assert_eq!(said(body.as_bytes(), &[]), expected, "{body}");
        }
    }

    #[test]
    fn what_is_said_is_one_short_line_without_secrets() {
        let secret = Secret::new("s3+cr3t".to_owned());
        let body =
            format!(r#"{{"error":"no\r\ns3+cr3t, s3%2Bcr3t","error_description":"{}"}}"#, "ä".repeat(400));
        let said = said(body.as_bytes(), &[&secret]);
        assert!(said.starts_with("no [secret], [secret]: ää") && said.ends_with("ä..."), "{said}");
        assert_eq!(said.chars().count(), SAID_CHARS_MAX + 3);
    }

    #[test]
    fn only_a_passing_trouble_is_worth_another_try() {
        let refused = |status| IssueError::Refused { service: String::new(), status, said: String::new() };
        assert!(refused(503).retryable() && refused(429).retryable() && !refused(401).retryable());
        assert!(!IssueError::Misconfigured(String::new()).retryable());
    }
}

//! Answers of services that issue credentials, above all the one of OAuth's token endpoints.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tollgate_terms::Secret;

use super::{IssueError, Issued};

/// An answer of status 2xx.
pub struct ServiceAnswer {
    service: String,
    headers: HeaderMap,
    body: Bytes,
}

impl ServiceAnswer {
    /// Takes in what `service` answered.
    pub(super) fn new(service: String, headers: HeaderMap, body: Bytes) -> Self {
        Self { service, headers, body }
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Its body, which may be secret.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Its body as JSON. `expected` says in the error what it should have been.
    ///
    /// # Errors
    /// [`IssueError::Unreadable`], which has nothing of the body in it.
    pub fn json<T: DeserializeOwned>(&self, expected: &str) -> Result<T, IssueError> {
        serde_json::from_slice(&self.body).map_err(|_| self.unreadable(&format!("expected {expected}")))
    }

    /// That the answer is not as it should be.
    pub fn unreadable(&self, reason: &str) -> IssueError {
        IssueError::Unreadable { service: self.service.clone(), reason: reason.to_owned() }
    }

    /// The access token in it (RFC 6749 section 5.1), asked for at `now`.
    pub(super) fn token(&self, now: SystemTime) -> Result<Issued<Secret>, IssueError> {
        let token: Token = self.json("JSON with an access_token")?;
        let Some(text) = token.access_token.filter(|text| !text.is_empty()) else {
            return Err(self.unreadable("expected JSON with an access_token"));
        };
        let lifetime = token.expires_in.as_ref().map(|value| (now, value));
        let end = token.expires_on.as_ref().map(|value| (SystemTime::UNIX_EPOCH, value));
        let expires_at = lifetime.or(end).filter(|(_, value)| !value.is_null()).map(|(start, value)| {
            seconds(value)
                .and_then(|seconds| start.checked_add(seconds))
                .ok_or_else(|| self.unreadable("expected a number of seconds as the lifetime of the token"))
        });
        self.secret(text, expires_at.transpose()?)
    }

    /// A token of this answer, if it can be shown in a header.
    pub(super) fn secret(
        &self,
        text: String,
        expires_at: Option<SystemTime>,
    ) -> Result<Issued<Secret>, IssueError> {
        let value = Secret::new(text);
        match value.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Issued { value, expires_at }),
            false => Err(self.unreadable("expected a token of printable characters")),
        }
    }
}

/// What of a token answer matters. Times are numbers by the standard, and texts at Azure's and some other services.
#[derive(Deserialize)]
struct Token {
    access_token: Option<String>,
    /// Seconds that it lives.
    expires_in: Option<Value>,
    /// Where `expires_in` is not told: the second since 1970 at which it ends (Azure's managed identities).
    expires_on: Option<Value>,
}

fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(body: &str) -> Result<(String, Option<u64>), IssueError> {
        let answer =
            ServiceAnswer::new("s".to_owned(), HeaderMap::new(), Bytes::copy_from_slice(body.as_bytes()));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let issued = answer.token(now)?;
        let end = issued.expires_at.map(|end| end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
        Ok((issued.value.expose().to_owned(), end))
    }

    #[test]
    fn the_end_of_a_token_is_read_in_every_form() {
        for (body, end) in [
            (r#"{"access_token":"t","expires_in":60}"#, Some(1060)),
            (r#"{"access_token":"t","expires_in":"60"}"#, Some(1060)),
            (r#"{"access_token":"t","expires_in":60,"expires_on":"7"}"#, Some(1060)),
            (r#"{"access_token":"t","expires_on":"5000"}"#, Some(5000)),
            (r#"{"access_token":"t","expires_in":null}"#, None),
            (r#"{"access_token":"t"}"#, None),
        ] {
            assert_eq!(token(body), Ok(("t".to_owned(), end)), "{body}");
        }
    }

    #[test]
    fn what_is_no_token_is_not_taken_for_one_and_not_shown() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"error":"hidden"}"#,
            r#"{"access_token":7}"#,
            r#"{"access_token":""}"#,
            r#"{"access_token":"hidden\nx"}"#,
            r#"{"access_token":"hidden","expires_in":"hidden"}"#,
            r#"{"access_token":"hidden","expires_in":-1}"#,
            r#"{"access_token":"hidden","expires_in":18446744073709551615}"#,
        ] {
            let error = token(body).unwrap_err();
            assert!(matches!(error, IssueError::Unreadable { .. }), "{body}: {error}");
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
    }
}

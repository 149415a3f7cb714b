//! How a credential is shown to a host.

use http::header::{AUTHORIZATION, InvalidHeaderValue};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tollgate_terms::Secret;

const API_KEY: HeaderName = HeaderName::from_static("api-key");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// The kinds of credential, by the header that carries them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CredentialKind {
    /// `authorization: Bearer <key>`.
    ApiKey,
    /// `api-key: <key>`.
    AzureApiKey,
    /// `x-api-key: <key>`.
    AnthropicApiKey,
}

impl CredentialKind {
    /// Puts `secret` where this kind of credential belongs, and takes away every credential that was there before:
    /// what the client showed the gateway is not the provider's business.
    ///
    /// # Errors
    /// When the secret cannot be a header value: it has a line break or another control character.
    pub fn show(self, secret: &Secret, headers: &mut HeaderMap) -> Result<(), InvalidHeaderValue> {
        for name in [AUTHORIZATION, API_KEY, X_API_KEY, X_GOOG_API_KEY] {
            headers.remove(name);
        }
        let (name, mut value) = match self {
            Self::ApiKey => (AUTHORIZATION, HeaderValue::try_from(format!("Bearer {}", secret.expose()))?),
            Self::AzureApiKey => (API_KEY, HeaderValue::try_from(secret.expose())?),
            Self::AnthropicApiKey => (X_API_KEY, HeaderValue::try_from(secret.expose())?),
        };
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_every_credential_of_the_client() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer client"));
        headers.insert(X_API_KEY, HeaderValue::from_static("client"));
        let secret = Secret::new("provider".to_owned());
        CredentialKind::AnthropicApiKey.show(&secret, &mut headers).expect("a header value");
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[X_API_KEY], "provider");
        assert!(headers[X_API_KEY].is_sensitive());
    }

    #[test]
    fn refuses_a_key_with_a_line_break() {
        let secret = Secret::new("a\r\nhost: evil".to_owned());
        assert!(CredentialKind::ApiKey.show(&secret, &mut HeaderMap::new()).is_err());
    }
}

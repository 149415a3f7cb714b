//! How a credential is shown to a host.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tollgate_terms::Secret;

use crate::signature::{self, SigningKeys, Unsigned};

const API_KEY: HeaderName = HeaderName::from_static("api-key");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// The kinds of credential, by how a request shows them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CredentialKind {
    /// `authorization: Bearer <key>`.
    ApiKey,
    /// `api-key: <key>`.
    AzureApiKey,
    /// `x-api-key: <key>`.
    AnthropicApiKey,
    /// `x-goog-api-key: <key>`.
    GoogleApiKey,
    /// `authorization: Bearer <access token>` of Azure.
    AzureToken,
    /// `authorization: Bearer <access token>` of Google Cloud.
    GoogleToken {
        /// The project in which models are asked for.
        project: String,
        /// The region, or `global`.
        region: String,
    },
    /// A signature of AWS, version 4.
    AwsSignature {
        /// The region that is signed for.
        region: String,
    },
}

/// What proves the gateway to a host.
#[derive(Clone)]
pub enum Proof {
    /// A key or token that stands in a header.
    Secret(Secret),
    /// Keys with which the request is signed.
    Keys(SigningKeys),
}

/// A credential cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CannotShow {
    /// It cannot be a header value: it has a line break or another control character.
    NoHeaderValue,
    /// The proof is not of the credential's kind.
    OtherKind,
}

/// A request brought one half of a credential, and not the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Half;

impl CredentialKind {
    /// What the names of the headers with a credential of this kind end in, where a request may bring one in several parts. A single
    /// empty ending: it comes in one.
    pub fn offered_parts(&self) -> &'static [&'static str] {
        match self {
            Self::ApiKey
            | Self::AzureApiKey
            | Self::AnthropicApiKey
            | Self::GoogleApiKey
            | Self::AzureToken
            | Self::GoogleToken { .. } => &[""],
            Self::AwsSignature { .. } => &["access-key-id", "secret-access-key", "session-token"],
        }
    }

    /// The proof in what a request `offered`: the values of its headers, in the order of
    /// [`CredentialKind::offered_parts`]. White space around a value is cut off, and an empty one counts as none.
    ///
    /// # Errors
    /// When one of two parts that belong together is missing.
    pub fn offered(&self, offered: &[Option<Secret>]) -> Result<Option<Proof>, Half> {
        let part = |at: usize| {
            let trimmed = offered.get(at)?.as_ref()?.expose().trim();
            (!trimmed.is_empty()).then(|| Secret::new(trimmed.to_owned()))
        };
        match self {
            Self::ApiKey
            | Self::AzureApiKey
            | Self::AnthropicApiKey
            | Self::GoogleApiKey
            | Self::AzureToken
            | Self::GoogleToken { .. } => Ok(part(0).map(Proof::Secret)),
            Self::AwsSignature { .. } => match (part(0), part(1), part(2)) {
                (None, None, None) => Ok(None),
                (Some(id), Some(secret), token) => Ok(Some(Proof::Keys(SigningKeys { id, secret, token }))),
                _ => Err(Half),
            },
        }
    }

    /// Whether requests are signed, for which their host must be known.
    pub fn is_signature(&self) -> bool {
        matches!(self, Self::AwsSignature { .. })
    }

    /// Puts `proof` where this kind of credential belongs, and takes away every credential that was there before:
    /// what the client showed the gateway is not the provider's business. Headers that are added after a signature are not
    /// signed.
    ///
    /// # Errors
    /// When `proof` cannot be shown.
    pub fn show(
        &self,
        proof: &Proof,
        request: Unsigned<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), CannotShow> {
        for name in [AUTHORIZATION, API_KEY, X_API_KEY, X_GOOG_API_KEY] {
            headers.remove(name);
        }
        signature::remove(headers);
        let (name, value) = match (self, proof) {
            (Self::AwsSignature { region }, Proof::Keys(keys)) => {
                return signature::sign(request, region, keys, headers).ok_or(CannotShow::NoHeaderValue);
            }
            (Self::ApiKey | Self::AzureToken | Self::GoogleToken { .. }, Proof::Secret(secret)) => {
                (AUTHORIZATION, HeaderValue::try_from(format!("Bearer {}", secret.expose())))
            }
            (Self::AzureApiKey, Proof::Secret(secret)) => (API_KEY, HeaderValue::try_from(secret.expose())),
            (Self::AnthropicApiKey, Proof::Secret(secret)) => {
                (X_API_KEY, HeaderValue::try_from(secret.expose()))
            }
            (Self::GoogleApiKey, Proof::Secret(secret)) => {
                (X_GOOG_API_KEY, HeaderValue::try_from(secret.expose()))
            }
            (Self::AwsSignature { .. }, Proof::Secret(_))
            | (
                Self::ApiKey
                | Self::AzureApiKey
                | Self::AnthropicApiKey
                | Self::GoogleApiKey
                | Self::AzureToken
                | Self::GoogleToken { .. },
                Proof::Keys(_),
            ) => return Err(CannotShow::OtherKind),
        };
        let mut value = value.map_err(|_| CannotShow::NoHeaderValue)?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn request<'a>() -> Unsigned<'a> {
        Unsigned {
            method: &http::Method::POST,
            authority: "bedrock-runtime.eu-west-1.amazonaws.com",
            path: "/model/a/invoke",
            body: &[],
            service: "bedrock",
            unix_s: 0,
        }
    }

    fn signs() -> CredentialKind {
        CredentialKind::AwsSignature { region: "eu-west-1".to_owned() }
    }

    #[test]
    fn replaces_every_credential_of_the_client() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer client"));
        headers.insert(X_API_KEY, HeaderValue::from_static("client"));
        headers.insert("x-amz-security-token", HeaderValue::from_static("client"));
        let proof = Proof::Secret(secret("provider"));
        CredentialKind::AnthropicApiKey.show(&proof, request(), &mut headers).expect("a header value");
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[X_API_KEY], "provider");
        assert!(headers[X_API_KEY].is_sensitive());
    }

    #[test]
    fn refuses_a_key_with_a_line_break() {
        let proof = Proof::Secret(secret("a\r\nhost: evil"));
        let shown = CredentialKind::ApiKey.show(&proof, request(), &mut HeaderMap::new());
        assert_eq!(shown, Err(CannotShow::NoHeaderValue));
        let keys = SigningKeys { id: secret("a\nb"), secret: secret("c"), token: None };
        let shown = signs().show(&Proof::Keys(keys), request(), &mut HeaderMap::new());
        assert_eq!(shown, Err(CannotShow::NoHeaderValue));
    }

    #[test]
    fn a_proof_of_another_kind_is_not_shown() {
        let shown = signs().show(&Proof::Secret(secret("a")), request(), &mut HeaderMap::new());
        assert_eq!(shown, Err(CannotShow::OtherKind));
    }

    #[test]
    fn half_a_pair_is_no_credential_and_not_none_either() {
        let offer =
            |parts: [&str; 3]| signs().offered(&parts.map(|part| Some(secret(part)))).map(|it| it.is_some());
        assert_eq!(offer(["id", "secret", ""]), Ok(true));
        assert_eq!(offer(["id", "secret", "token"]), Ok(true));
        assert_eq!(offer(["", " ", ""]), Ok(false));
        for half in [["id", "", ""], ["", "secret", ""], ["", "", "token"], ["id", "", "token"]] {
            assert_eq!(offer(half), Err(Half), "{half:?}");
        }
        assert_eq!(signs().offered(&[]).map(|it| it.is_some()), Ok(false));
    }
}

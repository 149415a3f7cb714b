//! A service account proves itself by an assertion that its key signs (RFC 7523).

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::json;
use tollgate_terms::Secret;

use super::super::form::Form;
use super::super::request::post_form;
use super::super::{Client, IssueError, Issued, jwt};
use super::{SCOPE, TOKEN_URI};

/// The longest life of an assertion that Google accepts, and of the token for it.
const LIFETIME: Duration = Duration::from_secs(3600);

/// How far the clock of Google may be behind ours; an assertion from the future is refused.
const SKEW: Duration = Duration::from_secs(10);

/// A service account and its key.
#[derive(Clone)]
pub struct ServiceAccount {
    email: String,
    key: Secret,
    key_id: Option<String>,
    token_uri: String,
}

/// The file of a key, as far as it matters.
#[derive(Deserialize)]
pub(super) struct KeyFile {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

impl ServiceAccount {
    /// Reads the JSON file of a key, as Google gives it out.
    ///
    /// # Errors
    /// [`IssueError::Misconfigured`] when it is something else.
    pub fn parse(json: &Secret) -> Result<Self, IssueError> {
        serde_json::from_str::<KeyFile>(json.expose()).map(Self::from).map_err(|_| {
            let expected = "expected the JSON key of a service account, with client_email and private_key";
            IssueError::Misconfigured(expected.to_owned())
        })
    }
}

impl From<KeyFile> for ServiceAccount {
    fn from(file: KeyFile) -> Self {
        Self {
            email: file.client_email,
            key: Secret::new(file.private_key),
            key_id: file.private_key_id,
            token_uri: file.token_uri.unwrap_or_else(|| TOKEN_URI.to_owned()),
        }
    }
}

/// A token for `account`, asked for at `now`.
///
/// # Errors
/// As Google answers, and when the key is unusable.
pub async fn service_account(
    client: &Client,
    account: &ServiceAccount,
    now: SystemTime,
) -> Result<Issued<Secret>, IssueError> {
    let now_s = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let claims = json!({
        "iss": account.email,
        "scope": SCOPE,
        "aud": account.token_uri,
        "iat": now_s.saturating_sub(SKEW).as_secs(),
        "exp": (now_s.saturating_sub(SKEW) + LIFETIME).as_secs(),
    });
    let assertion = jwt::sign(&account.key, account.key_id.as_deref(), &claims)?;
    let form = Form::default()
        .with("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
        .with_secret("assertion", &assertion);
    let request = post_form(&account.token_uri, &form)?;
    client.send(request, form.hidden()).await?.token(now)
}

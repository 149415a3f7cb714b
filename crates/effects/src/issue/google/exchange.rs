//! A token of another provider, exchanged for one of Google (RFC 8693), and that for one of a service account.

use std::time::SystemTime;

use serde::Deserialize;
use serde_json::json;
use tollgate_terms::Secret;

use super::super::form::{Form, escaped};
use super::super::request::{add_bearer, add_client, post_form, post_json};
use super::super::{Client, IssueError, Issued, read_moment};
use super::SCOPE;

/// How long the token of a service account lives, if nothing else is said: as long as it may without special rights.
const LIFETIME_S: u64 = 3600;

/// An identity of another provider that a workload identity pool trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Federation {
    /// Number of the project of the pool.
    pub project: String,
    /// The workload identity pool.
    pub pool: String,
    /// The provider in the pool.
    pub provider: String,
    /// The e-mail address of a service account to act as.
    pub impersonate: Option<String>,
    /// Where to ask.
    pub addresses: Addresses,
}

/// Addresses of Google's services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Where tokens are exchanged.
    pub exchange: String,
    /// The service of service accounts' credentials, without a path.
    pub service_accounts: String,
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            exchange: "https://sts.googleapis.com/v1/token".to_owned(),
            service_accounts: "https://iamcredentials.googleapis.com".to_owned(),
        }
    }
}

/// A token for whom `subject`, the token of the other provider, tells of, asked for at `now`.
///
/// # Errors
/// As Google answers.
pub async fn federated(
    client: &Client,
    federation: &Federation,
    subject: &Secret,
    now: SystemTime,
) -> Result<Issued<Secret>, IssueError> {
    let Federation { project, pool, provider, impersonate, addresses } = federation;
    let exchange = Exchange {
        url: &addresses.exchange,
        audience: &format!(
            "//iam.googleapis.com/projects/{project}/locations/global/workloadIdentityPools/{pool}/providers/{provider}"
        ),
        subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
        owner: None,
        user_project: None,
    };
    let issued = exchange.token(client, subject, now).await?;
    let Some(email) = impersonate else {
        return Ok(issued);
    };
    let host = addresses.service_accounts.trim_end_matches('/');
    let url = format!("{host}/v1/projects/-/serviceAccounts/{}:generateAccessToken", escaped(email));
    let impersonation = Impersonation { url: &url, delegates: &[], lifetime_s: None };
    impersonation.token(client, &issued.value).await
}

/// One exchange at the Security Token Service.
pub(super) struct Exchange<'a> {
    pub(super) url: &'a str,
    pub(super) audience: &'a str,
    pub(super) subject_token_type: &'a str,
    /// Id and secret of the client that asks, if it is known by them.
    pub(super) owner: Option<(&'a str, &'a Secret)>,
    /// The project that is billed, for identities of a workforce.
    pub(super) user_project: Option<&'a str>,
}

impl Exchange<'_> {
    pub(super) async fn token(
        &self,
        client: &Client,
        subject: &Secret,
        now: SystemTime,
    ) -> Result<Issued<Secret>, IssueError> {
        let mut form = Form::default()
            .with("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            .with("audience", self.audience)
            .with("scope", SCOPE)
            .with("requested_token_type", "urn:ietf:params:oauth:token-type:access_token")
            .with("subject_token_type", self.subject_token_type)
            .with_secret("subject_token", subject);
        // A client that shows itself has a project already.
        if let (Some(project), None) = (self.user_project, self.owner) {
            // The service wants this JSON escaped once more than the form does.
            form = form.with("options", &escaped(&json!({ "userProject": project }).to_string()));
        }
        let mut request = post_form(self.url, &form)?;
        let mut hidden = form.hidden().to_vec();
        if let Some((id, secret)) = self.owner {
            add_client(&mut request, id, secret)?;
            hidden.push(secret);
        }
        client.send(request, &hidden).await?.token(now)
    }
}

/// A service account that another identity may act as.
pub(super) struct Impersonation<'a> {
    /// Address of its `generateAccessToken`.
    pub(super) url: &'a str,
    /// Accounts in between, each of which may act as the next.
    pub(super) delegates: &'a [String],
    pub(super) lifetime_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Generated {
    access_token: String,
    expire_time: Option<String>,
}

impl Impersonation<'_> {
    pub(super) async fn token(&self, client: &Client, own: &Secret) -> Result<Issued<Secret>, IssueError> {
        let body = json!({
            "delegates": self.delegates,
            "scope": [SCOPE],
            "lifetime": format!("{}s", self.lifetime_s.unwrap_or(LIFETIME_S)),
        });
        let mut request = post_json(self.url, "application/json", &body)?;
        add_bearer(&mut request, own)?;
        let answer = client.send(request, &[own]).await?;
        let generated: Generated = answer.json("JSON with an accessToken")?;
        let read = |text: String| {
            read_moment(&text).ok_or_else(|| answer.unreadable("expected a date and time as expireTime"))
        };
        let expires_at = generated.expire_time.map(read).transpose()?;
        answer.secret(generated.access_token, expires_at)
    }
}

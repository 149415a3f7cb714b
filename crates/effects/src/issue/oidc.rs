//! A token of an OpenID provider, by the grant of client credentials (RFC 6749 section 4.4).

use std::time::SystemTime;

use serde::Deserialize;
use tollgate_terms::Secret;

use super::form::Form;
use super::request::{add_client, get, post_form};
use super::{Client, IssueError, Issued};

/// A client of a provider, and what its token is for.
#[derive(Clone)]
pub struct OidcClient {
    /// The provider, at which the token endpoint is discovered.
    pub issuer: String,
    /// The token endpoint, if it is not to be discovered.
    pub token_endpoint: Option<String>,
    /// Id of the client.
    pub client_id: String,
    /// Secret of the client.
    pub client_secret: Secret,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// Resources to ask for (RFC 8707).
    pub resources: Vec<String>,
    /// Audience to ask for, by the parameter that most providers know.
    pub audience: Option<String>,
    /// Grant type to ask by, instead of `client_credentials`.
    pub grant_type: Option<String>,
}

/// How the client shows its secret (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// In a header, which every provider must accept.
    InHeader,
    /// In the form, which some accept alone.
    InForm,
}

/// Asks for a token at `now`.
///
/// A provider whose metadata do not say how a client shows its secret is first asked by header, and when it refuses by
/// form: that is how most clients find out.
///
/// # Errors
/// As the provider answers, and when what it says of itself cannot be used.
pub async fn token(
    client: &Client,
    from: &OidcClient,
    now: SystemTime,
) -> Result<Issued<Secret>, IssueError> {
    let (endpoint, ways) = match &from.token_endpoint {
        Some(endpoint) => (endpoint.clone(), None),
        None => discover(client, &from.issuer).await?,
    };
    let (first, second) = match ways.as_deref() {
        None => (Shown::InHeader, Some(Shown::InForm)),
        Some(ways) if names(ways, "client_secret_basic") => (Shown::InHeader, None),
        Some(ways) if names(ways, "client_secret_post") => (Shown::InForm, None),
        Some(_) => {
            let message = format!("{} accepts no client that shows a secret", from.issuer);
            return Err(IssueError::Misconfigured(message));
        }
    };
    match (ask(client, from, &endpoint, first, now).await, second) {
        (Err(IssueError::Refused { status: 400 | 401, .. }), Some(second)) => {
            ask(client, from, &endpoint, second, now).await
        }
        (answered, _) => answered,
    }
}

fn names(ways: &[String], way: &str) -> bool {
    ways.iter().any(|known| known == way)
}

async fn ask(
    client: &Client,
    from: &OidcClient,
    endpoint: &str,
    shown: Shown,
    now: SystemTime,
) -> Result<Issued<Secret>, IssueError> {
    let grant_type = from.grant_type.as_deref().unwrap_or("client_credentials");
    let mut form = Form::default().with("grant_type", grant_type);
    if !from.scopes.is_empty() {
        form = form.with("scope", &from.scopes.join(" "));
    }
    for resource in &from.resources {
        form = form.with("resource", resource);
    }
    if let Some(audience) = &from.audience {
        form = form.with("audience", audience);
    }
    if shown == Shown::InForm {
        form = form.with("client_id", &from.client_id).with_secret("client_secret", &from.client_secret);
    }
    let mut request = post_form(endpoint, &form)?;
    if shown == Shown::InHeader {
        add_client(&mut request, &from.client_id, &from.client_secret)?;
    }
    client.send(request, &[&from.client_secret]).await?.token(now)
}

/// What a provider says of itself, as far as it matters (OpenID Connect Discovery 1.0 section 3).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// The token endpoint of `issuer`, and how clients may show their secrets there. A provider that does not say means
/// the header (OpenID Connect Discovery 1.0 section 3), but many forget to, so that it counts as unknown.
async fn discover(client: &Client, issuer: &str) -> Result<(String, Option<Vec<String>>), IssueError> {
    let plain = issuer.trim_end_matches('/');
    let request = get(&format!("{plain}/.well-known/openid-configuration"))?;
    let answer = client.send(request, &[]).await?;
    let metadata: Metadata = answer.json("JSON with an issuer and a token_endpoint")?;
    // OpenID Connect Discovery 1.0 section 4.3; a slash at the end is forgiven.
    if metadata.issuer.trim_end_matches('/') != plain {
        return Err(answer.unreadable("expected the issuer to be the one that was asked"));
    }
    if plain.starts_with("https:") && !metadata.token_endpoint.starts_with("https:") {
        return Err(answer.unreadable("expected a token_endpoint that is as safe as the issuer"));
    }
    Ok((metadata.token_endpoint, metadata.token_endpoint_auth_methods_supported))
}

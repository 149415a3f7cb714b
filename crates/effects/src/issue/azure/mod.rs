//! Tokens of Microsoft Entra for Azure's models.
//!
//! Source: Microsoft identity platform, "OAuth 2.0 client credentials flow" (v2.0 endpoint); names of variables as in
//! the Azure SDKs.

mod arc;
mod managed;

use std::time::SystemTime;

use tollgate_terms::Secret;

use super::form::{Form, escaped};
use super::request::post_form;
use super::{Client, Environment, IssueError, Issued, file};

pub use arc::arc_identity;
pub use managed::managed_identity;

/// The variable with the address of a proxy for Entra, for [`Client::proxied_by`].
pub const PROXY_VARIABLE: &str = "AI_GATEWAY_AZURE_PROXY_URL";

/// Entra in the public cloud.
const AUTHORITY: &str = "https://login.microsoftonline.com";

/// What tokens are for: all of Azure's AI services.
const RESOURCE: &str = "https://cognitiveservices.azure.com";

/// An application that Entra knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Address of another Entra than that of the public cloud.
    pub authority: Option<String>,
    /// The tenant that the application belongs to.
    pub tenant_id: String,
    /// Id of the application.
    pub client_id: String,
}

impl Application {
    /// The application that the environment names: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_AUTHORITY_HOST`.
    ///
    /// # Errors
    /// [`IssueError::Misconfigured`] when one of the first two is not set.
    pub fn of_environment(environment: &Environment) -> Result<Self, IssueError> {
        Ok(Self {
            authority: environment.get("AZURE_AUTHORITY_HOST").map(str::to_owned),
            tenant_id: environment.required("AZURE_TENANT_ID")?.to_owned(),
            client_id: environment.required("AZURE_CLIENT_ID")?.to_owned(),
        })
    }

    fn token_endpoint(&self) -> String {
        let authority = self.authority.as_deref().unwrap_or(AUTHORITY).trim_end_matches('/');
        // The SDKs take a bare host as well.
        let scheme = if authority.contains("://") { "" } else { "https://" };
        format!("{scheme}{authority}/{}/oauth2/v2.0/token", escaped(&self.tenant_id))
    }

    fn form(&self) -> Form<'static> {
        Form::default()
            .with("grant_type", "client_credentials")
            .with("client_id", &self.client_id)
            .with("scope", &format!("{RESOURCE}/.default"))
    }
}

/// A token for an application that proves itself by its secret, asked for at `now`.
///
/// # Errors
/// As Entra answers.
pub async fn client_secret(
    client: &Client,
    application: &Application,
    secret: &Secret,
    now: SystemTime,
) -> Result<Issued<Secret>, IssueError> {
    let form = application.form().with_secret("client_secret", secret);
    let request = post_form(&application.token_endpoint(), &form)?;
    client.send(request, form.hidden()).await?.token(now)
}

/// A token for an application that proves itself by `assertion`, the token of a provider that it trusts
/// ("Third case: Access token request with a federated credential"), asked for at `now`.
///
/// # Errors
/// As Entra answers.
pub async fn federated(
    client: &Client,
    application: &Application,
    assertion: &Secret,
    now: SystemTime,
) -> Result<Issued<Secret>, IssueError> {
    let form = application
        .form()
        .with("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        .with_secret("client_assertion", assertion);
    let request = post_form(&application.token_endpoint(), &form)?;
    client.send(request, form.hidden()).await?.token(now)
}

/// A token for an application that proves itself by the token in the file `AZURE_FEDERATED_TOKEN_FILE`, which
/// Kubernetes renews (Microsoft Entra Workload ID), asked for at `now`.
///
/// # Errors
/// As Entra answers, and when there is no such file.
pub async fn workload_identity(
    client: &Client,
    environment: &Environment,
    application: &Application,
    now: SystemTime,
) -> Result<Issued<Secret>, IssueError> {
    let text = file::read(environment.required("AZURE_FEDERATED_TOKEN_FILE")?).await?;
    let assertion = Secret::new(text.expose().trim().to_owned());
    federated(client, application, &assertion, now).await
}

/// A token for the process itself, asked for at `now`: by workload identity where the environment names a token file,
/// else by the managed identity of the machine, `client_id` if it has several.
///
/// # Errors
/// As [`workload_identity`] and [`managed_identity`].
pub async fn ambient(
    client: &Client,
    environment: &Environment,
    application: &Application,
    now: SystemTime,
) -> Result<Issued<Secret>, IssueError> {
    if environment.get("AZURE_FEDERATED_TOKEN_FILE").is_some() {
        return workload_identity(client, environment, application, now).await;
    }
    managed_identity(client, environment, Some(&application.client_id), now).await
}

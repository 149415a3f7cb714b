//! How each source of a credential is asked. Who may be asked, and with what, is as configured; nothing is remembered here.

use tollgate_config::bundle::{
    AwsSource, AzureIdentity, AzureSource, ClientId, CredentialSource, GoogleSource, OidcClient, Proof,
    SecretRef,
};
use tollgate_terms::Secret;

use crate::issue::aws::{self, Role};
use crate::issue::azure::{self, Application};
use crate::issue::google::{self, Addresses, Federation, ServiceAccount};
use crate::issue::{Client, IssueError, Issued, oidc};
use crate::live::Surroundings;
use crate::{Secrets, clock};

/// Asks `source` for a credential, once.
///
/// # Errors
/// When it has none.
pub(crate) async fn ask(
    source: &CredentialSource,
    secrets: &Secrets,
    around: &Surroundings,
) -> Result<Issued<Proof>, IssueError> {
    let Surroundings { environment, client } = around;
    match source {
        CredentialSource::Aws(AwsSource::Environment) => {
            Ok(map(aws::default_chain(client, environment, clock::now()).await?, Proof::Keys))
        }
        CredentialSource::Aws(AwsSource::Oidc { client: from, region, role_arn, session_name }) => {
            let token = token(client, from, secrets).await?;
            let role = Role { arn: role_arn, session_name, region: Some(region) };
            let keys = aws::assume_role(client, environment, role, &token).await?;
            Ok(map(keys, Proof::Keys))
        }
        CredentialSource::Azure(identity) => {
            Ok(map(azure_token(identity, secrets, around).await?, Proof::Secret))
        }
        CredentialSource::Google(source) => {
            Ok(map(google_token(source, secrets, around).await?, Proof::Secret))
        }
        CredentialSource::Key(_) | CredentialSource::Aws(AwsSource::CredentialsFile { .. }) => {
            Err(IssueError::Misconfigured("what is as it was configured is not asked for".to_owned()))
        }
    }
}

async fn azure_token(
    identity: &AzureIdentity,
    secrets: &Secrets,
    Surroundings { environment, client }: &Surroundings,
) -> Result<Issued<Secret>, IssueError> {
    let application = Application {
        authority: environment.get("AZURE_AUTHORITY_HOST").map(str::to_owned),
        tenant_id: identity.tenant_id.clone(),
        client_id: identity.client_id.clone(),
    };
    let proxied = client.clone().proxied_by(environment, azure::PROXY_VARIABLE)?;
    match &identity.source {
        AzureSource::ClientSecret(secret) => {
            azure::client_secret(&proxied, &application, &value(secret, secrets)?, clock::now()).await
        }
        AzureSource::Oidc(from) => {
            let assertion = token(client, from, secrets).await?;
            azure::federated(&proxied, &application, &assertion, clock::now()).await
        }
        AzureSource::Environment => azure::ambient(&proxied, environment, &application, clock::now()).await,
    }
}

async fn google_token(
    source: &GoogleSource,
    secrets: &Secrets,
    Surroundings { environment, client }: &Surroundings,
) -> Result<Issued<Secret>, IssueError> {
    let proxied = client.clone().proxied_by(environment, google::PROXY_VARIABLE)?;
    match source {
        GoogleSource::ServiceAccount(key) => {
            let account = ServiceAccount::parse(&value(key, secrets)?)?;
            google::service_account(&proxied, &account, clock::now()).await
        }
        GoogleSource::Federation(federation) => {
            let subject = token(client, &federation.client, secrets).await?;
            let federation = Federation {
                project: federation.project_id.clone(),
                pool: federation.pool.clone(),
                provider: federation.provider.clone(),
                impersonate: federation.impersonate.clone(),
                addresses: Addresses::default(),
            };
            google::federated(&proxied, &federation, &subject, clock::now()).await
        }
        GoogleSource::Environment => google::ambient(&proxied, environment, clock::now()).await,
    }
}

/// A token of an OpenID provider.
async fn token(client: &Client, from: &OidcClient, secrets: &Secrets) -> Result<Secret, IssueError> {
    let token = oidc::token(client, &asked(from, secrets)?, clock::now()).await?;
    Ok(token.value)
}

/// What the source is called in the log. Names of Secrets may be told.
pub(crate) fn name(source: &CredentialSource) -> String {
    match source {
        CredentialSource::Key(key) => format!("Secret {}/{}", key.namespace, key.name),
        CredentialSource::Aws(AwsSource::CredentialsFile { file, .. }) => {
            format!("Secret {}/{}", file.namespace, file.name)
        }
        CredentialSource::Aws(AwsSource::Oidc { client, role_arn, .. }) => {
            format!("role {role_arn} by {}", client.issuer)
        }
        CredentialSource::Aws(AwsSource::Environment) => "default chain of AWS".to_owned(),
        CredentialSource::Azure(identity) => {
            format!("application {} of Azure tenant {}", identity.client_id, identity.tenant_id)
        }
        CredentialSource::Google(source) => match source {
            GoogleSource::ServiceAccount(key) => {
                format!("service account of Google Cloud in Secret {}/{}", key.namespace, key.name)
            }
            GoogleSource::Federation(federation) => {
                format!("pool {} of Google Cloud by {}", federation.pool, federation.client.issuer)
            }
            GoogleSource::Environment => "application default credentials of Google Cloud".to_owned(),
        },
    }
}

fn map<T, U>(issued: Issued<T>, into: impl FnOnce(T) -> U) -> Issued<U> {
    Issued { value: into(issued.value), expires_at: issued.expires_at }
}

fn asked(from: &OidcClient, secrets: &Secrets) -> Result<oidc::OidcClient, IssueError> {
    let client_id = match &from.client_id {
        ClientId::Written(id) => id.clone(),
        ClientId::Secret(reference) => value(reference, secrets)?.expose().to_owned(),
    };
    Ok(oidc::OidcClient {
        issuer: from.issuer.clone(),
        token_endpoint: from.token_endpoint.clone(),
        client_id,
        client_secret: value(&from.client_secret, secrets)?,
        scopes: from.scopes.clone(),
        resources: from.resources.clone(),
        audience: from.audience.clone(),
        grant_type: from.grant_type.clone(),
    })
}

/// A value of a Secret without the white space around it: files of secrets end in line breaks.
fn value(reference: &SecretRef, secrets: &Secrets) -> Result<Secret, IssueError> {
    let value = secrets.get(reference).map(|value| value.expose().trim()).filter(|value| !value.is_empty());
    value.map(|value| Secret::new(value.to_owned())).ok_or_else(|| {
        let SecretRef { namespace, name, key } = reference;
        IssueError::Misconfigured(format!("no key {key:?} in Secret \"{namespace}/{name}\""))
    })
}

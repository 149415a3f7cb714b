//! How each source of a credential is asked. Who may be asked, and with what, is as configured; nothing is remembered here.

use tollgate_config::bundle::{AwsSource, ClientId, CredentialSource, OidcClient, Proof, SecretRef};
use tollgate_terms::Secret;

use crate::issue::aws::{self, Role};
use crate::issue::{IssueError, Issued, oidc};
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
            Ok(map(aws::default_chain(client, environment).await?, Proof::Keys))
        }
        CredentialSource::Aws(AwsSource::Oidc { client: from, region, role_arn, session_name }) => {
            let proxied = client.clone().proxied_by(environment, aws::PROXY_VARIABLE)?;
            let token = oidc::token(&proxied, &asked(from, secrets)?, clock::now()).await?;
            let role = Role { arn: role_arn, session_name, region: Some(region) };
            let keys = aws::assume_role(client, environment, role, &token.value).await?;
            Ok(map(keys, Proof::Keys))
        }
        // What is as it was configured is not asked for.
        CredentialSource::Key(_)
        | CredentialSource::Aws(AwsSource::CredentialsFile { .. })
        | CredentialSource::Azure(_)
        | CredentialSource::Google(_) => {
            Err(IssueError::Misconfigured("credentials of this source are not fetched yet".to_owned()))
        }
    }
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
        CredentialSource::Google(_) => "Google Cloud".to_owned(),
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

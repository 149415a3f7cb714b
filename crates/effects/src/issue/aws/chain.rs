//! The default chain: the first place that is named in the environment has the keys, or the chain fails there.
//!
//! The order is that of AWS's SDKs: variables, web identity, shared files, container, machine.

use std::time::SystemTime;

use tollgate_config::bundle::SigningKeys;
use tollgate_terms::Secret;

use super::sts::{Role, assume_role};
use super::{container, instance, profile};
use crate::issue::{Client, Environment, IssueError, Issued, file};

const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const ROLE_ARN: &str = "AWS_ROLE_ARN";
pub(super) const SESSION_NAME: &str = "AWS_ROLE_SESSION_NAME";
pub(super) const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// The keys of this process; `now` is the time of day, for signatures and ends.
///
/// # Errors
/// When there are none, or those who have them do not give them.
pub async fn default_chain(
    client: &Client,
    environment: &Environment,
    now: SystemTime,
) -> Result<Issued<SigningKeys>, IssueError> {
    if let Some(value) = keys_of_variables(environment)? {
        return Ok(Issued { value, expires_at: None });
    }
    if let Some(keys) = keys_of_web_identity(client, environment).await? {
        return Ok(keys);
    }
    if let Some(keys) = profile::keys_of_profile(client, environment, now).await? {
        return Ok(keys);
    }
    if let Some(keys) = container::keys_of_container(client, environment).await? {
        return Ok(keys);
    }
    let keys = instance::keys_of_instance(client, environment).await?;
    keys.ok_or_else(|| {
        let message = "no keys of AWS: neither variables, nor a token of an identity, nor a shared file, nor a container has any";
        IssueError::Misconfigured(message.to_owned())
    })
}

/// The keys in the environment itself.
pub(super) fn keys_of_variables(environment: &Environment) -> Result<Option<SigningKeys>, IssueError> {
    let secret = |name| environment.get(name).map(|value| Secret::new(value.trim().to_owned()));
    match (secret("AWS_ACCESS_KEY_ID"), secret("AWS_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret_key)) => {
            Ok(Some(SigningKeys { id, secret: secret_key, token: secret("AWS_SESSION_TOKEN") }))
        }
        (None, None) => Ok(None),
        _ => Err(IssueError::Misconfigured(
            "expected both or none of the environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .to_owned(),
        )),
    }
}

/// As Kubernetes gives an identity to a pod on EKS (IRSA).
async fn keys_of_web_identity(
    client: &Client,
    environment: &Environment,
) -> Result<Option<Issued<SigningKeys>>, IssueError> {
    let Some(path) = environment.get(TOKEN_FILE) else { return Ok(None) };
    let arn = environment.required(ROLE_ARN)?;
    let token = file::read_trimmed(path).await?;
    let role = Role {
        arn,
        session_name: environment.get(SESSION_NAME).unwrap_or("ai-gateway"),
        region: REGIONS.into_iter().find_map(|name| environment.get(name)),
    };
    assume_role(client, environment, role, &token).await.map(Some)
}

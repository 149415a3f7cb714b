//! Keys of a profile: its own, those of a role that it names, of a program, or of a person's sign-on.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Assume role credential provider", "Process credential provider" and "IAM Identity Center
//! credential provider". A role goes before the keys that stand beside it, which are what it is assumed with if the profile is its own source.

use std::time::SystemTime;

use tollgate_config::bundle::{AwsProfile, SigningKeys};

use super::chain::{REGIONS, SESSION_NAME, keys_of_variables};
use super::shared_files::SharedFiles;
use super::sts::{Role, Terms, assume_role, assume_role_by_keys};
use super::{container, instance, process, sso};
use crate::issue::{Client, Environment, IssueError, Issued, file};

const PROFILE: &str = "AWS_PROFILE";

/// Most roles that are assumed one by another.
const ROLES_MAX: usize = 8;

/// The keys of the profile that the environment names, or of `default`; `None` if there is no such profile, or it says nothing of keys.
///
/// # Errors
/// [`IssueError::Misconfigured`] when the profile contradicts itself, or is named and has no keys; those of whom it leads to.
pub(super) async fn keys_of_profile(
    client: &Client,
    environment: &Environment,
    now: SystemTime,
) -> Result<Option<Issued<SigningKeys>>, IssueError> {
    let named = environment.get(PROFILE);
    let files = SharedFiles::read(environment).await?;
    let around = Around { client, environment, files: &files, now };
    let found = match files.find(named.unwrap_or("default")) {
        Some(profile) => around.keys_of(profile).await?,
        None => None,
    };
    match (found, named) {
        (None, Some(named)) => {
            Err(misconfigured(format!("{PROFILE} names {named:?}, which has no keys in any file")))
        }
        (found, _) => Ok(found),
    }
}

/// What keys are looked for with.
struct Around<'a> {
    client: &'a Client,
    environment: &'a Environment,
    files: &'a SharedFiles,
    now: SystemTime,
}

impl<'a> Around<'a> {
    /// The keys of `profile`, or of the last of the roles that lead from one profile to another.
    async fn keys_of(&self, profile: AwsProfile<'a>) -> Result<Option<Issued<SigningKeys>>, IssueError> {
        let mut roles = Vec::new();
        let mut last = profile;
        while last.get("role_arn").is_some() && last.get("web_identity_token_file").is_none() {
            if roles.len() == ROLES_MAX {
                return Err(misconfigured(format!(
                    "the profiles from {:?} on lead to more than {ROLES_MAX} roles",
                    last.name()
                )));
            }
            let source = last.get("source_profile").filter(|_| last.get("credential_source").is_none());
            roles.push(last.clone());
            match source {
                // Its own keys, beside the role that they are for.
                Some(name) if name == last.name() && last.has_keys() => break,
                Some(name) => {
                    let absent =
                        || misconfigured(format!("no profile {name:?}, the source of {:?}", last.name()));
                    last = self.files.find(name).ok_or_else(absent)?;
                }
                None => break,
            }
        }
        let mut keys = match roles.last() {
            Some(role) if role.get("credential_source").is_some() => Some(self.keys_by_source(role).await?),
            Some(role) if role.get("source_profile").is_none() => {
                return Err(misconfigured(format!(
                    "role_arn in profile {:?} without source_profile, credential_source or web_identity_token_file",
                    role.name()
                )));
            }
            _ => self.own_keys(&last).await?,
        };
        for role in roles.iter().rev() {
            let Some(by) = keys else {
                return Err(misconfigured(format!("profile {:?} has no keys for a role", last.name())));
            };
            keys = Some(self.assume(role, by.value).await?);
        }
        Ok(keys)
    }

    /// The keys that a profile has without another one.
    async fn own_keys(&self, profile: &AwsProfile<'a>) -> Result<Option<Issued<SigningKeys>>, IssueError> {
        let Self { client, environment, files, now } = self;
        if let (Some(_), Some(path)) = (profile.get("role_arn"), profile.get("web_identity_token_file")) {
            let token = file::read_trimmed(path).await?;
            let role = self.role(profile)?;
            return assume_role(client, environment, role, &token).await.map(Some);
        }
        if profile.has_keys() {
            let value = profile.keys()?;
            return Ok(Some(Issued { value, expires_at: None }));
        }
        if let Some(keys) = sso::keys_of_sign_on(client, environment, files, profile, *now).await? {
            return Ok(Some(keys));
        }
        match profile.get("credential_process") {
            Some(command) => process::keys_of_process(environment, command).await.map(Some),
            None => Ok(None),
        }
    }

    /// The keys that `credential_source` names.
    async fn keys_by_source(&self, profile: &AwsProfile<'a>) -> Result<Issued<SigningKeys>, IssueError> {
        let Self { client, environment, .. } = self;
        let source = profile.get("credential_source").unwrap_or_default();
        let keys = match (source, profile.get("source_profile")) {
            (_, Some(_)) => {
                return Err(misconfigured(format!(
                    "both source_profile and credential_source in profile {:?}",
                    profile.name()
                )));
            }
            ("Environment", None) => {
                keys_of_variables(environment)?.map(|value| Issued { value, expires_at: None })
            }
            ("EcsContainer", None) => container::keys_of_container(client, environment).await?,
            ("Ec2InstanceMetadata", None) => instance::keys_of_instance(client, environment).await?,
            (other, None) => {
                return Err(misconfigured(format!(
                    "credential_source {other:?} in profile {:?}: expected Environment, EcsContainer or Ec2InstanceMetadata",
                    profile.name()
                )));
            }
        };
        keys.ok_or_else(|| {
            misconfigured(format!("{source}, the source of profile {:?}, has no keys", profile.name()))
        })
    }

    async fn assume(
        &self,
        profile: &AwsProfile<'a>,
        keys: SigningKeys,
    ) -> Result<Issued<SigningKeys>, IssueError> {
        if profile.get("mfa_serial").is_some() {
            return Err(misconfigured(format!(
                "mfa_serial in profile {:?}: nobody is here to type a code",
                profile.name()
            )));
        }
        let terms =
            Terms { external_id: profile.get("external_id"), duration_s: profile.get("duration_seconds") };
        assume_role_by_keys(self.client, self.environment, self.role(profile)?, terms, keys, self.now).await
    }

    fn role(&self, profile: &AwsProfile<'a>) -> Result<Role<'a>, IssueError> {
        let variable = |names: &[&str]| names.iter().find_map(|name| self.environment.get(name));
        Ok(Role {
            arn: profile.required("role_arn")?,
            session_name: profile
                .get("role_session_name")
                .or_else(|| variable(&[SESSION_NAME]))
                .unwrap_or("ai-gateway"),
            region: variable(&REGIONS).or_else(|| profile.get("region")),
        })
    }
}

fn misconfigured(message: String) -> IssueError {
    IssueError::Misconfigured(message)
}

//! Keys in the files that AWS's tools share, `~/.aws/credentials` and `~/.aws/config`.

use tollgate_config::bundle::{ProfileError, SigningKeys, profile_keys};

use crate::issue::{Environment, IssueError, file};

/// By variable, and where it is without one.
const FILES: [(&str, &str); 2] =
    [("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), ("AWS_CONFIG_FILE", ".aws/config")];

const PROFILE: &str = "AWS_PROFILE";

/// The keys of the profile that the environment names, or `default`; `None` if there is no such profile.
///
/// # Errors
/// [`IssueError::Misconfigured`] when the profile is there and has no keys, or is named and not there.
pub(super) async fn keys_of_profile(environment: &Environment) -> Result<Option<SigningKeys>, IssueError> {
    let profile = environment.get(PROFILE).unwrap_or("default");
    let mut incomplete = None;
    for (variable, usual) in FILES {
        let path = match (environment.get(variable), environment.get("HOME")) {
            (Some(path), _) => path.to_owned(),
            (None, Some(home)) => format!("{home}/{usual}"),
            (None, None) => continue,
        };
        if !file::exists(&path).await {
            continue;
        }
        match profile_keys(file::read(&path).await?.expose(), profile) {
            Ok(keys) => return Ok(Some(keys)),
            Err(ProfileError::Absent(_)) => {}
            // A config file has profiles with a region and nothing else, whose keys are in the other file or elsewhere.
            Err(ProfileError::Incomplete { setting: "aws_access_key_id", .. }) => {}
            Err(error) => incomplete = incomplete.or(Some(format!("{path}: {error}"))),
        }
    }
    match (incomplete, environment.get(PROFILE)) {
        (Some(incomplete), _) => Err(IssueError::Misconfigured(incomplete)),
        (None, Some(named)) => Err(IssueError::Misconfigured(format!(
            "{PROFILE} names {named:?}, which has no keys in any file"
        ))),
        (None, None) => Ok(None),
    }
}

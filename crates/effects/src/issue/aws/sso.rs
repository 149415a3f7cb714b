//! Keys for somebody who has signed on at IAM Identity Center, by the token that AWS's tools have left in their cache.
//!
//! Source: AWS SDKs and Tools Reference Guide, "IAM Identity Center credential provider", and the API reference of its portal, `GetRoleCredentials`.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use http::HeaderName;
use serde::Deserialize;
use tollgate_config::bundle::{AwsProfile, SigningKeys};
use tollgate_terms::Secret;

use super::shared_files::SharedFiles;
use crate::issue::form::Form;
use crate::issue::request::{add_header, get};
use crate::issue::{Client, Environment, IssueError, Issued, file, read_moment};

/// Addresses that the SDKs take in the place of the portal's own.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_SSO", "AWS_ENDPOINT_URL"];

const TOKEN: HeaderName = HeaderName::from_static("x-amz-sso_bearer_token");

/// The token of a sign-on, as the tools keep it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cached {
    access_token: String,
    expires_at: String,
}

/// The answer of the portal.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    role_credentials: RoleCredentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoleCredentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    /// Milliseconds since 1970.
    expiration: u64,
}

/// The keys for the role that `profile` names at IAM Identity Center, or `None` where it names none.
///
/// # Errors
/// Those of the portal, and [`IssueError::Misconfigured`] when nobody has signed on, or it is over.
pub(super) async fn keys_of_sign_on(
    client: &Client,
    environment: &Environment,
    files: &SharedFiles,
    profile: &AwsProfile<'_>,
    now: SystemTime,
) -> Result<Option<Issued<SigningKeys>>, IssueError> {
    // What the token is kept under: the session's name, or the address in a profile without one.
    let (key, region) = match (profile.get("sso_session"), profile.get("sso_start_url")) {
        (Some(session), _) => {
            let section = format!("sso-session {session}");
            let absent = || IssueError::Misconfigured(format!("no section [{section}]"));
            let section = files.find(&section).ok_or_else(absent)?;
            (session, section.required("sso_region")?.to_owned())
        }
        (None, Some(url)) => (url, profile.required("sso_region")?.to_owned()),
        (None, None) => return Ok(None),
    };
    let (account, role) = (profile.required("sso_account_id")?, profile.required("sso_role_name")?);
    let token = token(environment, key, now).await?;
    let query = Form::default().with("role_name", role).with("account_id", account);
    let endpoint = ENDPOINTS.into_iter().find_map(|name| environment.get(name)).map(str::to_owned);
    let endpoint = endpoint.unwrap_or_else(|| format!("https://portal.sso.{region}.amazonaws.com"));
    let mut request =
        get(&format!("{}/federation/credentials?{}", endpoint.trim_end_matches('/'), query.text()))?;
    add_header(&mut request, TOKEN, token.expose())?;
    let answer = client.send(request, &[&token]).await?;
    let RoleCredentials { access_key_id, secret_access_key, session_token, expiration } =
        answer.json::<Answered>("JSON with roleCredentials")?.role_credentials;
    let value = SigningKeys {
        id: Secret::new(access_key_id),
        secret: Secret::new(secret_access_key),
        token: Some(Secret::new(session_token)),
    };
    let expires_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(expiration));
    Ok(Some(Issued { value, expires_at }))
}

/// The token that the tools keep under `key`.
async fn token(environment: &Environment, key: &str, now: SystemTime) -> Result<Secret, IssueError> {
    let home = environment.required("HOME")?;
    let path = format!("{home}/.aws/sso/cache/{}.json", name_of(key));
    let again = |why: &str| IssueError::Misconfigured(format!("{path} {why}: sign on with `aws sso login`"));
    if !file::exists(&path).await {
        return Err(again("is not there"));
    }
    let text = file::read(&path).await?;
    let cached: Cached = serde_json::from_str(text.expose()).map_err(|_| again("has no token"))?;
    // Old tools end it with the name of the zone.
    let end = read_moment(&cached.expires_at.replace("UTC", "Z"))
        .ok_or_else(|| again("does not say when its token ends"))?;
    if end <= now {
        return Err(again("has a token that has ended"));
    }
    Ok(Secret::new(cached.access_token))
}

/// The name of the file for `key`: its SHA-1, which protects nothing here.
fn name_of(key: &str) -> String {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut name, byte| {
        // Writing to a text does not fail.
        let _ = write!(name, "{byte:02x}");
        name
    })
}

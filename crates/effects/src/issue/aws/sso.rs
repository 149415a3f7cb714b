//! Keys for somebody who has signed on at IAM Identity Center, by the token that AWS's tools have left in their cache. One of a session is renewed
//! there.
//!
//! Source: AWS SDKs and Tools Reference Guide, "IAM Identity Center credential provider"; the API reference of its portal, `GetRoleCredentials`, and of
//! its OpenID service, `CreateToken`; botocore, `SSOTokenProvider`.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use http::HeaderName;
use serde::{Deserialize, Serialize};
use tollgate_config::bundle::{AwsProfile, SigningKeys};
use tollgate_terms::Secret;

use super::shared_files::SharedFiles;
use crate::issue::form::Form;
use crate::issue::moment::write_moment;
use crate::issue::request::{add_header, get, post_json};
use crate::issue::{Client, Environment, IssueError, Issued, file, read_moment};

/// Addresses that the SDKs take in the place of the portal's own.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_SSO", "AWS_ENDPOINT_URL"];

/// The same for its OpenID service.
const OIDC_ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_SSO_OIDC", "AWS_ENDPOINT_URL"];

/// How long before its end a token is renewed.
const RENEWAL: Duration = Duration::from_secs(15 * 60);

const TOKEN: HeaderName = HeaderName::from_static("x-amz-sso_bearer_token");

/// The token of a sign-on, as the tools keep it, and what a session has to renew it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cached {
    access_token: String,
    expires_at: String,
    #[serde(flatten)]
    renewal: Option<Renewal>,
    /// Whatever else they keep there.
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Renewal {
    refresh_token: String,
    client_id: String,
    client_secret: String,
    registration_expires_at: String,
}

/// The answer of the OpenID service.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Renewed {
    access_token: String,
    expires_in: u64,
    refresh_token: Option<String>,
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
    let token = token(client, environment, key, &region, now).await?;
    let query = Form::default().with("role_name", role).with("account_id", account);
    let endpoint = endpoint(environment, ENDPOINTS, || format!("https://portal.sso.{region}.amazonaws.com"));
    let mut request = get(&format!("{endpoint}/federation/credentials?{}", query.text()))?;
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

/// The address that one of the variables names, or the usual one.
fn endpoint(environment: &Environment, names: [&str; 2], usual: impl FnOnce() -> String) -> String {
    let named = names.into_iter().find_map(|name| environment.get(name));
    named.map_or_else(usual, |named| named.trim_end_matches('/').to_owned())
}

/// The token that the tools keep under `key`, renewed where it ends soon and can be.
async fn token(
    client: &Client,
    environment: &Environment,
    key: &str,
    region: &str,
    now: SystemTime,
) -> Result<Secret, IssueError> {
    let home = environment.required("HOME")?;
    let path = format!("{home}/.aws/sso/cache/{}.json", name_of(key));
    let again = |why: &str| IssueError::Misconfigured(format!("{path} {why}: sign on with `aws sso login`"));
    if !file::exists(&path).await {
        return Err(again("is not there"));
    }
    let text = file::read(&path).await?;
    let cached: Cached = serde_json::from_str(text.expose()).map_err(|_| again("has no token"))?;
    let end = moment(&cached.expires_at).ok_or_else(|| again("does not say when its token ends"))?;
    if end > now + RENEWAL {
        return Ok(Secret::new(cached.access_token));
    }
    let is_registered =
        |renewal: &Renewal| moment(&renewal.registration_expires_at).is_some_and(|end| end > now);
    let failed = match &cached.renewal {
        Some(renewal) if is_registered(renewal) => {
            match renewed(client, environment, region, renewal).await {
                Ok(renewed) => return Ok(keep(&path, cached, renewed, now).await),
                Err(failed) => Some(failed),
            }
        }
        _ => None,
    };
    match failed {
        _ if end > now => Ok(Secret::new(cached.access_token)),
        None => Err(again("has a token that has ended")),
        Some(IssueError::Refused { service, status, said }) => {
            let why = format!("has a token that {service} does not renew ({status} {said})");
            Err(again(&why))
        }
        Some(failed) => Err(failed),
    }
}

/// A token for one that ends.
async fn renewed(
    client: &Client,
    environment: &Environment,
    region: &str,
    renewal: &Renewal,
) -> Result<Renewed, IssueError> {
    let endpoint = endpoint(environment, OIDC_ENDPOINTS, || format!("https://oidc.{region}.amazonaws.com"));
    let body = serde_json::json!({
        "grantType": "refresh_token",
        "clientId": renewal.client_id,
        "clientSecret": renewal.client_secret,
        "refreshToken": renewal.refresh_token,
    });
    let request = post_json(&format!("{endpoint}/token"), "application/json", &body)?;
    let hidden = [&renewal.client_secret, &renewal.refresh_token].map(|text| Secret::new(text.clone()));
    let answer = client.send(request, &hidden.each_ref()).await?;
    answer.json("JSON with accessToken and expiresIn")
}

/// Puts a renewed token into the cache, for the tools and for the next time: a token to renew with may be good once only.
async fn keep(path: &str, mut cached: Cached, renewed: Renewed, now: SystemTime) -> Secret {
    let Renewed { access_token, expires_in, refresh_token } = renewed;
    let end = now.checked_add(Duration::from_secs(expires_in)).unwrap_or(now);
    cached.access_token.clone_from(&access_token);
    cached.expires_at = write_moment(end);
    if let (Some(renewal), Some(refresh_token)) = (&mut cached.renewal, refresh_token) {
        renewal.refresh_token = refresh_token;
    }
    let text = serde_json::to_string(&cached).unwrap_or_default();
    // Where it cannot be kept it serves all the same: the keys that it is shown for are good for a while, and somebody can sign on until then.
    let _ = file::replace(path, Secret::new(text)).await;
    Secret::new(access_token)
}

/// Old tools end a moment with the name of the zone.
fn moment(text: &str) -> Option<SystemTime> {
    read_moment(&text.replace("UTC", "Z"))
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

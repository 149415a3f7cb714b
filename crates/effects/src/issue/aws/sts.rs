//! Keys of a role, for a token of an identity provider or for other keys, from AWS's Security Token Service.
//!
//! Source: AWS Security Token Service, API reference, `AssumeRoleWithWebIdentity` and `AssumeRole`.

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Request};
use tollgate_config::bundle::{Proof, SigningKeys};
use tollgate_terms::Secret;

use super::{keys, sign};
use crate::issue::form::Form;
use crate::issue::request::post_form;
use crate::issue::{Client, Environment, IssueError, Issued};

/// The variable with the address of a proxy to the service, as in Envoy AI Gateway.
pub const PROXY_VARIABLE: &str = "AI_GATEWAY_STS_PROXY_URL";

/// Addresses that the SDKs take in the place of the service's own.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"];

/// A role to assume.
#[derive(Debug, Clone, Copy)]
pub struct Role<'a> {
    /// Its ARN.
    pub arn: &'a str,
    /// What the session is called in AWS's logs.
    pub session_name: &'a str,
    /// The region whose service is asked; `None` for the global one.
    pub region: Option<&'a str>,
}

/// The keys of `role` for `token`.
///
/// # Errors
/// Those of the service.
pub async fn assume_role(
    client: &Client,
    environment: &Environment,
    role: Role<'_>,
    token: &Secret,
) -> Result<Issued<SigningKeys>, IssueError> {
    let form = asked("AssumeRoleWithWebIdentity", role).with_secret("WebIdentityToken", token);
    let request = request(environment, role, &form)?;
    send(client, environment, request, form.hidden()).await
}

/// What is asked of a role beside its name, where its owner wants it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Terms<'a> {
    /// What the owner of the role has told whoever may assume it.
    pub(super) external_id: Option<&'a str>,
    /// How long the keys are to last, in seconds, as it is written.
    pub(super) duration_s: Option<&'a str>,
}

/// The region in whose name requests to the global service are signed.
const GLOBAL_REGION: &str = "us-east-1";

/// The keys of `role` for `keys` that may assume it.
///
/// # Errors
/// Those of the service.
pub(super) async fn assume_role_by_keys(
    client: &Client,
    environment: &Environment,
    role: Role<'_>,
    terms: Terms<'_>,
    keys: SigningKeys,
    now: SystemTime,
) -> Result<Issued<SigningKeys>, IssueError> {
    let mut form = asked("AssumeRole", role);
    if let Some(external_id) = terms.external_id {
        form = form.with("ExternalId", external_id);
    }
    if let Some(duration_s) = terms.duration_s {
        form = form.with("DurationSeconds", duration_s);
    }
    let mut request = request(environment, role, &form)?;
    sign(&mut request, "sts", role.region.unwrap_or(GLOBAL_REGION), &Proof::Keys(keys), now)?;
    send(client, environment, request, &[]).await
}

fn asked<'a>(action: &'static str, role: Role<'_>) -> Form<'a> {
    Form::default()
        .with("Action", action)
        .with("Version", "2011-06-15")
        .with("RoleArn", role.arn)
        .with("RoleSessionName", role.session_name)
}

fn request(environment: &Environment, role: Role<'_>, form: &Form<'_>) -> Result<Request<Bytes>, IssueError> {
    let mut request = post_form(&endpoint(environment, role.region), form)?;
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/xml"));
    Ok(request)
}

async fn send(
    client: &Client,
    environment: &Environment,
    request: Request<Bytes>,
    hidden: &[&Secret],
) -> Result<Issued<SigningKeys>, IssueError> {
    let client = client.clone().proxied_by(environment, PROXY_VARIABLE)?;
    let answer = client.send(request, hidden).await?;
    let text = std::str::from_utf8(answer.body()).map_err(|_| answer.unreadable("expected text"))?;
    let credentials = element(text, "Credentials").unwrap_or_default();
    let part = |name: &str| element(credentials, name).map(|text| unescaped(text).into_owned());
    let parts = ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"].map(part);
    keys::made(parts).map_err(|reason| answer.unreadable(reason))
}

fn endpoint(environment: &Environment, region: Option<&str>) -> String {
    let named = ENDPOINTS.into_iter().find_map(|name| environment.get(name));
    match (named, region) {
        (Some(named), _) => named.to_owned(),
        (None, None) => "https://sts.amazonaws.com/".to_owned(),
        (None, Some(region)) => {
            // The partitions of China have a domain of their own.
            let end = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://sts.{region}.amazonaws.com{end}/")
        }
    }
}

/// The content of the first element called `name`. The answers of the service have neither attributes nor comments inside, and no element within one of
/// the same name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once(&format!("</{name}>"))?;
    Some(content.trim())
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    // Last, so that nothing is read twice.
    Cow::Owned(text.replace("&apos;", "'").replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn the_service_is_that_of_the_region_unless_the_environment_says_otherwise() {
        let plain = environment(&[]);
        assert_eq!(endpoint(&plain, Some("eu-west-1")), "https://sts.eu-west-1.amazonaws.com/");
        assert_eq!(endpoint(&plain, Some("cn-north-1")), "https://sts.cn-north-1.amazonaws.com.cn/");
        assert_eq!(endpoint(&plain, None), "https://sts.amazonaws.com/");
        let named = environment(&[("AWS_ENDPOINT_URL", "http://a"), ("AWS_ENDPOINT_URL_STS", "http://b")]);
        assert_eq!(endpoint(&named, Some("eu-west-1")), "http://b");
    }

    #[test]
    fn reads_elements() {
        let text = "<A><B> 1 </B><C>a&amp;lt;b</C></A><B>2</B>";
        assert_eq!(element(text, "B"), Some("1"));
        assert_eq!(element(text, "C").map(unescaped).as_deref(), Some("a&lt;b"));
        assert_eq!(element(text, "D"), None);
        assert_eq!(element("<B>1", "B"), None);
    }
}

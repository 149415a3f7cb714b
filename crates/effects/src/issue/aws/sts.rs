//! Keys of a role for a token of an identity provider, from AWS's Security Token Service.
//!
//! Source: AWS Security Token Service, API reference, `AssumeRoleWithWebIdentity`.

use std::borrow::Cow;

use http::HeaderValue;
use http::header::ACCEPT;
use tollgate_config::bundle::SigningKeys;
use tollgate_terms::Secret;

use super::keys;
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
    let form = Form::default()
        .with("Action", "AssumeRoleWithWebIdentity")
        .with("Version", "2011-06-15")
        .with("RoleArn", role.arn)
        .with("RoleSessionName", role.session_name)
        .with_secret("WebIdentityToken", token);
    let mut request = post_form(&endpoint(environment, role.region), &form)?;
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/xml"));
    let client = client.clone().proxied_by(environment, PROXY_VARIABLE)?;
    let answer = client.send(request, form.hidden()).await?;
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

//! Keys of a machine, from its metadata service, version 2: a token first, then the role, then its keys.
//!
//! Source: AWS, "Use the Instance Metadata Service to access instance metadata".

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use tollgate_config::bundle::SigningKeys;
use tollgate_terms::Secret;

use super::keys;
use crate::issue::form::escaped;
use crate::issue::request::{add_header, get};
use crate::issue::{Client, Environment, IssueError, Issued, ServiceAnswer};

/// How long each of its answers may take: it is on the machine, or it is not there.
const TIMEOUT: Duration = Duration::from_secs(2);

const DISABLED: &str = "AWS_EC2_METADATA_DISABLED";
const ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
const ENDPOINT_MODE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
const IPV4: &str = "http://169.254.169.254";
const IPV6: &str = "http://[fd00:ec2::254]";

const TOKEN_TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");

/// Long enough for the three requests.
const TTL_S: HeaderValue = HeaderValue::from_static("60");

/// The keys of the machine, or `None` where it is not to be asked.
///
/// # Errors
/// Those of the service.
pub(super) async fn keys_of_instance(
    client: &Client,
    environment: &Environment,
) -> Result<Option<Issued<SigningKeys>>, IssueError> {
    if environment.get(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let is_ipv6 = environment.get(ENDPOINT_MODE).is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
    let usual = if is_ipv6 { IPV6 } else { IPV4 };
    let endpoint = environment.get(ENDPOINT).unwrap_or(usual).trim_end_matches('/');
    let service = Service { client: client.direct().within(TIMEOUT), endpoint };
    let token = service.token().await?;
    let roles = service.metadata("", &token).await?;
    let role = text(&roles)?;
    let role = role.lines().next().unwrap_or_default().trim();
    if role.is_empty() {
        return Err(roles.unreadable("expected the name of a role: the machine has none"));
    }
    keys::read(&service.metadata(&escaped(role), &token).await?).map(Some)
}

struct Service<'a> {
    client: Client,
    endpoint: &'a str,
}

impl Service<'_> {
    async fn token(&self) -> Result<Secret, IssueError> {
        let mut request = get(&format!("{}/latest/api/token", self.endpoint))?;
        *request.method_mut() = Method::PUT;
        request.headers_mut().insert(TOKEN_TTL, TTL_S);
        let answer = self.client.send(request, &[]).await?;
        Ok(Secret::new(text(&answer)?.trim().to_owned()))
    }

    async fn metadata(&self, path: &str, token: &Secret) -> Result<ServiceAnswer, IssueError> {
        let mut request =
            get(&format!("{}/latest/meta-data/iam/security-credentials/{path}", self.endpoint))?;
        add_header(&mut request, TOKEN, token.expose())?;
        self.client.send(request, &[token]).await
    }
}

fn text(answer: &ServiceAnswer) -> Result<&str, IssueError> {
    std::str::from_utf8(answer.body()).map_err(|_| answer.unreadable("expected text"))
}

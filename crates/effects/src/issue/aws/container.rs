//! Keys of a container: of ECS, or of EKS Pod Identity.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Container credential provider".

use std::net::IpAddr;

use http::Uri;
use http::header::AUTHORIZATION;
use tollgate_config::bundle::SigningKeys;
use tollgate_terms::Secret;

use super::keys;
use crate::issue::http::address;
use crate::issue::request::{add_header, get};
use crate::issue::{Client, Environment, IssueError, Issued, file};

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// Where relative addresses lead.
const ECS: &str = "http://169.254.170.2";

/// Addresses that may be asked without TLS, beside those of the loopback: of ECS and of EKS, in both protocols.
const NEAR: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// The keys of the container, or `None` where the environment names no service for them.
///
/// # Errors
/// Those of the service, and [`IssueError::Misconfigured`] when the environment leads astray.
pub(super) async fn keys_of_container(
    client: &Client,
    environment: &Environment,
) -> Result<Option<Issued<SigningKeys>>, IssueError> {
    let url = match (environment.get(RELATIVE), environment.get(FULL)) {
        (Some(path), _) => format!("{ECS}{path}"),
        (None, Some(url)) => url.to_owned(),
        (None, None) => return Ok(None),
    };
    check(&address(&url)?)?;
    let mut request = get(&url)?;
    // The file is written anew before its token ends.
    let token = match environment.get(TOKEN_FILE) {
        Some(path) => Some(file::read(path).await?),
        None => environment.get(TOKEN).map(|token| Secret::new(token.to_owned())),
    };
    if let Some(token) = &token {
        add_header(&mut request, AUTHORIZATION, token.expose().trim())?;
    }
    let hidden: Vec<&Secret> = token.iter().collect();
    let answer = client.direct().send(request, &hidden).await?;
    keys::read(&answer).map(Some)
}

/// A token is shown to nobody but a service that is near, or proves its name.
fn check(url: &Uri) -> Result<(), IssueError> {
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if url.scheme_str() == Some("https") || is_loopback || NEAR.contains(&host) {
        return Ok(());
    }
    Err(IssueError::Misconfigured(format!("{FULL}: {host} may not be asked for keys without TLS")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_asked_for_only_near_by_or_over_tls() {
        for (url, is_allowed) in [
            ("http://127.0.0.1:9/a", true),
            ("http://[::1]/a", true),
            ("http://localhost/a", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("https://keys.example/a", true),
            ("http://keys.example/a", false),
            ("http://169.254.169.254/a", false),
            ("http://localhost.example/a", false),
        ] {
            assert_eq!(check(&url.parse().expect("a URL")).is_ok(), is_allowed, "{url}");
        }
    }
}

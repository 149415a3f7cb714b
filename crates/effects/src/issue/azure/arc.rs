//! Managed identities of Azure Arc: machines elsewhere, on which an agent gives tokens to whoever can read a file of its own.
//!
//! Source: Azure Arc, "Authenticate against Azure resources with Azure Arc-enabled servers". What the file may be is as in the Azure SDKs.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use tollgate_terms::Secret;

use super::super::form::Form;
use super::super::request::{add_header, get};
use super::super::{Client, IssueError, Issued, error, file};
use super::RESOURCE;

/// Where the agent has its files.
pub(super) const FOLDER: &str = "/var/opt/azcmagent/tokens";

/// No key of the agent is longer.
const KEY_BYTES_MAX: u64 = 4096;

/// A token for the identity of this machine from the agent at `endpoint`, which has its files in `folder`, asked for at `now`. Such a machine has one
/// identity only. No proxy is used.
///
/// # Errors
/// As the agent answers; [`IssueError::Misconfigured`] where it names another file than one of its own, or one that cannot be read.
pub async fn arc_identity(
    client: &Client,
    endpoint: &str,
    folder: &str,
    now: SystemTime,
) -> Result<Issued<Secret>, IssueError> {
    let client = client.direct();
    let challenge = client.challenge(request(endpoint)?).await?;
    let path = key_file(&challenge, folder).ok_or_else(|| {
        let asked = error::shortened(&challenge);
        IssueError::Misconfigured(format!(
            "Azure Arc's agent asks for {asked:?}: expected Basic with a .key file in {folder} as realm"
        ))
    })?;
    let text = file::read_within(path, KEY_BYTES_MAX).await?;
    let key = Secret::new(text.expose().trim().to_owned());
    let mut request = request(endpoint)?;
    add_header(&mut request, AUTHORIZATION, &format!("Basic {}", key.expose()))?;
    client.send(request, &[&key]).await?.token(now)
}

fn request(endpoint: &str) -> Result<Request<Bytes>, IssueError> {
    let query = Form::default().with("api-version", "2020-06-01").with("resource", RESOURCE);
    let mut request = get(&format!("{endpoint}?{}", query.text()))?;
    request.headers_mut().insert("metadata", HeaderValue::from_static("true"));
    Ok(request)
}

/// The file that is asked for. What it says is sent to whoever asked, so it has to be one of the agent: no path leads out of its folder.
fn key_file<'c>(challenge: &'c str, folder: &str) -> Option<&'c str> {
    let path = challenge.strip_prefix("Basic realm=")?.trim_matches('"');
    let name = path.strip_prefix(folder)?.strip_prefix('/')?;
    (name.ends_with(".key") && !name.contains('/')).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_of_the_agent_is_shown() {
        for (challenge, path) in [
            ("Basic realm=/keys/a.key", Some("/keys/a.key")),
            ("Basic realm=\"/keys/a.key\"", Some("/keys/a.key")),
            ("Basic realm=/keys/../etc/a.key", None),
            ("Basic realm=/keys/sub/a.key", None),
            ("Basic realm=/keys/a.key/../../shadow", None),
            ("Basic realm=/keys//a.key", None),
            ("Basic realm=/keys", None),
            ("Basic realm=/keys.key", None),
            ("Basic realm=/keysa.key", None),
            ("Basic realm=/keys/a.txt", None),
            ("Basic realm=/etc/a.key", None),
            ("Basic realm=a.key", None),
            ("Bearer realm=/keys/a.key", None),
            ("", None),
        ] {
            assert_eq!(key_file(challenge, "/keys"), path, "{challenge}");
        }
    }
}

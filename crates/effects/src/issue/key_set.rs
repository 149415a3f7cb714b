//! The keys of an issuer of tokens, as it publishes them.

use bytes::Bytes;

use super::{Client, IssueError, request};

/// Asks for the key set (RFC 7517 section 5) at `uri`.
///
/// # Errors
/// As [`Client::send`].
pub async fn key_set(client: &Client, uri: &str) -> Result<Bytes, IssueError> {
    Ok(client.send(request::get(uri)?, &[]).await?.body().clone())
}

//! Keys as the services inside of AWS write them, in JSON.

use serde::Deserialize;
use tollgate_config::bundle::SigningKeys;
use tollgate_terms::Secret;

use crate::issue::{IssueError, Issued, ServiceAnswer, read_moment};

/// The answer of the metadata services of machines and containers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    /// Only the metadata service of machines has it.
    code: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    token: Option<String>,
    expiration: Option<String>,
}

/// The keys in `answer`.
///
/// # Errors
/// [`IssueError::Unreadable`] when there are none.
pub(super) fn read(answer: &ServiceAnswer) -> Result<Issued<SigningKeys>, IssueError> {
    let written: Written = answer.json("JSON with keys")?;
    if written.code.is_some_and(|code| code != "Success") {
        return Err(answer.unreadable("it tells a failure instead of keys"));
    }
    let parts = [written.access_key_id, written.secret_access_key, written.token, written.expiration];
    made(parts).map_err(|reason| answer.unreadable(reason))
}

/// Keys that expire, of id, secret, token and end.
pub(super) fn made(parts: [Option<String>; 4]) -> Result<Issued<SigningKeys>, &'static str> {
    let [id, secret, token, end] = parts.map(|part| part.filter(|part| !part.is_empty()));
    let (Some(id), Some(secret)) = (id, secret) else {
        return Err("expected an access key id and a secret access key");
    };
    let expires_at = match end {
        None => None,
        Some(end) => Some(read_moment(&end).ok_or("expected a date and time in UTC as the end of the keys")?),
    };
    let value =
        SigningKeys { id: Secret::new(id), secret: Secret::new(secret), token: token.map(Secret::new) };
    Ok(Issued { value, expires_at })
}

//! Requests to services of AWS that know their caller by a signature.

use std::time::SystemTime;

use bytes::Bytes;
use http::Request;
use http::uri::PathAndQuery;
use tollgate_config::bundle::{CredentialKind, Proof, Unsigned};

use crate::issue::IssueError;
use crate::issue::http::host_and_port;

/// Signs a request to `service` in `region`.
///
/// # Errors
/// When `keys` are none, or cannot be shown.
pub(in crate::issue) fn sign(
    request: &mut Request<Bytes>,
    service: &'static str,
    region: &str,
    keys: &Proof,
    now: SystemTime,
) -> Result<(), IssueError> {
    let (method, uri, body) = (request.method().clone(), request.uri().clone(), [request.body().clone()]);
    let unsigned = Unsigned {
        method: &method,
        authority: &host_and_port(&uri),
        path: uri.path_and_query().map_or("/", PathAndQuery::as_str),
        body: &body,
        service,
        unix_s: now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
    };
    let kind = CredentialKind::AwsSignature { region: region.to_owned() };
    kind.show(keys, unsigned, request.headers_mut()).map_err(|_| {
        IssueError::Misconfigured("the keys of AWS cannot sign: expected keys without line breaks".to_owned())
    })
}

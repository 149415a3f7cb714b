//! Requests to services that issue credentials, in the few forms that they have.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request};
use tollgate_terms::Secret;

use super::IssueError;
use super::form::{Form, escaped};
use super::http::address;

/// A request for what stands at `url`.
pub(super) fn get(url: &str) -> Result<Request<Bytes>, IssueError> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = address(url)?;
    Ok(request)
}

/// A form sent to `url`.
pub(super) fn post_form(url: &str, form: &Form<'_>) -> Result<Request<Bytes>, IssueError> {
    let mut request = get(url)?;
    *request.method_mut() = Method::POST;
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(CONTENT_TYPE, kind);
    *request.body_mut() = Bytes::copy_from_slice(form.text().as_bytes());
    Ok(request)
}

/// JSON of the media type `kind` sent to `url`.
pub(super) fn post_json(
    url: &str,
    kind: &'static str,
    value: &serde_json::Value,
) -> Result<Request<Bytes>, IssueError> {
    let mut request = get(url)?;
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    *request.body_mut() = Bytes::from(value.to_string());
    Ok(request)
}

/// Adds a header whose value is not for logs.
pub(super) fn add_header(
    request: &mut Request<Bytes>,
    name: HeaderName,
    value: &str,
) -> Result<(), IssueError> {
    let value = sensitive(value).map_err(|()| {
        IssueError::Misconfigured(format!("the value for the header {name} cannot be sent in a header"))
    })?;
    request.headers_mut().insert(name, value);
    Ok(())
}

/// Shows an access token (RFC 6750 section 2.1).
pub(super) fn add_bearer(request: &mut Request<Bytes>, token: &Secret) -> Result<(), IssueError> {
    add_header(request, AUTHORIZATION, &format!("Bearer {}", token.expose()))
}

/// Shows id and secret of a client (RFC 6749 section 2.3.1, which wants both escaped as in forms).
pub(super) fn add_client(request: &mut Request<Bytes>, id: &str, secret: &Secret) -> Result<(), IssueError> {
    let user = format!("{}:{}", escaped(id), escaped(secret.expose()));
    request.headers_mut().insert(AUTHORIZATION, basic(user.as_bytes())?);
    Ok(())
}

/// The value of a header for user and password (RFC 7617).
pub(crate) fn basic(user: &[u8]) -> Result<HeaderValue, IssueError> {
    sensitive(&format!("Basic {}", STANDARD.encode(user)))
        .map_err(|()| IssueError::Misconfigured("a user cannot be sent in a header".to_owned()))
}

/// The same for those in the authority of an address, where they are percent-encoded; `None` where there are none.
pub(crate) fn basic_of(authority: &str) -> Result<Option<HeaderValue>, IssueError> {
    let Some((user, _)) = authority.rsplit_once('@') else { return Ok(None) };
    let user = percent_encoding::percent_decode_str(user).collect::<Vec<u8>>();
    basic(&user).map(Some)
}

fn sensitive(text: &str) -> Result<HeaderValue, ()> {
    let mut value = HeaderValue::from_str(text).map_err(|_| ())?;
    value.set_sensitive(true);
    Ok(value)
}

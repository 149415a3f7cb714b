//! Managed identities: the machine asks a service that only it can reach.

use std::time::SystemTime;

use http::{HeaderName, HeaderValue};
use tollgate_terms::Secret;

use super::super::form::Form;
use super::super::request::{add_header, get};
use super::super::{Client, Environment, IssueError, Issued};
use super::RESOURCE;
use super::arc::{FOLDER, arc_identity};

/// The metadata service of virtual machines and of Kubernetes nodes.
const METADATA_HOST: &str = "http://169.254.169.254";

/// A token for the managed identity of this machine, or of the one of its identities that `client_id` names, asked for
/// at `now`.
///
/// App Service and Container Apps tell by `IDENTITY_ENDPOINT` and `IDENTITY_HEADER` where to ask, Azure Arc by `IDENTITY_ENDPOINT` and `IMDS_ENDPOINT`
/// (its machines have one identity, whatever `client_id` is); elsewhere it is the metadata service, or what `AZURE_POD_IDENTITY_AUTHORITY_HOST` puts in
/// its place. No proxy is used.
///
/// # Errors
/// As the service answers, above all when there is none.
pub async fn managed_identity(
    client: &Client,
    environment: &Environment,
    client_id: Option<&str>,
    now: SystemTime,
) -> Result<Issued<Secret>, IssueError> {
    let identified = |form: Form<'static>| match client_id {
        Some(client_id) => form.with("client_id", client_id),
        None => form,
    };
    let (endpoint, header) = (environment.get("IDENTITY_ENDPOINT"), environment.get("IDENTITY_HEADER"));
    if let (Some(endpoint), None, Some(_)) = (endpoint, header, environment.get("IMDS_ENDPOINT")) {
        return arc_identity(client, endpoint, FOLDER, now).await;
    }
    let request = match endpoint.zip(header) {
        // "REST endpoint reference" of managed identities for App Service.
        Some((endpoint, header)) => {
            let query = Form::default().with("api-version", "2019-08-01").with("resource", RESOURCE);
            let mut request = get(&format!("{endpoint}?{}", identified(query).text()))?;
            add_header(&mut request, HeaderName::from_static("x-identity-header"), header)?;
            request
        }
        // "Get a token using HTTP" of managed identities for virtual machines.
        None => {
            let host = environment.get("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or(METADATA_HOST);
            let query = Form::default().with("api-version", "2018-02-01").with("resource", RESOURCE);
            let host = host.trim_end_matches('/');
            let mut request =
                get(&format!("{host}/metadata/identity/oauth2/token?{}", identified(query).text()))?;
            // Without this header a request is refused, so that a page in a browser cannot make one.
            request.headers_mut().insert("metadata", HeaderValue::from_static("true"));
            request
        }
    };
    let hidden = header.map(|header| Secret::new(header.to_owned()));
    let hidden: Vec<&Secret> = hidden.iter().collect();
    client.direct().send(request, &hidden).await?.token(now)
}

//! Application default credentials: what a process finds around it (AIP-4110).

use std::time::SystemTime;

use http::{HeaderName, HeaderValue};
use serde_json::Value;
use tollgate_terms::Secret;

use super::super::form::Form;
use super::super::http::name_of;
use super::super::request::{add_header, get, post_form};
use super::super::{Client, Environment, IssueError, Issued, file};
use super::exchange::{Exchange, Impersonation};
use super::found::{External, Format, Found, Own, Source, User};
use super::service_account::service_account;
use super::{SCOPE, TOKEN_URI};

/// The metadata server of Google's machines.
const METADATA_HOST: &str = "metadata.google.internal";

/// A token for the process itself, asked for at `now`. The first of these that is there decides: the file that
/// `GOOGLE_APPLICATION_CREDENTIALS` names, the one that `gcloud auth application-default login` leaves
/// (in `CLOUDSDK_CONFIG` or under `HOME`), the metadata server (at `GCE_METADATA_HOST`, if set).
///
/// # Errors
/// As the service of what was found answers, and when a file cannot be used; another one is not tried then.
pub async fn ambient(
    client: &Client,
    environment: &Environment,
    now: SystemTime,
) -> Result<Issued<Secret>, IssueError> {
    let Some(path) = credentials_file(environment).await else {
        return of_metadata_server(client, environment, now).await;
    };
    match Found::parse(&file::read(&path).await?, &path)? {
        Found::Own(own) => of_own(client, environment, &own, now).await,
        Found::Impersonated { source, url, delegates } => {
            let own = of_own(client, environment, &source, now).await?;
            let impersonation = Impersonation { url: &url, delegates: &delegates, lifetime_s: None };
            impersonation.token(client, &own.value).await
        }
    }
}

async fn credentials_file(environment: &Environment) -> Option<String> {
    if let Some(path) = environment.get("GOOGLE_APPLICATION_CREDENTIALS") {
        return Some(path.to_owned());
    }
    let folder = match environment.get("CLOUDSDK_CONFIG") {
        Some(folder) => folder.to_owned(),
        None => format!("{}/.config/gcloud", environment.get("HOME")?),
    };
    let path = format!("{folder}/application_default_credentials.json");
    file::exists(&path).await.then_some(path)
}

async fn of_own(
    client: &Client,
    environment: &Environment,
    own: &Own,
    now: SystemTime,
) -> Result<Issued<Secret>, IssueError> {
    match own {
        Own::ServiceAccount(account) => service_account(client, account, now).await,
        Own::User(user) => of_user(client, user, now).await,
        Own::External(external) => of_external(client, environment, external, now).await,
    }
}

/// A person's refresh token for an access token (RFC 6749 section 6).
async fn of_user(client: &Client, user: &User, now: SystemTime) -> Result<Issued<Secret>, IssueError> {
    let form = Form::default()
        .with("grant_type", "refresh_token")
        .with("client_id", &user.client_id)
        .with_secret("client_secret", &user.client_secret)
        .with_secret("refresh_token", &user.refresh_token);
    let request = post_form(user.token_uri.as_deref().unwrap_or(TOKEN_URI), &form)?;
    client.send(request, form.hidden()).await?.token(now)
}

async fn of_external(
    client: &Client,
    environment: &Environment,
    external: &External,
    now: SystemTime,
) -> Result<Issued<Secret>, IssueError> {
    let subject = subject_token(client, environment, external, now).await?;
    let exchange = Exchange {
        url: &external.token_url,
        audience: &external.audience,
        subject_token_type: &external.subject_token_type,
        owner: external.owner.as_ref().map(|(id, secret)| (id.as_str(), secret)),
        user_project: external.user_project.as_deref(),
    };
    let issued = exchange.token(client, &subject, now).await?;
    let Some(url) = &external.impersonation_url else {
        return Ok(issued);
    };
    let impersonation = Impersonation { url, delegates: &[], lifetime_s: external.lifetime_s };
    impersonation.token(client, &issued.value).await
}

/// The token of the other provider, from where the file says that it is.
async fn subject_token(
    client: &Client,
    environment: &Environment,
    external: &External,
    now: SystemTime,
) -> Result<Secret, IssueError> {
    let (text, place) = match &external.source {
        Source::Program(program) => return program.token(external, environment, now).await,
        Source::File(path) => (file::read(path).await?, path.clone()),
        Source::Url { url, headers } => {
            let mut request = get(url)?;
            let place = name_of(request.uri());
            for (name, value) in headers {
                let name = name.parse::<HeaderName>().map_err(|_| {
                    IssueError::Misconfigured(format!(
                        "{name:?} in the credential source is no name of a header"
                    ))
                })?;
                add_header(&mut request, name, value)?;
            }
            // Such addresses are those of a service beside the process.
            let answer = client.direct().send(request, &[]).await?;
            (Secret::new(String::from_utf8_lossy(answer.body()).into_owned()), place)
        }
    };
    let token = match &external.format {
        Format::Text => Some(text.expose().trim().to_owned()),
        Format::Member(name) => serde_json::from_str::<Value>(text.expose())
            .ok()
            .and_then(|value| value.get(name).and_then(Value::as_str).map(str::to_owned)),
    };
    token.filter(|token| !token.is_empty()).map(Secret::new).ok_or_else(|| IssueError::Unreadable {
        service: place,
        reason: "expected the token of the other provider, as the credential source says".to_owned(),
    })
}

/// The token of the service account that this machine, or this workload of Kubernetes, runs as.
async fn of_metadata_server(
    client: &Client,
    environment: &Environment,
    now: SystemTime,
) -> Result<Issued<Secret>, IssueError> {
    let host = environment.get("GCE_METADATA_HOST").unwrap_or(METADATA_HOST);
    let query = Form::default().with("scopes", SCOPE);
    let path = "computeMetadata/v1/instance/service-accounts/default/token";
    let mut request = get(&format!("http://{host}/{path}?{}", query.text()))?;
    // Without this header a request is refused, so that a page in a browser cannot make one.
    request.headers_mut().insert("metadata-flavor", HeaderValue::from_static("Google"));
    let answer = client.direct().send(request, &[]).await?;
    // The server shows the same header; anything else that answers under its name does not.
    if answer.headers().get("metadata-flavor").is_none_or(|flavor| flavor != "Google") {
        return Err(answer.unreadable("expected the metadata server"));
    }
    answer.token(now)
}

//! Tokens of Microsoft Entra.

use std::time::Duration;

use tollgate_effects::issue::azure::{
    Application, ambient, arc_identity, client_secret, federated, managed_identity, workload_identity,
};
use tollgate_effects::issue::{Environment, IssueError};

use crate::service::{Reply, Service, client, environment, failed, hasty, now, secret, told};

const TOKEN: &str =
    r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"issued"}"#;

/// The managed identities' answer, in which every number is a text.
const MANAGED: &str = r#"{"access_token":"issued","client_id":"app","expires_in":"86399","expires_on":"1800086399",
    "ext_expires_in":"86399","not_before":"1799999999","resource":"https://cognitiveservices.azure.com","token_type":"Bearer"}"#;

const REFUSAL: &str = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1",
    "error_codes":[7000215],"timestamp":"2026-01-01 00:00:00Z","trace_id":"1","correlation_id":"2"}"#;

fn application(service: &Service) -> Application {
    Application {
        authority: Some(format!("{}/", service.url)),
        tenant_id: "tenant".to_owned(),
        client_id: "app".to_owned(),
    }
}

#[tokio::test]
async fn an_application_shows_its_secret() {
    let service = Service::always(Reply::new(200, TOKEN)).await;
    let issued = client_secret(&client(), &application(&service), &secret("s3~cr&t"), now()).await;
    assert_eq!(told(issued), ("issued".to_owned(), Some(3599)));
    let seen = service.only();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/tenant/oauth2/v2.0/token"));
    assert_eq!(
        seen.body,
        "grant_type=client_credentials&client_id=app&\
         scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default&client_secret=s3~cr%26t"
    );
}

#[tokio::test]
async fn an_application_shows_the_token_of_another_provider() {
    let service = Service::always(Reply::new(200, TOKEN)).await;
    told(federated(&client(), &application(&service), &secret("a.b.c"), now()).await);
    let seen = service.only();
    assert_eq!(seen.field("client_assertion"), "a.b.c");
    assert_eq!(seen.field("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert_eq!(seen.field("client_secret"), "");
}

#[tokio::test]
async fn a_refusal_is_told_in_the_words_of_entra() {
    let service = Service::always(Reply::new(401, REFUSAL)).await;
    let error = failed(client_secret(&client(), &application(&service), &secret("hidden"), now()).await);
    let expected = format!(
        "{}/tenant/oauth2/v2.0/token refused with status 401: \
         invalid_client: AADSTS7000215: Invalid client secret provided. Trace ID: 1",
        service.url
    );
    assert_eq!(error, expected);
}

fn around(service: &Service, token_file: &str) -> Environment {
    environment(&[
        ("AZURE_AUTHORITY_HOST", &service.url),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_FEDERATED_TOKEN_FILE", token_file),
    ])
}

#[tokio::test]
async fn a_workload_shows_the_token_that_is_in_the_file_now() {
    let service = Service::always(Reply::new(200, TOKEN)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let environment = around(&service, path.to_str().unwrap());
    let application = Application::of_environment(&environment).unwrap();
    for token in ["first", "second"] {
        std::fs::write(&path, format!("{token}\n")).unwrap();
        told(workload_identity(&client(), &environment, &application, now()).await);
    }
    told(ambient(&client(), &environment, &application, now()).await);
    let shown: Vec<String> = service.seen().iter().map(|seen| seen.field("client_assertion")).collect();
    assert_eq!(shown, ["first", "second", "second"]);

    std::fs::remove_file(&path).unwrap();
    let error = workload_identity(&client(), &environment, &application, now()).await.unwrap_err();
    assert!(matches!(error, IssueError::Misconfigured(_)), "{error}");
}

#[tokio::test]
async fn a_variable_that_is_missing_is_named() {
    let error = Application::of_environment(&environment(&[("AZURE_TENANT_ID", "t")])).unwrap_err();
    assert_eq!(error.to_string(), "the environment variable AZURE_CLIENT_ID is not set");
}

#[tokio::test]
async fn a_machine_asks_its_metadata_service() {
    let service = Service::always(Reply::new(200, MANAGED)).await;
    let environment = environment(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &service.url)]);
    let issued = managed_identity(&client(), &environment, None, now()).await;
    assert_eq!(told(issued), ("issued".to_owned(), Some(86_399)));
    let seen = service.only();
    assert_eq!(
        seen.path,
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fcognitiveservices.azure.com"
    );
    assert_eq!((seen.method.as_str(), seen.header("metadata")), ("GET", "true"));

    let application = application(&service);
    told(ambient(&client(), &environment, &application, now()).await);
    assert_eq!(service.seen()[1].field("client_id"), "app");
}

#[tokio::test]
async fn a_container_asks_where_it_was_told() {
    let body = r#"{"access_token":"issued","expires_on":"1800003600","resource":"r","token_type":"Bearer"}"#;
    let service = Service::always(Reply::new(200, body)).await;
    let endpoint = format!("{}/msi/token", service.url);
    let environment = environment(&[("IDENTITY_ENDPOINT", &endpoint), ("IDENTITY_HEADER", "hidden")]);
    let issued = managed_identity(&client(), &environment, Some("app"), now()).await;
    assert_eq!(told(issued), ("issued".to_owned(), Some(3600)));
    let seen = service.only();
    assert_eq!(seen.header("x-identity-header"), "hidden");
    assert_eq!(
        seen.path,
        "/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fcognitiveservices.azure.com&client_id=app"
    );
}

/// An agent of Azure Arc that wants to be shown what the file at `path` says, which is `key`.
async fn agent(path: &str, key: &str) -> Service {
    let (realm, shown) = (format!("Basic realm={path}"), format!("Basic {key}"));
    Service::start(move |seen| match seen.header("authorization") {
        "" => Reply::new(401, "{}").with("www-authenticate", &realm),
        header if header == shown => Reply::new(200, MANAGED),
        _ => Reply::new(403, r#"{"error":"unauthorized_client"}"#),
    })
    .await
}

#[tokio::test]
async fn a_machine_of_arc_shows_what_a_file_of_its_agent_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.key");
    let service = agent(path.to_str().unwrap(), "c2VjcmV0").await;
    let endpoint = format!("{}/metadata/identity/oauth2/token", service.url);
    let folder = folder.path().to_str().unwrap();

    let error = failed(arc_identity(&client(), &endpoint, folder, now()).await);
    assert!(error.contains("one.key cannot be read"), "{error}");

    std::fs::write(&path, "c2VjcmV0\n").unwrap();
    let issued = arc_identity(&client(), &endpoint, folder, now()).await;
    assert_eq!(told(issued), ("issued".to_owned(), Some(86_399)));
    for seen in service.seen() {
        assert_eq!(
            seen.path,
            "/metadata/identity/oauth2/token?api-version=2020-06-01&resource=https%3A%2F%2Fcognitiveservices.azure.com"
        );
        assert_eq!((seen.method.as_str(), seen.header("metadata")), ("GET", "true"));
    }

    std::fs::write(&path, "another").unwrap();
    let error = failed(arc_identity(&client(), &endpoint, folder, now()).await);
    assert!(error.contains("403") && !error.contains("another"), "{error}");

    std::fs::write(&path, "x".repeat(4097)).unwrap();
    let error = failed(arc_identity(&client(), &endpoint, folder, now()).await);
    assert!(error.contains("cannot be read"), "{error}");
}

#[tokio::test]
async fn an_agent_of_arc_is_shown_no_other_file() {
    for path in ["/etc/passwd", "/var/opt/azcmagent/tokens/../../../../etc/one.key", "/tmp/one.key"] {
        let service = agent(path, "").await;
        let around = [("IDENTITY_ENDPOINT", service.url.as_str()), ("IMDS_ENDPOINT", "http://127.0.0.1:1")];
        let error = failed(managed_identity(&client(), &environment(&around), Some("app"), now()).await);
        assert!(error.contains("/var/opt/azcmagent/tokens as realm"), "{error}");
        assert_eq!(service.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_agent_of_arc_that_asks_for_nothing_is_not_understood() {
    for (reply, said) in [
        (Reply::new(401, "{}"), "expected status 401 with WWW-Authenticate"),
        (Reply::new(200, MANAGED), "expected status 401 with WWW-Authenticate"),
        (Reply::new(404, r#"{"error":"not_found"}"#), "refused with status 404: not_found"),
    ] {
        let service = Service::always(reply).await;
        let error = failed(arc_identity(&client(), &service.url, "/keys", now()).await);
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn garbage_and_slowness_are_told_apart() {
    let garbage = Service::always(Reply::new(200, "hidden")).await;
    let error = failed(client_secret(&client(), &application(&garbage), &secret("s"), now()).await);
    assert!(error.contains("cannot be read") && !error.contains("hidden"), "{error}");

    let slow = Service::always(Reply::new(200, TOKEN).after(Duration::from_secs(20))).await;
    let error = failed(client_secret(&hasty(), &application(&slow), &secret("s"), now()).await);
    assert!(error.ends_with("did not answer in time"), "{error}");
}

#[tokio::test]
async fn a_token_may_come_without_an_end() {
    let service = Service::always(Reply::new(200, r#"{"access_token":"issued"}"#)).await;
    let issued = federated(&client(), &application(&service), &secret("a.b.c"), now()).await;
    assert_eq!(told(issued), ("issued".to_owned(), None));
}

//! Tokens of OpenID providers.

use std::time::Duration;

use tollgate_effects::issue::IssueError;
use tollgate_effects::issue::oidc::{OidcClient, token};

use crate::service::{Reply, Seen, Service, client, failed, hasty, now, secret, told};

const TOKEN: &str = r#"{"access_token":"issued","token_type":"Bearer","expires_in":300}"#;

/// `id:s3cr3t~ä+`, escaped as in forms and then in base 64.
const BASIC: &str = "Basic aWQ6czNjcjN0fiVDMyVBNCUyQg==";

fn asking(service: &Service) -> OidcClient {
    OidcClient {
        issuer: "https://nobody.invalid".to_owned(),
        token_endpoint: Some(format!("{}/token", service.url)),
        client_id: "id".to_owned(),
        client_secret: secret("s3cr3t~ä+"),
        scopes: Vec::new(),
        resources: Vec::new(),
        audience: None,
        grant_type: None,
    }
}

fn discovering(service: &Service) -> OidcClient {
    OidcClient { issuer: format!("{}/realm/", service.url), token_endpoint: None, ..asking(service) }
}

/// A provider with these metadata besides its addresses.
async fn provider(ways: &'static str) -> Service {
    Service::start(move |seen: &Seen| match seen.path.as_str() {
        "/realm/.well-known/openid-configuration" => {
            let url = format!("http://{}", seen.header("host"));
            Reply::new(200, format!(r#"{{"issuer":"{url}/realm","token_endpoint":"{url}/found"{ways}}}"#))
        }
        "/found" => Reply::new(200, TOKEN),
        _ => Reply::new(404, ""),
    })
    .await
}

#[tokio::test]
async fn a_token_is_asked_for_by_all_that_is_configured() {
    let service = Service::always(Reply::new(200, TOKEN)).await;
    let from = OidcClient {
        scopes: vec!["a".to_owned(), "b/.default".to_owned()],
        resources: vec!["urn:r".to_owned()],
        audience: Some("api://x".to_owned()),
        ..asking(&service)
    };
    assert_eq!(told(token(&client(), &from, now()).await), ("issued".to_owned(), Some(300)));
    let seen = service.only();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/token"));
    assert_eq!(seen.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(seen.header("authorization"), BASIC);
    assert_eq!(
        seen.body,
        "grant_type=client_credentials&scope=a%20b%2F.default&resource=urn%3Ar&audience=api%3A%2F%2Fx"
    );
}

#[tokio::test]
async fn another_grant_type_takes_the_place_of_the_usual_one() {
    let service = Service::always(Reply::new(200, TOKEN)).await;
    let from = OidcClient { grant_type: Some("urn:x".to_owned()), ..asking(&service) };
    told(token(&client(), &from, now()).await);
    assert_eq!(service.only().body, "grant_type=urn%3Ax");
}

#[tokio::test]
async fn the_endpoint_is_discovered() {
    let service = provider("").await;
    assert_eq!(told(token(&client(), &discovering(&service), now()).await).0, "issued");
    assert_eq!(service.seen()[1].header("authorization"), BASIC);
}

#[tokio::test]
async fn the_secret_is_shown_as_the_provider_says() {
    let service = provider(r#","token_endpoint_auth_methods_supported":["client_secret_post"]"#).await;
    told(token(&client(), &discovering(&service), now()).await);
    let seen = service.seen()[1].clone();
    assert_eq!(seen.header("authorization"), "");
    assert_eq!((seen.field("client_id").as_str(), seen.field("client_secret").as_str()), ("id", "s3cr3t~ä+"));

    let service = provider(r#","token_endpoint_auth_methods_supported":["private_key_jwt"]"#).await;
    let error = failed(token(&client(), &discovering(&service), now()).await);
    assert!(error.contains("accepts no client that shows a secret"), "{error}");
}

#[tokio::test]
async fn a_provider_that_refuses_the_header_is_shown_the_form() {
    let service = Service::start(|seen: &Seen| match seen.field("client_secret").as_str() {
        "" => Reply::new(401, r#"{"error":"invalid_client"}"#),
        _ => Reply::new(200, TOKEN),
    })
    .await;
    assert_eq!(told(token(&client(), &asking(&service), now()).await).0, "issued");
    assert_eq!(service.seen().len(), 2);
}

#[tokio::test]
async fn a_refusal_is_told_without_the_secret() {
    let body = r#"{"error":"invalid_client","error_description":"s3cr3t~ä+ is wrong"}"#;
    let service = Service::always(Reply::new(401, body)).await;
    let error = token(&client(), &asking(&service), now()).await.unwrap_err();
    let expected = IssueError::Refused {
        service: format!("{}/token", service.url),
        status: 401,
        said: "invalid_client: [secret] is wrong".to_owned(),
    };
    assert_eq!(error, expected);
}

#[tokio::test]
async fn another_issuer_is_not_believed() {
    let body = r#"{"issuer":"https://other.invalid","token_endpoint":"https://other.invalid/token"}"#;
    let service = Service::always(Reply::new(200, body)).await;
    let error = failed(token(&client(), &discovering(&service), now()).await);
    assert!(error.ends_with("expected the issuer to be the one that was asked"), "{error}");
}

#[tokio::test]
async fn garbage_slowness_and_silence_are_told_apart() {
    let garbage = Service::always(Reply::new(200, "<html>hidden</html>")).await;
    let error = token(&client(), &asking(&garbage), now()).await.unwrap_err();
    assert!(
        matches!(&error, IssueError::Unreadable { .. }) && !error.to_string().contains("hidden"),
        "{error}"
    );

    let slow = Service::always(Reply::new(200, TOKEN).after(Duration::from_secs(20))).await;
    let error = token(&hasty(), &asking(&slow), now()).await.unwrap_err();
    assert!(matches!(error, IssueError::TooSlow { .. }), "{error}");

    let mut from = asking(&slow);
    drop(slow);
    from.token_endpoint = Some("http://127.0.0.1:1/token".to_owned());
    let error = token(&client(), &from, now()).await.unwrap_err();
    assert!(matches!(error, IssueError::Unreachable { .. }), "{error}");

    from.token_endpoint = Some("nowhere".to_owned());
    let error = token(&client(), &from, now()).await.unwrap_err();
    assert!(matches!(error, IssueError::Misconfigured(_)), "{error}");
}

#[tokio::test]
async fn a_token_may_come_without_an_end() {
    let service = Service::always(Reply::new(200, r#"{"access_token":"issued"}"#)).await;
    assert_eq!(told(token(&client(), &asking(&service), now()).await), ("issued".to_owned(), None));
}

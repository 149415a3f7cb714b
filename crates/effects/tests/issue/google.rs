//! Tokens of Google for what is configured: service accounts and identities of other providers.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_effects::issue::IssueError;
use tollgate_effects::issue::google::{Addresses, Federation, ServiceAccount, federated, service_account};

use crate::key;
use crate::service::{Reply, Seen, Service, client, failed, hasty, now, secret, told};

const TOKEN: &str = r#"{"access_token":"issued","expires_in":3599,"token_type":"Bearer"}"#;
const CLOUD: &str = "https://www.googleapis.com/auth/cloud-platform";

fn account(token_uri: &str, pem: &str) -> ServiceAccount {
    let file = json!({
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k1",
        "private_key": pem,
        "client_email": "a@p.iam.gserviceaccount.com",
        "token_uri": token_uri,
    });
    ServiceAccount::parse(&secret(&file.to_string())).unwrap()
}

#[tokio::test]
async fn a_service_account_signs_for_itself() {
    let service = Service::always(Reply::new(200, TOKEN)).await;
    let token_uri = format!("{}/token", service.url);
    let issued = service_account(&client(), &account(&token_uri, &key::pem()), now()).await;
    assert_eq!(told(issued), ("issued".to_owned(), Some(3599)));
    let seen = service.only();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/token"));
    assert_eq!(seen.field("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let (header, claims) = key::verified(&seen.field("assertion"));
    assert_eq!(header, json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
    assert_eq!(
        claims,
        json!({
            "iss": "a@p.iam.gserviceaccount.com",
            "scope": CLOUD,
            "aud": token_uri,
            "iat": 1_799_999_990,
            "exp": 1_800_003_590,
        })
    );
}

#[tokio::test]
async fn a_refusal_of_the_assertion_is_told() {
    let body = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#;
    let service = Service::always(Reply::new(400, body)).await;
    let error = service_account(&client(), &account(&service.url, &key::pem()), now()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}/ refused with status 400: invalid_grant: Invalid JWT Signature.", service.url)
    );
    assert!(!error.retryable());
}

#[tokio::test]
async fn a_key_that_cannot_sign_is_told_without_being_shown() {
    let elliptic = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for pem in ["hidden", &elliptic] {
        let error = failed(service_account(&client(), &account("http://127.0.0.1:1", pem), now()).await);
        assert_eq!(error, "the private key is no RSA key in PEM");
    }
    for file in ["hidden", r#"{"client_email":"hidden"}"#, r#"{"client_email":7,"private_key":"hidden"}"#] {
        let error = ServiceAccount::parse(&secret(file)).err().unwrap();
        assert!(matches!(&error, IssueError::Misconfigured(text) if !text.contains("hidden")), "{error}");
    }
}

fn federation(service: &Service, impersonate: Option<&str>) -> Federation {
    Federation {
        project: "123".to_owned(),
        pool: "pool".to_owned(),
        provider: "provider".to_owned(),
        impersonate: impersonate.map(str::to_owned),
        addresses: Addresses {
            exchange: format!("{}/v1/token", service.url),
            service_accounts: service.url.clone(),
        },
    }
}

/// Both of Google's services in one.
async fn google(generated: Reply) -> Service {
    Service::start(move |seen: &Seen| match seen.path.as_str() {
        "/v1/token" => {
            Reply::new(200, r#"{"access_token":"exchanged","issued_token_type":"t","expires_in":3600}"#)
        }
        "/v1/projects/-/serviceAccounts/a%40p.iam.gserviceaccount.com:generateAccessToken" => {
            generated.clone()
        }
        _ => Reply::new(404, "{}"),
    })
    .await
}

#[tokio::test]
async fn the_token_of_another_provider_is_exchanged() {
    let service = google(Reply::new(500, "")).await;
    let issued = federated(&client(), &federation(&service, None), &secret("a.b.c"), now()).await;
    assert_eq!(told(issued), ("exchanged".to_owned(), Some(3600)));
    let fields = serde_json::to_value(service.only().fields()).unwrap();
    assert_eq!(
        fields,
        json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "audience": "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/provider",
            "scope": CLOUD,
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "subject_token": "a.b.c",
        })
    );
}

#[tokio::test]
async fn the_exchanged_token_may_act_as_a_service_account() {
    // 2027-01-15T08:30:00Z is half an hour after the moment of the tests.
    let service =
        google(Reply::new(200, r#"{"accessToken":"issued","expireTime":"2027-01-15T08:30:00Z"}"#)).await;
    let federation = federation(&service, Some("a@p.iam.gserviceaccount.com"));
    let issued = federated(&client(), &federation, &secret("a.b.c"), now()).await;
    assert_eq!(told(issued), ("issued".to_owned(), Some(1800)));
    let seen = service.seen()[1].clone();
    assert_eq!(seen.header("authorization"), "Bearer exchanged");
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(body, json!({ "delegates": [], "scope": [CLOUD], "lifetime": "3600s" }));
}

#[tokio::test]
async fn a_refusal_to_act_as_a_service_account_is_told() {
    let body = r#"{"error":{"code":403,"message":"Permission 'iam.serviceAccounts.getAccessToken' denied","status":"PERMISSION_DENIED"}}"#;
    let service = google(Reply::new(403, body)).await;
    let federation = federation(&service, Some("a@p.iam.gserviceaccount.com"));
    let error = failed(federated(&client(), &federation, &secret("a.b.c"), now()).await);
    let said =
        "refused with status 403: PERMISSION_DENIED: Permission 'iam.serviceAccounts.getAccessToken' denied";
    assert!(error.ends_with(said), "{error}");
}

#[tokio::test]
async fn garbage_and_slowness_are_told_apart() {
    for body in
        ["hidden", r#"{"accessToken":"hidden","expireTime":"hidden"}"#, r#"{"accessToken":"hid den"}"#]
    {
        let service = google(Reply::new(200, body)).await;
        let federation = federation(&service, Some("a@p.iam.gserviceaccount.com"));
        let error = failed(federated(&client(), &federation, &secret("a.b.c"), now()).await);
        assert!(error.contains("cannot be read") && !error.contains("hid"), "{error}");
    }
    let slow = Service::always(Reply::new(200, TOKEN).after(Duration::from_secs(20))).await;
    let error = failed(federated(&hasty(), &federation(&slow, None), &secret("a.b.c"), now()).await);
    assert!(error.ends_with("did not answer in time"), "{error}");
}

#[tokio::test]
async fn a_token_may_come_without_an_end() {
    let service = Service::always(Reply::new(200, r#"{"access_token":"issued"}"#)).await;
    let issued = federated(&client(), &federation(&service, None), &secret("a.b.c"), now()).await;
    assert_eq!(told(issued), ("issued".to_owned(), None));
    let service = google(Reply::new(200, r#"{"accessToken":"issued"}"#)).await;
    let federation = federation(&service, Some("a@p.iam.gserviceaccount.com"));
    let issued = federated(&client(), &federation, &secret("a.b.c"), now()).await;
    assert_eq!(told(issued), ("issued".to_owned(), None));
}

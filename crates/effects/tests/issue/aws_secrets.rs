//! Values that AWS Secrets Manager keeps.

use http::HeaderValue;
use serde_json::{Value, json};
use tollgate_effects::issue::IssueError;
use tollgate_effects::issue::aws_secrets::{AwsSecret, AwsSecretValue, get_secret_value};
use tollgate_terms::Secret;

use crate::service::{Reply, Service, client, failed};

fn wanted(service: &Service) -> AwsSecret {
    AwsSecret {
        region: "eu-west-1".to_owned(),
        id: "gateway/keys".to_owned(),
        version_stage: None,
        endpoint: Some(service.url.clone()),
    }
}

async fn fetched(service: &Service) -> Result<AwsSecretValue, IssueError> {
    get_secret_value(&client(), &wanted(service), |request| {
        request.headers_mut().insert("authorization", HeaderValue::from_static("signed"));
        Ok(())
    })
    .await
}

fn members(value: &AwsSecretValue) -> Vec<(&str, &str)> {
    value.members.iter().flatten().map(|(name, value)| (name.as_str(), value.expose())).collect()
}

#[tokio::test]
async fn the_members_of_an_object_are_the_keys_of_a_secret() {
    let kept = json!({ "Name": "gateway/keys", "SecretString": r#"{"apiKey":"sk-1","port":7,"none":null}"# });
    let service = Service::always(Reply::new(200, kept.to_string())).await;
    let value = fetched(&service).await.unwrap();
    let key = |key| value.key(key).map(Secret::expose);
    assert_eq!((key("apiKey"), key("none"), key("other")), (Some("sk-1"), None, None));
    assert_eq!(key("service_account.json"), Some(value.whole.expose()));
    assert_eq!(members(&value), [("apiKey", "sk-1"), ("port", "7")]);
    let seen = service.only();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/"));
    assert_eq!(seen.header("x-amz-target"), "secretsmanager.GetSecretValue");
    assert_eq!(seen.header("content-type"), "application/x-amz-json-1.1");
    assert_eq!(seen.header("authorization"), "signed");
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(body, json!({ "SecretId": "gateway/keys" }));
}

#[tokio::test]
async fn a_text_stands_for_itself() {
    for kept in [json!({ "SecretString": "sk-1" }), json!({ "SecretBinary": "c2stMQ==" })] {
        let service = Service::always(Reply::new(200, kept.to_string())).await;
        let value = fetched(&service).await.unwrap();
        assert!(value.members.is_none());
        assert_eq!(value.key("apiKey").map(Secret::expose), Some("sk-1"));
    }
}

#[tokio::test]
async fn a_version_may_be_named() {
    let service = Service::always(Reply::new(200, r#"{"SecretString":"x"}"#)).await;
    let wanted = AwsSecret { version_stage: Some("AWSPREVIOUS".to_owned()), ..wanted(&service) };
    assert!(get_secret_value(&client(), &wanted, |_| Ok(())).await.is_ok());
    assert_eq!(service.only().body, r#"{"SecretId":"gateway/keys","VersionStage":"AWSPREVIOUS"}"#);
}

#[tokio::test]
async fn the_service_of_the_region_is_asked() {
    for (region, host) in [
        ("eu-west-1", "secretsmanager.eu-west-1.amazonaws.com"),
        ("cn-north-1", "secretsmanager.cn-north-1.amazonaws.com.cn"),
    ] {
        let wanted =
            AwsSecret { region: region.to_owned(), id: "a".to_owned(), version_stage: None, endpoint: None };
        let error = failed(
            get_secret_value(&client(), &wanted, |request| {
                Err(IssueError::Misconfigured(request.uri().to_string()))
            })
            .await,
        );
        assert_eq!(error, format!("https://{host}/"));
    }
}

#[tokio::test]
async fn a_refusal_and_garbage_are_told() {
    let body = r#"{"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret."}"#;
    let service = Service::always(Reply::new(400, body)).await;
    let error = failed(fetched(&service).await);
    let said = "status 400: ResourceNotFoundException: Secrets Manager can't find the specified secret.";
    assert!(error.ends_with(said), "{error}");
    // The last is bytes that are no text.
    for body in ["hidden", "{}", r#"{"SecretBinary":"hidden!"}"#, r#"{"SecretBinary":"/9j/"}"#] {
        let service = Service::always(Reply::new(200, body)).await;
        let error = failed(fetched(&service).await);
        assert!(error.contains("cannot be read") && !error.contains("hidden"), "{error}");
    }
}

//! Application default credentials of Google: what each kind of file leads to, and which place is looked at first.

use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_effects::issue::google::ambient;
use tollgate_effects::issue::{Environment, IssueError};

use crate::key;
use crate::service::{Reply, Seen, Service, client, environment, failed, now, told};

const TOKEN: &str = r#"{"access_token":"issued","expires_in":3599,"token_type":"Bearer"}"#;

/// A folder with the file of credentials `value` in it, and the environment that names it.
fn naming(value: &Value) -> (TempDir, Environment) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials.json");
    std::fs::write(&path, value.to_string()).unwrap();
    let environment = environment(&[("GOOGLE_APPLICATION_CREDENTIALS", path.to_str().unwrap())]);
    (folder, environment)
}

fn user(token_uri: &str) -> Value {
    json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
        "token_uri": token_uri, "quota_project_id": "p",
    })
}

/// Google's services: each token endpoint, and service accounts.
async fn google() -> Service {
    Service::start(|seen: &Seen| match seen.path.as_str() {
        "/token" => Reply::new(200, TOKEN),
        "/v1/projects/-/serviceAccounts/a@b:generateAccessToken" => Reply::new(
            200,
            r#"{"accessToken":"as a service account","expireTime":"2027-01-15T08:30:00Z"}"#.replace(' ', "-"),
        ),
        "/subject?x=1" => Reply::new(200, r#"{"id_token":"from-address"}"#),
        _ => Reply::new(404, "{}"),
    })
    .await
}

#[tokio::test]
async fn the_key_of_a_service_account_signs() {
    let service = google().await;
    let (_folder, environment) = naming(&json!({
        "type": "service_account", "client_email": "a@b", "private_key": key::pem(),
        "token_uri": format!("{}/token", service.url),
    }));
    assert_eq!(told(ambient(&client(), &environment, now()).await), ("issued".to_owned(), Some(3599)));
    let (header, claims) = key::verified(&service.only().field("assertion"));
    assert_eq!((header.get("kid"), &claims["iss"]), (None, &json!("a@b")));
}

#[tokio::test]
async fn a_person_is_known_by_a_refresh_token() {
    let service = google().await;
    let (_folder, environment) = naming(&user(&format!("{}/token", service.url)));
    assert_eq!(told(ambient(&client(), &environment, now()).await), ("issued".to_owned(), Some(3599)));
    assert_eq!(service.only().body, "grant_type=refresh_token&client_id=c&client_secret=s&refresh_token=r");
}

#[tokio::test]
async fn a_person_may_act_as_a_service_account() {
    let service = google().await;
    let (_folder, environment) = naming(&json!({
        "type": "impersonated_service_account",
        "source_credentials": user(&format!("{}/token", service.url)),
        "service_account_impersonation_url":
            format!("{}/v1/projects/-/serviceAccounts/a@b:generateAccessToken", service.url),
        "delegates": ["projects/-/serviceAccounts/c@d"],
    }));
    let issued = told(ambient(&client(), &environment, now()).await);
    assert_eq!(issued, ("as-a-service-account".to_owned(), Some(1800)));
    let seen = service.seen()[1].clone();
    assert_eq!(seen.header("authorization"), "Bearer issued");
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(body["delegates"], json!(["projects/-/serviceAccounts/c@d"]));
}

fn external(service: &Service, source: Value) -> Value {
    json!({
        "type": "external_account", "audience": "//iam.googleapis.com/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "token_url": format!("{}/token", service.url), "credential_source": source,
    })
}

#[tokio::test]
async fn the_token_of_another_provider_is_taken_from_a_file() {
    let service = google().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "from-file\n").unwrap();
    let (_folder, environment) = naming(&external(&service, json!({ "file": path })));
    assert_eq!(told(ambient(&client(), &environment, now()).await).0, "issued");
    let seen = service.only();
    assert_eq!(seen.field("subject_token"), "from-file");
    assert_eq!(seen.field("subject_token_type"), "urn:ietf:params:oauth:token-type:id_token");
    assert_eq!(seen.field("audience"), "//iam.googleapis.com/x");
}

#[tokio::test]
async fn the_token_of_another_provider_is_taken_from_an_address() {
    let service = google().await;
    let source = json!({
        "url": format!("{}/subject?x=1", service.url), "headers": { "Metadata": "True" },
        "format": { "type": "json", "subject_token_field_name": "id_token" },
    });
    let mut file = external(&service, source);
    file["service_account_impersonation_url"] =
        json!(format!("{}/v1/projects/-/serviceAccounts/a@b:generateAccessToken", service.url));
    file["service_account_impersonation"] = json!({ "token_lifetime_seconds": 600 });
    file["client_id"] = json!("c");
    file["client_secret"] = json!("s");
    let (_folder, environment) = naming(&file);
    assert_eq!(told(ambient(&client(), &environment, now()).await).0, "as-a-service-account");
    let seen = service.seen();
    assert_eq!(seen[0].header("metadata"), "True");
    assert_eq!(seen[1].field("subject_token"), "from-address");
    assert_eq!(seen[1].header("authorization"), "Basic Yzpz");
    let body: Value = serde_json::from_str(&seen[2].body).unwrap();
    assert_eq!(body["lifetime"], json!("600s"));
}

/// A program that prints `answer`, beside what it was told, and where it counts how often it ran.
fn printing(folder: &TempDir, answer: &Value) -> (String, PathBuf) {
    let [script, runs] = ["print", "runs"].map(|name| folder.path().join(name));
    let told = "$1 $GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE $GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE \
                $GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE $GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL";
    let text = format!("echo \"{told}\" >> {}\necho '{answer}'\n", runs.display());
    std::fs::write(&script, text).unwrap();
    (format!("/bin/sh {} argument", script.display()), runs)
}

fn allowing(environment: &Environment) -> Environment {
    let path = environment.get("GOOGLE_APPLICATION_CREDENTIALS").unwrap();
    self::environment(&[
        ("GOOGLE_APPLICATION_CREDENTIALS", path),
        ("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1"),
    ])
}

const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Seconds since 1970, so many after now.
fn seconds_at(later: i64) -> i64 {
    let now = now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + later
}

#[tokio::test]
async fn the_token_of_another_provider_is_printed_by_a_program_that_is_allowed() {
    let service = google().await;
    let folder = tempfile::tempdir().unwrap();
    let answer = json!({
        "version": 1, "success": true, "token_type": ID_TOKEN, "id_token": "from-program",
        "expiration_time": seconds_at(60),
    });
    let (command, runs) = printing(&folder, &answer);
    let mut file =
        external(&service, json!({ "executable": { "command": command, "timeout_millis": 5000 } }));
    file["service_account_impersonation_url"] =
        json!(format!("{}/v1/projects/-/serviceAccounts/a@b:generateAccessToken", service.url));
    let (_folder, environment) = naming(&file);
    let error = failed(ambient(&client(), &environment, now()).await);
    assert!(error.contains("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1"), "{error}");
    assert!(!runs.exists() && service.seen().is_empty());
    let issued = told(ambient(&client(), &allowing(&environment), now()).await);
    assert_eq!(issued.0, "as-a-service-account");
    assert_eq!(service.seen()[0].field("subject_token"), "from-program");
    let ran = std::fs::read_to_string(runs).unwrap();
    assert_eq!(ran, format!("argument //iam.googleapis.com/x {ID_TOKEN} 0 a@b\n"));
}

#[tokio::test]
async fn a_token_that_a_program_has_left_serves_until_it_ends() {
    let service = google().await;
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("left");
    let answer = |token: &str, end| json!({ "version": 1, "success": true, "token_type": ID_TOKEN, "id_token": token, "expiration_time": end });
    let (command, runs) = printing(&folder, &answer("printed", seconds_at(60)));
    let source = json!({ "executable": { "command": command, "output_file": left } });
    let (_folder, environment) = naming(&external(&service, source));
    for (end, subject) in [(60, "left"), (-1, "printed")] {
        std::fs::write(&left, answer("left", seconds_at(end)).to_string()).unwrap();
        told(ambient(&client(), &allowing(&environment), now()).await);
        assert_eq!(service.seen().last().unwrap().field("subject_token"), subject);
        assert_eq!(runs.exists(), subject == "printed");
    }
}

#[tokio::test]
async fn a_program_that_fails_says_why() {
    let service = google().await;
    let folder = tempfile::tempdir().unwrap();
    let printed = json!({ "version": 1, "success": true, "token_type": ID_TOKEN, "id_token": "hidden" });
    let with = |name: &str, value: Value| {
        let mut printed = printed.clone();
        printed[name] = value;
        printed
    };
    for (answer, reason) in [
        (
            json!({ "version": 1, "success": false, "code": "401", "message": "log in" }),
            "a failure: 401: log in",
        ),
        (with("version", json!(2)), "expected version 1"),
        (with("token_type", json!("urn:ietf:params:oauth:token-type:saml2")), "expected a token of type"),
        (with("expiration_time", json!(seconds_at(-1))), "has ended already"),
        (json!("hidden"), "expected JSON"),
    ] {
        let (command, _) = printing(&folder, &answer);
        let (_folder, environment) =
            naming(&external(&service, json!({ "executable": { "command": command } })));
        let error = failed(ambient(&client(), &allowing(&environment), now()).await);
        assert!(error.contains(reason) && !error.contains("hidden"), "{answer}: {error}");
    }
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn an_identity_of_a_workforce_names_the_project_that_pays() {
    let service = google().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "t").unwrap();
    let mut file = external(&service, json!({ "file": path }));
    file["workforce_pool_user_project"] = json!("p");
    let (_folder, environment) = naming(&file);
    told(ambient(&client(), &environment, now()).await);
    assert_eq!(service.only().field("options"), "%7B%22userProject%22%3A%22p%22%7D");
}

#[tokio::test]
async fn a_source_without_the_token_is_told() {
    let service = google().await;
    let source = json!({
        "url": format!("{}/subject?x=1", service.url),
        "format": { "type": "json", "subject_token_field_name": "absent" },
    });
    let (_folder, environment) = naming(&external(&service, source));
    let error = failed(ambient(&client(), &environment, now()).await);
    assert!(error.starts_with(&format!("{}/subject gave an answer", service.url)), "{error}");
}

#[tokio::test]
async fn what_a_login_left_is_found_where_no_file_is_named() {
    let service = google().await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".config/gcloud");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("application_default_credentials.json");
    std::fs::write(file, user(&format!("{}/token", service.url)).to_string()).unwrap();
    let by_home = environment(&[("HOME", home.path().to_str().unwrap())]);
    assert_eq!(told(ambient(&client(), &by_home, now()).await).0, "issued");
    let by_name = environment(&[("HOME", "/nowhere"), ("CLOUDSDK_CONFIG", folder.to_str().unwrap())]);
    assert_eq!(told(ambient(&client(), &by_name, now()).await).0, "issued");
}

#[tokio::test]
async fn a_machine_asks_its_metadata_server() {
    let service = Service::always(Reply::new(200, TOKEN).with("metadata-flavor", "Google")).await;
    let around = environment(&[("GCE_METADATA_HOST", service.host()), ("HOME", "/nowhere")]);
    assert_eq!(told(ambient(&client(), &around, now()).await), ("issued".to_owned(), Some(3599)));
    let seen = service.only();
    assert_eq!(seen.header("metadata-flavor"), "Google");
    assert_eq!(
        seen.path,
        "/computeMetadata/v1/instance/service-accounts/default/token\
         ?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform"
    );

    let other = Service::always(Reply::new(200, TOKEN)).await;
    let around = environment(&[("GCE_METADATA_HOST", other.host())]);
    let error = failed(ambient(&client(), &around, now()).await);
    assert!(error.ends_with("expected the metadata server"), "{error}");
}

#[tokio::test]
async fn a_named_file_that_is_not_there_is_told_and_nothing_else_is_tried() {
    let around = environment(&[("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/c.json")]);
    let error = ambient(&client(), &around, now()).await.unwrap_err();
    assert!(matches!(&error, IssueError::Misconfigured(text) if text.contains("/nowhere/c.json")), "{error}");
}

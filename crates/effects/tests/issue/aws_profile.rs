//! Profiles of AWS that lead elsewhere: to roles, programs and sign-ons.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use tollgate_effects::issue::aws::default_chain;
use tollgate_effects::issue::{Environment, IssueError};

use crate::service::{Reply, Seen, Service, client, environment, failed, now};

/// A home with these shared files.
fn home(config: &str, credentials: &str) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".aws");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("config"), config).unwrap();
    std::fs::write(folder.join("credentials"), credentials).unwrap();
    home
}

fn at(home: &TempDir, profile: &str, others: &[(&str, &str)]) -> Environment {
    let mut variables = vec![("HOME", home.path().to_str().unwrap()), ("AWS_PROFILE", profile)];
    variables.extend(others);
    environment(&variables)
}

/// The id of the keys, or what is wrong.
async fn id(environment: &Environment) -> Result<String, String> {
    match default_chain(&client(), environment, now()).await {
        Ok(issued) => Ok(issued.value.id.expose().to_owned()),
        Err(error) => Err(failed(Err::<(), IssueError>(error))),
    }
}

/// Whose keys have signed.
fn signer(seen: &Seen) -> String {
    let (_, rest) = seen.header("authorization").split_once("Credential=").unwrap_or_default();
    rest.split('/').next().unwrap_or_default().to_owned()
}

/// The token service: the keys of a role are called after it and whoever assumed it.
async fn sts() -> Service {
    Service::start(|seen| {
        let by = signer(seen) + &seen.field("WebIdentityToken");
        let role = seen.field("RoleArn").rsplit('/').next().unwrap_or_default().to_owned();
        let body = format!(
            "<Credentials><AccessKeyId>{role}-of-{by}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
             <SessionToken>t</SessionToken><Expiration>2027-01-15T09:00:00Z</Expiration></Credentials>"
        );
        Reply::new(200, body)
    })
    .await
}

const ROLES: &str = "
[default]
region = eu-west-1
[profile far]
role_arn = arn:aws:iam::2:role/far
source_profile = near
external_id = told/1
duration_seconds = 900
role_session_name = mine
[profile near]
role_arn = arn:aws:iam::1:role/near
source_profile = base
region = eu-central-1
[profile self]
role_arn = arn:aws:iam::1:role/own
source_profile = self
[profile round]
role_arn = arn:aws:iam::1:role/a
source_profile = about
[profile about]
role_arn = arn:aws:iam::1:role/b
source_profile = round
[profile lost]
role_arn = arn:aws:iam::1:role/a
source_profile = nowhere
[profile person]
role_arn = arn:aws:iam::1:role/a
source_profile = base
mfa_serial = arn:aws:iam::1:mfa/p
[profile alone]
role_arn = arn:aws:iam::1:role/a
[profile both]
role_arn = arn:aws:iam::1:role/a
source_profile = base
credential_source = EcsContainer
[profile odd]
role_arn = arn:aws:iam::1:role/a
credential_source = Moon
[profile empty]
role_arn = arn:aws:iam::1:role/a
credential_source = Environment
[profile machine]
role_arn = arn:aws:iam::1:role/a
credential_source = Ec2InstanceMetadata
";

const KEYS: &str = "
[base]
aws_access_key_id = BASE
aws_secret_access_key = b
[self]
aws_access_key_id = SELF
aws_secret_access_key = s
";

#[tokio::test]
async fn roles_are_assumed_one_by_another() {
    let (home, sts) = (home(ROLES, KEYS), sts().await);
    let with = |profile| at(&home, profile, &[("AWS_ENDPOINT_URL_STS", &sts.url)]);
    assert_eq!(id(&with("far")).await, Ok("far-of-near-of-BASE".to_owned()));
    let seen = sts.seen();
    let [near, far] = seen.as_slice() else { panic!("{seen:?}") };
    let told = |seen: &Seen| {
        ["Action", "RoleSessionName", "ExternalId", "DurationSeconds"].map(|name| seen.field(name))
    };
    assert_eq!(told(near), ["AssumeRole", "ai-gateway", "", ""]);
    assert_eq!(told(far), ["AssumeRole", "mine", "told/1", "900"]);
    assert!(near.header("authorization").contains("/eu-central-1/sts/aws4_request"), "{near:?}");
    assert!(far.header("authorization").contains("/us-east-1/sts/aws4_request"), "{far:?}");
    assert_eq!(far.header("x-amz-security-token"), "t");
    assert_eq!(id(&with("self")).await, Ok("own-of-SELF".to_owned()));
}

#[tokio::test]
async fn profiles_that_lead_nowhere_say_so() {
    let (home, sts) = (home(ROLES, KEYS), sts().await);
    for (profile, expected) in [
        ("round", "lead to more than 8 roles"),
        ("lost", "no profile \"nowhere\", the source of \"lost\""),
        ("person", "mfa_serial in profile \"person\": nobody is here to type a code"),
        ("alone", "without source_profile, credential_source or web_identity_token_file"),
        ("both", "both source_profile and credential_source in profile \"both\""),
        ("odd", "credential_source \"Moon\" in profile \"odd\""),
        ("empty", "Environment, the source of profile \"empty\", has no keys"),
    ] {
        let message = id(&at(&home, profile, &[("AWS_ENDPOINT_URL_STS", &sts.url)])).await.unwrap_err();
        assert!(message.contains(expected), "{profile}: {message}");
    }
    assert!(sts.seen().is_empty());
}

#[tokio::test]
async fn a_role_is_assumed_by_the_machine_or_by_a_token() {
    let machine = Service::start(|seen| match seen.path.as_str() {
        "/latest/api/token" => Reply::new(200, "session"),
        "/latest/meta-data/iam/security-credentials/" => Reply::new(200, "r"),
        _ => Reply::new(200, r#"{"AccessKeyId":"MACHINE","SecretAccessKey":"m"}"#),
    })
    .await;
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "jwt\n").unwrap();
    let web = format!(
        "{ROLES}[profile web]\nrole_arn=arn:aws:iam::1:role/w\nweb_identity_token_file={}\n",
        token.path().display()
    );
    let (home, sts) = (home(&web, KEYS), sts().await);
    let others =
        [("AWS_ENDPOINT_URL_STS", sts.url.as_str()), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &machine.url)];
    assert_eq!(id(&at(&home, "machine", &others)).await, Ok("a-of-MACHINE".to_owned()));
    assert_eq!(id(&at(&home, "web", &others)).await, Ok("w-of-jwt".to_owned()));
}

/// A program that prints `output` and ends with `code`.
fn program(folder: &Path, output: &str, code: u8) -> String {
    let path = folder.join("a program");
    std::fs::write(&path, format!("#!/bin/sh\necho '{output}'\nexit {code}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    format!("[profile p]\ncredential_process = \"{}\" --quiet\n", path.display())
}

#[tokio::test]
async fn a_program_prints_keys() {
    let keys = r#"{"Version":1,"AccessKeyId":"PRINTED","SecretAccessKey":"hidden","SessionToken":"t","Expiration":"2027-01-15T08:01:30Z"}"#;
    for (output, code, expected) in [
        (keys, 0, Ok("PRINTED")),
        (keys, 3, Err("it ended with exit status: 3")),
        (&keys.replace(":1,", ":2,"), 0, Err("expected Version 1")),
        (&keys.replace("2027-01-15T08:01:30Z", "soon"), 0, Err("expected a date and time in UTC")),
        (
            r#"{"Version":1,"AccessKeyId":"hidden"}"#,
            0,
            Err("expected an access key id and a secret access key"),
        ),
        ("hidden", 0, Err("expected JSON with Version and keys")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let home = home(&program(folder.path(), output, code), "");
        match (id(&at(&home, "p", &[])).await, expected) {
            (Ok(id), Ok(expected)) => assert_eq!(id, expected),
            (Err(message), Err(expected)) => {
                assert!(message.contains(expected) && !message.contains("hidden"), "{message}");
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }
    let home = home("[profile p]\ncredential_process = /nowhere/program --secret\n", "");
    let message = id(&at(&home, "p", &[])).await.unwrap_err();
    assert!(
        message.starts_with("the program /nowhere/program cannot be run: ") && !message.contains("--secret"),
        "{message}"
    );
}

const SIGN_ONS: &str = "
[profile p]
sso_session = dev
sso_account_id = 123456789012
sso_role_name = Reader & more
[sso-session dev]
sso_region = eu-west-1
sso_start_url = https://example.awsapps.com/start
[profile old]
sso_start_url = https://example.awsapps.com/start
sso_region = eu-west-1
sso_account_id = 1
sso_role_name = r
";

/// SHA-1 of `dev` and of the address above, as AWS's tools name the files of their cache.
const CACHED: [&str; 2] =
    ["34c6fceca75e456f25e7e99531e2425c6c1de443.json", "e8be5486177c5b5392bd9aa76563515b29358e6e.json"];

#[tokio::test]
async fn a_sign_on_is_exchanged_at_the_portal() {
    let portal = Service::start(|seen| match seen.header("x-amz-sso_bearer_token") {
        "signed-on" => Reply::new(
            200,
            r#"{"roleCredentials":{"accessKeyId":"SSO","secretAccessKey":"s","sessionToken":"t","expiration":1800000090000}}"#,
        ),
        _ => Reply::new(401, r#"{"message":"Session token not found or invalid"}"#),
    })
    .await;
    let home = home(SIGN_ONS, "");
    let with = |profile| at(&home, profile, &[("AWS_ENDPOINT_URL_SSO", &portal.url)]);
    let message = id(&with("p")).await.unwrap_err();
    assert!(message.ends_with("is not there: sign on with `aws sso login`"), "{message}");
    let cache = home.path().join(".aws/sso/cache");
    std::fs::create_dir_all(&cache).unwrap();
    let keep = |token: &str, end: &str| {
        let text = format!(r#"{{"accessToken":"{token}","expiresAt":"{end}"}}"#);
        CACHED.iter().for_each(|name| std::fs::write(cache.join(name), &text).unwrap());
    };
    keep("signed-on", "2020-01-01T00:00:00Z");
    let message = id(&with("p")).await.unwrap_err();
    assert!(message.ends_with("has a token that has ended: sign on with `aws sso login`"), "{message}");
    assert!(portal.seen().is_empty());
    keep("signed-on", "2100-01-01T00:00:00UTC");
    let issued = default_chain(&client(), &with("p"), now()).await.unwrap();
    assert_eq!(issued.value.id.expose(), "SSO");
    assert_eq!(issued.expires_at.unwrap().duration_since(now()).unwrap().as_secs(), 90);
    let seen = portal.only();
    assert_eq!(seen.path, "/federation/credentials?role_name=Reader%20%26%20more&account_id=123456789012");
    assert_eq!(id(&with("old")).await, Ok("SSO".to_owned()));
    keep("over", "2100-01-01T00:00:00Z");
    let message = id(&with("p")).await.unwrap_err();
    assert!(message.contains("status 401") && message.contains("not found or invalid"), "{message}");
}

#[tokio::test]
async fn a_sign_on_that_ends_is_renewed() {
    let oidc = Service::start(|seen| match seen.body.contains("good-once") {
        true => Reply::new(
            200,
            r#"{"accessToken":"renewed","tokenType":"Bearer","expiresIn":3600,"refreshToken":"next"}"#,
        ),
        false => Reply::new(400, r#"{"error":"invalid_grant","error_description":"not next"}"#),
    })
    .await;
    let portal = Service::start(|seen| match seen.header("x-amz-sso_bearer_token") {
        token @ ("renewed" | "old") => Reply::new(
            200,
            format!(r#"{{"roleCredentials":{{"accessKeyId":"{token}","secretAccessKey":"s","sessionToken":"t","expiration":1}}}}"#),
        ),
        _ => Reply::new(401, "{}"),
    })
    .await;
    let home = home(SIGN_ONS, "");
    let environment =
        at(&home, "p", &[("AWS_ENDPOINT_URL_SSO", &portal.url), ("AWS_ENDPOINT_URL_SSO_OIDC", &oidc.url)]);
    let cache = home.path().join(".aws/sso/cache");
    std::fs::create_dir_all(&cache).unwrap();
    let file = cache.join(CACHED[0]);
    let keep = |end: &str, registered: &str| {
        let text = format!(
            r#"{{"startUrl":"u","region":"r","accessToken":"old","expiresAt":"{end}","clientId":"c","clientSecret":"hidden","registrationExpiresAt":"{registered}","refreshToken":"good-once"}}"#
        );
        std::fs::write(&file, text).unwrap();
    };
    let (over, soon, late) = ("2020-01-01T00:00:00Z", "2027-01-15T08:10:00Z", "2100-01-01T00:00:00Z");

    keep(over, late);
    assert_eq!(id(&environment).await, Ok("renewed".to_owned()));
    let seen = oidc.only();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/token"));
    let asked: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    let expected = serde_json::json!({
        "grantType": "refresh_token", "clientId": "c", "clientSecret": "hidden", "refreshToken": "good-once",
    });
    assert_eq!(asked, expected);
    let kept: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let expected = serde_json::json!({
        "startUrl": "u", "region": "r", "accessToken": "renewed", "expiresAt": "2027-01-15T09:00:00Z",
        "clientId": "c", "clientSecret": "hidden", "registrationExpiresAt": late, "refreshToken": "next",
    });
    assert_eq!(kept, expected);
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    // What was kept is used as it is: it is good for an hour.
    assert_eq!(id(&environment).await, Ok("renewed".to_owned()));
    oidc.only();

    // One that is still good serves where it cannot be renewed, and is renewed where it can.
    keep(soon, over);
    assert_eq!(id(&environment).await, Ok("old".to_owned()));
    keep(soon, late);
    assert_eq!(id(&environment).await, Ok("renewed".to_owned()));

    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("2027-01-15T09:00:00Z", over)).unwrap();
    let message = id(&environment).await.unwrap_err();
    assert!(message.contains("does not renew (400") && message.contains("aws sso login"), "{message}");
    assert!(!message.contains("hidden"), "{message}");
    keep(over, over);
    let message = id(&environment).await.unwrap_err();
    assert!(message.ends_with("has a token that has ended: sign on with `aws sso login`"), "{message}");
}

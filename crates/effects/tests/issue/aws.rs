//! Keys of AWS: token service, containers, machines, files, and the order in which they are asked.

use std::time::Duration;

use tollgate_config::bundle::SigningKeys;
use tollgate_effects::issue::aws::{Role, assume_role, default_chain};
use tollgate_effects::issue::{Environment, IssueError, Issued};

use crate::service::{Reply, Service, client, environment, failed, hasty, now, secret};

/// 90 seconds after `now`.
const END: &str = "2027-01-15T08:01:30Z";

fn keys_json() -> String {
    format!(
        r#"{{"Code":"Success","AccessKeyId":"AKID","SecretAccessKey":"hidden/+","Token":"tok==","Expiration":"{END}"}}"#
    )
}

fn keys_xml() -> String {
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><Provider>p</Provider><Credentials><AccessKeyId>AKID</AccessKeyId>\
         <SecretAccessKey>hidden/+</SecretAccessKey><SessionToken>tok==</SessionToken><Expiration>{END}</Expiration>\
         </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    )
}

fn told(issued: Result<Issued<SigningKeys>, IssueError>) -> (String, Option<u64>) {
    let Issued { value, expires_at } = issued.unwrap();
    let token = value.token.as_ref().map_or("-", |token| token.expose());
    let text = format!("{} {} {token}", value.id.expose(), value.secret.expose());
    (text, expires_at.map(|end| end.duration_since(now()).unwrap().as_secs()))
}

fn lent() -> (String, Option<u64>) {
    ("AKID hidden/+ tok==".to_owned(), Some(90))
}

const ROLE: Role<'_> =
    Role { arn: "arn:aws:iam::1:role/a", session_name: "ai-gateway-b", region: Some("eu-west-1") };

fn at_sts(service: &Service) -> Environment {
    environment(&[("AWS_ENDPOINT_URL_STS", &service.url)])
}

#[tokio::test]
async fn a_token_is_exchanged_for_keys_of_a_role() {
    let sts = Service::always(Reply::new(200, keys_xml())).await;
    let issued = assume_role(&client(), &at_sts(&sts), ROLE, &secret("jwt+/=")).await;
    assert_eq!(told(issued), lent());
    let seen = sts.only();
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.header("authorization"), "");
    let expected = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("RoleArn", "arn:aws:iam::1:role/a"),
        ("RoleSessionName", "ai-gateway-b"),
        ("Version", "2011-06-15"),
        ("WebIdentityToken", "jwt+/="),
    ];
    for (name, value) in expected {
        assert_eq!(seen.field(name), value, "{name}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_token_service_is_told_without_the_token() {
    let body = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code>\
                <Message>no good: jwt-hidden</Message></Error></ErrorResponse>";
    let sts = Service::always(Reply::new(400, body)).await;
    let message = failed(assume_role(&client(), &at_sts(&sts), ROLE, &secret("jwt-hidden")).await);
    assert!(message.ends_with("status 400: InvalidIdentityToken: no good: [secret]"), "{message}");
}

#[tokio::test]
async fn garbage_and_slowness_are_errors_without_secrets() {
    for body in ["", "garbage", "<Credentials><AccessKeyId>hidden</AccessKeyId></Credentials>", "{}"] {
        let service = Service::always(Reply::new(200, body)).await;
        let message = failed(assume_role(&client(), &at_sts(&service), ROLE, &secret("t")).await);
        assert!(message.contains("cannot be read") && !message.contains("hidden"), "{message}");
    }
    let ended = keys_xml().replace(END, "tomorrow");
    let service = Service::always(Reply::new(200, ended)).await;
    let message = failed(assume_role(&client(), &at_sts(&service), ROLE, &secret("t")).await);
    assert!(message.ends_with("expected a date and time in UTC as the end of the keys"), "{message}");
    let slow = Service::always(Reply::new(200, keys_xml()).after(Duration::from_secs(2))).await;
    let message = failed(assume_role(&hasty(), &at_sts(&slow), ROLE, &secret("t")).await);
    assert!(message.ends_with("did not answer in time"), "{message}");
}

/// Answers as the metadata service of a machine, version 2.
async fn machine() -> Service {
    Service::start(|seen| match (seen.method.as_str(), seen.path.as_str()) {
        ("PUT", "/latest/api/token") if seen.headers.contains_key("x-aws-ec2-metadata-token-ttl-seconds") => {
            Reply::new(200, "session")
        }
        ("GET", _) if seen.header("x-aws-ec2-metadata-token") != "session" => Reply::new(401, ""),
        ("GET", "/latest/meta-data/iam/security-credentials/") => Reply::new(200, "a role\n"),
        ("GET", "/latest/meta-data/iam/security-credentials/a%20role") => Reply::new(200, keys_json()),
        _ => Reply::new(404, ""),
    })
    .await
}

/// An environment without what is around the test itself.
fn at_machine(service: &Service, others: &[(&str, &str)]) -> Environment {
    let mut variables = vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url.as_str())];
    variables.extend(others);
    environment(&variables)
}

#[tokio::test]
async fn a_machine_gives_the_keys_of_its_role_to_who_has_a_session() {
    let machine = machine().await;
    assert_eq!(told(default_chain(&client(), &at_machine(&machine, &[]), now()).await), lent());
    assert_eq!(machine.seen().len(), 3);
}

#[tokio::test]
async fn a_machine_without_a_role_or_with_a_failure_says_so() {
    for (answer, expected) in
        [("", "the machine has none"), ("{\"Code\":\"Failed\"}", "it tells a failure instead of keys")]
    {
        let service = Service::start(move |seen| match seen.path.as_str() {
            "/latest/api/token" => Reply::new(200, "session"),
            "/latest/meta-data/iam/security-credentials/" if answer.is_empty() => Reply::new(200, ""),
            "/latest/meta-data/iam/security-credentials/" => Reply::new(200, "role"),
            _ => Reply::new(200, answer),
        })
        .await;
        let message = failed(default_chain(&client(), &at_machine(&service, &[]), now()).await);
        assert!(message.ends_with(expected), "{message}");
    }
    let off = environment(&[("AWS_EC2_METADATA_DISABLED", "true")]);
    let message = failed(default_chain(&client(), &off, now()).await);
    assert!(message.starts_with("no keys of AWS"), "{message}");
}

#[tokio::test]
async fn a_container_shows_the_token_in_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "eks-token\n").unwrap();
    let service = Service::always(Reply::new(200, keys_json())).await;
    let url = format!("{}/v1/credentials", service.url);
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "not this one"),
    ];
    assert_eq!(told(default_chain(&client(), &environment(&variables), now()).await), lent());
    let seen = service.only();
    assert_eq!((seen.path.as_str(), seen.header("authorization")), ("/v1/credentials", "eks-token"));
}

#[tokio::test]
async fn a_container_is_not_sent_astray() {
    let variables = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://keys.example/a")];
    let message = failed(default_chain(&client(), &environment(&variables), now()).await);
    assert!(message.ends_with("keys.example may not be asked for keys without TLS"), "{message}");
}

#[tokio::test]
async fn keys_of_files_are_those_of_the_profile() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    std::fs::create_dir(home.join(".aws")).unwrap();
    let credentials = "[default]\naws_access_key_id=A\naws_secret_access_key=a\n";
    let config = "[default]\nregion=eu-west-1\n[profile team]\naws_access_key_id=B\naws_secret_access_key=b\n\
                  [profile sso]\nsso_session=x\n";
    std::fs::write(home.join(".aws/credentials"), credentials).unwrap();
    std::fs::write(home.join(".aws/config"), config).unwrap();
    let home = home.to_str().unwrap();
    let with = |profile| environment(&[("HOME", home), ("AWS_PROFILE", profile)]);
    assert_eq!(told(default_chain(&client(), &with(""), now()).await), ("A a -".to_owned(), None));
    assert_eq!(told(default_chain(&client(), &with("team"), now()).await), ("B b -".to_owned(), None));
    let message = failed(default_chain(&client(), &with("sso"), now()).await);
    assert_eq!(message, "no section [sso-session x]");
    let message = failed(default_chain(&client(), &with("none"), now()).await);
    assert_eq!(message, "AWS_PROFILE names \"none\", which has no keys in any file");
}

#[tokio::test]
async fn the_chain_takes_the_first_that_is_named_and_goes_no_further() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "jwt\n").unwrap();
    let sts = Service::start(|seen| match seen.field("WebIdentityToken").as_str() {
        "jwt" => Reply::new(200, keys_xml().replace("AKID", "ROLE")),
        _ => Reply::new(403, ""),
    })
    .await;
    let machine = machine().await;
    let identity = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/a"),
        ("AWS_ENDPOINT_URL_STS", sts.url.as_str()),
    ];
    let mut variables = identity.to_vec();
    variables.extend([("AWS_ACCESS_KEY_ID", "VAR"), ("AWS_SECRET_ACCESS_KEY", "v")]);
    let keys = told(default_chain(&client(), &at_machine(&machine, &variables), now()).await);
    assert_eq!(keys, ("VAR v -".to_owned(), None));
    let keys = told(default_chain(&client(), &at_machine(&machine, &identity), now()).await);
    assert_eq!(keys.0, "ROLE hidden/+ tok==");
    assert_eq!(sts.only().field("RoleSessionName"), "ai-gateway");
    std::fs::write(&token, "stale").unwrap();
    assert!(
        failed(default_chain(&client(), &at_machine(&machine, &identity), now()).await)
            .contains("status 403")
    );
    let half = [("AWS_ACCESS_KEY_ID", "VAR")];
    let message = failed(default_chain(&client(), &at_machine(&machine, &half), now()).await);
    assert!(message.starts_with("expected both or none"), "{message}");
    assert!(machine.seen().is_empty());
}

//! Tests of which credential an attempt gets.

use std::time::Duration;

use tollgate_config::bundle::{AwsSource, Credential, CredentialKind, Limits, Schema, SecretRef};
use tollgate_terms::BackendName;

use super::*;

const HEADER: &str = "x-aigw-api-key";

fn reference(key: &str) -> SecretRef {
    SecretRef { namespace: "default".to_owned(), name: "keys".to_owned(), key: key.to_owned() }
}

fn secrets() -> Secrets {
    let values = [
        ("good", "sk-1"),
        ("spaced", " sk-2\n"),
        ("empty", " \n"),
        ("file", "[default]\naws_access_key_id=AKID\naws_secret_access_key=s\n"),
    ];
    values.map(|(key, value)| (reference(key), Secret::new(value.to_owned()))).into_iter().collect()
}

fn backend(credential: Credential) -> Backend {
    Backend {
        name: BackendName::new("default/a".to_owned()),
        schema: Schema::Plain,
        endpoints: Vec::new(),
        tls: None,
        credential: Some(credential),
        limits: Limits { connections_max: 1, requests_max: 1, retries_max: 1 },
        ejection: None,
        connect_timeout: Duration::from_secs(1),
        http2_cleartext: false,
        quotas: Vec::new(),
    }
}

fn policy(configured: Option<&str>, header: Option<&str>, fallback_to_configured: bool) -> Credential {
    Credential {
        kind: CredentialKind::ApiKey,
        configured: configured.map(reference).map(CredentialSource::Key),
        override_headers: header.map(str::to_owned).into_iter().collect(),
        fallback_to_configured,
    }
}

fn signing(profile: &str, fallback_to_configured: bool) -> Credential {
    let file = AwsSource::CredentialsFile { file: reference("file"), profile: profile.to_owned() };
    let kind = CredentialKind::AwsSignature { region: "eu-west-1".to_owned() };
    let override_headers = kind.offered_parts().iter().map(|part| format!("x-aigw-aws-{part}")).collect();
    Credential {
        kind,
        configured: Some(CredentialSource::Aws(file)),
        override_headers,
        fallback_to_configured,
    }
}

/// What is found, in short.
fn found(credential: &Credential, offered: &[Option<&str>]) -> String {
    let backend = backend(credential.clone());
    let mut bundle = Bundle::default();
    bundle.backends.insert(backend.name.clone(), backend.clone());
    let offered: Vec<_> =
        offered.iter().map(|part| part.map(|part| Offered(Secret::new(part.to_owned())))).collect();
    let answer = match Credentials::new(&bundle, &secrets(), None).find(&backend, &offered) {
        Sought::Known(answer) => answer,
        Sought::Later(_) => return "later".to_owned(),
    };
    match answer {
        Answer::Credential(None) => "none".to_owned(),
        Answer::Credential(Some(Proof::Secret(secret))) => secret.expose().to_owned(),
        Answer::Credential(Some(Proof::Keys(keys))) => {
            format!("{}:{}", keys.id.expose(), keys.secret.expose())
        }
        Answer::MissingCredential => "missing".to_owned(),
        Answer::HalfCredential => "half".to_owned(),
        Answer::UnavailableCredential => "unavailable".to_owned(),
        Answer::Granted(_) | Answer::Exceeded { .. } | Answer::Unchecked => "limits".to_owned(),
    }
}

#[test]
fn the_configured_credential_is_trimmed() {
    assert_eq!(found(&policy(Some("good"), None, true), &[]), "sk-1");
    assert_eq!(found(&policy(Some("spaced"), None, true), &[]), "sk-2");
}

#[test]
fn the_credential_of_the_request_comes_first_where_one_is_allowed() {
    let offered = [Some(" own ")];
    assert_eq!(found(&policy(Some("good"), Some(HEADER), true), &offered), "own");
    assert_eq!(found(&policy(None, Some(HEADER), false), &offered), "own");
    assert_eq!(found(&policy(Some("good"), None, true), &offered), "sk-1");
}

#[test]
fn the_fallback_is_taken_only_where_it_is_allowed() {
    for offered in [[None], [Some(" ")]] {
        assert_eq!(found(&policy(Some("good"), Some(HEADER), true), &offered), "sk-1");
        assert_eq!(found(&policy(Some("good"), Some(HEADER), false), &offered), "missing");
        assert_eq!(found(&policy(None, Some(HEADER), true), &offered), "missing");
    }
}

#[test]
fn a_secret_that_is_not_there_is_never_replaced_by_no_credential() {
    assert_eq!(found(&policy(Some("absent"), None, true), &[]), "missing");
    assert_eq!(found(&policy(Some("empty"), None, true), &[]), "missing");
    assert_eq!(found(&policy(None, None, true), &[]), "none");
}

#[test]
fn keys_come_from_the_profile_that_is_named() {
    assert_eq!(found(&signing("default", true), &[]), "AKID:s");
    assert_eq!(found(&signing("other", true), &[]), "missing");
}

#[test]
fn half_a_pair_of_keys_is_refused_and_not_replaced_by_the_configured_one() {
    assert_eq!(found(&signing("default", true), &[Some("id"), Some("key"), None]), "id:key");
    assert_eq!(found(&signing("default", true), &[Some("id"), None, None]), "half");
    assert_eq!(found(&signing("default", true), &[None, None, None]), "AKID:s");
    assert_eq!(found(&signing("default", false), &[None, None, None]), "missing");
}

#[test]
fn debug_tells_sources_and_no_values() {
    let backend = backend(policy(Some("good"), None, true));
    let mut bundle = Bundle::default();
    bundle.backends.insert(backend.name.clone(), backend);
    let text = format!("{:?}", Credentials::new(&bundle, &secrets(), None));
    assert!(text.contains("good") && !text.contains("sk-1"), "{text}");
}

//! How backends are proved to: whose credential they see, and what happens while one is renewed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tollgate_config::bundle::{
    AwsSource, Backend, Credential, CredentialKind, CredentialSource, GoogleSource, Proof, Schema, SecretRef,
    SigningKeys, Unsigned,
};
use tollgate_effects::Secrets;
use tollgate_suite::{
    Act, CHAT, ScriptedBackend, Tested, body, bundle, chat_request, completion, free_port, header, is_envoy,
    json, openai, retrying, rule, sized, status,
};
use tollgate_terms::{ModelName, Secret};

const JSON: &str = "application/json";

fn good() -> ScriptedBackend {
    ScriptedBackend::start(vec![vec![Act::Write(sized(200, JSON, "", completion()))]])
}

fn reference(key: &str) -> SecretRef {
    SecretRef { namespace: "default".to_owned(), name: "keys".to_owned(), key: key.to_owned() }
}

fn secrets(values: &[(&str, &str)]) -> Secrets {
    values.iter().map(|(key, value)| (reference(key), Secret::new((*value).to_owned()))).collect()
}

fn with_credential(
    mut backend: Backend,
    kind: CredentialKind,
    source: CredentialSource,
    header: Option<&str>,
) -> Backend {
    let names = kind.offered_parts().iter();
    let override_headers =
        header.map(|header| names.map(|part| format!("{header}{part}")).collect()).unwrap_or_default();
    let configured = Some(source);
    backend.credential =
        Some(Credential { kind, configured, override_headers, fallback_to_configured: true });
    backend
}

fn key() -> CredentialSource {
    CredentialSource::Key(reference("key"))
}

/// A chat with these lines in its head.
fn chat_with(lines: &[(&str, &str)]) -> String {
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    chat_request(CHAT).replace("host: gateway\r\n", &format!("host: gateway\r\n{lines}"))
}

#[test]
fn the_credential_of_a_request_is_shown_instead_of_the_configured_one() {
    let google = CredentialKind::GoogleToken { project: "p".to_owned(), region: "r".to_owned() };
    for (kind, brought, shown, prefix) in [
        (CredentialKind::ApiKey, "x-aigw-api-key", "authorization", "Bearer "),
        (CredentialKind::AnthropicApiKey, "x-aigw-anthropic-api-key", "x-api-key", ""),
        (CredentialKind::AzureApiKey, "x-aigw-azure-api-key", "api-key", ""),
        (CredentialKind::AzureToken, "x-aigw-azure-access-token", "authorization", "Bearer "),
        (google, "x-aigw-gcp-access-token", "authorization", "Bearer "),
    ] {
        let backend = good();
        let proved = with_credential(openai("b", backend.address), kind, key(), Some(brought));
        let tested = Tested::start_with(rule(&["b"]), vec![proved], secrets(&[("key", "configured")]));
        for (lines, expected) in [(vec![(brought, "own")], "own"), (vec![], "configured")] {
            assert_eq!(status(&tested.send(&chat_with(&lines))), 200, "{brought}");
            let asked = backend.request();
            assert_eq!(header(&asked, shown), Some(format!("{prefix}{expected}").as_str()), "{asked}");
            assert_eq!(header(&asked, brought), None, "{asked}");
        }
    }
}

fn signing() -> CredentialKind {
    CredentialKind::AwsSignature { region: "eu-west-1".to_owned() }
}

fn file() -> CredentialSource {
    CredentialSource::Aws(AwsSource::CredentialsFile {
        file: reference("file"),
        profile: "default".to_owned(),
    })
}

fn aws_secrets() -> Secrets {
    secrets(&[("file", "[default]\naws_access_key_id=AKID\naws_secret_access_key=s3cret\n")])
}

fn keys(id: &str, secret: &str, token: Option<&str>) -> SigningKeys {
    let text = |text: &str| Secret::new(text.to_owned());
    SigningKeys { id: text(id), secret: text(secret), token: token.map(text) }
}

/// Signs once more what the backend was asked, and finds the same signature.
fn assert_signed(asked: &str, service: &str, keys: SigningKeys) {
    let path = asked.split(' ').nth(1).expect("a path");
    let sent = [body(asked).into()];
    let proof = Proof::Keys(keys);
    let signature_at = |unix_s| {
        let mut headers = http::HeaderMap::new();
        headers.insert("content-type", JSON.parse().expect("a value"));
        let request = Unsigned {
            method: &http::Method::POST,
            authority: header(asked, "host").expect("a host"),
            path,
            body: &sent,
            service,
            unix_s,
        };
        signing().show(&proof, request, &mut headers).expect("shown");
        headers
    };
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs();
    let date = header(asked, "x-amz-date");
    let signed = (now_s - 30..=now_s + 1).map(signature_at);
    let mut signed = signed.filter(|headers| headers["x-amz-date"].to_str().ok() == date);
    let signed = signed.next().expect("a date of today");
    for name in ["authorization", "x-amz-content-sha256", "x-amz-security-token"] {
        let expected = signed.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header(asked, name), expected, "{name}\n{asked}");
    }
}

#[test]
fn a_request_is_signed_for_the_host_path_and_body_that_the_backend_gets() {
    let backend = good();
    let proved = with_credential(openai("b", backend.address), signing(), file(), Some("x-aigw-aws-"));
    let tested = Tested::start_with(rule(&["b"]), vec![proved], aws_secrets());
    assert_eq!(status(&tested.chat(CHAT)), 200);
    assert_signed(&backend.request(), "bedrock", keys("AKID", "s3cret", None));

    let own = [
        ("x-aigw-aws-access-key-id", "AKIDOWN"),
        ("x-aigw-aws-secret-access-key", "own"),
        ("X-Aigw-Aws-Session-Token", "tok=="),
        ("x-amz-security-token", "forged"),
    ];
    assert_eq!(status(&tested.send(&chat_with(&own))), 200);
    let asked = backend.request();
    assert_signed(&asked, "bedrock", keys("AKIDOWN", "own", Some("tok==")));
    assert!(!asked.contains("x-aigw") && !asked.contains("forged"), "{asked}");
}

/// Escapes are signed escaped once more, and a body that is said anew is signed as it is sent.
#[test]
fn a_model_in_the_path_is_signed_as_the_backend_gets_it() {
    let azure = Schema::AzureOpenAi { api_version: "v 1".to_owned() };
    for (schema, service, path) in [
        (Schema::AwsBedrock, "bedrock", "profile%2Fa.b-v1:0/converse "),
        (azure, "bedrock", "?api-version=v%201 "),
        (Schema::SageMaker, "sagemaker", "/endpoints/"),
    ] {
        let backend = good();
        let asked = tollgate_suite::backend("b", schema, backend.address);
        let mut rule = rule(&["b"]);
        rule.targets[0].model_override =
            ModelName::parse("arn:aws:bedrock:eu-west-1:1:inference-profile/a.b-v1:0").ok();
        let proved = with_credential(asked, signing(), file(), None);
        let tested = Tested::start_with(rule, vec![proved], aws_secrets());
        tested.chat(CHAT);
        let asked = backend.request();
        assert!(asked.contains(path), "{asked}");
        assert_signed(&asked, service, keys("AKID", "s3cret", None));
    }
}

#[test]
fn half_a_pair_of_keys_is_a_401_and_never_a_fallback() {
    let backend = good();
    let proved = with_credential(openai("b", backend.address), signing(), file(), Some("x-aigw-aws-"));
    let tested = Tested::start_with(rule(&["b"]), vec![proved], aws_secrets());
    for half in [("x-aigw-aws-access-key-id", "AKIDOWN"), ("x-aigw-aws-secret-access-key", "own")] {
        let response = tested.send(&chat_with(&[half]));
        assert_eq!(status(&response), 401, "{response}");
        let message = json(&response)["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.starts_with("missing upstream credential"), "{message}");
    }
    assert!(backend.requests.try_recv().is_err());
    assert_eq!(tested.log_lines(2)[0]["tollgate.fault"], "half_credential");
}

static KEY: LazyLock<String> =
    LazyLock::new(|| rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key").serialize_pem());

/// The key of a service account whose tokens are had from `service`.
fn service_account(service: &ScriptedBackend) -> String {
    let token_uri = format!("http://{}/token", service.address);
    let account = serde_json::json!({ "client_email": "a@b", "private_key": *KEY, "token_uri": token_uri });
    account.to_string()
}

/// Gives `{name}1`, `{name}2`, ..., each of which lives so long.
fn tokens(name: &str, life_s: u32) -> ScriptedBackend {
    let token = |number: u32| {
        let token = format!(r#"{{"access_token":"{name}{number}","expires_in":{life_s}}}"#);
        vec![Act::Write(sized(200, JSON, "connection: close\r\n", &token)), Act::Close]
    };
    ScriptedBackend::start((1..=30).map(token).collect())
}

fn lent(name: &str, backend: &ScriptedBackend, key: &str) -> Backend {
    let kind = CredentialKind::GoogleToken { project: "p".to_owned(), region: "r".to_owned() };
    let source = CredentialSource::Google(GoogleSource::ServiceAccount(reference(key)));
    with_credential(openai(name, backend.address), kind, source, None)
}

/// Sends chats without a pause while `act` acts, each of which must be answered. Returns what the backend was shown, without repetitions.
fn shown_during(tested: &Tested, backend: &ScriptedBackend, act: impl FnOnce()) -> Vec<String> {
    let is_over = AtomicBool::new(false);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let response = tested.chat(CHAT);
                    if status(&response) != 200 {
                        failed.lock().expect("a lock").get_or_insert(response);
                    }
                }
            });
        }
        act();
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(failed.into_inner().expect("a lock"), None);
    let asked = backend.requests.try_iter();
    let mut shown: Vec<_> =
        asked.map(|asked| header(&asked, "authorization").unwrap_or_default().to_owned()).collect();
    shown.sort();
    shown.dedup();
    shown
}

#[test]
fn no_request_fails_while_tokens_are_renewed() {
    let (backend, service) = (good(), tokens("t", 4));
    let account = service_account(&service);
    let tested =
        Tested::start_with(rule(&["b"]), vec![lent("b", &backend, "a")], secrets(&[("a", &account)]));
    let shown = shown_during(&tested, &backend, || std::thread::sleep(Duration::from_secs(5)));
    // Each is renewed when half of its life is over.
    assert_eq!(shown.first().map(String::as_str), Some("Bearer t1"), "{shown:?}");
    assert!((2..=4).contains(&shown.len()), "{shown:?}");
    assert!(service.requests.try_iter().count() <= shown.len() + 1);
}

#[test]
fn the_first_requests_wait_for_a_slow_token_and_ask_for_it_once() {
    let token = r#"{"access_token":"slow","expires_in":3600}"#;
    let pause = Act::Pause(Duration::from_millis(1500));
    let slow = vec![pause, Act::Write(sized(200, JSON, "connection: close\r\n", token)), Act::Close];
    let (backend, service) = (good(), ScriptedBackend::start(vec![slow]));
    let account = service_account(&service);
    let tested =
        Tested::start_with(rule(&["b"]), vec![lent("b", &backend, "a")], secrets(&[("a", &account)]));
    std::thread::scope(|scope| {
        let chats: Vec<_> = (0..4).map(|_| scope.spawn(|| tested.chat(CHAT))).collect();
        for chat in chats {
            assert_eq!(status(&chat.join().expect("an answer")), 200);
        }
    });
    assert_eq!(header(&backend.request(), "authorization"), Some("Bearer slow"));
    assert_eq!(service.requests.try_iter().count(), 1);
}

#[test]
fn a_secret_that_changes_is_used_at_once_and_no_request_fails() {
    let (backend, first, second) = (good(), tokens("first", 3600), tokens("second", 3600));
    let port = free_port();
    let configured = || bundle(port, rule(&["b"]), vec![lent("b", &backend, "a")]);
    let tested = Tested::start_bundle(configured(), secrets(&[("a", &service_account(&first))]));
    let shown = shown_during(&tested, &backend, || {
        std::thread::sleep(Duration::from_millis(500));
        // The same values again: what was fetched is taken over.
        tested.reload(configured(), secrets(&[("a", &service_account(&first))]));
        std::thread::sleep(Duration::from_millis(500));
        tested.reload(configured(), secrets(&[("a", &service_account(&second))]));
        std::thread::sleep(Duration::from_millis(500));
    });
    assert_eq!(shown, ["Bearer first1", "Bearer second1"]);
    assert_eq!(status(&tested.chat(CHAT)), 200);
    assert_eq!(header(&backend.request(), "authorization"), Some("Bearer second1"));
}

/// A token that was revoked ahead of its end: who asks next but one is answered again.
#[test]
fn a_token_that_a_backend_does_not_take_is_fetched_anew() {
    let service = tokens("t", 3600);
    let refused = vec![Act::Write(sized(401, JSON, "", "{}"))];
    let taken = vec![Act::Write(sized(200, JSON, "", completion()))];
    let backend = ScriptedBackend::start(vec![taken.clone(), refused.clone(), refused, taken]);
    let values = secrets(&[("a", &service_account(&service))]);
    let tested = Tested::start_with(rule(&["b"]), vec![lent("b", &backend, "a")], values);
    assert_eq!(status(&tested.chat(CHAT)), 200);
    // It was fetched a moment ago: that is not the reason.
    assert_eq!(status(&tested.chat(CHAT)), 401);
    std::thread::sleep(Duration::from_millis(5500));
    assert_eq!(status(&tested.chat(CHAT)), 401);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(status(&tested.chat(CHAT)), 200);
    let shown: Vec<_> = backend.requests.try_iter().collect();
    let shown: Vec<_> = shown.iter().filter_map(|asked| header(asked, "authorization")).collect();
    assert_eq!(shown, ["Bearer t1", "Bearer t1", "Bearer t1", "Bearer t2"]);
    assert_eq!(service.requests.try_iter().count(), 2);
}

#[test]
fn without_a_token_the_backend_is_not_asked_and_another_one_is() {
    let refusal = r#"{"error":"invalid_grant","error_description":"no such account"}"#;
    let refusing = vec![Act::Write(sized(400, JSON, "connection: close\r\n", refusal)), Act::Close];
    let service = ScriptedBackend::start(vec![refusing]);
    let (backend, other) = (good(), good());
    let account = service_account(&service);
    let values = secrets(&[("a", &account)]);
    let alone = Tested::start_with(rule(&["b"]), vec![lent("b", &backend, "a")], values.clone());
    let began = Instant::now();
    let response = alone.chat(CHAT);
    assert_eq!((status(&response), header(&response, "retry-after")), (503, Some("1")), "{response}");
    assert!(response.contains("no credential for the backend could be obtained"), "{response}");
    assert!(!response.contains("no such account"), "{response}");
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(alone.log_lines(1)[0]["tollgate.fault"], "credential");
    if !is_envoy() {
        let backends = vec![lent("b", &backend, "a"), openai("c", other.address)];
        let tested = Tested::start_with(retrying(rule(&["b", "c"])), backends, values);
        assert_eq!(status(&tested.chat(CHAT)), 200);
        assert_eq!(header(&other.request(), "authorization"), None);
    }
    assert!(backend.requests.try_recv().is_err());
}

//! Tests of credentials whose Secrets AWS Secrets Manager keeps, each from its configuration to what is shown.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_config::bundle::{
    AwsSource, AzureIdentity, AzureSource, Credential, CredentialKind, GoogleSource, Limits, RemoteSecret,
    Schema, SecretRef, SigningKeys,
};
use tollgate_terms::BackendName;

use super::service::{Reply, Seen, Service, client, environment};
use super::*;
use crate::clock;
use crate::issue::aws_secrets::AwsSecret;
use crate::live::ledger;

const SOON: Duration = Duration::from_secs(10);

/// AWS Secrets Manager and Entra in one, which keeps one secret.
struct Keeping {
    service: Service,
    answer: Arc<Mutex<(u16, String)>>,
}

impl Keeping {
    async fn start(value: &str) -> Self {
        let answer = Arc::new(Mutex::new((200, String::new())));
        let given = Arc::clone(&answer);
        let service = Service::start(move |seen: &Seen| {
            if seen.path.ends_with("/token") {
                let token = format!("for-{}", seen.field("client_secret"));
                return Reply::new(200, json!({ "access_token": token, "expires_in": 2 }).to_string());
            }
            let (status, body) = given.lock().expect("a lock").clone();
            Reply::new(status, body)
        });
        let keeping = Self { service: service.await, answer };
        keeping.keep(value);
        keeping
    }

    fn keep(&self, value: &str) {
        self.answer(200, &json!({ "SecretString": value }));
    }

    fn refuse(&self) {
        self.answer(400, &json!({ "__type": "AccessDeniedException", "Message": "no" }));
    }

    fn answer(&self, status: u16, body: &Value) {
        *self.answer.lock().expect("a lock") = (status, body.to_string());
    }

    /// How often the secret was asked for.
    fn asked(&self) -> usize {
        self.service.seen().iter().filter(|seen| !seen.path.ends_with("/token")).count()
    }

    fn around(&self) -> Surroundings {
        let url = self.service.url.as_str();
        let variables = [
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "hidden"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", url),
            ("AZURE_AUTHORITY_HOST", url),
        ];
        Surroundings { environment: environment(&variables), client: client() }
    }

    fn credentials(&self, bundle: &Bundle) -> Credentials {
        Credentials::within(bundle, &Secrets::default(), self.around())
    }
}

fn reference(name: &str, key: &str) -> SecretRef {
    SecretRef { namespace: "default".to_owned(), name: name.to_owned(), key: key.to_owned() }
}

fn key(name: &str) -> CredentialSource {
    CredentialSource::Key(reference(name, "apiKey"))
}

fn azure(name: &str) -> CredentialSource {
    let (client_id, tenant_id) = ("app".to_owned(), "tenant".to_owned());
    let source = AzureSource::ClientSecret(reference(name, "client-secret"));
    CredentialSource::Azure(AzureIdentity { client_id, tenant_id, source })
}

fn backend(source: CredentialSource) -> Backend {
    Backend {
        name: BackendName::new("default/a".to_owned()),
        schema: Schema::Plain,
        endpoints: Vec::new(),
        tls: None,
        credential: Some(Credential {
            kind: CredentialKind::ApiKey,
            configured: Some(source),
            override_headers: Vec::new(),
            fallback_to_configured: true,
        }),
        limits: Limits { connections_max: 1, requests_max: 1, retries_max: 1 },
        ejection: None,
        connect_timeout: Duration::from_secs(1),
        http2_cleartext: false,
        quotas: Vec::new(),
    }
}

/// One backend with a credential from `source`, whose Secret is kept elsewhere.
fn configured(source: CredentialSource, refresh_s: u64) -> (Bundle, Backend) {
    let backend = backend(source);
    let credential = backend.credential.as_ref().and_then(|credential| credential.configured.as_ref());
    let name = credential.map(|source| source.secrets()[0].name.clone()).unwrap_or_default();
    let remote = RemoteSecret {
        id: "gateway/keys".to_owned(),
        region: "eu-west-1".to_owned(),
        refresh: Duration::from_secs(refresh_s),
    };
    let bundle = Bundle {
        backends: [(backend.name.clone(), backend.clone())].into(),
        remote_secrets: [(format!("default/{name}"), remote)].into(),
        ..Bundle::default()
    };
    (bundle, backend)
}

async fn shown(credentials: &Credentials, backend: &Backend) -> String {
    let proof = match credentials.find(backend, &[]) {
        Sought::Later(awaited) => awaited.proof().await,
        Sought::Known(Answer::Credential(proof)) => proof,
        Sought::Known(Answer::UnavailableCredential) => return "unavailable".to_owned(),
        Sought::Known(_) => return "missing".to_owned(),
    };
    match proof {
        None => "none".to_owned(),
        Some(Proof::Secret(secret)) => secret.expose().to_owned(),
        Some(Proof::Keys(keys)) => keys.id.expose().to_owned(),
    }
}

/// Finds `wanted` in the end, and on the way nothing but `known`.
#[expect(clippy::disallowed_methods, reason = "a test measures")]
async fn turns_into(credentials: &Credentials, backend: &Backend, known: &str, wanted: &str) {
    let began = Instant::now();
    loop {
        let found = shown(credentials, backend).await;
        if found == wanted {
            return;
        }
        assert_eq!(found, known);
        assert!(began.elapsed() < SOON, "still {found}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_key_is_fetched_once_it_is_needed_with_a_signature_of_the_default_chain() {
    let keeping = Keeping::start(r#"{"apiKey":" sk-1\n"}"#).await;
    let (bundle, backend) = configured(key("signed"), 300);
    let credentials = keeping.credentials(&bundle);
    assert_eq!(keeping.asked(), 0);
    for _ in 0..2 {
        assert_eq!(shown(&credentials, &backend).await, "sk-1");
    }
    let seen = keeping.service.only();
    assert_eq!(seen.body, r#"{"SecretId":"gateway/keys"}"#);
    assert!(seen.header("authorization").contains("/eu-west-1/secretsmanager/aws4_request"), "{seen:?}");
    let text = |text: &str| Secret::new(text.to_owned());
    let keys = Proof::Keys(SigningKeys { id: text("AKID"), secret: text("hidden"), token: None });
    let around = keeping.around();
    let secret = AwsSecret::current("gateway/keys", "eu-west-1", &around.environment);
    let now = clock::now();
    let signed = (0..30).map(|ago_s| {
        let mut request = http::Request::new(Bytes::from(seen.body.clone()));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = keeping.service.url.parse().expect("an address");
        for name in ["content-type", "x-amz-target"] {
            request.headers_mut().insert(name, seen.headers[name].clone());
        }
        secret.sign(&mut request, &keys, now - Duration::from_secs(ago_s)).expect("signed");
        request.headers()["authorization"].clone()
    });
    assert!(signed.into_iter().any(|signature| signature == seen.headers["authorization"]), "{seen:?}");
}

#[tokio::test]
async fn a_text_stands_for_whichever_key_is_wanted() {
    let file =
        AwsSource::CredentialsFile { file: reference("texts", "credentials"), profile: "default".to_owned() };
    let shared = "[default]\naws_access_key_id=AKIDFILE\naws_secret_access_key=s\n";
    for (source, text, expected) in [
        (key("texts"), "sk-1\n", "sk-1"),
        (CredentialSource::Aws(file), shared, "AKIDFILE"),
        (azure("texts"), "hush", "for-hush"),
    ] {
        let keeping = Keeping::start(text).await;
        let (bundle, backend) = configured(source, 300);
        assert_eq!(shown(&keeping.credentials(&bundle), &backend).await, expected);
    }
}

#[tokio::test]
async fn what_a_secret_has_itself_does_not_count() {
    let keeping = Keeping::start(r#"{"apiKey":"sk-kept"}"#).await;
    let (bundle, backend) = configured(key("own"), 300);
    let own = [(reference("own", "apiKey"), Secret::new("sk-own".to_owned()))].into_iter().collect();
    let credentials = Credentials::within(&bundle, &own, keeping.around());
    assert_eq!(shown(&credentials, &backend).await, "sk-kept");
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_or_used_is_none_and_counted() {
    let keeping = Keeping::start("").await;
    let (bundle, backend) = configured(key("refused"), 300);
    keeping.refuse();
    let credentials = keeping.credentials(&bundle);
    assert_eq!(shown(&credentials, &backend).await, "none");
    assert_eq!(shown(&credentials, &backend).await, "unavailable");
    assert_eq!(ledger::entries()["Secret default/refused"].failures, 1);
    for body in [
        json!({ "SecretString": r#"{"other":"x"}"# }),
        json!({ "SecretString": "two\nlines" }),
        json!({ "SecretString": "" }),
    ] {
        keeping.answer(200, &body);
        let (bundle, backend) = configured(key("unusable"), 300);
        assert_eq!(shown(&keeping.credentials(&bundle), &backend).await, "none", "{body}");
    }
    // The default chain has no keys.
    let (bundle, backend) = configured(key("without"), 300);
    let variables = [("AWS_EC2_METADATA_DISABLED", "true"), ("HOME", "/nowhere")];
    let around = Surroundings { environment: environment(&variables), client: client() };
    let credentials = Credentials::within(&bundle, &Secrets::default(), around);
    assert_eq!(shown(&credentials, &backend).await, "none");
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused() {
    let keeping = Keeping::start("").await;
    keeping.answer(200, &json!({ "SecretBinary": "/9j/" }));
    let (bundle, backend) = configured(azure("binary"), 300);
    assert_eq!(shown(&keeping.credentials(&bundle), &backend).await, "none");
}

#[tokio::test]
async fn a_new_value_is_used_after_a_refresh_and_the_old_one_while_there_is_none() {
    let keeping = Keeping::start(r#"{"apiKey":"sk-1"}"#).await;
    let (bundle, backend) = configured(key("rotated"), 1);
    let credentials = keeping.credentials(&bundle);
    assert_eq!(shown(&credentials, &backend).await, "sk-1");
    keeping.keep(r#"{"apiKey":"sk-2"}"#);
    turns_into(&credentials, &backend, "sk-1", "sk-2").await;
    keeping.refuse();
    let failures = || ledger::entries()["Secret default/rotated"].failures;
    while failures() < 2 {
        assert_eq!(shown(&credentials, &backend).await, "sk-2");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    keeping.keep(r#"{"apiKey":"sk-3"}"#);
    turns_into(&credentials, &backend, "sk-2", "sk-3").await;
}

#[tokio::test]
async fn a_token_is_renewed_with_the_value_of_now_or_with_the_last_one() {
    let keeping = Keeping::start(r#"{"client-secret":"a"}"#).await;
    let (bundle, backend) = configured(azure("exchanged"), 300);
    let credentials = keeping.credentials(&bundle);
    assert_eq!(shown(&credentials, &backend).await, "for-a");
    keeping.keep(r#"{"client-secret":"b"}"#);
    turns_into(&credentials, &backend, "for-a", "for-b").await;
    keeping.refuse();
    while ledger::entries()["Secret default/exchanged"].failures < 3 {
        assert_eq!(shown(&credentials, &backend).await, "for-b");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_value_is_kept_over_a_reload_unless_it_is_kept_elsewhere_then() {
    let keeping = Keeping::start("sk-1").await;
    let (bundle, backend) = configured(key("reloaded"), 300);
    let credentials = keeping.credentials(&bundle);
    assert_eq!(shown(&credentials, &backend).await, "sk-1");
    let same = Credentials::new(&bundle, &Secrets::default(), Some(&credentials));
    drop(credentials);
    assert_eq!((shown(&same, &backend).await.as_str(), keeping.asked()), ("sk-1", 1));
    let mut other = bundle;
    for remote in other.remote_secrets.values_mut() {
        remote.id.push('2');
    }
    let other = Credentials::new(&other, &Secrets::default(), Some(&same));
    assert_eq!((shown(&other, &backend).await.as_str(), keeping.asked()), ("sk-1", 2));
}

#[tokio::test]
async fn a_service_account_may_be_all_of_the_secret() {
    let keeping = Keeping::start(r#"{"client_email":"a@b","private_key":"no key"}"#).await;
    let file = reference("account", "service_account.json");
    let (bundle, backend) = configured(CredentialSource::Google(GoogleSource::ServiceAccount(file)), 300);
    assert_eq!(shown(&keeping.credentials(&bundle), &backend).await, "none");
    // It got so far that the value was taken.
    assert_eq!(ledger::entries()["Secret default/account"].successes, 1);
}

//! Callers that an Envoy's own filters look at first: keys that it was sent, and tokens by keys of issuers that it was sent or fetches.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::apart::start_envoy;
use crate::backend::Backend;
use crate::gateway::{Process, eventually, free_address, get};
use crate::limiter::{Answer, send};
use tokens::{claims, forged, good, key_set, rs};

#[path = "../../../effects/src/callers/forged_tests/tokens.rs"]
mod tokens;

/// What time it is to whoever makes tokens.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

const HANDED: [&str; 2] = ["--envoy-authentication", "keys,tokens"];

/// An Envoy, its control plane, and its processor.
struct Parts {
    address: SocketAddr,
    // In the order in which they are ended.
    _envoy: Process,
    control: Process,
    processor: Process,
    issuer: Issuer,
    folder: tempfile::TempDir,
    backend: Backend,
}

impl Parts {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (backend, issuer, address) = (Backend::start("b"), Issuer::start(&key_set()), free_address());
        write(folder.path(), address, &backend, &issuer);
        let processor = start_processor(folder.path(), &HANDED);
        let control = start_control(folder.path(), &HANDED);
        let envoy = start_envoy(folder.path());
        let parts = Self { address, _envoy: envoy, control, processor, issuer, folder, backend };
        eventually("Envoy listens", || TcpStream::connect(address).is_ok());
        eventually("a key is served", || parts.with_key("plain.test", "key-of-alice").status == 200);
        eventually("a token is served", || parts.with_token("remote.test", &rs(&claims())).status == 200);
        parts
    }

    fn with_key(&self, host: &str, key: &str) -> Answer {
        chat(self.address, host, "/v1/chat/completions", &format!("x-api-key: {key}\r\n"))
    }

    fn with_token(&self, host: &str, token: &str) -> Answer {
        chat(self.address, host, "/v1/chat/completions", &format!("authorization: Bearer {token}\r\n"))
    }

    /// How many requests without proof came to the processor.
    fn refused(&self) -> u64 {
        let line = "tollgate_refusals_total{reason=\"unauthenticated\"} ";
        let text = self.processor.tells("/metrics");
        let number = text.lines().find_map(|known| known.strip_prefix(line)?.parse().ok());
        number.unwrap_or_default()
    }
}

fn spot(folder: &Path, name: &str) -> String {
    format!("unix:{}", folder.join(name).display())
}

fn start_processor(folder: &Path, more: &[&str]) -> Process {
    let (listen, file) = (spot(folder, "extproc.sock"), folder.join("gateway.yaml"));
    let file = file.to_str().expect("UTF-8");
    let plain = ["extproc", "--listen", &listen, "--workers", "1", "--access-log", "off", file];
    Process::tollgate(&[&plain[..], more].concat())
}

fn start_control(folder: &Path, more: &[&str]) -> Process {
    let (listen, processor) = (spot(folder, "xds.sock"), spot(folder, "extproc.sock"));
    let file = folder.join("gateway.yaml");
    let file = file.to_str().expect("UTF-8");
    let plain = ["controlplane", "--listen", &listen, "--processor", &processor, file];
    Process::tollgate(&[&plain[..], more].concat())
}

/// Who serves a key set, and may come to serve another.
struct Issuer {
    at: SocketAddr,
    set: Arc<Mutex<String>>,
    sealed: Sealed,
}

impl Issuer {
    fn start(set: &str) -> Self {
        let set = Arc::new(Mutex::new(set.to_owned()));
        let served = Arc::clone(&set);
        let at = listen(move |stream| answer(stream, &served.lock().expect("a key set")));
        Self { at, set, sealed: Sealed::start("issuer.test", key_set()) }
    }

    fn serves(&self, set: &Value) {
        *self.set.lock().expect("a key set") = set.to_string();
    }
}

/// Serves one connection after the other until the test ends. Returns where.
fn listen(serve: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    thread::spawn(move || listener.incoming().flatten().for_each(serve));
    at
}

/// Answers one request with a key set.
fn answer(mut stream: impl Read + Write, set: &str) {
    let length = set.len();
    let _ = stream.read(&mut [0; 2048]);
    let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{set}");
}

/// Where a key set is served over TLS, and the certificate, which is its own authority.
struct Sealed {
    at: SocketAddr,
    certificate: String,
}

impl Sealed {
    fn start(name: &str, set: String) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).expect("PEM");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_no_client_auth();
        let config = config.with_single_cert(vec![made.cert.der().clone()], key).expect("a certificate");
        let config = Arc::new(config);
        let at = listen(move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a server");
            answer(StreamOwned::new(connection, stream), &set);
        });
        Self { at, certificate: made.cert.pem() }
    }

    /// Resources by which it is found and trusted: a Backend of this name, for a host that its certificate has to be for.
    fn resources(&self, backend: &str, host: &str) -> String {
        let (port, certificate) = (self.at.port(), self.certificate.replace('\n', "\n    "));
        format!(
            "---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: {backend}}}
spec: {{endpoints: [{{ip: {{address: 127.0.0.1, port: {port}}}}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: {backend}}}
spec:
  targetRefs: [{{group: gateway.envoyproxy.io, kind: Backend, name: {backend}}}]
  validation: {{hostname: {host}, caCertificateRefs: [{{group: \"\", kind: ConfigMap, name: {backend}}}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: {backend}}}
data:
  ca.crt: |
    {certificate}
"
        )
    }
}

/// A route for each way of proof, each at a host of its own.
fn write(folder: &Path, listen: SocketAddr, backend: &Backend, issuer: &Issuer) {
    let (port, backend, issuer_port) = (listen.port(), backend.port, issuer.at.port());
    let mut text = format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: ai}}
spec: {{gatewayClassName: tollgate, listeners: [{{name: http, protocol: HTTP, port: {port}}}]}}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {{name: model}}
spec: {{schema: {{name: OpenAI}}, backendRef: {{name: model, kind: Backend, group: gateway.envoyproxy.io}}}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: model}}
spec: {{endpoints: [{{ip: {{address: 127.0.0.1, port: {backend}}}}}]}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: keys}}
spec:
  endpoints:
  - ip: {{address: 127.0.0.1, port: 9}}
  - ip: {{address: 127.0.0.1, port: {issuer_port}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: plain}}
stringData: {{alice: key-of-alice, bob: key-of-bob}}
---
apiVersion: v1
kind: Secret
metadata: {{name: hashed}}
stringData: {{dan: \"sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"}}
"
    );
    for (name, proof) in proofs(issuer) {
        text += &format!(
            "---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: ai}}]
  hostnames: [{name}.test]
  rules: [{{backendRefs: [{{name: model}}]}}]
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {{name: {name}}}
spec:
  targetRefs: [{{group: aigateway.envoyproxy.io, kind: AIGatewayRoute, name: {name}}}]
  {proof}
"
        );
    }
    text += &site();
    text += &issuer.sealed.resources("sealed", "issuer.test");
    text += &issuer.sealed.resources("mistaken", "another.test");
    std::fs::write(folder.join("gateway.yaml"), text).expect("a file");
}

/// A route for requests that are for no model.
fn site() -> String {
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: site}}
spec:
  parentRefs: [{{name: ai}}]
  hostnames: [site.test]
  rules: [{{backendRefs: [{{group: gateway.envoyproxy.io, kind: Backend, name: model}}]}}]
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {{name: site}}
spec:
  targetRefs: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, name: site}}]
  {}
",
        asks_written()
    )
}

/// The issuer, with its keys where these words say.
fn provider(keys: &str) -> String {
    format!("{{name: issuer, issuer: \"https://issuer\", audiences: [gateway], {keys}}}")
}

fn written() -> String {
    provider(&format!("localJWKS: {{type: Inline, inline: '{}'}}", key_set()))
}

/// Asks for tokens by keys as they are written, and lets one caller in.
fn asks_written() -> String {
    let claims = "claims: [{name: sub, values: [carol]}]";
    format!(
        "jwt: {{providers: [{}]}}\n  authorization: {{rules: [{{action: Allow, principal: {{jwt: {{provider: issuer, {claims}}}}}}}]}}",
        written()
    )
}

/// What each host asks of callers, by its name.
fn proofs(issuer: &Issuer) -> [(&'static str, String); 10] {
    let keys = |secret: &str| {
        format!(
            "apiKeyAuth: {{credentialRefs: [{{name: {secret}}}], extractFrom: [{{headers: [authorization, x-api-key]}}]}}"
        )
    };
    let written = written();
    let remote = provider(&format!("remoteJWKS: {{uri: \"http://{}/keys\", cacheDuration: 1s}}", issuer.at));
    let nowhere = provider("remoteJWKS: {uri: \"http://127.0.0.1:9/keys\", cacheDuration: 1s}");
    let behind = |scheme: &str, backend: &str| {
        let backend = format!("{{group: gateway.envoyproxy.io, kind: Backend, name: {backend}}}");
        let uri = format!("{scheme}://issuer.invalid/keys");
        provider(&format!("remoteJWKS: {{uri: \"{uri}\", backendRefs: [{backend}]}}"))
    };
    let jwt = |provider: &str| format!("jwt: {{providers: [{provider}]}}");
    [
        ("plain", keys("plain")),
        ("hashed", keys("hashed")),
        ("written", asks_written()),
        ("remote", jwt(&remote)),
        ("nowhere", jwt(&nowhere)),
        ("behind", jwt(&behind("http", "keys"))),
        ("sealed", jwt(&behind("https", "sealed"))),
        ("mistaken", jwt(&behind("https", "mistaken"))),
        ("optional", format!("jwt: {{optional: true, providers: [{written}]}}")),
        (
            "both",
            format!(
                "{}\n  {}",
                keys("plain"),
                jwt(&written).replace("audiences", "extractFrom: {headers: [{name: x-token}]}, audiences")
            ),
        ),
    ]
}

fn chat(at: SocketAddr, host: &str, path: &str, headers: &str) -> Answer {
    let body = "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    let length = body.len();
    send(
        at,
        &format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\n{headers}content-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ),
    )
}

fn body(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).expect("JSON")
}

#[test]
fn keys_are_looked_at_by_envoy_and_known_to_the_processor() {
    let parts = Parts::start();
    assert_eq!(parts.with_key("plain.test", "key-of-bob").status, 200);
    for headers in ["", "x-api-key: key-of-bobby\r\n", "x-api-key: \r\n", "authorization: Bearer key\r\n"] {
        let refused = chat(parts.address, "plain.test", "/v1/chat/completions", headers);
        assert_eq!(refused.status, 401, "{headers}: {}", refused.body);
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        assert!(refused.header("x-tollgate-fault").is_none(), "{:?}", refused.headers);
        let body = body(&refused);
        assert_eq!(body["error"]["code"], "invalid_api_key", "{body}");
        assert_eq!(
            body["error"]["message"],
            "invalid API key or token: a valid one is needed to use this gateway"
        );
    }
    let probing = chat(parts.address, "plain.test", "/v1/chat/completions", "tollgate-probe: 1\r\n");
    assert_eq!(probing.status, 401, "{}", probing.body);
    for (path, kind) in
        [("/v1/messages", "authentication_error"), ("/anthropic/v1/messages", "authentication_error")]
    {
        let refused = body(&chat(parts.address, "plain.test", path, ""));
        assert_eq!(
            (&refused["type"], &refused["error"]["type"]),
            (&"error".into(), &kind.into()),
            "{refused}"
        );
    }
    let google = body(&chat(parts.address, "plain.test", "/v1beta/models/m:generateContent", ""));
    assert_eq!(google["error"]["status"], "UNAUTHENTICATED", "{google}");
    // Envoy was not sent the hashed one, and lets the processor look.
    assert_eq!(parts.with_key("hashed.test", "secret").status, 200);
    assert_eq!(parts.with_key("hashed.test", "key-of-alice").status, 401);
    // That one, and the one that was like a probe.
    eventually("what the processor has refused is counted", || parts.refused() >= 2);
    let other_scheme =
        chat(parts.address, "plain.test", "/v1/chat/completions", "authorization: Bearer key-of-bob\r\n");
    assert_eq!(other_scheme.status, 200);
    assert_eq!(parts.refused(), 2, "Envoy has refused the others");
}

#[test]
fn no_key_is_told_to_whoever_looks() {
    let parts = Parts::start();
    let admin = std::fs::read_to_string(parts.folder.path().join("admin")).expect("Envoy's admin");
    let dump = get(admin.trim().parse().expect("an address"), "/config_dump").expect("Envoy");
    assert!(dump.contains("api_key_auth") && dump.contains("[redacted]"), "{}", dump.len());
    let file = parts.folder.path().join("gateway.yaml");
    let planned = |what: &[&str]| {
        let file = file.to_str().expect("UTF-8");
        let planned = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["plan"])
            .args(HANDED)
            .args(what)
            .arg(file)
            .output()
            .expect("the binary");
        assert!(planned.status.success());
        format!("{}{}", String::from_utf8_lossy(&planned.stdout), String::from_utf8_lossy(&planned.stderr))
    };
    // Whom it has refused is told there.
    assert_eq!(parts.with_key("plain.test", "key").status, 401);
    let stats = get(admin.trim().parse().expect("an address"), "/stats").expect("Envoy");
    let refused = |line: &str| line.starts_with("http.tollgate.api_key_auth.") && !line.ends_with(": 0");
    assert!(stats.lines().any(refused));
    let told = [
        ("config_dump", dump),
        ("plan", planned(&[])),
        ("plan --to bundle", planned(&["--to", "bundle"])),
        ("/xds", parts.control.tells("/xds")),
        ("/config", parts.control.tells("/config")),
        ("/config of the processor", parts.processor.tells("/config")),
    ];
    for (what, text) in told {
        assert!(!text.is_empty() && !text.contains("key-of-"), "{what}");
    }
    assert!(planned(&[]).contains("[alice of Secret default/plain]"));
}

#[test]
fn no_forged_token_comes_through_envoy() {
    let parts = Parts::start();
    let mut taken = Vec::new();
    for host in ["written.test", "remote.test", "optional.test"] {
        for token in good() {
            let answer = parts.with_token(host, &token);
            assert_eq!(answer.status, 200, "{host}: {token}: {}", answer.body);
        }
        // That moment comes while this test runs.
        for (what, token) in forged().into_iter().filter(|(what, _)| *what != "nbf to come") {
            let refused = parts.with_token(host, &token);
            let is_nothing = host == "optional.test" && token.is_empty();
            if refused.status != 401 && !is_nothing {
                taken.push(format!("{host}: {what}: {}", refused.status));
            }
            if refused.status == 401 {
                assert_eq!(body(&refused)["error"]["code"], "invalid_api_key", "{what}");
            }
        }
    }
    // The issuer itself has said that this is one of its keys. Envoy does not look at what it is for; of a key set as it is written it is not told of it.
    assert_eq!(taken, ["remote.test: key that is not for signatures: 200"]);
    for host in ["written.test", "remote.test"] {
        assert_eq!(parts.with_key(host, "key-of-alice").status, 401, "no token");
    }
    assert_eq!(parts.with_key("optional.test", "key-of-alice").status, 200, "none is asked for");
}

#[test]
fn claims_decide_and_the_filter_does_not() {
    let parts = Parts::start();
    let mut other = claims();
    other["sub"] = "mallory".into();
    let forbidden = parts.with_token("written.test", &rs(&other));
    assert_eq!(forbidden.status, 403, "{}", forbidden.body);
    let mut late = claims();
    late["exp"] = (now_s() - 30).into();
    assert_eq!(parts.with_token("written.test", &rs(&late)).status, 200, "clocks may differ");
    late["exp"] = (now_s() - 90).into();
    assert_eq!(parts.with_token("written.test", &rs(&late)).status, 401);
    let mut early = claims();
    early["nbf"] = (now_s() + 3600).into();
    assert_eq!(parts.with_token("written.test", &rs(&early)).status, 401);
    // A key and a token: both, or nobody is let in.
    let token = rs(&claims());
    for (headers, status) in [
        (format!("x-api-key: key-of-alice\r\nx-token: {token}\r\n"), 200),
        ("x-api-key: key-of-alice\r\n".to_owned(), 401),
        (format!("x-token: {token}\r\n"), 401),
        (format!("x-api-key: key\r\nx-token: {token}\r\n"), 401),
    ] {
        let answer = chat(parts.address, "both.test", "/v1/chat/completions", &headers);
        assert_eq!(answer.status, status, "{headers}: {}", answer.body);
    }
    // Two tokens, of which the gateway would look at one.
    let twice = format!("authorization: Bearer {token}\r\nauthorization: Bearer {}\r\n", rs(&other));
    assert_eq!(chat(parts.address, "remote.test", "/v1/chat/completions", &twice).status, 401);
}

#[test]
fn requests_for_no_model_are_let_in_by_what_was_verified() {
    let parts = Parts::start();
    let ask = |headers: &str| chat(parts.address, "site.test", "/any", headers).status;
    assert_eq!(ask(&format!("authorization: Bearer {}\r\n", rs(&claims()))), 200);
    let mut other = claims();
    other["sub"] = "mallory".into();
    assert_eq!(ask(&format!("authorization: Bearer {}\r\n", rs(&other))), 403);
    for headers in ["", "tollgate-probe: 1\r\n", "authorization: Bearer a.b.c\r\n"] {
        assert_eq!(ask(headers), 401, "{headers}");
    }
}

#[test]
fn keys_of_an_issuer_are_fetched_by_envoy_and_again() {
    let parts = Parts::start();
    let token = rs(&claims());
    assert_eq!(parts.with_token("behind.test", &token).status, 200, "one of its hosts answers");
    assert_eq!(parts.with_token("sealed.test", &token).status, 200, "it has proved who it is");
    // Nobody answers, or somebody whose certificate is for another host: that is no fault of the caller's.
    for host in ["nowhere.test", "mistaken.test"] {
        let unavailable = parts.with_token(host, &token);
        assert_eq!(unavailable.status, 503, "{host}: {}", unavailable.body);
        assert_eq!(unavailable.header("retry-after"), Some("1"));
        assert!(unavailable.body.contains("the keys that tokens are verified by are not available"));
    }
    let mut others: Value = serde_json::from_str(&key_set()).expect("a key set");
    let keys = others["keys"].as_array_mut().expect("keys");
    keys.retain(|key| key["kty"] != "RSA");
    parts.issuer.serves(&others);
    eventually("a key that is gone is forgotten", || parts.with_token("remote.test", &token).status == 401);
    parts.issuer.serves(&json!("no key set"));
    thread::sleep(Duration::from_secs(2));
    let by_other = good().remove(3);
    assert_eq!(parts.with_token("remote.test", &by_other).status, 200, "known ones serve on");
    parts.issuer.serves(&serde_json::from_str(&key_set()).expect("a key set"));
    eventually("a new key is known", || parts.with_token("remote.test", &token).status == 200);
    let fetched = parts.processor.tells("/metrics");
    assert!(!fetched.contains("key set"), "the processor fetches none");
}

#[test]
fn parts_that_do_not_agree_about_callers_serve_nobody() {
    let mut parts = Parts::start();
    for other in [&[][..], &["--envoy-authentication", "keys"]] {
        parts.processor.end();
        parts.processor = start_processor(parts.folder.path(), other);
        let refused = || {
            let key = parts.with_key("plain.test", "key-of-alice");
            let token = parts.with_token("remote.test", &rs(&claims()));
            (key.status, token.status)
        };
        eventually("nobody is served", || refused() == (503, 503));
    }
    parts.processor.end();
    parts.processor = start_processor(parts.folder.path(), &HANDED);
    eventually("callers are served", || parts.with_key("plain.test", "key-of-alice").status == 200);
    assert!(parts.backend.port > 0);
}

//! A gateway whose limits a rate limit service counts: its Envoy's own filter asks `tollgate ratelimit`, which has what `plan --to ratelimit` prints.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::apart::start_envoy;
use crate::backend::{Backend, EVENTS};
use crate::gateway::{Process, eventually, free_address, signal};
use crate::limiter::{Answer, FILTER_WAITS, send};

/// How much longer than the filter waits a request may take, on a machine that is busy.
const SLACK: Duration = Duration::from_secs(2);

/// How long it takes until an Envoy knows that a service hangs: it asks once a second, and waits as long, twice.
const KNOWN_MAX: Duration = Duration::from_secs(4);

/// The parts at work: two gateways with the same limits, and one service.
struct Served {
    gateways: [(SocketAddr, Process); 2],
    service: Process,
    at: SocketAddr,
    folder: tempfile::TempDir,
    _backend: Backend,
}

impl Served {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let backend = Backend::start("b");
        let file = folder.path().join("gateway.yaml");
        std::fs::write(&file, manifests(8080, backend.port)).expect("a file");
        let file = file.to_str().expect("UTF-8");
        let planned = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["plan", "--to", "ratelimit", file])
            .output()
            .expect("the binary");
        assert!(planned.status.success(), "{}", String::from_utf8_lossy(&planned.stderr));
        std::fs::write(folder.path().join("limits.yaml"), planned.stdout).expect("a file");
        let at = free_address();
        let service = start_service(folder.path(), at);
        let gateway = || {
            let address = free_address();
            let (port, place) = (address.port().to_string(), at.to_string());
            let plane =
                ["run", "--workers", "1", "--access-log", "off", "--data-plane", "envoy", "--port", &port];
            (address, Process::tollgate(&[&plane[..], &["--rate-limit-service", &place, file]].concat()))
        };
        Self { gateways: [gateway(), gateway()], service, at, folder, _backend: backend }
    }

    fn first(&self) -> SocketAddr {
        self.gateways[0].0
    }

    /// What the service has counted of a rule of a policy.
    fn counted(&self, policy: &str, rule: usize) -> u64 {
        let limit = format!("default/{policy} global.rules[{rule}]");
        let text = self.service.tells("/metrics");
        let is_it = |line: &&str| {
            line.starts_with("ratelimit_service_rate_limit_total_hits{") && line.contains(&limit)
        };
        let number = text.lines().find(is_it).and_then(|line| line.rsplit_once(' ')?.1.parse().ok());
        number.unwrap_or_default()
    }

    fn service_dies(&self) {
        signal(self.service.id(), "-KILL");
        eventually("nobody listens", || TcpStream::connect(self.at).is_err());
    }
}

fn start_service(folder: &Path, at: SocketAddr) -> Process {
    let config = folder.join("limits.yaml");
    let (config, at) = (config.to_str().expect("UTF-8"), at.to_string());
    Process::tollgate(&["ratelimit", "--config", config, "--address", &at, "--workers", "1"])
}

/// Two routes, by model: without the service one lets in and the other refuses. Each has a limit on requests and one on tokens.
fn manifests(listen: u16, backend: u16) -> String {
    let route = |name: &str, mode: &str| {
        format!(
            "apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: ai, kind: Gateway, group: gateway.networking.k8s.io}}]
  llmRequestCosts: [{{metadataKey: all, type: TotalToken}}]
  rules:
  - matches: [{{headers: [{{name: x-ai-eg-model, value: {name}}}]}}]
    backendRefs: [{{name: model}}]
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: BackendTrafficPolicy
metadata: {{name: {name}, annotations: {{tollgate.dev/failure-mode: {mode}}}}}
spec:
  targetRefs: [{{group: aigateway.envoyproxy.io, kind: AIGatewayRoute, name: {name}}}]
  rateLimit:
    global:
      rules:
      - clientSelectors: [{{headers: [{{name: x-requests, type: Distinct}}]}}]
        limit: {{requests: 3, unit: Year}}
      - clientSelectors: [{{headers: [{{name: x-tokens, type: Distinct}}]}}]
        limit: {{requests: 3, unit: Year}}
        cost:
          request: {{from: Number, number: 0}}
          response: {{from: Metadata, metadata: {{namespace: io.envoy.ai_gateway, key: all}}}}
---
"
        )
    };
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: ai}}
spec: {{gatewayClassName: tollgate, listeners: [{{name: http, protocol: HTTP, port: {listen}}}]}}
---
{}{}apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {{name: model}}
spec: {{schema: {{name: OpenAI}}, backendRef: {{name: model, kind: Backend, group: gateway.envoyproxy.io}}}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: model}}
spec: {{endpoints: [{{ip: {{address: 127.0.0.1, port: {backend}}}}}]}}
",
        route("open", "Open"),
        route("closed", "Closed")
    )
}

/// Asks for a chat, with one header more.
fn chat(at: SocketAddr, model: &str, header: &str, is_stream: bool) -> Answer {
    post(at, "/v1/chat/completions", model, header, is_stream)
}

fn post(at: SocketAddr, path: &str, model: &str, header: &str, is_stream: bool) -> Answer {
    let body = format!(
        "{{\"model\":\"{model}\",\"max_tokens\":9,\"stream\":{is_stream},\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}"
    );
    let length = body.len();
    send(
        at,
        &format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\n{header}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ),
    )
}

#[test]
fn requests_are_counted_once_for_all_envoys_and_refused_in_the_words_of_the_client() {
    let served = Served::start();
    let [(one, first), (two, second)] = &served.gateways;
    for (round, at) in [one, two, one].into_iter().enumerate() {
        let within = chat(*at, "open", "x-requests: a", false);
        assert_eq!(within.status, 200, "round {round}: {}", within.body);
        let left = within.header("x-ratelimit-remaining").expect("what is left");
        assert_eq!(left, (2 - round).to_string());
    }
    for at in [one, two] {
        let over = chat(*at, "open", "x-requests: a", false);
        assert_eq!(over.status, 429);
        assert!(
            over.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok()),
            "{:?}",
            over.headers
        );
        assert_eq!(over.header("x-ratelimit-remaining"), Some("0"));
        assert_eq!(over.header("content-type"), Some("application/json"));
        assert!(over.header("x-tollgate-fault").is_none() && over.header("x-envoy-ratelimited").is_none());
        let body: serde_json::Value = serde_json::from_str(&over.body).expect("JSON");
        assert_eq!(body["error"]["code"], "rate_limit_exceeded", "{body}");
    }
    let message = post(*one, "/v1/messages", "open", "x-requests: a", false);
    let body: serde_json::Value = serde_json::from_str(&message.body).expect("JSON");
    assert_eq!((message.status, &body["type"]), (429, &"error".into()), "{body}");
    assert_eq!(body["error"]["type"], "rate_limit_error", "{body}");
    assert_eq!(chat(*two, "open", "x-requests: b", false).status, 200, "another value");
    assert_eq!(chat(*two, "open", "x-other: a", false).status, 200, "nothing to tell it by");
    // Three and three of the one, and one of the other; the gateways themselves have counted nothing.
    assert_eq!(served.counted("open", 0), 7);
    for gateway in [first, second] {
        let text = gateway.tells("/metrics");
        let settled: Vec<_> =
            text.lines().filter(|line| line.starts_with("tollgate_quota_settled_total{")).collect();
        assert!(settled.iter().all(|line| line.ends_with(" 0")), "{settled:?}");
    }
}

#[test]
fn tokens_are_charged_when_the_answer_is_over() {
    let served = Served::start();
    let at = served.first();
    for round in 1..=2 {
        assert_eq!(chat(at, "closed", "x-tokens: a", false).status, 200, "round {round}");
        // Envoy does not wait for that: who asks at once may be before it.
        eventually("it is charged", || served.counted("closed", 1) == round * 2);
    }
    assert_eq!(chat(at, "closed", "x-tokens: a", false).status, 429);
    let before = served.counted("closed", 1);
    let stream = chat(at, "closed", "x-tokens: b", true);
    assert_eq!(stream.status, 200);
    assert_eq!(stream.body.matches("chat.completion.chunk").count(), EVENTS, "{}", stream.body);
    eventually("the stream is charged", || served.counted("closed", 1) > before);
    assert_eq!(chat(at, "closed", "x-tokens: b", true).status, 429);
    // The answer of Envoy itself has no usage.
    let after = served.counted("closed", 1);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(served.counted("closed", 1), after);
}

#[test]
fn without_its_service_an_envoy_does_what_the_policy_says() {
    let mut served = Served::start();
    let at = served.first();
    let statuses = |what: &str| {
        for _ in 0..3 {
            let (open, closed) =
                (chat(at, "open", "x-requests: w", false), chat(at, "closed", "x-requests: w", false));
            assert_eq!((open.status, closed.status), (200, 503), "{what}: {}", closed.body);
            assert_eq!(closed.header("retry-after"), Some("1"));
            assert!(closed.body.contains("limits of this request cannot be checked"), "{}", closed.body);
            assert!(open.took.max(closed.took) < FILTER_WAITS + SLACK, "{what}");
        }
    };
    signal(served.service.id(), "-STOP");
    statuses("hangs");
    thread::sleep(KNOWN_MAX);
    statuses("hangs, and is known to");
    signal(served.service.id(), "-CONT");
    served.service_dies();
    statuses("is killed");
    served.service = start_service(served.folder.path(), served.at);
    eventually("it is asked again", || {
        chat(at, "closed", "x-other: a", false).status == 200
            && chat(at, "closed", "x-requests: later", false).status == 200
    });
}

#[test]
fn parts_that_do_not_agree_about_the_service_serve_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = Backend::start("b");
    let (address, service) = (free_address(), free_address().to_string());
    let path = folder.path().join("gateway.yaml");
    std::fs::write(&path, manifests(address.port(), backend.port)).expect("a file");
    let file = path.to_str().expect("UTF-8");
    let spot = |name: &str| format!("unix:{}", folder.path().join(name).display());
    let (xds, extproc) = (spot("xds.sock"), spot("extproc.sock"));
    let processor = |more: &[&str]| {
        let plain = ["extproc", "--listen", &extproc, "--workers", "1", "--access-log", "off", file];
        Process::tollgate(&[&plain[..], more].concat())
    };
    let told = ["--rate-limit-service", &service];
    let untold = processor(&[]);
    let control = ["controlplane", "--listen", &xds, "--processor", &extproc, file];
    let _control = Process::tollgate(&[&control[..], &told].concat());
    let _envoy = start_envoy(folder.path());
    eventually("Envoy listens", || TcpStream::connect(address).is_ok());
    assert_eq!(chat(address, "open", "x-requests: a", false).status, 503);
    drop(untold);
    let _told = processor(&told);
    eventually("it is served", || chat(address, "open", "x-requests: a", false).status == 200);
}

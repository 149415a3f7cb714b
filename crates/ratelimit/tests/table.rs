//! What an Envoy is answered, over gRPC.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail")]

use std::fs;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tollgate_effects::quota::Quotas;
use tollgate_envoy::from_json;
use tollgate_envoy::grpc::{Place, Server};
use tollgate_envoy::limiting::rate_limit_descriptor::{Entry, RateLimitOverride};
use tollgate_envoy::limiting::rate_limit_response::Code;
use tollgate_envoy::limiting::rate_limit_service_client::RateLimitServiceClient;
use tollgate_envoy::limiting::{RateLimitDescriptor, RateLimitRequest, RateLimitResponse, RateLimitUnit};
use tollgate_ratelimit::{Consumption, Headers, Live, Options, RateLimits, serve};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response, Uri};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

const CONFIG: &str = r#"
domain: d
descriptors:
  - key: user
    rate_limit: { unit: year, requests_per_unit: 3, name: per-user }
  - key: user
    value: vip
    rate_limit: { unlimited: true }
  - key: user
    value: blocked
    rate_limit: { unit: week, requests_per_unit: 0 }
  - key: path
    value: /api/*
    rate_limit: { unit: month, requests_per_unit: 1 }
  - key: nested
    descriptors:
      - key: inner
        value: 1
        rate_limit: { unit: day, requests_per_unit: 1 }
  - key: soft
    shadow_mode: true
    rate_limit: { unit: year, requests_per_unit: 1 }
  - key: instead
    rate_limit: { unit: year, requests_per_unit: 9, name: other, replaces: [{ name: per-user }] }
  - key: first
    quota_mode: true
    rate_limit: { unit: year, requests_per_unit: 1 }
  - key: second
    quota_mode: true
    rate_limit: { unit: year, requests_per_unit: 2 }
  - key: tokens
    rate_limit: { unit: year, requests_per_unit: 4000000000 }
"#;

type Client = RateLimitServiceClient<Channel>;

struct Running {
    client: Client,
    health: HealthClient<Channel>,
    limits: RateLimits,
    folder: TempDir,
    server: Server,
}

#[derive(Clone)]
struct Channel(http2::SendRequest<Body>);

impl Service<Request<Body>> for Channel {
    type Response = Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

async fn start(options: Options) -> Running {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), CONFIG).unwrap();
    let limits = RateLimits::new(Live::open(folder.path()).unwrap(), Quotas::default(), options);
    let server = serve(&limits, Place::Tcp("127.0.0.1:0".parse().unwrap(), None), 1).unwrap();
    let stream = TcpStream::connect(server.address().unwrap()).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (channel, origin) = (Channel(sender), Uri::from_static("http://limits"));
    let client = RateLimitServiceClient::with_origin(channel.clone(), origin.clone());
    Running { client, health: HealthClient::with_origin(channel, origin), limits, folder, server }
}

fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).to_owned(), value: (*value).to_owned() };
    RateLimitDescriptor { entries: entries.iter().map(entry).collect(), ..RateLimitDescriptor::default() }
}

impl Running {
    async fn ask(&mut self, descriptors: Vec<RateLimitDescriptor>, hits_addend: u32) -> RateLimitResponse {
        self.try_ask("d", descriptors, hits_addend).await.unwrap()
    }

    async fn try_ask(
        &mut self,
        domain: &str,
        descriptors: Vec<RateLimitDescriptor>,
        hits_addend: u32,
    ) -> Result<RateLimitResponse, Status> {
        let request = RateLimitRequest { domain: domain.to_owned(), descriptors, hits_addend };
        self.client.should_rate_limit(request).await.map(tonic::Response::into_inner)
    }

    /// The codes of so many requests in a row with this one descriptor.
    async fn codes(&mut self, entries: &[(&str, &str)], count: usize) -> Vec<Code> {
        let mut codes = Vec::new();
        for _ in 0..count {
            codes.push(self.ask(vec![descriptor(entries)], 0).await.overall_code());
        }
        codes
    }

    fn metric(&self, line: &str) -> u64 {
        let text = self.limits.metrics_text();
        let found =
            text.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_else(|| panic!("{text}"));
        found.trim().parse().unwrap()
    }
}

/// Entries, and the codes of requests in a row.
type Row = (&'static [(&'static str, &'static str)], &'static [Code]);

#[tokio::test]
async fn descriptors_find_their_limits() {
    use Code::{Ok, OverLimit};
    let mut service = start(Options::default()).await;
    let table: &[Row] = &[
        (&[("user", "a")], &[Ok, Ok, Ok, OverLimit]),
        // Each value has a counter of its own.
        (&[("user", "b")], &[Ok, Ok, Ok, OverLimit]),
        (&[("user", "vip")], &[Ok; 8]),
        (&[("user", "blocked")], &[OverLimit]),
        (&[("path", "/api/x")], &[Ok, OverLimit]),
        (&[("path", "/api/y")], &[Ok, OverLimit]),
        (&[("path", "/other")], &[Ok; 3]),
        (&[("nested", "any"), ("inner", "1")], &[Ok, OverLimit]),
        (&[("nested", "any"), ("inner", "2")], &[Ok; 3]),
        // Neither is as deep as the limit.
        (&[("nested", "any")], &[Ok; 3]),
        (&[("user", "a"), ("more", "")], &[Ok; 3]),
        (&[("soft", "")], &[Ok; 3]),
        (&[("unknown", "")], &[Ok; 3]),
    ];
    for (entries, expected) in table {
        assert_eq!(service.codes(entries, expected.len()).await, *expected, "{entries:?}");
    }
    assert_eq!(service.metric("ratelimit_service_rate_limit_shadow_mode{domain=\"d\",key1=\"soft\"}"), 2);
    assert_eq!(service.metric("ratelimit_service_rate_limit_total_hits{domain=\"d\",key1=\"user\"}"), 8);
    assert_eq!(service.metric("ratelimit_service_rate_limit_over_limit{domain=\"d\",key1=\"user\"}"), 2);
}

#[tokio::test]
async fn a_status_says_what_is_left_and_a_refusal_why() {
    let mut service = start(Options { headers: Headers::Told, ..Options::default() }).await;
    let first = service.ask(vec![descriptor(&[("user", "a")])], 2).await;
    let status = &first.statuses[0];
    let limit = status.current_limit.as_ref().unwrap();
    assert_eq!((limit.requests_per_unit, limit.name.as_str(), status.limit_remaining), (3, "per-user", 1));
    assert!(
        status.duration_until_reset.as_ref().is_some_and(|it| it.seconds > 0 && it.seconds <= 365 * 86_400)
    );
    let header = |answer: &RateLimitResponse, name: &str| {
        answer
            .response_headers_to_add
            .iter()
            .find(|header| header.key == name)
            .map(|header| header.value.clone())
    };
    assert_eq!(header(&first, "RateLimit-Remaining").as_deref(), Some("1"));
    assert!(first.raw_body.is_empty());
    let second = service.ask(vec![descriptor(&[("user", "a")])], 2).await;
    assert_eq!((second.overall_code(), second.statuses[0].limit_remaining), (Code::OverLimit, 0));
    assert_eq!(header(&second, "content-type").as_deref(), Some("application/json"));
    let body = String::from_utf8(second.raw_body.to_vec()).unwrap();
    assert!(body.contains("\"code\":\"rate_limit_exceeded\"") && body.contains("3 per year"), "{body}");
    let vip = service.ask(vec![descriptor(&[("user", "vip")])], 0).await;
    assert_eq!((vip.statuses[0].limit_remaining, vip.statuses[0].current_limit.is_none()), (u32::MAX, true));
}

#[tokio::test]
async fn hits_are_those_of_the_descriptor_before_those_of_the_request() {
    let mut service = start(Options::default()).await;
    let hits = |hits: Option<u64>| RateLimitDescriptor { hits_addend: hits, ..descriptor(&[("tokens", "")]) };
    let billion = 1_000_000_000;
    assert_eq!(service.ask(vec![hits(None)], 0).await.statuses[0].limit_remaining, 3_999_999_999);
    assert_eq!(service.ask(vec![hits(Some(0))], 5).await.statuses[0].limit_remaining, 3_999_999_999);
    assert_eq!(service.ask(vec![hits(Some(4 * billion))], 5).await.overall_code(), Code::OverLimit);
    assert_eq!(service.ask(vec![hits(Some(0))], 5).await.overall_code(), Code::OverLimit);
    assert_eq!(service.ask(vec![hits(Some(u64::MAX))], 5).await.overall_code(), Code::OverLimit);
}

#[tokio::test]
async fn refused_requests_count_unless_that_is_switched_off() {
    for (consumption, last) in [(Consumption::All, Code::OverLimit), (Consumption::AllowedOnly, Code::Ok)] {
        let mut service = start(Options { consumption, ..Options::default() }).await;
        assert_eq!(service.ask(vec![descriptor(&[("user", "a")])], 4).await.overall_code(), Code::OverLimit);
        assert_eq!(service.ask(vec![descriptor(&[("user", "a")])], 1).await.overall_code(), last);
    }
}

#[tokio::test]
async fn limits_may_be_replaced_brought_or_stand_together() {
    let mut service = start(Options::default()).await;
    for _ in 0..5 {
        let both = vec![descriptor(&[("user", "a")]), descriptor(&[("instead", "")])];
        let answer = service.ask(both, 0).await;
        assert_eq!(answer.overall_code(), Code::Ok);
        assert!(answer.statuses[0].current_limit.is_none());
    }
    let unit = RateLimitUnit::Day.into();
    let own = RateLimitDescriptor {
        limit: Some(RateLimitOverride { requests_per_unit: 1, unit }),
        ..descriptor(&[("user", "vip")])
    };
    assert_eq!(service.ask(vec![own.clone()], 0).await.overall_code(), Code::Ok);
    assert_eq!(service.ask(vec![own], 0).await.overall_code(), Code::OverLimit);
    let mut codes = Vec::new();
    for _ in 0..3 {
        let together = vec![descriptor(&[("first", "")]), descriptor(&[("second", "")])];
        codes.push(service.ask(together, 0).await.overall_code());
    }
    assert_eq!(codes, [Code::Ok, Code::Ok, Code::OverLimit]);
}

#[tokio::test]
async fn requests_without_a_domain_or_descriptors_are_mistakes() {
    let mut service = start(Options::default()).await;
    assert!(service.try_ask("", vec![descriptor(&[("user", "a")])], 0).await.is_err());
    assert!(service.try_ask("d", Vec::new(), 0).await.is_err());
    assert_eq!(service.metric("ratelimit_service_call_should_rate_limit_service_error"), 2);
    let elsewhere = service.try_ask("other", vec![descriptor(&[("user", "a")])], 0).await.unwrap();
    assert_eq!(elsewhere.overall_code(), Code::Ok);
}

#[tokio::test]
async fn whoever_asks_for_its_health_is_told_when_it_ends() {
    let mut service = start(Options::default()).await;
    let of = |name: &str| HealthCheckRequest { service: name.to_owned() };
    let names = ["", "envoy.service.ratelimit.v3.RateLimitService", "ratelimit"];
    for name in names {
        let said = service.health.check(of(name)).await.unwrap().into_inner();
        assert_eq!(said.status(), ServingStatus::Serving, "{name:?}");
    }
    let code = service.health.check(of("other")).await.unwrap_err().code();
    assert_eq!(code, tonic::Code::NotFound);
    let mut watched = service.health.watch(of("")).await.unwrap().into_inner();
    let status = |said: Option<HealthCheckResponse>| said.map(|said| said.status());
    assert_eq!(status(watched.message().await.unwrap()), Some(ServingStatus::Serving));
    let mut unknown = service.health.watch(of("other")).await.unwrap().into_inner();
    assert_eq!(status(unknown.message().await.unwrap()), Some(ServingStatus::ServiceUnknown));
    // Calls that go on for ever do not hold it up.
    let stopped = tokio::task::spawn_blocking(move || service.server.stop(Duration::from_secs(30)));
    assert_eq!(status(watched.message().await.unwrap()), Some(ServingStatus::NotServing));
    assert_eq!(status(watched.message().await.unwrap()), None);
    assert!(tokio::time::timeout(Duration::from_secs(10), stopped).await.is_ok());
}

/// A descriptor as JSON has it.
fn said(descriptor: &RateLimitDescriptor) -> Value {
    let entry = |entry: &Entry| json!({ "key": entry.key, "value": entry.value });
    let mut said = json!({ "entries": descriptor.entries.iter().map(entry).collect::<Vec<_>>() });
    if let Some(hits) = descriptor.hits_addend {
        said["hitsAddend"] = json!(hits.to_string());
    }
    if let Some(limit) = &descriptor.limit {
        said["limit"] =
            json!({ "requestsPerUnit": limit.requests_per_unit, "unit": limit.unit().as_str_name() });
    }
    said
}

/// One as over gRPC, the other as JSON, each with counters of its own. Only the time until a reset may be another.
#[tokio::test]
async fn requests_as_json_are_answered_alike() {
    let options = Options { headers: Headers::Told, ..Options::default() };
    let (mut grpc, json) = (start(options).await, start(options).await);
    let own = RateLimitDescriptor {
        limit: Some(RateLimitOverride { requests_per_unit: 1, unit: RateLimitUnit::Day.into() }),
        ..descriptor(&[("user", "vip")])
    };
    let hits = |hits| RateLimitDescriptor { hits_addend: Some(hits), ..descriptor(&[("tokens", "")]) };
    let one = |entries: &[(&str, &str)]| vec![descriptor(entries)];
    let table = [
        (one(&[("user", "a")]), 2),
        (one(&[("user", "a")]), 2),
        (one(&[("user", "vip")]), 0),
        (one(&[("user", "blocked")]), 0),
        (one(&[("path", "/api/x")]), 0),
        (one(&[("path", "/api/x")]), 0),
        (one(&[("nested", "any"), ("inner", "1")]), 0),
        (one(&[("soft", "")]), 3),
        (one(&[("unknown", "")]), 0),
        (vec![descriptor(&[("user", "b")]), descriptor(&[("instead", "")])], 4),
        (vec![descriptor(&[("first", "")]), descriptor(&[("second", "")])], 2),
        (vec![hits(3_999_999_999), hits(0)], 7),
        (vec![hits(u64::MAX)], 7),
        (vec![own.clone()], 0),
        (vec![own], 0),
        (Vec::new(), 0),
    ];
    for (descriptors, hits) in table {
        let text = json!({
            "domain": "d",
            "descriptors": descriptors.iter().map(said).collect::<Vec<_>>(),
            "hitsAddend": hits,
        });
        let (status, body) = json.limits.answer_json(text.to_string().as_bytes()).await;
        let Ok(mut expected) = grpc.try_ask("d", descriptors, hits).await else {
            assert_eq!(status, 400, "{text}: {body}");
            continue;
        };
        let refused = expected.overall_code() == Code::OverLimit;
        assert_eq!(status, if refused { 429 } else { 200 }, "{text}: {body}");
        let mut found: RateLimitResponse =
            from_json("envoy.service.ratelimit.v3.RateLimitResponse", body.as_bytes()).unwrap();
        for answer in [&mut found, &mut expected] {
            answer.statuses.iter_mut().for_each(|status| {
                status.duration_until_reset =
                    status.duration_until_reset.take().map(|_| tollgate_envoy::Duration::default());
            });
            answer.response_headers_to_add.retain(|header| header.key != "RateLimit-Reset");
            let is_there = !std::mem::take(&mut answer.raw_body).is_empty();
            assert_eq!(is_there, refused, "{text}");
        }
        assert_eq!(found, expected, "{text}");
    }
}

#[tokio::test]
async fn a_global_shadow_refuses_nobody() {
    let mut service = start(Options { shadow: true, ..Options::default() }).await;
    assert_eq!(service.codes(&[("user", "blocked")], 2).await, [Code::Ok; 2]);
    assert_eq!(service.metric("ratelimit_service_global_shadow_mode"), 2);
}

#[tokio::test]
async fn changes_are_followed_and_mistakes_are_not() {
    let mut service = start(Options::default()).await;
    let file = service.folder.path().join("a.yaml");
    let blocked = [("user", "blocked")];
    fs::write(&file, "domain: d\ndescriptors: [{ key: user, rate_limit: { unit: fortnight } }]").unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(service.metric("ratelimit_service_config_load_error"), 1);
    assert_eq!(service.codes(&blocked, 1).await, [Code::OverLimit]);
    fs::write(&file, "domain: d\ndescriptors:\n").unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(service.codes(&blocked, 1).await, [Code::Ok]);
    assert_eq!(service.metric("ratelimit_service_config_load_success"), 2);
}

#[test]
fn mistakes_are_told_with_their_file() {
    for (text, expected) in [
        ("descriptors: []", "expected a domain"),
        ("domain: d\ndescriptors: [{ value: x }]", "expected a key"),
        ("domain: d\ndescriptors: [{ key: a }, { key: a }]", "twice"),
        ("domain: d\ndescriptors: [{ key: a, colour: red }]", "colour"),
        ("domain: d\ndescriptors: [{ key: a, rate_limit: { unit: day, unlimited: true } }]", "unlimited"),
        ("a: [", "not one document"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), text).unwrap();
        let error = Live::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("a.yaml"), "{error}");
    }
}

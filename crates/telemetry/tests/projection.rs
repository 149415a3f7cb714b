//! What one exchange becomes: lines of `/metrics` and a line of the access log. The expected texts are in `golden/`;
//! `cargo xtask bless` rewrites them.

#![expect(clippy::expect_used, reason = "a test may end at once")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tollgate_chat::{Effect, Loss, LossKind};
use tollgate_exchange::{CostError, Facts, Outcome, Record, Summary};
use tollgate_telemetry::{AccessLog, Options, Reload, Telemetry};
use tollgate_terms::{BackendName, Delivery, Dialect, ModelName, Operation, RouteName, Usage, UsageSource};

fn model(text: &str) -> ModelName {
    ModelName::parse(text).expect("a model name")
}

fn facts() -> Facts {
    Facts {
        request_id: "01J".into(),
        attempt: 1,
        started_at_ms: 1_767_225_599_000,
        principal: Arc::default(),
        route: RouteName::new("default/chat"),
        backend: BackendName::new("default/one"),
        provider: "openai",
        operation: Operation::Chat,
        client_dialect: Dialect::OpenAiChat,
        backend_dialect: Dialect::OpenAiChat,
        delivery: Delivery::Whole,
        requested_model: model("fast"),
        upstream_model: model("gpt-4o-mini"),
    }
}

fn record() -> Record {
    Record {
        facts: Arc::new(facts()),
        served_model: Some(model("gpt-4o-mini-2024-07-18")),
        outcome: Outcome::Complete,
        fault: None,
        upstream_status: Some(200),
        usage: Usage { input_tokens: 20, output_tokens: 5, cached_input_tokens: 16, ..Usage::default() },
        usage_source: UsageSource::ProviderFinal,
        charges: Vec::new(),
        cost_nanodollars: Some(4_800),
        cost_errors: Vec::new(),
        losses: Vec::new(),
        duration: Duration::from_millis(125),
        time_to_first_token: None,
        time_per_output_token: None,
        delivered: true,
    }
}

fn summary(attempts: Vec<Record>) -> Summary {
    Summary {
        request_id: "01J".into(),
        started_at_ms: 1_767_225_599_000,
        method: "POST".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        client_address: "127.0.0.1:50000".to_owned(),
        principal: Arc::default(),
        listener: "default/gateway/http".into(),
        status: 200,
        outcome: Outcome::Complete,
        fault: None,
        operation: Some(Operation::Chat),
        client_dialect: Some(Dialect::OpenAiChat),
        requested_model: Some(model("fast")),
        route: Some(RouteName::new("default/chat")),
        passed_to: None,
        attempts_made: u32::try_from(attempts.len()).expect("few attempts"),
        attempts,
        request_body_bytes: 1024,
        response_body_bytes: 2048,
        duration: Duration::from_millis(130),
    }
}

/// The first backend fails, the second streams an answer of the other dialect.
fn fallback() -> Summary {
    let first = Record {
        outcome: Outcome::Error,
        fault: Some("status"),
        upstream_status: Some(503),
        served_model: None,
        usage: Usage::default(),
        usage_source: UsageSource::None,
        cost_nanodollars: None,
        delivered: false,
        ..record()
    };
    let second = Record {
        facts: Arc::new(Facts {
            attempt: 2,
            backend: BackendName::new("default/two"),
            provider: "anthropic",
            backend_dialect: Dialect::AnthropicMessages,
            delivery: Delivery::Stream,
            upstream_model: model("claude"),
            ..facts()
        }),
        served_model: Some(model("claude")),
        usage: Usage { input_tokens: 20, output_tokens: 5, cached_input_tokens: 21, ..Usage::default() },
        cost_nanodollars: Some(1_234_567_891),
        losses: vec![Loss { pointer: "/seed".to_owned(), kind: LossKind::Sampling, effect: Effect::Meaning }],
        time_to_first_token: Some(Duration::from_micros(42_500)),
        time_per_output_token: Some(Duration::from_millis(12)),
        ..record()
    };
    summary(vec![first, second])
}

/// Nobody is asked, and the client's texts try to break out of their line.
fn refused() -> Summary {
    Summary {
        path: "/v1/chat/completions\n{\"method\":\"forged\"}\u{1b}[31m".to_owned(),
        status: 404,
        outcome: Outcome::Refused,
        fault: Some("no_route"),
        requested_model: Some(model("\"},forged{\\")),
        route: None,
        ..summary(Vec::new())
    }
}

/// The client leaves in the middle of a stream that never told its usage.
fn abandoned() -> Summary {
    let attempt = Record {
        facts: Arc::new(Facts { delivery: Delivery::Stream, ..facts() }),
        outcome: Outcome::ClientGone,
        fault: Some("client_gone"),
        usage: Usage { input_tokens: 300, output_tokens: 7, ..Usage::default() },
        usage_source: UsageSource::Estimated,
        cost_nanodollars: None,
        cost_errors: vec![CostError::Negative],
        time_to_first_token: Some(Duration::from_millis(90)),
        ..record()
    };
    Summary { outcome: Outcome::ClientGone, fault: Some("client_gone"), ..summary(vec![attempt]) }
}

/// A request of a plain rule.
fn passed() -> Summary {
    Summary {
        path: "/index.html".to_owned(),
        operation: None,
        client_dialect: None,
        requested_model: None,
        route: Some(RouteName::new("default/site")),
        attempts_made: 1,
        passed_to: Some(BackendName::new("Backend default/site")),
        ..summary(Vec::new())
    }
}

fn telemetry(access_log: AccessLog) -> Telemetry {
    Telemetry::new(Options { access_log, ..Options::new("1.2.3") }).expect("telemetry")
}

/// The metrics in a stable order, without what depends on the machine.
fn metrics(telemetry: &Telemetry) -> String {
    let text = telemetry.encode_metrics();
    let mut lines: Vec<_> =
        text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("process_")).collect();
    lines.sort_unstable();
    lines.join("\n") + "\n"
}

fn compare(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        fs::write(&path, actual).expect("a golden written");
    }
    assert_eq!(actual, fs::read_to_string(&path).unwrap_or_default(), "{name}");
}

#[test]
fn every_way_out_is_in_the_metrics() {
    let telemetry = telemetry(AccessLog::Off);
    for summary in [summary(vec![record()]), fallback(), refused(), abandoned(), passed()] {
        telemetry.record(&summary);
    }
    telemetry.ejected(&BackendName::new("default/one"));
    telemetry.panicked();
    telemetry.reloaded(Reload::Applied, Duration::from_millis(1_767_225_599_500));
    telemetry.reloaded(Reload::Refused, Duration::from_secs(1_767_225_600));
    compare("metrics.txt", &metrics(&telemetry));
}

#[test]
fn every_way_out_is_a_line_of_the_access_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let telemetry = telemetry(AccessLog::File(path.clone()));
    for summary in [summary(vec![record()]), fallback(), refused(), abandoned(), passed()] {
        telemetry.record(&summary);
    }
    telemetry.flush(Duration::from_secs(5));
    let text = fs::read_to_string(&path).expect("a log");
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
    compare("access.jsonl", &text);
}

#[test]
fn only_what_has_data_is_shown() {
    let text = metrics(&telemetry(AccessLog::Off));
    assert!(!text.contains("gen_ai"), "{text}");
    assert!(text.contains("tollgate_build_info{version=\"1.2.3\"} 1"), "{text}");
}

#[test]
fn model_names_past_the_bound_become_one() {
    let telemetry =
        Telemetry::new(Options { model_names_max: 3, ..Options::new("1.2.3") }).expect("telemetry");
    for number in 0..100 {
        let name = model(&format!("m{number}"));
        let facts = Facts { requested_model: name.clone(), upstream_model: name, ..facts() };
        let attempt = Record { facts: Arc::new(facts), ..record() };
        telemetry.record(&summary(vec![attempt]));
    }
    let text = telemetry.encode_metrics();
    let counts = text.lines().filter(|line| line.starts_with("gen_ai_server_request_duration_seconds_count"));
    let mut counts: Vec<_> = counts.collect();
    counts.sort_unstable();
    assert_eq!(counts.len(), 3, "{counts:#?}");
    assert!(
        counts.first().is_some_and(|line| line.contains("_other") && line.ends_with(" 98")),
        "{counts:#?}"
    );
}

#[test]
fn requests_in_flight_are_counted_out_when_their_guard_goes() {
    let telemetry = telemetry(AccessLog::Off);
    let guard = telemetry.enter();
    assert!(telemetry.encode_metrics().contains("tollgate_requests_in_flight 1"));
    drop(guard);
    assert!(telemetry.encode_metrics().contains("tollgate_requests_in_flight 0"));
}

#[test]
fn threads_count_together() {
    let telemetry = Arc::new(telemetry(AccessLog::Off));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let telemetry = Arc::clone(&telemetry);
            std::thread::spawn(move || (0..250).for_each(|_| telemetry.record(&summary(vec![record()]))))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
    let text = telemetry.encode_metrics();
    assert!(text.contains("outcome=\"complete\",status=\"200\"} 1000"), "{text}");
}

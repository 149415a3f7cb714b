//! The amplification gate: whatever a request of 10 KiB says, serving it takes less than 1 MiB of memory.
//!
//! Counted are the bytes that the core asks its allocator for, at their peak, with everything of the exchange still alive.

mod two_dialects;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use peak_alloc::PeakAlloc;
use tollgate_config::Snapshot;
use tollgate_exchange::{Arrival, Attempt, BodyFraming, Exchange, RequestHead};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const REQUEST_BYTES: usize = 10 << 10;
const COST_BYTES_MAX: usize = 1 << 20;

const JSON: &str = "application/json";

/// `begin`, as many of `piece` with commas between as fit, `end`.
fn filled(begin: &str, piece: &str, end: &str) -> Bytes {
    let room = REQUEST_BYTES - begin.len() - end.len();
    let pieces = vec![piece; (room + 1) / (piece.len() + 1)].join(",");
    Bytes::from(format!("{begin}{pieces}{end}"))
}

/// `begin`, members with names of their own, `end`.
fn members(begin: &str, end: &str) -> Bytes {
    let mut text = begin.to_owned();
    for number in 0.. {
        let member = format!(r#""{number:x}":[],"#);
        if text.len() + member.len() + end.len() > REQUEST_BYTES {
            break;
        }
        text.push_str(&member);
    }
    Bytes::from(text.trim_end_matches(',').to_owned() + end)
}

fn bodies() -> Vec<Bytes> {
    let request = r#"{"model":"m","max_tokens":9,"messages":["#;
    let content = &format!(r#"{request}{{"role":"user","content":["#);
    let calls = &format!(r#"{request}{{"role":"assistant","tool_calls":["#);
    let asked = &format!(r#"{request}{{"role":"user","content":"a"}}],"#);
    let deep = format!(r#"{asked}"x":{}1{},"y":["#, "[".repeat(120), "]".repeat(120));
    vec![
        filled(request, r#"{"role":"user","content":"a"}"#, "]}"),
        filled(request, r#"{"role":"user","content":""},{"role":"assistant","content":""}"#, "]}"),
        filled(request, "[]", "]}"),
        filled(content, r#"{"type":"text","text":"a"}"#, "]}]}"),
        filled(content, r#"{"type":"x"}"#, "]}]}"),
        filled(content, "{}", "]}]}"),
        filled(calls, r#"{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}"#, "]}]}"),
        filled(&format!("{asked}\"tools\":["), r#"{"type":"function","function":{"name":"f"}}"#, "]}"),
        filled(&format!("{asked}\"tools\":["), r#"{"name":"f","input_schema":{}}"#, "]}"),
        filled(&format!("{asked}\"stop\":["), r#""a""#, "]}"),
        filled(&deep, "[[[[[[]]]]]]", "]}"),
        filled(&format!(r#"{request}{{"role":"user","content":""#), "\\u0001", "\"}]}"),
        members(asked, "}"),
        members(&format!("{asked}\"metadata\":{{"), "}}"),
        members(&format!(r#"{request}{{"role":"user","content":"a","#), "}]}"),
        Bytes::from("[".repeat(REQUEST_BYTES)),
    ]
}

fn form() -> Bytes {
    let part = "--b\r\ncontent-disposition: form-data; name=\"x\"\r\n\r\n\r\n";
    let model = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm\r\n";
    let parts = part.repeat((REQUEST_BYTES - model.len() - 5) / part.len());
    Bytes::from(format!("{model}{parts}--b--"))
}

fn headers(content_type: &'static str, count: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(content_type));
    headers.extend((0..count).filter_map(|number| {
        let name: HeaderName = format!("x-{number}").parse().ok()?;
        Some((name, HeaderValue::from_static("v")))
    }));
    assert_eq!(headers.len(), count + 1);
    headers
}

/// What serving a request takes, at its peak, on each backend in turn.
#[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
fn cost(snapshot: &Arc<Snapshot>, path: &str, headers: &HeaderMap, body: &Bytes) -> usize {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let head = RequestHead {
        method: Method::POST,
        path: path.to_owned(),
        query: None,
        host: Some("h".to_owned()),
        headers: headers.clone(),
        listener: "l".into(),
        client_address: String::new(),
        body: BodyFraming::Sized(body.len() as u64),
    };
    let arrival = Arrival {
        request_id: "r".into(),
        at: Instant::now(),
        at_unix_ms: 0,
        keyring: Arc::default(),
        vouched: Vec::new(),
    };
    let (mut exchange, plan) = Exchange::new(snapshot, head, arrival);
    assert!(plan.is_ok(), "{path}: {plan:?}");
    let routed = exchange.on_request_body(Bytes::copy_from_slice(body));
    let mut kept = Vec::new();
    for target in 0..2 {
        let Ok((routed, client)) = &routed else { break };
        let attempt = Attempt::new(routed, target, 1, Instant::now(), 0);
        kept.extend(
            attempt.map(|mut attempt| {
                (attempt.on_dispatch(client, tollgate_exchange::Admission::First), attempt)
            }),
        );
    }
    ALLOCATOR.peak_usage() - before
}

#[test]
fn no_small_request_costs_much() {
    let snapshot = two_dialects::snapshot();
    let mut worst = (0, String::new());
    let mut check = |path: &str, headers: &HeaderMap, body: &Bytes| {
        assert!(body.len() <= REQUEST_BYTES, "{}", body.len());
        let cost = cost(&snapshot, path, headers, body);
        let shown = String::from_utf8_lossy(body.get(..120).unwrap_or(body));
        let what = format!("{path}, {} headers, {shown}", headers.len());
        assert!(cost < COST_BYTES_MAX, "{cost} bytes for {what}");
        worst = worst.clone().max((cost, what));
    };
    for path in ["/v1/chat/completions", "/v1/messages", "/v1/embeddings"] {
        for body in bodies() {
            check(path, &headers(JSON, 0), &body);
        }
        check(path, &headers(JSON, 99), &Bytes::from_static(br#"{"model":"m","messages":[]}"#));
    }
    check("/v1/audio/transcriptions", &headers("multipart/form-data; boundary=b", 0), &form());
    // So that the gate is known to measure something.
    assert!(worst.0 > REQUEST_BYTES, "{worst:?}");
    println!("at most {} bytes, for {}", worst.0, worst.1);
}

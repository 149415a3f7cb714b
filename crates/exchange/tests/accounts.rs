//! What records say of answers that are cut, split, or told in strange numbers: ACC-03, ACC-04, ACC-05 and ACC-14 in the pure core.

#![expect(clippy::expect_used, reason = "a test may end at once")]

mod two_dialects;

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_config::Snapshot;
use tollgate_exchange::{
    Admission, Arrival, Attempt, BodyFraming, Chance, Ending, Exchange, Outcome, Record, RequestHead, Step,
};
use tollgate_terms::{BackendFault, ClientFault, Fault, UsageSource};

#[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);

static SNAPSHOT: LazyLock<Arc<Snapshot>> = LazyLock::new(two_dialects::snapshot);

/// What the client asks, and the target of the backend's dialect.
const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";
const OPENAI: usize = 0;
const ANTHROPIC: usize = 1;

/// The pieces in which models tell such a text: a token each.
const TOKENS: [&str; 16] = [
    "The", " gateway", " keeps", " account", " of", " every", " token", ",", " even", " when", " its",
    " client", " has", " left", " the", " line.",
];

fn attempt(path: &str, target: usize) -> Attempt {
    let messages = json!([{"role": "user", "content": "hi"}]);
    let body = match path {
        RESPONSES => json!({"model": "m", "stream": true, "input": "hi", "store": false}),
        _ => json!({"model": "m", "max_tokens": 90, "stream": true, "messages": messages}),
    };
    let body = body.to_string();
    let head = RequestHead {
        method: Method::POST,
        path: path.to_owned(),
        query: None,
        host: Some("h".to_owned()),
        headers: HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )]),
        listener: "l".into(),
        client_address: String::new(),
        body: BodyFraming::Sized(body.len() as u64),
    };
    let arrival = Arrival {
        request_id: "r".into(),
        at: *NOW,
        at_unix_ms: 0,
        keyring: Arc::default(),
        vouched: Vec::new(),
    };
    let (mut exchange, plan) = Exchange::new(&SNAPSHOT, head, arrival);
    plan.expect("a body is wanted");
    let (routed, request) = exchange.on_request_body(body.into()).expect("a route");
    let mut attempt = Attempt::new(&routed, target, 1, *NOW, 0).expect("a target");
    assert!(matches!(attempt.on_dispatch(&request, Admission::First), Step::Forward(_)));
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    assert!(matches!(attempt.on_response_head(StatusCode::OK, headers, Chance::More), Step::Forward(_)));
    attempt
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The backend ends its body.
    Body,
    /// The backend breaks its connection.
    Reset,
    /// The client leaves.
    Left,
}

/// The record of an attempt whose backend sends these chunks; its data plane does as both do.
fn record(path: &str, target: usize, chunks: &[&[u8]], end: End) -> Record {
    let mut attempt = attempt(path, target);
    for chunk in chunks {
        match attempt.on_response_chunk(Bytes::copy_from_slice(chunk), *NOW) {
            Step::Forward(_) | Step::Hold => {}
            Step::Retry(fault) => return attempt.finish(Ending::GivenUp(fault), *NOW).expect("a record"),
            Step::Reply(_) | Step::Ask(_) => unreachable!("a stream asks nothing"),
        }
    }
    let ending = match end {
        End::Left => Ending::Broken(Fault::Client(ClientFault::Gone)),
        End::Body => attempt.on_response_end(*NOW).1.map_or(Ending::Delivered, Ending::Broken),
        End::Reset => {
            let (_, fault) = attempt.on_stream_fault(Fault::Backend(BackendFault::Cut), *NOW);
            fault.map_or(Ending::Delivered, Ending::Broken)
        }
    };
    attempt.finish(ending, *NOW).expect("a record")
}

/// A stream as its events: their bytes, the tokens of the answer in each, and whether it tells the usage.
struct Event {
    bytes: String,
    tokens: u64,
    tells_usage: bool,
}

fn event(data: &Value, tokens: u64, tells_usage: bool) -> Event {
    let name = data["type"].as_str().map(|kind| format!("event: {kind}\n")).unwrap_or_default();
    Event { bytes: format!("{name}data: {data}\n\n"), tokens, tells_usage }
}

/// Which clients are answered from which backends. The one of OpenAI answers responses as such.
const PAIRS: [(&str, usize); 6] = [
    (CHAT, OPENAI),
    (MESSAGES, OPENAI),
    (RESPONSES, OPENAI),
    (CHAT, ANTHROPIC),
    (MESSAGES, ANTHROPIC),
    (RESPONSES, ANTHROPIC),
];

fn recorded(path: &str, target: usize) -> Vec<Event> {
    let count = TOKENS.len() as u64;
    if target == OPENAI && path == RESPONSES {
        return recorded_response();
    }
    if target == ANTHROPIC {
        let usage = json!({"input_tokens": 11, "output_tokens": 1});
        let message = json!({"id": "m", "type": "message", "role": "assistant", "model": "m-1", "content": [], "usage": usage});
        let mut events = vec![event(&json!({"type": "message_start", "message": message}), 0, false)];
        let block = json!({"type": "text", "text": ""});
        let start = json!({"type": "content_block_start", "index": 0, "content_block": block});
        events.push(event(&start, 0, false));
        events.extend(TOKENS.iter().map(|text| {
            let delta = json!({"type": "text_delta", "text": text});
            event(&json!({"type": "content_block_delta", "index": 0, "delta": delta}), 1, false)
        }));
        events.push(event(&json!({"type": "content_block_stop", "index": 0}), 0, false));
        let delta = json!({"stop_reason": "end_turn", "stop_sequence": null});
        let usage = json!({"output_tokens": count});
        events.push(event(&json!({"type": "message_delta", "delta": delta, "usage": usage}), 0, true));
        events.push(event(&json!({"type": "message_stop"}), 0, false));
        return events;
    }
    let chunk = |choices: Value| json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m-1", "choices": choices});
    let delta =
        |delta: Value, reason: Value| chunk(json!([{"index": 0, "delta": delta, "finish_reason": reason}]));
    let first = delta(json!({"role": "assistant", "content": ""}), Value::Null);
    let mut events = vec![event(&first, 0, false)];
    let texts = TOKENS.iter().map(|text| event(&delta(json!({"content": text}), Value::Null), 1, false));
    events.extend(texts);
    events.push(event(&delta(json!({}), json!("stop")), 0, false));
    let mut last = chunk(json!([]));
    last["usage"] = json!({"prompt_tokens": 11, "completion_tokens": count, "total_tokens": 11 + count});
    events.push(event(&last, 0, true));
    events.push(Event { bytes: "data: [DONE]\n\n".to_owned(), tokens: 0, tells_usage: false });
    events
}

fn recorded_response() -> Vec<Event> {
    let (count, text) = (TOKENS.len() as u64, TOKENS.concat());
    let response = |status: &str, output: Value, usage: Value| json!({"id": "r1", "object": "response", "created_at": 1, "model": "m-1", "status": status, "output": output, "usage": usage});
    let at = |kind: &str| json!({"type": kind, "item_id": "i", "output_index": 0, "content_index": 0});
    let with = |kind: &str, member: &str, value: Value| {
        let mut data = at(kind);
        data[member] = value;
        data
    };
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
    let item = |content: Value| json!({"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": content});
    let created =
        json!({"type": "response.created", "response": response("in_progress", json!([]), Value::Null)});
    let mut events = vec![
        event(&created, 0, false),
        event(&with("response.output_item.added", "item", item(json!([]))), 0, false),
        event(&with("response.content_part.added", "part", part("")), 0, false),
    ];
    let delta = |text: &&str| event(&with("response.output_text.delta", "delta", json!(text)), 1, false);
    events.extend(TOKENS.iter().map(delta));
    let said = item(json!([part(&text)]));
    events.push(event(&with("response.output_text.done", "text", json!(text)), 0, false));
    events.push(event(&with("response.content_part.done", "part", part(&text)), 0, false));
    events.push(event(&with("response.output_item.done", "item", said.clone()), 0, false));
    let usage = json!({"input_tokens": 11, "output_tokens": count, "total_tokens": 11 + count});
    let last = json!({"type": "response.completed", "response": response("completed", json!([said]), usage)});
    events.push(event(&last, 0, true));
    events
}

fn bytes(events: &[Event]) -> Vec<u8> {
    events.iter().flat_map(|event| event.bytes.bytes()).collect()
}

/// ACC-03: an answer that is cut off after any byte, by whichever side, has a record. What it says is no less than all tokens that came
/// whole, and no more than one for each three bytes of their text; once the usage has come, it is exact.
#[test]
fn acc_03_an_answer_that_is_cut_after_any_byte_is_recorded() {
    for (path, target) in PAIRS {
        let events = recorded(path, target);
        let all = bytes(&events);
        for end in [End::Left, End::Reset, End::Body] {
            for cut in 0..=all.len() {
                let record = record(path, target, &[&all[..cut]], end);
                let what = format!("{path} at {target}, {end:?} after {cut} of {}: {record:?}", all.len());
                judge(&events, cut, &record, &what);
            }
        }
    }
}

fn judge(events: &[Event], cut: usize, record: &Record, what: &str) {
    let (mut whole, mut begun, mut end, mut told) = (0, 0, 0, false);
    for event in events {
        let start = end;
        end += event.bytes.len();
        begun += if start < cut { event.tokens } else { 0 };
        whole += if end <= cut { event.tokens } else { 0 };
        told |= event.tells_usage && end <= cut;
    }
    let (usage, count) = (&record.usage, TOKENS.len() as u64);
    // One more may have begun: what was served is no more than a chunk above what is said.
    assert!(usage.output_tokens >= whole && whole + 1 >= begun, "{what}");
    // Where the body ends, an event is one all the same without its blank line.
    if told || record.usage_source == UsageSource::ProviderFinal {
        assert_eq!((usage.input_tokens, usage.output_tokens), (11, count), "{what}");
        assert_eq!(record.usage_source, UsageSource::ProviderFinal, "{what}");
        return;
    }
    assert_ne!(record.usage_source, UsageSource::None, "{what}");
    // One of the backends tells a first token with its head.
    let text: usize = TOKENS.iter().zip(0..begun).map(|(token, _)| token.len()).sum();
    assert!(usage.output_tokens <= (text as u64).div_ceil(3).max(1), "{what}");
}

/// ACC-04: each way to cut a stream into two chunks, and many into more, gives the same record.
#[test]
fn acc_04_every_split_of_a_stream_gives_the_same_record() {
    for (path, target) in PAIRS {
        let all = bytes(&recorded(path, target));
        let say = |chunks: &[&[u8]]| {
            serde_json::to_value(record(path, target, chunks, End::Body)).expect("a record")
        };
        let whole = say(&[&all]);
        assert_eq!(whole["outcome"], "complete", "{whole}");
        for cut in 0..=all.len() {
            let (one, other) = all.split_at(cut);
            assert_eq!(say(&[one, other]), whole, "{path} at {target}, cut at {cut}");
        }
        for size in 1..64 {
            let chunks: Vec<&[u8]> = all.chunks(size).collect();
            assert_eq!(say(&chunks), whole, "{path} at {target}, chunks of {size}");
        }
    }
}

const TEXT: &str = r#"data: {"id":"c","model":"m-1","choices":[{"index":0,"delta":{"content":"hello to you"},"finish_reason":null}]}"#;
const STOP: &str =
    r#"data: {"id":"c","model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const DONE: &str = "data: [DONE]";

/// What a usage comes to: tokens of prompt and answer, and in all, and where they are from.
type Counted = (u64, u64, u64, UsageSource);

fn counted(lines: &[&str]) -> Counted {
    let body = lines.iter().map(|line| format!("{line}\n\n")).collect::<String>();
    let record = record(CHAT, OPENAI, &[body.as_bytes()], End::Body);
    assert_eq!(record.outcome, Outcome::Complete, "{body}: {record:?}");
    let usage = record.usage;
    (usage.input_tokens, usage.output_tokens, usage.total_tokens(), record.usage_source)
}

fn told(usage: &str) -> String {
    format!(r#"data: {{"id":"c","model":"m-1","choices":[],"usage":{usage}}}"#)
}

/// ACC-05: shapes in which servers tell usage, and some that nobody should.
#[test]
fn acc_05_any_shape_of_usage_is_counted_or_estimated() {
    use UsageSource::{Estimated, ProviderFinal};
    // A token for three bytes, rounded up: of the prompt with what is around it, and of the answer.
    let estimated = (11, 4, 15, Estimated);
    let exact = (21, 7, 28, ProviderFinal);
    let good = r#"{"prompt_tokens":21,"completion_tokens":7,"total_tokens":28}"#;
    assert_eq!(counted(&[TEXT, STOP, DONE]), estimated, "missing");
    let table: [(&str, &str, Counted); 16] = [
        ("good", good, exact),
        ("null", "null", estimated),
        ("empty", "{}", estimated),
        ("a text", "\"21\"", estimated),
        ("a boolean", "true", estimated),
        ("zero", r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#, (0, 0, 0, ProviderFinal)),
        ("only a total", r#"{"total_tokens":28}"#, (28, 0, 28, ProviderFinal)),
        ("all negative", r#"{"prompt_tokens":-21,"completion_tokens":-7,"total_tokens":-28}"#, estimated),
        ("texts", r#"{"prompt_tokens":"21","completion_tokens":"7"}"#, estimated),
        ("whole floats", r#"{"prompt_tokens":21.0,"completion_tokens":7.0,"total_tokens":28.0}"#, exact),
        ("broken floats", r#"{"prompt_tokens":21.5,"completion_tokens":7.5}"#, estimated),
        (
            "2^32",
            r#"{"prompt_tokens":4294967296,"completion_tokens":7}"#,
            (4_294_967_296, 7, 4_294_967_303, ProviderFinal),
        ),
        (
            "2^63",
            r#"{"prompt_tokens":9223372036854775808,"completion_tokens":7}"#,
            (1 << 63, 7, (1 << 63) + 7, ProviderFinal),
        ),
        (
            "2^64",
            r#"{"prompt_tokens":18446744073709551616,"completion_tokens":18446744073709551616}"#,
            estimated,
        ),
        ("no answer", r#"{"prompt_tokens":21}"#, (21, 4, 25, UsageSource::ProviderPartial)),
        (
            "a negative answer",
            r#"{"prompt_tokens":21,"completion_tokens":-7}"#,
            (21, 4, 25, UsageSource::ProviderPartial),
        ),
    ];
    for (name, usage, expected) in table {
        assert_eq!(counted(&[TEXT, STOP, &told(usage), DONE]), expected, "{name}");
    }
}

/// ACC-05: where usage stands, and how often.
#[test]
fn acc_05_the_last_usage_counts_wherever_it_stands() {
    let exact = (21, 7, 28, UsageSource::ProviderFinal);
    let usage = |input: u64, output: u64| {
        told(&format!(
            r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{}}}"#,
            input + output
        ))
    };
    let (one, last) = (usage(21, 1), usage(21, 7));
    let within = last.replace(r#""choices":[]"#, r#""choices":[{"index":0,"delta":{"content":"x"}}]"#);
    let cases: [(&str, Vec<&str>); 6] = [
        ("repeated", vec![TEXT, &last, &last, STOP, &last, DONE]),
        ("cumulative", vec![&one, TEXT, &last, STOP, DONE]),
        ("in a chunk that is not the last", vec![&last, TEXT, STOP, DONE]),
        ("in a chunk with a choice", vec![TEXT, &within, STOP, DONE]),
        ("after the end", vec![TEXT, STOP, DONE, &last]),
        (
            "followed by null",
            vec![TEXT, STOP, &last, "data: {\"id\":\"c\",\"choices\":[],\"usage\":null}", DONE],
        ),
    ];
    for (name, lines) in cases {
        assert_eq!(counted(&lines), exact, "{name}");
    }
    // Whoever tells less than before is believed: nobody tells parts to be summed, and a server is not at war with its gateway.
    assert_eq!(counted(&[TEXT, &usage(21, 7), STOP, &one, DONE]).1, 1);
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..200_u64, 1 => Just(u64::MAX), 1 => any::<u64>()]
}

proptest! {
    /// ACC-14: numbers that cannot all be true are told as they came, and found.
    #[test]
    fn acc_14_parts_above_their_whole_are_flagged_and_not_mended(
        (input, cached, output, reasoning) in (count(), count(), count(), count()),
        total in proptest::option::of(count()),
    ) {
        let usage = json!({
            "prompt_tokens": input, "completion_tokens": output, "total_tokens": total,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        });
        let body = [TEXT, STOP, &told(&usage.to_string()), DONE].map(|line| format!("{line}\n\n")).concat();
        let record = record(CHAT, OPENAI, &[body.as_bytes()], End::Body);
        let told = record.usage;
        prop_assert_eq!(
            (told.input_tokens, told.cached_input_tokens, told.output_tokens, told.reasoning_tokens),
            (input, cached, output, reasoning)
        );
        prop_assert_eq!(told.provider_total_tokens, total);
        let wrong = [
            cached > input,
            reasoning > output,
            total.is_some_and(|total| total < input.saturating_add(output)),
        ];
        prop_assert_eq!(told.contradictions().count(), wrong.into_iter().filter(|wrong| *wrong).count());
    }
}

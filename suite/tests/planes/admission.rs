//! Rows F3, F4 and F5 of the failure matrix: who is not let in, what is too much, and limits of which nobody knows what they have left.
//! What clients get is compared whole, and is the same on both planes, as are the lines of the access log.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate_config::bundle::{Limit, OnStoreFailure};
use tollgate_effects::Secrets;
use tollgate_effects::quota::Quotas;
use tollgate_exchange::Outcome;
use tollgate_suite::{
    Act, Beside, CHAT, Notes, STREAM, ScriptedBackend, Tested, ask, body, bundle, chat_request, comparable,
    completion, free_port, header, openai, sized, status, transcript,
};

use crate::access::{api_keys, guarded, secrets};
use crate::limits::{limit, limited};
use crate::redis::Redis;

const KEY: &str = "authorization: Bearer sk-alice\r\n";

/// A stream first, documents from then on.
fn backend() -> ScriptedBackend {
    let document = vec![Act::Write(sized(200, "application/json", "", completion()))];
    ScriptedBackend::start(vec![Beside::script(), document])
}

/// A chat with these lines in its head.
fn with(lines: &str, body: &str) -> String {
    chat_request(body).replace("host: gateway\r\n", &format!("host: gateway\r\n{lines}"))
}

/// A refusal whole: status, lines of the head beside those that all have, and the error.
fn refusal(status: &str, lines: &[&str], error: &Value, bytes: usize) -> String {
    let length = format!("content-length: {bytes}");
    let common = ["content-type: application/json", "date: *", "x-request-id: *", "x-tollgate-request-id: *"];
    let mut head = [&common[..], &[&length], lines].concat();
    head.sort_unstable();
    let body = json!({"type": "error", "error": error, "request_id": "*"});
    format!("HTTP/1.1 {status}\n{}\n\n{body}", head.join("\n"))
}

/// What the access log says of every request in these tests.
fn line(members: &Value) -> Value {
    let mut line = json!({
        "method": "POST",
        "request.path": "/v1/chat/completions",
        "downstream_remote_address": "127.0.0.1",
        "tollgate.listener": "l",
    });
    let (Some(line_members), Some(members)) = (line.as_object_mut(), members.as_object()) else { panic!() };
    line_members.extend(members.clone());
    line
}

#[test]
fn f3_who_shows_no_key_or_a_wrong_one_is_refused_in_the_same_words() {
    let (backend, notes) = (backend(), Arc::new(Notes::default()));
    let keys = secrets(&[("alice", "sk-alice")]);
    let journal = Arc::clone(&notes);
    let tested =
        Tested::start_recorded(guarded(&backend, api_keys(&["alice"])), keys, journal, &Quotas::default());
    let beside = Beside::start(&tested, &backend, &with(KEY, STREAM));
    let error = json!({
        "type": "Unauthorized",
        "message": "invalid API key or token: a valid one is needed to use this gateway",
        "code": "invalid_api_key",
    });
    let expected = |lines: &[&str]| {
        refusal("401 Unauthorized", &[&["www-authenticate: Bearer"], lines].concat(), &error, 205)
    };
    let wrong = [
        "",
        "authorization: Bearer sk-alic\r\n",
        "authorization: Bearer sk-alice2\r\n",
        "authorization: Basic sk-alice\r\n",
        "x-api-key: \r\n",
    ];
    for lines in wrong {
        let response = tested.send(&with(lines, CHAT));
        assert_eq!(transcript(&response, &[]), expected(&["connection: close"]), "{lines}");
    }
    // A connection goes on, and who shows the key is let in there.
    let kept = |lines: &str| with(lines, CHAT).replace("connection: close\r\n", "");
    let mut client = tested.connect();
    assert_eq!(transcript(&ask(&mut client, &kept("")), &[]), expected(&[]));
    assert_eq!(status(&ask(&mut client, &kept(KEY))), 200);
    beside.is_whole();

    let refused = wrong.len() + 1;
    let lines = tested.log_lines(refused + 2);
    for told in lines.iter().filter(|line| line["response_code"] == 401) {
        let members = json!({
            "response_code": 401, "bytes_received": 0, "bytes_sent": 205,
            "tollgate.outcome": "refused", "tollgate.fault": "unauthenticated", "tollgate.attempts": 0,
        });
        assert_eq!(comparable(told.clone()), line(&members));
    }
    assert_eq!(tested.metric("tollgate_refusals_total{reason=\"unauthenticated\"}"), refused as u64);
    assert_eq!((notes.opened(), notes.settled().len()), (2, 2), "attempts of those who were let in");
}

#[test]
fn f4_who_is_over_the_limit_is_told_how_long_to_wait() {
    let (backend, notes) = (backend(), Arc::new(Notes::default()));
    let limited = limited(vec![limit("two", 2, None)]);
    let bundle = bundle(free_port(), limited, vec![openai("b", backend.address)]);
    let journal = Arc::clone(&notes);
    let tested = Tested::start_recorded(bundle, Secrets::default(), journal, &Quotas::default());
    let beside = Beside::start(&tested, &backend, &chat_request(STREAM));
    assert_eq!(status(&tested.chat(CHAT)), 200);
    let response = tested.chat(CHAT);
    let seconds = header(&response, "retry-after").expect("a wait").to_owned();
    assert!((1..=86_400).contains(&seconds.parse::<u32>().expect("seconds")), "{response}");
    let message =
        format!("limit exceeded: two: 0 of 2 left, and the request may use 1; try again in {seconds} s");
    let error = json!({"type": "TooManyRequests", "message": message, "code": "rate_limit_exceeded"});
    let (wait, reset) = (format!("retry-after: {seconds}"), format!("x-ratelimit-reset: {seconds}"));
    let lines = ["connection: close", &wait, "x-ratelimit-limit: 2", "x-ratelimit-remaining: 0", &reset];
    let bytes = 221 + seconds.len();
    assert_eq!(transcript(&response, &[]), refusal("429 Too Many Requests", &lines, &error, bytes));
    beside.is_whole();

    let lines = tested.log_lines(3);
    let told = lines.iter().find(|line| line["response_code"] == 429).expect("the refused one");
    let members = json!({
        "response_code": 429, "bytes_received": CHAT.len(), "bytes_sent": bytes,
        "gen_ai.operation.name": "chat", "gen_ai.original.model": "m", "gen_ai.request.model": "m",
        "gen_ai.provider.name": "openai",
        "tollgate.usage_source": "none", "tollgate.backend": "b", "tollgate.route": "default/r",
        "tollgate.outcome": "refused", "tollgate.fault": "limit_exceeded", "tollgate.attempts": 1,
        "tollgate.tried": [{
            "backend": "b", "model": "m", "outcome": "refused", "fault": "limit_exceeded",
            "input_tokens": 0, "output_tokens": 0, "usage_source": "none",
        }],
    });
    assert_eq!(comparable(told.clone()), line(&members));
    assert_eq!(tested.metric("tollgate_refusals_total{reason=\"limit_exceeded\"}"), 1);
    let refused: Vec<_> =
        notes.settled().into_iter().filter(|record| record.outcome == Outcome::Refused).collect();
    assert_eq!((notes.opened(), refused.len()), (2, 1), "it went to no backend");
    assert_eq!(refused[0].usage.input_tokens + refused[0].usage.output_tokens, 0);
}

#[test]
fn f5_limits_that_cannot_be_asked_refuse_or_let_in_as_each_says() {
    let (mut redis, backend) = (Redis::start(), backend());
    let closing = Limit { on_store_failure: OnStoreFailure::Closed, ..limit("closed", 100, None) };
    let closed = redis.gateway(vec![closing], &backend);
    let open = redis.gateway(vec![limit("open", 100, None)], &backend);
    let beside = Beside::start(&closed, &backend, &chat_request(STREAM));
    redis.end();

    let response = closed.chat(CHAT);
    let error = json!({
        "type": "ServiceUnavailable",
        "message": "the limits of this request cannot be checked at the moment",
        "code": "503",
    });
    let lines = ["connection: close", "retry-after: 1"];
    assert_eq!(transcript(&response, &[]), refusal("503 Service Unavailable", &lines, &error, 190));
    let response = open.chat(CHAT);
    assert_eq!((status(&response), body(&response).as_str()), (200, completion()), "{response}");
    assert_eq!(header(&response, "x-ratelimit-remaining"), None, "nobody knows: {response}");
    beside.is_whole();

    let lines = closed.log_lines(2);
    let told = lines.iter().find(|line| line["response_code"] == 503).expect("the refused one");
    let members = json!({
        "response_code": 503, "bytes_received": CHAT.len(), "bytes_sent": 190,
        "gen_ai.operation.name": "chat", "gen_ai.original.model": "m", "gen_ai.request.model": "m",
        "gen_ai.provider.name": "openai",
        "tollgate.usage_source": "none", "tollgate.backend": "b", "tollgate.route": "default/r",
        "tollgate.outcome": "refused", "tollgate.fault": "limit_store", "tollgate.attempts": 1,
        "tollgate.tried": [{
            "backend": "b", "model": "m", "outcome": "error", "fault": "limit_store",
            "input_tokens": 0, "output_tokens": 0, "usage_source": "none",
        }],
    });
    assert_eq!(comparable(told.clone()), line(&members));
    let line = &open.log_lines(1)[0];
    assert_eq!(line["tollgate.outcome"], "complete", "{line}");
    assert_eq!(line["gen_ai.usage.total_tokens"], 18, "{line}");
    for (gateway, unchecked) in [(&closed, 0), (&open, 1)] {
        assert_eq!(gateway.metric("tollgate_quota_admitted_unchecked_total"), unchecked);
        assert_eq!(gateway.metric("tollgate_quota_store_failures_total{reason=\"unreachable\"}"), 1);
    }
}

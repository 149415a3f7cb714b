//! Row F23 of the failure matrix: a bug while a request is served ends that request, in words, and no other.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_effects::Secrets;
use tollgate_effects::quota::Quotas;
use tollgate_exchange::{Journal, Opening, Record};
use tollgate_suite::{
    Act, Beside, CHAT, STREAM, ScriptedBackend, Tested, body, bundle, chat_request, chunk, comparable,
    completion, delta, free_port, last_chunk, openai, rule, sized, status, stream_head, transcript,
};

use crate::limits::{limit, limited};
use crate::redis::{PATIENT, Redis};

/// Who keeps account, with a bug of which the model of a request reminds it.
#[derive(Debug)]
struct Buggy;

impl Journal for Buggy {
    fn opened(&self, opening: &Opening) {
        assert!(!opening.facts.requested_model.as_str().starts_with("bug"), "a bug");
    }

    fn settled(&self, record: &Record) {
        assert!(!record.facts.requested_model.as_str().starts_with("late-bug"), "a bug");
    }
}

/// One whose counters are in its own memory answers at once; another has to be asked first.
#[test]
fn f23_a_bug_ends_its_own_request_in_words_and_no_other() {
    let redis = Redis::start();
    for quotas in [Quotas::default(), redis.quotas(PATIENT)] {
        let document = vec![Act::Write(sized(200, "application/json", "", completion()))];
        let backend = ScriptedBackend::start(vec![Beside::script(), document]);
        let limited = limited(vec![limit("many", 100, None)]);
        let bundle = bundle(free_port(), limited, vec![openai("b", backend.address)]);
        let tested = Tested::start_recorded(bundle, Secrets::default(), Arc::new(Buggy), &quotas);
        let beside = Beside::start(&tested, &backend, &chat_request(STREAM));
        for asked in [CHAT, STREAM] {
            let request = chat_request(&asked.replace("\"m\"", "\"bug\""));
            for (path, body) in IN_WORDS {
                let response = tested.send(&request.replace(IN_WORDS[0].0, path));
                assert_eq!(transcript(&response, &["request-id"]), in_words(path, body));
            }
        }
        assert_eq!(status(&tested.chat(CHAT)), 200);
        beside.is_whole();

        let lines = tested.log_lines(6);
        let taken_down = lines.iter().filter(|line| line["response_code"] == 500);
        assert_eq!(taken_down.map(|line| check(line.clone())).count(), 4, "{lines:?}");
        assert_eq!(tested.metric("tollgate_panics_total"), 4);
        let attempts = |labels| {
            tested.metric(&format!("tollgate_attempts_total{{route=\"default/r\",backend=\"b\",{labels}}}"))
        };
        assert_eq!(attempts(r#"outcome="error",usage_source="none",fault="internal""#), 4);
        assert_eq!(attempts(r#"outcome="complete",usage_source="provider_final""#), 2);
    }
}

/// The bug is met where the attempt is settled, so there is nothing left that could say an error: the stream is cut.
#[test]
fn f23_a_bug_behind_the_first_event_ends_that_stream_and_no_other() {
    let pause = Act::Pause(Duration::from_millis(50));
    let end = [pause, Act::Write(last_chunk())];
    let stream = [&[Act::Write(stream_head()), Act::Write(chunk(&delta("hi")))][..], &end].concat();
    let backend = ScriptedBackend::start(vec![Beside::script(), stream]);
    let bundle = bundle(free_port(), rule(&["b"]), vec![openai("b", backend.address)]);
    let tested = Tested::start_recorded(bundle, Secrets::default(), Arc::new(Buggy), &Quotas::default());
    let beside = Beside::start(&tested, &backend, &chat_request(STREAM));
    for _ in 0..3 {
        let response = tested.chat(&STREAM.replace("\"m\"", "\"late-bug\""));
        assert!(status(&response) == 200 && body(&response).starts_with(&delta("hi")), "{response}");
        assert!(!response.contains("[DONE]") && !response.ends_with("0\r\n\r\n"), "{response}");
    }
    beside.is_whole();

    let lines = tested.log_lines(4);
    let ends = |model: &str| -> Vec<_> {
        let lines = lines.iter().filter(|line| line["gen_ai.original.model"] == *model);
        lines
            .map(|line| (&line["response_code"], &line["tollgate.outcome"], &line["tollgate.fault"]))
            .collect()
    };
    let [status, error, internal, complete] =
        [json!(200), json!("error"), json!("internal"), json!("complete")];
    assert_eq!(ends("late-bug"), [(&status, &error, &internal); 3], "{lines:?}");
    assert_eq!(ends("m"), [(&status, &complete, &Value::Null)], "{lines:?}");
    assert_eq!(tested.metric("tollgate_panics_total"), 3);
}

/// A bug as clients are told of it, by the path of their API.
const IN_WORDS: [(&str, &str); 2] = [
    (
        "/v1/chat/completions",
        r#"{"type":"error","error":{"type":"InternalServerError","message":"internal error of the gateway","code":"500"},"request_id":"*"}"#,
    ),
    (
        "/anthropic/v1/messages",
        r#"{"type":"error","error":{"type":"api_error","message":"internal error of the gateway"},"request_id":"*"}"#,
    ),
];

fn in_words(path: &str, body: &str) -> String {
    // The id that stands for one character there has 36.
    let length = body.len() + 35;
    let own = if path == "/anthropic/v1/messages" { "request-id: *\n" } else { "" };
    format!(
        "HTTP/1.1 500 Internal Server Error\nconnection: close\ncontent-length: {length}\n\
         content-type: application/json\ndate: *\n{own}x-request-id: *\nx-tollgate-request-id: *\n\n{body}"
    )
}

/// Checks the line of a request that a bug took down.
fn check(line: Value) {
    let (mut line, path) = (comparable(line.clone()), line["request.path"].clone());
    let (operation, words) =
        if path == IN_WORDS[0].0 { ("chat", IN_WORDS[0].1) } else { ("messages", IN_WORDS[1].1) };
    let members = line.as_object_mut().expect("an object");
    members.remove("bytes_received");
    let expected = json!({
        "method": "POST", "request.path": path, "response_code": 500, "bytes_sent": words.len() + 35, "downstream_remote_address": "127.0.0.1",
        "gen_ai.operation.name": operation, "gen_ai.original.model": "bug", "gen_ai.request.model": "bug",
        "gen_ai.provider.name": "openai",
        "tollgate.usage_source": "none", "tollgate.backend": "b", "tollgate.listener": "l",
        "tollgate.route": "default/r", "tollgate.outcome": "error", "tollgate.fault": "internal",
        "tollgate.attempts": 1,
        "tollgate.tried": [{
            "backend": "b", "model": "bug", "outcome": "error", "fault": "internal",
            "input_tokens": 0, "output_tokens": 0, "usage_source": "none",
        }],
    });
    assert_eq!(line, expected);
}

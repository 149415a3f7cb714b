//! Backends of the clouds: paths that hold the model, answers in AWS's framing, envelopes around a known dialect.

use std::time::Duration;

use base64::Engine;
use bytes::BytesMut;
use tollgate_config::bundle::{Location, Schema};
use tollgate_suite::{
    Act, CHAT, STREAM, ScriptedBackend, Tested, backend, body, header, json, rule, sized, status,
};
use tollgate_wire::event_stream;

const JSON: &str = "application/json";
const AWS_STREAM: &str = "application/vnd.amazon.eventstream";

/// One message of AWS's framing.
fn message(kind: &str, payload: &str) -> Vec<u8> {
    let headers = [(":message-type", "event"), (":event-type", kind), (":content-type", JSON)];
    let mut out = BytesMut::new();
    event_stream::encode(&mut out, &headers, payload.as_bytes()).expect("a message");
    out.to_vec()
}

fn exception(kind: &str, text: &str) -> Vec<u8> {
    let headers = [(":message-type", "exception"), (":exception-type", kind), (":content-type", JSON)];
    let mut out = BytesMut::new();
    let payload = serde_json::json!({"message": text}).to_string();
    event_stream::encode(&mut out, &headers, payload.as_bytes()).expect("a message");
    out.to_vec()
}

/// The start of an answer of Converse, up to a text.
fn converse_begins() -> Vec<u8> {
    [
        message("messageStart", r#"{"role":"assistant"}"#),
        message("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"Hi"}}"#),
    ]
    .concat()
}

/// The rest of it.
fn converse_ends() -> Vec<u8> {
    [
        message("contentBlockStop", r#"{"contentBlockIndex":0}"#),
        message("messageStop", r#"{"stopReason":"end_turn"}"#),
        message("metadata", r#"{"usage":{"inputTokens":3,"outputTokens":5,"totalTokens":8}}"#),
    ]
    .concat()
}

/// An answer of 200 in AWS's framing, in chunks that are cut anywhere.
fn streaming(bytes: &[u8], size: usize) -> Vec<Act> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {AWS_STREAM}\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut script = vec![Act::Write(head.into_bytes())];
    for piece in bytes.chunks(size) {
        let framed = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        script.push(Act::Write(framed));
    }
    script.push(Act::Write(b"0\r\n\r\n".to_vec()));
    script
}

fn serving(schema: Schema, script: Vec<Act>) -> (Tested, ScriptedBackend) {
    let scripted = ScriptedBackend::start(vec![script]);
    let tested = Tested::start(rule(&["b"]), vec![backend("b", schema, scripted.address)]);
    (tested, scripted)
}

/// The target of the request line.
fn target(request: &str) -> &str {
    request.split(' ').nth(1).unwrap_or_default()
}

fn messages(tested: &Tested, path: &str, extra: &str, text: &str) -> String {
    tested.send(&format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\ncontent-type: {JSON}\r\nconnection: close\r\n{extra}content-length: {}\r\n\r\n{text}",
        text.len()
    ))
}

#[test]
fn converse_streams_to_a_client_of_chat_completions() {
    let stream = [converse_begins(), converse_ends()].concat();
    for size in [7, stream.len()] {
        let (tested, scripted) = serving(Schema::AwsBedrock, streaming(&stream, size));
        let response = tested.chat(STREAM);
        assert_eq!(target(&scripted.request()), "/model/m/converse-stream");
        assert_eq!(header(&response, "content-type"), Some("text/event-stream"), "{response}");
        let said = body(&response);
        assert!(said.contains(r#""content":"Hi""#) && said.ends_with("data: [DONE]\n\n"), "{said}");
        let log = tested.log_lines(1);
        assert_eq!(log[0]["gen_ai.usage.input_tokens"], 3, "{log:?}");
        assert_eq!(log[0]["gen_ai.usage.output_tokens"], 5, "{log:?}");
        assert_eq!(log[0]["tollgate.outcome"], "complete", "{log:?}");
    }
}

#[test]
fn f16_a_bad_checksum_ends_the_stream_with_an_error() {
    let mut rest = converse_ends();
    // One bit of the payload of the next message, with all of its lengths as they were.
    rest[90] ^= 1;
    let mut script = streaming(&converse_begins(), 1000);
    script.pop();
    script.push(Act::Pause(Duration::from_millis(50)));
    script.extend_from_slice(&streaming(&rest, 1000)[1..]);
    let (tested, _scripted) = serving(Schema::AwsBedrock, script);
    let response = tested.chat(STREAM);
    let said = body(&response);
    assert!(said.contains(r#""content":"Hi""#), "{said}");
    assert!(!said.contains("[DONE]"), "{said}");
    let last = said.trim_end().rsplit("\n\n").next().and_then(|event| event.strip_prefix("data: "));
    let error: serde_json::Value = serde_json::from_str(last.expect("an event")).expect("JSON");
    assert!(error["error"]["message"].is_string(), "{error}");
    let log = tested.log_lines(1);
    assert_eq!(log[0]["tollgate.fault"], "unreadable", "{log:?}");
}

#[test]
fn f16_a_bad_checksum_in_front_is_a_502() {
    let mut stream = converse_begins();
    stream[9] ^= 1;
    let (tested, _scripted) = serving(Schema::AwsBedrock, streaming(&stream, 1000));
    let response = tested.chat(STREAM);
    assert_eq!(status(&response), 502, "{response}");
    let log = tested.log_lines(1);
    assert_eq!(log[0]["tollgate.fault"], "unreadable", "{log:?}");
}

#[test]
fn an_exception_in_a_stream_of_aws_is_told_in_the_words_of_the_client() {
    let stream = [converse_begins(), exception("throttlingException", "slow down")].concat();
    let (tested, _scripted) = serving(Schema::AwsBedrock, streaming(&stream, 50));
    let said = body(&tested.chat(STREAM));
    assert!(said.contains("slow down") && !said.contains("[DONE]"), "{said}");
    let log = tested.log_lines(1);
    assert_eq!(log[0]["tollgate.fault"], "error_event", "{log:?}");
}

#[test]
fn an_error_of_bedrock_keeps_its_type() {
    let refused =
        sized(400, JSON, "x-amzn-errortype: ValidationException:http://x/\r\n", r#"{"message":"no"}"#);
    let (tested, _scripted) = serving(Schema::AwsBedrock, vec![Act::Write(refused)]);
    let response = tested.chat(CHAT);
    assert_eq!(status(&response), 400, "{response}");
    assert_eq!(json(&response)["error"]["type"], "ValidationException", "{response}");
    assert_eq!(json(&response)["error"]["message"], "no", "{response}");
}

const MESSAGES: &str =
    r#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;

/// Events of Anthropic's own, each in a chunk of InvokeModel.
fn invoked() -> (Vec<u8>, String) {
    let events = [
        r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":5}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let (mut stream, mut said) = (Vec::new(), String::new());
    for event in events {
        let bytes = base64::engine::general_purpose::STANDARD.encode(event);
        stream.extend(message("chunk", &format!(r#"{{"bytes":"{bytes}","p":"abc"}}"#)));
        let kind: serde_json::Value = serde_json::from_str(event).expect("JSON");
        said += &format!("event: {}\ndata: {event}\n\n", kind["type"].as_str().expect("a type"));
    }
    (stream, said)
}

#[test]
fn claude_on_bedrock_streams_anthropics_own_events() {
    let (stream, expected) = invoked();
    let schema = Schema::AwsAnthropic { version: None };
    let (tested, scripted) = serving(schema, streaming(&stream, 11));
    let betas = "anthropic-version: 2023-06-01\r\nanthropic-beta: context-1m-2025-08-07, not-for-bedrock\r\nx-tollgate-explain: 1\r\n";
    let response = messages(&tested, "/v1/messages", betas, MESSAGES);
    assert_eq!(body(&response), expected);
    assert_eq!(header(&response, "content-type"), Some("text/event-stream"), "{response}");
    let lost = header(&response, "x-tollgate-loss").unwrap_or_default();
    assert!(lost.contains("not-for-bedrock"), "{response}");
    let request = scripted.request();
    assert_eq!(target(&request), "/model/m/invoke-with-response-stream");
    assert!(header(&request, "anthropic-beta").is_none(), "{request}");
    let asked = json(&request);
    let wanted = serde_json::json!({
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hello"}],
        "anthropic_version": "bedrock-2023-05-31",
        "anthropic_beta": ["context-1m-2025-08-07"],
    });
    assert_eq!(asked, wanted);
    let log = tested.log_lines(1);
    assert_eq!(log[0]["gen_ai.usage.output_tokens"], 5, "{log:?}");
}

#[test]
fn claude_on_vertex_is_asked_by_raw_predict() {
    let location = Some(Location { project: "p".to_owned(), region: "r".to_owned() });
    let answer = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":5}}"#;
    let script = vec![Act::Write(sized(200, JSON, "", answer))];
    let (tested, scripted) = serving(Schema::GcpAnthropic { version: None, location }, script);
    let response = tested.chat(CHAT);
    assert_eq!(json(&response)["choices"][0]["message"]["content"], "Hi", "{response}");
    let request = scripted.request();
    assert_eq!(target(&request), "/v1/projects/p/locations/r/publishers/anthropic/models/m:rawPredict");
    assert_eq!(json(&request)["anthropic_version"], "vertex-2023-10-16", "{request}");
    assert!(json(&request).get("model").is_none(), "{request}");
}

#[test]
fn sagemaker_streams_the_events_of_its_container() {
    let events = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\ndata: [DONE]\n\n";
    // Cut where no event ends.
    let stream: Vec<u8> = [&events[..20], &events[20..]]
        .iter()
        .flat_map(|piece| {
            let mut out = BytesMut::new();
            let headers = [(":message-type", "event"), (":event-type", "PayloadPart")];
            event_stream::encode(&mut out, &headers, piece.as_bytes()).expect("a message");
            out.to_vec()
        })
        .collect();
    let (tested, scripted) = serving(Schema::SageMaker, streaming(&stream, 33));
    let response = tested.chat(STREAM);
    assert_eq!(body(&response), events);
    let request = scripted.request();
    assert_eq!(target(&request), "/endpoints/m/invocations-response-stream");
    assert!(json(&request).get("model").is_none(), "{request}");
}

#[test]
fn embeddings_of_bedrock_are_counted_by_their_head() {
    let counted = sized(
        200,
        JSON,
        "x-amzn-bedrock-input-token-count: 7\r\n",
        r#"{"id":"i","embeddings":{"float":[[0.5]]},"texts":["a"]}"#,
    );
    let scripted = ScriptedBackend::start(vec![vec![Act::Write(counted)]]);
    let mut to_cohere = rule(&["b"]);
    to_cohere.targets[0].model_override =
        Some(tollgate_terms::ModelName::parse("cohere.embed-v4:0").expect("a name"));
    let tested = Tested::start(to_cohere, vec![backend("b", Schema::AwsBedrock, scripted.address)]);
    // There is no stream of vectors, whatever is asked for.
    let asked = r#"{"model":"m","input":"a","encoding_format":"base64","stream":true}"#;
    let response = messages(&tested, "/v1/embeddings", "", asked);
    assert_eq!(target(&scripted.request()), "/model/cohere.embed-v4:0/invoke");
    let told = json(&response);
    assert_eq!(told["data"][0]["embedding"], "AAAAPw==", "{told}");
    assert_eq!(told["usage"]["prompt_tokens"], 7, "{told}");
    let log = tested.log_lines(1);
    assert_eq!(log[0]["gen_ai.usage.input_tokens"], 7, "{log:?}");
    assert_eq!(log[0]["tollgate.usage_source"], "provider_final", "{log:?}");
}

#[test]
fn tokens_are_counted_by_bedrock_for_a_client_of_anthropic() {
    let script = vec![Act::Write(sized(200, JSON, "", r#"{"inputTokens":12}"#))];
    let (tested, scripted) = serving(Schema::AwsAnthropic { version: None }, script);
    let asked = r#"{"model":"m","messages":[{"role":"user","content":"Hello"}]}"#;
    let response = messages(&tested, "/v1/messages/count_tokens", "anthropic-version: 2023-06-01\r\n", asked);
    assert_eq!(json(&response), serde_json::json!({"input_tokens": 12}), "{response}");
    let request = scripted.request();
    assert_eq!(target(&request), "/model/m/count-tokens");
    assert_eq!(
        json(&request)["input"]["converse"]["messages"][0]["content"][0]["text"],
        "Hello",
        "{request}"
    );
}

#[test]
fn claude_on_bedrock_counts_what_only_its_own_dialect_says() {
    let asked = r#"{"model":"us.anthropic.claude-x","messages":[{"role":"user","content":"Hello"}],"tools":[{"type":"bash_20250124","name":"bash"}]}"#;
    let betas = "anthropic-version: 2023-06-01\r\nanthropic-beta: computer-use-2025-01-24\r\n";
    for schema in [Schema::AwsBedrock, Schema::AwsAnthropic { version: None }] {
        let script = vec![Act::Write(sized(200, JSON, "", r#"{"inputTokens":12}"#))];
        let (tested, scripted) = serving(schema, script);
        let response = messages(&tested, "/v1/messages/count_tokens", betas, asked);
        assert_eq!(json(&response), serde_json::json!({"input_tokens": 12}), "{response}");
        let request = scripted.request();
        assert_eq!(target(&request), "/model/anthropic.claude-x/count-tokens");
        let counted = &json(&request)["input"]["invokeModel"]["body"];
        let counted = base64::engine::general_purpose::STANDARD
            .decode(counted.as_str().expect("a blob"))
            .expect("base64");
        let counted: serde_json::Value = serde_json::from_slice(&counted).expect("JSON");
        let wanted = serde_json::json!({
            "messages": [{"role": "user", "content": "Hello"}],
            "tools": [{"type": "bash_20250124", "name": "bash"}],
            "max_tokens": 4096,
            "anthropic_version": "bedrock-2023-05-31",
            "anthropic_beta": ["computer-use-2025-01-24"],
        });
        assert_eq!(counted, wanted);
    }
}

#[test]
fn betas_reach_claude_through_converse() {
    let answer = r#"{"output":{"message":{"role":"assistant","content":[{"text":"Hi"}]}},"stopReason":"end_turn","usage":{"inputTokens":3,"outputTokens":5}}"#;
    let betas = "anthropic-version: 2023-06-01\r\nanthropic-beta: context-1m-2025-08-07, not-for-bedrock\r\nx-tollgate-explain: 1\r\n";
    for (model, wanted) in [
        (
            "us.anthropic.claude-x",
            serde_json::json!({"anthropic_beta": ["context-1m-2025-08-07"], "top_k": 5}),
        ),
        ("us.amazon.nova-lite-v1:0", serde_json::json!({"inferenceConfig": {"topK": 5}})),
    ] {
        let (tested, scripted) = serving(Schema::AwsBedrock, vec![Act::Write(sized(200, JSON, "", answer))]);
        let asked = format!(
            r#"{{"model":"{model}","max_tokens":9,"top_k":5,"messages":[{{"role":"user","content":"Hello"}}]}}"#
        );
        let response = messages(&tested, "/v1/messages", betas, &asked);
        assert_eq!(json(&response)["content"][0]["text"], "Hi", "{response}");
        let lost = header(&response, "x-tollgate-loss").unwrap_or_default();
        assert!(lost.contains("not-for-bedrock"), "{response}");
        assert_eq!(lost.contains("context-1m"), model.contains("nova"), "{response}");
        let request = scripted.request();
        assert_eq!(json(&request)["additionalModelRequestFields"], wanted, "{request}");
    }
}

#[test]
fn a_route_may_refuse_what_a_translation_would_lose() {
    let scripted = ScriptedBackend::start(vec![vec![Act::Write(sized(200, JSON, "", "{}"))]]);
    let schema = Schema::Anthropic { prefix: "v1".to_owned() };
    let mut strict = tollgate_suite::bundle(
        tollgate_suite::free_port(),
        rule(&["b"]),
        vec![backend("b", schema, scripted.address)],
    );
    strict.routes[0].on_loss = tollgate_config::bundle::OnLoss::Reject;
    let tested = Tested::start_bundle(strict, tollgate_effects::Secrets::default());
    let asked = r#"{"model":"m","seed":7,"messages":[{"role":"user","content":"Hello"}]}"#;
    let response = messages(&tested, "/v1/chat/completions", "", asked);
    assert_eq!(status(&response), 422, "{response}");
    assert_eq!(json(&response)["error"]["param"], "/seed", "{response}");
    let log = tested.log_lines(1);
    assert_eq!(log[0]["tollgate.tried"][0]["fault"], "unprocessable", "{log:?}");
    // A wish in a header is one as well, where bytes go through.
    let mut strict = tollgate_suite::bundle(
        tollgate_suite::free_port(),
        rule(&["b"]),
        vec![backend("b", Schema::AwsAnthropic { version: None }, scripted.address)],
    );
    strict.routes[0].on_loss = tollgate_config::bundle::OnLoss::Reject;
    let tested = Tested::start_bundle(strict, tollgate_effects::Secrets::default());
    let betas = "anthropic-version: 2023-06-01\r\nanthropic-beta: not-for-bedrock\r\n";
    let response = messages(&tested, "/v1/messages", betas, MESSAGES);
    assert_eq!(status(&response), 422, "{response}");
}

#[test]
fn a_backend_of_responses_serves_chat_completions() {
    let answer = r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"m","output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi","annotations":[]}]}],"usage":{"input_tokens":3,"output_tokens":5,"total_tokens":8}}"#;
    let script = vec![Act::Write(sized(200, JSON, "", answer))];
    let (tested, scripted) = serving(Schema::OpenAiResponses { prefix: "v1".to_owned() }, script);
    let response = tested.chat(CHAT);
    assert_eq!(json(&response)["choices"][0]["message"]["content"], "Hi", "{response}");
    let request = scripted.request();
    assert_eq!(target(&request), "/v1/responses");
    assert_eq!(json(&request)["store"], false, "{request}");
}

#[test]
fn a_translated_response_repeats_its_request() {
    let asked = r#"{"model":"m","input":"Hello","instructions":"Be brief.","temperature":0.5,"tools":[{"type":"function","name":"f","parameters":{},"strict":true}]}"#;
    let script = vec![Act::Write(sized(200, JSON, "", tollgate_suite::completion()))];
    let (tested, _scripted) = serving(Schema::SageMaker, script);
    let response = json(&messages(&tested, "/v1/responses", "", asked));
    assert_eq!(response["object"], "response", "{response}");
    let asked: serde_json::Value = serde_json::from_str(asked).expect("JSON");
    for key in ["instructions", "temperature", "tools"] {
        assert_eq!(response[key], asked[key], "{key}");
    }
}

const GEMINI: &str = r#"{"contents":[{"role":"user","parts":[{"text":"Hello"}]}]}"#;

#[test]
fn a_client_of_gemini_is_served_by_chat_completions() {
    let script = vec![Act::Write(sized(200, JSON, "", tollgate_suite::completion()))];
    let (tested, scripted) = serving(Schema::OpenAi { prefix: "v1".to_owned() }, script);
    let key = "x-goog-api-key: the-clients-own\r\n";
    let response = messages(&tested, "/v1beta/models/m:generateContent", key, GEMINI);
    let told = json(&response);
    assert_eq!(told["candidates"][0]["content"]["parts"][0]["text"], "hello", "{told}");
    assert_eq!(told["usageMetadata"]["promptTokenCount"], 11, "{told}");
    let request = scripted.request();
    assert_eq!(target(&request), "/v1/chat/completions");
    assert_eq!(json(&request)["model"], "m", "{request}");
    assert!(!request.contains("the-clients-own"), "{request}");
}

#[test]
fn a_client_of_gemini_gets_a_stream() {
    let events = [tollgate_suite::delta("hi"), tollgate_suite::stream_end()].concat();
    let body_bytes = [tollgate_suite::chunk(&events), tollgate_suite::last_chunk()].concat();
    let script = vec![Act::Write(tollgate_suite::stream_head()), Act::Write(body_bytes)];
    let (tested, _scripted) = serving(Schema::OpenAi { prefix: "v1".to_owned() }, script);
    let path = "/v1beta/models/m:streamGenerateContent?alt=sse";
    let said = body(&messages(&tested, path, "", GEMINI));
    let last = said.trim_end().rsplit("\n\n").next().and_then(|event| event.strip_prefix("data: "));
    let last: serde_json::Value = serde_json::from_str(last.expect("an event")).expect("JSON");
    assert!(said.contains(r#""text":"hi""#), "{said}");
    assert_eq!(last["candidates"][0]["finishReason"], "STOP", "{said}");
    assert_eq!(last["usageMetadata"]["candidatesTokenCount"], 7, "{said}");
    let refused = messages(&tested, "/v1beta/models/m:streamGenerateContent?alt=proto", "", GEMINI);
    assert_eq!(status(&refused), 400, "{refused}");
    assert_eq!(json(&refused)["error"]["status"], "INVALID_ARGUMENT", "{refused}");
}

#[test]
fn a_translated_429_says_when_to_try_again() {
    let chats = [
        ("/v1/chat/completions", CHAT),
        ("/v1/responses", r#"{"model":"m","input":"Hello"}"#),
        ("/v1/messages", r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hello"}]}"#),
        ("/v1beta/models/m:generateContent", GEMINI),
    ];
    let backends = [
        (Schema::SageMaker, r#"{"error":{"message":"slow down","type":"requests","code":null}}"#),
        (
            Schema::Anthropic { prefix: "v1".to_owned() },
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#,
        ),
        (
            Schema::Gemini { prefix: "v1beta".to_owned() },
            r#"{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}"#,
        ),
        (Schema::AwsBedrock, r#"{"message":"slow down"}"#),
    ];
    for (schema, told) in backends {
        for (path, asked) in chats {
            let script = vec![Act::Write(sized(429, JSON, "retry-after: 7\r\n", told))];
            let (tested, _scripted) = serving(schema.clone(), script);
            let response = messages(&tested, path, "", asked);
            assert_eq!(status(&response), 429, "{schema:?} {path}: {response}");
            assert_eq!(header(&response, "retry-after"), Some("7"), "{schema:?} {path}: {response}");
            assert_eq!(json(&response)["error"]["message"], "slow down", "{schema:?} {path}: {response}");
        }
    }
}

/// Where streams are arrays.
const ARRAYS: &str = "/v1beta/models/m:streamGenerateContent";

#[test]
fn a_stream_without_alt_is_an_array() {
    let events = [tollgate_suite::delta("hi"), tollgate_suite::stream_end()].concat();
    let body_bytes = [tollgate_suite::chunk(&events), tollgate_suite::last_chunk()].concat();
    let script = vec![Act::Write(tollgate_suite::stream_head()), Act::Write(body_bytes)];
    let (tested, _scripted) = serving(Schema::OpenAi { prefix: "v1".to_owned() }, script);
    let response = messages(&tested, ARRAYS, "", GEMINI);
    assert_eq!(header(&response, "content-type"), Some(JSON), "{response}");
    let told = json(&response);
    let events = told.as_array().expect("an array");
    assert_eq!(events[0]["candidates"][0]["content"]["parts"][0]["text"], "hi", "{told}");
    let last = events.last().expect("an event");
    assert_eq!(last["usageMetadata"]["candidatesTokenCount"], 7, "{told}");
    let log = tested.log_lines(1);
    assert_eq!(log[0]["gen_ai.usage.output_tokens"], 7, "{log:?}");
}

#[test]
fn an_array_comes_as_its_elements_do() {
    let events = [
        r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hi"}]}}]}"#,
        r#"{"candidates":[{"content":{"role":"model","parts":[{"text":" you"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":5,"totalTokenCount":8}}"#,
    ];
    let piece = |event: &str| Act::Write(tollgate_suite::chunk(&format!("data: {event}\r\n\r\n")));
    let script = vec![
        Act::Write(tollgate_suite::stream_head()),
        piece(events[0]),
        Act::Pause(Duration::from_millis(400)),
        piece(events[1]),
        Act::Write(tollgate_suite::last_chunk()),
    ];
    let (tested, scripted) = serving(Schema::Gemini { prefix: "v1beta".to_owned() }, script);
    let started = std::time::Instant::now();
    let request = format!(
        "POST {ARRAYS} HTTP/1.1\r\nhost: gateway\r\ncontent-type: {JSON}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{GEMINI}",
        GEMINI.len()
    );
    let mut stream = tested.connect();
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("sent");
    let (mut told, mut first_at) = (Vec::new(), None);
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = std::io::Read::read(&mut stream, &mut buffer) {
        told.extend_from_slice(&buffer[..read]);
        if String::from_utf8_lossy(&told).contains("Hi") {
            first_at.get_or_insert_with(|| started.elapsed());
        }
    }
    let (first, all) = (first_at.expect("an element"), started.elapsed());
    assert!(all - first > Duration::from_millis(300), "{first:?} of {all:?}");
    let response = String::from_utf8_lossy(&told).into_owned();
    let wanted = format!("[{},\r\n{}]", events[0], events[1]);
    assert_eq!(body(&response), wanted);
    assert_eq!(target(&scripted.request()), format!("{ARRAYS}?alt=sse"));
}

#[test]
fn errors_stand_in_the_array() {
    let failed = r#"{"error":{"message":"too hot","type":"server_error"}}"#;
    let events = format!("{}data: {failed}\n\n", tollgate_suite::delta("hi"));
    let body_bytes = [tollgate_suite::chunk(&events), tollgate_suite::last_chunk()].concat();
    let script = vec![Act::Write(tollgate_suite::stream_head()), Act::Write(body_bytes)];
    let (tested, _scripted) = serving(Schema::OpenAi { prefix: "v1".to_owned() }, script);
    let told = json(&messages(&tested, ARRAYS, "", GEMINI));
    assert_eq!(told[0]["candidates"][0]["content"]["parts"][0]["text"], "hi", "{told}");
    assert_eq!(told[1]["error"]["message"], "too hot", "{told}");
    let refused = messages(&tested, ARRAYS, "", "{");
    assert_eq!(status(&refused), 400, "{refused}");
    assert_eq!(json(&refused)[0]["error"]["status"], "INVALID_ARGUMENT", "{refused}");
    for schema in [Schema::OpenAi { prefix: "v1".to_owned() }, Schema::Gemini { prefix: "v1beta".to_owned() }]
    {
        let no = r#"{"error":{"code":404,"message":"no such model","status":"NOT_FOUND"}}"#;
        let (tested, _scripted) = serving(schema, vec![Act::Write(sized(404, JSON, "", no))]);
        let refused = messages(&tested, ARRAYS, "", GEMINI);
        assert_eq!(status(&refused), 404, "{refused}");
        assert_eq!(json(&refused)[0]["error"]["message"], "no such model", "{refused}");
    }
}

#[test]
fn gemini_on_vertex_streams_to_a_client_of_messages() {
    let events = [
        r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hi"}]}}],"modelVersion":"gemini-3","responseId":"r"}"#,
        r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"!"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":5,"totalTokenCount":8},"modelVersion":"gemini-3","responseId":"r"}"#,
    ];
    let events: String = events.iter().map(|event| format!("data: {event}\r\n\r\n")).collect();
    let body_bytes = [tollgate_suite::chunk(&events), tollgate_suite::last_chunk()].concat();
    let script = vec![Act::Write(tollgate_suite::stream_head()), Act::Write(body_bytes)];
    let location = Some(Location { project: "p".to_owned(), region: "r".to_owned() });
    let (tested, scripted) = serving(Schema::GcpVertexAi { location }, script);
    let said = body(&messages(&tested, "/v1/messages", "", MESSAGES));
    assert!(said.contains(r#""text":"Hi""#) && said.contains("event: message_stop"), "{said}");
    assert_eq!(
        target(&scripted.request()),
        "/v1/projects/p/locations/r/publishers/google/models/m:streamGenerateContent?alt=sse"
    );
    let log = tested.log_lines(1);
    assert_eq!(log[0]["gen_ai.usage.output_tokens"], 5, "{log:?}");
}

#[test]
fn a_count_by_the_gemini_api_has_all_of_the_request_within() {
    let script = vec![Act::Write(sized(200, JSON, "", r#"{"totalTokens":12}"#))];
    let (tested, scripted) = serving(Schema::Gemini { prefix: "v1beta".to_owned() }, script);
    let asked = r#"{"model":"m","system":"Be brief.","messages":[{"role":"user","content":"Hello"}]}"#;
    let response = messages(&tested, "/v1/messages/count_tokens", "", asked);
    assert_eq!(json(&response), serde_json::json!({"input_tokens": 12}), "{response}");
    let request = scripted.request();
    assert_eq!(target(&request), "/v1beta/models/m:countTokens");
    let within = json(&request)["generateContentRequest"].clone();
    assert_eq!(within["model"], "models/m", "{request}");
    assert_eq!(within["systemInstruction"]["parts"][0]["text"], "Be brief.", "{request}");
}

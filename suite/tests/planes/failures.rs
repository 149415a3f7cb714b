//! What clients see, and what is recorded, when backends fail: rows F7 to F26 of the failure matrix.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tollgate_effects::Secrets;
use tollgate_suite::{
    Act, CHAT, PATIENCE, STREAM, ScriptedBackend, Tested, body, bundle, chat_request, chunk, completion,
    delta, free_port, header, is_envoy, json, keyed, last_chunk, openai, retrying, rule, sized, status,
    stream_end, stream_head,
};

const JSON: &str = "application/json";

fn answering(script: Vec<Act>) -> ScriptedBackend {
    ScriptedBackend::start(vec![script])
}

fn good() -> ScriptedBackend {
    answering(vec![Act::Write(sized(200, JSON, "", completion()))])
}

fn nowhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

fn serving(backend: &ScriptedBackend) -> Tested {
    Tested::start(rule(&["b"]), vec![openai("b", backend.address)])
}

/// A stream of these chunks, ended as `end` says.
fn streaming(chunks: &[String], end: &[Act]) -> Vec<Act> {
    let mut script = vec![Act::Write(stream_head())];
    script.extend(chunks.iter().map(|text| Act::Write(chunk(text))));
    script.extend_from_slice(end);
    script
}

/// What remains of a stream whose backend broke it off after `sent`: an error in its words or, from an Envoy, whose filters do not hear of
/// it, an end that is none.
fn assert_broken_off(response: &str, sent: &str) {
    let stream = body(response);
    assert!(stream.starts_with(sent), "{stream}");
    if is_envoy() {
        assert!(!response.contains("[DONE]") && !response.ends_with("0\r\n\r\n"), "{response}");
    } else {
        in_band_error(&stream);
    }
}

/// The in-band error of a stream, which must be its last event.
fn in_band_error(stream: &str) -> serde_json::Value {
    assert!(!stream.contains("[DONE]"), "{stream}");
    let last = stream.trim_end().rsplit("\n\n").next().expect("an event");
    let data = last.strip_prefix("data: ").unwrap_or_else(|| panic!("{stream}"));
    let error: serde_json::Value = serde_json::from_str(data).expect("JSON");
    assert!(error["error"]["message"].is_string(), "{stream}");
    error
}

#[test]
fn f7_no_backend_can_be_reached() {
    let tested = Tested::start(rule(&["b"]), vec![openai("b", nowhere())]);
    let response = tested.chat(CHAT);
    assert_eq!(status(&response), 503, "{response}");
    assert!(!response.contains("127.0.0.1"), "{response}");
    let log = tested.log_lines(1);
    assert_eq!(log[0]["tollgate.fault"], "unreachable", "{log:?}");
}

#[test]
fn f7_falls_back_when_the_first_backend_cannot_be_reached() {
    let backend = good();
    let tested = Tested::start(
        retrying(rule(&["a", "b"])),
        vec![openai("a", nowhere()), openai("b", backend.address)],
    );
    let response = tested.chat(CHAT);
    assert_eq!((status(&response), body(&response).as_str()), (200, completion()));
    let log = tested.log_lines(1);
    assert_eq!(log[0]["tollgate.attempts"], 2, "{log:?}");
    assert_eq!(log[0]["gen_ai.usage.input_tokens"], 11, "{log:?}");
}

#[test]
fn f8_a_429_comes_with_its_retry_after() {
    let error =
        r#"{"error":{"message":"slow down","type":"rate_limit_error","param":null,"code":"rate_limit"}}"#;
    let backend = answering(vec![Act::Write(sized(429, JSON, "retry-after: 7\r\n", error))]);
    let tested = serving(&backend);
    let response = tested.chat(CHAT);
    assert_eq!((status(&response), header(&response, "retry-after")), (429, Some("7")), "{response}");
    assert_eq!(body(&response), error);
}

#[test]
fn f9_a_4xx_keeps_its_body() {
    let error = r#"{"error":{"message":"no such tool","type":"invalid_request_error","param":"tools[0]","code":"bad"}}"#;
    let backend = answering(vec![Act::Write(sized(422, JSON, "", error))]);
    let tested = serving(&backend);
    let response = tested.chat(CHAT);
    assert_eq!((status(&response), body(&response).as_str()), (422, error));
}

#[test]
fn f10_the_last_5xx_is_told_when_all_have_failed() {
    let backend = answering(vec![Act::Write(sized(503, "text/html", "", "<h1>\"down\"</h1>"))]);
    let tested = Tested::start(retrying(rule(&["b"])), vec![openai("b", backend.address)]);
    let response = tested.chat(CHAT);
    assert_eq!(status(&response), 503, "{response}");
    let error = json(&response);
    assert_eq!(error["error"]["type"], "OpenAIBackendError");
    assert_eq!(error["error"]["message"], "<h1>\"down\"</h1>");
    let log = tested.log_lines(1);
    assert_eq!(log[0]["tollgate.attempts"], 4, "{log:?}");
}

#[test]
fn f10_a_529_is_a_503_for_clients_that_do_not_know_it() {
    let backend = answering(vec![Act::Write(sized(529, JSON, "", r#"{"error":{"message":"x"}}"#))]);
    assert_eq!(status(&serving(&backend).chat(CHAT)), 503);
}

#[test]
fn f11_no_first_byte_in_time_goes_to_the_next_backend() {
    let silent = answering(vec![Act::AwaitClose]);
    let backend = good();
    let mut patient = retrying(rule(&["a", "b"]));
    patient.timeouts.first_byte = Some(Duration::from_millis(100));
    let tested = Tested::start(patient, vec![openai("a", silent.address), openai("b", backend.address)]);
    assert_eq!(status(&tested.chat(CHAT)), 200);
    silent.closed.recv_timeout(PATIENCE).expect("the silent backend's connection closed");
}

#[test]
fn f11_no_first_byte_at_all_is_a_504() {
    let silent = answering(vec![Act::AwaitClose]);
    let mut impatient = rule(&["a"]);
    impatient.timeouts.first_byte = Some(Duration::from_millis(100));
    let tested = Tested::start(impatient, vec![openai("a", silent.address)]);
    assert_eq!(status(&tested.chat(CHAT)), 504);
    let log = tested.log_lines(1);
    assert_eq!(log[0]["tollgate.outcome"], "timeout", "{log:?}");
}

#[test]
fn f12_an_error_as_first_event_goes_to_the_next_backend() {
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n".to_owned();
    let failing = answering(streaming(&[error], &[Act::Write(last_chunk())]));
    let backend = answering(streaming(&[delta("hi"), stream_end()], &[Act::Write(last_chunk())]));
    let targets = vec![openai("a", failing.address), openai("b", backend.address)];
    let tested = Tested::start(retrying(rule(&["a", "b"])), targets);
    let response = tested.chat(STREAM);
    assert_eq!(status(&response), 200);
    assert!(body(&response).ends_with("data: [DONE]\n\n"), "{response}");
    assert!(!response.contains("overloaded"), "{response}");
}

#[test]
fn f13_a_stream_that_is_cut_ends_with_an_error() {
    for end in [Act::Close, Act::Reset] {
        let half = delta("lost")[..20].to_owned();
        let pause = Act::Pause(Duration::from_millis(50));
        let backend = answering(streaming(&[delta("hi"), half], &[pause, end]));
        let tested = serving(&backend);
        assert_broken_off(&tested.chat(STREAM), &delta("hi"));
        let log = tested.log_lines(1);
        assert_eq!(log[0]["tollgate.outcome"], "upstream_cut", "{log:?}");
        assert_eq!(log[0]["tollgate.usage_source"], "estimated", "{log:?}");
    }
}

#[test]
fn f13_a_stream_without_its_terminal_event_ends_with_an_error() {
    let backend = answering(streaming(&[delta("hi")], &[Act::Write(last_chunk())]));
    let tested = serving(&backend);
    in_band_error(&body(&tested.chat(STREAM)));
}

#[test]
fn f14_a_stream_that_falls_silent_ends_with_an_error() {
    let backend = answering(streaming(&[delta("hi")], &[Act::AwaitClose]));
    let mut impatient = rule(&["b"]);
    impatient.timeouts.stream_idle = Some(Duration::from_millis(100));
    let tested = Tested::start(impatient, vec![openai("b", backend.address)]);
    in_band_error(&body(&tested.chat(STREAM)));
    backend.closed.recv_timeout(PATIENCE).expect("the backend's connection closed");
    let log = tested.log_lines(1);
    assert_eq!(log[0]["tollgate.outcome"], "timeout", "{log:?}");
}

#[test]
fn f15_malformed_events_pass_through_a_splice() {
    let junk = "data: {not json\n\n".to_owned();
    let chunks = [delta("hi"), junk.clone(), stream_end()];
    let backend = answering(streaming(&chunks, &[Act::Write(last_chunk())]));
    let stream = body(&serving(&backend).chat(STREAM));
    assert!(stream.contains(&junk) && stream.ends_with("data: [DONE]\n\n"), "{stream}");
}

#[test]
fn f15_malformed_events_are_passed_over_or_end_a_translated_stream() {
    let junk = "data: {not json\n\n".to_owned();
    let misshapen = "data: {\"id\":\"c1\",\"choices\":7}\n\n".to_owned();
    for (broken, ends_well) in [(junk, true), (misshapen, false)] {
        let pause = Act::Pause(Duration::from_millis(50));
        let rest = [broken, stream_end()].map(|text| Act::Write(chunk(&text)));
        let end = [&[pause][..], &rest, &[Act::Write(last_chunk())]].concat();
        let backend = answering(streaming(&[delta("hi")], &end));
        let tested = serving(&backend);
        let text =
            r#"{"model":"m","max_tokens":5,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
        let request = chat_request(text).replace("/v1/chat/completions", "/anthropic/v1/messages");
        let stream = body(&tested.send(&request));
        assert!(stream.contains(r#""text":"hi""#) && !stream.contains("not json"), "{stream}");
        assert_eq!(stream.contains("event: message_stop"), ends_well, "{stream}");
        assert_eq!(stream.contains("event: error"), !ends_well, "{stream}");
        let line = &tested.log_lines(1)[0];
        let expected = if ends_well { "complete" } else { "error" };
        assert_eq!(line["tollgate.outcome"], expected, "{line}");
        let is_counted = tested.metrics().contains("kind=\"unreadable_event\"");
        assert_eq!(is_counted, ends_well, "{}", tested.metrics());
    }
}

#[test]
fn f17_a_client_that_leaves_takes_the_backend_with_it() {
    let backend = answering(streaming(&[delta("hi")], &[Act::AwaitClose]));
    let tested = serving(&backend);
    let mut client = tested.connect();
    client.write_all(chat_request(STREAM).as_bytes()).expect("sent");
    let mut byte = [0; 1024];
    assert!(client.read(&mut byte).expect("a first read") > 0);
    let left = Instant::now();
    drop(client);
    let closed = backend.closed.recv_timeout(PATIENCE).expect("the backend's connection closed");
    assert!(closed.saturating_duration_since(left) < Duration::from_millis(100));
    let log = tested.log_lines(1);
    assert_eq!(log[0]["tollgate.outcome"], "client_gone", "{log:?}");
    assert_eq!(log[0]["tollgate.usage_source"], "estimated", "{log:?}");
}

#[test]
fn f17_a_client_that_leaves_before_the_answer_is_recorded() {
    let backend = answering(vec![Act::AwaitClose]);
    let tested = serving(&backend);
    let mut client = tested.connect();
    client.write_all(chat_request(CHAT).as_bytes()).expect("sent");
    backend.request();
    drop(client);
    backend.closed.recv_timeout(PATIENCE).expect("the backend's connection closed");
    let log = tested.log_lines(1);
    assert_eq!(log[0]["response_code"], 499, "{log:?}");
    assert_eq!(log[0]["tollgate.attempts"], 1, "{log:?}");
}

/// A backend that has a stream of 64 MiB on offer.
fn flooding() -> ScriptedBackend {
    let big = delta(&"x".repeat(16 << 10));
    let mut script = vec![Act::Write(stream_head())];
    script.extend((0..4096).map(|_| Act::Write(chunk(&big))));
    script.push(Act::AwaitClose);
    answering(script)
}

#[test]
fn f18_a_slow_client_slows_the_backend_down() {
    let backend = flooding();
    let tested = serving(&backend);
    let mut client = tested.connect();
    client.write_all(chat_request(STREAM).as_bytes()).expect("sent");
    std::thread::sleep(Duration::from_millis(500));
    // 64 MiB were on offer; what is not in socket buffers has to be still at the backend.
    assert!(backend.closed.try_recv().is_err());
    drop(client);
    let log = tested.log_lines(1);
    let sent = log[0]["bytes_sent"].as_u64().expect("a number");
    // Between an Envoy and its processor there are buffers as well.
    let most = if is_envoy() { 32 << 20 } else { 16 << 20 };
    assert!(sent < most, "{sent} bytes were taken for a client that read nothing");
}

#[test]
fn f21_a_request_keeps_the_configuration_that_it_began_with() {
    let script = streaming(
        &[delta("old")],
        &[Act::Pause(Duration::from_millis(300)), Act::Write(chunk(&stream_end())), Act::Write(last_chunk())],
    );
    let old = answering(script);
    let new = good();
    let tested = serving(&old);
    let mut client = tested.connect();
    client.write_all(chat_request(STREAM).as_bytes()).expect("sent");
    old.request();
    let reloaded = bundle(tested.address.port(), rule(&["c"]), vec![openai("c", new.address)]);
    tested.reload(reloaded, Secrets::default());
    assert_eq!(body(&tested.chat(CHAT)), completion());
    let mut stream = String::new();
    client.read_to_string(&mut stream).expect("the rest of the stream");
    assert!(stream.contains("[DONE]"), "{stream}");
}

#[test]
fn f22_a_stream_finishes_while_the_gateway_drains() {
    let script = streaming(
        &[delta("a")],
        &[Act::Pause(Duration::from_millis(300)), Act::Write(chunk(&stream_end())), Act::Write(last_chunk())],
    );
    let backend = answering(script);
    let tested = serving(&backend);
    let mut client = tested.connect();
    client.write_all(chat_request(STREAM).as_bytes()).expect("sent");
    backend.request();
    assert!(tested.drain(PATIENCE), "the stream should have finished by itself");
    let mut stream = String::new();
    client.read_to_string(&mut stream).expect("the rest of the stream");
    assert!(stream.contains("[DONE]"), "{stream}");
    assert!(std::net::TcpStream::connect(tested.address).is_err(), "still listening");
}

#[test]
fn f22_a_stream_that_outlives_the_grace_period_ends_with_an_error() {
    let backend = answering(streaming(&[delta("a")], &[Act::AwaitClose]));
    let tested = serving(&backend);
    let mut client = tested.connect();
    client.write_all(chat_request(STREAM).as_bytes()).expect("sent");
    backend.request();
    std::thread::sleep(Duration::from_millis(100));
    assert!(!tested.drain(Duration::from_millis(200)));
    let mut response = String::new();
    client.read_to_string(&mut response).expect("the rest of the stream");
    in_band_error(&body(&response));
    assert_eq!(tested.log_lines(1)[0]["tollgate.outcome"], "error");
}

#[test]
fn f24_a_document_that_is_cut_is_a_502() {
    let mut cut = sized(200, JSON, "", completion());
    cut.truncate(cut.len() - 10);
    let backend = answering(vec![Act::Write(cut), Act::Close]);
    let tested = serving(&backend);
    let response = tested.chat(CHAT);
    assert_eq!(status(&response), 502, "{response}");
    let log = tested.log_lines(1);
    // Where the connection ends at once, Envoy may tell of a broken rule before it tells of a head.
    if !(is_envoy() && log[0]["tollgate.fault"] == "protocol") {
        assert_eq!(log[0]["tollgate.outcome"], "upstream_cut", "{log:?}");
    }
}

#[test]
fn f25_an_empty_answer_passes_and_is_estimated() {
    for empty in ["", "null"] {
        let backend = answering(vec![Act::Write(sized(200, JSON, "", empty))]);
        let tested = serving(&backend);
        let response = tested.chat(CHAT);
        assert_eq!((status(&response), body(&response).as_str()), (200, empty));
        let log = tested.log_lines(1);
        assert_eq!(log[0]["tollgate.usage_source"], "estimated", "{log:?}");
    }
}

#[test]
fn f26_a_gzipped_error_is_unpacked_and_shaped() {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"<html>bad \"gateway\"</html>").expect("packed");
    let packed = encoder.finish().expect("packed");
    let mut response = format!(
        "HTTP/1.1 502 X\r\ncontent-type: text/html\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        packed.len()
    )
    .into_bytes();
    response.extend_from_slice(&packed);
    let backend = answering(vec![Act::Write(response)]);
    let response = serving(&backend).chat(CHAT);
    assert_eq!((status(&response), header(&response, "content-encoding")), (502, None), "{response}");
    assert_eq!(json(&response)["error"]["message"], "<html>bad \"gateway\"</html>");
}

#[test]
fn never_tries_again_once_a_byte_has_reached_the_client() {
    let first = answering(streaming(&[delta("hi")], &[Act::Pause(Duration::from_millis(50)), Act::Reset]));
    let second = good();
    let targets = vec![openai("a", first.address), openai("b", second.address)];
    let tested = Tested::start(retrying(rule(&["a", "b"])), targets);
    assert_broken_off(&tested.chat(STREAM), &delta("hi"));
    assert!(second.requests.recv_timeout(Duration::from_millis(50)).is_err());
}

#[test]
fn makes_every_attempt_afresh_from_the_clients_own_request() {
    let first = answering(vec![Act::Write(sized(500, JSON, "", "{}"))]);
    let second = good();
    let mut policy = retrying(rule(&["a", "b"]));
    policy.targets[0].model_override = tollgate_terms::ModelName::parse("other").ok();
    policy.targets[0].mutation.headers_set = vec![("x-first".to_owned(), "1".to_owned())];
    let tested = Tested::start(policy, vec![openai("a", first.address), openai("b", second.address)]);
    assert_eq!(status(&tested.chat(CHAT)), 200);
    let (asked_first, asked_second) = (first.request(), second.request());
    for asked in [&asked_first, &asked_second] {
        let length = body(asked).len().to_string();
        assert_eq!(header(asked, "content-length"), Some(length.as_str()), "{asked}");
    }
    assert!(asked_first.contains(r#""model":"other""#) && header(&asked_first, "x-first") == Some("1"));
    assert!(asked_second.ends_with(CHAT) && header(&asked_second, "x-first").is_none(), "{asked_second}");
}

#[test]
fn keeps_forged_headers_from_the_backend() {
    let backend = good();
    let tested = serving(&backend);
    let forged = chat_request(CHAT).replace(
        "host: gateway\r\n",
        "host: gateway\r\nx-ai-eg-model: evil\r\nx-envoy-original-path: /\r\nx-aigw-api-key: k\r\n",
    );
    assert_eq!(status(&tested.send(&forged)), 200);
    let asked = backend.request().to_ascii_lowercase();
    for name in ["x-ai-eg", "x-envoy", "x-aigw", "evil"] {
        assert!(!asked.contains(name), "{asked}");
    }
    assert!(header(&asked, "content-length").is_some(), "{asked}");
}

#[test]
fn replaces_a_connection_that_the_backend_closed_while_it_was_idle() {
    let backend = ScriptedBackend::start(vec![
        vec![Act::Write(sized(200, JSON, "", completion())), Act::Close],
        vec![Act::Write(sized(200, JSON, "", completion()))],
    ]);
    let tested = serving(&backend);
    assert_eq!(status(&tested.chat(CHAT)), 200);
    assert_eq!(status(&tested.chat(CHAT)), 200);
}

fn ejecting_after(consecutive_5xx: u32) -> tollgate_config::bundle::Ejection {
    tollgate_config::bundle::Ejection {
        consecutive_5xx,
        consecutive_gateway_errors: 0,
        base_time: Duration::from_secs(60),
        max_time: Duration::from_secs(60),
        max_ejection_percent: 100,
    }
}

#[test]
fn leaves_out_a_backend_that_keeps_failing() {
    let failing = answering(vec![Act::Write(sized(500, JSON, "", "{}"))]);
    let backend = good();
    let mut ejected = openai("a", failing.address);
    ejected.ejection = Some(ejecting_after(2));
    let tested = Tested::start(retrying(rule(&["a", "b"])), vec![ejected, openai("b", backend.address)]);
    for _ in 0..5 {
        assert_eq!(status(&tested.chat(CHAT)), 200);
    }
    assert_eq!(failing.requests.try_iter().count(), 2);
}

#[test]
fn hides_the_usage_that_only_the_gateway_asked_for() {
    let backend = answering(streaming(&[delta("hi"), stream_end()], &[Act::Write(last_chunk())]));
    let tested = serving(&backend);
    let stream = body(&tested.chat(STREAM));
    assert!(!stream.contains("usage") && stream.ends_with("data: [DONE]\n\n"), "{stream}");
    assert!(backend.request().contains(r#""stream_options":{"include_usage":true}"#));
    let log = tested.log_lines(1);
    assert_eq!(log[0]["gen_ai.usage.input_tokens"], 11, "{log:?}");
    assert_eq!(log[0]["tollgate.usage_source"], "provider_final", "{log:?}");
}

#[test]
fn a_backend_that_tells_its_failure_itself_is_not_spoken_over() {
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n".to_owned();
    for end in [Act::Write(last_chunk()), Act::Reset] {
        let backend = answering(streaming(
            &[delta("hi"), error.clone()],
            &[Act::Pause(Duration::from_millis(50)), end],
        ));
        let tested = serving(&backend);
        assert_eq!(body(&tested.chat(STREAM)), format!("{}{error}", delta("hi")));
        let log = tested.log_lines(1);
        assert_eq!(
            (&log[0]["tollgate.outcome"], &log[0]["tollgate.fault"]),
            (&"error".into(), &"error_event".into()),
            "{log:?}"
        );
    }
}

#[test]
fn a_redirect_is_a_502_and_its_target_is_not_told() {
    let moved = sized(307, "text/html", "location: http://10.0.0.1/\r\n", "<a>moved</a>");
    let backend = answering(vec![Act::Write(moved)]);
    let tested = serving(&backend);
    let response = tested.chat(CHAT);
    assert_eq!((status(&response), header(&response, "location")), (502, None), "{response}");
    assert_eq!(tested.log_lines(1)[0]["gen_ai.usage.output_tokens"], 0);
}

#[test]
fn credentials_that_clients_bring_end_at_the_gateway() {
    let failing = answering(vec![Act::Write(sized(500, JSON, "", "{}"))]);
    let backend = good();
    let mut first = keyed(openai("a", failing.address));
    if let Some(credential) = &mut first.credential {
        credential.override_headers = vec!["X-Team-Key".to_owned()];
    }
    let tested = Tested::start(retrying(rule(&["a", "b"])), vec![first, openai("b", backend.address)]);
    let request = chat_request(CHAT).replace("host: gateway\r\n", "host: gateway\r\nx-team-key: sk-mine\r\n");
    assert_eq!(status(&tested.send(&request)), 200);
    let (asked_first, asked_second) = (failing.request(), backend.request());
    assert_eq!(header(&asked_first, "authorization"), Some("Bearer sk-mine"));
    assert_eq!(header(&asked_first, "x-team-key"), None, "{asked_first}");
    assert!(!asked_second.contains("sk-mine"), "{asked_second}");
}

#[test]
fn a_full_backend_is_not_blamed_for_it() {
    let slow = ScriptedBackend::start(vec![
        vec![Act::Pause(Duration::from_millis(300)), Act::Write(sized(200, JSON, "", completion()))],
        vec![Act::Write(sized(200, JSON, "", completion()))],
    ]);
    let mut limited = openai("b", slow.address);
    limited.limits.requests_max = 1;
    limited.ejection = Some(ejecting_after(1));
    let tested = Tested::start(rule(&["b"]), vec![limited]);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| tested.chat(CHAT));
        slow.request();
        let second = tested.chat(CHAT);
        assert_eq!((status(&second), header(&second, "retry-after")), (503, Some("1")), "{second}");
        assert_eq!(status(&first.join().expect("an answer")), 200);
    });
    assert_eq!(status(&tested.chat(CHAT)), 200);
    let log = tested.log_lines(3);
    assert_eq!(log[0]["tollgate.fault"], "overloaded", "{log:?}");
}

/// Bounds of one attempt, and a backend that oversteps one of them.
#[test]
fn f11_the_time_of_one_try_covers_its_head_its_first_event_and_its_document() {
    let ms = Duration::from_millis;
    let mut stalled_document = sized(200, JSON, "", completion());
    stalled_document.truncate(stalled_document.len() - 10);
    let mut late_head = vec![Act::Pause(ms(150)), Act::Write(stalled_document.clone()), Act::Pause(ms(150))];
    late_head.push(Act::AwaitClose);
    let cases: [(&str, &str, Vec<Act>); 3] = [
        ("no head", CHAT, vec![Act::AwaitClose]),
        ("no first event", STREAM, vec![Act::Write(stream_head()), Act::AwaitClose]),
        ("a document that ends late", CHAT, late_head),
    ];
    for (name, request, script) in cases {
        for by_idle in [false, true] {
            let (slow, backend) =
                (answering(script.clone()), if request == CHAT { good() } else { streaming_well() });
            let mut rule = retrying(rule(&["a", "b"]));
            match by_idle {
                false => rule.timeouts.per_try = Some(ms(200)),
                true => rule.timeouts.stream_idle = Some(ms(120)),
            }
            let tested = Tested::start(rule, vec![openai("a", slow.address), openai("b", backend.address)]);
            let begun = Instant::now();
            assert_eq!(status(&tested.chat(request)), 200, "{name}, {by_idle}");
            assert!(begun.elapsed() < ms(1500), "{name}, {by_idle}: {:?}", begun.elapsed());
            assert_eq!(tested.log_lines(1)[0]["tollgate.attempts"], 2, "{name}, {by_idle}");
        }
    }
}

fn streaming_well() -> ScriptedBackend {
    answering(streaming(&[delta("hi"), stream_end()], &[Act::Write(last_chunk())]))
}

#[test]
fn f14_a_document_that_stalls_is_given_up_when_its_first_byte_would_have_been() {
    let mut stalled = sized(200, JSON, "", completion());
    stalled.truncate(stalled.len() - 10);
    let backend = answering(vec![Act::Write(stalled), Act::AwaitClose]);
    let mut impatient = rule(&["b"]);
    impatient.timeouts.first_byte = Some(Duration::from_millis(100));
    let tested = Tested::start(impatient, vec![openai("b", backend.address)]);
    assert_eq!(status(&tested.chat(CHAT)), 504);
}

#[test]
fn f18_a_client_that_takes_nothing_for_too_long_is_given_up() {
    let backend = flooding();
    let mut impatient = rule(&["b"]);
    impatient.timeouts.stream_idle = Some(Duration::from_millis(300));
    let tested = Tested::start(impatient, vec![openai("b", backend.address)]);
    let mut client = tested.connect();
    client.write_all(chat_request(STREAM).as_bytes()).expect("sent");
    let log = tested.log_lines(1);
    // Envoy tells nobody whether it waits for the client or for the backend.
    let expected = if is_envoy() { "idle_timeout" } else { "client_too_slow" };
    assert_eq!(log[0]["tollgate.fault"], expected, "{log:?}");
    assert_eq!(log[0]["tollgate.usage_source"], "estimated", "{log:?}");
    drop(client);
}

#[test]
fn f21_a_connection_that_outlives_its_listener_is_told_so() {
    let backend = good();
    let tested = serving(&backend);
    let mut client = tested.connect();
    let kept = chat_request(CHAT).replace("connection: close\r\n", "");
    client.write_all(kept.as_bytes()).expect("sent");
    let mut answer = [0; 4096];
    assert!(client.read(&mut answer).expect("an answer") > 0);
    let elsewhere = bundle(free_port(), rule(&["b"]), vec![openai("b", backend.address)]);
    tested.reload(elsewhere, Secrets::default());
    client.write_all(kept.as_bytes()).expect("sent");
    let mut response = String::new();
    client.read_to_string(&mut response).expect("an answer and the end");
    if is_envoy() {
        // It goes on with what its clients have open, for a while.
        assert_eq!(status(&response), 200, "{response}");
    } else {
        assert_eq!((status(&response), header(&response, "connection")), (503, Some("close")), "{response}");
    }
}

#[test]
fn f22_a_request_that_still_waits_when_the_grace_is_over_is_answered() {
    for request in [CHAT, STREAM] {
        let backend = answering(vec![Act::AwaitClose]);
        let tested = serving(&backend);
        let mut client = tested.connect();
        client.write_all(chat_request(request).as_bytes()).expect("sent");
        backend.request();
        assert!(!tested.drain(Duration::from_millis(100)));
        let mut response = String::new();
        client.read_to_string(&mut response).expect("an answer");
        assert_eq!(status(&response), 503, "{response}");
        assert_eq!(json(&response)["error"]["message"], "the gateway is shutting down", "{response}");
        let log = tested.log_lines(1);
        assert_eq!(
            (&log[0]["response_code"], &log[0]["bytes_sent"], &log[0]["tollgate.fault"]),
            (&503.into(), &body(&response).len().into(), &"draining".into()),
            "{log:?}"
        );
    }
}

#[test]
fn f8_a_backend_that_wants_a_long_wait_is_quoted_instead_of_tried_again() {
    let error =
        r#"{"error":{"message":"out of quota","type":"insufficient_quota","param":null,"code":"quota"}}"#;
    let backend = answering(vec![Act::Write(sized(429, JSON, "retry-after: 30\r\n", error))]);
    let tested = Tested::start(retrying(rule(&["b"])), vec![openai("b", backend.address)]);
    let response = tested.chat(CHAT);
    assert_eq!((status(&response), body(&response).as_str()), (429, error));
    assert_eq!(tested.log_lines(1)[0]["tollgate.attempts"], 1);
}

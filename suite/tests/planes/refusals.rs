//! What the gateway refuses before any backend hears of it: rows F1, F2, F6 of the failure matrix, and their kin.

use std::io::Write;
use std::time::Duration;

use tollgate_effects::Secrets;
use tollgate_suite::{
    CHAT, ScriptedBackend, Tested, body, chat_request, header, is_envoy, json, keyed, openai, rule, status,
};

fn idle_gateway() -> (Tested, ScriptedBackend) {
    let backend = ScriptedBackend::start(vec![vec![]]);
    let tested = Tested::start(rule(&["b"]), vec![openai("b", backend.address)]);
    (tested, backend)
}

fn assert_unheard(backend: &ScriptedBackend) {
    assert!(backend.requests.recv_timeout(Duration::from_millis(50)).is_err(), "the backend was called");
}

#[test]
fn f1_refuses_bodies_that_two_parsers_could_read_differently() {
    let (tested, backend) = idle_gateway();
    for bad in [
        "{",
        "[]",
        "",
        r#"{"messages":[]}"#,
        r#"{"model":"a","messages":[],"model":"b"}"#,
        r#"{"model":"a","messages":[],"\u006dodel":"b"}"#,
        r#"{"model":"a","stream":true,"stream":false}"#,
        r#"{"model":"a","stream_options":{"include_usage":true,"include_usage":false}}"#,
        r#"{"model":7}"#,
        r#"{"model":"a b"}"#,
        r#"{"model":"a"} {"model":"b"}"#,
        "{\"model\":\"a\",\"x\":NaN}",
    ] {
        let response = tested.chat(bad);
        assert_eq!(status(&response), 400, "{bad}: {response}");
        assert_eq!(json(&response)["error"]["type"], "BadRequest", "{bad}: {response}");
        assert!(header(&response, "x-request-id").is_some_and(|id| id.len() == 36));
    }
    assert_unheard(&backend);
    let log = tested.log_lines(12);
    assert!(log.iter().all(|line| line["tollgate.outcome"] == "refused"), "{log:?}");
}

#[test]
fn refuses_json_that_is_too_deep() {
    let (tested, backend) = idle_gateway();
    let deep = format!(r#"{{"model":"a","x":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let response = tested.chat(&deep);
    assert_eq!(status(&response), 400, "{response}");
    assert_unheard(&backend);
}

#[test]
fn f2_refuses_bodies_over_the_limit_and_names_it() {
    let (tested, backend) = idle_gateway();
    let response = tested.chat(&format!(r#"{{"model":"a","x":"{}"}}"#, "x".repeat(5000)));
    assert_eq!(status(&response), 413, "{response}");
    assert!(json(&response)["error"]["message"].as_str().is_some_and(|text| text.contains("4096")));
    let chunked = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n1388\r\n{}\r\n0\r\n\r\n",
        "x".repeat(5000)
    );
    assert_eq!(status(&tested.send(&chunked)), 413);
    assert_unheard(&backend);
}

#[test]
fn f6_refuses_when_the_credential_of_the_backend_is_missing() {
    let backend = ScriptedBackend::start(vec![vec![]]);
    let tested =
        Tested::start_with(rule(&["b"]), vec![keyed(openai("b", backend.address))], Secrets::default());
    let response = tested.chat(CHAT);
    assert_eq!(status(&response), 401, "{response}");
    assert_eq!(json(&response)["error"]["message"], "missing upstream credential");
    assert_unheard(&backend);
}

#[test]
fn tells_what_a_path_takes() {
    let (tested, backend) = idle_gateway();
    let get = "GET /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n";
    let response = tested.send(get);
    assert_eq!((status(&response), header(&response, "allow")), (405, Some("POST")), "{response}");
    let unknown = chat_request(CHAT).replace("/v1/chat/completions", "/v1/nothing");
    let response = tested.send(&unknown);
    assert_eq!(status(&response), 404);
    assert_eq!(json(&response)["error"]["message"], "unsupported path: /v1/nothing");
    let unsized_body = "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&tested.send(unsized_body)), 411);
    let text = chat_request(CHAT).replace("application/json", "text/plain");
    assert_eq!(status(&tested.send(&text)), 415);
    let two_hosts = chat_request(CHAT).replace("host: gateway\r\n", "host: a\r\nhost: b\r\n");
    assert_eq!(status(&tested.send(&two_hosts)), 400);
    assert_unheard(&backend);
}

#[test]
fn refuses_upgrades_and_what_is_smuggled_behind_them() {
    let (tested, backend) = idle_gateway();
    let request = format!(
        "GET /v1/realtime HTTP/1.1\r\nhost: g\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n{}",
        chat_request(CHAT)
    );
    let response = tested.send(&request);
    assert_eq!(status(&response), 501, "{response}");
    assert_eq!(response.matches("HTTP/1.1").count(), 1, "{response}");
    assert_unheard(&backend);
}

#[test]
fn refuses_heads_that_are_too_large() {
    let (tested, backend) = idle_gateway();
    let many: String = (0..150).map(|number| format!("x-{number}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "a".repeat(70 << 10));
    // Of the others not all is read.
    let (more, longer) = (many.repeat(2), long.repeat(3));
    for headers in [&many, &long, &more, &longer] {
        let request = format!("POST /v1/messages HTTP/1.1\r\nhost: g\r\nconnection: close\r\n{headers}\r\n");
        let response = tested.send(&request);
        if is_envoy() && response.is_empty() {
            // What Envoy itself does not read it refuses before its words have passed the processor.
            continue;
        }
        assert_eq!((status(&response), header(&response, "connection")), (431, Some("close")), "{response}");
        assert!(json(&response)["request_id"].is_string(), "{response}");
    }
    assert_unheard(&backend);
}

#[test]
fn speaks_the_dialect_of_the_path_in_errors() {
    let (tested, _backend) = idle_gateway();
    let request = chat_request("{").replace("/v1/chat/completions", "/anthropic/v1/messages");
    let response = tested.send(&request);
    assert_eq!(status(&response), 400);
    let error = json(&response);
    assert_eq!(error["type"], "error");
    assert_eq!(error["error"]["type"], "invalid_request_error", "{error}");
    assert!(error["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{error}");
}

#[test]
fn lets_a_half_sent_body_go() {
    let (tested, backend) = idle_gateway();
    let mut stream = tested.connect();
    stream
        .write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 100\r\n\r\n{\"mo")
        .expect("sent");
    std::thread::sleep(Duration::from_millis(100));
    drop(stream);
    let log = tested.log_lines(1);
    assert_eq!(log[0]["tollgate.attempts"], 0, "{log:?}");
    assert_unheard(&backend);
    assert!(
        !body(&tested.send("GET /v1/models HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n")).is_empty()
    );
}

#[test]
fn refuses_two_framings_in_one_request() {
    let (tested, backend) = idle_gateway();
    let request = chat_request(CHAT).replace("host:", "transfer-encoding: chunked\r\nhost:");
    let response = tested.send(&request);
    // Envoy closes the connection before its words have passed the processor.
    if !is_envoy() || !response.is_empty() {
        assert_eq!((status(&response), header(&response, "connection")), (400, Some("close")), "{response}");
    }
    assert_unheard(&backend);
}

#[test]
fn refuses_a_packed_body_and_names_its_coding() {
    let (tested, _backend) = idle_gateway();
    let response = tested.send(&chat_request(CHAT).replace("host:", "content-encoding: gzip\r\nhost:"));
    assert_eq!(
        (status(&response), header(&response, "accept-encoding")),
        (415, Some("identity")),
        "{response}"
    );
    assert!(response.contains("gzip"), "{response}");
}

#[test]
fn refuses_a_body_that_does_not_arrive_in_time() {
    let (tested, backend) = idle_gateway();
    let request = chat_request(CHAT);
    let half = &request[..request.len() - 10];
    let response = tested.send(half);
    assert_eq!((status(&response), header(&response, "connection")), (408, Some("close")), "{response}");
    assert_eq!(json(&response)["error"]["type"], "RequestTimeout", "{response}");
    assert_unheard(&backend);
}

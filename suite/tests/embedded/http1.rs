//! HTTP/1.1 as clients speak it, to the byte: what is no request, what two readers could read as two, and what a connection
//! is used for besides one request.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use tollgate_suite::{
    Act, CHAT, PATIENCE, STREAM, ScriptedBackend, Tested, body, chat_request, chunk, completion, delta,
    header, json, last_chunk, openai, rule, sized, status, stream_end, stream_head,
};

const MODELS: &str = "GET /v1/models HTTP/1.1\r\nhost: g\r\n\r\n";

fn gateway(script: Vec<Act>) -> (Tested, ScriptedBackend) {
    let backend = ScriptedBackend::start(vec![script]);
    let tested = Tested::start(rule(&["b"]), vec![openai("b", backend.address)]);
    (tested, backend)
}

fn answering() -> (Tested, ScriptedBackend) {
    gateway(vec![Act::Write(sized(200, "application/json", "", completion()))])
}

fn assert_unheard(backend: &ScriptedBackend) {
    assert!(backend.requests.recv_timeout(Duration::from_millis(50)).is_err(), "the backend was called");
}

/// A chat that keeps its connection.
fn keeping(body: &str) -> String {
    chat_request(body).replace("connection: close\r\n", "")
}

fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("sent");
}

/// Reads until what has come ends with `end`.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(end.as_bytes()) {
        stream.read_exact(&mut byte).unwrap_or_else(|error| {
            panic!("{error}; so far: {}", String::from_utf8_lossy(&text));
        });
        text.push(byte[0]);
    }
    String::from_utf8(text).expect("text")
}

/// One response with a content-length, and not a byte more.
fn read_response(stream: &mut TcpStream) -> String {
    let head = read_until(stream, "\r\n\r\n");
    let length = header(&head, "content-length").and_then(|length| length.parse().ok()).expect("a length");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    head + &String::from_utf8(body).expect("text")
}

fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the end in order");
    text
}

/// Checks that `response` is the gateway's own words, and all that was said.
fn assert_refused(response: &str, expected: u16) {
    assert_eq!((status(response), header(response, "connection")), (expected, Some("close")), "{response}");
    assert_eq!(
        response.matches("HTTP/1.1").count(),
        1 + response.matches("valid HTTP/1.1").count(),
        "{response}"
    );
    let id = header(response, "x-tollgate-request-id").expect("an id");
    assert_eq!(json(response)["request_id"], id, "{response}");
    assert!(json(response)["error"]["message"].is_string(), "{response}");
    assert!(header(response, "date").is_some_and(|date| date.ends_with(" GMT")), "{response}");
}

#[test]
fn refuses_in_words_what_is_no_request() {
    let (tested, backend) = answering();
    let requests = [
        "\x16\x03\x01\x02\x00\x01\x00\x01",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "GET / HTTP/3.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nXX",
        "GET /v1/models\r\n\r\n",
        "GET /v1/models HTTP/1.1\nhost: g\n\n",
        "GET * HTTP/1.1\r\nhost: g\r\n\r\n",
    ];
    for request in requests {
        assert_refused(&tested.send(request), 400);
    }
    assert_unheard(&backend);
    let log = tested.log_lines(requests.len());
    for line in &log {
        assert_eq!(line["tollgate.outcome"], "refused", "{line}");
        assert_eq!(
            (&line["tollgate.fault"], &line["response_code"]),
            (&"malformed_head".into(), &400.into())
        );
    }
    let metrics = tested.metrics();
    assert!(metrics.contains("reason=\"malformed_head\"} 7"), "{metrics}");
}

#[test]
fn refuses_what_could_smuggle_a_request() {
    let (tested, backend) = answering();
    let smuggled = keeping(CHAT);
    let framings = [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 5\r\n",
        "content-length: +5\r\n",
        "content-length: 5 \r\ncontent-length: 0\r\n",
        "content-length : 5\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding:\r\n chunked\r\n",
        "x: y\r\n transfer-encoding: chunked\r\n",
        "x: y\rtransfer-encoding: chunked\r\n",
        "x: y\ntransfer-encoding: chunked\r\n",
        "x: \0\r\ncontent-length: 5\r\n",
    ];
    for framing in framings {
        let response = tested.send(&format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\n{framing}\r\n0\r\n\r\n{smuggled}"
        ));
        assert_refused(&response, 400);
    }
    let old = format!(
        "POST /v1/chat/completions HTTP/1.0\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
    );
    assert_refused(&tested.send(&old), 400);
    let broken = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n5\n{smuggled}"
    );
    assert_refused(&tested.send(&broken), 400);
    assert_unheard(&backend);
    assert_eq!(tested.log_lines(framings.len() + 2)[0]["tollgate.fault"], "ambiguous_length");
}

#[test]
fn wants_exactly_one_host() {
    let (tested, backend) = answering();
    for (target, hosts) in
        [("/v1/models", ""), ("/v1/models", "host: a\r\nhost: a\r\n"), ("http://a/v1/models", "")]
    {
        let response = tested.send(&format!("GET {target} HTTP/1.1\r\nconnection: close\r\n{hosts}\r\n"));
        assert_eq!((status(&response), json(&response)["error"]["type"].as_str()), (400, Some("BadRequest")));
    }
    let absolute = "GET http://a/v1/models HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&tested.send(absolute)), 200);
    for nowhere in ["OPTIONS *", "CONNECT a:443"] {
        let response = tested.send(&format!("{nowhere} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"));
        assert_eq!(status(&response), 404, "{response}");
    }
    assert_unheard(&backend);
}

#[test]
fn refuses_a_head_that_does_not_arrive_in_time() {
    let (tested, backend) = answering();
    for part in ["P", "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\n"] {
        assert_refused(&tested.send(part), 408);
    }
    // Who has said nothing is told nothing.
    let mut silent = tested.connect();
    send(&mut silent, MODELS);
    assert_eq!(status(&read_response(&mut silent)), 200);
    assert_eq!(read_to_end(&mut silent), "");
    assert_unheard(&backend);
    assert_eq!(tested.log_lines(3)[1]["tollgate.fault"], "head_timeout");
}

#[test]
fn answers_requests_in_the_order_they_came_in() {
    let (tested, _backend) = answering();
    let mut client = tested.connect();
    send(&mut client, &format!("{MODELS}{}\r\n{MODELS}", keeping(CHAT)));
    for expected in ["list", "chat.completion", "list"] {
        let response = read_response(&mut client);
        assert_eq!((status(&response), header(&response, "connection")), (200, None), "{response}");
        assert_eq!(json(&response)["object"], expected, "{response}");
    }
    let chunked = "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let (begin, end) = CHAT.split_at(10);
    send(&mut client, &format!("{chunked}{:x};x=y\r\n{begin}\r\n", begin.len()));
    std::thread::sleep(Duration::from_millis(50));
    send(&mut client, &format!("{:X}\r\n{end}\r\n0\r\nx: y\r\n\r\n{}", end.len(), chat_request(CHAT)));
    assert_eq!(body(&read_response(&mut client)), completion());
    let last = read_to_end(&mut client);
    assert_eq!((body(&last).as_str(), header(&last, "connection")), (completion(), Some("close")));
}

#[test]
fn keeps_requests_that_come_during_a_stream_for_later() {
    let pause = Act::Pause(Duration::from_millis(200));
    let (tested, backend) = gateway(vec![
        Act::Write(stream_head()),
        Act::Write(chunk(&delta("a"))),
        pause,
        Act::Write(chunk(&stream_end())),
        Act::Write(last_chunk()),
    ]);
    let mut client = tested.connect();
    send(&mut client, &keeping(STREAM));
    backend.request();
    // More than is read ahead.
    let many = 2000;
    let sender = client.try_clone().expect("the same connection");
    let sending = std::thread::spawn(move || {
        let mut sender = sender;
        send(&mut sender, &MODELS.repeat(many));
    });
    let stream = read_until(&mut client, "\r\n0\r\n\r\n");
    assert!(body(&stream).ends_with("data: [DONE]\n\n"), "{stream}");
    for _ in 0..many {
        assert_eq!(status(&read_response(&mut client)), 200);
    }
    sending.join().expect("all sent");
}

#[test]
fn tells_a_client_to_go_on_only_when_its_body_is_wanted() {
    let (tested, backend) = answering();
    let expecting = |body: &str| keeping(body).replace("host:", "expect: 100-continue\r\nhost:");
    let (mut client, request) = (tested.connect(), expecting(CHAT));
    let (head, rest) = request.split_at(request.len() - CHAT.len());
    send(&mut client, head);
    assert_eq!(read_until(&mut client, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    send(&mut client, rest);
    assert_eq!(body(&read_response(&mut client)), completion());
    // Who sends the body at once is not told.
    send(&mut client, &request);
    assert_eq!(body(&read_response(&mut client)), completion());
    let large = expecting(&"x".repeat(5000));
    send(&mut client, &large[..large.len() - 5000]);
    assert_refused(&read_to_end(&mut client), 413);
    let (mut client, nowhere) = (tested.connect(), request.replace("/v1/chat", "/v1/chats"));
    send(&mut client, &nowhere[..nowhere.len() - CHAT.len()]);
    assert_refused(&read_to_end(&mut client), 404);
    backend.request();
    backend.request();
    assert_unheard(&backend);
}

#[test]
fn reads_over_a_short_body_that_nobody_wants() {
    let (tested, _backend) = answering();
    let mut client = tested.connect();
    let nowhere = keeping(&"x".repeat(4000)).replace("/v1/chat", "/v1/chats");
    send(&mut client, &nowhere[..nowhere.len() - 1000]);
    assert_eq!(status(&read_response(&mut client)), 404);
    send(&mut client, &nowhere[nowhere.len() - 1000..]);
    send(&mut client, MODELS);
    assert_eq!(status(&read_response(&mut client)), 200);
    let long = keeping(&"x".repeat(100 << 10)).replace("/v1/chat", "/v1/chats");
    send(&mut client, &long);
    assert_refused(&read_to_end(&mut client), 404);
}

#[test]
fn speaks_http_1_0_with_those_that_know_no_other() {
    let (tested, _backend) = answering();
    let old = |request: String| request.replace("HTTP/1.1", "HTTP/1.0");
    let response = tested.send(&old(keeping(CHAT)));
    assert!(response.starts_with("HTTP/1.0 200 OK\r\n"), "{response}");
    assert_eq!((header(&response, "connection"), body(&response).as_str()), (Some("close"), completion()));
    let mut client = tested.connect();
    for _ in 0..2 {
        send(&mut client, &old(keeping(CHAT).replace("host:", "connection: keep-alive\r\nhost:")));
        let response = read_response(&mut client);
        assert_eq!((status(&response), header(&response, "connection")), (200, Some("keep-alive")));
    }
    let (tested, _backend) = gateway(vec![
        Act::Write(stream_head()),
        Act::Write(chunk(&delta("a"))),
        Act::Write(chunk(&stream_end())),
        Act::Write(last_chunk()),
    ]);
    let response = tested.send(&old(keeping(STREAM).replace("host:", "connection: keep-alive\r\nhost:")));
    assert_eq!(header(&response, "transfer-encoding"), None, "{response}");
    assert!(response.ends_with("data: [DONE]\n\n"), "{response}");
}

#[test]
fn answers_head_with_the_length_and_without_the_body() {
    let (tested, _backend) = answering();
    let mut client = tested.connect();
    send(&mut client, &MODELS.replace("GET", "HEAD"));
    let head = read_until(&mut client, "\r\n\r\n");
    send(&mut client, MODELS);
    let whole = read_response(&mut client);
    assert_eq!(header(&head, "content-length"), header(&whole, "content-length"));
    let log = tested.log_lines(2);
    assert_eq!((&log[0]["tollgate.outcome"], &log[0]["bytes_sent"]), (&"complete".into(), &0.into()));
}

#[test]
fn an_answer_without_a_body_has_no_length() {
    let (tested, _backend) = gateway(vec![Act::Write(b"HTTP/1.1 204 X\r\nx: y\r\n\r\n".to_vec())]);
    let mut client = tested.connect();
    for _ in 0..2 {
        send(&mut client, &keeping(CHAT));
        let head = read_until(&mut client, "\r\n\r\n");
        assert_eq!((status(&head), header(&head, "content-length")), (204, None), "{head}");
        assert_eq!(header(&head, "transfer-encoding"), None, "{head}");
    }
}

#[test]
fn a_client_that_leaves_is_noticed_whatever_it_sent_before() {
    let (tested, backend) =
        gateway(vec![Act::Write(stream_head()), Act::Write(chunk(&delta("a"))), Act::AwaitClose]);
    for pipelined in ["", MODELS, "GET /v1"] {
        let mut client = tested.connect();
        send(&mut client, &(keeping(STREAM) + pipelined));
        read_until(&mut client, "\n\n");
        let left = Instant::now();
        client.shutdown(Shutdown::Both).expect("left");
        let closed = backend.closed.recv_timeout(PATIENCE).expect("the backend's connection closed");
        assert!(closed.saturating_duration_since(left) < Duration::from_millis(100));
    }
    let log = tested.log_lines(3);
    assert!(log.iter().all(|line| line["tollgate.outcome"] == "client_gone"), "{log:?}");
}

#[test]
fn a_body_that_breaks_off_is_seen_to() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n";
    let (tested, _backend) = gateway(vec![
        Act::Write(head.as_bytes().to_vec()),
        Act::Write(chunk("sound")),
        Act::Pause(Duration::from_millis(50)),
        Act::Close,
    ]);
    let mut client = tested.connect();
    send(
        &mut client,
        &keeping(r#"{"model":"m","input":"a","voice":"b"}"#).replace("chat/completions", "audio/speech"),
    );
    let response = read_to_end(&mut client);
    assert!(response.ends_with("\r\n5\r\nsound\r\n"), "{response}");
}

#[test]
fn idle_connections_end_at_once_when_the_gateway_drains() {
    let (tested, _backend) = answering();
    let (mut fresh, mut used) = (tested.connect(), tested.connect());
    send(&mut used, MODELS);
    assert_eq!(status(&read_response(&mut used)), 200);
    let began = Instant::now();
    assert!(tested.drain(PATIENCE));
    assert_eq!(read_to_end(&mut used), "");
    assert!(fresh.read(&mut [0]).is_ok_and(|count| count == 0));
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
}

//! Clients that speak HTTP/2.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request};
use http_body_util::{BodyExt, Full};

use super::{PATIENCE, Tested, backend, chat, chunk, delta, end, head, run, write_all};

const PATH: &str = "/v1/chat/completions";

fn script(model: &str, stream: &mut TcpStream) -> std::io::Result<()> {
    match model {
        // More than fits into any buffer on the way.
        "flood" => {
            let event = chunk(&delta(&"x".repeat(16 << 10)));
            write_all(stream, &[head("text/event-stream")])?;
            (0..4096).try_for_each(|_| stream.write_all(&event))?;
            write_all(stream, &[end()])
        }
        "document" => {
            let text = serde_json::json!({"model": "m-1", "choices": [], "pad": "x".repeat(1 << 20)});
            write_all(stream, &[head("application/json"), chunk(&text.to_string()), b"0\r\n\r\n".to_vec()])
        }
        _ => {
            write_all(stream, &[head("text/event-stream"), chunk(&delta("begin"))])?;
            for _ in 0..8 {
                std::thread::sleep(Duration::from_millis(200));
                write_all(stream, &[chunk(&delta("go on"))])?;
            }
            write_all(stream, &[end()])
        }
    }
}

#[test]
fn a_stream_whose_client_takes_nothing_ends_and_the_others_go_on() {
    run(async {
        let (address, left) = backend(script);
        let tested = Tested::start(address, Some(Duration::from_millis(500)));
        let mut client = tested.connect(1 << 16).await;
        let good = client.send_request(chat(PATH, "good", true)).await.unwrap();
        // Nobody reads the bodies of these.
        let flood = client.send_request(chat(PATH, "flood", true)).await.unwrap();
        let line = tested.log(1).await;
        let line = &line["flood"];
        assert_eq!(line["tollgate.fault"], "client_too_slow", "{line}");
        assert_eq!(line["tollgate.outcome"], "client_gone", "{line}");
        left.recv_timeout(PATIENCE).expect("the backend is let go");
        let text = good.into_body().collect().await.unwrap().to_bytes();
        assert!(text.ends_with(b"data: [DONE]\n\n"));
        // What had arrived before can be read, and then the stream is seen to be reset.
        assert!(flood.into_body().collect().await.is_err());
        assert_eq!(tested.log(2).await["good"]["tollgate.outcome"], "complete");
    });
}

#[test]
fn a_document_that_a_client_leaves_in_the_middle_was_not_delivered() {
    run(async {
        let (address, _left) = backend(script);
        let tested = Tested::start(address, None);
        let mut client = tested.connect(1 << 16).await;
        let mut answer = client.send_request(chat(PATH, "document", false)).await.unwrap();
        answer.frame().await.unwrap().unwrap();
        drop(answer);
        let log = tested.log(1).await;
        assert_eq!(log["document"]["tollgate.outcome"], "client_gone", "{log:?}");
        // The connection is as good as before.
        let answer = client.send_request(chat(PATH, "document", false)).await.unwrap();
        assert!(answer.into_body().collect().await.unwrap().to_bytes().len() > 1 << 20);
    });
}

#[test]
fn a_tunnel_is_refused_in_words() {
    run(async {
        let (address, _left) = backend(script);
        let tested = Tested::start(address, None);
        let mut client = tested.connect(1 << 16).await;
        let tunnel = Request::builder().method(Method::CONNECT).uri("gateway:443");
        let answer = client.send_request(tunnel.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 404);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert!(error["error"]["message"].is_string(), "{error}");
        let good = client.send_request(chat(PATH, "good", true)).await.unwrap();
        assert!(good.into_body().collect().await.unwrap().to_bytes().ends_with(b"[DONE]\n\n"));
        assert_eq!(tested.log(2).await[""]["tollgate.outcome"], "refused");
    });
}

#[test]
fn heads_that_are_too_large_are_refused_in_words() {
    run(async {
        let (address, _left) = backend(script);
        let tested = Tested::start(address, None);
        let mut client = tested.connect(1 << 16).await;
        // The core's bound, that of HTTP/1.1, and the last that HTTP/2 takes in are passed, in one header and in many.
        for kilobytes in [80, 200, 500] {
            let long = vec![("x-long".to_owned(), "a".repeat(kilobytes << 10))];
            let many = (0..kilobytes).map(|at| (format!("x-{at}"), "a".repeat(900))).collect();
            for headers in [long, many] {
                let mut request = chat("/anthropic/v1/messages", "good", true);
                for (name, value) in headers {
                    request.headers_mut().insert(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
                }
                let answer = client.send_request(request).await.unwrap();
                assert_eq!(answer.status(), 431, "{kilobytes} KiB");
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(error["type"], "error", "{error}");
                assert!(error["error"]["message"].is_string() && error["request_id"].is_string(), "{error}");
            }
        }
        // The connection is as good as before, and its next request is read.
        let good = client.send_request(chat(PATH, "good", true)).await.unwrap();
        assert!(good.into_body().collect().await.unwrap().to_bytes().ends_with(b"[DONE]\n\n"));
    });
}

/// A frame: length, type, flags, stream, payload (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Headers, each written out (RFC 7541 section 6.2.2).
fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// WebSockets over HTTP/2 (RFC 8441) are not offered, so whoever asks for one breaks the protocol, of its own stream only.
#[test]
fn a_websocket_is_refused_and_the_connection_goes_on() {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const GOAWAY: u8 = 7;
    const END_OF_HEADERS: u8 = 4;
    const END_OF_ALL: u8 = 5;
    const ENABLE_CONNECT_PROTOCOL: u8 = 8;
    let (address, _left) = backend(script);
    let tested = Tested::start(address, None);
    let mut client = TcpStream::connect(tested.address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let scheme = (":scheme", "http");
    let websocket = headers(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        scheme,
        (":path", PATH),
        (":authority", "gateway"),
        ("sec-websocket-version", "13"),
    ]);
    let next = headers(&[(":method", "GET"), scheme, (":path", "/v1/models"), (":authority", "gateway")]);
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    client.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
    client.write_all(&frame(HEADERS, END_OF_HEADERS, 1, &websocket)).unwrap();
    client.write_all(&frame(HEADERS, END_OF_ALL, 3, &next)).unwrap();
    let (mut is_reset, mut is_answered) = (false, false);
    while !(is_reset && is_answered) {
        let mut head = [0; 9];
        client.read_exact(&mut head).unwrap();
        let [_, high, low, kind, flags, _, _, _, stream] = head;
        let mut payload = vec![0; usize::from(high) << 8 | usize::from(low)];
        client.read_exact(&mut payload).unwrap();
        match (kind, stream) {
            (SETTINGS, _) => {
                let mut settings = payload.chunks(6).map(|setting| setting[1]);
                assert!(flags & 1 == 1 || settings.all(|id| id != ENABLE_CONNECT_PROTOCOL));
            }
            (RST_STREAM, 1) => is_reset = true,
            (HEADERS, 3) => is_answered = true,
            (GOAWAY, _) | (HEADERS, _) => panic!("{kind} on stream {stream}: {payload:?}"),
            _ => {}
        }
    }
}

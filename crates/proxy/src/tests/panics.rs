//! Row F23: a bug while a request is served ends that request, in words, and no other.

use std::net::TcpStream;
use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::Value;

use super::{BUG, Tested, backend, chat, chunk, delta, end, head, run, write_all};

const OPENAI: &str = "/v1/chat/completions";
const ANTHROPIC: &str = "/v1/messages";

fn script(model: &str, stream: &mut TcpStream) -> std::io::Result<()> {
    match model {
        "bug-in-document" => write_all(stream, &[head("application/json"), chunk(BUG), end()]),
        "bug-at-first" => write_all(stream, &[head("text/event-stream"), chunk(&delta(BUG)), end()]),
        "bug-at-last" => {
            write_all(stream, &[head("text/event-stream"), chunk(&delta("good"))])?;
            std::thread::sleep(Duration::from_millis(100));
            write_all(stream, &[chunk(&delta(BUG)), end()])
        }
        _ => {
            write_all(stream, &[head("text/event-stream"), chunk(&delta("begin"))])?;
            std::thread::sleep(Duration::from_millis(500));
            write_all(stream, &[chunk(&delta("go on")), end()])
        }
    }
}

fn last_event(stream: &str) -> Value {
    let event = stream.trim_end().rsplit("\n\n").next().unwrap();
    let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    serde_json::from_str(data).unwrap()
}

/// Whether `error` is one of the gateway, as a client of the dialect at `path` expects it.
fn assert_shaped(path: &str, error: &Value) {
    assert_eq!(error["error"]["message"].as_str().map(str::is_empty), Some(false), "{error}");
    assert!(path != ANTHROPIC || error["type"] == "error", "{error}");
    assert!(error["error"]["type"].is_string(), "{error}");
}

#[test]
fn f23_a_panic_ends_its_own_request_in_words_and_no_other() {
    run(async {
        let (address, _left) = backend(script);
        let tested = Tested::start(address, None);
        // One stream on the same connection, one on another one.
        let mut shared = tested.connect(1 << 16).await;
        let mut other = tested.connect(1 << 16).await;
        let beside = shared.send_request(chat(OPENAI, "good-beside", true)).await.unwrap();
        let elsewhere = other.send_request(chat(OPENAI, "good-elsewhere", true)).await.unwrap();
        for path in [OPENAI, ANTHROPIC] {
            for (model, streams) in [("bug-in-document", false), ("bug-at-first", true)] {
                let answer = shared.send_request(chat(path, model, streams)).await.unwrap();
                assert_eq!(answer.status(), 500);
                assert_eq!(answer.headers()["content-type"], "application/json");
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                assert_shaped(path, &serde_json::from_slice(&body).unwrap());
            }
            let answer = shared.send_request(chat(path, "bug-at-last", true)).await.unwrap();
            assert_eq!(answer.status(), 200);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8(body.to_vec()).unwrap();
            assert!(text.contains("good"), "{text}");
            assert_shaped(path, &last_event(&text));
        }
        for answer in [beside, elsewhere] {
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8(body.to_vec()).unwrap();
            assert!(text.contains("go on") && text.ends_with("data: [DONE]\n\n"), "{text}");
        }
        let log = tested.log(8).await;
        for (model, status) in [("bug-in-document", 500), ("bug-at-first", 500), ("bug-at-last", 200)] {
            let line = &log[model];
            assert_eq!(line["response_code"], status, "{line}");
            assert_eq!(line["tollgate.outcome"], "error", "{line}");
            assert_eq!(line["tollgate.fault"], "internal", "{line}");
        }
        for model in ["good-beside", "good-elsewhere"] {
            assert_eq!(log[model]["tollgate.outcome"], "complete", "{log:?}");
        }
        let metrics = tested.telemetry.encode_metrics();
        assert!(metrics.lines().any(|line| line.contains("panic") && line.ends_with(" 6")), "{metrics}");
        assert!(metrics.contains("outcome=\"error\""), "{metrics}");
    });
}

#[test]
fn f23_a_panic_over_http1_is_told_and_the_connection_goes_on() {
    use std::io::{Read, Write};
    let (address, _left) = backend(script);
    let tested = Tested::start(address, None);
    let mut client = TcpStream::connect(tested.address).unwrap();
    client.set_read_timeout(Some(super::PATIENCE)).unwrap();
    for (model, last) in [("bug-in-document", ""), ("bug-at-first", ""), ("good", "connection: close\r\n")] {
        let streams = model != "bug-in-document";
        let body = format!(r#"{{"model":"{model}","stream":{streams},"messages":[]}}"#);
        let length = body.len();
        let head = format!("POST {OPENAI} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n{last}");
        write!(client, "{head}content-length: {length}\r\n\r\n{body}").unwrap();
        let mut text = String::new();
        if last.is_empty() {
            let mut buffer = [0; 4096];
            while !text.contains("}") {
                let count = client.read(&mut buffer).unwrap();
                assert!(count > 0, "the connection ended: {text}");
                text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            }
            assert!(text.starts_with("HTTP/1.1 500 "), "{text}");
        } else {
            client.read_to_string(&mut text).unwrap();
            assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("[DONE]"), "{text}");
        }
    }
    run(async { assert_eq!(tested.log(3).await["bug-at-first"]["tollgate.fault"], "internal") });
}

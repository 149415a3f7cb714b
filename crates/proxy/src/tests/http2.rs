//! Clients that speak HTTP/2.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use http_body_util::BodyExt;

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

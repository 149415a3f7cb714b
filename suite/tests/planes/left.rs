//! ACC-03 over sockets: clients that leave in the middle of a stream, in order (FIN) and in disorder (RST), pay for what was served.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tollgate_suite::{
    Act, STREAM, ScriptedBackend, Tested, chat_request, chunk, delta, openai, rule, stream_end, stream_head,
};

/// A token of the answer, as each event has one.
const TOKEN: &str = " gateway";

#[derive(Debug, Clone, Copy)]
enum Leaves {
    InOrder,
    InDisorder,
}

fn leave(stream: TcpStream, leaves: Leaves) {
    match leaves {
        Leaves::InOrder => stream.shutdown(Shutdown::Both).expect("a connection"),
        Leaves::InDisorder => {
            let socket = socket2::Socket::from(stream);
            socket.set_linger(Some(Duration::ZERO)).expect("a connection");
        }
    }
}

/// A client that leaves when it has read `count` events, which are all that the backend has written: the record of it.
fn left_after(count: usize, end: &str, leaves: Leaves) -> Value {
    let mut script = vec![Act::Write(stream_head())];
    script.extend((0..count).map(|_| Act::Write(chunk(&delta(TOKEN)))));
    if !end.is_empty() {
        script.push(Act::Write(chunk(end)));
    }
    script.push(Act::AwaitClose);
    let backend = ScriptedBackend::start(vec![script]);
    let tested = Tested::start(rule(&["b"]), vec![openai("b", backend.address)]);
    let mut stream = tested.connect();
    stream.write_all(chat_request(STREAM).as_bytes()).expect("a request sent");
    backend.request();
    let (mut seen, mut buffer) = (String::new(), [0; 4096]);
    while seen.matches(TOKEN).count() < count || (!end.is_empty() && !seen.contains("\"stop\"")) {
        let read = stream.read(&mut buffer).expect("some bytes");
        assert!(read > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    if count == 0 {
        // The head of the answer has come, of which the client is told with the first event.
        std::thread::sleep(Duration::from_millis(100));
    }
    leave(stream, leaves);
    // The backend is not kept at work for nobody.
    backend.closed.recv_timeout(tollgate_suite::PATIENCE).expect("the backend is left too");
    tested.log_lines(1).remove(0)
}

#[test]
fn acc_03_a_client_that_leaves_pays_for_what_it_got() {
    for leaves in [Leaves::InOrder, Leaves::InDisorder] {
        for count in [0, 1, 2, 5, 20] {
            let line = left_after(count, "", leaves);
            let tokens = line["gen_ai.usage.output_tokens"].as_u64().expect("tokens");
            // A token for each three bytes of text, rounded up.
            let most = (count * TOKEN.len()).div_ceil(3);
            assert!((count as u64..=most as u64).contains(&tokens), "{leaves:?} after {count}: {line}");
            assert_eq!(line["tollgate.outcome"], "client_gone", "{leaves:?} after {count}: {line}");
            assert_eq!(line["tollgate.usage_source"], "estimated", "{leaves:?} after {count}: {line}");
        }
    }
}

#[test]
fn acc_03_a_client_that_leaves_after_the_usage_pays_exactly_that() {
    let end = stream_end().replace("data: [DONE]\n\n", "");
    for leaves in [Leaves::InOrder, Leaves::InDisorder] {
        let line = left_after(3, &end, leaves);
        assert_eq!(line["gen_ai.usage.input_tokens"], 11, "{leaves:?}: {line}");
        assert_eq!(line["gen_ai.usage.output_tokens"], 7, "{leaves:?}: {line}");
        assert_eq!(line["tollgate.usage_source"], "provider_final", "{leaves:?}: {line}");
    }
}

//! Streams of each operation of AWS, reframed.

use proptest::prelude::*;
use tollgate_terms::{Delivery, Operation};
use tollgate_wire::event_stream::encode as write;

use super::*;
use crate::{Observer, Seen};

fn event(kind: &str, payload: &[u8]) -> Vec<u8> {
    message(
        &[(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")],
        payload,
    )
}

fn exception(kind: &str, payload: &str) -> Vec<u8> {
    message(&[(":exception-type", kind), (":message-type", "exception")], payload.as_bytes())
}

fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(&mut out, headers, payload).expect("a message");
    out.to_vec()
}

fn chunk(event: &str) -> Vec<u8> {
    use base64::Engine;
    let base64 = base64::engine::general_purpose::STANDARD.encode(event);
    self::event("chunk", format!(r#"{{"bytes":"{base64}","p":"abc"}}"#).as_bytes())
}

/// The pieces that come of a stream, joined, and what broke it.
fn reframed(
    framing: StreamFraming,
    dialect: Dialect,
    stream: &[u8],
    size: usize,
) -> (String, Option<Corrupt>) {
    let mut reframer = Reframer::new(framing, dialect, 200);
    let mut out = String::new();
    let mut take = |piece: Piece| match piece {
        Piece::Frame(Frame { raw }) => out += &String::from_utf8_lossy(&raw),
        Piece::Oversize(raw) => out += &format!("({} bytes)", raw.len()),
        Piece::Tail(raw) => out += &format!("<{}>", String::from_utf8_lossy(&raw)),
    };
    for chunk in stream.chunks(size.max(1)) {
        reframer.push(Bytes::copy_from_slice(chunk));
        loop {
            match reframer.next() {
                Ok(Some(piece)) => take(piece),
                Ok(None) => break,
                Err(corrupt) => return (out, Some(corrupt)),
            }
        }
    }
    match reframer.finish() {
        Ok(piece) => piece.into_iter().for_each(&mut take),
        Err(corrupt) => return (out, Some(corrupt)),
    }
    (out, None)
}

#[test]
fn converse_events_carry_their_type() {
    let stream = [
        event("messageStart", br#"{"role":"assistant","p":"ab"}"#),
        exception("throttlingException", r#"{"message":"slow"}"#),
        message(&[(":message-type", "error"), (":error-code", "Broken"), (":error-message", "no")], b""),
    ];
    let (said, corrupt) = reframed(StreamFraming::AwsEvents, Dialect::BedrockConverse, &stream.concat(), 7);
    let expected = "event: messageStart\ndata: {\"role\":\"assistant\",\"p\":\"ab\"}\n\n\
        event: throttlingException\ndata: {\"type\":\"throttlingException\",\"message\":\"slow\"}\n\n\
        event: error\ndata: {\"type\":\"Broken\",\"message\":\"no\"}\n\n";
    assert_eq!((said.as_str(), corrupt), (expected, None));
}

#[test]
fn chunks_hold_events_of_the_models_own_dialect() {
    let stream = [
        chunk(r#"{"type":"ping"}"#),
        event("other", b"{}"),
        chunk(r#"{"choices":[]}"#),
        chunk(r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{}}"#),
    ];
    let (said, corrupt) = reframed(StreamFraming::AwsChunks, Dialect::AnthropicMessages, &stream.concat(), 7);
    let expected = "event: ping\ndata: {\"type\":\"ping\"}\n\ndata: {\"choices\":[]}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\",\"amazon-bedrock-invocationMetrics\":{}}\n\n";
    assert_eq!((said.as_str(), corrupt), (expected, None));
}

#[test]
fn an_exception_is_an_error_of_the_models_own_dialect() {
    for (kind, expected) in [
        ("validationException", "invalid_request_error"),
        ("throttlingException", "rate_limit_error"),
        ("modelTimeoutException", "timeout_error"),
        ("serviceUnavailableException", "overloaded_error"),
        ("modelStreamErrorException", "api_error"),
        ("internalServerException", "api_error"),
    ] {
        let stream = exception(kind, r#"{"message":"why"}"#);
        let (said, _) = reframed(StreamFraming::AwsChunks, Dialect::AnthropicMessages, &stream, 7);
        let data = format!(r#"{{"type":"error","error":{{"type":"{expected}","message":"why"}}}}"#);
        assert_eq!(said, format!("event: error\ndata: {data}\n\n"));
    }
}

#[test]
fn an_exception_tells_what_the_model_itself_answered() {
    let stream = exception("modelStreamErrorException", r#"{"message":"why","originalStatusCode":429}"#);
    let (said, _) = reframed(StreamFraming::AwsChunks, Dialect::AnthropicMessages, &stream, 7);
    assert!(said.contains("rate_limit_error"), "{said}");
}

#[test]
fn payload_parts_are_pieces_of_a_stream() {
    let stream = [
        event("PayloadPart", b"data: {\"a\":"),
        event("PayloadPart", b""),
        event("PayloadPart", b"1}\n\ndata: 2\n\ndata: hal"),
        exception("ModelStreamError", r#"{"Message":"late","ErrorCode":"ModelInvocationTimeExceeded"}"#),
    ];
    let (said, corrupt) = reframed(StreamFraming::AwsPayload, Dialect::OpenAiChat, &stream.concat(), 7);
    let error = r#"{"type":"error","error":{"type":"ModelStreamError","message":"late","code":"504"}}"#;
    let expected = format!("data: {{\"a\":1}}\n\ndata: 2\n\ndata: {error}\n\n");
    assert_eq!((said, corrupt), (expected, None));
    let (said, _) = reframed(StreamFraming::AwsPayload, Dialect::OpenAiChat, &stream[..3].concat(), 7);
    assert!(said.ends_with("<data: hal>"), "{said}");
}

#[test]
fn an_observer_knows_the_errors_of_every_framing() {
    for (framing, dialect, kind) in [
        (StreamFraming::AwsEvents, Dialect::BedrockConverse, "throttlingException"),
        (StreamFraming::AwsEvents, Dialect::BedrockConverse, "SomethingNew"),
        (StreamFraming::AwsChunks, Dialect::AnthropicMessages, "throttlingException"),
        (StreamFraming::AwsChunks, Dialect::OpenAiChat, "throttlingException"),
        (StreamFraming::AwsPayload, Dialect::OpenAiChat, "InternalStreamFailure"),
    ] {
        let mut reframer = Reframer::new(framing, dialect, 1000);
        reframer.push(exception(kind, "no JSON").into());
        let Ok(Some(Piece::Frame(frame))) = reframer.next() else { panic!("a frame of {kind}") };
        let mut observer = Observer::new(dialect, Operation::Chat, Delivery::Stream);
        assert_eq!(observer.frame(&frame), Seen::Error, "{framing:?} {kind}");
    }
}

#[test]
fn what_is_broken_is_told() {
    let events = |stream: &[u8]| reframed(StreamFraming::AwsEvents, Dialect::BedrockConverse, stream, 7);
    let whole = event("messageStop", b"{}");
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    assert_eq!(events(&flipped).1, Some(Corrupt::Message(Malformed::MessageChecksum)));
    assert_eq!(events(&whole[..whole.len() - 1]).1, Some(Corrupt::Truncated));
    assert_eq!(events(&[whole.clone(), whole[..3].to_vec()].concat()).1, Some(Corrupt::Truncated));
    assert_eq!(events(&event("messageStop", &[b'x'; 1000])).1, Some(Corrupt::TooLarge));
    assert_eq!(events(&event("messageStop", &[b'x'; 250])), ("(277 bytes)".to_owned(), None));
    assert_eq!(events(&message(&[], b"{}")).1, Some(Corrupt::Content));
    assert_eq!(events(b"<html>not found</html>").1, Some(Corrupt::Message(Malformed::PreludeChecksum)));
    for payload in ["", "{}", r#"{"bytes":"!"}"#, r#"{"bytes":"e30"#, r#"{"bytes":"e2E"}"#] {
        let stream = event("chunk", payload.as_bytes());
        let (_, corrupt) = reframed(StreamFraming::AwsChunks, Dialect::AnthropicMessages, &stream, 7);
        assert_eq!(corrupt, Some(Corrupt::Content), "{payload}");
    }
}

#[test]
fn server_sent_events_stay_what_they_are() {
    let mut reframer = Reframer::new(StreamFraming::Sse, Dialect::OpenAiChat, 100);
    assert!(reframer.is_verbatim());
    reframer.push(Bytes::from_static(b"data: 1\n\ndata"));
    assert!(matches!(reframer.next(), Ok(Some(Piece::Frame(frame))) if frame.raw == "data: 1\n\n"));
    assert_eq!(reframer.next(), Ok(None));
    assert!(!reframer.is_verbatim());
    assert_eq!(reframer.finish(), Ok(Some(Piece::Tail(Bytes::from_static(b"data")))));
    assert!(!Reframer::new(StreamFraming::AwsPayload, Dialect::OpenAiChat, 100).is_verbatim());
}

proptest! {
    #[test]
    fn any_split_gives_the_same(size in 1_usize..200, flip in 0_usize..20_000) {
        let mut stream = [
            event("PayloadPart", b"data: 1\n\n"),
            chunk(r#"{"type":"ping"}"#),
            event("messageStart", b"{}"),
            event("PayloadPart", b"data: 2\n\ndata: 3"),
            exception("validationException", "{}"),
        ].concat();
        if let Some(byte) = stream.get_mut(flip / 8) {
            *byte ^= 1 << (flip % 8);
        }
        for framing in
            [StreamFraming::Sse, StreamFraming::AwsEvents, StreamFraming::AwsChunks, StreamFraming::AwsPayload]
        {
            let whole = reframed(framing, Dialect::OpenAiChat, &stream, stream.len());
            if framing != StreamFraming::Sse {
                prop_assert_eq!(reframed(framing, Dialect::OpenAiChat, &stream, size), whole);
            }
        }
    }
}

//! A law: the usage that an observer sees in a backend's stream is the usage that a client sees in the translated one.

#![expect(clippy::expect_used, reason = "a test may end at once")]

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tollgate_dialect::{AnswerContext, Observer, StreamTranslator, VectorEncoding};
use tollgate_terms::{Delivery, Dialect, ModelName, Operation, Usage};
use tollgate_wire::sse::{Decoder, Frame, Piece};

fn frames(stream: &[u8]) -> Vec<Frame> {
    let mut decoder = Decoder::new(1 << 20);
    decoder.push(Bytes::copy_from_slice(stream));
    let mut frames = Vec::new();
    while let Some(piece) = decoder.next() {
        if let Piece::Frame(frame) = piece {
            frames.push(frame);
        }
    }
    frames
}

/// What passes by in a stream of `dialect`, without the total, which is a sum of the rest.
fn seen(dialect: Dialect, stream: &[u8]) -> Usage {
    let mut observer = Observer::new(dialect, Operation::Chat, Delivery::Stream);
    for frame in frames(stream) {
        observer.frame(&frame);
    }
    assert!(observer.is_complete(), "the stream is whole");
    let usage = observer.usage().map(|(usage, _)| usage).unwrap_or_default();
    Usage { provider_total_tokens: None, ..usage }
}

fn translated(client: Dialect, backend: Dialect, stream: &[u8]) -> BytesMut {
    let context = AnswerContext {
        requested_model: ModelName::parse("asked").expect("a name"),
        created_s: 7,
        fallback_id: "fallback".to_owned(),
        usage_wanted: true,
        vectors: VectorEncoding::Float,
        repeated: Bytes::new(),
    };
    let mut translator = StreamTranslator::new(client, backend, context).expect("words between the two");
    let mut out = BytesMut::new();
    for frame in frames(stream) {
        translator.frame(&frame, &mut out).expect("an event");
    }
    translator.finish(&mut out).expect("an end");
    out
}

fn object(members: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    let told = members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(told.collect::<Map<_, _>>())
}

/// A number of tokens as some server may write it.
fn count() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        4 => (0..100_000_u64).prop_map(|count| Some(count.into())),
        1 => Just(Some(json!(12.0))),
        1 => Just(Some(Value::Null)),
        1 => Just(Some(json!(-1))),
        1 => Just(Some(json!("12"))),
        1 => Just(None),
    ]
}

fn openai_usage() -> impl Strategy<Value = Value> {
    // What is cached is a part of the prompt: where a server says otherwise, the other dialect has no words for it.
    let whole = (0..1000_u64, 0..1000_u64, 0..1000_u64, count(), count()).prop_map(
        |(fresh, cached, written, output, reasoning)| {
            let prompt = json!({"cached_tokens": cached, "cache_creation_input_tokens": written});
            object([
                ("prompt_tokens", Some((fresh + cached + written).into())),
                ("completion_tokens", output),
                ("prompt_tokens_details", Some(prompt)),
                ("completion_tokens_details", Some(object([("reasoning_tokens", reasoning)]))),
            ])
        },
    );
    let sparse = (count(), count(), count()).prop_map(|(prompt, completion, total)| {
        object([("prompt_tokens", prompt), ("completion_tokens", completion), ("total_tokens", total)])
    });
    let nonsense =
        prop_oneof![Just(json!({})), Just(json!({"prompt_tokens_details": 7, "prompt_tokens": 7}))];
    prop_oneof![4 => whole, 3 => sparse, 1 => nonsense]
}

fn anthropic_usage() -> impl Strategy<Value = Value> {
    let counts = (count(), count(), count(), count(), option::of(count()));
    let told = counts.prop_map(|(input, read, written, output, thinking)| {
        object([
            ("input_tokens", input),
            ("cache_read_input_tokens", read),
            ("cache_creation_input_tokens", written),
            ("output_tokens", output),
            ("output_tokens_details", thinking.map(|tokens| object([("thinking_tokens", tokens)]))),
        ])
    });
    prop_oneof![8 => told, 1 => Just(json!({"output_tokens_details": 7, "input_tokens": 7}))]
}

fn gemini_usage() -> impl Strategy<Value = Value> {
    // What is cached is a part of the prompt: where a server says otherwise, the other dialect has no words for it.
    let whole = (0..1000_u64, 0..1000_u64, count(), count(), count(), count());
    let whole = whole.prop_map(|(fresh, cached, tools, candidates, thoughts, total)| {
        object([
            ("promptTokenCount", Some((fresh + cached).into())),
            ("cachedContentTokenCount", Some(cached.into())),
            ("toolUsePromptTokenCount", tools),
            ("candidatesTokenCount", candidates),
            ("thoughtsTokenCount", thoughts),
            ("totalTokenCount", total),
        ])
    });
    let sparse = (count(), count()).prop_map(|(prompt, candidates)| {
        object([("promptTokenCount", prompt), ("candidatesTokenCount", candidates)])
    });
    prop_oneof![4 => whole, 3 => sparse, 1 => Just(json!({"trafficType": "ON_DEMAND"}))]
}

/// A stream of `generateContent` with these usages in its events.
fn gemini_stream(usages: Vec<Option<Value>>) -> String {
    let mut stream = String::new();
    for usage in usages {
        let content = json!({"role": "model", "parts": [{"text": "a"}]});
        let event = json!({"candidates": [{"content": content}], "usageMetadata": usage});
        stream += &format!("data: {event}\n\n");
    }
    stream + "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n"
}

fn responses_usage() -> impl Strategy<Value = Value> {
    let whole = (0..1000_u64, 0..1000_u64, 0..1000_u64, count(), count()).prop_map(
        |(fresh, cached, written, output, reasoning)| {
            object([
                ("input_tokens", Some((fresh + cached + written).into())),
                (
                    "input_tokens_details",
                    Some(json!({"cached_tokens": cached, "cache_write_tokens": written})),
                ),
                ("output_tokens", output),
                ("output_tokens_details", Some(object([("reasoning_tokens", reasoning)]))),
            ])
        },
    );
    let sparse = (count(), count(), count()).prop_map(|(input, output, total)| {
        object([("input_tokens", input), ("output_tokens", output), ("total_tokens", total)])
    });
    let nonsense = prop_oneof![Just(json!({})), Just(json!({"input_tokens_details": 7, "input_tokens": 7}))];
    prop_oneof![4 => whole, 3 => sparse, 1 => nonsense]
}

fn converse_usage() -> impl Strategy<Value = Value> {
    let counts = (count(), count(), count(), count(), count());
    let told = counts.prop_map(|(input, read, written, output, total)| {
        object([
            ("inputTokens", input),
            ("cacheReadInputTokens", read),
            ("cacheWriteInputTokens", written),
            ("outputTokens", output),
            ("totalTokens", total),
        ])
    });
    prop_oneof![8 => told, 1 => Just(json!({"cacheDetails": 7, "inputTokens": 7}))]
}

proptest! {
    #[test]
    fn the_usage_of_responses_is_the_same_spliced_and_translated(
        usage in option::of(responses_usage()),
        end in prop_oneof![Just("completed"), Just("incomplete")],
    ) {
        let start = json!({"type": "response.created", "response": {"id": "r", "model": "m", "output": []}});
        let response = json!({"id": "r", "model": "m", "status": end, "output": [], "usage": usage});
        let last = json!({"type": format!("response.{end}"), "response": response});
        let stream = format!("data: {start}\n\ndata: {last}\n\n");
        for client in [Dialect::OpenAiChat, Dialect::AnthropicMessages] {
            let through_hub = translated(client, Dialect::OpenAiResponses, stream.as_bytes());
            prop_assert_eq!(
                seen(client, &through_hub),
                seen(Dialect::OpenAiResponses, stream.as_bytes()),
                "{}", stream
            );
        }
    }

    #[test]
    fn converses_usage_is_the_same_spliced_and_translated(usage in option::of(converse_usage())) {
        let metadata = json!({"usage": usage, "metrics": {"latencyMs": 1}});
        let stream = format!(
            "event: messageStart\ndata: {{\"role\":\"assistant\"}}\n\n\
             event: messageStop\ndata: {{\"stopReason\":\"end_turn\"}}\n\n\
             event: metadata\ndata: {metadata}\n\n"
        );
        for client in [Dialect::OpenAiChat, Dialect::AnthropicMessages] {
            let through_hub = translated(client, Dialect::BedrockConverse, stream.as_bytes());
            prop_assert_eq!(
                seen(client, &through_hub),
                seen(Dialect::BedrockConverse, stream.as_bytes()),
                "{}", stream
            );
        }
    }

    #[test]
    fn openais_usage_is_the_same_spliced_and_translated(usages in vec(option::of(openai_usage()), 0..4)) {
        let mut stream = String::new();
        for usage in usages {
            let chunk = json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "a"}}], "usage": usage});
            stream += &format!("data: {chunk}\n\n");
        }
        stream += "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
        stream += "data: [DONE]\n\n";
        for client in [Dialect::AnthropicMessages, Dialect::OpenAiResponses] {
            let through_hub = translated(client, Dialect::OpenAiChat, stream.as_bytes());
            prop_assert_eq!(
                seen(client, &through_hub),
                seen(Dialect::OpenAiChat, stream.as_bytes()),
                "{}", stream
            );
        }
    }

    #[test]
    fn anthropics_usage_is_the_same_spliced_and_translated(
        start in option::of(anthropic_usage()),
        deltas in vec(option::of(anthropic_usage()), 1..4),
    ) {
        let start = json!({"type": "message_start", "message": {"id": "m", "model": "m", "usage": start}});
        let mut stream = format!("event: message_start\ndata: {start}\n\n");
        for usage in deltas {
            let delta = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage});
            stream += &format!("event: message_delta\ndata: {delta}\n\n");
        }
        stream += "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        for client in [Dialect::OpenAiChat, Dialect::OpenAiResponses] {
            let through_hub = translated(client, Dialect::AnthropicMessages, stream.as_bytes());
            prop_assert_eq!(
                seen(client, &through_hub),
                seen(Dialect::AnthropicMessages, stream.as_bytes()),
                "{}", stream
            );
        }
    }

    #[test]
    fn geminis_usage_is_the_same_spliced_and_translated(usages in vec(option::of(gemini_usage()), 0..4)) {
        let stream = gemini_stream(usages);
        for client in [Dialect::OpenAiChat, Dialect::AnthropicMessages] {
            let through_hub = translated(client, Dialect::Gemini, stream.as_bytes());
            prop_assert_eq!(
                seen(client, &through_hub),
                seen(Dialect::Gemini, stream.as_bytes()),
                "{}", stream
            );
        }
    }

    #[test]
    fn a_client_of_gemini_sees_openais_usage(usage in openai_usage()) {
        let chunk = json!({"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}], "usage": usage});
        let stream = format!("data: {chunk}\n\ndata: [DONE]\n\n");
        let through_hub = translated(Dialect::Gemini, Dialect::OpenAiChat, stream.as_bytes());
        // What was written to a cache has no word there, and reasoning is a part of the answer.
        let told = seen(Dialect::OpenAiChat, stream.as_bytes());
        let reasoning_tokens = told.reasoning_tokens.min(told.output_tokens);
        let told = Usage { cache_creation_input_tokens: 0, reasoning_tokens, ..told };
        prop_assert_eq!(seen(Dialect::Gemini, &through_hub), told, "{}", stream);
    }
}

/// An estimate counts the text once: as the parts of a stream have told it, or else as it stands in the whole.
#[test]
fn a_response_without_usage_tells_its_text_once() {
    let item = json!({"type": "message", "content": [{"type": "output_text", "text": "hello"}]});
    let response = json!({"id": "r", "model": "m", "status": "completed", "output": [item]});
    let mut whole = Observer::new(Dialect::OpenAiResponses, Operation::Chat, Delivery::Whole);
    whole.body(response.to_string().as_bytes());
    assert_eq!((whole.usage(), whole.output_bytes()), (None, 5));

    let delta = json!({"type": "response.output_text.delta", "delta": "hello"});
    let last = json!({"type": "response.completed", "response": response});
    let mut stream = Observer::new(Dialect::OpenAiResponses, Operation::Chat, Delivery::Stream);
    for frame in frames(format!("data: {delta}\n\ndata: {last}\n\n").as_bytes()) {
        stream.frame(&frame);
    }
    assert_eq!((stream.usage(), stream.output_bytes()), (None, 5));
}

//! What backends answer: a whole answer and a stream of many events, in each dialect.

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use tollgate_terms::{Dialect, StreamFraming};
use tollgate_wire::{event_stream, sse};

use super::transcripts::with;

/// Events of text in a stream.
pub(crate) const EVENTS: usize = 300;

const PIECE: &str = " stage and players";

/// A whole answer; `None` for dialects that say nothing to chats.
pub(crate) fn whole(dialect: Dialect) -> Option<Bytes> {
    let text = PIECE.repeat(30);
    let answer = match dialect {
        Dialect::OpenAiChat => json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_767_225_600, "model": "served",
            "choices": [{
                "index": 0, "logprobs": null, "finish_reason": "stop",
                "message": {"role": "assistant", "content": text, "refusal": null}
            }],
            "usage": {"prompt_tokens": 180, "completion_tokens": 120, "total_tokens": 300}
        }),
        Dialect::OpenAiResponses => response("completed", &[message(&text)]),
        Dialect::AnthropicMessages => json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "served",
            "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": 180, "output_tokens": 120}
        }),
        Dialect::BedrockConverse => json!({
            "output": {"message": {"role": "assistant", "content": [{"text": text}]}}, "stopReason": "end_turn",
            "usage": {"inputTokens": 180, "outputTokens": 120, "totalTokens": 300}, "metrics": {"latencyMs": 321}
        }),
        Dialect::Gemini => candidate(&text, Some("STOP")),
        _ => return None,
    };
    Some(Bytes::from(answer.to_string()))
}

/// The events of a stream, each as the bytes of one chunk.
pub(crate) fn stream(dialect: Dialect, framing: StreamFraming) -> Option<Vec<Bytes>> {
    let mut events = events(dialect)?;
    if dialect == Dialect::OpenAiChat {
        events.push((None, "[DONE]".to_owned()));
    }
    events.iter().map(|(name, data)| framed(framing, *name, data)).collect()
}

type Event = (Option<&'static str>, String);

fn framed(framing: StreamFraming, name: Option<&str>, data: &str) -> Option<Bytes> {
    let mut out = BytesMut::new();
    if framing == StreamFraming::AwsEvents {
        let headers =
            [(":message-type", "event"), (":event-type", name?), (":content-type", "application/json")];
        event_stream::encode(&mut out, &headers, data.as_bytes()).ok()?;
        return Some(out.freeze());
    }
    sse::encode(&mut out, name, data.as_bytes());
    if framing == StreamFraming::AwsPayload {
        let headers = [(":message-type", "event"), (":event-type", "PayloadPart")];
        let event = out.split();
        event_stream::encode(&mut out, &headers, &event).ok()?;
    }
    Some(out.freeze())
}

fn events(dialect: Dialect) -> Option<Vec<Event>> {
    let named = |(name, data): (&'static str, Value)| (Some(name), data.to_string());
    // Such dialects say an event's name in its data too.
    let typed =
        |(name, data): (&'static str, Value)| (Some(name), with(data, "type", json!(name)).to_string());
    let bare = |data: Value| (None, data.to_string());
    Some(match dialect {
        Dialect::OpenAiChat => openai_chat().into_iter().map(bare).collect(),
        Dialect::OpenAiResponses => openai_responses().into_iter().map(typed).collect(),
        Dialect::AnthropicMessages => anthropic_messages().into_iter().map(typed).collect(),
        Dialect::BedrockConverse => bedrock_converse().into_iter().map(named).collect(),
        Dialect::Gemini => {
            let mut events = vec![candidate(PIECE, None); EVENTS - 1];
            events.push(candidate(PIECE, Some("STOP")));
            events.into_iter().map(bare).collect()
        }
        _ => return None,
    })
}

fn openai_chat() -> Vec<Value> {
    let chunk = |delta: Value, finish: Value| {
        json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_767_225_600, "model": "served",
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]
        })
    };
    let mut events = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
    events.extend((0..EVENTS).map(|_| chunk(json!({"content": PIECE}), Value::Null)));
    events.push(chunk(json!({}), json!("stop")));
    events.push(json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_767_225_600, "model": "served", "choices": [],
        "usage": {"prompt_tokens": 180, "completion_tokens": 120, "total_tokens": 300}
    }));
    events
}

fn message(text: &str) -> Value {
    json!({
        "id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part(text)]
    })
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
}

fn response(status: &str, output: &[Value]) -> Value {
    let usage = json!({
        "input_tokens": 180, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 120,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 300
    });
    let usage = if status == "completed" { usage } else { Value::Null };
    json!({
        "id": "resp_1", "object": "response", "created_at": 1_767_225_600, "status": status, "error": null,
        "incomplete_details": null, "instructions": null, "max_output_tokens": null, "model": "served", "output": output,
        "parallel_tool_calls": true, "previous_response_id": null, "store": false, "temperature": 1.0,
        "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled",
        "usage": usage, "user": null, "metadata": {}
    })
}

fn openai_responses() -> Vec<(&'static str, Value)> {
    let text = PIECE.repeat(EVENTS);
    let begun = json!({"id": "msg_1", "type": "message", "status": "in_progress", "content": [], "role": "assistant"});
    let at = |value: Value| {
        let value = with(with(value, "item_id", json!("msg_1")), "output_index", json!(0));
        with(value, "content_index", json!(0))
    };
    let delta = at(json!({"delta": PIECE, "logprobs": []}));
    let mut events = vec![
        ("response.created", json!({"response": response("in_progress", &[])})),
        ("response.in_progress", json!({"response": response("in_progress", &[])})),
        ("response.output_item.added", json!({"output_index": 0, "item": begun})),
        ("response.content_part.added", at(json!({"part": part("")}))),
    ];
    events.extend((0..EVENTS).map(|_| ("response.output_text.delta", delta.clone())));
    events.extend([
        ("response.output_text.done", at(json!({"text": text, "logprobs": []}))),
        ("response.content_part.done", at(json!({"part": part(&text)}))),
        ("response.output_item.done", json!({"output_index": 0, "item": message(&text)})),
        ("response.completed", json!({"response": response("completed", &[message(&text)])})),
    ]);
    let numbered = |(number, (name, event))| (name, with(event, "sequence_number", json!(number)));
    events.into_iter().enumerate().map(numbered).collect()
}

fn anthropic_messages() -> Vec<(&'static str, Value)> {
    let begun = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "served", "content": [], "stop_reason": null,
        "stop_sequence": null, "usage": {"input_tokens": 180, "output_tokens": 1}
    });
    let delta = json!({"index": 0, "delta": {"type": "text_delta", "text": PIECE}});
    let mut events = vec![
        ("message_start", json!({"message": begun})),
        ("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}})),
    ];
    events.extend((0..EVENTS).map(|_| ("content_block_delta", delta.clone())));
    let stop = json!({"stop_reason": "end_turn", "stop_sequence": null});
    events.extend([
        ("content_block_stop", json!({"index": 0})),
        ("message_delta", json!({"delta": stop, "usage": {"output_tokens": 120}})),
        ("message_stop", json!({})),
    ]);
    events
}

fn bedrock_converse() -> Vec<(&'static str, Value)> {
    let delta = json!({"contentBlockIndex": 0, "delta": {"text": PIECE}, "p": "abcdefg"});
    let usage = json!({"inputTokens": 180, "outputTokens": 120, "totalTokens": 300});
    let mut events = vec![("messageStart", json!({"role": "assistant", "p": "abcd"}))];
    events.extend((0..EVENTS).map(|_| ("contentBlockDelta", delta.clone())));
    events.extend([
        ("contentBlockStop", json!({"contentBlockIndex": 0, "p": "abcdefghijklm"})),
        ("messageStop", json!({"stopReason": "end_turn", "p": "abc"})),
        ("metadata", json!({"usage": usage, "metrics": {"latencyMs": 321}, "p": "abcdefg"})),
    ]);
    events
}

fn candidate(text: &str, finish: Option<&str>) -> Value {
    let candidate = json!({"index": 0, "content": {"role": "model", "parts": [{"text": text}]}});
    let candidate = finish.map_or(candidate.clone(), |finish| with(candidate, "finishReason", json!(finish)));
    json!({
        "candidates": [candidate], "modelVersion": "served", "responseId": "r1",
        "usageMetadata": {"promptTokenCount": 180, "candidatesTokenCount": 120, "totalTokenCount": 300}
    })
}

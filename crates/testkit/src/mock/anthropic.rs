//! Messages.
//!
//! Source: `anthropic.types`.

use serde_json::{Value, json};

use super::ask::Ask;
use super::fault;
use super::place::Provider;
use super::reply::Reply;
use super::said::{SIGNATURE, Said};
use super::shared::event;

/// Answers `/messages`.
pub(super) fn messages(ask: &Ask, json: &Value) -> Reply {
    if json.get("max_tokens").and_then(Value::as_u64).is_none_or(|tokens| tokens == 0) {
        return fault::error(400, Provider::Anthropic, "invalid_request_error", "max_tokens: Field required");
    }
    let said = Said::to(ask);
    if ask.streams { Reply::events(stream(ask, &said)) } else { Reply::json(200, &whole(ask, &said)) }
}

/// Answers `/messages/count_tokens`.
pub(super) fn count_tokens(ask: &Ask) -> Reply {
    Reply::json(200, &json!({"input_tokens": ask.words}))
}

fn usage(said: &Said) -> Value {
    json!({
        "input_tokens": said.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": said.output_tokens,
        "service_tier": "standard",
    })
}

fn stop_reason(said: &Said) -> &'static str {
    if said.calls.is_empty() { "end_turn" } else { "tool_use" }
}

fn whole(ask: &Ask, said: &Said) -> Value {
    let mut content = Vec::new();
    if let Some(thinking) = said.thinking {
        content.push(json!({"type": "thinking", "thinking": thinking, "signature": SIGNATURE}));
    }
    if let Some(text) = &said.text {
        content.push(json!({"type": "text", "text": text, "citations": null}));
    }
    for (id, name, input) in &said.calls {
        content.push(json!({"type": "tool_use", "id": id, "name": name, "input": input}));
    }
    json!({
        "id": "msg_mock",
        "type": "message",
        "role": "assistant",
        "model": ask.served_model(),
        "content": content,
        "stop_reason": stop_reason(said),
        "stop_sequence": null,
        "usage": usage(said),
    })
}

fn stream(ask: &Ask, said: &Said) -> Vec<String> {
    let mut begun = whole(ask, said);
    begun["content"] = json!([]);
    begun["stop_reason"] = Value::Null;
    begun["usage"]["output_tokens"] = json!(1);
    let mut frames = vec![event("message_start", &json!({"type": "message_start", "message": begun}))];
    let mut index = 0;
    let mut block = |start: Value, deltas: Vec<Value>| {
        let mut of_block = vec![event(
            "content_block_start",
            &json!({"type": "content_block_start", "index": index, "content_block": start}),
        )];
        if index == 0 {
            of_block.push(event("ping", &json!({"type": "ping"})));
        }
        for delta in deltas {
            of_block.push(event(
                "content_block_delta",
                &json!({"type": "content_block_delta", "index": index, "delta": delta}),
            ));
        }
        of_block.push(event("content_block_stop", &json!({"type": "content_block_stop", "index": index})));
        index += 1;
        frames.extend(of_block);
    };
    if let Some(thinking) = said.thinking {
        let pieces = Said::pieces(thinking).into_iter();
        let mut deltas: Vec<Value> =
            pieces.map(|piece| json!({"type": "thinking_delta", "thinking": piece})).collect();
        deltas.push(json!({"type": "signature_delta", "signature": SIGNATURE}));
        block(json!({"type": "thinking", "thinking": "", "signature": ""}), deltas);
    }
    if let Some(text) = &said.text {
        let deltas = Said::pieces(text).into_iter().map(|piece| json!({"type": "text_delta", "text": piece}));
        block(json!({"type": "text", "text": ""}), deltas.collect());
    }
    for (id, name, input) in &said.calls {
        let fragments = Said::fragments(input).into_iter();
        let deltas = fragments.map(|fragment| json!({"type": "input_json_delta", "partial_json": fragment}));
        block(json!({"type": "tool_use", "id": id, "name": name, "input": {}}), deltas.collect());
    }
    let delta = json!({"stop_reason": stop_reason(said), "stop_sequence": null});
    let ended =
        json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": said.output_tokens}});
    frames.push(event("message_delta", &ended));
    frames.push(event("message_stop", &json!({"type": "message_stop"})));
    frames
}

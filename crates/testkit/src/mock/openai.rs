//! Chat completions.
//!
//! Source: `openai.types.chat`.

use serde_json::{Value, json};

use super::ask::Ask;
use super::reply::Reply;
use super::said::Said;
use super::shared::data;

const ID: &str = "chatcmpl-mock";
const CREATED: u64 = 1_767_225_600;

/// Answers `/chat/completions`.
pub(super) fn chat(ask: &Ask, json: &Value) -> Reply {
    let said = Said::to(ask);
    if !ask.streams {
        return Reply::json(200, &whole(ask, &said));
    }
    let usage_wanted = json["stream_options"]["include_usage"] == true;
    Reply::events(stream(ask, &said, usage_wanted))
}

fn usage(said: &Said) -> Value {
    json!({
        "prompt_tokens": said.input_tokens,
        "completion_tokens": said.output_tokens,
        "total_tokens": said.input_tokens + said.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}

fn finish_reason(said: &Said) -> &'static str {
    if said.calls.is_empty() { "stop" } else { "tool_calls" }
}

fn whole(ask: &Ask, said: &Said) -> Value {
    let calls: Vec<Value> = said
        .calls
        .iter()
        .map(|(id, name, input)| {
            json!({"id": id, "type": "function", "function": {"name": name, "arguments": input.to_string()}})
        })
        .collect();
    let mut message = json!({"role": "assistant", "content": said.text, "refusal": null, "annotations": []});
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    json!({
        "id": ID,
        "object": "chat.completion",
        "created": CREATED,
        "model": ask.served_model(),
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(said)}],
        "usage": usage(said),
        "service_tier": "default",
        "system_fingerprint": "fp_mock",
    })
}

fn stream(ask: &Ask, said: &Said, usage_wanted: bool) -> Vec<String> {
    let chunk = |choices: Value, usage: Option<Value>| {
        let mut chunk = json!({
            "id": ID,
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": ask.served_model(),
            "service_tier": "default",
            "system_fingerprint": "fp_mock",
            "choices": choices,
        });
        if usage_wanted {
            chunk["usage"] = usage.unwrap_or_default();
        }
        data(&chunk)
    };
    let delta = |delta: Value, finish_reason: Option<&str>| {
        chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}]), None)
    };
    let mut frames = vec![delta(json!({"role": "assistant", "content": "", "refusal": null}), None)];
    for piece in Said::pieces(said.text.as_deref().unwrap_or_default()) {
        frames.push(delta(json!({"content": piece}), None));
    }
    for (index, (id, name, input)) in said.calls.iter().enumerate() {
        let call = json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}});
        frames.push(delta(json!({"tool_calls": [call]}), None));
        for fragment in Said::fragments(input) {
            let call = json!({"index": index, "function": {"arguments": fragment}});
            frames.push(delta(json!({"tool_calls": [call]}), None));
        }
    }
    frames.push(delta(json!({}), Some(finish_reason(said))));
    if usage_wanted {
        frames.push(chunk(json!([]), Some(usage(said))));
    }
    frames.push("data: [DONE]\n\n".to_owned());
    frames
}

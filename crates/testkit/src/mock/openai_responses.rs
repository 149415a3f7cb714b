//! Responses.
//!
//! Source: `openai.types.responses`.

use serde_json::{Value, json};

use super::ask::Ask;
use super::reply::Reply;
use super::said::Said;
use super::shared::event;

/// Answers `/responses`.
pub(super) fn responses(ask: &Ask, json: &Value) -> Reply {
    let said = Said::to(ask);
    let items = items(&said);
    let whole = whole(ask, json, &said, &items);
    if !ask.streams {
        return Reply::json(200, &whole);
    }
    Reply::events(stream(&said, &items, &whole))
}

/// Answers `/responses/input_tokens`.
pub(super) fn input_tokens(ask: &Ask) -> Reply {
    Reply::json(200, &json!({"object": "response.input_tokens", "input_tokens": ask.words}))
}

fn items(said: &Said) -> Vec<Value> {
    let message = said.text.iter().map(|text| {
        json!({
            "id": "msg_mock",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}],
        })
    });
    let calls = said.calls.iter().map(|(id, name, input)| {
        json!({
            "id": format!("fc_{id}"),
            "type": "function_call",
            "status": "completed",
            "call_id": id,
            "name": name,
            "arguments": input.to_string(),
        })
    });
    message.chain(calls).collect()
}

fn whole(ask: &Ask, json: &Value, said: &Said, items: &[Value]) -> Value {
    let or = |key: &str, value: Value| json.get(key).cloned().unwrap_or(value);
    json!({
        "id": "resp_mock",
        "object": "response",
        "created_at": 1_767_225_600,
        "status": "completed",
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "max_output_tokens": null,
        "model": ask.served_model(),
        "output": items,
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null},
        "store": false,
        "temperature": 1.0,
        "text": or("text", json!({"format": {"type": "text"}})),
        "tool_choice": or("tool_choice", json!("auto")),
        "tools": or("tools", json!([])),
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": said.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": said.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": said.input_tokens + said.output_tokens,
        },
        "user": null,
        "metadata": {},
    })
}

fn stream(said: &Said, items: &[Value], whole: &Value) -> Vec<String> {
    let mut begun = whole.clone();
    begun["status"] = json!("in_progress");
    begun["output"] = json!([]);
    begun["usage"] = Value::Null;
    let mut events: Vec<(&str, Value)> = vec![
        ("response.created", json!({"response": begun})),
        ("response.in_progress", json!({"response": begun})),
    ];
    for (index, item) in items.iter().enumerate() {
        let mut added = item.clone();
        added["status"] = json!("in_progress");
        let id = &item["id"];
        if item["type"] == "message" {
            added["content"] = json!([]);
            events.push(("response.output_item.added", json!({"output_index": index, "item": added})));
            let text = said.text.as_deref().unwrap_or_default();
            let place = json!({"item_id": id, "output_index": index, "content_index": 0});
            let part = json!({"type": "output_text", "text": "", "annotations": [], "logprobs": []});
            events.push(("response.content_part.added", with(&place, json!({"part": part}))));
            for piece in Said::pieces(text) {
                events.push((
                    "response.output_text.delta",
                    with(&place, json!({"delta": piece, "logprobs": []})),
                ));
            }
            events.push(("response.output_text.done", with(&place, json!({"text": text, "logprobs": []}))));
            events.push(("response.content_part.done", with(&place, json!({"part": item["content"][0]}))));
        } else {
            added["arguments"] = json!("");
            events.push(("response.output_item.added", json!({"output_index": index, "item": added})));
            let place = json!({"item_id": id, "output_index": index});
            let arguments = &item["arguments"];
            events
                .push(("response.function_call_arguments.delta", with(&place, json!({"delta": arguments}))));
            let done = json!({"arguments": arguments, "name": item["name"]});
            events.push(("response.function_call_arguments.done", with(&place, done)));
        }
        events.push(("response.output_item.done", json!({"output_index": index, "item": item})));
    }
    events.push(("response.completed", json!({"response": whole})));
    let numbered = events.into_iter().enumerate();
    numbered
        .map(|(number, (name, value))| {
            event(name, &with(&json!({"type": name, "sequence_number": number}), value))
        })
        .collect()
}

/// The members of both objects.
fn with(one: &Value, other: Value) -> Value {
    let mut both = one.clone();
    if let (Some(both), Value::Object(other)) = (both.as_object_mut(), other) {
        both.extend(other);
    }
    both
}

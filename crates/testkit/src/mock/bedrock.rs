//! Converse, and the counting of tokens.
//!
//! Source: botocore, `bedrock-runtime` service model, `ConverseRequest`, `ConverseResponse` and `ConverseStreamOutput`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::ask::Ask;
use super::aws::{self, event};
use super::reply::Reply;
use super::said::{SIGNATURE, Said};
use super::shared::json_of_base64;

/// Members of a request. The model is in the path.
const MEMBERS: [&str; 13] = [
    "messages",
    "system",
    "inferenceConfig",
    "toolConfig",
    "guardrailConfig",
    "projectIdentifier",
    "additionalModelRequestFields",
    "promptVariables",
    "additionalModelResponseFieldPaths",
    "requestMetadata",
    "performanceConfig",
    "serviceTier",
    "outputConfig",
];

/// Answers `converse`.
pub(super) fn converse(ask: &Ask, json: &Value) -> Reply {
    refusal(json).unwrap_or_else(|| {
        Reply::json(200, &whole(&Said::to(ask))).with_header("x-amzn-requestid", "req-mock")
    })
}

/// Answers `converse-stream`.
pub(super) fn converse_stream(ask: &Ask, json: &Value) -> Reply {
    refusal(json).unwrap_or_else(|| {
        Reply::frames(aws::EVENT_STREAM, stream(&Said::to(ask))).with_header("x-amzn-requestid", "req-mock")
    })
}

/// Answers `count-tokens`, which takes a request of Converse or the body of one of InvokeModel.
pub(super) fn count_tokens(json: &Value, model: &str) -> Reply {
    let input = &json["input"];
    if let Some(body) = input["invokeModel"]["body"].as_str() {
        return match json_of_base64(body) {
            Some(body) => Reply::json(200, &json!({"inputTokens": Ask::read(&body, model).words})),
            None => invalid("The body is no JSON in base64."),
        };
    }
    let asked = &input["converse"];
    let known = ["messages", "system", "toolConfig", "additionalModelRequestFields"];
    if let Some(stranger) = stranger(asked, &known) {
        return invalid(&format!("Malformed input request: #: extraneous key [{stranger}] is not permitted"));
    }
    Reply::json(200, &json!({"inputTokens": Ask::read(&plain(asked), model).words}))
}

fn invalid(message: &str) -> Reply {
    aws::error(400, "ValidationException", message)
}

fn stranger<'a>(json: &'a Value, known: &[&str]) -> Option<&'a str> {
    let members = json.as_object()?;
    members.keys().map(String::as_str).find(|key| !known.contains(key))
}

fn refusal(json: &Value) -> Option<Reply> {
    if let Some(stranger) = stranger(json, &MEMBERS) {
        let message = format!("Malformed input request: #: extraneous key [{stranger}] is not permitted");
        return Some(invalid(&message));
    }
    let messages = json["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    if messages.first().is_none_or(|first| first["role"] != "user") {
        return Some(invalid(
            "A conversation must start with a user message. Try again with a conversation that starts with a user message.",
        ));
    }
    let mut blocks = messages.iter().flat_map(|message| message["content"].as_array().into_iter().flatten());
    let speaks_of_tools = blocks.any(|block| block.get("toolUse").or(block.get("toolResult")).is_some());
    if speaks_of_tools && json.get("toolConfig").is_none() {
        return Some(invalid(
            "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
        ));
    }
    None
}

/// A request in the words that [`Ask`] reads.
pub(super) fn plain(json: &Value) -> Value {
    let mut plain = json!({"messages": json["messages"], "system": json["system"]});
    let messages = plain["messages"].as_array_mut().into_iter().flatten();
    for block in messages.flat_map(|message| message["content"].as_array_mut().into_iter().flatten()) {
        if let Some(result) = block.get("toolResult") {
            *block = json!({"type": "tool_result", "content": result["content"]});
        }
    }
    let tools = json["toolConfig"]["tools"].as_array().into_iter().flatten();
    let tools: Vec<Value> = tools.filter_map(|tool| tool.get("toolSpec")).cloned().collect();
    if !tools.is_empty() {
        plain["tools"] = tools.into();
    }
    if let Some(choice) = json["toolConfig"]["toolChoice"].as_object() {
        plain["tool_choice"] = json!({"type": choice.keys().next()});
    }
    plain["thinking"] = json["additionalModelRequestFields"]["thinking"].clone();
    let schema = json["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"].as_str();
    if let Some(schema) = schema.and_then(|schema| serde_json::from_str::<Value>(schema).ok()) {
        plain["output_config"] = json!({"format": {"schema": schema}});
    }
    plain
}

fn stop_reason(said: &Said) -> &'static str {
    if said.calls.is_empty() { "end_turn" } else { "tool_use" }
}

fn usage(said: &Said) -> Value {
    json!({
        "inputTokens": said.input_tokens,
        "outputTokens": said.output_tokens,
        "totalTokens": said.input_tokens + said.output_tokens,
        "cacheReadInputTokens": 0,
        "cacheWriteInputTokens": 0,
    })
}

fn whole(said: &Said) -> Value {
    let mut content = Vec::new();
    if let Some(thinking) = said.thinking {
        content
            .push(json!({"reasoningContent": {"reasoningText": {"text": thinking, "signature": SIGNATURE}}}));
    }
    content.extend(said.text.iter().map(|text| json!({"text": text})));
    for (id, name, input) in &said.calls {
        content.push(json!({"toolUse": {"toolUseId": id, "name": name, "input": input}}));
    }
    json!({
        "metrics": {"latencyMs": 7},
        "output": {"message": {"content": content, "role": "assistant"}},
        "stopReason": stop_reason(said),
        "usage": usage(said),
    })
}

/// Only calls have an event for their start; texts and reasoning begin with their first piece.
fn stream(said: &Said) -> Vec<Bytes> {
    let told = |kind: &str, mut payload: Value| {
        // Padding, so that the length of an event tells nothing of its text.
        payload["p"] = json!("abcdefgh");
        event(kind, payload.to_string())
    };
    let mut frames = vec![told("messageStart", json!({"role": "assistant"}))];
    let mut index = 0;
    let mut block = |start: Option<Value>, deltas: Vec<Value>| {
        if let Some(start) = start {
            frames.push(told("contentBlockStart", json!({"contentBlockIndex": index, "start": start})));
        }
        for delta in deltas {
            frames.push(told("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta})));
        }
        frames.push(told("contentBlockStop", json!({"contentBlockIndex": index})));
        index += 1;
    };
    if let Some(thinking) = said.thinking {
        let mut deltas: Vec<Value> =
            Said::pieces(thinking).iter().map(|piece| json!({"reasoningContent": {"text": piece}})).collect();
        deltas.push(json!({"reasoningContent": {"signature": SIGNATURE}}));
        block(None, deltas);
    }
    if let Some(text) = &said.text {
        block(None, Said::pieces(text).iter().map(|piece| json!({"text": piece})).collect());
    }
    for (id, name, input) in &said.calls {
        let deltas =
            Said::fragments(input).iter().map(|fragment| json!({"toolUse": {"input": fragment}})).collect();
        block(Some(json!({"toolUse": {"name": name, "toolUseId": id}})), deltas);
    }
    frames.push(told("messageStop", json!({"stopReason": stop_reason(said)})));
    frames.push(told("metadata", json!({"metrics": {"latencyMs": 7}, "usage": usage(said)})));
    frames
}

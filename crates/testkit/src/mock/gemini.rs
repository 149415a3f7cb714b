//! Gemini: `generateContent`, `streamGenerateContent` and `countTokens`, on Vertex AI and with a key.
//!
//! Source: `google.genai.types` and `google.genai.models`.

use serde_json::{Value, json};

use super::ask::{Ask, count_words};
use super::google;
use super::reply::Reply;
use super::said::{SIGNATURE, Said};
use super::shared::data;

/// Members of a request, in the spelling of the REST API.
const MEMBERS: [&str; 9] = [
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "safetySettings",
    "generationConfig",
    "cachedContent",
    "labels",
    "model",
];

/// Answers the action at the end of a path.
pub(super) fn gemini(action: &str, query: &str, ask: &Ask, json: &Value) -> Reply {
    if action == "countTokens" {
        return Reply::json(200, &json!({"totalTokens": ask.words}));
    }
    let stranger = json.as_object().and_then(|members| {
        members.keys().find(|member| !MEMBERS.contains(&member.as_str()) && !member.contains('_'))
    });
    if let Some(stranger) = stranger {
        return google::error(
            400,
            &format!("Invalid JSON payload received. Unknown name \"{stranger}\": Cannot find field."),
        );
    }
    if json["contents"].as_array().is_none_or(Vec::is_empty) {
        return google::error(400, "* GenerateContentRequest.contents: contents is not specified");
    }
    let said = Said::to(ask);
    match action {
        "generateContent" => Reply::json(200, &whole(ask, &said)),
        // Without this the stream would be one long array.
        "streamGenerateContent" if query.contains("alt=sse") => Reply::events(stream(ask, &said)),
        _ => google::error(404, &format!("no such method: {action}")),
    }
}

/// A request in the words that [`Ask`] reads.
pub(super) fn plain(json: &Value) -> Value {
    // A count of more than contents has the whole request within.
    let json = json.get("generateContentRequest").unwrap_or(json);
    let parts = |content: &Value| -> Vec<Value> {
        let parts = content["parts"].as_array().into_iter().flatten();
        parts
            .map(|part| match part.get("functionResponse") {
                Some(_) => json!({"type": "tool_result"}),
                None => json!({"text": part["text"]}),
            })
            .collect()
    };
    let contents = json["contents"].as_array().into_iter().flatten();
    let messages: Vec<Value> =
        contents.map(|content| json!({"role": content["role"], "content": parts(content)})).collect();
    let mut plain = json!({"messages": messages, "system": parts(&json["systemInstruction"])});
    let tools = json["tools"].as_array().into_iter().flatten();
    let tools: Vec<Value> = tools
        .flat_map(|tool| tool["functionDeclarations"].as_array().into_iter().flatten())
        .cloned()
        .collect();
    if !tools.is_empty() {
        plain["tools"] = tools.into();
    }
    if json["toolConfig"]["functionCallingConfig"]["mode"] == "ANY" {
        plain["tool_choice"] = json!({"type": "any"});
    }
    let config = &json["generationConfig"];
    if config["thinkingConfig"]["includeThoughts"] == true {
        plain["thinking"] = json!({"type": "enabled"});
    }
    if let Some(schema) = config.get("responseJsonSchema").or(config.get("responseSchema")) {
        plain["output_config"] = json!({"format": {"schema": schema}});
    }
    plain
}

/// What is thought counts apart from what is said.
fn usage(said: &Said) -> Value {
    let mut usage = json!({
        "promptTokenCount": said.input_tokens,
        "candidatesTokenCount": said.output_tokens,
        "totalTokenCount": said.input_tokens + said.output_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": said.input_tokens}],
    });
    if let Some(thinking) = said.thinking {
        let thoughts = count_words(thinking);
        usage["candidatesTokenCount"] = json!(said.output_tokens - thoughts);
        usage["thoughtsTokenCount"] = json!(thoughts);
    }
    usage
}

/// One piece of an answer; with a finish reason, the last.
fn piece(ask: &Ask, parts: &[Value], finish_reason: Option<&str>, usage: &Value) -> Value {
    let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
    if let Some(finish_reason) = finish_reason {
        candidate["finishReason"] = json!(finish_reason);
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": ask.served_model(),
        "responseId": "gemini-mock",
    })
}

/// Calls come whole, in streams as well; the first has the signature of what was thought before.
fn calls(said: &Said) -> Vec<Value> {
    let call =
        |(_, name, input): &(String, String, Value)| json!({"functionCall": {"name": name, "args": input}});
    let mut calls: Vec<Value> = said.calls.iter().map(call).collect();
    if let Some(first) = calls.first_mut() {
        first["thoughtSignature"] = json!(SIGNATURE);
    }
    calls
}

fn whole(ask: &Ask, said: &Said) -> Value {
    let thinking = said.thinking.map(|thinking| json!({"text": thinking, "thought": true}));
    let text = said.text.as_ref().map(|text| json!({"text": text}));
    let parts: Vec<Value> = thinking.into_iter().chain(text).chain(calls(said)).collect();
    piece(ask, &parts, Some("STOP"), &usage(said))
}

fn stream(ask: &Ask, said: &Said) -> Vec<String> {
    // Until the end, the usage tells the prompt alone.
    let begun = json!({"promptTokenCount": said.input_tokens, "totalTokenCount": said.input_tokens});
    let mut parts: Vec<Value> = Vec::new();
    for thought in Said::pieces(said.thinking.unwrap_or_default()) {
        parts.push(json!({"text": thought, "thought": true}));
    }
    for text in Said::pieces(said.text.as_deref().unwrap_or_default()) {
        parts.push(json!({"text": text}));
    }
    parts.extend(calls(said));
    let mut frames: Vec<String> =
        parts.into_iter().map(|part| data(&piece(ask, &[part], None, &begun))).collect();
    frames.push(data(&piece(ask, &[json!({"text": ""})], Some("STOP"), &usage(said))));
    frames
}

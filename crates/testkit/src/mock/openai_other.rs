//! OpenAI's other operations, and rerank and tokenize, which others define.
//!
//! Source: `openai.types`, `cohere.types`, vLLM's OpenAI-compatible server.

use bytes::Bytes;
use hyper::HeaderMap;
use serde_json::{Value, json};

use super::ask::{Ask, count_words};
use super::place::Place;
use super::reply::Reply;
use super::said::Said;
use super::shared::{base64, data};

/// Numbers of an embedding.
pub(super) const VECTOR: [f32; 4] = [0.25, -0.5, 0.75, 1.0];

/// Answers `/completions`.
pub(super) fn completions(ask: &Ask, json: &Value) -> Reply {
    let said = Said::to(ask);
    let text = said.text.unwrap_or_default();
    let usage = json!({
        "prompt_tokens": said.input_tokens,
        "completion_tokens": said.output_tokens,
        "total_tokens": said.input_tokens + said.output_tokens,
    });
    let chunk = |text: &str, finish_reason: Option<&str>| {
        let choice = json!({"index": 0, "text": text, "logprobs": null, "finish_reason": finish_reason});
        json!({
            "id": "cmpl-mock",
            "object": "text_completion",
            "created": 1_767_225_600,
            "model": ask.served_model(),
            "choices": [choice],
        })
    };
    if !ask.streams {
        let mut whole = chunk(&text, Some("stop"));
        whole["usage"] = usage;
        return Reply::json(200, &whole);
    }
    let mut frames: Vec<String> = Said::pieces(&text).iter().map(|piece| data(&chunk(piece, None))).collect();
    frames.push(data(&chunk("", Some("stop"))));
    if json["stream_options"]["include_usage"] == true {
        let mut last = chunk("", None);
        last["choices"] = json!([]);
        last["usage"] = usage;
        frames.push(data(&last));
    }
    frames.push("data: [DONE]\n\n".to_owned());
    Reply::events(frames)
}

/// Answers `/embeddings`.
pub(super) fn embeddings(ask: &Ask, json: &Value) -> Reply {
    let count = match &json["input"] {
        Value::Array(items) if items.iter().all(|item| item.is_string() || item.is_array()) => items.len(),
        _ => 1,
    };
    let bytes: Vec<u8> = VECTOR.iter().flat_map(|number| number.to_le_bytes()).collect();
    let is_packed = json["encoding_format"] == "base64";
    let vector = if is_packed { json!(base64(&bytes)) } else { json!(VECTOR) };
    let data: Vec<Value> =
        (0..count).map(|index| json!({"object": "embedding", "index": index, "embedding": vector})).collect();
    let usage = json!({"prompt_tokens": ask.words, "total_tokens": ask.words});
    let list = json!({"object": "list", "data": data, "model": ask.served_model(), "usage": usage});
    Reply::json(200, &list)
}

/// Answers `/images/generations`.
pub(super) fn images(ask: &Ask) -> Reply {
    // One transparent pixel.
    let pixel =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let usage = json!({
        "input_tokens": ask.words,
        "output_tokens": 10,
        "total_tokens": ask.words + 10,
        "input_tokens_details": {"text_tokens": ask.words, "image_tokens": 0},
    });
    Reply::json(200, &json!({"created": 1_767_225_600, "data": [{"b64_json": pixel}], "usage": usage}))
}

/// Answers `/audio/speech`.
pub(super) fn speech() -> Reply {
    Reply::whole(200, "audio/mpeg", &b"ID3\x04\x00\x00\x00\x00\x00\x00not really music"[..])
}

/// Answers `/audio/transcriptions` and `/audio/translations`.
pub(super) fn transcription(body: &Bytes) -> Reply {
    let usage = json!({
        "type": "tokens",
        "input_tokens": 14,
        "output_tokens": 4,
        "total_tokens": 18,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
    });
    let is_streamed = String::from_utf8_lossy(body).contains("name=\"stream\"\r\n\r\ntrue");
    if is_streamed {
        let delta = |delta: &str| data(&json!({"type": "transcript.text.delta", "delta": delta}));
        let done = data(&json!({"type": "transcript.text.done", "text": "What was said.", "usage": usage}));
        return Reply::events(vec![delta("What "), delta("was "), delta("said."), done]);
    }
    Reply::json(200, &json!({"text": "What was said.", "usage": usage}))
}

/// Answers `/rerank`.
pub(super) fn rerank(json: &Value) -> Reply {
    let count = json["documents"].as_array().map_or(0, Vec::len);
    let score = |index: usize| 1.0 / (index + 1) as f64;
    let results: Vec<Value> =
        (0..count).map(|index| json!({"index": index, "relevance_score": score(index)})).collect();
    let meta = json!({
        "api_version": {"version": "2"},
        "billed_units": {"search_units": 1},
        "tokens": {"input_tokens": 20, "output_tokens": 0},
    });
    Reply::json(200, &json!({"id": "rerank-mock", "results": results, "meta": meta}))
}

/// Answers `/tokenize`.
pub(super) fn tokenize(json: &Value) -> Reply {
    let count = json["prompt"].as_str().map_or(3, count_words);
    let tokens: Vec<u64> = (0..count).collect();
    Reply::json(200, &json!({"count": count, "max_model_len": 4096, "tokens": tokens, "token_strs": null}))
}

/// Answers `/models`.
pub(super) fn models() -> Reply {
    let model = json!({"id": "mock", "object": "model", "created": 1_767_225_600, "owned_by": "mock"});
    Reply::json(200, &json!({"object": "list", "data": [model]}))
}

/// Refuses a request to Azure that has no key or token, or does not say which version of the API it means.
pub(super) fn azure_refusal(headers: &HeaderMap, query: Option<&str>, place: &Place<'_>) -> Option<Reply> {
    if headers.get("api-key").or(headers.get("authorization")).is_none() {
        let message = "Access denied due to invalid subscription key or wrong API endpoint.";
        return Some(Reply::json(401, &json!({"error": {"code": "401", "message": message}})));
    }
    let has_version = query.is_some_and(|query| query.contains("api-version="));
    if place.model.is_some() && !has_version {
        return Some(Reply::json(404, &json!({"error": {"code": "404", "message": "Resource not found"}})));
    }
    None
}

//! Models behind an operation that knows nothing of them: Bedrock's InvokeModel, SageMaker's endpoints, Vertex AI's rawPredict. What
//! is said inside is the dialect of the model's maker.
//!
//! Source: botocore, `bedrock-runtime` and `sagemaker-runtime` service models; the Bedrock and Vertex clients of the `anthropic`
//! package; Bedrock's user guide, "Amazon Titan Embeddings Text" and "Cohere Embed models".

use bytes::Bytes;
use serde_json::{Value, json};

use super::ask::{Ask, count_words};
use super::openai_other::VECTOR;
use super::place::Provider;
use super::reply::Reply;
use super::said::Said;
use super::shared::base64;
use super::{anthropic, aws, fault, openai, openai_other};

/// Members that are named in the path or by the operation, and refused in a body.
const ELSEWHERE: [&str; 2] = ["model", "stream"];

/// Answers Bedrock's `invoke` and `invoke-with-response-stream`.
pub(super) fn bedrock(ask: &Ask, json: &Value) -> Reply {
    if let Some(text) = json["inputText"].as_str() {
        return counted(Reply::json(200, &titan(text)), count_words(text), 0);
    }
    if json.get("texts").is_some() {
        return cohere(json);
    }
    if let Some(message) = wrong_claude(json, "bedrock-2023-05-31", &ELSEWHERE) {
        return aws::error(400, "ValidationException", &message);
    }
    let Said { input_tokens, output_tokens, .. } = Said::to(ask);
    let metrics = json!({
        "inputTokenCount": input_tokens,
        "outputTokenCount": output_tokens,
        "invocationLatency": 7,
        "firstByteLatency": 3,
    });
    let reply = anthropic::messages(ask, json)
        .rewrapped(aws::EVENT_STREAM, |events| events.iter().map(|event| chunk(event, &metrics)).collect());
    if ask.streams { reply } else { counted(reply, input_tokens, output_tokens) }
}

/// An event of the model's own stream: its JSON in base64. To the last one Bedrock adds what it has measured.
fn chunk(sse: &[u8], metrics: &Value) -> Bytes {
    let mut data = data_of(sse);
    if data["type"] == "message_stop" {
        data["amazon-bedrock-invocationMetrics"] = metrics.clone();
    }
    let payload = json!({"bytes": base64(data.to_string().as_bytes()), "p": "abcdefgh"});
    aws::event("chunk", payload.to_string())
}

fn data_of(sse: &[u8]) -> Value {
    let text = String::from_utf8_lossy(sse);
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
    serde_json::from_str(data).unwrap_or_default()
}

/// The version that newer clients name at every cloud: that of the maker's own API.
const ANTHROPIC_VERSION: &str = "2026-10-21";

fn wrong_claude(json: &Value, version: &str, refused: &[&str]) -> Option<String> {
    if json["anthropic_version"] != version && json["anthropic_version"] != ANTHROPIC_VERSION {
        return Some(format!("anthropic_version: Input should be '{version}'"));
    }
    let stranger = refused.iter().find(|member| json.get(**member).is_some());
    stranger.map(|member| format!("{member}: Extra inputs are not permitted"))
}

fn titan(text: &str) -> Value {
    json!({"embedding": VECTOR, "embeddingsByType": {"float": VECTOR}, "inputTextTokenCount": count_words(text)})
}

fn cohere(json: &Value) -> Reply {
    if json["input_type"].as_str().is_none() {
        return aws::error(
            400,
            "ValidationException",
            "Malformed input request: #: required key [input_type] not found",
        );
    }
    let texts: Vec<&str> = json["texts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let vectors: Vec<Value> = texts.iter().map(|_| json!(VECTOR)).collect();
    let is_by_type = json.get("embedding_types").is_some();
    let (kind, embeddings) = if is_by_type {
        ("embeddings_by_type", json!({"float": vectors}))
    } else {
        ("embeddings_floats", json!(vectors))
    };
    let words = texts.iter().map(|text| count_words(text)).sum();
    let body = json!({"id": "embed-mock", "texts": texts, "response_type": kind, "embeddings": embeddings});
    counted(Reply::json(200, &body), words, 0)
}

/// A whole answer with the counts that Bedrock writes in its head.
fn counted(reply: Reply, input: u64, output: u64) -> Reply {
    reply
        .with_header("x-amzn-bedrock-input-token-count", input.to_string())
        .with_header("x-amzn-bedrock-output-token-count", output.to_string())
        .with_header("x-amzn-bedrock-invocation-latency", "7")
}

/// Answers SageMaker's `invocations` and `invocations-response-stream`, for a container that speaks OpenAI's dialect.
pub(super) fn sagemaker(ask: &Ask, json: &Value) -> Reply {
    let reply = match json {
        _ if json.get("messages").is_some() => openai::chat(ask, json),
        _ if json.get("prompt").is_some() => openai_other::completions(ask, json),
        _ => openai_other::embeddings(ask, json),
    };
    let reply = reply.rewrapped(aws::EVENT_STREAM, |events| {
        cut_anywhere(&events).into_iter().map(|piece| aws::event("PayloadPart", piece)).collect()
    });
    reply.with_header("x-amzn-invoked-production-variant", "mock")
}

/// The same bytes in other pieces: each begins and ends in the middle of an event.
fn cut_anywhere(events: &[Bytes]) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut begun = Vec::new();
    for event in events {
        let (before, behind) = event.split_at(event.len() / 2);
        begun.extend_from_slice(before);
        pieces.push(Bytes::from(std::mem::replace(&mut begun, behind.to_vec())));
    }
    pieces.push(begun.into());
    pieces
}

/// Answers Vertex AI's `rawPredict` and `streamRawPredict` for Claude. Tokens are counted by a model of that name.
pub(super) fn vertex(ask: &Ask, json: &Value) -> Reply {
    let counts = ask.model == "count-tokens";
    // What the model itself refuses, it tells as it does everywhere.
    let refused = |message: &str| fault::error(400, Provider::Anthropic, "invalid_request_error", message);
    let elsewhere: &[&str] = if counts { &[] } else { &["model"] };
    if let Some(message) = wrong_claude(json, "vertex-2023-10-16", elsewhere) {
        return refused(&message);
    }
    if counts {
        return match json["model"].as_str() {
            Some(_) => anthropic::count_tokens(ask),
            None => refused("model: Field required"),
        };
    }
    anthropic::messages(ask, json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_events_and_loses_nothing() {
        let events = [Bytes::from("data: one\n\n"), Bytes::from("data: zwölf\n\n")];
        let pieces = cut_anywhere(&events);
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces.concat(), events.concat());
        assert!(!pieces[0].ends_with(b"\n\n"));
    }
}

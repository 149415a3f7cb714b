//! Google's `embedContent`, as Vertex AI serves it: one text at a time.
//!
//! Source: `google.genai.models`, embedding by `EMBED_CONTENT`.

use serde_json::{Value, json};
use tollgate_chat::Losses;

use super::{Input, Request, VectorEncoding, Vectors, answer, lose_user, only_one, usage, vector};
use crate::Invalid;
use crate::fields::Members;
use crate::translate::Unreadable;

pub(super) fn encode_request(request: Request, losses: &mut Losses) -> Result<Value, Invalid> {
    let Request {
        inputs,
        dimensions,
        auto_truncate,
        encoding: VectorEncoding::Float | VectorEncoding::Base64,
        user,
    } = request;
    lose_user(user.as_ref(), losses);
    let Input { text, task, title } = only_one(inputs)?;
    let mut config = Members::default();
    config.set("taskType", task);
    config.set("title", title);
    config.set("outputDimensionality", dimensions);
    config.set("autoTruncate", auto_truncate);
    let mut body = Members::default();
    body.set("content", Some(json!({"parts": [{"text": text}]})));
    body.set("embedContentConfig", (!config.map.is_empty()).then(|| config.value()));
    Ok(body.value())
}

pub(super) fn decode_answer(body: &[u8]) -> Result<Vectors, Unreadable> {
    let answer = answer(body)?;
    let vectors = vec![vector(answer.pointer("/embedding/values"))?];
    let count = answer.pointer("/usageMetadata/promptTokenCount").and_then(crate::observe::count);
    Ok(Vectors { vectors, usage: usage(count) })
}

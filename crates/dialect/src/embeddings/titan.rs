//! Amazon's Titan, text embeddings version 2 and its kin: one text at a time.
//!
//! Source: Bedrock's user guide, "Amazon Titan Embeddings Text".

use serde_json::Value;
use tollgate_chat::{Effect, LossKind, Losses};

use super::{Input, Request, VectorEncoding, Vectors, answer, lose_user, lost, only_one, usage, vector};
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
    for (is_told, pointer) in [
        (task.is_some(), "/task_type"),
        (title.is_some(), "/title"),
        (auto_truncate.is_some(), "/auto_truncate"),
    ] {
        if is_told {
            losses.push(lost(pointer, LossKind::UnknownField, Effect::Meaning));
        }
    }
    let mut body = Members::default();
    body.set("inputText", Some(text));
    body.set("dimensions", dimensions);
    Ok(body.value())
}

pub(super) fn decode_answer(body: &[u8]) -> Result<Vectors, Unreadable> {
    let answer = answer(body)?;
    let vectors = vec![vector(answer.get("embedding"))?];
    let count = answer.get("inputTextTokenCount").and_then(crate::observe::count);
    Ok(Vectors { vectors, usage: usage(count) })
}

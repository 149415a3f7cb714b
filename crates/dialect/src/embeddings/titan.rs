//! Amazon's Titan, text embeddings version 2 and its kin: one text at a time.
//!
//! Source: Bedrock's user guide, "Amazon Titan Embeddings Text".

use serde::Deserialize;
use serde::de::IgnoredAny;
use tollgate_chat::{Effect, LossKind, Losses};
use tollgate_terms::Usage;
use tollgate_wire::json::Map;

use super::{Input, Request, VectorEncoding, Vectors, answer, lose_user, only_one, read_tokens};
use crate::Invalid;
use crate::fields::{Members, loss};
use crate::observe::Count;
use crate::translate::Unreadable;

pub(super) fn encode_request(request: Request, losses: &mut Losses) -> Result<Map, Invalid> {
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
            losses.push(loss(pointer, LossKind::UnknownField, Effect::Meaning));
        }
    }
    let mut body = Members::default();
    body.set("inputText", Some(text));
    body.set("dimensions", dimensions);
    Ok(body.map)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<V> {
    embedding: V,
    #[serde(default)]
    input_text_token_count: Count,
}

pub(super) fn decode_answer(body: &[u8]) -> Result<Vectors, Unreadable> {
    let answer: Answer<Vec<f64>> = answer(body)?;
    let usage = read_tokens(answer.input_text_token_count.value());
    Ok(Vectors { vectors: vec![answer.embedding], usage })
}

pub(super) fn usage(body: &[u8]) -> Option<Usage> {
    read_tokens(answer::<Answer<IgnoredAny>>(body).ok()?.input_text_token_count.value())
}

//! Vertex AI's `predict` for embeddings.
//!
//! Source: `google.genai.models`, embedding by `PREDICT`.

use serde_json::{Value, json};
use tollgate_chat::Losses;

use super::{Input, Request, VectorEncoding, Vectors, answer, lose_user, usage, vector};
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
    let instances: Vec<Value> = inputs
        .into_iter()
        .map(|Input { text, task, title }| {
            let mut members = Members::default();
            members.set("content", Some(text));
            members.set("task_type", task);
            members.set("title", title);
            members.value()
        })
        .collect();
    let mut parameters = Members::default();
    parameters.set("autoTruncate", auto_truncate);
    parameters.set("outputDimensionality", dimensions);
    Ok(json!({"instances": instances, "parameters": parameters.value()}))
}

pub(super) fn decode_answer(body: &[u8]) -> Result<Vectors, Unreadable> {
    let answer = answer(body)?;
    let predictions = answer.get("predictions").and_then(Value::as_array);
    let predictions = predictions.ok_or_else(|| Unreadable("no predictions".to_owned()))?;
    let vectors =
        predictions.iter().map(|one| vector(one.pointer("/embeddings/values"))).collect::<Result<_, _>>()?;
    let counts: Option<Vec<u64>> = predictions.iter().map(count).collect();
    Ok(Vectors { vectors, usage: usage(counts.map(|counts| counts.iter().sum())) })
}

/// Tokens of one text; some models write them with a fraction.
fn count(prediction: &Value) -> Option<u64> {
    let count = prediction.pointer("/embeddings/statistics/token_count")?;
    crate::observe::count(count)
}

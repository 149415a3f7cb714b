//! Cohere's embeddings as AWS Bedrock serves them: many texts at once, all for one use.
//!
//! Source: Bedrock's user guide, "Cohere Embed models". How many tokens were read stands in a header, not in the answer.

use serde::Deserialize;
use tollgate_chat::{Effect, LossKind, Losses};
use tollgate_terms::Usage;
use tollgate_wire::json::{Map, Value};

use super::{Input, Request, VectorEncoding, Vectors, answer, lose_user};
use crate::Invalid;
use crate::fields::{Members, loss};
use crate::translate::Unreadable;

/// Most texts of one request.
pub(super) const INPUTS_MAX: usize = 96;

pub(super) fn encode_request(request: Request, losses: &mut Losses) -> Result<Map, Invalid> {
    let Request {
        inputs,
        dimensions,
        auto_truncate,
        encoding: VectorEncoding::Float | VectorEncoding::Base64,
        user,
    } = request;
    lose_user(user.as_ref(), losses);
    let use_of_first = inputs.first().and_then(|input| input.task.clone());
    let mut texts = Vec::new();
    for (index, Input { text, task, title }) in inputs.into_iter().enumerate() {
        if task != use_of_first {
            let message = "texts for different uses cannot be embedded together by the backend of this model";
            return Err(Invalid::unprocessable(message, "input"));
        }
        if title.is_some() {
            losses.push(loss(format!("/input/{index}/title"), LossKind::UnknownField, Effect::Meaning));
        }
        texts.push(text);
    }
    let mut body = Members::default();
    body.set("input_type", Some(input_type(use_of_first.as_deref(), losses)));
    body.set("texts", Some(texts));
    body.set("embedding_types", Some(Value::Array(vec!["float".into()])));
    body.set("output_dimension", dimensions);
    body.set("truncate", auto_truncate.map(|cut| if cut { "END" } else { "NONE" }));
    Ok(body.map)
}

/// What the vectors are for, which this dialect needs to know: documents unless the client says otherwise.
fn input_type(task: Option<&str>, losses: &mut Losses) -> &'static str {
    match task {
        None | Some("RETRIEVAL_DOCUMENT") => "search_document",
        Some("RETRIEVAL_QUERY") => "search_query",
        Some("CLASSIFICATION") => "classification",
        Some("CLUSTERING") => "clustering",
        Some(_) => {
            losses.push(loss("/task_type", LossKind::UnknownField, Effect::Meaning));
            "search_document"
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    embeddings: Embeddings,
}

/// By type where types were asked for, as they were before there were any.
#[derive(Deserialize)]
#[serde(untagged)]
enum Embeddings {
    ByType { float: Vec<Vec<f64>> },
    Floats(Vec<Vec<f64>>),
}

pub(super) fn decode_answer(body: &[u8]) -> Result<Vectors, Unreadable> {
    let answer: Answer = answer(body)?;
    let (Embeddings::ByType { float: vectors } | Embeddings::Floats(vectors)) = answer.embeddings;
    Ok(Vectors { vectors, usage: None })
}

/// The answer does not tell it.
pub(super) fn usage(_: &[u8]) -> Option<Usage> {
    None
}

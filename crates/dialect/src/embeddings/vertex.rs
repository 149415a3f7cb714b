//! Vertex AI's `predict` for embeddings.
//!
//! Source: `google.genai.models`, embedding by `PREDICT`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use tollgate_chat::Losses;
use tollgate_terms::Usage;
use tollgate_wire::json::{Map, Value};

use super::{Input, Request, VectorEncoding, Vectors, answer, lose_user, read_tokens};
use crate::Invalid;
use crate::fields::Members;
use crate::observe::Count;
use crate::translate::Unreadable;

/// Most texts of one request: Vertex AI's quotas, "Text embedding limits". Some models take fewer, and say so themselves.
pub(super) const INPUTS_MAX: usize = 250;

pub(super) fn encode_request(request: Request, losses: &mut Losses) -> Result<Map, Invalid> {
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
    let mut body = Members::default();
    body.set("instances", Some(instances));
    body.set("parameters", Some(parameters.value()));
    Ok(body.map)
}

#[derive(Deserialize)]
struct Answer<V> {
    predictions: Vec<Prediction<V>>,
}

#[derive(Deserialize)]
struct Prediction<V> {
    embeddings: Embeddings<V>,
}

#[derive(Deserialize)]
struct Embeddings<V> {
    values: V,
    #[serde(default)]
    statistics: Option<Statistics>,
}

/// Some models write the count with a fraction.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    token_count: Count,
}

impl<V> Answer<V> {
    /// The tokens of all texts, if each tells its own.
    fn usage(&self) -> Option<Usage> {
        let counts =
            self.predictions.iter().map(|one| one.embeddings.statistics.as_ref()?.token_count.value());
        read_tokens(counts.collect::<Option<Vec<_>>>()?.into_iter().reduce(u64::saturating_add))
    }
}

pub(super) fn decode_answer(body: &[u8]) -> Result<Vectors, Unreadable> {
    let answer: Answer<Vec<f64>> = answer(body)?;
    let usage = answer.usage();
    Ok(Vectors { vectors: answer.predictions.into_iter().map(|one| one.embeddings.values).collect(), usage })
}

pub(super) fn usage(body: &[u8]) -> Option<Usage> {
    answer::<Answer<IgnoredAny>>(body).ok()?.usage()
}

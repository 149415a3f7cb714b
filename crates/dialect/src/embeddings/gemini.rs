//! Google's `embedContent`, as Vertex AI serves it: one text at a time.
//!
//! Source: `google.genai.models`, embedding by `EMBED_CONTENT`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use tollgate_chat::Losses;
use tollgate_terms::Usage;
use tollgate_wire::json::{Map, Value};

use super::{Input, Request, VectorEncoding, Vectors, answer, lose_user, only_one, read_tokens};
use crate::Invalid;
use crate::fields::{Members, object};
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
    let mut config = Members::default();
    config.set("taskType", task);
    config.set("title", title);
    config.set("outputDimensionality", dimensions);
    config.set("autoTruncate", auto_truncate);
    let mut body = Members::default();
    body.set("content", Some(object!({"parts": Value::Array(vec![object!({"text": text})])})));
    body.set("embedContentConfig", (!config.map.is_empty()).then(|| config.value()));
    Ok(body.map)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<V> {
    embedding: Embedding<V>,
    #[serde(default)]
    usage_metadata: Option<UsageMetadata>,
}

#[derive(Deserialize)]
struct Embedding<V> {
    values: V,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsageMetadata {
    #[serde(default)]
    prompt_token_count: Count,
}

impl<V> Answer<V> {
    fn usage(&self) -> Option<Usage> {
        read_tokens(self.usage_metadata.as_ref()?.prompt_token_count.value())
    }
}

pub(super) fn decode_answer(body: &[u8]) -> Result<Vectors, Unreadable> {
    let answer: Answer<Vec<f64>> = answer(body)?;
    let usage = answer.usage();
    Ok(Vectors { vectors: vec![answer.embedding.values], usage })
}

pub(super) fn usage(body: &[u8]) -> Option<Usage> {
    answer::<Answer<IgnoredAny>>(body).ok()?.usage()
}

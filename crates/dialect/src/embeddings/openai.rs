//! OpenAI's embeddings: requests read, answers said.
//!
//! Source: `openai.types.EmbeddingCreateParams` and `CreateEmbeddingResponse`. Inputs may be objects as well, with the task and
//! title that Vertex AI takes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tollgate_chat::Losses;
use tollgate_terms::Usage;
use tollgate_wire::json::Value;

use super::{Input, Request, VectorEncoding, Vectors};
use crate::Invalid;
use crate::error::encode;
use crate::fields::{Fields, missing, object, wrong};

pub(super) fn decode_request(body: &Bytes, losses: &mut Losses) -> Result<Request, Invalid> {
    let mut fields = Fields::read(body)?;
    fields.take("model");
    let task = fields.text("task_type")?;
    let title = fields.text("title")?;
    let inputs = inputs(fields.take("input"), losses)?
        .into_iter()
        .map(|input| Input {
            task: input.task.or_else(|| task.clone()),
            title: input.title.or_else(|| title.clone()),
            ..input
        })
        .collect();
    let encoding = match fields.text("encoding_format")?.as_deref() {
        None | Some("float") => VectorEncoding::Float,
        Some("base64") => VectorEncoding::Base64,
        Some(other) => {
            return Err(wrong("/encoding_format", "float or base64", &Value::from(other)));
        }
    };
    let request = Request {
        inputs,
        dimensions: fields.count("dimensions")?,
        auto_truncate: fields.truth("auto_truncate")?,
        encoding,
        user: fields.text("user")?,
    };
    fields.lose_rest(losses);
    Ok(request)
}

fn inputs(input: Option<Value>, losses: &mut Losses) -> Result<Vec<Input>, Invalid> {
    match input {
        None => Err(missing("/input")),
        Some(Value::Array(items)) => {
            if items.is_empty() {
                return Err(Invalid::bad_request("/input: expected at least one text"));
            }
            let inputs = items.into_iter().enumerate();
            inputs.map(|(index, item)| one(item, format!("/input/{index}"), losses)).collect()
        }
        Some(item) => Ok(vec![one(item, "/input".to_owned(), losses)?]),
    }
}

fn one(item: Value, pointer: String, losses: &mut Losses) -> Result<Input, Invalid> {
    match item {
        Value::String(text) => Ok(Input { text: text.into_string(), task: None, title: None }),
        Value::Object(_) => {
            let mut fields = Fields::of(item, pointer)?;
            let (task, title) = (fields.text("task_type")?, fields.text("title")?);
            let input = Input { text: fields.needed_text("content")?, task, title };
            fields.lose_rest(losses);
            Ok(input)
        }
        Value::Number(_) | Value::Array(_) => Err(Invalid::unprocessable(
            format!("{pointer}: tokens mean nothing to the backend of this model: send text"),
            "input",
        )),
        other => Err(wrong(&pointer, "a text", &other)),
    }
}

pub(super) fn encode_answer(vectors: &Vectors, encoding: VectorEncoding, model: &str) -> Bytes {
    let Vectors { vectors, usage } = vectors;
    let data: Vec<Value> = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| {
            object!({"object": "embedding", "index": index, "embedding": encode_vector(vector, encoding)})
        })
        .collect();
    let Usage { input_tokens, .. } = usage.unwrap_or_default();
    encode(&object!({
        "object": "list",
        "data": data,
        "model": model,
        "usage": object!({"prompt_tokens": input_tokens, "total_tokens": input_tokens}),
    }))
}

fn encode_vector(vector: &[f64], encoding: VectorEncoding) -> Value {
    match encoding {
        VectorEncoding::Float => vector.to_vec().into(),
        VectorEncoding::Base64 => {
            #[expect(clippy::cast_possible_truncation, reason = "the format has 32 bits for each number")]
            let bytes: Vec<u8> = vector.iter().flat_map(|number| (*number as f32).to_le_bytes()).collect();
            STANDARD.encode(bytes).into()
        }
    }
}

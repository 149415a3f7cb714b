//! What routing, policy and accounting need to know of a request, read in one pass and without translating it.

use bytes::Bytes;
use tollgate_terms::{Delivery, Dialect, ModelName, ModelNameError, Operation};
use tollgate_wire::json::{self, Document, Limits, Object};
use tollgate_wire::multipart::{self, Part};

use crate::embeddings::VectorEncoding;
use crate::endpoint::PathFacts;

/// Most arrays and objects of a request that is translated: so many, and one more for so many bytes. Read into values, each
/// takes some hundred bytes, so a text of brackets would take a hundred times its size.
const CONTAINERS_MAX: usize = 1024;
const BYTES_PER_CONTAINER: usize = 16;

/// The facts of a request.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The model asked for.
    pub model: ModelName,
    /// How the answer is wanted.
    pub delivery: Delivery,
    /// Whether the client asked for the usage of a stream.
    pub usage_wanted: bool,
    /// The bound that the client set on the answer.
    pub output_tokens_max: Option<u64>,
    /// How many answers the client wants to choose from; at least 1.
    pub choices: u64,
    /// Size of the prompt in bytes, for estimates.
    pub prompt_bytes: u64,
    /// Where the model stands.
    pub(crate) model_place: ModelPlace,
    /// How the client wants vectors written.
    pub vectors: VectorEncoding,
    /// Where the members are, for JSON bodies.
    pub(crate) json: Option<Object>,
    /// The part that holds the model, for forms.
    pub(crate) model_part: Option<Part>,
}

/// Where a request names its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModelPlace {
    Body,
    Path,
}

/// A request that cannot be understood or not be said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// What kind of no this is.
    pub kind: InvalidKind,
    /// What is wrong.
    pub message: String,
    /// The member that it is about.
    pub param: Option<String>,
    /// Short code for programs.
    pub code: Option<&'static str>,
}

/// The kinds of no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidKind {
    /// 400: not well formed, or a needed member is missing.
    BadRequest,
    /// 415: not the kind of body that the operation takes.
    UnsupportedMediaType,
    /// 422: understood, but nobody here can do it.
    Unprocessable,
}

impl Facts {
    /// The request, which is `body`, to be translated: what was found in it is not looked for again.
    pub fn document<'a>(&'a self, body: &'a Bytes) -> Document<'a> {
        self.json.as_ref().map_or_else(|| body.into(), |object| Document::scanned(body, object))
    }

    /// Whether the request, of `body_bytes`, may be translated.
    ///
    /// # Errors
    /// When it has more arrays and objects than a request of its size could need.
    pub fn check_density(&self, body_bytes: usize) -> Result<(), Invalid> {
        let containers = self.json.as_ref().map_or(0, Object::containers);
        if containers > CONTAINERS_MAX + body_bytes / BYTES_PER_CONTAINER {
            return Err(Invalid::bad_request(format!(
                "{containers} arrays and objects are too many for a request of {body_bytes} bytes"
            )));
        }
        Ok(())
    }
}

impl Invalid {
    /// A 400 about the whole body.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self { kind: InvalidKind::BadRequest, message: message.into(), param: None, code: None }
    }

    /// A 422: what `param` asks for cannot be said to the backend.
    pub fn unprocessable(message: impl Into<String>, param: impl Into<String>) -> Self {
        Self {
            kind: InvalidKind::Unprocessable,
            message: message.into(),
            param: Some(param.into()),
            code: Some("unsupported_value"),
        }
    }

    /// The 400 that a malformed body is.
    pub fn from_malformed(malformed: &json::Malformed) -> Self {
        Self::bad_request(format!("malformed request: {malformed}"))
    }

    fn member(param: &str, message: impl Into<String>, code: &'static str) -> Self {
        Self {
            kind: InvalidKind::BadRequest,
            message: message.into(),
            param: Some(param.to_owned()),
            code: Some(code),
        }
    }
}

/// Reads the facts of a request; `told` is what its path says of it already.
///
/// # Errors
/// When the body is not what the operation takes, is malformed, or names no usable model.
pub fn inspect(
    dialect: Dialect,
    operation: Operation,
    content_type: Option<&str>,
    told: Option<&PathFacts>,
    body: &Bytes,
) -> Result<Facts, Invalid> {
    match operation {
        Operation::Transcribe | Operation::Translate => inspect_form(content_type, body),
        Operation::Chat
        | Operation::Complete
        | Operation::Embed
        | Operation::CountTokens
        | Operation::Speak
        | Operation::Draw
        | Operation::Rerank
        | Operation::Tokenize => inspect_json((dialect, operation), content_type, told, body),
    }
}

fn inspect_json(
    (dialect, operation): (Dialect, Operation),
    content_type: Option<&str>,
    told: Option<&PathFacts>,
    body: &Bytes,
) -> Result<Facts, Invalid> {
    if !content_type.is_none_or(is_json) {
        return Err(unsupported("application/json", content_type));
    }
    let object =
        json::scan(body, Limits::default()).map_err(|malformed| Invalid::from_malformed(&malformed))?;
    let members = Members::read(&object, body);
    let (model, delivery) = match told {
        Some(PathFacts { model, delivery }) => (model_name(model)?, *delivery),
        None => {
            let model = members.model.ok_or_else(|| missing_model("model is required"))?;
            let model = json::text_value(model).ok_or_else(|| missing_model("model must be a string"))?;
            (model_name(&model)?, delivery(members.stream, operation)?)
        }
    };
    let usage_wanted = usage_wanted(dialect, members.stream_options, body, &object)?;
    // Gemini's names.
    let configured = |key: &str| {
        let place = if members.has_configuration { object.get2(body, "generationConfig", key) } else { None };
        number(body.get(place?)?)
    };
    let output_tokens_max =
        members.output_bounds.into_iter().flatten().next().or_else(|| configured("maxOutputTokens"));
    let choices = members.choices.or_else(|| configured("candidateCount")).unwrap_or(1).max(1);
    Ok(Facts {
        model,
        delivery,
        usage_wanted,
        output_tokens_max,
        choices,
        prompt_bytes: members.prompt_bytes,
        model_place: if told.is_some() { ModelPlace::Path } else { ModelPlace::Body },
        vectors: match members.encoding_format {
            Some(b"\"base64\"") => VectorEncoding::Base64,
            _ => VectorEncoding::Float,
        },
        json: Some(object),
        model_part: None,
    })
}

/// The members that tell something, in whichever dialect.
#[derive(Default)]
struct Members<'a> {
    model: Option<&'a [u8]>,
    stream: Option<&'a [u8]>,
    stream_options: Option<&'a [u8]>,
    encoding_format: Option<&'a [u8]>,
    /// What bounds the answer, the newer name first.
    output_bounds: [Option<u64>; 3],
    /// How many answers are asked for.
    choices: Option<u64>,
    /// Size of all that stands for the prompt.
    prompt_bytes: u64,
    /// Whether there is a `generationConfig`.
    has_configuration: bool,
}

impl<'a> Members<'a> {
    /// Reads them in one walk: no member comes twice.
    fn read(object: &Object, body: &'a [u8]) -> Self {
        let mut members = Self::default();
        for (key, value) in object.members(body) {
            match &*key {
                b"model" => members.model = Some(value),
                b"stream" => members.stream = Some(value),
                b"stream_options" => members.stream_options = Some(value),
                b"encoding_format" => members.encoding_format = Some(value),
                b"max_completion_tokens" => members.output_bounds[0] = number(value),
                b"max_output_tokens" => members.output_bounds[1] = number(value),
                b"max_tokens" => members.output_bounds[2] = number(value),
                b"n" | b"best_of" => members.choices = members.choices.max(number(value)),
                b"generationConfig" => members.has_configuration = true,
                b"messages"
                | b"input"
                | b"prompt"
                | b"system"
                | b"instructions"
                | b"tools"
                | b"query"
                | b"documents"
                | b"contents"
                | b"systemInstruction"
                | b"system_instruction" => {
                    members.prompt_bytes += value.len() as u64;
                }
                _ => {}
            }
        }
        members
    }
}

/// A whole number as it is written.
fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// How the answer is wanted. Operations whose answer is one document have no stream, whatever a request says.
fn delivery(stream: Option<&[u8]>, operation: Operation) -> Result<Delivery, Invalid> {
    let streams = !matches!(
        operation,
        Operation::Embed | Operation::CountTokens | Operation::Tokenize | Operation::Rerank
    );
    match stream {
        Some(b"true") if streams => Ok(Delivery::Stream),
        Some(b"true") => Ok(Delivery::Whole),
        None | Some(b"false" | b"null") => Ok(Delivery::Whole),
        Some(_) => Err(Invalid::member("stream", "stream must be true or false", "invalid_type")),
    }
}

/// Whether the client will get the usage of a stream without our asking for it.
fn usage_wanted(
    dialect: Dialect,
    options: Option<&[u8]>,
    body: &[u8],
    object: &Object,
) -> Result<bool, Invalid> {
    if !asks_for_usage(dialect) {
        return Ok(true);
    }
    let Some(options) = options else { return Ok(false) };
    match options.first() {
        Some(b'{') => {}
        Some(b'n') => return Ok(false),
        _ => {
            return Err(Invalid::member(
                "stream_options",
                "stream_options must be an object",
                "invalid_type",
            ));
        }
    }
    let wanted = object.get2(body, "stream_options", "include_usage").and_then(|range| body.get(range));
    match wanted {
        Some(b"true") => Ok(true),
        None | Some(b"false" | b"null") => Ok(false),
        Some(_) => Err(Invalid::member(
            "stream_options.include_usage",
            "stream_options.include_usage must be true or false",
            "invalid_type",
        )),
    }
}

/// Whether streams of `dialect` tell their usage only when asked.
pub(crate) fn asks_for_usage(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::OpenAiChat | Dialect::OpenAiCompletions)
}

fn inspect_form(content_type: Option<&str>, body: &Bytes) -> Result<Facts, Invalid> {
    let Some(content_type) = content_type.filter(|text| multipart::boundary(text).is_some()) else {
        return Err(unsupported("multipart/form-data with a boundary", content_type));
    };
    let parts = multipart::scan(content_type, body)
        .map_err(|malformed| Invalid::bad_request(format!("malformed request: {malformed}")))?;
    let named = |name: &'static str| parts.iter().filter(move |part| part.name == name);
    if named("model").count() > 1 || named("stream").count() > 1 {
        return Err(missing_model("model and stream may stand only once"));
    }
    let text = |part: &Part| body.get(part.value.clone()).and_then(|raw| std::str::from_utf8(raw).ok());
    let part = named("model").next().ok_or_else(|| missing_model("model is required"))?;
    let model = model_name(text(part).unwrap_or_default())?;
    let delivery = match named("stream").next().and_then(text) {
        Some("true") => Delivery::Stream,
        _ => Delivery::Whole,
    };
    Ok(Facts {
        model,
        delivery,
        usage_wanted: true,
        output_tokens_max: None,
        choices: 1,
        prompt_bytes: named("prompt").map(|part| part.value.len() as u64).sum(),
        model_place: ModelPlace::Body,
        vectors: VectorEncoding::Float,
        json: None,
        model_part: Some(part.clone()),
    })
}

fn model_name(text: &str) -> Result<ModelName, Invalid> {
    ModelName::parse(text).map_err(|error: ModelNameError| missing_model(error.to_string()))
}

fn missing_model(message: impl Into<String>) -> Invalid {
    Invalid::member("model", message, "invalid_model")
}

fn unsupported(expected: &str, found: Option<&str>) -> Invalid {
    Invalid {
        kind: InvalidKind::UnsupportedMediaType,
        message: format!("expected content-type {expected}, found {}", found.unwrap_or("none")),
        param: None,
        code: None,
    }
}

/// Whether a content type is JSON, by its own name or by suffix (RFC 6839).
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

//! Errors, in each dialect's own shape, written by a serializer and never by hand.

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use tollgate_terms::Dialect;
use tollgate_wire::sse;

use crate::inspect::is_json;
use crate::{anthropic_messages, bedrock_converse, cohere_rerank, gemini, openai_chat};

/// Longest piece of a backend's own text that is told on to a client, in bytes.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// An error to tell a client.
#[derive(Debug, Clone, Copy)]
pub struct ErrorBody<'a> {
    /// Status.
    pub status: u16,
    /// Kind in the words of the compatible API, such as `BadRequest`. Dialects with words of their own go by status.
    pub kind: &'a str,
    /// What is wrong.
    pub message: &'a str,
    /// Short code; the status where there is none.
    pub code: Option<&'a str>,
    /// The member of the request that it is about.
    pub param: Option<&'a str>,
    /// The gateway's id of the exchange.
    pub request_id: &'a str,
}

/// An error as a backend told it.
#[derive(Debug, Clone, Copy)]
pub struct BackendError<'a> {
    /// Status.
    pub status: u16,
    /// Content type of the body.
    pub content_type: Option<&'a str>,
    /// The type of the error, where a header tells it (`x-amzn-errortype`).
    pub kind: Option<&'a str>,
    /// The body, without content coding.
    pub body: &'a [u8],
}

/// The shape of an error depends on the family of the dialect only.
enum Family {
    OpenAi,
    Anthropic,
    Cohere,
    Google,
    Aws,
}

fn family(dialect: Dialect) -> Family {
    match dialect {
        Dialect::AnthropicMessages => Family::Anthropic,
        Dialect::CohereRerank => Family::Cohere,
        Dialect::Gemini | Dialect::VertexEmbeddings | Dialect::GeminiEmbeddings => Family::Google,
        Dialect::BedrockConverse | Dialect::TitanEmbeddings | Dialect::CohereEmbeddings => Family::Aws,
        Dialect::OpenAiChat
        | Dialect::OpenAiCompletions
        | Dialect::OpenAiEmbeddings
        | Dialect::OpenAiResponses
        | Dialect::OpenAiImages
        | Dialect::OpenAiAudio
        | Dialect::VllmTokenize => Family::OpenAi,
    }
}

/// A whole error body.
pub fn encode_error(dialect: Dialect, error: &ErrorBody<'_>) -> Bytes {
    match family(dialect) {
        // No client speaks the dialect of AWS, so none is told an error in it.
        Family::OpenAi | Family::Aws => openai_chat::error::encode(error),
        Family::Anthropic => anthropic_messages::error::encode(error),
        Family::Cohere => cohere_rerank::encode_error(error),
        Family::Google => gemini::error::encode(error),
    }
}

/// The event that ends a stream with an error. No terminal event follows it.
pub fn encode_stream_error(dialect: Dialect, error: &ErrorBody<'_>) -> Bytes {
    let mut out = BytesMut::new();
    let body = encode_error(dialect, error);
    match dialect {
        Dialect::AnthropicMessages => sse::encode(&mut out, Some("error"), &body),
        Dialect::OpenAiResponses => {
            // Responses have an event of their own for it, with the members at its top level.
            #[derive(Serialize)]
            struct Event<'a> {
                #[serde(rename = "type")]
                kind: &'static str,
                code: Option<&'a str>,
                message: &'a str,
                param: Option<&'a str>,
            }
            let event = Event { kind: "error", code: error.code, message: error.message, param: error.param };
            sse::encode(&mut out, Some("error"), &encode(&event));
        }
        Dialect::OpenAiChat
        | Dialect::OpenAiCompletions
        | Dialect::OpenAiEmbeddings
        | Dialect::OpenAiImages
        | Dialect::OpenAiAudio
        | Dialect::Gemini
        | Dialect::BedrockConverse
        | Dialect::VertexEmbeddings
        | Dialect::GeminiEmbeddings
        | Dialect::TitanEmbeddings
        | Dialect::CohereEmbeddings
        | Dialect::CohereRerank
        | Dialect::VllmTokenize => sse::encode(&mut out, None, &body),
    }
    out.freeze()
}

/// The event that ends a stream with the error by which a backend of another dialect ended it, and which that calls `kind`.
pub(crate) fn encode_told(dialect: Dialect, kind: &str, message: &str, request_id: &str) -> Bytes {
    let status = status_of(kind);
    let error = ErrorBody { status, kind, message, code: None, param: None, request_id };
    let mut out = BytesMut::new();
    match family(dialect) {
        Family::Anthropic => {
            let kind = anthropic_messages::error::known_kind(kind, status);
            let body = anthropic_messages::error::encode_kind(kind, message, request_id);
            sse::encode(&mut out, Some("error"), &body);
        }
        Family::Google => sse::encode(&mut out, None, &gemini::error::encode_backend(kind, &error)),
        Family::OpenAi | Family::Cohere | Family::Aws => return encode_stream_error(dialect, &error),
    }
    out.freeze()
}

/// The status that an error of this kind has where it stands before an answer. In a stream, where there is none, only the kind tells it.
fn status_of(kind: &str) -> u16 {
    match kind {
        "invalid_request_error"
        | "INVALID_ARGUMENT"
        | "FAILED_PRECONDITION"
        | "OUT_OF_RANGE"
        | "validationException"
        | "ValidationException" => 400,
        "authentication_error" | "invalid_api_key" | "UNAUTHENTICATED" => 401,
        "billing_error" => 402,
        "permission_error" | "PERMISSION_DENIED" | "AccessDeniedException" => 403,
        "not_found_error" | "NOT_FOUND" | "ResourceNotFoundException" => 404,
        "request_too_large" => 413,
        "rate_limit_error"
        | "rate_limit_exceeded"
        | "RESOURCE_EXHAUSTED"
        | "throttlingException"
        | "ThrottlingException" => 429,
        "api_error" | "server_error" | "INTERNAL" | "internalServerException" | "InternalServerException" => {
            500
        }
        "UNAVAILABLE" | "serviceUnavailableException" | "ServiceUnavailableException" => 503,
        "timeout_error" | "DEADLINE_EXCEEDED" | "modelTimeoutException" | "ModelTimeoutException" => 504,
        "overloaded_error" => 529,
        _ => 502,
    }
}

/// Whether clients of `dialect` know the status `status`. 529 is Anthropic's own.
pub fn knows_status(dialect: Dialect, status: u16) -> bool {
    status != 529 || dialect == Dialect::AnthropicMessages
}

/// The error body for the client, made from the backend's. `None` when that can be passed on as it is.
pub fn reshape_error(
    client: Dialect,
    backend: Dialect,
    told: &BackendError<'_>,
    request_id: &str,
) -> Option<Bytes> {
    let BackendError { status, content_type, kind, body } = *told;
    let header_kind = kind.map(bedrock_converse::error::kind);
    let read = content_type.is_some_and(is_json).then(|| Told::read(body)).flatten();
    let same = std::mem::discriminant(&family(client)) == std::mem::discriminant(&family(backend));
    if same && content_type.is_some_and(is_json) && !is_clouds_own(backend, header_kind, read.as_ref()) {
        return None;
    }
    let text = text(body);
    let code = status.to_string();
    let (message, kind, own_code, param) = match &read {
        Some(told) => (
            told.message.as_str(),
            header_kind.or(told.kind.as_deref()),
            told.code.as_deref(),
            told.param.as_deref(),
        ),
        None => (text.as_str(), header_kind, None, None),
    };
    let error = ErrorBody {
        status,
        kind: kind.unwrap_or(backend_error_kind(backend)),
        message,
        // Between dialects the code is the status: their own codes mean nothing to each other.
        code: if same { own_code.or(Some(&code)) } else { Some(&code) },
        param,
        request_id,
    };
    Some(match (family(client), kind) {
        (Family::OpenAi | Family::Aws, _) => openai_chat::error::encode_backend(&error),
        (Family::Anthropic, Some(kind)) => {
            let kind = anthropic_messages::error::known_kind(kind, status);
            anthropic_messages::error::encode_kind(kind, message, request_id)
        }
        (Family::Anthropic, None) => {
            let kind = anthropic_messages::error::backend_kind(status);
            anthropic_messages::error::encode_kind(kind, message, request_id)
        }
        (Family::Cohere, _) => cohere_rerank::encode_error(&error),
        (Family::Google, kind) => gemini::error::encode_backend(kind.unwrap_or_default(), &error),
    })
}

/// Whether the error is that of a cloud around the model, which tells its own errors in its own shape whatever the model speaks:
/// AWS with their type in a header, and Google with their status beside their message.
fn is_clouds_own(backend: Dialect, header_kind: Option<&str>, read: Option<&Told>) -> bool {
    match family(backend) {
        Family::OpenAi => header_kind.is_some(),
        Family::Anthropic => header_kind.is_some() || read.is_some_and(|told| told.has_status),
        Family::Cohere | Family::Google | Family::Aws => false,
    }
}

/// The response header that clients of `dialect` take the id of a request from.
pub fn request_id_header(dialect: Dialect) -> &'static str {
    match family(dialect) {
        Family::OpenAi | Family::Cohere | Family::Google | Family::Aws => "x-request-id",
        Family::Anthropic => "request-id",
    }
}

/// The response header in which backends of `dialect` tell the id of an answer that has none in its body.
pub fn answer_id_header(dialect: Dialect) -> Option<&'static str> {
    match family(dialect) {
        Family::Aws => Some("x-amzn-requestid"),
        Family::OpenAi | Family::Anthropic | Family::Cohere | Family::Google => None,
    }
}

/// The type of an error that a backend told without one.
fn backend_error_kind(backend: Dialect) -> &'static str {
    match family(backend) {
        Family::OpenAi => "OpenAIBackendError",
        Family::Anthropic => "AnthropicBackendError",
        Family::Cohere => "CohereBackendError",
        Family::Google => "GCPVertexAIBackendError",
        Family::Aws => "AWSBedrockBackendError",
    }
}

/// What a backend's error says, whatever its dialect: all of them agree on the inner names.
struct Told {
    message: String,
    kind: Option<String>,
    code: Option<String>,
    param: Option<String>,
    /// Whether the kind of the error is told as Google does.
    has_status: bool,
}

impl Told {
    fn read(body: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(body).ok()?;
        let error = value.get("error").filter(|error| error.is_object()).unwrap_or(&value);
        let text = |key: &str| match error.get(key)? {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        // SageMaker writes its members with capitals.
        let message = text("message").or_else(|| text("Message"));
        let message = message.or_else(|| value.get("error")?.as_str().map(str::to_owned))?;
        let (kind, status) = (text("type"), text("status"));
        Some(Self {
            message,
            has_status: kind.is_none() && status.is_some(),
            kind: kind.or(status),
            code: text("code"),
            param: text("param"),
        })
    }
}

/// A backend's text, as far as it can be shown.
fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body.get(..body.len().min(TEXT_BYTES_MAX)).unwrap_or_default()).into_owned()
}

/// Serializes what cannot fail to be serialized.
pub(crate) fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reshape(
        client: Dialect,
        backend: Dialect,
        status: u16,
        content_type: &str,
        body: &str,
    ) -> Option<Value> {
        let told =
            BackendError { status, content_type: Some(content_type), kind: None, body: body.as_bytes() };
        reshape_told(client, backend, &told)
    }

    fn reshape_told(client: Dialect, backend: Dialect, told: &BackendError<'_>) -> Option<Value> {
        let bytes = reshape_error(client, backend, told, "id")?;
        Some(serde_json::from_slice(&bytes).expect("JSON"))
    }

    #[test]
    fn escapes_what_a_backend_said() {
        let shaped = reshape(Dialect::OpenAiChat, Dialect::OpenAiChat, 502, "text/html", "<a href=\"x\">\n");
        let expected = json!({"type": "error", "error": {
            "type": "OpenAIBackendError", "message": "<a href=\"x\">\n", "code": "502"}});
        assert_eq!(shaped, Some(expected));
    }

    #[test]
    fn passes_json_of_the_same_dialect_on() {
        assert_eq!(
            reshape(Dialect::OpenAiCompletions, Dialect::OpenAiCompletions, 400, "application/json", "{"),
            None
        );
    }

    #[test]
    fn tells_an_openai_error_to_an_anthropic_client() {
        let body = r#"{"error":{"type":"invalid_request_error","message":"no \"x\"","code":"c"}}"#;
        let shaped = reshape(Dialect::AnthropicMessages, Dialect::OpenAiChat, 400, "application/json", body);
        let expected = json!({"type": "error", "request_id": "id",
            "error": {"type": "invalid_request_error", "message": "no \"x\""}});
        assert_eq!(shaped, Some(expected));
        let shaped = reshape(Dialect::AnthropicMessages, Dialect::OpenAiChat, 429, "text/plain", "slow");
        assert_eq!(shaped.expect("a body")["error"]["type"], "rate_limit_error");
    }

    #[test]
    fn tells_an_anthropic_error_to_an_openai_client() {
        let body =
            r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"},"request_id":"r"}"#;
        let shaped = reshape(Dialect::OpenAiChat, Dialect::AnthropicMessages, 529, "application/json", body);
        let expected =
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy", "code": "529"}});
        assert_eq!(shaped, Some(expected));
    }
    #[test]
    fn a_cloud_around_a_model_does_not_tell_errors_in_its_dialect() {
        let aws = |body: &'static str| BackendError {
            status: 429,
            content_type: Some("application/json"),
            kind: Some("ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/"),
            body: body.as_bytes(),
        };
        let shaped = reshape_told(
            Dialect::AnthropicMessages,
            Dialect::AnthropicMessages,
            &aws(r#"{"message":"too many"}"#),
        );
        let anthropic = json!({"type": "error", "request_id": "id",
            "error": {"type": "rate_limit_error", "message": "too many"}});
        assert_eq!(shaped.as_ref(), Some(&anthropic));
        // SageMaker writes its members with capitals.
        let told = aws(r#"{"Message":"too many"}"#);
        let shaped = reshape_told(Dialect::OpenAiChat, Dialect::OpenAiChat, &told);
        let openai = json!({"type": "error",
            "error": {"type": "ThrottlingException", "message": "too many", "code": "429"}});
        assert_eq!(shaped, Some(openai));
        let google = r#"{"error":{"code":429,"message":"too many","status":"RESOURCE_EXHAUSTED"}}"#;
        let same = |dialect| reshape(dialect, dialect, 429, "application/json", google);
        assert_eq!(same(Dialect::AnthropicMessages), Some(anthropic));
        assert_eq!(same(Dialect::Gemini), None);
    }

    #[test]
    fn passes_an_error_of_anthropics_own_on() {
        let body = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
        let dialect = Dialect::AnthropicMessages;
        assert_eq!(reshape(dialect, dialect, 529, "application/json", body), None);
    }
}

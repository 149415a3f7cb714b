//! What can go wrong, when a test asks for it.

use bytes::Bytes;
use serde_json::json;

use super::oracle::Oracle;
use super::place::Provider;
use super::reply::Reply;
use super::{aws, google, shared};

/// A fault, as the suffix of a model's name or the header `x-fault` asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `400` to `599`: an error of this status in the dialect's own shape; `429` says when to come again.
    Status(u16),
    /// `flaky2`: 503 for the first so many requests for this model, then answers.
    Flaky(u32),
    /// `cut`: the connection breaks in the middle of the answer.
    Cut,
    /// `silent`: no answer at all.
    Silent,
    /// `slow`: 200 ms between the frames of a stream.
    Slow,
    /// `error`: an error event in the middle of a stream.
    Error,
    /// `html`: 502 with a page of a proxy.
    Html,
}

/// What a fault makes of a request.
pub(super) enum Verdict {
    /// This, and nothing else.
    Reply(Reply),
    /// Nothing.
    Silent,
    /// An ordinary answer, to be spoilt perhaps.
    Answer,
}

impl Fault {
    /// Reads a suffix; `None` for one that is no fault.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "cut" => Some(Self::Cut),
            "silent" => Some(Self::Silent),
            "slow" => Some(Self::Slow),
            "error" => Some(Self::Error),
            "html" => Some(Self::Html),
            _ => match text.strip_prefix("flaky") {
                Some(count) => count.parse().ok().map(Self::Flaky),
                None => text.parse().ok().filter(|status| (400..600).contains(status)).map(Self::Status),
            },
        }
    }

    pub(super) fn reply(self, provider: Provider, model: &str, oracle: &Oracle) -> Verdict {
        match self {
            Self::Status(status) => Verdict::Reply(told(status, provider)),
            Self::Flaky(count) if oracle.fail(model) < count => Verdict::Reply(told(503, provider)),
            Self::Html => {
                let page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";
                Verdict::Reply(Reply::whole(502, "text/html", page))
            }
            Self::Silent => Verdict::Silent,
            Self::Flaky(_) | Self::Cut | Self::Slow | Self::Error => Verdict::Answer,
        }
    }
}

fn told(status: u16, provider: Provider) -> Reply {
    let reply =
        error(status, provider, kind(status, provider), &format!("the mock was asked for status {status}"));
    if status == 429 { reply.with_header("retry-after", "1") } else { reply }
}

/// The provider's own name for an error of this status.
fn kind(status: u16, provider: Provider) -> &'static str {
    match provider {
        Provider::Bedrock => match status {
            400 | 422 => "ValidationException",
            401 => "UnrecognizedClientException",
            403 => "AccessDeniedException",
            404 => "ResourceNotFoundException",
            408 => "ModelTimeoutException",
            424 => "ModelErrorException",
            429 => "ThrottlingException",
            503 => "ServiceUnavailableException",
            _ => "InternalServerException",
        },
        Provider::SageMaker => match status {
            400 | 422 => "ValidationError",
            401 => "UnrecognizedClientException",
            403 => "AccessDeniedException",
            404 => "ResourceNotFoundException",
            424 => "ModelError",
            429 => "ThrottlingException",
            503 => "ServiceUnavailable",
            _ => "InternalFailure",
        },
        Provider::OpenAi
        | Provider::Responses
        | Provider::Azure
        | Provider::Anthropic
        // Google names an error by its status alone.
        | Provider::VertexClaude
        | Provider::VertexGemini
        | Provider::Gemini => {
            let is_anthropic = provider == Provider::Anthropic;
            match (status, is_anthropic) {
                (400 | 422, _) => "invalid_request_error",
                (401, _) => "authentication_error",
                (403, _) => "permission_error",
                (404, _) => "not_found_error",
                (429, true) => "rate_limit_error",
                (429, false) => "rate_limit_exceeded",
                (529, true) => "overloaded_error",
                (_, true) => "api_error",
                (_, false) => "server_error",
            }
        }
    }
}

/// An error in the provider's own shape.
pub(super) fn error(status: u16, provider: Provider, kind: &str, message: &str) -> Reply {
    let body = match provider {
        Provider::Bedrock => return aws::error(status, kind, message),
        Provider::SageMaker => return aws::sagemaker_error(status, kind, message),
        Provider::VertexClaude | Provider::VertexGemini | Provider::Gemini => {
            return google::error(status, message);
        }
        Provider::Anthropic => {
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_mock"})
        }
        Provider::OpenAi | Provider::Responses => {
            json!({"error": {"message": message, "type": kind, "param": null, "code": null}})
        }
        Provider::Azure => {
            json!({"error": {"message": message, "type": kind, "param": null, "code": status.to_string()}})
        }
    };
    Reply::json(status, &body)
}

/// An error inside a stream.
pub(super) fn event(provider: Provider) -> Bytes {
    match provider {
        Provider::Bedrock => aws::exception(
            "modelStreamErrorException",
            &json!({"message": "broken on purpose", "originalStatusCode": 500, "originalMessage": "broken"}),
        ),
        Provider::SageMaker => aws::exception(
            "ModelStreamError",
            &json!({"Message": "broken on purpose", "ErrorCode": "StreamBroken"}),
        ),
        Provider::VertexGemini | Provider::Gemini => {
            shared::data(&google::body(503, "overloaded on purpose")).into()
        }
        // Behind its head, a stream of Claude is the same everywhere.
        Provider::Anthropic | Provider::VertexClaude => {
            let error = json!({"type": "overloaded_error", "message": "overloaded on purpose"});
            shared::event("error", &json!({"type": "error", "error": error})).into()
        }
        Provider::Responses => {
            let error = json!({"type": "error", "code": "server_error", "message": "broken on purpose", "param": null, "sequence_number": 99});
            shared::event("error", &error).into()
        }
        Provider::OpenAi | Provider::Azure => {
            let error =
                json!({"message": "broken on purpose", "type": "server_error", "param": null, "code": null});
            shared::data(&json!({"error": error})).into()
        }
    }
}

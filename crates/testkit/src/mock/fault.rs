//! What can go wrong, when a test asks for it.

use serde_json::json;

use super::oracle::Oracle;
use super::reply::Reply;

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

    pub(super) fn reply(self, is_anthropic: bool, model: &str, oracle: &Oracle) -> Verdict {
        match self {
            Self::Status(status) => Verdict::Reply(told(status, is_anthropic)),
            Self::Flaky(count) if oracle.fail(model) < count => Verdict::Reply(told(503, is_anthropic)),
            Self::Html => {
                let page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";
                Verdict::Reply(Reply::whole(502, "text/html", page))
            }
            Self::Silent => Verdict::Silent,
            Self::Flaky(_) | Self::Cut | Self::Slow | Self::Error => Verdict::Answer,
        }
    }
}

fn told(status: u16, is_anthropic: bool) -> Reply {
    let kind = match (status, is_anthropic) {
        (400 | 422, _) => "invalid_request_error",
        (401, _) => "authentication_error",
        (403, _) => "permission_error",
        (404, _) => "not_found_error",
        (429, true) => "rate_limit_error",
        (429, false) => "rate_limit_exceeded",
        (529, true) => "overloaded_error",
        (_, true) => "api_error",
        (_, false) => "server_error",
    };
    let reply = error(status, is_anthropic, kind, &format!("the mock was asked for status {status}"));
    if status == 429 { reply.with_header("retry-after", "1") } else { reply }
}

/// An error in the dialect's own shape.
pub(super) fn error(status: u16, is_anthropic: bool, kind: &str, message: &str) -> Reply {
    let body = if is_anthropic {
        json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_mock"})
    } else {
        json!({"error": {"message": message, "type": kind, "param": null, "code": null}})
    };
    Reply::json(status, &body)
}

/// An error inside a stream.
pub(super) fn event(is_anthropic: bool) -> String {
    if is_anthropic {
        let data = json!({"type": "error", "error": {"type": "overloaded_error", "message": "overloaded on purpose"}});
        return format!("event: error\ndata: {data}\n\n");
    }
    let error = json!({"message": "broken on purpose", "type": "server_error", "param": null, "code": null});
    format!("data: {}\n\n", json!({"error": error}))
}

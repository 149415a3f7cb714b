//! The head of a backend's response, and what it decides: try again, read it whole, or let it stream.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tollgate_terms::{BackendFault, Delivery, Dialect, Operation, StreamFraming};

use crate::headers;
use crate::refusal::{GATEWAY_REQUEST_ID, REQUEST_ID};
use crate::routed::Routed;

/// Longest body of an error answer, in bytes. What a provider says in an error is short.
const ERROR_BODY_BYTES_MAX: u64 = 1 << 20;

/// Longest body of an answer that is held to be read or translated, in bytes: a batch of 2,048 embeddings of 3,072
/// numbers has about 60 MB.
const ANSWER_BODY_BYTES_MAX: u64 = 128 << 20;

/// Where some backends tell the type of an error.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// The content type of AWS's own framing.
const AWS_EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

/// Whether a failed attempt could be followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chance {
    /// There may be another attempt.
    More,
    /// This attempt's answer is the one that the client gets, good or bad.
    Last,
}

/// How an attempt wants the body of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receive {
    /// All of it, up to this many bytes.
    Whole {
        /// The limit, bytes.
        bytes_max: u64,
    },
    /// Piece by piece, as it comes.
    Stream,
}

/// The head of the response to the client.
#[derive(Debug)]
pub struct ResponseHead {
    /// Status.
    pub status: StatusCode,
    /// Headers, without `content-length`.
    pub headers: HeaderMap,
}

/// What the head of a backend's response says about its body.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    /// Content codings, as named; `None` for identity.
    pub(crate) coding: Option<String>,
    /// The type of an error, where a header tells it.
    pub(crate) error_kind: Option<String>,
    pub(crate) body: BodyKind,
}

/// What kind of body it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// An error in the backend's own shape.
    Error,
    /// One document.
    Document,
    /// Events, in this framing.
    Events(StreamFraming),
    /// Bytes that mean nothing to the gateway, such as audio.
    Opaque,
}

impl Incoming {
    /// `framing` is how the backend frames streams that are no server-sent events.
    pub(crate) fn read(routed: &Routed, framing: StreamFraming, status: u16, headers: &HeaderMap) -> Self {
        let content_type = headers::text(headers, CONTENT_TYPE).map(str::to_owned);
        let coding = headers::content_coding(headers).map(str::to_owned);
        let essence = content_type.as_deref().and_then(|text| text.split(';').next()).unwrap_or("").trim();
        let body = match status {
            // A redirect of a POST is no answer, and where it points is not for clients to know.
            300.. => BodyKind::Error,
            _ if essence.eq_ignore_ascii_case("text/event-stream") => BodyKind::Events(StreamFraming::Sse),
            _ if essence.eq_ignore_ascii_case(AWS_EVENT_STREAM) => BodyKind::Events(framing),
            _ if routed.operation == Operation::Speak => BodyKind::Opaque,
            _ => BodyKind::Document,
        };
        let error_kind = headers::text(headers, ERROR_TYPE).map(str::to_owned);
        Self { status, content_type, coding, error_kind, body }
    }

    pub(crate) fn receive(&self) -> Receive {
        match self.body {
            BodyKind::Error => Receive::Whole { bytes_max: ERROR_BODY_BYTES_MAX },
            BodyKind::Document => Receive::Whole { bytes_max: ANSWER_BODY_BYTES_MAX },
            BodyKind::Events(_) | BodyKind::Opaque => Receive::Stream,
        }
    }

    /// Whether a translation can read this body: a stream was asked for and comes, or neither.
    pub(crate) fn fits(&self, delivery: Delivery) -> bool {
        match self.body {
            BodyKind::Error => true,
            BodyKind::Events(_) => delivery == Delivery::Stream,
            BodyKind::Document => delivery == Delivery::Whole,
            BodyKind::Opaque => false,
        }
    }
}

/// The fault that an error status is.
///
/// `now_unix_ms` is for a `Retry-After` that names a date.
pub fn status_fault(status: u16, headers: &HeaderMap, now_unix_ms: u64) -> BackendFault {
    BackendFault::Status { status, retry_after: retry_after(headers, now_unix_ms) }
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3), or the `retry-after-ms` that SDKs prefer.
fn retry_after(headers: &HeaderMap, now_unix_ms: u64) -> Option<Duration> {
    let milliseconds = headers::text(headers, "retry-after-ms").and_then(|text| text.trim().parse().ok());
    if let Some(milliseconds) = milliseconds {
        return Some(Duration::from_millis(milliseconds));
    }
    let text = headers::text(headers, RETRY_AFTER)?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(Duration::from_millis(now_unix_ms)))
}

/// Adds the gateway's id of the exchange, in the header that clients of `dialect` read as well; a provider's own id stays there,
/// because its support asks for it.
pub(crate) fn identify(headers: &mut HeaderMap, dialect: Dialect, request_id: &str) {
    let Ok(id) = HeaderValue::from_str(request_id) else { return };
    for name in [REQUEST_ID, HeaderName::from_static(tollgate_dialect::request_id_header(dialect))] {
        headers.entry(name).or_insert_with(|| id.clone());
    }
    headers.insert(GATEWAY_REQUEST_ID, id);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_retry_after_in_all_its_forms() {
        let now_unix_ms = 784_111_777_000;
        for (name, value, expected) in [
            ("retry-after", "7", Some(Duration::from_secs(7))),
            ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT", Some(Duration::from_secs(10))),
            ("retry-after", "Sun, 06 Nov 1994 08:49:30 GMT", Some(Duration::ZERO)),
            ("retry-after-ms", "250", Some(Duration::from_millis(250))),
            ("retry-after", "soon", None),
        ] {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            assert_eq!(retry_after(&headers, now_unix_ms), expected, "{name}: {value}");
        }
    }
}

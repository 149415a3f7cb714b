//! Saying no, and saying what broke: every answer that the gateway itself gives.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tollgate_dialect::{ErrorBody, Invalid, InvalidKind, encode_error};
use tollgate_policy::authorize::{Denied, Wanted};
use tollgate_policy::quota::Standing;
use tollgate_terms::{BackendFault, ClientFault, Dialect, Fault, GatewayFault};

use crate::charge;
use crate::exchange::{HEAD_BYTES_MAX, HEADERS_MAX};
use crate::response::identify;

/// The gateway's own id of an exchange, on every response.
pub(crate) const GATEWAY_REQUEST_ID: HeaderName = HeaderName::from_static("x-tollgate-request-id");

/// The id of an exchange where no backend gave one.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// By which the SDKs of OpenAI and Anthropic are told not to try again.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Names at most this many models in an answer: enough to spot a typing mistake.
const KNOWN_MODELS_MAX: usize = 32;

/// An answer that the gateway gives by itself, complete.
#[derive(Debug, Clone)]
pub struct LocalReply {
    /// Status.
    pub status: StatusCode,
    /// Headers, `content-length` excepted.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Short, stable name of the reason, for metrics and logs; `None` for a good answer such as a model list.
    pub reason: Option<&'static str>,
}

impl LocalReply {
    /// The fault of an attempt that this reply ends before its backend was asked.
    pub fn fault(&self) -> Fault {
        match self.status {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                Fault::Client(ClientFault::Unprocessable)
            }
            StatusCode::TOO_MANY_REQUESTS => Fault::Client(ClientFault::OverLimit),
            StatusCode::SERVICE_UNAVAILABLE => Fault::Gateway(GatewayFault::LimitStore),
            StatusCode::UNAUTHORIZED => Fault::Gateway(GatewayFault::Credential),
            _ => Fault::Gateway(GatewayFault::Internal),
        }
    }
}

/// Why the gateway answers by itself.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// Nothing is served under this path.
    UnknownPath {
        /// The path asked for.
        path: String,
    },
    /// The path is served, but not with this method.
    MethodNotAllowed {
        /// What is allowed.
        allow: &'static str,
    },
    /// A protocol upgrade was asked for.
    Upgrade,
    /// A body is needed and none was announced.
    LengthRequired,
    /// The request body is larger than the listener takes.
    BodyTooLarge {
        /// The limit, bytes.
        bytes_max: u64,
    },
    /// The request body did not arrive in time.
    BodyTimeout,
    /// The request body ended before it was complete, or its framing is broken.
    BodyBroken,
    /// The request cannot be understood, or not be expressed for the backend.
    Invalid(Invalid),
    /// More than one `Host`, or none.
    BadHost,
    /// No rule takes the request.
    NoRoute {
        /// The model asked for.
        model: String,
        /// Models that exist here.
        known: Vec<String>,
    },
    /// The rule that takes the request cannot be served as it is configured.
    Misconfigured {
        /// Why.
        reason: String,
    },
    /// No backend of the rule can do this operation in any dialect that the gateway can reach.
    NotServed {
        /// The operation, as metrics name it.
        operation: &'static str,
    },
    /// The backend wants a credential per request, and there is none.
    MissingCredential,
    /// The request brought one part of a credential, and another is missing.
    HalfCredential,
    /// The head of the request is none of HTTP.
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The head of the request did not arrive in time.
    HeadTimeout,
    /// Two framings in one request.
    AmbiguousLength,
    /// The head of the request is larger than the gateway takes.
    HeadTooLarge,
    /// The request body is packed.
    ContentCoding {
        /// As named.
        coding: String,
    },
    /// A limit has nothing left for the request.
    Exceeded(Exceeded),
    /// The caller is not let in.
    Denied(Denied),
    /// Every attempt failed; this was the last fault.
    Failed(Fault),
}

/// A limit that has nothing left for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// What it is called.
    pub limit: Arc<str>,
    /// How it stands.
    pub standing: Standing,
    /// What the request wanted to take.
    pub asked: u64,
}

impl Refusal {
    /// The reply, in the words of `dialect`.
    pub fn reply(&self, dialect: Dialect, request_id: &str) -> LocalReply {
        let status = self.status(dialect);
        let message = self.message();
        let (code, param) = match self {
            Self::Invalid(invalid) => (invalid.code, invalid.param.as_deref()),
            Self::NoRoute { .. } => (Some("model_not_found"), Some("model")),
            Self::Exceeded(_) => (Some("rate_limit_exceeded"), None),
            Self::Denied(Denied::Unproved) => (Some("invalid_api_key"), None),
            _ => (None, None),
        };
        let error = ErrorBody {
            status: status.as_u16(),
            kind: self.kind(),
            message: &message,
            code,
            param,
            request_id,
        };
        let mut headers = reply_headers(dialect, request_id);
        match self {
            Self::MethodNotAllowed { allow } => {
                headers.insert(ALLOW, HeaderValue::from_static(allow));
            }
            // What is left of the body is not read, so the connection cannot be used again.
            Self::Upgrade | Self::BodyTooLarge { .. } | Self::BodyTimeout | Self::BodyBroken => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Malformed { .. } | Self::HeadTimeout | Self::AmbiguousLength | Self::HeadTooLarge => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::ContentCoding { .. } => {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            Self::Exceeded(exceeded) => exceeded.write(&mut headers),
            Self::Denied(Denied::Unproved) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Denied(Denied::KeysMissing(_))
            | Self::Failed(Fault::Gateway(
                GatewayFault::Credential
                | GatewayFault::Overloaded
                | GatewayFault::Behind
                | GatewayFault::LimitStore,
            )) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Failed(Fault::Gateway(GatewayFault::Draining)) => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Failed(Fault::Backend(BackendFault::Status { retry_after: Some(wait), .. })) => {
                // Rounded up: who comes a moment early is refused again.
                headers.insert(RETRY_AFTER, charge::seconds(*wait).into());
            }
            _ => {}
        }
        LocalReply { status, headers, body: encode_error(dialect, &error), reason: Some(self.label()) }
    }

    /// The status, which for one fault depends on the client's dialect: only some have 529.
    fn status(&self, dialect: Dialect) -> StatusCode {
        match self {
            Self::UnknownPath { .. } | Self::NoRoute { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Upgrade => StatusCode::NOT_IMPLEMENTED,
            Self::LengthRequired => StatusCode::LENGTH_REQUIRED,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout | Self::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken | Self::BadHost | Self::AmbiguousLength | Self::Malformed { .. } => {
                StatusCode::BAD_REQUEST
            }
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ContentCoding { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid(invalid) => match invalid.kind {
                InvalidKind::BadRequest => StatusCode::BAD_REQUEST,
                InvalidKind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                InvalidKind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            },
            Self::NotServed { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Misconfigured { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::MissingCredential | Self::HalfCredential => StatusCode::UNAUTHORIZED,
            Self::Exceeded(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Denied(denied) => match denied {
                Denied::Unproved => StatusCode::UNAUTHORIZED,
                Denied::Forbidden => StatusCode::FORBIDDEN,
                Denied::KeysMissing(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::Failed(fault) => fault_status(fault, dialect),
        }
    }

    /// The kind, in the words of the API that the gateway is compatible with; each dialect maps it to its own.
    fn kind(&self) -> &'static str {
        match self {
            Self::UnknownPath { .. } | Self::NoRoute { .. } => "NotFound",
            Self::MethodNotAllowed { .. } => "MethodNotAllowed",
            Self::Upgrade => "NotImplemented",
            Self::LengthRequired => "LengthRequired",
            Self::BodyTooLarge { .. } => "RequestTooLarge",
            Self::BodyTimeout | Self::HeadTimeout => "RequestTimeout",
            Self::BodyBroken | Self::BadHost | Self::AmbiguousLength | Self::Malformed { .. } => "BadRequest",
            Self::ContentCoding { .. } => "UnsupportedMediaType",
            Self::HeadTooLarge => "RequestHeaderFieldsTooLarge",
            Self::Invalid(invalid) => match invalid.kind {
                InvalidKind::BadRequest => "BadRequest",
                InvalidKind::UnsupportedMediaType => "UnsupportedMediaType",
                InvalidKind::Unprocessable => "UnprocessableEntity",
            },
            Self::NotServed { .. } => "UnprocessableEntity",
            Self::Misconfigured { .. } => "InternalServerError",
            Self::MissingCredential | Self::HalfCredential => "Unauthorized",
            Self::Exceeded(_) => "TooManyRequests",
            Self::Denied(denied) => match denied {
                Denied::Unproved => "Unauthorized",
                Denied::Forbidden => "Forbidden",
                Denied::KeysMissing(_) => "ServiceUnavailable",
            },
            Self::Failed(Fault::Gateway(GatewayFault::Internal)) => "InternalServerError",
            Self::Failed(Fault::Gateway(
                GatewayFault::Credential
                | GatewayFault::Overloaded
                | GatewayFault::Draining
                | GatewayFault::Behind
                | GatewayFault::LimitStore,
            )) => "ServiceUnavailable",
            Self::Failed(_) => "BackendError",
        }
    }

    /// Short, stable name for metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::UnknownPath { .. } => "unknown_path",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::Upgrade => "upgrade",
            Self::LengthRequired => "length_required",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::BodyBroken => "body_broken",
            Self::BadHost => "bad_host",
            Self::Invalid(_) => "invalid_request",
            Self::NoRoute { .. } => "no_route",
            Self::Misconfigured { .. } => "misconfigured",
            Self::NotServed { .. } => "not_served",
            Self::MissingCredential => "missing_credential",
            Self::HalfCredential => "half_credential",
            Self::Malformed { .. } => "malformed_head",
            Self::HeadTimeout => "head_timeout",
            Self::AmbiguousLength => "ambiguous_length",
            Self::HeadTooLarge => "head_too_large",
            Self::ContentCoding { .. } => "content_coding",
            Self::Exceeded(_) => "limit_exceeded",
            Self::Denied(denied) => match denied {
                Denied::Unproved => "unauthenticated",
                Denied::Forbidden => "forbidden",
                Denied::KeysMissing(_) => "keys_missing",
            },
            Self::Failed(fault) => fault.label(),
        }
    }

    /// Keys that should be fetched now, if it says no for lack of them.
    pub(crate) fn wanted(&self) -> Option<&Wanted> {
        match self {
            Self::Denied(Denied::KeysMissing(wanted)) => Some(wanted),
            _ => None,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::UnknownPath { path } => format!("unsupported path: {path}"),
            Self::MethodNotAllowed { allow } => format!("method not allowed: this path takes {allow}"),
            Self::Upgrade => "protocol upgrades such as WebSocket are not supported".to_owned(),
            Self::LengthRequired => {
                "a request body with content-length or chunked encoding is required".to_owned()
            }
            Self::BodyTooLarge { bytes_max } => {
                format!("request body is larger than the limit of {bytes_max} bytes")
            }
            Self::BodyTimeout => "the request body did not arrive in time".to_owned(),
            Self::BodyBroken => "the request body ended before it was complete".to_owned(),
            Self::BadHost => "exactly one host is required".to_owned(),
            Self::Invalid(invalid) => invalid.message.clone(),
            Self::NoRoute { model, known } => no_route_message(model, known),
            Self::Misconfigured { reason } => {
                format!("the route that takes this request is misconfigured: {reason}")
            }
            Self::NotServed { operation } => {
                format!("no backend of the route that takes this request can serve {operation}")
            }
            Self::MissingCredential => "missing upstream credential".to_owned(),
            Self::HalfCredential => {
                "missing upstream credential: the request brought a part of one, and the rest is missing"
                    .to_owned()
            }
            Self::Malformed { what } => format!("the head of the request is not valid HTTP/1.1: {what}"),
            Self::HeadTimeout => "the head of the request did not arrive in time".to_owned(),
            Self::AmbiguousLength => {
                "a request has either content-length or transfer-encoding, not both".to_owned()
            }
            Self::HeadTooLarge => format!(
                "a request has at most {HEADERS_MAX} headers, and with its path at most {HEAD_BYTES_MAX} bytes of them"
            ),
            Self::ContentCoding { coding } => {
                format!("request bodies are taken as they are, without the content-encoding {coding:?}")
            }
            Self::Exceeded(exceeded) => exceeded.message(),
            // The same whatever was wrong: who guesses learns nothing.
            Self::Denied(Denied::Unproved) => {
                "invalid API key or token: a valid one is needed to use this gateway".to_owned()
            }
            Self::Denied(Denied::Forbidden) => "you may not use this".to_owned(),
            Self::Denied(Denied::KeysMissing(_)) => {
                "the keys that tokens are verified by are not available; try again".to_owned()
            }
            Self::Failed(fault) => fault_message(fault),
        }
    }
}

impl Exceeded {
    /// Whether there is no use in coming again: the request may use more than there ever is.
    fn never_fits(&self) -> bool {
        self.asked > self.standing.limit
    }

    fn write(&self, headers: &mut HeaderMap) {
        if self.never_fits() {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        } else {
            let wait = self.standing.reset.map_or(1, charge::seconds);
            headers.insert(RETRY_AFTER, wait.max(1).into());
        }
        charge::write_standing(charge::digits(self.standing.limit), &self.standing, headers);
    }

    fn message(&self) -> String {
        let Self { limit, standing, asked } = self;
        let left = format!("{} of {} left", standing.remaining, standing.limit);
        let wait = standing.reset.filter(|_| !self.never_fits());
        let wait = wait.map(|wait| format!("; try again in {} s", charge::seconds(wait))).unwrap_or_default();
        match asked {
            0 => format!("limit exceeded: {limit}: {left}{wait}"),
            _ => format!("limit exceeded: {limit}: {left}, and the request may use {asked}{wait}"),
        }
    }
}

/// Headers that every local reply has.
pub(crate) fn reply_headers(dialect: Dialect, request_id: &str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(5);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    identify(&mut headers, dialect, request_id);
    headers
}

fn no_route_message(model: &str, known: &[String]) -> String {
    let mut message =
        format!("No matching route found: the model \"{model}\" is not configured in the gateway.");
    if !known.is_empty() {
        let listed: Vec<&str> = known.iter().take(KNOWN_MODELS_MAX).map(String::as_str).collect();
        message.push_str(" Configured models: ");
        message.push_str(&listed.join(", "));
        if known.len() > KNOWN_MODELS_MAX {
            message.push_str(", ...");
        }
        message.push('.');
    }
    message
}

/// 502, 503 or 504 by cause; a backend's own status where it had one.
pub(crate) fn fault_status(fault: &Fault, dialect: Dialect) -> StatusCode {
    let Fault::Backend(fault) = fault else {
        return match fault {
            Fault::Gateway(
                GatewayFault::Credential
                | GatewayFault::Draining
                | GatewayFault::Overloaded
                | GatewayFault::Behind
                | GatewayFault::LimitStore,
            ) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
    };
    match fault {
        BackendFault::Unreachable | BackendFault::ErrorEvent => StatusCode::SERVICE_UNAVAILABLE,
        BackendFault::Reset
        | BackendFault::Protocol
        | BackendFault::Cut
        | BackendFault::Unreadable
        | BackendFault::TooLarge => StatusCode::BAD_GATEWAY,
        BackendFault::FirstByteTimeout | BackendFault::IdleTimeout | BackendFault::Deadline => {
            StatusCode::GATEWAY_TIMEOUT
        }
        BackendFault::Status { status, .. } => client_status(*status, dialect),
    }
}

/// The status to tell a client when a backend answered with `status`.
pub(crate) fn client_status(status: u16, dialect: Dialect) -> StatusCode {
    if (300..400).contains(&status) {
        return StatusCode::BAD_GATEWAY;
    }
    if !tollgate_dialect::knows_status(dialect, status) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// What to tell the client of a fault. It names no backend: which ones were tried is in the log.
pub(crate) fn fault_message(fault: &Fault) -> String {
    match fault {
        Fault::Client(fault) => fault.to_string(),
        Fault::Gateway(GatewayFault::Draining) => "the gateway is shutting down".to_owned(),
        Fault::Gateway(GatewayFault::Overloaded) => {
            "the backend has as many requests in flight as its limit allows".to_owned()
        }
        Fault::Gateway(GatewayFault::Behind) => {
            "the gateway is taking a new configuration in; try again".to_owned()
        }
        Fault::Gateway(GatewayFault::LimitStore) => {
            "the limits of this request cannot be checked at the moment".to_owned()
        }
        Fault::Gateway(GatewayFault::Credential) => {
            "no credential for the backend could be obtained".to_owned()
        }
        Fault::Gateway(GatewayFault::Internal) => "internal error of the gateway".to_owned(),
        Fault::Backend(fault) => match fault {
            BackendFault::Unreachable => "no backend could be reached".to_owned(),
            BackendFault::Reset => "the backend closed the connection before it answered".to_owned(),
            BackendFault::Protocol => "the backend's answer is not valid HTTP".to_owned(),
            BackendFault::Cut => "the backend ended its answer before it was complete".to_owned(),
            BackendFault::FirstByteTimeout => "the backend did not begin to answer in time".to_owned(),
            BackendFault::IdleTimeout => "the backend fell silent in the middle of its answer".to_owned(),
            BackendFault::Deadline => "the request took longer than its timeout".to_owned(),
            BackendFault::Status { status, .. } => format!("the backend answered with status {status}"),
            BackendFault::ErrorEvent => "the backend reported an error before its answer began".to_owned(),
            BackendFault::Unreadable => "the backend's answer cannot be read".to_owned(),
            BackendFault::TooLarge => "the backend's answer exceeds a limit of the gateway".to_owned(),
        },
    }
}

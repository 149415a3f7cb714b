//! Envoy's own replies, in the words of the client's dialect.

use http::HeaderMap;
use serde_json::{Value, json};
use tollgate_dialect::{
    EndpointPath, ErrorBody, Prefixes, encode_error, endpoint_paths, error_dialect, request_id_header,
};
use tollgate_terms::Dialect;

use super::callers::Handed;
use super::form::extension;
use super::names::{DIALECT, EXCHANGE, FAULT_HEADER, METADATA_NAMESPACE, REPLY_DETAILS, REQUEST_ID_HEADER};

const EXPRESSION: &str = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter";

/// What Envoy's details begin with when its external processor cannot be reached.
const NO_PROCESSOR: &str = "ext_proc_error_gRPC_error_14";

/// Envoy's details where its filter for rate limits refuses, and where that cannot ask.
const OVER_LIMIT: &str = "request_rate_limited";
const NO_LIMITS: &str = "rate_limiter_error";

/// One cause of a reply.
struct Cause {
    when: When,
    /// The status to answer with, where it is not Envoy's.
    status: Option<u16>,
    /// What the body says the status is.
    told: u16,
    kind: &'static str,
    message: &'static str,
    /// What the processor is told: the label of a fault, or of a refusal.
    label: &'static str,
}

/// How a cause is known.
enum When {
    /// By one of these response flags.
    Flags(&'static [&'static str]),
    /// By Envoy's details of the reply.
    Details(&'static str),
    /// By a route that is an answer, and no redirect.
    Misconfigured,
    /// By what these begin with.
    DetailsFrom(&'static str),
    /// By its status.
    Status(u16),
    /// By a status of at least this.
    From(u16),
}

/// The causes; the first that fits counts. Statuses, kinds and words are those of the embedded data plane.
const CAUSES: [Cause; 18] = [
    // By the filter that asks a rate limit service.
    Cause {
        when: When::Details(OVER_LIMIT),
        status: None,
        told: 429,
        kind: "TooManyRequests",
        message: "a rate limit has nothing left for this request",
        label: "limit_exceeded",
    },
    Cause {
        when: When::Details(NO_LIMITS),
        status: None,
        told: 503,
        kind: "ServiceUnavailable",
        message: "the limits of this request cannot be checked at the moment",
        label: "limit_store",
    },
    Cause {
        when: When::Details("upgrade_failed"),
        status: Some(501),
        told: 501,
        kind: "NotImplemented",
        message: "protocol upgrades such as WebSocket are not supported",
        label: "upgrade",
    },
    Cause {
        when: When::Status(404),
        status: None,
        told: 404,
        kind: "NotFound",
        message: "No matching route found.",
        label: "no_route",
    },
    Cause {
        when: When::Misconfigured,
        status: None,
        told: 500,
        kind: "InternalServerError",
        message: "%LOCAL_REPLY_BODY%",
        label: "misconfigured",
    },
    Cause {
        when: When::Flags(&["UO"]),
        status: None,
        told: 503,
        kind: "ServiceUnavailable",
        message: "the backend has as many requests in flight as its limit allows",
        label: "overloaded",
    },
    Cause {
        when: When::Flags(&["UF", "UH", "NC"]),
        status: Some(503),
        told: 503,
        kind: "BackendError",
        message: "no backend could be reached",
        label: "unreachable",
    },
    Cause {
        when: When::Flags(&["UC", "UR", "LR"]),
        status: Some(502),
        told: 502,
        kind: "BackendError",
        message: "the backend closed the connection before it answered",
        label: "reset",
    },
    Cause {
        when: When::Flags(&["UPE"]),
        status: Some(502),
        told: 502,
        kind: "BackendError",
        message: "the backend's answer is not valid HTTP",
        label: "protocol",
    },
    Cause {
        when: When::Details("response_timeout"),
        status: Some(504),
        told: 504,
        kind: "BackendError",
        message: "the request took longer than its timeout",
        label: "deadline",
    },
    Cause {
        when: When::Flags(&["UT"]),
        status: Some(504),
        told: 504,
        kind: "BackendError",
        message: "the backend did not begin to answer in time",
        label: "first_byte_timeout",
    },
    Cause {
        when: When::Status(408),
        status: None,
        told: 408,
        kind: "RequestTimeout",
        message: "the request body did not arrive in time",
        label: "body_timeout",
    },
    Cause {
        when: When::Status(413),
        status: None,
        told: 413,
        kind: "RequestTooLarge",
        message: "request body is larger than the limit",
        label: "body_too_large",
    },
    Cause {
        when: When::Status(431),
        status: None,
        told: 431,
        kind: "RequestHeaderFieldsTooLarge",
        message: "a request has at most so many headers, and so many bytes of them",
        label: "head_too_large",
    },
    Cause {
        when: When::Status(504),
        status: None,
        told: 504,
        kind: "BackendError",
        message: "the request took longer than its timeout",
        label: "deadline",
    },
    // By the processor's connection: UNAVAILABLE of gRPC. Clients that wait and ask again are served as soon as it is back.
    Cause {
        when: When::DetailsFrom(NO_PROCESSOR),
        status: Some(503),
        told: 503,
        kind: "ServiceUnavailable",
        message: "the gateway is not able to serve at the moment",
        label: "internal",
    },
    Cause {
        when: When::From(500),
        status: Some(500),
        told: 500,
        kind: "InternalServerError",
        message: "internal error of the gateway",
        label: "internal",
    },
    Cause {
        when: When::From(400),
        status: None,
        told: 400,
        kind: "BadRequest",
        message: "the request is not valid HTTP",
        label: "malformed_head",
    },
];

/// The label of a reply for lack of the keys of an issuer.
const KEYS_MISSING: &str = "keys_missing";

/// The same of filters that look at callers. They come before the processor, so the path alone tells the dialect.
const CALLERS: [Cause; 3] = [
    Cause {
        when: When::Details("jwt_authn_access_denied{Jwks_remote_fetch_is_failed}"),
        status: Some(503),
        told: 503,
        kind: "ServiceUnavailable",
        message: "the keys that tokens are verified by are not available; try again",
        label: KEYS_MISSING,
    },
    // Some of them are 403 to Envoy.
    Cause { when: When::DetailsFrom("jwt_authn_access_denied"), ..UNPROVED },
    Cause { when: When::Status(401), ..UNPROVED },
];

const UNPROVED: Cause = Cause {
    when: When::Status(401),
    status: Some(401),
    told: 401,
    kind: "Unauthorized",
    message: "invalid API key or token: a valid one is needed to use this gateway",
    label: "unauthenticated",
};

/// The configuration of a connection manager whose filters look at the callers of `handed`.
pub(super) fn config(handed: &Handed<'_>) -> Value {
    let of_callers = CALLERS.iter().filter(|_| !handed.is_empty());
    let of_callers = of_callers.flat_map(|cause| mappers(cause, &spoken_at));
    let others = CAUSES.iter().flat_map(|cause| mappers(cause, &spoken));
    json!({ "mappers": of_callers.chain(others).collect::<Vec<Value>>() })
}

/// The mappers of one cause: one for each shape that errors have. The last serves every other dialect, and requests whose dialect is
/// not known.
fn mappers(cause: &Cause, spoken: &dyn Fn(Dialect) -> Option<Value>) -> Vec<Value> {
    let fallback = shape(cause, Dialect::OpenAiChat);
    let mut others = Dialect::ALL.map(|dialect| (dialect, shape(cause, dialect))).to_vec();
    others.retain(|(_, other)| *other != fallback);
    let mut mappers: Vec<Value> = others
        .into_iter()
        .filter_map(|(dialect, shape)| Some(mapper(cause, Some((dialect, spoken(dialect)?)), &shape)))
        .collect();
    mappers.push(mapper(cause, None, &fallback));
    mappers
}

/// The body, with Envoy's operators in it.
fn shape(cause: &Cause, dialect: Dialect) -> String {
    let request_id = request_id();
    let error = ErrorBody {
        status: cause.told,
        kind: cause.kind,
        message: cause.message,
        code: match cause.when {
            When::Details(OVER_LIMIT) => Some("rate_limit_exceeded"),
            _ if cause.label == UNPROVED.label => Some("invalid_api_key"),
            _ => Some("%RESPONSE_CODE%").filter(|_| cause.status.is_none()),
        },
        param: None,
        request_id: &request_id,
    };
    String::from_utf8_lossy(&encode_error(dialect, &error)).into_owned()
}

/// How Envoy says the id of the exchange.
pub(super) fn request_id() -> String {
    format!("%DYNAMIC_METADATA({METADATA_NAMESPACE}:{EXCHANGE})%")
}

/// By what the processor has told Envoy that the client speaks `dialect`.
fn spoken(dialect: Dialect) -> Option<Value> {
    let expected = json!({
        "filter": METADATA_NAMESPACE,
        "path": [{ "key": DIALECT }],
        "value": { "string_match": { "exact": dialect.label() } },
    });
    Some(json!({ "metadata_filter": { "matcher": expected, "match_if_key_not_found": false } }))
}

/// By its path, and the header by which clients say that they speak Anthropic's: what [`error_dialect`] finds. `None` if no path is
/// for it.
fn spoken_at(dialect: Dialect) -> Option<Value> {
    let prefixes = Prefixes::default();
    let mut exact = Vec::new();
    let mut others = Vec::new();
    for path in endpoint_paths(&prefixes) {
        let EndpointPath::Exact(path) = path else { continue };
        let known = error_dialect(&path, &HeaderMap::new());
        if known == dialect { exact.push(path) } else { others.push(path) }
    }
    let list = |paths: &[String]| format!("request.url_path in {}", Value::from(paths.to_vec()));
    let below = |prefix: &str| format!("request.url_path.startsWith('{prefix}')");
    let mut holds = Vec::new();
    if !exact.is_empty() {
        holds.push(list(&exact));
    }
    match dialect {
        Dialect::AnthropicMessages => {
            holds.push(below(&prefixes.anthropic));
            holds.push(format!("('anthropic-version' in request.headers && !({}))", list(&others)));
        }
        Dialect::CohereRerank => holds.push(below(&prefixes.cohere)),
        Dialect::Gemini => {
            let ends = GEMINI_CALLS.map(|call| format!("request.url_path.endsWith(':{call}')"));
            holds.extend(ends);
        }
        _ => {}
    }
    (!holds.is_empty()).then(|| expression(&holds.join(" || ")))
}

/// How paths of Google's dialect end.
const GEMINI_CALLS: [&str; 3] = ["generateContent", "streamGenerateContent", "countTokens"];

fn mapper(cause: &Cause, dialect: Option<(Dialect, Value)>, shape: &str) -> Value {
    let mut filters = vec![not_ours(), cause.when.filter()];
    let (dialect, filter) = dialect.unzip();
    filters.extend(filter);
    let mut mapper = json!({
        "filter": { "and_filter": { "filters": filters } },
        "body_format_override": {
            "text_format_source": { "inline_string": shape },
            "content_type": "application/json",
        },
        "headers_to_add": headers(cause, dialect.unwrap_or(Dialect::OpenAiChat)),
    });
    if let (Some(status), Value::Object(members)) = (cause.status, &mut mapper) {
        members.insert("status_code".to_owned(), status.into());
    }
    mapper
}

fn headers(cause: &Cause, dialect: Dialect) -> Vec<Value> {
    let request_id = request_id();
    let mut headers = vec![("x-request-id", request_id.clone()), (REQUEST_ID_HEADER, request_id.clone())];
    if request_id_header(dialect) != "x-request-id" {
        headers.push((request_id_header(dialect), request_id));
    }
    headers.push((FAULT_HEADER, cause.label.to_owned()));
    if cause.label == UNPROVED.label {
        headers.push(("www-authenticate", "Bearer".to_owned()));
    }
    let is_passing = matches!(
        cause.when,
        When::Flags(["UO"]) | When::DetailsFrom(NO_PROCESSOR) | When::Details(NO_LIMITS)
    );
    if is_passing || cause.label == KEYS_MISSING {
        headers.push(("retry-after", "1".to_owned()));
    }
    let add = |(key, value)| json!({ "header": { "key": key, "value": value }, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" });
    headers.into_iter().map(add).collect()
}

/// Replies of the processor are complete.
fn not_ours() -> Value {
    expression(&format!("!response.code_details.startsWith('{REPLY_DETAILS}')"))
}

fn expression(text: &str) -> Value {
    json!({ "extension_filter": extension("cel", EXPRESSION, json!({ "expression": text })) })
}

impl When {
    fn filter(&self) -> Value {
        let status = |operator: &str, status: u16| {
            let value = json!({ "default_value": status, "runtime_key": "tollgate.none" });
            json!({ "status_code_filter": { "comparison": { "op": operator, "value": value } } })
        };
        match self {
            Self::Flags(flags) => json!({ "response_flag_filter": { "flags": flags } }),
            Self::Misconfigured => {
                expression("response.code_details == 'direct_response' && response.code >= 500")
            }
            Self::Details(details) => expression(&format!("response.code_details == '{details}'")),
            Self::DetailsFrom(begin) => expression(&format!("response.code_details.startsWith('{begin}')")),
            Self::Status(exact) => status("EQ", *exact),
            Self::From(first) => status("GE", *first),
        }
    }
}

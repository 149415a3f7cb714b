//! The head of a request: what it is for, whether its caller is let in, and how its body is wanted.

use std::sync::Arc;

use http::header::UPGRADE;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tollgate_config::{ListedModel, Snapshot};
use tollgate_dialect::{Endpoint, Invalid, PathFacts, Prefixes};
use tollgate_policy::authorize::Granted;
use tollgate_terms::{Dialect, Fault, GatewayFault, Operation, Principal};

use crate::entry;
use crate::exchange::{Arrival, BodyFraming, HEAD_BYTES_MAX, HEADERS_MAX, RequestHead};
use crate::headers;
use crate::passage::{self, Decided};
use crate::refusal::{LocalReply, Refusal, reply_headers};
use crate::shape::Shape;

/// What reading a head leads to.
pub(crate) enum Opened {
    Await(AwaitBody),
    Plain(Decided),
    Reply(LocalReply, Arc<Principal>),
}

/// A request that is served, without its body yet.
#[derive(Debug)]
pub(crate) struct AwaitBody {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) dialect: Dialect,
    pub(crate) operation: Operation,
    /// What the path tells of the request.
    pub(crate) told: Option<PathFacts>,
    /// In which form the answer is wanted.
    pub(crate) shape: Shape,
    pub(crate) bytes_max: u64,
    /// What the caller was let in with, but for headers that are in the head already; `None` while that depends on the rule.
    pub(crate) granted: Option<Granted>,
}

/// Reads the head of a request, and lets its caller in as far as that can be told by it.
pub(crate) fn open(
    snapshot: &Arc<Snapshot>,
    head: &mut RequestHead,
    arrival: &Arrival,
) -> Result<Opened, Refusal> {
    if is_too_large(head) {
        return Err(Refusal::HeadTooLarge);
    }
    let Some(host) = head.host.as_deref() else { return Err(Refusal::BadHost) };
    if head.headers.contains_key(UPGRADE) {
        return Err(Refusal::Upgrade);
    }
    let endpoint = tollgate_dialect::endpoint(&head.path, &head.headers, &Prefixes::default());
    if (endpoint.is_none() || !snapshot.has_models(&head.listener, host))
        && let Some(decided) = passage::decide(snapshot, head, arrival)
    {
        return Ok(Opened::Plain(decided));
    }
    match endpoint.ok_or_else(|| Refusal::UnknownPath { path: head.path.clone() })? {
        Endpoint::Operation { dialect, operation, told } => {
            let mut await_body = admit(snapshot, head, dialect, operation, told)?;
            let entries = snapshot.entries(&head.listener, head.host.as_deref().unwrap_or_default());
            await_body.granted = entry::enter_any(entries, head, arrival).map_err(Refusal::Denied)?;
            Ok(Opened::Await(await_body))
        }
        Endpoint::Models { dialect, id } => {
            if !matches!(head.method, Method::GET | Method::HEAD) {
                return Err(Refusal::MethodNotAllowed { allow: "GET, HEAD" });
            }
            models(snapshot, head, dialect, id.as_deref(), arrival)
        }
    }
}

fn is_too_large(head: &RequestHead) -> bool {
    let header_bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    head.headers.len() > HEADERS_MAX
        || head.path.len() + head.headers.iter().map(header_bytes).sum::<usize>() > HEAD_BYTES_MAX
}

fn admit(
    snapshot: &Arc<Snapshot>,
    head: &RequestHead,
    dialect: Dialect,
    operation: Operation,
    told: Option<PathFacts>,
) -> Result<AwaitBody, Refusal> {
    if head.method != Method::POST {
        return Err(Refusal::MethodNotAllowed { allow: "POST" });
    }
    let shape = Shape::of(head, told.as_ref()).ok_or_else(|| {
        let message = "streams are served as server-sent events with alt=sse, and as an array without";
        Refusal::Invalid(Invalid::bad_request(message))
    })?;
    if let Some(coding) = headers::content_coding(&head.headers) {
        return Err(Refusal::ContentCoding { coding: coding.to_owned() });
    }
    // A connection may outlive the listener that took it.
    let listener =
        snapshot.listener(&head.listener).ok_or(Refusal::Failed(Fault::Gateway(GatewayFault::Draining)))?;
    let bytes_max = listener.request_body_bytes_max;
    match head.body {
        BodyFraming::Absent => Err(Refusal::LengthRequired),
        BodyFraming::Sized(bytes) if bytes > bytes_max => Err(Refusal::BodyTooLarge { bytes_max }),
        BodyFraming::Sized(_) | BodyFraming::Unsized => Ok(AwaitBody {
            snapshot: Arc::clone(snapshot),
            dialect,
            operation,
            told,
            shape,
            bytes_max,
            granted: None,
        }),
    }
}

fn models(
    snapshot: &Snapshot,
    head: &RequestHead,
    dialect: Dialect,
    id: Option<&str>,
    arrival: &Arrival,
) -> Result<Opened, Refusal> {
    let visible = entry::visible(snapshot, head, arrival).map_err(Refusal::Denied)?;
    let entries = visible.models.iter().map(|model| tollgate_dialect::ModelEntry {
        id: model.id.as_ref(),
        owned_by: &model.owned_by,
        created_s: model.created_s,
    });
    let body = match id {
        None => tollgate_dialect::encode_models(dialect, &entries.collect::<Vec<_>>()),
        Some(id) => {
            let entry = entries.into_iter().find(|entry| entry.id == id).ok_or_else(|| Refusal::NoRoute {
                model: id.to_owned(),
                known: known_models(&visible.models),
            })?;
            tollgate_dialect::encode_model(dialect, &entry)
        }
    };
    let headers = reply_headers(dialect, &arrival.request_id);
    let reply = LocalReply { status: StatusCode::OK, headers, body, reason: None };
    Ok(Opened::Reply(reply, visible.principal))
}

/// The names of `models`.
pub(crate) fn known_models(models: &[&ListedModel]) -> Vec<String> {
    models.iter().map(|model| model.id.to_string()).collect()
}

//! One request: from hyper's types into the core, and the core's answer back.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use tollgate_exchange::{
    Arrival, BodyFraming, BodyPlan, Exchange, LocalReply, Outcome, Refusal, RequestHead,
};
use tollgate_terms::{Dialect, Fault, GatewayFault};

use crate::answer::{AnswerBody, WholeBody};
use crate::clock;
use crate::collect::{Incomplete, collect};
use crate::dispatch;
use crate::patience::Patience;
use crate::request_id::request_id;
use crate::settle::Running;
use crate::worker::Worker;

/// Who sent a request, and through which door.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// The address that it connected to.
    pub(crate) address: SocketAddr,
    /// Its own address.
    pub(crate) peer: SocketAddr,
    /// How long its connection waits for it.
    pub(crate) patience: Arc<Patience>,
}

/// Answers one request. Never fails: what goes wrong becomes a response.
pub(crate) async fn respond(
    worker: Arc<Worker>,
    client: Client,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let ends = worker.drain.has_begun() && request.version() < Version::HTTP_2;
    let request_id = request_id();
    let last_words = LastWords::new(&request, &request_id);
    let served = AssertUnwindSafe(serve(&worker, client, request, request_id)).catch_unwind();
    let mut response = tokio::select! {
        biased;
        served = served => served.unwrap_or_else(|_| {
            worker.telemetry.panicked();
            last_words.say(GatewayFault::Internal)
        }),
        () = worker.drain.cut_off() => last_words.say(GatewayFault::Draining),
    };
    if ends {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What it takes to answer when the exchange itself is lost: it settles as it is dropped.
struct LastWords {
    dialect: Dialect,
    request_id: Arc<str>,
}

impl LastWords {
    fn new(request: &Request<Incoming>, request_id: &Arc<str>) -> Self {
        let dialect = tollgate_exchange::error_dialect(request.uri().path(), request.headers());
        Self { dialect, request_id: Arc::clone(request_id) }
    }

    fn say(&self, fault: GatewayFault) -> Response<AnswerBody> {
        let reply = Refusal::Failed(Fault::Gateway(fault)).reply(self.dialect, &self.request_id);
        response(reply.status, reply.headers, AnswerBody::unowned(reply.body))
    }
}

async fn serve(
    worker: &Worker,
    client: Client,
    request: Request<Incoming>,
    request_id: Arc<str>,
) -> Response<AnswerBody> {
    let serving = worker.serving();
    let arrival = Arrival { request_id, at: clock::now(), at_unix_ms: clock::unix_ms() };
    let (parts, body) = request.into_parts();
    let head = head(&serving.doors, &client, parts, &body);
    let (exchange, plan) = Exchange::new(&serving.snapshot, head, arrival);
    let (telemetry, drain) = (Arc::clone(&worker.telemetry), worker.drain.enter());
    let mut running = Running::new(exchange, serving, telemetry, drain, client.patience);
    let BodyPlan::Whole { bytes_max } = match plan {
        Ok(plan) => plan,
        Err(reply) => return local(running, reply),
    };
    let collected = tokio::time::timeout(worker.request_body_timeout, collect(body, bytes_max)).await;
    let body = match collected {
        Ok(Ok(body)) => body,
        Ok(Err(Incomplete::TooLarge)) => return refuse(running, &Refusal::BodyTooLarge { bytes_max }),
        Ok(Err(Incomplete::Broken)) => return refuse(running, &Refusal::BodyBroken),
        Err(_) => return refuse(running, &Refusal::BodyTimeout),
    };
    let Some(exchange) = running.exchange() else { return internal_error() };
    match exchange.on_request_body(body) {
        Ok(routed) => dispatch::dispatch(worker, running, routed).await,
        Err(reply) => local(running, *reply),
    }
}

/// A response that the gateway gives by itself.
pub(crate) fn local(running: Running, reply: LocalReply) -> Response<AnswerBody> {
    let outcome = if reply.reason.is_some() { Outcome::Refused } else { Outcome::Complete };
    reply_with(running, reply, outcome)
}

/// A response that the gateway gives because every attempt failed, the last by `fault`.
pub(crate) fn fail(mut running: Running, fault: &Fault) -> Response<AnswerBody> {
    match running.exchange().map(|exchange| exchange.fail(fault)) {
        Some(reply) => reply_with(running, reply, Outcome::of(fault)),
        None => internal_error(),
    }
}

fn reply_with(mut running: Running, reply: LocalReply, outcome: Outcome) -> Response<AnswerBody> {
    running.set_status(reply.status.as_u16());
    let body = WholeBody::new(reply.body, running, outcome, reply.reason);
    response(reply.status, reply.headers, AnswerBody::Whole(Box::new(body)))
}

/// A response of these parts.
pub(crate) fn response(status: StatusCode, headers: HeaderMap, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Says no.
pub(crate) fn refuse(mut running: Running, refusal: &Refusal) -> Response<AnswerBody> {
    match running.exchange().map(|exchange| exchange.refuse(refusal)) {
        Some(reply) => local(running, reply),
        None => internal_error(),
    }
}

/// The last resort, when a bug has taken everything else away.
fn internal_error() -> Response<AnswerBody> {
    let body = br#"{"type":"error","error":{"type":"InternalServerError","code":"500","message":"internal error of the gateway"}}"#;
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let body = AnswerBody::unowned(Bytes::from_static(body));
    response(StatusCode::INTERNAL_SERVER_ERROR, headers, body)
}

fn head(
    doors: &std::collections::BTreeMap<SocketAddr, Arc<crate::door::Door>>,
    client: &Client,
    parts: http::request::Parts,
    body: &Incoming,
) -> RequestHead {
    let host = host(&parts);
    let door = doors.get(&client.address);
    let listener = door
        .and_then(|door| door.listener(host.as_deref().unwrap_or_default()).or_else(|| door.any_listener()))
        .cloned()
        .unwrap_or_else(|| "".into());
    RequestHead {
        body: framing(&parts, body),
        method: parts.method,
        path: parts.uri.path().to_owned(),
        host,
        headers: parts.headers,
        listener,
        client_address: client.peer.ip().to_string(),
    }
}

/// The host asked for: the authority of the target where it has one (HTTP/2, absolute form), else the one `Host`.
fn host(parts: &http::request::Parts) -> Option<String> {
    if let Some(authority) = parts.uri.authority() {
        return Some(authority.as_str().to_owned());
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then(|| host.to_owned())
}

fn framing(parts: &http::request::Parts, body: &Incoming) -> BodyFraming {
    match body.size_hint().exact() {
        Some(0)
            if !parts.headers.contains_key(CONTENT_LENGTH)
                && !parts.headers.contains_key(TRANSFER_ENCODING) =>
        {
            BodyFraming::Absent
        }
        Some(bytes) => BodyFraming::Sized(bytes),
        None => BodyFraming::Unsized,
    }
}

//! One request: from the types of HTTP into the core, and the core's answer back.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use tollgate_config::Snapshot;
use tollgate_exchange::authorize::Keyring;
use tollgate_exchange::{
    Arrival, BodyFraming, BodyPlan, ClientRequest, Exchange, LocalReply, Outcome, Refusal, RequestHead,
    Routed,
};
use tollgate_terms::{Dialect, Fault, GatewayFault};

use crate::answer::{AnswerBody, WholeBody};
use crate::clock;
use crate::collect::{Incomplete, collect};
use crate::dispatch;
use crate::pass;
use crate::patience::Patience;
use crate::serving::Serving;
use crate::settle::Running;
use crate::worker::Worker;
use tollgate_effects::request_id;

/// What stands in the log for a method that could not be read.
const UNKNOWN_METHOD: &[u8] = b"-";

/// Who answers at each address.
type Doors = std::collections::BTreeMap<SocketAddr, Arc<crate::door::Door>>;

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

/// The body of a request, and what can be told of the client that sends it.
pub(crate) trait RequestBody: Body<Data = Bytes> + Unpin + Send {
    /// Completes when the client has left: nobody waits for the answer any more. For when the body is over.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Hands out pieces as they come from now on, however small: nobody wants the whole.
    fn pass(&mut self) {}
}

impl RequestBody for Incoming {
    fn poll_left(&mut self, _: &mut Context<'_>) -> Poll<()> {
        // hyper ends the answer by itself.
        Poll::Pending
    }
}

/// Answers one request, unless the client leaves before. Never fails: what goes wrong becomes a response.
pub(crate) async fn respond(
    worker: &Worker,
    client: &Client,
    request: Request<()>,
    body: &mut impl RequestBody,
) -> Option<Response<AnswerBody>> {
    let request_id = request_id();
    let last_words = LastWords::new(&request, &request_id);
    let served = AssertUnwindSafe(serve(worker, client, request, body, request_id)).catch_unwind();
    tokio::select! {
        biased;
        served = served => served.unwrap_or_else(|_| {
            worker.telemetry.panicked();
            Some(last_words.say(GatewayFault::Internal))
        }),
        () = worker.drain.cut_off() => Some(last_words.say(GatewayFault::Draining)),
    }
}

/// Says no to a head that cannot be read, or does not come to an end. `asked` is what is known of it.
pub(crate) fn refuse_head(
    worker: &Worker,
    client: &Client,
    refusal: &Refusal,
    asked: Option<(Method, String)>,
) -> Response<AnswerBody> {
    let serving = worker.serving();
    let arrival = arrival(&serving, request_id());
    let unknown = || (Method::from_bytes(UNKNOWN_METHOD).unwrap_or_default(), String::new());
    let (method, path) = asked.unwrap_or_else(unknown);
    let head = RequestHead {
        body: BodyFraming::Absent,
        method,
        path,
        query: None,
        host: None,
        headers: HeaderMap::new(),
        listener: listener(&serving.doors, client, None),
        client_address: client.peer.ip().to_string(),
    };
    let (exchange, reply) = Exchange::unread(head, arrival, refusal);
    local(running(worker, client, exchange, serving), reply)
}

/// What it takes to answer when the exchange itself is lost: it settles as it is dropped.
struct LastWords {
    dialect: Dialect,
    request_id: Arc<str>,
}

impl LastWords {
    fn new(request: &Request<()>, request_id: &Arc<str>) -> Self {
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
    client: &Client,
    request: Request<()>,
    body: &mut impl RequestBody,
    request_id: Arc<str>,
) -> Option<Response<AnswerBody>> {
    let serving = worker.serving();
    let arrival = arrival(&serving, request_id);
    let head = head(&serving.doors, client, request.into_parts().0, body);
    let framing = head.body;
    let (exchange, plan) = Exchange::new(&serving.snapshot, head, arrival);
    let mut running = running(worker, client, exchange, serving);
    let plan = plan.map_err(Box::new);
    let retry = |exchange: &mut Exchange, snapshot: &_, keyring| exchange.retry_head(snapshot, keyring);
    let bytes_max = match with_keys(&mut running, plan, retry).await {
        Ok(BodyPlan::Whole { bytes_max }) => bytes_max,
        Ok(BodyPlan::Pass(passage)) => return pass::pass(worker, running, *passage, framing, body).await,
        Err(reply) => return Some(local(running, *reply)),
    };
    let collected = tokio::time::timeout(worker.request_body_timeout, collect(&mut *body, bytes_max)).await;
    let refusal = match collected {
        Ok(Ok(whole)) => {
            let Some(exchange) = running.exchange() else { return Some(internal_error()) };
            let routed = exchange.on_request_body(whole.clone());
            let retry = |exchange: &mut Exchange, _: &_, keyring| exchange.retry_body(whole.clone(), keyring);
            let routed = match with_keys(&mut running, routed, retry).await {
                Ok(routed) => routed,
                Err(reply) => return Some(local(running, *reply)),
            };
            let Some(exchange) = running.exchange() else { return Some(internal_error()) };
            let routed = match lead(worker, exchange, routed).await {
                Ok(routed) => routed,
                Err(reply) => return Some(local(running, *reply)),
            };
            return tokio::select! {
                biased;
                response = dispatch::dispatch(worker, running, routed) => Some(response),
                () = poll_fn(|cx| body.poll_left(cx)) => None,
            };
        }
        Ok(Err(Incomplete::TooLarge)) => Refusal::BodyTooLarge { bytes_max },
        Ok(Err(Incomplete::Broken)) => Refusal::BodyBroken,
        Err(_) => Refusal::BodyTimeout,
    };
    Some(refuse(running, &refusal))
}

/// Leads a request to another model if a budget wants that.
async fn lead(
    worker: &Worker,
    exchange: &mut Exchange,
    (routed, client): (Arc<Routed>, ClientRequest),
) -> Result<(Arc<Routed>, ClientRequest), Box<LocalReply>> {
    let Some(detour) = exchange.detour(&routed, &client) else { return Ok((routed, client)) };
    match tollgate_effects::ask(&detour, &worker.quotas).await {
        Some(at) => exchange.take_detour((routed, client), &detour, at),
        None => Ok((routed, client)),
    }
}

fn arrival(serving: &Serving, request_id: Arc<str>) -> Arrival {
    let keyring = serving.credentials.keyring();
    Arrival { request_id, at: clock::now(), at_unix_ms: clock::unix_ms(), keyring, vouched: Vec::new() }
}

/// What an exchange says once the keys are here that it has missed, by `retry`; what it `said` where it has missed none, or they do not
/// come.
async fn with_keys<T, E>(
    running: &mut Running,
    mut said: Result<T, E>,
    mut retry: impl FnMut(&mut Exchange, &Arc<Snapshot>, Arc<Keyring>) -> Result<T, E>,
) -> Result<T, E> {
    while said.is_err() {
        let Some((wanted, used)) = running.exchange().and_then(Exchange::take_missed_keys) else { break };
        let Some(keyring) = running.serving.credentials.renewed_keys(&wanted, &used).await else { break };
        let snapshot = Arc::clone(&running.serving.snapshot);
        let Some(exchange) = running.exchange() else { break };
        said = retry(exchange, &snapshot, keyring);
    }
    said
}

fn running(worker: &Worker, client: &Client, exchange: Exchange, serving: Arc<Serving>) -> Box<Running> {
    let (telemetry, drain) = (Arc::clone(&worker.telemetry), worker.drain.enter());
    Running::new(exchange, serving, telemetry, drain, Arc::clone(&client.patience))
}

/// A response that the gateway gives by itself.
pub(crate) fn local(running: Box<Running>, reply: LocalReply) -> Response<AnswerBody> {
    let outcome = if reply.reason.is_some() { Outcome::Refused } else { Outcome::Complete };
    reply_with(running, reply, outcome)
}

/// A response that the gateway gives because every attempt failed, the last by `fault`.
pub(crate) fn fail(mut running: Box<Running>, fault: &Fault) -> Response<AnswerBody> {
    match running.exchange().map(|exchange| exchange.fail(fault)) {
        Some(reply) => reply_with(running, reply, Outcome::of(fault)),
        None => internal_error(),
    }
}

fn reply_with(mut running: Box<Running>, reply: LocalReply, outcome: Outcome) -> Response<AnswerBody> {
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
pub(crate) fn refuse(mut running: Box<Running>, refusal: &Refusal) -> Response<AnswerBody> {
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

fn head(doors: &Doors, client: &Client, parts: http::request::Parts, body: &impl Body) -> RequestHead {
    let host = host(&parts);
    RequestHead {
        body: framing(&parts, body),
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        listener: listener(doors, client, host.as_deref()),
        host,
        headers: parts.headers,
        client_address: client.peer.ip().to_string(),
    }
}

/// The listener that is for `host` at the address that `client` connected to.
fn listener(doors: &Doors, client: &Client, host: Option<&str>) -> Arc<str> {
    let door = doors.get(&client.address);
    door.and_then(|door| door.listener(host.unwrap_or_default()).or_else(|| door.any_listener()))
        .cloned()
        .unwrap_or_else(|| "".into())
}

/// The host asked for: the authority of the target where it has one (HTTP/2, absolute form), else the one `Host`. Each request
/// of HTTP/1.1 has to have one, whatever its target says (RFC 9112 section 3.2).
fn host(parts: &http::request::Parts) -> Option<String> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (only, has_more) = (hosts.next(), hosts.next().is_some());
    if has_more || (only.is_none() && parts.version == Version::HTTP_11) {
        return None;
    }
    match parts.uri.authority() {
        Some(authority) => Some(authority.as_str().to_owned()),
        None => only?.to_str().ok().map(str::to_owned),
    }
}

fn framing(parts: &http::request::Parts, body: &impl Body) -> BodyFraming {
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

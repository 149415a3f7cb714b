//! The stream of a listener: a request is refused, answered, or routed, and its client's status is noted.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_LENGTH;
use tollgate_envoy::Struct;
use tollgate_envoy::processing::processing_request::Request;
use tollgate_envoy::processing::{HeaderMutation, HttpHeaders, ProcessingRequest, ProcessingResponse};
use tollgate_exchange::{Arrival, BodyFraming, Exchange, LocalReply, RequestHead, Routed};
use tollgate_terms::{BackendFault, Fault, GatewayFault};
use tonic::Status;

use crate::headers::{Head, set};
use crate::metadata::Members;
use crate::processor::{Serving, Shared};
use crate::reply::{Onward, Phase, empty, immediate};
use crate::running::Running;
use crate::{clock, names};

/// Request headers that Envoy has added, and that belong to nobody behind it.
const ADDED_BY_ENVOY: [&str; 3] = ["x-forwarded-for", "x-forwarded-proto", "x-request-id"];

/// A listener's stream.
pub(crate) struct ListenerSide {
    shared: Arc<Shared>,
    serving: Option<Arc<Serving>>,
    listener: Arc<str>,
    running: Option<Arc<Running>>,
}

impl ListenerSide {
    pub(crate) fn new(shared: Arc<Shared>, serving: Option<Arc<Serving>>, listener: Arc<str>) -> Self {
        Self { shared, serving, listener, running: None }
    }

    /// Answers one message.
    pub(crate) fn take(&mut self, message: ProcessingRequest) -> Result<Option<ProcessingResponse>, Status> {
        match message.request {
            Some(Request::RequestHeaders(head)) => self.on_head(head).map(Some),
            Some(Request::RequestBody(body)) => self.on_body(body.body, Phase::RequestBody).map(Some),
            Some(Request::ResponseHeaders(head)) => self.on_response(head).map(Some),
            _ => Ok(None),
        }
    }

    fn on_head(&mut self, sent: HttpHeaders) -> Result<ProcessingResponse, Status> {
        let serving = self.serving.take().ok_or_else(|| Status::failed_precondition("two heads"))?;
        let head = Head::read(sent.headers);
        if head
            .headers
            .get(names::PROBE)
            .is_some_and(|probe| probe.as_bytes() == self.shared.probe.as_bytes())
        {
            return Ok(empty());
        }
        let head = request_head(head, sent.end_of_stream, Arc::clone(&self.listener));
        let arrival = Arrival {
            request_id: tollgate_effects::request_id(),
            at: clock::now(),
            at_unix_ms: clock::unix_ms(),
        };
        let (exchange, plan) = Exchange::new(&serving.snapshot, head, arrival);
        let running = self.running.insert(Running::new(exchange, serving, &self.shared));
        match plan {
            Err(reply) => Ok(answer(running, &reply)),
            Ok(_) if sent.end_of_stream => self.on_body(Bytes::new(), Phase::RequestHeaders),
            Ok(_) => {
                let metadata = identity(running);
                Ok(Onward { metadata, ..Onward::default() }.answer(Phase::RequestHeaders))
            }
        }
    }

    fn on_body(&mut self, body: Bytes, phase: Phase) -> Result<ProcessingResponse, Status> {
        let running =
            self.running.as_ref().ok_or_else(|| Status::failed_precondition("a body without a head"))?;
        match running.exchange(|exchange| exchange.on_request_body(body)) {
            Some(Ok(routed)) => {
                let onward = onward(running, &routed.0, phase);
                // Can only be set already if Envoy sent two bodies; the first one counts.
                let _ = running.routed.set(routed);
                Ok(onward.answer(phase))
            }
            Some(Err(reply)) => Ok(answer(running, &reply)),
            None => Err(Status::internal("the exchange is over")),
        }
    }

    fn on_response(&mut self, sent: HttpHeaders) -> Result<ProcessingResponse, Status> {
        let running = self.running.as_ref().ok_or_else(|| Status::failed_precondition("no request"))?;
        let head = Head::read(sent.headers);
        let status = head.status.unwrap_or_default();
        running.set_status(status);
        if head.headers.contains_key(names::ATTEMPT) {
            let headers =
                HeaderMutation { remove_headers: vec![names::ATTEMPT.to_owned()], ..Default::default() };
            return Ok(Onward { headers, ..Onward::default() }.answer(Phase::ResponseHeaders));
        }
        // Envoy says it by itself, and has given it the client's shape already.
        running.fail(fault_of(status));
        Ok(Onward::default().answer(Phase::ResponseHeaders))
    }
}

/// What a reply of Envoy's own means.
fn fault_of(status: u16) -> Fault {
    match status {
        503 => Fault::Backend(BackendFault::Unreachable),
        504 => Fault::Backend(BackendFault::FirstByteTimeout),
        502 => Fault::Backend(BackendFault::Protocol),
        _ => Fault::Gateway(GatewayFault::Internal),
    }
}

fn answer(running: &Running, reply: &LocalReply) -> ProcessingResponse {
    running.replied(reply);
    immediate(reply)
}

/// What Envoy has to know of an exchange: its id, and in which words its client wants to be told of failures.
fn identity(running: &Running) -> Option<Struct> {
    let mut members = Members::default();
    members.add_text(names::EXCHANGE, running.id());
    if let Some(dialect) = running.exchange(|exchange| exchange.dialect()) {
        members.add_text(names::DIALECT, dialect.label());
    }
    members.into_metadata()
}

/// Sends a routed request on its way to the routes.
fn onward(running: &Running, routed: &Routed, phase: Phase) -> Onward {
    let metadata = (phase == Phase::RequestHeaders).then(|| identity(running)).flatten();
    let mut headers = HeaderMutation::default();
    set(&mut headers, names::MODEL, routed.model().as_str());
    Onward { headers, metadata, clear_route_cache: true, ..Onward::default() }
}

fn request_head(sent: Head, has_ended: bool, listener: Arc<str>) -> RequestHead {
    let mut headers = sent.headers;
    let client_address = client_address(&headers);
    for name in ADDED_BY_ENVOY {
        headers.remove(name);
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let body = match length {
        None if has_ended => BodyFraming::Absent,
        Some(bytes) => BodyFraming::Sized(bytes),
        None => BodyFraming::Unsized,
    };
    let path = sent.path.unwrap_or_default();
    RequestHead {
        method: sent.method.and_then(|method| Method::from_bytes(method.as_bytes()).ok()).unwrap_or_default(),
        path: path.split('?').next().unwrap_or_default().to_owned(),
        host: sent.authority.filter(|authority| !authority.is_empty()),
        headers,
        listener,
        client_address,
        body,
    }
}

/// The address that Envoy saw, which it has added as the last one.
fn client_address(headers: &http::HeaderMap) -> String {
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back();
    let last = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    last.map(|address| address.trim().to_owned()).unwrap_or_default()
}

//! The stream of one try at one host: the request is said anew for it, and its response is taken in.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use tollgate_envoy::processing::processing_request::Request;
use tollgate_envoy::processing::{
    BodySendMode, HeaderMutation, HeaderSendMode, HttpBody, HttpHeaders, ProcessingMode, ProcessingRequest,
    ProcessingResponse,
};
use tollgate_envoy::{Struct, value::Kind};
use tollgate_exchange::{
    Attempt, Chance, ClientRequest, Ending, LocalReply, Receive, ResponseHead, Step, UpstreamRequest,
    status_fault,
};
use tollgate_terms::{BackendFault, ClientFault, Fault, GatewayFault};
use tonic::Status;

use crate::headers::{Head, changes, set};
use crate::metadata::Members;
use crate::processor::Shared;
use crate::reply::{NewBody, Onward, Phase, immediate};
use crate::running::Running;
use crate::{clock, names};

/// The stream of one try.
pub(crate) struct AttemptSide {
    shared: Arc<Shared>,
    running: Option<Arc<Running>>,
    attempt: Option<Attempt>,
    number: u32,
    receiving: Receiving,
    /// The status of the response, once its head was passed on.
    status: Option<u16>,
    /// Output bytes at which the published estimate is raised next.
    raise_at: u64,
}

/// How far the response has come.
enum Receiving {
    /// Its head has not come.
    Head,
    /// Its body comes whole, after this head.
    Whole(Box<ResponseHead>),
    /// Its body comes piece by piece.
    Stream,
    /// What still comes is not for the client.
    Ignored,
}

/// Which target Envoy has picked.
struct Picked {
    rule: String,
    target: usize,
    authority: Option<String>,
}

impl AttemptSide {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            running: None,
            attempt: None,
            number: 0,
            receiving: Receiving::Head,
            status: None,
            raise_at: RAISE_BYTES,
        }
    }

    /// Answers one message.
    pub(crate) fn take(&mut self, message: ProcessingRequest) -> Result<Option<ProcessingResponse>, Status> {
        match message.request {
            Some(Request::RequestHeaders(head)) => {
                let picked = picked(message.attributes.into_values());
                self.on_dispatch(Head::read(head.headers), picked).map(Some)
            }
            Some(Request::ResponseHeaders(head)) => self.on_response_head(head).map(Some),
            Some(Request::ResponseBody(body)) => self.on_response_body(body).map(Some),
            _ => Ok(None),
        }
    }

    fn on_dispatch(&mut self, sent: Head, picked: Option<Picked>) -> Result<ProcessingResponse, Status> {
        let id = sent.headers.get(names::EXCHANGE).and_then(|id| id.to_str().ok()).unwrap_or_default();
        let running = self.shared.find(id).ok_or_else(|| Status::not_found("no such exchange"))?;
        let (routed, client) =
            running.routed.get().ok_or_else(|| Status::failed_precondition("not routed"))?;
        let picked = picked.ok_or_else(|| Status::invalid_argument("no target in the host's metadata"))?;
        if picked.rule != format!("{}/rule/{}", routed.rule().route, routed.rule().index) {
            return Err(Status::failed_precondition("Envoy and the processor have routed differently"));
        }
        let number = running.begin_attempt();
        let attempt = Attempt::new(routed, picked.target, number, clock::now(), clock::unix_ms());
        let mut attempt = attempt.ok_or_else(|| Status::failed_precondition("the target cannot serve it"))?;
        let request = tollgate_effects::dispatch(&mut attempt, client, &running.serving.secrets);
        self.number = number;
        match request {
            Ok(request) => {
                let mut members = Members::default();
                members.add_costs(routed.rule(), &attempt.usage().0);
                // Envoy takes the length of a body that is replaced away; a filter behind us puts it back from here.
                members.add_text("content_length", &request.body_bytes().to_string());
                let metadata = members.into_metadata();
                let is_same_body = is_same(&request.body, client.body());
                self.attempt = Some(attempt);
                self.running = Some(Arc::clone(&running));
                let onward = dispatch(&sent, request, is_same_body, picked.authority.as_deref());
                Ok(Onward { metadata, ..onward }.answer(Phase::RequestHeaders))
            }
            Err(reply) => {
                running.end_attempt(attempt, Ending::GivenUp(Fault::Gateway(GatewayFault::Credential)));
                running.replied(&reply);
                Ok(immediate(&reply))
            }
        }
    }

    fn on_response_head(&mut self, sent: HttpHeaders) -> Result<ProcessingResponse, Status> {
        let (Some(attempt), Some(client)) = (&mut self.attempt, client(self.running.as_deref())) else {
            return Err(Status::failed_precondition("no attempt"));
        };
        let head = Head::read(sent.headers);
        let status = head.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or_default();
        let before = head.headers.clone();
        let (mut after, receive) = match attempt.on_response_head(status, head.headers, Chance::Last) {
            Step::Forward(forward) => forward,
            step => return Ok(self.give_up(step)),
        };
        self.status = Some(status.as_u16());
        let mut onward = Onward::default();
        if sent.end_of_stream && receive != Receive::Stream {
            match attempt.on_response_body(client, Bytes::new(), &mut after) {
                Step::Forward(body) if body.is_empty() => {}
                Step::Forward(body) => onward.body = NewBody::Bytes(body),
                step => return Ok(self.give_up(step)),
            }
        }
        onward.headers = changes(&before, &after.headers);
        if after.status != status {
            set(&mut onward.headers, ":status", after.status.as_str());
        }
        set(&mut onward.headers, names::ATTEMPT, self.number.to_string());
        match receive {
            Receive::Whole { .. } => {
                self.receiving = Receiving::Whole(Box::new(after));
                onward.mode = Some(response_body(BodySendMode::Buffered));
            }
            Receive::Stream => {
                self.receiving = Receiving::Stream;
                // A body that may change as it passes has no length yet.
                onward.headers.remove_headers.push(CONTENT_LENGTH.as_str().to_owned());
            }
        }
        if sent.end_of_stream {
            onward.metadata = self.end(None);
        }
        Ok(onward.answer(Phase::ResponseHeaders))
    }

    fn on_response_body(&mut self, sent: HttpBody) -> Result<ProcessingResponse, Status> {
        let onward = match std::mem::replace(&mut self.receiving, Receiving::Ignored) {
            Receiving::Whole(head) => self.on_document(sent, *head),
            Receiving::Stream => {
                self.receiving = Receiving::Stream;
                Ok(self.on_chunk(sent))
            }
            Receiving::Ignored => Ok(Onward { body: NewBody::Bytes(Bytes::new()), ..Onward::default() }),
            Receiving::Head => return Err(Status::failed_precondition("a body without a head")),
        };
        Ok(onward.map_or_else(|reply| *reply, |onward| onward.answer(Phase::ResponseBody)))
    }

    fn on_document(
        &mut self,
        sent: HttpBody,
        mut head: ResponseHead,
    ) -> Result<Onward, Box<ProcessingResponse>> {
        let before = head.headers.clone();
        let (Some(attempt), Some(client)) = (&mut self.attempt, client(self.running.as_deref())) else {
            return Ok(Onward::default());
        };
        let step = attempt.on_response_body(client, sent.body.clone(), &mut head);
        let body = match step {
            Step::Forward(body) => body,
            step => return Err(Box::new(self.give_up(step))),
        };
        self.add_body_bytes(body.len());
        let mut headers = changes(&before, &head.headers);
        let body = if is_same_piece(&body, &sent.body) {
            NewBody::Same
        } else {
            set(&mut headers, CONTENT_LENGTH.as_str(), body.len().to_string());
            NewBody::Bytes(body)
        };
        let metadata = self.end(None);
        Ok(Onward { headers, body, metadata, ..Onward::default() })
    }

    fn on_chunk(&mut self, sent: HttpBody) -> Onward {
        let now = clock::now();
        let Some(attempt) = &mut self.attempt else { return Onward::default() };
        let step =
            if sent.body.is_empty() { Step::Hold } else { attempt.on_response_chunk(sent.body.clone(), now) };
        let is_broken = !matches!(step, Step::Forward(_) | Step::Hold);
        let (mut bytes, mut fault) = match step {
            Step::Forward(bytes) => (bytes, None),
            Step::Hold => (Bytes::new(), None),
            // The head is out, so nothing can be tried again.
            Step::Retry(fault) => attempt.on_stream_fault(fault, now),
            Step::Reply(_) | Step::Ask(_) => (Bytes::new(), Some(Fault::Gateway(GatewayFault::Internal))),
        };
        if !is_broken && sent.end_of_stream {
            let (last, ended) = attempt.on_response_end(now);
            fault = ended;
            if bytes.is_empty() {
                bytes = last;
            } else if !last.is_empty() {
                let mut joined = BytesMut::from(bytes);
                joined.extend_from_slice(&last);
                bytes = joined.freeze();
            }
        }
        self.add_body_bytes(bytes.len());
        let is_over = sent.end_of_stream || is_broken;
        let metadata = if is_over { self.end(fault) } else { self.raise() };
        if is_over && !sent.end_of_stream {
            self.receiving = Receiving::Ignored;
        }
        let body = if is_same_piece(&bytes, &sent.body) { NewBody::Same } else { NewBody::Bytes(bytes) };
        Onward { body, metadata, ..Onward::default() }
    }

    /// Ends the attempt, whose answer was passed on; returns what is published of it.
    fn end(&mut self, fault: Option<Fault>) -> Option<Struct> {
        let (Some(attempt), Some(running)) = (self.attempt.take(), &self.running) else { return None };
        let mut members = Members::default();
        members.add_costs(attempt.rule(), &attempt.usage().0);
        if let Some(target) = attempt.target() {
            members.add_text("ai_service_backend_name", target.backend.name.as_ref());
            if let Some(model) = &target.model_override {
                members.add_text("model_name_override", model.as_str());
            }
        }
        members.add_text("route_name", attempt.rule().route.as_ref());
        running.end_attempt(attempt, fault.map_or(Ending::Delivered, Ending::Broken));
        members.into_metadata()
    }

    /// The estimate, when it has grown enough to be published anew: a stream that is cut is charged by the last one.
    fn raise(&mut self) -> Option<Struct> {
        let attempt = self.attempt.as_ref()?;
        if attempt.output_bytes() < self.raise_at {
            return None;
        }
        self.raise_at = attempt.output_bytes().saturating_mul(2);
        let mut members = Members::default();
        members.add_costs(attempt.rule(), &attempt.usage().0);
        members.into_metadata()
    }

    fn add_body_bytes(&self, bytes: usize) {
        if let Some(running) = &self.running {
            running.add_body_bytes(bytes);
        }
    }

    /// Ends the exchange with a reply, when the response is not one that a client can get.
    fn give_up<T>(&mut self, step: Step<T>) -> ProcessingResponse {
        let (fault, reply) = match step {
            Step::Reply(reply) => (Fault::Gateway(GatewayFault::Internal), Some(reply)),
            Step::Retry(fault) => (fault, None),
            Step::Forward(_) | Step::Hold | Step::Ask(_) => (Fault::Gateway(GatewayFault::Internal), None),
        };
        self.receiving = Receiving::Ignored;
        let (attempt, running) = (self.attempt.take(), self.running.as_ref());
        let reply = reply.or_else(|| running?.exchange(|exchange| exchange.fail(&fault)));
        if let (Some(attempt), Some(running)) = (attempt, running) {
            running.end_attempt(attempt, Ending::GivenUp(fault.clone()));
            running.fail(fault);
        }
        reply.map_or_else(
            || Onward::default().answer(Phase::ResponseHeaders),
            |reply: LocalReply| {
                if let Some(running) = running {
                    running.set_status(reply.status.as_u16());
                    running.add_body_bytes(reply.body.len());
                }
                immediate(&reply)
            },
        )
    }
}

impl Drop for AttemptSide {
    fn drop(&mut self) {
        let (Some(attempt), Some(running)) = (self.attempt.take(), &self.running) else { return };
        match self.status {
            None => running.fall_silent(attempt),
            // Envoy does not wait for the body of an answer that it tries again.
            Some(status @ 400..) => {
                let fault = Fault::Backend(status_fault(status, &HeaderMap::new(), clock::unix_ms()));
                running.end_attempt(attempt, Ending::GivenUp(fault));
            }
            Some(_) if matches!(self.receiving, Receiving::Whole(_)) => {
                running.end_attempt(attempt, Ending::Broken(Fault::Backend(BackendFault::Cut)));
            }
            Some(_) => running.end_attempt(attempt, Ending::Broken(Fault::Client(ClientFault::Gone))),
        }
    }
}

/// Bytes of output at which the first estimate is raised.
const RAISE_BYTES: u64 = 1 << 10;

/// The request as Envoy is to send it.
fn dispatch(sent: &Head, request: UpstreamRequest, is_same_body: bool, authority: Option<&str>) -> Onward {
    let mut headers: HeaderMutation = changes(&sent.headers, &request.headers);
    if sent.path.as_deref() != Some(request.path.as_str()) {
        set(&mut headers, ":path", &request.path);
    }
    if sent.method.as_deref() != Some(request.method.as_str()) {
        set(&mut headers, ":method", request.method.as_str());
    }
    if let Some(authority) = authority {
        set(&mut headers, ":authority", authority);
    }
    if is_same_body {
        return Onward { headers, ..Onward::default() };
    }
    let body = match <[Bytes; 1]>::try_from(request.body) {
        Ok([whole]) => whole,
        Err(pieces) => pieces.concat().into(),
    };
    Onward { headers, body: NewBody::Bytes(body), ..Onward::default() }
}

/// What the client of `running` sent.
fn client(running: Option<&Running>) -> Option<&ClientRequest> {
    running?.routed.get().map(|(_, client)| client)
}

/// Whether these pieces are the client's own bytes, untouched.
fn is_same(pieces: &[Bytes], body: &Bytes) -> bool {
    matches!(pieces, [whole] if is_same_piece(whole, body))
}

fn is_same_piece(a: &Bytes, b: &Bytes) -> bool {
    a.len() == b.len() && (a.as_ptr() == b.as_ptr() || a.is_empty())
}

fn response_body(mode: BodySendMode) -> ProcessingMode {
    ProcessingMode {
        request_header_mode: HeaderSendMode::Send.into(),
        response_header_mode: HeaderSendMode::Send.into(),
        request_body_mode: BodySendMode::None.into(),
        response_body_mode: mode.into(),
        request_trailer_mode: HeaderSendMode::Skip.into(),
        response_trailer_mode: HeaderSendMode::Skip.into(),
    }
}

/// Finds what Envoy says of the host that it has picked: the attributes [`names::TARGET`] and [`names::AUTHORITY`].
fn picked(attributes: impl Iterator<Item = Struct>) -> Option<Picked> {
    let mut fields: BTreeMap<_, _> = attributes.flat_map(|attributes| attributes.fields).collect();
    let mut text = |name: &str| match fields.remove(name)?.kind? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    };
    let target = text(names::TARGET)?;
    let authority = text(names::AUTHORITY);
    let (rule, target) = target.rsplit_once("/target/")?;
    Some(Picked { rule: rule.to_owned(), target: target.parse().ok()?, authority })
}

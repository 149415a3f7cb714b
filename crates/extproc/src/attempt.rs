//! The stream of one try at one host: the request is said anew for it, and its response is taken in.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tollgate_envoy::processing::processing_request::Request;
use tollgate_envoy::processing::{HeaderMutation, ProcessingRequest, ProcessingResponse};
use tollgate_envoy::{Struct, value::Kind};
use tollgate_exchange::{Attempt, Ending, UpstreamRequest};
use tollgate_terms::{Fault, GatewayFault};
use tonic::Status;

use crate::headers::{Head, changes, set};
use crate::metadata::Members;
use crate::processor::Shared;
use crate::receive::Receiver;
use crate::reply::{NewBody, Onward, Phase, immediate};
use crate::running::Running;
use crate::{clock, names};

/// The stream of one try.
pub(crate) struct AttemptSide {
    shared: Arc<Shared>,
    /// Once the request was said.
    receiver: Option<Receiver>,
}

/// For which exchange Envoy has picked which target.
struct Picked {
    exchange: String,
    rule: String,
    target: usize,
    authority: Option<String>,
}

impl AttemptSide {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, receiver: None }
    }

    /// Answers one message.
    pub(crate) fn take(
        &mut self,
        message: ProcessingRequest,
        answers: &mut VecDeque<ProcessingResponse>,
    ) -> Result<(), Status> {
        if let Some(Request::RequestHeaders(head)) = message.request {
            let picked = picked(message.attributes.into_values());
            answers.push_back(self.on_dispatch(Head::read(head.headers), picked)?);
            return Ok(());
        }
        let receiver = self.receiver.as_mut().ok_or_else(|| Status::failed_precondition("no attempt"))?;
        match message.request {
            Some(Request::ResponseHeaders(head)) => receiver.on_head(head, answers),
            Some(Request::ResponseBody(body)) => receiver.on_body(body.body, body.end_of_stream, answers),
            Some(Request::ResponseTrailers(_)) => receiver.on_trailers(answers),
            _ => Ok(()),
        }
    }

    /// The exchange that it is about.
    pub(crate) fn running(&self) -> Option<&Arc<Running>> {
        self.receiver.as_ref().map(|receiver| &receiver.running)
    }

    /// How long the backend may say nothing from now on.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.receiver.as_ref()?.patience()
    }

    /// Whether the client was told an error while the backend may still have something to say.
    pub(crate) fn is_broken_off(&self) -> bool {
        self.receiver.as_ref().is_some_and(|receiver| receiver.is_broken_off)
    }

    /// Ends the answer, which has begun already, because of `fault`.
    pub(crate) fn break_off(&mut self, fault: Fault, answers: &mut VecDeque<ProcessingResponse>) {
        if let Some(receiver) = &mut self.receiver {
            receiver.break_off(fault, answers);
        }
    }

    fn on_dispatch(&mut self, sent: Head, picked: Option<Picked>) -> Result<ProcessingResponse, Status> {
        let picked = picked.ok_or_else(|| Status::invalid_argument("no exchange, or no target of a host"))?;
        let running =
            self.shared.find(&picked.exchange).ok_or_else(|| Status::not_found("no such exchange"))?;
        let (routed, client) =
            running.routed.get().ok_or_else(|| Status::failed_precondition("not routed"))?;
        if picked.rule != format!("{}/rule/{}", routed.rule().route, routed.rule().index) {
            return Err(Status::failed_precondition("Envoy and the processor have routed differently"));
        }
        let told = sent.headers.get(names::ATTEMPT_COUNT).and_then(|count| count.to_str().ok()?.parse().ok());
        let number = running.begin_attempt(told);
        let attempt = Attempt::new(routed, picked.target, number, clock::now(), clock::unix_ms());
        let mut attempt = attempt.ok_or_else(|| Status::failed_precondition("the target cannot serve it"))?;
        match tollgate_effects::dispatch(&mut attempt, client, &running.serving.secrets) {
            Ok(request) => {
                let mut members = Members::default();
                members.add_costs(routed.rule(), &attempt.usage().0);
                // Envoy takes the length of a body that is replaced away; a filter behind us puts it back from here.
                members.add_text("content_length", &request.body_bytes().to_string());
                let metadata = members.into_metadata();
                let is_same_body = is_same(&request.body, client.body());
                let onward = dispatch(&sent, request, is_same_body, picked.authority.as_deref());
                self.receiver = Some(Receiver::new(attempt, number, Arc::clone(&running)));
                Ok(Onward { metadata, ..onward }.answer(Phase::RequestHeaders))
            }
            Err(reply) => {
                running.end_attempt(attempt, Ending::GivenUp(Fault::Gateway(GatewayFault::Credential)));
                running.replied(&reply);
                Ok(immediate(&reply))
            }
        }
    }
}

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

/// Whether these pieces are the client's own bytes, untouched.
fn is_same(pieces: &[Bytes], body: &Bytes) -> bool {
    matches!(pieces, [whole] if whole.len() == body.len() && (whole.as_ptr() == body.as_ptr() || whole.is_empty()))
}

/// Finds what Envoy says of the try: the attributes [`names::EXCHANGE_ATTRIBUTE`], [`names::TARGET`] and [`names::AUTHORITY`].
fn picked(attributes: impl Iterator<Item = Struct>) -> Option<Picked> {
    let mut fields: BTreeMap<_, _> = attributes.flat_map(|attributes| attributes.fields).collect();
    let mut text = |name: &str| match fields.remove(name)?.kind? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    };
    let (exchange, target) = (text(names::EXCHANGE_ATTRIBUTE)?, text(names::TARGET)?);
    let authority = text(names::AUTHORITY);
    let (rule, target) = target.rsplit_once("/target/")?;
    Some(Picked { exchange, rule: rule.to_owned(), target: target.parse().ok()?, authority })
}

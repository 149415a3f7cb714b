//! One try at one backend: from the request that it gets to the record that remains.

mod dispatch;
mod record;

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tollgate_chat::Loss;
use tollgate_config::bundle::CostFacts;
use tollgate_config::{CompiledRule, CompiledTarget};
use tollgate_dialect::{AnswerContext, BackendError, ErrorBody, Observer, Reframer, StreamTranslator};
use tollgate_policy::estimate;
use tollgate_terms::{BackendFault, Delivery, Fault, StreamFraming, Usage, UsageSource};
use tollgate_wire::inflate::{InflateError, Inflater};

use crate::charge::Charging;
use crate::headers;
use crate::record::Facts;
use crate::refusal::{LocalReply, Refusal, client_status, fault_message, reply_headers};
use crate::response::{BodyKind, Chance, Incoming, Receive, ResponseHead, identify, status_fault};
use crate::routed::{ClientRequest, Routed};
use crate::shape::{Shape, StreamWriter};
use crate::stages::UpstreamRequest;
use crate::step::{Offered, Step};
use crate::stream::{EventStream, FRAME_BYTES_MAX, Path};

/// The model that a request was led to because a budget had nothing left.
const LED_TO: HeaderName = HeaderName::from_static("x-tollgate-rerouted-to");

/// One try at one backend.
pub struct Attempt {
    routed: Arc<Routed>,
    /// Index of the target in the rule.
    target: usize,
    facts: Arc<Facts>,
    started: Instant,
    state: State,
    observer: Observer,
    asks_usage: bool,
    /// What the answer repeats of the request, if it is a translated one.
    repeated: Bytes,
    charging: Charging,
    /// Whether a limit of its own has kept it from its backend.
    is_kept_from_backend: bool,
    losses: Vec<Loss>,
    upstream_status: Option<u16>,
    /// The backend's id of its answer, where a header tells it.
    answer_id: Option<String>,
    fault: Option<Fault>,
    token_times: Option<(Instant, Instant)>,
    /// What could still be sent of the chunk that broke a stream.
    unsent: Bytes,
}

/// What the attempt waits for.
enum State {
    /// To be dispatched.
    AwaitDispatch,
    /// What it claims of limits.
    AwaitQuota(UpstreamRequest, Vec<Option<Offered>>),
    /// Its credential.
    AwaitCredential(UpstreamRequest),
    /// The head of the response.
    AwaitHead,
    /// A whole body.
    AwaitBody(Incoming),
    /// More of a stream of events.
    AwaitEvents(Box<EventStream>, StreamWriter),
    /// More of a body that is passed on unread.
    AwaitOpaque,
    /// Nothing more.
    Over,
}

/// How an attempt ended, as its data plane saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Everything was passed on to the client.
    Delivered,
    /// The attempt was given up for another, or for a reply of the gateway's own.
    GivenUp(Fault),
    /// It broke while its answer was on the way to the client.
    Broken(Fault),
}

impl Attempt {
    /// Makes attempt `number` (1 for the first) at target `target` of the routed request's rule.
    ///
    /// `None` when the rule has no such target, or the target cannot serve the request.
    pub fn new(
        routed: &Arc<Routed>,
        target: usize,
        number: u32,
        started: Instant,
        started_at_unix_ms: u64,
    ) -> Option<Self> {
        let to = routed.rule.targets.get(target)?;
        let facts = Facts {
            request_id: Arc::clone(&routed.request_id),
            attempt: number,
            started_at_ms: started_at_unix_ms,
            principal: Arc::clone(&routed.principal),
            route: routed.rule.route.clone(),
            backend: to.backend.name.clone(),
            provider: to.backend.schema.provider_name(),
            operation: routed.operation,
            client_dialect: routed.dialect,
            backend_dialect: routed.backend_dialect(to)?,
            delivery: routed.delivery,
            requested_model: routed.requested_model().clone(),
            upstream_model: routed.upstream_model(to).clone(),
        };
        Some(Self {
            target,
            started,
            state: State::AwaitDispatch,
            observer: Observer::new(facts.backend_dialect, routed.operation, routed.delivery),
            asks_usage: false,
            repeated: Bytes::new(),
            charging: Charging::default(),
            is_kept_from_backend: false,
            losses: Vec::new(),
            upstream_status: None,
            answer_id: None,
            fault: None,
            token_times: None,
            unsent: Bytes::new(),
            routed: Arc::clone(routed),
            facts: Arc::new(facts),
        })
    }

    /// Takes the head of the backend's response.
    ///
    /// `chance` says whether another attempt could follow; only then is a retryable status given up.
    pub fn on_response_head(
        &mut self,
        status: StatusCode,
        headers: HeaderMap,
        chance: Chance,
    ) -> Step<(ResponseHead, Receive)> {
        let framing = self
            .target()
            .map_or(StreamFraming::Sse, |target| target.backend.schema.framing(self.facts.backend_dialect));
        let incoming = Incoming::read(&self.routed, framing, status.as_u16(), &headers);
        self.upstream_status = Some(incoming.status);
        self.observer.head(&headers);
        let answer_id = tollgate_dialect::answer_id_header(self.facts.backend_dialect);
        self.answer_id = answer_id.and_then(|name| Some(headers::text(&headers, name)?.to_owned()));
        if incoming.body == BodyKind::Error {
            let fault = status_fault(incoming.status, &headers, self.facts.started_at_ms);
            let fault = Fault::Backend(fault);
            self.fault = Some(fault.clone());
            if chance == Chance::More {
                return Step::Retry(fault);
            }
        }
        if !self.is_splice() && !incoming.fits(self.routed.delivery) {
            return Step::Retry(Fault::Backend(BackendFault::Unreadable));
        }
        let head = self.response_head(&incoming, headers);
        let receive = incoming.receive();
        match self.await_body(incoming) {
            Ok(()) => Step::Forward((head, receive)),
            Err(fault) => Step::Retry(Fault::Backend(fault)),
        }
    }

    /// Takes the whole body, after a head that asked for [`Receive::Whole`]. May change `head`.
    pub fn on_response_body(
        &mut self,
        client: &ClientRequest,
        body: Bytes,
        head: &mut ResponseHead,
    ) -> Step<Bytes> {
        let State::AwaitBody(incoming) = std::mem::replace(&mut self.state, State::Over) else {
            return self.internal();
        };
        let decoded = match unpack(&incoming, &body) {
            Ok(decoded) => decoded,
            Err(fault) => return Step::Retry(Fault::Backend(fault)),
        };
        let changed = match incoming.body {
            BodyKind::Error => tollgate_dialect::reshape_error(
                self.routed.dialect,
                self.facts.backend_dialect,
                &BackendError {
                    status: incoming.status,
                    content_type: incoming.content_type.as_deref(),
                    kind: incoming.error_kind.as_deref(),
                    body: &decoded,
                },
                &self.routed.request_id,
            ),
            _ => match self.take_answer(&decoded) {
                Ok(changed) => changed,
                Err(fault) => return Step::Retry(Fault::Backend(fault)),
            },
        };
        // A document in another form is another one.
        let shaped = (self.routed.shape != Shape::Plain)
            .then(|| self.routed.shape.document(changed.clone().unwrap_or_else(|| decoded.clone())));
        if let Some(changed) = shaped.or(changed) {
            head.headers.remove(CONTENT_ENCODING);
            headers::declare_json(&mut head.headers);
            self.routed.explain.write(&self.losses, &mut head.headers);
            return Step::Forward(changed);
        }
        match &incoming.coding {
            Some(coding) if !headers::accepts_coding(&client.headers, coding) => {
                head.headers.remove(CONTENT_ENCODING);
                Step::Forward(decoded)
            }
            _ => Step::Forward(body),
        }
    }

    /// Takes a chunk of the body, after a head that asked for [`Receive::Stream`].
    ///
    /// Forwards what is complete, holds when nothing is, and asks for a retry while nothing was forwarded yet.
    pub fn on_response_chunk(&mut self, chunk: Bytes, now: Instant) -> Step<Bytes> {
        match &mut self.state {
            State::AwaitOpaque => Step::Forward(chunk),
            State::AwaitEvents(events, writer) => match events.push(chunk, &mut self.observer, now) {
                (bytes, Ok(())) => match writer.write(bytes) {
                    bytes if bytes.is_empty() => Step::Hold,
                    bytes => Step::Forward(bytes),
                },
                (bytes, Err(fault)) => {
                    self.unsent = bytes;
                    Step::Retry(Fault::Backend(fault))
                }
            },
            _ => self.internal(),
        }
    }

    /// Takes the end of a streamed body. Returns the last bytes for the client and, if the stream ended before it
    /// was complete, the fault; the bytes then end with an in-band error, unless the backend has told one itself.
    pub fn on_response_end(&mut self, now: Instant) -> (Bytes, Option<Fault>) {
        let State::AwaitEvents(events, _) = &mut self.state else {
            self.state = State::Over;
            return (Bytes::new(), None);
        };
        let (bytes, ended) = events.end(&mut self.observer, now);
        let fault = match ended {
            Ok(()) if self.observer.is_complete() => None,
            Ok(()) => Some(BackendFault::Cut),
            Err(fault) => Some(fault),
        };
        self.last_words(bytes, fault.map(Fault::Backend))
    }

    /// Breaks off a streamed body because of `fault`. Returns the last bytes for the client and the fault, as at the end of
    /// the body; no fault when all of the answer was there before. A body that has no such thing as an in-band error ends
    /// without bytes: its connection has to be broken off as well.
    pub fn on_stream_fault(&mut self, fault: Fault, now: Instant) -> (Bytes, Option<Fault>) {
        let State::AwaitEvents(events, _) = &mut self.state else { return (Bytes::new(), Some(fault)) };
        let mut bytes = std::mem::take(&mut self.unsent);
        let mut fault = Some(fault);
        if self.observer.is_complete() {
            let (rest, ended) = events.end(&mut self.observer, now);
            bytes = tollgate_wire::join(&mut vec![bytes, rest]);
            fault = fault.filter(|_| ended.is_err());
        }
        self.last_words(bytes, fault)
    }

    /// Whether the backend itself has told the client that its answer failed: there is nothing to add.
    pub fn has_failed(&self) -> bool {
        matches!(&self.state, State::AwaitEvents(events, _) if events.has_failed())
    }

    /// Whether the attempt was kept from its target by what may be otherwise at another: a limit of the backend's own that has nothing left,
    /// or a model without a price where a limit wants one.
    pub fn is_kept_from_backend(&self) -> bool {
        self.is_kept_from_backend
    }

    /// When it was begun, in milliseconds since the Unix epoch.
    pub fn started_at_ms(&self) -> u64 {
        self.facts.started_at_ms
    }

    /// The rule whose target is tried.
    pub fn rule(&self) -> &Arc<CompiledRule> {
        &self.routed.rule
    }

    /// The target that is tried.
    pub fn target(&self) -> Option<&CompiledTarget> {
        self.routed.rule.targets.get(self.target)
    }

    /// Tokens as far as they are known now, estimated upwards where the provider has told nothing yet.
    pub fn usage(&self) -> (Usage, UsageSource) {
        estimate::complete(
            self.observer.usage(),
            true,
            self.routed.prompt_bytes,
            self.observer.output_bytes(),
        )
    }

    /// What the numbers that the route publishes are computed from.
    pub fn cost_facts<'a>(&'a self, target: &'a CompiledTarget, usage: &'a Usage) -> CostFacts<'a> {
        self.routed.cost_facts(target, usage)
    }

    /// Bytes of answer text seen so far.
    pub fn output_bytes(&self) -> u64 {
        self.observer.output_bytes()
    }

    fn is_splice(&self) -> bool {
        self.facts.backend_dialect == self.routed.dialect
    }

    fn response_head(&self, incoming: &Incoming, mut headers: HeaderMap) -> ResponseHead {
        headers::clean_response(&mut headers);
        identify(&mut headers, self.routed.dialect, &self.routed.request_id);
        if let BodyKind::Events(framing) = incoming.body {
            headers.remove(CONTENT_ENCODING);
            let shape = self.routed.shape;
            if !self.is_splice() || framing != StreamFraming::Sse || shape != Shape::Plain {
                shape.declare_stream(&mut headers);
            }
        }
        self.routed.explain.write(&self.losses, &mut headers);
        self.charging.write(&mut headers);
        if self.routed.detoured.is_some()
            && let Ok(model) = HeaderValue::from_str(self.routed.model.as_str())
        {
            headers.insert(LED_TO, model);
        }
        ResponseHead { status: client_status(incoming.status, self.routed.dialect), headers }
    }

    fn await_body(&mut self, incoming: Incoming) -> Result<(), BackendFault> {
        self.state = match incoming.body {
            BodyKind::Error | BodyKind::Document => State::AwaitBody(incoming),
            BodyKind::Opaque => State::AwaitOpaque,
            BodyKind::Events(framing) => {
                let path = if self.is_splice() {
                    Path::Splice { hides_usage: self.asks_usage }
                } else {
                    let context = self.answer_context();
                    let translator =
                        StreamTranslator::new(self.routed.dialect, self.facts.backend_dialect, context)
                            .ok_or(BackendFault::Unreadable)?;
                    Path::Hub(Box::new(translator))
                };
                let events = Reframer::new(framing, self.facts.backend_dialect, FRAME_BYTES_MAX);
                let stream = EventStream::new(path, events, incoming.coding.as_deref())?;
                State::AwaitEvents(Box::new(stream), self.routed.shape.writer())
            }
        };
        Ok(())
    }

    /// Takes in an answer: the translated one, or `None` when it goes through as it is.
    fn take_answer(&mut self, body: &Bytes) -> Result<Option<Bytes>, BackendFault> {
        if self.is_splice() {
            self.observer.body(body);
            return Ok(None);
        }
        let context = self.answer_context();
        let translated = tollgate_dialect::translate_answer(
            self.routed.dialect,
            self.facts.backend_dialect,
            self.routed.operation,
            body,
            &context,
            &mut self.observer,
        )
        .map_err(|_| BackendFault::Unreadable)?;
        self.losses.extend(translated.losses);
        Ok(Some(translated.body))
    }

    fn answer_context(&self) -> AnswerContext {
        AnswerContext {
            requested_model: self.routed.requested_model().clone(),
            created_s: self.facts.started_at_ms / 1000,
            fallback_id: self.answer_id.as_deref().unwrap_or(&self.routed.request_id).to_owned(),
            usage_wanted: self.routed.delivery == Delivery::Whole || self.routed.usage_wanted,
            vectors: self.routed.vectors,
            repeated: self.repeated.clone(),
        }
    }

    /// The last bytes of a stream, with the error that ends it.
    fn last_words(&mut self, bytes: Bytes, fault: Option<Fault>) -> (Bytes, Option<Fault>) {
        let (bytes, fault) = if self.has_failed() {
            (bytes, Some(Fault::Backend(BackendFault::ErrorEvent)))
        } else {
            let error = fault.as_ref().map(|fault| self.stream_error(fault)).unwrap_or_default();
            (tollgate_wire::join(&mut vec![bytes, error]), fault)
        };
        match &mut self.state {
            State::AwaitEvents(_, writer) => (writer.finish(bytes), fault),
            _ => (bytes, fault),
        }
    }

    fn stream_error(&self, fault: &Fault) -> Bytes {
        let status = crate::refusal::fault_status(fault, self.routed.dialect);
        let error = ErrorBody {
            status: status.as_u16(),
            kind: "BackendError",
            message: &fault_message(fault),
            code: Some(fault.label()),
            param: None,
            request_id: &self.routed.request_id,
        };
        tollgate_dialect::encode_stream_error(self.routed.dialect, &error)
    }

    fn refuse<T>(&self, refusal: &Refusal) -> Step<T> {
        let reply = refusal.reply(self.routed.dialect, &self.routed.request_id);
        Step::Reply(self.routed.shape.reply(reply))
    }

    /// A data plane called out of order: a bug, told as one.
    fn internal<T>(&self) -> Step<T> {
        Step::Reply(LocalReply {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            headers: reply_headers(self.routed.dialect, &self.routed.request_id),
            body: Bytes::new(),
            reason: Some("internal"),
        })
    }
}

/// The body without its content coding.
fn unpack(incoming: &Incoming, body: &Bytes) -> Result<Bytes, BackendFault> {
    let Some(coding) = &incoming.coding else { return Ok(body.clone()) };
    let Receive::Whole { bytes_max } = incoming.receive() else { return Ok(body.clone()) };
    let inflater = Inflater::new(coding, bytes_max).map_err(|_| BackendFault::Unreadable)?;
    let Some(mut inflater) = inflater else { return Ok(body.clone()) };
    let mut out = BytesMut::new();
    let fault = |error| match error {
        InflateError::TooLarge => BackendFault::TooLarge,
        InflateError::Corrupt | InflateError::Truncated => BackendFault::Unreadable,
    };
    inflater.push(body, &mut out).map_err(fault)?;
    inflater.finish(&mut out).map_err(fault)?;
    Ok(out.freeze())
}

//! The stream of a listener: a request is refused, answered, or routed, and its client's status is noted.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, Method};
use tollgate_envoy::processor::{
    Asked, Head as SentHead, HeaderChanges, Headers, Incoming, Members, Onward, Outgoing, Phase,
};
use tollgate_exchange::authorize::{Keyring, Vouched};
use tollgate_exchange::{
    Arrival, BodyFraming, BodyPlan, ClientRequest, Exchange, LocalReply, Refusal, RequestHead, Routed,
};
use tollgate_terms::{BackendFault, Fault, GatewayFault};
use tonic::Status;

use crate::asking::{Asking, Led, Missing, Stage, Told};
use crate::headers::{Head, set, texts};
use crate::metadata::members;
use crate::processor::{Named, Shared};
use crate::reply::{empty, immediate};
use crate::running::Running;
use crate::vouched::vouched;
use crate::{clock, names};

/// Request headers that Envoy has added, and that belong to nobody behind it.
const ADDED_BY_ENVOY: [HeaderName; 2] = [FORWARDED_FOR, HeaderName::from_static("x-forwarded-proto")];

/// The header in which Envoy adds the address of the client.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The refusal of a request whose configuration is not here.
const BEHIND: Refusal = Refusal::Failed(Fault::Gateway(GatewayFault::Behind));

/// A listener's stream.
pub(crate) struct ListenerSide {
    shared: Arc<Shared>,
    /// Until there is a head.
    named: Option<Named>,
    listener: Arc<str>,
    /// The policy over the plain rule to which Envoy sends the request.
    access: Option<Arc<str>>,
    running: Option<Arc<Running>>,
    /// While limits are asked what they have left.
    asking: Option<Asking>,
    /// Whether the head of the response is on its way to the client.
    has_response: bool,
}

impl ListenerSide {
    pub(crate) fn new(
        shared: Arc<Shared>,
        named: Named,
        listener: Arc<str>,
        access: Option<Arc<str>>,
    ) -> Self {
        let named = Some(named);
        Self { shared, named, listener, access, running: None, asking: None, has_response: false }
    }

    /// Answers one message.
    pub(crate) fn take(&mut self, message: Incoming, answers: &mut VecDeque<Outgoing>) -> Result<(), Status> {
        answers.extend(match &message.asked {
            Asked::RequestHeaders(head) => {
                let source = message.attribute(names::SOURCE_ADDRESS).and_then(address);
                self.on_head(head, source, vouched(&message))?
            }
            Asked::RequestBody(body) => self.on_body(body.bytes.clone(), Phase::RequestBody)?,
            Asked::ResponseHeaders(head) => Some(self.on_response(&head.headers)),
            Asked::ResponseBody(_) | Asked::ResponseTrailers | Asked::Other => return Ok(()),
        });
        Ok(())
    }

    /// Goes on once it is known what it has asked for.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        answers: &mut VecDeque<Outgoing>,
    ) -> Result<(), Status> {
        let (Some(asking), Some(running)) = (&mut self.asking, &self.running) else { return Ok(()) };
        let Poll::Ready(told) = asking.poll(context) else { return Ok(()) };
        let running = Arc::clone(running);
        self.asking = None;
        answers.extend(match told {
            Told::Passage(Ok(admitted)) => {
                running.admit_passage(admitted);
                Some(pass(&running))
            }
            Told::Passage(Err(refusal)) => {
                let reply = running.exchange(|exchange| exchange.refuse(&refusal)).ok_or_else(over)?;
                Some(answer(&running, &reply))
            }
            Told::Model(led, at) => Some(lead(&running, *led, at)?),
            Told::Keys(missing, None) => Some(answer(&running, &missing.reply)),
            Told::Keys(missing, Some(keyring)) => self.retry(&running, missing.stage, keyring)?,
        });
        // What it asks next has to be polled for it to wake us.
        if self.asking.is_some() { self.poll(context, answers) } else { Ok(()) }
    }

    /// The exchange that it is about.
    pub(crate) fn running(&self) -> Option<&Arc<Running>> {
        self.running.as_ref()
    }

    /// Ends the request, unless its answer has begun.
    pub(crate) fn cut(&mut self, answers: &mut VecDeque<Outgoing>) {
        let Some(running) = self.running.as_ref().filter(|_| !self.has_response) else { return };
        let fault = Fault::Gateway(GatewayFault::Draining);
        let Some(reply) = running.exchange(|exchange| exchange.fail(&fault)) else { return };
        running.set_status(reply.status.as_u16());
        running.set_body_bytes(reply.body.len());
        running.fail(fault);
        self.asking = None;
        self.has_response = true;
        answers.push_back(immediate(&reply));
    }

    fn on_head(
        &mut self,
        sent: &SentHead,
        source: Option<String>,
        vouched: Vec<Vouched>,
    ) -> Result<Option<Outgoing>, Status> {
        let named = self.named.take().ok_or_else(|| Status::failed_precondition("two heads"))?;
        if texts(&sent.headers, [names::PROBE]) == [Some(&*self.shared.probe)] {
            return Ok(Some(empty()));
        }
        let head = Head::read(&sent.headers);
        // Envoy joins the values of a header that comes twice.
        let has_two_hosts = head.authority.as_deref().is_some_and(|authority| authority.contains(','));
        let mut head = request_head(head, sent.is_end, Arc::clone(&self.listener));
        head.client_address = source.unwrap_or(head.client_address);
        let (unreadable, serving) = match named {
            Named::Unknown { newest } => (Some(BEHIND), newest),
            Named::Known(serving) => (has_two_hosts.then_some(Refusal::BadHost), serving),
        };
        let arrival = Arrival {
            request_id: tollgate_effects::request_id(),
            at: clock::now(),
            at_unix_ms: clock::unix_ms(),
            keyring: serving.credentials.keyring(),
            vouched,
        };
        let (exchange, plan) = match unreadable {
            Some(refusal) => {
                let (exchange, reply) = Exchange::unread(head, arrival, &refusal);
                (exchange, Err(reply))
            }
            None => Exchange::new(&serving.snapshot, head, arrival),
        };
        self.running = Some(Running::new(exchange, serving, &self.shared));
        self.on_plan(plan.map_err(Box::new), sent.is_end)
    }

    /// Does what the exchange has made of the head.
    fn on_plan(
        &mut self,
        plan: Result<BodyPlan, Box<LocalReply>>,
        is_end: bool,
    ) -> Result<Option<Outgoing>, Status> {
        let running = self.running.as_ref().ok_or_else(over)?;
        match plan {
            Err(reply) => Ok(self.answer_or_ask(*reply, Stage::Head { is_end })),
            // Envoy passes it on by itself, by the rule that was meant: it must not be one that asks something else.
            Ok(BodyPlan::Pass(passage)) if self.access.is_some() && self.access == entered(running) => {
                if passage.claims().1.is_empty() {
                    return Ok(Some(pass(running)));
                }
                self.asking = Some(Asking::passage(passage, &self.shared));
                Ok(None)
            }
            // Envoy serves plain rules by itself, and has found none, or one where none was meant.
            Ok(plan) if self.access.is_some() || matches!(plan, BodyPlan::Pass(_)) => {
                match running.exchange(|exchange| exchange.not_found()) {
                    Some(reply) => Ok(Some(answer(running, &reply))),
                    None => Err(over()),
                }
            }
            Ok(_) if is_end => self.on_body(Bytes::new(), Phase::RequestHeaders),
            Ok(_) => {
                let metadata = identity(running);
                Ok(Some(Onward { metadata, ..Onward::default() }.answer(Phase::RequestHeaders)))
            }
        }
    }

    fn on_body(&mut self, body: Bytes, phase: Phase) -> Result<Option<Outgoing>, Status> {
        let running =
            self.running.as_ref().ok_or_else(|| Status::failed_precondition("a body without a head"))?;
        let routed = running.exchange(|exchange| exchange.on_request_body(body.clone())).ok_or_else(over)?;
        Ok(self.on_routed(routed, body, phase))
    }

    /// Does what the exchange has made of the body.
    fn on_routed(
        &mut self,
        routed: Result<(Arc<Routed>, ClientRequest), Box<LocalReply>>,
        body: Bytes,
        phase: Phase,
    ) -> Option<Outgoing> {
        let running = self.running.as_ref()?;
        match routed {
            Ok(request) => {
                let detour = running.exchange(|exchange| exchange.detour(&request.0, &request.1)).flatten();
                let Some(detour) = detour else { return Some(send_on(running, request, phase)) };
                self.asking = Some(Asking::model(Led { detour, request, phase }, &self.shared));
                None
            }
            Err(reply) => self.answer_or_ask(*reply, Stage::Body(body, phase)),
        }
    }

    /// Answers with `reply`, unless the exchange has missed keys: then they are asked for first.
    fn answer_or_ask(&mut self, reply: LocalReply, stage: Stage) -> Option<Outgoing> {
        let running = self.running.as_ref()?;
        let Some(missed) = running.exchange(Exchange::take_missed_keys).flatten() else {
            return Some(answer(running, &reply));
        };
        let credentials = &running.serving.credentials;
        self.asking = Some(Asking::keys(Missing { stage, reply }, missed, credentials));
        None
    }

    /// Reads on with keys that were missed.
    fn retry(
        &mut self,
        running: &Running,
        stage: Stage,
        keyring: Arc<Keyring>,
    ) -> Result<Option<Outgoing>, Status> {
        match stage {
            Stage::Head { is_end } => {
                let snapshot = &running.serving.snapshot;
                let plan = running.exchange(|exchange| exchange.retry_head(snapshot, keyring));
                self.on_plan(plan.ok_or_else(over)?, is_end)
            }
            Stage::Body(body, phase) => {
                let routed = running.exchange(|exchange| exchange.retry_body(body.clone(), keyring));
                Ok(self.on_routed(routed.ok_or_else(over)?, body, phase))
            }
        }
    }

    fn on_response(&mut self, head: &Headers) -> Outgoing {
        self.has_response = true;
        // Envoy refuses some requests before they come here. Of those there is nothing to tell.
        if let Some(running) = &self.running {
            note_response(running, head);
        }
        let mut headers = HeaderChanges::default();
        for name in [names::RETRY, names::FAULT] {
            if head.iter().any(|header| header.name == name.as_bytes()) {
                headers.remove(name.as_bytes());
            }
        }
        Onward { headers, ..Onward::default() }.answer(Phase::ResponseHeaders)
    }
}

fn over() -> Status {
    Status::internal("the exchange is over")
}

/// Sends a request to the model that budgets lead it to.
fn lead(running: &Running, led: Led, at: Option<usize>) -> Result<Outgoing, Status> {
    let Led { detour, request, phase } = led;
    let request = match at {
        None => Ok(request),
        Some(at) => {
            running.exchange(|exchange| exchange.take_detour(request, &detour, at)).ok_or_else(over)?
        }
    };
    Ok(match request {
        Ok(request) => send_on(running, request, phase),
        Err(reply) => answer(running, &reply),
    })
}

/// Lets Envoy pass a request on.
fn pass(running: &Running) -> Outgoing {
    running.passed();
    let (headers, metadata) = (told(running), identity(running));
    Onward { headers, metadata, ..Onward::default() }.answer(Phase::RequestHeaders)
}

/// Sends a routed request on its way, and keeps it for its attempts.
fn send_on(running: &Running, request: (Arc<Routed>, ClientRequest), phase: Phase) -> Outgoing {
    let onward = onward(running, &request.0, phase);
    // Can only be set already if Envoy sent two bodies; the first one counts.
    let _ = running.routed.set(request);
    onward.answer(phase)
}

/// Notes what the client gets, and who says it.
fn note_response(running: &Running, head: &Headers) {
    let [status, label, length] = texts(head, [":status", names::FAULT, CONTENT_LENGTH.as_str()]);
    running.set_status(status.and_then(|status| status.parse().ok()).unwrap_or_default());
    let Some(label) = label else { return running.pass_on() };
    // Envoy says it by itself, and has given it the client's shape already.
    running.set_body_bytes(length.and_then(|length| length.parse().ok()).unwrap_or_default());
    match fault_called(label) {
        Some(fault) => running.fail(fault),
        None => running.refused(refusal_called(label)),
    }
}

/// Faults that Envoy itself tells of.
const FAULTS: [Fault; 9] = [
    Fault::Backend(BackendFault::Unreachable),
    Fault::Backend(BackendFault::Reset),
    Fault::Backend(BackendFault::Cut),
    Fault::Backend(BackendFault::Protocol),
    Fault::Backend(BackendFault::FirstByteTimeout),
    Fault::Backend(BackendFault::Deadline),
    Fault::Gateway(GatewayFault::Overloaded),
    Fault::Gateway(GatewayFault::Internal),
    Fault::Gateway(GatewayFault::LimitStore),
];

fn fault_called(label: &str) -> Option<Fault> {
    FAULTS.iter().find(|fault| fault.label() == label).cloned()
}

/// Refusals of Envoy's own, by their labels.
const REFUSALS: [&str; 9] = [
    "body_broken",
    "body_timeout",
    "body_too_large",
    "head_too_large",
    "limit_exceeded",
    "malformed_head",
    "misconfigured",
    "no_route",
    "upgrade",
];

fn refusal_called(label: &str) -> Option<&'static str> {
    REFUSALS.iter().copied().find(|known| *known == label)
}

fn answer(running: &Running, reply: &LocalReply) -> Outgoing {
    running.replied(reply);
    immediate(reply)
}

/// What Envoy has to know of an exchange: its id, and in which words its client wants to be told of failures.
fn identity(running: &Running) -> Option<Members> {
    let mut members = members();
    members.add_text(names::EXCHANGE, running.id());
    if let Some(dialect) = running.exchange(|exchange| exchange.dialect()) {
        members.add_text(names::DIALECT, dialect.label());
    }
    members.told()
}

/// Sends a routed request on its way to the routes.
fn onward(running: &Running, routed: &Routed, phase: Phase) -> Onward {
    let metadata = (phase == Phase::RequestHeaders).then(|| identity(running)).flatten();
    let mut headers = told(running);
    set(&mut headers, names::MODEL, routed.model().as_str());
    Onward { headers, metadata, clear_route_cache: true, ..Onward::default() }
}

/// The policy by which a request of a plain rule was let in.
fn entered(running: &Running) -> Option<Arc<str>> {
    running.exchange(|exchange| exchange.told().access.clone()).flatten()
}

/// What Envoy has to change in the head of a request before it goes on.
fn told(running: &Running) -> HeaderChanges {
    let mut headers = HeaderChanges::default();
    running.exchange(|exchange| {
        let told = exchange.told();
        if let Some(path) = &told.path {
            set(&mut headers, ":path", path);
        }
        let is_set = |name: &HeaderName| told.set.iter().any(|(set, _)| set == name);
        for name in told.remove.iter().filter(|name| !is_set(name)) {
            headers.remove(name.as_str().as_bytes());
        }
        for (name, value) in &told.set {
            set(&mut headers, name.as_str(), value.as_bytes());
        }
    });
    headers
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
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (path, None),
    };
    RequestHead {
        method: sent.method.and_then(|method| Method::from_bytes(method.as_bytes()).ok()).unwrap_or_default(),
        path,
        query,
        host: sent.authority.filter(|authority| !authority.is_empty()),
        headers,
        listener,
        client_address,
        body,
    }
}

/// The address without its port.
fn address(told: &str) -> Option<String> {
    match told.parse().ok()? {
        SocketAddr::V4(_) => told.rsplit_once(':').map(|(address, _)| address.to_owned()),
        SocketAddr::V6(address) => Some(address.ip().to_string()),
    }
}

/// The address that Envoy saw, which it has added as the last one.
fn client_address(headers: &http::HeaderMap) -> String {
    let forwarded = headers.get_all(FORWARDED_FOR).iter().next_back();
    let last = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    last.map(|address| address.trim().to_owned()).unwrap_or_default()
}

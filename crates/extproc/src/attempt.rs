//! The stream of one try at one host: the request is said anew for it, and its response is taken in.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tollgate_config::CompiledRule;
use tollgate_effects::{Arrived, Dispatched, Tried, Undispatched};
use tollgate_envoy::processor::{Asked, Headers, Incoming, Onward, Outgoing, Phase};
use tollgate_exchange::{Attempt, Ending, LocalReply, UpstreamRequest};
use tollgate_terms::Fault;
use tonic::Status;

use crate::headers::{changes, set, texts};
use crate::metadata::{add_costs, add_target, members};
use crate::processor::Shared;
use crate::receive::Receiver;
use crate::reply::immediate;
use crate::running::Running;
use crate::{clock, names};

/// The stream of one try.
pub(crate) struct AttemptSide {
    shared: Arc<Shared>,
    /// Until the request was said.
    begun: Option<Begun>,
    /// While it waits for something before that.
    arriving: Option<Arriving>,
    /// Once the request was said.
    receiver: Option<Receiver>,
}

/// A try of which the request is being made.
struct Begun {
    attempt: Tried,
    number: u32,
    running: Arc<Running>,
    /// What Envoy's request says.
    sent: Headers,
    /// What the backend is asked as.
    authority: Option<String>,
}

/// A credential that is fetched, or what limits have left.
type Arriving = Pin<Box<dyn Future<Output = Arrived> + Send>>;

impl AttemptSide {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, begun: None, arriving: None, receiver: None }
    }

    /// Answers one message.
    pub(crate) fn take(&mut self, message: Incoming, answers: &mut VecDeque<Outgoing>) -> Result<(), Status> {
        let asked = match message.asked {
            Asked::RequestHeaders(head) => {
                answers.extend(self.on_dispatch(head.headers)?);
                return Ok(());
            }
            asked => asked,
        };
        let receiver = self.receiver.as_mut().ok_or_else(|| Status::failed_precondition("no attempt"))?;
        match asked {
            Asked::ResponseHeaders(head) => receiver.on_head(head, answers),
            Asked::ResponseBody(body) => receiver.on_body(body.bytes, body.is_end, answers),
            Asked::ResponseTrailers => receiver.on_trailers(answers),
            Asked::RequestHeaders(_) | Asked::RequestBody(_) | Asked::Other => Ok(()),
        }
    }

    /// The exchange that it is about.
    pub(crate) fn running(&self) -> Option<&Arc<Running>> {
        let begun = self.begun.as_ref().map(|begun| &begun.running);
        begun.or(self.receiver.as_ref().map(|receiver| &receiver.running))
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
    pub(crate) fn break_off(&mut self, fault: Fault, answers: &mut VecDeque<Outgoing>) {
        if let Some(receiver) = &mut self.receiver {
            receiver.break_off(fault, answers);
        }
    }

    /// Goes on once a credential that was fetched is there, or cannot be had.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        answers: &mut VecDeque<Outgoing>,
    ) -> Result<Poll<()>, Status> {
        let Some(arriving) = &mut self.arriving else { return Ok(Poll::Pending) };
        let Poll::Ready(arrived) = arriving.as_mut().poll(context) else { return Ok(Poll::Pending) };
        self.arriving = None;
        let begun = self.begun.as_mut().ok_or_else(|| Status::internal("no attempt"))?;
        let sources = self.shared.sources(&begun.running.serving);
        let dispatched = begun.attempt.resume(arrived, sources);
        answers.extend(self.go_on(dispatched)?);
        Ok(Poll::Ready(()))
    }

    /// Says the request anew; no answer if its credential has to be fetched first.
    fn on_dispatch(&mut self, sent: Headers) -> Result<Option<Outgoing>, Status> {
        let [what, count] = texts(&sent, [names::TRY, names::ATTEMPT_COUNT]);
        let mut what = what.unwrap_or_default().splitn(3, ' ');
        let (exchange, authority, target) = (what.next(), what.next(), what.next());
        let running = exchange.and_then(|id| self.shared.find(id));
        let running = running.ok_or_else(|| Status::not_found("no such exchange"))?;
        let (routed, client) =
            running.routed.get().ok_or_else(|| Status::failed_precondition("not routed"))?;
        let target = target.and_then(|target| target_of(routed.rule(), target));
        let target = target
            .ok_or_else(|| Status::failed_precondition("Envoy and the processor have routed differently"))?;
        let number = running.begin_attempt(count.and_then(|count| count.parse().ok()));
        let attempt = Attempt::new(routed, target, number, clock::now(), clock::unix_ms());
        let attempt = attempt.ok_or_else(|| Status::failed_precondition("the target cannot serve it"))?;
        let authority = authority.map(str::to_owned);
        let attempt = Tried::new(attempt);
        let begun = Begun { attempt, number, running: Arc::clone(&running), sent, authority };
        let sources = self.shared.sources(&running.serving);
        let dispatched = self.begun.insert(begun).attempt.begin(client, running.admission(), sources);
        self.go_on(dispatched)
    }

    /// Answers, unless something has to be waited for.
    fn go_on(&mut self, dispatched: Result<Dispatched, Undispatched>) -> Result<Option<Outgoing>, Status> {
        match dispatched {
            Ok(Dispatched::Awaiting(awaited)) => {
                self.arriving = Some(Box::pin(awaited.arrived()));
                Ok(None)
            }
            Ok(Dispatched::Request(request)) => self.on_dispatched(Ok(request)).map(Some),
            Err(undispatched) => self.on_dispatched(Err(undispatched)).map(Some),
        }
    }

    fn on_dispatched(
        &mut self,
        dispatched: Result<UpstreamRequest, Undispatched>,
    ) -> Result<Outgoing, Status> {
        let begun = self.begun.as_ref().ok_or_else(|| Status::internal("no attempt"))?;
        if begun.attempt.is_admitted() {
            begun.running.admit();
        }
        match dispatched {
            Ok(request) => {
                let answer = self.say(begun, request)?;
                let begun = self.begun.take();
                self.receiver = begun.map(|begun| Receiver::new(begun.attempt, begun.number, begun.running));
                Ok(answer)
            }
            Err(Undispatched::Replied(reply)) => Ok(self.give_up(reply.fault(), &reply)),
            // Envoy does not try again what a filter of its cluster answers.
            Err(Undispatched::Failed(fault)) => {
                let reply = begun.running.exchange(|exchange| exchange.fail(&fault));
                let reply = reply.ok_or_else(|| Status::failed_precondition("the exchange is over"))?;
                Ok(self.give_up(fault, &reply))
            }
        }
    }

    /// Says the request to the backend.
    fn say(&self, begun: &Begun, request: UpstreamRequest) -> Result<Outgoing, Status> {
        let attempt = &begun.attempt;
        let (_, client) =
            begun.running.routed.get().ok_or_else(|| Status::failed_precondition("not routed"))?;
        self.shared.telemetry.opened(|| attempt.opening());
        let mut members = members();
        add_costs(&mut members, attempt);
        add_target(&mut members, attempt);
        let is_same_body = is_same(&request.body, client.body());
        if !is_same_body {
            // Envoy takes the length away with a body that is replaced; a filter behind us puts it back from here.
            members.add_text(names::CONTENT_LENGTH, &request.body_bytes().to_string());
        }
        let metadata = members.told();
        let onward = dispatch(&begun.sent, request, is_same_body, begun.authority.as_deref());
        Ok(Onward { metadata, ..onward }.answer(Phase::RequestHeaders))
    }

    /// Answers the client instead of the backend.
    fn give_up(&mut self, fault: Fault, reply: &LocalReply) -> Outgoing {
        if let Some(Begun { attempt, running, .. }) = self.begun.take() {
            running.end_attempt(attempt, Ending::GivenUp(fault));
            running.replied(reply);
        }
        immediate(reply)
    }
}

impl Drop for AttemptSide {
    fn drop(&mut self) {
        if let Some(Begun { attempt, running, .. }) = self.begun.take() {
            running.end_unsaid(attempt);
        }
    }
}

/// The request as Envoy is to send it.
fn dispatch(sent: &Headers, request: UpstreamRequest, is_same_body: bool, authority: Option<&str>) -> Onward {
    let mut headers = changes(sent, &request.headers);
    let length = request.body_bytes().to_string();
    let wanted = [
        (":path", Some(request.path.as_str())),
        (":method", Some(request.method.as_str())),
        (":authority", authority),
        // It may be that of an earlier attempt.
        ("content-length", Some(&length)),
    ];
    let before = texts(sent, wanted.map(|(name, _)| name));
    for ((name, wanted), before) in wanted.into_iter().zip(before) {
        if let Some(wanted) = wanted.filter(|_| wanted != before) {
            set(&mut headers, name, wanted);
        }
    }
    if is_same_body {
        return Onward { headers, ..Onward::default() };
    }
    let body = match <[Bytes; 1]>::try_from(request.body) {
        Ok([whole]) => whole,
        Err(pieces) => pieces.concat().into(),
    };
    Onward { headers, body: Some(body), ..Onward::default() }
}

/// Whether these pieces are the client's own bytes, untouched.
fn is_same(pieces: &[Bytes], body: &Bytes) -> bool {
    matches!(pieces, [whole] if whole.len() == body.len() && (whole.as_ptr() == body.as_ptr() || whole.is_empty()))
}

/// The place in `rule` of the target that Envoy calls `name`; `None` when it is not of this rule.
fn target_of(rule: &CompiledRule, name: &str) -> Option<usize> {
    let rest = name.strip_prefix(rule.route.as_ref())?.strip_prefix("/rule/")?;
    let (index, target) = rest.rsplit_once('/')?;
    let index = index.strip_suffix("/target")?;
    (index.parse() == Ok(rule.index)).then(|| target.parse().ok())?
}

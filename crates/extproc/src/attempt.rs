//! The stream of one try at one host: the request is said anew for it, and its response is taken in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tollgate_config::CompiledRule;
use tollgate_effects::{Dispatched, Tried, Undispatched};
use tollgate_envoy::processor::{Asked, Headers, Incoming, Onward, Outgoing, Phase};
use tollgate_exchange::{Attempt, Ending, UpstreamRequest};
use tollgate_terms::Fault;
use tonic::Status;

use crate::awaiting::{Awaiting, Begun};
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
    /// Once the request was said.
    receiver: Option<Receiver>,
    /// While it waits for something.
    awaiting: Option<Awaiting>,
}

impl AttemptSide {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, receiver: None, awaiting: None }
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
        let awaiting = self.awaiting.as_ref().and_then(Awaiting::running);
        awaiting.or(self.receiver.as_ref().map(|receiver| &receiver.running))
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
        let Some(awaiting) = &mut self.awaiting else { return Ok(Poll::Pending) };
        let Poll::Ready(ready) = awaiting.poll(context) else { return Ok(Poll::Pending) };
        self.awaiting = None;
        if let Some((mut begun, arrived)) = ready {
            let sources = self.shared.sources(&begun.running.serving);
            let dispatched = begun.attempt.resume(arrived, sources);
            answers.extend(self.go_on(begun, dispatched)?);
        }
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
        let mut attempt = Tried::new(attempt);
        let sources = self.shared.sources(&running.serving);
        let dispatched = attempt.begin(client, running.admission(), sources);
        let authority = authority.map(str::to_owned);
        let running = Arc::clone(&running);
        self.go_on(Begun { attempt, number, running, sent, authority }, dispatched)
    }

    /// Answers, unless something has to be waited for.
    fn go_on(
        &mut self,
        begun: Begun,
        dispatched: Result<Dispatched, Undispatched>,
    ) -> Result<Option<Outgoing>, Status> {
        match dispatched {
            Ok(Dispatched::Awaiting(awaited)) => {
                self.awaiting = Some(Awaiting::new(begun, awaited));
                Ok(None)
            }
            Ok(Dispatched::Request(request)) => self.on_dispatched(begun, Ok(request)).map(Some),
            Err(undispatched) => self.on_dispatched(begun, Err(undispatched)).map(Some),
        }
    }

    fn on_dispatched(
        &mut self,
        begun: Begun,
        dispatched: Result<UpstreamRequest, Undispatched>,
    ) -> Result<Outgoing, Status> {
        let Begun { attempt, number, running, sent, authority } = begun;
        if attempt.is_admitted() {
            running.admit();
        }
        match dispatched {
            Ok(request) => {
                let (_, client) =
                    running.routed.get().ok_or_else(|| Status::failed_precondition("not routed"))?;
                self.shared.telemetry.opened(|| attempt.opening());
                let mut members = members();
                add_costs(&mut members, &attempt);
                add_target(&mut members, &attempt);
                let is_same_body = is_same(&request.body, client.body());
                if !is_same_body {
                    // Envoy takes the length away with a body that is replaced; a filter behind us puts it back from here.
                    members.add_text(names::CONTENT_LENGTH, &request.body_bytes().to_string());
                }
                let metadata = members.told();
                let onward = dispatch(&sent, request, is_same_body, authority.as_deref());
                self.receiver = Some(Receiver::new(attempt, number, running));
                Ok(Onward { metadata, ..onward }.answer(Phase::RequestHeaders))
            }
            Err(Undispatched::Replied(reply)) => {
                running.end_attempt(attempt, Ending::GivenUp(reply.fault()));
                running.replied(&reply);
                Ok(immediate(&reply))
            }
            // Envoy does not try again what a filter of its cluster answers.
            Err(Undispatched::Failed(fault)) => {
                let reply = running.exchange(|exchange| exchange.fail(&fault));
                let reply = reply.ok_or_else(|| Status::failed_precondition("the exchange is over"))?;
                running.end_attempt(attempt, Ending::GivenUp(fault));
                running.replied(&reply);
                Ok(immediate(&reply))
            }
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

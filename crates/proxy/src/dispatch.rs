//! The loop of attempts: select, call, and try again elsewhere until the client has its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use tollgate_config::bundle::Timeouts;
use tollgate_effects::{Sources, Tried, Undispatched};
use tollgate_exchange::{
    Attempt, Chance, ClientRequest, Ending, LocalReply, Outcome, Receive, ResponseHead, Routed, Step,
    status_fault,
};
use tollgate_policy::retry;
use tollgate_policy::select::{Candidate, Choice, select};
use tollgate_terms::{BackendFault, Fault, GatewayFault};

use crate::answer::{AnswerBody, StreamBody, StreamParts, WholeBody};
use crate::clock;
use crate::collect::{Incomplete, Whole};
use crate::service::{fail, local, response};
use crate::serving::InFlight;
use crate::settle::Running;
use crate::upstream::Inbound;
use crate::worker::Worker;

/// One exchange in its attempts.
struct Dispatch<'a> {
    worker: &'a Worker,
    routed: Arc<Routed>,
    /// Dropped when a stream begins: after that there can be no other attempt.
    client: ClientRequest,
    candidates: Vec<Candidate>,
    attempts: u32,
    deadline: Option<Instant>,
    /// The bounds of the attempt that is going on.
    bounds: Bounds,
}

/// Until when one attempt may take, and how long its backend may say nothing.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    /// Something for the client must be there: the whole of a document, the first event of a stream.
    per_try: Option<Instant>,
    /// The response must have begun: the head of a document, the first event of a stream.
    first_byte: Option<Instant>,
    /// Silence, before and behind the first byte.
    idle: Option<Duration>,
}

/// What one attempt came to.
enum Attempted {
    /// The client's answer.
    Answered(ResponseHead, Box<AnsweredBody>),
    /// Nothing that a client should get, unless nothing better comes.
    Failed(Fault),
    /// A reply of the gateway's own ends the exchange.
    Replied(Box<LocalReply>),
}

/// The body of an answer.
enum AnsweredBody {
    Whole(Bytes),
    Stream { inbound: Inbound, in_flight: InFlight, ready: Bytes },
}

/// Makes attempts until one answers, the policy gives up, or time is up.
pub(crate) async fn dispatch(
    worker: &Worker,
    mut running: Box<Running>,
    (routed, client): (Arc<Routed>, ClientRequest),
) -> Response<AnswerBody> {
    let mut dispatch = Dispatch::new(worker, (routed, client), &mut running);
    let mut choice = dispatch.choose();
    // What the client is told if it is kept from all other targets as well.
    let mut kept: Option<LocalReply> = None;
    loop {
        let Some(Choice { index, .. }) = choice else {
            return match kept {
                Some(reply) => local(running, reply),
                None => fail(running, &Fault::Backend(BackendFault::Unreachable)),
            };
        };
        let fault = match dispatch.attempt(&mut running, index).await {
            None => Fault::Gateway(GatewayFault::Internal),
            Some(Attempted::Answered(head, body)) => return dispatch.answer(running, head, *body).await,
            Some(Attempted::Replied(reply)) => {
                let is_kept = running.attempt().is_some_and(|attempt| attempt.is_kept_from_backend());
                running.end_attempt(Ending::GivenUp(reply.fault()));
                if !is_kept {
                    return local(running, *reply);
                }
                dispatch.leave_out(index);
                // Something may be left in a while, and a price that is missing stays so.
                let waits = |reply: &LocalReply| reply.status == StatusCode::TOO_MANY_REQUESTS;
                kept = kept.filter(|kept| waits(kept) && !waits(&reply)).or(Some(*reply));
                // One that was tried already is tried again only where the rule wants that, after a fault.
                choice = dispatch.choose().filter(|choice| choice.fresh);
                continue;
            }
            Some(Attempted::Failed(fault)) => {
                running.end_attempt(Ending::GivenUp(fault.clone()));
                fault
            }
        };
        choice = dispatch.choose();
        match dispatch.wait(&fault, choice) {
            Some(Duration::ZERO) => {}
            Some(wait) => tokio::time::sleep(wait).await,
            None => return fail(running, &fault),
        }
    }
}

impl<'a> Dispatch<'a> {
    fn new(
        worker: &'a Worker,
        (routed, client): (Arc<Routed>, ClientRequest),
        running: &mut Running,
    ) -> Self {
        let serving = Arc::clone(&running.serving);
        let rule = Arc::clone(routed.rule());
        let now = clock::now();
        let candidates = rule
            .targets
            .iter()
            .map(|target| Candidate {
                priority: target.priority,
                weight: if routed.is_served_by(target) { target.weight } else { 0 },
                healthy: serving.is_healthy(&target.backend, now),
                tried: 0,
            })
            .collect();
        let arrived = running.exchange().map_or(now, |exchange| exchange.arrived());
        let deadline = rule.timeouts.request.and_then(|limit| arrived.checked_add(limit));
        Self { worker, routed, client, candidates, attempts: 0, deadline, bounds: Bounds::default() }
    }

    /// Leaves a target out from now on, which was not asked: its backend has nothing left, or its model no price.
    fn leave_out(&mut self, index: usize) {
        if let Some(candidate) = self.candidates.get_mut(index) {
            candidate.weight = 0;
            candidate.tried = 0;
        }
    }

    fn choose(&self) -> Option<Choice> {
        select(&self.candidates, self.routed.rule().retry.attempts_per_priority, rand::random())
    }

    /// How long to wait before the attempt at `choice`; `None` when there is to be none.
    fn wait(&self, fault: &Fault, choice: Option<Choice>) -> Option<Duration> {
        let policy = &self.routed.rule().retry;
        if self.attempts > policy.retries_max || !retry::is_retryable(policy, fault) {
            return None;
        }
        let remaining = self.deadline.map(|deadline| deadline.saturating_duration_since(clock::now()));
        if remaining == Some(Duration::ZERO) {
            return None;
        }
        retry::wait(policy, fault, self.attempts, choice?.fresh, remaining, rand::random())
    }

    /// Whether this answer may be given up for another attempt. If not, the client gets what the backend said.
    fn chance(&self, status: StatusCode, headers: &HeaderMap) -> Chance {
        if status.as_u16() < 400 {
            return Chance::Last;
        }
        let fault = Fault::Backend(status_fault(status.as_u16(), headers, clock::unix_ms()));
        match self.wait(&fault, self.choose()) {
            Some(_) => Chance::More,
            None => Chance::Last,
        }
    }

    /// One attempt at the target `index`. `None` when there is no such target, which would be a bug.
    async fn attempt(&mut self, running: &mut Running, index: usize) -> Option<Attempted> {
        self.candidates.get_mut(index)?.tried += 1;
        self.attempts += 1;
        let serving = Arc::clone(&running.serving);
        let attempt = Attempt::new(&self.routed, index, self.attempts, clock::now(), clock::unix_ms())?;
        let admission = running.admission();
        let attempt = running.begin_attempt(attempt);
        let sources = Sources { credentials: &serving.credentials, quotas: &self.worker.quotas };
        let dispatched = attempt.dispatch(&self.client, admission, sources);
        let request = match within(self.limit([]), dispatched).await {
            Ok(Ok(request)) => request,
            Ok(Err(Undispatched::Replied(reply))) => return Some(Attempted::Replied(reply)),
            Ok(Err(Undispatched::Failed(fault))) => return Some(Attempted::Failed(fault)),
            // The time of the exchange is over, and its backend has nothing to do with it.
            Err(_) => return Some(Attempted::Failed(Fault::Gateway(GatewayFault::Credential))),
        };
        let backend = Arc::clone(&attempt.target()?.backend);
        let Some(in_flight) = serving.backend(&backend).enter(&backend) else {
            return Some(Attempted::Failed(Fault::Gateway(GatewayFault::Overloaded)));
        };
        self.worker.telemetry.opened(|| attempt.opening());
        self.bounds = Bounds::begun_now(&self.routed.rule().timeouts);
        let limit = self.limit([self.bounds.per_try, self.bounds.first_byte, self.bounds.silence()]);
        let way = serving.way(self.routed.rule());
        let called = within(limit, self.worker.pools.call(&backend, way, &request)).await;
        let response = match called {
            Ok(Ok(answered)) => answered,
            Ok(Err(fault)) | Err(fault) => return Some(Attempted::Failed(Fault::Backend(fault))),
        };
        Some(self.receive(attempt, response, in_flight).await)
    }

    /// Takes in the response, up to the point where something can be sent to the client.
    async fn receive(
        &self,
        attempt: &mut Tried,
        response: Response<Inbound>,
        in_flight: InFlight,
    ) -> Attempted {
        let (parts, inbound) = response.into_parts();
        let chance = self.chance(parts.status, &parts.headers);
        let (head, receive) = match attempt.on_response_head(parts.status, parts.headers, chance) {
            Step::Forward(forward) => forward,
            step => return given_up(step),
        };
        match receive {
            Receive::Whole { bytes_max } => self.receive_whole(attempt, head, inbound, bytes_max).await,
            Receive::Stream => self.receive_stream(attempt, head, inbound, in_flight).await,
        }
    }

    async fn receive_whole(
        &self,
        attempt: &mut Attempt,
        mut head: ResponseHead,
        mut inbound: Inbound,
        bytes_max: u64,
    ) -> Attempted {
        let body = match self.collect(&mut inbound, bytes_max).await {
            Ok(body) => body,
            Err(fault) => return failed(fault),
        };
        inbound.release();
        match attempt.on_response_body(&self.client, body, &mut head) {
            Step::Forward(body) => Attempted::Answered(head, Box::new(AnsweredBody::Whole(body))),
            step => given_up(step),
        }
    }

    /// Gathers a document, within the bounds of the attempt.
    async fn collect(&self, inbound: &mut Inbound, bytes_max: u64) -> Result<Bytes, BackendFault> {
        let fault = |incomplete| match incomplete {
            Incomplete::Broken => BackendFault::Cut,
            Incomplete::TooLarge => BackendFault::TooLarge,
        };
        let mut gathered = Whole::new(inbound, bytes_max).map_err(fault)?;
        loop {
            let limit = self.limit([self.bounds.per_try, self.bounds.silence()]);
            let Some(frame) = within(limit, inbound.frame()).await? else { return Ok(gathered.into_bytes()) };
            if let Ok(data) = frame.map_err(|_| BackendFault::Cut)?.into_data() {
                gathered.push(data).map_err(fault)?;
            }
        }
    }

    /// Waits for the first bytes that mean something: until then another backend could still answer.
    async fn receive_stream(
        &self,
        attempt: &mut Attempt,
        head: ResponseHead,
        mut inbound: Inbound,
        in_flight: InFlight,
    ) -> Attempted {
        let ready = loop {
            let limit = self.limit([self.bounds.per_try, self.bounds.first_byte, self.bounds.silence()]);
            let frame = match within(limit, inbound.frame()).await {
                Ok(frame) => frame,
                Err(fault) => return failed(fault),
            };
            let chunk = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => chunk,
                    Err(_) => continue,
                },
                Some(Err(_)) => return failed(BackendFault::Cut),
                // The end comes first: the streaming body will see it again, and knows what it means.
                None => break Bytes::new(),
            };
            match attempt.on_response_chunk(chunk, clock::now()) {
                Step::Forward(bytes) => break bytes,
                Step::Hold => {}
                step => return given_up(step),
            }
        };
        Attempted::Answered(head, Box::new(AnsweredBody::Stream { inbound, in_flight, ready }))
    }

    /// The first of `bounds` and of the deadline of the exchange.
    fn limit<const N: usize>(&self, bounds: [Option<Instant>; N]) -> Limit {
        match (bounds.into_iter().flatten().min(), self.deadline) {
            (Some(own), Some(deadline)) if deadline < own => Limit::Exchange(deadline),
            (Some(own), _) => Limit::Attempt(own),
            (None, Some(deadline)) => Limit::Exchange(deadline),
            (None, None) => Limit::None,
        }
    }

    async fn answer(
        self,
        mut running: Box<Running>,
        head: ResponseHead,
        body: AnsweredBody,
    ) -> Response<AnswerBody> {
        running.set_status(head.status.as_u16());
        let body = match body {
            AnsweredBody::Whole(bytes) => {
                let outcome = running.end_attempt(Ending::Delivered).unwrap_or(Outcome::Error);
                let fault = (outcome != Outcome::Complete).then_some("status");
                AnswerBody::Whole(Box::new(WholeBody::new(bytes, running, outcome, fault)))
            }
            AnsweredBody::Stream { inbound, in_flight, ready } => {
                drop(self.client);
                let stream = StreamBody::new(StreamParts {
                    inbound,
                    running,
                    in_flight,
                    ready,
                    idle_limit: self.routed.rule().timeouts.stream_idle,
                    deadline: self.deadline,
                    drain: Arc::clone(&self.worker.drain),
                });
                AnswerBody::Stream(Box::new(stream.begin().await))
            }
        };
        response(head.status, head.headers, body)
    }
}

impl Bounds {
    fn begun_now(timeouts: &Timeouts) -> Self {
        let now = clock::now();
        let from_now = |limit: Option<Duration>| now.checked_add(limit?);
        Self {
            per_try: from_now(timeouts.per_try),
            first_byte: from_now(timeouts.first_byte),
            // A document that stalls is given up at last when its first byte would have been.
            idle: timeouts.stream_idle.or(timeouts.first_byte),
        }
    }

    /// When a silence that begins now has lasted too long.
    fn silence(&self) -> Option<Instant> {
        clock::now().checked_add(self.idle?)
    }
}

/// Until when to wait, and whose time is over then.
#[derive(Debug, Clone, Copy)]
enum Limit {
    None,
    Attempt(Instant),
    Exchange(Instant),
}

async fn within<F: Future>(limit: Limit, future: F) -> Result<F::Output, BackendFault> {
    let (until, fault) = match limit {
        Limit::None => return Ok(future.await),
        Limit::Attempt(until) => (until, BackendFault::FirstByteTimeout),
        Limit::Exchange(until) => (until, BackendFault::Deadline),
    };
    tokio::time::timeout_at(until.into(), future).await.map_err(|_| fault)
}

fn failed(fault: BackendFault) -> Attempted {
    Attempted::Failed(Fault::Backend(fault))
}

/// What a step that does not go forward means for the attempt.
fn given_up<T>(step: Step<T>) -> Attempted {
    match step {
        Step::Retry(fault) => Attempted::Failed(fault),
        Step::Reply(reply) => Attempted::Replied(Box::new(reply)),
        Step::Forward(_) | Step::Hold | Step::Ask(_) => {
            Attempted::Failed(Fault::Gateway(GatewayFault::Internal))
        }
    }
}

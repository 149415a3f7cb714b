//! The loop of attempts: select, call, and try again elsewhere until the client has its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use tollgate_exchange::{
    Answer, Attempt, Chance, Ending, LocalReply, Need, Outcome, Receive, Refusal, ResponseHead, Routed, Step,
    UpstreamRequest,
};
use tollgate_policy::retry;
use tollgate_policy::select::{Candidate, Choice, select};
use tollgate_terms::{BackendFault, Fault, GatewayFault};

use crate::answer::{AnswerBody, StreamBody, StreamParts, WholeBody};
use crate::clock;
use crate::collect::{Incomplete, collect};
use crate::service::{local, refuse};
use crate::serving::{InFlight, Serving};
use crate::settle::Running;
use crate::upstream::Lease;
use crate::worker::Worker;

/// One exchange in its attempts.
struct Dispatch<'a> {
    worker: &'a Worker,
    serving: Arc<Serving>,
    routed: Arc<Routed>,
    candidates: Vec<Candidate>,
    attempts: u32,
    deadline: Option<Instant>,
}

/// What one attempt came to.
enum Attempted {
    /// The client's answer.
    Answered(Box<Answered>),
    /// Nothing that a client should get, unless nothing better comes.
    Failed(Box<Attempt>, Fault),
    /// A reply of the gateway's own ends the exchange.
    Replied(Box<Attempt>, LocalReply),
}

/// An answer, up to its body.
struct Answered {
    attempt: Attempt,
    head: ResponseHead,
    body: AnsweredBody,
}

enum AnsweredBody {
    Whole(Bytes),
    Stream { incoming: Incoming, lease: Lease, in_flight: InFlight, ready: Bytes },
}

/// Makes attempts until one answers, the policy gives up, or time is up.
pub(crate) async fn dispatch(
    worker: &Worker,
    serving: Arc<Serving>,
    mut running: Running,
    routed: Arc<Routed>,
) -> Response<AnswerBody> {
    let mut dispatch = Dispatch::new(worker, serving, routed, &mut running);
    let mut choice = dispatch.choose();
    loop {
        let Some(Choice { index, .. }) = choice else {
            return refuse(running, &Refusal::Failed(Fault::Backend(BackendFault::Unreachable)));
        };
        let fault = match dispatch.attempt(index).await {
            None => Fault::Gateway(GatewayFault::Internal),
            Some(Attempted::Answered(answered)) => return dispatch.answer(running, *answered),
            Some(Attempted::Replied(attempt, reply)) => {
                let fault = Fault::Gateway(GatewayFault::Credential);
                running.end_attempt(*attempt, Ending::GivenUp(fault), &dispatch.serving);
                return local(running, reply);
            }
            Some(Attempted::Failed(attempt, fault)) => {
                running.end_attempt(*attempt, Ending::GivenUp(fault.clone()), &dispatch.serving);
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
    fn new(worker: &'a Worker, serving: Arc<Serving>, routed: Arc<Routed>, running: &mut Running) -> Self {
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
        Self { worker, serving, routed, candidates, attempts: 0, deadline }
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

    /// Whether an answer with `status` may be given up for another attempt.
    fn chance(&self, status: StatusCode) -> Chance {
        let policy = &self.routed.rule().retry;
        let fault = Fault::Backend(BackendFault::Status { status: status.as_u16(), retry_after: None });
        if self.attempts <= policy.retries_max && retry::is_retryable(policy, &fault) {
            Chance::More
        } else {
            Chance::Last
        }
    }

    /// One attempt at the target `index`. `None` when there is no such target, which would be a bug.
    async fn attempt(&mut self, index: usize) -> Option<Attempted> {
        self.candidates.get_mut(index)?.tried += 1;
        self.attempts += 1;
        let mut attempt =
            Attempt::new(&self.routed, index, self.attempts, clock::now(), clock::unix_ms())?;
        let request = match self.prepare(&mut attempt) {
            Ok(request) => request,
            Err(reply) => return Some(Attempted::Replied(Box::new(attempt), reply)),
        };
        let backend = Arc::clone(&attempt.target()?.backend);
        let Some(in_flight) = self.serving.backend(&backend).enter(&backend) else {
            let fault = Fault::Backend(BackendFault::Status { status: 503, retry_after: None });
            return Some(Attempted::Failed(Box::new(attempt), fault));
        };
        let timeouts = &self.routed.rule().timeouts;
        let head_limit = self.limit([timeouts.per_try, timeouts.first_byte]);
        let called = within(head_limit, self.worker.pools.call(&backend, &request)).await;
        let (response, lease) = match called {
            Ok(Ok(answered)) => answered,
            Ok(Err(fault)) => return Some(Attempted::Failed(Box::new(attempt), Fault::Backend(fault))),
            Err(fault) => return Some(Attempted::Failed(Box::new(attempt), Fault::Backend(fault))),
        };
        Some(self.receive(attempt, response, lease, in_flight).await)
    }

    /// The request to the backend, with its credential.
    fn prepare(&self, attempt: &mut Attempt) -> Result<UpstreamRequest, LocalReply> {
        let mut step = attempt.on_dispatch();
        loop {
            step = match step {
                Step::Forward(request) => return Ok(request),
                Step::Reply(reply) => return Err(reply),
                Step::Ask(Need::Credential { credential, offered }) => {
                    let offered = offered.as_ref().map(|offered| offered.0.expose());
                    let answer = match tollgate_effects::credential(&self.serving.secrets, &credential, offered) {
                        Ok(secret) => Answer::Credential(secret),
                        Err(_) => Answer::MissingCredential,
                    };
                    attempt.supply(answer)
                }
                // Nothing to hold or retry before dispatch: `supply` out of order tells the bug.
                Step::Hold | Step::Retry(_) => attempt.supply(Answer::MissingCredential),
            };
        }
    }

    /// Takes in the response, up to the point where something can be sent to the client.
    async fn receive(
        &self,
        mut attempt: Attempt,
        response: Response<Incoming>,
        lease: Lease,
        in_flight: InFlight,
    ) -> Attempted {
        let (parts, incoming) = response.into_parts();
        let chance = self.chance(parts.status);
        let (head, receive) = match attempt.on_response_head(parts.status, parts.headers, chance) {
            Step::Forward(forward) => forward,
            step => return given_up(attempt, step),
        };
        match receive {
            Receive::Whole { bytes_max } => self.receive_whole(attempt, head, incoming, lease, bytes_max).await,
            Receive::Stream => self.receive_stream(attempt, head, incoming, lease, in_flight).await,
        }
    }

    async fn receive_whole(
        &self,
        mut attempt: Attempt,
        mut head: ResponseHead,
        incoming: Incoming,
        lease: Lease,
        bytes_max: u64,
    ) -> Attempted {
        let limit = self.limit([self.routed.rule().timeouts.per_try]);
        let body = match within(limit, collect(incoming, bytes_max)).await {
            Ok(Ok(body)) => body,
            Ok(Err(Incomplete::Broken)) => return failed(attempt, BackendFault::Cut),
            Ok(Err(Incomplete::TooLarge)) => return failed(attempt, BackendFault::TooLarge),
            Err(fault) => return failed(attempt, fault),
        };
        lease.release();
        match attempt.on_response_body(body, &mut head) {
            Step::Forward(body) => {
                Attempted::Answered(Box::new(Answered { attempt, head, body: AnsweredBody::Whole(body) }))
            }
            step => given_up(attempt, step),
        }
    }

    /// Waits for the first bytes that mean something: until then another backend could still answer.
    async fn receive_stream(
        &self,
        mut attempt: Attempt,
        head: ResponseHead,
        mut incoming: Incoming,
        lease: Lease,
        in_flight: InFlight,
    ) -> Attempted {
        use http_body_util::BodyExt;
        let timeouts = &self.routed.rule().timeouts;
        let limit = self.limit([timeouts.first_byte, timeouts.stream_idle]);
        let ready = loop {
            let frame = match within(limit, incoming.frame()).await {
                Ok(frame) => frame,
                Err(fault) => return failed(attempt, fault),
            };
            let chunk = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => chunk,
                    Err(_) => continue,
                },
                Some(Err(_)) => return failed(attempt, BackendFault::Cut),
                // The end comes first: the streaming body will see it again, and knows what it means.
                None => break Bytes::new(),
            };
            match attempt.on_response_chunk(chunk, clock::now()) {
                Step::Forward(bytes) => break bytes,
                Step::Hold => {}
                step => return given_up(attempt, step),
            }
        };
        let body = AnsweredBody::Stream { incoming, lease, in_flight, ready };
        Attempted::Answered(Box::new(Answered { attempt, head, body }))
    }

    /// The moment at which the first of `limits` or the deadline of the exchange is over.
    fn limit<const N: usize>(&self, limits: [Option<Duration>; N]) -> Limit {
        let now = clock::now();
        let own = limits.into_iter().flatten().min().and_then(|limit| now.checked_add(limit));
        match (own, self.deadline) {
            (Some(own), Some(deadline)) if deadline < own => Limit::Exchange(deadline),
            (Some(own), _) => Limit::Attempt(own),
            (None, Some(deadline)) => Limit::Exchange(deadline),
            (None, None) => Limit::None,
        }
    }

    fn answer(self, mut running: Running, answered: Answered) -> Response<AnswerBody> {
        let Answered { attempt, head, body } = answered;
        running.set_status(head.status.as_u16());
        let body = match body {
            AnsweredBody::Whole(bytes) => {
                let outcome =
                    running.end_attempt(attempt, Ending::Delivered, &self.serving).unwrap_or(Outcome::Error);
                let fault = (outcome != Outcome::Complete).then_some("status");
                AnswerBody::Whole(WholeBody::new(bytes, running, outcome, fault))
            }
            AnsweredBody::Stream { incoming, lease, in_flight, ready } => {
                let stream = StreamBody::new(StreamParts {
                    incoming,
                    attempt,
                    running,
                    lease,
                    in_flight,
                    ready,
                    idle_limit: self.routed.rule().timeouts.stream_idle,
                    deadline: self.deadline,
                    drain: Arc::clone(&self.worker.drain),
                    serving: self.serving,
                });
                AnswerBody::Stream(Box::new(stream))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
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

fn failed(attempt: Attempt, fault: BackendFault) -> Attempted {
    Attempted::Failed(Box::new(attempt), Fault::Backend(fault))
}

/// What a step that does not go forward means for the attempt.
fn given_up<T>(attempt: Attempt, step: Step<T>) -> Attempted {
    match step {
        Step::Retry(fault) => Attempted::Failed(Box::new(attempt), fault),
        Step::Reply(reply) => Attempted::Replied(Box::new(attempt), reply),
        Step::Forward(_) | Step::Hold | Step::Ask(_) => {
            Attempted::Failed(Box::new(attempt), Fault::Gateway(GatewayFault::Internal))
        }
    }
}

fn fail(mut running: Running, fault: &Fault) -> Response<AnswerBody> {
    match running.exchange().map(|exchange| exchange.fail(fault)) {
        Some(reply) => local(running, reply),
        None => refuse(running, &Refusal::Failed(fault.clone())),
    }
}

//! The loop of attempts: select, call, and try again elsewhere until the client has its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use tollgate_exchange::{
    Answer, Attempt, Chance, Ending, LocalReply, Need, Outcome, Receive, ResponseHead, Routed, Step,
    UpstreamRequest,
};
use tollgate_policy::retry;
use tollgate_policy::select::{Candidate, Choice, select};
use tollgate_terms::{BackendFault, Fault, GatewayFault};

use crate::answer::{AnswerBody, StreamBody, StreamParts, WholeBody};
use crate::clock;
use crate::collect::{Incomplete, collect};
use crate::service::{fail, local};
use crate::serving::{InFlight, Serving};
use crate::settle::Running;
use crate::upstream::Inbound;
use crate::worker::Worker;

/// One exchange in its attempts.
struct Dispatch<'a> {
    worker: &'a Worker,
    routed: Arc<Routed>,
    candidates: Vec<Candidate>,
    attempts: u32,
    deadline: Option<Instant>,
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
    mut running: Running,
    routed: Arc<Routed>,
) -> Response<AnswerBody> {
    let mut dispatch = Dispatch::new(worker, routed, &mut running);
    let mut choice = dispatch.choose();
    loop {
        let Some(Choice { index, .. }) = choice else {
            return fail(running, &Fault::Backend(BackendFault::Unreachable));
        };
        let fault = match dispatch.attempt(&mut running, index).await {
            None => Fault::Gateway(GatewayFault::Internal),
            Some(Attempted::Answered(head, body)) => return dispatch.answer(running, head, *body).await,
            Some(Attempted::Replied(reply)) => {
                running.end_attempt(Ending::GivenUp(Fault::Gateway(GatewayFault::Credential)));
                return local(running, *reply);
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
    fn new(worker: &'a Worker, routed: Arc<Routed>, running: &mut Running) -> Self {
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
        Self { worker, routed, candidates, attempts: 0, deadline }
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
    async fn attempt(&mut self, running: &mut Running, index: usize) -> Option<Attempted> {
        self.candidates.get_mut(index)?.tried += 1;
        self.attempts += 1;
        let serving = Arc::clone(&running.serving);
        let attempt = Attempt::new(&self.routed, index, self.attempts, clock::now(), clock::unix_ms())?;
        let attempt = running.begin_attempt(attempt);
        let request = match prepare(attempt, &serving) {
            Ok(request) => request,
            Err(reply) => return Some(Attempted::Replied(reply)),
        };
        let backend = Arc::clone(&attempt.target()?.backend);
        let Some(in_flight) = serving.backend(&backend).enter(&backend) else {
            let fault = BackendFault::Status { status: 503, retry_after: None };
            return Some(Attempted::Failed(Fault::Backend(fault)));
        };
        let timeouts = &self.routed.rule().timeouts;
        let head_limit = self.limit([timeouts.per_try, timeouts.first_byte]);
        let called = within(head_limit, self.worker.pools.call(&backend, &request)).await;
        let response = match called {
            Ok(Ok(answered)) => answered,
            Ok(Err(fault)) | Err(fault) => return Some(Attempted::Failed(Fault::Backend(fault))),
        };
        Some(self.receive(attempt, response, in_flight).await)
    }

    /// Takes in the response, up to the point where something can be sent to the client.
    async fn receive(
        &self,
        attempt: &mut Attempt,
        response: Response<Inbound>,
        in_flight: InFlight,
    ) -> Attempted {
        let (parts, inbound) = response.into_parts();
        let chance = self.chance(parts.status);
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
        let limit = self.limit([self.routed.rule().timeouts.per_try]);
        let body = match within(limit, collect(&mut inbound, bytes_max)).await {
            Ok(Ok(body)) => body,
            Ok(Err(Incomplete::Broken)) => return failed(BackendFault::Cut),
            Ok(Err(Incomplete::TooLarge)) => return failed(BackendFault::TooLarge),
            Err(fault) => return failed(fault),
        };
        inbound.release();
        match attempt.on_response_body(body, &mut head) {
            Step::Forward(body) => Attempted::Answered(head, Box::new(AnsweredBody::Whole(body))),
            step => given_up(step),
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
        let timeouts = &self.routed.rule().timeouts;
        let limit = self.limit([timeouts.first_byte, timeouts.stream_idle]);
        let ready = loop {
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

    async fn answer(
        self,
        mut running: Running,
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
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }
}

/// The request to the backend, with its credential.
fn prepare(attempt: &mut Attempt, serving: &Serving) -> Result<UpstreamRequest, Box<LocalReply>> {
    let mut step = attempt.on_dispatch();
    loop {
        step = match step {
            Step::Forward(request) => return Ok(request),
            Step::Reply(reply) => return Err(Box::new(reply)),
            Step::Ask(Need::Credential { credential, offered }) => {
                let offered = offered.as_ref().map(|offered| offered.0.expose());
                let answer = match tollgate_effects::credential(&serving.secrets, &credential, offered) {
                    Ok(secret) => Answer::Credential(secret),
                    Err(_) => Answer::MissingCredential,
                };
                attempt.supply(answer)
            }
            // There is nothing to hold or retry before dispatch: `supply` out of order tells the bug.
            Step::Hold | Step::Retry(_) => attempt.supply(Answer::MissingCredential),
        };
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

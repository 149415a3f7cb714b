//! The response of one try: a document is taken in whole, and a stream up to its first event, before Envoy hears of its head. Until then
//! Envoy can try elsewhere, and is told when it should; after that, what comes goes on at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use tollgate_config::CompiledTarget;
use tollgate_effects::Tried;
use tollgate_envoy::processor::{
    Head as SentHead, Headers, Members, Onward, Outgoing, Phase, piece, trailers,
};
use tollgate_exchange::{Chance, Ending, LocalReply, Receive, ResponseHead, Step, status_fault};
use tollgate_policy::retry;
use tollgate_terms::{BackendFault, Fault, GatewayFault};
use tollgate_wire::join;
use tonic::Status;

use crate::headers::{Head, changes, set};
use crate::metadata::{add_costs, members};
use crate::running::Running;
use crate::{clock, names};

/// Bytes of output at which the first estimate is raised.
const RAISE_BYTES: u64 = 1 << 10;

/// Takes in a response.
pub(crate) struct Receiver {
    pub(crate) running: Arc<Running>,
    attempt: Option<Tried>,
    number: u32,
    stage: Stage,
    /// Whether trailers have ended the body.
    has_trailers: bool,
    /// Whether the client was told an error in the middle of the answer, and the backend may still have something to say.
    pub(crate) is_broken_off: bool,
    /// Output bytes at which the published estimate is raised next.
    raise_at: u64,
}

/// How far the response has come.
enum Stage {
    /// Its head has not come.
    Head,
    /// Its body is gathered.
    Whole(Box<Whole>),
    /// It is a stream of which nothing can be passed on yet.
    First(Box<Held>),
    /// It is a stream whose head was passed on.
    Stream,
    /// What still comes is not for the client.
    Over,
}

/// A head that Envoy waits for.
struct Held {
    status: StatusCode,
    /// As the backend has sent them.
    before: Headers,
    after: ResponseHead,
    /// Whether the body ends with the head: there is none.
    is_alone: bool,
}

/// A document on its way.
struct Whole {
    held: Held,
    pieces: Vec<Bytes>,
    bytes: u64,
    bytes_max: u64,
}

impl Receiver {
    /// Waits for the response of `attempt`, which was told to its backend.
    pub(crate) fn new(attempt: Tried, number: u32, running: Arc<Running>) -> Self {
        Self {
            running,
            attempt: Some(attempt),
            number,
            stage: Stage::Head,
            has_trailers: false,
            is_broken_off: false,
            raise_at: RAISE_BYTES,
        }
    }

    /// How long the backend may say nothing from now on.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match self.stage {
            Stage::Stream => self.attempt.as_ref()?.rule().timeouts.stream_idle,
            // Until then it is Envoy that counts.
            _ => None,
        }
    }

    /// Takes the head.
    ///
    /// # Errors
    /// When it is the second.
    pub(crate) fn on_head(&mut self, sent: SentHead, answers: &mut VecDeque<Outgoing>) -> Result<(), Status> {
        let (Stage::Head, Some(attempt)) = (&self.stage, &mut self.attempt) else {
            return Err(Status::failed_precondition("two heads"));
        };
        let before = sent.headers;
        let head = Head::read(&before);
        let status = head.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or_default();
        let is_alone = sent.is_end;
        match attempt.on_response_head(status, head.headers, Chance::Last) {
            Step::Forward((after, receive)) => {
                let held = Held { status, before, after, is_alone };
                self.stage = match receive {
                    Receive::Whole { bytes_max } => {
                        Stage::Whole(Box::new(Whole { held, pieces: Vec::new(), bytes: 0, bytes_max }))
                    }
                    Receive::Stream => Stage::First(Box::new(held)),
                };
                if is_alone {
                    return self.on_body(Bytes::new(), true, answers);
                }
            }
            step => {
                let after = ResponseHead { status, headers: HeaderMap::new() };
                self.give_up(Held { status, before, after, is_alone }, step, answers);
            }
        }
        Ok(())
    }

    /// Takes a piece of the body.
    ///
    /// # Errors
    /// When there was no head.
    pub(crate) fn on_body(
        &mut self,
        body: Bytes,
        has_ended: bool,
        answers: &mut VecDeque<Outgoing>,
    ) -> Result<(), Status> {
        #[cfg(test)]
        crate::tests::trip_over(&body);
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Head => return Err(Status::failed_precondition("a body without a head")),
            Stage::Whole(mut whole) => {
                whole.bytes += body.len() as u64;
                whole.pieces.push(body);
                if whole.bytes > whole.bytes_max {
                    let fault = Fault::Backend(BackendFault::TooLarge);
                    self.give_up::<()>(whole.held, Step::Retry(fault), answers);
                } else if has_ended {
                    let body = join(&mut whole.pieces);
                    self.on_document(whole.held, body, answers);
                } else {
                    self.stage = Stage::Whole(whole);
                }
            }
            stage @ (Stage::First(_) | Stage::Stream) => {
                self.stage = stage;
                self.on_chunk(body, has_ended, answers);
            }
            Stage::Over => {}
        }
        Ok(())
    }

    /// Takes the trailers, which end the body. They are passed on.
    ///
    /// # Errors
    /// When there was no head.
    pub(crate) fn on_trailers(&mut self, answers: &mut VecDeque<Outgoing>) -> Result<(), Status> {
        if matches!(self.stage, Stage::Over) {
            // The end was said already.
            return Ok(());
        }
        self.has_trailers = true;
        self.on_body(Bytes::new(), true, answers)?;
        answers.push_back(trailers());
        Ok(())
    }

    fn on_document(&mut self, mut held: Held, body: Bytes, answers: &mut VecDeque<Outgoing>) {
        let running = Arc::clone(&self.running);
        let (Some(attempt), Some((_, client))) = (&mut self.attempt, running.routed.get()) else { return };
        let body = match attempt.on_response_body(client, body, &mut held.after) {
            Step::Forward(body) => body,
            step => return self.give_up(held, step, answers),
        };
        let fault = (held.status.as_u16() >= 400)
            .then(|| {
                Fault::Backend(status_fault(
                    held.status.as_u16(),
                    &Head::read(&held.before).headers,
                    clock::unix_ms(),
                ))
            })
            .filter(|fault| self.is_worth_a_retry(fault));
        running.add_body_bytes(body.len());
        let metadata = self.published();
        if let Some(attempt) = self.attempt.take() {
            match fault.clone() {
                Some(fault) => running.end_undecided(attempt, fault),
                None => running.end_attempt(attempt, Ending::Delivered),
            }
        }
        self.answer(&held, body, fault.is_some(), metadata, answers);
    }

    fn on_chunk(&mut self, chunk: Bytes, has_ended: bool, answers: &mut VecDeque<Outgoing>) {
        let now = clock::now();
        let Some(attempt) = &mut self.attempt else { return };
        let step = if chunk.is_empty() { Step::Hold } else { attempt.on_response_chunk(chunk, now) };
        let (mut bytes, mut ending) = match step {
            Step::Forward(bytes) => (bytes, None),
            Step::Hold => (Bytes::new(), None),
            step => match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::First(held) => return self.give_up(*held, step, answers),
                _ => {
                    self.stage = Stage::Stream;
                    let (bytes, fault) = attempt.on_stream_fault(fault_of(step).0, now);
                    (bytes, Some(ending_of(fault)))
                }
            },
        };
        if ending.is_none() && has_ended {
            let (last, fault) = attempt.on_response_end(now);
            ending = Some(ending_of(fault));
            bytes = join(&mut vec![bytes, last]);
        }
        if bytes.is_empty() && ending.is_none() {
            return;
        }
        self.pass(bytes, ending, has_ended, answers);
    }

    /// Passes on a piece of a stream, behind its head if that was not passed on yet. It is the last one if the attempt ends
    /// with it.
    fn pass(
        &mut self,
        bytes: Bytes,
        ending: Option<Ending>,
        has_ended: bool,
        answers: &mut VecDeque<Outgoing>,
    ) {
        let is_over = ending.is_some();
        let head = match std::mem::replace(&mut self.stage, if is_over { Stage::Over } else { Stage::Stream })
        {
            Stage::First(held) => Some(held),
            _ => None,
        };
        self.running.add_body_bytes(bytes.len());
        let metadata = if is_over { self.published() } else { self.raised() };
        if let Some(ending) = ending
            && let Some(attempt) = self.attempt.take()
        {
            self.running.end_attempt(attempt, ending);
        }
        if let Some(held) = head {
            let mut onward = self.head(&held, false);
            // A body that may change as it passes has no length yet.
            onward.headers.remove(CONTENT_LENGTH.as_str().as_bytes());
            if held.is_alone {
                onward.metadata = metadata;
                onward.body = (!bytes.is_empty()).then_some(bytes);
                return answers.push_back(onward.answer(Phase::ResponseHeaders));
            }
            answers.push_back(onward.answer(Phase::ResponseHeaders));
        }
        self.is_broken_off = is_over && !has_ended;
        answers.push_back(piece(bytes, has_ended && !self.has_trailers, metadata));
    }

    /// Ends a stream that has begun, because of `fault`.
    pub(crate) fn break_off(&mut self, fault: Fault, answers: &mut VecDeque<Outgoing>) {
        let (Stage::Stream, Some(attempt)) = (&self.stage, &mut self.attempt) else { return };
        let (bytes, fault) = attempt.on_stream_fault(fault, clock::now());
        self.pass(bytes, Some(ending_of(fault)), false, answers);
    }

    /// Answers with what the gateway itself has to say, when the response is none that a client can get.
    fn give_up<T>(&mut self, held: Held, step: Step<T>, answers: &mut VecDeque<Outgoing>) {
        self.stage = Stage::Over;
        let (fault, reply) = fault_of(step);
        let retry = self.is_worth_a_retry(&fault);
        let reply = reply.or_else(|| self.running.exchange(|exchange| exchange.fail(&fault)));
        if let Some(attempt) = self.attempt.take() {
            self.running.end_attempt(attempt, Ending::GivenUp(fault.clone()));
        }
        self.running.fail(fault);
        let Some(LocalReply { status, headers, body, .. }) = reply else { return };
        self.running.add_body_bytes(body.len());
        let held = Held { after: ResponseHead { status, headers }, ..held };
        self.answer(&held, body, retry, None, answers);
    }

    /// A whole answer.
    fn answer(
        &self,
        held: &Held,
        body: Bytes,
        retry: bool,
        metadata: Option<Members>,
        answers: &mut VecDeque<Outgoing>,
    ) {
        let mut onward = self.head(held, retry);
        set(&mut onward.headers, CONTENT_LENGTH.as_str(), body.len().to_string());
        onward.metadata = metadata;
        if held.is_alone {
            onward.body = (!body.is_empty()).then_some(body);
            return answers.push_back(onward.answer(Phase::ResponseHeaders));
        }
        answers.push_back(onward.answer(Phase::ResponseHeaders));
        answers.push_back(piece(body, !self.has_trailers, None));
    }

    fn head(&self, held: &Held, retry: bool) -> Onward {
        let mut headers = changes(&held.before, &held.after.headers);
        if held.after.status != held.status {
            set(&mut headers, ":status", held.after.status.as_str());
        }
        if retry {
            set(&mut headers, names::RETRY, "1");
        }
        Onward { headers, ..Onward::default() }
    }

    /// Whether Envoy should try elsewhere, if it still has a try.
    fn is_worth_a_retry(&self, fault: &Fault) -> bool {
        let Some((routed, _)) = self.running.routed.get() else { return false };
        let rule = routed.rule();
        let serves = |target: &&CompiledTarget| target.weight > 0 && routed.is_served_by(target);
        let fresh = rule.targets.iter().filter(serves).count() > self.number as usize;
        retry::is_retryable(&rule.retry, fault)
            && retry::wait(&rule.retry, fault, self.number, fresh, None, 0).is_some()
    }

    /// What is published of the attempt, as far as it is known.
    fn published(&self) -> Option<Members> {
        let attempt = self.attempt.as_ref()?;
        let mut members = members();
        add_costs(&mut members, attempt);
        members.told()
    }

    /// The estimate, when it has grown enough to be published anew: a stream that is cut is charged by the last one.
    fn raised(&mut self) -> Option<Members> {
        let attempt = self.attempt.as_ref()?;
        if attempt.output_bytes() < self.raise_at {
            return None;
        }
        self.raise_at = attempt.output_bytes().saturating_mul(2);
        self.published()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let Some(attempt) = self.attempt.take() else { return };
        match self.stage {
            Stage::Head => self.running.end_silent(attempt, Fault::Backend(BackendFault::Unreachable)),
            Stage::Whole(_) | Stage::First(_) => {
                self.running.end_silent(attempt, Fault::Backend(BackendFault::Cut));
            }
            Stage::Stream | Stage::Over if attempt.has_failed() => {
                self.running.end_attempt(attempt, Ending::Broken(Fault::Backend(BackendFault::ErrorEvent)));
            }
            Stage::Stream | Stage::Over => self.running.end_broken(attempt),
        }
    }
}

fn ending_of(fault: Option<Fault>) -> Ending {
    fault.map_or(Ending::Delivered, Ending::Broken)
}

fn fault_of<T>(step: Step<T>) -> (Fault, Option<LocalReply>) {
    match step {
        Step::Retry(fault) => (fault, None),
        Step::Reply(reply) => (Fault::Gateway(GatewayFault::Internal), Some(reply)),
        Step::Forward(_) | Step::Hold | Step::Ask(_) => (Fault::Gateway(GatewayFault::Internal), None),
    }
}

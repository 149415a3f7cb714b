//! An exchange that runs: what its listener's stream and its attempts' streams have in common. The last to let go settles it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Context;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tollgate_effects::Tried;
use tollgate_effects::quota::Reservation;
use tollgate_exchange::{
    Admission, ClientRequest, End, Ending, Exchange, LocalReply, Outcome, Record, Routed,
};
use tollgate_telemetry::{InFlight, Telemetry};
use tollgate_terms::{BackendFault, ClientFault, Fault};

use crate::clock;
use crate::processor::{Serving, Shared};

/// Status in the log of an exchange whose client left before there was one (as nginx names it).
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// How long it may take until it is known who has ended an answer.
const VERDICT_MAX: Duration = Duration::from_secs(1);

/// An exchange that runs.
pub(crate) struct Running {
    id: Arc<str>,
    pub(crate) serving: Arc<Serving>,
    /// By which the streams of the listener and of the attempt learn that all has to end.
    pub(crate) listener: Cut,
    pub(crate) attempt: Cut,
    /// Told when it is known who has ended an answer.
    verdict: Notify,
    /// Set once the request is routed: what is known of it, and what the client sent.
    pub(crate) routed: OnceLock<(Arc<Routed>, ClientRequest)>,
    shared: Arc<Shared>,
    state: Mutex<State>,
    _in_flight: InFlight,
}

#[derive(Default)]
struct State {
    exchange: Option<Exchange>,
    telemetry: Option<Arc<Telemetry>>,
    records: Vec<Record>,
    /// An attempt of which it will be known by what comes next whether it was the last.
    waiting: Option<Waiting>,
    attempts: u32,
    /// Whether limits have let an attempt in.
    is_admitted: bool,
    /// What a request that is passed on has taken of limits.
    admitted: Option<Reservation>,
    status: Option<u16>,
    body_bytes: u64,
    /// How the exchange ended, where no attempt tells.
    verdict: Option<(Outcome, Option<&'static str>)>,
    /// Why Envoy answered by itself.
    fault: Option<Fault>,
    /// Whether Envoy passes the request on by itself.
    is_passed: bool,
}

/// An attempt that is over, and whose ending is not known yet.
enum Waiting {
    /// Its stream ended before there was an answer. If another attempt follows, this fault is why.
    Silent(Tried, Fault),
    /// It has an answer that Envoy may pass on, or try again elsewhere because of this fault.
    Undecided(Tried, Fault),
    /// Its stream ended in the middle of the answer.
    Broken(Tried),
}

impl Waiting {
    /// What `fault` is to this attempt. To Envoy a connection that is lost is one, or breaks the rules, whether or not the answer had begun.
    fn specify(&self, fault: Fault) -> Fault {
        match (self, fault) {
            (
                Self::Silent(_, own @ Fault::Backend(BackendFault::Cut)),
                Fault::Backend(BackendFault::Reset | BackendFault::Protocol),
            ) => own.clone(),
            (_, fault) => fault,
        }
    }
}

/// By which a stream learns that all has to end.
#[derive(Default)]
pub(crate) struct Cut {
    has_to_end: AtomicBool,
    waker: AtomicWaker,
}

impl Cut {
    pub(crate) fn cut(&self) {
        self.has_to_end.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether all has to end. If not, the context is woken when it has.
    pub(crate) fn poll(&self, context: &Context<'_>) -> bool {
        self.waker.register(context.waker());
        self.has_to_end.load(Ordering::Acquire)
    }
}

impl Running {
    pub(crate) fn new(exchange: Exchange, serving: Arc<Serving>, shared: &Arc<Shared>) -> Arc<Self> {
        let id = Arc::clone(exchange.request_id());
        let running = Arc::new(Self {
            id: Arc::clone(&id),
            serving,
            listener: Cut::default(),
            verdict: Notify::new(),
            attempt: Cut::default(),
            routed: OnceLock::new(),
            shared: Arc::clone(shared),
            state: Mutex::new(State::new(exchange, Arc::clone(&shared.telemetry))),
            _in_flight: shared.telemetry.enter(),
        });
        shared.enter(id, &running);
        running
    }

    /// The id of the exchange.
    pub(crate) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Does something with the exchange.
    pub(crate) fn exchange<T>(&self, act: impl FnOnce(&mut Exchange) -> T) -> Option<T> {
        self.state().exchange.as_mut().map(act)
    }

    /// Notes a reply of the gateway's own that ends the exchange.
    pub(crate) fn replied(&self, reply: &LocalReply) {
        let mut state = self.state();
        state.status = Some(reply.status.as_u16());
        state.body_bytes = reply.body.len() as u64;
        let outcome = if reply.reason.is_some() { Outcome::Refused } else { Outcome::Complete };
        state.verdict.get_or_insert((outcome, reply.reason));
    }

    /// Notes that Envoy passes the request on by itself: what comes back is the answer.
    pub(crate) fn passed(&self) {
        self.state().is_passed = true;
    }

    /// Notes the status that the client gets.
    pub(crate) fn set_status(&self, status: u16) {
        self.state().status = Some(status);
    }

    /// Notes a body that goes to the client instead of what was to go there before.
    pub(crate) fn set_body_bytes(&self, bytes: usize) {
        self.state().body_bytes = bytes as u64;
    }

    /// Notes bytes of a response body that go to the client.
    pub(crate) fn add_body_bytes(&self, bytes: usize) {
        self.state().body_bytes += bytes as u64;
    }

    /// Notes what took the exchange down.
    pub(crate) fn fail(&self, fault: Fault) {
        let mut state = self.state();
        let fault = match &state.waiting {
            Some(waiting) => waiting.specify(fault),
            None => fault,
        };
        state.end_waiting(Some(&fault));
        state.fault = Some(fault);
    }

    /// Notes that Envoy has refused the request by itself.
    pub(crate) fn refused(&self, reason: Option<&'static str>) {
        self.state().verdict.get_or_insert((Outcome::Refused, reason));
    }

    /// Notes that Envoy passes the answer of an attempt on.
    pub(crate) fn pass_on(&self) {
        let mut state = self.state();
        if let Some(Waiting::Undecided(attempt, _)) =
            state.waiting.take_if(|it| matches!(it, Waiting::Undecided(..)))
        {
            state.end(attempt, Ending::Delivered);
        }
    }

    /// The number of the next attempt: Envoy's own, if it has `told` one. What was before it did not answer the client.
    pub(crate) fn begin_attempt(&self, told: Option<u32>) -> u32 {
        let mut state = self.state();
        state.end_waiting(None);
        state.fault = None;
        state.body_bytes = 0;
        state.attempts = told.unwrap_or(state.attempts + 1);
        state.attempts
    }

    /// Whether an attempt was let in by the limits that are for it.
    pub(crate) fn admission(&self) -> Admission {
        if self.state().is_admitted { Admission::Again } else { Admission::First }
    }

    /// Notes what a request that is passed on has taken of limits, until it is over.
    pub(crate) fn admit_passage(&self, admitted: Option<Reservation>) {
        self.state().admitted = admitted;
    }

    /// Notes that limits have let an attempt in.
    pub(crate) fn admit(&self) {
        self.state().is_admitted = true;
    }

    /// Ends an attempt.
    pub(crate) fn end_attempt(&self, attempt: Tried, ending: Ending) {
        self.state().end(attempt, ending);
    }

    /// Ends an attempt whose stream ended before its request was said: by what took the exchange down, or because the client has left.
    pub(crate) fn end_unsaid(&self, attempt: Tried) {
        let mut state = self.state();
        let fault = state.fault.clone().unwrap_or(Fault::Client(ClientFault::Gone));
        state.end(attempt, Ending::GivenUp(fault));
    }

    /// Ends an attempt whose stream ended before there was an answer: because of `fault`, unless Envoy knows better.
    pub(crate) fn end_silent(&self, attempt: Tried, fault: Fault) {
        self.wait(Waiting::Silent(attempt, fault));
    }

    /// Ends an attempt with an answer that Envoy may pass on, or try again elsewhere because of `fault`.
    pub(crate) fn end_undecided(&self, attempt: Tried, fault: Fault) {
        self.wait(Waiting::Undecided(attempt, fault));
    }

    /// Ends an attempt whose stream ended in the middle of its answer. Who has ended it is told a moment later, or it was the client.
    pub(crate) fn end_broken(self: &Arc<Self>, attempt: Tried) {
        self.wait(Waiting::Broken(attempt));
        if self.state().waiting.is_none() {
            return;
        }
        let running = Arc::clone(self);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = tokio::time::timeout(VERDICT_MAX, running.verdict.notified()).await;
            });
        }
    }

    /// Notes who has ended the answer.
    pub(crate) fn broken_off(&self, fault: Fault) {
        // What is known already is known better.
        let is_known = self.state().fault.is_some();
        if !is_known {
            self.fail(fault);
        }
        self.verdict.notify_one();
    }

    fn wait(&self, waiting: Waiting) {
        let mut state = self.state();
        // Streams may end in another order than they began: nothing that waits is lost.
        state.end_waiting(None);
        state.fault = state.fault.take().map(|fault| waiting.specify(fault));
        state.waiting = Some(waiting);
        if let Some(fault) = state.fault.clone() {
            state.end_waiting(Some(&fault));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(exchange: Exchange, telemetry: Arc<Telemetry>) -> Self {
        Self { exchange: Some(exchange), telemetry: Some(telemetry), ..Self::default() }
    }

    /// Ends an attempt: its record is kept, and told to who keeps account.
    fn end(&mut self, attempt: Tried, ending: Ending) {
        let Some(record) = attempt.finish(ending, clock::now()) else { return };
        if let Some(telemetry) = &self.telemetry {
            telemetry.settled(&record);
        }
        self.records.push(record);
    }

    /// Ends the attempt whose ending was not known: because of `fault`, if that is known now, else for another attempt.
    fn end_waiting(&mut self, fault: Option<&Fault>) {
        let Some(waiting) = self.waiting.take() else { return };
        let (attempt, ending) = match waiting {
            Waiting::Silent(attempt, own) => match fault.unwrap_or(&own) {
                fault @ Fault::Client(_) => (attempt, Ending::Broken(fault.clone())),
                fault => (attempt, Ending::GivenUp(fault.clone())),
            },
            Waiting::Undecided(attempt, own) => (attempt, Ending::GivenUp(own)),
            Waiting::Broken(mut attempt) => match fault {
                None => (attempt, Ending::Broken(Fault::Client(ClientFault::Gone))),
                Some(fault @ Fault::Client(_)) => (attempt, Ending::Broken(fault.clone())),
                // What was broken off may have been whole already. The bytes would reach nobody.
                Some(fault) => match attempt.on_stream_fault(fault.clone(), clock::now()).1 {
                    Some(fault) => (attempt, Ending::Broken(fault)),
                    None => (attempt, Ending::Delivered),
                },
            },
        };
        self.end(attempt, ending);
    }

    /// How the exchange ended.
    fn verdict(&self) -> (Outcome, Option<&'static str>) {
        let delivered = self.records.iter().rev().find(|record| record.delivered);
        if let Some(record) = delivered {
            return (record.outcome, record.fault);
        }
        if self.is_passed && self.status.is_some() && self.fault.is_none() {
            return (Outcome::Complete, None);
        }
        let gone = Fault::Client(ClientFault::Gone);
        let fault = self.fault.as_ref().unwrap_or(&gone);
        (Outcome::of(fault), Some(fault.label()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.leave(&self.id);
        let mut state = std::mem::take(&mut *self.state());
        let gone = Fault::Client(ClientFault::Gone);
        let fault = state.fault.clone().unwrap_or(gone);
        state.end_waiting(Some(&fault));
        let (outcome, label) = state.verdict.unwrap_or_else(|| state.verdict());
        state.records.sort_by_key(|record| record.facts.attempt);
        let Some(exchange) = state.exchange else { return };
        let summary = exchange.finish(End {
            status: state.status.unwrap_or(CLIENT_CLOSED_REQUEST),
            outcome,
            fault: label,
            attempts_made: state.attempts,
            attempts: state.records,
            response_body_bytes: state.body_bytes,
            at: clock::now(),
        });
        self.shared.telemetry.record(&summary);
    }
}

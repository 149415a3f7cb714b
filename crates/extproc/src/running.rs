//! An exchange that runs: what its listener's stream and its attempts' streams have in common. The last to let go settles it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tollgate_exchange::{Attempt, ClientRequest, End, Ending, Exchange, LocalReply, Outcome, Record, Routed};
use tollgate_telemetry::InFlight;
use tollgate_terms::{BackendFault, ClientFault, Fault};

use crate::clock;
use crate::processor::{Serving, Shared};

/// Status in the log of an exchange whose client left before there was one (as nginx names it).
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// An exchange that runs.
pub(crate) struct Running {
    id: Arc<str>,
    pub(crate) serving: Arc<Serving>,
    /// Set once the request is routed: what is known of it, and what the client sent.
    pub(crate) routed: OnceLock<(Arc<Routed>, ClientRequest)>,
    shared: Arc<Shared>,
    state: Mutex<State>,
    _in_flight: InFlight,
}

#[derive(Default)]
struct State {
    exchange: Option<Exchange>,
    records: Vec<Record>,
    /// An attempt whose stream ended before its response came. Why will be known by what comes next.
    silent: Option<Attempt>,
    attempts: u32,
    status: Option<u16>,
    body_bytes: u64,
    /// How the exchange ended, where no attempt tells.
    verdict: Option<(Outcome, Option<&'static str>)>,
    /// Why Envoy answered by itself.
    fault: Option<Fault>,
}

impl Running {
    pub(crate) fn new(exchange: Exchange, serving: Arc<Serving>, shared: &Arc<Shared>) -> Arc<Self> {
        let id = Arc::clone(exchange.request_id());
        let running = Arc::new(Self {
            id: Arc::clone(&id),
            serving,
            routed: OnceLock::new(),
            shared: Arc::clone(shared),
            state: Mutex::new(State { exchange: Some(exchange), ..State::default() }),
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

    /// Notes the status that the client gets.
    pub(crate) fn set_status(&self, status: u16) {
        self.state().status = Some(status);
    }

    /// Notes bytes of a response body that go to the client.
    pub(crate) fn add_body_bytes(&self, bytes: usize) {
        self.state().body_bytes += bytes as u64;
    }

    /// Notes what took the exchange down.
    pub(crate) fn fail(&self, fault: Fault) {
        let mut state = self.state();
        state.end_silent(&fault);
        state.fault = Some(fault);
    }

    /// The number of the next attempt. One before it that got no response is over: its backend did not answer.
    pub(crate) fn begin_attempt(&self) -> u32 {
        let mut state = self.state();
        state.end_silent(&Fault::Backend(BackendFault::Unreachable));
        state.attempts += 1;
        state.attempts
    }

    /// Ends an attempt.
    pub(crate) fn end_attempt(&self, attempt: Attempt, ending: Ending) {
        self.state().records.extend(attempt.finish(ending, clock::now()));
    }

    /// Takes an attempt whose stream ended before its response came.
    pub(crate) fn fall_silent(&self, attempt: Attempt) {
        let mut state = self.state();
        state.silent = Some(attempt);
        if let Some(fault) = state.fault.clone() {
            state.end_silent(&fault);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end_silent(&mut self, fault: &Fault) {
        let Some(attempt) = self.silent.take() else { return };
        let ending = match fault {
            Fault::Client(_) => Ending::Broken(fault.clone()),
            _ => Ending::GivenUp(fault.clone()),
        };
        self.records.extend(attempt.finish(ending, clock::now()));
    }

    /// How the exchange ended.
    fn verdict(&self) -> (Outcome, Option<&'static str>) {
        let delivered = self.records.iter().rev().find(|record| record.delivered);
        if let Some(record) = delivered {
            return (record.outcome, record.fault);
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
        state.end_silent(&fault);
        let (outcome, label) = state.verdict.unwrap_or_else(|| state.verdict());
        let Some(exchange) = state.exchange else { return };
        let summary = exchange.finish(End {
            status: state.status.unwrap_or(CLIENT_CLOSED_REQUEST),
            outcome,
            fault: label,
            attempts: state.records,
            response_body_bytes: state.body_bytes,
            at: clock::now(),
        });
        self.shared.telemetry.record(&summary);
    }
}

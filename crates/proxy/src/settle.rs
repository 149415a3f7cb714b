//! The end of an exchange: every way out leads here, once.

use std::sync::Arc;

use tollgate_exchange::{Attempt, End, Ending, Exchange, Outcome, Record};
use tollgate_policy::health::Sign;
use tollgate_telemetry::{InFlight, Telemetry};
use tollgate_terms::{ClientFault, Fault};

use crate::clock;
use crate::drain::ExchangeGuard;
use crate::serving::Serving;

/// Status in the log of an exchange whose client left before there was one (as nginx names it).
pub(crate) const CLIENT_CLOSED_REQUEST: u16 = 499;

/// An exchange that runs, and everything that has to be settled when it ends. Dropping it unsettled means that the
/// client is gone, whatever was going on.
pub(crate) struct Running {
    open: Option<Open>,
    /// The attempt that is going on.
    attempt: Option<Attempt>,
    pub(crate) serving: Arc<Serving>,
    pub(crate) telemetry: Arc<Telemetry>,
    _in_flight: InFlight,
    _drain: ExchangeGuard,
}

struct Open {
    exchange: Exchange,
    records: Vec<Record>,
    status: u16,
    body_bytes: u64,
}

impl Running {
    pub(crate) fn new(
        exchange: Exchange,
        serving: Arc<Serving>,
        telemetry: Arc<Telemetry>,
        drain: ExchangeGuard,
    ) -> Self {
        let open = Open { exchange, records: Vec::new(), status: CLIENT_CLOSED_REQUEST, body_bytes: 0 };
        let in_flight = telemetry.enter();
        Self { open: Some(open), attempt: None, serving, telemetry, _in_flight: in_flight, _drain: drain }
    }

    /// The exchange, as long as it is not settled.
    pub(crate) fn exchange(&mut self) -> Option<&mut Exchange> {
        self.open.as_mut().map(|open| &mut open.exchange)
    }

    /// Notes the status that the client gets.
    pub(crate) fn set_status(&mut self, status: u16) {
        if let Some(open) = &mut self.open {
            open.status = status;
        }
    }

    /// Notes bytes of the response body that were handed to the client's connection.
    pub(crate) fn add_body_bytes(&mut self, bytes: usize) {
        if let Some(open) = &mut self.open {
            open.body_bytes += bytes as u64;
        }
    }

    /// Begins an attempt.
    pub(crate) fn begin_attempt(&mut self, attempt: Attempt) -> &mut Attempt {
        self.attempt.insert(attempt)
    }

    /// The attempt that is going on.
    pub(crate) fn attempt(&mut self) -> Option<&mut Attempt> {
        self.attempt.as_mut()
    }

    /// Ends the attempt that is going on: its record is kept, and its backend judged by it. Returns how it ended.
    pub(crate) fn end_attempt(&mut self, ending: Ending) -> Option<Outcome> {
        let attempt = self.attempt.take()?;
        let now = clock::now();
        let fault = match &ending {
            Ending::Delivered => None,
            Ending::GivenUp(fault) | Ending::Broken(fault) => Some(fault.clone()),
        };
        let backend = attempt.target().map(|target| Arc::clone(&target.backend));
        let record = attempt.finish(ending, now)?;
        if let Some(backend) = backend {
            let sign = Sign::of(record.upstream_status, fault.as_ref());
            if let Some(length) = self.serving.backend(&backend).observe(&backend, sign, now) {
                self.telemetry.ejected(&backend.name);
                tracing::warn!(backend = %backend.name, ?length, "a backend is left out for a while");
            }
        }
        let outcome = record.outcome;
        if let Some(open) = &mut self.open {
            open.records.push(record);
        }
        Some(outcome)
    }

    /// Settles the exchange: its summary goes to telemetry. Later calls do nothing.
    pub(crate) fn settle(&mut self, outcome: Outcome, fault: Option<&'static str>) {
        let Some(open) = self.open.take() else { return };
        let summary = open.exchange.finish(End {
            status: open.status,
            outcome,
            fault,
            attempts: open.records,
            response_body_bytes: open.body_bytes,
            at: clock::now(),
        });
        self.telemetry.record(&summary);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let gone = Fault::Client(ClientFault::Gone);
        self.end_attempt(Ending::Broken(gone.clone()));
        self.settle(Outcome::of(&gone), Some(gone.label()));
    }
}

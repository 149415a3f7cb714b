//! The end of an exchange: every way out leads here, once.

use std::sync::Arc;

use tollgate_effects::Tried;
use tollgate_effects::quota::Reservation;
use tollgate_exchange::{Admission, Attempt, End, Ending, Exchange, Outcome, Record};
use tollgate_policy::health::Sign;
use tollgate_telemetry::{InFlight, Telemetry};
use tollgate_terms::{ClientFault, Fault, GatewayFault};

use crate::clock;
use crate::drain::ExchangeGuard;
use crate::patience::Patience;
use crate::serving::Serving;

/// Status in the log of an exchange whose client left before there was one (as nginx names it).
pub(crate) const CLIENT_CLOSED_REQUEST: u16 = 499;

/// An exchange that runs, and everything that has to be settled when it ends. Dropping it unsettled means that the
/// client is gone, or too slow, unless a bug or the end of the gateway took it down.
///
/// Boxed from the start: it is handed on often, from future to future, and each would have room for all of it.
pub(crate) struct Running {
    open: Option<Open>,
    /// The attempt that is going on.
    attempt: Option<Tried>,
    admission: Admission,
    /// What a request that is passed on has taken of limits.
    admitted: Option<Reservation>,
    pub(crate) serving: Arc<Serving>,
    pub(crate) telemetry: Arc<Telemetry>,
    _in_flight: InFlight,
    drain: ExchangeGuard,
    pub(crate) patience: Arc<Patience>,
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
        patience: Arc<Patience>,
    ) -> Box<Self> {
        let open = Open { exchange, records: Vec::new(), status: CLIENT_CLOSED_REQUEST, body_bytes: 0 };
        let in_flight = telemetry.enter();
        Box::new(Self {
            open: Some(open),
            attempt: None,
            admission: Admission::First,
            admitted: None,
            serving,
            telemetry,
            _in_flight: in_flight,
            drain,
            patience,
        })
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
    pub(crate) fn begin_attempt(&mut self, attempt: Attempt) -> &mut Tried {
        self.attempt.insert(Tried::new(attempt))
    }

    /// Notes what a request that is passed on has taken of limits, until it is over.
    pub(crate) fn admit(&mut self, admitted: Option<Reservation>) {
        self.admitted = admitted;
    }

    /// Whether an attempt was let in by the limits that are for it.
    pub(crate) fn admission(&self) -> Admission {
        self.admission
    }

    /// The attempt that is going on.
    pub(crate) fn attempt(&mut self) -> Option<&mut Attempt> {
        self.attempt.as_deref_mut()
    }

    /// Ends the attempt that is going on: its record is kept, and its backend judged by it. Returns how it ended.
    pub(crate) fn end_attempt(&mut self, ending: Ending) -> Option<Outcome> {
        let attempt = self.attempt.take()?;
        let now = clock::now();
        let fault = match &ending {
            Ending::Delivered => None,
            Ending::GivenUp(fault) | Ending::Broken(fault) => Some(fault.clone()),
        };
        let judged = attempt.target().map(|target| (Arc::clone(&target.backend), Arc::clone(attempt.rule())));
        if attempt.is_admitted() {
            self.admission = Admission::Again;
        }
        let record = attempt.finish(ending, now)?;
        if let Some((backend, rule)) = judged {
            let sign = Sign::of(record.upstream_status, fault.as_ref());
            if let Some(length) = self.serving.observe(&backend, &rule, sign, now) {
                self.telemetry.ejected(&backend.name);
                tracing::warn!(backend = %backend.name, ?length, "a backend is left out for a while");
            }
        }
        self.telemetry.settled(&record);
        let outcome = record.outcome;
        if let Some(open) = &mut self.open {
            open.records.push(record);
        }
        Some(outcome)
    }

    /// Settles the exchange: its summary goes to telemetry. Later calls do nothing.
    pub(crate) fn settle(&mut self, outcome: Outcome, fault: Option<&'static str>) {
        let Some(open) = self.open.take() else { return };
        self.admitted = None;
        let summary = open.exchange.finish(End {
            status: open.status,
            outcome,
            fault,
            attempts_made: u32::try_from(open.records.len()).unwrap_or(u32::MAX),
            attempts: open.records,
            response_body_bytes: open.body_bytes,
            at: clock::now(),
        });
        self.telemetry.record(&summary);
    }
}

impl Running {
    /// Why it ends without having been settled, and the status that the client got or would have got.
    fn abandoned(&self) -> (Fault, u16) {
        if std::thread::panicking() {
            (Fault::Gateway(GatewayFault::Internal), 500)
        } else if self.drain.is_cutting() {
            (Fault::Gateway(GatewayFault::Draining), 503)
        } else if self.patience.is_over() {
            (Fault::Client(ClientFault::TooSlow), CLIENT_CLOSED_REQUEST)
        } else {
            (Fault::Client(ClientFault::Gone), CLIENT_CLOSED_REQUEST)
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (fault, status) = self.abandoned();
        let Some(open) = &mut self.open else { return };
        if open.status == CLIENT_CLOSED_REQUEST && status != CLIENT_CLOSED_REQUEST {
            // The last words, which are said in its place.
            open.status = status;
            open.body_bytes = open.exchange.fail(&fault).body.len() as u64;
        }
        let outcome = self.end_attempt(Ending::Broken(fault.clone())).unwrap_or(Outcome::of(&fault));
        self.settle(outcome, (outcome != Outcome::Complete).then_some(fault.label()));
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use http::{HeaderMap, Method};
    use tollgate_config::Snapshot;
    use tollgate_config::bundle::Bundle;
    use tollgate_effects::Secrets;
    use tollgate_exchange::{Arrival, BodyFraming, RequestHead};
    use tollgate_telemetry::{AccessLog, Options};

    use super::*;
    use crate::drain::Drain;

    /// Row F23: a bug in a handler is the gateway's own fault, and is counted as one.
    #[test]
    fn f23_an_exchange_that_a_panic_takes_down_is_settled_as_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("access.log");
        let options = Options { access_log: AccessLog::File(log.clone()), ..Options::new("test") };
        let telemetry = Arc::new(Telemetry::new(options).expect("telemetry"));
        let (snapshot, _) = Snapshot::compile(Bundle::default());
        let snapshot = Arc::new(snapshot);
        let serving = Serving::new(Arc::clone(&snapshot), &Secrets::default(), Default::default(), None);
        let head = RequestHead {
            method: Method::POST,
            path: "/v1/chat/completions".to_owned(),
            query: None,
            host: Some("h".to_owned()),
            headers: HeaderMap::new(),
            listener: "l".into(),
            client_address: "127.0.0.1".to_owned(),
            body: BodyFraming::Unsized,
        };
        let arrival = Arrival {
            request_id: "r".into(),
            at: clock::now(),
            at_unix_ms: 0,
            keyring: Arc::default(),
            vouched: Vec::new(),
        };
        let (exchange, _) = Exchange::new(&snapshot, head, arrival);
        let drain = Arc::new(Drain::default());
        let guard = drain.enter();
        let running =
            Running::new(exchange, Arc::new(serving), Arc::clone(&telemetry), guard, Arc::default());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _running = running;
            panic!("a bug");
        }));
        assert!(panicked.is_err());
        telemetry.flush(std::time::Duration::from_secs(5));
        let text = std::fs::read_to_string(log).expect("a log");
        let line: serde_json::Value = serde_json::from_str(&text).expect("one line");
        assert_eq!(line["response_code"], 500, "{line}");
        assert_eq!(line["tollgate.outcome"], "error", "{line}");
        assert_eq!(line["tollgate.fault"], "internal", "{line}");
    }
}

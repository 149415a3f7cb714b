//! The one thing that the rest of the gateway holds: it takes what happened and projects it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tollgate_exchange::{Journal, Opening, Outcome, Record, Summary};
use tollgate_terms::{BackendName, UsageSource};

use crate::access_log::{AccessLog, Writer};
use crate::families::Families;
use crate::labels::{FallbackLabels, LossLabels, RequestLabels};
use crate::process::Process;
use crate::series::SeriesTable;

/// Distinct model names that become labels before the rest is `_other`.
const MODEL_NAMES_MAX: usize = 1000;

/// What to tell, and where to.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the access log goes.
    pub access_log: AccessLog,
    /// Version of the program, for `tollgate_build_info`.
    pub version: &'static str,
    /// Distinct model names that become metric labels; further ones count as `_other`.
    pub model_names_max: usize,
}

impl Options {
    /// No access log, and the usual bounds.
    pub fn new(version: &'static str) -> Self {
        Self { access_log: AccessLog::Off, version, model_names_max: MODEL_NAMES_MAX }
    }
}

/// What became of a new configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// It is served.
    Applied,
    /// It is not; the one before still is.
    Refused,
}

/// Metrics and access log of one gateway. Shared by all its threads.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    families: Families,
    series: SeriesTable,
    access_log: Option<Writer>,
    journal: Option<Arc<dyn Journal>>,
}

impl Telemetry {
    /// Opens the access log and registers every metric.
    ///
    /// # Errors
    /// When the access log cannot be opened for appending, or its thread cannot be started.
    pub fn new(options: Options) -> io::Result<Self> {
        let mut registry = Registry::default();
        let families = Families::register(&mut registry, options.version);
        registry.register_collector(Box::new(Process));
        let access_log = Writer::start(&options.access_log, families.access_log_dropped.clone())?;
        let series = SeriesTable::new(options.model_names_max);
        Ok(Self { registry, families, series, access_log, journal: None })
    }

    /// Tells what this collects as well.
    #[must_use]
    pub fn with(mut self, collector: Box<dyn Collector>) -> Self {
        self.registry.register_collector(collector);
        self
    }

    /// Lets `journal` keep account of attempts.
    #[must_use]
    pub fn with_journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Takes in an attempt that is about to be dispatched, which is looked at only if somebody keeps account.
    pub fn opened(&self, opening: impl FnOnce() -> Opening) {
        if let Some(journal) = &self.journal {
            journal.opened(&opening());
        }
    }

    /// Takes in an attempt that is over: for who keeps account. Metrics and access log tell of it when its exchange is over.
    pub fn settled(&self, record: &Record) {
        if let Some(journal) = &self.journal {
            journal.settled(record);
        }
    }

    /// Takes in an exchange that is over: into the metrics, and as a line of the access log. Never waits.
    pub fn record(&self, summary: &Summary) {
        self.count_request(summary);
        if summary.attempts.is_empty() {
            self.series.observe_unrouted(&self.families, summary);
        }
        let mut before: Option<&Record> = None;
        for record in &summary.attempts {
            self.series.observe(&self.families, record);
            self.count_losses(record);
            self.count_doubts(record);
            if let Some(before) = before {
                self.count_retry(before, record);
            }
            before = Some(record);
        }
        if let Some(access_log) = &self.access_log {
            access_log.write(summary);
        }
    }

    /// Counts a request in until the guard is dropped.
    pub fn enter(&self) -> InFlight {
        self.families.in_flight.inc();
        InFlight(self.families.in_flight.clone())
    }

    /// Counts a backend that is left out for a while.
    pub fn ejected(&self, backend: &BackendName) {
        self.families.ejections.get_or_create(&vec![("backend", backend.as_ref().into())]).inc();
    }

    /// Counts a bug that ended one exchange and nothing else.
    pub fn panicked(&self) {
        self.families.panics.inc();
    }

    /// Counts a new configuration; `at` is the time since the Unix epoch.
    pub fn reloaded(&self, result: Reload, at: Duration) {
        let label = match result {
            Reload::Applied => "success",
            Reload::Refused => "refused",
        };
        self.families.reloads.get_or_create(&vec![("result", label.into())]).inc();
        self.families.last_reload_successful.set(i64::from(result == Reload::Applied));
        if result == Reload::Applied {
            self.families.last_reload_success_at.set(at.as_secs_f64());
        }
    }

    /// All metrics in the OpenMetrics text format, which Prometheus reads.
    pub fn encode_metrics(&self) -> String {
        let mut text = String::with_capacity(16 << 10);
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a String does not fail; a half-written page must not pass for a whole one.
            Err(std::fmt::Error) => String::new(),
        }
    }

    /// Waits until the lines of the access log that are queued are written, at most `patience`.
    pub fn flush(&self, patience: Duration) {
        if let Some(access_log) = &self.access_log {
            access_log.flush(patience);
        }
    }

    fn count_request(&self, summary: &Summary) {
        let operation = match (summary.operation, summary.client_dialect) {
            (Some(operation), Some(dialect)) => operation.metric_name(dialect),
            // Only plain rules take requests of which nobody knows what they want.
            _ if summary.route.is_some() => "plain",
            _ => "unknown",
        };
        let labels = RequestLabels { operation, outcome: summary.outcome.label(), status: summary.status };
        self.families.requests.get_or_create(&labels).inc();
        if summary.outcome == Outcome::Refused {
            let reason = summary.fault.unwrap_or("other");
            self.families.refusals.get_or_create(&vec![("reason", reason.into())]).inc();
        }
    }

    fn count_losses(&self, record: &Record) {
        for loss in &record.losses {
            let labels = LossLabels {
                kind: loss.kind.label(),
                effect: match loss.effect {
                    tollgate_chat::Effect::Cost => "cost",
                    tollgate_chat::Effect::Meaning => "meaning",
                },
                client_dialect: record.facts.client_dialect.label(),
                backend_dialect: record.facts.backend_dialect.label(),
            };
            self.families.losses.get_or_create(&labels).inc();
        }
    }

    /// Counts what is wrong with the numbers of an attempt. An estimate is made of parts that were told at different times.
    fn count_doubts(&self, record: &Record) {
        for error in &record.cost_errors {
            self.families.cost_errors.get_or_create(&vec![("reason", error.label().into())]).inc();
        }
        if record.usage_source == UsageSource::ProviderFinal {
            for contradiction in record.usage.contradictions() {
                let provider = ("provider", record.facts.provider.into());
                let kind = ("contradiction", contradiction.label().into());
                self.families.contradictions.get_or_create(&vec![provider, kind]).inc();
            }
        }
    }

    fn count_retry(&self, before: &Record, record: &Record) {
        let route = ("route", record.facts.route.as_ref().into());
        let backend = ("backend", record.facts.backend.as_ref().into());
        let reason = ("reason", before.fault.unwrap_or("other").into());
        self.families.retries.get_or_create(&vec![route, backend, reason]).inc();
        if before.facts.backend != record.facts.backend {
            let labels = FallbackLabels {
                route: record.facts.route.clone(),
                from_backend: before.facts.backend.clone(),
                to_backend: record.facts.backend.clone(),
            };
            self.families.fallbacks.get_or_create(&labels).inc();
        }
    }
}

/// One request in flight.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

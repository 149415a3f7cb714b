//! Every metric that there is: its name, its help text, its buckets.
//!
//! Names, labels and buckets of the `gen_ai` families are those of Envoy AI Gateway, which follow OpenTelemetry's
//! conventions for generative AI; existing dashboards read them as they are.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::labels::{FallbackLabels, Labels, LossLabels, RequestLabels};

/// Powers of four, in tokens.
const TOKEN_BUCKETS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// Seconds.
const DURATION_BUCKETS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

/// Seconds.
const FIRST_TOKEN_BUCKETS: [f64; 21] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0,
    30.0, 45.0, 60.0,
];

/// Seconds.
const PER_OUTPUT_TOKEN_BUCKETS: [f64; 13] =
    [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];

/// Histograms of one name.
pub(crate) type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// A gauge of a fraction or a point in time.
type RealGauge = Gauge<f64, AtomicU64>;

/// The metrics, by what they measure. Handles: cloning one copies pointers.
#[derive(Debug, Clone)]
pub(crate) struct Families {
    pub(crate) token_usage: Histograms,
    pub(crate) request_duration: Histograms,
    pub(crate) time_to_first_token: Histograms,
    pub(crate) time_per_output_token: Histograms,
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) refusals: Family<Labels, Counter>,
    pub(crate) attempts: Family<Labels, Counter>,
    pub(crate) retries: Family<Labels, Counter>,
    pub(crate) fallbacks: Family<FallbackLabels, Counter>,
    pub(crate) losses: Family<LossLabels, Counter>,
    pub(crate) cost: Family<Labels, Counter>,
    pub(crate) unpriced: Family<Labels, Counter>,
    pub(crate) cost_errors: Family<Labels, Counter>,
    pub(crate) contradictions: Family<Labels, Counter>,
    pub(crate) ejections: Family<Labels, Counter>,
    pub(crate) in_flight: Gauge,
    pub(crate) panics: Counter,
    pub(crate) reloads: Family<Labels, Counter>,
    pub(crate) last_reload_successful: Gauge,
    pub(crate) last_reload_success_at: RealGauge,
    pub(crate) access_log_dropped: Counter,
}

impl Families {
    /// Makes the metrics and registers them. The library adds unit and `_total` to the names.
    pub(crate) fn register(registry: &mut Registry, version: &'static str) -> Self {
        let families = Self::new();
        families.register_gen_ai(registry);
        families.register_traffic(registry);
        families.register_costs(registry);
        families.register_gateway(registry);
        let build = Info::new(vec![("version", version)]);
        registry.register("tollgate_build", "The program that serves this page", build);
        families
    }

    fn new() -> Self {
        Self {
            token_usage: Family::new_with_constructor(|| Histogram::new(TOKEN_BUCKETS)),
            request_duration: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
            time_to_first_token: Family::new_with_constructor(|| Histogram::new(FIRST_TOKEN_BUCKETS)),
            time_per_output_token: Family::new_with_constructor(|| Histogram::new(PER_OUTPUT_TOKEN_BUCKETS)),
            requests: Family::default(),
            refusals: Family::default(),
            attempts: Family::default(),
            retries: Family::default(),
            fallbacks: Family::default(),
            losses: Family::default(),
            cost: Family::default(),
            unpriced: Family::default(),
            cost_errors: Family::default(),
            contradictions: Family::default(),
            ejections: Family::default(),
            in_flight: Gauge::default(),
            panics: Counter::default(),
            reloads: Family::default(),
            last_reload_successful: Gauge::default(),
            last_reload_success_at: RealGauge::default(),
            access_log_dropped: Counter::default(),
        }
    }

    fn register_gen_ai(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "gen_ai_client_token_usage",
            "Tokens of an attempt, by type",
            Unit::Other("token".to_owned()),
            self.token_usage.clone(),
        );
        registry.register_with_unit(
            "gen_ai_server_request_duration",
            "From dispatch of an attempt to its end",
            Unit::Seconds,
            self.request_duration.clone(),
        );
        registry.register_with_unit(
            "gen_ai_server_time_to_first_token",
            "From the request to the first token of its answer, streams only",
            Unit::Seconds,
            self.time_to_first_token.clone(),
        );
        registry.register_with_unit(
            "gen_ai_server_time_per_output_token",
            "Mean time between output tokens after the first, streams only",
            Unit::Seconds,
            self.time_per_output_token.clone(),
        );
    }

    fn register_traffic(&self, registry: &mut Registry) {
        registry.register("tollgate_requests", "Requests that are over, by how", self.requests.clone());
        registry.register(
            "tollgate_refusals",
            "Requests that no backend was asked for",
            self.refusals.clone(),
        );
        registry.register(
            "tollgate_attempts",
            "Tries at a backend that are over, by how",
            self.attempts.clone(),
        );
        registry.register("tollgate_retries", "Attempts after the first of a request", self.retries.clone());
        let help = "Retries that went to another backend than the attempt before";
        registry.register("tollgate_fallbacks", help, self.fallbacks.clone());
        registry.register("tollgate_losses", "What translation could not say", self.losses.clone());
        registry.register("tollgate_requests_in_flight", "Requests being served now", self.in_flight.clone());
        let help = "Times a backend was left out for a while because it failed";
        registry.register("tollgate_backend_ejections", help, self.ejections.clone());
    }

    fn register_costs(&self, registry: &mut Registry) {
        let help = "What attempts cost, in billionths of a dollar, as far as their models have a price";
        registry.register("tollgate_cost_nanodollars", help, self.cost.clone());
        let help = "Attempts that used tokens of a model without a known price";
        registry.register("tollgate_unpriced_attempts", help, self.unpriced.clone());
        let help = "Numbers to publish that could not be computed: all tokens stood in for them";
        registry.register("tollgate_cost_errors", help, self.cost_errors.clone());
        let help = "Usages of providers in which a part is larger than its whole";
        registry.register("tollgate_usage_contradictions", help, self.contradictions.clone());
    }

    fn register_gateway(&self, registry: &mut Registry) {
        registry.register("tollgate_panics", "Bugs that ended one exchange each", self.panics.clone());
        registry.register("tollgate_config_reloads", "New configurations, by result", self.reloads.clone());
        let help = "Whether the newest configuration is the one that is served";
        registry.register(
            "tollgate_config_last_reload_successful",
            help,
            self.last_reload_successful.clone(),
        );
        registry.register_with_unit(
            "tollgate_config_last_reload_success_timestamp",
            "When the configuration that is served was loaded, since the Unix epoch",
            Unit::Seconds,
            self.last_reload_success_at.clone(),
        );
        let help = "Lines of the access log that were lost because its queue was full or a write failed";
        registry.register("tollgate_access_log_dropped", help, self.access_log_dropped.clone());
    }
}

/// A label, for sets that are written as [`Labels`].
pub(crate) fn label(name: &'static str, value: &str) -> (&'static str, Arc<str>) {
    (name, value.into())
}

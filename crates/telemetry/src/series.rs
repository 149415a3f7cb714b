//! The metrics of attempts, found fast: the handles of each label set are looked up once and kept.
//!
//! Model names come from clients and backends, so they are bounded here: neither the number of names nor that of
//! label sets can grow without end, whatever is asked for.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use tollgate_exchange::{Outcome, Record, Summary};
use tollgate_terms::{FastHasher, FastMap, Usage, UsageSource};

use crate::families::{Families, Histograms, label};
use crate::labels::Labels;

/// A model or provider that nobody told.
const UNKNOWN: &str = "unknown";

/// A model past the bound.
const OTHER: &str = "_other";

/// What went wrong where nothing says what, in OpenTelemetry's words.
const OTHER_ERROR: &str = "_OTHER";

/// Label sets per distinct model name before all models become [`OTHER`].
const SETS_PER_NAME: usize = 4;

/// Most nanodollars that one attempt counts for: what a double still holds exactly.
const COST_MAX: u64 = 1 << 53;

/// Locks that the table is spread over.
const SHARDS: usize = 16;

/// The handles of each label set.
#[derive(Debug)]
pub(crate) struct SeriesTable {
    hasher: FastHasher,
    shards: [RwLock<FastMap<u64, Arc<Series>>>; SHARDS],
    bounds: Mutex<Bounds>,
}

/// Everything that tells one series of an attempt's metrics from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key<'a> {
    operation: &'static str,
    provider: &'static str,
    original_model: &'a str,
    request_model: &'a str,
    response_model: &'a str,
    error: Option<&'static str>,
    route: &'a str,
    backend: &'a str,
    outcome: &'static str,
    usage_source: &'static str,
}

/// The handles of one label set. A histogram is made when it has something to hold.
#[derive(Debug)]
struct Series {
    /// The labels again, to tell apart sets whose hashes are the same.
    names: Names,
    labels: Labels,
    attempts: Counter,
    duration: Histogram,
    tokens: [OnceLock<Histogram>; 5],
    cost: OnceLock<Counter>,
    unpriced: OnceLock<Counter>,
    time_to_first_token: OnceLock<Histogram>,
    time_per_output_token: OnceLock<Histogram>,
}

#[derive(Debug)]
struct Names {
    statics: (&'static str, &'static str, Option<&'static str>, &'static str, &'static str),
    models: [Box<str>; 3],
    route: Box<str>,
    backend: Box<str>,
}

/// How many models and label sets there are, and may be.
#[derive(Debug)]
struct Bounds {
    names: HashSet<Box<str>>,
    names_max: usize,
    sets: usize,
}

impl SeriesTable {
    /// An empty table that admits `names_max` model names.
    pub(crate) fn new(names_max: usize) -> Self {
        let bounds = Bounds { names: HashSet::new(), names_max, sets: 0 };
        Self {
            hasher: FastHasher::default(),
            shards: std::array::from_fn(|_| RwLock::default()),
            bounds: Mutex::new(bounds),
        }
    }

    /// Takes in an attempt.
    pub(crate) fn observe(&self, families: &Families, record: &Record) {
        self.series(families, Key::of(record)).observe(families, record);
    }

    /// Takes in an exchange that made no attempt. Its model is a claim of the client that no route confirmed, so it
    /// does not become a label.
    pub(crate) fn observe_unrouted(&self, families: &Families, summary: &Summary) {
        let (Some(operation), Some(dialect)) = (summary.operation, summary.client_dialect) else { return };
        if summary.outcome == Outcome::Complete {
            return;
        }
        let key = Key {
            operation: operation.metric_name(dialect),
            provider: UNKNOWN,
            original_model: UNKNOWN,
            request_model: UNKNOWN,
            response_model: UNKNOWN,
            error: Some(summary.fault.unwrap_or(OTHER_ERROR)),
            route: "",
            backend: "",
            outcome: summary.outcome.label(),
            usage_source: source_label(UsageSource::None),
        };
        families
            .request_duration
            .get_or_create(&key.duration_labels())
            .observe(summary.duration.as_secs_f64());
    }

    fn series(&self, families: &Families, key: Key<'_>) -> Arc<Series> {
        let hash = self.hasher.hash_one(key);
        if let Some(series) = self.find(hash, &key) {
            return series;
        }
        self.bounded_series(families, key)
    }

    /// The slow way: for label sets that are new, or have a name past the bound.
    fn bounded_series(&self, families: &Families, key: Key<'_>) -> Arc<Series> {
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = bounds.admit_names(key);
        if let Some(series) = self.find(self.hasher.hash_one(admitted), &admitted) {
            return series;
        }
        let key = bounds.admit_set(admitted);
        let hash = self.hasher.hash_one(key);
        if let Some(series) = self.find(hash, &key) {
            return series;
        }
        let series = Arc::new(Series::new(families, &key));
        self.shard(hash).write().unwrap_or_else(PoisonError::into_inner).insert(hash, Arc::clone(&series));
        series
    }

    fn find(&self, hash: u64, key: &Key<'_>) -> Option<Arc<Series>> {
        let shard = self.shard(hash).read().unwrap_or_else(PoisonError::into_inner);
        shard.get(&hash).filter(|series| series.names.key() == *key).cloned()
    }

    #[expect(clippy::indexing_slicing, reason = "the index is taken modulo the length")]
    fn shard(&self, hash: u64) -> &RwLock<FastMap<u64, Arc<Series>>> {
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}

impl<'a> Key<'a> {
    fn of(record: &'a Record) -> Self {
        let failed = record.outcome != Outcome::Complete;
        Self {
            operation: record.facts.operation.metric_name(record.facts.client_dialect),
            provider: record.facts.provider,
            original_model: record.facts.requested_model.as_str(),
            request_model: record.facts.upstream_model.as_str(),
            response_model: record.served_model.as_ref().map_or(UNKNOWN, |model| model.as_str()),
            error: failed.then(|| record.fault.unwrap_or(OTHER_ERROR)),
            route: record.facts.route.as_ref(),
            backend: record.facts.backend.as_ref(),
            outcome: record.outcome.label(),
            usage_source: source_label(record.usage_source),
        }
    }

    /// The labels that all `gen_ai` families share.
    fn labels(&self) -> Labels {
        vec![
            label("gen_ai_operation_name", self.operation),
            label("gen_ai_provider_name", self.provider),
            label("gen_ai_original_model", self.original_model),
            label("gen_ai_request_model", self.request_model),
            label("gen_ai_response_model", self.response_model),
        ]
    }

    /// Only durations tell errors: tokens are spent either way.
    fn duration_labels(&self) -> Labels {
        let mut labels = self.labels();
        labels.extend(self.error.map(|error| label("error_type", error)));
        labels
    }

    fn attempt_labels(&self) -> Labels {
        let mut labels = vec![
            label("route", self.route),
            label("backend", self.backend),
            label("outcome", self.outcome),
            label("usage_source", self.usage_source),
        ];
        labels.extend(self.error.map(|error| label("fault", error)));
        labels
    }
}

impl Names {
    fn new(key: &Key<'_>) -> Self {
        Self {
            statics: (key.operation, key.provider, key.error, key.outcome, key.usage_source),
            models: [key.original_model.into(), key.request_model.into(), key.response_model.into()],
            route: key.route.into(),
            backend: key.backend.into(),
        }
    }

    fn key(&self) -> Key<'_> {
        let (operation, provider, error, outcome, usage_source) = self.statics;
        let [original_model, request_model, response_model] = &self.models;
        Key {
            operation,
            provider,
            original_model,
            request_model,
            response_model,
            error,
            route: &self.route,
            backend: &self.backend,
            outcome,
            usage_source,
        }
    }
}

impl Series {
    fn new(families: &Families, key: &Key<'_>) -> Self {
        Self {
            names: Names::new(key),
            attempts: families.attempts.get_or_create_owned(&key.attempt_labels()),
            duration: families.request_duration.get_or_create_owned(&key.duration_labels()),
            labels: key.labels(),
            tokens: Default::default(),
            cost: OnceLock::new(),
            unpriced: OnceLock::new(),
            time_to_first_token: OnceLock::new(),
            time_per_output_token: OnceLock::new(),
        }
    }

    fn observe(&self, families: &Families, record: &Record) {
        self.attempts.inc();
        self.duration.observe(record.duration.as_secs_f64());
        if record.usage_source != UsageSource::None {
            self.observe_tokens(families, &record.usage);
            self.observe_cost(families, record.cost_nanodollars);
        }
        let times = [
            (&families.time_to_first_token, &self.time_to_first_token, record.time_to_first_token),
            (&families.time_per_output_token, &self.time_per_output_token, record.time_per_output_token),
        ];
        for (family, slot, time) in times {
            if let Some(time) = time {
                let create = || family.get_or_create_owned(&self.labels);
                slot.get_or_init(create).observe(time.as_secs_f64());
            }
        }
    }

    fn observe_tokens(&self, families: &Families, usage: &Usage) {
        let numbers = [
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cached_input", usage.cached_input_tokens),
            ("cache_creation_input", usage.cache_creation_input_tokens),
            ("reasoning", usage.reasoning_tokens),
        ];
        for (slot, (token_type, tokens)) in self.tokens.iter().zip(numbers) {
            if tokens > 0 {
                let create = || self.tokens_of(&families.token_usage, token_type);
                slot.get_or_init(create).observe(tokens as f64);
            }
        }
    }

    fn observe_cost(&self, families: &Families, cost_nanodollars: Option<u64>) {
        match cost_nanodollars {
            Some(cost) => {
                let create = || families.cost.get_or_create_owned(&self.labels);
                self.cost.get_or_init(create).inc_by(cost.min(COST_MAX));
            }
            None => {
                let [_, request_model, _] = &self.names.models;
                let labels = vec![label("model", request_model)];
                let create = || families.unpriced.get_or_create_owned(&labels);
                self.unpriced.get_or_init(create).inc();
            }
        }
    }

    fn tokens_of(&self, family: &Histograms, token_type: &'static str) -> Histogram {
        let mut labels = self.labels.clone();
        labels.push(label("gen_ai_token_type", token_type));
        family.get_or_create_owned(&labels)
    }
}

impl Bounds {
    /// The key with each model name that is not known and has no room replaced.
    fn admit_names<'a>(&mut self, key: Key<'a>) -> Key<'a> {
        Key {
            original_model: self.admit_name(key.original_model),
            request_model: self.admit_name(key.request_model),
            response_model: self.admit_name(key.response_model),
            ..key
        }
    }

    /// The key under which a new label set is counted: without its models when there is no room for it.
    fn admit_set<'a>(&mut self, key: Key<'a>) -> Key<'a> {
        if self.sets >= self.names_max.saturating_mul(SETS_PER_NAME) {
            return Key { original_model: OTHER, request_model: OTHER, response_model: OTHER, ..key };
        }
        self.sets += 1;
        key
    }

    fn admit_name<'a>(&mut self, name: &'a str) -> &'a str {
        if name == UNKNOWN || self.names.contains(name) {
            return name;
        }
        if self.names.len() >= self.names_max {
            return OTHER;
        }
        self.names.insert(name.into());
        name
    }
}

fn source_label(source: UsageSource) -> &'static str {
    match source {
        UsageSource::ProviderFinal => "provider_final",
        UsageSource::ProviderPartial => "provider_partial",
        UsageSource::Estimated => "estimated",
        UsageSource::None => "none",
    }
}

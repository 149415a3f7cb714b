//! One exchange as one line of the access log. Field names are those of Envoy AI Gateway's own access log where it
//! has one; what is ours begins with `tollgate.`.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tollgate_chat::Loss;
use tollgate_exchange::{Outcome, Record, Summary};
use tollgate_terms::UsageSource;

use crate::timestamp::Timestamp;

/// Most losses of a line: the count tells of the rest.
const LOSSES_MAX: usize = 16;

/// Longest text of a client in a line, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// Longest pointer of a loss, in bytes: a client chooses the names in its body.
const POINTER_BYTES_MAX: usize = 128;

/// The line, borrowed from its exchange. What is not known is left out.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    start_time: Timestamp,
    method: &'a str,
    #[serde(rename = "request.path")]
    path: &'a str,
    response_code: u16,
    /// Milliseconds.
    duration: u64,
    bytes_received: u64,
    bytes_sent: u64,
    #[serde(rename = "x-request-id")]
    request_id: &'a str,
    downstream_remote_address: &'a str,
    #[serde(rename = "gen_ai.operation.name", skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    #[serde(rename = "gen_ai.original.model", skip_serializing_if = "Option::is_none")]
    original_model: Option<&'a str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    answer: Option<Answer<'a>>,
    /// That of a plain rule; the answer tells its own.
    #[serde(rename = "tollgate.backend", skip_serializing_if = "Option::is_none")]
    passed_to: Option<&'a str>,
    #[serde(rename = "tollgate.user", skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(rename = "tollgate.team", skip_serializing_if = "Option::is_none")]
    team: Option<&'a str>,
    #[serde(rename = "tollgate.application", skip_serializing_if = "Option::is_none")]
    application: Option<&'a str>,
    #[serde(rename = "tollgate.key_id", skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    #[serde(rename = "tollgate.listener")]
    listener: &'a str,
    #[serde(rename = "tollgate.route", skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(rename = "tollgate.outcome")]
    outcome: &'static str,
    #[serde(rename = "tollgate.fault", skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    #[serde(rename = "tollgate.attempts")]
    attempts: u32,
    #[serde(rename = "tollgate.tried", skip_serializing_if = "Vec::is_empty")]
    tried: Vec<Tried<'a>>,
    #[serde(rename = "tollgate.losses", skip_serializing_if = "Vec::is_empty")]
    losses: Vec<LossEntry<'a>>,
    #[serde(rename = "tollgate.losses_total", skip_serializing_if = "is_zero")]
    losses_total: usize,
}

/// What the deciding attempt tells.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(rename = "gen_ai.request.model")]
    request_model: &'a str,
    #[serde(rename = "gen_ai.response.model", skip_serializing_if = "Option::is_none")]
    response_model: Option<&'a str>,
    #[serde(rename = "gen_ai.provider.name")]
    provider: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    usage: Option<UsageFields>,
    #[serde(rename = "tollgate.usage_source")]
    usage_source: UsageSource,
    #[serde(rename = "tollgate.cost_usd", skip_serializing_if = "Option::is_none")]
    cost_usd: Option<f64>,
    #[serde(rename = "tollgate.backend")]
    backend: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_to_first_token_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_per_output_token_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
struct UsageFields {
    #[serde(rename = "gen_ai.usage.input_tokens")]
    input_tokens: u64,
    #[serde(rename = "gen_ai.usage.cached_input_tokens", skip_serializing_if = "is_zero")]
    cached_input_tokens: u64,
    #[serde(rename = "gen_ai.usage.cache_creation_input_tokens", skip_serializing_if = "is_zero")]
    cache_creation_input_tokens: u64,
    #[serde(rename = "gen_ai.usage.output_tokens")]
    output_tokens: u64,
    #[serde(rename = "gen_ai.usage.reasoning_tokens", skip_serializing_if = "is_zero")]
    reasoning_tokens: u64,
    #[serde(rename = "gen_ai.usage.total_tokens")]
    total_tokens: u64,
}

/// One attempt, where the line as a whole does not tell everything.
#[derive(Debug, Serialize)]
struct Tried<'a> {
    backend: &'a str,
    model: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    duration_ms: f64,
    input_tokens: u64,
    output_tokens: u64,
    usage_source: UsageSource,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<f64>,
}

#[derive(Debug, Serialize)]
struct LossEntry<'a> {
    kind: &'static str,
    effect: tollgate_chat::Effect,
    pointer: &'a str,
}

impl<'a> Line<'a> {
    /// Projects `summary`.
    pub(crate) fn new(summary: &'a Summary) -> Self {
        let deciding = summary.deciding_attempt();
        let losses = || summary.attempts.iter().flat_map(|record| &record.losses);
        Self {
            start_time: Timestamp(summary.started_at_ms),
            method: cut(&summary.method, TEXT_BYTES_MAX),
            path: cut(&summary.path, TEXT_BYTES_MAX),
            response_code: summary.status,
            duration: u64::try_from(summary.duration.as_millis()).unwrap_or(u64::MAX),
            bytes_received: summary.request_body_bytes,
            bytes_sent: summary.response_body_bytes,
            request_id: cut(&summary.request_id, TEXT_BYTES_MAX),
            downstream_remote_address: &summary.client_address,
            operation: summary
                .operation
                .zip(summary.client_dialect)
                .map(|(operation, dialect)| operation.metric_name(dialect)),
            original_model: summary.requested_model.as_ref().map(|model| model.as_str()),
            answer: deciding.map(Answer::new),
            passed_to: summary.passed_to.as_ref().map(AsRef::as_ref),
            user: caller(&summary.principal.user),
            team: caller(&summary.principal.team),
            application: caller(&summary.principal.application),
            key_id: caller(&summary.principal.key_id),
            listener: &summary.listener,
            route: summary.route.as_ref().map(AsRef::as_ref),
            outcome: summary.outcome.label(),
            fault: summary.fault,
            attempts: summary.attempts_made,
            tried: tried(summary),
            losses: losses().take(LOSSES_MAX).map(LossEntry::new).collect(),
            losses_total: losses().count(),
        }
    }
}

impl<'a> Answer<'a> {
    fn new(record: &'a Record) -> Self {
        let usage = &record.usage;
        let fields = UsageFields {
            input_tokens: usage.input_tokens,
            cached_input_tokens: usage.cached_input_tokens,
            cache_creation_input_tokens: usage.cache_creation_input_tokens,
            output_tokens: usage.output_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            total_tokens: usage.total_tokens(),
        };
        Self {
            request_model: record.facts.upstream_model.as_str(),
            response_model: record.served_model.as_ref().map(|model| model.as_str()),
            provider: record.facts.provider,
            usage: (record.usage_source != UsageSource::None).then_some(fields),
            usage_source: record.usage_source,
            cost_usd: record.cost_nanodollars.map(dollars),
            backend: record.facts.backend.as_ref(),
            time_to_first_token_ms: record.time_to_first_token.map(milliseconds),
            time_per_output_token_ms: record.time_per_output_token.map(milliseconds),
        }
    }
}

impl<'a> Tried<'a> {
    fn new(record: &'a Record) -> Self {
        Self {
            backend: record.facts.backend.as_ref(),
            model: record.facts.upstream_model.as_str(),
            outcome: record.outcome.label(),
            fault: record.fault,
            status: record.upstream_status,
            duration_ms: milliseconds(record.duration),
            input_tokens: record.usage.input_tokens,
            output_tokens: record.usage.output_tokens,
            usage_source: record.usage_source,
            cost_usd: record.cost_nanodollars.map(dollars),
        }
    }
}

impl<'a> LossEntry<'a> {
    fn new(loss: &'a Loss) -> Self {
        Self { kind: loss.kind.label(), effect: loss.effect, pointer: cut(&loss.pointer, POINTER_BYTES_MAX) }
    }
}

/// Something of who called, as issuers and clients write it.
fn caller(text: &Option<Arc<str>>) -> Option<&str> {
    text.as_deref().map(|text| cut(text, TEXT_BYTES_MAX))
}

/// Every attempt, unless there was one and all went well.
fn tried(summary: &Summary) -> Vec<Tried<'_>> {
    if let [only] = summary.attempts.as_slice()
        && only.outcome == Outcome::Complete
    {
        return Vec::new();
    }
    summary.attempts.iter().map(Tried::new).collect()
}

fn is_zero<N: Default + PartialEq>(count: &N) -> bool {
    *count == N::default()
}

/// With three digits after the point.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// Of the doubles, that nearest to the amount: it is written with the digits of the amount, up to nine million dollars.
fn dollars(nanodollars: u64) -> f64 {
    nanodollars as f64 / 1e9
}

/// The first `bytes_max` bytes of `text`, or fewer where that would cut a letter in two.
fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

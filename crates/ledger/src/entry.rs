//! What the ledger holds: an entry for each attempt that begins, and one for each that is over.
//!
//! These types are what is on disk, and not those of `exchange`: members may be added here, each with a default, and none changes its
//! name or its meaning. Names of things that the gateway knows are texts, so that a ledger can be read by a gateway that knows others.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tollgate_exchange::{self as exchange, Opening, Outcome, Record, Reserved};
use tollgate_terms::{Principal, Usage, UsageSource};

/// A text that the gateway mostly has at hand.
type Label = Cow<'static, str>;

/// First byte of each kind of entry. Kinds that are not known are passed over.
const OPENED: u8 = b'O';
const SETTLED: u8 = b'S';
const BEGUN: u8 = b'B';

/// Which attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId {
    /// The exchange it belongs to. The gateway makes these ids, and they are never made twice.
    pub request_id: Arc<str>,
    /// 1 for the first attempt.
    pub attempt: u32,
}

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// An attempt is about to be dispatched.
    Opened(Box<Opened>),
    /// An attempt is over.
    Settled(Box<Settled>),
}

/// An attempt that is about to be dispatched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// What is known of it already.
    pub facts: Facts,
    /// What was taken of limits for it, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<String, u64>,
}

/// What is known of an attempt from its beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The exchange it belongs to.
    pub request_id: Arc<str>,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// Start of the attempt, milliseconds since the Unix epoch.
    pub started_at_ms: u64,
    /// Who called.
    #[serde(default)]
    pub principal: Arc<Principal>,
    /// The route that matched.
    pub route: Arc<str>,
    /// The backend tried.
    pub backend: Arc<str>,
    /// `gen_ai.provider.name` of the backend.
    pub provider: Label,
    /// `gen_ai.operation.name`.
    pub operation: Label,
    /// The client's dialect.
    pub client_dialect: Label,
    /// The backend's dialect.
    pub backend_dialect: Label,
    /// Whether the answer was wanted as a stream.
    #[serde(default)]
    pub streamed: bool,
    /// The model in the client's body.
    pub requested_model: Arc<str>,
    /// The model asked of the backend.
    pub upstream_model: Arc<str>,
}

/// An attempt that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// What was known of it from its beginning.
    pub facts: Facts,
    /// The model that the backend says it served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_model: Option<Arc<str>>,
    /// How it ended.
    pub outcome: Label,
    /// Label of the fault, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Label>,
    /// Status of the backend's response, if it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    /// Tokens.
    #[serde(default)]
    pub usage: Tokens,
    /// Where these come from.
    #[serde(default = "no_source")]
    pub usage_source: Label,
    /// What they cost, in billionths of a dollar; `None` where the model has no known price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_nanodollars: Option<u64>,
    /// What the limits that are for it charge it, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub charges: BTreeMap<String, u64>,
    /// How many things of each kind translation could not say. Where they stood is told by the access log alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub losses: BTreeMap<Label, u64>,
    /// From dispatch to the end, in microseconds.
    #[serde(default)]
    pub duration_us: u64,
    /// To the first token, in microseconds; streams only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_first_token_us: Option<u64>,
    /// Between tokens, in microseconds; streams only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_per_output_token_us: Option<u64>,
    /// Whether the client got this attempt's answer.
    #[serde(default)]
    pub delivered: bool,
    /// What was taken of limits for it and never settled: orphaned attempts only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<String, u64>,
}

/// Tokens of one attempt; the convention is that of [`Usage`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tokens {
    /// Of the prompt, cached ones included.
    #[serde(skip_serializing_if = "is_zero")]
    pub input: u64,
    /// The part of `input` that was read from a prompt cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cached_input: u64,
    /// The part of `input` that was written to a prompt cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_creation_input: u64,
    /// Of the answer, reasoning included.
    #[serde(skip_serializing_if = "is_zero")]
    pub output: u64,
    /// The part of `output` spent on reasoning.
    #[serde(skip_serializing_if = "is_zero")]
    pub reasoning: u64,
    /// All of them, as the provider counts them where it does.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
}

/// The first entry of each segment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// How many entries follow of attempts that ran when the segment before was full.
    #[serde(default)]
    pub(crate) carried: u64,
}

/// What the payload of a frame says.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    Begun(Begun),
    Entry(Entry),
    /// Of a kind that a later version has added, or not readable at all.
    Unknown,
}

impl Facts {
    /// Which attempt it is.
    pub fn id(&self) -> AttemptId {
        AttemptId { request_id: Arc::clone(&self.request_id), attempt: self.attempt }
    }
}

impl Opened {
    /// The entry of an attempt that died with its gateway.
    pub(crate) fn orphaned(self) -> Settled {
        Settled {
            facts: self.facts,
            served_model: None,
            outcome: Outcome::Orphaned.label().into(),
            fault: None,
            upstream_status: None,
            usage: Tokens::default(),
            usage_source: no_source(),
            cost_nanodollars: None,
            charges: BTreeMap::new(),
            losses: BTreeMap::new(),
            duration_us: 0,
            time_to_first_token_us: None,
            time_per_output_token_us: None,
            delivered: false,
            reserved: self.reserved,
        }
    }
}

impl From<&exchange::Facts> for Facts {
    fn from(facts: &exchange::Facts) -> Self {
        let exchange::Facts {
            request_id,
            attempt,
            started_at_ms,
            principal,
            route,
            backend,
            provider,
            operation,
            client_dialect,
            backend_dialect,
            delivery,
            requested_model,
            upstream_model,
        } = facts;
        Self {
            request_id: Arc::clone(request_id),
            attempt: *attempt,
            started_at_ms: *started_at_ms,
            principal: Arc::clone(principal),
            route: route.shared(),
            backend: backend.shared(),
            provider: (*provider).into(),
            operation: operation.metric_name(*client_dialect).into(),
            client_dialect: client_dialect.label().into(),
            backend_dialect: backend_dialect.label().into(),
            streamed: *delivery == tollgate_terms::Delivery::Stream,
            requested_model: requested_model.shared(),
            upstream_model: upstream_model.shared(),
        }
    }
}

impl From<&Opening> for Opened {
    fn from(opening: &Opening) -> Self {
        let amount = |Reserved { limit, amount }: &Reserved| (limit.to_string(), *amount);
        Self { facts: (&*opening.facts).into(), reserved: opening.reserved.iter().map(amount).collect() }
    }
}

impl From<&Record> for Settled {
    fn from(record: &Record) -> Self {
        let Record {
            facts,
            served_model,
            outcome,
            fault,
            upstream_status,
            usage,
            usage_source,
            cost_nanodollars,
            charges,
            // Expressions and their mistakes are told by metrics.
            cost_errors: _,
            losses,
            duration,
            time_to_first_token,
            time_per_output_token,
            delivered,
        } = record;
        let mut counts: BTreeMap<Label, u64> = BTreeMap::new();
        for loss in losses {
            *counts.entry(loss.kind.label().into()).or_default() += 1;
        }
        Self {
            facts: (&**facts).into(),
            served_model: served_model.as_ref().map(tollgate_terms::ModelName::shared),
            outcome: outcome.label().into(),
            fault: fault.map(Label::from),
            upstream_status: *upstream_status,
            usage: usage.into(),
            usage_source: source_label(*usage_source).into(),
            cost_nanodollars: *cost_nanodollars,
            charges: charges.iter().map(|charge| (charge.limit.to_string(), charge.used)).collect(),
            losses: counts,
            duration_us: micros(*duration),
            time_to_first_token_us: time_to_first_token.map(micros),
            time_per_output_token_us: time_per_output_token.map(micros),
            delivered: *delivered,
            reserved: BTreeMap::new(),
        }
    }
}

impl From<&Usage> for Tokens {
    fn from(usage: &Usage) -> Self {
        Self {
            input: usage.input_tokens,
            cached_input: usage.cached_input_tokens,
            cache_creation_input: usage.cache_creation_input_tokens,
            output: usage.output_tokens,
            reasoning: usage.reasoning_tokens,
            total: usage.total_tokens(),
        }
    }
}

/// Writes an entry behind what is in `payload`.
pub(crate) fn encode(entry: EntryRef<'_>, payload: &mut Vec<u8>) {
    payload.push(match entry {
        EntryRef::Begun(_) => BEGUN,
        EntryRef::Opened(_) => OPENED,
        EntryRef::Settled(_) => SETTLED,
    });
    // Maps with texts for keys and numbers that are finite: there is nothing that JSON could refuse.
    let _written = match entry {
        EntryRef::Begun(begun) => serde_json::to_writer(payload, begun),
        EntryRef::Opened(opened) => serde_json::to_writer(payload, opened),
        EntryRef::Settled(settled) => serde_json::to_writer(payload, settled),
    };
}

/// An entry that is written.
#[derive(Clone, Copy)]
pub(crate) enum EntryRef<'a> {
    Begun(&'a Begun),
    Opened(&'a Opened),
    Settled(&'a Settled),
}

/// Reads the payload of a frame.
pub(crate) fn decode(payload: &[u8]) -> Said {
    let Some((kind, json)) = payload.split_first() else { return Said::Unknown };
    let read = match *kind {
        BEGUN => serde_json::from_slice(json).map(Said::Begun),
        OPENED => serde_json::from_slice(json).map(|opened| Said::Entry(Entry::Opened(opened))),
        SETTLED => serde_json::from_slice(json).map(|settled| Said::Entry(Entry::Settled(settled))),
        _ => return Said::Unknown,
    };
    read.unwrap_or(Said::Unknown)
}

fn no_source() -> Label {
    source_label(UsageSource::None).into()
}

fn source_label(source: UsageSource) -> &'static str {
    match source {
        UsageSource::ProviderFinal => "provider_final",
        UsageSource::ProviderPartial => "provider_partial",
        UsageSource::Estimated => "estimated",
        UsageSource::None => "none",
    }
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

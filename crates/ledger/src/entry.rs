//! What the ledger holds: an entry for each attempt that begins, and one for each that is over.
//!
//! On disk an entry is a byte that tells its kind, and a message of protobuf. Members may be added to these messages; none changes
//! its number, its name or its meaning. Names of things that the gateway knows are texts, so that a ledger can be read by a gateway
//! that knows others.

mod write;

use std::collections::BTreeMap;

use prost::Message;
use tollgate_exchange::Outcome;
use tollgate_terms::{AttemptId, UsageSource};

pub(crate) use write::{write_again, write_begun, write_opened, write_settled};

/// First byte of each kind of entry. Kinds that are not known are passed over.
const OPENED: u8 = b'o';
const SETTLED: u8 = b's';
const ENDED: u8 = b'e';
const BEGUN: u8 = b'b';

/// An attempt: what is known of it when it is about to be dispatched, and, with an outcome, how it ended.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attempt {
    /// The exchange it belongs to.
    #[prost(string, tag = "1")]
    pub(crate) request_id: String,
    /// 1 for the first attempt.
    #[prost(uint32, tag = "2")]
    pub(crate) attempt: u32,
    /// Start of the attempt, milliseconds since the Unix epoch.
    #[prost(uint64, tag = "3")]
    pub(crate) started_at_ms: u64,
    /// Who called.
    #[prost(string, optional, tag = "4")]
    pub(crate) user: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub(crate) team: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(crate) application: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub(crate) key_id: Option<String>,
    /// The route that matched.
    #[prost(string, tag = "8")]
    pub(crate) route: String,
    /// The backend tried.
    #[prost(string, tag = "9")]
    pub(crate) backend: String,
    /// `gen_ai.provider.name` of the backend.
    #[prost(string, tag = "10")]
    pub(crate) provider: String,
    /// `gen_ai.operation.name`.
    #[prost(string, tag = "11")]
    pub(crate) operation: String,
    #[prost(string, tag = "12")]
    pub(crate) client_dialect: String,
    #[prost(string, tag = "13")]
    pub(crate) backend_dialect: String,
    /// Whether the answer was wanted as a stream.
    #[prost(bool, tag = "14")]
    pub(crate) streamed: bool,
    /// The model in the client's body.
    #[prost(string, tag = "15")]
    pub(crate) requested_model: String,
    /// The model asked of the backend.
    #[prost(string, tag = "16")]
    pub(crate) upstream_model: String,
    /// What was taken of limits for it, by their names. Of attempts that are over, only orphaned ones tell it.
    #[prost(btree_map = "string, uint64", tag = "17")]
    pub(crate) reserved: BTreeMap<String, u64>,
    /// The model that the backend says it served.
    #[prost(string, optional, tag = "18")]
    pub(crate) served_model: Option<String>,
    /// How it ended.
    #[prost(string, tag = "19")]
    pub(crate) outcome: String,
    /// Label of the fault, when there was one.
    #[prost(string, optional, tag = "20")]
    pub(crate) fault: Option<String>,
    /// Status of the backend's response, if it began.
    #[prost(uint32, optional, tag = "21")]
    pub(crate) upstream_status: Option<u32>,
    /// Tokens of the prompt, cached ones included.
    #[prost(uint64, tag = "22")]
    pub(crate) input_tokens: u64,
    /// The part of the prompt that was read from a cache.
    #[prost(uint64, tag = "23")]
    pub(crate) cached_input_tokens: u64,
    /// The part of the prompt that was written to a cache.
    #[prost(uint64, tag = "24")]
    pub(crate) cache_creation_input_tokens: u64,
    /// Tokens of the answer, reasoning included.
    #[prost(uint64, tag = "25")]
    pub(crate) output_tokens: u64,
    /// The part of the answer that was spent on reasoning.
    #[prost(uint64, tag = "26")]
    pub(crate) reasoning_tokens: u64,
    /// All tokens, as the provider counts them where it does.
    #[prost(uint64, tag = "27")]
    pub(crate) total_tokens: u64,
    /// Where these come from.
    #[prost(string, tag = "28")]
    pub(crate) usage_source: String,
    /// What they cost, in billionths of a dollar; `None` where the model has no known price.
    #[prost(uint64, optional, tag = "29")]
    pub(crate) cost_nanodollars: Option<u64>,
    /// What the limits that are for it charge it, by their names.
    #[prost(btree_map = "string, uint64", tag = "30")]
    pub(crate) charges: BTreeMap<String, u64>,
    /// How many things of each kind translation could not say. Where they stood is told by the access log alone.
    #[prost(btree_map = "string, uint64", tag = "31")]
    pub(crate) losses: BTreeMap<String, u64>,
    /// From dispatch to the end, in microseconds.
    #[prost(uint64, tag = "32")]
    pub(crate) duration_us: u64,
    /// To the first token, in microseconds; streams only.
    #[prost(uint64, optional, tag = "33")]
    pub(crate) time_to_first_token_us: Option<u64>,
    /// Between tokens, in microseconds; streams only.
    #[prost(uint64, optional, tag = "34")]
    pub(crate) time_per_output_token_us: Option<u64>,
    /// Whether the client got this attempt's answer.
    #[prost(bool, tag = "35")]
    pub(crate) delivered: bool,
}

/// The first entry of each segment.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Begun {
    /// How many entries follow of attempts that ran when the segment before was full.
    #[prost(uint64, tag = "1")]
    pub(crate) carried: u64,
}

/// What the payload of a frame says.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    Begun(Begun),
    /// An attempt is about to be dispatched.
    Opened(Box<Attempt>),
    /// An attempt is over.
    Settled(Box<Attempt>),
    /// An attempt is over that was opened in the same segment: what is known of it from then is not said again.
    Ended(Box<Attempt>),
    /// Of a kind that a later version has added, or not readable at all.
    Unknown,
}

impl Attempt {
    /// Which attempt it is.
    pub(crate) fn id(&self) -> AttemptId {
        AttemptId { request_id: self.request_id.as_str().into(), attempt: self.attempt }
    }

    /// What is said of its end, with what was known of it when it was `opened`.
    pub(crate) fn opened_as(self, opened: Self) -> Self {
        Self {
            user: opened.user,
            team: opened.team,
            application: opened.application,
            key_id: opened.key_id,
            route: opened.route,
            backend: opened.backend,
            provider: opened.provider,
            operation: opened.operation,
            client_dialect: opened.client_dialect,
            backend_dialect: opened.backend_dialect,
            streamed: opened.streamed,
            requested_model: opened.requested_model,
            upstream_model: opened.upstream_model,
            ..self
        }
    }

    /// The end of an attempt that died with its gateway.
    pub(crate) fn orphaned(self) -> Self {
        let outcome = Outcome::Orphaned.label().to_owned();
        Self { outcome, usage_source: source_label(UsageSource::None).to_owned(), ..self }
    }
}

/// Reads the payload of a frame.
pub(crate) fn decode(payload: &[u8]) -> Said {
    let Some((kind, message)) = payload.split_first() else { return Said::Unknown };
    let attempt = |said: fn(Box<Attempt>) -> Said| Attempt::decode(message).map(|it| said(Box::new(it)));
    let read = match *kind {
        BEGUN => Begun::decode(message).map(Said::Begun),
        OPENED => attempt(Said::Opened),
        SETTLED => attempt(Said::Settled),
        ENDED => attempt(Said::Ended),
        _ => return Said::Unknown,
    };
    read.unwrap_or(Said::Unknown)
}

fn source_label(source: UsageSource) -> &'static str {
    match source {
        UsageSource::ProviderFinal => "provider_final",
        UsageSource::ProviderPartial => "provider_partial",
        UsageSource::Estimated => "estimated",
        UsageSource::None => "none",
    }
}

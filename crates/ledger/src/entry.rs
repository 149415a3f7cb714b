//! What the ledger holds: an entry for each attempt that begins, and one for each that is over.
//!
//! On disk an entry is a byte that tells its kind, and a message of protobuf. Members may be added to these messages; none changes
//! its number, its name or its meaning. Names of things that the gateway knows are texts, so that a ledger can be read by a gateway
//! that knows others. What many attempts have in common is said once in a segment: see [`crate::names`].

mod write;

use std::collections::BTreeMap;

use prost::{DecodeError, Message};
use tollgate_exchange::Outcome;
use tollgate_terms::{AttemptId, FastMap, UsageSource};

pub(crate) use write::{
    Form, put_number, write_again, write_begun, write_ended, write_names, write_names_again,
    write_names_of_end, write_names_of_opening, write_opened, write_settled,
};

/// First byte of each kind of entry. Kinds that are not known are passed over.
const OPENED: u8 = b'o';
const SETTLED: u8 = b's';
const ENDED: u8 = b'e';
const BEGUN: u8 = b'b';
const NAMED: u8 = b'n';

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
    /// The number under which its names are said, which are then not said here; of what says names, that number.
    #[prost(fixed32, tag = "36")]
    pub(crate) names: u32,
    /// With `names`: what was taken of the limits that are said there, or what they charge, in their order.
    #[prost(uint64, repeated, tag = "37")]
    pub(crate) amounts: Vec<u64>,
    /// Of what says names: limits.
    #[prost(string, repeated, tag = "38")]
    pub(crate) limits: Vec<String>,
}

/// The first entry of each segment.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Begun {
    /// How many entries follow that tell what ran when the segment before was full: attempts, and their names.
    #[prost(uint64, tag = "1")]
    pub(crate) carried: u64,
}

/// What the payload of a frame says.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    Begun(Begun),
    /// Names for entries that follow.
    Named,
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

    /// What is said of its beginning, with `names` that were said before.
    fn begun_as(self, names: &Self) -> Self {
        let reserved = names.amounts(&self.amounts);
        Self { reserved, names: 0, amounts: Vec::new(), ..self.opened_as(names.clone()) }
    }

    /// What is said of its end, with `names` that were said before.
    fn ended_as(self, names: &Self) -> Self {
        Self {
            served_model: names.served_model.clone(),
            outcome: names.outcome.clone(),
            fault: names.fault.clone(),
            usage_source: names.usage_source.clone(),
            charges: names.amounts(&self.amounts),
            names: 0,
            amounts: Vec::new(),
            ..self
        }
    }

    /// So much of each of its limits.
    fn amounts(&self, amounts: &[u64]) -> BTreeMap<String, u64> {
        self.limits.iter().cloned().zip(amounts.iter().copied()).collect()
    }

    /// The end of an attempt that died with its gateway.
    pub(crate) fn orphaned(self) -> Self {
        let outcome = Outcome::Orphaned.label().to_owned();
        Self { outcome, usage_source: source_label(UsageSource::None).to_owned(), ..self }
    }
}

/// Reads entries in the order in which they stand, from the beginning of a segment.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// What was said under numbers.
    names: FastMap<u32, Attempt>,
    /// How many entries refer to names that nothing has said: a part of the disk was lost.
    pub(crate) unnamed: u64,
}

impl Reader {
    /// Reads the payload of a frame.
    pub(crate) fn read(&mut self, payload: &[u8]) -> Said {
        let Some((kind, message)) = payload.split_first() else { return Said::Unknown };
        let read = match *kind {
            BEGUN => {
                self.names.clear();
                Begun::decode(message).map(Said::Begun)
            }
            NAMED => Attempt::decode(message).map(|names| {
                self.names.insert(names.names, names);
                Said::Named
            }),
            OPENED => self.attempt(message, Attempt::begun_as).map(Said::Opened),
            SETTLED => self.attempt(message, Attempt::ended_as).map(Said::Settled),
            ENDED => self.attempt(message, Attempt::ended_as).map(Said::Ended),
            _ => return Said::Unknown,
        };
        read.unwrap_or(Said::Unknown)
    }

    /// An attempt, which `complete`s itself by the names that were said under its number.
    fn attempt(
        &mut self,
        message: &[u8],
        complete: fn(Attempt, &Attempt) -> Attempt,
    ) -> Result<Box<Attempt>, DecodeError> {
        let attempt = Attempt::decode(message)?;
        Ok(Box::new(match self.names.get(&attempt.names) {
            Some(names) => complete(attempt, names),
            None => {
                self.unnamed += u64::from(attempt.names != 0);
                Attempt { names: 0, amounts: Vec::new(), ..attempt }
            }
        }))
    }

    /// The highest number that was given.
    pub(crate) fn last_number(&self) -> u32 {
        self.names.keys().copied().max().unwrap_or_default()
    }

    /// All names, for a segment in which entries stand that refer to them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Attempt> {
        self.names.values()
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

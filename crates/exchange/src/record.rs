//! The fact sheets: one [`Record`] for each attempt, one [`Summary`] for each exchange, on every way out.
//!
//! Metrics, access log, traces and ledger are projections of these two, so they agree.

use std::sync::Arc;
use std::time::Duration;

use crate::charge::Charge;
use serde::Serialize;
use tollgate_chat::Loss;
use tollgate_config::bundle::CostError;
use tollgate_terms::{
    AttemptId, BackendFault, BackendName, ClientFault, Delivery, Dialect, Fault, ModelName, Operation,
    Principal, RouteName, Usage, UsageSource,
};

/// How an attempt or an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole answer was delivered.
    Complete,
    /// The client went away, or stopped reading.
    ClientGone,
    /// The backend ended the answer before it was complete.
    UpstreamCut,
    /// Something took too long.
    Timeout,
    /// The gateway refused the request: nothing was sent to a backend.
    Refused,
    /// Anything else that went wrong, an error status of the backend among them.
    Error,
    /// The gateway died while it ran: nobody knows how it ended. Only the ledger tells of such attempts, at the next start.
    Orphaned,
}

impl Outcome {
    /// The outcome that a fault makes.
    pub fn of(fault: &Fault) -> Self {
        match fault {
            Fault::Client(ClientFault::Unprocessable | ClientFault::OverLimit) => Self::Refused,
            Fault::Client(ClientFault::Gone | ClientFault::TooSlow) => Self::ClientGone,
            Fault::Backend(BackendFault::Cut) => Self::UpstreamCut,
            Fault::Backend(
                BackendFault::FirstByteTimeout | BackendFault::IdleTimeout | BackendFault::Deadline,
            ) => Self::Timeout,
            Fault::Backend(_) | Fault::Gateway(_) => Self::Error,
        }
    }

    /// The outcome as a metric label and log value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client_gone",
            Self::UpstreamCut => "upstream_cut",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Error => "error",
            Self::Orphaned => "orphaned",
        }
    }
}

/// What is known of an attempt from its beginning.
#[derive(Debug, Clone, Serialize)]
pub struct Facts {
    /// The exchange it belongs to.
    pub request_id: Arc<str>,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// Start of the attempt, milliseconds since the Unix epoch.
    pub started_at_ms: u64,
    /// Who called.
    pub principal: Arc<Principal>,
    /// The route that matched.
    pub route: RouteName,
    /// The backend tried.
    pub backend: BackendName,
    /// `gen_ai.provider.name` of the backend.
    pub provider: &'static str,
    /// What was wanted.
    pub operation: Operation,
    /// The client's dialect.
    pub client_dialect: Dialect,
    /// The backend's dialect.
    pub backend_dialect: Dialect,
    /// How the client wanted the answer.
    pub delivery: Delivery,
    /// The model in the client's body.
    pub requested_model: ModelName,
    /// The model asked of the backend, after an override.
    pub upstream_model: ModelName,
}

impl Facts {
    /// Which attempt it is.
    pub fn id(&self) -> AttemptId {
        AttemptId { request_id: Arc::clone(&self.request_id), attempt: self.attempt }
    }
}

/// One attempt at one backend, once it is over.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// What was known of it from its beginning.
    #[serde(flatten)]
    pub facts: Arc<Facts>,
    /// The model that the backend says it served.
    pub served_model: Option<ModelName>,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// Label of the fault, when there was one.
    pub fault: Option<&'static str>,
    /// Status of the backend's response, if it began.
    pub upstream_status: Option<u16>,
    /// Tokens.
    pub usage: Usage,
    /// Where `usage` comes from.
    pub usage_source: UsageSource,
    /// What `usage` costs, in billionths of a dollar; `None` where the model has no known price, or nothing is to be counted.
    pub cost_nanodollars: Option<u64>,
    /// What the limits that are for it charge it.
    pub charges: Vec<Charge>,
    /// Why numbers that the route publishes could not be computed; all tokens stand in for each.
    pub cost_errors: Vec<CostError>,
    /// What translation could not say, request and answer together.
    pub losses: Vec<Loss>,
    /// From dispatch to the end of the attempt.
    pub duration: Duration,
    /// From the start of the exchange to the first token of the answer; streams only.
    pub time_to_first_token: Option<Duration>,
    /// Mean time between output tokens after the first; streams only.
    pub time_per_output_token: Option<Duration>,
    /// Whether this attempt's answer is the one that the client got.
    pub delivered: bool,
}

/// One exchange, once it is over: what an access log line tells.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The id that the client got in `x-request-id`.
    pub request_id: Arc<str>,
    /// Start, milliseconds since the Unix epoch.
    pub started_at_ms: u64,
    /// Method of the request.
    pub method: String,
    /// Path of the request, without its query.
    pub path: String,
    /// Address of the client.
    pub client_address: String,
    /// Who called, if it is known.
    pub principal: Arc<Principal>,
    /// The listener that took it.
    pub listener: Arc<str>,
    /// Status that the client got; 499 when it left before there was one.
    pub status: u16,
    /// How the exchange ended.
    pub outcome: Outcome,
    /// Label of the fault or refusal, when there was one.
    pub fault: Option<&'static str>,
    /// What was wanted, if the path says so.
    pub operation: Option<Operation>,
    /// The client's dialect, if the path says so.
    pub client_dialect: Option<Dialect>,
    /// The model in the client's body.
    pub requested_model: Option<ModelName>,
    /// The route that matched.
    pub route: Option<RouteName>,
    /// The backend of a plain rule that the request went to.
    pub passed_to: Option<BackendName>,
    /// How many attempts were made. May be more than there are records: Envoy tells only of attempts that have a connection.
    pub attempts_made: u32,
    /// Every attempt, in order. The last is the one whose answer the client got, if any was delivered.
    pub attempts: Vec<Record>,
    /// Bytes of the request body.
    pub request_body_bytes: u64,
    /// Bytes of the response body sent to the client.
    pub response_body_bytes: u64,
    /// From the request head to the end of the response.
    pub duration: Duration,
}

impl Summary {
    /// The attempt whose answer the client got, else the last one.
    pub fn deciding_attempt(&self) -> Option<&Record> {
        self.attempts.iter().rev().find(|record| record.delivered).or_else(|| self.attempts.last())
    }
}

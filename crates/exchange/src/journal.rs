//! Who keeps account of attempts, so that none is lost when the process dies.

use std::fmt;
use std::sync::Arc;

use tollgate_terms::{BackendName, Delivery, Dialect, ModelName, Operation, Principal, RouteName};

use crate::record::Record;

/// Keeps account of attempts. Both data planes tell it of each, and it never makes them wait for a disk.
pub trait Journal: fmt::Debug + Send + Sync {
    /// Takes in an attempt that is about to be dispatched.
    fn opened(&self, opening: &Opening);

    /// Takes in an attempt that is over, whether or not it was dispatched.
    fn settled(&self, record: &Record);
}

/// What is known of an attempt when it is dispatched: enough for a record of it if nobody lives to write one.
#[derive(Debug, Clone)]
pub struct Opening {
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
    /// The backend that is tried.
    pub backend: BackendName,
    /// `gen_ai.provider.name` of the backend.
    pub provider: &'static str,
    /// What is wanted.
    pub operation: Operation,
    /// The client's dialect.
    pub client_dialect: Dialect,
    /// The backend's dialect.
    pub backend_dialect: Dialect,
    /// How the client wants the answer.
    pub delivery: Delivery,
    /// The model in the client's body.
    pub requested_model: ModelName,
    /// The model asked of the backend, after an override.
    pub upstream_model: ModelName,
    /// What was taken of limits for it.
    pub reserved: Vec<Reserved>,
}

/// What an attempt has taken of a limit before it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// The limit.
    pub limit: Arc<str>,
    /// How much, in the limit's own unit.
    pub amount: u64,
}

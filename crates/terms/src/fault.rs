//! What broke, and who is to blame for it.

use std::time::Duration;

/// Something that broke while serving an exchange. The variant says who is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The client's doing.
    #[error("client: {0}")]
    Client(ClientFault),
    /// The backend's doing.
    #[error("backend: {0}")]
    Backend(BackendFault),
    /// The gateway's own.
    #[error("gateway: {0}")]
    Gateway(GatewayFault),
}

/// Faults of the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientFault {
    /// The client went away before the answer was complete.
    #[error("client disconnected")]
    Gone,
    /// The client took nothing of the answer for too long.
    #[error("client stopped reading")]
    TooSlow,
    /// The client asks for what the backend cannot be asked.
    #[error("the backend cannot be asked this")]
    Unprocessable,
    /// A limit has nothing left for the client.
    #[error("a limit is exceeded")]
    OverLimit,
}

/// Faults of one backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendFault {
    /// No connection: name resolution, connect or TLS failed.
    #[error("cannot connect")]
    Unreachable,
    /// The connection was lost before the response began.
    #[error("connection lost before the response")]
    Reset,
    /// What came is not HTTP, or breaks the framing of the body.
    #[error("broken response")]
    Protocol,
    /// The response began and ended before it was complete.
    #[error("response cut short")]
    Cut,
    /// No first byte in time.
    #[error("no first byte in time")]
    FirstByteTimeout,
    /// The stream fell silent.
    #[error("stream went idle")]
    IdleTimeout,
    /// The attempt or the whole request took too long.
    #[error("deadline exceeded")]
    Deadline,
    /// The backend answered with an error status.
    #[error("status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// What its `Retry-After` asked for.
        retry_after: Option<Duration>,
    },
    /// The stream began with an error event, or carried one.
    #[error("error event in the stream")]
    ErrorEvent,
    /// The body cannot be read as the backend's dialect.
    #[error("unreadable answer")]
    Unreadable,
    /// A body or event is larger than the gateway will hold.
    #[error("answer exceeds a limit")]
    TooLarge,
}

/// Faults of the gateway itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayFault {
    /// No credential could be obtained for the backend.
    #[error("no credential for the backend")]
    Credential,
    /// The gateway is shutting down and the grace period is over.
    #[error("shutting down")]
    Draining,
    /// The backend has as many requests in flight as its limit allows, and was not asked.
    #[error("the limit of requests in flight at the backend is reached")]
    Overloaded,
    /// The configuration that the request belongs to is not here: this part of the gateway is behind the one that routed it, or ahead.
    #[error("the configuration of the request is not here")]
    Behind,
    /// Nobody can tell how the limits of the request stand, and one of them would rather have none than too many.
    #[error("limits cannot be checked")]
    LimitStore,
    /// A bug.
    #[error("internal error")]
    Internal,
}

impl Fault {
    /// The value of the `error.type` label and of the outcome in records: short, stable, low cardinality.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Client(ClientFault::Gone) => "client_gone",
            Self::Client(ClientFault::TooSlow) => "client_too_slow",
            Self::Client(ClientFault::Unprocessable) => "unprocessable",
            Self::Client(ClientFault::OverLimit) => "limit_exceeded",
            Self::Backend(fault) => fault.label(),
            Self::Gateway(GatewayFault::Credential) => "credential",
            Self::Gateway(GatewayFault::Draining) => "draining",
            Self::Gateway(GatewayFault::Overloaded) => "overloaded",
            Self::Gateway(GatewayFault::Behind) => "behind",
            Self::Gateway(GatewayFault::LimitStore) => "limit_store",
            Self::Gateway(GatewayFault::Internal) => "internal",
        }
    }
}

impl BackendFault {
    /// Short, stable, low-cardinality name.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Cut => "cut",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::Deadline => "deadline",
            Self::Status { .. } => "status",
            Self::ErrorEvent => "error_event",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
        }
    }
}

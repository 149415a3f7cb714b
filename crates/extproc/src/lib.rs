//! Envoy's external processor: the same `Exchange` and `Attempt` as in the embedded plane, asked by Envoy over gRPC.
//!
//! Envoy opens a stream for each request at its listener, and one for each try at the cluster
//! (`docs/decisions/0006-how-envoy-is-programmed.md`). The first drives an [`Exchange`](tollgate_exchange::Exchange), each of the
//! others an [`Attempt`](tollgate_exchange::Attempt); they meet in a [`Running`](running::Running) exchange, which settles when the
//! last of them is gone. Nothing here waits for anything but the next message, so a stream needs no task.
//!
//! This crate must not know how routes are matched or backends are picked: Envoy does both, and says what it picked.

mod asking;
mod attempt;
mod clock;
mod conversation;
mod headers;
mod listener;
mod metadata;
mod processor;
mod receive;
mod reply;
mod running;
mod serve;
#[cfg(test)]
mod tests;
mod verdict;
mod vouched;

pub use conversation::Conversation;
pub use processor::{Processor, Serving};
pub use serve::serve;

/// Names by which Envoy's resources and the processor know each other: what `plan` writes, by what it is here.
pub mod names {
    pub use tollgate_config::MODEL_HEADER as MODEL;
    pub use tollgate_plan::envoy::{
        ACCESS_METADATA as ACCESS, ATTEMPT_HEADER as TRY, CONTENT_LENGTH, DIALECT, EXCHANGE,
        FAULT_HEADER as FAULT, LISTENER_METADATA as LISTENER, METADATA_NAMESPACE as METADATA,
        PROBE_HEADER as PROBE, REPLY_DETAILS, RETRY_HEADER as RETRY, SNAPSHOT_METADATA as SNAPSHOT,
        SOURCE_ADDRESS, TOKEN_METADATA as TOKENS, token_head,
    };

    /// Request header in which Envoy counts the tries, those included whose connection could not be made.
    pub const ATTEMPT_COUNT: &str = "x-envoy-attempt-count";
}

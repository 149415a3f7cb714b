//! Envoy's external processor: the same `Exchange` and `Attempt` as in the embedded plane, asked by Envoy over gRPC.
//!
//! Envoy opens a stream for each request at its listener, and one for each try at the cluster
//! (`docs/decisions/0006-how-envoy-is-programmed.md`). The first drives an [`Exchange`](tollgate_exchange::Exchange), each of the
//! others an [`Attempt`](tollgate_exchange::Attempt); they meet in a [`Running`](running::Running) exchange, which settles when the
//! last of them is gone. Nothing here waits for anything but the next message, so a stream needs no task.
//!
//! This crate must not know how routes are matched or backends are picked: Envoy does both, and says what it picked.

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
mod verdict;

pub use conversation::Conversation;
pub use processor::{Processor, Serving};
pub use serve::serve;

/// Names by which Envoy's resources and the processor know each other.
pub mod names {
    /// Metadata of the call: the id of the snapshot that Envoy's routes were made from. Only calls from listeners have it.
    pub const SNAPSHOT: &str = "x-tollgate-snapshot";
    /// Metadata of the call: the listener that took the request.
    pub const LISTENER: &str = "x-tollgate-listener";
    /// Member of dynamic metadata with the id of the exchange, which ties its attempts to it.
    pub const EXCHANGE: &str = "exchange";
    /// Request header of a probe. Listeners take away what begins with `x-tollgate-`.
    pub const PROBE: &str = "tollgate-probe";
    /// Request header of a try: the id of the exchange that it belongs to, the authority under which its host is asked, and the target
    /// of that host as `namespace/route/rule/N/target/N`.
    pub const TRY: &str = "x-tollgate-try";
    /// Member of dynamic metadata with the label of the client's dialect, for replies of Envoy's own.
    pub const DIALECT: &str = "dialect";
    /// Member of dynamic metadata with the length of a body that was replaced.
    pub const CONTENT_LENGTH: &str = "content_length";
    /// Response header that asks Envoy to try elsewhere.
    pub const RETRY: &str = "x-tollgate-retry";
    /// Response header of Envoy's own replies, and of no other: the label of what is wrong.
    pub const FAULT: &str = "x-tollgate-fault";
    /// Request header in which Envoy counts the tries, those included whose connection could not be made.
    pub const ATTEMPT_COUNT: &str = "x-envoy-attempt-count";
    /// Request header with the model, on which routes match.
    pub const MODEL: &str = "x-ai-eg-model";
    /// What the details of the gateway's own replies begin with: Envoy leaves these as they are.
    pub const REPLY_DETAILS: &str = "tollgate_";
    /// Namespace of the dynamic metadata that carries token counts and what the access log tells.
    pub const METADATA: &str = "io.envoy.ai_gateway";
}

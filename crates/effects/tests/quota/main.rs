//! The counters of limits: each store against what it should have counted.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail, measure, and say what they have measured"
)]

mod failover;
mod law;
mod memory;
mod metric;
mod oracle;
mod proxy;
mod redis;
mod saved;
mod server;
mod slow;
mod variants;

/// The only attempt of the exchange called `name`.
fn attempt(name: &str) -> tollgate_terms::AttemptId {
    tollgate_terms::AttemptId { request_id: name.into(), attempt: 1 }
}

//! The counters of limits: each store against what it should have counted.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail")]

mod law;
mod memory;
mod metric;
mod oracle;

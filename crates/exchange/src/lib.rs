//! The core: one client request and its answer as plain values, without sockets, clock or runtime.

mod record;

pub use record::{Outcome, Record, Summary};

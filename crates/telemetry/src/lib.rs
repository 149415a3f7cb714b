//! What the gateway tells about itself: metrics, the access log, and its own log.
//!
//! Metrics and access log are projections of [`tollgate_exchange::Summary`] and nothing else, so that they agree.
//! Attempts by themselves are handed to who keeps account of them. Nothing here waits: a request adds to counters and puts its line into a bounded queue. No prompt, no answer and no
//! secret comes through here. The clock is not read here either; times come with what is told.

mod access_line;
mod access_log;
mod families;
mod labels;
pub mod logging;
mod process;
mod series;
mod telemetry;
mod timestamp;

pub use access_log::AccessLog;
pub use telemetry::{InFlight, Options, Reload, Telemetry};

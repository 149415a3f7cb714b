//! Envoy's rate limit service over gRPC and as JSON, in the place of envoyproxy/ratelimit: the same configuration, the same answers, the same metrics.
//!
//! What is left is decided and counted as for all other limits, by `tollgate_policy::quota` and `tollgate_effects::quota`. A request that is refused
//! counts all the same, as it does there, unless that is switched off.

mod answer;
mod config;
mod health;
mod json;
mod live;
mod metrics;
mod serve;
mod service;
mod tree;
mod yaml;

pub use config::ConfigError;
pub use live::Live;
pub use serve::serve;
pub use service::{Consumption, Headers, Options, RateLimits};

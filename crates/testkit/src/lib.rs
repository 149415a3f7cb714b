//! Stand-ins for the world around the gateway: servers that speak as model providers do, and clients that load it.
//!
//! It stands alone: it takes nothing from the gateway's own crates, so that it cannot repeat their mistakes. It is for tests, benchmarks
//! and the demo, never for production.

pub mod bench_mock;
pub mod continuing;
pub mod forward_proxy;
mod http;
pub mod load;
pub mod mock;

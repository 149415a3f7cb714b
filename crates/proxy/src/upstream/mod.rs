//! Connections to backends: address, TLS, pools, and one call over them.

mod body;
mod connect;
mod pool;
mod resolve;
mod tls;

pub(crate) use pool::{Lease, Pools};

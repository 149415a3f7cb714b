//! Connections to backends: address, TLS, pools, and one call over them.

mod body;
mod connect;
mod http1;
mod inbound;
mod pool;
mod resolve;
mod tls;

pub(crate) use inbound::Inbound;
pub(crate) use pool::Pools;

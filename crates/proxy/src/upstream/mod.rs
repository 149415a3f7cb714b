//! Connections to backends: address, TLS, pools, and one call over them.

mod body;
mod connect;
mod http1;
mod inbound;
mod pass;
mod pool;
mod resolve;
mod tls;
mod tunnel;
mod upload;

pub(crate) use inbound::Inbound;
pub(crate) use pass::Unanswered;
pub(crate) use pool::Pools;
pub(crate) use tunnel::Way;
pub(crate) use upload::{Stopped, Upload};

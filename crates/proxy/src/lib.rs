//! The embedded data plane: sockets, TLS, connection pools, timers. It moves bytes between its sockets and the pure
//! core in `exchange`, and does what each step of the core says. It names no vendor and reads no body.
//!
//! One thread per worker, each with its own runtime, its own listening sockets (`SO_REUSEPORT`) and its own pools;
//! what they share is immutable ([`serving::Serving`]) or a few atomics.

pub mod admin;
mod answer;
pub mod certificate;
mod clock;
mod collect;
mod connection;
mod date;
mod dispatch;
mod door;
mod downstream;
mod drain;
mod gateway;
mod http2;
mod limits;
mod line;
mod listen;
mod overdue;
mod pass;
mod passed;
mod patience;
mod service;
mod serving;
mod settle;
#[cfg(test)]
mod tests;
mod upstream;
mod worker;

pub use gateway::{Gateway, GatewayError, Options};

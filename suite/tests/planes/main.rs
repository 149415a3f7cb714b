//! The gateway as clients and backends meet it: over sockets, to the byte.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may end at once, and measures time"
)]

mod access;
mod admission;
mod bugs;
mod clouds;
mod conservation;
mod costs;
mod credentials;
mod failures;
mod forward;
mod left;
mod limits;
mod overshoot;
mod passage;
mod plain;
mod redis;
mod refusals;
mod tokens;
mod transport;

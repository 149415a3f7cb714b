//! The gateway as clients and backends meet it: over sockets, to the byte.

mod failures;
mod refusals;
mod support;
mod transport;

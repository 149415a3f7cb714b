//! The gateway under load while something happens to it: its configuration changes all the time, or its parts are killed.
//!
//! Every answer says through which configuration it came, three times over, so that a mixture of two would be seen.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may end at once, measures time, and tells what it has measured"
)]

mod apart;
mod backend;
mod callers;
mod clients;
mod flips;
mod gateway;
mod killed;
mod limiter;
mod limits;
mod network;
mod served;

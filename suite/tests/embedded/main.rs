//! What only the embedded data plane has: an HTTP/1.1 of its own.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may end at once, and measures time"
)]

mod http1;

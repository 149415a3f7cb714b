//! Streams over real sockets, with the generated client: what nodes are told, in both protocols.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may fail")]

mod delta;
mod network;
mod status;
mod support;
mod whole;

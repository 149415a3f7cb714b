//! Texts with a grammar of their own inside resources: durations, sizes, points in time.
//!
//! Each parses once, when a resource is decoded, so that whoever holds one holds a proven value.

mod base64;
mod duration;
mod size;
mod timestamp;

pub(crate) use base64::decode as decode_base64;
pub(crate) use duration::DURATION;
pub use duration::GatewayDuration;
pub use size::ByteSize;
pub(crate) use size::QUANTITY;
pub use timestamp::Timestamp;

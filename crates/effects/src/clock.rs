//! The one place in this crate that reads the clock.

use std::time::{Duration, SystemTime};

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "what others lend for a while ends by the time of day")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// The time of day so many milliseconds after the Unix epoch, as somebody has read it before.
pub(crate) fn at(unix_ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms)
}

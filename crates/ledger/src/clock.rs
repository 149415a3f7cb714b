//! The one place in this crate that reads the clock.

use std::time::SystemTime;

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "segments are removed by the age of their files")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

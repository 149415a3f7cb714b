//! The one place in this crate that reads the clock.

use std::time::SystemTime;

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "what others lend for a while ends by the time of day")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

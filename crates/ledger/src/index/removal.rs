//! Rows that are too old go, a few at a time: filling goes first, and whoever asks does not wait long.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{IndexError, Store};

/// Rows that are removed at a time.
const ROWS: u32 = 1000;

/// Pause once there is nothing left to remove.
const PAUSE: Duration = Duration::from_secs(600);

/// When which rows go.
#[derive(Debug)]
pub(crate) struct Removal {
    /// Age from which a row goes; `None` keeps all.
    retention: Option<Duration>,
    /// When it is looked again.
    next: SystemTime,
}

impl Removal {
    pub(crate) fn of(retention: Option<Duration>) -> Self {
        Self { retention, next: UNIX_EPOCH }
    }

    /// Removes some rows that are too old at `now`, if it is time to look for them; returns how many.
    pub(super) fn remove_some(&mut self, now: SystemTime, store: &mut Store) -> Result<u64, IndexError> {
        // A clock that was set back by more than a pause is no reason to wait for it.
        let waits = self.next.duration_since(now).is_ok_and(|wait| !wait.is_zero() && wait <= PAUSE);
        let Some(retention) = self.retention.filter(|_| !waits) else { return Ok(0) };
        let before = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(retention);
        let removed = store.remove(i64::try_from(before.as_millis()).unwrap_or(i64::MAX), ROWS)?;
        if removed < u64::from(ROWS) {
            self.next = now + PAUSE;
        }
        Ok(removed)
    }
}

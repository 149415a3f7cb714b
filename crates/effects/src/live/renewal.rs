//! When a credential is renewed, and when a fetch that failed is tried again.

use std::time::{Duration, SystemTime};

/// A credential is renewed at least so long before its end.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// How long a credential without an end is taken for good, where nobody says: it may be changed where it comes from.
pub(crate) const ENDLESS: Duration = Duration::from_secs(5 * 60);

/// Nothing is fetched more often.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest time between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// How long to leave a credential alone that was fetched at `now` and ends at `end`, or after `endless` has to be looked after.
///
/// It is renewed 5 minutes before its end or when a fifth of its life is left, whichever is earlier, but not before half of its life is
/// over. `roll` is a uniformly random number: up to a tenth less, so that many gateways do not ask at once.
pub(super) fn renewal(now: SystemTime, end: Option<SystemTime>, endless: Duration, roll: u32) -> Duration {
    let wait = match end {
        None => endless,
        Some(end) => {
            let life = end.duration_since(now).unwrap_or_default();
            life - MARGIN.max(life / 5).min(life / 2)
        }
    };
    jittered(wait, 10, roll).max(WAIT_MIN)
}

/// How long to wait after `failures` fetches in a row that failed. `roll` is a uniformly random number: up to a half less.
pub(crate) fn backoff(failures: u32, roll: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let wait = WAIT_MIN.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    jittered(wait, 2, roll)
}

/// Up to one of so many `parts` less.
fn jittered(wait: Duration, parts: u32, roll: u32) -> Duration {
    wait - (wait / parts).mul_f64(f64::from(roll) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(life_s: u64, roll: u32) -> u64 {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(life_s);
        renewal(SystemTime::UNIX_EPOCH, Some(end), ENDLESS, roll).as_secs()
    }

    #[test]
    fn is_renewed_well_before_the_end() {
        assert_eq!(after(3600, 0), 2880);
        assert_eq!(after(3600, u32::MAX), 2592);
        assert_eq!(after(900, 0), 600);
        assert_eq!(after(240, 0), 120);
        assert_eq!(after(0, 0), 1);
        assert_eq!(renewal(SystemTime::UNIX_EPOCH, None, 60 * ENDLESS, 0), 60 * ENDLESS);
    }

    #[test]
    fn failures_are_tried_again_less_and_less_often() {
        let seconds = |failures| backoff(failures, 0).as_secs();
        assert_eq!([1, 2, 3, 6, 7, 99].map(seconds), [1, 2, 4, 32, 60, 60]);
        assert_eq!(backoff(1, u32::MAX), Duration::from_millis(500));
    }
}

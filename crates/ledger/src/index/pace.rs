//! How fast the table is filled: at once where a core is free, and in steps with pauses between them where all are busy.
//!
//! A thread that steps back behind all others still runs in each gap that requests leave, however short, and what it leaves in the caches
//! of the core makes the next request slower. So it takes few of these gaps.

use std::fs;
use std::time::Duration;

/// What the kernel tells of the thread that reads it: nanoseconds that it ran, nanoseconds that it could have run and did not, and a count.
const TIMES: &str = "/proc/thread-self/schedstat";

/// A pause is so many times as long as the step before it took.
const PAUSE_STEPS: u32 = 8;

/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What one thread has had of the cores.
#[derive(Debug)]
pub(super) struct Pace {
    before: Times,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Times {
    ran: Duration,
    waited: Duration,
}

impl Pace {
    /// The thread begins to work.
    pub(super) fn begin() -> Self {
        Self { before: Times::now() }
    }

    /// How long to leave the cores to others, now that it has done a part.
    pub(super) fn pause(&mut self) -> Duration {
        let now = Times::now();
        let before = std::mem::replace(&mut self.before, now);
        let since = Times {
            ran: now.ran.saturating_sub(before.ran),
            waited: now.waited.saturating_sub(before.waited),
        };
        since.pause()
    }
}

impl Times {
    /// Those of this thread. Where the kernel tells none it never waits.
    fn now() -> Self {
        fs::read_to_string(TIMES).ok().and_then(|told| Self::read(&told)).unwrap_or_default()
    }

    fn read(told: &str) -> Option<Self> {
        let mut numbers =
            told.split_ascii_whitespace().map(|number| number.parse().map(Duration::from_nanos));
        let (Some(Ok(ran)), Some(Ok(waited))) = (numbers.next(), numbers.next()) else { return None };
        Some(Self { ran, waited })
    }

    /// None where it ran for at least half of the time.
    fn pause(self) -> Duration {
        if self.waited <= self.ran {
            return Duration::ZERO;
        }
        ((self.ran + self.waited) * PAUSE_STEPS).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_longer_than_he_runs_leaves_the_cores_to_others() {
        let pause = |ran, waited| {
            let [ran, waited] = [ran, waited].map(Duration::from_millis);
            Times { ran, waited }.pause().as_millis()
        };
        assert_eq!([pause(0, 0), pause(5, 0), pause(5, 5)], [0, 0, 0]);
        assert_eq!([pause(5, 6), pause(5, 45), pause(5, 5000)], [88, 400, 1000]);
    }

    #[test]
    fn reads_what_the_kernel_tells() {
        let times = |ran, waited| {
            let [ran, waited] = [ran, waited].map(Duration::from_nanos);
            Some(Times { ran, waited })
        };
        assert_eq!(Times::read("6834056 12 1\n"), times(6_834_056, 12));
        assert_eq!([Times::read(""), Times::read("1"), Times::read("a b c")], [None; 3]);
        // That of this kernel, if it tells.
        if let Ok(told) = fs::read_to_string(TIMES) {
            assert!(Times::read(&told).is_some(), "{told}");
        }
    }
}

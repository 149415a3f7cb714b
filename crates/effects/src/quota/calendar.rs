//! Spans of windows, of which those of a calendar are computed once for each period: time zones take longer than all else that is counted.

use std::sync::{Arc, Mutex, PoisonError};

use tollgate_config::bundle::Window;
use tollgate_policy::quota::Span;

/// Windows that are remembered. Those of limits that are gone are forgotten when there are more.
const WINDOWS_MAX: usize = 64;

/// What the calendar has said last, by window.
#[derive(Debug, Default)]
pub(super) struct Calendars(Mutex<Vec<(Arc<Window>, Span)>>);

impl Calendars {
    /// The span of `window` at a moment.
    pub(super) fn span(&self, window: &Arc<Window>, now_ms: u64) -> Span {
        if !matches!(**window, Window::Calendar { .. }) {
            return Span::of(window, now_ms);
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, span)) = known.iter_mut().find(|(known, _)| Arc::ptr_eq(known, window)) {
            let moved = span.moved_to(window, now_ms);
            if moved.slot != span.slot {
                *span = moved;
            }
            return moved;
        }
        if known.len() >= WINDOWS_MAX {
            known.clear();
        }
        let span = Span::of(window, now_ms);
        known.push((Arc::clone(window), span));
        span
    }
}

#[cfg(test)]
mod tests {
    use tollgate_config::bundle::CalendarPeriod;

    use super::*;

    #[test]
    fn what_is_remembered_is_what_the_calendar_says() {
        let calendars = Calendars::default();
        let window = |time_zone: &str| {
            Arc::new(Window::Calendar { period: CalendarPeriod::Day, time_zone: time_zone.to_owned() })
        };
        let windows: Vec<_> = (0..100).map(|at| window(["UTC", "Europe/Berlin"][at % 2])).collect();
        // Across midnight and a change of clocks, and back again.
        for hours in [0, 1, 23, 24, 25, 47, 48, 3, 2, 24 * 200, 1] {
            let now_ms = (1_774_700_000 + hours * 3600) * 1000;
            for window in &windows {
                assert_eq!(calendars.span(window, now_ms), Span::of(window, now_ms), "{hours}");
            }
        }
        assert!(calendars.0.lock().expect("what is remembered").len() <= WINDOWS_MAX);
    }
}

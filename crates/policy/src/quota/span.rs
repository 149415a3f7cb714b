//! Which slot of a counter something is taken from at a moment, and which slots count.
//!
//! A window that begins anew has one slot for each time that it does. One that rolls has one for each of its slices, and so has what is in flight: what
//! nobody gives back counts no longer after [`IN_FLIGHT_MAX`].

use std::time::{Duration, SystemTime};

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use tollgate_config::bundle::{CalendarPeriod, Window};

/// Into how many slices a window is cut that rolls. One more counts: the one that is partly over counts whole.
pub const SLICES: u64 = 60;

/// What has been in flight for longer is not counted any more: whoever took it may be gone.
pub const IN_FLIGHT_MAX: Duration = Duration::from_secs(60 * 60);

const SECOND_MS: u64 = 1000;

/// The slots of a counter at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The one from which is taken.
    pub slot: u64,
    /// What kind of slots there are.
    pub shape: Shape,
    /// The moment, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// When what is taken now counts no longer, in the same measure.
    pub end_ms: u64,
}

/// What kind of slots a counter has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// One slot counts.
    Whole,
    /// All slots count from `oldest` on, those of clocks that are ahead too.
    Sliced {
        /// The oldest one that counts.
        oldest: u64,
        /// How long a slice is, in milliseconds.
        slice_ms: u64,
        /// Whether it is known when a slot is free again.
        ends: Ends,
    },
}

/// Whether it is known when a slot is free again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ends {
    /// With its time.
    WithTime,
    /// When those who took from it give it back.
    WhenGivenBack,
}

/// A window names a time zone that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTimeZone(pub String);

impl std::fmt::Display for UnknownTimeZone {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "unknown time zone {:?}", self.0)
    }
}

impl std::error::Error for UnknownTimeZone {}

/// Whether a window can be counted by.
///
/// # Errors
/// If its time zone is not in the database.
pub fn check_window(window: &Window) -> Result<(), UnknownTimeZone> {
    match window {
        Window::Calendar { time_zone, .. } => match TimeZone::get(time_zone) {
            Ok(_) => Ok(()),
            Err(_) => Err(UnknownTimeZone(time_zone.clone())),
        },
        Window::Fixed { .. } | Window::Rolling { .. } | Window::InFlight => Ok(()),
    }
}

impl Span {
    /// That of `window` at a moment, in milliseconds since the Unix epoch. A time zone that is not known counts as UTC; [`check_window`] says that before.
    pub fn of(window: &Window, now_ms: u64) -> Self {
        match window {
            Window::Fixed { seconds } => {
                let length_ms = seconds.saturating_mul(SECOND_MS).max(1);
                let slot = now_ms / length_ms;
                let end_ms = slot.saturating_add(1).saturating_mul(length_ms);
                Self { slot, shape: Shape::Whole, now_ms, end_ms }
            }
            Window::Calendar { period, time_zone } => Self::of_calendar(*period, time_zone, now_ms),
            Window::Rolling { seconds } => {
                Self::sliced(seconds.saturating_mul(SECOND_MS), Ends::WithTime, now_ms)
            }
            Window::InFlight => {
                let length_ms = u64::try_from(IN_FLIGHT_MAX.as_millis()).unwrap_or(u64::MAX);
                Self::sliced(length_ms, Ends::WhenGivenBack, now_ms)
            }
        }
    }

    /// That of the same `window` at another moment. Knows without asking the calendar when it is still the same one.
    pub fn moved_to(&self, window: &Window, now_ms: u64) -> Self {
        match self.shape {
            Shape::Whole if (self.now_ms..self.end_ms).contains(&now_ms) => Self { now_ms, ..*self },
            Shape::Whole | Shape::Sliced { .. } => Self::of(window, now_ms),
        }
    }

    fn sliced(length_ms: u64, ends: Ends, now_ms: u64) -> Self {
        let slice_ms = length_ms.div_ceil(SLICES).max(1);
        let slot = now_ms / slice_ms;
        let oldest = slot.saturating_sub(SLICES);
        let end_ms = slot_end(slot, slice_ms);
        Self { slot, shape: Shape::Sliced { oldest, slice_ms, ends }, now_ms, end_ms }
    }

    /// The slot is named by the second at which the period began.
    fn of_calendar(period: CalendarPeriod, time_zone: &str, now_ms: u64) -> Self {
        let zone = TimeZone::get(time_zone).unwrap_or(TimeZone::UTC);
        let bounds = i64::try_from(now_ms)
            .ok()
            .and_then(|now| Timestamp::from_millisecond(now).ok())
            .and_then(|now| bounds(period, &zone, now).ok());
        // Far beyond what a calendar knows there is one period without an end.
        let (start_s, end_s) = bounds.unwrap_or((0, i64::MAX));
        Self {
            slot: u64::try_from(start_s).unwrap_or(0),
            shape: Shape::Whole,
            now_ms,
            end_ms: u64::try_from(end_s).unwrap_or(0).saturating_mul(SECOND_MS),
        }
    }

    /// When some of what is taken is free again, where `oldest` is the oldest slot with something in it.
    pub fn reset(&self, oldest: Option<u64>) -> Option<Duration> {
        let end_ms = match self.shape {
            Shape::Whole => self.end_ms,
            Shape::Sliced { slice_ms, ends: Ends::WithTime, .. } => {
                slot_end(oldest.unwrap_or(self.slot), slice_ms)
            }
            Shape::Sliced { ends: Ends::WhenGivenBack, .. } => return None,
        };
        Some(Duration::from_millis(end_ms.saturating_sub(self.now_ms)))
    }

    /// Whether what is taken in this span still counts at the moment of `now`.
    pub fn counts_at(&self, now: &Self) -> bool {
        now.now_ms < self.end_ms
    }
}

/// When a slice counts no longer: it has left the window whole.
fn slot_end(slot: u64, slice_ms: u64) -> u64 {
    slot.saturating_add(SLICES + 1).saturating_mul(slice_ms)
}

/// Milliseconds since the Unix epoch; 0 before it.
pub fn unix_ms(now: SystemTime) -> u64 {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The seconds at which the period around `now` begins and ends.
fn bounds(period: CalendarPeriod, zone: &TimeZone, now: Timestamp) -> Result<(i64, i64), jiff::Error> {
    let today = zone.to_datetime(now).date();
    let (first, next) = match period {
        CalendarPeriod::Day => (today, today.tomorrow()?),
        CalendarPeriod::Week => {
            let first = today.checked_sub(i64::from(today.weekday().since(Weekday::Monday)).days())?;
            (first, first.checked_add(1.week())?)
        }
        CalendarPeriod::Month => {
            let first = today.first_of_month();
            (first, first.checked_add(1.month())?)
        }
        CalendarPeriod::Year => {
            let first = today.first_of_year();
            (first, first.checked_add(1.year())?)
        }
    };
    // Where clocks skip midnight, the day begins when they go on.
    let second = |date: Date| zone.to_timestamp(date.to_datetime(Time::MIN)).map(Timestamp::as_second);
    Ok((second(first)?, second(next)?))
}

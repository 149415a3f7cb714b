//! Tests of the arithmetic of limits; its windows are ACC-10.

use std::time::{Duration, SystemTime};

use tollgate_config::bundle::CalendarPeriod;

use super::*;

fn at(seconds: u64) -> u64 {
    unix_ms(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn claim(key: &str, limit: u64, take: u64) -> Claim {
    Claim {
        key: key.into(),
        limit,
        window: Arc::new(Window::Fixed { seconds: 60 }),
        take,
        charge: Charge::Current,
        unit: Unit::Requests,
        group: None,
        shadow: false,
        store: LimitStore::Shared,
    }
}

/// Decides at second 100 of claims whose counters stand at `used`.
fn decided(claims: &[Claim], used: &[u64]) -> Decision {
    let spans: Vec<Span> = claims.iter().map(|claim| Span::of(&claim.window, at(100))).collect();
    let counts: Vec<Count> = used.iter().map(|used| Count { used: *used, oldest: None }).collect();
    decide(claims, &spans, &counts, OnRefusal::Keep)
}

#[test]
fn what_fits_is_taken_and_what_does_not_is_refused() {
    let taken = decided(&[claim("a", 10, 4)], &[6]);
    assert_eq!(taken.refused, None);
    let reset = Some(Duration::from_secs(20));
    assert_eq!(taken.standings, [Standing { limit: 10, used: 10, remaining: 0, reset, over: false }]);
    let refused = decided(&[claim("a", 10, 5)], &[6]);
    assert_eq!(refused.refused, Some(0));
    assert_eq!(refused.standings, [Standing { limit: 10, used: 6, remaining: 4, reset, over: true }]);
}

#[test]
fn a_claim_that_only_asks_is_refused_once_the_limit_is_passed() {
    assert_eq!(decided(&[claim("a", 10, 0)], &[10]).refused, None);
    assert_eq!(decided(&[claim("a", 10, 0)], &[11]).refused, Some(0));
}

#[test]
fn all_are_taken_or_none() {
    let decision = decided(&[claim("a", 10, 1), claim("b", 10, 1)], &[3, 10]);
    assert_eq!(decision.refused, Some(1));
    assert_eq!(decision.standings.iter().map(|standing| standing.used).collect::<Vec<_>>(), [3, 10]);
}

#[test]
fn a_group_is_refused_only_together() {
    let member = |limit, shadow| Claim { group: Some(7), shadow, ..claim("a", limit, 1) };
    let other = |limit, shadow| Claim { key: "b".into(), ..member(limit, shadow) };
    assert_eq!(decided(&[member(1, false), other(2, false)], &[1, 1]).refused, None);
    assert_eq!(decided(&[member(1, false), other(2, false)], &[1, 2]).refused, Some(0));
    // One that refuses nobody does not let anybody in either.
    assert_eq!(decided(&[member(1, false), other(2, true)], &[1, 1]).refused, Some(0));
    assert_eq!(decided(&[member(1, true), other(2, true)], &[9, 9]).refused, None);
    // One that stands alone is not helped by a group.
    assert_eq!(decided(&[member(9, false), claim("c", 1, 1)], &[0, 1]).refused, Some(1));
}

#[test]
fn a_shadow_counts_and_refuses_nobody() {
    let decision = decided(&[Claim { shadow: true, ..claim("a", 1, 1) }], &[1]);
    assert_eq!(decision.refused, None);
    assert_eq!((decision.standings[0].used, decision.standings[0].over), (2, true));
}

#[test]
fn the_longest_wait_is_told_and_the_shortest_of_a_group() {
    let hour = Claim { window: Arc::new(Window::Fixed { seconds: 3600 }), ..claim("b", 1, 1) };
    assert_eq!(decided(&[claim("a", 1, 1), hour.clone()], &[1, 1]).refused, Some(1));
    let together = [Claim { group: Some(1), ..hour }, Claim { group: Some(1), ..claim("a", 1, 1) }];
    assert_eq!(decided(&together, &[1, 1]).refused, Some(1));
}

#[test]
fn claims_on_one_counter_see_each_other() {
    let twice = [claim("a", 3, 2), claim("a", 3, 2)];
    assert_eq!(decided(&twice, &[0, 0]).refused, Some(1));
    assert_eq!(decided(&twice, &[0, 0]).standings[0].used, 0);
    let twice = [claim("a", 4, 2), claim("a", 4, 2)];
    assert_eq!(decided(&twice, &[0, 0]).standings[1].used, 4);
}

#[test]
fn refused_requests_count_where_that_is_wanted() {
    let claims = [claim("a", 1, 5)];
    let spans = [Span::of(&claims[0].window, at(0))];
    let decision = decide(&claims, &spans, &[Count::default()], OnRefusal::Take);
    assert_eq!((decision.refused, decision.standings[0].used), (Some(0), 5));
}

#[test]
fn nothing_wraps() {
    let decision = decided(&[claim("a", u64::MAX, u64::MAX)], &[1]);
    assert_eq!(decision.refused, Some(0));
    let decision = decided(&[claim("a", u64::MAX, u64::MAX)], &[0]);
    assert_eq!((decision.refused, decision.standings[0].used), (None, AMOUNT_MAX));
}

#[test]
fn fixed_windows_are_those_of_the_epoch() {
    let week = Span::of(&Window::Fixed { seconds: 604_800 }, at(1_764_100_000));
    // 2025-11-20 and 2025-11-27 are Thursdays.
    assert_eq!((week.slot * 604_800, week.end_ms), (1_763_596_800, 1_764_201_600_000));
    // A month is 30 days, whatever the calendar says.
    let month = Span::of(&Window::Fixed { seconds: 2_592_000 }, at(1_764_100_000));
    assert_eq!((month.slot, month.end_ms), (680, 1_765_152_000_000));
    assert_eq!(Span::of(&Window::Fixed { seconds: 60 }, at(119)).slot, 1);
    assert_eq!(Span::of(&Window::Fixed { seconds: 60 }, at(120)).slot, 2);
    assert_eq!(Span::of(&Window::Fixed { seconds: 60 }, at(119)).reset(None), Some(Duration::from_secs(1)));
    assert_eq!(Span::of(&Window::Fixed { seconds: 0 }, at(1)).slot, 1000);
}

#[test]
fn calendars_follow_their_time_zone() {
    let span = |period, zone: &str, now| {
        let span = Span::of(&Window::Calendar { period, time_zone: zone.to_owned() }, at(now));
        (span.slot, span.end_ms / 1000)
    };
    // 2026-03-29 is the day on which Berlin loses an hour: midnight is 23:00 UTC the day before, and the next one 22:00.
    assert_eq!(span(CalendarPeriod::Day, "Europe/Berlin", 1_774_785_600), (1_774_738_800, 1_774_821_600));
    // Wednesday 2026-11-25 belongs to the week from Monday 23 to Sunday 29.
    assert_eq!(span(CalendarPeriod::Week, "UTC", 1_795_600_000), (1_795_392_000, 1_795_996_800));
    assert_eq!(span(CalendarPeriod::Month, "UTC", 1_795_600_000), (1_793_491_200, 1_796_083_200));
    assert_eq!(span(CalendarPeriod::Year, "UTC", 1_795_600_000), (1_767_225_600, 1_798_761_600));
    // One that is not known counts as UTC.
    assert_eq!(span(CalendarPeriod::Year, "Mars/Olympus", 1_795_600_000).0, 1_767_225_600);
    let window = |zone: &str| Window::Calendar { period: CalendarPeriod::Day, time_zone: zone.to_owned() };
    assert_eq!(check_window(&window("America/New_York")), Ok(()));
    assert!(check_window(&window("Mars/Olympus")).is_err());
}

#[test]
fn time_may_be_anything() {
    let windows = [
        Window::Fixed { seconds: u64::MAX },
        Window::Rolling { seconds: u64::MAX },
        Window::Rolling { seconds: 0 },
        Window::InFlight,
        Window::Calendar { period: CalendarPeriod::Week, time_zone: "Asia/Tokyo".to_owned() },
    ];
    let far = Duration::from_secs(u64::from(u32::MAX) * 1000);
    for window in windows {
        for now in [SystemTime::UNIX_EPOCH - far, SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + far] {
            let span = Span::of(&window, unix_ms(now));
            assert!(span.end_ms > span.now_ms, "{window:?} {now:?} {span:?}");
        }
    }
}

#[test]
fn a_span_moves_with_time() {
    for window in [Window::Fixed { seconds: 60 }, Window::Rolling { seconds: 60 }] {
        for now in [90, 100, 119, 120, 30] {
            let moved = Span::of(&window, at(100)).moved_to(&window, at(now));
            assert_eq!(moved, Span::of(&window, at(now)));
        }
    }
}

#[test]
fn a_rolling_window_counts_slices_whole() {
    let window = Window::Rolling { seconds: 60 };
    let mut counter = Counter::default();
    let take = |counter: &mut Counter, seconds, amount| {
        let span = Span::of(&window, at(seconds));
        counter.take(&span, amount, &span);
    };
    take(&mut counter, 100, 5);
    take(&mut counter, 130, 7);
    let used = |seconds| counter.count(&Span::of(&window, at(seconds))).used;
    assert_eq!([100, 130, 160, 161, 190, 191].map(used), [12, 12, 12, 7, 7, 0]);
    let count = counter.count(&Span::of(&window, at(150)));
    // What was taken at 100 is free at 161.
    assert_eq!(Span::of(&window, at(150)).reset(count.oldest), Some(Duration::from_secs(11)));
}

#[test]
fn what_is_in_flight_counts_until_it_is_given_back_or_forgotten() {
    let window = Window::InFlight;
    let then = Span::of(&window, at(1000));
    let mut counter = Counter::default();
    counter.take(&then, 2, &then);
    assert_eq!(then.reset(Some(then.slot)), None);
    counter.give_back(then.slot, 1);
    assert_eq!(counter.count(&Span::of(&window, at(4000))).used, 1);
    assert_eq!(counter.count(&Span::of(&window, at(4800))).used, 0);
    let slots = Claim { window: Arc::new(window), ..claim("a", 1, 1) };
    assert_eq!(slots.actual(7), 0);
}

#[test]
fn a_correction_goes_to_the_window_that_its_claim_says() {
    let (then, now) = (at(50), at(70));
    let window = Window::Fixed { seconds: 60 };
    let (then, now) = (Span::of(&window, then), Span::of(&window, now));
    let upper_bound = Claim { charge: Charge::Taken, ..claim("a", 9, 5) };
    let envoys = claim("a", 9, 5);
    // The window is over: there is nothing to put right in it.
    assert_eq!(correction(&upper_bound, &then, 5, 7, &now), None);
    assert_eq!(correction(&upper_bound, &then, 5, 3, &now), None);
    assert_eq!(correction(&upper_bound, &then, 5, 3, &then), Some(Correction::GiveBack(then, 2)));
    assert_eq!(correction(&envoys, &then, 5, 7, &now), Some(Correction::Take(now, 2)));
    assert_eq!(correction(&envoys, &then, 5, 5, &now), None);
}

//! What counters should say: a list of everything that was taken, which is added up anew each time. It knows nothing of the arithmetic that it judges.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate_config::bundle::{CalendarPeriod, LimitStore, Window};
use tollgate_policy::quota::{Charge, Claim, Unit};

/// A claim as a test writes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) key: u8,
    pub(crate) limit: u64,
    /// Which of the windows.
    pub(crate) window: usize,
    pub(crate) take: u64,
    pub(crate) is_upper_bound: bool,
    pub(crate) group: Option<u16>,
    pub(crate) shadow: bool,
    pub(crate) is_local: bool,
}

/// The windows: their name, their length and that of their slots in milliseconds, and how many slots count.
const WINDOWS: [(&str, u64, u64); 5] = [
    ("a minute", 60_000, 1),
    ("a rolling minute", 1000, 61),
    ("in flight", 60_000, 61),
    ("a day of the calendar", 86_400_000, 1),
    ("three seconds, rolling", 50, 61),
];

/// How many there are.
pub(crate) const WINDOW_COUNT: usize = WINDOWS.len();

fn window(at: usize) -> Window {
    match at {
        0 => Window::Fixed { seconds: 60 },
        1 => Window::Rolling { seconds: 60 },
        2 => Window::InFlight,
        3 => Window::Calendar { period: CalendarPeriod::Day, time_zone: "UTC".to_owned() },
        _ => Window::Rolling { seconds: 3 },
    }
}

impl Wish {
    /// As the gateway says it.
    pub(crate) fn claim(&self) -> Claim {
        Claim {
            key: format!("limit/{}", self.key).as_str().into(),
            limit: self.limit,
            window: Arc::new(window(self.window)),
            take: self.take,
            charge: if self.is_upper_bound { Charge::Taken } else { Charge::Current },
            unit: Unit::Tokens,
            group: self.group,
            shadow: self.shadow,
            store: if self.is_local { LimitStore::Local } else { LimitStore::Shared },
        }
    }

    fn counter(&self) -> Counter {
        (self.key, self.window, self.is_local)
    }
}

type Counter = (u8, usize, bool);

/// Everything that was taken.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// By counter and slot.
    taken: BTreeMap<(Counter, u64), i128>,
    /// What attempts wished, and when.
    open: BTreeMap<usize, (Vec<Wish>, u64)>,
}

impl Oracle {
    /// What counts for a wish at a moment.
    pub(crate) fn used(&self, wish: &Wish, now_ms: u64) -> u64 {
        let (_, slot_ms, slots) = WINDOWS[wish.window];
        let last = now_ms / slot_ms;
        let counts = |slot: u64| slot <= last && slot + slots > last;
        let taken =
            self.taken.iter().filter(|((counter, slot), _)| *counter == wish.counter() && counts(*slot));
        u64::try_from(taken.map(|(_, amount)| amount).sum::<i128>()).unwrap()
    }

    /// Whether an attempt is let in. What it takes is noted.
    pub(crate) fn reserve(&mut self, id: usize, wishes: &[Wish], now_ms: u64) -> bool {
        let over = |at: usize| {
            let wish = &wishes[at];
            let before = wishes[..at].iter().filter(|other| other.counter() == wish.counter());
            self.used(wish, now_ms) + before.map(|other| other.take).sum::<u64>() + wish.take > wish.limit
        };
        let refuses = |at: usize| {
            let in_group = |other: usize| !wishes[other].shadow && wishes[other].group == wishes[at].group;
            let group = || (0..wishes.len()).filter(|other| in_group(*other));
            !wishes[at].shadow && over(at) && (wishes[at].group.is_none() || group().all(over))
        };
        if (0..wishes.len()).any(refuses) {
            return false;
        }
        for wish in wishes {
            self.add(wish, now_ms, i128::from(wish.take));
        }
        self.open.insert(id, (wishes.to_vec(), now_ms));
        true
    }

    /// An attempt is over. `used` is for each wish.
    pub(crate) fn settle(&mut self, id: usize, used: &[u64], now_ms: u64) {
        let Some((wishes, then_ms)) = self.open.remove(&id) else { return };
        for (wish, used) in wishes.iter().zip(used) {
            let actual = if wish.window == 2 { 0 } else { *used };
            let more = i128::from(actual) - i128::from(wish.take);
            let at_ms = if more < 0 || wish.is_upper_bound { then_ms } else { now_ms };
            self.add(wish, at_ms, more);
        }
    }

    fn add(&mut self, wish: &Wish, at_ms: u64, amount: i128) {
        let (_, slot_ms, _) = WINDOWS[wish.window];
        *self.taken.entry((wish.counter(), at_ms / slot_ms)).or_default() += amount;
    }
}

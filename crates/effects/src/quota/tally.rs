//! What became of claims, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use tollgate_policy::quota::Unit;

/// Why a store did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreFailure {
    /// It did not in time.
    Late,
    /// It could not be reached, or the connection was cut.
    Unreachable,
    /// It said that it cannot.
    Refused,
    /// It has failed so often of late that it was not asked.
    Shunned,
    /// There is no room for another counter.
    Full,
}

/// Why something was not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unsettled {
    /// Too much else was waiting to be settled, or there was no room for another counter.
    Full,
    /// The store did not take it for too long.
    Expired,
    /// The store said that it never will.
    Refused,
    /// It was still waiting when the gateway ended.
    Ended,
}

impl StoreFailure {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Late, Self::Unreachable, Self::Refused, Self::Shunned, Self::Full];

    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Shunned => "shunned",
            Self::Full => "full",
        }
    }
}

impl Unsettled {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Full, Self::Expired, Self::Refused, Self::Ended];

    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Ended => "ended",
        }
    }
}

/// The units, with their names in metrics.
pub(super) const UNITS: [(Unit, &str); 3] =
    [(Unit::Requests, "requests"), (Unit::Tokens, "tokens"), (Unit::Money, "nanodollars")];

/// What became of claims, in numbers.
#[derive(Debug, Default)]
pub(super) struct Tally {
    settled: [AtomicU64; 3],
    unsettled: [[AtomicU64; 3]; 4],
    kept: [AtomicU64; 3],
    failures: [AtomicU64; 5],
    unchecked: AtomicU64,
    unsaved: AtomicU64,
}

impl Tally {
    /// So much more is counted where it should be than what was taken before.
    pub(super) fn settled(&self, unit: Unit, amount: u64) {
        add(self.settled.get(unit as usize), amount);
    }

    /// So much is not counted that should be.
    pub(super) fn unsettled(&self, why: Unsettled, unit: Unit, amount: u64) {
        add(self.unsettled.get(why as usize).and_then(|units| units.get(unit as usize)), amount);
    }

    /// So much was not used and is counted all the same, since it could not be given back.
    pub(super) fn kept(&self, unit: Unit, amount: u64) {
        add(self.kept.get(unit as usize), amount);
    }

    /// The store did not answer whether something is left.
    pub(super) fn failed(&self, why: StoreFailure) {
        add(self.failures.get(why as usize), 1);
    }

    /// A request was let in all the same.
    pub(super) fn unchecked(&self) {
        add(Some(&self.unchecked), 1);
    }

    /// What is settled could not be saved.
    pub(super) fn unsaved(&self) {
        add(Some(&self.unsaved), 1);
    }

    /// What was settled, by unit.
    pub(super) fn settled_of(&self, unit: Unit) -> u64 {
        of(self.settled.get(unit as usize))
    }

    /// What was not settled.
    pub(super) fn unsettled_of(&self, why: Unsettled, unit: Unit) -> u64 {
        of(self.unsettled.get(why as usize).and_then(|units| units.get(unit as usize)))
    }

    /// What was not given back.
    pub(super) fn kept_of(&self, unit: Unit) -> u64 {
        of(self.kept.get(unit as usize))
    }

    /// How often the store did not answer.
    pub(super) fn failures_of(&self, why: StoreFailure) -> u64 {
        of(self.failures.get(why as usize))
    }

    /// How often what is settled could not be saved.
    pub(super) fn unsaved_count(&self) -> u64 {
        of(Some(&self.unsaved))
    }

    /// How many requests were let in all the same.
    pub(super) fn unchecked_count(&self) -> u64 {
        of(Some(&self.unchecked))
    }
}

fn add(number: Option<&AtomicU64>, amount: u64) {
    if let Some(number) = number {
        number.fetch_add(amount, Ordering::Relaxed);
    }
}

fn of(number: Option<&AtomicU64>) -> u64 {
    number.map_or(0, |number| number.load(Ordering::Relaxed))
}

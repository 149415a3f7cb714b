//! The arithmetic of limits: what a request wants to take from counters, whether it fits, and what is corrected when it is over.
//!
//! Where counters are kept, and how they are read and written in one step, is for others. Every decision that they make is made here, so that they
//! agree. All amounts are `u64` and saturate at [`AMOUNT_MAX`].

mod counter;
mod span;

use std::sync::Arc;
use std::time::Duration;

use tollgate_config::bundle::{LimitStore, Window};
use tollgate_terms::HashedText;

pub use counter::Counter;
pub use span::{IN_FLIGHT_MAX, SLICES, Shape, Span, UnknownTimeZone, check_window, unix_ms};

/// The largest amount that a counter holds and that a limit may have: a script in Redis counts in doubles, which are exact up to here.
pub const AMOUNT_MAX: u64 = 1 << 53;

/// What a request wants to take from one counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Names the counter, without its window.
    pub key: HashedText,
    /// How much there is in each window. At most [`AMOUNT_MAX`].
    pub limit: u64,
    /// The window.
    pub window: Arc<Window>,
    /// What is taken before the request is made; 0 only asks whether the limit is passed already.
    pub take: u64,
    /// In which window's counter it is put right afterwards.
    pub charge: Charge,
    /// What is counted, for metrics.
    pub unit: Unit,
    /// Claims of one group are refused only together. `None` stands alone.
    pub group: Option<u16>,
    /// Whether it counts and refuses nobody.
    pub shadow: bool,
    /// Where the counter is.
    pub store: LimitStore,
}

/// In which window's counter a claim is put right when the request is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Charge {
    /// In the one of the moment at which the request is over, as Envoy does. What is given back goes to where it was taken.
    #[default]
    Current,
    /// In the one from which it was taken: what was taken was an upper bound.
    Taken,
}

/// What a claim counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Unit {
    /// Requests.
    #[default]
    Requests,
    /// Tokens.
    Tokens,
    /// Billionths of a dollar.
    Money,
}

/// What a store says of one counter, before anything is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// What is taken in the window.
    pub used: u64,
    /// The oldest slot with something in it.
    pub oldest: Option<u64>,
}

/// What becomes of counters when a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnRefusal {
    /// Nothing is taken.
    #[default]
    Keep,
    /// Everything is taken all the same, as the rate limit service of Envoy does.
    Take,
}

/// How a claim stands after a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How much there is in each window.
    pub limit: u64,
    /// What is taken of it by now.
    pub used: u64,
    /// What is left.
    pub remaining: u64,
    /// When some of it, or all, is free again; `None` for what is in flight: nobody knows.
    pub reset: Option<Duration>,
    /// Whether what the claim wanted to take did not fit.
    pub over: bool,
}

/// What is decided of some claims together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Which claim refuses the request, if one does: the one for which it would have to wait longest.
    pub refused: Option<usize>,
    /// How each claim stands now.
    pub standings: Vec<Standing>,
}

impl Claim {
    /// Whether it takes from the same counter as `other`, if that is at the same moment.
    pub fn shares_counter_with(&self, other: &Self) -> bool {
        self.key == other.key && self.window == other.window && self.store == other.store
    }

    /// What was used in the end, of which a claim knows that it is nothing when it bounds what is in flight.
    pub fn actual(&self, used: u64) -> u64 {
        match *self.window {
            Window::InFlight => 0,
            Window::Fixed { .. } | Window::Calendar { .. } | Window::Rolling { .. } => storable(used),
        }
    }
}

/// The most of `amount` that a counter holds.
pub fn storable(amount: u64) -> u64 {
    amount.min(AMOUNT_MAX)
}

/// The one comparison: whether `take` more still fits.
pub fn fits(used: u64, take: u64, limit: u64) -> bool {
    used.saturating_add(take) <= limit
}

/// What a counter holds when `amount` is added.
pub fn added(used: u64, amount: u64) -> u64 {
    storable(used.saturating_add(amount))
}

/// Decides of all `claims` together, whose counters stand at `counts` in the spans that `spans` says. They are taken together or not at all.
///
/// The three lists are equally long; what is missing at the end of a shorter one is not looked at.
pub fn decide(claims: &[Claim], spans: &[Span], counts: &[Count], on_refusal: OnRefusal) -> Decision {
    let mut standings = Vec::with_capacity(claims.len());
    for (at, ((claim, span), count)) in claims.iter().zip(spans).zip(counts).enumerate() {
        let before = taken_before(claims, at, claim);
        let used = added(count.used, before);
        let limit = storable(claim.limit);
        let over = !fits(used, storable(claim.take), limit);
        let oldest = count.oldest.or((before > 0).then_some(span.slot));
        standings.push(Standing { limit, used, remaining: 0, reset: span.reset(oldest), over });
    }
    let refused = refusing(claims, &standings);
    let takes = refused.is_none() || on_refusal == OnRefusal::Take;
    for (at, (standing, claim)) in standings.iter_mut().zip(claims).enumerate() {
        if takes {
            standing.used = added(standing.used, claim.take);
        } else {
            // Claims before it have taken nothing either.
            standing.used = counts.get(at).map_or(0, |count| count.used);
        }
        standing.remaining = standing.limit.saturating_sub(standing.used);
    }
    Decision { refused, standings }
}

/// What the claims before the one at `at` take from the same counter.
fn taken_before(claims: &[Claim], at: usize, claim: &Claim) -> u64 {
    let before = claims.iter().take(at).filter(|other| claim.shares_counter_with(other));
    before.fold(0, |sum, other| added(sum, other.take))
}

/// The claim that refuses: of those that do, the one with the longest wait, where a group waits for the first of its members.
fn refusing(claims: &[Claim], standings: &[Standing]) -> Option<usize> {
    let wait = |at: usize| standings.get(at).and_then(|standing| standing.reset).unwrap_or_default();
    let over = |at: usize| standings.get(at).is_some_and(|standing| standing.over);
    let counts = |claim: &Claim, group: u16| claim.group == Some(group) && !claim.shadow;
    let mut refusing: Option<usize> = None;
    for (at, claim) in claims.iter().enumerate() {
        if claim.shadow || !over(at) {
            continue;
        }
        let mut first = at;
        if let Some(group) = claim.group {
            for (other, _) in claims.iter().enumerate().filter(|(_, claim)| counts(claim, group)) {
                if !over(other) {
                    first = usize::MAX;
                    break;
                }
                if wait(other) < wait(first) {
                    first = other;
                }
            }
        }
        if first != usize::MAX && refusing.is_none_or(|found| wait(first) > wait(found)) {
            refusing = Some(first);
        }
    }
    refusing
}

/// What is put right of one claim when its request is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// So much more is taken in this span.
    Take(Span, u64),
    /// So much is given back to the slot of this span.
    GiveBack(Span, u64),
}

/// What is put right of `claim`, which had `taken` so much in the span `then` and used `actual` by `now`; `None` if nothing: it is
/// right, or it does not count any more.
pub fn correction(claim: &Claim, then: &Span, taken: u64, actual: u64, now: &Span) -> Option<Correction> {
    if actual > taken {
        let charged = match claim.charge {
            Charge::Current => now,
            Charge::Taken => then,
        };
        return charged.counts_at(now).then(|| Correction::Take(*charged, actual - taken));
    }
    (actual < taken && then.counts_at(now)).then(|| Correction::GiveBack(*then, taken - actual))
}

#[cfg(test)]
mod tests;

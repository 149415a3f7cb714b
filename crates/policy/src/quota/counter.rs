//! One counter: what was taken, by slot.

use super::{Count, Shape, Span, added};

/// What was taken from one counter. Plain state: whoever shares it between threads brings the lock.
///
/// A counter of a window that begins anew is for one slot; whoever keeps it has one for each.
// Invariant: slots are ordered and none is empty, so that there are at most a window's and those of clocks that are ahead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counter {
    slots: Vec<(u64, u64)>,
    /// When nothing in it counts any longer, in milliseconds since the Unix epoch.
    end_ms: u64,
}

impl Counter {
    /// One that holds what was written down of another.
    pub fn restored(slots: impl IntoIterator<Item = (u64, u64)>, end_ms: u64) -> Self {
        let mut counter = Self { slots: Vec::new(), end_ms };
        for (slot, amount) in slots {
            counter.add(slot, amount);
        }
        counter
    }

    /// What is taken, by slot.
    pub fn slots(&self) -> &[(u64, u64)] {
        &self.slots
    }

    /// How it stands in `span`.
    pub fn count(&self, span: &Span) -> Count {
        let first = match span.shape {
            Shape::Whole => span.slot,
            Shape::Sliced { oldest, .. } => oldest,
        };
        let counting = || self.slots.iter().filter(|(slot, _)| *slot >= first);
        Count {
            used: counting().fold(0, |sum, (_, amount)| added(sum, *amount)),
            oldest: counting().next().map(|(slot, _)| *slot),
        }
    }

    /// Takes so much in `span`, and drops what counts no longer at the moment of `now`.
    pub fn take(&mut self, span: &Span, amount: u64, now: &Span) {
        if let Shape::Sliced { oldest, .. } = now.shape {
            self.slots.retain(|(slot, _)| *slot >= oldest);
        }
        if amount > 0 {
            self.end_ms = self.end_ms.max(span.end_ms);
            self.add(span.slot, amount);
        }
    }

    fn add(&mut self, slot: u64, amount: u64) {
        match self.place(slot) {
            Ok(at) => {
                if let Some((_, held)) = self.slots.get_mut(at) {
                    *held = added(*held, amount);
                }
            }
            Err(_) if amount == 0 => {}
            Err(at) => self.slots.insert(at, (slot, added(0, amount))),
        }
    }

    /// Gives so much back that was taken from `slot`. No counter falls below 0.
    pub fn give_back(&mut self, slot: u64, amount: u64) {
        if let Ok(at) = self.place(slot)
            && let Some((_, held)) = self.slots.get_mut(at)
        {
            *held = held.saturating_sub(amount);
            if *held == 0 {
                self.slots.remove(at);
            }
        }
    }

    /// When nothing in it counts any longer, in milliseconds since the Unix epoch.
    pub fn end_ms(&self) -> u64 {
        self.end_ms
    }

    /// Whether nothing is taken.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn place(&self, slot: u64) -> Result<usize, usize> {
        self.slots.binary_search_by_key(&slot, |(slot, _)| *slot)
    }
}

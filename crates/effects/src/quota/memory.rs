//! Counters in memory, under one lock, which is held only while something is counted.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_config::bundle::Window;
use tollgate_policy::quota::{
    Claim, Correction, Count, Counter, Decision, OnRefusal, Shape, Span, decide, storable,
};

/// How many counters are forgotten at each request, at most, of those that count no longer: more than a request makes.
const FORGOTTEN_AT_ONCE: usize = 16;

/// Counters of this process.
pub(super) struct Memory {
    table: Mutex<Table>,
    counters_max: usize,
}

/// There is no room for another counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Default)]
struct Table {
    counters: HashMap<Name, Counter>,
    // Invariant: each counter is in one list, whose time, in milliseconds since the Unix epoch, is not after its end.
    ends: BTreeMap<u64, Vec<Name>>,
}

/// What a counter is found by.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Name {
    key: Arc<str>,
    window: Arc<Window>,
    /// A window that begins anew has a counter for each time that it does.
    slot: Option<u64>,
}

impl Name {
    fn new(claim: &Claim, span: &Span) -> Self {
        let slot = match span.shape {
            Shape::Whole => Some(span.slot),
            Shape::Sliced { .. } => None,
        };
        Self { key: Arc::clone(&claim.key), window: Arc::clone(&claim.window), slot }
    }
}

impl Memory {
    /// For at most so many counters.
    pub(super) fn new(counters_max: usize) -> Self {
        Self { table: Mutex::default(), counters_max }
    }

    /// Takes what `claims` want to take, or nothing.
    ///
    /// # Errors
    /// If there is no room for the counters that are new. Nothing is taken.
    pub(super) fn reserve(
        &self,
        claims: &[Claim],
        spans: &[Span],
        on_refusal: OnRefusal,
    ) -> Result<Decision, Full> {
        let names: Vec<Name> = claims.iter().zip(spans).map(|(claim, span)| Name::new(claim, span)).collect();
        let mut table = self.lock();
        if let Some(span) = spans.first() {
            table.forget(span.now_ms);
        }
        let mut room = self.counters_max.saturating_sub(table.counters.len());
        let mut counts = Vec::with_capacity(names.len());
        for ((name, span), claim) in names.iter().zip(spans).zip(claims) {
            let counter = table.counters.get(name);
            counts.push(counter.map_or_else(Count::default, |counter| counter.count(span)));
            if counter.is_none() && claim.take > 0 {
                room = room.checked_sub(1).ok_or(Full)?;
            }
        }
        let decision = decide(claims, spans, &counts, on_refusal);
        if decision.refused.is_none() || on_refusal == OnRefusal::Take {
            for ((name, span), claim) in names.into_iter().zip(spans).zip(claims) {
                table.take(name, span, storable(claim.take), span);
            }
        }
        Ok(decision)
    }

    /// Puts right what claims have taken, at the moment of `now`. Returns what of it there was no room for.
    pub(super) fn correct<'a>(
        &self,
        corrections: impl Iterator<Item = (&'a Claim, Correction, Span)>,
    ) -> Vec<(&'a Claim, u64)> {
        let mut lost = Vec::new();
        let mut table = self.lock();
        for (claim, correction, now) in corrections {
            match correction {
                Correction::Take(span, amount) => {
                    let name = Name::new(claim, &span);
                    if table.counters.len() >= self.counters_max && !table.counters.contains_key(&name) {
                        lost.push((claim, amount));
                    } else {
                        table.take(name, &span, amount, &now);
                    }
                }
                Correction::GiveBack(span, amount) => {
                    if let Some(counter) = table.counters.get_mut(&Name::new(claim, &span)) {
                        counter.give_back(span.slot, amount);
                    }
                }
            }
        }
        lost
    }

    /// How many counters there are.
    pub(super) fn len(&self) -> usize {
        self.lock().counters.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn take(&mut self, name: Name, span: &Span, amount: u64, now: &Span) {
        if amount == 0 {
            return;
        }
        match self.counters.entry(name) {
            Entry::Occupied(mut entry) => entry.get_mut().take(span, amount, now),
            Entry::Vacant(entry) => {
                self.ends.entry(span.end_ms).or_default().push(entry.key().clone());
                entry.insert(Counter::default()).take(span, amount, now);
            }
        }
    }

    /// Forgets some counters that count no longer at `now_ms`.
    fn forget(&mut self, now_ms: u64) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some(mut first) = self.ends.first_entry().filter(|first| *first.key() <= now_ms) else {
                return;
            };
            let name = first.get_mut().pop();
            if first.get().is_empty() {
                first.remove();
            }
            let Some(name) = name else { continue };
            match self.counters.get(&name).map(Counter::end_ms) {
                Some(end_ms) if end_ms > now_ms => self.ends.entry(end_ms).or_default().push(name),
                Some(_) => drop(self.counters.remove(&name)),
                None => {}
            }
        }
    }
}

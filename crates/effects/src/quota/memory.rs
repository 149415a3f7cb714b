//! Counters in memory, under one lock, which is held only while something is counted.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Whether there is a [`Saving`], known without the lock.
    is_saved: AtomicBool,
}

/// There is no room for another counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Default)]
struct Table {
    counters: HashMap<Name, Counter>,
    // Invariant: each counter is in one list, whose time, in milliseconds since the Unix epoch, is not after its end.
    ends: BTreeMap<u64, Vec<Name>>,
    /// What whoever saves counters has to know; `None` if nobody does.
    saving: Option<Saving>,
}

/// What is known of counters that are saved.
#[derive(Default)]
struct Saving {
    /// What attempts have taken that are not over yet, by slot. Of those that die with this process nobody knows what they used.
    open: HashMap<(Name, u64), u64>,
    /// The counters in which something was settled since this was last asked.
    changed: HashSet<Name>,
}

/// What a counter is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) key: Arc<str>,
    pub(super) window: Arc<Window>,
    /// A window that begins anew has a counter for each time that it does.
    pub(super) slot: Option<u64>,
}

/// Whether what is taken is put right later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// When the attempt is over.
    Settled,
    /// Never: it is right.
    Ever,
}

/// A key is mostly counted in one window, and need not be told apart by it.
impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
        self.slot.hash(state);
    }
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
        Self { table: Mutex::default(), counters_max, is_saved: AtomicBool::new(false) }
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
        until: Until,
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
                if let Some(saving) = table.saving.as_mut().filter(|_| claim.take > 0) {
                    saving.taken(&name, span, storable(claim.take), until);
                }
                table.take(name, span, storable(claim.take), span);
            }
        }
        Ok(decision)
    }

    /// Puts right what claims have taken, at the moment of `now`; `over` are those of an attempt that is over. Returns what there was no room for.
    pub(super) fn correct<'a>(
        &self,
        over: impl Iterator<Item = (&'a Claim, &'a Span)>,
        corrections: impl Iterator<Item = (&'a Claim, Correction, Span)>,
    ) -> Vec<(&'a Claim, u64)> {
        let mut lost = Vec::new();
        let mut table = self.lock();
        if let Some(saving) = &mut table.saving {
            over.for_each(|(claim, span)| saving.settled(Name::new(claim, span), span, storable(claim.take)));
        }
        for (claim, correction, now) in corrections {
            match correction {
                Correction::Take(span, amount) => {
                    let name = Name::new(claim, &span);
                    if table.counters.len() >= self.counters_max && !table.counters.contains_key(&name) {
                        lost.push((claim, amount));
                    } else {
                        table.note(&name);
                        table.take(name, &span, amount, &now);
                    }
                }
                Correction::GiveBack(span, amount) => {
                    let name = Name::new(claim, &span);
                    table.note(&name);
                    if let Some(counter) = table.counters.get_mut(&name) {
                        counter.give_back(span.slot, amount);
                    }
                }
            }
        }
        lost
    }

    /// Begins with these counters, and notes from now on what [`Memory::changed`] has to know. Those for which there is no room are left out.
    pub(super) fn save_from(&self, counters: impl IntoIterator<Item = (Name, Counter)>) {
        let mut table = self.lock();
        for (name, counter) in counters.into_iter().take(self.counters_max) {
            table.ends.entry(counter.end_ms()).or_default().push(name.clone());
            table.counters.insert(name, counter);
        }
        table.saving = Some(Saving::default());
        self.is_saved.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has to know what attempts are over.
    pub(super) fn is_saved(&self) -> bool {
        self.is_saved.load(Ordering::Relaxed)
    }

    /// The counters in which something was settled since this was last asked. Takes no longer if there are many.
    pub(super) fn changed(&self) -> HashSet<Name> {
        self.lock().saving.as_mut().map(|saving| std::mem::take(&mut saving.changed)).unwrap_or_default()
    }

    /// What is settled in each of these counters: all that is taken but for what attempts have taken that are not over.
    pub(super) fn settled(&self, names: &[Name]) -> Vec<Counter> {
        let table = self.lock();
        let settled = |name: &Name| {
            let Some(counter) = table.counters.get(name) else { return Counter::default() };
            let slots = counter.slots().iter().map(|(slot, held)| {
                let open = table.saving.as_ref().and_then(|saving| saving.open.get(&(name.clone(), *slot)));
                (*slot, held.saturating_sub(open.copied().unwrap_or_default()))
            });
            Counter::restored(slots, counter.end_ms())
        };
        names.iter().map(settled).collect()
    }

    /// How many counters there are.
    pub(super) fn len(&self) -> usize {
        self.lock().counters.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Saving {
    fn taken(&mut self, name: &Name, span: &Span, amount: u64, until: Until) {
        match until {
            Until::Settled => *self.open.entry((name.clone(), span.slot)).or_default() += amount,
            Until::Ever => drop(self.changed.insert(name.clone())),
        }
    }

    fn settled(&mut self, name: Name, span: &Span, amount: u64) {
        self.changed.insert(name.clone());
        if let Entry::Occupied(mut open) = self.open.entry((name, span.slot)) {
            *open.get_mut() = open.get().saturating_sub(amount);
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

impl Table {
    /// Notes that something was settled.
    fn note(&mut self, name: &Name) {
        if let Some(saving) = &mut self.saving {
            saving.changed.insert(name.clone());
        }
    }

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

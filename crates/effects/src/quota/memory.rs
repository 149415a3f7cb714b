//! Counters in memory, under one lock, which is held only while something is counted.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;
use tollgate_config::bundle::Window;
use tollgate_policy::quota::{
    Claim, Correction, Count, Counter, Decision, OnRefusal, Shape, Span, decide, storable,
};
use tollgate_terms::{EntryRef, Equivalent, FastMap, HashedText};

use super::CLAIMS;

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
    counters: FastMap<Name, Kept>,
    // Invariant: each counter is in one list, whose time, in milliseconds since the Unix epoch, is not after its end.
    ends: BTreeMap<u64, Vec<Name>>,
    /// What whoever saves counters has to know; `None` if nobody does.
    saving: Option<Saving>,
}

/// A counter, and what whoever saves it has to know.
#[derive(Default)]
struct Kept {
    counter: Counter,
    /// What attempts have taken that are not over yet, by slot. Of those that die with this process nobody knows what they used.
    open: Vec<(u64, u64)>,
    /// The round of saving in which it was last noted as changed.
    changed_in: u64,
}

/// What is known of counters that are saved.
#[derive(Default)]
struct Saving {
    /// Which time it is that changes are gathered, from 1.
    round: u64,
    /// The counters in which something was settled in this round, each once.
    changed: Vec<Name>,
}

/// What a counter is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) key: HashedText,
    pub(super) window: Arc<Window>,
    /// A window that begins anew has a counter for each time that it does.
    pub(super) slot: Option<u64>,
}

/// A name that is looked for.
#[derive(Clone, Copy)]
struct Sought<'a> {
    key: &'a HashedText,
    window: &'a Arc<Window>,
    slot: Option<u64>,
}

/// A claim of an attempt that is over.
pub(super) struct Over<'a> {
    pub(super) claim: &'a Claim,
    /// Where it was taken.
    pub(super) then: &'a Span,
    /// How much of it whoever saves counters has not counted as long as the attempt went on.
    pub(super) open: u64,
    /// What is put right.
    pub(super) correction: Option<Correction>,
    /// The moment at which it is.
    pub(super) now: Span,
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
impl Hash for Sought<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
        self.slot.hash(state);
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sought().hash(state);
    }
}

impl Equivalent<Name> for Sought<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        self.slot == name.slot && *self.key == name.key && *self.window == name.window
    }
}

impl<'a> Sought<'a> {
    fn new(claim: &'a Claim, span: &Span) -> Self {
        let slot = match span.shape {
            Shape::Whole => Some(span.slot),
            Shape::Sliced { .. } => None,
        };
        Self { key: &claim.key, window: &claim.window, slot }
    }

    fn name(self) -> Name {
        Name { key: self.key.clone(), window: Arc::clone(self.window), slot: self.slot }
    }
}

impl Name {
    fn sought(&self) -> Sought<'_> {
        Sought { key: &self.key, window: &self.window, slot: self.slot }
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
        let mut table = self.lock();
        if let Some(span) = spans.first() {
            table.forget(span.now_ms);
        }
        let mut room = self.counters_max.saturating_sub(table.counters.len());
        let mut counts = SmallVec::<[Count; CLAIMS]>::new();
        for (claim, span) in claims.iter().zip(spans) {
            let kept = table.counters.get(&Sought::new(claim, span));
            counts.push(kept.map_or_else(Count::default, |kept| kept.counter.count(span)));
            if kept.is_none() && claim.take > 0 {
                room = room.checked_sub(1).ok_or(Full)?;
            }
        }
        let decision = decide(claims, spans, &counts, on_refusal);
        if decision.refused.is_none() || on_refusal == OnRefusal::Take {
            for (claim, span) in claims.iter().zip(spans).filter(|(claim, _)| claim.take > 0) {
                let amount = storable(claim.take);
                let (kept, saving) = table.take(Sought::new(claim, span), span, amount, span);
                match (saving, until) {
                    (None, _) => {}
                    (Some(_), Until::Settled) => kept.opened(span.slot, amount),
                    (Some(saving), Until::Ever) => saving.note(kept, || Sought::new(claim, span).name()),
                }
            }
        }
        Ok(decision)
    }

    /// Puts right what claims have taken of attempts that are over. Returns what there was no room for.
    pub(super) fn correct<'a>(&self, over: &[Over<'a>]) -> Vec<(&'a Claim, u64)> {
        let mut lost = Vec::new();
        let mut table = self.lock();
        for &Over { claim, then, open, ref correction, ref now } in over {
            let given_back = match *correction {
                Some(Correction::GiveBack(_, amount)) => amount,
                Some(Correction::Take(..)) | None => 0,
            };
            if open > 0 || given_back > 0 {
                table.end(Sought::new(claim, then), then.slot, open, given_back);
            }
            if let Some(Correction::Take(span, amount)) = correction {
                let (sought, amount) = (Sought::new(claim, span), *amount);
                if table.counters.len() >= self.counters_max && !table.counters.contains_key(&sought) {
                    lost.push((claim, amount));
                } else if amount > 0
                    && let (kept, Some(saving)) = table.take(sought, span, amount, now)
                {
                    saving.note(kept, || sought.name());
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
            table.counters.insert(name, Kept { counter, ..Kept::default() });
        }
        table.saving = Some(Saving { round: 1, changed: Vec::new() });
        self.is_saved.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has to know what attempts are over.
    pub(super) fn is_saved(&self) -> bool {
        self.is_saved.load(Ordering::Relaxed)
    }

    /// The counters in which something was settled since this was last asked. Takes no longer if there are many.
    pub(super) fn changed(&self) -> Vec<Name> {
        let mut table = self.lock();
        let Some(saving) = &mut table.saving else { return Vec::new() };
        saving.round += 1;
        std::mem::take(&mut saving.changed)
    }

    /// What is settled in each of these counters: all that is taken but for what attempts have taken that are not over.
    pub(super) fn settled(&self, names: &[Name]) -> Vec<Counter> {
        let table = self.lock();
        names.iter().map(|name| table.counters.get(name).map(Kept::settled).unwrap_or_default()).collect()
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
    /// Notes that something was settled in a counter.
    fn note(&mut self, kept: &mut Kept, name: impl FnOnce() -> Name) {
        if std::mem::replace(&mut kept.changed_in, self.round) != self.round {
            self.changed.push(name());
        }
    }
}

impl Kept {
    /// Notes what an attempt has taken that has begun.
    fn opened(&mut self, slot: u64, amount: u64) {
        match self.open.iter_mut().find(|(open, _)| *open == slot) {
            Some((_, taken)) => *taken += amount,
            None => self.open.push((slot, amount)),
        }
    }

    /// Notes that it is over.
    fn over(&mut self, slot: u64, amount: u64) {
        if let Some(at) = self.open.iter().position(|(open, _)| *open == slot)
            && let Some((_, taken)) = self.open.get_mut(at)
        {
            *taken = taken.saturating_sub(amount);
            if *taken == 0 {
                self.open.swap_remove(at);
            }
        }
    }

    fn settled(&self) -> Counter {
        let open = |slot| self.open.iter().find(|(open, _)| *open == slot).map_or(0, |(_, taken)| *taken);
        let slots = self.counter.slots().iter().map(|(slot, held)| (*slot, held.saturating_sub(open(*slot))));
        Counter::restored(slots, self.counter.end_ms())
    }
}

impl Table {
    /// Takes so much from a counter, which is made if there is none. Returns it, and who has to know of it.
    fn take(
        &mut self,
        sought: Sought<'_>,
        span: &Span,
        amount: u64,
        now: &Span,
    ) -> (&mut Kept, Option<&mut Saving>) {
        let Self { counters, ends, saving } = self;
        let kept = match counters.entry_ref(&sought) {
            EntryRef::Occupied(entry) => entry.into_mut(),
            EntryRef::Vacant(entry) => {
                let name = sought.name();
                ends.entry(span.end_ms).or_default().push(name.clone());
                entry.insert_with_key(name, Kept::default())
            }
        };
        kept.counter.take(span, amount, now);
        (kept, saving.as_mut())
    }

    /// Ends what an attempt has taken from a counter: so much of it is open no more, and so much is given back.
    fn end(&mut self, sought: Sought<'_>, slot: u64, open: u64, given_back: u64) {
        let Some(kept) = self.counters.get_mut(&sought) else { return };
        if given_back > 0 {
            kept.counter.give_back(slot, given_back);
        }
        if let Some(saving) = &mut self.saving {
            kept.over(slot, open);
            saving.note(kept, || sought.name());
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
            match self.counters.get(&name).map(|kept| kept.counter.end_ms()) {
                Some(end_ms) if end_ms > now_ms => self.ends.entry(end_ms).or_default().push(name),
                Some(_) => drop(self.counters.remove(&name)),
                None => {}
            }
        }
    }
}

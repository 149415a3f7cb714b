//! What was taken for one attempt, until it is put right.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use smallvec::SmallVec;
use tollgate_policy::quota::{Charge, Claim, Span, Standing, correction, storable, unix_ms};
use tollgate_terms::AttemptId;

use super::memory::Over;
use super::redis::{Line, Settlement};
use super::{CLAIMS, Inner, Quotas, StoreFailure, Unsettled};
use crate::clock;

/// What was taken for one attempt. It is put right by [`Reservation::settle`].
///
/// One that is dropped instead stands as it was taken, but for what is in flight, which is given back.
#[must_use]
pub struct Reservation {
    quotas: Quotas,
    /// `None` for what is counted for good.
    id: Option<AttemptId>,
    claims: Arc<[Claim]>,
    spans: Vec<Span>,
    standings: Vec<Standing>,
    state: State,
}

/// Whether there is something to put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No.
    Over,
    /// Yes, in these stores.
    Open { local: Taken, shared: Taken, on_drop: OnDrop },
}

/// Whether claims are taken in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// They are not.
    Nothing,
    /// They are.
    All,
    /// The store was asked, and nobody knows whether it heard.
    Perhaps,
}

/// What becomes of something that nobody settles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnDrop {
    /// The attempt was made: it stands as it was taken.
    Stands,
    /// It was not: it is given back.
    GivesBack,
}

/// A request for which nothing is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The claims.
    pub claims: Arc<[Claim]>,
    /// Which of them refuses.
    pub at: usize,
    /// How each stands.
    pub standings: Vec<Standing>,
}

/// A request of which nobody knows whether something is left for it. If it is dropped, it is not made.
#[derive(Debug)]
#[must_use]
pub struct Unchecked {
    reservation: Reservation,
    /// Why.
    pub why: StoreFailure,
}

impl Reservation {
    /// Of claims that are not taken yet. What is taken by and by is given back if nobody says what became of them.
    pub(super) fn new(quotas: Quotas, id: Option<AttemptId>, claims: Arc<[Claim]>, spans: Vec<Span>) -> Self {
        let state = match id {
            Some(_) => {
                State::Open { local: Taken::Nothing, shared: Taken::Nothing, on_drop: OnDrop::GivesBack }
            }
            None => State::Over,
        };
        Self { quotas, id, claims, spans, standings: Vec::new(), state }
    }

    /// Their spans.
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    pub(super) fn id(&self) -> Option<&AttemptId> {
        self.id.as_ref()
    }

    pub(super) fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// Notes what is taken in memory.
    pub(super) fn note_local(&mut self, taken: Taken) {
        if let State::Open { local, .. } = &mut self.state {
            *local = taken;
        }
    }

    /// Notes what is taken in the shared store.
    pub(super) fn note_shared(&mut self, taken: Taken) {
        if let State::Open { shared, .. } = &mut self.state {
            *shared = taken;
        }
    }

    /// The attempt may be made.
    pub(super) fn granted(mut self, standings: Vec<Standing>) -> Self {
        self.standings = standings;
        self.made()
    }

    /// It may not. What is taken in the one store is given back when the other has refused.
    pub(super) fn refused(mut self, at: usize, standings: Vec<Standing>) -> Refused {
        let claims = Arc::clone(&self.claims);
        self.give_back();
        Refused { claims, at, standings }
    }

    fn made(mut self) -> Self {
        if let State::Open { on_drop, .. } = &mut self.state {
            *on_drop = OnDrop::Stands;
        }
        self
    }

    /// The claims.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// How each of them stands, what it has taken included. Empty where nobody knows.
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// The same, for whoever keeps them from now on.
    pub(crate) fn take_standings(&mut self) -> Vec<Standing> {
        std::mem::take(&mut self.standings)
    }

    /// Puts right what was taken, now that the attempt is over: `used` is what it used of each claim in all, what was taken before
    /// included; a claim without a number stands as it was taken. Never waits.
    ///
    /// What bounds how much is in flight is given back, whatever `used` says.
    pub fn settle(mut self, used: impl IntoIterator<Item = u64>, now: SystemTime) {
        self.put_right(used, now);
    }

    fn give_back(&mut self) {
        if matches!(self.state, State::Open { local: Taken::Nothing, shared: Taken::Nothing, .. }) {
            self.state = State::Over;
        }
        if self.state != State::Over {
            self.put_right(std::iter::repeat(0), clock::now());
        }
    }

    fn put_right(&mut self, used: impl IntoIterator<Item = u64>, now: SystemTime) {
        let State::Open { local, shared, .. } = std::mem::replace(&mut self.state, State::Over) else {
            return;
        };
        let Some(id) = self.id.take() else { return };
        let now_ms = unix_ms(now);
        let Inner { tally, memory, .. } = &*self.quotas.0;
        let is_noted = memory.is_saved() && local == Taken::All;
        let mut over = SmallVec::<[Over<'_>; CLAIMS]>::new();
        let mut lines = Vec::new();
        let mut used = used.into_iter();
        for (claim, then) in self.claims.iter().zip(&self.spans) {
            let actual = claim.actual(used.next().unwrap_or(claim.take));
            let is_shared = self.quotas.is_shared(claim);
            let taken = if is_shared { shared } else { local };
            let before = if taken == Taken::All { claim.take } else { 0 };
            // Of what perhaps is taken only the store knows what is right.
            let is_right = actual == before && (taken != Taken::Perhaps || claim.take == 0);
            if is_right || !is_shared {
                tally.settled(claim.unit, actual);
            }
            let open = if is_noted && !is_shared { storable(claim.take) } else { 0 };
            if is_right && open == 0 {
                continue;
            }
            let now = then.moved_to(&claim.window, now_ms);
            if is_shared {
                let charged = match claim.charge {
                    Charge::Current => now,
                    Charge::Taken => *then,
                };
                lines.push(Line { claim: claim.clone(), actual, then: *then, charged, now });
            } else {
                let correction = correction(claim, then, before, actual, &now);
                over.push(Over { claim, then, open, correction, now });
            }
        }
        if !over.is_empty() {
            for (claim, lost) in memory.correct(&over) {
                tally.unsettled(Unsettled::Full, claim.unit, lost);
            }
        }
        if let Some(store) = self.quotas.0.shared.as_ref().filter(|_| !lines.is_empty()) {
            store.settling.push(Settlement::new(id, lines, shared == Taken::All));
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        match self.state {
            State::Over => {}
            State::Open { on_drop: OnDrop::Stands, .. } => self.put_right([], clock::now()),
            State::Open { on_drop: OnDrop::GivesBack, .. } => self.give_back(),
        }
    }
}

impl Refused {
    /// The claim that refuses, and how it stands.
    pub fn reason(&self) -> Option<(&Claim, &Standing)> {
        Some((self.claims.get(self.at)?, self.standings.get(self.at)?))
    }
}

impl Unchecked {
    pub(super) fn new(reservation: Reservation, why: StoreFailure) -> Self {
        reservation.quotas.0.tally.failed(why);
        Self { reservation, why }
    }

    /// The claims.
    pub fn claims(&self) -> &[Claim] {
        &self.reservation.claims
    }

    /// Lets the request in all the same. What it uses is counted, as far as the store takes it by then.
    pub fn admit(self) -> Reservation {
        self.reservation.quotas.0.tally.unchecked();
        self.reservation.made()
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("Reservation");
        out.field("id", &self.id).field("claims", &self.claims).finish_non_exhaustive()
    }
}

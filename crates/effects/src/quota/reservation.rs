//! What was taken for one attempt, until it is put right.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use tollgate_policy::quota::{Claim, Correction, Span, Standing, correction};

use super::{Quotas, Unsettled};
use crate::clock;

/// What was taken for one attempt. It is put right by [`Reservation::settle`].
///
/// One that is dropped instead stands as it was taken, but for what is in flight, which is given back.
#[must_use]
pub struct Reservation {
    quotas: Quotas,
    /// `None` for what is counted for good.
    id: Option<Arc<str>>,
    claims: Vec<Claim>,
    spans: Vec<Span>,
    standings: Vec<Standing>,
    taken: Taken,
}

/// Whether the claims of a reservation are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// They are not, and there is nothing to put right.
    Over,
    /// They are not, and what is used will be.
    Nothing,
    /// They are.
    All,
}

/// A request for which nothing is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The claims.
    pub claims: Vec<Claim>,
    /// Which of them refuses.
    pub at: usize,
    /// How each stands.
    pub standings: Vec<Standing>,
}

/// A request of which nobody knows whether something is left for it.
#[derive(Debug)]
#[must_use]
pub struct Unchecked {
    reservation: Reservation,
    /// Why.
    pub why: super::StoreFailure,
}

impl Reservation {
    /// Of claims that are not taken yet.
    pub(super) fn new(quotas: Quotas, id: Option<Arc<str>>, claims: Vec<Claim>, spans: Vec<Span>) -> Self {
        Self { quotas, id, claims, spans, standings: Vec::new(), taken: Taken::Over }
    }

    /// They are taken.
    pub(super) fn granted(mut self, standings: Vec<Standing>) -> Self {
        self.taken = if self.id.is_some() { Taken::All } else { Taken::Over };
        self.standings = standings;
        self
    }

    /// They are not.
    pub(super) fn refused(mut self, at: usize, standings: Vec<Standing>) -> Refused {
        self.taken = Taken::Over;
        Refused { claims: std::mem::take(&mut self.claims), at, standings }
    }

    /// The claims.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// How each of them stands, what it has taken included. Empty where nobody knows.
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// Puts right what was taken, now that the attempt is over: `used` is what it used of each claim in all, what was taken before
    /// included; a claim without a number stands as it was taken. Never waits.
    ///
    /// What bounds how much is in flight is given back, whatever `used` says.
    pub fn settle(mut self, used: &[u64], now: SystemTime) {
        self.put_right(used, now);
    }

    fn put_right(&mut self, used: &[u64], now: SystemTime) {
        let taken = std::mem::replace(&mut self.taken, Taken::Over);
        if taken == Taken::Over {
            return;
        }
        let tally = &self.quotas.0.tally;
        let mut corrections: Vec<(&Claim, Correction, Span)> = Vec::with_capacity(self.claims.len());
        for (at, (claim, then)) in self.claims.iter().zip(&self.spans).enumerate() {
            let actual = claim.actual(used.get(at).copied().unwrap_or(claim.take));
            let before = if taken == Taken::All { claim.take } else { 0 };
            tally.settled(claim.unit, actual);
            if actual == before {
                continue;
            }
            let now = then.moved_to(&claim.window, now);
            corrections.extend(correction(claim, then, before, actual, &now).map(|it| (claim, it, now)));
        }
        if corrections.is_empty() {
            return;
        }
        for (claim, lost) in self.quotas.0.memory.correct(corrections.into_iter()) {
            tally.unsettled(Unsettled::Full, claim.unit, lost);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.taken != Taken::Over {
            self.put_right(&[], clock::now());
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
    pub(super) fn new(mut reservation: Reservation, why: super::StoreFailure) -> Self {
        reservation.taken = Taken::Over;
        Self { reservation, why }
    }

    /// The claims.
    pub fn claims(&self) -> &[Claim] {
        &self.reservation.claims
    }

    /// Lets the request in all the same. What it uses is counted, as far as the store takes it by then.
    pub fn admit(mut self) -> Reservation {
        self.reservation.quotas.0.tally.unchecked();
        if self.reservation.id.is_some() {
            self.reservation.taken = Taken::Nothing;
        }
        self.reservation
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Reservation")
            .field("id", &self.id)
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

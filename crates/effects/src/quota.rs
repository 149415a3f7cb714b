//! What is left of limits: takes claims from counters before a request is made, and puts them right when it is over.
//!
//! Whether something fits is decided by `tollgate_policy::quota`, for every store alike. Counters in memory answer at once; those that all gateways see are
//! asked over the network, have a deadline, and may fail: what that means is the caller's decision.

mod memory;
mod metrics;
mod reservation;
mod tally;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use tollgate_policy::quota::{Claim, OnRefusal, Span};

use memory::{Full, Memory};
use tally::Tally;

pub use metrics::QuotaMetrics;
pub use reservation::{Refused, Reservation, Unchecked};
pub use tally::{StoreFailure, Unsettled};

/// How many counters are kept in memory, unless said otherwise: some 50 MB when all are in use.
pub const COUNTERS_MAX: usize = 262_144;

/// The counters of all limits. Cloning it copies one pointer.
#[derive(Clone)]
pub struct Quotas(Arc<Inner>);

struct Inner {
    memory: Memory,
    tally: Tally,
}

/// What became of claims.
#[derive(Debug)]
#[must_use]
pub enum Reserved {
    /// They are taken.
    Granted(Reservation),
    /// They are not, since one of them does not fit.
    Refused(Refused),
    /// Nobody knows: the store does not answer.
    Failed(Unchecked),
}

/// How far the taking of claims has come.
#[derive(Debug)]
#[must_use]
pub enum Reserving {
    /// To its end.
    Now(Reserved),
}

impl Reserving {
    /// What became of the claims, if that is known without waiting.
    ///
    /// # Errors
    /// If it is not, itself.
    pub fn now(self) -> Result<Reserved, Self> {
        match self {
            Self::Now(reserved) => Ok(reserved),
        }
    }

    /// What became of the claims. Waits only where a store has to be asked.
    pub async fn reserved(self) -> Reserved {
        match self {
            Self::Now(reserved) => reserved,
        }
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self::in_memory(COUNTERS_MAX)
    }
}

impl Quotas {
    /// In the memory of this process, with at most so many counters.
    pub fn in_memory(counters_max: usize) -> Self {
        Self(Arc::new(Inner { memory: Memory::new(counters_max), tally: Tally::default() }))
    }

    /// Takes what `claims` want to take, all or nothing, for the attempt of this `id`: no two attempts have the same.
    pub fn reserve(&self, id: Arc<str>, claims: Vec<Claim>, now: SystemTime) -> Reserving {
        self.ask(Some(id), claims, OnRefusal::Keep, now)
    }

    /// Counts `claims` for good: there is nothing to put right afterwards.
    pub fn count(&self, claims: Vec<Claim>, on_refusal: OnRefusal, now: SystemTime) -> Reserving {
        self.ask(None, claims, on_refusal, now)
    }

    fn ask(
        &self,
        id: Option<Arc<str>>,
        claims: Vec<Claim>,
        on_refusal: OnRefusal,
        now: SystemTime,
    ) -> Reserving {
        let spans: Vec<Span> = claims.iter().map(|claim| Span::of(&claim.window, now)).collect();
        let decided = self.0.memory.reserve(&claims, &spans, on_refusal);
        let reservation = Reservation::new(self.clone(), id, claims, spans);
        Reserving::Now(match decided {
            Ok(decision) => match decision.refused {
                None => Reserved::Granted(reservation.granted(decision.standings)),
                Some(at) => Reserved::Refused(reservation.refused(at, decision.standings)),
            },
            Err(Full) => Reserved::Failed(self.failed(reservation, StoreFailure::Full)),
        })
    }

    fn failed(&self, reservation: Reservation, why: StoreFailure) -> Unchecked {
        self.0.tally.failed(why);
        Unchecked::new(reservation, why)
    }
}

impl fmt::Debug for Quotas {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Quotas(..)")
    }
}

//! What is left of limits: takes claims from counters before a request is made, and puts them right when it is over.
//!
//! Whether something fits is decided by `tollgate_policy::quota`, for every store alike. Counters in memory answer at once; those that all
//! gateways see are asked over the network, have a deadline, and may fail: what that means is the caller's decision.

mod calendar;
mod memory;
mod metrics;
mod redis;
mod reservation;
mod saved;
mod saver;
mod tally;

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tollgate_config::bundle::LimitStore;
use tollgate_policy::quota::{Claim, Decision, OnRefusal, Span, Standing, storable, unix_ms};
use tollgate_terms::AttemptId;

use calendar::Calendars;
use memory::{Full, Memory, Until};
use redis::{Numbered, Shared};
use reservation::Taken;
use saver::Saver;
use tally::Tally;

pub use metrics::QuotaMetrics;
pub use redis::{RedisPlace, RedisPlaceError, RedisSettings};
pub use reservation::{Refused, Reservation, Unchecked};
pub use tally::{StoreFailure, Unsettled};

/// How many counters are kept in memory, unless said otherwise: some 50 MB when all are in use.
pub const COUNTERS_MAX: usize = 262_144;

/// Most requests claim no more than this: what is gathered of so many claims needs no memory of its own.
const CLAIMS: usize = 4;

/// The counters of all limits. Cloning it copies one pointer.
#[derive(Clone)]
pub struct Quotas(Arc<Inner>);

struct Inner {
    calendars: Calendars,
    memory: Arc<Memory>,
    saver: OnceLock<Saver>,
    shared: Option<Shared>,
    tally: Arc<Tally>,
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
    /// To a store that is being asked.
    Later(Asked),
}

/// A store that is being asked, for at most its deadline. Where this is dropped, what was taken is given back.
#[must_use]
pub struct Asked(Pin<Box<dyn Future<Output = Reserved> + Send>>);

impl Asked {
    /// What became of the claims.
    pub async fn reserved(self) -> Reserved {
        self.0.await
    }
}

impl Reserving {
    /// What became of the claims, if that is known without waiting.
    ///
    /// # Errors
    /// If it is not, who is being asked.
    pub fn now(self) -> Result<Reserved, Asked> {
        match self {
            Self::Now(reserved) => Ok(reserved),
            Self::Later(asked) => Err(asked),
        }
    }

    /// What became of the claims. Waits only where a store has to be asked.
    pub async fn reserved(self) -> Reserved {
        match self {
            Self::Now(reserved) => reserved,
            Self::Later(asked) => asked.reserved().await,
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
        let memory = Arc::new(Memory::new(counters_max));
        Self(Arc::new(Inner {
            calendars: Calendars::default(),
            memory,
            saver: OnceLock::new(),
            shared: None,
            tally: Arc::default(),
        }))
    }

    /// In the memory of this process, and saved in this folder, which no other process may use. What was saved there before is counted on.
    ///
    /// Once a second what has changed is written, and once more by [`Quotas::flush`]. No request waits for that, and where it fails the counters
    /// in memory are what counts.
    ///
    /// # Errors
    /// If there can be no thread for it.
    pub fn saved_in(folder: &Path) -> std::io::Result<Self> {
        let quotas = Self::default();
        quotas.save_in(folder)?;
        Ok(quotas)
    }

    /// Saves the counters in memory as [`Quotas::saved_in`] does, from now on: those of claims that are for each gateway alone, where the others
    /// are in a Redis. To be called before the first claim, and once.
    ///
    /// # Errors
    /// If there can be no thread for it.
    pub fn save_in(&self, folder: &Path) -> std::io::Result<()> {
        let inner = &*self.0;
        if inner.saver.get().is_none() {
            let saver = Saver::start(folder, Arc::clone(&inner.memory), Arc::clone(&inner.tally))?;
            // Another call at the same time has set it: one of them saves.
            let _ = inner.saver.set(saver);
        }
        Ok(())
    }

    /// In a Redis, but for the claims that are for each gateway alone. Connects by and by: [`Quotas::up`] waits for that.
    ///
    /// # Errors
    /// If the settings cannot be used.
    pub fn in_redis(settings: &RedisSettings) -> Result<Self, RedisPlaceError> {
        let tally = Arc::<Tally>::default();
        let shared = Some(Shared::start(settings, Arc::clone(&tally))?);
        let memory = Arc::new(Memory::new(COUNTERS_MAX));
        Ok(Self(Arc::new(Inner {
            calendars: Calendars::default(),
            memory,
            saver: OnceLock::new(),
            shared,
            tally,
        })))
    }

    /// Waits for at most so long until the store can be asked, and says whether it can.
    pub async fn up(&self, within: Duration) -> bool {
        match &self.0.shared {
            Some(shared) => tokio::time::timeout(within, shared.up()).await.is_ok(),
            None => true,
        }
    }

    /// Whether the store can be asked.
    pub fn is_up(&self) -> bool {
        self.0.shared.as_ref().is_none_or(Shared::is_up)
    }

    /// Waits for at most so long until all that was settled is in the store, or saved. What is not in the store by then is told as lost, and
    /// nothing is taken up after.
    pub async fn flush(&self, within: Duration) {
        if let Some(saver) = self.0.saver.get() {
            saver.flush(within).await;
        }
        if let Some(shared) = &self.0.shared {
            shared.settling.flush(within).await;
        }
    }

    /// Takes what `claims` want to take, all or nothing, for the attempt of this `id`.
    ///
    /// Claims of one group are refused together only where they have the same store.
    pub fn reserve(&self, id: AttemptId, claims: impl Into<Arc<[Claim]>>, now: SystemTime) -> Reserving {
        self.ask(Some(id), claims.into(), OnRefusal::Keep, now)
    }

    /// Counts `claims` for good: there is nothing to put right afterwards.
    pub fn count(
        &self,
        claims: impl Into<Arc<[Claim]>>,
        on_refusal: OnRefusal,
        now: SystemTime,
    ) -> Reserving {
        self.ask(None, claims.into(), on_refusal, now)
    }

    fn is_shared(&self, claim: &Claim) -> bool {
        self.0.shared.is_some() && claim.store == LimitStore::Shared
    }

    fn ask(
        &self,
        id: Option<AttemptId>,
        claims: Arc<[Claim]>,
        on_refusal: OnRefusal,
        now: SystemTime,
    ) -> Reserving {
        let now_ms = unix_ms(now);
        let spans: Vec<Span> =
            claims.iter().map(|claim| self.0.calendars.span(&claim.window, now_ms)).collect();
        let reservation = Reservation::new(self.clone(), id, claims, spans);
        let asked = Asking { reservation, on_refusal, standings: Vec::new() };
        if asked.reservation.claims().iter().any(|claim| self.is_shared(claim)) {
            asked.both()
        } else {
            Reserving::Now(asked.local())
        }
    }
}

/// Claims on their way.
struct Asking {
    reservation: Reservation,
    on_refusal: OnRefusal,
    standings: Vec<Standing>,
}

impl Asking {
    /// All of them are in memory.
    fn local(mut self) -> Reserved {
        let memory = &self.reservation.quotas().0.memory;
        let (claims, spans) = (self.reservation.claims(), self.reservation.spans());
        match memory.reserve(claims, spans, self.on_refusal, self.until()) {
            Ok(Decision { refused: None, standings }) => {
                self.reservation.note_local(Taken::All);
                Reserved::Granted(self.reservation.granted(standings))
            }
            Ok(Decision { refused: Some(at), standings }) => {
                Reserved::Refused(self.reservation.refused(at, standings))
            }
            Err(Full) => Reserved::Failed(Unchecked::new(self.reservation, StoreFailure::Full)),
        }
    }

    /// Some are in the shared store: those in memory are taken first, and given back if the others are refused.
    fn both(mut self) -> Reserving {
        self.standings =
            self.reservation.claims().iter().zip(self.reservation.spans()).map(unknown).collect();
        let local = self.part(LimitStore::Local);
        if !local.places.is_empty() {
            let memory = &self.reservation.quotas().0.memory;
            match memory.reserve(&local.claims, &local.spans, self.on_refusal, self.until()) {
                Ok(decision) => match self.note(&local.places, decision) {
                    None => self.reservation.note_local(Taken::All),
                    Some(at) => return Reserving::Now(self.refused(at)),
                },
                Err(Full) => {
                    return Reserving::Now(Reserved::Failed(Unchecked::new(
                        self.reservation,
                        StoreFailure::Full,
                    )));
                }
            }
        }
        let connection = match &self.reservation.quotas().0.shared {
            Some(shared) => shared.connection(),
            None => Err(StoreFailure::Unreachable),
        };
        match connection {
            Ok(connection) => Reserving::Later(Asked(Box::pin(self.shared(connection)))),
            Err(why) => Reserving::Now(Reserved::Failed(Unchecked::new(self.reservation, why))),
        }
    }

    async fn shared(mut self, connection: Numbered) -> Reserved {
        let part = self.part(LimitStore::Shared);
        self.reservation.note_shared(Taken::Perhaps);
        let quotas = self.reservation.quotas().clone();
        let Some(shared) = &quotas.0.shared else {
            return Reserved::Failed(Unchecked::new(self.reservation, StoreFailure::Unreachable));
        };
        let id = self.reservation.id();
        match shared.reserve(&connection, id, &part.claims, &part.spans, self.on_refusal).await {
            Ok(decision) => match self.note(&part.places, decision) {
                None => {
                    self.reservation.note_shared(Taken::All);
                    Reserved::Granted(self.reservation.granted(self.standings))
                }
                Some(at) => {
                    self.reservation.note_shared(Taken::Nothing);
                    self.refused(at)
                }
            },
            Err(why) => Reserved::Failed(Unchecked::new(self.reservation, why)),
        }
    }

    fn until(&self) -> Until {
        if self.reservation.id().is_some() { Until::Settled } else { Until::Ever }
    }

    fn refused(self, at: usize) -> Reserved {
        Reserved::Refused(self.reservation.refused(at, self.standings))
    }

    fn part(&self, store: LimitStore) -> Part {
        let (claims, spans) = (self.reservation.claims(), self.reservation.spans());
        let mut part = Part { places: Vec::new(), claims: Vec::new(), spans: Vec::new() };
        let all = claims.iter().zip(spans).enumerate();
        for (at, (claim, span)) in all.filter(|(_, (claim, _))| claim.store == store) {
            part.places.push(at);
            part.claims.push(claim.clone());
            part.spans.push(*span);
        }
        part
    }

    /// Notes how some of the claims stand, and which of all refuses.
    fn note(&mut self, places: &[usize], decision: Decision) -> Option<usize> {
        for (place, standing) in places.iter().zip(decision.standings) {
            if let Some(slot) = self.standings.get_mut(*place) {
                *slot = standing;
            }
        }
        decision.refused.and_then(|at| places.get(at).copied())
    }
}

/// The claims of one store, and which of all they are.
struct Part {
    places: Vec<usize>,
    claims: Vec<Claim>,
    spans: Vec<Span>,
}

/// How a claim stands that nobody has asked for.
fn unknown((claim, span): (&Claim, &Span)) -> Standing {
    let limit = storable(claim.limit);
    Standing { limit, used: 0, remaining: limit, reset: span.reset(None), over: false }
}

impl fmt::Debug for Quotas {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Quotas(..)")
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Asked(..)")
    }
}

//! What holds for every store: it counts what it should have counted, whatever is asked of it in whatever order.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use proptest::collection::vec;
use proptest::prelude::*;
use tollgate_effects::quota::{Quotas, Reservation, Reserved};

use crate::attempt;
use crate::oracle::{Oracle, WINDOW_COUNT, Wish};

/// Something that happens.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    /// An attempt begins.
    Reserve(Vec<Wish>),
    /// One of those that have begun is over.
    Settle(prop::sample::Index, Vec<u64>),
    /// One of those that have begun is over, and nobody says what it used.
    Drop(prop::sample::Index),
    /// So many milliseconds go by.
    Wait(u64),
}

fn wish() -> impl Strategy<Value = Wish> {
    (
        0..3_u8,
        0..60_u64,
        0..WINDOW_COUNT,
        0..25_u64,
        any::<[bool; 3]>(),
        prop::option::weighted(0.3, 0..2_u16),
    )
        .prop_map(|(key, limit, window, take, [is_upper_bound, shadow, also], group)| Wish {
            key,
            limit,
            window,
            take,
            is_upper_bound,
            group,
            shadow: shadow && also,
            is_local: false,
        })
}

/// What may happen.
pub(crate) fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        6 => vec(wish(), 0..5).prop_map(Happening::Reserve),
        5 => (any::<prop::sample::Index>(), vec(0..40_u64, 5)).prop_map(|(at, used)| Happening::Settle(at, used)),
        1 => any::<prop::sample::Index>().prop_map(Happening::Drop),
        3 => (0..2_000_u64).prop_map(Happening::Wait),
        1 => (0..200_000_u64).prop_map(Happening::Wait),
    ];
    vec(one, 1..60)
}

/// A store, with what it should have counted.
pub(crate) struct Trial {
    quotas: Quotas,
    oracle: Oracle,
    running: BTreeMap<usize, (Reservation, Vec<Wish>)>,
    now_ms: u64,
    count: usize,
    name: String,
}

impl Trial {
    /// Ids and times are its own, so that many can use one store.
    pub(crate) fn new(quotas: Quotas, name: String, now_ms: u64) -> Self {
        Self { quotas, oracle: Oracle::default(), running: BTreeMap::new(), now_ms, count: 0, name }
    }

    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.now_ms)
    }

    /// What happens, here and there. `settled` waits until the store has taken what was settled.
    pub(crate) async fn happen(
        &mut self,
        happening: Happening,
        settled: impl AsyncFn(&Quotas),
    ) -> Result<(), TestCaseError> {
        match happening {
            Happening::Reserve(wishes) => self.reserve(&wishes).await,
            Happening::Settle(at, used) => {
                let Some(id) = self.picked(at) else { return Ok(()) };
                let Some((reservation, _)) = self.running.remove(&id) else { return Ok(()) };
                self.oracle.settle(id, &used, self.now_ms);
                reservation.settle(used.iter().copied(), self.now());
                settled(&self.quotas).await;
                Ok(())
            }
            Happening::Drop(at) => {
                let Some(id) = self.picked(at) else { return Ok(()) };
                let Some((reservation, wishes)) = self.running.remove(&id) else { return Ok(()) };
                let used: Vec<u64> = wishes.iter().map(|wish| wish.take).collect();
                self.oracle.settle(id, &used, self.now_ms);
                reservation.settle([], self.now());
                settled(&self.quotas).await;
                Ok(())
            }
            Happening::Wait(ms) => {
                self.now_ms += ms;
                Ok(())
            }
        }
    }

    fn picked(&self, at: prop::sample::Index) -> Option<usize> {
        let ids: Vec<usize> = self.running.keys().copied().collect();
        (!ids.is_empty()).then(|| *at.get(&ids))
    }

    async fn reserve(&mut self, wishes: &[Wish]) -> Result<(), TestCaseError> {
        let id = self.count;
        self.count += 1;
        let claims: Vec<_> = wishes.iter().map(Wish::claim).collect();
        let expected = self.oracle.reserve(id, wishes, self.now_ms);
        let name = format!("{}-{id}", self.name);
        let standings = match self.quotas.reserve(attempt(&name), claims, self.now()).reserved().await {
            Reserved::Granted(reservation) => {
                prop_assert!(expected, "{wishes:?} were let in at {}", self.now_ms);
                let standings = reservation.standings().to_vec();
                self.running.insert(id, (reservation, wishes.to_vec()));
                standings
            }
            Reserved::Refused(refused) => {
                prop_assert!(!expected, "{wishes:?} were refused at {}", self.now_ms);
                prop_assert!(refused.reason().is_some_and(|(_, standing)| standing.over));
                refused.standings
            }
            Reserved::Failed(unchecked) => panic!("{unchecked:?}"),
        };
        // The last claim on a counter sees all that was taken from it.
        for (wish, standing) in wishes.iter().zip(&standings).rev().take(1) {
            prop_assert_eq!(standing.used, self.oracle.used(wish, self.now_ms), "{:?}", wish);
        }
        Ok(())
    }
}

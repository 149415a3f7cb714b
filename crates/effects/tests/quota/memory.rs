//! Counters in memory.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tollgate_config::bundle::{LimitStore, Window};
use tollgate_effects::quota::{Quotas, Reserved, StoreFailure};
use tollgate_policy::quota::{Charge, Claim, OnRefusal, Unit};

use crate::attempt;
use crate::law::{Trial, happenings};
use crate::metric::value;

fn claim(key: &str, limit: u64, take: u64) -> Claim {
    Claim {
        key: key.into(),
        limit,
        window: Arc::new(Window::Fixed { seconds: 60 }),
        take,
        charge: Charge::Taken,
        unit: Unit::Tokens,
        group: None,
        shadow: false,
        store: LimitStore::Shared,
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn reserve(quotas: &Quotas, id: &str, claims: &[Claim], seconds: u64) -> Reserved {
    quotas.reserve(attempt(id), claims.to_vec(), at(seconds)).now().unwrap()
}

proptest! {
    #[test]
    fn counts_what_it_should_have_counted(happenings in happenings()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut trial = Trial::new(Quotas::default(), "a".to_owned(), 1_000_000_000_000);
        runtime.block_on(async {
            for happening in happenings {
                trial.happen(happening, async |_| {}).await?;
            }
            Ok::<_, TestCaseError>(())
        })?;
    }
}

#[test]
fn many_at_once_never_take_more_than_there_is() {
    let quotas = Quotas::default();
    let threads: Vec<_> = (0..50)
        .map(|thread| {
            let quotas = quotas.clone();
            std::thread::spawn(move || {
                let mut granted = 0;
                for round in 0..20 {
                    let id = format!("{thread}-{round}");
                    if let Reserved::Granted(reservation) = reserve(&quotas, &id, &[claim("a", 5000, 30)], 1)
                    {
                        granted += 1;
                        reservation.settle([10], at(1));
                    }
                }
                granted
            })
        })
        .collect();
    let granted: u64 = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    assert!(granted <= 500, "{granted}");
    let Reserved::Granted(last) = reserve(&quotas, "last", &[claim("a", 5000, 0)], 1) else {
        panic!("passed")
    };
    assert_eq!(last.standings()[0].used, granted * 10);
    assert_eq!(value(&quotas, "tollgate_quota_settled_total{unit=\"tokens\"}"), granted * 10);
}

#[test]
fn what_is_dropped_stands_and_what_is_in_flight_is_given_back() {
    let quotas = Quotas::default();
    let slots = Claim { window: Arc::new(Window::InFlight), ..claim("slots", 1, 1) };
    // The clock of the day, since a drop reads it.
    let now = SystemTime::now();
    let hour = Claim { window: Arc::new(Window::Fixed { seconds: u64::from(u32::MAX) }), ..claim("a", 9, 5) };
    let ask =
        |id: &str| quotas.reserve(attempt(id), vec![hour.clone(), slots.clone()], now).now().expect("memory");
    let Reserved::Granted(first) = ask("1") else { panic!("refused") };
    let Reserved::Refused(second) = ask("2") else { panic!("two at once") };
    assert_eq!(second.standings[1].reset, None);
    drop(first);
    let Reserved::Refused(third) = ask("3") else { panic!("it was not charged") };
    assert_eq!((third.standings[0].used, third.standings[1].used), (5, 0));
}

#[test]
fn a_full_store_says_so_until_counters_are_over() {
    let quotas = Quotas::in_memory(2);
    for key in ["a", "b"] {
        assert!(matches!(reserve(&quotas, key, &[claim(key, 9, 1)], 1), Reserved::Granted(_)));
    }
    let Reserved::Failed(unchecked) = reserve(&quotas, "c", &[claim("c", 9, 1)], 1) else { panic!("room") };
    assert_eq!(unchecked.why, StoreFailure::Full);
    unchecked.admit().settle([4], at(2));
    assert_eq!(value(&quotas, "tollgate_quota_admitted_unchecked_total"), 1);
    assert_eq!(value(&quotas, "tollgate_quota_unsettled_total{reason=\"full\",unit=\"tokens\"}"), 4);
    assert!(matches!(reserve(&quotas, "a", &[claim("a", 9, 1)], 2), Reserved::Granted(_)));
    assert!(matches!(reserve(&quotas, "c", &[claim("c", 9, 1)], 61), Reserved::Granted(_)));
    assert_eq!(value(&quotas, "tollgate_quota_counters"), 1);
}

#[test]
fn what_is_only_counted_is_never_put_right() {
    let quotas = Quotas::default();
    let count = |take| {
        quotas.count(vec![claim("a", 3, take)], OnRefusal::Take, at(1)).now().expect("memory does not wait")
    };
    let Reserved::Granted(counted) = count(2) else { panic!("refused") };
    drop(counted);
    let Reserved::Refused(refused) = count(2) else { panic!("let in") };
    assert_eq!(refused.standings[0].used, 4);
}

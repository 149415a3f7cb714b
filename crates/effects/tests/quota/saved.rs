//! Counters in memory that are saved in a folder.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tollgate_config::bundle::{LimitStore, Window};
use tollgate_effects::quota::{Quotas, RedisPlace, RedisSettings, Reservation, Reserved};
use tollgate_policy::quota::{Charge, Claim, OnRefusal, Unit};

use crate::attempt;

/// No test waits longer.
const PATIENCE: Duration = Duration::from_secs(10);

fn claim(key: &str, window: Window, take: u64) -> Claim {
    Claim {
        key: key.into(),
        limit: 1_000_000,
        window: Arc::new(window),
        take,
        charge: Charge::Taken,
        unit: Unit::Tokens,
        group: None,
        shadow: false,
        store: LimitStore::Local,
    }
}

/// A window that is not over while this is tested: it began with the epoch.
fn long(key: &str, take: u64) -> Claim {
    claim(key, Window::Fixed { seconds: 1 << 40 }, take)
}

fn now() -> SystemTime {
    SystemTime::now()
}

fn reserve(quotas: &Quotas, id: &str, claims: &[Claim]) -> Reservation {
    match quotas.reserve(attempt(id), claims.to_vec(), now()).now() {
        Ok(Reserved::Granted(reservation)) => reservation,
        other => panic!("{other:?}"),
    }
}

/// What is taken of each of these.
fn used(quotas: &Quotas, claims: &[Claim]) -> Vec<u64> {
    let asked: Vec<_> = claims.iter().map(|claim| Claim { take: 0, ..claim.clone() }).collect();
    reserve(quotas, "asks", &asked).standings().iter().map(|standing| standing.used).collect()
}

fn flush(quotas: &Quotas) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(quotas.flush(PATIENCE));
}

/// What a process finds that begins now.
fn begun(folder: &Path) -> Quotas {
    Quotas::saved_in(folder).unwrap()
}

#[test]
fn what_is_settled_survives_and_what_is_open_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let claims = [long("a", 100), claim("b", Window::Rolling { seconds: 3600 }, 10), long("asked", 0)];
    let in_flight = claim("c", Window::InFlight, 1);
    let quotas = begun(folder.path());
    reserve(&quotas, "1", &claims).settle([30, 10, 7], now());
    // One that nobody settles stands as it was taken.
    drop(reserve(&quotas, "2", &claims));
    let open = reserve(&quotas, "3", &[&claims[..], std::slice::from_ref(&in_flight)].concat());
    flush(&quotas);
    assert_eq!(used(&quotas, &claims), [230, 30, 7]);
    assert_eq!(used(&begun(folder.path()), &claims), [130, 20, 7]);

    // What is settled meanwhile is added to what was found.
    open.settle([50, 20, 1, 1], now());
    flush(&quotas);
    let next = begun(folder.path());
    assert_eq!(used(&next, &claims), [180, 40, 8]);
    assert_eq!(used(&next, &[in_flight]), [0]);
    reserve(&next, "4", &claims).settle([1, 1, 1], now());
    flush(&next);
    assert_eq!(used(&begun(folder.path()), &claims), [181, 41, 9]);
}

#[test]
fn what_is_counted_for_good_is_saved_without_being_settled() {
    let folder = tempfile::tempdir().expect("a folder");
    let quotas = begun(folder.path());
    let counted = quotas.count(vec![long("a", 5)], OnRefusal::Keep, now()).now();
    assert!(matches!(counted, Ok(Reserved::Granted(_))));
    flush(&quotas);
    assert_eq!(used(&begun(folder.path()), &[long("a", 0)]), [5]);
}

#[test]
fn windows_that_are_over_are_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let quotas = begun(folder.path());
    let second = claim("a", Window::Fixed { seconds: 1 }, 1);
    reserve(&quotas, "1", &[second, long("b", 2)]).settle([1, 2], now());
    flush(&quotas);
    std::thread::sleep(Duration::from_millis(1100));
    let text = || std::fs::read_to_string(folder.path().join("counters")).expect("a file");
    let next = begun(folder.path());
    reserve(&next, "2", &[long("b", 1)]).settle([1], now());
    flush(&next);
    assert!(!text().contains("\"a\"") && text().contains("\"b\""), "{}", text());
}

#[test]
fn what_is_broken_is_passed_over_and_written_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("counters");
    for broken in ["", "tollgate-counters 1 00000000\n{}\n", "tollgate-counters 9 00000000\n", "{}"] {
        std::fs::write(&file, broken).expect("written");
        let quotas = begun(folder.path());
        assert_eq!(used(&quotas, &[long("a", 0)]), [0]);
        reserve(&quotas, "1", &[long("a", 3)]).settle([3], now());
        flush(&quotas);
        assert_eq!(used(&begun(folder.path()), &[long("a", 0)]), [3]);
    }
}

#[test]
fn it_is_saved_by_and_by_and_where_that_fails_all_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let quotas = begun(folder.path());
    reserve(&quotas, "1", &[long("a", 3)]).settle([3], now());
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(used(&begun(folder.path()), &[long("a", 0)]), [3]);

    let nowhere = folder.path().join("nowhere");
    let quotas = begun(&nowhere);
    reserve(&quotas, "2", &[long("a", 3)]).settle([3], now());
    flush(&quotas);
    assert_eq!(used(&quotas, &[long("a", 0)]), [3]);
    // Once it can, what has changed since is not forgotten.
    std::fs::create_dir(&nowhere).expect("a folder");
    flush(&quotas);
    assert_eq!(used(&begun(&nowhere), &[long("a", 0)]), [3]);
}

#[test]
fn counters_of_this_gateway_alone_are_saved_beside_a_redis() {
    let folder = tempfile::tempdir().expect("a folder");
    // Nobody listens there, and none of these claims is for it.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let beside = || {
        let place = RedisPlace::parse(&format!("redis://{free}")).expect("an address");
        let quotas = Quotas::in_redis(&RedisSettings::new(place)).expect("settings");
        quotas.save_in(folder.path()).expect("a thread");
        quotas
    };
    let quotas = beside();
    reserve(&quotas, "1", &[long("a", 100)]).settle([30], now());
    flush(&quotas);
    let next = beside();
    assert_eq!(used(&next, &[long("a", 0)]), [30]);
    reserve(&next, "2", &[long("a", 5)]).settle([5], now());
    flush(&next);
    assert_eq!(used(&begun(folder.path()), &[long("a", 0)]), [35]);
}

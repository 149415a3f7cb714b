//! What it costs to reserve and settle in memory: no sockets. Prints a line of JSON for each case, medians over rounds.
//!
//! Times are those that the thread has worked, so that what else a machine does counts less.

#![expect(clippy::disallowed_methods, reason = "a claim is made at some time")]

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use tollgate_config::bundle::{CalendarPeriod, LimitStore, Window};
use tollgate_effects::quota::{Quotas, Reserved};
use tollgate_policy::quota::{Charge, Claim, Unit};
use tollgate_terms::AttemptId;

/// The gateway's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 15;
const BATCH: u32 = 20_000;

/// As many callers as have counters.
const KEYS: usize = 10_000;

fn main() -> std::io::Result<()> {
    let month = Window::Calendar { period: CalendarPeriod::Month, time_zone: "Europe/Berlin".to_owned() };
    let minute = Window::Fixed { seconds: 60 };
    let cases = [
        ("one, fixed", vec![minute.clone()]),
        ("one, calendar", vec![month.clone()]),
        ("one, rolling", vec![Window::Rolling { seconds: 3600 }]),
        (
            "two token limits and a budget",
            vec![minute.clone(), Window::Fixed { seconds: 3600 }, month.clone()],
        ),
        (
            "the same and a bound in flight",
            vec![minute, Window::Fixed { seconds: 3600 }, month, Window::InFlight],
        ),
    ];
    let mut out = std::io::stdout().lock();
    for (name, windows) in cases {
        let mut each_ns: Vec<u64> = Vec::new();
        let quotas = Quotas::default();
        let claims: Vec<Arc<[Claim]>> = (0..KEYS).map(|key| claims(&windows, key)).collect();
        for round in 0..=ROUNDS {
            let took_ns = batch(&quotas, &claims);
            // The first round warms caches.
            if round > 0 {
                each_ns.push(took_ns);
            }
        }
        each_ns.sort_unstable();
        let median = each_ns.get(each_ns.len() / 2).copied().unwrap_or_default();
        writeln!(out, "{{\"case\":\"{name}\",\"reserve_and_settle_ns\":{median}}}")?;
    }
    Ok(())
}

fn claims(windows: &[Window], key: usize) -> Arc<[Claim]> {
    let claim = |(at, window): (usize, &Window)| Claim {
        key: format!("BackendTrafficPolicy/default/limits/{at}:user-{key}").as_str().into(),
        limit: 1 << 50,
        window: Arc::new(window.clone()),
        take: 700,
        charge: Charge::Taken,
        unit: Unit::Tokens,
        group: None,
        shadow: false,
        store: LimitStore::Shared,
    };
    windows.iter().enumerate().map(claim).collect()
}

/// Nanoseconds for one reservation that is settled. Making the claims is not counted.
fn batch(quotas: &Quotas, claims: &[Arc<[Claim]>]) -> u64 {
    let id = AttemptId { request_id: "5b3c0c4e-8a0c-4a52-9d3e-7c1f0e9b2a11".into(), attempt: 1 };
    let now = SystemTime::now();
    let before = worked();
    for (at, claims) in (0..BATCH).zip(claims.iter().cycle()) {
        let now = now + Duration::from_micros(u64::from(at));
        match quotas.reserve(id.clone(), Arc::clone(claims), now).now() {
            Ok(Reserved::Granted(reservation)) => reservation.settle([500; 4], now),
            other => drop(black_box(other)),
        }
    }
    let took = worked().saturating_sub(before);
    u64::try_from(took.as_nanos() / u128::from(BATCH)).unwrap_or(u64::MAX)
}

/// How long this thread has worked.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

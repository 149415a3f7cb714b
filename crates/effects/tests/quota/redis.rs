//! Counters in a real Redis: the same law as in memory, and what becomes of them when the server, or the way to it, fails (ACC-08).

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tollgate_config::bundle::{LimitStore, Window};
use tollgate_effects::quota::{Quotas, Reserved};
use tollgate_policy::quota::{Charge, Claim, Unit};

use crate::attempt;
use crate::law::{Trial, happenings};
use crate::metric::value;
use crate::proxy::Proxy;
use crate::server::{Server, quotas_at};

pub(crate) const TOKENS: &str = "tollgate_quota_settled_total{unit=\"tokens\"}";
pub(crate) const LOST: &str = "tollgate_quota_unsettled_total";

pub(crate) fn claim(take: u64) -> Claim {
    Claim {
        key: "a".into(),
        limit: 1 << 40,
        window: Arc::new(Window::Fixed { seconds: u64::from(u32::MAX) }),
        take,
        charge: Charge::Taken,
        unit: Unit::Tokens,
        group: None,
        shadow: false,
        store: LimitStore::Shared,
    }
}

pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// What becomes of attempts that nobody checks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Mode {
    /// They are let in.
    #[default]
    Open,
    /// They are refused.
    Closed,
}

/// How long attempts waited to be let in or refused, and what they used.
#[derive(Default)]
pub(crate) struct Load {
    pub(crate) mode: Mode,
    pub(crate) waits: Vec<Duration>,
    pub(crate) used: u64,
    pub(crate) unchecked: u64,
    pub(crate) refused: u64,
}

impl Load {
    /// So many attempts one after the other, of which each reserves 100 and uses 40.
    pub(crate) async fn run(&mut self, quotas: &Quotas, name: &str, count: usize, pause: Duration) {
        for at in 0..count {
            let began = Instant::now();
            let asked = quotas.reserve(attempt(&format!("{name}-{at}")), vec![claim(100)], now());
            let reservation = match asked.reserved().await {
                Reserved::Granted(reservation) => reservation,
                Reserved::Failed(unchecked) => {
                    self.unchecked += 1;
                    match self.mode {
                        Mode::Open => unchecked.admit(),
                        Mode::Closed => {
                            self.waits.push(began.elapsed());
                            drop(unchecked);
                            tokio::time::sleep(pause).await;
                            continue;
                        }
                    }
                }
                Reserved::Refused(_) => {
                    self.refused += 1;
                    continue;
                }
            };
            self.waits.push(began.elapsed());
            self.used += 40;
            reservation.settle([40], now());
            tokio::time::sleep(pause).await;
        }
    }

    /// The wait that so many of a hundred do not exceed.
    pub(crate) fn percentile(&mut self, percent: usize) -> Duration {
        self.waits.sort_unstable();
        self.waits[(self.waits.len() * percent / 100).min(self.waits.len() - 1)]
    }

    pub(crate) fn print(&mut self, name: &str) {
        let shares = [50, 99, 100].map(|percent| self.percentile(percent));
        println!(
            "{name}: {} attempts, {} unchecked, added p50 {:?}, p99 {:?}, max {:?}",
            self.waits.len(),
            self.unchecked,
            shares[0],
            shares[1],
            shares[2],
        );
    }
}

/// Nothing is left to settle after a while.
pub(crate) async fn settled(quotas: &Quotas) {
    for _ in 0..1500 {
        if value(quotas, "tollgate_quota_settlements_waiting") == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(if quotas.is_up() { 1 } else { 10 })).await;
    }
    panic!("not settled");
}

#[tokio::test]
async fn counts_what_it_should_have_counted() {
    let server = Server::new(&[]);
    let quotas = server.patient_quotas().await;
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut runner =
            TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
        runner
            .run(&(happenings(), any::<u64>()), |(happenings, id)| {
                server.ask(&["FLUSHALL"]);
                let mut trial = Trial::new(quotas.clone(), id.to_string(), 1_000_000_000_000);
                runtime.block_on(async {
                    for happening in happenings {
                        trial.happen(happening, async |quotas| settled(quotas).await).await?;
                    }
                    Ok(())
                })
            })
            .unwrap();
    })
    .await
    .unwrap();
}

/// Part of ACC-10.
#[tokio::test]
async fn every_key_ends_and_has_one_hash_tag() {
    let server = Server::new(&[]);
    let quotas = server.patient_quotas().await;
    let windows = [Window::Fixed { seconds: 60 }, Window::Rolling { seconds: 60 }, Window::InFlight];
    let claims = windows.map(|window| Claim { window: Arc::new(window), ..claim(5) });
    let Reserved::Granted(reservation) =
        quotas.reserve(attempt("x"), claims.to_vec(), now()).reserved().await
    else {
        panic!("refused")
    };
    for round in 0..2 {
        let keys = server.ask(&["KEYS", "*"]);
        assert_eq!(keys.lines().count(), 4, "{round}: {keys}");
        for key in keys.lines() {
            assert!(key.starts_with("{tollgate}:"), "{key}");
            assert!(server.ask(&["PTTL", key]).parse::<i64>().unwrap() > 0, "{key}");
        }
        if round == 0 {
            // Charged, not given back, so that the counter of what is in flight stays with what is one.
            let more = quotas.reserve(attempt("y"), vec![claims[2].clone()], now()).reserved().await;
            assert!(matches!(more, Reserved::Granted(_)));
            std::mem::forget(more);
            server.ask(&["DEL", "{tollgate}:attempt:y/1"]);
        }
    }
    reservation.settle([7, 7, 7], now());
    settled(&quotas).await;
    assert_eq!(server.ask(&["PTTL", "{tollgate}:attempt:x/1"]).parse::<i64>().map(|ttl| ttl > 0), Ok(true));
}

#[tokio::test]
async fn a_healthy_one_counts_to_the_token() {
    let server = Server::new(&[]);
    let quotas = server.quotas().await;
    let mut load = Load::default();
    load.run(&quotas, "well", 2000, Duration::ZERO).await;
    settled(&quotas).await;
    load.print("healthy");
    assert_eq!((server.counted("a"), value(&quotas, TOKENS)), (load.used, load.used));
    assert_eq!(value(&quotas, "tollgate_quota_admitted_unchecked_total"), load.unchecked);
}

#[tokio::test]
async fn a_restart_loses_what_was_there_and_no_more() {
    let mut server = Server::new(&[]);
    let quotas = server.quotas().await;
    let mut load = Load::default();
    load.run(&quotas, "before", 200, Duration::ZERO).await;
    settled(&quotas).await;
    let before = load.used;
    let restarted = std::thread::spawn(move || {
        server.restart(Duration::from_millis(700));
        server
    });
    load.run(&quotas, "while", 400, Duration::from_millis(3)).await;
    let server = restarted.join().unwrap();
    settled(&quotas).await;
    load.print("restart");
    let counted = server.counted("a");
    assert_eq!(value(&quotas, TOKENS), load.used);
    assert_eq!(value(&quotas, LOST), 0);
    assert_eq!(value(&quotas, "tollgate_quota_admitted_unchecked_total"), load.unchecked);
    assert!(
        load.unchecked > 0 && counted <= load.used && counted >= load.used - before - 40 * 10,
        "{counted}"
    );
}

#[tokio::test]
async fn one_that_reads_its_disk_first_is_waited_for() {
    let slow = [
        "--enable-debug-command",
        "yes",
        "--key-load-delay",
        "500",
        "--loading-process-events-interval-bytes",
        "1024",
    ];
    let mut server = Server::new(&slow);
    let quotas = server.quotas().await;
    let mut load = Load::default();
    load.run(&quotas, "before", 100, Duration::ZERO).await;
    settled(&quotas).await;
    server.ask(&["DEBUG", "POPULATE", "3000"]);
    assert_eq!(server.ask(&["SAVE"]), "OK");
    let restarted = std::thread::spawn(move || {
        server.restart(Duration::ZERO);
        server
    });
    load.run(&quotas, "while", 400, Duration::from_millis(4)).await;
    let server = restarted.join().unwrap();
    settled(&quotas).await;
    load.print("loading");
    assert!(value(&quotas, "tollgate_quota_store_failures_total{reason=\"refused\"}") > 0);
    assert_eq!((server.counted("a"), value(&quotas, LOST)), (load.used, 0));
}

#[tokio::test]
async fn one_that_hangs_costs_little_and_counts_afterwards() {
    let server = Server::new(&[]);
    let quotas = server.quotas().await;
    let mut load = Load::default();
    load.run(&quotas, "before", 200, Duration::ZERO).await;
    server.signal("STOP");
    load.run(&quotas, "while", 1000, Duration::from_millis(4)).await;
    server.signal("CONT");
    settled(&quotas).await;
    load.print("hung");
    assert_eq!(
        (server.counted("a"), value(&quotas, TOKENS), value(&quotas, LOST)),
        (load.used, load.used, 0)
    );
    // Only the few before it was shunned have waited, and those that a busy machine holds up.
    let slow = load.waits.iter().filter(|wait| **wait > Duration::from_millis(20)).count();
    assert!(slow <= 40, "{slow}");
}

#[tokio::test]
async fn one_that_was_emptied_never_has_more_than_was_settled() {
    let server = Server::new(&[]);
    let quotas = server.patient_quotas().await;
    let mut load = Load::default();
    load.run(&quotas, "before", 100, Duration::ZERO).await;
    let Reserved::Granted(running) =
        quotas.reserve(attempt("running"), vec![claim(100)], now()).reserved().await
    else {
        panic!("refused")
    };
    settled(&quotas).await;
    server.ask(&["FLUSHALL"]);
    running.settle([70], now());
    let mut after = Load::default();
    after.run(&quotas, "after", 100, Duration::ZERO).await;
    settled(&quotas).await;
    assert_eq!(server.counted("a"), after.used + 70);
}

#[tokio::test]
async fn one_that_takes_nothing_is_tried_until_it_does() {
    for (name, break_it, mend_it) in [
        (
            "out of memory",
            ["CONFIG", "SET", "maxmemory", "1"].as_slice(),
            ["CONFIG", "SET", "maxmemory", "0"].as_slice(),
        ),
        ("read only", &["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
    ] {
        let server = Server::new(&["--replica-serve-stale-data", "yes"]);
        let quotas = server.quotas().await;
        let mut load = Load::default();
        load.run(&quotas, "before", 50, Duration::ZERO).await;
        settled(&quotas).await;
        let before = load.unchecked;
        server.ask(break_it);
        load.run(&quotas, "while", 300, Duration::from_millis(2)).await;
        assert_eq!(load.unchecked - before, 300, "{name}");
        assert!(value(&quotas, "tollgate_quota_settlements_waiting") > 0);
        server.ask(mend_it);
        settled(&quotas).await;
        load.print(name);
        assert_eq!((server.counted("a"), value(&quotas, LOST)), (load.used, 0), "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_settled_is_told_to_the_token() {
    let server = Server::new(&[]);
    let quotas = server.quotas().await;
    let mut load = Load::default();
    load.run(&quotas, "before", 50, Duration::ZERO).await;
    settled(&quotas).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    load.run(&quotas, "while", 50, Duration::ZERO).await;
    quotas.flush(Duration::from_millis(300)).await;
    assert_eq!(value(&quotas, LOST), load.used - server.counted("a"));
    assert_eq!(value(&quotas, LOST), 50 * 40);
}

#[tokio::test]
async fn answers_that_are_lost_do_not_count_twice() {
    let server = Server::new(&[]);
    let proxy = Proxy::start(server.port()).await;
    let quotas = quotas_at(proxy.port(), Duration::from_millis(50)).await;
    let mut load = Load::default();
    for round in 0..20 {
        load.run(&quotas, &format!("well{round}"), 5, Duration::ZERO).await;
        // The server does what it is told, and nobody hears of it.
        proxy.swallow_then_cut();
        load.run(&quotas, &format!("cut{round}"), 5, Duration::from_millis(5)).await;
        assert!(quotas.up(Duration::from_secs(5)).await);
    }
    settled(&quotas).await;
    load.print("cut");
    assert!(load.unchecked > 0);
    assert_eq!(
        (server.counted("a"), value(&quotas, TOKENS), value(&quotas, LOST)),
        (load.used, load.used, 0)
    );
}

/// ACC-13.
#[test]
fn a_settlement_that_is_replayed_counts_once() {
    let server = Server::new(&[]);
    let script = include_str!("../../src/quota/redis/settle.lua");
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let keys = ["3", "{t}:attempt:1", "{t}:fixed1:1:a", "{t}:fixed1:1:a"];
                let arguments = ["60000", "0", "0", "40", "", "", "60000"];
                server.ask(&[&["EVAL", script][..], &keys, &arguments].concat());
            });
        }
    });
    assert_eq!(server.counted("a"), 40);
}

#[tokio::test]
async fn one_that_is_given_up_gives_back_what_it_has_taken() {
    let server = Server::new(&[]);
    let quotas = server.quotas().await;
    for at in 0..50_u64 {
        let asked = quotas.reserve(attempt(&format!("gone-{at}")), vec![claim(100)], now());
        let _ =
            tokio::time::timeout(Duration::from_micros(at * 20), asked.reserved()).await.map(|reserved| {
                if let Reserved::Granted(reservation) = reserved {
                    reservation.settle([0], now());
                }
            });
    }
    settled(&quotas).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.counted("a"), 0);
}

#[tokio::test]
async fn what_is_for_each_gateway_alone_stays_in_it() {
    let server = Server::new(&[]);
    let quotas = server.patient_quotas().await;
    let local = Claim { store: LimitStore::Local, key: "l".into(), limit: 9, ..claim(5) };
    let shared = Claim { limit: 5, ..claim(5) };
    let both = |id: &str| quotas.reserve(attempt(id), vec![shared.clone(), local.clone()], now());
    let Reserved::Granted(first) = both("1").reserved().await else { panic!("refused") };
    assert_eq!(first.standings().iter().map(|standing| standing.used).collect::<Vec<_>>(), [5, 5]);
    first.settle([5, 2], now());
    // The shared one refuses: what was taken in memory is given back.
    let Reserved::Refused(second) = both("2").reserved().await else { panic!("let in") };
    assert_eq!(second.at, 0);
    let Ok(Reserved::Granted(alone)) = quotas.reserve(attempt("3"), vec![local.clone()], now()).now() else {
        panic!("waits")
    };
    assert_eq!(alone.standings()[0].used, 7);
    assert_eq!(server.counted("l"), 0);
    assert_eq!(server.counted("a"), 5);
}

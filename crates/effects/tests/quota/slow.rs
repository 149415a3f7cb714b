//! What asking a Redis adds to a request while the Redis is well, far away, hangs or is gone, and requests are let in or refused then.

use std::time::Duration;

use crate::metric::value;
use crate::proxy::Proxy;
use crate::redis::{LOST, Load, Mode, TOKENS, settled};
use crate::server::{Server, quotas_at};

/// How long is waited for an answer, and how much longer on a machine that is busy.
const DEADLINE: Duration = Duration::from_millis(50);
const SLACK: Duration = Duration::from_millis(500);

const ATTEMPTS: usize = 1000;
const PAUSE: Duration = Duration::from_millis(3);

/// What is wrong with a Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Healthy,
    TwoSecondsAway,
    Hung,
    Gone,
}

/// Attempts while it is so, from the moment at which it begins.
async fn added(state: State, mode: Mode) {
    let mut server = Server::new(&[]);
    let proxy = Proxy::start(server.port()).await;
    let quotas = quotas_at(proxy.port(), DEADLINE).await;
    let mut calm = Load::default();
    calm.run(&quotas, "calm", 200, Duration::ZERO).await;
    settled(&quotas).await;
    match state {
        State::Healthy => {}
        State::TwoSecondsAway => proxy.delay(Duration::from_secs(2)),
        State::Hung => server.signal("STOP"),
        State::Gone => server.end(),
    }
    let mut load = Load { mode, ..Load::default() };
    load.run(&quotas, "while", ATTEMPTS, PAUSE).await;
    let waited = load.waits.iter().filter(|wait| **wait > DEADLINE / 2).count();
    println!(
        "| {state:?} | {mode:?} | {:.2} ms | {:.2} ms | {:.1} ms | {waited} | {} |",
        load.percentile(50).as_secs_f64() * 1e3,
        load.percentile(99).as_secs_f64() * 1e3,
        load.percentile(100).as_secs_f64() * 1e3,
        load.unchecked,
    );
    assert!(load.percentile(100) < DEADLINE + SLACK, "{state:?}, {mode:?}");
    if state == State::Healthy {
        return;
    }
    assert!(load.unchecked >= 990, "{state:?}, {mode:?}: {}", load.unchecked);
    // The breaker is open: the usual attempt does not wait.
    assert!(load.percentile(50) < DEADLINE / 2, "{state:?}, {mode:?}: {:?}", load.percentile(50));
    match state {
        State::Healthy | State::Gone => return,
        State::TwoSecondsAway => proxy.delay(Duration::ZERO),
        State::Hung => server.signal("CONT"),
    }
    // What was let in unasked is charged, what was refused is not, and what the Redis has done late counts once.
    settled(&quotas).await;
    let used = calm.used + load.used;
    assert_eq!((server.counted("a"), value(&quotas, TOKENS), value(&quotas, LOST)), (used, used, 0));
}

#[tokio::test]
async fn what_a_redis_adds_is_bounded_whatever_becomes_of_it() {
    println!("| Redis | failure mode | p50 | p99 | longest | waited | unchecked of {ATTEMPTS} |");
    // Alone, since that is told as what a Redis adds.
    for mode in [Mode::Open, Mode::Closed] {
        added(State::Healthy, mode).await;
    }
    tokio::join!(
        added(State::TwoSecondsAway, Mode::Open),
        added(State::TwoSecondsAway, Mode::Closed),
        added(State::Hung, Mode::Open),
        added(State::Hung, Mode::Closed),
        added(State::Gone, Mode::Open),
        added(State::Gone, Mode::Closed),
    );
}

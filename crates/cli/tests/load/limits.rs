//! `tollgate ratelimit` behind a real Envoy's own filter: it lets in, refuses and charges, is killed and hangs.

use std::thread;
use std::time::Duration;

use crate::gateway::{eventually, signal};
use crate::limiter::{Answer, Checks, FILTER_WAITS, Limited, USED, ask};

/// How much longer than the filter waits a request may take, on a machine that is busy.
const SLACK: Duration = Duration::from_secs(2);

fn statuses(at: std::net::SocketAddr, path: &str, user: &str, count: usize) -> Vec<u16> {
    (0..count).map(|_| ask(at, path, user).status).collect()
}

/// Requests at either listener while the service is away; the longest that one took.
fn away(limited: &Limited, what: &str) -> Duration {
    let mut longest = Duration::ZERO;
    for round in 0..10 {
        for (at, expected) in [(limited.open, 200), (limited.closed, 500)] {
            let answer = ask(at, "/requests", "while");
            assert_eq!(answer.status, expected, "{what}, round {round}: {}", answer.body);
            longest = longest.max(answer.took);
        }
    }
    println!(
        "rate limit service {what}: 10 passed where failures are let in, 10 got 500 where not, longest {longest:?}"
    );
    assert!(longest < FILTER_WAITS + SLACK, "{what}: {longest:?}");
    longest
}

#[test]
fn an_envoy_lets_in_what_is_within_limits_and_passes_refusals_on() {
    let limited = Limited::start(Checks::No);
    for left in ["2", "1", "0"] {
        let within = ask(limited.open, "/requests", "a");
        assert_eq!((within.status, within.header("ratelimit-remaining")), (200, Some(left)));
        assert_eq!(within.header("ratelimit-limit"), Some("3"));
    }
    let is_refused = |answer: Answer| {
        assert_eq!(answer.status, 429);
        assert_eq!(answer.header("ratelimit-remaining"), Some("0"));
        assert!(answer.header("ratelimit-reset").is_some_and(|reset| reset.parse::<u64>().is_ok()));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        let error = &body["error"];
        assert_eq!(error["type"], "rate_limit_error", "{body}");
        assert_eq!(error["code"], "rate_limit_exceeded", "{body}");
        assert!(error["param"].is_null() && error.get("param").is_some(), "{body}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.starts_with("Rate limit reached: 3 per year."), "{message}");
    };
    is_refused(ask(limited.open, "/requests", "a"));
    is_refused(ask(limited.closed, "/requests", "a"));
    assert_eq!(ask(limited.closed, "/requests", "b").status, 200);
}

#[test]
fn an_envoy_charges_what_an_answer_used_when_it_is_over() {
    let limited = Limited::start(Checks::No);
    for round in 1..=3 {
        assert_eq!(ask(limited.closed, "/tokens", "a").status, 200, "round {round}");
        // Envoy does not wait for that: who asks at once may be before it.
        eventually("it is charged", || limited.counted("total_hits", "tokens") == round * USED);
    }
    let refused = ask(limited.closed, "/tokens", "a");
    assert_eq!((refused.status, refused.header("ratelimit-limit")), (429, Some("20")));
    thread::sleep(Duration::from_millis(200));
    // The answer of Envoy itself has no usage: nothing more is charged.
    assert_eq!(limited.counted("total_hits", "tokens"), 3 * USED);
    assert_eq!(ask(limited.closed, "/tokens", "b").status, 200, "another user");
}

#[test]
fn without_its_rate_limit_service_an_envoy_does_what_it_is_told_for_that() {
    let mut limited = Limited::start(Checks::No);
    assert_eq!(statuses(limited.closed, "/requests", "a", 4), [200, 200, 200, 429]);
    limited.service_dies();
    away(&limited, "killed");
    limited.service_starts_again();
    println!("asked again after {:?}", limited.wait_until_asked());
    // What it counted in its memory is gone.
    assert_eq!(statuses(limited.closed, "/requests", "a", 4), [200, 200, 200, 429]);
}

#[test]
fn a_rate_limit_service_that_hangs_costs_each_request_what_the_filter_waits() {
    let limited = Limited::start(Checks::No);
    assert_eq!(statuses(limited.closed, "/requests", "a", 4), [200, 200, 200, 429]);
    signal(limited.service.id(), "-STOP");
    assert!(away(&limited, "hung") >= FILTER_WAITS);
    signal(limited.service.id(), "-CONT");
    println!("asked again after {:?}", limited.wait_until_asked());
    // It has forgotten nothing.
    assert_eq!(ask(limited.closed, "/requests", "a").status, 429);
}

#[test]
fn a_rate_limit_service_that_hangs_is_not_asked_where_its_health_is() {
    let limited = Limited::start(Checks::Yes);
    eventually("it is healthy", || limited.is_healthy());
    signal(limited.service.id(), "-STOP");
    eventually("it is not", || !limited.is_healthy());
    assert!(away(&limited, "hung and known to be") < FILTER_WAITS);
    signal(limited.service.id(), "-CONT");
    eventually("it is again", || limited.is_healthy());
    limited.wait_until_asked();
    assert_eq!(statuses(limited.closed, "/requests", "a", 4), [200, 200, 200, 429]);
}

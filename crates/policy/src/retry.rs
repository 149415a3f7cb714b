//! Whether to try again, and after how long.

use std::time::Duration;

use tollgate_config::bundle::Retry;
use tollgate_terms::{BackendFault, Fault, GatewayFault};

/// The longest `Retry-After` that the gateway waits out itself; beyond it the client is told instead.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Whether `fault` is one that `retry` names.
///
/// Only faults before the first body byte come here: what the client has begun to receive is never tried again.
pub fn is_retryable(retry: &Retry, fault: &Fault) -> bool {
    let fault = match fault {
        Fault::Backend(fault) => fault,
        // The same as a backend that says so itself.
        Fault::Gateway(GatewayFault::Overloaded) => return retry.on_statuses.contains(&503),
        // Without a credential, no connection is worth making.
        Fault::Gateway(GatewayFault::Credential) => {
            return retry.on_connect_failure || retry.on_statuses.contains(&503);
        }
        Fault::Client(_)
        | Fault::Gateway(
            GatewayFault::Draining | GatewayFault::Behind | GatewayFault::LimitStore | GatewayFault::Internal,
        ) => {
            return false;
        }
    };
    match fault {
        BackendFault::Unreachable => retry.on_connect_failure,
        BackendFault::Reset | BackendFault::Protocol | BackendFault::Cut => retry.on_reset,
        BackendFault::FirstByteTimeout | BackendFault::IdleTimeout => retry.on_timeout || retry.on_reset,
        BackendFault::Status { status, .. } => retry.on_statuses.contains(status),
        // A stream that begins with an error is an overloaded backend with a 200: the same as a 5xx.
        BackendFault::ErrorEvent => retry.on_statuses.iter().any(|status| (500..600).contains(status)),
        BackendFault::Deadline | BackendFault::Unreadable | BackendFault::TooLarge => false,
    }
}

/// How long to wait before retry number `retry_number` (1 for the first), or `None` to give up.
///
/// An untried target is tried at once: the wait is there to spare a backend that has just failed. `roll` is a
/// uniformly random number for the jitter; `remaining` is what is left of the exchange's deadline.
pub fn wait(
    retry: &Retry,
    fault: &Fault,
    retry_number: u32,
    fresh: bool,
    remaining: Option<Duration>,
    roll: u64,
) -> Option<Duration> {
    if fresh {
        return Some(Duration::ZERO);
    }
    let wait = match fault {
        Fault::Backend(BackendFault::Status { retry_after: Some(asked), .. }) if *asked > RETRY_AFTER_MAX => {
            return None;
        }
        Fault::Backend(BackendFault::Status { retry_after: Some(asked), .. }) => *asked,
        _ => backoff(retry, retry_number, roll),
    };
    match remaining {
        Some(remaining) if remaining <= wait => None,
        _ => Some(wait),
    }
}

/// Exponential backoff with full jitter.
fn backoff(retry: &Retry, retry_number: u32, roll: u64) -> Duration {
    let doublings = retry_number.saturating_sub(1).min(16);
    let ceiling = retry.backoff_base.saturating_mul(1 << doublings).min(retry.backoff_max);
    let ceiling_us = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(roll.checked_rem(ceiling_us.saturating_add(1)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Retry {
        Retry {
            retries_max: 3,
            attempts_per_priority: None,
            on_connect_failure: true,
            on_reset: false,
            on_timeout: false,
            on_statuses: vec![500, 429],
            backoff_base: Duration::from_millis(100),
            backoff_max: Duration::from_secs(1),
        }
    }

    fn status(status: u16, retry_after: Option<u64>) -> Fault {
        Fault::Backend(BackendFault::Status { status, retry_after: retry_after.map(Duration::from_secs) })
    }

    #[test]
    fn retries_what_the_policy_names_and_nothing_else() {
        let policy = policy();
        assert!(is_retryable(&policy, &Fault::Backend(BackendFault::Unreachable)));
        assert!(is_retryable(&policy, &status(429, None)));
        assert!(!is_retryable(&policy, &status(503, None)));
        assert!(!is_retryable(&policy, &Fault::Backend(BackendFault::Reset)));
        assert!(!is_retryable(&policy, &Fault::Client(tollgate_terms::ClientFault::Gone)));
    }

    #[test]
    fn goes_to_an_untried_target_at_once() {
        assert_eq!(wait(&policy(), &status(429, Some(60)), 1, true, None, 9), Some(Duration::ZERO));
    }

    #[test]
    fn honours_retry_after_within_reason() {
        let policy = policy();
        assert_eq!(wait(&policy, &status(429, Some(2)), 1, false, None, 9), Some(Duration::from_secs(2)));
        assert_eq!(wait(&policy, &status(429, Some(60)), 1, false, None, 9), None);
        assert_eq!(wait(&policy, &status(429, Some(2)), 1, false, Some(Duration::from_secs(1)), 9), None);
    }

    #[test]
    fn backs_off_within_doubling_bounds() {
        let policy = policy();
        for (retry_number, ceiling_ms) in [(1, 100), (2, 200), (3, 400), (9, 1000)] {
            for roll in [0, 1, 77, u64::MAX] {
                let waited =
                    wait(&policy, &status(500, None), retry_number, false, None, roll).expect("a wait");
                assert!(waited <= Duration::from_millis(ceiling_ms));
            }
        }
    }
}

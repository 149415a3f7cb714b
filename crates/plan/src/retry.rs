//! When to try again, from the words of Envoy.

use std::time::Duration;

use tollgate_config::bundle;
use tollgate_manifest::{GatewayDuration, Retry, RetryTrigger};

use crate::findings::{Findings, ObjectId};

/// First wait without a policy for it, as in Envoy; the longest is ten times as long.
const BACKOFF_BASE: Duration = Duration::from_millis(25);

/// What Envoy Gateway retries on when a policy does not say.
const TRIGGERS_DEFAULT: [RetryTrigger; 2] =
    [RetryTrigger::ConnectFailure, RetryTrigger::RetriableStatusCodes];
const STATUSES_DEFAULT: [u16; 1] = [503];

/// Nothing is tried again.
pub(crate) fn none() -> bundle::Retry {
    bundle::Retry { backoff_base: BACKOFF_BASE, backoff_max: BACKOFF_BASE * 10, ..bundle::Retry::default() }
}

/// Resolves `spec.retry` of `policy`.
pub(crate) fn resolve(policy: &ObjectId, written: &Retry, findings: &mut Findings) -> bundle::Retry {
    let back_off = written.per_retry.as_ref().and_then(|per_retry| per_retry.back_off.as_ref());
    let interval =
        |value: Option<GatewayDuration>| value.map(GatewayDuration::get).filter(|wait| !wait.is_zero());
    let backoff_base = interval(back_off.and_then(|waits| waits.base_interval)).unwrap_or(BACKOFF_BASE);
    let backoff_max = interval(back_off.and_then(|waits| waits.max_interval)).unwrap_or(backoff_base * 10);
    let mut retry = bundle::Retry {
        retries_max: written.num_retries,
        attempts_per_priority: written.num_attempts_per_priority,
        backoff_base,
        backoff_max: backoff_max.max(backoff_base),
        ..none()
    };
    let (triggers, statuses) = match &written.retry_on {
        None => (&TRIGGERS_DEFAULT[..], &STATUSES_DEFAULT[..]),
        Some(on) => (&on.triggers[..], &on.http_status_codes[..]),
    };
    for (at, trigger) in triggers.iter().enumerate() {
        if !apply(*trigger, statuses, &mut retry) {
            let path = format!("spec.retry.retryOn.triggers[{at}]");
            findings.warning(policy, path, "not served: has no effect");
        }
    }
    if !statuses.is_empty() && !triggers.contains(&RetryTrigger::RetriableStatusCodes) {
        let path = "spec.retry.retryOn.httpStatusCodes";
        findings.warning(policy, path, "has no effect without the trigger retriable-status-codes");
    }
    retry.on_statuses.sort_unstable();
    retry.on_statuses.dedup();
    retry
}

/// Adds what `trigger` means; tells whether it means anything here.
///
/// Source: Envoy, `x-envoy-retry-on`. Its `reset`, `5xx` and `gateway-error` each hold for every attempt that ends
/// without a response, be it by no connection, a lost one, or the time of one try running out.
fn apply(trigger: RetryTrigger, statuses: &[u16], retry: &mut bundle::Retry) -> bool {
    let without_response = |retry: &mut bundle::Retry| {
        retry.on_connect_failure = true;
        retry.on_reset = true;
        retry.on_timeout = true;
    };
    match trigger {
        RetryTrigger::ServerError => {
            without_response(retry);
            retry.on_statuses.extend(500..=599);
        }
        RetryTrigger::GatewayError => {
            without_response(retry);
            retry.on_statuses.extend(502..=504);
        }
        RetryTrigger::Reset => without_response(retry),
        // Before the request was sent there is nothing but the connection.
        RetryTrigger::ConnectFailure | RetryTrigger::ResetBeforeRequest => retry.on_connect_failure = true,
        RetryTrigger::Retriable4xx => retry.on_statuses.push(409),
        RetryTrigger::RetriableStatusCodes => retry.on_statuses.extend(statuses),
        // A refused stream is a reset here; to retry every reset would be more than was asked for.
        RetryTrigger::RefusedStream
        | RetryTrigger::Cancelled
        | RetryTrigger::DeadlineExceeded
        | RetryTrigger::Internal
        | RetryTrigger::ResourceExhausted
        | RetryTrigger::Unavailable => return false,
    }
    true
}

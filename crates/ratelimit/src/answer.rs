//! What is said of each descriptor, and of the request.

use tollgate_envoy::limiting::rate_limit_response::rate_limit::Unit;
use tollgate_envoy::limiting::rate_limit_response::{Code, DescriptorStatus, RateLimit};
use tollgate_envoy::limiting::{HeaderValue, RateLimitResponse};
use tollgate_envoy::{Duration, Struct};
use tollgate_policy::quota::Standing;

use crate::service::Headers;
use crate::tree::{Amount, Rule};

/// Of a descriptor that nothing limits.
pub(crate) fn unlimited(rule: Option<&Rule>) -> DescriptorStatus {
    let remaining = if rule.is_some() { u32::MAX } else { 0 };
    status(Code::Ok, None, remaining, None)
}

/// Of one that has a limit.
pub(crate) fn limited(rule: &Rule, amount: &Amount, standing: &Standing) -> DescriptorStatus {
    let code = if standing.over && !rule.shadow { Code::OverLimit } else { Code::Ok };
    let limit =
        RateLimit { name: rule.name.clone(), requests_per_unit: amount.requests, unit: amount.unit.into() };
    let remaining = if standing.over { 0 } else { u32::try_from(standing.remaining).unwrap_or(u32::MAX) };
    // A second that has begun counts whole, so that nobody comes back too early.
    let reset = standing.reset.map(|reset| reset.as_millis().div_ceil(1000));
    status(code, Some(limit), remaining, reset.and_then(|seconds| i64::try_from(seconds).ok()))
}

fn status(code: Code, limit: Option<RateLimit>, remaining: u32, reset_s: Option<i64>) -> DescriptorStatus {
    DescriptorStatus {
        code: code.into(),
        current_limit: limit,
        limit_remaining: remaining,
        duration_until_reset: reset_s.map(|seconds| Duration { seconds, nanos: 0 }),
        quota: None,
    }
}

/// Of the request. A refusal has a body in the shape that clients of chat APIs read.
pub(crate) fn response(
    overall: Code,
    statuses: Vec<DescriptorStatus>,
    headers: Headers,
) -> RateLimitResponse {
    let tightest = statuses.iter().filter(|status| status.current_limit.is_some());
    let tightest = tightest.min_by_key(|status| status.limit_remaining);
    let mut added = Vec::new();
    if let (Headers::Told, Some(status)) = (headers, tightest) {
        let limit = status.current_limit.as_ref().map_or(0, |limit| limit.requests_per_unit);
        let reset = status.duration_until_reset.as_ref().map_or(0, |reset| reset.seconds);
        added.push(header("RateLimit-Limit", limit.to_string()));
        added.push(header("RateLimit-Remaining", status.limit_remaining.to_string()));
        added.push(header("RateLimit-Reset", reset.to_string()));
    }
    let mut raw_body = Vec::new();
    if overall == Code::OverLimit {
        raw_body = refusal(&statuses);
        added.push(header("content-type", "application/json".to_owned()));
    }
    RateLimitResponse {
        overall_code: overall.into(),
        statuses,
        response_headers_to_add: added,
        request_headers_to_add: Vec::new(),
        raw_body,
        dynamic_metadata: None::<Struct>,
        quota: None,
    }
}

fn header(key: &str, value: String) -> HeaderValue {
    HeaderValue { key: key.to_owned(), value, raw_value: Vec::new().into() }
}

fn refusal(statuses: &[DescriptorStatus]) -> Vec<u8> {
    let over = statuses.iter().filter(|status| status.code == i32::from(Code::OverLimit));
    let longest = over.max_by_key(|status| status.duration_until_reset.as_ref().map_or(0, |it| it.seconds));
    let message =
        match longest.and_then(|it| Some((it.current_limit.as_ref()?, it.duration_until_reset.as_ref()?))) {
            Some((limit, reset)) => format!(
                "Rate limit reached: {} per {}. Please try again in {} s.",
                limit.requests_per_unit,
                unit(limit.unit()),
                reset.seconds,
            ),
            None => "Rate limit reached.".to_owned(),
        };
    serde_json::json!({
        "error": { "message": message, "type": "rate_limit_error", "param": null, "code": "rate_limit_exceeded" },
    })
    .to_string()
    .into_bytes()
}

fn unit(unit: Unit) -> String {
    unit.as_str_name().to_lowercase()
}

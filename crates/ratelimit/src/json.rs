//! The same over HTTP: a request in proto3's JSON form, and its answer, as envoyproxy/ratelimit has them at `/json`.

use http::StatusCode;
use tollgate_envoy::limiting::rate_limit_response::Code;
use tollgate_envoy::limiting::{RateLimitRequest, RateLimitResponse};
use tollgate_envoy::{from_json, to_json};
use tonic::Status;

use crate::service::RateLimits;

const REQUEST: &str = "envoy.service.ratelimit.v3.RateLimitRequest";
const RESPONSE: &str = "envoy.service.ratelimit.v3.RateLimitResponse";

impl RateLimits {
    /// Answers a `RateLimitRequest`: 200 with a `RateLimitResponse`, 429 with one that refuses, 400 for what is no request, and 500 where
    /// nobody knows. What is wrong is said as JSON too.
    pub async fn answer_json(&self, text: &[u8]) -> (StatusCode, String) {
        let request: RateLimitRequest = match from_json(REQUEST, text) {
            Ok(request) => request,
            Err(error) => return mistake(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        match self.answer(&request).await {
            Ok(response) => said(&response),
            Err(status) => mistake(code(&status), status.message()),
        }
    }
}

fn said(response: &RateLimitResponse) -> (StatusCode, String) {
    let status = match response.overall_code() {
        Code::Ok => StatusCode::OK,
        Code::OverLimit => StatusCode::TOO_MANY_REQUESTS,
        Code::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
    };
    match to_json(RESPONSE, response) {
        Ok(body) => (status, format!("{body}\n")),
        Err(error) => mistake(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Who asked in a wrong way gets a code of its own over gRPC as well.
fn code(status: &Status) -> StatusCode {
    match status.code() {
        tonic::Code::Unknown => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn mistake(status: StatusCode, message: &str) -> (StatusCode, String) {
    (status, format!("{}\n", serde_json::json!({ "error": { "message": message } })))
}

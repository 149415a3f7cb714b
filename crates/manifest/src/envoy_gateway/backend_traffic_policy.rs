//! BackendTrafficPolicy: how traffic to backends is retried, bounded and kept from failing ones.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rate_limit::RateLimitSpec;
use crate::gateway_api::{GROUP, KIND, LabelSelectorRequirement, PolicyTargetReference};
use crate::rules::{cel, fields};
use crate::scalar::{ByteSize, GatewayDuration};

/// What a BackendTrafficPolicy says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "x-tollgate-not-served" = fields([
        "mergeType",
        "loadBalancer",
        "proxyProtocol",
        "tcpKeepalive",
        "http2",
        "dns",
        "faultInjection",
        "useClientProtocol",
        "compression",
        "compressor",
        "responseOverride",
        "httpUpgrade",
        "telemetry",
        "routingType",
        "bandwidthLimit",
        "admissionControl",
    ]),
    "x-kubernetes-validations" = cel([(
        "(has(self.targetRef) && !has(self.targetRefs)) || (!has(self.targetRef) && has(self.targetRefs)) \
         || (has(self.targetSelectors) && self.targetSelectors.size() > 0)",
        "either targetRef or targetRefs must be used",
    )])
))]
pub struct BackendTrafficPolicySpec {
    /// The Gateway or route that this policy is about; the older spelling of `targetRefs`.
    pub target_ref: Option<PolicyTargetReference>,
    /// The Gateways or routes that this policy is about.
    #[serde(default)]
    pub target_refs: Vec<PolicyTargetReference>,
    /// The same, by their labels.
    #[serde(default)]
    pub target_selectors: Vec<TargetSelector>,
    /// When to try again.
    pub retry: Option<Retry>,
    /// Bounds in time.
    pub timeout: Option<Timeout>,
    /// Bounds on concurrent work.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// When to stop sending to an endpoint for a while.
    pub health_check: Option<HealthCheck>,
    /// Connections to backends.
    pub connection: Option<BackendConnection>,
    /// Collecting of request bodies.
    pub request_buffer: Option<RequestBuffer>,
    /// How much requests may use.
    pub rate_limit: Option<RateLimitSpec>,
}

/// Objects that a policy is about, by their labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetSelector {
    /// API group of the objects; that of Gateway API when absent.
    #[schemars(length(max = 253), regex(pattern = GROUP))]
    pub group: Option<String>,
    /// Kind of the objects.
    #[schemars(length(min = 1, max = 63), regex(pattern = KIND))]
    pub kind: String,
    /// Labels and their values.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on labels.
    #[serde(default)]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

fn two() -> u32 {
    2
}

/// When to try again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Retries after the first attempt.
    #[serde(default = "two")]
    pub num_retries: u32,
    /// Attempts at one priority before the next is tried.
    #[schemars(range(min = 1))]
    pub num_attempts_per_priority: Option<u32>,
    /// After what.
    pub retry_on: Option<RetryOn>,
    /// Each attempt.
    pub per_retry: Option<PerRetryPolicy>,
}

/// What an attempt is followed by another one for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([(
    "has(self.httpStatusCodes) ? has(self.triggers) && self.triggers.exists(t, t == 'retriable-status-codes') : true",
    "triggers must contain retriable-status-codes when httpStatusCodes is set",
)])))]
pub struct RetryOn {
    /// Conditions, any of which will do.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub triggers: Vec<RetryTrigger>,
    /// Statuses, for `retriable-status-codes`.
    #[serde(default)]
    #[schemars(inner(range(min = 100, max = 599)))]
    pub http_status_codes: Vec<u16>,
}

/// A condition for another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetryTrigger {
    /// Any 5xx status, or no response.
    #[serde(rename = "5xx")]
    ServerError,
    /// Status 502, 503 or 504.
    GatewayError,
    /// The connection was lost before the response.
    Reset,
    /// The connection was lost before the request was sent.
    ResetBeforeRequest,
    /// No connection could be made.
    ConnectFailure,
    /// Status 409.
    #[serde(rename = "retriable-4xx")]
    Retriable4xx,
    /// HTTP/2 REFUSED_STREAM.
    RefusedStream,
    /// One of the statuses in `httpStatusCodes`.
    RetriableStatusCodes,
    /// gRPC `cancelled`; not served.
    Cancelled,
    /// gRPC `deadline-exceeded`; not served.
    DeadlineExceeded,
    /// gRPC `internal`; not served.
    Internal,
    /// gRPC `resource-exhausted`; not served.
    ResourceExhausted,
    /// gRPC `unavailable`; not served.
    Unavailable,
}

/// Bounds of each attempt, and waits between them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PerRetryPolicy {
    /// How long one attempt may take.
    pub timeout: Option<GatewayDuration>,
    /// Waits between attempts.
    pub back_off: Option<BackOffPolicy>,
}

/// Waits between attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackOffPolicy {
    /// The first wait; each further one is twice as long.
    pub base_interval: Option<GatewayDuration>,
    /// The longest wait.
    pub max_interval: Option<GatewayDuration>,
}

/// Bounds in time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeout {
    /// Of connections.
    pub tcp: Option<TcpTimeout>,
    /// Of requests.
    pub http: Option<HttpTimeout>,
}

/// Bounds in time of connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpTimeout {
    /// Until a connection is made; 10 s when absent.
    pub connect_timeout: Option<GatewayDuration>,
}

/// Bounds in time of requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpTimeout {
    /// How long a connection is kept without a request.
    pub connection_idle_timeout: Option<GatewayDuration>,
    /// How long a connection is kept at all.
    pub max_connection_duration: Option<GatewayDuration>,
    /// Until the whole response is there.
    pub request_timeout: Option<GatewayDuration>,
    /// How long a stream may last.
    pub max_stream_duration: Option<GatewayDuration>,
    /// How long a stream may be silent.
    pub stream_idle_timeout: Option<GatewayDuration>,
}

/// Bounds on concurrent work at a backend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-not-served" = fields(["retryBudget"])))]
pub struct CircuitBreaker {
    /// Connections; 1024 when absent.
    pub max_connections: Option<u32>,
    /// Requests that wait for a connection; 1024 when absent.
    pub max_pending_requests: Option<u32>,
    /// Requests at work; 1024 when absent.
    pub max_parallel_requests: Option<u32>,
    /// Retries at work; 1024 when absent.
    pub max_parallel_retries: Option<u32>,
    /// Requests after which a connection is closed.
    pub max_requests_per_connection: Option<u32>,
    /// Bounds of each endpoint.
    pub per_endpoint: Option<PerEndpointCircuitBreakers>,
}

/// Bounds on concurrent work at one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PerEndpointCircuitBreakers {
    /// Connections; 1024 when absent.
    pub max_connections: Option<u32>,
}

/// How failing endpoints are found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-not-served" = fields(["active"])))]
pub struct HealthCheck {
    /// By the answers to requests.
    pub passive: Option<PassiveHealthCheck>,
    /// Share of healthy endpoints below which all of them are used, percent.
    #[schemars(range(min = 0, max = 100))]
    pub panic_threshold: Option<u32>,
}

fn five() -> u32 {
    5
}

fn zero() -> u32 {
    0
}

fn ten() -> i32 {
    10
}

/// How failing endpoints are found by the answers to requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-not-served" = fields(["alwaysEjectOneEndpoint"])))]
pub struct PassiveHealthCheck {
    /// Whether faults of the connection count apart from those of responses.
    pub split_external_local_origin_errors: Option<bool>,
    /// How often ejections are looked at again; 3 s when absent.
    pub interval: Option<GatewayDuration>,
    /// Faults of the connection in a row that eject, if they count apart.
    #[serde(default = "five")]
    pub consecutive_local_origin_failures: u32,
    /// Responses 502, 503 and 504 in a row that eject. 0 never.
    #[serde(default = "zero")]
    pub consecutive_gateway_errors: u32,
    /// Responses 5xx in a row that eject. 0 never.
    #[serde(default = "five", rename = "consecutive5XxErrors")]
    pub consecutive_5xx_errors: u32,
    /// How long the first ejection lasts; 30 s when absent.
    pub base_ejection_time: Option<GatewayDuration>,
    /// Largest share of endpoints that may be ejected at once, percent.
    #[serde(default = "ten")]
    #[schemars(range(min = 0, max = 100))]
    pub max_ejection_percent: i32,
    /// Share of failed requests that ejects, percent.
    #[schemars(range(min = 0, max = 100))]
    pub failure_percentage_threshold: Option<u32>,
}

/// Connections to backends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-tollgate-not-served" = fields(["preconnect"])))]
pub struct BackendConnection {
    /// Bytes to hold for a connection.
    pub buffer_limit: Option<ByteSize>,
    /// Bytes to hold in its socket.
    pub socket_buffer_limit: Option<ByteSize>,
}

/// Collecting of request bodies before they are sent on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestBuffer {
    /// Largest body, in bytes.
    pub limit: ByteSize,
}

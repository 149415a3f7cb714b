//! BackendTrafficPolicy: what it says of a rule's retries and time, and of its backends' connections.

use std::collections::BTreeMap;
use std::time::Duration;

use tollgate_config::bundle::{Ejection, Limits, Retry};
use tollgate_manifest::{
    BackendTrafficPolicySpec, CircuitBreaker, GatewayDuration, HealthCheck, PassiveHealthCheck, Timeout,
};

use crate::findings::{Findings, ObjectId};
use crate::gateway::Origin;
use crate::grant::BACKEND_TRAFFIC;
use crate::index::{Index, Item};
use crate::rate_limit::{self, RateLimit};
use crate::retry;
use crate::target::{Policies, Reach, Several, Targets};

/// Concurrent work at a backend without a policy. Streams are long and there are many: Envoy's 1024 would refuse
/// them, and what clients may open bounds them already.
const LIMITS_DEFAULT: Limits = Limits { connections_max: 65_535, requests_max: 65_535, retries_max: 1024 };
/// What a circuit breaker without a number means, as in Envoy Gateway.
const CIRCUIT_BREAKER_DEFAULT: u32 = 1024;
/// Longest wait for a connection, as in Envoy Gateway.
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// How long the first ejection lasts, as in Envoy.
const EJECTION_DEFAULT: Duration = Duration::from_secs(30);
/// The longest ejection, as in Envoy, which has a field for it that Envoy Gateway has not.
const EJECTION_MAX: Duration = Duration::from_secs(300);

/// Faults of the connection in a row that eject, as in Envoy Gateway.
const LOCAL_ORIGIN_FAILURES_DEFAULT: u32 = 5;

/// What a policy says, or the defaults.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Traffic {
    pub(crate) retry: Retry,
    pub(crate) per_try: Option<Duration>,
    /// `None` when the policy does not say; a zero duration is no bound.
    pub(crate) request: Option<Duration>,
    pub(crate) stream_idle: Option<Duration>,
    pub(crate) rate_limits: Vec<RateLimit>,
    pub(crate) upstream: Upstream,
}

/// The part that belongs to backends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Upstream {
    /// The policy that says so, to name it in a conflict.
    pub(crate) policy: Option<ObjectId>,
    pub(crate) limits: Limits,
    pub(crate) ejection: Option<Ejection>,
    pub(crate) connect_timeout: Duration,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            retry: retry::none(),
            per_try: None,
            request: None,
            stream_idle: None,
            rate_limits: Vec::new(),
            upstream: Upstream::default(),
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            policy: None,
            limits: LIMITS_DEFAULT,
            ejection: None,
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
        }
    }
}

impl Upstream {
    /// Whether the two ask the same of a backend, whoever says it.
    pub(crate) fn asks_the_same(&self, other: &Self) -> bool {
        self.limits == other.limits
            && self.ejection == other.ejection
            && self.connect_timeout == other.connect_timeout
    }

    /// Whether a backend without a policy is treated the same.
    pub(crate) fn asks_nothing(&self) -> bool {
        self.asks_the_same(&Self::default())
    }
}

/// Every BackendTrafficPolicy, resolved.
#[derive(Debug)]
pub(crate) struct TrafficPolicies<'a> {
    policies: Policies<'a, BackendTrafficPolicySpec>,
    resolved: BTreeMap<ObjectId, Result<Traffic, String>>,
}

impl<'a> TrafficPolicies<'a> {
    /// Resolves every policy, and names what in them has no effect.
    pub(crate) fn resolve(index: &'a Index<'a>, findings: &mut Findings) -> Self {
        let targets = |spec: &'a BackendTrafficPolicySpec| Targets {
            target_ref: spec.target_ref.as_ref(),
            target_refs: &spec.target_refs,
            selectors: &spec.target_selectors,
        };
        let all = index.backend_traffic_policies.iter();
        let how = (Reach::GatewaysAndRoutes, Several::Oldest);
        let policies = Policies::attach(index, (BACKEND_TRAFFIC, all), targets, how, findings);
        let all = index.backend_traffic_policies.iter();
        let resolved = all.map(|policy| (policy.id.clone(), traffic(policy, findings))).collect();
        Self { policies, resolved }
    }

    /// The policy of the Gateway or listener that a route comes through.
    ///
    /// # Errors
    /// When it has mistakes.
    pub(crate) fn of_listener(&self, origin: &Origin<'_>) -> Result<Option<&'a ObjectId>, String> {
        let policy = self.policies.effective(origin.gateway, &origin.listener.name)?;
        Ok(policy.map(|policy| &policy.id))
    }

    /// What holds for a rule: the policy of the rule, else of its route, else of where the route is attached.
    ///
    /// # Errors
    /// When the policy that would hold has mistakes.
    pub(crate) fn of_rule(
        &self,
        route: &ObjectId,
        rule: Option<&str>,
        gateway: &Result<Option<&ObjectId>, String>,
    ) -> Result<Traffic, String> {
        let policy = match self.policies.of_route(route, rule)? {
            Some(policy) => Some(&policy.id),
            None => gateway.clone()?,
        };
        policy.and_then(|policy| self.resolved.get(policy)).cloned().unwrap_or_else(|| Ok(Traffic::default()))
    }
}

fn traffic(policy: &Item<'_, BackendTrafficPolicySpec>, findings: &mut Findings) -> Result<Traffic, String> {
    let spec = policy.spec;
    warn_of_unserved(policy, findings);
    let http = spec.timeout.as_ref().and_then(|timeout| timeout.http.as_ref());
    let connect_timeout = spec
        .timeout
        .as_ref()
        .and_then(|timeout| timeout.tcp.as_ref()?.connect_timeout)
        .map(GatewayDuration::get)
        .filter(|duration| !duration.is_zero());
    let per_retry = spec.retry.as_ref().and_then(|retry| retry.per_retry.as_ref());
    let passive = spec.health_check.as_ref().and_then(|check| check.passive.as_ref());
    let rate_limits = rate_limit::resolve(policy, findings);
    let traffic = Traffic {
        rate_limits: Vec::new(),
        retry: spec
            .retry
            .as_ref()
            .map_or_else(retry::none, |retry| retry::resolve(&policy.id, retry, findings)),
        per_try: per_retry.and_then(|per_retry| per_retry.timeout).map(GatewayDuration::get),
        request: http.and_then(|http| http.request_timeout).map(GatewayDuration::get),
        stream_idle: http.and_then(|http| http.stream_idle_timeout).map(GatewayDuration::get),
        upstream: Upstream {
            policy: Some(policy.id.clone()),
            limits: spec.circuit_breaker.as_ref().map_or(LIMITS_DEFAULT, limits),
            ejection: passive.map(ejection),
            connect_timeout: connect_timeout.unwrap_or(CONNECT_TIMEOUT_DEFAULT),
        },
    };
    rate_limits.map(|rate_limits| Traffic { rate_limits, ..traffic })
}

fn limits(breaker: &CircuitBreaker) -> Limits {
    Limits {
        connections_max: breaker.max_connections.unwrap_or(CIRCUIT_BREAKER_DEFAULT),
        requests_max: breaker.max_parallel_requests.unwrap_or(CIRCUIT_BREAKER_DEFAULT),
        retries_max: breaker.max_parallel_retries.unwrap_or(CIRCUIT_BREAKER_DEFAULT),
    }
}

fn ejection(passive: &PassiveHealthCheck) -> Ejection {
    let base_time = passive.base_ejection_time.map_or(EJECTION_DEFAULT, GatewayDuration::get);
    Ejection {
        consecutive_5xx: passive.consecutive_5xx_errors,
        consecutive_gateway_errors: passive.consecutive_gateway_errors,
        base_time,
        max_time: EJECTION_MAX.max(base_time),
        max_ejection_percent: u8::try_from(passive.max_ejection_percent.clamp(0, 100)).unwrap_or(100),
    }
}

/// Names what is known and has no effect. What is not known here at all was named when the object was read.
fn warn_of_unserved(policy: &Item<'_, BackendTrafficPolicySpec>, findings: &mut Findings) {
    let spec = policy.spec;
    let buffers = [
        ("connection.bufferLimit", spec.connection.as_ref().is_some_and(|one| one.buffer_limit.is_some())),
        (
            "connection.socketBufferLimit",
            spec.connection.as_ref().is_some_and(|one| one.socket_buffer_limit.is_some()),
        ),
        ("requestBuffer", spec.request_buffer.is_some()),
    ];
    let unserved = spec
        .timeout
        .iter()
        .flat_map(unserved_timeouts)
        .chain(spec.circuit_breaker.iter().flat_map(unserved_limits))
        .chain(spec.health_check.iter().flat_map(unserved_checks))
        .chain(buffers);
    for (field, _) in unserved.filter(|(_, is_set)| *is_set) {
        findings.warning(&policy.id, format!("spec.{field}"), "not served yet: has no effect");
    }
}

type Field = (&'static str, bool);

fn unserved_timeouts(timeout: &Timeout) -> Vec<Field> {
    let Some(http) = &timeout.http else { return Vec::new() };
    vec![
        ("timeout.http.connectionIdleTimeout", http.connection_idle_timeout.is_some()),
        ("timeout.http.maxConnectionDuration", http.max_connection_duration.is_some()),
        ("timeout.http.maxStreamDuration", http.max_stream_duration.is_some()),
    ]
}

fn unserved_limits(breaker: &CircuitBreaker) -> Vec<Field> {
    vec![
        ("circuitBreaker.maxConnections", breaker.max_connections.is_some()),
        ("circuitBreaker.maxParallelRetries", breaker.max_parallel_retries.is_some()),
        // Nothing waits here for a connection: what is over a limit is refused at once.
        ("circuitBreaker.maxPendingRequests", breaker.max_pending_requests.is_some_and(|most| most > 0)),
        ("circuitBreaker.maxRequestsPerConnection", breaker.max_requests_per_connection.is_some()),
        ("circuitBreaker.perEndpoint", breaker.per_endpoint.is_some()),
    ]
}

fn unserved_checks(check: &HealthCheck) -> Vec<Field> {
    let passive = check.passive.as_ref();
    let splits = |one: &PassiveHealthCheck| one.split_external_local_origin_errors == Some(true);
    vec![
        ("healthCheck.panicThreshold", check.panic_threshold.is_some()),
        ("healthCheck.passive.splitExternalLocalOriginErrors", passive.is_some_and(splits)),
        // Only read with the field above; with any other number than the default, somebody wrote it.
        (
            "healthCheck.passive.consecutiveLocalOriginFailures",
            passive.is_some_and(|one| one.consecutive_local_origin_failures != LOCAL_ORIGIN_FAILURES_DEFAULT),
        ),
        ("healthCheck.passive.interval", passive.is_some_and(|one| one.interval.is_some())),
        (
            "healthCheck.passive.failurePercentageThreshold",
            passive.is_some_and(|one| one.failure_percentage_threshold.is_some()),
        ),
    ]
}

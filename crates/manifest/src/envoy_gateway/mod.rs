//! Kinds of the group `gateway.envoyproxy.io`, as far as Tollgate reads them.
//!
//! Their own API is larger. What it has beyond these types is named in `x-tollgate-not-served`, so that it is told
//! apart from a mistyped field.

mod backend;
mod backend_traffic_policy;
mod client_traffic_policy;
mod rate_limit;
mod security_policy;

pub use backend::{
    AppProtocol, BackendEndpoint, BackendSpec, BackendTls, BackendType, FqdnEndpoint, IpEndpoint, UnixSocket,
};
pub use backend_traffic_policy::{
    BackOffPolicy, BackendConnection, BackendTrafficPolicySpec, CircuitBreaker, HealthCheck, HttpTimeout,
    PassiveHealthCheck, PerEndpointCircuitBreakers, PerRetryPolicy, RequestBuffer, Retry, RetryOn,
    RetryTrigger, TargetSelector, TcpTimeout, Timeout,
};
pub use client_traffic_policy::{
    ClientConnection, ClientTimeout, ClientTrafficPolicySpec, ConnectionLimit, HttpClientTimeout,
    TcpClientTimeout,
};
pub use rate_limit::{
    GlobalRateLimit, LocalRateLimit, RateLimitCost, RateLimitCostFrom, RateLimitCostMetadata,
    RateLimitCostSpecifier, RateLimitHeaderMatch, RateLimitHeaderMatchType, RateLimitMethodMatch,
    RateLimitPathMatch, RateLimitQueryParamMatch, RateLimitRule, RateLimitSelectCondition, RateLimitSpec,
    RateLimitType, RateLimitUnit, RateLimitValue, SourceMatch, SourceMatchType,
};
pub use security_policy::{
    ApiKeyAuth, Authorization, AuthorizationAction, AuthorizationHeader, AuthorizationOperation,
    AuthorizationPrincipal, AuthorizationRule, ClaimToHeader, ExtractFrom, JwtAuth, JwtClaim,
    JwtClaimValueType, JwtExtractor, JwtHeader, JwtPrincipal, JwtProvider, LocalJwks, LocalJwksType,
    RemoteJwks, SecurityPolicySpec,
};

//! The service where Envoys find it: one place for it and for its health.

use std::io;

use tollgate_envoy::grpc;
use tollgate_envoy::limiting::rate_limit_service_server::RateLimitServiceServer;
use tonic_health::pb::health_server::{HealthServer, SERVICE_NAME as HEALTH};

use crate::health::Healthy;
use crate::service::RateLimits;

/// Serves at `place`, on so many threads, until the server is dropped.
///
/// # Errors
/// When the socket cannot be bound, or a thread cannot be made.
pub fn serve(limits: &RateLimits, place: impl Into<grpc::Place>, workers: usize) -> io::Result<grpc::Server> {
    let limits = RateLimitServiceServer::new(limits.clone());
    let both = grpc::Both { name: HEALTH, named: HealthServer::new(Healthy), other: limits };
    grpc::serve(&both, place, "ratelimit", workers)
}

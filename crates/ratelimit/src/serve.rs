//! The service where Envoys find it: one place for it and for its health.

use std::convert::Infallible;
use std::io;
use std::task::{Context, Poll};

use tollgate_envoy::grpc;
use tollgate_envoy::limiting::rate_limit_service_server::RateLimitServiceServer;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service, StdError};
use tonic_health::pb::health_server::{HealthServer, SERVICE_NAME as HEALTH};

use crate::health::Healthy;
use crate::service::RateLimits;

/// Serves at `place`, on so many threads, until the server is dropped.
///
/// # Errors
/// When the socket cannot be bound, or a thread cannot be made.
pub fn serve(limits: &RateLimits, place: impl Into<grpc::Place>, workers: usize) -> io::Result<grpc::Server> {
    let limits = RateLimitServiceServer::new(limits.clone());
    grpc::serve(&Services { limits, health: HealthServer::new(Healthy) }, place, "ratelimit", workers)
}

/// Both services, told apart by the path of a call.
#[derive(Clone)]
struct Services {
    limits: RateLimitServiceServer<RateLimits>,
    health: HealthServer<Healthy>,
}

impl<B> Service<Request<B>> for Services
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Neither of them ever waits.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        if path.strip_prefix('/').is_some_and(|path| path.starts_with(HEALTH)) {
            self.health.call(request)
        } else {
            self.limits.call(request)
        }
    }
}

//! gRPC's own health service: what load balancers and Envoys ask to know whether the service is worth asking.
//!
//! It serves while it answers: whether the store of the counters does is the same for all services that share it, so that leaving one of them
//! out would help nobody. Once the server stops, it says so.

use std::pin::Pin;

use futures_util::Stream;
use futures_util::stream;
use tollgate_envoy::grpc::Stopping;
use tollgate_envoy::limiting::rate_limit_service_server::SERVICE_NAME;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// What may be asked for: all that is served, the service, and the name that envoyproxy/ratelimit has for it.
const NAMES: [&str; 3] = ["", SERVICE_NAME, "ratelimit"];

/// The health service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Healthy;

#[tonic::async_trait]
impl Health for Healthy {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !is_known(request.get_ref()) {
            return Err(Status::not_found("no service of that name"));
        }
        let stops = request.extensions().get::<Stopping>().is_some_and(Stopping::has_begun);
        Ok(Response::new(said(if stops { ServingStatus::NotServing } else { ServingStatus::Serving })))
    }

    /// Ends with the server, after it has said so. A name that is not known stays so.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let [now, at_the_end] = if is_known(request.get_ref()) {
            [ServingStatus::Serving, ServingStatus::NotServing]
        } else {
            [ServingStatus::ServiceUnknown; 2]
        };
        let stopping = request.extensions().get::<Stopping>().cloned();
        let told = stream::unfold((Some(now), stopping), move |(next, stopping)| async move {
            if let Some(now) = next {
                return Some((Ok(said(now)), (None, stopping)));
            }
            let mut stopping = stopping?;
            stopping.begun().await;
            Some((Ok(said(at_the_end)), (None, None)))
        });
        Ok(Response::new(Box::pin(told)))
    }
}

fn is_known(request: &HealthCheckRequest) -> bool {
    NAMES.contains(&request.service.as_str())
}

fn said(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

//! The processor where Envoy finds it: one place for both of its services.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tollgate_envoy::grpc;
use tollgate_envoy::logging::access_log_service_server::{AccessLogServiceServer, SERVICE_NAME as LOGGING};
use tollgate_envoy::processing::external_processor_server::ExternalProcessorServer;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service, StdError};

use crate::processor::Processor;
use crate::verdict::Verdicts;

/// Largest message: a whole request body in an envelope.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// Serves `processor` at `place`, on so many threads, until the server is dropped.
///
/// # Errors
/// When the socket cannot be bound, or a thread cannot be made.
pub fn serve(
    processor: &Processor,
    place: impl Into<grpc::Place>,
    workers: usize,
) -> io::Result<grpc::Server> {
    let processing = ExternalProcessorServer::new(processor.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let logging = AccessLogServiceServer::new(Verdicts { shared: Arc::clone(&processor.shared) });
    grpc::serve(&Services { processing, logging }, place, "extproc", workers)
}

/// Both services, told apart by the path of a call.
#[derive(Clone)]
struct Services {
    processing: ExternalProcessorServer<Processor>,
    logging: AccessLogServiceServer<Verdicts>,
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
        if path.strip_prefix('/').is_some_and(|path| path.starts_with(LOGGING)) {
            self.logging.call(request)
        } else {
            self.processing.call(request)
        }
    }
}

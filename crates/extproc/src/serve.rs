//! The processor where Envoy finds it: one place for both of its services.

use std::io;
use std::sync::Arc;

use tollgate_envoy::grpc;
use tollgate_envoy::logging::access_log_service_server::{AccessLogServiceServer, SERVICE_NAME as LOGGING};
use tollgate_envoy::processor::Server;

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
    let processing = Server { processor: processor.clone(), message_bytes_max: MESSAGE_BYTES_MAX };
    let logging = AccessLogServiceServer::new(Verdicts { shared: Arc::clone(&processor.shared) });
    let both = grpc::Both { name: LOGGING, named: logging, other: processing };
    grpc::serve(&both, place, "extproc", workers)
}

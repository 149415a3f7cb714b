//! The processor on a Unix socket.

use std::io;
use std::path::Path;

use tollgate_envoy::grpc;
use tollgate_envoy::processing::external_processor_server::ExternalProcessorServer;

use crate::processor::Processor;

/// Largest message: a whole request body in an envelope.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// Serves `processor` on a Unix socket at `path`, on so many threads, until the server is dropped.
///
/// # Errors
/// When the socket cannot be bound, or a thread cannot be made.
pub fn serve(processor: &Processor, path: &Path, workers: usize) -> io::Result<grpc::Server> {
    let service = ExternalProcessorServer::new(processor.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    grpc::serve(&service, path, "extproc", workers)
}

//! The service on a socket.

use std::io;

use tollgate_envoy::discovery::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer;
use tollgate_envoy::grpc;

use crate::discovery::Discovery;

/// Largest message of a node's: the names and versions of everything that it has.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Serves `discovery` until the server is stopped or dropped. Streams end then, and nodes go on with what they have.
///
/// # Errors
/// When the socket cannot be bound, or a thread cannot be made.
pub fn serve(discovery: &Discovery, place: impl Into<grpc::Place>) -> io::Result<grpc::Server> {
    let service = AggregatedDiscoveryServiceServer::new(discovery.clone());
    // Streams are long and quiet: one thread is enough.
    grpc::serve(&service.max_decoding_message_size(MESSAGE_BYTES_MAX), place, "xds", 1)
}

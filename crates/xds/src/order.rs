//! Which types go before which: make before break.

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

/// What a type is to others. The first goes first, and is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Others refer to it: it has to be there before they do, and stay until none does.
    Referred,
    /// It refers to others, as listeners and routes do. A listener is not waited for: it is warmed up by the routes that it names.
    Referring,
}

/// The rank of a type.
pub(crate) fn rank(type_url: &str) -> Rank {
    match type_url {
        SECRET | CLUSTER | ENDPOINTS => Rank::Referred,
        _ => Rank::Referring,
    }
}

/// Whether a first request of this type without names asks for everything, as it did before there was `*`.
pub(crate) fn has_wildcard(type_url: &str) -> bool {
    type_url == CLUSTER || type_url == LISTENER
}

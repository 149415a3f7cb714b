//! Which types go before which: make before break.

/// Types that others refer to.
pub(crate) const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// Types that refer to others.
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

/// Whether everything of this type can be asked for without names.
pub(crate) fn has_wildcard(type_url: &str) -> bool {
    type_url == CLUSTER || type_url == LISTENER
}

/// The place of a type: what has a lower one goes first, and is waited for.
pub(crate) fn place(type_url: &str) -> u8 {
    match type_url {
        SECRET | CLUSTER => 0,
        ENDPOINTS => 1,
        LISTENER => 2,
        ROUTES => 3,
        _ => 4,
    }
}

/// Whether a type with `later` has to wait for one with `earlier` that is on its way.
///
/// A listener is not waited for: it is warmed up by the routes that it names.
pub(crate) fn waits(later: u8, earlier: u8) -> bool {
    earlier < later && earlier < 2
}

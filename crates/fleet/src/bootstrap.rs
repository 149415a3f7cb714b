//! What Envoy is started with: where it gets everything else.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

/// Most connections of clients, so that Envoy keeps descriptors for its backends.
const CONNECTIONS_MAX: u32 = 50_000;

/// The bootstrap, as JSON: discovery over the socket at `discovery`, an admin on a free port of loopback.
pub(crate) fn text(discovery: &Path) -> Result<String> {
    let http2 = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {
            "http2_protocol_options": { "connection_keepalive": { "interval": "30s", "timeout": "5s" } }
        },
    });
    let from_ads = json!({ "ads": {}, "resource_api_version": "V3" });
    let cluster = json!({
        "name": "tollgate-xds",
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2 },
        "load_assignment": {
            "cluster_name": "tollgate-xds",
            "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                "address": { "pipe": { "path": discovery.to_string_lossy() } }
            } }] }],
        },
    });
    let bootstrap = json!({
        "node": { "id": "tollgate", "cluster": "tollgate" },
        "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "tollgate-xds" } }],
            },
            "cds_config": from_ads,
            "lds_config": from_ads,
        },
        "static_resources": { "clusters": [cluster] },
        "overload_manager": { "resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                "max_active_downstream_connections": CONNECTIONS_MAX,
            },
        }] },
    });
    Ok(serde_json::to_string_pretty(&bootstrap)?)
}

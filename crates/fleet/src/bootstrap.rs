//! What an Envoy is started with: where it gets everything else.

use anyhow::Result;
use serde_json::{Value, json};
use tollgate_plan::envoy::{Identity, Place, Told, cluster_at, told};

/// The cluster of the control plane.
const CONTROL_PLANE: &str = "tollgate-xds";

/// Most connections of clients, so that Envoy keeps descriptors for its backends.
const CONNECTIONS_MAX: u32 = 50_000;

/// The bootstrap, as JSON: discovery from the control plane at `place`, an admin on a free port of loopback.
///
/// # Errors
/// Never in practice: when it cannot be written as JSON.
pub fn bootstrap(place: &Place) -> Result<String> {
    let from_ads = json!({ "ads": {}, "resource_api_version": "V3" });
    // Unless told so, an Envoy waits up to 30 s before it asks again.
    let again = json!({ "retry_back_off": { "base_interval": "0.2s", "max_interval": "2s" } });
    let bootstrap = json!({
        "node": { "id": "tollgate", "cluster": "tollgate" },
        "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": CONTROL_PLANE, "retry_policy": again } }],
            },
            "cds_config": from_ads,
            "lds_config": from_ads,
        },
        "static_resources": { "clusters": [cluster(place)] },
        "layered_runtime": { "layers": [{ "name": "tollgate", "static_layer": {
            // Envoy 1.40 crashes when more than its buffer of a request is on its way to a processor.
            "envoy.reloadable_features.grpc_side_stream_flow_control": false,
        } }] },
        "overload_manager": { "resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                "max_active_downstream_connections": CONNECTIONS_MAX,
            },
        }] },
    });
    Ok(serde_json::to_string_pretty(&bootstrap)? + "\n")
}

/// One half of what an Envoy shows and trusts, as JSON: the file by which it follows the files of `identity`.
///
/// # Errors
/// Never in practice: when it cannot be written as JSON.
pub fn sds(identity: &Identity, half: Told) -> Result<String> {
    Ok(serde_json::to_string_pretty(&told(identity, half))? + "\n")
}

fn cluster(place: &Place) -> Value {
    let mut cluster = cluster_at(CONTROL_PLANE, place);
    let http2 = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {
            // So that an Envoy finds out when the control plane hangs, or is gone without a word.
            "http2_protocol_options": { "connection_keepalive": { "interval": "30s", "timeout": "5s" } }
        },
    });
    if let Value::Object(members) = &mut cluster {
        let options = json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2 });
        members.insert("typed_extension_protocol_options".to_owned(), options);
    }
    cluster
}

//! The external processor: its cluster, and the two filters that call it, once per request and once per attempt.

use serde_json::{Map, Value, json};

use super::form::{self, extension, typed};
use super::names::{
    ACCESS_METADATA, ATTEMPT_CALL, ATTEMPT_FILTER, ATTEMPT_HEADER, ATTEMPT_IDENTITY, CALL_METADATA,
    CONTENT_LENGTH, EXCHANGE_CALL, EXCHANGE_FILTER, LISTENER_METADATA, METADATA_NAMESPACE, PROCESSOR_CLUSTER,
    SNAPSHOT_METADATA, SOURCE_ADDRESS,
};
use super::{Place, Resource, cluster_at};

const FILTER: &str = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor";
const PER_ROUTE: &str = "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute";
/// The configuration of a filter that changes headers.
pub(super) const MUTATION: &str = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
const CODEC: &str = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";

/// Longest wait for one message of the processor.
const MESSAGE_TIMEOUT: &str = "10s";

/// How often the processor has to say that it is there, and how long it may take: the answer of a backend that it is in the middle of has
/// no other bound.
const PING_EVERY: &str = "5s";
const PING_TIMEOUT: &str = "5s";

/// Windows of the connection to the processor. What is in them is on its way for one client, who may be slow.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// Bytes on their way to the processor or back that are held.
const BUFFER_BYTES: u32 = 1 << 20;

/// Calls at a time: two for each request that is going on, and streams last for minutes. Far above what clients may have open.
const CALLS_MAX: u32 = 1 << 20;

/// The filter in listeners: it sees head and body of a request, and routes it.
pub(super) fn of_listener() -> Value {
    let mode = json!({
        "request_header_mode": "SEND",
        "request_body_mode": "BUFFERED",
        "request_trailer_mode": "SKIP",
        // By which the processor knows what the client gets, and gives Envoy's own replies their shape.
        "response_header_mode": "SEND",
        "response_body_mode": "NONE",
        "response_trailer_mode": "SKIP",
    });
    let mut fields = filter(EXCHANGE_CALL, mode);
    // Of a client on its own machine, Envoy tells another address in x-forwarded-for.
    form::set(&mut fields, "request_attributes", json!([SOURCE_ADDRESS]));
    extension(EXCHANGE_FILTER, FILTER, fields)
}

/// What a virtual host adds to the calls of its requests, by filter: of which snapshot it is, and of which listener.
pub(super) fn of_virtual_host(snapshot: &str, listener: &str) -> Map<String, Value> {
    let metadata = json!([
        { "key": SNAPSHOT_METADATA, "value": snapshot },
        { "key": LISTENER_METADATA, "value": listener },
    ]);
    let per_route = typed(PER_ROUTE, json!({ "overrides": { "grpc_initial_metadata": metadata } }));
    Map::from_iter([(EXCHANGE_FILTER.to_owned(), per_route)])
}

/// The filters in clusters: the processor writes the request of one attempt and sees its response. The body of the request is not sent
/// to it again; it has it. The response comes piece by piece and goes back when the processor has something for the client: until then
/// its head waits, so that a stream that begins with an error, or a document that breaks off, can still be tried elsewhere.
pub(super) fn of_cluster() -> Value {
    let mode = json!({
        "request_header_mode": "SEND",
        "request_body_mode": "NONE",
        "request_trailer_mode": "SKIP",
        "response_header_mode": "SEND",
        "response_body_mode": "FULL_DUPLEX_STREAMED",
        "response_trailer_mode": "SEND",
    });
    let mut fields = filter(ATTEMPT_CALL, mode);
    // A body keeps its length; the processor tells the new one when it changes.
    form::set(&mut fields, "allow_content_length_header", true.into());
    // Behind the router nobody reads Envoy's own headers any more, and no backend is to see them.
    form::set(&mut fields, "mutation_rules", json!({ "allow_all_routing": true, "allow_envoy": true }));
    json!([identity(), extension(ATTEMPT_FILTER, FILTER, fields), length(), codec()])
}

/// The last filter of every cluster.
pub(super) fn codec() -> Value {
    extension("envoy.filters.http.upstream_codec", CODEC, json!({}))
}

/// What has the processor asked, for a route of a plain rule, who calls and what limits have left: it sees heads alone. `access` is the policy that the
/// rule is under.
pub(super) fn asking(snapshot: &str, listener: &str, access: &str) -> (&'static str, Value) {
    let mode = json!({
        "request_header_mode": "SEND",
        "request_body_mode": "NONE",
        "request_trailer_mode": "SKIP",
        "response_header_mode": "SEND",
        "response_body_mode": "NONE",
        "response_trailer_mode": "SKIP",
    });
    let metadata = json!([
        { "key": SNAPSHOT_METADATA, "value": snapshot },
        { "key": LISTENER_METADATA, "value": listener },
        { "key": ACCESS_METADATA, "value": access },
    ]);
    let overrides = json!({ "processing_mode": mode, "grpc_initial_metadata": metadata });
    (EXCHANGE_FILTER, typed(PER_ROUTE, json!({ "overrides": overrides })))
}

/// What turns the processor off for a route: the filter, and its configuration there.
pub(super) fn off() -> (&'static str, Value) {
    (EXCHANGE_FILTER, typed(PER_ROUTE, json!({ "disabled": true })))
}

/// The filter that says what the attempt is about.
fn identity() -> Value {
    let header = json!({ "key": ATTEMPT_HEADER, "value": ATTEMPT_IDENTITY });
    let append = json!({ "append": { "header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" } });
    mutation("identity", &append)
}

/// The filter that puts the length of a replaced body back, which Envoy takes away. Not every provider takes a body in chunks.
fn length() -> Value {
    let value = format!("%DYNAMIC_METADATA({METADATA_NAMESPACE}:{CONTENT_LENGTH})%");
    let header = json!({ "key": "content-length", "value": value });
    mutation("length", &json!({ "append": { "header": header, "append_action": "ADD_IF_ABSENT" } }))
}

/// A filter of clusters that changes headers of requests.
pub(super) fn mutation(name: &str, mutation: &Value) -> Value {
    let mutations = json!({ "mutations": { "request_mutations": [mutation] } });
    extension(&format!("envoy.filters.http.header_mutation/{name}"), MUTATION, mutations)
}

fn filter(call: &str, processing_mode: Value) -> Value {
    let namespaces = json!({ "untyped": [METADATA_NAMESPACE] });
    json!({
        "grpc_service": {
            "envoy_grpc": { "cluster_name": PROCESSOR_CLUSTER },
            "initial_metadata": [{ "key": CALL_METADATA, "value": call }],
        },
        "failure_mode_allow": false,
        "message_timeout": MESSAGE_TIMEOUT,
        "processing_mode": processing_mode,
        // Path, host and method are the processor's to set; what instructs Envoy is not.
        "mutation_rules": { "allow_all_routing": true, "allow_envoy": false },
        "metadata_options": { "receiving_namespaces": namespaces },
    })
}

/// The cluster of the processor.
pub(super) fn cluster(place: &Place) -> Resource {
    let http2 = json!({
        "initial_stream_window_size": STREAM_WINDOW_BYTES,
        "initial_connection_window_size": CONNECTION_WINDOW_BYTES,
        "connection_keepalive": { "interval": PING_EVERY, "timeout": PING_TIMEOUT },
    });
    let options = json!({ "explicit_http_config": { "http2_protocol_options": http2 } });
    let threshold = json!({
        "max_connections": CALLS_MAX,
        "max_pending_requests": CALLS_MAX,
        "max_requests": CALLS_MAX,
    });
    let mut fields = cluster_at(PROCESSOR_CLUSTER, place);
    form::set(&mut fields, "per_connection_buffer_limit_bytes", BUFFER_BYTES.into());
    let options = json!({ form::HTTP_OPTIONS: typed(form::HTTP_OPTIONS, options) });
    form::set(&mut fields, "typed_extension_protocol_options", options);
    form::set(&mut fields, "circuit_breakers", json!({ "thresholds": [threshold] }));
    Resource { name: PROCESSOR_CLUSTER.to_owned(), body: typed(form::CLUSTER, fields) }
}

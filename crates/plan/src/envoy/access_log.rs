//! The access log: a line of JSON for each request, under the names that Envoy AI Gateway's log has.

use serde_json::{Map, Value, json};

use super::form::{extension, set};
use super::local_reply::request_id;
use super::names::{METADATA_NAMESPACE, PROCESSOR_CLUSTER};

const GRPC: &str = "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig";
const STDOUT: &str = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";

/// Field, and what of Envoy's it is.
const FIELDS: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("method", "%REQ(:METHOD)%"),
    ("request.path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("x-forwarded-for", "%REQ(X-FORWARDED-FOR)%"),
    ("user-agent", "%REQ(USER-AGENT)%"),
    (":authority", "%REQ(:AUTHORITY)%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("upstream_request_attempt_count", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("gen_ai.request.model", "%REQ(X-AI-EG-MODEL)%"),
];

/// Field, and the key in the metadata of the processor.
const PUBLISHED: [(&str, &str); 13] = [
    ("gen_ai.request.model_override", "model_name_override"),
    ("gen_ai.response.model", "response_model"),
    ("gen_ai.provider.name", "backend_name"),
    ("gen_ai.usage.input_tokens", "llm_input_token"),
    ("gen_ai.usage.cached_input_tokens", "llm_cached_input_token"),
    ("gen_ai.usage.output_tokens", "llm_output_token"),
    ("gen_ai.usage.reasoning_tokens", "llm_reasoning_token"),
    ("gen_ai.usage.total_tokens", "llm_total_token"),
    ("ai_service_backend_name", "ai_service_backend_name"),
    ("ai_route_name", "route_name"),
    ("token_latency_ttft", "token_latency_ttft"),
    ("token_latency_itl", "token_latency_itl"),
    ("session.id", "session.id"),
];

/// Flags of responses that ended before they were complete.
const BROKEN_OFF: [&str; 7] = ["DC", "UC", "UR", "LR", "UT", "SI", "UPE"];

/// How long an entry may wait for others.
const FLUSH_INTERVAL: &str = "0.05s";

/// Tells the processor of responses that were broken off: a filter sees that it is over, and not who has ended it.
pub(super) fn broken_off() -> Value {
    let common = json!({
        "log_name": "broken_off",
        "grpc_service": { "envoy_grpc": { "cluster_name": PROCESSOR_CLUSTER } },
        "transport_api_version": "V3",
        "buffer_flush_interval": FLUSH_INTERVAL,
    });
    let mut log = extension("envoy.access_loggers.http_grpc", GRPC, json!({ "common_config": common }));
    set(&mut log, "filter", json!({ "response_flag_filter": { "flags": BROKEN_OFF } }));
    log
}

/// The log on standard output.
pub(super) fn stdout() -> Value {
    let mut fields: Map<String, Value> =
        FIELDS.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect();
    fields.extend(PUBLISHED.iter().map(|(name, key)| {
        ((*name).to_owned(), format!("%DYNAMIC_METADATA({METADATA_NAMESPACE}:{key})%").into())
    }));
    let mut fields = Value::Object(fields);
    set(&mut fields, "x-request-id", request_id().into());
    // What is not known is left out.
    let format = json!({ "json_format": fields, "omit_empty_values": true });
    extension("envoy.access_loggers.stdout", STDOUT, json!({ "log_format": format }))
}

//! The HTTP connection manager: how Envoy reads requests and writes responses, whatever they are for.

use std::time::Duration;

use serde_json::{Value, json};

use super::callers::{self, Handed};
use super::form::{extension, from_ads};
use super::listener::Door;
use super::{AccessLog, Fleet, access_log, form, local_reply, plain, rate_limit};

const MANAGER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
const EARLY_MUTATION: &str = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";

/// Largest head that is read, KiB, and most headers. The core refuses half of this in words.
const HEAD_KB_MAX: u32 = 128;
const HEADERS_MAX: u32 = 200;

/// How long a stream may be silent in both directions where no rule says less. Models think for minutes; nobody waits an hour.
pub(super) const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// How long a client may take nothing of what is ready for it.
const STREAM_FLUSH_TIMEOUT: &str = "300s";

/// HTTP/2 towards clients (Envoy's advice for the edge).
const STREAMS_MAX: u32 = 100;
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// The filter of a connection to `door`.
pub(super) fn manager(door: &Door<'_>, fleet: &Fleet, handed: &Handed<'_>) -> Value {
    let mut fields = json!({
        "stat_prefix": "tollgate",
        "codec_type": "AUTO",
        "rds": { "config_source": from_ads(), "route_config_name": door.name() },
        "use_remote_address": true,
        "early_header_mutation_extensions": [not_for_clients()],
        // The id of a request is the core's. What a client sends under this name is for the provider.
        "generate_request_id": false,
        "preserve_external_request_id": true,
        // Routes match every path, and the core answers by the path as it was sent: nothing hangs on how it is normalised.
        "normalize_path": false,
        "merge_slashes": false,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "strip_trailing_host_dot": true,
        "server_header_transformation": "PASS_THROUGH",
        "max_request_headers_kb": HEAD_KB_MAX,
        "common_http_protocol_options": {
            "max_headers_count": HEADERS_MAX,
            "headers_with_underscores_action": "ALLOW",
        },
        "http_protocol_options": { "accept_http_10": true },
        "http2_protocol_options": {
            "max_concurrent_streams": STREAMS_MAX,
            "initial_stream_window_size": STREAM_WINDOW_BYTES,
            "initial_connection_window_size": CONNECTION_WINDOW_BYTES,
        },
        "request_headers_timeout": form::seconds(fleet.patience.head),
        "request_timeout": form::seconds(fleet.patience.request),
        "stream_idle_timeout": form::seconds(STREAM_IDLE_TIMEOUT),
        "stream_flush_timeout": STREAM_FLUSH_TIMEOUT,
    });
    let mut logs = vec![access_log::broken_off()];
    if fleet.access_log == AccessLog::Stdout {
        logs.push(access_log::stdout());
    }
    form::set(&mut fields, "access_log", logs.into());
    form::set(&mut fields, "local_reply_config", local_reply::config(handed));
    let mut filters = vec![plain::of_listener()];
    filters.extend(callers::of_listener(handed));
    filters.push(callers::told_of_tokens(handed));
    if fleet.rate_limits.is_some() {
        // Behind the processor, which finds the model, knows who calls, and sets what selectors look at.
        filters.extend(rate_limit::of_listener());
    }
    filters.push(router());
    form::set(&mut fields, "http_filters", filters.into());
    extension("envoy.filters.network.http_connection_manager", MANAGER, fields)
}

fn router() -> Value {
    extension("envoy.filters.http.router", ROUTER, json!({ "suppress_envoy_headers": true }))
}

/// Takes out what no client may say: the headers by which Envoy can be told how to retry and to wait, which it believes on a private
/// network, and those of the gateway's own.
fn not_for_clients() -> Value {
    let remove = |prefix: &str| json!({ "remove_on_match": { "key_matcher": { "prefix": prefix } } });
    // All of the gateway's own names but the one by which a client asks what was lost.
    let own = json!({ "remove_on_match": { "key_matcher": { "safe_regex": { "regex": "x-tollgate-([^e]|e[^x]).*" } } } });
    let mutations = vec![remove("x-envoy-"), remove("x-ai-eg-"), own];
    extension(
        "envoy.http.early_header_mutation.header_mutation",
        EARLY_MUTATION,
        json!({ "mutations": mutations }),
    )
}

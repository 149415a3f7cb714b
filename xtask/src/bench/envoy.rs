//! A real Envoy that passes everything through: what a gateway that does nothing would cost.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::machine::{self, Program, Server, free_port, serve};

/// An installed Envoy.
pub(super) struct Envoy(PathBuf);

impl Envoy {
    /// Installs it under `target/`, unless it is there.
    pub(super) fn install(root: &Path) -> Result<Self> {
        crate::envoy::install_alone(root).map(Self)
    }

    /// The program.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Starts it with one worker, in front of the backend at `mock_port`.
    pub(super) fn start(&self, root: &Path, mock_port: u16) -> Result<Server> {
        self.start_with(root, "envoy.yaml", |port| configuration(port, mock_port, &Parts::default()))
    }

    /// The same with an external processor at `socket`, called as Tollgate has its own called: in the same modes, with the same metadata,
    /// attributes and headers of Envoy's own.
    pub(super) fn start_with_processor(&self, root: &Path, mock_port: u16, socket: &Path) -> Result<Server> {
        let listener = processor(
            "exchange",
            "request_body_mode: BUFFERED, response_header_mode: SEND, response_body_mode: NONE",
            ", request_attributes: [source.address]",
        );
        let attempt = processor(
            "attempt",
            "request_body_mode: NONE, response_header_mode: SEND, response_body_mode: FULL_DUPLEX_STREAMED, \
             response_trailer_mode: SEND",
            ", allow_content_length_header: true",
        );
        let parts = Parts {
            manager: "\n          generate_request_id: false\n          use_remote_address: true".to_owned(),
            host: CALLED.to_owned(),
            filters: format!("          - {listener}\n"),
            router: ", suppress_envoy_headers: true",
            options: upstream(&attempt),
            clusters: cluster(&socket.to_string_lossy()),
        };
        self.start_with(root, "envoy-continue.yaml", |port| configuration(port, mock_port, &parts))
    }

    fn start_with(
        &self,
        root: &Path,
        file: &str,
        configuration: impl FnOnce(u16) -> String,
    ) -> Result<Server> {
        let port = free_port()?;
        let path = root.join("target/bench").join(file);
        std::fs::write(&path, configuration(port))?;
        let path = path.to_string_lossy().into_owned();
        let arguments =
            ["--config-path", &path, "--concurrency", "1", "--log-level", "off", "--disable-hot-restart"];
        serve(machine::measured(Program::new(self.0.clone(), &arguments)), port)
    }
}

/// What a virtual host of Tollgate's adds: metadata of each call, and the number of each try.
const CALLED: &str = "
              include_request_attempt_count: true
              typed_per_filter_config:
                exchange:
                  '@type': type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute
                  overrides:
                    grpc_initial_metadata:
                    - {key: x-tollgate-snapshot, value: 0123456789abcdef0123456789abcdef}
                    - {key: x-tollgate-listener, value: default/bench/http}";

/// What tells Tollgate's processor which exchange a try belongs to. Nobody reads it here.
const TRY: &str = "01234567-89ab-7cde-8f01-23456789abcd 127.0.0.1:65535 default/bench/rule/0/target/0";

/// A filter that calls the external processor.
fn processor(name: &str, mode: &str, more: &str) -> String {
    format!(
        "{{name: {name}, typed_config: {{\
         '@type': type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor, \
         grpc_service: {{envoy_grpc: {{cluster_name: processor}}, \
         initial_metadata: [{{key: x-tollgate-call, value: {name}}}]}}, message_timeout: 10s, \
         processing_mode: {{request_header_mode: SEND, {mode}}}{more}}}}}"
    )
}

/// The filters of the backend's cluster.
fn upstream(processor: &str) -> String {
    format!(
        "    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http_protocol_options: {{}}}}
        http_filters:
        - name: identity
          typed_config:
            '@type': type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
            mutations: {{request_mutations: [{{append: {{header: {{key: x-tollgate-try, value: {TRY}}}}}}}]}}
        - {processor}
        - name: codec
          typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec}}
"
    )
}

/// The processor at `socket`.
fn cluster(socket: &str) -> String {
    format!(
        "  - name: processor
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    circuit_breakers: {{thresholds: [{{max_connections: 65535, max_pending_requests: 65535, max_requests: 65535}}]}}
    load_assignment:
      cluster_name: processor
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{pipe: {{path: {socket}}}}}}}}}]}}]
"
    )
}

/// What is more than in a bare Envoy.
#[derive(Default)]
struct Parts {
    manager: String,
    host: String,
    filters: String,
    router: &'static str,
    options: String,
    clusters: String,
}

fn configuration(port: u16, mock_port: u16, parts: &Parts) -> String {
    let Parts { manager, host, filters, router, options, clusters } = parts;
    format!(
        "static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench{manager}
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']{host}
              routes: [{{match: {{prefix: /}}, route: {{cluster: mock, timeout: 0s}}}}]
          http_filters:
{filters}          - name: router
            typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router{router}}}
  clusters:
  - name: mock
    type: STATIC
{options}    circuit_breakers: {{thresholds: [{{max_connections: 65535, max_pending_requests: 65535, max_requests: 65535}}]}}
    load_assignment:
      cluster_name: mock
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {mock_port}}}}}}}
{clusters}"
    )
}
